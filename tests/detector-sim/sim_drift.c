/* SPDX-License-Identifier: Apache-2.0 */
/* The path of the specimen. Moves nothing itself. */
#include "sim_drift.h"

#include "sim_specimen.h"

#include <math.h>

#define SETTLING 2.0 /* time constants that a movie lasts */

struct mr_sim_drift mr_sim_drift_init(double pixels, uint32_t frames, enum mr_pixel pixel,
                                      uint64_t seed)
{
    uint64_t state = seed;
    double turn = (double)(mr_sim_specimen_random(&state) >> 11) * 0x1p-53 * 2.0 * 3.14159265358979;
    return (struct mr_sim_drift){.x = pixels * cos(turn),
                                 .y = pixels * sin(turn),
                                 .frames = frames,
                                 .even_x = pixel == MR_PIXEL_U4};
}

void mr_sim_drift_at(const struct mr_sim_drift *d, uint32_t frame, int64_t *ret_x, int64_t *ret_y)
{
    double time = d->frames > 1 ? (double)frame / (d->frames - 1) : 0.0;
    double part = (1.0 - exp(-SETTLING * time)) / (1.0 - exp(-SETTLING));
    *ret_x = d->even_x ? 2 * llround(d->x * part / 2.0) : llround(d->x * part);
    *ret_y = llround(d->y * part);
}
