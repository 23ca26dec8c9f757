/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tail's loop: take in what others say, keep the session, pick what may be read. Reads and
 * packs nothing and touches no socket.
 */
#include "tail.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/tally.h"
#include "base/text.h"
#include "sluice.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAGE          "tail"
#define BATCH          256
#define PICKS          8 /* before the loop looks at its queues again */
#define WAIT_MS        50
#define BACKOFF_MIN_NS (100 * MR_NS_PER_MS)
#define BACKOFF_MAX_NS MR_NS_PER_S /* with the link's limit on connecting: 2 s after an outage */
#define REFUSED_NS     (5 * MR_NS_PER_S)  /* before asking again who does not want us */
#define CONNECT_NS     (25 * MR_NS_PER_S) /* link's own limit is 20 s */
#define CONNECT_ONE_NS (5 * MR_NS_PER_S)  /* of several: one that stands still takes connections */
#define DRAIN_NS       (5 * MR_NS_PER_S)
#define LET_GO_NS      (2 * MR_NS_PER_S)
#define READ_PAUSE_NS  MR_NS_PER_S
#define BACKLOG_NS     (60 * MR_NS_PER_S) /* without a server: how often what waits is told */
#define PATIENCE       6                  /* times unreachable_ns, once a server was there */

enum link_state { LINK_DOWN, LINK_CONNECTING, LINK_TALKING };

struct mr_tail {
    struct mr_tail_config config;
    struct mr_consign *consign;
    struct mr_transfer *transfer;
    struct mr_sluice *sluice; /* NULL: the codec is named */
    uint8_t *scratch;         /* one control message */
    struct mr_message *message;
    enum link_state link;
    size_t endpoint; /* the one in use or to be tried next */
    int64_t next_try_ns, backoff_ns, connecting_ns, last_contact_ns;
    bool lanes_ordered, growth_ended, starved, said_down, said_refused;
    size_t refusals; /* for good, since the last session */
    int64_t drain_until_ns;
    int64_t backlog_said_ns;
    atomic_bool stopped;
    pthread_mutex_t lock; /* of status */
    struct mr_tail_status status;
};

int mr_tail_new(const struct mr_tail_config *config, struct mr_tail **ret, struct mr_err *err)
{
    struct mr_tail *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return mr_err_errno(err, -ENOMEM, "agent");
    t->config = *config;
    pthread_mutex_init(&t->lock, NULL);
    t->scratch = malloc(MR_CONTROL_BYTES_MAX);
    t->message = malloc(sizeof(*t->message));
    int r = t->scratch == NULL || t->message == NULL
                ? mr_err_errno(err, -ENOMEM, "agent")
                : mr_consign_new(&config->consign, config->journal, &t->consign, err);
    const struct mr_transfer_ops ops = {.verdict = mr_consign_verdict,
                                        .unchanged = mr_consign_unchanged,
                                        .shipped = mr_consign_shipped,
                                        .confirmed = mr_consign_confirmed,
                                        .ctx = t->consign};
    if (r == 0) {
        r = mr_transfer_new(&config->transfer, &ops, &t->transfer);
        mr_consign_use(t->consign, t->transfer);
    }
    if (r == 0 && config->consign.codec == MR_CODEC_WISH_AUTO)
        r = mr_sluice_new(config->cpus, config->packers, &t->sluice);
    if (r < 0) {
        mr_tail_free(t);
        return r;
    }
    *ret = t;
    return 0;
}

void mr_tail_free(struct mr_tail *t)
{
    if (t == NULL)
        return;
    mr_sluice_free(t->sluice);
    mr_transfer_free(t->transfer);
    mr_consign_free(t->consign);
    pthread_mutex_destroy(&t->lock);
    free(t->message);
    free(t->scratch);
    free(t);
}

void mr_tail_status(struct mr_tail *t, struct mr_tail_status *ret)
{
    pthread_mutex_lock(&t->lock);
    *ret = t->status;
    pthread_mutex_unlock(&t->lock);
}

