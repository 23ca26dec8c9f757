/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lane's loop: commands, slabs, landing. Decides nothing about sessions or movies (control
 * does) and never waits for the disk. No buffer free: nothing is received, and the unreturned
 * credit stops the agents.
 */
#include "lane.h"

#include "base/clock.h"
#include "base/counter.h"
#include "base/crc64.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/tally.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATTACHED_MAX  (2 * MR_MOVIES_MAX) /* at once, those that are being let go of included */
#define SESSIONS_KEPT 512
#define COMMANDS      (4 * ATTACHED_MAX)
#define BATCH         16 /* slabs received before landing gets its step */
#define STAGE         "lane"

enum counter { SLABS, BYTES, RAW_BYTES, DURABLE, STALE, DAMAGED, COUNTERS };

static const struct {
    const char *name, *help;
} counters[COUNTERS] = {
    [SLABS] = {"millrace_lane_received_slabs_total", "Slabs received."},
    [BYTES] = {"millrace_lane_received_bytes_total", "Bytes of slabs as they travelled."},
    [RAW_BYTES] = {"millrace_lane_raw_bytes_total", "Bytes of slabs uncompressed."},
    [DURABLE] = {"millrace_lane_durable_slabs_total", "Slabs made durable."},
    [STALE] = {"millrace_lane_stale_slabs_total", "Slabs of ended sessions or movies, dropped."},
    [DAMAGED] = {"millrace_lane_damaged_slabs_total", "Slabs that arrived damaged."},
};

struct attached {
    struct mr_ulid id;      /* movie's, looked for among hundreds */
    struct mr_movie *movie; /* NULL: free */
    uint64_t session;
};

/* Of one session on this lane */
struct heard {
    uint64_t session, sequence, used;
    uint64_t last; /* turn of the last slab: the longest silent one gives way */
};

struct mr_lane {
    uint16_t index, lanes, port;
    struct mr_lane_socket *socket;
    struct mr_lease *lease; /* borrowed; NULL: none */
    struct mr_queue *commands, *news;
    struct mr_pool *pool;
    struct mr_landing *landing;
    struct mr_codec *codec;
    struct attached movies[ATTACHED_MAX];
    size_t movie_count; /* slots in use lie below */
    struct heard heard[SESSIONS_KEPT];
    uint64_t turn; /* slabs heard so far */
    bool stopping;
    struct mr_counter counters[COUNTERS];
    char label[8];
};

/* ---- news ---- */

static void tell(struct mr_lane *lane, struct mr_lane_news *news)
{
    news->lane = lane->index;
    if (mr_queue_push(lane->news, news) < 0) /* closed: the server is going down */
        lane->stopping = true;
}

static void tell_used(struct mr_lane *lane)
{
    for (size_t i = 0; i < SESSIONS_KEPT; i++) {
        struct heard *h = &lane->heard[i];
        if (h->used == 0)
            continue;
        tell(lane,
             &(struct mr_lane_news){.kind = MR_LANE_USED, .session = h->session, .bytes = h->used});
        h->used = 0;
    }
}

static void on_durable(void *ctx, struct mr_movie *movie, const struct mr_placement *list,
                       size_t count)
{
    struct mr_lane *lane = ctx;
    mr_lease_prove(lane->lease); /* who takes the store over later reads these records */
    for (size_t i = 0; i < count; i++)
        tell(lane,
             &(struct mr_lane_news){.kind = MR_LANE_DURABLE, .movie = movie, .slab = list[i].slab});
    mr_counter_add(&lane->counters[DURABLE], count);
}

static void on_failed(void *ctx, struct mr_movie *movie, int code, enum mr_landing_failure what,
                      const char *text)
{
    struct mr_lane_news news = {
        .kind = MR_LANE_STUCK, .movie = movie, .code = code, .failure = what};
    snprintf(news.text, sizeof(news.text), "%s", text);
    tell(ctx, &news);
}

static void on_detached(void *ctx, struct mr_movie *movie)
{
    tell(ctx, &(struct mr_lane_news){.kind = MR_LANE_DETACHED, .movie = movie});
}

/* ---- commands ---- */

