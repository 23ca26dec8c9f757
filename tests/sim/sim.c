/* SPDX-License-Identifier: Apache-2.0 */
/* Runs schedules by their seeds. What a schedule is: world.h. */
#include "jobs.h"
#include "world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const usage =
    "usage: sim [--verbose] SEED           replay one schedule; twice: every change of the disk\n"
    "       sim --schedules N [--from SEED] [--seconds S] [--jobs N] [--keep-going]\n"
    "       sim --sick N ...               on a disk that fails one call in N\n"
    "       sim --seeds FILE               replay the seeds of a file, one a line\n"
    "Ends with 1 where a promise is broken, at the first one; with --keep-going it runs all of "
    "the\n"
    "schedules and lists the seeds that broke one.\n";

static int run_file(const char *path)
{
    struct jobs_sum sum = {0};
    char line[256];
    double start_s = jobs_now_s();
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        fprintf(stderr, "sim: %s: %s\n", path, strerror(errno));
        return 66;
    }
    while (fgets(line, sizeof(line), f) != NULL)
        if (line[0] >= '0' && line[0] <= '9') /* else a comment */
            jobs_run_seed(strtoull(line, NULL, 10), 0, &sum);
    fclose(f);
    jobs_report(&sum, jobs_now_s() - start_s);
    return 0;
}

struct asked {
    struct jobs jobs;
    const char *file;
    uint64_t seed;
    int verbose;
    bool replay;
};

/* An option with a value. */
static bool take_value(struct asked *a, const char *option, const char *value)
{
    if (strcmp(option, "--seeds") == 0)
        a->file = value;
    else if (strcmp(option, "--schedules") == 0)
        a->jobs.schedules = strtoull(value, NULL, 10);
    else if (strcmp(option, "--from") == 0)
        a->jobs.from = strtoull(value, NULL, 10);
    else if (strcmp(option, "--seconds") == 0)
        a->jobs.limit_s = strtod(value, NULL);
    else if (strcmp(option, "--sick") == 0)
        world_set_sick(strtoull(value, NULL, 10));
    else if (strcmp(option, "--jobs") == 0 && atoi(value) > 0)
        a->jobs.count = (unsigned)atoi(value);
    else
        return false;
    return true;
}

static bool take_arguments(struct asked *a, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0) {
            a->verbose++;
        } else if (strcmp(argv[i], "--keep-going") == 0) {
            a->jobs.keep_going = true;
        } else if (argv[i][0] >= '0' && argv[i][0] <= '9') {
            a->seed = strtoull(argv[i], NULL, 10);
            a->replay = true;
        } else if (i + 1 < argc && take_value(a, argv[i], argv[i + 1])) {
            i++;
        } else {
            return false;
        }
    }
    return a->replay || a->file != NULL || a->jobs.schedules > 0;
}

int main(int argc, char **argv)
{
    struct asked a = {.jobs = {.from = 1, .count = 1}};
    setenv("MILLRACE_FORCE_PWRITE_POOL", "1", 1); /* its threads are fibres, too */
    if (!take_arguments(&a, argc, argv)) {
        fputs(usage, stderr);
        return 64;
    }
    if (a.file != NULL)
        return run_file(a.file);
    if (a.jobs.schedules > 0)
        return jobs_run(&a.jobs);
    struct jobs_sum sum = {0};
    double start_s = jobs_now_s();
    jobs_run_seed(a.seed, a.verbose, &sum);
    jobs_report(&sum, jobs_now_s() - start_s);
    return 0;
}
