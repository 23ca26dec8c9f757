/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does `codec: auto` compress where the link is the narrow place, and only there; does it stop
 * where that does not help or is not needed any more, and does it not swing to and fro? A camera,
 * packing threads, a link and a store are modelled, with what the seed draws; a tenth of a second a
 * step.
 */
#include "gauge.h"

#include "base/clock.h"
#include "suite.h"
#include "wire/slab.h"

#include <string.h>

#define MB     1e6
#define STEP_S 0.1
#define SLABS  512 /* of a queue */
#define SEEDS  40

struct slab {
    enum mr_codec_id codec;
    double raw, wire;
};

struct line {
    struct slab slabs[SLABS];
    size_t first, count;
    double room; /* bytes it may still take in this step */
};

/* Rates in bytes a second; ratio and cost by codec. */
static struct world {
    double camera, movie_bytes, rest_s; /* a movie, then a rest */
    double link, store, cpus;
    double ratio[MR_CODEC_COUNT], cost_ns[MR_CODEC_COUNT];
    size_t buffers;
    bool session;
    enum mr_pixel pixel;
    double jitter;
} world;

static struct {
    struct mr_gauge *gauge;
    struct line packing, linking, storing;
    int64_t now_ns;
    uint64_t random;
    double unread, movie_left, rest_left, landed_raw, landed_wire;
    double movie_unread; /* of the one being read */
    enum mr_codec_id codec;
    size_t changes, trials;
    struct mr_gauge_verdict verdict;
} run;

static double draw(void)
{
    run.random = run.random * 6364136223846793005u + 1442695040888963407u;
    return (double)(run.random >> 11) / 9007199254740992.0;
}

static double jittered(double rate)
{
    return rate * (1 + world.jitter * (2 * draw() - 1));
}

static void begin(uint64_t seed)
{
    memset(&run, 0, sizeof(run));
    world = (struct world){.camera = 300 * MB,
                           .movie_bytes = 1000 * MB,
                           .link = 1000 * MB,
                           .store = 2000 * MB,
                           .cpus = 2,
                           .ratio = {1, 3, 3.6},
                           .cost_ns = {0.1, 0.5, 1.2},
                           .buffers = 64,
                           .session = true,
                           .pixel = MR_PIXEL_U8,
                           .jitter = 0.2};
    run.random = seed * 2654435761u + 1;
    run.now_ns = 5 * MR_NS_PER_S;
    ck_assert_int_eq(mr_gauge_new(2, &run.gauge), 0);
}

static void end(void)
{
    mr_gauge_free(run.gauge);
}

static void put(struct line *line, struct slab slab)
{
    if (line->count >= SLABS) /* ck_assert tells Check where it is: too slow here */
        ck_abort_msg("the model has more slabs than buffers");
    line->slabs[(line->first + line->count++) % SLABS] = slab;
}

/* True: the first slab has passed. cost: of it, of the room that the step gives. */
static bool pass(struct line *line, double cost)
{
    if (line->count == 0 || line->room < cost)
        return false;
    line->room -= cost;
    line->first = (line->first + 1) % SLABS;
    line->count--;
    return true;
}

static struct slab *first_of(struct line *line)
{
    return &line->slabs[line->first];
}

static void refill(struct line *line, double rate)
{
    double most = rate * STEP_S + 8 * MB; /* what was not used is lost, but for a slab's worth */
    line->room += rate * STEP_S;
    if (line->room > most)
        line->room = most;
}

static void acquire(void)
{
    if (run.rest_left > 0) {
        run.rest_left -= STEP_S;
        return;
    }
    double bytes = jittered(world.camera) * STEP_S;
    run.unread += bytes;
    run.movie_left += bytes;
    if (world.rest_s > 0 && run.movie_left >= world.movie_bytes) {
        run.movie_left = 0;
        run.rest_left = world.rest_s;
    }
}

static size_t in_flight(void)
{
    return run.packing.count + run.linking.count + run.storing.count;
}

/* False: there are no buffers, or no session. */
static bool read_slabs(void)
{
    while (run.unread >= MR_SLAB_BYTES && world.session) {
        if (in_flight() >= world.buffers)
            return false;
        if (run.movie_unread <= 0) {
            run.movie_unread = world.movie_bytes;
            run.codec = mr_gauge_codec(run.gauge, world.pixel, run.now_ns);
        }
        run.movie_unread -= MR_SLAB_BYTES;
        run.unread -= MR_SLAB_BYTES;
        put(&run.packing, (struct slab){.codec = run.codec, .raw = MR_SLAB_BYTES});
    }
    return true;
}

