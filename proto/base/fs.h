/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files. Paths below a root are opened with openat2 RESOLVE_BENEATH (no "..", no absolute path, no
 * symlink out), so a name from a peer can never leave the root. Whatever must outlive a crash says
 * so: the _durable functions return only after the directory that changed has been fsynced.
 */
#ifndef MR_BASE_FS_H
#define MR_BASE_FS_H

#include "base/err.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What makes a file the same file, whatever its name: an inode number alone is used again. */
struct mr_fs_identity {
    uint64_t device, inode;
    int64_t birth_ns; /* 0 where the file system does not tell */
};

struct mr_fs_facts {
    struct mr_fs_identity identity;
    uint64_t size;
    int64_t mtime_ns, ctime_ns;
    mode_t mode;    /* type and permissions */
    uint64_t links; /* names it has */
};

bool mr_fs_same(const struct mr_fs_identity *a, const struct mr_fs_identity *b); /* file */

/* Closes *fd unless negative; for MR_CLEANUP(mr_fs_close). */
void mr_fs_close(int *fd);

/* statx; path relative to dirfd (AT_FDCWD allowed), or "" for dirfd itself. Symlinks not
 * followed. */
int mr_fs_stat(int dirfd, const char *path, struct mr_fs_facts *ret) MR_MUST_USE;
/* 1: what has that name there is that inode; 0: it is another, or there is none; -errno. */
int mr_fs_is_inode(int dirfd, const char *name, uint64_t inode) MR_MUST_USE;
/* The same, asked of the file server where a network file system would answer from its cache. */
int mr_fs_stat_fresh(int dirfd, const char *path, struct mr_fs_facts *ret) MR_MUST_USE;

/* Whole count or error; a read that meets the end early is -ENODATA. EINTR is retried. */
int mr_fs_pread_full(int fd, void *data, size_t bytes, uint64_t offset) MR_MUST_USE;
int mr_fs_pwrite_full(int fd, const void *data, size_t bytes, uint64_t offset) MR_MUST_USE;

/* Opens below root; flags as open(2), O_CLOEXEC added. Returns fd or -errno (-EXDEV/-ELOOP: left
 * the root). */
int mr_fs_open_beneath(int root, const char *path, int flags, mode_t mode) MR_MUST_USE;

/* The same where no component may be a symbolic link, the last included: -ELOOP. Makes nothing. */
int mr_fs_open_straight(int root, const char *path, int flags) MR_MUST_USE;

/* Makes every missing directory of path (relative, '/'-separated) below root with mode, and fsyncs
 * each one that holds a name of path: who made a name before may have died before its fsync.
 * Returns an O_DIRECTORY fd of the last, or -errno. mode 0: as the parent gives (0777 & umask, or
 * the parent's default ACL). Where the parent has a default ACL no chmod follows; else a directory
 * that was made is chmod'ed to mode. gid: (gid_t)-1: the parent's, or as the system gives where
 * that is not permitted. */
int mr_fs_mkdirs_durable(int root, const char *path, mode_t mode, gid_t gid) MR_MUST_USE;
/* The same without a sync: what was made is as durable as the next mr_fs_sync_all makes it. */
int mr_fs_mkdirs(int root, const char *path, mode_t mode, gid_t gid) MR_MUST_USE;

/* renameat2 RENAME_NOREPLACE; -EEXIST. Where the file system has no flag: linkat, fsync of to_dir,
 * unlinkat; so both are to be open for reading. */
int mr_fs_rename_new(int from_dir, const char *from, int to_dir, const char *to) MR_MUST_USE;
/* renameat2 RENAME_EXCHANGE. */
int mr_fs_exchange(int a_dir, const char *a, int b_dir, const char *b) MR_MUST_USE;

int mr_fs_sync_dir(int dirfd) MR_MUST_USE; /* fsync */

/* The names in a directory, from the first on, in no order. dirfd stays the caller's and may be
 * negative (-ENOENT). Returns owned, for mr_fs_list_close; *ret is NULL where it fails. */
int mr_fs_list(int dirfd, DIR **ret) MR_MUST_USE;
void mr_fs_list_close(DIR **list); /* NULL allowed; for MR_CLEANUP */
/* The next name in list (borrowed until the next call), *ret NULL at the end; -errno where it
 * cannot be read on, which readdir tells from the end only by errno. */
int mr_fs_next_name(DIR *dir, const char **ret) MR_MUST_USE;

/* 1: dirfd carries a default ACL (system.posix_acl_default); 0: it does not, or its file system
 * knows none; -errno: that could not be seen. */
int mr_fs_has_default_acl(int dirfd) MR_MUST_USE;

/* syncfs: all that was written to fd's file system, by anybody, and all names in it. An error is
 * told once per open file: it may be of anything written since this fd was last asked. */
int mr_fs_sync_all(int fd) MR_MUST_USE;
/* False where an error might not be told: an older kernel, a file system that is not known for
 * it. */
bool mr_fs_can_sync_all(int fd);

/* Free bytes and total bytes of the file system fd lies on, for an unprivileged writer. */
int mr_fs_space(int fd, uint64_t *ret_free, uint64_t *ret_total) MR_MUST_USE;

/* Keeps room on the disk for `bytes` more behind the end of fd's file, whose size stays; so that
 * what is appended fits on a disk that is full by then. As far as the file system can. */
void mr_fs_reserve(int fd, uint64_t bytes);

/* Alignment in bytes that direct I/O on fd wants (offset, length and memory alike):
 * max(4096, STATX_DIOALIGN, file-system block). */
int mr_fs_direct_alignment(int fd, uint32_t *ret) MR_MUST_USE;

/* Reads a whole small file (at most `limit` bytes, else -EFBIG) into heap memory with a NUL behind;
 * returns owned (free). */
int mr_fs_read_file(int dirfd, const char *path, size_t limit, char **ret,
                    size_t *ret_bytes) MR_MUST_USE;

#endif
