/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does the server's core keep to its rules (intake_model.h) through long random histories? Peers
 * are hostile as often as honest, and stages answer in any order.
 */
#include "intake_model.h"

enum { STEPS = 1200 };

/* ---- what peers say ---- */

static struct mr_message m;

static void hear(int peer)
{
    struct peer *p = &peers[peer];
    const struct mr_route route = {.bytes = {(uint8_t)peer}, .size = 1};
    m.session = p->token;
    m.sequence = ++p->said;
    mr_intake_receive(in, &route, &m, now, now);
}

static void fresh(enum mr_message_type type)
{
    memset(&m, 0, sizeof(m));
    m.type = type;
}

static void say_hello(int peer)
{
    struct peer *p = &peers[peer];
    end_of(peer);
    p->epoch += dice(3);
    p->said = 0;
    p->state = WAITING;
    fresh(MR_HELLO);
    m.hello = (struct mr_hello){.version_min = 1,
                                .version_max = 1,
                                .instance = {p->instance},
                                .epoch = p->epoch,
                                .ephemeral = p->push};
    (void)snprintf(m.hello.name, sizeof(m.hello.name), "%s", p->name);
    hear(peer);
}

static void say_open(int peer, size_t i, unsigned path)
{
    struct model *e = &movies[i];
    bool free_to_take = e->owner < 0 && e->state != NONE && is_its(e, peer) &&
                        (e->state == FINISHING || (e->state == BERTHING && e->path == path));
    if (free_to_take)
        e->owner = peer;
    else if (e->state == NONE && in_flight() < MOVIES_MAX)
        enter(e, peer, BERTHING, path);
    fresh(MR_OPEN);
    m.open = (struct mr_open){.movie = id_of(i), .revision = path + 1};
    mr_geometry_opaque(&m.open.geometry);
    hear(peer);
}

static void say_end(int peer, size_t i)
{
    struct model *e = &movies[i];
    uint64_t slabs = dice(4) == 0 ? dice(SLABS) : i, claimed = dice(16) == 0 ? slabs + 1 : slabs;
    uint32_t generation = dice(8) == 0 ? 2 : 1;
    if (e->state == LIVE && e->owner == peer && generation == 1) {
        if (claimed != slabs || (e->complete && e->slabs != slabs))
            leave(e, MR_FINISH_FAIL);
        else if (!e->complete) {
            e->complete = true;
            e->slabs = slabs;
            if (whole(e))
                leave(e, MR_FINISH_COMMIT);
        }
    }
    fresh(MR_END);
    m.end = (struct mr_end){.movie = id_of(i),
                            .generation = generation,
                            .extent.source_bytes = slabs * MR_SLAB_BYTES,
                            .slabs = claimed};
    hear(peer);
}

static void say_fail(int peer, size_t i)
{
    struct model *e = &movies[i];
    if (e->state == LIVE && e->owner == peer)
        leave(e, MR_FINISH_FAIL);
    fresh(MR_FAIL);
    m.fail = (struct mr_fail){.movie = id_of(i), .generation = 1};
    hear(peer);
}

static void say_abandon(int peer, size_t i)
{
    struct model *e = &movies[i];
    if (e->state == NONE && in_flight() < MOVIES_MAX) {
        enter(e, peer, FINISHING, 0);
        e->after = MR_FINISH_DISCARD;
    } else if (e->state != NONE) {
        if (e->owner < 0 && is_its(e, peer))
            e->owner = peer;
        if (e->owner == peer && e->state == BERTHING)
            e->discard = true;
        else if (e->owner == peer && e->state != FINISHING)
            leave(e, MR_FINISH_DISCARD);
    }
    fresh(MR_ABANDON);
    m.abandon.movie = id_of(i);
    hear(peer);
}

static void say_bye(int peer)
{
    for (size_t i = 0; i < MOVIES && peers[peer].push; i++)
        if (movies[i].state == LIVE && movies[i].owner == peer)
            leave(&movies[i], MR_FINISH_DISCARD);
    end_of(peer);
    fresh(MR_BYE);
    hear(peer);
}

static void say_demand(int peer)
{
    struct peer *p = &peers[peer];
    fresh(MR_DEMAND);
    m.demand.lanes = LANES;
    for (size_t i = 0; i < LANES; i++) {
        if (dice(4) == 0)
            p->returned[i] += dice(p->granted[i] - p->used[i] - p->returned[i] + 1);
        m.demand.returned[i] = p->returned[i];
        m.demand.wanted[i] = dice(4) != 0;
    }
    hear(peer);
    ck_assert_int_eq(p->state, TALKING);
}