static void work(void)
{
    refill(&run.packing, world.cpus * 1e9); /* of CPU ns */
    refill(&run.linking, jittered(world.link));
    refill(&run.storing, jittered(world.store));
    for (struct slab s;
         s = *first_of(&run.packing), pass(&run.packing, s.raw * (0.1 + world.cost_ns[s.codec]));) {
        s.wire = s.raw / world.ratio[s.codec];
        mr_gauge_packed(run.gauge, world.pixel, s.codec, (uint32_t)s.raw, (uint32_t)s.wire,
                        (uint64_t)(s.raw * world.cost_ns[s.codec]), run.now_ns);
        put(&run.linking, s);
    }
    for (struct slab s; s = *first_of(&run.linking), pass(&run.linking, s.wire);)
        put(&run.storing, s);
    for (struct slab s; s = *first_of(&run.storing), pass(&run.storing, s.raw);) {
        run.landed_raw += s.raw;
        run.landed_wire += s.wire;
    }
}

static void step(void)
{
    run.now_ns += (int64_t)(STEP_S * 1e9);
    acquire();
    bool all = read_slabs();
    work();
    const struct mr_gauge_look look = {
        .now_ns = run.now_ns,
        .session = world.session,
        .held_back = !all,
        .landed_raw = (uint64_t)run.landed_raw,
        .landed_wire = (uint64_t)run.landed_wire,
        .waiting = (uint64_t)(run.unread + (double)in_flight() * MR_SLAB_BYTES),
        .in_flight = in_flight(),
        .packing = run.packing.count,
        .free_cpus = world.cpus,
    };
    enum mr_codec_id before = run.verdict.codec;
    bool news = mr_gauge_look(run.gauge, &look);
    mr_gauge_verdict(run.gauge, &run.verdict);
    if (!news && run.verdict.codec != before)
        ck_abort_msg("a change is kept quiet");
    run.changes += run.verdict.codec != before;
    run.trials += run.verdict.codec > before;
}

static void go_on(double seconds)
{
    for (double s = 0; s < seconds; s += STEP_S)
        step();
}

/* Raw bytes a second that come through. */
static double rate_over(double seconds)
{
    double before = run.landed_raw;
    go_on(seconds);
    return (run.landed_raw - before) / seconds;
}

/* Whatever the camera does below what the link takes: nothing is ever compressed. */
START_TEST(a_wide_link_is_left_alone)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        begin(seed);
        world.camera = (0.05 + 0.7 * draw()) * world.link;
        world.rest_s = draw() < 0.5 ? 0 : 20 * draw();
        go_on(600);
        ck_assert_uint_eq(run.changes, 0);
        end();
    }
}
END_TEST

/* The camera is faster than the link, and stays so: it is compressed soon, more comes through, and
 * it stays so. */
START_TEST(a_narrow_link_is_widened)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        begin(seed);
        world.link = (20 + 80 * draw()) * MB;
        world.camera = world.link * (1.3 + 4 * draw());
        world.movie_bytes = (20 + 500 * draw()) * MB;
        double before = rate_over(5);
        go_on(300);
        ck_assert_int_ne(run.verdict.codec, MR_CODEC_NONE);
        ck_assert_double_gt(run.verdict.link_rate, 0.6 * world.link);
        ck_assert_double_lt(run.verdict.link_rate, 1.4 * world.link);
        double wanted = world.camera < 2.5 * world.link ? world.camera : 2.5 * world.link;
        ck_assert_double_gt(rate_over(120), 0.85 * wanted);
        ck_assert_double_gt(wanted, before);
        ck_assert_uint_le(run.changes, 3);
        end();
    }
}
END_TEST

/* So narrow that zstd pays, with CPUs for it; without them it stays with LZ4. */
START_TEST(a_very_narrow_link_has_zstd)
{
    begin(7);
    world.link = 50 * MB;
    world.camera = 400 * MB;
    world.movie_bytes = 100 * MB;
    go_on(600);
    ck_assert_int_eq(run.verdict.codec, MR_CODEC_BSZSTD);
    ck_assert_double_gt(rate_over(60), 3.3 * world.link);
    end();
    begin(8);
    world.link = 50 * MB;
    world.camera = 400 * MB;
    world.movie_bytes = 100 * MB;
    world.cpus = 0.17; /* LZ4 at 3 times the link's rate needs 0.09 of it, zstd more than all */
    world.cost_ns[MR_CODEC_BSZSTD] = 3;
    go_on(600);
    ck_assert_int_ne(run.verdict.codec, MR_CODEC_NONE);
    ck_assert_double_gt(rate_over(60), 2 * world.link);
    end();
}
END_TEST

