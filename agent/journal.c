/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's statements. Keeps what it is told; which movie to open, resume or forget is tail's
 * affair. Opening, closing and the words of errors are in journal_open.c; no other file knows
 * SQLite.
 */
#include "journal.h"

#include "base/clock.h"
#include "geometry_blob.h"
#include "journal_sql.h"
#include "journal_state.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <string.h>

_Static_assert((int)STATEMENT_COUNT <= MR_JOURNAL_STATEMENTS, "room for each statement");

/* ---- statements ---- */

static int get(struct mr_journal *j, enum statement which, sqlite3_stmt **ret, struct mr_err *err)
{
    sqlite3_stmt **s = &j->prepared[which];
    if (j->batch && which > ROLLBACK && sqlite3_get_autocommit(j->db))
        return mr_err_set(err, -EIO, "%s: an error before has undone this batch", j->path);
    if (*s == NULL) {
        int result =
            sqlite3_prepare_v3(j->db, statements[which], -1, SQLITE_PREPARE_PERSISTENT, s, NULL);
        if (result != SQLITE_OK)
            return mr_journal_fail(j, result, err);
    }
    *ret = *s;
    return 0;
}

static void put_back(sqlite3_stmt *s)
{
    (void)sqlite3_reset(s);
    (void)sqlite3_clear_bindings(s);
}

/* Runs one that gives no rows, and puts it back. */
int mr_journal_run(struct mr_journal *j, struct sqlite3_stmt *s, struct mr_err *err)
{
    int result = sqlite3_step(s);
    int code = result == SQLITE_DONE || result == SQLITE_ROW ? 0 : mr_journal_fail(j, result, err);
    put_back(s);
    return code;
}

static int run_plain(struct mr_journal *j, enum statement which, struct mr_err *err)
{
    sqlite3_stmt *s;
    int code = get(j, which, &s, err);
    return code != 0 ? code : mr_journal_run(j, s, err);
}

/* Names are bytes, not UTF-8: a file system promises no encoding. */
static void bind_name(sqlite3_stmt *s, int at, const char *name)
{
    (void)sqlite3_bind_blob(s, at, name, (int)strlen(name), SQLITE_TRANSIENT);
}

static void bind_number(sqlite3_stmt *s, int at, uint64_t value)
{
    (void)sqlite3_bind_int64(s, at, (int64_t)value);
}

static void bind_id(sqlite3_stmt *s, const struct mr_ulid *id)
{
    (void)sqlite3_bind_blob(s, 1, id->bytes, sizeof(id->bytes), SQLITE_TRANSIENT);
}

/* ---- epochs and batches ---- */

int mr_journal_next_epoch(struct mr_journal *j, uint64_t *ret, struct mr_err *err)
{
    sqlite3_stmt *s;
    int code = get(j, NEXT_EPOCH, &s, err);
    if (code != 0)
        return code;
    uint64_t epoch = 0;
    int result = sqlite3_step(s);
    if (result == SQLITE_ROW) {
        epoch = (uint64_t)sqlite3_column_int64(s, 0);
        result = sqlite3_step(s); /* the change is committed when the statement is done */
    }
    if (result != SQLITE_DONE)
        code = mr_journal_fail(j, result, err);
    else if (epoch == 0)
        code = mr_err_set(err, -EBADMSG, "%s: no epoch", j->path);
    put_back(s);
    if (code == 0)
        *ret = epoch;
    return code;
}

int mr_journal_begin(struct mr_journal *j, struct mr_err *err)
{
    assert(!j->batch);
    int code = run_plain(j, BEGIN, err);
    j->batch = code == 0;
    return code;
}

int mr_journal_commit(struct mr_journal *j, struct mr_err *err)
{
    assert(j->batch);
    int code = run_plain(j, COMMIT, err);
    if (code != 0)
        mr_journal_rollback(j);
    j->batch = false;
    return code;
}

