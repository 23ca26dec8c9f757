/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening an append-only file of records after whatever ended the last run. A torn tail (an append
 * that was cut short, never acknowledged) is cut off and the cut fsynced; any other damage, also in
 * a last record that is whole, is never mended in silence: it is an error that names file and
 * offset. Main, at start.
 */
#ifndef MR_MEND_H
#define MR_MEND_H

#include "base/recordlog.h"

/* For the caller to log */
struct mr_mend_note {
    uint64_t cut_bytes;  /* 0: nothing was cut */
    uint64_t kept_bytes; /* length of the file now */
    char file[64];       /* name, when something was cut */
};

/* Visits every record of fd (open O_RDWR). may_cut (the file that is appended to): a torn tail is
 * cut and the file fsynced; else a torn tail is damage too. name: of the file, for errors and the
 * note. Returns 0; -EUCLEAN with err for damage; visit's own non-zero result; -errno of I/O with
 * err. note may be NULL and is written only when something was cut. */
int mr_mend_scan(int fd, const char *name, bool may_cut, mr_recordlog_visit visit, void *ctx,
                 struct mr_mend_note *note, struct mr_err *err) MR_MUST_USE;

/* Copies a file of records as far as its last good one, durably but for the directory. whole: as
 * far as its first damaged one, where that was cut short before it was synced; else -EUCLEAN.
 * -EEXIST. */
int mr_mend_copy(int dir, const char *from, const char *to, bool whole,
                 struct mr_err *err) MR_MUST_USE;

#endif
