/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a server's process, and what its messages and books may never be. */
#include "serverside.h"

#include "disk_calls.h"
#include "fibre.h"
#include "intake_state.h"
#include "oracle.h"
#include "server.h"
#include "wrapped.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_MAX (96u << 20) /* of a process: its queues and tables; pools are mapped */
#define ENDING_NS  (120 * 1000 * MS)

/* ---- what it says ---- */

static void check_verdict(struct serverside *s, const struct mr_message *m)
{
    if (m->type == MR_COMMITTED)
        oracle_committed(s->world, &m->committed);
    if (m->type == MR_FAILED)
        oracle_failed(s->world, &m->failed.movie);
}

/* The newest lease is not its own; it may not be aware of it yet. */
static bool is_replaced(const struct serverside *s)
{
    static const char *const way[] = {"store", ".millrace", MR_LEASE_DIR};
    struct inode *at = s->world->disk->root;
    struct mr_lease_file file;
    uint32_t newest;
    for (size_t i = 0; i < 3; i++)
        if (disk_find(at, DISK_NOW, way[i], &at) < 0)
            return true;
    int fd = calls_look_at(at, DISK_NOW);
    int r = mr_lease_list(fd, &newest);
    if (r == 0)
        r = mr_lease_read(fd, newest, &file, NULL);
    close(fd);
    return r < 0 || (uint32_t)atoi(file.holder.host) != s->number || file.holder.pid != s->life;
}

/* It may have stood still for longer than its lease, by the disk or a SIGSTOP, and not be aware of
 * it yet: then it can commit nothing. Whoever replaced it may be gone again. */
static bool may_be_fenced(const struct serverside *s)
{
    const struct world *w = s->world;
    bool alone = true;
    for (size_t i = 0; i < w->server_count; i++)
        alone &= w->servers[i] == s || !w->servers[i]->up;
    return !alone || (w->server_count > 1 && is_replaced(s));
}

static void check_message(struct serverside *s, const struct cable *to, const struct mr_message *m)
{
    /* what nobody hears any more binds nobody, but that a movie is committed */
    if (m->type == MR_OPENED && to->open && may_be_fenced(s))
        oracle_not_judged(s->world, &m->opened.movie);
    if ((m->type == MR_ACK || m->type == MR_OPENED) && (!to->open || may_be_fenced(s)))
        return;
    if (m->type == MR_ACK)
        oracle_durable(s->world, &m->ack.movie, m->ack.generation, m->ack.ranges,
                       m->ack.range_count, false, to->number);
    else if (m->type == MR_OPENED)
        oracle_durable(s->world, &m->opened.movie, m->opened.generation, m->opened.ranges,
                       m->opened.range_count, true, to->number);
    else if (m->type == MR_BYE && m->bye.code == MR_REASON_BAD_REQUEST)
        PROMISE(s->world, to->rogue || to->tampered || !to->open,
                "an honest agent is sent away: %s", m->bye.text);
    else
        check_verdict(s, m);
}

void serverside_check_said(struct serverside *s, const struct cable *to, const void *message,
                           size_t bytes)
{
    struct mr_message *m = s->heard;
    struct mr_err err = {0};
    fibre_alone(1);
    int r = mr_message_decode(message, bytes, m, &err);
    PROMISE(s->world, r == 0, "the server says nonsense: %s", err.text);
    TRACE(s->world, "server %u -> cable %u: %s %u%s%s", s->number, to->number,
          mr_message_name(m->type), m->sequence,
          m->type == MR_BYE || m->type == MR_REFUSED ? ": "
          : m->type == MR_HOLD                       ? ": "
                                                     : "",
          m->type == MR_BYE || m->type == MR_REFUSED ? m->bye.text
          : m->type == MR_HOLD                       ? m->hold.text
                                                     : "");
    check_message(s, to, m);
    fibre_alone(-1);
}

