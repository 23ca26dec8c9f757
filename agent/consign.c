/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files become movies here. A movie is written to the journal before it is opened, so that a
 * restarted agent offers it under the same id. Sends nothing itself and reads only source headers.
 */
#include "consign_state.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define STAGE            "tail"
#define FILL_MAX         256                /* movies in one transaction of the journal */
#define RETRY_NS         (30 * MR_NS_PER_S) /* before a file that cannot be opened is tried again */
#define PAUSE_NS         (1 * MR_NS_PER_S)
#define READ_GAP_NS      (10 * MR_NS_PER_S) /* nobody tried, without a session or credit */
#define READ_PATIENCE_NS (60 * MR_NS_PER_S) /* longer than a share is away for a moment */

int mr_consign_new(const struct mr_consign_config *config, struct mr_journal *journal,
                   struct mr_consign **ret, struct mr_err *err)
{
    struct mr_consign *c = calloc(1, sizeof(*c));
    if (c == NULL || mr_shipments_init(&c->all) < 0) {
        free(c);
        return mr_err_errno(err, -ENOMEM, "agent");
    }
    c->config = *config;
    c->journal = journal;
    *ret = c;
    return 0;
}

void mr_consign_free(struct mr_consign *c)
{
    if (c == NULL)
        return;
    mr_shipments_fini(&c->all);
    free(c);
}

void mr_consign_use(struct mr_consign *c, struct mr_transfer *transfer)
{
    c->transfer = transfer;
}

bool mr_consign_idle(const struct mr_consign *c)
{
    return c->counts.moving == 0 && c->all.waiting_count == 0;
}

void mr_consign_count(const struct mr_consign *c, struct mr_consign_counts *ret)
{
    *ret = c->counts;
    ret->files = c->all.count;
    ret->waiting = c->all.waiting_count;
    ret->sent_bytes = c->counts.committed_bytes + mr_transfer_durable_bytes(c->transfer);
}

/* ---- the line ---- */

void mr_consign_refuse(struct mr_consign *c, struct mr_shipment *s, const char *text)
{
    mr_error(STAGE, "%s", text);
    s->end = MR_END_FAILED;
    s->identified = true;
    s->again = s->replaced = false;
    s->shipped = s->facts;
    c->counts.failed++;
}

static void refuse_broken(struct mr_consign *c, struct mr_shipment *s)
{
    char text[MR_PATH_MAX + MR_TEXT_MAX + MR_JOURNAL_ROOT_MAX + 4];
    snprintf(text, sizeof(text), "%s/%s: %s", s->root, s->path,
             s->reason == NULL ? "broken" : s->reason);
    mr_consign_refuse(c, s, text);
}

static void set_stale(struct mr_consign *c, struct mr_shipment *s, bool stale)
{
    c->counts.stale += stale && !s->stale;
    c->counts.stale -= !stale && s->stale;
    s->stale = stale;
}

static void count_bytes(struct mr_consign *c, struct mr_shipment *s)
{
    c->counts.bytes += s->facts.size - s->counted_bytes;
    s->counted_bytes = s->facts.size;
}

/* True where its state and what track said allow shipping it now. */
static bool is_due(const struct mr_consign *c, const struct mr_shipment *s)
{
    bool decided = s->kind == MR_GROWTH_COMPLETE || s->kind == MR_GROWTH_BROKEN;
    bool revision = s->end == MR_END_COMMITTED && !s->replaced;
    if (c->stopping || s->state != MR_SHIPMENT_IDLE || s->gone ||
        (s->end != MR_END_NOT_YET && !s->again))
        return false;
    if (decided)
        return true;
    /* a file settles only when complete, and a revision lands whole */
    return mr_shipment_growing(s) && s->view.known && s->view.kind == MR_KIND_MOVIE && !revision;
}

void mr_consign_line_up(struct mr_consign *c, struct mr_shipment *s, int64_t real_ns)
{
    struct mr_err err = {0};
    if (!is_due(c, s))
        return;
    set_stale(c, s, false);
    if (s->kind == MR_GROWTH_BROKEN && c->config.push) {
        refuse_broken(c, s);
    } else if (mr_consign_shape(c, s, &err) < 0) {
        mr_consign_refuse(c, s, err.text);
    } else if (mr_consign_identify(c, s, real_ns)) {
        s->end = MR_END_NOT_YET;
        s->not_before_ns = 0;
        count_bytes(c, s);
        mr_shipments_wait(&c->all, s);
    }
}

/* ---- into the transfer ---- */

/* As it was before it was put in the line. */
static void unqueue(struct mr_consign *c, struct mr_shipment *s)
{
    mr_shipments_unwait(&c->all, s);
    c->counts.bytes -= s->counted_bytes;
    s->counted_bytes = 0;
    if (s->revision > 1) {
        s->revision--;
        s->end = MR_END_COMMITTED;
        s->shipped = (struct mr_fs_facts){0};
    }
}