/* How what goes is packed, for the server's status. */
static void tell_packing(struct mr_tail *t, int64_t now_ns)
{
    struct mr_packing p = {.codec = mr_consign_named_codec(t->config.consign.codec)};
    if (t->sluice != NULL) {
        mr_sluice_look(t->sluice, t->transfer, t->starved || mr_transfer_lacks_credit(t->transfer),
                       now_ns);
        mr_sluice_tell(t->sluice, &p);
    }
    mr_transfer_tell_packing(t->transfer, &p);
}

/* The server hears of it and shows it; while there is none, the log does. */
static void tell_backlog(struct mr_tail *t, const struct mr_consign_counts *counts, int64_t now_ns)
{
    const struct mr_backlog b = {
        .bytes = counts->bytes > counts->sent_bytes ? counts->bytes - counts->sent_bytes : 0,
        .files = (uint32_t)(counts->waiting + counts->moving)};
    char text[MR_QUANTITY_TEXT];
    mr_transfer_tell_backlog(t->transfer, &b);
    if (mr_transfer_ready(t->transfer) || b.files == 0 || t->backlog_said_ns == 0)
        t->backlog_said_ns = now_ns;
    if (now_ns - t->backlog_said_ns < BACKLOG_NS)
        return;
    t->backlog_said_ns = now_ns;
    mr_warn(STAGE, "still no session: %u files wait where they are, %s", b.files,
            mr_text_size_about(b.bytes, text));
}

static void update_status(struct mr_tail *t, int64_t now_ns)
{
    struct mr_consign_counts counts;
    mr_consign_count(t->consign, &counts);
    tell_backlog(t, &counts, now_ns);
    tell_packing(t, now_ns);
    pthread_mutex_lock(&t->lock);
    t->status.counts = counts;
    t->status.connected = mr_transfer_ready(t->transfer);
    pthread_mutex_unlock(&t->lock);
}

void mr_tail_stop(struct mr_tail *t)
{
    atomic_store(&t->stopped, true);
}

static void set_flag(struct mr_tail *t, bool *flag)
{
    pthread_mutex_lock(&t->lock);
    *flag = true;
    pthread_mutex_unlock(&t->lock);
}

/* ---- the session ---- */

static void order(struct mr_tail *t, const struct mr_order *o)
{
    if (mr_queue_push(t->config.orders, o) < 0)
        free(o->data);
}

/* The session is over: another is tried after a while, with the next server of the list. Said once
 * until there is a session again. */
static void hang_up(struct mr_tail *t, int64_t now_ns, const char *why)
{
    if (!t->said_down)
        mr_warn(STAGE, "no session with %s: %s; trying again", t->config.endpoints[t->endpoint],
                why);
    t->said_down = true;
    mr_transfer_disconnected(t->transfer);
    order(t, &(struct mr_order){.kind = MR_ORDER_DISCONNECT});
    t->link = LINK_DOWN;
    t->lanes_ordered = false;
    t->endpoint = (t->endpoint + 1) % t->config.endpoint_count;
    t->next_try_ns = now_ns + t->backoff_ns;
    t->backoff_ns = t->backoff_ns * 2 > BACKOFF_MAX_NS ? BACKOFF_MAX_NS : t->backoff_ns * 2;
}

static void keep_connected(struct mr_tail *t, int64_t now_ns)
{
    int64_t limit_ns = t->config.endpoint_count > 1 ? CONNECT_ONE_NS : CONNECT_NS;
    struct mr_err err = {0};
    if (t->link == LINK_DOWN && now_ns >= t->next_try_ns) {
        order(t, &(struct mr_order){.kind = MR_ORDER_CONNECT,
                                    .endpoint = t->config.endpoints[t->endpoint]});
        t->link = LINK_CONNECTING;
        t->connecting_ns = now_ns;
    } else if (t->link == LINK_CONNECTING && now_ns - t->connecting_ns > limit_ns) {
        hang_up(t, now_ns, "nobody answers");
    } else if (t->link == LINK_TALKING && mr_transfer_check(t->transfer, now_ns, &err) < 0) {
        hang_up(t, now_ns, err.text);
    }
}

