/* SPDX-License-Identifier: Apache-2.0 */
/* What a verdict of the server means for a file. Asks nothing and sends nothing. */
#include "consign_state.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STAGE       "tail"
#define TRIES_MAX   3
#define HELD_MAX_MS 60000

static void end(struct mr_consign *c, struct mr_shipment *s, enum mr_shipment_end how)
{
    s->state = MR_SHIPMENT_IDLE;
    s->end = how;
    s->held_code = 0;
    c->counts.moving--;
    c->room_taken -= s->room;
    if (how != MR_END_COMMITTED)
        c->counts.bytes -= s->counted_bytes;
    s->counted_bytes = 0;
    if (c->config.uncache != NULL && s->fd >= 0)
        mr_uncache_whole(&s->uncache, c->config.uncache, s->fd, s->facts.size);
    mr_shipment_close(s);
}

/* What is to follow an end: nothing more of a file that is gone; else what was said meanwhile. */
static void go_on(struct mr_consign *c, struct mr_shipment *s)
{
    if (s->gone)
        mr_shipments_remove(&c->all, s);
    else
        mr_consign_line_up(c, s, mr_clock_real_ns());
}

/* The server had the same content already: what changes from now on is a revision of that movie,
 * unless another file of ours is that movie. */
static void take_over(struct mr_consign *c, struct mr_shipment *s, const struct mr_committed *m)
{
    char text[MR_ULID_TEXT];
    struct mr_ulid id;
    struct mr_err err = {0};
    snprintf(text, sizeof(text), "%.26s", m->event);
    if (!m->known || mr_ulid_parse(text, &id) < 0)
        return;
    bool same = mr_ulid_equal(&id, &s->id);
    if (same ? m->revision == s->revision
             : mr_journal_find(c->journal, &id, &c->record, &err) != -ENOENT)
        return;
    mr_consign_forget(c, s);
    s->id = id;
    s->revision = m->revision;
}

/* What is committed may be what the file was: an earlier run sent it and ended before it could note
 * the verdict, and the file went on changing. Then this is not the end of it. */
static void take_facts(struct mr_shipment *s, const struct mr_committed *m)
{
    if (m->source_mtime_ns == 0)
        return;
    s->shipped.size = m->source_bytes;
    s->shipped.mtime_ns = m->source_mtime_ns;
    s->again |= mr_shipment_growing(s) || s->facts.size != m->source_bytes ||
                s->facts.mtime_ns != m->source_mtime_ns;
}

/* What is committed is what the END said that is known; else nobody can tell later whether the
 * source is still that. */
static void check_said(struct mr_shipment *s, const struct mr_committed *m)
{
    if (m->source_mtime_ns == 0 || s->said.size != m->source_bytes ||
        s->said.mtime_ns != m->source_mtime_ns)
        s->said = (struct mr_shipment_said){0};
}

static void on_committed(struct mr_consign *c, struct mr_shipment *s, const struct mr_committed *m)
{
    take_over(c, s, m);
    take_facts(s, m);
    check_said(s, m);
    mr_consign_write_end(c, s, MR_JOURNAL_COMMITTED, m->event, "");
    c->counts.committed++;
    c->counts.known += m->known;
    c->counts.committed_bytes += s->shipped.size;
    mr_info(STAGE, "%s/%s %s %s (%s)", s->root, s->path,
            m->known ? "was in the store already:" : "is committed:", m->path, m->event);
    if (c->config.ends) { /* a command's results, as they come */
        puts(m->path);
        fflush(stdout); /* what could not be written is noticed at the command's end */
    }
    s->tries = 0;
    s->again |= s->state == MR_SHIPMENT_LEAVING;
    end(c, s, MR_END_COMMITTED);
    go_on(c, s);
}

static void give_up(struct mr_consign *c, struct mr_shipment *s)
{
    char text[MR_PATH_MAX + MR_JOURNAL_ROOT_MAX + 128];
    snprintf(text, sizeof(text),
             "%s/%s: read %u times, and each time other bytes arrived: given up until it changes",
             s->root, s->path, s->tries);
    s->tries = 0;
    mr_consign_refuse(c, s, text);
}

/* Where totals disagree the source was not, all along, what it is now: so it is read anew. */
static void on_failed(struct mr_consign *c, struct mr_shipment *s, const struct mr_failed *m)
{
    bool once_more = m->code == MR_REASON_MISMATCH && s->kind != MR_GROWTH_BROKEN && !s->gone &&
                     ++s->tries < TRIES_MAX;
    mr_error(STAGE, "%s/%s failed (%s): %s%s", s->root, s->path, mr_reason_name(m->code), m->text,
             once_more ? "; it begins again as another movie" : "");
    s->shipped = s->facts;
    mr_consign_write_end(c, s, MR_JOURNAL_FAILED, "", m->text);
    s->again |= s->state == MR_SHIPMENT_LEAVING;
    c->counts.failed += !once_more && !s->again;
    end(c, s, once_more ? MR_END_NOT_YET : MR_END_FAILED);
    go_on(c, s);
}

