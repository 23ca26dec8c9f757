/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the disk holds, not what memory remembers of it: reads a file past the page cache (O_DIRECT
 * where the file system can, else the range is dropped from the cache first) and tells the
 * CRC-64/XZ of any stretch of it. Bytes written and not yet synced are read as written. One thread
 * at a time.
 */
#ifndef MR_REREAD_H
#define MR_REREAD_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define MR_REREAD_BUFFER_BYTES (4u << 20)

struct mr_reread {
    int fd; /* -1: none */
    bool direct;
    uint32_t alignment; /* 1 where not direct */
    uint8_t *buffer;    /* owned; MR_REREAD_BUFFER_BYTES, aligned; kept over many files */
};

/* The buffer alone. -ENOMEM. */
int mr_reread_init(struct mr_reread *ret) MR_MUST_USE;
void mr_reread_fini(struct mr_reread *r); /* zeroed or init'ed */

/* Takes another file: opened anew, symlinks not followed. direct: false where O_DIRECT is not to be
 * used. -errno: there is none open then. */
int mr_reread_open(struct mr_reread *r, int dirfd, const char *name, bool direct) MR_MUST_USE;
/* The same with an open file, which it takes, also on failure. */
int mr_reread_take(struct mr_reread *r, int fd, bool direct) MR_MUST_USE;
void mr_reread_close(struct mr_reread *r);

/* *crc goes on from what it was. -ENODATA: the file ends before; -errno. */
int mr_reread_crc(struct mr_reread *r, uint64_t offset, uint64_t bytes, uint64_t *crc) MR_MUST_USE;

#endif