/* An error of our own means, not of the source. */
static bool is_ours(int code)
{
    return code == -EMFILE || code == -ENFILE || code == -ENOMEM;
}

/* Gone, replaced or changed: track says so next. Otherwise it may be readable later. */
static void cannot_open(struct mr_consign *c, struct mr_shipment *s, int code, int64_t now_ns)
{
    mr_shipment_close(s);
    if (code == -ESTALE || code == -ENOENT || code == -ELOOP) {
        unqueue(c, s);
        set_stale(c, s, true);
        return;
    }
    if (!s->unreadable)
        mr_error(STAGE, "%s/%s cannot be read: %s", s->root, s->path, mr_err_name(code));
    s->unreadable = true;
    if (c->config.ends && !is_ours(code)) {
        s->end = MR_END_FAILED;
        c->counts.failed++;
        return;
    }
    s->not_before_ns = now_ns + RETRY_NS;
    mr_shipments_wait_last(&c->all, s);
}

/* The journal could not be read when s was put in the line. As prepare. */
static bool identify_late(struct mr_consign *c, struct mr_shipment *s, int64_t now_ns,
                          int64_t real_ns)
{
    bool goes_on = mr_consign_identify(c, s, real_ns);
    if (!s->identified) {
        s->not_before_ns = now_ns + RETRY_NS;
        mr_shipments_wait_last(&c->all, s);
        return false;
    }
    if (!goes_on) {
        c->counts.bytes -= s->counted_bytes;
        s->counted_bytes = 0;
    }
    return goes_on;
}

/* Source open, id in the journal. False: not now; s is where it belongs. *ret_code: the journal's.
 */
static bool prepare(struct mr_consign *c, struct mr_shipment *s, int64_t now_ns, int64_t real_ns,
                    int *ret_code)
{
    if (now_ns < s->not_before_ns) {
        mr_shipments_wait_last(&c->all, s);
        return false;
    }
    if (!s->identified && !identify_late(c, s, now_ns, real_ns))
        return false;
    int r = mr_consign_open_source(s);
    if (r < 0) {
        cannot_open(c, s, r, now_ns);
        return false;
    }
    s->unreadable = false;
    *ret_code = mr_consign_write_open(c, s);
    if (*ret_code == 0) /* a thousand folders that appear at once are no thousand transactions */
        mr_consign_write_day(c, s, real_ns);
    return true;
}

static void put_back(struct mr_consign *c, struct mr_shipment *s)
{
    mr_shipment_close(s);
    mr_shipments_wait_last(&c->all, s);
}

static size_t room_of(const struct mr_shipment *s)
{
    return mr_consign_is_small(s) ? 1 : MR_CONSIGN_SMALL;
}

void mr_consign_board(struct mr_consign *c, struct mr_shipment *s)
{
    s->state = MR_SHIPMENT_MOVING;
    s->room = room_of(s);
    c->room_taken += s->room;
    c->counts.moving++;
}

static void embark(struct mr_consign *c, struct mr_shipment *s, int64_t real_ns)
{
    struct mr_open open;
    mr_consign_describe(c, s, real_ns, &open);
    if (mr_transfer_add(c->transfer, s, &open) < 0) {
        put_back(c, s);
        return;
    }
    mr_consign_board(c, s);
    s->failing_since_ns = 0;
    s->weighed = false;
    mr_consign_tell(c, s);
}

/* What earlier runs left is ended beyond the limit. */
static size_t room_left(const struct mr_consign *c)
{
    size_t limit = c->config.movies_max * MR_CONSIGN_SMALL;
    return c->room_taken < limit ? limit - c->room_taken : 0;
}

/* All ids of a batch are durable before the first of them is opened at the server. */
void mr_consign_fill(struct mr_consign *c, int64_t now_ns, int64_t real_ns)
{
    struct mr_err err = {0};
    mr_consign_look_for_lost(c, real_ns);
    struct mr_shipment *ready[FILL_MAX];
    size_t count = 0, room = room_left(c);
    if (c->all.waiting_count == 0 || room == 0 || now_ns < c->pause_until_ns)
        return;
    int r = mr_journal_begin(c->journal, &err);
    bool batch = r == 0;
    for (size_t left = c->all.waiting_count; r == 0 && left > 0 && count < FILL_MAX; left--) {
        size_t needed = room_of(c->all.waiting_first);
        if (needed > room)
            break;
        struct mr_shipment *s = mr_shipments_next(&c->all);
        if (!prepare(c, s, now_ns, real_ns, &r))
            continue;
        ready[count++] = s;
        room -= needed;
    }
    if (r == 0)
        r = mr_journal_commit(c->journal, &err);
    else if (batch)
        mr_journal_rollback(c->journal);
    if (err.code != 0)
        (void)mr_consign_journal_said(c, r, &err);
    c->pause_until_ns = r < 0 ? now_ns + PAUSE_NS : 0;
    for (size_t i = 0; i < count; i++) {
        if (r < 0)
            put_back(c, ready[i]);
        else
            embark(c, ready[i], real_ns);
    }
}

