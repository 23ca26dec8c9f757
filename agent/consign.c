/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files become movies here. A movie is written to the journal before it is opened, so that a
 * restarted agent offers it under the same id. Sends nothing itself and reads only source headers.
 */
#include "consign.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STAGE     "tail"
#define TRIES_MAX 3

struct mr_consign {
    struct mr_consign_config config;
    struct mr_journal *journal;
    struct mr_transfer *transfer;
    struct mr_shipments all;
    struct mr_journal_movie record; /* scratch: large */
    struct mr_consign_counts counts;
    bool journal_broken; /* said so already */
};

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

/* ---- what a file is opened as
 * ---------------------------------------------------------------------- */

static enum mr_output output_of(const struct mr_consign *c, const struct mr_shipment *s)
{
    if (s->view.kind != MR_KIND_MOVIE || !s->view.known)
        return MR_OUTPUT_KEEP;
    switch (c->config.outputs[s->watch]) {
    case MR_WISH_MRC:
        return MR_OUTPUT_MRC;
    case MR_WISH_HDF5:
        return MR_OUTPUT_HDF5;
    case MR_WISH_AUTO:
    case MR_WISH_KEEP:
        break;
    }
    return MR_OUTPUT_KEEP;
}

static enum mr_codec_id codec_of(const struct mr_consign *c, enum mr_output output)
{
    switch (c->config.codec) {
    case MR_CODEC_WISH_NONE:
        return MR_CODEC_NONE;
    case MR_CODEC_WISH_BSLZ4:
        return MR_CODEC_BSLZ4;
    case MR_CODEC_WISH_BSZSTD:
        return MR_CODEC_BSZSTD;
    case MR_CODEC_WISH_AUTO:
        break;
    }
    return output == MR_OUTPUT_HDF5 ? MR_CODEC_BSLZ4 : MR_CODEC_NONE;
}

static int shape(const struct mr_consign *c, struct mr_shipment *s, struct mr_err *err)
{
    static const enum mr_layout layouts[] = {[MR_OUTPUT_KEEP] = MR_LAYOUT_BYTES,
                                             [MR_OUTPUT_MRC] = MR_LAYOUT_STREAM,
                                             [MR_OUTPUT_HDF5] = MR_LAYOUT_CHUNKS};
    const struct mr_source_view *v = &s->view;
    s->output = output_of(c, s);
    s->codec = codec_of(c, s->output);
    if (s->output == MR_OUTPUT_KEEP && (!v->known || v->pixel == MR_PIXEL_NONE)) {
        mr_geometry_opaque(&s->geometry);
        return 0;
    }
    int r = mr_geometry_frames(layouts[s->output], v->pixel, v->swap_bytes, v->width, v->height,
                               v->data_offset, v->ext_bytes, &s->geometry, err);
    return r < 0
               ? mr_err_prefix(err, "%s/%s: output %s", s->root, s->path, mr_output_name(s->output))
               : 0;
}

static void describe(struct mr_consign *c, const struct mr_shipment *s, int64_t real_ns,
                     struct mr_open *open)
{
    char today[11], day[32], top[MR_PATH_MAX + 1];
    *open = (struct mr_open){.movie = s->id,
                             .revision = s->revision,
                             .kind = s->view.kind == MR_KIND_FILE ? MR_KIND_FILE : MR_KIND_MOVIE,
                             .output = s->output,
                             .codec = s->codec,
                             .geometry = s->geometry,
                             .pixel_size_angstrom = s->view.pixel_size_angstrom,
                             .source_bytes_expected = s->view.bytes_expected};
    snprintf(open->format, sizeof(open->format), "%s",
             s->view.format == NULL ? "file" : s->view.format);
    snprintf(open->path, sizeof(open->path), "%s", s->path);
    snprintf(open->source_path, sizeof(open->source_path), "%s%s%s", s->root,
             s->root[strlen(s->root) - 1] == '/' ? "" : "/", s->path);
    size_t length = strcspn(s->path, "/");
    snprintf(top, sizeof(top), "%.*s", s->path[length] == '/' ? (int)length : 0, s->path);
    mr_clock_day(real_ns, "local", today);
    if (mr_journal_day_of(c->journal, s->root, top, today, day, NULL) < 0)
        memcpy(day, today, sizeof(today));
    snprintf(open->day, sizeof(open->day), "%.10s", day);
}

