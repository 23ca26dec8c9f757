/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Consign and its journal: which movie a file is, what is written down before and after. Decides
 * nothing about what is shipped when.
 */
#include "consign_state.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STAGE "tail"

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
    m->source = s->said.source;
    m->geometry = s->geometry;
    m->first_seen_real_ns = s->first_seen_real_ns;
    m->updated_real_ns = mr_clock_real_ns();
}

int mr_consign_journal_said(struct mr_consign *c, int r, const struct mr_err *err)
{
    if (r < 0 && !c->journal_broken)
        mr_error(STAGE, "the journal cannot be written, new movies wait: %s", err->text);
    if (r == 0 && c->journal_broken)
        mr_info(STAGE, "the journal can be written again");
    c->journal_broken = r < 0;
    return r;
}

void mr_consign_batch_begin(struct mr_consign *c)
{
    c->noting = true;
}

/* Before each change. Where it fails each is noted by itself, and says so. */
static void join(struct mr_consign *c)
{
    struct mr_err err = {0};
    if (c->noting && !c->batch)
        c->batch = mr_journal_begin(c->journal, &err) == 0;
}

void mr_consign_batch_end(struct mr_consign *c)
{
    struct mr_err err = {0};
    if (c->batch)
        (void)mr_consign_journal_said(c, mr_journal_commit(c->journal, &err), &err);
    c->noting = c->batch = false;
}

int mr_consign_write_open(struct mr_consign *c, const struct mr_shipment *s)
{
    struct mr_err err = {0};
    fill_record(c, s, MR_JOURNAL_OPEN);
    int r = mr_journal_insert(c->journal, &c->record, &err);
    return mr_consign_journal_said(c, r == -EEXIST ? 0 : r, &err); /* -EEXIST: it is resumed */
}

/* Before END: a verdict that comes in a later run is then still known to be about this source.
 * Where it cannot be written, that run frees nothing of it. */
void mr_consign_write_source(struct mr_consign *c, const struct mr_shipment *s)
{
    struct mr_err err = {0};
    fill_record(c, s, MR_JOURNAL_OPEN);
    c->record.size = s->shipped.size;
    c->record.mtime_ns = s->shipped.mtime_ns;
    join(c);
    int r = mr_journal_update(c->journal, &c->record, &err);
    if (r != -ENOENT)
        (void)mr_consign_journal_said(c, r, &err);
}

/* Lost, it costs a question: the server answers an OPEN of a committed movie with COMMITTED. */
void mr_consign_write_end(struct mr_consign *c, const struct mr_shipment *s,
                          enum mr_journal_state state, const char *event, const char *text)
{
    struct mr_err err = {0};
    fill_record(c, s, state);
    snprintf(c->record.event, sizeof(c->record.event), "%s", event);
    snprintf(c->record.text, sizeof(c->record.text), "%s", text);
    join(c);
    int r = mr_journal_update(c->journal, &c->record, &err);
    if (r == -ENOENT) { /* the server knew the content under an older id */
        err = (struct mr_err){0};
        r = mr_journal_insert(c->journal, &c->record, &err);
    }
    (void)mr_consign_journal_said(c, r, &err);
}

void mr_consign_forget(struct mr_consign *c, const struct mr_shipment *s)
{
    struct mr_err err = {0};
    join(c);
    (void)mr_consign_journal_said(c, mr_journal_delete(c->journal, &s->id, s->revision, &err),
                                  &err);
}

static bool same_content(const struct mr_fs_facts *a, uint64_t size, int64_t mtime_ns)
{
    return a->size == size && a->mtime_ns == mtime_ns;
}

static bool fits_record(const struct mr_shipment *s, const struct mr_journal_movie *m)
{
    return m->output == s->output && mr_geometry_equal(&m->geometry, &s->geometry);
}

/* A run that ends says of each file whether it is in the store, those of earlier runs included. */
static void count_earlier(struct mr_consign *c, const struct mr_shipment *s)
{
    if (!c->config.ends)
        return;
    c->counts.committed += s->end == MR_END_COMMITTED;
    c->counts.known += s->end == MR_END_COMMITTED;
    c->counts.failed += s->end == MR_END_FAILED;
    if (s->end == MR_END_FAILED)
        mr_error(STAGE, "%s/%s has failed before, and has not changed: %s", s->root, s->path,
                 c->record.text);
}

/* A file that this run meets for the first time: by the journal. */
static bool identify_first(struct mr_consign *c, struct mr_shipment *s, int64_t real_ns)
{
    struct mr_journal_movie *m = &c->record;
    struct mr_err err = {0};
    s->revision = 1;
    int r = mr_journal_find_file(c->journal, s->root, s->path, &s->facts.identity, m, &err);
    s->identified = r == 0 || r == -ENOENT;
    if (!s->identified) {
        (void)mr_consign_journal_said(c, r, &err);
        return true;
    }
    bool as_it_was = r == 0 && same_content(&s->facts, m->size, m->mtime_ns);
    if (r == 0 && mr_transfer_has(c->transfer, &m->id))
        r = -ENOENT; /* it went, is being ended for that, and came back */
    if (r == 0 && m->state != MR_JOURNAL_OPEN && as_it_was) {
        s->id = m->id;
        s->revision = m->revision;
        s->end = mr_journal_is_committed(m->state) ? MR_END_COMMITTED : MR_END_FAILED;
        s->shipped = s->facts;
        count_earlier(c, s);
        return false;
    }
    if (r == 0 && mr_journal_is_committed(m->state)) {
        s->id = m->id;
        s->revision = m->revision + 1;
    } else if (r == 0 && m->state == MR_JOURNAL_OPEN && fits_record(s, m)) {
        s->id = m->id;
        s->revision = m->revision;
        s->said = (struct mr_shipment_said){m->size, m->mtime_ns, m->source};
    } else {
        if (r == 0 && m->state == MR_JOURNAL_OPEN) /* of another output or geometry */
            mr_consign_supersede(c, m, s->watch, real_ns);
        mr_ulid_new(real_ns, &s->id);
    }
    return true;
}

/* A committed file that changed: the next revision; whatever else: a movie of its own. */
static bool identify_again(struct mr_shipment *s, int64_t real_ns)
{
    if (s->end == MR_END_COMMITTED && same_content(&s->facts, s->shipped.size, s->shipped.mtime_ns))
        return false;
    if (s->end == MR_END_COMMITTED) {
        s->revision++;
    } else {
        s->revision = 1;
        mr_ulid_new(real_ns, &s->id);
    }
    return true;
}

bool mr_consign_identify(struct mr_consign *c, struct mr_shipment *s, int64_t real_ns)
{
    bool first = !s->identified;
    if (s->replaced) /* the journal knows only what it was */
        s->end = MR_END_NOT_YET;
    s->again = false;
    s->replaced = false;
    s->said = (struct mr_shipment_said){0};
    return first ? identify_first(c, s, real_ns) : identify_again(s, real_ns);
}