static void on_up(struct mr_tail *t, int64_t now_ns)
{
    uint64_t epoch;
    struct mr_err err = {0};
    if (t->link != LINK_CONNECTING)
        return;
    if (mr_journal_next_epoch(t->config.journal, &epoch, &err) < 0) {
        mr_error(STAGE, "%s", err.text);
        hang_up(t, now_ns, err.text);
        return;
    }
    t->link = LINK_TALKING;
    mr_transfer_connected(t->transfer, epoch, now_ns);
}

static void on_welcome(struct mr_tail *t)
{
    const struct mr_welcome *w = mr_transfer_welcome(t->transfer);
    struct mr_order lanes = {
        .kind = MR_ORDER_LANES, .session = mr_transfer_session(t->transfer), .lanes = w->lanes};
    memcpy(lanes.ports, w->ports, sizeof(lanes.ports));
    order(t, &lanes);
    t->lanes_ordered = true;
    t->said_down = t->said_refused = false;
    t->refusals = 0;
    t->backoff_ns = BACKOFF_MIN_NS;
    pthread_mutex_lock(&t->lock);
    t->status.sessions++;
    pthread_mutex_unlock(&t->lock);
    mr_info(STAGE, "session with %s at %s, %u lanes", w->server, t->config.endpoints[t->endpoint],
            w->lanes);
}

/* A server that stops or is full may take us later, and one that says we spoke nonsense when the
 * HELLO is not damaged on its way; one that does not want us, hardly, but the next one may. */
static void on_refused(struct mr_tail *t, uint16_t code, const char *why)
{
    bool for_now = code == MR_REASON_STOPPING || code == MR_REASON_BUSY ||
                   code == MR_REASON_STALE_EPOCH || code == MR_REASON_BAD_REQUEST;
    if (!t->said_refused || (!for_now && t->refusals < t->config.endpoint_count))
        mr_error(STAGE, "%s: %s", t->config.endpoints[t->endpoint], why);
    t->said_refused = t->said_down = true;
    if (for_now || ++t->refusals < t->config.endpoint_count)
        return;
    set_flag(t, &t->status.refused);
    t->backoff_ns = REFUSED_NS;
}

static void on_message(struct mr_tail *t, struct mr_part *part, int64_t now_ns)
{
    struct mr_err err = {0};
    if (t->link != LINK_TALKING)
        return;
    int r = mr_message_decode(mr_part_data(part), mr_part_bytes(part), t->message, &err);
    if (r == 0)
        r = mr_transfer_receive(t->transfer, t->message, now_ns, &err);
    if (r == -ECONNREFUSED)
        on_refused(t, t->message->refused.code, err.text);
    if (r < 0) {
        hang_up(t, now_ns, err.text);
        return;
    }
    if (mr_transfer_ready(t->transfer) && !t->lanes_ordered)
        on_welcome(t);
}

/* Takes what r holds. */
static void take_report(struct mr_tail *t, struct mr_report *r, int64_t now_ns)
{
    switch (r->kind) {
    case MR_REPORT_UP:
        on_up(t, now_ns);
        break;
    case MR_REPORT_DOWN:
        if (t->link != LINK_DOWN)
            hang_up(t, now_ns, r->text);
        break;
    case MR_REPORT_MESSAGE:
        on_message(t, &r->part, now_ns);
        mr_part_close(&r->part);
        break;
    }
}

/* Verdicts come many at a time: the journal notes them in one transaction. An epoch is on the disk
 * before anybody hears of it: it is in none. */
static void take_reports(struct mr_tail *t, int64_t now_ns)
{
    struct mr_report r;
    bool noting = false;
    for (int i = 0; i < BATCH && mr_queue_pop(t->config.reports, 0, &r) == 0; i++) {
        if (noting && r.kind != MR_REPORT_MESSAGE) {
            mr_consign_batch_end(t->consign);
            noting = false;
        } else if (!noting && r.kind == MR_REPORT_MESSAGE) {
            mr_consign_batch_begin(t->consign);
            noting = true;
        }
        take_report(t, &r, now_ns);
    }
    if (noting)
        mr_consign_batch_end(t->consign);
}

