/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records, scanned and compared. A tail that is cut short is a record being written, or one that
 * the next start cuts off: no damage. Opens nothing for writing.
 */
#include "verify_records.h"

#include "base/crc64.h"
#include "base/fs.h"
#include "base/recordlog.h"
#include "catalogue_line.h"
#include "eventlog.h"
#include "segments.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const char *id)
{
    return mr_crc64(1, id, strlen(id));
}

/* Damage of one file, in words. appended: its end may have been torn by a power cut, and is cut by
 * the next start then. */
static void tell_damage(const char *name, int fd, const struct mr_recordlog_scan *scan,
                        bool appended, FILE *out, uint64_t *damaged)
{
    if (appended && !mr_recordlog_is_damaged(fd, scan))
        return;
    uint64_t count = scan->bad_records;
    if (scan->torn_tail && (!appended || mr_recordlog_tail_is_damage(fd, scan)))
        count++;
    *damaged += count;
    if (count > 0)
        fprintf(out, "DAMAGED .millrace/%s: %" PRIu64 " records, the first at offset %" PRIu64 "\n",
                name, count, scan->first_bad);
}

/* ---- the catalogue ---- */

struct loading {
    struct mr_verify_list *list;
    FILE *out;
    const char *name;
    uint64_t *damaged;
};

static int grow(struct mr_verify_list *l)
{
    if (l->count < l->room)
        return 0;
    size_t room = l->room == 0 ? 1024 : 2 * l->room;
    struct mr_verify_file *more = realloc(l->files, room * sizeof(*more));
    if (more == NULL)
        return -ENOMEM;
    l->files = more;
    l->room = room;
    return 0;
}

static int add(struct mr_verify_list *l, const struct mr_catalogue_entry *e)
{
    int r = grow(l);
    char *path = r < 0 ? NULL : strdup(e->path);
    if (path == NULL)
        return -ENOMEM;
    l->files[l->count] = (struct mr_verify_file){.id = e->id,
                                                 .revision = e->revision,
                                                 .path = path,
                                                 .bytes = e->bytes,
                                                 .digest = e->digest_file,
                                                 .sequence = e->sequence,
                                                 .event = hash_of(e->event),
                                                 .mtime_ns = e->mtime_ns,
                                                 .line = l->count,
                                                 .current = true};
    l->count++;
    return 0;
}

static int load_line(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    struct loading *l = ctx;
    struct mr_catalogue_line line;
    int r = mr_catalogue_line_parse(text, bytes, &line, NULL);
    if (r == -EPROTO) {
        fprintf(l->out, "DAMAGED .millrace/%s: no catalogue line at offset %" PRIu64 "\n", l->name,
                offset);
        ++*l->damaged;
        return 0;
    }
    if (r == 0 && !line.expire) /* an expired revision has a newer one, which counts */
        r = add(l->list, &line.entry);
    mr_catalogue_line_fini(&line);
    return r;
}

static int by_id(const void *a, const void *b)
{
    const struct mr_verify_file *x = a, *y = b;
    int order = memcmp(x->id.bytes, y->id.bytes, sizeof(x->id.bytes));
    return order != 0 ? order : x->revision < y->revision ? -1 : x->revision > y->revision;
}

static int by_path(const void *a, const void *b)
{
    const struct mr_verify_file *x = a, *y = b;
    int order = strcmp(x->path, y->path);
    return order != 0 ? order : x->line < y->line ? -1 : x->line > y->line;
}

/* Of a movie the newest revision, and of a path what was put there last. */
static void find_current(struct mr_verify_list *l)
{
    if (l->count == 0)
        return;
    qsort(l->files, l->count, sizeof(*l->files), by_id);
    for (size_t i = 0; i + 1 < l->count; i++)
        if (mr_ulid_equal(&l->files[i].id, &l->files[i + 1].id))
            l->files[i].current = false;
    qsort(l->files, l->count, sizeof(*l->files), by_path);
    for (size_t i = 0; i + 1 < l->count; i++)
        if (strcmp(l->files[i].path, l->files[i + 1].path) == 0)
            l->files[i].current = false;
}

/* Of the epoch that counts. */
static int catalogue_name(int millrace_dir, char ret[MR_CATALOGUE_NAME], struct mr_err *err)
{
    struct mr_epochs epochs;
    int r = mr_epochs_load(millrace_dir, &epochs, err);
    if (r == 0)
        mr_catalogue_name(mr_epochs_last(&epochs), ret);
    return r;
}

int mr_verify_list_read(int millrace_dir, struct mr_verify_list *ret, FILE *out, uint64_t *damaged,
                        struct mr_err *err)
{
    struct mr_verify_list list = {0};
    struct mr_recordlog_scan scan;
    char name[MR_CATALOGUE_NAME];
    int known = catalogue_name(millrace_dir, name, err);
    if (known < 0)
        return known;
    struct loading loading = {.list = &list, .out = out, .name = name, .damaged = damaged};
    MR_CLEANUP(mr_fs_close) int fd = openat(millrace_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return mr_err_errno(err, -errno, ".millrace/%s", name);
    int r = mr_recordlog_scan(fd, 0, load_line, &loading, &scan);
    if (r < 0) {
        mr_verify_list_free(&list);
        return mr_err_errno(err, r, ".millrace/%s", name);
    }
    tell_damage(name, fd, &scan, true, out, damaged);
    find_current(&list);
    *ret = list;
    return 0;
}

void mr_verify_list_free(struct mr_verify_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->files[i].path);
    free(list->files);
    *list = (struct mr_verify_list){0};
}

