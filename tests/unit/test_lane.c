/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What does a lane, with its socket and thread, make of each slab that comes in: is what is good
 * landed, and what is not told to control as what it is, once, and charged to its session?
 */
#include "held_disk.h"
#include "lane.h"
#include "link_rig.h"
#include "scratch.h"

#include "base/crc64.h"

enum { SESSION = 77, OTHER = 78, NEWS = 4096 };

static struct rig rig;
static struct scratch scratch;
static struct mr_lane *lane;
static struct mr_thread *thread;
static struct mr_queue *news;
static struct mr_movie *movie, *other;
static struct mr_lane_news seen[NEWS]; /* all but USED */
static size_t seen_count;
static uint64_t used[2]; /* of SESSION and OTHER, as told */
static uint64_t sent[2], sequence[2];
static uint64_t good; /* slab that comes next where one is to show that the lane goes on */

static void start(uint16_t index, uint16_t lanes, uint32_t buffers)
{
    struct mr_err err = {0};
    const struct mr_lane_config config = {
        .index = index, .lanes = lanes, .buffers = buffers, .endpoint = "tcp://127.0.0.1:*"};
    struct mr_lane_config c = config;
    rig = rig_open();
    scratch = scratch_make();
    ck_assert_int_eq(mr_queue_new(sizeof(struct mr_lane_news), NEWS, &news), 0);
    c.news = news;
    c.landing.uring.force_pwrite_pool = true;
    ck_assert_msg(mr_lane_new(rig.link, &c, &lane, &err) == 0, "%s", err.text);
    ck_assert_str_eq(mr_lane_engine(lane), "pwrite");
    ck_assert_uint_ne(mr_lane_port(lane), 0);
    uint16_t port = mr_lane_port(lane);
    ck_assert_int_eq(mr_peer_connect_lanes(rig.peer, &port, 1, &err), 0);
    ck_assert_int_eq(mr_thread_start(&mr_lane_stage, lane, &err, &thread), 0);
    movie = held_movie(scratch.path, "a", false);
    other = held_movie(scratch.path, "b", false);
    movie->id.bytes[0] = 1;
    other->id.bytes[0] = 2;
    memset(used, 0, sizeof(used));
    memset(sent, 0, sizeof(sent));
    memset(sequence, 0, sizeof(sequence));
    seen_count = 0;
    good = index;
}

static void command(enum mr_lane_command_kind kind, struct mr_movie *mv, uint64_t session)
{
    const struct mr_lane_command c = {.kind = kind, .movie = mv, .session = session};
    ck_assert_int_eq(mr_queue_push(mr_lane_commands(lane), &c), 0);
}

static void stop(void)
{
    mr_queue_close(mr_lane_commands(lane));
    mr_thread_join(thread);
    mr_lane_free(lane);
    mr_queue_free(news);
    mr_movie_release(movie);
    mr_movie_release(other);
    rig_close(&rig);
    scratch_remove(&scratch);
}

/* ---- news ---- */

static void hear_one(void)
{
    struct mr_lane_news n;
    ck_assert_int_eq(mr_queue_pop(news, WAIT_MS, &n), 0);
    if (n.kind == MR_LANE_USED && n.session >= SESSION && n.session <= OTHER)
        used[n.session - SESSION] += n.bytes;
    else if (n.kind != MR_LANE_USED)
        seen[seen_count++] = n;
}

static const struct mr_lane_news *find(enum mr_lane_news_kind kind, const struct mr_movie *mv,
                                       uint64_t slab)
{
    for (size_t i = 0; i < seen_count; i++)
        if (seen[i].kind == kind && seen[i].movie == mv && seen[i].slab == slab)
            return &seen[i];
    return NULL;
}

static const struct mr_lane_news *wait_for(enum mr_lane_news_kind kind, const struct mr_movie *mv,
                                           uint64_t slab)
{
    const struct mr_lane_news *n;
    while ((n = find(kind, mv, slab)) == NULL)
        hear_one();
    return n;
}

/* ---- slabs ---- */

/* 1000 bytes of an opaque file, as an honest agent says it; sequence and session filled in when it
 * is sent. */
static uint8_t data[MR_SLAB_BYTES];

