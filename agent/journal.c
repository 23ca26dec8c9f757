/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal in SQLite. Keeps what it is told; which movie to open, resume or forget is tail's
 * affair. The only file that knows SQLite: its errors are translated here and name the database
 * file.
 */
#include "journal.h"

#include "base/clock.h"
#include "base/text.h"
#include "geometry_blob.h"
#include "journal_sql.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME      "journal.sqlite"
#define BUSY_MS        5000
#define INSTANCE_BYTES 16
struct mr_journal {
    sqlite3 *db;
    char *path; /* owned; as errors name it */
    sqlite3_stmt *prepared[STATEMENT_COUNT];
    uint8_t instance[INSTANCE_BYTES];
    bool batch; /* between begin and commit */
};

/* ---- errors ---- */

static int code_of(int result)
{
    switch (result & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -EBADMSG;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return -EACCES;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_CONSTRAINT:
        return -EEXIST;
    default:
        return -EIO;
    }
}

static const char *remedy_of(int code)
{
    switch (code) {
    case -EBADMSG:
        return " (damaged: move it away and start again; files still there are offered again, and "
               "the server knows what it has)";
    case -EBUSY:
        return " (another process holds it)";
    case -EROFS:
    case -EACCES:
        return " (state_dir must be writable)";
    default:
        return "";
    }
}

static int fail(const struct mr_journal *j, int result, struct mr_err *err)
{
    int code = code_of(result);
    const char *text = result == SQLITE_OK ? "" : sqlite3_errstr(result);
    if (j->db != NULL && sqlite3_extended_errcode(j->db) == result)
        text = sqlite3_errmsg(j->db);
    return mr_err_set(err, code, "%s: %s%s", j->path, text, remedy_of(code));
}

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
            return fail(j, result, err);
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
static int run(struct mr_journal *j, sqlite3_stmt *s, struct mr_err *err)
{
    int result = sqlite3_step(s);
    int code = result == SQLITE_DONE || result == SQLITE_ROW ? 0 : fail(j, result, err);
    put_back(s);
    return code;
}

