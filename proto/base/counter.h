/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers for operators: counters that only grow and gauges, one line each in Prometheus' text
 * format. A stage owns its struct mr_counter (static or inside the stage's struct), registers it at
 * start and takes it out at its end. Adding is one relaxed atomic instruction, from any thread.
 */
#ifndef MR_BASE_COUNTER_H
#define MR_BASE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

enum mr_counter_kind {
    MR_COUNTER,         /* "_total" */
    MR_COUNTER_SECONDS, /* kept in ns, printed in seconds: "_seconds_total" */
    MR_GAUGE,           /* what it is: "_bytes", but never "_total" */
    MR_GAUGE_SECONDS    /* kept in ns, printed in seconds: "_seconds" */
};

struct mr_counter {
    /* "millrace_lane_received_bytes_total": small letters and '_'; ends as its kind says. Borrowed,
     * as all texts here. */
    const char *name;
    const char *help; /* one line */
    enum mr_counter_kind kind;
    const char *label, *label_value; /* "lane" and "0", or NULL */
    _Atomic uint64_t value;
    struct mr_counter *next; /* the registry's */
};

/* Series of one name stand together in the output, in the order of their registration. The counters
 * are borrowed until mr_counters_unregister. */
void mr_counters_register(struct mr_counter *counters, size_t count);
/* no effect on those that are not registered */
void mr_counters_unregister(struct mr_counter *counters, size_t count);

static inline void mr_counter_add(struct mr_counter *c, uint64_t n)
{
    atomic_fetch_add_explicit(&c->value, n, memory_order_relaxed);
}

static inline void mr_counter_subtract(struct mr_counter *c, uint64_t n) /* gauges */
{
    atomic_fetch_sub_explicit(&c->value, n, memory_order_relaxed);
}

static inline void mr_counter_set(struct mr_counter *c, uint64_t v) /* gauges */
{
    atomic_store_explicit(&c->value, v, memory_order_relaxed);
}

static inline uint64_t mr_counter_value(const struct mr_counter *c)
{
    return atomic_load_explicit(&c->value, memory_order_relaxed);
}

/* Everything registered as Prometheus text, version 0.0.4. */
void mr_counter_print(FILE *out);

#endif
