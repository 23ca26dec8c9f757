/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments, numbering, and who may see what. Numbers are given and files written by one thread; the
 * list of segments with its sparse index is shared under a mutex that is never held over I/O; the
 * last durable sequence is an atomic. Does not publish, does not build events, does not expire
 * segments.
 */
#include "eventlog.h"

#include "base/fs.h"
#include "base/text.h"
#include "idset.h"
#include "segments.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define INDEX_STEP 64u /* every so many records one offset is kept */
#define LINE_MAX   (MR_RECORD_TEXT_MAX + MR_RECORD_AROUND)
#define ROOM_BYTES (UINT64_C(1) << 20) /* kept on the disk for events of a full disk */

struct segment {
    uint64_t first, count; /* sequence of the first record, records */
    uint32_t epoch;        /* with first: the file's name */
    uint64_t bytes;
    uint64_t *offsets; /* of records first, first + INDEX_STEP, ... */
    size_t offset_count, offset_room;
};

struct mr_eventlog {
    int dir;        /* events/ */
    uint32_t epoch; /* of new segments */
    int fd;         /* of the last segment; writer */
    int doorbell;
    uint64_t segment_bytes;
    void (*prove)(void *ctx);     /* writer; NULL: none */
    bool (*is_newest)(void *ctx); /* readers; NULL: none */
    void *prove_ctx;
    bool broken;           /* writer */
    uint64_t next;         /* writer: sequence of the next append */
    uint64_t synced_bytes; /* writer: of the last segment */
    struct mr_idset ids;   /* writer */
    bool says_full;        /* writer */
    char *text, *line;     /* writer: scratch */
    _Atomic uint64_t durable;
    pthread_mutex_t lock; /* guards what follows */
    struct segment *segments;
    size_t segment_count;
};

/* ---- records ---- */

int mr_eventlog_parse(const char *text, size_t bytes, struct mr_eventlog_record *ret)
{
    struct mr_eventlog_record r = {.sequence = 0};
    char type[MR_EVENT_TYPE_MAX + 1], id[MR_EVENT_ID_MAX + 1], front[256];
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 19 || text[0] == '0' || text[digits] != ' ')
        return -EPROTO;
    r.sequence = strtoull(text, NULL, 10);
    const char *json = strchr(text, '{');
    if (!json || mr_event_names(json, bytes - (size_t)(json - text), type, id) < 0)
        return -EPROTO;
    int n = snprintf(front, sizeof(front), "%" PRIu64 " %s %s ", r.sequence, type, id);
    if (n != json - text || memcmp(front, text, (size_t)n) != 0)
        return -EPROTO;
    memcpy(r.type, type, sizeof(type));
    memcpy(r.id, id, sizeof(id));
    r.json = json;
    r.json_bytes = bytes - (size_t)n;
    *ret = r;
    return 0;
}

static void segment_name(const struct segment *s, char ret[MR_SEGMENT_NAME])
{
    mr_segment_name(&(struct mr_segment){.first = s->first, .epoch = s->epoch}, ret);
}

/* ---- the list of segments ---- */

/* Notes a record of `bytes` at the end of the last segment. Under the lock where readers exist. */
static int note_record(struct segment *s, uint64_t offset, uint64_t end)
{
    if (s->count % INDEX_STEP == 0) {
        if (s->offset_count == s->offset_room) {
            size_t room = s->offset_room > 0 ? 2 * s->offset_room : 64;
            uint64_t *more = realloc(s->offsets, room * sizeof(*more));
            if (!more)
                return -ENOMEM;
            s->offsets = more;
            s->offset_room = room;
        }
        s->offsets[s->offset_count++] = offset;
    }
    s->count++;
    s->bytes = end;
    return 0;
}

static int add_segment(struct mr_eventlog *log, uint64_t first, uint32_t epoch)
{
    struct segment *more =
        realloc(log->segments, (log->segment_count + 1) * sizeof(log->segments[0]));
    if (!more)
        return -ENOMEM;
    log->segments = more;
    log->segments[log->segment_count++] = (struct segment){.first = first, .epoch = epoch};
    return 0;
}

static struct segment *last_segment(struct mr_eventlog *log)
{
    return &log->segments[log->segment_count - 1];
}

/* ---- opening ---- */

