/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts a torn tail, be it of several records, refuses any other damage. Does not know what the
 * records say. */
#include "mend.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

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
