/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs share nothing but their sums: a schedule's course is its seed's alone. */
#include "jobs.h"

#include "world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FAILED_MAX 1000 /* listed */

static volatile sig_atomic_t seed_high, seed_low; /* of the schedule that runs */

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

void jobs_run_seed(uint64_t seed, int verbose, struct jobs_sum *sum)
{
    struct world_result r;
    seed_high = (sig_atomic_t)(seed >> 32);
    seed_low = (sig_atomic_t)(seed & UINT32_MAX);
    signal(SIGABRT, on_abort);
    world_run(seed, verbose, &r);
    sum->schedules++;
    sum->slabs_sent += r.slabs_sent;
    sum->commits += r.commits;
    sum->happenings += r.happenings;
    sum->power_cuts += r.power_cuts;
    sum->server_lives += r.server_lives;
    sum->simulated_ns += r.simulated_ns;
}

double jobs_now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void jobs_report(const struct jobs_sum *sum, double took_s)
{
    printf("%llu schedules in %.1f s (%.0f/s): %llu happenings, %llu lives of servers, %llu power "
           "cuts, %llu slabs sent, %llu commits, %.0f s simulated\n",
           (unsigned long long)sum->schedules, took_s, (double)sum->schedules / took_s,
           (unsigned long long)sum->happenings, (unsigned long long)sum->server_lives,
           (unsigned long long)sum->power_cuts, (unsigned long long)sum->slabs_sent,
           (unsigned long long)sum->commits, (double)sum->simulated_ns / 1e9);
}

/* One job's part of the work: every count-th seed. In memory that it shares with its parent. */
struct share {
    uint64_t next; /* index of the schedule that runs, or is the next to */
    struct jobs_sum sum;
};

struct run {
    const struct jobs *jobs;
    double start_s;
    struct share *shares;
    pid_t *pids;
    uint64_t failed[FAILED_MAX];
    size_t failed_count;
};

static bool is_over(const struct run *run, const struct share *share)
{
    const struct jobs *j = run->jobs;
    return share->next >= j->schedules ||
           (j->limit_s > 0 && jobs_now_s() - run->start_s >= j->limit_s);
}

static void start(struct run *run, unsigned job)
{
    struct share *share = &run->shares[job];
    fflush(stdout);
    run->pids[job] = fork();
    if (run->pids[job] != 0)
        return;
    for (; !is_over(run, share); share->next += run->jobs->count)
        jobs_run_seed(run->jobs->from + share->next, 0, &share->sum);
    fflush(stdout);
    _exit(0);
}

static void fail(struct run *run, unsigned job)
{
    struct share *share = &run->shares[job];
    if (run->failed_count < FAILED_MAX)
        run->failed[run->failed_count] = run->jobs->from + share->next;
    run->failed_count++;
    share->next += run->jobs->count;
    if (run->jobs->keep_going && !is_over(run, share))
        start(run, job);
}

static void wait_for_all(struct run *run)
{
    int status;
    for (pid_t pid; (pid = wait(&status)) > 0;)
        for (unsigned job = 0; job < run->jobs->count; job++)
            if (run->pids[job] == pid && status != 0) {
                fail(run, job);
                break;
            }
}

static void list_failed(const struct run *run)
{
    printf("%zu of them broke a promise:", run->failed_count);
    for (size_t i = 0; i < run->failed_count && i < FAILED_MAX; i++)
        printf(" %llu", (unsigned long long)run->failed[i]);
    putchar('\n');
}

static void add(struct jobs_sum *sum, const struct jobs_sum *s)
{
    sum->schedules += s->schedules;
    sum->slabs_sent += s->slabs_sent;
    sum->commits += s->commits;
    sum->happenings += s->happenings;
    sum->power_cuts += s->power_cuts;
    sum->server_lives += s->server_lives;
    sum->simulated_ns += s->simulated_ns;
}

int jobs_run(const struct jobs *jobs)
{
    struct jobs_sum sum = {0};
    struct run run = {.jobs = jobs, .start_s = jobs_now_s()};
    size_t bytes = jobs->count * sizeof(*run.shares);
    run.pids = calloc(jobs->count, sizeof(*run.pids));
    run.shares = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (run.pids == NULL || run.shares == MAP_FAILED)
        return 71;
    for (unsigned job = 0; job < jobs->count; job++) {
        run.shares[job].next = job;
        start(&run, job);
    }
    wait_for_all(&run);
    for (unsigned job = 0; job < jobs->count; job++)
        add(&sum, &run.shares[job].sum);
    sum.schedules += run.failed_count;
    jobs_report(&sum, jobs_now_s() - run.start_s);
    if (run.failed_count > 0)
        list_failed(&run);
    munmap(run.shares, bytes);
    free(run.pids);
    return run.failed_count > 0;
}
