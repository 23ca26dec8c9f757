/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches one tree: inotify where the mount gives events, a listing of the whole tree at the start,
 * after lost events and every `rescan`. Gives hints, not truth: "look at this path". One thread.
 *
 * - A new directory is watched first and listed then, so nothing in it can be missed.
 * - Symbolic links are not followed (but the root may be one). Only regular files are reported.
 * - A root that is not there yet, or went away, is looked for at every rescan; the log says it
 * once.
 * - Where the kernel has no more watches to give, the log names the remedy and rescans do the work.
 * - Every step does a bounded amount of work, however large or deep the tree is.
 */
#ifndef MR_AGENT_WATCH_H
#define MR_AGENT_WATCH_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mr_hint {
    MR_HINT_LISTED = 1,   /* a listing shows it */
    MR_HINT_CHANGED = 2,  /* created or written to */
    MR_HINT_CLOSED = 3,   /* closed by somebody who could write to it */
    MR_HINT_MOVED_IN = 4, /* renamed to this name */
    MR_HINT_GONE = 5,     /* deleted or renamed away */
};

/* path: below the watch's root, borrowed for the call. */
typedef void (*mr_watch_hint_fn)(void *ctx, enum mr_hint hint, const char *path);

/* All borrowed until mr_watch_free. */
struct mr_watch_config {
    const char *path;  /* the root */
    const char *below; /* NULL: all of it; else only this file or folder below the root */
    const char *const *include, *const *exclude; /* globs (mr_text_glob_path) */
    size_t include_count, exclude_count;         /* no include: everything */
    int64_t rescan_ns;                           /* > 0 */
    bool events;                                 /* false: list once, no inotify, no rescans */
    mr_watch_hint_fn hint;
    void *ctx;
};

/* Beginning of names that a purge gives to files on their way out: nobody's to ship. */
#define MR_WATCH_HIDDEN ".millrace-purge-"

/* By include, exclude and our own names: is a file of that path reported? */
bool mr_watch_wants(const struct mr_watch_config *config, const char *path);

struct mr_watch;

/* Does not touch the tree yet. -ENOMEM. Returns owned. */
int mr_watch_new(const struct mr_watch_config *config, struct mr_watch **ret) MR_MUST_USE;
void mr_watch_free(struct mr_watch *w); /* NULL allowed */

/* Does at most `budget` things (events taken, directory entries listed) and calls the hint function
 * for what it finds. Returns true where more is to be done at once. */
bool mr_watch_step(struct mr_watch *w, int64_t now_ns, unsigned budget);

int mr_watch_fd(const struct mr_watch *w); /* readable when a step is due; -1: none, poll by time */
/* Monotonic: of the next rescan; INT64_MAX none. */
int64_t mr_watch_deadline(const struct mr_watch *w);

/* Whole listings begun and finished so far. A file that exists and keeps its name while listing n
 * runs is LISTED in it. A listing of a root that is not there finishes at once. */
uint64_t mr_watch_listings_begun(const struct mr_watch *w);
uint64_t mr_watch_listings_done(const struct mr_watch *w);

/* Directories and names that could not be taken in (unreadable, too long), of the last listing; the
 * root among them while it is not there, and the file or directory `below` while that is not. */
uint64_t mr_watch_skipped(const struct mr_watch *w);

/* The root's directory for *at calls, -1 while it is not there. Borrowed; changes with steps. */
int mr_watch_root(const struct mr_watch *w);

#endif