static void speak(struct mr_tail *t, int64_t now_ns)
{
    while (mr_transfer_next_control(t->transfer, now_ns, mr_clock_real_ns(), t->message)) {
        size_t bytes;
        int r = mr_message_encode(t->message, t->scratch, MR_CONTROL_BYTES_MAX, &bytes);
        assert(r == 0);
        uint8_t *data = malloc(bytes);
        if (data == NULL) { /* the gap in the sequence ends the session, and all is told again */
            hang_up(t, now_ns, "out of memory");
            return;
        }
        memcpy(data, t->scratch, bytes);
        order(t, &(struct mr_order){.kind = MR_ORDER_MESSAGE, .data = data, .bytes = bytes});
    }
}

/* What purge asks; where there is nobody to ask, it is told so at once. */
static void take_questions(struct mr_tail *t)
{
    struct mr_confirm question;
    if (t->config.consign.questions == NULL ||
        mr_queue_pop(t->config.consign.questions, 0, &question) < 0)
        return;
    int r = mr_transfer_confirm(t->transfer, &question);
    if (r == -EOPNOTSUPP)
        mr_log_seldom(MR_LOG_WARN, STAGE,
                      "the server cannot say whether sources may go, and none does: upgrade it");
    if (r < 0)
        mr_consign_confirmed(t->consign, &(struct mr_confirmed){.movie = question.movie,
                                                                .revision = question.revision});
}

/* ---- slabs ---- */

/* Its movie waits a little, the others go on. */
static void could_not_read(struct mr_tail *t, const struct mr_pick *pick, int code, int64_t now_ns)
{
    if (mr_transfer_unpick(t->transfer, pick, now_ns + READ_PAUSE_NS))
        mr_consign_read_failed(t->consign, pick->owner, pick->slab, code, now_ns);
}

static void take_note(struct mr_tail *t, const struct mr_packed *n, int64_t now_ns)
{
    struct mr_shipment *s = n->pick.owner;
    if (t->sluice != NULL)
        mr_sluice_packed(t->sluice, n, now_ns);
    if (n->error < 0) {
        could_not_read(t, &n->pick, n->error, now_ns);
        return;
    }
    int r =
        mr_transfer_packed(t->transfer, &n->pick, n->crc_raw, n->crc_pixels, n->wire_bytes, now_ns);
    if (r == 0)
        mr_consign_was_read(s, n->pick.slab);
    else if (r == -ESTALE)
        mr_consign_changed(t->consign, s, "it reads back with another checksum");
}

static void take_notes(struct mr_tail *t, int64_t now_ns)
{
    struct mr_packed n;
    while (mr_queue_pop(t->config.notes, 0, &n) == 0)
        take_note(t, &n, now_ns);
}

static void drop(struct mr_parcel *parcel)
{
    mr_fs_close(&parcel->fd);
    mr_pool_put(parcel->buffer);
}

/* False: nothing can be read now. */
static bool pick_one(struct mr_tail *t, int64_t now_ns)
{
    struct mr_parcel parcel = {.fd = -1};
    parcel.buffer = mr_pool_try_get(t->config.pool);
    t->starved = parcel.buffer == NULL;
    if (parcel.buffer == NULL)
        return false;
    if (!mr_transfer_pick(t->transfer, now_ns, &parcel.pick)) {
        drop(&parcel);
        return false;
    }
    struct mr_shipment *s = parcel.pick.owner;
    parcel.fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 0);
    if (parcel.fd < 0) {
        could_not_read(t, &parcel.pick, -errno, now_ns);
        drop(&parcel);
        return true;
    }
    mr_tally_item(parcel.pick.span.source_bytes);
    s->read_early |= mr_shipment_growing(s);
    parcel.geometry = s->geometry;
    parcel.codec =
        t->sluice == NULL ? s->codec : mr_sluice_codec(t->sluice, s, &parcel.pick, now_ns);
    if (mr_queue_push(t->config.parcels, &parcel) < 0)
        drop(&parcel);
    return true;
}

/* ---- the loop ---- */