static struct mr_slab_header slab_of(const struct mr_movie *mv, uint64_t slab, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)(slab * 31 + i / 16);
    uint64_t crc = mr_crc64(0, data, bytes);
    return (struct mr_slab_header){.session = SESSION,
                                   .movie = mv->id,
                                   .generation = mv->generation,
                                   .slab = slab,
                                   .wire_bytes = bytes,
                                   .raw_bytes = bytes,
                                   .crc_wire = crc,
                                   .crc_raw = crc};
}

static void send_bytes(const uint8_t header[MR_SLAB_HEADER_BYTES], size_t bytes)
{
    uint8_t *copy = malloc(bytes);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, data, bytes);
    UNTIL(mr_peer_send_slab(rig.peer, 0, header, copy, bytes, free, copy) == 0,
          ck_assert_int_eq(mr_peer_wait(rig.peer, NULL, 0, 1, 100), 0));
}

/* Its first wire_bytes of data, in the envelope that is due. */
static void ship(struct mr_slab_header h)
{
    uint8_t header[MR_SLAB_HEADER_BYTES];
    uint64_t who = h.session - SESSION;
    h.sequence += ++sequence[who];
    mr_slab_header_encode(&h, header);
    send_bytes(header, h.wire_bytes);
    sent[who] += mr_slab_cost(h.wire_bytes);
}

/* One that is good and becomes durable: all that came before it was looked at. */
static void goes_on(uint16_t lanes)
{
    struct mr_slab_header h = slab_of(movie, good, 1000);
    h.lane = (uint16_t)(good % lanes);
    ship(h);
    (void)wait_for(MR_LANE_DURABLE, movie, good);
    good += lanes;
    while (used[0] < sent[0] || used[1] < sent[1])
        hear_one();
    ck_assert_uint_eq(used[0], sent[0]);
    ck_assert_uint_eq(used[1], sent[1]);
}

static void holds(const struct mr_movie *mv, uint64_t offset, uint32_t bytes)
{
    uint8_t *got = malloc(bytes);
    ck_assert_int_eq(pread(mv->part_fd, got, bytes, (off_t)offset), (ssize_t)bytes);
    ck_assert_mem_eq(got, data, bytes);
    free(got);
}

static struct mr_lane_counts counts(void)
{
    struct mr_lane_counts n;
    mr_lane_count(lane, &n);
    return n;
}

START_TEST(a_good_slab_lands_and_is_counted)
{
    start(0, 1, 4);
    command(MR_LANE_ATTACH, movie, SESSION);
    ship(slab_of(movie, 3, 5000));
    (void)wait_for(MR_LANE_DURABLE, movie, 3);
    holds(movie, UINT64_C(3) * MR_SLAB_BYTES, 5000);
    goes_on(1);
    struct mr_lane_counts n;
    UNTIL((n = counts(), n.durable == 2 && n.buffers_free == 4), usleep(1000));
    ck_assert_uint_eq(n.slabs, 2);
    ck_assert_uint_eq(n.bytes, 6000);
    ck_assert_uint_eq(n.raw_bytes, 6000);
    ck_assert_uint_eq(n.stale + n.damaged, 0);
    ck_assert_uint_eq(n.buffers, 4);
    ck_assert_uint_eq(seen_count, 2);
    stop();
}
END_TEST

/* ---- what is not as it should be ---- */