static struct attached *find_movie(struct mr_lane *lane, const struct mr_ulid *id)
{
    for (size_t i = 0; i < lane->movie_count; i++)
        if (mr_ulid_equal(&lane->movies[i].id, id) && lane->movies[i].movie != NULL)
            return &lane->movies[i];
    return NULL;
}

static void attach(struct mr_lane *lane, const struct mr_lane_command *command)
{
    size_t i = 0;
    while (i < lane->movie_count && lane->movies[i].movie != NULL)
        i++;
    assert(i < ATTACHED_MAX);
    struct mr_err err = {0};
    int r = command->movie->small ? 0 : mr_landing_attach(lane->landing, command->movie, &err);
    if (r < 0) {
        struct mr_lane_news news = {
            .kind = MR_LANE_STUCK, .movie = command->movie, .code = r, .failure = MR_LANDING_WRITE};
        snprintf(news.text, sizeof(news.text), "%.150s", err.text);
        tell(lane, &news);
    }
    lane->movies[i] = (struct attached){
        .id = command->movie->id, .movie = command->movie, .session = command->session};
    if (i == lane->movie_count)
        lane->movie_count++;
}

static void detach(struct mr_lane *lane, const struct mr_lane_command *command)
{
    struct attached *a = find_movie(lane, &command->movie->id);
    assert(a != NULL);
    a->movie = NULL;
    while (lane->movie_count > 0 && lane->movies[lane->movie_count - 1].movie == NULL)
        lane->movie_count--;
    if (mr_landing_detach(lane->landing, command->movie) == -ENOENT)
        on_detached(lane, command->movie); /* a small one, or its attach had failed */
}

static void take_commands(struct mr_lane *lane)
{
    struct mr_lane_command command;
    int r;
    while ((r = mr_queue_pop(lane->commands, 0, &command)) == 0) {
        if (command.kind == MR_LANE_ATTACH)
            attach(lane, &command);
        else
            detach(lane, &command);
    }
    if (r == -EPIPE)
        lane->stopping = true;
}

/* ---- slabs ---- */

/* The session's entry; a new one takes the place of the one that was silent for longest. */
static struct heard *heard_of(struct mr_lane *lane, uint64_t session)
{
    struct heard *oldest = &lane->heard[0];
    for (size_t i = 0; i < SESSIONS_KEPT; i++) {
        if (lane->heard[i].session == session)
            return &lane->heard[i];
        if (lane->heard[i].last < oldest->last)
            oldest = &lane->heard[i];
    }
    *oldest = (struct heard){.session = session};
    return oldest;
}

static bool in_sequence(struct mr_lane *lane, const struct mr_slab_header *h)
{
    struct heard *heard = heard_of(lane, h->session);
    heard->used += mr_slab_cost(h->wire_bytes);
    heard->last = ++lane->turn;
    if (h->sequence == heard->sequence + 1) {
        heard->sequence = h->sequence;
        return true;
    }
    heard->sequence = h->sequence; /* told once is enough: the session ends */
    tell(lane, &(struct mr_lane_news){.kind = MR_LANE_GAP, .session = h->session});
    return false;
}

static struct mr_movie *movie_of(struct mr_lane *lane, const struct mr_slab_header *h)
{
    struct attached *a = find_movie(lane, &h->movie);
    if (a == NULL || a->session != h->session) {
        take_commands(lane); /* its attach may have been queued just before OPENED was sent */
        a = find_movie(lane, &h->movie);
    }
    if (a == NULL || a->session != h->session || a->movie->generation != h->generation)
        return NULL;
    return a->movie;
}

/* What is stored as it travels is of one kind; what is restored may come as it likes, up to what
 * was named. */
static bool codec_fits(const struct mr_movie *movie, enum mr_codec_id codec)
{
    return codec == MR_CODEC_NONE || codec == movie->codec ||
           (movie->geometry.layout != MR_LAYOUT_CHUNKS && codec < movie->codec);
}

/* Does the header agree with the movie's geometry? A slab may be short only at the end of a
 * movie. */
