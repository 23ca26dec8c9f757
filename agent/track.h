/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first stage of the agent, on the thread "watch": one entry per file of the watched trees.
 * Asks the file's source what is settled and whether it is complete, and tells the next stage in
 * messages, struct mr_growth, in order per file, none lost. Where the queue is full it waits. Keeps
 * no file open.
 *
 * Messages of one file, in order:
 *     FOUND (GREW)* COMPLETE | FOUND (GREW)* BROKEN | BROKEN
 * then, whenever it changes afterwards, CHANGED and the same again; at any place REPLACED (all that
 * was said of it is void) and the same again, or GONE and then nothing more under this number.
 */
#ifndef MR_AGENT_TRACK_H
#define MR_AGENT_TRACK_H

#include "base/fs.h"
#include "base/queue.h"
#include "base/thread.h"
#include "source.h"

enum mr_growth_kind {
    MR_GROWTH_FOUND = 1,    /* what it is is known (of a movie, its geometry): it can be OPENed */
    MR_GROWTH_GREW = 2,     /* more of it is settled */
    MR_GROWTH_COMPLETE = 3, /* all of it is settled: view.complete_by */
    MR_GROWTH_BROKEN = 4,   /* `reason`; may come without a FOUND: no header ever made sense */
    MR_GROWTH_REPLACED =
        5, /* shrunk while it grew, another file under the same name, other geometry */
    MR_GROWTH_CHANGED = 6, /* after COMPLETE or BROKEN: the next COMPLETE is a new revision of it */
    MR_GROWTH_GONE = 7,    /* no longer there under this name */
};
const char *mr_growth_name(enum mr_growth_kind kind); /* "found" */

struct mr_growth {
    enum mr_growth_kind kind;
    uint32_t watch;             /* index in the configuration */
    uint64_t file;              /* number of the entry, from 1; never used twice in a run */
    const char *root;           /* the watch's path; borrowed from the configuration */
    char path[MR_PATH_MAX + 1]; /* below root */
    struct mr_fs_facts facts;   /* as of the look that led to this; GONE: the last ones known */
    struct mr_source_view view; /* REPLACED, CHANGED, GONE: of nothing known */
    int64_t first_seen_real_ns; /* by this run */
    int64_t decided_real_ns;    /* COMPLETE, BROKEN: when; else 0 */
    char reason[MR_TEXT_MAX];   /* BROKEN, REPLACED, CHANGED: why; else "" */
};

/* All borrowed until mr_track_free. */
struct mr_track_watch {
    const char *path;
    const char *below; /* NULL; of a push: the one file or folder below path */
    const char *const *include, *const *exclude;
    size_t include_count, exclude_count;
    int64_t quiet_ns, give_up_ns, rescan_ns; /* > 0 */
};

/* Of a command: times that it looks at a file that cannot be read, a rescan apart. */
#define MR_TRACK_READ_TRIES 3

enum mr_track_mode {
    MR_TRACK_FOLLOW = 1,   /* until stopped */
    MR_TRACK_ONCE = 2,     /* --once: until everything found is COMPLETE or BROKEN by the rules */
    MR_TRACK_AS_IT_IS = 3, /* push: everything is COMPLETE or BROKEN as it is now */
};

struct mr_track_config {
    enum mr_track_mode mode;
    const struct mr_track_watch *watches; /* borrowed until mr_track_free */
    size_t watch_count;                   /* > 0 */
};

struct mr_track_counts {
    uint64_t files;            /* tracked now */
    uint64_t undecided;        /* of these, neither COMPLETE nor BROKEN */
    uint64_t complete, broken; /* messages sent so far */
    uint64_t skipped; /* directories and names that could not be taken in; the log says which */
    bool listed; /* every watch has been listed once, and everything then found was looked at */
};

struct mr_track;

/* out: a queue of struct mr_growth, borrowed; run closes it at its end. ONCE and AS_IT_IS: a root
 * (or `below`) that is not there is an error, err names it. -ENOMEM, -EMFILE. Returns owned. */
int mr_track_new(const struct mr_track_config *config, struct mr_queue *out, struct mr_err *err,
                 struct mr_track **ret) MR_MUST_USE;
void mr_track_free(struct mr_track *t); /* NULL allowed; not while run is running */

/* The stage for mr_thread_start(&mr_track_stage, track, ...). run ends after mr_track_stop, when
 * the queue is closed from outside, or (ONCE, AS_IT_IS) when all is decided; then it closes the
 * queue. */
extern const struct mr_stage mr_track_stage;

void mr_track_stop(struct mr_track *t);                                /* any thread */
void mr_track_counts(struct mr_track *t, struct mr_track_counts *ret); /* any thread */

/* What run does, piece by piece, for tests: never waits but for room in the queue. now_ns:
 * monotonic, real_ns: UTC. Returns true where more is to be done at once; *ret_deadline_ns: when to
 * step again though nothing happens. */
bool mr_track_step(struct mr_track *t, int64_t now_ns, int64_t real_ns, int64_t *ret_deadline_ns);

/* --dry-run: lists the trees once and calls visit for each file with what it is and, in `why`,
 * whether it is complete and why; sends nothing, waits for nothing. Growth.kind: COMPLETE, BROKEN,
 * or FOUND for what would still be waited for. A non-zero return of visit ends it and is returned.
 * Synchronous. */
typedef int (*mr_track_visit)(void *ctx, const struct mr_growth *growth, const char *why);
int mr_track_explain(const struct mr_track_config *config, mr_track_visit visit, void *ctx,
                     struct mr_track_counts *ret_counts, struct mr_err *err) MR_MUST_USE;

#endif
