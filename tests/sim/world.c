/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong and when, and how long it may take until all is well again. */
#include "world.h"

#include "agentside.h"
#include "disk.h"
#include "oracle.h"
#include "rogue.h"
#include "serverside.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define PATIENCE_NS (300 * 1000 * MS) /* until all verdicts are there, once nothing goes wrong */
#define STARVING_NS (60 * 1000 * MS)  /* an agent that may go on must have gone on by then */

#define DISK_PACE 250 /* calls to an error, where there are any */

static struct world *current;
static uint64_t sick;

void world_set_sick(uint64_t n)
{
    sick = n;
}

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
    for (size_t i = 0; i < w->server_count; i++)
        serverside_describe(w->servers[i]);
    for (size_t i = 0; i < w->agent_count; i++)
        agentside_describe(w->agents[i]);
    fflush(stdout);
    _Exit(1);
}

struct world *world_current(void)
{
    return current;
}

/* ---- the server comes back ---- */

static void restart_server(void *ctx, uint64_t a, void *payload)
{
    struct serverside *s = ctx;
    (void)a;
    (void)payload;
    s->restart_planned = false;
    if (serverside_down(s) && !s->world->running_down)
        serverside_start(s);
}

static void tend_server(void *ctx, uint64_t a, void *payload)
{
    struct serverside *s = ctx;
    struct world *w = s->world;
    (void)payload;
    if (w->running_down)
        return;
    if (serverside_down(s) && !s->restart_planned) {
        s->restart_planned = true;
        world_in(w, chance_between(&w->chance, 10, 1500) * MS, restart_server, s, 0, NULL);
    }
    world_in(w, 50 * MS, tend_server, s, a, NULL);
}

/* ---- what goes wrong ---- */

/* Few calls, or many: a start alone makes some dozens. */
void world_new_fuse(struct world *w)
{
    w->fuse = 1 + chance_below(&w->chance, UINT64_C(4) << chance_below(&w->chance, 10));
}

static void thaw(void *ctx, uint64_t a, void *payload)
{
    (void)a;
    (void)payload;
    serverside_freeze(ctx, false);
}

static void trouble_server(struct world *w)
{
    struct serverside *s = w->servers[chance_below(&w->chance, w->server_count)];
    switch (chance_below(&w->chance, 5)) {
    case 0:
        serverside_kill(s);
        break;
    case 1:
        TRACE(w, "server %u is told to stop", s->number);
        serverside_stop(s);
        break;
    case 2:
        power_cut(w);
        break;
    case 3:
        serverside_freeze(s, true);
        world_in(w, chance_between(&w->chance, 10, 5000) * MS, thaw, s, 0, NULL);
        break;
    default:
        serverside_stick(s, (uint16_t)chance_below(&w->chance, w->lanes),
                         chance_between(&w->chance, 10, 7000) * MS);
        break;
    }
}

static void make_room(void *ctx, uint64_t a, void *payload)
{
    struct world *w = ctx;
    (void)a;
    (void)payload;
    TRACE(w, "the disk has room");
    w->disk->room = DISK_ROOMY;
}

static void trouble_disk(struct world *w)
{
    struct chance *c = &w->chance;
    int64_t for_ns = chance_between(c, 10, 3000) * MS;
    if (chance_one_in(c, 2)) {
        w->disk_stuck_until_ns = w->time.now_ns + for_ns;
        TRACE(w, "the disk is stuck for %lld ms", (long long)(for_ns / MS));
        return;
    }
    if (w->disk->room != DISK_ROOMY)
        return;
    w->disk_troubled = true;
    w->disk->room = chance_one_in(c, 4) ? DISK_READ_ONLY : DISK_FULL;
    if (w->disk->room == DISK_READ_ONLY)
        disk_flush(w->disk);
    TRACE(w, "the disk is %s", w->disk->room == DISK_FULL ? "full" : "read-only");
    world_in(w, for_ns, make_room, w, 0, NULL);
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
    switch (chance_below(&w->chance, 10)) {
    case 0:
    case 1:
        trouble_server(w);
        break;
    case 2:
        agentside_crash(a);
        break;
    case 3:
        agentside_bye(a);
        break;
    case 4:
        if (chance_one_in(&w->chance, 4))
            agentside_reinstall(a);
        break;
    case 5:
        trouble_disk(w);
        break;
    case 6:
        w->clock_jump_ns = chance_between(&w->chance, -7200, 7200) * 1000 * MS;
        break;
    default:
        trouble_cable(w, a->cable);
        break;
    }
    world_in(w, chance_between(&w->chance, 10, 2 * (int64_t)pace_ms) * MS, trouble, w, pace_ms,
             NULL);
}

/* ---- the course of a schedule ---- */

