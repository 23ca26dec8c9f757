/* SPDX-License-Identifier: Apache-2.0 */
/* What millrace-sim is asked to do. Read once by main, then only borrowed. */
#ifndef MR_SIM_OPTIONS_H
#define MR_SIM_OPTIONS_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* sysexits(3) */
enum { MR_SIM_EXIT_USAGE = 64, MR_SIM_EXIT_IO = 74 };

enum mr_sim_hold { MR_SIM_HOLD_NOT, MR_SIM_HOLD_FRAMES, MR_SIM_HOLD_HEADER };

struct mr_sim_stack_ops; /* sim_stack.h */

struct mr_sim_options {
    const char *out;    /* directory; borrowed from argv */
    const char *prefix; /* below out; may hold directories */
    const char *truth;  /* file for the drift that was made, or NULL */
    const struct mr_sim_stack_ops *format;
    int mode;        /* MRC mode: 0, 1, 2, 6, 12, 101 */
    uint32_t nx, ny; /* pixels */
    uint32_t frames; /* per movie */
    uint32_t movies;
    double fps;        /* frames per second; 0: as fast as it goes */
    double dose;       /* mean electrons per pixel and frame */
    double drift;      /* pixels of specimen movement over a movie */
    double pixel_size; /* angstrom */
    double pause_s;    /* between movies */
    uint64_t seed;
    uint32_t abort_at; /* frames after which the exposure is aborted; UINT32_MAX: never */
    uint32_t stall_at; /* frames after which nothing more is written; UINT32_MAX: never */
    enum mr_sim_hold hold;
    bool nz_late, mdoc, no_final_header, step;
};

enum mr_sim_request { MR_SIM_RUN, MR_SIM_HELP, MR_SIM_VERSION };

/* -EINVAL: wrong usage, err says what. ret borrows from argv. */
int mr_sim_options_parse(int argc, char **argv, struct mr_sim_options *ret,
                         enum mr_sim_request *ret_request, struct mr_err *err) MR_MUST_USE;

int mr_sim_options_help(FILE *out) MR_MUST_USE; /* < 0: it could not be written */

#endif
