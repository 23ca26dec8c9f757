/* SPDX-License-Identifier: Apache-2.0 */
/* Promises about the store. Interferes with nothing: it reads what is safe, or what is seen. */
#include "oracle_inside.h"

#include "agentside.h"
#include "base/crc64.h"
#include "dossier.h"
#include "fibre.h"
#include "serverside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- tales ---- */

struct tale *oracle_tale(const struct world *w, const struct mr_ulid *id)
{
    return tale_find(w->oracle->tales, id);
}

struct tale *oracle_need_tale(struct world *w, const struct mr_ulid *id, const char *what)
{
    struct tale *t = oracle_tale(w, id);
    PROMISE(w, t != NULL, "%s of a movie that nobody opened", what);
    return t;
}

void oracle_expect(struct world *w, const struct mr_ulid *id, const struct reel *source)
{
    tale_expect(&w->oracle->tales, id, source);
}

void oracle_meddled(struct world *w, const struct mr_ulid *id)
{
    struct tale *t = oracle_tale(w, id);
    if (t != NULL)
        t->meddled = true;
}

void oracle_abandoned(struct world *w, const struct mr_ulid *id)
{
    struct tale *t = oracle_tale(w, id);
    if (t != NULL)
        t->abandoned = true;
}

void oracle_given_up(struct world *w, const struct mr_ulid *id)
{
    oracle_need_tale(w, id, "ABANDONED")->given_up = true;
}

bool oracle_was_told(const struct world *w, const struct mr_ulid *id)
{
    const struct tale *t = oracle_tale(w, id);
    return t != NULL && (t->generation > 0 || t->committed || t->failed);
}

/* ---- the disk ---- */

/* By its path below the store's root. */
struct inode *oracle_stored(const struct disk *d, enum disk_view view, const char *path)
{
    struct inode *at = NULL;
    char name[DISK_NAME + 1];
    if (disk_find(d->root, view, "store", &at) < 0)
        return NULL;
    while (*path != '\0') {
        size_t length = strcspn(path, "/");
        snprintf(name, sizeof(name), "%.*s", (int)length, path);
        path += length + (path[length] == '/');
        if (length > 0 && disk_find(at, view, name, &at) < 0)
            return NULL;
    }
    return at;
}

const struct contents *oracle_seen(const struct inode *file, enum disk_view view)
{
    return view == DISK_SAFE ? &file->safe : &file->now;
}

static bool is_own(const struct disk *d, const struct inode *dir)
{
    char path[2048];
    disk_path(d, dir, path, sizeof(path));
    return strstr(path, "/.millrace") != NULL;
}

void oracle_check_stored(struct world *w, struct tale *t, const char *path, enum disk_view view,
                         const char *when)
{
    const struct inode *file = oracle_stored(w->disk, view, path);
    PROMISE(w, file != NULL, "%s: %s is not there", when, path);
    if (t->source == NULL)
        return;
    const char *why = tale_check(t, w->oracle->codec, oracle_seen(file, view));
    PROMISE(w, why == NULL, "%s: %s: %s", when, path, why);
}

/* ---- verdicts ---- */

/* How often a text stands in the files of a directory of the store's own. */
static size_t count_text(const struct disk *d, enum disk_view view, const char *dir,
                         const char *text, size_t bytes)
{
    size_t count = 0;
    const struct inode *events = oracle_stored(d, view, dir);
    const struct names *names = events == NULL      ? NULL
                                : view == DISK_SAFE ? &events->safe_entries
                                                    : &events->entries;
    for (size_t i = 0; names != NULL && i < names->count; i++) {
        const struct inode *file = names->list[i].inode;
        if (!S_ISREG(file->mode))
            continue;
        const struct contents *c = oracle_seen(file, view);
        const uint8_t *at = c->bytes, *end = c->bytes + c->size;
        while (at != NULL && at < end &&
               (at = memmem(at, (size_t)(end - at), text, bytes)) != NULL) {
            count++;
            at += bytes;
        }
    }
    return count;
}

/* Files of a server that was fenced may hold it once more, without effect; mr_eventlog_read tells.
 */
