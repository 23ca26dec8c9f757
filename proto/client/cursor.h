/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A consumer's place in the log, in a file of one number: the last event dealt with. Replaced whole
 * (write, fsync, rename, fsync of the directory), so a crash leaves the old or the new.
 */
#ifndef MR_CURSOR_H
#define MR_CURSOR_H

#include "base/err.h"

#include <stdint.h>

/* -ENOENT: no such file, err untouched; -EINVAL: not a cursor; -errno of I/O with err. */
int mr_cursor_read(const char *path, uint64_t *ret_sequence, struct mr_err *err) MR_MUST_USE;
int mr_cursor_write(const char *path, uint64_t sequence, struct mr_err *err) MR_MUST_USE;

#endif