void mr_journal_rollback(struct mr_journal *j)
{
    (void)!run_plain(j, ROLLBACK, NULL); /* fails where SQLite has undone it already */
    j->batch = false;
}

/* ---- movies ---- */

static void bind_movie(sqlite3_stmt *s, const struct mr_journal_movie *m)
{
    uint8_t geometry[MR_GEOMETRY_BLOB_BYTES];
    mr_geometry_blob_encode(&m->geometry, geometry);
    bind_id(s, &m->id);
    bind_number(s, 2, m->revision);
    bind_number(s, 3, (uint64_t)m->state);
    bind_name(s, 4, m->root);
    bind_name(s, 5, m->path);
    bind_number(s, 6, m->identity.device);
    bind_number(s, 7, m->identity.inode);
    bind_number(s, 8, (uint64_t)m->identity.birth_ns);
    bind_number(s, 9, m->size);
    bind_number(s, 10, (uint64_t)m->mtime_ns);
    bind_number(s, 11, (uint64_t)m->kind);
    bind_number(s, 12, (uint64_t)m->output);
    bind_number(s, 13, (uint64_t)m->codec);
    (void)sqlite3_bind_blob(s, 14, geometry, sizeof(geometry), SQLITE_TRANSIENT);
    (void)sqlite3_bind_text(s, 15, m->event, -1, SQLITE_TRANSIENT);
    (void)sqlite3_bind_text(s, 16, m->text, -1, SQLITE_TRANSIENT);
    bind_number(s, 17, (uint64_t)m->first_seen_real_ns);
    bind_number(s, 18, (uint64_t)m->updated_real_ns);
    bind_number(s, 19, (uint64_t)m->source.ctime_ns);
    bind_number(s, 20, m->source.fresh);
    bind_number(s, 21, m->source.crc_file);
    bind_number(s, 22, m->source.crc_pixels);
}

/* Column `at` into ret; false where it does not fit or holds a NUL. */
static bool read_text(sqlite3_stmt *s, int at, char *ret, size_t size)
{
    const void *data = sqlite3_column_blob(s, at);
    size_t bytes = (size_t)sqlite3_column_bytes(s, at);
    if (bytes >= size || (bytes > 0 && memchr(data, '\0', bytes) != NULL))
        return false;
    if (bytes > 0)
        memcpy(ret, data, bytes);
    ret[bytes] = '\0';
    return true;
}

static bool read_movie(sqlite3_stmt *s, struct mr_journal_movie *m)
{
    if (sqlite3_column_bytes(s, 0) != (int)sizeof(m->id.bytes))
        return false;
    memcpy(m->id.bytes, sqlite3_column_blob(s, 0), sizeof(m->id.bytes));
    m->revision = (uint32_t)sqlite3_column_int64(s, 1);
    m->state = (enum mr_journal_state)sqlite3_column_int(s, 2);
    m->identity = (struct mr_fs_identity){.device = (uint64_t)sqlite3_column_int64(s, 5),
                                          .inode = (uint64_t)sqlite3_column_int64(s, 6),
                                          .birth_ns = sqlite3_column_int64(s, 7)};
    m->size = (uint64_t)sqlite3_column_int64(s, 8);
    m->mtime_ns = sqlite3_column_int64(s, 9);
    m->kind = (enum mr_kind)sqlite3_column_int(s, 10);
    m->output = (enum mr_output)sqlite3_column_int(s, 11);
    m->codec = (enum mr_codec_id)sqlite3_column_int(s, 12);
    m->first_seen_real_ns = sqlite3_column_int64(s, 16);
    m->updated_real_ns = sqlite3_column_int64(s, 17);
    m->source = (struct mr_journal_source){.ctime_ns = sqlite3_column_int64(s, 18),
                                           .fresh = sqlite3_column_int(s, 19) != 0,
                                           .crc_file = (uint64_t)sqlite3_column_int64(s, 20),
                                           .crc_pixels = (uint64_t)sqlite3_column_int64(s, 21)};
    return m->state >= MR_JOURNAL_OPEN && m->state <= MR_JOURNAL_FREED &&
           m->kind >= MR_KIND_MOVIE && m->kind <= MR_KIND_FILE && m->output >= MR_OUTPUT_KEEP &&
           m->output <= MR_OUTPUT_HDF5 && m->codec < MR_CODEC_COUNT &&
           mr_geometry_blob_decode(sqlite3_column_blob(s, 13), (size_t)sqlite3_column_bytes(s, 13),
                                   &m->geometry) &&
           read_text(s, 3, m->root, sizeof(m->root)) && read_text(s, 4, m->path, sizeof(m->path)) &&
           read_text(s, 14, m->event, sizeof(m->event)) &&
           read_text(s, 15, m->text, sizeof(m->text));
}