const struct mr_verify_file *mr_verify_list_find(const struct mr_verify_list *l, const char *path)
{
    size_t from = 0, to = l->count;
    while (from < to) { /* behind the last of that path */
        size_t middle = from + (to - from) / 2;
        if (strcmp(l->files[middle].path, path) <= 0)
            from = middle + 1;
        else
            to = middle;
    }
    bool found = from > 0 && strcmp(l->files[from - 1].path, path) == 0;
    return found && l->files[from - 1].current ? &l->files[from - 1] : NULL;
}

/* ---- the event log ---- */

struct reading {
    const char *name;
    FILE *out;
    uint64_t *damaged;
    uint64_t first, next; /* sequences; first 0: none yet */
    uint64_t *ids;        /* hashes, of first and so on */
    size_t room;
    bool holes; /* records are missing: what else is missing is known by that */
};

static int note_id(struct reading *r, const char *id)
{
    size_t at = (size_t)(r->next - r->first);
    if (at >= r->room) {
        size_t room = at < 512 ? 1024 : 2 * at;
        uint64_t *more = realloc(r->ids, room * sizeof(*more));
        if (more == NULL)
            return -ENOMEM;
        r->ids = more;
        r->room = room;
    }
    r->ids[at] = hash_of(id);
    return 0;
}

static void bad_event(struct reading *r, const char *what, uint64_t offset)
{
    fprintf(r->out, "DAMAGED .millrace/events/%s: %s at offset %" PRIu64 "\n", r->name, what,
            offset);
    ++*r->damaged;
}

static int visit_event(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    struct reading *r = ctx;
    struct mr_eventlog_record record;
    if (mr_eventlog_parse(text, bytes, &record) < 0) {
        bad_event(r, "no event", offset);
        return 0;
    }
    if (r->first == 0)
        r->first = r->next = record.sequence;
    if (record.sequence != r->next) {
        if (!r->holes)
            bad_event(r, "a gap in the numbers", offset);
        if (record.sequence < r->next)
            return 0;
        for (; r->next < record.sequence; r->next++)
            if (note_id(r, "") < 0)
                return -ENOMEM;
    }
    int n = note_id(r, record.id);
    r->next++;
    return n;
}

static int read_segment(int dir, const char *name, bool last, struct reading *r, struct mr_err *err)
{
    struct mr_recordlog_scan scan;
    char path[MR_SEGMENT_NAME + 8];
    MR_CLEANUP(mr_fs_close) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return mr_err_errno(err, -errno, ".millrace/" MR_SEGMENTS_DIR "/%s", name);
    int n = mr_recordlog_scan(fd, 0, NULL, NULL, &scan);
    r->name = name;
    r->holes = n == 0 && scan.bad_records > 0;
    if (n == 0)
        n = mr_recordlog_scan(fd, 0, visit_event, r, &scan);
    if (n < 0)
        return mr_err_errno(err, n, ".millrace/" MR_SEGMENTS_DIR "/%s", name);
    (void)snprintf(path, sizeof(path), "events/%s", name);
    tell_damage(path, fd, &scan, last, r->out, r->damaged);
    return 0;
}

static int read_segments(int millrace_dir, int dir, struct reading *reading, struct mr_err *err)
{
    struct mr_epochs epochs;
    struct mr_segment *segments = NULL;
    size_t count = 0;
    int r = mr_epochs_load(millrace_dir, &epochs, err);
    if (r < 0)
        return r;
    r = mr_segments_list(dir, &epochs, false, &segments, &count);
    if (r < 0)
        return mr_err_errno(err, r, ".millrace/" MR_SEGMENTS_DIR);
    for (size_t i = 0; r == 0 && i < count; i++) {
        char name[MR_SEGMENT_NAME];
        mr_segment_name(&segments[i], name);
        r = read_segment(dir, name, i + 1 == count, reading, err);
    }
    free(segments);
    return r;
}

int mr_verify_events(int millrace_dir, const struct mr_verify_list *list, FILE *out,
                     uint64_t *damaged, struct mr_err *err)
{
    struct reading r = {.out = out, .damaged = damaged};
    MR_CLEANUP(mr_fs_close)
    int dir = openat(millrace_dir, MR_SEGMENTS_DIR, O_DIRECTORY | O_CLOEXEC);
    int n = dir < 0 ? mr_err_errno(err, -errno, ".millrace/" MR_SEGMENTS_DIR)
                    : read_segments(millrace_dir, dir, &r, err);
    for (size_t i = 0; n == 0 && i < list->count; i++) {
        const struct mr_verify_file *f = &list->files[i];
        if (f->sequence < r.first) /* of a segment that was taken away */
            continue;
        if (f->sequence < r.next && r.ids[f->sequence - r.first] == f->event)
            continue;
        fprintf(out, "DAMAGED .millrace: event %" PRIu64 " is not that of %s\n", f->sequence,
                f->path);
        ++*damaged;
    }
    free(r.ids);
    return n;
}
