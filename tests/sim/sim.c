/* SPDX-License-Identifier: Apache-2.0 */
/* Runs schedules by their seeds. What a schedule is: world.h. */
#include "world.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t seed_high, seed_low; /* of the schedule that runs */

static const char *const usage =
    "usage: sim [--verbose] SEED           replay one schedule\n"
    "       sim --schedules N [--from SEED] [--seconds S]\n"
    "       sim --seeds FILE               replay the seeds of a file, one a line\n";

/* An assert of the code under test: say which schedule it was. */
static void on_abort(int signal)
{
    char text[64];
    unsigned long long seed = ((unsigned long long)(unsigned)seed_high << 32) | (unsigned)seed_low;
    int n = snprintf(text, sizeof(text), "seed %llu: aborted\n", seed);
    ssize_t written = write(STDOUT_FILENO, text, (size_t)n);
    (void)written;
    (void)signal;
    _exit(1);
}

static void run(uint64_t seed, bool verbose, struct world_result *sum)
{
    struct world_result r;
    seed_high = (sig_atomic_t)(seed >> 32);
    seed_low = (sig_atomic_t)(seed & UINT32_MAX);
    world_run(seed, verbose, &r);
    sum->slabs_sent += r.slabs_sent;
    sum->commits += r.commits;
    sum->happenings += r.happenings;
    sum->simulated_ns += r.simulated_ns;
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void report(uint64_t schedules, double took_s, const struct world_result *sum)
{
    printf("%llu schedules in %.1f s (%.0f/s): %llu happenings, %llu slabs sent, %llu commits, "
           "%.0f s simulated\n",
           (unsigned long long)schedules, took_s, (double)schedules / took_s,
           (unsigned long long)sum->happenings, (unsigned long long)sum->slabs_sent,
           (unsigned long long)sum->commits, (double)sum->simulated_ns / 1e9);
}

static int run_file(const char *path)
{
    struct world_result sum = {0};
    char line[256];
    uint64_t count = 0;
    double start_s = seconds_now();
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        fprintf(stderr, "sim: %s: %s\n", path, strerror(errno));
        return 66;
    }
    while (fgets(line, sizeof(line), f) != NULL) {
        if (line[0] < '0' || line[0] > '9')
            continue; /* a comment */
        run(strtoull(line, NULL, 10), false, &sum);
        count++;
    }
    fclose(f);
    report(count, seconds_now() - start_s, &sum);
    return 0;
}

static int run_many(uint64_t from, uint64_t schedules, double limit_s)
{
    struct world_result sum = {0};
    double start_s = seconds_now();
    uint64_t i = 0;
    while (i < schedules && (limit_s <= 0 || seconds_now() - start_s < limit_s))
        run(from + i++, false, &sum);
    report(i, seconds_now() - start_s, &sum);
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, schedules = 0;
    double limit_s = 0;
    bool verbose = false, given = false;
    signal(SIGABRT, on_abort);
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--verbose") == 0) {
            verbose = true;
        } else if (strcmp(argv[i], "--seeds") == 0) {
            return run_file(value);
        } else if (strcmp(argv[i], "--schedules") == 0) {
            schedules = strtoull(value, NULL, 10);
            i++;
        } else if (strcmp(argv[i], "--from") == 0) {
            seed = strtoull(value, NULL, 10);
            i++;
        } else if (strcmp(argv[i], "--seconds") == 0) {
            limit_s = strtod(value, NULL);
            i++;
        } else if (argv[i][0] >= '0' && argv[i][0] <= '9') {
            seed = strtoull(argv[i], NULL, 10);
            given = true;
        } else {
            fputs(usage, stderr);
            return 64;
        }
    }
    if (schedules > 0)
        return run_many(seed, schedules, limit_s);
    if (!given) {
        fputs(usage, stderr);
        return 64;
    }
    struct world_result sum = {0};
    run(seed, verbose, &sum);
    report(1, 1, &sum);
    return 0;
}
