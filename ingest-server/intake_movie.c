/* SPDX-License-Identifier: Apache-2.0 */
/* A movie in flight: what of it is durable, what is said of that, how it leaves. Lands nothing. */
#include "intake_state.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACK_RANGES 512

void mr_intake_entry_free(struct entry *e)
{
    free(e->durable);
    free(e->unsaid);
    free((void *)e->end.metadata);
    free((void *)e->end.source_header);
    free(e);
}

static uint32_t bucket_of(const struct mr_ulid *id)
{
    return mr_ulid_hash(id) % ENTRY_BUCKETS;
}

struct entry *mr_intake_find_movie(const struct mr_intake *in, const struct mr_ulid *id)
{
    struct entry *e = in->by_id[bucket_of(id)];
    while (e != NULL && !mr_ulid_equal(&e->open.movie, id))
        e = e->next_id;
    return e;
}

static void link_in(struct mr_intake *in, struct entry *e)
{
    struct entry **bucket = &in->by_id[bucket_of(&e->open.movie)];
    e->next_id = *bucket;
    *bucket = e;
    e->next = in->entries;
    if (e->next != NULL)
        e->next->before = e;
    in->entries = e;
    in->entry_count++;
}

static void link_out(struct mr_intake *in, struct entry *e)
{
    struct entry **at = &in->by_id[bucket_of(&e->open.movie)];
    while (*at != e)
        at = &(*at)->next_id;
    *at = e->next_id;
    *(e->before == NULL ? &in->entries : &e->before->next) = e->next;
    if (e->next != NULL)
        e->next->before = e->before;
    in->entry_count--;
}

struct mr_sender mr_intake_sender_of(const struct entry *e)
{
    return (struct mr_sender){.agent = e->from.name,
                              .ephemeral = e->from.ephemeral,
                              .clock_offset_ms = e->clock_offset_ms};
}

void mr_intake_forget(struct mr_intake *in, struct entry *e)
{
    link_out(in, e);
    mr_intake_entry_free(e);
}

void mr_intake_leave(struct mr_intake *in, struct entry *e, enum mr_finish after)
{
    if (e->state == LEAVING) { /* letting go already: the stronger wish wins */
        if (e->after == MR_FINISH_RELEASE || after == MR_FINISH_DISCARD)
            e->after = after;
        return;
    }
    assert(e->state == LIVE);
    e->state = LEAVING;
    e->after = after;
    in->ops.detach(in->ops.ctx, e->movie);
}

static bool whole(const struct entry *e)
{
    uint64_t bytes = e->end.slabs / 8, bits = e->end.slabs % 8;
    if (e->durable_count < e->end.slabs)
        return false;
    if ((bits == 0 ? bytes : bytes + 1) > e->durable_bytes)
        return false;
    for (uint64_t i = 0; i < bytes; i++)
        if (e->durable[i] != 0xff)
            return false;
    uint8_t mask = (uint8_t)((1u << bits) - 1);
    return bits == 0 || (e->durable[bytes] & mask) == mask;
}

/* Slabs past the count do not make up for missing ones; that they exist is for seal to judge. */
void mr_intake_seal_if_whole(struct mr_intake *in, struct entry *e)
{
    if (e->state == LIVE && e->complete && whole(e))
        mr_intake_leave(in, e, MR_FINISH_COMMIT);
}

struct entry *mr_intake_new_entry(struct mr_intake *in, struct session *s, const struct mr_ulid *id,
                                  enum movie_state state)
{
    struct entry *e = in->entry_count < in->config.movies_max ? calloc(1, sizeof(*e)) : NULL;
    if (e == NULL)
        return NULL;
    e->state = state;
    e->open.movie = *id;
    e->opened_ns = in->now_ns;
    mr_intake_take_over(in, e, s);
    link_in(in, e);
    return e;
}

void mr_intake_take_over(struct mr_intake *in, struct entry *e, struct session *s)
{
    e->session = mr_intake_slot_of(in, s);
    e->from = s->hello;
    e->clock_offset_ms = s->clock_offset_ms;
    in->unsaid |= e->unsaid_count > 0;
}

