/* SPDX-License-Identifier: Apache-2.0 */
/* millrace-sim: a camera for tests and demonstrations. Options in, movies out, exit status; what
 * happens to a movie is in sim_exposure. */
#include "sim_exposure.h"
#include "sim_stack.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>

/* More base frames than this look no better, and take memory. */
#define BASES 8

static int fail(const struct mr_err *err, int status)
{
    fprintf(stderr, "millrace-sim: %s\n", err->text);
    return status;
}

static int usage(const struct mr_err *err)
{
    (void)fail(err, 0);
    fprintf(stderr, "Try 'millrace-sim --help'.\n");
    return MR_SIM_EXIT_USAGE;
}

static int status_of(int r)
{
    return r == -ENOMEM || r == -EINVAL ? EXIT_FAILURE : MR_SIM_EXIT_IO;
}

static int expose_all(const struct mr_sim_camera *camera)
{
    const struct mr_sim_options *o = camera->options;
    for (uint32_t movie = 0; movie < o->movies && !mr_sim_exposure_stopped(); movie++) {
        struct mr_err err = {0};
        if (movie > 0 && o->pause_s > 0.0 &&
            mr_sim_exposure_wait_until(mr_clock_monotonic_ns() + (int64_t)(o->pause_s * 1e9)))
            break;
        int r = mr_sim_exposure_run(camera, movie, &err);
        if (r == -ECANCELED)
            break;
        if (r < 0)
            return fail(&err, status_of(r));
    }
    return EXIT_SUCCESS;
}

static int open_truth(const struct mr_sim_options *o, FILE **ret, struct mr_err *err)
{
    *ret = o->truth == NULL ? NULL : fopen(o->truth, "we");
    return o->truth != NULL && *ret == NULL ? mr_err_errno(err, -errno, "%s", o->truth) : 0;
}

static int prepare(const struct mr_sim_options *o, struct mr_sim_specimen **ret, struct mr_err *err)
{
    *ret = NULL;
    if (!o->format->has_pixels || o->frames == 0)
        return 0;
    uint32_t bases = o->frames < BASES ? o->frames : BASES;
    int r = mr_sim_specimen_new(mr_pixel_from_mrc_mode(o->mode), o->nx, o->ny, o->dose, o->seed,
                                bases, ret);
    return r < 0 ? mr_err_errno(err, r, "frames of %u x %u", o->nx, o->ny) : 0;
}

static int run(const struct mr_sim_options *o)
{
    struct mr_err err = {0};
    struct mr_sim_specimen *specimen = NULL;
    FILE *truth = NULL;
    mr_sim_exposure_catch_signals();
    int r = prepare(o, &specimen, &err);
    if (r == 0)
        r = open_truth(o, &truth, &err);
    int status = r < 0 ? fail(&err, status_of(r)) : EXIT_SUCCESS;
    if (r == 0)
        status = expose_all(&(struct mr_sim_camera){o, specimen, truth});
    if (truth != NULL && fclose(truth) != 0 && status == EXIT_SUCCESS) {
        (void)mr_err_errno(&err, -errno, "%s", o->truth);
        status = fail(&err, MR_SIM_EXIT_IO);
    }
    mr_sim_specimen_free(specimen);
    return status;
}

int main(int argc, char **argv)
{
    struct mr_sim_options options;
    enum mr_sim_request request;
    struct mr_err err = {0};
    if (mr_sim_options_parse(argc, argv, &options, &request, &err) < 0)
        return usage(&err);
    if (request == MR_SIM_HELP)
        return mr_sim_options_help(stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    if (request == MR_SIM_VERSION)
        return puts("millrace-sim " MILLRACE_VERSION) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    return run(&options);
}
