/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that grows as one written through stdio does: whole blocks become visible, the last few
 * bytes (less than 4096) wait for what comes next. It knows its own CRC at any time, patches
 * included, without reading anything twice.
 */
#ifndef MR_SIM_FILE_H
#define MR_SIM_FILE_H

#include "base/err.h"

#include <stdint.h>

#define MR_SIM_FILE_BLOCK 4096

struct mr_sim_file {
    const char *path; /* borrowed: messages */
    int fd;           /* -1: closed */
    uint64_t bytes;   /* appended so far */
    uint64_t crc;     /* CRC-64/XZ of those, as they are now */
    uint32_t waiting; /* bytes in block */
    uint8_t block[MR_SIM_FILE_BLOCK];
};

/* Makes path; one that exists is renamed to path~ first, as the cameras' plugin does. Borrows
 * path. */
int mr_sim_file_create(struct mr_sim_file *f, const char *path, struct mr_err *err) MR_MUST_USE;

/* ret_crc: the CRC of data alone, set also on failure; may be NULL. */
int mr_sim_file_append(struct mr_sim_file *f, const void *data, size_t bytes, uint64_t *ret_crc,
                       struct mr_err *err) MR_MUST_USE;
/* Seeks over bytes that stay zero; only at the file's start. */
void mr_sim_file_skip(struct mr_sim_file *f, uint64_t bytes);
/* Seeks back and overwrites at most 4096 bytes appended or skipped before; all waiting bytes become
 * visible. */
int mr_sim_file_patch(struct mr_sim_file *f, uint64_t offset, const void *data, size_t bytes,
                      struct mr_err *err) MR_MUST_USE;
/* Writes what waits, then closes; closed also on failure. */
int mr_sim_file_close(struct mr_sim_file *f, struct mr_err *err) MR_MUST_USE;
void mr_sim_file_abandon(struct mr_sim_file *f); /* closes, writes nothing; closed allowed */

#endif