/* Hands the movie to whoever finishes it: from here on it may be gone at any moment. */
void mr_intake_finish(struct mr_intake *in, struct entry *e, enum mr_finish how)
{
    struct session *s = mr_intake_owner_of(in, e);
    struct mr_movie *movie = e->movie;
    struct mr_sender from = mr_intake_sender_of(e);
    if (s != NULL && e->unsaid_count > 0)
        mr_intake_say_acks(in, s, e);
    e->state = FINISHING;
    e->movie = NULL;
    in->ops.finish(in->ops.ctx, how, &from, &e->open.movie, movie,
                   how == MR_FINISH_COMMIT ? &e->end : NULL,
                   how == MR_FINISH_FAIL ? &e->fail : NULL);
}

void mr_intake_condemn(struct mr_intake *in, struct entry *e, uint16_t code,
                       const struct mr_extent *extent, const char *text)
{
    e->fail = (struct mr_fail){
        .movie = e->open.movie, .generation = e->generation, .extent = *extent, .code = code};
    snprintf(e->fail.text, sizeof(e->fail.text), "%s", text);
    mr_intake_leave(in, e, MR_FINISH_FAIL);
}

static int grow_bitmap(struct entry *e, uint64_t slab)
{
    uint64_t bytes = slab / 8 + 1;
    if (bytes <= e->durable_bytes)
        return 0;
    if (bytes < 2 * e->durable_bytes)
        bytes = 2 * e->durable_bytes;
    uint8_t *bigger = realloc(e->durable, bytes);
    if (bigger == NULL)
        return -ENOMEM;
    memset(bigger + e->durable_bytes, 0, bytes - e->durable_bytes);
    e->durable = bigger;
    e->durable_bytes = bytes;
    return 0;
}

bool mr_intake_is_durable(const struct entry *e, uint64_t slab)
{
    return slab / 8 < e->durable_bytes && (e->durable[slab / 8] & 1u << (slab % 8)) != 0;
}

void mr_intake_mark_durable(struct entry *e, uint64_t slab)
{
    if (mr_intake_is_durable(e, slab) || slab >= MR_SLABS_MAX || grow_bitmap(e, slab) < 0)
        return;
    e->durable[slab / 8] |= (uint8_t)(1u << (slab % 8));
    e->durable_count++;
}

void mr_intake_remember_unsaid(struct mr_intake *in, struct entry *e, uint64_t slab)
{
    in->unsaid = true;
    if (e->unsaid_count == e->unsaid_capacity) {
        size_t capacity = e->unsaid_capacity == 0 ? 64 : 2 * e->unsaid_capacity;
        uint64_t *bigger = realloc(e->unsaid, capacity * sizeof(*bigger));
        if (bigger == NULL)
            return; /* not acked: sent again in the next session, which is harmless */
        e->unsaid = bigger;
        e->unsaid_capacity = capacity;
    }
    e->unsaid[e->unsaid_count++] = slab;
}

/* Acks as ranges: neighbours that became durable together are said together. */
void mr_intake_say_acks(struct mr_intake *in, struct session *s, struct entry *e)
{
    uint8_t ranges[ACK_RANGES * MR_RANGE_BYTES];
    size_t at = 0;
    while (at < e->unsaid_count) {
        struct mr_message m = {
            .type = MR_ACK,
            .ack = {.movie = e->open.movie, .generation = e->generation, .ranges = ranges}};
        while (at < e->unsaid_count && m.ack.range_count < ACK_RANGES) {
            struct mr_range range = {.first = e->unsaid[at++], .count = 1};
            while (at < e->unsaid_count && e->unsaid[at] == range.first + range.count) {
                range.count++;
                at++;
            }
            mr_message_put_range(ranges, m.ack.range_count++, range);
        }
        mr_intake_say(in, s, &m);
    }
    e->unsaid_count = 0;
}

void mr_intake_say_opened(struct mr_intake *in, struct session *s, struct entry *e, bool resumed,
                          const struct mr_range *durable, size_t count)
{
    if (count > MR_RANGES_MAX)
        count = MR_RANGES_MAX; /* the rest is sent again: harmless */
    uint8_t *ranges = malloc(count * MR_RANGE_BYTES + 1);
    if (ranges == NULL)
        count = 0;
    for (uint32_t i = 0; i < count; i++)
        mr_message_put_range(ranges, i, durable[i]);
    struct mr_message m = {.type = MR_OPENED,
                           .opened = {.movie = e->open.movie,
                                      .generation = e->generation,
                                      .resumed = resumed,
                                      .range_count = (uint32_t)count,
                                      .ranges = ranges}};
    mr_intake_say(in, s, &m);
    free(ranges);
}