void serverside_check_heard(struct serverside *s, const struct parcel *p)
{
    struct mr_message *m = s->heard;
    struct mr_err err = {0};
    const struct cable *from = p->cable;
    if (mr_message_decode(p->data, p->bytes, m, &err) < 0) {
        PROMISE(s->world, from->tampered || from->rogue, "an honest message is not understood: %s",
                err.text);
        return;
    }
    if (m->type == MR_ABANDON && !from->rogue)
        oracle_abandoned(s->world, &m->abandon.movie);
    TRACE(s->world, "server %u <- cable %u: %s %u", s->number, from->number,
          mr_message_name(m->type), m->sequence);
}

/* ---- what must hold at every moment ---- */

void serverside_check_books(const struct serverside *s)
{
    const struct mr_intake *in = s->intake;
    for (uint16_t i = 0; i < s->world->lanes; i++) {
        const struct mr_credit_lane *lane = &in->credit[i];
        uint64_t out = 0;
        for (uint32_t slot = 0; slot < MR_CREDIT_SLOTS; slot++) {
            const struct mr_credit_slot *c = &lane->slots[slot];
            PROMISE(s->world, c->used + c->returned <= c->granted, "lane %u: credit is negative",
                    i);
            out += c->granted - c->used - c->returned;
        }
        PROMISE(s->world, out == lane->out && out <= lane->budget,
                "lane %u: %llu bytes out, %llu in the books, budget %llu", i,
                (unsigned long long)out, (unsigned long long)lane->out,
                (unsigned long long)lane->budget);
    }
}

/* ---- its end ---- */

static void sweep(struct serverside *s)
{
    for (size_t i = 0; i < SYNCS_MAX; i++)
        if (s->syncs[i] != NULL)
            disk_sync_drop(s->syncs[i]);
    memset(s->syncs, 0, sizeof(s->syncs));
    fibres_kill(s);
    fibre_forget_mutexes(s);
    simlink_fini(&s->link);
    calls_close_all(s);
    memory_take_back(s);
    s->intake = NULL;
    s->eventlog = NULL;
    s->up = s->frozen = s->serves = s->told_to_stop = false;
    s->stop_fd = -1;
    s->counters = 0;
    s->ending = SERVER_LIVES;
    for (struct cable *c = s->world->cables; c != NULL; c = c->next)
        if (c->open && c->server == s && c->server_life == s->life)
            cable_cut(c, true);
}

static void left(struct serverside *s)
{
    struct world *w = s->world;
    size_t open = calls_count_open(s), bytes = s->memory.bytes;
    PROMISE(w, open == 0, "the server ends and leaves %zu files open", open);
    PROMISE(w, bytes == 0, "the server ends and leaves %zu bytes allocated", bytes);
    PROMISE(w, s->counters == 0, "the server ends and leaves %zu counters", s->counters);
    sweep(s);
}

void serverside_turned(struct serverside *s)
{
    struct world *w = s->world;
    PROMISE(w, s->memory.bytes < MEMORY_MAX, "the server holds %zu bytes", s->memory.bytes);
    if (s->ending == SERVER_POWER_CUT) {
        power_cut(w);
    } else if (s->ending == SERVER_KILLED) {
        TRACE(w, "server %u is gone", s->number);
        sweep(s);
    } else if (s->ending == SERVER_LEAVES) {
        TRACE(w, "server %u has ended", s->number);
        left(s);
    }
}

void serverside_kill(struct serverside *s)
{
    if (!s->up)
        return;
    TRACE(s->world, "server %u is killed", s->number);
    sweep(s);
}

void power_cut(struct world *w)
{
    TRACE(w, "the power is cut");
    oracle_before_power_cut(w);
    for (size_t i = 0; i < w->server_count; i++)
        if (w->servers[i]->up)
            sweep(w->servers[i]);
    disk_power_cut(w->disk);
    oracle_after_power_cut(w);
}

static void end_in_midst(struct serverside *s, enum server_end how)
{
    s->ending = how;
    fibre_vanish();
}

void serverside_burn_fuse(struct serverside *s)
{
    struct world *w = s->world;
    if (w->fuse == 0 || !w->faults || --w->fuse > 0)
        return;
    world_new_fuse(w);
    TRACE(w, "the server ends in the midst of a call");
    end_in_midst(s, chance_one_in(&w->chance, 2) ? SERVER_KILLED : SERVER_POWER_CUT);
}