static void make_disk(struct world *w)
{
    struct inode *store;
    struct chance *c = &w->chance;
    w->disk = disk_new(w);
    w->disk_errors = w->disk_troubled = w->faults && (chance_one_in(c, 3) || sick > 0);
    w->disk_pace = sick > 0 ? sick : DISK_PACE;
    w->disk_links = chance_one_in(c, 4);
    w->disk_plain = chance_one_in(c, 4);
    if (disk_make(w->disk, w->disk->root, "store", S_IFDIR | 0755, &store) < 0)
        abort();
    disk_sync_end(w->disk, disk_sync_begin(w->disk, w->disk->root), false);
}

static void begin(struct world *w)
{
    static const uint32_t paces_ms[] = {100, 400, 1500};
    struct chance *c = &w->chance;
    w->lanes = (uint16_t)chance_between(c, 1, WORLD_LANES);
    w->heartbeat_ms = 600;
    w->faults = !chance_one_in(c, 8);
    w->calm_ns = w->faults ? INT64_MAX : 0;
    make_disk(w);
    w->oracle = oracle_new(w);
    if (w->faults && chance_one_in(c, 2))
        world_new_fuse(w);
    w->server_count = w->faults && chance_one_in(c, 3) ? 2 : 1;
    for (uint32_t i = 0; i < w->server_count; i++) {
        w->servers[i] = serverside_new(w, i);
        serverside_start(w->servers[i]);
        tend_server(w->servers[i], 0, NULL);
    }
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

/* What a disk's error made impossible for the present server, the next one finds and does. */
static void restart_once(struct world *w)
{
    if (w->restarted || !w->disk_errors || w->time.now_ns - w->calm_ns < PATIENCE_NS / 2)
        return;
    w->restarted = true;
    TRACE(w, "somebody restarts the server");
    for (size_t i = 0; i < w->server_count; i++)
        serverside_stop(w->servers[i]);
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

static void grow_calm(struct world *w)
{
    w->faults = false;
    w->calm_ns = w->time.now_ns;
    w->disk->room = DISK_ROOMY;
    TRACE(w, "from now on nothing goes wrong");
}

static void run_until_finished(struct world *w)
{
    int64_t calm_ns = w->faults ? chance_between(&w->chance, 500, 6000) * MS : 0;
    while (timeline_step(&w->time)) {
        if (w->faults && w->time.now_ns >= calm_ns)
            grow_calm(w);
        if (all_finished(w))
            return;
        if (!w->faults)
            restart_once(w);
        if (!w->faults)
            check_progress(w, w->calm_ns);
    }
}

static void stop_servers(struct world *w)
{
    for (size_t i = 0; i < w->server_count; i++) {
        serverside_freeze(w->servers[i], false);
        serverside_stop(w->servers[i]);
    }
    for (size_t i = 0; i < w->server_count; i++)
        while (!serverside_down(w->servers[i]) && timeline_step(&w->time))
            ;
}

/* At the end the power is cut once more, and a server looks at what there is. */
static void run_down(struct world *w)
{
    if (w->faults)
        grow_calm(w);
    w->running_down = true;
    stop_servers(w);
    for (size_t i = 0; i < w->agent_count; i++)
        w->agents[i]->finished = true;
    /* what could not be removed, or a fenced server made, the next start removes */
    if (!w->disk_troubled && w->server_count == 1)
        oracle_at_the_end(w);
    power_cut(w);
    serverside_start(w->servers[0]);
    while (!w->servers[0]->serves && timeline_step(&w->time))
        ;
    stop_servers(w);
    oracle_at_the_end(w);
    while (timeline_step(&w->time))
        ; /* what is still planned finds nobody */
}

void world_run(uint64_t seed, int verbose, struct world_result *ret)
{
    struct world w = {.seed = seed, .verbose = verbose, .chance = {.state = chance_mix(seed)}};
    current = &w;
    begin(&w);
    run_until_finished(&w);
    PROMISE(&w, all_finished(&w), "the world stands still");
    run_down(&w);
    *ret = (struct world_result){.slabs_sent = w.slabs_sent,
                                 .commits = w.commits,
                                 .happenings = w.time.planned,
                                 .power_cuts = w.disk->cuts,
                                 .server_lives = w.servers[0]->life,
                                 .simulated_ns = w.time.now_ns};
    for (size_t i = 1; i < w.server_count; i++)
        ret->server_lives += w.servers[i]->life;
    for (size_t i = 0; i < w.agent_count; i++)
        agentside_free(w.agents[i]);
    rogue_free(w.rogue);
    for (size_t i = 0; i < w.server_count; i++)
        serverside_free(w.servers[i]);
    cables_free(&w);
    oracle_free(w.oracle);
    disk_free(w.disk);
    timeline_fini(&w.time);
}
