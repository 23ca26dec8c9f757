/* SPDX-License-Identifier: Apache-2.0 */
/* Names of event segments, which of them count, and their copies, whole records of them. */
#include "segments.h"

#include "base/fs.h"
#include "base/recordlog.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEP_BYTES (1u << 20)

void mr_segment_name(const struct mr_segment *s, char ret[MR_SEGMENT_NAME])
{
    if (s->epoch == 0)
        (void)snprintf(ret, MR_SEGMENT_NAME, "%08" PRIu64 ".log", s->first);
    else
        (void)snprintf(ret, MR_SEGMENT_NAME, "%08" PRIu64 ".e%" PRIu32 ".log", s->first, s->epoch);
}

int mr_segment_parse(const char *name, struct mr_segment *ret)
{
    char expected[MR_SEGMENT_NAME];
    struct mr_segment s = {0};
    size_t digits = strspn(name, "0123456789");
    if (digits < 8 || digits > 19)
        return -EINVAL;
    s.first = strtoull(name, NULL, 10);
    if (strncmp(name + digits, ".e", 2) == 0)
        s.epoch = (uint32_t)strtoul(name + digits + 2, NULL, 10);
    mr_segment_name(&s, expected);
    if (s.first == 0 || strcmp(name, expected) != 0)
        return -EINVAL;
    *ret = s;
    return 0;
}

/* ---- listing ---- */

static int in_order(const void *a, const void *b)
{
    const struct mr_segment *x = a, *y = b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return x->epoch < y->epoch ? -1 : x->epoch > y->epoch;
}

static int add(struct mr_segment **list, size_t *count, const struct mr_segment *s)
{
    struct mr_segment *more = realloc(*list, (*count + 1) * sizeof(*more));
    if (more == NULL)
        return -ENOMEM;
    more[(*count)++] = *s;
    *list = more;
    return 0;
}

int mr_segments_list(int events_dir, const struct mr_epochs *epochs, bool void_too,
                     struct mr_segment **ret, size_t *ret_count)
{
    struct mr_segment *list = NULL, s;
    size_t count = 0;
    MR_CLEANUP(mr_fs_list_close) DIR *dir = NULL;
    int r = mr_fs_list(events_dir, &dir);
    const char *name = "";
    while (r == 0 && name != NULL) {
        r = mr_fs_next_name(dir, &name);
        if (r == 0 && name != NULL && mr_segment_parse(name, &s) == 0 &&
            (void_too || mr_epochs_are_good(epochs, s.epoch, s.first)))
            r = add(&list, &count, &s);
    }
    if (r < 0) {
        free(list);
        return r;
    }
    if (count > 0)
        qsort(list, count, sizeof(*list), in_order);
    *ret = list;
    *ret_count = count;
    return 0;
}

/* ---- copying ---- */

static int copy_bytes(int from, int to, uint64_t bytes)
{
    char *buffer = malloc(STEP_BYTES);
    int r = buffer == NULL ? -ENOMEM : 0;
    for (uint64_t at = 0; r == 0 && at < bytes;) {
        size_t step = bytes - at < STEP_BYTES ? (size_t)(bytes - at) : STEP_BYTES;
        r = mr_fs_pread_full(from, buffer, step, at);
        if (r == 0)
            r = mr_fs_pwrite_full(to, buffer, step, at);
        at += step;
    }
    free(buffer);
    return r == 0 && fsync(to) < 0 ? -errno : r;
}

int mr_segments_copy(int dir, const char *from, const char *to, bool whole, struct mr_err *err)
{
    struct mr_recordlog_scan scan;
    MR_CLEANUP(mr_fs_close) int source = openat(dir, from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (source < 0)
        return mr_err_errno(err, -errno, "%s", from);
    /* as mend does: what a failed write-back left in memory is not on the disk */
    posix_fadvise(source, 0, 0, POSIX_FADV_DONTNEED);
    int r = mr_recordlog_scan(source, 0, NULL, NULL, &scan);
    if (r < 0)
        return mr_err_errno(err, r, "%s", from);
    if (whole && mr_recordlog_is_damaged(source, &scan))
        return mr_err_set(err, -EUCLEAN, "%s: damaged record at offset %" PRIu64, from,
                          scan.first_bad);
    bool torn = scan.bad_records > 0 || scan.torn_tail;
    uint64_t good_bytes = whole && torn ? scan.first_bad : scan.good_bytes;
    MR_CLEANUP(mr_fs_close)
    int copy = openat(dir, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
    r = copy < 0 ? -errno : copy_bytes(source, copy, good_bytes);
    return r < 0 ? mr_err_errno(err, r, "%s: copying it as %s", from, to) : 0;
}

int mr_segments_copy_last(int millrace_dir, const struct mr_epochs *epochs, uint32_t epoch,
                          uint64_t *ret_first, struct mr_err *err)
{
    char from[MR_SEGMENT_NAME], to[MR_SEGMENT_NAME];
    struct mr_segment *list = NULL;
    size_t count = 0;
    MR_CLEANUP(mr_fs_close)
    int dir = mr_fs_mkdirs_durable(millrace_dir, MR_SEGMENTS_DIR, 0, (gid_t)-1);
    int r = dir < 0 ? dir : mr_segments_list(dir, epochs, false, &list, &count);
    if (r < 0)
        return mr_err_errno(err, r, MR_SEGMENTS_DIR);
    struct mr_segment last = count == 0 ? (struct mr_segment){.first = 1} : list[count - 1];
    free(list);
    *ret_first = last.first;
    if (count == 0)
        return 0;
    mr_segment_name(&last, from);
    last.epoch = epoch;
    mr_segment_name(&last, to);
    r = mr_segments_copy(dir, from, to, true, err);
    if (r == 0 && (r = mr_fs_sync_dir(dir)) < 0)
        mr_err_errno(err, r, MR_SEGMENTS_DIR);
    return r < 0 ? mr_err_prefix(err, MR_SEGMENTS_DIR) : 0;
}
