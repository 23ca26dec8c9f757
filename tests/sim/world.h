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

#define WORLD_LANES  4  /* at most */
#define WORLD_AGENTS 5  /* at most */
#define WORLD_SLABS  48 /* of a movie, at most */

struct cable;
struct shelf;
struct serverside;
struct agentside;
struct rogue;

struct world {
    uint64_t seed;
    bool verbose;
    bool faults; /* things may go wrong now */
    uint16_t lanes;
    uint32_t heartbeat_ms;
    struct chance chance;
    struct timeline time;
    struct cable *cables;
    uint32_t cable_count;
    struct shelf *shelf;
    struct serverside *server;
    struct agentside *agents[WORLD_AGENTS];
    size_t agent_count;
    struct rogue *rogue; /* NULL: all mean well */
    uint64_t slabs_sent, commits;
};

struct world_result {
    uint64_t slabs_sent, commits, happenings;
    int64_t simulated_ns;
};

void world_run(uint64_t seed, bool verbose, struct world_result *ret);

/* A promise was broken: says which, and the seed, and exits. */
_Noreturn void world_broken(const struct world *w, const char *fmt, ...) MR_PRINTF(2, 3);
void world_trace(const struct world *w, const char *fmt, ...) MR_PRINTF(2, 3);
#define TRACE(w, ...)                    \
    do {                                 \
        if ((w)->verbose)                \
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
