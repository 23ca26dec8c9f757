/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums over a short block of whole-number pixels: in plain C, and with AVX2 where the CPU has it.
 * Both are exact, so both say the same. Any thread. Internal to stats*.c.
 */
#ifndef MR_WIRE_STATS_TALLY_H
#define MR_WIRE_STATS_TALLY_H

#include "wire/pixel.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of a block, at most: sums of 32 bits hold it. */
#define MR_STATS_TALLY_BYTES 4096u

struct mr_stats_tally {
    int32_t min, max;
    int64_t sum;
    uint64_t squares;
};

/* pixel: I8, U8, I16, U16 (little-endian), or U4: both nibbles of every byte. bytes: whole pixels,
 * at least one. */
struct mr_stats_tally mr_stats_tally(enum mr_pixel pixel, const uint8_t *p, size_t bytes);

/* The same in plain C alone: for tests. */
struct mr_stats_tally mr_stats_tally_plain(enum mr_pixel pixel, const uint8_t *p, size_t bytes);

#endif
