/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts a torn tail, be it of several records, or leaves it out of a copy; refuses any other damage.
 * Does not know what the records say. */
#include "mend.h"

#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STEP_BYTES (1u << 20)

static int cut_tail(int fd, const char *name, const struct mr_recordlog_scan *scan,
                    struct mr_mend_note *note, struct mr_err *err)
{
    if (ftruncate(fd, (off_t)scan->first_bad) < 0)
        return mr_err_errno(err, -errno, "%s: cutting its torn tail", name);
    if (note) {
        note->cut_bytes = scan->total_bytes - scan->first_bad;
        note->kept_bytes = scan->first_bad;
        snprintf(note->file, sizeof(note->file), "%s", name);
    }
    return 0;
}

int mr_mend_scan(int fd, const char *name, bool may_cut, mr_recordlog_visit visit, void *ctx,
                 struct mr_mend_note *note, struct mr_err *err)
{
    struct mr_recordlog_scan scan;
    /* Linux marks pages clean whose write-back failed. Should the last run have ended by that,
     * memory holds records the disk has not: forget what is clean and read the disk's. */
    if (may_cut)
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    int r = mr_recordlog_scan_front(fd, visit, ctx, &scan);
    if (r < 0 && err && err->code == 0)
        mr_err_errno(err, r, "%s: reading", name);
    if (r != 0)
        return r;
    bool torn = scan.bad_records > 0 || scan.torn_tail;
    if (torn && (!may_cut || mr_recordlog_is_damaged(fd, &scan)))
        return mr_err_set(err, -EUCLEAN, "%s: damaged record at offset %" PRIu64, name,
                          scan.first_bad);
    if (!may_cut)
        return 0;
    r = torn ? cut_tail(fd, name, &scan, note, err) : 0;
    /* what was written and never synced has now been read as good: make it so before anyone acts on
     * it */
    if (r == 0 && fsync(fd) < 0)
        r = mr_err_errno(err, -errno, "%s: syncing", name);
    return r;
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

int mr_mend_copy(int dir, const char *from, const char *to, bool whole, struct mr_err *err)
{
    struct mr_recordlog_scan scan;
    MR_CLEANUP(mr_fs_close) int source = openat(dir, from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (source < 0)
        return mr_err_errno(err, -errno, "%s", from);
    /* what a failed write-back left in memory is not on the disk */
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