static int list_segments(struct mr_eventlog *log, int millrace_dir, struct mr_err *err)
{
    struct mr_epochs epochs;
    struct mr_segment *list = NULL;
    size_t count = 0;
    int r = mr_epochs_load(millrace_dir, &epochs, err);
    if (r < 0)
        return r;
    log->epoch = mr_epochs_last(&epochs);
    r = mr_segments_list(log->dir, &epochs, false, &list, &count);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = add_segment(log, list[i].first, list[i].epoch);
    free(list);
    return r < 0 ? mr_err_errno(err, r, "events: listing") : 0;
}

struct loading {
    struct mr_eventlog *log;
    struct segment *segment;
    const char *name;
    struct mr_err *err;
};

static void note_store(struct mr_eventlog *log, const char *type)
{
    if (strcmp(type, MR_EVENT_STORE_FULL) == 0 || strcmp(type, MR_EVENT_STORE_SPACE) == 0)
        log->says_full = strcmp(type, MR_EVENT_STORE_FULL) == 0;
}

bool mr_eventlog_says_full(const struct mr_eventlog *log)
{
    return log->says_full;
}

static int load_record(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    struct loading *l = ctx;
    struct mr_eventlog_record r;
    if (mr_eventlog_parse(text, bytes, &r) < 0)
        return mr_err_set(l->err, -EUCLEAN, "events/%s: no event at offset %" PRIu64, l->name,
                          offset);
    if (r.sequence != l->log->next)
        return mr_err_set(l->err, -EUCLEAN,
                          "events/%s: event %" PRIu64 " at offset %" PRIu64 ", where %" PRIu64
                          " belongs",
                          l->name, r.sequence, offset, l->log->next);
    int n = note_record(l->segment, offset, 0); /* load_segment knows where the last one ends */
    if (n == 0)
        n = mr_idset_add(&l->log->ids, r.id, r.sequence);
    if (n < 0)
        return mr_err_errno(l->err, n, "events/%s", l->name);
    note_store(l->log, r.type);
    l->log->next++;
    return 0;
}

