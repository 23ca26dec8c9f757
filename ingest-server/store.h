/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's root as berth, seal and recovery share it: directories held open, how new files are
 * to look. Immutable once the server has its lease, but for what it remembers as durable; any
 * thread. Layout: <root>/.millrace/{journal,events,failed,catalogue.log,lease}.
 */
#ifndef MR_STORE_H
#define MR_STORE_H

#include "base/fs.h"
#include "lease.h"
#include "naming.h"

enum mr_direct_io { MR_DIRECT_AUTO, MR_DIRECT_ON, MR_DIRECT_OFF };

/* Texts borrowed for mr_store_open */
struct mr_store_config {
    const char *root;
    const char *path_template; /* "{agent}/{path}" */
    const char *site, *server; /* names */
    enum mr_direct_io direct_io;
    mode_t file_mode, dir_mode;
    const char *group; /* "inherit" or a group's name or number */
    bool source_mtime; /* finished files carry the source's mtime */
    int64_t keep_revisions_ns;
    uint32_t keep_free_hundredths; /* percent x 100 */
};

struct mr_store {
    /* Owned; directories of finished files whose names are known to be on the disk. One that is
     * pushed out is only synced once more. */
    struct mr_dirset *durable_dirs;
    char *root, *site, *server; /* owned texts; root without a trailing '/' */
    struct mr_naming *naming;
    int root_fd, millrace_fd, journal_fd, failed_fd;
    enum mr_direct_io direct_io;
    mode_t file_mode, dir_mode;
    gid_t group; /* (gid_t)-1: as inherited */
    bool source_mtime;
    int64_t keep_revisions_ns;
    uint32_t keep_free_hundredths;
    struct mr_lease *lease;   /* borrowed; NULL: none, as in tests */
    uint32_t epoch;           /* lease_file.h */
    struct mr_skiffs *skiffs; /* borrowed; NULL: every movie has a journal of its own */
};

/* A group's name or number; "inherit" is (gid_t)-1. -EINVAL: none is called so. Main thread. */
int mr_store_find_group(const char *name, gid_t *ret, struct mr_err *err) MR_MUST_USE;

/* Opens or makes the root and the directories under .millrace, without a lease: whose store it is,
 * lease.h says. -EROFS, -EACCES, -ENOSPC ... with err naming the directory. */
int mr_store_open(const struct mr_store_config *config, struct mr_store *ret,
                  struct mr_err *err) MR_MUST_USE;
void mr_store_close(struct mr_store *store);

/* Directory part and last component of a path below the root; dir is "." at the top. */
void mr_store_split(const char *path, char *ret_dir, size_t dir_size, const char **ret_name);

/* A folder of parts goes when it is empty, also before something could be put into one that was
 * just made: how often it is made again. */
#define MR_STORE_DIR_TRIES 16

/* Opens <dir>/.millrace, dir being that of `path`; an fd or -errno. make: directories that are
 * missing are made with the store's mode and group, and the whole path is durable. */
int mr_store_part_dir(const struct mr_store *store, const char *path, bool make) MR_MUST_USE;
/* As with make, but nothing is durable before the next syncfs. */
int mr_store_lazy_part_dir(const struct mr_store *store, const char *path) MR_MUST_USE;
/* Opens the directory of path. */
int mr_store_dir(const struct mr_store *store, const char *path) MR_MUST_USE;

/* Removes <dir>/.millrace where it is empty (never the root's own). */
void mr_store_tidy(const struct mr_store *store, const char *path);

/* The same, as durable as the next syncfs makes it. */
void mr_store_lazy_tidy(const struct mr_store *store, const char *path);

/* What a new file in that directory is made with, before it is dressed; -errno. */
int mr_store_create_mode(const struct mr_store *s, int dir_fd) MR_MUST_USE;
/* Gives a new file its mode and group, as the store's configuration and the directory's ACL say. */
int mr_store_dress(const struct mr_store *store, int dir_fd, int fd,
                   struct mr_err *err) MR_MUST_USE;

/* May this process give files the group that is configured? Else every file it is to make fails. */
bool mr_store_may_use_group(const struct mr_store *store);

/* True while the file system has less free than keep_free. */
bool mr_store_is_full(const struct mr_store *store);

#endif
