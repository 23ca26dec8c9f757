/* SPDX-License-Identifier: Apache-2.0 */
/* What journal.c (statements) and journal_open.c (the database) share. Private to both. */
#ifndef MR_AGENT_JOURNAL_STATE_H
#define MR_AGENT_JOURNAL_STATE_H

#include "journal.h"

struct sqlite3;
struct sqlite3_stmt;

#define MR_JOURNAL_INSTANCE   16 /* bytes */
#define MR_JOURNAL_STATEMENTS 20 /* room; see enum statement */

struct mr_journal {
    struct sqlite3 *db;
    char *path; /* owned; as errors name it */
    struct sqlite3_stmt *prepared[MR_JOURNAL_STATEMENTS];
    uint8_t instance[MR_JOURNAL_INSTANCE];
    bool batch; /* between begin and commit */
    uint64_t forgotten;
};

/* SQLite's result as -errno, err in words. */
int mr_journal_fail(const struct mr_journal *j, int result, struct mr_err *err);
const char *mr_journal_remedy(int code); /* what an operator can do about it; "" */
/* Runs a statement that gives no rows, and puts it back. */
int mr_journal_run(struct mr_journal *j, struct sqlite3_stmt *s, struct mr_err *err);

#endif