static void talk(int peer)
{
    size_t i = dice(MOVIES);
    if (peers[peer].state == WAITING && dice(8) != 0) {
        fresh(MR_PING); /* it may not talk yet: dropped */
        m.sequence = 7;
        const struct mr_route route = {.bytes = {(uint8_t)peer}, .size = 1};
        mr_intake_receive(in, &route, &m, now, now);
        return;
    }
    if (peers[peer].state != TALKING || dice(60) == 0) {
        say_hello(peer);
        return;
    }
    switch (dice(16)) {
    case 0:
    case 1:
    case 2:
    case 3:
        say_open(peer, i, dice(8) == 0);
        return;
    case 4:
    case 5:
    case 6:
    case 7:
        say_end(peer, i);
        return;
    case 8:
        if (dice(4) == 0)
            say_fail(peer, i);
        return;
    case 9:
        if (dice(3) == 0)
            say_abandon(peer, i);
        return;
    case 10:
        if (dice(6) == 0)
            say_bye(peer);
        return;
    case 11:
        if (dice(20) == 0)
            peers[peer].said++; /* what comes next shows that something was lost */
        fresh(MR_PING);
        hear(peer);
        return;
    default:
        say_demand(peer);
    }
}

/* ---- what the stages answer ---- */

static void answer_berth(struct model *e, size_t i)
{
    const struct mr_message no = {.type = MR_HOLD, .hold.movie = id_of(i)};
    struct mr_range had = {.first = dice(4), .count = dice(3)};
    struct mr_ulid id = id_of(i);
    if (dice(6) == 0) {
        mr_intake_unberthed(in, &id, &no);
        forget(e);
        return;
    }
    e->movie = mr_movie_new();
    e->movie->id = id;
    if (e->owner < 0 || stopping) {
        mr_intake_berthed(in, e->movie, false, &had, 1, now);
        forget(e);
        return;
    }
    e->state = e->discard ? FINISHING : LIVE;
    e->after = MR_FINISH_DISCARD;
    for (uint64_t slab = had.first; slab < had.first + had.count && !e->discard; slab++)
        e->durable[slab] = true;
    mr_intake_berthed(in, e->movie, had.count > 0, &had, 1, now);
}

static void lane_says(struct model *e)
{
    uint64_t slab = dice(SLABS), what = dice(40);
    if (what < 36) {
        slab = what < 30 ? dice(8) : slab;
        bool first = !e->durable[slab];
        e->durable[slab] = true;
        e->unsaid[slab]++;
        if (e->state == LIVE && whole(e))
            leave(e, MR_FINISH_COMMIT);
        ck_assert(mr_intake_durable(in, e->movie, slab) == first);
    } else if (what == 36) {
        mr_intake_damaged(in, e->movie, slab);
    } else if (what == 37) {
        if (e->state == LIVE)
            leave(e, MR_FINISH_FAIL);
        mr_intake_misfit(in, e->movie, slab);
    } else if (what == 38) {
        if (e->state == LIVE)
            leave(e, MR_FINISH_FAIL);
        mr_intake_no_quota(in, e->movie, "quota");
    } else {
        bool distrusted = dice(2) == 0;
        e->distrusted |= distrusted;
        if (e->state == LIVE)
            leave(e, MR_FINISH_RELEASE);
        else if (e->after == MR_FINISH_COMMIT)
            e->after = MR_FINISH_RELEASE;
        mr_intake_stuck(in, e->movie, distrusted, MR_REASON_IO, "disk");
    }
}

static void answer_detach(struct model *e)
{
    ck_assert(e->asked);
    bool released = e->after == MR_FINISH_RELEASE;
    if (!released)
        e->state = FINISHING;
    mr_intake_detached(in, e->movie);
    if (released)
        forget(e);
}

static void answer_finish(struct model *e, size_t i)
{
    static const enum mr_message_type types[] = {[MR_FINISH_COMMIT] = MR_COMMITTED,
                                                 [MR_FINISH_FAIL] = MR_FAILED,
                                                 [MR_FINISH_DISCARD] = MR_ABANDONED};
    struct mr_ulid id = id_of(i);
    struct mr_message verdict = {.type = types[e->after]};
    verdict.committed.movie = id;
    mr_intake_finished(in, &id, &verdict);
    forget(e);
}

static void a_stage(void)
{
    size_t i = dice(MOVIES);
    struct model *e = &movies[i];
    if (e->state == BERTHING)
        answer_berth(e, i);
    else if (e->state == LIVE || (e->state == LEAVING && dice(2) == 0))
        lane_says(e);
    else if (e->state == LEAVING)
        answer_detach(e);
    else if (e->state == FINISHING)
        answer_finish(e, i);
}

static void use_credit(void)
{
    int peer = (int)dice(PEERS);
    struct peer *p = &peers[peer];
    uint16_t lane = (uint16_t)dice(LANES);
    uint64_t out = p->granted[lane] - p->used[lane] - p->returned[lane];
    if (p->state != TALKING)
        return;
    if (dice(300) == 0) {
        mr_intake_used(in, p->token, lane, out + 1);
        ck_assert_int_eq(p->state, GONE);
        return;
    }
    uint64_t used = dice(out + 1);
    p->used[lane] += used;
    mr_intake_used(in, p->token, lane, used);
}

/* ---- is it so? ---- */