static bool fits(const struct mr_lane *lane, const struct mr_movie *movie,
                 const struct mr_slab_header *h)
{
    struct mr_span span;
    if (h->slab >= MR_SLABS_MAX || h->slab % lane->lanes != lane->index)
        return false;
    if (!codec_fits(movie, h->codec))
        return false;
    mr_slab_span(&movie->geometry, NULL, h->slab, &span);
    if (movie->geometry.layout == MR_LAYOUT_CHUNKS && h->raw_bytes != span.raw_bytes)
        return false;
    if (h->pixel_bytes != 0 && h->pixel_offset != span.pixel_offset)
        return false;
    return h->raw_bytes <= span.raw_bytes && h->pixel_bytes <= span.pixel_bytes;
}

static uint32_t element_bytes(const struct mr_movie *movie)
{
    return mr_pixel_bytes(movie->geometry.pixel);
}

/* Into the buffer as it is to be stored; false: it is not what was sent. */
static bool restore(struct mr_lane *lane, const struct mr_movie *movie,
                    const struct mr_slab_header *h, const uint8_t *payload, uint8_t *to)
{
    bool stored_as_sent = movie->geometry.layout == MR_LAYOUT_CHUNKS || h->codec == MR_CODEC_NONE;
    if (stored_as_sent) {
        uint64_t crc = mr_crc64_copy(0, to, payload, h->wire_bytes);
        return crc == h->crc_wire && (h->codec != MR_CODEC_NONE || crc == h->crc_raw);
    }
    return mr_crc64(0, payload, h->wire_bytes) == h->crc_wire &&
           mr_codec_unpack(lane->codec, h->codec, element_bytes(movie), payload, h->wire_bytes, to,
                           h->raw_bytes) == 0 &&
           mr_crc64(0, to, h->raw_bytes) == h->crc_raw;
}

static void describe(const struct mr_movie *movie, const struct mr_slab_header *h,
                     struct mr_placement *ret)
{
    struct mr_span span;
    mr_slab_span(&movie->geometry, NULL, h->slab, &span);
    bool packed = movie->geometry.layout == MR_LAYOUT_CHUNKS;
    *ret = (struct mr_placement){.slab = h->slab,
                                 .offset = packed ? 0 : span.file_offset,
                                 .stored_bytes = packed ? h->wire_bytes : h->raw_bytes,
                                 .raw_bytes = h->raw_bytes,
                                 .codec = packed ? h->codec : MR_CODEC_NONE,
                                 .crc_stored = packed ? h->crc_wire : h->crc_raw,
                                 .crc_raw = h->crc_raw,
                                 .pixel_bytes = h->pixel_bytes,
                                 .crc_pixels = h->crc_pixels,
                                 .stats = h->stats};
}

static void could_not(struct mr_lane *lane, struct mr_movie *movie, const char *what, int code)
{
    char text[160];
    snprintf(text, sizeof(text), "%s: %s: %s", movie->part_name, what, mr_err_name(code));
    on_failed(lane, movie, code, MR_LANDING_WRITE, text);
}

/* A small one's, into the page cache: what makes it durable is its group's affair (flotilla.h). */
static void take_aboard(struct mr_lane *lane, struct mr_movie *movie, const struct mr_placement *p,
                        struct mr_buffer *buffer)
{
    bool dropped = mr_movie_is_tainted(movie);
    int r = dropped ? 0 : mr_placement_check(p);
    if (r == 0 && !dropped)
        r = mr_failpoint_result(
            "small-write", mr_fs_pwrite_full(movie->part_fd, buffer->data, p->stored_bytes, 0));
    mr_pool_put(buffer);
    if (dropped)
        return;
    if (r < 0) {
        mr_movie_taint(movie);
        could_not(lane, movie, "writing the part", r);
        return;
    }
    movie->slab = *p;
    movie->aboard = true;
    tell(lane, &(struct mr_lane_news){.kind = MR_LANE_ABOARD, .movie = movie, .slab = p->slab});
}

