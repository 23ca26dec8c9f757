/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many schedules, divided among processes. A broken promise ends a process; with keep_going another
 * one goes on behind that seed.
 */
#ifndef MR_TESTS_JOBS_H
#define MR_TESTS_JOBS_H

#include <stdbool.h>
#include <stdint.h>

struct jobs {
    uint64_t from, schedules;
    double limit_s; /* no schedule begins later; 0: no limit */
    unsigned count; /* of processes */
    bool keep_going;
};

/* What they have run. */
struct jobs_sum {
    uint64_t schedules, slabs_sent, commits, happenings, power_cuts, server_lives;
    int64_t simulated_ns;
};

/* Runs one schedule and adds it to sum. Prints what is broken and ends the process. */
void jobs_run_seed(uint64_t seed, int verbose, struct jobs_sum *sum);
void jobs_report(const struct jobs_sum *sum, double took_s);
double jobs_now_s(void);

/* Runs them all, reports, and lists the seeds that failed. Returns an exit status. */
int jobs_run(const struct jobs *jobs);

#endif
