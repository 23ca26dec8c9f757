/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong and when, and how long it may take until all is well again. */
#include "world.h"

#include "agentside.h"
#include "rogue.h"
#include "serverside.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define PATIENCE_NS (300 * 1000 * MS) /* until all verdicts are there, once nothing goes wrong */
#define STARVING_NS (60 * 1000 * MS)  /* an agent that may go on must have gone on by then */

static void say_line(const struct world *w, const char *fmt, va_list args) MR_PRINTF(2, 0);
static void say_line(const struct world *w, const char *fmt, va_list args)
{
    printf("%10.3f ms  ", (double)w->time.now_ns / (double)MS);
    vprintf(fmt, args);
    putchar('\n');
}

void world_trace(const struct world *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say_line(w, fmt, args);
    va_end(args);
}

void world_broken(const struct world *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    printf("seed %llu: a promise is broken:\n", (unsigned long long)w->seed);
    say_line(w, fmt, args);
    va_end(args);
    serverside_describe(w->server);
    for (size_t i = 0; i < w->agent_count; i++)
        agentside_describe(w->agents[i]);
    fflush(stdout);
    _Exit(1);
}

/* ---- what goes wrong ---- */

static void restart_server(void *ctx, uint64_t a, void *payload)
{
    struct world *w = ctx;
    (void)a;
    (void)payload;
    if (serverside_down(w->server))
        serverside_start(w->server);
    else if (w->server->stopping)
        world_in(w, 50 * MS, restart_server, w, 0, NULL);
}

static void trouble_server(struct world *w)
{
    if (serverside_down(w->server) || w->server->stopping)
        return;
    if (chance_one_in(&w->chance, 2)) {
        serverside_crash(w->server);
    } else {
        TRACE(w, "the server is told to stop");
        serverside_stop(w->server);
    }
    world_in(w, chance_between(&w->chance, 10, 1500) * MS, restart_server, w, 0, NULL);
}

static void trouble_cable(struct world *w, struct cable *c)
{
    if (c == NULL)
        return;
    if (chance_one_in(&w->chance, 3))
        cable_mute(c, (int)chance_below(&w->chance, (uint64_t)CABLE_LANE + w->lanes));
    else
        cable_cut(c, !chance_one_in(&w->chance, 4));
}

static void trouble(void *ctx, uint64_t pace_ms, void *payload)
{
    struct world *w = ctx;
    (void)payload;
    if (!w->faults)
        return;
    struct agentside *a = w->agents[chance_below(&w->chance, w->agent_count)];
    switch (chance_below(&w->chance, 9)) {
    case 0:
        trouble_server(w);
        break;
    case 1:
        agentside_crash(a);
        break;
    case 2:
        agentside_bye(a);
        break;
    case 3:
        if (chance_one_in(&w->chance, 4))
            agentside_reinstall(a);
        break;
    case 4:
        serverside_stick(w->server, (uint16_t)chance_below(&w->chance, w->lanes),
                         chance_between(&w->chance, 10, 7000) * MS);
        break;
    default:
        trouble_cable(w, a->cable);
        break;
    }
    world_in(w, chance_between(&w->chance, 10, 2 * (int64_t)pace_ms) * MS, trouble, w, pace_ms,
             NULL);
}

/* ---- the course of a schedule ---- */

static void begin(struct world *w)
{
    static const uint32_t paces_ms[] = {100, 400, 1500};
    struct chance *c = &w->chance;
    w->lanes = (uint16_t)chance_between(c, 1, WORLD_LANES);
    w->heartbeat_ms = 600;
    w->shelf = calloc(1, sizeof(*w->shelf));
    if (w->shelf == NULL)
        abort();
    w->faults = !chance_one_in(c, 8);
    w->server = serverside_new(w);
    serverside_start(w->server);
    uint64_t agents = chance_one_in(c, 3) ? 4 : 1 + chance_below(c, 2);
    while (w->agent_count < agents) {
        bool same_name = chance_one_in(c, 5);
        char name[16];
        snprintf(name, sizeof(name), "k%zu", same_name ? 0 : w->agent_count);
        w->agents[w->agent_count] = agentside_new(w, name, chance_one_in(c, 4));
        w->agent_count++;
    }
    if (w->faults && chance_one_in(c, 4))
        w->rogue = rogue_new(w);
    if (w->faults && !chance_one_in(c, 5))
        world_in(w, 0, trouble, w, paces_ms[chance_below(c, 3)], NULL);
}

static bool all_finished(const struct world *w)
{
    for (size_t i = 0; i < w->agent_count; i++)
        if (!agentside_finished(w->agents[i]))
            return false;
    return true;
}

static void check_progress(const struct world *w, int64_t calm_ns)
{
    PROMISE(w, w->time.now_ns - calm_ns < PATIENCE_NS, "some movies never get their verdict");
    for (size_t i = 0; i < w->agent_count; i++) {
        const struct agentside *a = w->agents[i];
        int64_t since_ns = a->progress_ns > a->refused_ns ? a->progress_ns : a->refused_ns;
        since_ns = since_ns > calm_ns ? since_ns : calm_ns;
        PROMISE(w, agentside_finished(a) || w->time.now_ns - since_ns < STARVING_NS,
                "agent %s starves", a->hello.host);
    }
}

static void run_until_finished(struct world *w)
{
    int64_t calm_ns = w->faults ? chance_between(&w->chance, 500, 6000) * MS : 0;
    while (timeline_step(&w->time)) {
        if (w->faults && w->time.now_ns >= calm_ns) {
            w->faults = false;
            calm_ns = w->time.now_ns;
            TRACE(w, "from now on nothing goes wrong");
        }
        if (all_finished(w))
            return;
        if (!w->faults)
            check_progress(w, calm_ns);
    }
}

static void run_down(struct world *w)
{
    w->faults = false;
    int64_t limit_ns = w->time.now_ns + 30 * 1000 * MS;
    while ((serverside_down(w->server) || w->server->stopping) && timeline_step(&w->time))
        ; /* it may be between two lives */
    serverside_stop(w->server);
    while (!serverside_down(w->server) && timeline_step(&w->time))
        PROMISE(w, w->time.now_ns < limit_ns, "the server does not stop");
    for (size_t i = 0; i < w->agent_count; i++)
        w->agents[i]->finished = true;
    while (timeline_step(&w->time))
        ; /* what is still planned finds nobody */
}

void world_run(uint64_t seed, bool verbose, struct world_result *ret)
{
    struct world w = {.seed = seed, .verbose = verbose, .chance = {.state = chance_mix(seed)}};
    begin(&w);
    run_until_finished(&w);
    PROMISE(&w, all_finished(&w), "the world stands still");
    run_down(&w);
    *ret = (struct world_result){.slabs_sent = w.slabs_sent,
                                 .commits = w.commits,
                                 .happenings = w.time.planned,
                                 .simulated_ns = w.time.now_ns};
    for (size_t i = 0; i < w.agent_count; i++)
        agentside_free(w.agents[i]);
    rogue_free(w.rogue);
    serverside_free(w.server);
    cables_free(&w);
    shelf_free(w.shelf);
    timeline_fini(&w.time);
}