static void take_growth(struct mr_tail *t)
{
    struct mr_growth growth;
    int r = 0;
    for (int i = 0; i < BATCH && !t->growth_ended; i++) {
        r = mr_queue_pop(t->config.growth, 0, &growth);
        if (r < 0)
            break;
        mr_consign_growth(t->consign, &growth, mr_clock_real_ns());
    }
    t->growth_ended |= r == -EPIPE;
}

/* A server that was there may be restarting. */
static bool unreachable(struct mr_tail *t, int64_t now_ns)
{
    int64_t limit_ns = t->config.unreachable_ns * (t->status.sessions > 0 ? PATIENCE : 1);
    if (mr_transfer_ready(t->transfer))
        t->last_contact_ns = now_ns;
    if (limit_ns == 0 || now_ns - t->last_contact_ns < limit_ns)
        return false;
    set_flag(t, &t->status.unreachable);
    return true;
}

/* --once goes on from its journal next time; a push tells the server to forget what it began. */
static bool let_go(struct mr_tail *t, int64_t now_ns)
{
    if (!t->config.consign.push || !mr_transfer_ready(t->transfer))
        return true;
    if (t->drain_until_ns == 0) {
        mr_consign_stop(t->consign);
        t->drain_until_ns = now_ns + LET_GO_NS;
        return false;
    }
    return mr_consign_idle(t->consign) || now_ns >= t->drain_until_ns;
}

static bool finished(struct mr_tail *t, int64_t now_ns)
{
    if (t->config.consign.ends && atomic_load(&t->stopped))
        return let_go(t, now_ns);
    if (!t->growth_ended)
        return t->config.consign.ends && t->status.refused;
    if (t->config.consign.ends)
        return mr_consign_idle(t->consign) || t->status.refused || unreachable(t, now_ns);
    if (t->drain_until_ns == 0)
        t->drain_until_ns = now_ns + DRAIN_NS; /* stopped: what is in flight may still be acked */
    return now_ns >= t->drain_until_ns || mr_transfer_in_flight(t->transfer) == 0;
}

static void wait_for_work(struct mr_tail *t)
{
    struct mr_queue *questions = t->config.consign.questions;
    struct pollfd fds[5] = {
        {.fd = mr_queue_fd(t->config.reports), .events = POLLIN},
        {.fd = mr_queue_fd(t->config.notes), .events = POLLIN},
        {.fd = t->growth_ended ? -1 : mr_queue_fd(t->config.growth), .events = POLLIN},
        {.fd = t->starved ? mr_pool_fd(t->config.pool) : -1, .events = POLLIN},
        {.fd = questions != NULL ? mr_queue_fd(questions) : -1, .events = POLLIN}};
    enum mr_tally_wait what = t->starved                              ? MR_TALLY_ROOM
                              : mr_transfer_lacks_credit(t->transfer) ? MR_TALLY_CREDIT
                                                                      : MR_TALLY_INPUT;
    mr_tally_poll(fds, 5, WAIT_MS, what);
}

static void run(void *stage)
{
    struct mr_tail *t = stage;
    t->backoff_ns = BACKOFF_MIN_NS;
    t->last_contact_ns = mr_clock_monotonic_ns();
    for (;;) {
        int64_t now_ns = mr_clock_monotonic_ns();
        take_growth(t);
        take_reports(t, now_ns);
        take_notes(t, now_ns);
        keep_connected(t, now_ns);
        take_questions(t);
        mr_consign_fill(t->consign, now_ns, mr_clock_real_ns());
        bool more = true;
        for (int i = 0; i < PICKS && more && t->drain_until_ns == 0; i++)
            more = pick_one(t, now_ns);
        speak(t, now_ns);
        update_status(t, now_ns);
        if (finished(t, now_ns))
            break;
        if (!more || t->drain_until_ns != 0)
            wait_for_work(t);
    }
    mr_transfer_bye(t->transfer);
    speak(t, mr_clock_monotonic_ns());
    mr_queue_close(t->config.parcels);
    mr_queue_close(t->config.orders);
}

const struct mr_stage mr_tail_stage = {.name = STAGE, .run = run};