static int run_plain(struct mr_journal *j, enum statement which, struct mr_err *err)
{
    sqlite3_stmt *s;
    int code = get(j, which, &s, err);
    return code != 0 ? code : run(j, s, err);
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

/* ---- opening ---- */

/* Runs a statement that gives one row. *ret is to be finalized, whatever is returned. */
static int first_row(struct mr_journal *j, const char *sql, sqlite3_stmt **ret, struct mr_err *err)
{
    *ret = NULL;
    int result = sqlite3_prepare_v2(j->db, sql, -1, ret, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_step(*ret);
    if (result == SQLITE_DONE)
        return mr_err_set(err, -EBADMSG, "%s: \"%s\" gives nothing%s", j->path, sql,
                          remedy_of(-EBADMSG));
    return result == SQLITE_ROW ? 0 : fail(j, result, err);
}

static int ask_number(struct mr_journal *j, const char *sql, int64_t *ret, struct mr_err *err)
{
    sqlite3_stmt *s;
    int code = first_row(j, sql, &s, err);
    if (code == 0)
        *ret = sqlite3_column_int64(s, 0);
    (void)sqlite3_finalize(s);
    return code;
}

static int exec(struct mr_journal *j, const char *sql, struct mr_err *err)
{
    int result = sqlite3_exec(j->db, sql, NULL, NULL, NULL);
    return result == SQLITE_OK ? 0 : fail(j, result, err);
}

static int check_integrity(struct mr_journal *j, struct mr_err *err)
{
    sqlite3_stmt *s;
    int code = first_row(j, "PRAGMA quick_check(1)", &s, err);
    const char *text = code == 0 ? (const char *)sqlite3_column_text(s, 0) : NULL;
    if (text != NULL && strcmp(text, "ok") != 0)
        code = mr_err_set(err, -EBADMSG, "%s: %s%s", j->path, text, remedy_of(-EBADMSG));
    (void)sqlite3_finalize(s);
    return code;
}

static int make_schema(struct mr_journal *j, struct mr_err *err)
{
    uint8_t random[INSTANCE_BYTES];
    sqlite3_stmt *s = NULL;
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return mr_err_errno(err, -errno, "getrandom");
    int code = exec(j, schema, err);
    if (code != 0)
        return code;
    int result = sqlite3_prepare_v2(j->db, "INSERT INTO meta VALUES (1, ?1, 0)", -1, &s, NULL);
    if (result != SQLITE_OK)
        return fail(j, result, err);
    (void)sqlite3_bind_blob(s, 1, random, sizeof(random), SQLITE_TRANSIENT);
    code = run(j, s, err);
    (void)sqlite3_finalize(s);
    return code;
}

/* In a transaction, so that two processes that start together make one journal. */
static int check_schema(struct mr_journal *j, struct mr_err *err)
{
    int64_t version, application, tables;
    int code = ask_number(j, "PRAGMA user_version", &version, err);
    if (code == 0)
        code = ask_number(j, "PRAGMA application_id", &application, err);
    if (code == 0)
        code = ask_number(j, "SELECT count(*) FROM sqlite_master", &tables, err);
    if (code != 0)
        return code;
    if (tables == 0 && version == 0 && application == 0)
        return make_schema(j, err);
    if (application != APPLICATION_ID)
        return mr_err_set(err, -EBADMSG, "%s: a database, but not an agent's journal", j->path);
    if (version != MR_JOURNAL_SCHEMA)
        return mr_err_set(
            err, -EPROTO, "%s: of schema %" PRId64 ", this program knows %d: start the %s one",
            j->path, version, MR_JOURNAL_SCHEMA, version > MR_JOURNAL_SCHEMA ? "newer" : "older");
    return 0;
}

static int read_instance(struct mr_journal *j, struct mr_err *err)
{
    sqlite3_stmt *s;
    int code = first_row(j, "SELECT instance FROM meta", &s, err);
    if (code == 0 && sqlite3_column_bytes(s, 0) == INSTANCE_BYTES)
        memcpy(j->instance, sqlite3_column_blob(s, 0), INSTANCE_BYTES);
    else if (code == 0)
        code = mr_err_set(err, -EBADMSG, "%s: instance is not 16 bytes", j->path);
    (void)sqlite3_finalize(s);
    return code;
}

static int set_up(struct mr_journal *j, struct mr_err *err)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int result = sqlite3_open_v2(j->path, &j->db, flags, NULL);
    if (result != SQLITE_OK)
        return fail(j, result, err);
    (void)sqlite3_extended_result_codes(j->db, 1);
    (void)sqlite3_busy_timeout(j->db, BUSY_MS);
    int code = exec(j, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;", err);
    if (code == 0)
        code = check_integrity(j, err);
    if (code == 0)
        code = mr_journal_begin(j, err);
    if (code == 0)
        code = check_schema(j, err);
    if (code == 0)
        code = mr_journal_commit(j, err);
    return code != 0 ? code : read_instance(j, err);
}

/* SQLite says only "unable to open database file": say what is wrong with the directory. */
static int check_dir(const char *dir, struct mr_err *err)
{
    struct stat st;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return mr_err_errno(err, -errno, "state_dir %s cannot be made", dir);
    if (stat(dir, &st) != 0)
        return mr_err_errno(err, -errno, "state_dir %s", dir);
    if (!S_ISDIR(st.st_mode))
        return mr_err_errno(err, -ENOTDIR, "state_dir %s", dir);
    if (access(dir, W_OK | X_OK) != 0)
        return mr_err_errno(err, -errno, "state_dir %s cannot be written", dir);
    return 0;
}

int mr_journal_open(const char *state_dir, struct mr_err *err, struct mr_journal **ret)
{
    char path[MR_JOURNAL_ROOT_MAX + 1] = ":memory:";
    if (state_dir != NULL) {
        struct mr_text t = mr_text_init(path, sizeof(path));
        mr_text_appendf(&t, "%s/%s", state_dir, FILE_NAME);
        if (t.overflowed)
            return mr_err_set(err, -ENAMETOOLONG, "state_dir %s: too long", state_dir);
        int code = check_dir(state_dir, err);
        if (code != 0)
            return code;
    }
    struct mr_journal *j = calloc(1, sizeof(*j));
    if (j != NULL)
        j->path = strdup(path);
    if (j == NULL || j->path == NULL) {
        free(j);
        return mr_err_set(err, -ENOMEM, "out of memory");
    }
    int code = set_up(j, err);
    if (code != 0) {
        mr_journal_close(j);
        return code;
    }
    *ret = j;
    return 0;
}

void mr_journal_close(struct mr_journal *j)
{
    if (j == NULL)
        return;
    if (j->batch)
        mr_journal_rollback(j);
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        (void)sqlite3_finalize(j->prepared[i]);
    (void)sqlite3_close(j->db);
    free(j->path);
    free(j);
}

/* ---- who we are, and batches ---- */

const uint8_t *mr_journal_instance(const struct mr_journal *j)
{
    return j->instance;
}

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
        code = fail(j, result, err);
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
    return m->state >= MR_JOURNAL_OPEN && m->state <= MR_JOURNAL_FAILED &&
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
                      remedy_of(-EBADMSG));
}