void __wrap_mr_failpoint(const char *name)
{
    struct serverside *s = fibre_process();
    struct world *w = s->world;
    if (fibre_is_alone())
        return;
    if (w->fuse > 0 && world_mishap(w, 60)) {
        TRACE(w, "the server ends at %s", name);
        end_in_midst(s, chance_one_in(&w->chance, 2) ? SERVER_KILLED : SERVER_POWER_CUT);
    }
    if (chance_one_in(&w->chance, 3))
        fibre_pause((int64_t)chance_below(&w->chance, 3 * MS));
}

void serverside_hold_sync(struct serverside *s, struct disk_sync *sync)
{
    struct disk_sync **free_slot = NULL;
    for (size_t i = 0; s != NULL && i < SYNCS_MAX; i++) {
        if (s->syncs[i] == sync) {
            s->syncs[i] = NULL;
            return;
        }
        if (s->syncs[i] == NULL && free_slot == NULL)
            free_slot = &s->syncs[i];
    }
    if (s != NULL && free_slot == NULL)
        abort();
    if (s != NULL)
        *free_slot = sync;
}

/* ---- its life ---- */

static void fatal(void *ctx)
{
    struct serverside *s = ctx;
    TRACE(s->world, "server %u gives up", s->number);
    PROMISE(s->world,
            s->world->server_count > 1 || s->told_to_stop || /* a slow disk may cost it its lease */
                (s->world->disk_troubled && s->started_ns < s->world->calm_ns),
            "the server gives up for no reason");
    end_in_midst(s, SERVER_KILLED);
}

static void not_started(struct serverside *s, int r, const struct mr_err *err)
{
    struct world *w = s->world;
    TRACE(w, "server %u does not start: %s", s->number, err->text);
    if (r == -ECANCELED || r == -EBUSY)
        return; /* told to, or another one has the store */
    PROMISE(w, r != -EUCLEAN, "the store is said to be damaged: %s", err->text);
    PROMISE(w, w->disk_troubled && s->started_ns < w->calm_ns, "the server does not start: %s",
            err->text);
}

static void *life(void *arg)
{
    struct serverside *s = arg;
    struct mr_server *server = NULL;
    struct mr_err err = {0};
    s->stop_fd = __wrap_eventfd(0, 0); /* as a signalfd */
    struct pollfd stop = {.fd = s->stop_fd, .events = POLLIN};
    if (s->told_to_stop)
        __wrap_eventfd_write(s->stop_fd, 1);
    int r = mr_server_start(&s->config, &s->plan, s->stop_fd, fatal, s, &server, &err);
    if (r < 0) {
        not_started(s, r, &err);
        __wrap_close(s->stop_fd);
        s->ending = SERVER_LEAVES;
        return NULL;
    }
    s->serves = true;
    fibre_alone(1);
    if (mr_eventlog_is_newest(s->eventlog)) /* else it tells nobody */
        oracle_log(s->world, s->eventlog);
    fibre_alone(-1);
    while (__wrap_poll(&stop, 1, -1) == 0)
        ;
    mr_server_stop(server, false);
    __wrap_close(s->stop_fd);
    s->ending = SERVER_LEAVES;
    return NULL;
}

static void configure(struct serverside *s)
{
    struct world *w = s->world;
    uint32_t slabs = (uint32_t)chance_between(&w->chance, 1, 6);
    static char name[] = "store", nothing[] = "", root[] = "/store", path[] = "{agent}/{path}",
                group[] = "inherit";
    s->config = (struct mr_ingest_config){.name = name,
                                          .site = nothing,
                                          .state_dir = nothing,
                                          .control = nothing,
                                          .events = nothing,
                                          .http = nothing,
                                          .root = root,
                                          .path = path,
                                          .group = group,
                                          .direct_io = (int)chance_between(&w->chance, 0, 2),
                                          .keep_free_hundredths = 200,
                                          .file_mode = 0640,
                                          .dir_mode = 02750,
                                          .lease_ns = 500 * MS * chance_between(&w->chance, 1, 6),
                                          .standby = chance_one_in(&w->chance, 2),
                                          .keep_revisions_ns = 60 * 1000 * MS};
    s->plan = (struct mr_ingest_plan){.lanes = w->lanes,
                                      .lane_buffers = (uint32_t)chance_between(&w->chance, 1, 6),
                                      .lane_budget = slabs * (uint64_t)MR_SLAB_COST_MAX +
                                                     chance_below(&w->chance, MR_SLAB_COST_MAX)};
}

