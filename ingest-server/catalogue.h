/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per committed revision of a movie, <root>/.millrace/catalogue.log (in a later epoch, see
 * lease_file.h, catalogue.e<epoch>.log), and tables of it in memory. Answers: is this movie
 * committed; is this content here already; which revision is the newest of a source; which old
 * revisions have had their time.
 *
 * One thread adds and expires (seal); any thread asks. Entries are immutable and live until
 * mr_catalogue_close, so what a question returns stays good without a lock. After a failed write
 * the catalogue is broken for good (-EIO): the caller ends the server.
 */
#ifndef MR_CATALOGUE_H
#define MR_CATALOGUE_H

#include "base/ulid.h"
#include "mend.h"
#include "wire/message.h"

struct mr_catalogue_entry {
    struct mr_ulid id;
    uint32_t revision;       /* 1 for a first landing */
    const char *agent;       /* with source: whose movie, the source key */
    const char *source;      /* path below the watch, as in OPEN */
    uint64_t source_bytes;   /* 0 unknown */
    int64_t source_mtime_ns; /* 0 unknown */
    enum mr_output output;
    uint64_t geometry;    /* mr_catalogue_geometry_key */
    const char *path;     /* final, below the store's root */
    uint64_t bytes;       /* of the stored file */
    int64_t mtime_ns;     /* of the stored file, as stat tells it after the commit */
    uint64_t digest_file; /* CRC-64/XZ */
    bool has_pixels;
    uint64_t digest_pixels; /* where has_pixels */
    const char *event;      /* id of its ready event */
    uint64_t sequence;      /* of it in the event log */
    int64_t committed_real_ns;
};

struct mr_catalogue;

#define MR_CATALOGUE_NAME 32

/* Of the one that counts in an epoch */
void mr_catalogue_name(uint32_t epoch, char ret[MR_CATALOGUE_NAME]);

/* millrace_dir: <root>/.millrace, borrowed for the call. note: what was cut. -EUCLEAN as
 * eventlog. */
int mr_catalogue_open(int millrace_dir, struct mr_catalogue **ret, struct mr_mend_note *note,
                      struct mr_err *err) MR_MUST_USE;
void mr_catalogue_close(struct mr_catalogue *catalogue); /* NULL allowed */

/* A number for (layout, pixel types, width, height, offsets): equal geometries give equal keys. */
uint64_t mr_catalogue_geometry_key(const struct mr_geometry *geometry);

/* ---- writer's thread ---- */

/* Copies entry, appends its line. -EEXIST: this revision of this id is there already (recovery),
 * nothing written. -EINVAL: text that cannot be a line (err says). Not durable before
 * mr_catalogue_sync. */
int mr_catalogue_add(struct mr_catalogue *catalogue, const struct mr_catalogue_entry *entry,
                     struct mr_err *err) MR_MUST_USE;
/* Notes that an old revision's file is gone for good. -ENOENT: no such entry. */
int mr_catalogue_expire(struct mr_catalogue *catalogue, const struct mr_ulid *id, uint32_t revision,
                        struct mr_err *err) MR_MUST_USE;
int mr_catalogue_sync(struct mr_catalogue *catalogue, struct mr_err *err) MR_MUST_USE;

/* ---- any thread; answers are borrowed until close; NULL: none ---- */

/* The newest revision of an id / that revision. */
const struct mr_catalogue_entry *mr_catalogue_find(struct mr_catalogue *catalogue,
                                                   const struct mr_ulid *id);
const struct mr_catalogue_entry *mr_catalogue_find_revision(struct mr_catalogue *catalogue,
                                                            const struct mr_ulid *id,
                                                            uint32_t revision);

/* What has just arrived; texts borrowed */
struct mr_catalogue_content {
    const char *agent, *source;
    enum mr_output output;
    uint64_t geometry;
    bool has_file;   /* digest_file is known */
    bool has_pixels; /* digest_pixels is known */
    uint64_t digest_file, digest_pixels;
};
/* 1: the stored file is a regular one of the size and mtime noted; 0: it is not, or is not there;
 * -errno: that could not be seen. root: the store's root. Touches the file system: not for the data
 * path. */
int mr_catalogue_is_unchanged(int root, const struct mr_catalogue_entry *entry) MR_MUST_USE;

/* The same content of the same source: equal output and geometry, an equal file digest (of `keep`)
 * or pixel digest (of the others where both have one; else the file's), not superseded, and the
 * stored file unchanged. -ENOENT: there is none; any other error: that could not be seen. Touches
 * the file system, as mr_catalogue_is_unchanged does. */
int mr_catalogue_find_content(struct mr_catalogue *catalogue, int root,
                              const struct mr_catalogue_content *what,
                              const struct mr_catalogue_entry **ret) MR_MUST_USE;

/* Visits revisions that a newer revision of the same id superseded before that time and that are
 * not expired. `by` is the next revision. The visit may call mr_catalogue_expire; a non-zero result
 * ends it and is returned. Writer's thread. */
typedef int (*mr_catalogue_visit)(void *ctx, const struct mr_catalogue_entry *old,
                                  const struct mr_catalogue_entry *by);
int mr_catalogue_superseded(struct mr_catalogue *catalogue, int64_t before_real_ns,
                            mr_catalogue_visit visit, void *ctx) MR_MUST_USE;

size_t mr_catalogue_count(struct mr_catalogue *catalogue); /* entries not expired */

#endif
