/* SPDX-License-Identifier: Apache-2.0 */
/* Simulated time: things that will happen, in order of their moment, then of their planning. */
#ifndef MR_TESTS_TIMELINE_H
#define MR_TESTS_TIMELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MS INT64_C(1000000) /* ns */

/* payload: malloc'ed, taken by fire; NULL allowed. */
typedef void (*timeline_fire)(void *ctx, uint64_t a, void *payload);

struct happening {
    int64_t at_ns;
    uint64_t order, a;
    timeline_fire fire;
    void *ctx, *payload;
};

/* Zeroed: empty, at 0. */
struct timeline {
    int64_t now_ns;
    uint64_t planned;
    struct happening *heap;
    size_t count, capacity;
};

void timeline_at(struct timeline *t, int64_t at_ns, timeline_fire fire, void *ctx, uint64_t a,
                 void *payload);
bool timeline_step(struct timeline *t); /* false: nothing is left to happen */
void timeline_fini(struct timeline *t);

#endif