static void compare_movie(void *ctx, const struct mr_intake_movie_view *v)
{
    static const char *const names[] = {"", "berthing", "receiving", "draining", "sealing"};
    struct model *e = model_of(&v->open->movie);
    uint64_t durable = 0;
    for (size_t i = 0; i < SLABS; i++)
        durable += e->durable[i];
    ck_assert_str_eq(v->state, names[e->state]);
    ck_assert_uint_eq(v->durable, durable);
    ck_assert_uint_eq(v->slabs, e->complete ? e->slabs : 0);
    ck_assert_str_eq(v->agent, e->agent);
    ++*(size_t *)ctx;
}

static void compare_session(void *ctx, const struct mr_intake_session_view *v)
{
    uint64_t count = 0;
    int peer = 0;
    while (peer < PEERS && (peers[peer].state != TALKING || peers[peer].token != v->session))
        peer++;
    ck_assert_int_lt(peer, PEERS);
    for (size_t i = 0; i < MOVIES; i++)
        count += movies[i].state != NONE && movies[i].owner == peer;
    ck_assert_uint_eq(v->movies, count);
    ck_assert_str_eq(v->hello->name, peers[peer].name);
    ++*(int *)ctx;
}

static void compare(void)
{
    size_t count = 0;
    int talking = 0, sessions = 0;
    mr_intake_each_movie(in, compare_movie, &count);
    ck_assert_uint_eq(count, in_flight());
    ck_assert(mr_intake_idle(in) == (count == 0));
    for (size_t i = 0; i < PEERS; i++)
        talking += peers[i].state == TALKING;
    mr_intake_each_session(in, compare_session, &sessions);
    ck_assert_int_eq(sessions, talking);
    ck_assert_int_eq(online, talking);
    for (size_t lane = 0; lane < LANES; lane++) {
        uint64_t out = 0;
        for (size_t i = 0; i < PEERS; i++)
            if (peers[i].state == TALKING)
                out += peers[i].granted[lane] - peers[i].used[lane] - peers[i].returned[lane];
        ck_assert_uint_le(out, 3 * MR_SLAB_COST_MAX);
    }
    bool asked = true;
    for (size_t i = 0; i < MOVIES; i++)
        asked &= movies[i].state != LEAVING || movies[i].asked;
    ck_assert(asked);
}

static void tick(void)
{
    now += (int64_t)dice(200) * MR_NS_PER_MS;
    mr_intake_tick(in, now, now);
    int unsaid = 0;
    for (size_t i = 0; i < MOVIES; i++)
        for (size_t slab = 0; slab < SLABS && movies[i].owner >= 0; slab++)
            unsaid += movies[i].unsaid[slab];
    ck_assert_int_eq(unsaid, 0);
}

static void step(void)
{
    switch (dice(8)) {
    case 0:
    case 1:
    case 2:
        talk((int)dice(PEERS));
        break;
    case 3:
    case 4:
        a_stage();
        break;
    case 5:
        use_credit();
        break;
    case 6:
        tick();
        break;
    default:
        if (dice(50) == 0) {
            paused = !paused;
            mr_intake_pause(in, paused, now);
        }
        break;
    }
    compare();
}

static void run(uint64_t seed)
{
    static const struct peer cast[PEERS] = {{.name = "k3", .instance = 1},
                                            {.name = "k3", .instance = 1},
                                            {.name = "k3", .instance = 2},
                                            {.name = "k4", .instance = 4},
                                            {.name = "k3", .instance = 5, .push = true},
                                            {.name = "k4", .instance = 6, .push = true}};
    const struct mr_intake_config config = {.lanes = LANES,
                                            .lane_budget = 3 * MR_SLAB_COST_MAX,
                                            .heartbeat_ms = 5000,
                                            .movies_max = MOVIES_MAX,
                                            .session_seed = seed};
    const struct mr_intake_ops ops = {.send = op_send,
                                      .berth = op_berth,
                                      .attach = op_attach,
                                      .detach = op_detach,
                                      .finish = op_finish,
                                      .release = op_release,
                                      .confirm = op_confirm,
                                      .presence = op_presence};
    memcpy(peers, cast, sizeof(peers));
    for (size_t i = 0; i < MOVIES; i++)
        movies[i] = (struct model){.owner = -1};
    dice_seed(seed);
    now = MR_NS_PER_S;
    paused = stopping = false;
    online = 0;
    ck_assert_int_eq(mr_intake_new(&config, &ops, &in), 0);
    for (unsigned i = 0; i < STEPS; i++)
        step();
    stopping = true;
    mr_intake_stop(in);
    compare();
    for (unsigned i = 0; i < 100 * MOVIES && in_flight() > 0; i++) {
        a_stage();
        tick();
        compare();
    }
    ck_assert(mr_intake_idle(in));
    mr_intake_free(in);
}

START_TEST(long_histories_keep_to_the_rules)
{
    for (uint64_t seed = 1; seed <= 4; seed++)
        run(seed);
    /* The histories reach everything there is to reach. */
    ck_assert_uint_gt(berths, 20);
    ck_assert_uint_gt(attached, 20);
    ck_assert_uint_gt(commits, 0);
    ck_assert_uint_gt(fails, 0);
    ck_assert_uint_gt(discards, 0);
    ck_assert_uint_gt(releases, 0);
}
END_TEST

MR_SUITE("intake_model", T(long_histories_keep_to_the_rules))