/* The server restores the bytes: a slow store is not helped. Tried now and then, less often each
 * time. */
START_TEST(a_slow_store_is_not_helped)
{
    for (uint64_t seed = 1; seed <= SEEDS / 2; seed++) {
        begin(seed);
        world.store = 80 * MB;
        world.camera = 200 * MB;
        world.movie_bytes = 100 * MB;
        go_on(3600);
        ck_assert_uint_ge(run.trials, 1);
        ck_assert_uint_le(run.trials, 5); /* after 5, 10, 20, 40 min */
        ck_assert_int_eq(run.verdict.codec, MR_CODEC_NONE);
        ck_assert_int_eq(run.verdict.reason, MR_GAUGE_NO_FASTER);
        end();
    }
}
END_TEST

START_TEST(without_cpus_it_is_not_tried_and_that_is_said)
{
    begin(3);
    world.link = 80 * MB;
    world.camera = 200 * MB;
    world.cpus = 0.05;
    world.cost_ns[0] = 0.01; /* else packing alone would be the narrow place */
    go_on(600);
    ck_assert_uint_eq(run.changes, 0);
    ck_assert_int_eq(run.verdict.reason, MR_GAUGE_NO_CPU);
    end();
}
END_TEST

/* Packing turns out to cost more than anybody thought. */
START_TEST(packing_that_is_too_slow_is_given_up)
{
    begin(4);
    world.link = 400 * MB;
    world.camera = 800 * MB;
    world.movie_bytes = 200 * MB;
    world.cost_ns[MR_CODEC_BSLZ4] = 8; /* two CPUs: 250 MB/s */
    go_on(60);
    ck_assert_uint_ge(run.trials, 1);
    go_on(60);
    ck_assert_int_eq(run.verdict.codec, MR_CODEC_NONE);
    ck_assert_double_gt(rate_over(60), 0.9 * world.link);
    end();
}
END_TEST

START_TEST(what_does_not_shrink_is_given_up)
{
    begin(5);
    world.link = 80 * MB;
    world.camera = 200 * MB;
    world.movie_bytes = 100 * MB;
    world.ratio[1] = world.ratio[2] = 1.02;
    go_on(3600);
    ck_assert_uint_ge(run.trials, 1);
    ck_assert_uint_le(run.trials, 5);
    ck_assert_int_eq(run.verdict.codec, MR_CODEC_NONE);
    end();
}
END_TEST

/* With small movies the kind of pixels is known before the trial is judged: it ends all the same.
 */
START_TEST(small_movies_that_do_not_shrink_end_it_too)
{
    begin(5);
    world.link = 12 * MB;
    world.camera = 100 * MB;
    world.movie_bytes = 16 * MB;
    world.ratio[1] = world.ratio[2] = 1.0;
    go_on(60);
    ck_assert_uint_eq(run.trials, 1);
    ck_assert_int_eq(run.verdict.codec, MR_CODEC_NONE);
    ck_assert_int_eq(run.verdict.reason, MR_GAUGE_NO_SMALLER);
    end();
}
END_TEST

/* Kinds of pixels that do not shrink travel as they are, others compressed. */
START_TEST(each_kind_of_pixels_for_itself)
{
    begin(6);
    world.link = 80 * MB;
    world.camera = 200 * MB;
    world.movie_bytes = 100 * MB;
    go_on(120);
    ck_assert_int_ne(run.verdict.codec, MR_CODEC_NONE);
    for (int i = 0; i < 16; i++)
        mr_gauge_packed(run.gauge, MR_PIXEL_F32, run.verdict.codec, MR_SLAB_BYTES, MR_SLAB_BYTES,
                        1000, run.now_ns);
    ck_assert_int_eq(mr_gauge_codec(run.gauge, MR_PIXEL_F32, run.now_ns), MR_CODEC_NONE);
    ck_assert_int_eq(mr_gauge_codec(run.gauge, MR_PIXEL_U8, run.now_ns), run.verdict.codec);
    ck_assert_int_eq(mr_gauge_codec(run.gauge, MR_PIXEL_F32, run.now_ns + 3600 * MR_NS_PER_S),
                     run.verdict.codec); /* tried again */
    end();
}
END_TEST