static void land(struct mr_lane *lane, struct mr_movie *movie, const struct mr_slab_header *h,
                 const uint8_t *payload, struct mr_buffer *buffer)
{
    struct mr_placement placement;
    if (!restore(lane, movie, h, payload, buffer->data)) {
        mr_pool_put(buffer);
        mr_counter_add(&lane->counters[DAMAGED], 1);
        tell(lane,
             &(struct mr_lane_news){.kind = MR_LANE_DAMAGED, .movie = movie, .slab = h->slab});
        return;
    }
    describe(movie, h, &placement);
    if (movie->small) {
        take_aboard(lane, movie, &placement, buffer);
        return;
    }
    int r = mr_landing_put(lane->landing, movie, &placement, buffer);
    if (r < 0) { /* not attached after a failed attach, or nonsense that passed the checks above */
        mr_pool_put(buffer);
        could_not(lane, movie, "a slab was refused", r);
    }
}

static void receive(struct mr_lane *lane, const uint8_t *header, const uint8_t *payload,
                    size_t bytes, struct mr_buffer *buffer)
{
    struct mr_slab_header h;
    int r = mr_slab_header_decode(header, MR_SLAB_HEADER_BYTES, &h);
    bool whole = r == 0 || r == -EPROTO; /* else nobody knows whose it was */
    if (r < 0 || h.wire_bytes != bytes || h.lane != lane->index) {
        if (whole)
            tell(lane, &(struct mr_lane_news){.kind = MR_LANE_GAP,
                                              .session = mr_slab_header_session(header)});
        mr_counter_add(&lane->counters[DAMAGED], 1);
        mr_pool_put(buffer);
        return;
    }
    struct mr_movie *movie = in_sequence(lane, &h) ? movie_of(lane, &h) : NULL;
    bool misfit = movie != NULL && !fits(lane, movie, &h);
    if (misfit)
        tell(lane, &(struct mr_lane_news){.kind = MR_LANE_MISFIT, .movie = movie, .slab = h.slab});
    if (movie == NULL || misfit) {
        mr_counter_add(&lane->counters[STALE], 1);
        mr_pool_put(buffer);
        return;
    }
    mr_counter_add(&lane->counters[SLABS], 1);
    mr_counter_add(&lane->counters[BYTES], h.wire_bytes);
    mr_counter_add(&lane->counters[RAW_BYTES], h.raw_bytes);
    mr_tally_item(h.wire_bytes);
    land(lane, movie, &h, payload, buffer);
}

/* False: nothing more to receive now. */
static bool receive_one(struct mr_lane *lane, bool *ret_starved)
{
    uint8_t header[MR_SLAB_HEADER_BYTES];
    struct mr_part payload;
    struct mr_buffer *buffer =
        mr_landing_room(lane->landing) == 0 ? NULL : mr_pool_try_get(lane->pool);
    *ret_starved = buffer == NULL;
    if (buffer == NULL)
        return false;
    int r = mr_lane_receive(lane->socket, header, &payload);
    if (r < 0) {
        mr_pool_put(buffer);
        return r == -EBADMSG;
    }
    receive(lane, header, mr_part_data(&payload), mr_part_bytes(&payload), buffer);
    mr_part_close(&payload);
    return true;
}

/* ---- the loop ---- */

static int wait_ms(const struct mr_lane *lane)
{
    int64_t left = mr_landing_next_deadline_ns(lane->landing) - mr_clock_monotonic_ns();
    if (left <= 0)
        return 0;
    return left > MR_NS_PER_S ? 1000 : (int)(left / MR_NS_PER_MS) + 1;
}

static void wait_for_work(struct mr_lane *lane, bool starved)
{
    int fds[2] = {mr_queue_fd(lane->commands), mr_landing_fd(lane->landing)};
    if (!starved) {
        int r = mr_lane_wait(lane->socket, fds, 2, wait_ms(lane));
        (void)r; /* a signal or an early wake-up: the loop looks again */
        return;
    }
    struct pollfd polled[2] = {{.fd = fds[0], .events = POLLIN}, {.fd = fds[1], .events = POLLIN}};
    mr_tally_poll(polled, 2, wait_ms(lane), MR_TALLY_ROOM);
}