/* What is other than it should be, and the news that follow; NOTHING: dropped in silence. */
START_TEST(what_is_wrong_with_a_slab_is_told_as_what_it_is)
{
    enum { NOTHING = -1 };
    static const struct {
        int kind;
        uint8_t stale, damaged;
        uint8_t movie; /* first byte of its id; 0: the one that is attached */
        uint8_t session, generation;
        uint64_t slab; /* 0: one of this lane's */
        uint32_t pixels, codec, raw;
        uint8_t crc_wire, crc_raw;
        int sequence;
    } cases[] = {{MR_LANE_DURABLE, 0, 0, .slab = 5},
                 {NOTHING, 1, 0, .movie = 9}, /* there is none */
                 {NOTHING, 1, 0, .movie = 2}, /* it is not attached */
                 {NOTHING, 1, 0, .generation = 1},
                 {NOTHING, 1, 0, .session = 1},
                 {MR_LANE_MISFIT, 1, 0, .slab = 4}, /* the other lane's */
                 {MR_LANE_MISFIT, 1, 0, .pixels = 8},
                 {MR_LANE_MISFIT, 1, 0, .codec = MR_CODEC_BSLZ4, .raw = 1000},
                 {MR_LANE_DAMAGED, 0, 1, .crc_wire = 1},
                 {MR_LANE_DAMAGED, 0, 1, .crc_raw = 1},
                 {MR_LANE_GAP, 1, 0, .sequence = 1},
                 {MR_LANE_GAP, 1, 0, .sequence = -1}}; /* said twice */
    start(1, 2, 4);
    command(MR_LANE_ATTACH, movie, SESSION);
    good = 101;
    goes_on(2);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mr_lane_counts before = counts(), after;
        struct mr_slab_header h = slab_of(movie, cases[i].slab != 0 ? cases[i].slab : 7, 1000);
        h.lane = 1;
        h.movie.bytes[0] = cases[i].movie != 0 ? cases[i].movie : 1;
        h.session += cases[i].session;
        h.generation += cases[i].generation;
        h.pixel_bytes = cases[i].pixels;
        h.codec = (enum mr_codec_id)cases[i].codec;
        h.raw_bytes += cases[i].raw;
        h.crc_wire ^= cases[i].crc_wire;
        h.crc_raw ^= cases[i].crc_raw;
        sequence[0] += (uint64_t)cases[i].sequence;
        seen_count = 0;
        ship(h);
        goes_on(2);
        after = counts();
        bool told = cases[i].kind != NOTHING, gap = cases[i].kind == MR_LANE_GAP;
        ck_assert_msg(seen_count == (told ? 2 : 1), "case %zu: %zu news", i, seen_count);
        const struct mr_lane_news *n =
            find((enum mr_lane_news_kind)cases[i].kind, gap ? NULL : movie, gap ? 0 : h.slab);
        ck_assert_msg((n != NULL) == told, "case %zu", i);
        ck_assert(!told || n->lane == 1);
        ck_assert(!gap || n->session == SESSION);
        ck_assert_msg(after.stale - before.stale == cases[i].stale, "case %zu", i);
        ck_assert_msg(after.damaged - before.damaged == cases[i].damaged, "case %zu", i);
    }
    stop();
}
END_TEST

/* Before it is known whose it is nothing is charged; a header that is whole names its session. */
START_TEST(what_is_no_message_is_a_gap_of_the_session_it_names)
{
    uint8_t header[MR_SLAB_HEADER_BYTES];
    start(1, 2, 4);
    command(MR_LANE_ATTACH, movie, SESSION);
    for (int i = 0; i < 4; i++) {
        struct mr_slab_header h = slab_of(movie, 7, 1000);
        h.lane = 1;
        h.sequence = sequence[0] + 1;
        if (i == 0)
            h.lane = 0;
        if (i == 1)
            h.raw_bytes = 999; /* a field out of range: not packed, and yet of two sizes */
        mr_slab_header_encode(&h, header);
        if (i == 3)
            header[40] ^= 1;
        seen_count = 0;
        uint64_t damaged = counts().damaged;
        send_bytes(header, i == 2 ? 1001 : 1000);
        goes_on(2);
        ck_assert_uint_eq(counts().damaged, damaged + 1);
        ck_assert_uint_eq(seen_count, i == 3 ? 1 : 2);
        if (i < 3)
            ck_assert_uint_eq(find(MR_LANE_GAP, NULL, 0)->session, SESSION);
    }
    stop();
}
END_TEST

START_TEST(a_gap_is_told_once_and_what_follows_in_order_lands)
{
    start(0, 1, 4);
    command(MR_LANE_ATTACH, movie, SESSION);
    sequence[0] = 40; /* the first of a session is 1 */
    ship(slab_of(movie, 9, 1000));
    goes_on(1);
    goes_on(1);
    ck_assert_ptr_nonnull(find(MR_LANE_GAP, NULL, 0));
    ck_assert_uint_eq(seen_count, 3);
    stop();
}
END_TEST

