/* SPDX-License-Identifier: Apache-2.0 */
/* Where the specimen is at each frame: fast at first, then settling, as under a beam. */
#ifndef MR_SIM_DRIFT_H
#define MR_SIM_DRIFT_H

#include "wire/pixel.h"

struct mr_sim_drift {
    double x, y; /* total movement, pixels */
    uint32_t frames;
    bool even_x; /* U4 moves by whole bytes */
};

/* The direction comes from the seed. */
struct mr_sim_drift mr_sim_drift_init(double pixels, uint32_t frames, enum mr_pixel pixel,
                                      uint64_t seed);

/* Whole pixels right and up since frame 0. */
void mr_sim_drift_at(const struct mr_sim_drift *d, uint32_t frame, int64_t *ret_x, int64_t *ret_y);

#endif
