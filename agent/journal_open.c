/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's database: made, checked, brought up to date, closed; and SQLite's errors in words
 * that name the file. Knows the schema, no movie.
 */
#include "journal.h"

#include "base/text.h"
#include "journal_sql.h"
#include "journal_state.h"

#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME "journal.sqlite"
#define BUSY_MS   5000

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

const char *mr_journal_remedy(int code)
{
    switch (code) {
    case -EBADMSG:
        /* SQLite says this of a read that failed with EIO, too */
        return " (damaged, or the disk could not be read: where a second start says the same, move "
               "it away and start again; files still there are offered again, and "
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

int mr_journal_fail(const struct mr_journal *j, int result, struct mr_err *err)
{
    int code = code_of(result);
    const char *text = result == SQLITE_OK ? "" : sqlite3_errstr(result);
    if (j->db != NULL && sqlite3_extended_errcode(j->db) == result)
        text = sqlite3_errmsg(j->db);
    return mr_err_set(err, code, "%s: %s%s", j->path, text, mr_journal_remedy(code));
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
                          mr_journal_remedy(-EBADMSG));
    return result == SQLITE_ROW ? 0 : mr_journal_fail(j, result, err);
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
    return result == SQLITE_OK ? 0 : mr_journal_fail(j, result, err);
}

static int check_integrity(struct mr_journal *j, struct mr_err *err)
{
    sqlite3_stmt *s;
    int code = first_row(j, "PRAGMA quick_check(1)", &s, err);
    const char *text = code == 0 ? (const char *)sqlite3_column_text(s, 0) : NULL;
    if (text != NULL && strcmp(text, "ok") != 0)
        code = mr_err_set(err, -EBADMSG, "%s: %s%s", j->path, text, mr_journal_remedy(-EBADMSG));
    (void)sqlite3_finalize(s);
    return code;
}

static int make_schema(struct mr_journal *j, struct mr_err *err)
{
    uint8_t random[MR_JOURNAL_INSTANCE];
    sqlite3_stmt *s = NULL;
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return mr_err_errno(err, -errno, "getrandom");
    int code = exec(j, schema, err);
    if (code != 0)
        return code;
    int result = sqlite3_prepare_v2(j->db, "INSERT INTO meta VALUES (1, ?1, 0)", -1, &s, NULL);
    if (result != SQLITE_OK)
        return mr_journal_fail(j, result, err);
    (void)sqlite3_bind_blob(s, 1, random, sizeof(random), SQLITE_TRANSIENT);
    code = mr_journal_run(j, s, err);
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
    if (version == 2)
        return exec(j, from_schema_2, err);
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
    if (code == 0 && sqlite3_column_bytes(s, 0) == MR_JOURNAL_INSTANCE)
        memcpy(j->instance, sqlite3_column_blob(s, 0), MR_JOURNAL_INSTANCE);
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
        return mr_journal_fail(j, result, err);
    (void)sqlite3_extended_result_codes(j->db, 1);
    (void)sqlite3_busy_timeout(j->db, BUSY_MS);
    if (sqlite3_db_readonly(j->db, "main") == 1) /* so does SQLite where it may not, or cannot */
        return mr_journal_fail(j, SQLITE_READONLY, err);
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

static int join(struct mr_journal *j, int flags, struct mr_err *err)
{
    int64_t version = 0;
    int result = sqlite3_open_v2(j->path, &j->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (result != SQLITE_OK)
        return mr_journal_fail(j, result, err);
    (void)sqlite3_extended_result_codes(j->db, 1);
    (void)sqlite3_busy_timeout(j->db, BUSY_MS);
    int code = ask_number(j, "PRAGMA user_version", &version, err);
    if (code == 0 && version != MR_JOURNAL_SCHEMA)
        code = mr_err_set(err, -EPROTO, "%s: of schema %" PRId64 ": start the agent first", j->path,
                          version);
    return code != 0 ? code : read_instance(j, err);
}

static int set_up_second(struct mr_journal *j, struct mr_err *err)
{
    int code = join(j, SQLITE_OPEN_READWRITE, err);
    return code != 0 ? code : exec(j, "PRAGMA synchronous = NORMAL;", err);
}

static int set_up_reader(struct mr_journal *j, struct mr_err *err)
{
    return join(j, SQLITE_OPEN_READONLY, err);
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

static int name_file(const char *state_dir, char *path, struct mr_err *err)
{
    struct mr_text t = mr_text_init(path, MR_JOURNAL_ROOT_MAX + 1);
    mr_text_appendf(&t, "%s/%s", state_dir, FILE_NAME);
    return t.overflowed ? mr_err_set(err, -ENAMETOOLONG, "state_dir %s: too long", state_dir) : 0;
}

static int make(const char *path, int (*open_it)(struct mr_journal *, struct mr_err *),
                struct mr_err *err, struct mr_journal **ret)
{
    struct mr_journal *j = calloc(1, sizeof(*j));
    if (j != NULL)
        j->path = strdup(path);
    if (j == NULL || j->path == NULL) {
        free(j);
        return mr_err_set(err, -ENOMEM, "out of memory");
    }
    int code = open_it(j, err);
    if (code != 0) {
        mr_journal_close(j);
        return code;
    }
    *ret = j;
    return 0;
}

int mr_journal_open(const char *state_dir, struct mr_err *err, struct mr_journal **ret)
{
    char path[MR_JOURNAL_ROOT_MAX + 1] = ":memory:";
    if (state_dir != NULL) {
        int code = name_file(state_dir, path, err);
        if (code == 0)
            code = check_dir(state_dir, err);
        if (code != 0)
            return code;
    }
    return make(path, set_up, err, ret);
}

int mr_journal_share(const char *state_dir, bool read_only, struct mr_err *err,
                     struct mr_journal **ret)
{
    char path[MR_JOURNAL_ROOT_MAX + 1];
    int code = name_file(state_dir, path, err);
    if (code == 0 && access(path, F_OK) != 0)
        return -ENOENT;
    return code != 0 ? code : make(path, read_only ? set_up_reader : set_up_second, err, ret);
}

void mr_journal_close(struct mr_journal *j)
{
    if (j == NULL)
        return;
    if (j->batch)
        mr_journal_rollback(j);
    for (size_t i = 0; i < MR_JOURNAL_STATEMENTS; i++)
        (void)sqlite3_finalize(j->prepared[i]);
    (void)sqlite3_close(j->db);
    free(j->path);
    free(j);
}

const uint8_t *mr_journal_instance(const struct mr_journal *j)
{
    return j->instance;
}

const char *mr_journal_library(void)
{
    static _Thread_local char text[32];
    snprintf(text, sizeof(text), "sqlite %s", sqlite3_libversion());
    return text;
}