/* Sessions that fell silent are forgotten when there are too many, the longest silent one first. */
START_TEST(the_longest_silent_session_is_forgotten_first)
{
    enum { KEPT = 512, FIRST = 1000 };
    uint8_t header[MR_SLAB_HEADER_BYTES];
    start(0, 1, 4);
    command(MR_LANE_ATTACH, movie, SESSION);
    struct mr_slab_header h = slab_of(movie, 9, 10);
    for (uint64_t i = 0; i < KEPT; i++) {
        h.session = FIRST + i;
        h.sequence = 1;
        mr_slab_header_encode(&h, header);
        send_bytes(header, 10);
    }
    h.session = FIRST; /* talks again: the second one is the longest silent now */
    h.sequence = 2;
    mr_slab_header_encode(&h, header);
    send_bytes(header, 10);
    goes_on(1); /* of one more session */
    ck_assert_uint_eq(seen_count, 1);
    for (uint64_t i = 0; i < 3; i++) {
        h.session = FIRST + (i == 0 ? 0 : 3 - i); /* 0, 2, 1: asked after, it takes a place */
        h.sequence = i == 0 ? 3 : 2;
        mr_slab_header_encode(&h, header);
        send_bytes(header, 10);
    }
    goes_on(1);
    ck_assert_uint_eq(seen_count, 3);
    ck_assert_uint_eq(find(MR_LANE_GAP, NULL, 0)->session, FIRST + 1);
    stop();
}
END_TEST

/* ---- packed ---- */

/* data, packed in place; its own bytes go to `raw`. */
static struct mr_slab_header packed_of(const struct mr_movie *mv, uint64_t slab, uint32_t bytes,
                                       enum mr_codec_id id, uint8_t *raw)
{
    struct mr_slab_header h = slab_of(mv, slab, bytes);
    struct mr_codec *codec;
    size_t packed;
    memcpy(raw, data, bytes);
    ck_assert_int_eq(mr_codec_new(MR_SLAB_BYTES, &codec), 0);
    ck_assert_int_eq(mr_codec_pack(codec, id, 1, raw, bytes, data, sizeof(data), &packed), 0);
    mr_codec_free(codec);
    h.codec = id;
    h.wire_bytes = (uint32_t)packed;
    h.crc_wire = mr_crc64(0, data, packed);
    return h;
}

START_TEST(a_packed_slab_is_restored_and_compared)
{
    static uint8_t raw[64000];
    start(0, 1, 4);
    movie->codec = MR_CODEC_BSZSTD;
    command(MR_LANE_ATTACH, movie, SESSION);
    for (int i = MR_CODEC_BSLZ4; i <= MR_CODEC_BSZSTD; i++) { /* up to what was named */
        struct mr_slab_header h = packed_of(movie, 3, sizeof(raw), (enum mr_codec_id)i, raw);
        seen_count = 0;
        ship(h);
        (void)wait_for(MR_LANE_DURABLE, movie, 3);
        memcpy(data, raw, sizeof(raw));
        holds(movie, UINT64_C(3) * MR_SLAB_BYTES, sizeof(raw));
        ck_assert_int_eq(ftruncate(movie->part_fd, 0), 0);
    }
    struct mr_lane_counts n = counts();
    ck_assert_uint_eq(n.raw_bytes, 2 * sizeof(raw));
    ck_assert_uint_lt(n.bytes, sizeof(raw));
    struct mr_slab_header h = packed_of(movie, 4, sizeof(raw), MR_CODEC_BSLZ4, raw);
    h.crc_raw ^= 1; /* it is not what was packed */
    ship(h);
    h = packed_of(movie, 5, sizeof(raw), MR_CODEC_BSLZ4, raw);
    h.crc_wire ^= 1;
    ship(h);
    h = packed_of(movie, 6, sizeof(raw), MR_CODEC_BSLZ4, raw);
    h.raw_bytes -= 64; /* nor as long */
    h.crc_raw = mr_crc64(0, raw, h.raw_bytes);
    ship(h);
    goes_on(1);
    for (uint64_t slab = 4; slab <= 6; slab++)
        ck_assert_ptr_nonnull(find(MR_LANE_DAMAGED, movie, slab));
    ck_assert_uint_eq(counts().damaged, 3);
    stop();
}
END_TEST