static int bad_row(const struct mr_journal *j, struct mr_err *err)
{
    return mr_err_set(err, -EBADMSG, "%s: a movie's row makes no sense%s", j->path,
                      mr_journal_remedy(-EBADMSG));
}

/* The one row of a statement that is bound already. ret_row (may be NULL): of its last column. */
static int fetch_at(struct mr_journal *j, sqlite3_stmt *s, struct mr_journal_movie *ret,
                    int64_t *ret_row, struct mr_err *err)
{
    struct mr_journal_movie movie = {0};
    int result = sqlite3_step(s);
    int code = 0;
    if (result == SQLITE_DONE)
        code = -ENOENT;
    else if (result != SQLITE_ROW)
        code = mr_journal_fail(j, result, err);
    else if (!read_movie(s, &movie))
        code = bad_row(j, err);
    if (code == 0 && ret_row != NULL)
        *ret_row = sqlite3_column_int64(s, sqlite3_column_count(s) - 1);
    put_back(s);
    if (code == 0)
        *ret = movie;
    return code;
}

static int fetch(struct mr_journal *j, sqlite3_stmt *s, struct mr_journal_movie *ret,
                 struct mr_err *err)
{
    return fetch_at(j, s, ret, NULL, err);
}

int mr_journal_insert(struct mr_journal *j, const struct mr_journal_movie *movie,
                      struct mr_err *err)
{
    sqlite3_stmt *s;
    int code = get(j, INSERT, &s, err);
    if (code != 0)
        return code;
    bind_movie(s, movie);
    return mr_journal_run(j, s, err);
}

int mr_journal_update(struct mr_journal *j, const struct mr_journal_movie *movie,
                      struct mr_err *err)
{
    sqlite3_stmt *s;
    int code = get(j, UPDATE, &s, err);
    if (code != 0)
        return code;
    bind_movie(s, movie);
    code = mr_journal_run(j, s, err);
    return code == 0 && sqlite3_changes(j->db) == 0 ? -ENOENT : code;
}

int mr_journal_delete(struct mr_journal *j, const struct mr_ulid *id, uint32_t revision,
                      struct mr_err *err)
{
    sqlite3_stmt *s;
    int code = get(j, DELETE, &s, err);
    if (code != 0)
        return code;
    bind_id(s, id);
    bind_number(s, 2, revision);
    return mr_journal_run(j, s, err);
}

int mr_journal_find(struct mr_journal *j, const struct mr_ulid *id, struct mr_journal_movie *ret,
                    struct mr_err *err)
{
    sqlite3_stmt *s;
    int code = get(j, FIND, &s, err);
    if (code != 0)
        return code;
    bind_id(s, id);
    return fetch(j, s, ret, err);
}

int mr_journal_find_file(struct mr_journal *j, const char *root, const char *path,
                         const struct mr_fs_identity *identity, struct mr_journal_movie *ret,
                         struct mr_err *err)
{
    sqlite3_stmt *s;
    int code = get(j, FIND_FILE, &s, err);
    if (code != 0)
        return code;
    bind_name(s, 1, path);
    bind_name(s, 2, root);
    bind_number(s, 3, identity->device);
    bind_number(s, 4, identity->inode);
    bind_number(s, 5, (uint64_t)identity->birth_ns);
    return fetch(j, s, ret, err);
}

