/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace-ingest --verify: reads finished files back from the disk and compares them with the
 * digests the catalogue recorded; checks the records of catalogue and event log, and that they
 * agree. Only reads, takes no lease, and may run beside a server. Main thread.
 */
#ifndef MR_VERIFY_H
#define MR_VERIFY_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct mr_verify_config {
    const char *root; /* of the store */
    const char *path; /* a file or folder, below the root or absolute; NULL: all */
    uint64_t rate;    /* bytes read a second at most; 0: no limit */
    bool allow_missing;
    bool direct;   /* O_DIRECT where it can be had */
    bool progress; /* a line on stderr that is written over */
    FILE *out;     /* a line for each thing that is wrong */
};

struct mr_verify_counts {
    uint64_t files, bytes; /* that were recorded; bytes: read */
    uint64_t missing;      /* not there any more */
    uint64_t changed;      /* other content, and a size or time that is not the recorded one */
    uint64_t damaged;      /* other content under the size and time that were recorded */
    uint64_t unreadable;
    uint64_t records; /* in catalogue and event log that are damaged or do not agree */
};

/* 0: all was looked at, counts tell. -ENOENT: nothing is recorded at or below path. -errno: root or
 * catalogue cannot be read; err. */
int mr_verify_run(const struct mr_verify_config *config, struct mr_verify_counts *ret,
                  struct mr_err *err) MR_MUST_USE;

#endif