/* Of an HDF5 movie a slab is stored as it travels, and is a whole chunk of one codec. */
START_TEST(a_chunk_is_stored_as_it_travels)
{
    start(0, 1, 4);
    ck_assert_int_eq(mr_geometry_frames(MR_LAYOUT_CHUNKS, MR_PIXEL_U8, false, 256, 256, 0, 0,
                                        &other->geometry, NULL),
                     0);
    struct mr_span span;
    mr_slab_span(&other->geometry, NULL, 0, &span);
    other->codec = MR_CODEC_BSZSTD;
    command(MR_LANE_ATTACH, movie, SESSION);
    command(MR_LANE_ATTACH, other, SESSION);
    uint32_t chunk = span.raw_bytes;
    uint8_t *whole = malloc(chunk);
    struct mr_slab_header h = packed_of(other, 1, chunk, MR_CODEC_BSZSTD, whole);
    h.pixel_offset = span.pixel_offset;
    h.pixel_bytes = span.pixel_bytes;
    ship(h);
    (void)wait_for(MR_LANE_DURABLE, other, 1);
    ck_assert_uint_gt(atomic_load(&other->space_end), 0);
    uint64_t at = atomic_load(&other->space_end) -
                  (h.wire_bytes + MR_SLAB_ALIGN - 1) / MR_SLAB_ALIGN * MR_SLAB_ALIGN;
    holds(other, at, h.wire_bytes);
    struct {
        uint64_t slab;
        enum mr_codec_id codec;
        uint32_t bytes, offset;
        bool fits;
    } cases[] = {{2, MR_CODEC_BSLZ4, chunk, 0, false}, /* of one kind only */
                 {3, MR_CODEC_BSZSTD, chunk - 256, 0, false},
                 {4, MR_CODEC_BSZSTD, chunk, 1, false},
                 {5, MR_CODEC_BSZSTD, chunk, 0, true}};
    for (size_t i = 0; i < 4; i++) {
        h = packed_of(other, cases[i].slab, cases[i].bytes, cases[i].codec, whole);
        h.pixel_bytes = 100;
        h.pixel_offset = span.pixel_offset + cases[i].offset;
        ship(h);
        (void)wait_for(cases[i].fits ? MR_LANE_DURABLE : MR_LANE_MISFIT, other, cases[i].slab);
    }
    free(whole);

    stop();
}
END_TEST

/* ---- small ones ---- */

START_TEST(a_small_movie_is_aboard_when_it_is_written)
{
    start(0, 1, 4);
    other->small = true;
    command(MR_LANE_ATTACH, movie, SESSION);
    command(MR_LANE_ATTACH, other, SESSION);
    struct mr_slab_header h = slab_of(other, 0, 700);
    ship(h);
    (void)wait_for(MR_LANE_ABOARD, other, 0);
    ck_assert(other->aboard);
    ck_assert_uint_eq(other->slab.stored_bytes, 700);
    ck_assert_uint_eq(other->slab.crc_raw, h.crc_raw);
    ck_assert_uint_eq(other->slab.offset, 0);
    holds(other, 0, 700);
    goes_on(1);
    ck_assert_ptr_null(find(MR_LANE_DURABLE, other, 0)); /* its commit says so */
    command(MR_LANE_DETACH, other, 0);
    (void)wait_for(MR_LANE_DETACHED, other, 0);
    stop();
}
END_TEST

START_TEST(a_small_movie_that_cannot_be_written_is_stuck_and_tainted)
{
    start(0, 1, 4);
    other->small = true;
    int writable = other->part_fd;
    char path[300];
    (void)snprintf(path, sizeof(path), "%s/b.part", scratch.path);
    other->part_fd = open(path, O_RDONLY | O_CLOEXEC);
    command(MR_LANE_ATTACH, movie, SESSION);
    command(MR_LANE_ATTACH, other, SESSION);
    ship(slab_of(other, 0, 700));
    const struct mr_lane_news *n = wait_for(MR_LANE_STUCK, other, 0);
    ck_assert_int_eq(n->code, -EBADF);
    ck_assert_int_eq(n->failure, MR_LANDING_WRITE);
    ck_assert_ptr_nonnull(strstr(n->text, "b.part"));
    ck_assert(mr_movie_is_tainted(other));
    ship(slab_of(other, 0, 700)); /* dropped in silence: control knows */
    goes_on(1);
    ck_assert_uint_eq(seen_count, 2);
    ck_assert(!other->aboard);
    close(writable);
    stop();
}
END_TEST

/* ---- coming and going ---- */

