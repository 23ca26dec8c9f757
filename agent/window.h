/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which slabs of one movie are picked, durable, and summed (their checksum known to this run of the
 * agent). Pure bookkeeping: knows no credit, no file, no message.
 */
#ifndef MR_WINDOW_H
#define MR_WINDOW_H

#include "wire/slab.h"

struct mr_window {
    uint8_t *state;       /* per slab: MR_SLAB_* bits */
    uint64_t *crc_raw;    /* per slab, valid where SUMMED */
    uint64_t *crc_pixels; /* per slab, valid where SUMMED */
    uint64_t capacity;    /* slabs the arrays hold; grows with the movie */
    uint64_t cursor;      /* every slab below is finished or in flight */
    uint64_t durable;     /* slabs that are durable */
    uint64_t in_flight;   /* slabs picked and not yet durable */
};

enum { MR_SLAB_PICKED = 1, MR_SLAB_DURABLE = 2, MR_SLAB_SUMMED = 4 };

void mr_window_init(struct mr_window *w);
void mr_window_fini(struct mr_window *w); /* a zeroed window is allowed */

/* Makes room for slabs below count. -ENOMEM; -EFBIG over MR_SLABS_MAX. */
int mr_window_reserve(struct mr_window *w, uint64_t count) MR_MUST_USE;

/* A new session: nothing is in flight any more and only what is told again is durable. */
void mr_window_reset(struct mr_window *w);

void mr_window_set_durable(struct mr_window *w, uint64_t slab); /* slab < capacity */
void mr_window_pick(struct mr_window *w, uint64_t slab);
/* Damaged on the way, or could not be read. */
void mr_window_unpick(struct mr_window *w, uint64_t slab);

/* Remembers a slab's checksums; -ESTALE if it was summed before with others: the source changed. */
int mr_window_sum(struct mr_window *w, uint64_t slab, uint64_t crc_raw,
                  uint64_t crc_pixels) MR_MUST_USE;

/* Finished: durable and summed. */
bool mr_window_finished(const struct mr_window *w, uint64_t slab);
bool mr_window_summed(const struct mr_window *w, uint64_t slab); /* its checksums are known */
bool mr_window_idle(const struct mr_window *w, uint64_t slab);   /* neither finished nor picked */

#endif