/* ---- the journal
 * ------------------------------------------------------------------------------------ */

static void fill_record(struct mr_consign *c, const struct mr_shipment *s,
                        enum mr_journal_state state)
{
    struct mr_journal_movie *m = &c->record;
    memset(m, 0, sizeof(*m));
    m->id = s->id;
    m->revision = s->revision;
    m->state = state;
    snprintf(m->root, sizeof(m->root), "%s", s->root);
    snprintf(m->path, sizeof(m->path), "%s", s->path);
    m->identity = s->facts.identity;
    if (state != MR_JOURNAL_OPEN) {
        m->size = s->shipped.size;
        m->mtime_ns = s->shipped.mtime_ns;
    }
    m->kind = s->view.kind == MR_KIND_FILE ? MR_KIND_FILE : MR_KIND_MOVIE;
    m->output = s->output;
    m->codec = s->codec;
    m->geometry = s->geometry;
    m->first_seen_real_ns = s->first_seen_real_ns;
    m->updated_real_ns = mr_clock_real_ns();
}

static int journal_said(struct mr_consign *c, int r, const struct mr_err *err)
{
    if (r < 0 && !c->journal_broken)
        mr_error(STAGE, "the journal cannot be written, new movies wait: %s", err->text);
    c->journal_broken = r < 0;
    return r;
}

static int write_open(struct mr_consign *c, const struct mr_shipment *s)
{
    struct mr_err err = {0};
    fill_record(c, s, MR_JOURNAL_OPEN);
    int r = mr_journal_insert(c->journal, &c->record, &err);
    return journal_said(c, r == -EEXIST ? 0 : r, &err); /* -EEXIST: it is resumed */
}

static void write_end(struct mr_consign *c, const struct mr_shipment *s,
                      enum mr_journal_state state, const char *event, const char *text)
{
    struct mr_err err = {0};
    fill_record(c, s, state);
    snprintf(c->record.event, sizeof(c->record.event), "%s", event);
    snprintf(c->record.text, sizeof(c->record.text), "%s", text);
    /* Lost, it costs a question: the server answers an OPEN of a committed movie with COMMITTED. */
    journal_said(c, mr_journal_update(c->journal, &c->record, &err), &err);
}

static void forget(struct mr_consign *c, const struct mr_shipment *s)
{
    struct mr_err err = {0};
    journal_said(c, mr_journal_delete(c->journal, &s->id, s->revision, &err), &err);
}

/* ---- which movie a file is
 * -------------------------------------------------------------------------- */

static bool same_content(const struct mr_fs_facts *a, uint64_t size, int64_t mtime_ns)
{
    return a->size == size && a->mtime_ns == mtime_ns;
}

static bool fits_record(const struct mr_shipment *s, const struct mr_journal_movie *m)
{
    return m->output == s->output && memcmp(&m->geometry, &s->geometry, sizeof(s->geometry)) == 0;
}

/* Looks the file up. False: it needs nothing. */
static bool identify(struct mr_consign *c, struct mr_shipment *s, int64_t real_ns)
{
    struct mr_journal_movie *m = &c->record;
    struct mr_err err = {0};
    s->revision = 1;
    int r = mr_journal_find_file(c->journal, s->root, s->path, &s->facts.identity, m, &err);
    bool as_it_was = r == 0 && same_content(&s->facts, m->size, m->mtime_ns);
    if (r == 0 && m->state != MR_JOURNAL_OPEN && as_it_was) {
        s->id = m->id;
        s->revision = m->revision;
        s->end = m->state == MR_JOURNAL_COMMITTED ? MR_END_COMMITTED : MR_END_FAILED;
        s->shipped = s->facts;
        return false;
    }
    if (r == 0 && m->state == MR_JOURNAL_COMMITTED) {
        s->id = m->id;
        s->revision = m->revision + 1;
    } else if (r == 0 && m->state == MR_JOURNAL_OPEN && fits_record(s, m)) {
        s->id = m->id;
        s->revision = m->revision;
    } else {
        mr_ulid_new(real_ns, &s->id);
    }
    return true;
}