int mr_journal_find_name(struct mr_journal *j, const char *root, const char *path,
                         struct mr_journal_movie *ret, struct mr_err *err)
{
    sqlite3_stmt *s;
    int code = get(j, FIND_NAME, &s, err);
    if (code != 0)
        return code;
    bind_name(s, 1, path);
    bind_name(s, 2, root);
    return fetch(j, s, ret, err);
}

static int next_in_state(struct mr_journal *j, enum mr_journal_state state, const char *root,
                         int64_t until_real_ns, struct mr_journal_place *at,
                         struct mr_journal_movie *ret, struct mr_err *err)
{
    int64_t row;
    sqlite3_stmt *s;
    int code = get(j, NEXT_IN_STATE, &s, err);
    if (code != 0)
        return code;
    bind_number(s, 1, (uint64_t)at->updated_ns);
    bind_number(s, 2, (uint64_t)at->row);
    bind_number(s, 3, (uint64_t)until_real_ns);
    bind_name(s, 4, root);
    bind_number(s, 5, state);
    code = fetch_at(j, s, ret, &row, err);
    if (code == 0)
        *at = (struct mr_journal_place){.updated_ns = ret->updated_real_ns, .row = row};
    return code;
}

int mr_journal_next_committed(struct mr_journal *j, const char *root, int64_t until_real_ns,
                              struct mr_journal_place *at, struct mr_journal_movie *ret,
                              struct mr_err *err)
{
    return next_in_state(j, MR_JOURNAL_COMMITTED, root, until_real_ns, at, ret, err);
}

int mr_journal_next_open(struct mr_journal *j, const char *root, struct mr_journal_place *at,
                         struct mr_journal_movie *ret, struct mr_err *err)
{
    return next_in_state(j, MR_JOURNAL_OPEN, root, INT64_MAX, at, ret, err);
}

/* ---- days, and forgetting ---- */

/* -ENOENT: it has none yet. */
static int find_day(struct mr_journal *j, const char *root, const char *folder, char *ret,
                    struct mr_err *err)
{
    sqlite3_stmt *s;
    int code = get(j, GET_DAY, &s, err);
    if (code != 0)
        return code;
    bind_name(s, 1, root);
    bind_name(s, 2, folder);
    int result = sqlite3_step(s);
    if (result == SQLITE_DONE)
        code = -ENOENT;
    else if (result != SQLITE_ROW)
        code = mr_journal_fail(j, result, err);
    else if (!read_text(s, 0, ret, MR_DAY_TEXT))
        code = bad_row(j, err);
    put_back(s);
    return code;
}

/* Asked for each file, and new for each folder: so it is looked for first, which needs no lock. */
int mr_journal_day_of(struct mr_journal *j, const char *root, const char *folder, const char *today,
                      char *ret, struct mr_err *err)
{
    sqlite3_stmt *s;
    int code = find_day(j, root, folder, ret, err);
    if (code != -ENOENT)
        return code;
    code = get(j, ADD_DAY, &s, err);
    if (code != 0)
        return code;
    bind_name(s, 1, root);
    bind_name(s, 2, folder);
    (void)sqlite3_bind_text(s, 3, today, -1, SQLITE_TRANSIENT);
    code = mr_journal_run(j, s, err);
    if (code == 0)
        code = find_day(j, root, folder, ret, err);
    return code == -ENOENT ? bad_row(j, err) : code;
}

int mr_journal_expire(struct mr_journal *j, int64_t before_real_ns, uint64_t *ret,
                      struct mr_err *err)
{
    sqlite3_stmt *s;
    int code = get(j, EXPIRE, &s, err);
    if (code != 0)
        return code;
    bind_number(s, 1, (uint64_t)before_real_ns);
    code = mr_journal_run(j, s, err);
    if (code == 0)
        *ret = (uint64_t)sqlite3_changes(j->db);
    return code;
}
