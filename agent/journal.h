/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's journal, `<state_dir>/journal.sqlite`: who this agent is (instance, epoch), which
 * file is which movie, and how far it came. A movie is written down before it is OPENed, so that a
 * restarted agent offers it under the same id. It may be lost without losing data: then complete
 * files are offered again, and the server knows them by their content.
 *
 * WAL, synchronous FULL: what a committed transaction wrote survives a power cut. Several processes
 * may have it open (busy ones wait for 5 s, then -EBUSY). Without a transaction of the caller's
 * every change is one of its own. One thread at a time.
 */
#ifndef MR_AGENT_JOURNAL_H
#define MR_AGENT_JOURNAL_H

#include "base/clock.h"
#include "base/fs.h"
#include "base/ulid.h"
#include "wire/message.h"

#define MR_JOURNAL_SCHEMA   4
#define MR_JOURNAL_ROOT_MAX 4095 /* bytes */
#define MR_JOURNAL_EVENT    64   /* as mr_committed.event */

/* Longer than a tick of any local file system's clock: what changes within one bears one time. Some
 * tell whole seconds only, FAT even ones. */
#define MR_JOURNAL_TICK_NS   (100 * MR_NS_PER_MS)
#define MR_JOURNAL_TICK_S_NS (3 * MR_NS_PER_S)

/* In the database: never renumber. */
enum mr_journal_state {
    MR_JOURNAL_OPEN = 1,
    MR_JOURNAL_COMMITTED = 2,
    MR_JOURNAL_FAILED = 3,
    MR_JOURNAL_FREED = 4, /* committed, and its source unlinked by purge, or found gone */
};

/* FREED: what was to be unlinked is there again, by a power cut or because it was put back. */
static inline bool mr_journal_is_committed(enum mr_journal_state state)
{
    return state == MR_JOURNAL_COMMITTED || state == MR_JOURNAL_FREED;
}

/* The source as it was when END was said: what a purge compares with. */
struct mr_journal_source {
    int64_t ctime_ns; /* 0: not known, it is never freed */
    bool fresh; /* its times prove nothing: it changed just before, or was read while it grew */
    uint64_t crc_file, crc_pixels; /* as in END */
};

/* One revision of one movie. */
struct mr_journal_movie {
    struct mr_ulid id;
    uint32_t revision;
    enum mr_journal_state state;
    char root[MR_JOURNAL_ROOT_MAX + 1]; /* the watch's path */
    char path[MR_PATH_MAX + 1];         /* below it */
    struct mr_fs_identity identity;
    uint64_t size;    /* OPEN: 0 until known; then what was sent */
    int64_t mtime_ns; /* likewise */
    enum mr_kind kind;
    enum mr_output output;
    enum mr_codec_id codec;
    struct mr_geometry geometry;
    struct mr_journal_source source;
    char event[MR_JOURNAL_EVENT]; /* COMMITTED: its id */
    char text[MR_TEXT_MAX];       /* FAILED: why */
    int64_t first_seen_real_ns, updated_real_ns;
};

struct mr_journal;

/* Opens or makes the journal in state_dir (made with mode 0700 where missing); NULL: in memory, for
 * a push. err names the file: -ENOTDIR, -EACCES, -EROFS: state_dir cannot be written; -EBADMSG:
 * damaged or not a journal; -EPROTO: of another schema; -EBUSY; -EIO. Returns owned. */
int mr_journal_open(const char *state_dir, struct mr_err *err, struct mr_journal **ret) MR_MUST_USE;
/* Where mr_journal_open says -EBADMSG, and nobody else uses it (the state is locked): puts what is
 * there aside, as journal.sqlite.damaged-<time>, and begins a new one. notice: what was done, for
 * the log. Files that are still there are offered again, and the server knows what it has. */
int mr_journal_renew(const char *state_dir, struct mr_err *notice, struct mr_err *err,
                     struct mr_journal **ret) MR_MUST_USE;
/* Rows that did not verify when it was opened, and were forgotten: their files are offered again.
 */