bool oracle_is_logged(const struct world *w, enum disk_view view, const char *text, size_t bytes)
{
    size_t count = count_text(w->disk, view, ".millrace/events", text, bytes);
    return count == 1 || (count > 1 && w->server_count > 1);
}

static void check_catalogued(struct world *w, const char *event, const char *when)
{
    PROMISE(w, count_text(w->disk, DISK_NOW, ".millrace", event, strlen(event)) >= 1,
            "%s: %s is not in the catalogue", when, event);
}

void oracle_committed(struct world *w, const struct mr_committed *c)
{
    struct tale *t = oracle_need_tale(w, &c->movie, "COMMITTED");
    char record[160];
    const char *path = strncmp(c->path, "/store/", 7) == 0 ? c->path + 7 : "?";
    PROMISE(w, !t->failed, "COMMITTED after FAILED");
    oracle_check_stored(w, t, path, DISK_SAFE, "COMMITTED");
    int n = snprintf(
        record, sizeof(record), "%llu millrace.%s.ready.v1 %s ", (unsigned long long)c->sequence,
        t->source == NULL || t->source->open.kind == MR_KIND_FILE ? "file" : "movie", c->event);
    PROMISE(w, oracle_is_logged(w, DISK_SAFE, record, (size_t)n),
            "COMMITTED, but its event %s is not in the log exactly once", c->event);
    /* its line need not be safe yet: then its journal still is */
    check_catalogued(w, c->event, "COMMITTED");
    if (!t->committed)
        w->commits++;
    t->committed = true;
    snprintf(t->path, sizeof(t->path), "%s", path);
}

void oracle_failed(struct world *w, const struct mr_ulid *id)
{
    struct tale *t = oracle_need_tale(w, id, "FAILED");
    PROMISE(w, !t->committed, "FAILED after COMMITTED");
    t->failed = true;
}

/* ---- events ---- */

static void note_event(struct world *w, uint64_t sequence, const char *id, const char *type)
{
    struct oracle *o = w->oracle;
    PROMISE(w, sequence > 0 && sequence < 100000, "event %llu", (unsigned long long)sequence);
    if (sequence > o->event_room) {
        size_t room = (size_t)sequence * 2;
        o->events = realloc(o->events, room * sizeof(*o->events));
        if (o->events == NULL)
            abort();
        memset(o->events + o->event_room, 0, (room - o->event_room) * sizeof(*o->events));
        o->event_room = room;
    }
    struct heard_event *e = &o->events[sequence - 1];
    PROMISE(w, e->id[0] == '\0' || strcmp(e->id, id) == 0, "event %llu was %s and is %s now",
            (unsigned long long)sequence, e->id, id);
    snprintf(e->id, sizeof(e->id), "%s", id);
    snprintf(e->type, sizeof(e->type), "%s", type);
    if (sequence > o->event_count)
        o->event_count = (size_t)sequence;
}

static void check_ready(struct world *w, const char *json, const char *id)
{
    struct mr_ulid ulid;
    char text[MR_ULID_TEXT] = "", path[1024] = "", digest[17] = "";
    memcpy(text, id, MR_ULID_TEXT - 1);
    PROMISE(w, mr_ulid_parse(text, &ulid) == 0, "event %s", id);
    struct tale *t = oracle_need_tale(w, &ulid, "an event");
    const char *at = strstr(json, "\"relative_path\":\"");
    const char *sum = strstr(json, "\"file\":\"");
    PROMISE(w, at != NULL && sum != NULL, "event %s names no file", id);
    sscanf(at, "\"relative_path\":\"%1023[^\"]", path);
    sscanf(sum, "\"file\":\"%16[^\"]", digest);
    PROMISE(w, !t->failed, "ready after failed: %s", id);
    snprintf(t->path, sizeof(t->path), "%s", path);
    t->ready = true;
    oracle_check_stored(w, t, path, DISK_SAFE, "a ready event");
    const struct inode *file = oracle_stored(w->disk, DISK_SAFE, path);
    uint64_t crc = mr_crc64(0, file->safe.bytes, file->safe.size);
    PROMISE(w, crc == strtoull(digest, NULL, 16), "%s: its digest is another than its event says",
            path);
}

