/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few bytes of a file that a source judges by. Opens, reads, closes; never follows a symbolic
 * link out of the tree and never waits for a pipe. Any thread.
 */
#ifndef MR_AGENT_PEEK_H
#define MR_AGENT_PEEK_H

#include "base/fs.h"

#include <stdbool.h>

#define MR_PEEK_MDOC_MAX (1024u * 1024) /* a larger mdoc is a tilt series', not a stack's */

/* Reads min(facts->size, want) bytes of root/path into ret; *ret_current: after that, size and
 * mtime were still those of facts. -ESTALE: the name means another file than facts by now, or it
 * was shortened; else as open(2) and pread(2). */
int mr_peek_head(int root, const char *path, const struct mr_fs_facts *facts, size_t want,
                 uint8_t *ret, size_t *ret_bytes, bool *ret_current) MR_MUST_USE;

/* Text of `<path>.mdoc`, NULL where there is none that can be read. Returns owned. */
char *mr_peek_mdoc(int root, const char *path);

/* A read lease of fcntl(2), which is granted only where nobody has the file open for writing, and
 * makes who comes to write wait until it is given back, or its descriptor closed. -EAGAIN: somebody
 * has; -EOPNOTSUPP: it would not speak for all writers (FUSE, network mounts); -errno: none is to
 * be had (-EACCES: another user's file). */
int mr_peek_lease(int fd) MR_MUST_USE;
void mr_peek_unlease(int fd);

/* True where nobody has the file open for writing, as far as this host knows. False where that
 * cannot be known, so it may only ever replace a close that was missed. */
bool mr_peek_unwritten(int root, const char *path);

#endif