/* A committed file that changed: the next revision; whatever else: a movie of its own. */
static bool identify_again(struct mr_shipment *s, int64_t real_ns)
{
    if (s->end == MR_END_COMMITTED && same_content(&s->facts, s->shipped.size, s->shipped.mtime_ns))
        return false;
    if (s->end == MR_END_COMMITTED)
        s->revision++;
    else
        mr_ulid_new(real_ns, &s->id);
    return true;
}

static void refuse(struct mr_consign *c, struct mr_shipment *s, const char *text)
{
    mr_error(STAGE, "%s", text);
    s->end = MR_END_FAILED;
    s->shipped = s->facts;
    c->counts.failed++;
}

/* Puts an idle file in the line, where there is something to ship. */
static void line_up(struct mr_consign *c, struct mr_shipment *s, bool known_here, int64_t real_ns)
{
    struct mr_err err = {0};
    bool file = s->view.kind == MR_KIND_FILE;
    bool decided = s->kind == MR_GROWTH_COMPLETE || s->kind == MR_GROWTH_BROKEN;
    bool revision = s->end == MR_END_COMMITTED;
    if (s->state != MR_SHIPMENT_IDLE || s->gone ||
        !(decided || (mr_shipment_growing(s) && s->view.known)))
        return;
    if (!decided && (file || revision))
        return; /* settles only when complete; a revision lands whole */
    if (s->kind == MR_GROWTH_BROKEN && c->config.push) {
        char text[MR_PATH_MAX + MR_TEXT_MAX + 4200];
        snprintf(text, sizeof(text), "%s/%s: %s", s->root, s->path,
                 s->reason == NULL ? "" : s->reason);
        refuse(c, s, text);
        return;
    }
    if (shape(c, s, &err) < 0) {
        refuse(c, s, err.text);
        return;
    }
    if (known_here ? identify_again(s, real_ns) : identify(c, s, real_ns)) {
        s->end = MR_END_NOT_YET;
        mr_shipments_wait(&c->all, s);
    }
}

/* ---- into the transfer
 * ------------------------------------------------------------------------------- */

static void read_head(struct mr_shipment *s, struct mr_end *end)
{
    uint64_t bytes = s->view.data_offset;
    if (s->output == MR_OUTPUT_KEEP || bytes == 0 || s->fd < 0)
        return;
    if (bytes > MR_BLOB_MAX) {
        snprintf(end->warnings, sizeof(end->warnings),
                 "the source's header of %llu bytes is too large to keep",
                 (unsigned long long)bytes);
        return;
    }
    free(s->head);
    s->head = malloc(bytes);
    if (s->head == NULL || mr_fs_pread_full(s->fd, s->head, bytes, 0) < 0)
        return;
    s->head_bytes = (uint32_t)bytes;
    end->source_header = s->head;
    end->source_header_bytes = s->head_bytes;
}

static struct mr_extent extent_of(const struct mr_shipment *s)
{
    bool frames = s->geometry.source_pixel != MR_PIXEL_NONE;
    return (struct mr_extent){.frames = frames ? s->view.frames : 0, .source_bytes = s->facts.size};
}

static int open_source(struct mr_shipment *s)
{
    char path[MR_JOURNAL_ROOT_MAX + MR_PATH_MAX + 2];
    struct mr_fs_facts facts;
    snprintf(path, sizeof(path), "%s/%s", s->root, s->path);
    s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (s->fd < 0)
        return -errno;
    int r = mr_fs_stat(s->fd, "", &facts);
    if (r == 0 && memcmp(&facts.identity, &s->facts.identity, sizeof(facts.identity)) != 0)
        r = -ESTALE;
    return r;
}

static void complete(struct mr_consign *c, struct mr_shipment *s)
{
    struct mr_end end = {.extent = extent_of(s),
                         .source_mtime_ns = s->facts.mtime_ns,
                         .pixel_size_angstrom = s->view.pixel_size_angstrom,
                         .started_real_ns = s->first_seen_real_ns,
                         .finished_real_ns = s->decided_real_ns};
    snprintf(end.complete_by, sizeof(end.complete_by), "%s",
             mr_complete_by_name(s->view.complete_by));
    read_head(s, &end);
    s->shipped = s->facts;
    mr_transfer_complete(c->transfer, s, &end);
}

