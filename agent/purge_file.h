/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One source file that is to go: opened beneath its watch without following a link, compared with
 * what it was when it was read, and taken away so that nothing but that very file can be lost.
 * Decides nothing about whether it should go. Any thread; may wait for the disk.
 */
#ifndef MR_AGENT_PURGE_FILE_H
#define MR_AGENT_PURGE_FILE_H

#include "journal.h"

#include <stdatomic.h>

#define MR_PURGE_WHY 256 /* bytes of a reason */

struct mr_purge_file {
    const struct mr_journal_movie *movie; /* borrowed */
    int fd, parent;                       /* the file, for reading; the directory it lies in */
    char name[256];                       /* in parent */
    char hidden[64];                      /* its name while it is taken away */
    struct mr_fs_facts facts;             /* as it should be */
    struct mr_ulid id;                    /* of its movie, and of `hidden` */
};

/* root: the watch's directory. Borrows m until _close. -ENOENT: no longer there, or another file
 * has its name; -ESTALE: it changed since it was read, a link leads to it, or it has another name
 * besides; else -errno. why: in words for each of them. ret is to be closed on 0 only. */
int mr_purge_file_open(int root, const struct mr_journal_movie *m, struct mr_purge_file *ret,
                       char why[MR_PURGE_WHY]) MR_MUST_USE;
void mr_purge_file_close(struct mr_purge_file *f);

/* What would keep _take from it as things are: -EACCES, -EROFS: its directory; -EBUSY: a writer. */
int mr_purge_file_probe(const struct mr_purge_file *f, char why[MR_PURGE_WHY]) MR_MUST_USE;

/* -ESTALE: the content is not of that CRC-64; -ECANCELED: *stop became true. Reads all of it. */
int mr_purge_file_check(const struct mr_purge_file *f, uint64_t crc, const atomic_bool *stop,
                        char why[MR_PURGE_WHY]) MR_MUST_USE;

/* Unlinks it. -ENOENT, -ESTALE, -EBUSY: it changed, its folder was moved away, or somebody has it
 * open for writing: it stays, under its name. -EEXIST: its name was given to another file in the
 * meantime, and it lies beside that under f->hidden. Else -errno; it stays. */
int mr_purge_file_take(struct mr_purge_file *f, char why[MR_PURGE_WHY]) MR_MUST_USE;

/* After a crash in the midst of _take: what lies in the directory of root/path under the hidden
 * name gets its name back. 0: it did; -ENOENT: nothing lies there; -EEXIST; else -errno. */
int mr_purge_file_restore(int root, const char *path, const struct mr_ulid *id) MR_MUST_USE;

#endif
