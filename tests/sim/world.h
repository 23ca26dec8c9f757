/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One schedule: a server, some agents, what lies between them, and what goes wrong. Everything
 * follows from the seed. A broken promise prints the seed and ends the program.
 */
#ifndef MR_TESTS_WORLD_H
#define MR_TESTS_WORLD_H

#include "base/err.h"
#include "chance.h"
#include "timeline.h"

#define WORLD_LANES   4  /* at most */
#define WORLD_AGENTS  4  /* at most */
#define WORLD_SLABS   48 /* of a movie, at most */
#define WORLD_SERVERS 2  /* on one store, each on a machine of its own; at most */

struct cable;
struct disk;
struct oracle;
struct serverside;
struct agentside;
struct rogue;

struct world {
    uint64_t seed;
    int verbose;     /* 1: what happens; 2: every change of the disk, too */
    bool faults;     /* things may go wrong now */
    int64_t calm_ns; /* since when nothing does; INT64_MAX: it still may */
    uint16_t lanes;
    uint32_t heartbeat_ms;
    struct chance chance;
    struct timeline time;
    struct cable *cables;
    uint32_t cable_count;
    struct disk *disk;
    bool disk_errors; /* the disk fails now and then: one call in disk_pace */
    uint64_t disk_pace;
    bool disk_troubled; /* it failed, or was full, or may have */
    bool disk_links;    /* it knows no rename that does not replace */
    bool disk_plain;    /* it knows no fallocate */
    int64_t disk_stuck_until_ns;
    uint64_t fuse;         /* calls until the server ends in the midst of one; 0: it does not */
    int64_t clock_jump_ns; /* of real time */
    struct oracle *oracle;
    struct serverside *servers[WORLD_SERVERS];
    size_t server_count;
    bool running_down, restarted;
    struct agentside *agents[WORLD_AGENTS];
    size_t agent_count;
    struct rogue *rogue; /* NULL: all mean well */
    uint64_t slabs_sent, commits;
};

struct world_result {
    uint64_t slabs_sent, commits, happenings, power_cuts, server_lives;
    int64_t simulated_ns;
};

/* From now on every schedule with faults has a disk that fails one call in n; 0: as usual. Seeds
 * mean other schedules with another n. */
void world_set_sick(uint64_t n);

void world_run(uint64_t seed, int verbose, struct world_result *ret);
struct world *world_current(void); /* the one that runs */
void world_new_fuse(struct world *w);

/* A promise was broken: says which, and the seed, and exits. */
_Noreturn void world_broken(const struct world *w, const char *fmt, ...) MR_PRINTF(2, 3);
void world_trace(const struct world *w, const char *fmt, ...) MR_PRINTF(2, 3);
#define TRACE(w, ...)                    \
    do {                                 \
        if ((w)->verbose)                \
            world_trace(w, __VA_ARGS__); \
    } while (0)
#define TRACE_DISK(w, ...)               \
    do {                                 \
        if ((w)->verbose > 1)            \
            world_trace(w, __VA_ARGS__); \
    } while (0)
#define PROMISE(w, condition, ...)        \
    do {                                  \
        if (!(condition))                 \
            world_broken(w, __VA_ARGS__); \
    } while (0)

/* True one time in n, and only while things may go wrong. */
static inline bool world_mishap(struct world *w, uint64_t n)
{
    return w->faults && chance_one_in(&w->chance, n);
}

static inline void world_in(struct world *w, int64_t delay_ns, timeline_fire fire, void *ctx,
                            uint64_t a, void *payload)
{
    timeline_at(&w->time, w->time.now_ns + delay_ns, fire, ctx, a, payload);
}

#endif