void serverside_start(struct serverside *s)
{
    PROMISE(s->world, !s->up, "two lives at once");
    s->up = true;
    s->life++;
    s->started_ns = s->world->time.now_ns;
    memset(s->lane_stuck_until_ns, 0, sizeof(s->lane_stuck_until_ns));
    simlink_init(&s->link);
    configure(s);
    TRACE(s->world, "server %u starts, %u lanes, %u buffers each", s->number, s->plan.lanes,
          s->plan.lane_buffers);
    fibre_start(s, life, s);
}

static void check_ended(void *ctx, uint64_t life_then, void *payload)
{
    struct serverside *s = ctx;
    (void)payload;
    PROMISE(s->world, s->life != life_then || !s->up || s->world->faults,
            "the server does not stop");
}

void serverside_stop(struct serverside *s)
{
    if (!s->up || s->told_to_stop)
        return;
    s->told_to_stop = true;
    if (s->stop_fd > 0)
        __wrap_eventfd_write(s->stop_fd, 1);
    world_in(s->world, ENDING_NS, check_ended, s, s->life, NULL);
}

void serverside_freeze(struct serverside *s, bool frozen)
{
    if (!s->up || s->frozen == frozen)
        return;
    TRACE(s->world, "server %u %s", s->number, frozen ? "is frozen" : "goes on");
    s->frozen = frozen;
    if (!frozen)
        fibres_continue(s);
}

bool serverside_lives(const struct world *w, uint32_t number, uint32_t life)
{
    const struct serverside *s = number < w->server_count ? w->servers[number] : NULL;
    return s != NULL && s->up && s->life == life;
}

bool serverside_down(const struct serverside *s)
{
    return !s->up;
}

uint32_t serverside_life(const struct serverside *s)
{
    return s->up && s->link.bound ? s->life : 0;
}

void serverside_arrived(struct serverside *s, struct parcel *p)
{
    simlink_deliver(&s->link, p);
}

void serverside_stick(struct serverside *s, uint16_t lane, int64_t for_ns)
{
    TRACE(s->world, "lane %u is stuck for %lld ms", lane, (long long)(for_ns / MS));
    s->lane_stuck_until_ns[lane] = s->world->time.now_ns + for_ns;
}

struct serverside *serverside_new(struct world *w, uint32_t number)
{
    struct serverside *s = calloc(1, sizeof(*s));
    if (s == NULL)
        abort();
    s->world = w;
    s->number = number;
    LIST_INIT(&s->memory.blocks);
    simlink_init(&s->link);
    s->heard = malloc(sizeof(*s->heard));
    if (s->heard == NULL)
        abort();
    return s;
}

void serverside_free(struct serverside *s)
{
    serverside_kill(s);
    free(s->heard);
    free(s);
}

void serverside_describe(const struct serverside *s)
{
    TRACE(s->world, "server %u: up %d, serves %d, told to stop %d", s->number, s->up, s->serves,
          s->told_to_stop);
    for (uint16_t i = 0; s->intake != NULL && i < s->world->lanes; i++) {
        const struct mr_credit_lane *lane = &s->intake->credit[i];
        TRACE(s->world, "lane %u: %llu out of %llu", i, (unsigned long long)lane->out,
              (unsigned long long)lane->budget);
        for (uint32_t slot = 0; slot < MR_CREDIT_SLOTS; slot++) {
            const struct mr_credit_slot *c = &lane->slots[slot];
            if (c->joined)
                TRACE(s->world, "  %s: %llu granted, %llu used, %llu returned, wanted %d",
                      s->intake->sessions[slot].hello.name, (unsigned long long)c->granted,
                      (unsigned long long)c->used, (unsigned long long)c->returned, c->wanted);
        }
    }
}
