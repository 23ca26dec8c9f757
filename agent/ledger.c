/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger's file and its lines. Unlinks nothing and decides nothing. */
#include "ledger.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/recordlog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME     "ledger.log"
#define LINE_BYTES    (32u * 1024) /* paths of 4 KiB, each byte escaped at worst */
#define RESERVE_BYTES (256u * 1024)

struct mr_ledger {
    int fd;
    bool broken;
    char line[LINE_BYTES];
};

/* ---- opening ---- */

bool mr_ledger_exists(const char *state_dir)
{
    struct mr_fs_facts facts;
    MR_CLEANUP(mr_fs_close) int dir = open(state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return dir >= 0 && mr_fs_stat(dir, FILE_NAME, &facts) == 0;
}

static int visit(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    struct mr_ledger_pending *p = ctx;
    MR_CLEANUP(mr_json_freep) struct mr_json *json = NULL;
    const char *what = "", *row = "", *path = "";
    (void)offset;
    if (mr_json_parse(text, bytes, &json, NULL) < 0 ||
        mr_json_need_string(json, "what", &what, NULL) < 0 ||
        mr_json_need_string(json, "row", &row, NULL) < 0 ||
        mr_json_need_string(json, "path", &path, NULL) < 0)
        return -EUCLEAN;
    mr_ledger_pending_fini(p);
    if (strcmp(what, "intent") != 0)
        return 0;
    p->is_open = mr_ulid_parse(row, &p->row) == 0;
    p->path = p->is_open ? strdup(path) : NULL;
    p->line = p->is_open ? strdup(text) : NULL;
    return p->path == NULL || p->line == NULL ? -ENOMEM : 0;
}

static int read_ledger(struct mr_ledger *l, const char *dir, struct mr_ledger_pending *pending,
                       struct mr_err *err)
{
    struct mr_recordlog_scan scan;
    int r = mr_recordlog_scan(l->fd, 0, visit, pending, &scan);
    /* a line that was whole once may be an intent, and its file wear a hidden name */
    bool damaged = r == 0 && (scan.bad_records > 0 ||
                              (scan.torn_tail && mr_recordlog_tail_is_damage(l->fd, &scan)));
    if (r == -EUCLEAN || damaged)
        return mr_err_set(err, -EUCLEAN,
                          "%s/" FILE_NAME " is damaged: nothing is freed until it is moved away",
                          dir);
    if (r == 0 && scan.torn_tail && ftruncate(l->fd, (off_t)scan.good_bytes) < 0)
        r = -errno;
    if (r == 0 && fsync(l->fd) < 0)
        r = -errno;
    return r < 0 ? mr_err_errno(err, r, "%s/" FILE_NAME, dir) : 0;
}

static int open_file(struct mr_ledger *l, const char *state_dir, struct mr_err *err)
{
    MR_CLEANUP(mr_fs_close) int dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0)
        l->fd = openat(dir, FILE_NAME, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (dir < 0 || l->fd < 0)
        return mr_err_errno(err, -errno, "%s/" FILE_NAME, state_dir);
    int r = mr_fs_sync_dir(dir);
    return r < 0 ? mr_err_errno(err, r, "%s", state_dir) : 0;
}

int mr_ledger_open(const char *state_dir, struct mr_ledger **ret,
                   struct mr_ledger_pending *ret_pending, struct mr_err *err)
{
    struct mr_ledger *l = calloc(1, sizeof(*l));
    struct mr_ledger_pending pending = {0};
    if (l == NULL)
        return mr_err_errno(err, -ENOMEM, "ledger");
    l->fd = -1;
    int r = open_file(l, state_dir, err);
    if (r == 0)
        r = read_ledger(l, state_dir, &pending, err);
    if (r < 0) {
        mr_ledger_pending_fini(&pending);
        mr_ledger_close(l);
        return r;
    }
    mr_fs_reserve(l->fd, RESERVE_BYTES);
    *ret = l;
    *ret_pending = pending;
    return 0;
}

void mr_ledger_close(struct mr_ledger *l)
{
    if (l == NULL)
        return;
    mr_fs_close(&l->fd);
    free(l);
}

void mr_ledger_pending_fini(struct mr_ledger_pending *p)
{
    free(p->path);
    free(p->line);
    *p = (struct mr_ledger_pending){0};
}

/* ---- writing ---- */

static int append(struct mr_ledger *l, const struct mr_json *json, struct mr_err *err)
{
    size_t bytes = 0;
    if (l->broken)
        return mr_err_set(err, -EIO, FILE_NAME ": a write has failed before");
    char *text = mr_json_dump(json);
    int r = text == NULL
                ? -ENOMEM
                : mr_recordlog_format(text, strlen(text), l->line, sizeof(l->line), &bytes);
    free(text);
    if (r < 0)
        return mr_err_errno(err, r, FILE_NAME);
    r = mr_recordlog_append(l->fd, l->line, bytes);
    if (r == 0 && fdatasync(l->fd) < 0)
        r = -errno;
    l->broken = r < 0; /* what is on disk is not known any more */
    mr_fs_reserve(l->fd, RESERVE_BYTES);
    return r < 0 ? mr_err_errno(err, r, FILE_NAME) : 0;
}

static void put_time(struct mr_json *json)
{
    char time[MR_TIME_TEXT];
    mr_json_put_string(json, "time", mr_clock_text(mr_clock_real_ns(), time));
}

int mr_ledger_write(struct mr_ledger *l, const struct mr_ledger_entry *e, struct mr_err *err)
{
    char movie[MR_ULID_TEXT], row[MR_ULID_TEXT], digest[17];
    MR_CLEANUP(mr_json_freep) struct mr_json *json = mr_json_object();
    snprintf(digest, sizeof(digest), "%016llX", (unsigned long long)e->digest);
    put_time(json);
    mr_json_put_string(json, "what", e->what);
    mr_json_put_string(json, "path", e->path);
    mr_json_put_int(json, "bytes", (int64_t)e->bytes);
    mr_json_put_string(json, "movie", mr_ulid_text(&e->movie, movie));
    mr_json_put_int(json, "revision", e->revision);
    mr_json_put_string(json, "row", mr_ulid_text(&e->row, row));
    mr_json_put_string(json, "digest", digest);
    mr_json_put_string(json, "store", e->store);
    mr_json_put_string(json, "why", e->why);
    return append(l, json, err);
}

int mr_ledger_settle(struct mr_ledger *l, const struct mr_ledger_pending *p, const char *what,
                     const char *why, struct mr_err *err)
{
    MR_CLEANUP(mr_json_freep) struct mr_json *json = NULL;
    int r = mr_json_parse(p->line, strlen(p->line), &json, err);
    if (r < 0)
        return r;
    put_time(json);
    mr_json_put_string(json, "what", what);
    mr_json_put_string(json, "why", why);
    return append(l, json, err);
}