/* Tells the transfer what is known of a movie in it. */
static void update(struct mr_consign *c, struct mr_shipment *s)
{
    struct mr_extent extent = extent_of(s);
    if (s->kind == MR_GROWTH_COMPLETE)
        complete(c, s);
    else if (s->kind == MR_GROWTH_BROKEN)
        mr_transfer_fail(c->transfer, s, s->fd < 0 ? NULL : &extent,
                         s->reason == NULL ? "broken" : s->reason);
    else
        mr_transfer_settled(c->transfer, s, s->view.settled_from, s->view.settled_to);
}

static void embark(struct mr_consign *c, struct mr_shipment *s, int64_t real_ns)
{
    struct mr_open open;
    int r = open_source(s);
    if (r < 0 && r != -ENOENT && r != -ESTALE)
        mr_error(STAGE, "%s/%s cannot be read: %s", s->root, s->path, mr_err_name(r));
    if (r <
        0) { /* gone or replaced: track says so next; unreadable: so it stays until it changes */
        mr_shipment_close(s);
        if (r != -ESTALE) {
            s->end = MR_END_FAILED;
            c->counts.failed += c->config.push || r != -ENOENT;
        }
        return;
    }
    describe(c, s, real_ns, &open);
    if (write_open(c, s) < 0 || mr_transfer_add(c->transfer, s, &open) < 0) {
        mr_shipment_close(s);
        mr_shipments_wait(&c->all, s);
        return;
    }
    s->state = MR_SHIPMENT_MOVING;
    c->counts.moving++;
    update(c, s);
}

void mr_consign_fill(struct mr_consign *c, int64_t real_ns)
{
    struct mr_err err = {0};
    if (c->all.waiting_count == 0 || c->counts.moving >= c->config.movies_max)
        return;
    bool batch = mr_journal_begin(c->journal, &err) == 0;
    size_t room = c->config.movies_max - c->counts.moving;
    for (size_t left = c->all.waiting_count; left > 0 && room > 0; left--, room--)
        embark(c, mr_shipments_next(&c->all), real_ns);
    if (batch)
        journal_said(c, mr_journal_commit(c->journal, &err), &err);
}

/* ---- what track says
 * --------------------------------------------------------------------------------- */

static void leave(struct mr_consign *c, struct mr_shipment *s)
{
    if (s->state == MR_SHIPMENT_MOVING) {
        s->state = MR_SHIPMENT_LEAVING;
        mr_transfer_abandon(c->transfer, s);
    } else {
        mr_shipments_unwait(&c->all, s);
    }
}

static void take_gone(struct mr_consign *c, struct mr_shipment *s)
{
    s->gone = true;
    if (s->state == MR_SHIPMENT_MOVING && !mr_shipment_complete(s))
        mr_transfer_fail(c->transfer, s, NULL, "the source vanished before it was complete");
    else if (s->state == MR_SHIPMENT_IDLE || s->state == MR_SHIPMENT_WAITING)
        mr_shipments_remove(&c->all, s);
    /* complete and on its way: it is read on through the open file */
}

void mr_consign_growth(struct mr_consign *c, const struct mr_growth *growth, int64_t real_ns)
{
    struct mr_shipment *s = mr_shipments_find(&c->all, growth->file);
    bool known_here = s != NULL && s->end != MR_END_NOT_YET;
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
    bool again = growth->kind == MR_GROWTH_REPLACED || growth->kind == MR_GROWTH_CHANGED;
    if (again && (s->state == MR_SHIPMENT_MOVING || s->state == MR_SHIPMENT_WAITING)) {
        if (s->state == MR_SHIPMENT_MOVING)
            mr_warn(STAGE, "%s/%s: %s: it begins again", s->root, s->path, growth->reason);
        leave(c, s);
    }
    mr_shipment_note(s, growth);
    c->counts.bytes += growth->kind == MR_GROWTH_COMPLETE ? growth->facts.size : 0;
    if (growth->kind == MR_GROWTH_REPLACED)
        s->end = MR_END_NOT_YET;
    if (s->state == MR_SHIPMENT_MOVING)
        update(c, s);
    else if (!again)
        line_up(c, s, known_here && growth->kind != MR_GROWTH_REPLACED, real_ns);
}

void mr_consign_changed(struct mr_consign *c, struct mr_shipment *s, const char *why)
{
    if (s->state != MR_SHIPMENT_MOVING)
        return;
    mr_warn(STAGE, "%s/%s: %s: it begins again", s->root, s->path, why);
    leave(c, s);
}