static void run(void *stage)
{
    struct mr_lane *lane = stage;
    while (!lane->stopping) {
        bool starved = false, more = true;
        take_commands(lane);
        for (int i = 0; i < BATCH && more; i++)
            more = receive_one(lane, &starved);
        int r = mr_landing_step(lane->landing, mr_clock_monotonic_ns());
        tell_used(lane);
        if (r < 0) {
            tell(lane, &(struct mr_lane_news){.kind = MR_LANE_BROKEN, .code = r});
            return;
        }
        if (!more)
            wait_for_work(lane, starved);
    }
}

const struct mr_stage mr_lane_stage = {.name = STAGE, .run = run};

/* ---- making ---- */

static int make_parts(struct mr_lane *lane, struct mr_link *link,
                      const struct mr_lane_config *config, struct mr_err *notice)
{
    const struct mr_landing_callbacks callbacks = {
        .ctx = lane, .durable = on_durable, .failed = on_failed, .detached = on_detached};
    int r = mr_queue_new(sizeof(struct mr_lane_command), COMMANDS, &lane->commands);
    if (r == 0)
        r = mr_pool_new(MR_MOVIE_BUFFER_BYTES, config->buffers, MR_MOVIE_SLACK, &lane->pool);
    if (r == 0)
        r = mr_codec_new(MR_SLAB_BYTES, &lane->codec);
    if (r < 0)
        return mr_err_errno(notice, r, "lane %u: buffers", lane->index);
    r = mr_landing_new(&config->landing, &callbacks, notice, &lane->landing);
    if (r < 0)
        return r;
    return mr_lane_bind(link, config->endpoint, &lane->socket, &lane->port, notice);
}

static void register_counters(struct mr_lane *lane)
{
    snprintf(lane->label, sizeof(lane->label), "%u", lane->index);
    for (int i = 0; i < COUNTERS; i++)
        lane->counters[i] = (struct mr_counter){.name = counters[i].name,
                                                .help = counters[i].help,
                                                .kind = MR_COUNTER,
                                                .label = "lane",
                                                .label_value = lane->label};
    mr_counters_register(lane->counters, COUNTERS);
}

int mr_lane_new(struct mr_link *link, const struct mr_lane_config *config, struct mr_lane **ret,
                struct mr_err *notice)
{
    struct mr_lane *lane = calloc(1, sizeof(*lane));
    if (lane == NULL)
        return mr_err_errno(notice, -ENOMEM, "lane");
    lane->index = config->index;
    lane->lanes = config->lanes;
    lane->news = config->news;
    lane->lease = config->lease;
    register_counters(lane);
    int r = make_parts(lane, link, config, notice);
    if (r < 0) {
        mr_lane_free(lane);
        return r;
    }
    *ret = lane;
    return 0;
}

void mr_lane_free(struct mr_lane *lane)
{
    if (lane == NULL)
        return;
    mr_counters_unregister(lane->counters, COUNTERS);
    mr_landing_free(lane->landing); /* waits for writes in flight, so before their buffers go */
    if (lane->socket != NULL)
        mr_lane_close(lane->socket);
    mr_codec_free(lane->codec);
    mr_pool_free(lane->pool);
    mr_queue_free(lane->commands);
    free(lane);
}

uint16_t mr_lane_port(const struct mr_lane *lane)
{
    return lane->port;
}

const char *mr_lane_engine(const struct mr_lane *lane)
{
    return mr_landing_engine(lane->landing);
}

struct mr_queue *mr_lane_commands(struct mr_lane *lane)
{
    return lane->commands;
}

struct mr_pool *mr_lane_pool(const struct mr_lane *lane)
{
    return lane->pool;
}

void mr_lane_count(struct mr_lane *lane, struct mr_lane_counts *ret)
{
    *ret = (struct mr_lane_counts){.slabs = mr_counter_value(&lane->counters[SLABS]),
                                   .bytes = mr_counter_value(&lane->counters[BYTES]),
                                   .raw_bytes = mr_counter_value(&lane->counters[RAW_BYTES]),
                                   .durable = mr_counter_value(&lane->counters[DURABLE]),
                                   .stale = mr_counter_value(&lane->counters[STALE]),
                                   .damaged = mr_counter_value(&lane->counters[DAMAGED]),
                                   .buffers = mr_pool_count(lane->pool),
                                   .buffers_free = mr_pool_available(lane->pool)};
}