uint64_t mr_journal_forgotten(const struct mr_journal *j);
/* A further connection to a journal that is there, for another thread (what it writes is durable
 * with the first one's next commit; so it waits for no disk, and nobody for it), or read_only for
 * another process. -ENOENT: there is none. Returns owned. */
int mr_journal_share(const char *state_dir, bool read_only, struct mr_err *err,
                     struct mr_journal **ret) MR_MUST_USE;
/* NULL allowed; a transaction not committed is undone. */
void mr_journal_close(struct mr_journal *j);

/* 16 random bytes, the same as long as the journal lives. Borrowed. */
const uint8_t *mr_journal_instance(const struct mr_journal *j);

/* Raises the epoch by one, durably, and returns it: once before each HELLO. 1 at first. */
int mr_journal_next_epoch(struct mr_journal *j, uint64_t *ret, struct mr_err *err) MR_MUST_USE;

/* Batches: what lies between is durable, all of it or none, when commit returns 0. Begin does not
 * nest (asserted). After a failed commit the batch is undone. */
int mr_journal_begin(struct mr_journal *j, struct mr_err *err) MR_MUST_USE;
int mr_journal_commit(struct mr_journal *j, struct mr_err *err) MR_MUST_USE;
void mr_journal_rollback(struct mr_journal *j);

/* All: -EIO, -ENOSPC, -EBUSY, -EBADMSG with err naming the file. Insert: -EEXIST where the id with
 * that revision is there. Update writes state, size, mtime_ns, source, event, text,
 * updated_real_ns of (id, revision): -ENOENT. Delete (ABANDONED): 0 also where there is none. */
int mr_journal_insert(struct mr_journal *j, const struct mr_journal_movie *movie,
                      struct mr_err *err) MR_MUST_USE;
int mr_journal_update(struct mr_journal *j, const struct mr_journal_movie *movie,
                      struct mr_err *err) MR_MUST_USE;
int mr_journal_delete(struct mr_journal *j, const struct mr_ulid *id, uint32_t revision,
                      struct mr_err *err) MR_MUST_USE;

/* The newest revision of a movie; or of the newest movie of that file (root, path and identity all
 * equal). -ENOENT with err unset where there is none. */
int mr_journal_find(struct mr_journal *j, const struct mr_ulid *id, struct mr_journal_movie *ret,
                    struct mr_err *err) MR_MUST_USE;
int mr_journal_find_file(struct mr_journal *j, const char *root, const char *path,
                         const struct mr_fs_identity *identity, struct mr_journal_movie *ret,
                         struct mr_err *err) MR_MUST_USE;

/* The newest movie of that name, whatever file it was. */
int mr_journal_find_name(struct mr_journal *j, const char *root, const char *path,
                         struct mr_journal_movie *ret, struct mr_err *err) MR_MUST_USE;

/* Walks the COMMITTED movies of a root, longest committed first: the next one after `at` (zero at
 * first, moved on) whose updated_real_ns is at most that. -ENOENT with err unset: no more. */
struct mr_journal_place {
    int64_t updated_ns, row;
};
int mr_journal_next_committed(struct mr_journal *j, const char *root, int64_t until_real_ns,
                              struct mr_journal_place *at, struct mr_journal_movie *ret,
                              struct mr_err *err) MR_MUST_USE;

/* Likewise the OPEN movies of a root. */
int mr_journal_next_open(struct mr_journal *j, const char *root, struct mr_journal_place *at,
                         struct mr_journal_movie *ret, struct mr_err *err) MR_MUST_USE;

/* The day (MR_DAY_TEXT bytes) on which a top folder of a root was first seen: `today` when it was
 * not, and that is then remembered. */
int mr_journal_day_of(struct mr_journal *j, const char *root, const char *folder, const char *today,
                      char *ret, struct mr_err *err) MR_MUST_USE;

/* Forgets COMMITTED, FAILED and FREED movies not updated since; returns how many in *ret. */
int mr_journal_expire(struct mr_journal *j, int64_t before_real_ns, uint64_t *ret,
                      struct mr_err *err) MR_MUST_USE;

const char *mr_journal_library(void); /* "sqlite 3.40.1" */

#endif