void oracle_event(struct world *w, const char *json, size_t bytes)
{
    char type[MR_EVENT_TYPE_MAX + 1], id[MR_EVENT_ID_MAX + 1];
    fibre_alone(1);
    PROMISE(w, mr_event_names(json, bytes, type, id) == 0, "what is published is no event");
    const char *at = strstr(json, "\"sequence\":\"");
    PROMISE(w, at != NULL, "an event without a sequence");
    uint64_t sequence = strtoull(at + 12, NULL, 10);
    TRACE(w, "published: %llu %s %s", (unsigned long long)sequence, type, id);
    note_event(w, sequence, id, type);
    PROMISE(w, oracle_is_logged(w, DISK_SAFE, json, bytes),
            "event %llu is published, but not in the log for good", (unsigned long long)sequence);
    if (strstr(type, ".ready.") != NULL)
        check_ready(w, json, id);
    fibre_alone(-1);
}

struct log_check {
    struct world *w;
    uint64_t expected;
};

static int check_record(void *ctx, const struct mr_eventlog_record *r)
{
    struct log_check *c = ctx;
    const struct oracle *o = c->w->oracle;
    PROMISE(c->w, r->sequence == c->expected, "event %llu in the log where %llu belongs",
            (unsigned long long)r->sequence, (unsigned long long)c->expected);
    note_event(c->w, r->sequence, r->id, r->type);
    for (uint64_t i = 0; i + 1 < c->expected; i++)
        PROMISE(c->w, strcmp(o->events[i].id, r->id) != 0, "event %s is in the log twice", r->id);
    if (strstr(r->type, ".ready.") != NULL)
        check_ready(c->w, r->json, r->id);
    c->expected++;
    return 0;
}

/* What the log says when a server opens it is heard by whoever asks for a replay. */
void oracle_log(struct world *w, struct mr_eventlog *log)
{
    struct log_check c = {.w = w, .expected = 1};
    uint64_t heard = w->oracle->event_count;
    int r = mr_eventlog_read(log, 1, UINT64_MAX, check_record, &c);
    PROMISE(w, r == 0, "the log does not read: %d", r);
    PROMISE(w, c.expected > heard, "events up to %llu were heard, the log ends at %llu",
            (unsigned long long)heard, (unsigned long long)c.expected - 1);
}

/* ---- what happens on the disk ---- */

void oracle_before_write(struct world *w, const struct inode *file)
{
    PROMISE(w, !file->final, "a finished file is written to");
}

/* What was sealed and then does not read back may be taken away before anybody heard of it. */
static bool was_announced(const struct world *w, const struct inode *file)
{
    for (const struct tale *t = w->oracle->tales; t != NULL; t = t->next)
        if (t->path[0] != '\0' && oracle_stored(w->disk, DISK_NOW, t->path) == file)
            return true;
    return false;
}

void oracle_before_remove(struct world *w, const struct inode *dir, const char *name)
{
    struct inode *i;
    if (disk_find(dir, DISK_NOW, name, &i) < 0 || !i->final)
        return;
    PROMISE(w, is_own(w->disk, dir) || !was_announced(w, i), "a finished file is removed: %s",
            name);
}

static bool is_clean(const struct inode *file)
{
    for (size_t i = 0; i < file->page_count; i++)
        if (file->pages[i].dirty != 0)
            return false;
    return file->size.dirty == 0;
}

/* A name may be safe at once: so what it names must be safe before. */
void oracle_after_rename(struct world *w, struct inode *file, const struct inode *dir,
                         const char *from, const char *to)
{
    struct mr_ulid id;
    uint32_t generation;
    file->final = !is_own(w->disk, dir);
    if (!file->final)
        return;
    PROMISE(w, mr_dossier_parse_name(from, "part", &id, &generation) == 0,
            "%s gets the final name %s", from, to);
    struct tale *t = oracle_need_tale(w, &id, "a rename");
    PROMISE(w, is_clean(file), "%s gets its name before it is safe", to);
    const char *why = t->source == NULL ? NULL : tale_check(t, w->oracle->codec, &file->safe);
    PROMISE(w, why == NULL, "%s gets its name: %s", to, why);
}