START_TEST(a_movie_that_cannot_be_attached_is_stuck_and_still_detached)
{
    start(0, 1, 4);
    close(other->journal_fd);
    other->journal_fd = -1;
    command(MR_LANE_ATTACH, movie, SESSION);
    command(MR_LANE_ATTACH, other, SESSION);
    const struct mr_lane_news *n = wait_for(MR_LANE_STUCK, other, 0);
    ck_assert_int_lt(n->code, 0);
    ck_assert_str_ne(n->text, "");
    seen_count = 0;
    ship(slab_of(other, 0, 700));
    n = wait_for(MR_LANE_STUCK, other, 0);
    ck_assert_int_eq(n->code, -ENOENT);
    goes_on(1);
    command(MR_LANE_DETACH, other, 0);
    (void)wait_for(MR_LANE_DETACHED, other, 0);
    struct mr_lane_counts c;
    UNTIL((c = counts(), c.buffers_free == c.buffers), usleep(1000));
    stop();
}
END_TEST

START_TEST(a_detached_movie_takes_no_slab_and_its_place_is_free)
{
    start(0, 1, 4);
    for (int i = 0; i < 20; i++) {
        command(MR_LANE_ATTACH, other, SESSION);
        command(MR_LANE_ATTACH, movie, SESSION);
        seen_count = 0;
        ship(slab_of(other, (uint64_t)i, 700));
        goes_on(1);
        (void)wait_for(MR_LANE_DURABLE, other, (uint64_t)i);
        command(MR_LANE_DETACH, i % 2 == 0 ? other : movie, 0);
        (void)wait_for(MR_LANE_DETACHED, i % 2 == 0 ? other : movie, 0);
        if (i % 2 == 0) { /* the one that is left is not lost with it */
            seen_count = 0;
            ship(slab_of(other, 99, 700));
            goes_on(1);
            ck_assert_uint_eq(seen_count, 1);
        }
        command(MR_LANE_DETACH, i % 2 == 0 ? movie : other, 0);
        (void)wait_for(MR_LANE_DETACHED, i % 2 == 0 ? movie : other, 0);
    }
    ck_assert_uint_eq(counts().stale, 10);
    stop();
}
END_TEST

START_TEST(one_buffer_is_enough)
{
    start(0, 1, 1);
    command(MR_LANE_ATTACH, movie, SESSION);
    for (int i = 0; i < 40; i++)
        ship(slab_of(movie, (uint64_t)i, 3000));
    for (uint64_t i = 0; i < 40; i++)
        (void)wait_for(MR_LANE_DURABLE, movie, i);
    ck_assert_uint_eq(seen_count, 40);
    stop();
}
END_TEST

START_TEST(a_lane_ends_when_nobody_hears_its_news)
{
    start(0, 1, 4);
    command(MR_LANE_ATTACH, movie, SESSION);
    goes_on(1);
    mr_queue_close(news);
    command(MR_LANE_DETACH, movie, 0);
    mr_thread_join(thread);
    thread = NULL;
    stop();
}
END_TEST

START_TEST(a_taken_port_is_an_error_that_says_so)
{
    struct mr_err err = {0};
    char endpoint[64];
    struct mr_lane *second = NULL;
    start(0, 1, 1);
    (void)snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", mr_lane_port(lane));
    const struct mr_lane_config config = {
        .index = 1, .lanes = 2, .buffers = 1, .endpoint = endpoint, .news = news};
    ck_assert_int_eq(mr_lane_new(rig.link, &config, &second, &err), -EADDRINUSE);
    ck_assert_ptr_null(second);
    ck_assert_str_ne(err.text, "");
    mr_lane_free(NULL);
    stop();
}
END_TEST

MR_SUITE("lane", T(a_good_slab_lands_and_is_counted),
         T(what_is_wrong_with_a_slab_is_told_as_what_it_is),
         T(what_is_no_message_is_a_gap_of_the_session_it_names),
         T(a_gap_is_told_once_and_what_follows_in_order_lands),
         T(the_longest_silent_session_is_forgotten_first),
         T(a_packed_slab_is_restored_and_compared), T(a_chunk_is_stored_as_it_travels),
         T(a_small_movie_is_aboard_when_it_is_written),
         T(a_small_movie_that_cannot_be_written_is_stuck_and_tainted),
         T(a_movie_that_cannot_be_attached_is_stuck_and_still_detached),
         T(a_detached_movie_takes_no_slab_and_its_place_is_free), T(one_buffer_is_enough),
         T(a_lane_ends_when_nobody_hears_its_news), T(a_taken_port_is_an_error_that_says_so))