static int load_segment(struct mr_eventlog *log, size_t index, struct mr_mend_note *note,
                        struct mr_err *err)
{
    char name[MR_SEGMENT_NAME], path[MR_SEGMENT_NAME + 8];
    bool last = index + 1 == log->segment_count;
    struct segment *s = &log->segments[index];
    segment_name(s, name);
    snprintf(path, sizeof(path), "events/%s", name);
    if (index == 0)
        log->next = s->first; /* older segments may have been taken away */
    else if (s->first != log->next)
        return mr_err_set(err, -EUCLEAN, "%s: events from %" PRIu64 " to %" PRIu64 " are missing",
                          path, log->next, s->first - 1);
    MR_CLEANUP(mr_fs_close)
    int fd = openat(log->dir, name, (last ? O_RDWR | O_APPEND : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return mr_err_errno(err, -errno, "%s: opening", path);
    struct loading l = {.log = log, .segment = s, .name = name, .err = err};
    int r = mr_mend_scan(fd, path, last, load_record, &l, note, err);
    if (r < 0)
        return r;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return mr_err_errno(err, -errno, "%s", path);
    s->bytes = (uint64_t)st.st_size;
    if (last) {
        log->synced_bytes = s->bytes;
        log->fd = fd;
        fd = -1;
    }
    return 0;
}

/* Makes the segment that begins with log->next the one appended to; durable before its first
 * record. */
static int start_segment(struct mr_eventlog *log, struct mr_err *err)
{
    char name[MR_SEGMENT_NAME];
    segment_name(&(struct segment){.first = log->next, .epoch = log->epoch}, name);
    int fd = openat(log->dir, name, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0)
        return mr_err_errno(err, -errno, "events/%s: creating", name);
    pthread_mutex_lock(&log->lock);
    int r = add_segment(log, log->next, log->epoch);
    pthread_mutex_unlock(&log->lock);
    mr_fs_close(&log->fd);
    log->fd = fd;
    log->synced_bytes = 0;
    if (r == 0)
        r = mr_fs_sync_dir(log->dir);
    return r < 0 ? mr_err_errno(err, r, "events/%s: syncing its directory", name) : 0;
}

static int load(struct mr_eventlog *log, int millrace_dir, struct mr_mend_note *note,
                struct mr_err *err)
{
    int r = list_segments(log, millrace_dir, err);
    for (size_t i = 0; r == 0 && i < log->segment_count; i++)
        r = load_segment(log, i, note, err);
    if (r == 0 && log->segment_count == 0)
        r = start_segment(log, err);
    if (r == 0) /* a directory entry the last run made may not be durable yet */
        r = mr_fs_sync_dir(log->dir);
    if (r < 0 && err && err->code == 0)
        mr_err_errno(err, r, MR_SEGMENTS_DIR);
    atomic_store(&log->durable, log->next - 1);
    if (r == 0)
        mr_fs_reserve(log->fd, ROOM_BYTES);
    return r;
}

static int prepare(struct mr_eventlog *log, int millrace_dir, struct mr_err *err)
{
    log->dir = mr_fs_mkdirs_durable(millrace_dir, MR_SEGMENTS_DIR, 0, (gid_t)-1);
    if (log->dir < 0)
        return mr_err_errno(err, log->dir, "events: making the directory");
    log->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (log->doorbell < 0)
        return mr_err_errno(err, -errno, "events: eventfd");
    log->text = malloc(MR_RECORD_TEXT_MAX);
    log->line = malloc(LINE_MAX);
    return log->text && log->line ? 0 : mr_err_errno(err, -ENOMEM, MR_SEGMENTS_DIR);
}

static void eventlog_close(struct mr_eventlog **log)
{
    mr_eventlog_close(*log);
}

int mr_eventlog_open(int millrace_dir, uint64_t segment_bytes, struct mr_eventlog **ret,
                     struct mr_mend_note *note, struct mr_err *err)
{
    struct mr_err local = {.code = 0};
    err = err ? err : &local;
    struct mr_eventlog *log = calloc(1, sizeof(*log));
    if (!log)
        return mr_err_errno(err, -ENOMEM, MR_SEGMENTS_DIR);
    *log = (struct mr_eventlog){
        .dir = -1, .fd = -1, .doorbell = -1, .segment_bytes = segment_bytes, .next = 1};
    pthread_mutex_init(&log->lock, NULL);
    MR_CLEANUP(eventlog_close) struct mr_eventlog *opened = log;
    int r = prepare(log, millrace_dir, err);
    if (r == 0)
        r = load(log, millrace_dir, note, err);
    if (r < 0)
        return r;
    opened = NULL;
    *ret = log;
    return 0;
}

void mr_eventlog_close(struct mr_eventlog *log)
{
    if (!log)
        return;
    for (size_t i = 0; i < log->segment_count; i++)
        free(log->segments[i].offsets);
    free(log->segments);
    mr_idset_fini(&log->ids);
    free(log->text);
    free(log->line);
    mr_fs_close(&log->dir);
    mr_fs_close(&log->fd);
    mr_fs_close(&log->doorbell);
    pthread_mutex_destroy(&log->lock);
    free(log);
}

/* ---- writing ---- */

static int broken(struct mr_eventlog *log, int code, struct mr_err *err, const char *what)
{
    log->broken = true;
    mr_err_errno(err, code, "event log: %s", what);
    return -EIO;
}

void mr_eventlog_guard(struct mr_eventlog *log, void (*prove)(void *ctx),
                       bool (*is_newest)(void *ctx), void *ctx)
{
    log->prove = prove;
    log->is_newest = is_newest;
    log->prove_ctx = ctx;
}

bool mr_eventlog_is_newest(const struct mr_eventlog *log)
{
    return log->is_newest == NULL || log->is_newest(log->prove_ctx);
}

int mr_eventlog_sync(struct mr_eventlog *log, struct mr_err *err)
{
    if (log->broken)
        return mr_err_set(err, -EIO, "event log: broken by an earlier error");
    if (atomic_load(&log->durable) == log->next - 1)
        return 0;
    if (fdatasync(log->fd) < 0)
        return broken(log, -errno, err, "syncing");
    if (log->prove != NULL)
        log->prove(log->prove_ctx);
    atomic_store(&log->durable, log->next - 1);
    log->synced_bytes = last_segment(log)->bytes;
    uint64_t one = 1;
    ssize_t n = write(log->doorbell, &one, sizeof(one));
    (void)n; /* EAGAIN: it has rung 2^64 - 2 times and nobody came; it is readable all the same */
    return 0;
}

/* Where there is no room for another file, the segment goes on past its size: it may have some. */
static int roll(struct mr_eventlog *log, struct mr_err *err)
{
    struct mr_err why = {.code = 0};
    int r = mr_eventlog_sync(log, err);
    if (r < 0)
        return r;
    r = start_segment(log, &why);
    if (r == 0 || (mr_recordlog_is_whole(r) && last_segment(log)->first != log->next))
        return 0;
    log->broken = true;
    return mr_err_set(err, -EIO, "%s", why.text);
}

static int format_record(struct mr_eventlog *log, const char *json, size_t bytes, const char *type,
                         const char *id, size_t *ret_bytes)
{
    struct mr_text t = mr_text_init(log->text, MR_RECORD_TEXT_MAX);
    mr_text_appendf(&t, "%" PRIu64 " %s %s ", log->next, type, id);
    size_t json_bytes;
    int r =
        mr_event_number(json, bytes, log->next, t.data + t.length, t.size - t.length, &json_bytes);
    if (r < 0)
        return r;
    size_t length = t.length + json_bytes;
    return atomic_load(&log->durable) == log->next - 1
               ? mr_recordlog_format(log->text, length, log->line, LINE_MAX, ret_bytes)
               : mr_recordlog_format_behind(log->synced_bytes, log->text, length, log->line,
                                            LINE_MAX, ret_bytes);
}

static int write_record(struct mr_eventlog *log, size_t bytes, const char *id, struct mr_err *err)
{
    struct segment *s = last_segment(log); /* only this thread changes the list */
    mr_fs_reserve(log->fd, ROOM_BYTES);
    int r = mr_recordlog_append_whole(log->fd, log->line, bytes);
    if (mr_recordlog_is_whole(r))
        return mr_err_errno(err, r, "event log: appending");
    if (r < 0)
        return broken(log, r, err, "appending");
    r = mr_idset_add(&log->ids, id, log->next);
    pthread_mutex_lock(&log->lock);
    if (r == 0)
        r = note_record(s, s->bytes, s->bytes + bytes);
    pthread_mutex_unlock(&log->lock);
    return r < 0 ? broken(log, r, err, "indexing") : 0;
}

int mr_eventlog_append(struct mr_eventlog *log, const char *json, size_t bytes,
                       uint64_t *ret_sequence, struct mr_err *err)
{
    char type[MR_EVENT_TYPE_MAX + 1], id[MR_EVENT_ID_MAX + 1];
    size_t line_bytes;
    if (log->broken)
        return mr_err_set(err, -EIO, "event log: broken by an earlier error");
    bool is_event = mr_event_names(json, bytes, type, id) == 0;
    if (is_event && last_segment(log)->count > 0 &&
        last_segment(log)->bytes >= log->segment_bytes) { /* first: a line says where it lies */
        int r = roll(log, err);
        if (r < 0)
            return r;
    }
    if (!is_event || format_record(log, json, bytes, type, id, &line_bytes) < 0)
        return mr_err_set(err, -EINVAL, "event log: a text that is no event was refused");
    int r = write_record(log, line_bytes, id, err);
    if (r < 0)
        return r;
    note_store(log, type);
    *ret_sequence = log->next++;
    return 0;
}

/* ---- reading ---- */

struct reading {
    uint64_t next, last; /* sequence wanted next; of the last one to visit */
    uint64_t at;         /* sequence of the next record in the file */
    mr_eventlog_visit visit;
    void *ctx;
    int result; /* of visit, when it ended the reading */
};

enum { ENOUGH = 1 }; /* from read_record: ends the scan */

static int read_record(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    struct reading *r = ctx;
    struct mr_eventlog_record record;
    (void)offset;
    if (mr_eventlog_parse(text, bytes, &record) < 0 || record.sequence != r->at)
        return -EUCLEAN;
    r->at++;
    if (record.sequence < r->next)
        return 0;
    r->result = r->visit(r->ctx, &record);
    r->next++;
    return r->result != 0 || r->next > r->last ? ENOUGH : 0;
}

/* Where to start for sequence `wanted`: its segment, and the nearest indexed record before it. */
static void find_record(struct mr_eventlog *log, uint64_t wanted, char ret_name[MR_SEGMENT_NAME],
                        uint64_t *ret_sequence, uint64_t *ret_offset)
{
    pthread_mutex_lock(&log->lock);
    size_t low = 0, high = log->segment_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (log->segments[middle].first <= wanted)
            low = middle;
        else
            high = middle;
    }
    const struct segment *s = &log->segments[low];
    size_t step = (size_t)((wanted - s->first) / INDEX_STEP);
    assert(wanted >= s->first && step < s->offset_count);
    segment_name(s, ret_name);
    *ret_sequence = s->first + step * INDEX_STEP;
    *ret_offset = s->offsets[step];
    pthread_mutex_unlock(&log->lock);
}

/* Visits what one segment holds of it. */
static int read_segment(struct mr_eventlog *log, struct reading *r)
{
    char name[MR_SEGMENT_NAME];
    uint64_t offset, before = r->next;
    find_record(log, r->next, name, &r->at, &offset);
    MR_CLEANUP(mr_fs_close) int fd = openat(log->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    struct mr_recordlog_scan scan;
    int n = mr_recordlog_scan(fd, offset, read_record, r, &scan);
    if (n == ENOUGH)
        return 0;
    if (n == 0 && r->next == before) /* a record we know of is not there any more */
        return -EUCLEAN;
    return n;
}

int mr_eventlog_read(struct mr_eventlog *log, uint64_t since, uint64_t limit,
                     mr_eventlog_visit visit, void *ctx)
{
    uint64_t first = mr_eventlog_first(log), last = mr_eventlog_last(log);
    struct reading r = {.next = since > first ? since : first, .visit = visit, .ctx = ctx};
    if (limit == 0 || r.next > last)
        return 0;
    r.last = last - r.next < limit ? last : r.next + limit - 1;
    while (r.next <= r.last && r.result == 0) {
        int n = read_segment(log, &r);
        if (n < 0)
            return n;
    }
    return r.result;
}

uint64_t mr_eventlog_last(struct mr_eventlog *log)
{
    return atomic_load(&log->durable);
}

uint64_t mr_eventlog_first(struct mr_eventlog *log)
{
    pthread_mutex_lock(&log->lock);
    uint64_t first = log->segments[0].first;
    pthread_mutex_unlock(&log->lock);
    return first;
}

int mr_eventlog_doorbell(const struct mr_eventlog *log)
{
    return log->doorbell;
}

/* ---- ids ---- */

static int same_id(void *ctx, const struct mr_eventlog_record *record)
{
    return strcmp(ctx, record->id) == 0 ? ENOUGH : 0;
}

/* The sequence under which id is logged (synced or not), 0: none. */
static int find_id(struct mr_eventlog *log, char *id, uint64_t *ret, struct mr_err *err)
{
    size_t at = 0;
    for (uint64_t s = mr_idset_next(&log->ids, id, &at); s != 0;
         s = mr_idset_next(&log->ids, id, &at)) {
        struct reading r = {.next = s, .last = s, .visit = same_id, .ctx = id};
        int n = read_segment(log, &r);
        if (n < 0)
            return mr_err_errno(err, n, "event log: reading event %" PRIu64, s);
        if (r.result == ENOUGH) {
            *ret = s;
            return 0;
        }
    }
    *ret = 0;
    return 0;
}

int mr_eventlog_append_unless_logged(struct mr_eventlog *log, const char *json, size_t bytes,
                                     uint64_t *ret_sequence, struct mr_err *err)
{
    char type[MR_EVENT_TYPE_MAX + 1], id[MR_EVENT_ID_MAX + 1];
    uint64_t logged = 0;
    if (mr_event_names(json, bytes, type, id) < 0)
        return mr_err_set(err, -EINVAL, "event log: a text that is no event was refused");
    int r = find_id(log, id, &logged, err);
    if (r < 0)
        return r;
    if (logged == 0)
        return mr_eventlog_append(log, json, bytes, ret_sequence, err);
    *ret_sequence = logged;
    return -EEXIST;
}

int mr_eventlog_find(struct mr_eventlog *log, const char *id, uint64_t *ret_sequence,
                     struct mr_err *err)
{
    char copy[MR_EVENT_ID_MAX + 1];
    snprintf(copy, sizeof(copy), "%s", id);
    return find_id(log, copy, ret_sequence, err);
}