/* ---- the end ---- */

/* Of what was in the store already the id is not remembered: under it, a rogue can begin a movie of
 * its own, which nobody ends. */
static bool is_over(const struct world *w, const struct mr_ulid *id)
{
    const struct tale *t = oracle_tale(w, id);
    if (t == NULL || t->source == NULL || (t->meddled && !t->ready && !t->failed))
        return false;
    return t->given_up || (t->source->done && mr_ulid_equal(&t->source->open.movie, id));
}

static bool was_ready(const struct world *w, const struct inode *file)
{
    for (const struct tale *t = w->oracle->tales; t != NULL; t = t->next)
        if (t->ready && oracle_stored(w->disk, DISK_NOW, t->path) == file)
            return true;
    return false;
}

/* Of a movie that has its verdict, whichever server made it; and of a group in any case. */
static bool is_left(const struct world *w, const char *name)
{
    struct mr_ulid id;
    uint32_t generation;
    if (mr_dossier_parse_name(name, "group", &id, &generation) == 0)
        return true;
    return (mr_dossier_parse_name(name, "part", &id, &generation) == 0 ||
            mr_dossier_parse_name(name, "journal", &id, &generation) == 0) &&
           is_over(w, &id);
}

static bool is_failed_and_ready(const struct world *w, const char *name)
{
    struct mr_ulid id;
    const struct tale *t = mr_ulid_parse(name, &id) < 0 ? NULL : oracle_tale(w, &id);
    return t != NULL && t->ready;
}

/* No part, journal or group is left, and no file that users see was not announced. */
static void check_leftovers(struct world *w, const struct inode *dir, bool own)
{
    for (size_t i = 0; i < dir->entries.count; i++) {
        const struct name *n = &dir->entries.list[i];
        PROMISE(w, !is_left(w, n->text), "%s is left over", n->text);
        PROMISE(w, !own || !is_failed_and_ready(w, n->text), "%s is kept as failed, and ready",
                n->text);
        if (S_ISDIR(n->inode->mode))
            check_leftovers(w, n->inode, own || strcmp(n->text, ".millrace") == 0);
        else
            PROMISE(w, own || was_ready(w, n->inode), "%s was never announced", n->text);
    }
}

/* The same contents of one source, offered under another id, are known. One that a rogue began
 * under its own name is no source of the agent's. */
static void check_stored_once(struct world *w, const struct tale *t)
{
    for (const struct tale *other = t->next; other != NULL && t->source != NULL;
         other = other->next)
        PROMISE(w,
                !other->ready || t->meddled || other->meddled || other->source != t->source ||
                    other->contents != t->contents ||
                    other->extent.source_bytes != t->extent.source_bytes,
                "%s is stored twice: %s, %s", t->source->open.path, t->path, other->path);
}

void oracle_at_the_end(struct world *w)
{
    char event[MR_EVENT_ID_MAX + 1], id[MR_ULID_TEXT];
    check_leftovers(w, w->disk->root, false);
    for (const struct tale *t = w->oracle->tales; t != NULL; t = t->next) {
        if (!t->ready)
            continue;
        snprintf(event, sizeof(event), "%s.ready", mr_ulid_text(&t->id, id));
        check_catalogued(w, event, "at the end");
        check_stored_once(w, t);
    }
    for (size_t i = 0; i < w->agent_count; i++)
        for (size_t k = 0; k < w->agents[i]->reel_count; k++) {
            const struct reel *r = &w->agents[i]->reels[k];
            const struct tale *t = oracle_tale(w, &r->open.movie);
            PROMISE(w, r->verdict != MR_COMMITTED || (t != NULL && t->committed),
                    "%s was told COMMITTED by nobody", r->open.path);
        }
}

struct oracle *oracle_new(struct world *w)
{
    struct oracle *o = calloc(1, sizeof(*o));
    (void)w;
    if (o == NULL || mr_codec_new(MR_SLAB_BYTES, &o->codec) < 0)
        abort();
    return o;
}

void oracle_free(struct oracle *o)
{
    tales_free(o->tales);
    mr_codec_free(o->codec);
    free(o->events);
    free(o);
}
