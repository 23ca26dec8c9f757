/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's database: made, checked, brought up to date, closed; and SQLite's errors in words
 * that name the file. Knows the schema, no movie.
 */
#include "journal.h"

#include "base/clock.h"
#include "base/crc64.h"
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
    int code = first_row(j, "PRAGMA integrity_check(1)", &s, err);
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
    int code = exec(j, schema_3, err);
    if (code == 0)
        code = exec(j, from_schema_3, err);
    if (code != 0)
        return code;
    int result = sqlite3_prepare_v2(j->db, "INSERT INTO meta VALUES (1, ?1, 0, mr_crc(?1, 0))", -1,
                                    &s, NULL);
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
    if (version == 3)
        return exec(j, from_schema_3, err);
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

/* mr_crc(...): of its arguments, each with its type and length. */
static void crc_of_row(sqlite3_context *context, int count, sqlite3_value **values)
{
    uint64_t crc = 0;
    for (int i = 0; i < count; i++) {
        bool number = sqlite3_value_type(values[i]) == SQLITE_INTEGER;
        int64_t n = number ? sqlite3_value_int64(values[i]) : sqlite3_value_bytes(values[i]);
        crc = mr_crc64(crc, number ? "i" : "b", 1);
        crc = mr_crc64(crc, &n, sizeof(n));
        if (!number && n > 0)
            crc = mr_crc64(crc, sqlite3_value_blob(values[i]), (size_t)n);
    }
    sqlite3_result_int64(context, (int64_t)crc);
}

static int teach(struct mr_journal *j, struct mr_err *err)
{
    int result = sqlite3_create_function_v2(j->db, "mr_crc", -1, SQLITE_UTF8 | SQLITE_DETERMINISTIC,
                                            NULL, crc_of_row, NULL, NULL, NULL);
    return result == SQLITE_OK ? 0 : mr_journal_fail(j, result, err);
}

/* Who this agent is cannot be asked again; of a movie or a day, the file can. */
static int forget_damaged(struct mr_journal *j, struct mr_err *err)
{
    int64_t good;
    int code =
        ask_number(j, "SELECT count(*) FROM meta WHERE crc = mr_crc(instance, epoch)", &good, err);
    if (code == 0 && good != 1)
        code = mr_err_set(err, -EBADMSG, "%s: who this agent is does not verify%s", j->path,
                          mr_journal_remedy(-EBADMSG));
    if (code == 0)
        code = exec(j, "DELETE FROM movies WHERE crc <> mr_crc(" COLUMNS ")", err);
    if (code == 0)
        j->forgotten = (uint64_t)sqlite3_changes64(j->db);
    if (code == 0)
        code = exec(j, "DELETE FROM days WHERE crc <> mr_crc(root, folder, day)", err);
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
        code = teach(j, err);
    if (code == 0)
        code = check_integrity(j, err);
    if (code == 0)
        code = mr_journal_begin(j, err);
    if (code == 0)
        code = check_schema(j, err);
    if (code == 0)
        code = forget_damaged(j, err);
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
    int code = teach(j, err);
    if (code == 0)
        code = ask_number(j, "PRAGMA user_version", &version, err);
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

uint64_t mr_journal_forgotten(const struct mr_journal *j)
{
    return j->forgotten;
}

/* The log first: beside a new database an old one would be replayed into it. */
static int put_aside(const char *path, const char *to, struct mr_err *err)
{
    static const char *const ends[] = {"-wal", "-shm", ""};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        char from[MR_JOURNAL_ROOT_MAX + 64], aside[MR_JOURNAL_ROOT_MAX + 64];
        (void)snprintf(from, sizeof(from), "%s%s", path, ends[i]);
        (void)snprintf(aside, sizeof(aside), "%s%s", to, ends[i]);
        if (rename(from, aside) != 0 && errno != ENOENT)
            return mr_err_errno(err, -errno, "%s: putting it aside", from);
    }
    return 0;
}

int mr_journal_renew(const char *state_dir, struct mr_err *notice, struct mr_err *err,
                     struct mr_journal **ret)
{
    char path[MR_JOURNAL_ROOT_MAX + 1], to[MR_JOURNAL_ROOT_MAX + 48];
    int code = name_file(state_dir, path, err);
    if (code != 0)
        return code;
    /* SQLite says the same of a read that the disk failed: a second one may go well */
    code = mr_journal_open(state_dir, err, ret);
    if (code != -EBADMSG)
        return code;
    (void)snprintf(to, sizeof(to), "%s.damaged-%lld", path,
                   (long long)(mr_clock_real_ns() / MR_NS_PER_S));
    mr_err_set(notice, -EBADMSG,
               "%s: it is kept as %s, and a new one begins: files that are still there are offered "
               "again, and the server knows what it has",
               err->text, to);
    *err = (struct mr_err){0};
    code = put_aside(path, to, err);
    return code != 0 ? code : mr_journal_open(state_dir, err, ret);
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
