/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What track remembers of each file: found by (watch, path), or as the next one that is due. A file
 * costs about 200 bytes and its path; while it grows, its view as well. One thread.
 */
#ifndef MR_AGENT_FILETABLE_H
#define MR_AGENT_FILETABLE_H

#include "base/fs.h"
#include "source.h"

struct mr_file {
    struct mr_file *next; /* in its bucket */
    uint64_t number;      /* from 1, never used twice */
    uint64_t listing;     /* the last one of its watch that showed it */
    int64_t due_ns;       /* when to look; MR_SOURCE_NEVER: not in the queue */
    size_t due_at;        /* its place in the queue */

    struct mr_fs_facts facts;
    int64_t changed_ns, looked_ns; /* monotonic; looked_ns 0: never */
    int64_t decided_ns;            /* COMPLETE or BROKEN the last time; 0 never */
    int64_t first_seen_real_ns;
    const struct mr_source *source;
    struct mr_source_view *view; /* owned; NULL before the first look and once it is decided */
    uint64_t sent_to;            /* settled_to as the next stage knows it */

    uint32_t watch;
    bool found, decided;    /* as the next stage was told */
    bool told;              /* it was told anything: then of its end, too */
    bool closed;            /* and not changed since */
    bool closed_unseen;     /* that hint came after the last look */
    bool touched;           /* written to since the last look */
    bool old;               /* was there before we came: its own times say when it changed */
    bool listed_only;       /* no event spoke of it: its close may have been missed */
    unsigned read_failures; /* one by one; the first was said aloud */
    unsigned
        outdated; /* looks in a row that came to a verdict by a head newer than size and mtime */
    char path[];
};

struct mr_filetable {
    struct mr_file **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    size_t count;
    struct mr_file **due; /* a heap, the earliest first */
    size_t due_count, due_capacity;
    uint64_t last_number;
};

void mr_filetable_fini(struct mr_filetable *t);

/* Borrowed; NULL where there is none. */
struct mr_file *mr_filetable_find(const struct mr_filetable *t, uint32_t watch, const char *path);
/* Adds one that is not there yet (asserted), all zero but for number, watch, path, source. NULL: no
 * memory. Borrowed. */
struct mr_file *mr_filetable_add(struct mr_filetable *t, uint32_t watch, const char *path);
void mr_filetable_remove(struct mr_filetable *t, struct mr_file *file); /* frees it */

/* Every file; file->next of the one visited may not change. */
typedef void (*mr_filetable_visit)(void *ctx, struct mr_file *file);
void mr_filetable_each(const struct mr_filetable *t, mr_filetable_visit visit, void *ctx);

/* Makes it due at due_ns (MR_SOURCE_NEVER: not at all). */
void mr_filetable_schedule(struct mr_filetable *t, struct mr_file *file, int64_t due_ns);
struct mr_file *mr_filetable_first(const struct mr_filetable *t); /* earliest due, or NULL */

#endif
