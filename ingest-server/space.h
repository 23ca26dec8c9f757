/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much room the store's file system has, looked at on a thread of its own: the question may
 * take its time where other hosts have to be asked. Below store.keep_free the store is paused, and
 * it goes on only when there is an eighth more than that, so that one file that comes or goes does
 * not make it change its mind. What is kept free is there to finish what has begun.
 */
#ifndef MR_SPACE_H
#define MR_SPACE_H

#include "base/thread.h"

#include <stdbool.h>
#include <stdint.h>

/* Free and total bytes; 0 or -errno. */
typedef int (*mr_space_ask)(void *ctx, uint64_t *ret_free, uint64_t *ret_total);

struct mr_space;

struct mr_space_view {
    uint64_t free_bytes, total_bytes;
    uint64_t keep_bytes; /* below so much it is paused */
    bool paused;
};

/* Of a file system of so many bytes; keep_free in hundredths of a percent. */
uint64_t mr_space_keep(uint64_t total_bytes, uint32_t keep_free_hundredths);

/* ask(ctx) is called on the stage's thread, and once here so that the view is right from the start;
 * keep_free 0: never paused. Returns owned. -ENOMEM, -errno. */
int mr_space_new(mr_space_ask ask, void *ctx, uint32_t keep_free_hundredths,
                 struct mr_space **ret) MR_MUST_USE;
void mr_space_free(struct mr_space *space); /* after the join; NULL allowed */

/* Asks, and decides. A question without an answer changes nothing. The stage's thread; tests. */
void mr_space_look(struct mr_space *space);

/* Any thread. */
void mr_space_view(struct mr_space *space, struct mr_space_view *ret);
void mr_space_stop(struct mr_space *space); /* ends the stage */

extern const struct mr_stage mr_space_stage;

#endif