/* The link becomes wide: it is tried without, and that is kept; narrow again: back soon. */
START_TEST(it_follows_the_link)
{
    for (uint64_t seed = 1; seed <= SEEDS / 2; seed++) {
        begin(seed);
        world.camera = 150 * MB;
        world.link = 90 * MB;
        world.movie_bytes = 200 * MB;
        go_on(60);
        ck_assert_int_ne(run.verdict.codec, MR_CODEC_NONE);
        world.link = 1000 * MB;
        go_on(3600);
        ck_assert_int_eq(run.verdict.codec, MR_CODEC_NONE);
        size_t before = run.changes;
        go_on(1200);
        ck_assert_uint_eq(run.changes, before);
        world.link = 90 * MB;
        go_on(60);
        ck_assert_int_ne(run.verdict.codec, MR_CODEC_NONE);
        end();
    }
}
END_TEST

/* Bursts that the uncompressed link does not take, and the compressed one does: each try without is
 * later than the last. */
START_TEST(it_does_not_swing)
{
    for (uint64_t seed = 1; seed <= SEEDS / 2; seed++) {
        begin(seed);
        world.link = 100 * MB;
        world.camera = 250 * MB;
        world.movie_bytes = 2500 * MB;
        world.rest_s = 5 + 20 * draw();
        go_on(4 * 3600);
        ck_assert_uint_le(run.changes, 20);
        end();
    }
}
END_TEST

/* A camera that has become slow does not need it, and that is seen before patience is over. */
START_TEST(a_slow_camera_does_without)
{
    begin(9);
    world.link = 100 * MB;
    world.camera = 250 * MB;
    world.movie_bytes = 100 * MB;
    go_on(60);
    ck_assert_int_ne(run.verdict.codec, MR_CODEC_NONE);
    world.camera = 30 * MB;
    run.unread = 0;
    go_on(50);
    ck_assert_int_eq(run.verdict.codec, MR_CODEC_NONE);
    ck_assert_int_eq(run.verdict.reason, MR_GAUGE_CALM);
    end();
}
END_TEST

/* No session, a store that is paused, a clock that stands still, totals that fall: nothing follows
 * from that. */
START_TEST(nothing_follows_from_nothing)
{
    begin(10);
    world.link = 50 * MB;
    world.session = false;
    go_on(600);
    ck_assert_uint_eq(run.changes, 0);
    world.session = true;
    world.store = 0;
    go_on(600);
    ck_assert_uint_eq(run.changes, 0);
    end();
    begin(11);
    struct mr_gauge_look look = {
        .now_ns = 5, .session = true, .held_back = true, .waiting = 1 << 30};
    for (int i = 0; i < 1000; i++) {
        look.landed_raw = look.landed_wire = (uint64_t)(i % 7) * MR_SLAB_BYTES;
        look.now_ns += i % 5 == 0 ? -1 : 0;
        ck_assert(!mr_gauge_look(run.gauge, &look));
    }
    end();
}
END_TEST

/* The source's own disk is slow: slabs wait, but there are credit and buffers. */
START_TEST(a_slow_source_is_not_the_link)
{
    begin(12);
    struct mr_gauge_look look = {
        .now_ns = 1, .session = true, .waiting = UINT64_C(1) << 36, .in_flight = 2, .free_cpus = 2};
    for (int i = 0; i < 10000; i++) {
        look.now_ns += MR_NS_PER_S / 10;
        look.landed_raw += 2 * MR_SLAB_BYTES;
        look.landed_wire += 2 * MR_SLAB_BYTES;
        if (mr_gauge_look(run.gauge, &look))
            ck_abort();
    }
    ck_assert_ptr_nonnull(run.gauge);
    end();
}
END_TEST

MR_SUITE("gauge", T(a_wide_link_is_left_alone), T(a_narrow_link_is_widened),
         T(a_very_narrow_link_has_zstd), T(a_slow_store_is_not_helped),
         T(without_cpus_it_is_not_tried_and_that_is_said), T(packing_that_is_too_slow_is_given_up),
         T(what_does_not_shrink_is_given_up), T(small_movies_that_do_not_shrink_end_it_too),
         T(each_kind_of_pixels_for_itself), T(it_follows_the_link), T(it_does_not_swing),
         T(a_slow_camera_does_without), T(nothing_follows_from_nothing),
         T(a_slow_source_is_not_the_link))