/* Asked for (the source changed), or the server's own: what arrived is not what we read. */
static void on_abandoned(struct mr_consign *c, struct mr_shipment *s)
{
    bool revision = s->revision > 1;
    s->tries += s->state != MR_SHIPMENT_LEAVING;
    mr_consign_forget(c, s);
    end(c, s, MR_END_NOT_YET);
    if (s->held_too_long) {
        char text[MR_PATH_MAX + MR_JOURNAL_ROOT_MAX + 64];
        snprintf(text, sizeof(text), "%s/%s was not shipped", s->root, s->path);
        mr_consign_refuse(c, s, text);
        return;
    }
    if (s->tries >= TRIES_MAX && !s->gone) {
        give_up(c, s);
        return;
    }
    if (revision) { /* the same movie, the same revision, read anew */
        s->end = MR_END_COMMITTED;
        s->again = true;
        s->revision--;
        s->shipped = (struct mr_fs_facts){0};
    }
    go_on(c, s);
}

/* A service waits for as long as it takes, the source being where it was. A command has to end, and
 * to say that it failed. */
static void limit_hold(struct mr_consign *c, struct mr_shipment *s, const struct mr_hold *m)
{
    if (!c->config.ends || m->code == MR_REASON_BUSY || s->held_too_long)
        return;
    s->held_ms += m->retry_ms;
    if (s->held_ms < HELD_MAX_MS)
        return;
    mr_error(STAGE, "%s/%s: given up: %s", s->root, s->path, m->text);
    s->held_too_long = true;
    mr_transfer_abandon(c->transfer, s);
}

static void on_hold(struct mr_consign *c, struct mr_shipment *s, const struct mr_hold *m)
{
    if (s->held_code != m->code) /* once for each cause */
        mr_log_seldom(MR_LOG_WARN, STAGE, "%s/%s waits (%s): %s; asked again every %u ms", s->root,
                      s->path, mr_reason_name(m->code), m->text, m->retry_ms);
    s->held_code = m->code;
    limit_hold(c, s, m);
}

static void on_opened(struct mr_shipment *s, const struct mr_opened *m)
{
    uint64_t durable = 0;
    if (s->held_code != 0)
        mr_log_seldom(MR_LOG_INFO, STAGE, "%s/%s goes on", s->root, s->path);
    s->held_code = 0;
    for (uint32_t i = 0; i < m->range_count; i++)
        durable += mr_message_range(m->ranges, i).count;
    struct mr_range first =
        m->range_count > 0 ? mr_message_range(m->ranges, 0) : (struct mr_range){0};
    if (m->resumed)
        mr_log_seldom(MR_LOG_INFO, STAGE,
                      "%s/%s resumes: %llu slabs are durable, the first missing one is %llu",
                      s->root, s->path, (unsigned long long)durable,
                      (unsigned long long)(first.first == 0 ? first.count : 0));
}

void mr_consign_shipped(void *ctx, void *owner, uint64_t from, uint64_t to)
{
    struct mr_consign *c = ctx;
    struct mr_shipment *s = owner;
    if (c->config.uncache != NULL && s->fd >= 0 && s->facts.size >= MR_UNCACHE_LEAST)
        mr_uncache_note(&s->uncache, c->config.uncache, s->fd, from, to);
}

/* Purge asks one question at a time: where nobody takes answers, it stops. */
void mr_consign_confirmed(void *ctx, const struct mr_confirmed *answer)
{
    struct mr_consign *c = ctx;
    int r = c->config.answers == NULL ? 0 : mr_queue_try_push(c->config.answers, answer);
    (void)r;
}

void mr_consign_verdict(void *ctx, void *owner, const struct mr_message *m)
{
    struct mr_consign *c = ctx;
    struct mr_shipment *s = owner;
    switch ((int)m->type) {
    case MR_OPENED:
        on_opened(s, &m->opened);
        return;
    case MR_HOLD:
        on_hold(c, s, &m->hold);
        return;
    case MR_COMMITTED:
        on_committed(c, s, &m->committed);
        return;
    case MR_FAILED:
        on_failed(c, s, &m->failed);
        return;
    default:
        on_abandoned(c, s);
    }
}
