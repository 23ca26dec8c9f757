/* SPDX-License-Identifier: Apache-2.0 */
/* One movie from the first frame to the close, at the camera's pace. */
#ifndef MR_SIM_EXPOSURE_H
#define MR_SIM_EXPOSURE_H

#include "sim_options.h"
#include "sim_specimen.h"

#include <stdio.h>

struct mr_sim_camera {
    const struct mr_sim_options *options;   /* borrowed */
    const struct mr_sim_specimen *specimen; /* borrowed; NULL for opaque files */
    FILE *truth;                            /* borrowed; NULL: not wanted */
};

/* Makes folders, writes movie number `movie` (from 0) and prints its line. -ECANCELED: it stalled
 * or was stopped before it had a frame; nothing was printed. */
int mr_sim_exposure_run(const struct mr_sim_camera *camera, uint32_t movie,
                        struct mr_err *err) MR_MUST_USE;

/* Sleeps; true when a signal has asked to stop. */
bool mr_sim_exposure_wait_until(int64_t monotonic_ns);
bool mr_sim_exposure_stopped(void);
void mr_sim_exposure_catch_signals(void); /* SIGINT, SIGTERM: stop at the next frame */

#endif
