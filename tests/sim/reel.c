/* SPDX-License-Identifier: Apache-2.0 */
/* Source files: what they are, how they grow, and what verdict they must get. Reads nothing. */
#include "agentside.h"
#include "oracle.h"

#include <stdio.h>
#include <string.h>

static void new_id(struct reel *r)
{
    struct chance *c = &r->agent->world->chance;
    uint64_t halves[2] = {chance_next(c), chance_next(c)};
    memcpy(r->open.movie.bytes, halves, sizeof(halves));
    r->lives++;
    oracle_expect(r->agent->world, &r->open.movie, r);
}

static void make_geometry(struct reel *r, uint64_t slabs)
{
    struct chance *c = &r->agent->world->chance;
    struct mr_err err = {0};
    enum mr_layout layout = (enum mr_layout)chance_between(c, MR_LAYOUT_BYTES, MR_LAYOUT_CHUNKS);
    r->open.output = (enum mr_output)layout;
    if (layout == MR_LAYOUT_BYTES && chance_one_in(c, 2)) {
        mr_geometry_opaque(&r->open.geometry);
        r->open.kind = MR_KIND_FILE;
        slabs = chance_one_in(c, 2) ? 1 : slabs;
        r->extent.source_bytes = chance_below(c, slabs * MR_SLAB_BYTES + 1);
        return;
    }
    uint64_t side = 8u << chance_below(c, 5);
    uint64_t header = 1024 + (chance_one_in(c, 2) ? 0 : 2 * chance_below(c, 4500));
    int code = mr_geometry_frames(layout, MR_PIXEL_I16, false, side + chance_below(c, 8), side,
                                  header, 0, &r->open.geometry, &err);
    PROMISE(r->agent->world, code == 0, "geometry: %s", err.text);
    r->open.kind = MR_KIND_MOVIE;
    uint64_t most = slabs * MR_SLAB_BYTES / r->open.geometry.source_frame_bytes;
    r->extent.frames = 1 + chance_below(c, most == 0 ? 1 : most);
    if (r->open.geometry.slabs_per_frame > 1 && r->extent.frames > 6)
        r->extent.frames = 6;
    r->extent.source_bytes = header + r->extent.frames * r->open.geometry.source_frame_bytes;
}

/* ---- growing ---- */

static void become_ripe(struct reel *r)
{
    struct mr_transfer *t = r->agent->transfer;
    r->ripe = true;
    TRACE(r->agent->world, "%s is at its end: %llu bytes", r->open.path,
          (unsigned long long)r->visible);
    if (r->fate == REEL_BREAKS) {
        mr_transfer_fail(t, r, &r->extent, "header and size disagree");
    } else if (r->fate == REEL_UNREADABLE) {
        mr_transfer_fail(t, r, NULL, "it cannot be read");
    } else {
        struct mr_end end = {.extent = r->extent, .complete_by = "close"};
        mr_transfer_complete(t, r, &end);
    }
    agentside_soon(r->agent);
}

static void change(struct reel *r)
{
    r->contents = chance_next(&r->agent->world->chance);
    r->changed = true;
    oracle_expect(r->agent->world, &r->open.movie, r);
    TRACE(r->agent->world, "%s is rewritten", r->open.path);
    if (r->agent->transfer != NULL && chance_one_in(&r->agent->world->chance, 2))
        mr_transfer_abandon(r->agent->transfer, r);
    agentside_soon(r->agent);
}

static void grow(void *ctx, uint64_t a, void *payload)
{
    struct reel *r = ctx;
    struct world *w = r->agent->world;
    (void)payload;
    if (r->ripe || r->done)
        return;
    uint64_t more = chance_below(&w->chance, 2 * MR_SLAB_BYTES);
    r->visible =
        r->extent.source_bytes - r->visible < more ? r->extent.source_bytes : r->visible + more;
    if (r->fate == REEL_REWRITTEN && r->lives == 1 && !r->changed &&
        r->visible > r->extent.source_bytes / 2)
        change(r);
    if (r->agent->transfer != NULL) {
        mr_transfer_settled(r->agent->transfer, r, r->settled_from, r->visible);
        agentside_soon(r->agent);
        if (r->visible == r->extent.source_bytes && !(r->changed && r->lives == 1)) {
            become_ripe(r);
            return;
        }
    }
    if (r->changed && r->lives == 1 && r->visible == r->extent.source_bytes &&
        r->agent->transfer != NULL)
        mr_transfer_abandon(r->agent->transfer, r); /* by now the watcher has seen it, too */
    world_in(w, chance_between(&w->chance, 20, 200) * MS, grow, r, a, NULL);
}

