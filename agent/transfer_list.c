/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The movies of a transfer: found by id and by owner, and kept apart by whether there is anything
 * to do for them. Knows no message and picks no slab.
 */
#include "transfer_state.h"

#include <string.h>

static struct movie **bucket_of_id(struct mr_transfer *t, const struct mr_ulid *id)
{
    return &t->by_id[mr_ulid_hash(id) % MOVIE_BUCKETS];
}

static struct movie **bucket_of_owner(struct mr_transfer *t, const void *owner)
{
    uint64_t mixed = (uint64_t)(uintptr_t)owner * UINT64_C(0x9e3779b97f4a7c15);
    return &t->by_owner[mixed >> 32 & (MOVIE_BUCKETS - 1)];
}

struct movie *mr_transfer_find_owner(struct mr_transfer *t, const void *owner)
{
    struct movie *m = *bucket_of_owner(t, owner);
    while (m != NULL && m->owner != owner)
        m = m->next_owner;
    return m;
}

struct movie *mr_transfer_find_id(struct mr_transfer *t, const struct mr_ulid *id)
{
    struct movie *m = *bucket_of_id(t, id);
    while (m != NULL && !mr_ulid_equal(&m->open.movie, id))
        m = m->next_id;
    return m;
}

/* ---- awake and resting ---- */

/* Where it belongs by its number, which is nearly always at the end. */
static void link_in(struct movie_list *list, struct movie *m)
{
    struct movie *before = list->last;
    while (before != NULL && before->number > m->number)
        before = before->before;
    m->before = before;
    m->next = before == NULL ? list->first : before->next;
    *(before == NULL ? &list->first : &before->next) = m;
    *(m->next == NULL ? &list->last : &m->next->before) = m;
}

static void link_out(struct movie_list *list, struct movie *m)
{
    *(m->before == NULL ? &list->first : &m->before->next) = m->next;
    *(m->next == NULL ? &list->last : &m->next->before) = m->before;
}

void mr_transfer_rest(struct mr_transfer *t, struct movie *m)
{
    bool waits = (m->state == OPENING || m->state == ENDED) && !m->send_abandon;
    if (m->resting || !waits)
        return;
    link_out(&t->awake, m);
    link_in(&t->resting, m);
    m->resting = true;
}

void mr_transfer_wake(struct mr_transfer *t, struct movie *m)
{
    if (!m->resting)
        return;
    link_out(&t->resting, m);
    link_in(&t->awake, m);
    m->resting = false;
}

void mr_transfer_list_add(struct mr_transfer *t, struct movie *m)
{
    struct movie **id = bucket_of_id(t, &m->open.movie), **owner = bucket_of_owner(t, m->owner);
    m->number = ++t->added;
    m->next_id = *id;
    m->next_owner = *owner;
    *id = *owner = m;
    link_in(&t->awake, m);
    t->count++;
}

void mr_transfer_list_remove(struct mr_transfer *t, struct movie *m)
{
    struct movie **id = bucket_of_id(t, &m->open.movie), **owner = bucket_of_owner(t, m->owner);
    while (*id != m)
        id = &(*id)->next_id;
    while (*owner != m)
        owner = &(*owner)->next_owner;
    *id = m->next_id;
    *owner = m->next_owner;
    link_out(m->resting ? &t->resting : &t->awake, m);
    t->count--;
}
