/* SPDX-License-Identifier: Apache-2.0 */
/* The book of shipments. Decides nothing about them: tail does. */
#include "shipment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 65536

int mr_shipments_init(struct mr_shipments *all)
{
    *all = (struct mr_shipments){.bucket_count = BUCKETS};
    all->buckets = calloc(BUCKETS, sizeof(*all->buckets));
    return all->buckets == NULL ? -ENOMEM : 0;
}

static struct mr_shipment **bucket_of(const struct mr_shipments *all, uint64_t file)
{
    return &all->buckets[file % all->bucket_count];
}

static void shipment_free(struct mr_shipment *s)
{
    mr_shipment_close(s);
    free(s->path);
    free(s->reason);
    free(s);
}

void mr_shipments_fini(struct mr_shipments *all)
{
    for (size_t i = 0; all->buckets != NULL && i < all->bucket_count; i++)
        for (struct mr_shipment *s = all->buckets[i], *next; s != NULL; s = next) {
            next = s->next_hash;
            shipment_free(s);
        }
    free(all->buckets);
    *all = (struct mr_shipments){0};
}

struct mr_shipment *mr_shipments_find(const struct mr_shipments *all, uint64_t file)
{
    struct mr_shipment *s = *bucket_of(all, file);
    while (s != NULL && s->file != file)
        s = s->next_hash;
    return s;
}

struct mr_shipment *mr_shipments_add(struct mr_shipments *all, const struct mr_growth *growth)
{
    struct mr_shipment *s = calloc(1, sizeof(*s));
    char *path = strdup(growth->path);
    if (s == NULL || path == NULL) {
        free(s);
        free(path);
        return NULL;
    }
    s->file = growth->file;
    s->watch = growth->watch;
    s->root = growth->root;
    s->path = path;
    s->fd = -1;
    s->next_hash = *bucket_of(all, s->file);
    *bucket_of(all, s->file) = s;
    all->count++;
    return s;
}

void mr_shipments_remove(struct mr_shipments *all, struct mr_shipment *s)
{
    mr_shipments_unwait(all, s);
    struct mr_shipment **at = bucket_of(all, s->file);
    while (*at != s)
        at = &(*at)->next_hash;
    *at = s->next_hash;
    all->count--;
    shipment_free(s);
}

void mr_shipments_wait_last(struct mr_shipments *all, struct mr_shipment *s)
{
    s->state = MR_SHIPMENT_WAITING;
    s->next_waiting = NULL;
    all->waiting_count++;
    if (all->waiting_first == NULL)
        all->waiting_first = s;
    else
        all->waiting_last->next_waiting = s;
    all->waiting_last = s;
}

void mr_shipments_wait(struct mr_shipments *all, struct mr_shipment *s)
{
    if (all->waiting_first == NULL || !mr_shipment_growing(s)) {
        mr_shipments_wait_last(all, s);
        return;
    }
    s->state = MR_SHIPMENT_WAITING;
    s->next_waiting = all->waiting_first;
    all->waiting_first = s;
    all->waiting_count++;
}

struct mr_shipment *mr_shipments_next(struct mr_shipments *all)
{
    struct mr_shipment *s = all->waiting_first;
    if (s != NULL)
        mr_shipments_unwait(all, s);
    return s;
}

void mr_shipments_unwait(struct mr_shipments *all, struct mr_shipment *s)
{
    struct mr_shipment *before = NULL;
    struct mr_shipment **at = &all->waiting_first;
    if (s->state != MR_SHIPMENT_WAITING)
        return;
    while (*at != s) {
        before = *at;
        at = &before->next_waiting;
    }
    *at = s->next_waiting;
    if (all->waiting_last == s)
        all->waiting_last = before;
    all->waiting_count--;
    s->next_waiting = NULL;
    s->state = MR_SHIPMENT_IDLE;
}

void mr_shipment_note(struct mr_shipment *s, const struct mr_growth *growth)
{
    s->kind = growth->kind;
    s->facts = growth->facts;
    s->view = growth->view;
    s->first_seen_real_ns = growth->first_seen_real_ns;
    s->decided_real_ns = growth->decided_real_ns;
    free(s->reason);
    s->reason = growth->kind == MR_GROWTH_BROKEN ? strdup(growth->reason) : NULL;
}

bool mr_shipment_growing(const struct mr_shipment *s)
{
    return s->kind == MR_GROWTH_FOUND || s->kind == MR_GROWTH_GREW;
}

bool mr_shipment_complete(const struct mr_shipment *s)
{
    return s->kind == MR_GROWTH_COMPLETE;
}

void mr_shipment_close(struct mr_shipment *s)
{
    mr_fs_close(&s->fd);
    s->fd = -1;
    free(s->head);
    s->head = NULL;
    s->head_bytes = 0;
}
