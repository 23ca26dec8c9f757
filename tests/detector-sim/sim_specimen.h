/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The picture: a specimen of dark particles, counted by a detector. A few base frames of Poisson
 * counts are made at start; a frame of a movie is a base frame rolled to where the specimen has
 * drifted, handed out as two pieces of it, so that a 5760 x 4092 frame costs no copy. The roll is
 * over the frame as one row of pixels: what leaves on the right comes in on the left, one row
 * further. The counts move with the specimen, which the real detector's do not: any aligner finds
 * the drift, some a little too easily.
 */
#ifndef MR_SIM_SPECIMEN_H
#define MR_SIM_SPECIMEN_H

#include "wire/pixel.h"

#include <stddef.h>

/* Of one frame; a roll does not change them. Exact: a count is a whole number in every pixel
 * type. */
struct mr_sim_sums {
    uint64_t count, sum, squares;
    uint32_t min, max;
};

struct mr_sim_frame {
    struct {
        const void *data; /* borrowed from the specimen */
        size_t bytes;
    } piece[2];
    const struct mr_sim_sums *sums; /* NULL for opaque bytes */
};

struct mr_sim_specimen;

/* counts: at most `bases` base frames, fewer where memory would pass 192 MiB, never less than two
 * (or one, when bases is 1). dose: mean electrons per pixel. Returns owned (mr_sim_specimen_free).
 * -ENOMEM. */
int mr_sim_specimen_new(enum mr_pixel pixel, uint32_t nx, uint32_t ny, double dose, uint64_t seed,
                        uint32_t bases, struct mr_sim_specimen **ret) MR_MUST_USE;
void mr_sim_specimen_free(struct mr_sim_specimen *s); /* NULL allowed */

size_t mr_sim_specimen_frame_bytes(const struct mr_sim_specimen *s);

/* Base frame `which` modulo their number, the specimen moved right by x and up (to higher rows) by
 * y pixels; x even for U4. The frame is good as long as the specimen. */
void mr_sim_specimen_frame(const struct mr_sim_specimen *s, uint64_t which, int64_t x, int64_t y,
                           struct mr_sim_frame *ret);

/* A stream of 64-bit numbers by a seed (splitmix64): the same everywhere, not for secrets. */
uint64_t mr_sim_specimen_random(uint64_t *state);

#endif