/* ---- what track says ---- */

static void leave(struct mr_consign *c, struct mr_shipment *s)
{
    if (s->state == MR_SHIPMENT_MOVING) {
        s->state = MR_SHIPMENT_LEAVING;
        mr_transfer_abandon(c->transfer, s);
    } else if (s->state == MR_SHIPMENT_WAITING) {
        unqueue(c, s);
    }
}

static void take_gone(struct mr_consign *c, struct mr_shipment *s)
{
    s->gone = true;
    set_stale(c, s, false);
    if (s->state == MR_SHIPMENT_MOVING && !mr_shipment_complete(s)) {
        mr_transfer_fail(c->transfer, s, NULL, "the source vanished before it was complete");
    } else if (s->state == MR_SHIPMENT_IDLE || s->state == MR_SHIPMENT_WAITING) {
        leave(c, s);
        mr_shipments_remove(&c->all, s);
    }
    /* complete and on its way: it is read on through the open file */
}

/* All that was said of it is void. */
static void take_again(struct mr_consign *c, struct mr_shipment *s, const struct mr_growth *growth)
{
    if (s->state == MR_SHIPMENT_MOVING)
        mr_warn(STAGE, "%s/%s: %s: it begins again", s->root, s->path, growth->reason);
    leave(c, s);
    s->again = true;
    s->tries = 0;
    if (growth->kind == MR_GROWTH_REPLACED) {
        s->replaced = true;
        s->identified = true;
    }
}

void mr_consign_growth(struct mr_consign *c, const struct mr_growth *growth, int64_t real_ns)
{
    struct mr_shipment *s = mr_shipments_find(&c->all, growth->file);
    if (s == NULL && growth->kind == MR_GROWTH_GONE)
        return;
    if (s == NULL)
        s = mr_shipments_add(&c->all, growth);
    if (s == NULL) {
        mr_error(STAGE, "%s/%s: out of memory; found again at the next start", growth->root,
                 growth->path);
        return;
    }
    if (growth->kind == MR_GROWTH_GONE) {
        take_gone(c, s);
        return;
    }
    if (growth->kind == MR_GROWTH_REPLACED || growth->kind == MR_GROWTH_CHANGED) {
        take_again(c, s, growth);
        mr_shipment_note(s, growth);
        return;
    }
    mr_shipment_note(s, growth);
    if (s->state == MR_SHIPMENT_MOVING) {
        count_bytes(c, s);
        mr_consign_tell(c, s);
    } else {
        mr_consign_line_up(c, s, real_ns);
    }
}

void mr_consign_changed(struct mr_consign *c, struct mr_shipment *s, const char *why)
{
    if (s->state != MR_SHIPMENT_MOVING)
        return;
    mr_warn(STAGE, "%s/%s: %s: it begins again", s->root, s->path, why);
    s->tries++;
    leave(c, s);
}

static void unreadable(struct mr_consign *c, struct mr_shipment *s, int code)
{
    char text[MR_TEXT_MAX];
    if (s->state != MR_SHIPMENT_MOVING)
        return;
    snprintf(text, sizeof(text), "the source cannot be read: %s", mr_err_name(code));
    mr_transfer_fail(c->transfer, s, NULL, text); /* its verdict says so */
}

/* The first slab that fails is the one that counts: others of the file may be read meanwhile, or
 * fail with it. Want of our own means is no fault of the source; but a command has to end. */
void mr_consign_read_failed(struct mr_consign *c, struct mr_shipment *s, uint64_t slab, int code,
                            int64_t now_ns)
{
    if (code == -ENODATA) {
        mr_consign_changed(c, s, "it shrank while it was read");
        return;
    }
    if (is_ours(code) && !c->config.ends) {
        mr_log_seldom(MR_LOG_WARN, STAGE, "sources cannot be read: %s; tried again every second",
                      mr_err_name(code));
        return;
    }
    bool begins =
        s->failing_since_ns == 0 || slab < s->failed_slab || now_ns - s->failed_ns > READ_GAP_NS;
    if (!begins && slab != s->failed_slab)
        return;
    s->failed_ns = now_ns;
    if (begins) {
        s->failed_slab = slab;
        s->failing_since_ns = now_ns;
        mr_warn(STAGE, "%s/%s cannot be read: %s; tried again every second", s->root, s->path,
                mr_err_name(code));
    } else if (now_ns - s->failing_since_ns >= READ_PATIENCE_NS) {
        unreadable(c, s, code);
    }
}

void mr_consign_was_read(struct mr_shipment *s, uint64_t slab)
{
    if (slab == s->failed_slab)
        s->failing_since_ns = 0;
}

/* Nobody would ever resume them: a push has no journal. */
void mr_consign_stop(struct mr_consign *c)
{
    c->stopping = true;
    for (size_t i = 0; i < c->all.bucket_count; i++)
        for (struct mr_shipment *s = c->all.buckets[i]; s != NULL; s = s->next_hash)
            leave(c, s);
}