/* The one row of a statement that is bound already. */
static int fetch(struct mr_journal *j, sqlite3_stmt *s, struct mr_journal_movie *ret,
                 struct mr_err *err)
{
    struct mr_journal_movie movie = {0};
    int result = sqlite3_step(s);
    int code = 0;
    if (result == SQLITE_DONE)
        code = -ENOENT;
    else if (result != SQLITE_ROW)
        code = fail(j, result, err);
    else if (!read_movie(s, &movie))
        code = bad_row(j, err);
    put_back(s);
    if (code == 0)
        *ret = movie;
    return code;
}

int mr_journal_insert(struct mr_journal *j, const struct mr_journal_movie *movie,
                      struct mr_err *err)
{
    sqlite3_stmt *s;
    int code = get(j, INSERT, &s, err);
    if (code != 0)
        return code;
    bind_movie(s, movie);
    return run(j, s, err);
}

int mr_journal_update(struct mr_journal *j, const struct mr_journal_movie *movie,
                      struct mr_err *err)
{
    sqlite3_stmt *s;
    int code = get(j, UPDATE, &s, err);
    if (code != 0)
        return code;
    bind_movie(s, movie);
    code = run(j, s, err);
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
    return run(j, s, err);
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

/* ---- days, and forgetting ---- */

int mr_journal_day_of(struct mr_journal *j, const char *root, const char *folder, const char *today,
                      char *ret, struct mr_err *err)
{
    sqlite3_stmt *s;
    int code = get(j, ADD_DAY, &s, err);
    if (code != 0)
        return code;
    bind_name(s, 1, root);
    bind_name(s, 2, folder);
    (void)sqlite3_bind_text(s, 3, today, -1, SQLITE_TRANSIENT);
    code = run(j, s, err);
    if (code == 0)
        code = get(j, GET_DAY, &s, err);
    if (code != 0)
        return code;
    bind_name(s, 1, root);
    bind_name(s, 2, folder);
    int result = sqlite3_step(s);
    if (result != SQLITE_ROW)
        code = fail(j, result, err);
    else if (!read_text(s, 0, ret, MR_DAY_TEXT))
        code = bad_row(j, err);
    put_back(s);
    return code;
}

int mr_journal_expire(struct mr_journal *j, int64_t before_real_ns, uint64_t *ret,
                      struct mr_err *err)
{
    sqlite3_stmt *s;
    int code = get(j, EXPIRE, &s, err);
    if (code != 0)
        return code;
    bind_number(s, 1, (uint64_t)before_real_ns);
    code = run(j, s, err);
    if (code == 0)
        *ret = (uint64_t)sqlite3_changes(j->db);
    return code;
}

const char *mr_journal_library(void)
{
    static _Thread_local char text[32];
    snprintf(text, sizeof(text), "sqlite %s", sqlite3_libversion());
    return text;
}