void mr_consign_unreadable(struct mr_consign *c, struct mr_shipment *s, const char *why)
{
    char text[MR_TEXT_MAX];
    if (s->state != MR_SHIPMENT_MOVING)
        return;
    snprintf(text, sizeof(text), "the source cannot be read: %.450s", why);
    mr_error(STAGE, "%s/%s: %s", s->root, s->path, text);
    mr_transfer_fail(c->transfer, s, NULL, text);
}

/* ---- verdicts
 * ----------------------------------------------------------------------------------------- */

static void end(struct mr_consign *c, struct mr_shipment *s, enum mr_shipment_end how)
{
    s->state = MR_SHIPMENT_IDLE;
    s->end = how;
    s->tries = 0;
    c->counts.moving--;
    mr_shipment_close(s);
}

static void on_committed(struct mr_consign *c, struct mr_shipment *s, const struct mr_committed *m)
{
    bool changed_meanwhile = s->state == MR_SHIPMENT_LEAVING || s->kind == MR_GROWTH_CHANGED;
    char id[MR_ULID_TEXT];
    bool ours = strncmp(m->event, mr_ulid_text(&s->id, id), MR_ULID_TEXT - 1) == 0;
    if (m->known && ours && m->revision != s->revision) { /* touched, but not changed */
        forget(c, s);
        s->revision = m->revision;
    }
    write_end(c, s, MR_JOURNAL_COMMITTED, m->event, "");
    c->counts.committed++;
    c->counts.known += m->known;
    c->counts.committed_bytes += s->shipped.size;
    mr_info(STAGE, "%s/%s %s %s (%s)", s->root, s->path,
            m->known ? "was in the store already:" : "is committed:", m->path, m->event);
    end(c, s, MR_END_COMMITTED);
    if (changed_meanwhile && mr_shipment_complete(s))
        line_up(c, s, true, mr_clock_real_ns());
}

static void on_failed(struct mr_consign *c, struct mr_shipment *s, const struct mr_failed *m)
{
    mr_error(STAGE, "%s/%s failed (%s): %s", s->root, s->path, mr_reason_name(m->code), m->text);
    s->shipped = s->facts;
    write_end(c, s, MR_JOURNAL_FAILED, "", m->text);
    c->counts.failed++;
    end(c, s, MR_END_FAILED);
}

/* Asked for (the source changed), or the server's own: what arrived is not what we read. */
static void on_abandoned(struct mr_consign *c, struct mr_shipment *s)
{
    bool asked = s->state == MR_SHIPMENT_LEAVING;
    unsigned tries = s->tries + !asked;
    bool revision = s->revision > 1;
    forget(c, s);
    end(c, s, MR_END_NOT_YET);
    s->tries = tries;
    if (s->gone) {
        mr_shipments_remove(&c->all, s);
        return;
    }
    if (tries > TRIES_MAX) {
        char text[MR_PATH_MAX + 4200];
        snprintf(text, sizeof(text),
                 "%s/%s: read %u times, and each time other bytes arrived: given up "
                 "until it changes",
                 s->root, s->path, tries);
        refuse(c, s, text);
        return;
    }
    if (revision) { /* the same movie, the same revision, read anew */
        s->end = MR_END_COMMITTED;
        s->revision--;
        s->shipped = (struct mr_fs_facts){0};
    }
    line_up(c, s, true, mr_clock_real_ns());
}

static void on_opened(const struct mr_shipment *s, const struct mr_opened *m)
{
    uint64_t durable = 0;
    for (uint32_t i = 0; i < m->range_count; i++)
        durable += mr_message_range(m->ranges, i).count;
    struct mr_range first =
        m->range_count > 0 ? mr_message_range(m->ranges, 0) : (struct mr_range){0};
    if (m->resumed)
        mr_info(STAGE, "%s/%s resumes: %llu slabs are durable, the first missing one is %llu",
                s->root, s->path, (unsigned long long)durable,
                (unsigned long long)(first.first == 0 ? first.count : 0));
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
        mr_warn(STAGE, "%s/%s waits (%s): %s; asked again in %u ms", s->root, s->path,
                mr_reason_name(m->hold.code), m->hold.text, m->hold.retry_ms);
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
