/* SPDX-License-Identifier: Apache-2.0 */
/* Runs schedules by their seeds. What a schedule is: world.h. */
#include "world.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t seed_high, seed_low; /* of the schedule that runs */

static const char *const usage =
    "usage: sim [--verbose] SEED           replay one schedule\n"
    "       sim --schedules N [--from SEED] [--seconds S] [--jobs N]\n"
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

static void add(struct world_result *sum, const struct world_result *r)
{
    sum->slabs_sent += r->slabs_sent;
    sum->commits += r->commits;
    sum->happenings += r->happenings;
    sum->power_cuts += r->power_cuts;
    sum->server_lives += r->server_lives;
    sum->simulated_ns += r->simulated_ns;
}

static void run(uint64_t seed, bool verbose, struct world_result *sum)
{
    struct world_result r;
    seed_high = (sig_atomic_t)(seed >> 32);
    seed_low = (sig_atomic_t)(seed & UINT32_MAX);
    world_run(seed, verbose, &r);
    add(sum, &r);
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* What one of several processes has run. */
struct share {
    uint64_t schedules;
    struct world_result sum;
};

static void report(uint64_t schedules, double took_s, const struct world_result *sum)
{
    printf("%llu schedules in %.1f s (%.0f/s): %llu happenings, %llu lives of servers, %llu power "
           "cuts, %llu slabs sent, %llu commits, %.0f s simulated\n",
           (unsigned long long)schedules, took_s, (double)schedules / took_s,
           (unsigned long long)sum->happenings, (unsigned long long)sum->server_lives,
           (unsigned long long)sum->power_cuts, (unsigned long long)sum->slabs_sent,
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

struct many {
    uint64_t from, schedules;
    double limit_s;
    unsigned jobs;
};

/* One job's share: every `jobs`-th seed. */
static void run_share(const struct many *m, unsigned job, struct share *ret)
{
    double start_s = seconds_now();
    for (uint64_t i = job; i < m->schedules; i += m->jobs) {
        if (m->limit_s > 0 && seconds_now() - start_s >= m->limit_s)
            break;
        run(m->from + i, false, &ret->sum);
        ret->schedules++;
    }
}

static void start_job(const struct many *m, unsigned job, int pipe_fd)
{
    fflush(stdout);
    if (fork() != 0)
        return;
    struct share share = {0};
    run_share(m, job, &share);
    ssize_t n = write(pipe_fd, &share, sizeof(share));
    _exit(n == sizeof(share) ? 0 : 1);
}

/* Jobs share nothing, not even memory: a schedule's course is its seed's alone. */
static int run_many(const struct many *m)
{
    struct share all = {0}, share;
    double start_s = seconds_now();
    int fds[2], status, failed = 0;
    if (pipe(fds) < 0)
        return 71;
    for (unsigned job = 0; job < m->jobs; job++)
        start_job(m, job, fds[1]);
    close(fds[1]);
    while (read(fds[0], &share, sizeof(share)) == sizeof(share)) {
        all.schedules += share.schedules;
        add(&all.sum, &share.sum);
    }
    while (wait(&status) > 0)
        failed |= status != 0;
    report(all.schedules, seconds_now() - start_s, &all.sum);
    return failed;
}

int main(int argc, char **argv)
{
    struct many many = {.from = 1, .jobs = 1};
    uint64_t seed = 0;
    bool verbose = false, given = false;
    signal(SIGABRT, on_abort);
    setenv("MILLRACE_FORCE_PWRITE_POOL", "1", 1); /* its threads are fibres, too */
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--verbose") == 0) {
            verbose = true;
        } else if (strcmp(argv[i], "--seeds") == 0) {
            return run_file(value);
        } else if (strcmp(argv[i], "--schedules") == 0) {
            many.schedules = strtoull(value, NULL, 10);
            i++;
        } else if (strcmp(argv[i], "--from") == 0) {
            many.from = strtoull(value, NULL, 10);
            i++;
        } else if (strcmp(argv[i], "--seconds") == 0) {
            many.limit_s = strtod(value, NULL);
            i++;
        } else if (strcmp(argv[i], "--jobs") == 0 && atoi(value) > 0) {
            many.jobs = (unsigned)atoi(value);
            i++;
        } else if (argv[i][0] >= '0' && argv[i][0] <= '9') {
            seed = strtoull(argv[i], NULL, 10);
            given = true;
        } else {
            fputs(usage, stderr);
            return 64;
        }
    }
    if (many.schedules > 0)
        return run_many(&many);
    if (!given) {
        fputs(usage, stderr);
        return 64;
    }
    struct world_result sum = {0};
    run(seed, verbose, &sum);
    report(1, 1, &sum);
    return 0;
}