void reel_make(struct agentside *a, struct reel *r)
{
    struct world *w = a->world;
    *r = (struct reel){.agent = a, .contents = chance_next(&w->chance)};
    r->fate =
        chance_one_in(&w->chance, 3) ? REEL_WHOLE : (enum reel_fate)chance_below(&w->chance, 5);
    if (chance_one_in(&w->chance, 3))
        r->fate = REEL_GROWS;
    r->open.revision = 1;
    r->open.codec = chance_one_in(&w->chance, 3) ? MR_CODEC_BSLZ4 : MR_CODEC_NONE;
    uint64_t slabs = chance_one_in(&w->chance, 4) ? 24 : 6;
    make_geometry(r, slabs);
    if (r->open.kind == MR_KIND_FILE && chance_one_in(&w->chance, 6))
        r->extent.source_bytes = 0;
    snprintf(r->open.format, sizeof(r->open.format), "file");
    snprintf(r->open.path, sizeof(r->open.path), "%s/%zu", a->hello.host, (size_t)(r - a->reels));
    r->settled_from = r->open.geometry.layout == MR_LAYOUT_BYTES ? r->open.geometry.data_offset : 0;
    new_id(r);
    if (r->fate == REEL_WHOLE) {
        r->visible = r->extent.source_bytes;
        r->ripe = true;
        r->open.whole = r->open.geometry.layout == MR_LAYOUT_BYTES &&
                        mr_slab_count(&r->open.geometry, &r->extent) <= 1;
        if (r->open.whole)
            r->open.source_bytes_expected = r->extent.source_bytes;
    } else {
        world_in(w, chance_between(&w->chance, 0, 300) * MS, grow, r, 0, NULL);
    }
}

void reel_offer(struct reel *r)
{
    struct mr_transfer *t = r->agent->transfer;
    if (mr_transfer_add(t, r, &r->open) < 0)
        world_broken(r->agent->world, "no memory");
    memset(r->told, 0, sizeof(r->told));
    if (r->changed)
        mr_transfer_abandon(t, r);
    else if (r->ripe)
        become_ripe(r);
    else
        mr_transfer_settled(t, r, r->settled_from, r->visible);
}

void reel_begin_anew(struct reel *r)
{
    new_id(r);
    r->changed = false;
}

/* Pixels of few counts, so that they shrink, but none like its neighbour. */
static uint64_t word_of(uint64_t contents, uint64_t index)
{
    return chance_mix(contents + index) & 0x0007000700070007u;
}

void reel_content(uint64_t contents, uint64_t offset, uint8_t *ret, uint64_t bytes)
{
    for (uint64_t at = offset; at < offset + bytes;) {
        uint64_t word = word_of(contents, at / 8), skip = at % 8;
        uint64_t n = 8 - skip < offset + bytes - at ? 8 - skip : offset + bytes - at;
        memcpy(ret + (at - offset), (const uint8_t *)&word + skip, n);
        at += n;
    }
}

/* ---- verdicts ---- */

static void take_opened(struct reel *r, const struct mr_opened *opened)
{
    memset(r->told, 0, sizeof(r->told));
    for (uint32_t i = 0; i < opened->range_count; i++) {
        struct mr_range range = mr_message_range(opened->ranges, i);
        for (uint64_t slab = range.first; slab < range.first + range.count; slab++)
            r->told[slab] = true;
    }
    r->told_session = mr_transfer_session(r->agent->transfer);
}

static bool expected(const struct reel *r, enum mr_message_type verdict)
{
    if (verdict == MR_ABANDONED)
        return r->changed;
    if (verdict == MR_FAILED)
        return r->fate == REEL_BREAKS || r->fate == REEL_UNREADABLE;
    return r->fate != REEL_BREAKS && r->fate != REEL_UNREADABLE;
}

void reel_verdict(struct reel *r, const struct mr_message *m)
{
    struct world *w = r->agent->world;
    r->agent->progress_ns = w->time.now_ns;
    TRACE(w, "%s: %s", r->open.path, mr_message_name(m->type));
    if (m->type == MR_OPENED) {
        take_opened(r, &m->opened);
        return;
    }
    memset(r->told, 0, sizeof(r->told));
    if (m->type == MR_HOLD)
        return;
    PROMISE(w, !r->done, "%s gets two verdicts", r->open.path);
    PROMISE(w, expected(r, m->type), "%s: unexpected verdict %s", r->open.path,
            mr_message_name(m->type));
    if (m->type == MR_ABANDONED) {
        oracle_given_up(w, &r->open.movie);
        reel_begin_anew(r);
        reel_offer(r);
        return;
    }
    r->done = true;
    r->verdict = m->type;
}
