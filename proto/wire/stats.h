/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statistics of a slab's pixels, and their merge. Integers are exact: 128-bit sum and sum of
 * squares, so the merged result does not depend on order. Floats carry count, mean and M2 (Chan et
 * al.), merged in slab order; one NaN or Inf makes the whole unknown. U4 counts nibbles; row
 * padding is left out
 * (`width` tells where rows end).
 */
#ifndef MR_WIRE_STATS_H
#define MR_WIRE_STATS_H

#include "base/bytes.h"
#include "wire/pixel.h"

enum mr_stats_kind {
    MR_STATS_NONE = 0,
    MR_STATS_EXACT = 1,
    MR_STATS_FLOAT = 2,
    MR_STATS_UNKNOWN = 3
};

struct mr_stats {
    enum mr_stats_kind kind; /* NONE: nothing counted yet, the neutral element of merge */
    uint64_t count;          /* pixels */
    double min, max;
    __int128 sum; /* EXACT */
    unsigned __int128 squares;
    double mean, m2; /* FLOAT */
};

/* data: little-endian whole pixels; U4 of odd width: whole rows. */
void mr_stats_of(enum mr_pixel pixel, uint64_t width, const void *data, size_t bytes,
                 struct mr_stats *ret);
void mr_stats_merge(struct mr_stats *into, const struct mr_stats *next);

/* What an MRC header wants; unknown or none: min 0, max -1, mean -2, rms -1 (its convention). */
struct mr_stats_summary {
    float min, max, mean, rms;
    bool known;
};
void mr_stats_summarise(const struct mr_stats *s, struct mr_stats_summary *ret);

/* 64 bytes on the wire: u8 kind, 7 zero, u64 count, f64 min, f64 max, then EXACT: i128 sum, u128
 * squares (each as u64 low, u64 high); FLOAT: f64 mean, f64 m2, 16 zero. */
#define MR_STATS_WIRE 64
void mr_stats_write(struct mr_writer *w, const struct mr_stats *s);
int mr_stats_read(struct mr_reader *r, struct mr_stats *ret) MR_MUST_USE; /* -EPROTO */

#endif
