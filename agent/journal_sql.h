/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's schema and statements, for journal.c and journal_open.c alone. A change here is a
 * new MR_JOURNAL_SCHEMA.
 */
#ifndef MR_AGENT_JOURNAL_SQL_H
#define MR_AGENT_JOURNAL_SQL_H

#include "journal.h"

#define APPLICATION_ID    1297249892 /* in the file's header: ours, not some other database */
#define STRING_(x)        #x
#define STRING(x)         STRING_(x)
#define SET(name, number) "PRAGMA " name " = " STRING(number) ";"

/* In the file's header: whose it is, and which schema it has. */
#define SET_MARKS SET("application_id", APPLICATION_ID) SET("user_version", MR_JOURNAL_SCHEMA)

/* Schema 3's tables: a new journal is brought up to date as an old one is. */
static const char schema_3[] =
    "CREATE TABLE meta (one INTEGER PRIMARY KEY CHECK (one = 1), instance BLOB NOT NULL,"
    " epoch INTEGER NOT NULL);"
    "CREATE TABLE movies (id BLOB NOT NULL, revision INTEGER NOT NULL, state INTEGER NOT NULL,"
    " root BLOB NOT NULL, path BLOB NOT NULL, device INTEGER NOT NULL, inode INTEGER NOT NULL,"
    " birth_ns INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,"
    " kind INTEGER NOT NULL, output INTEGER NOT NULL,"
    " codec INTEGER NOT NULL, geometry BLOB NOT NULL, event TEXT NOT NULL, text TEXT NOT NULL,"
    " first_seen_ns INTEGER NOT NULL, updated_ns INTEGER NOT NULL,"
    " ctime_ns INTEGER NOT NULL, fresh INTEGER NOT NULL, crc_file INTEGER NOT NULL,"
    " crc_pixels INTEGER NOT NULL, PRIMARY KEY (id, revision));"
    "CREATE INDEX movies_of_file ON movies (path, root);"
    "CREATE INDEX movies_in_state ON movies (state, updated_ns);"
    "CREATE TABLE days (root BLOB NOT NULL, folder BLOB NOT NULL, day TEXT NOT NULL,"
    " PRIMARY KEY (root, folder)) WITHOUT ROWID;";

#define COLUMNS                                                                                \
    "id, revision, state, root, path, device, inode, birth_ns, size, mtime_ns, "               \
    "kind, output, codec, geometry, event, text, first_seen_ns, updated_ns, ctime_ns, fresh, " \
    "crc_file, crc_pixels"

/* A checksum of each row: SQLite has none of its own, and a flipped bit can make another state of a
 * movie, or another file. */
#define ADD_CHECKSUMS                                                                             \
    "ALTER TABLE movies ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;"                               \
    "ALTER TABLE meta ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;"                                 \
    "ALTER TABLE days ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;"                                 \
    "UPDATE movies SET crc = mr_crc(" COLUMNS "); UPDATE meta SET crc = mr_crc(instance, epoch);" \
    "UPDATE days SET crc = mr_crc(root, folder, day);"

static const char from_schema_3[] = ADD_CHECKSUMS SET_MARKS;

/* From schema 2, which knew nothing of how a source was when it was read. */
static const char from_schema_2[] =
    "ALTER TABLE movies ADD COLUMN ctime_ns INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE movies ADD COLUMN fresh INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE movies ADD COLUMN crc_file INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE movies ADD COLUMN crc_pixels INTEGER NOT NULL DEFAULT 0;" ADD_CHECKSUMS SET_MARKS;

enum statement {
    BEGIN,
    COMMIT,
    ROLLBACK,
    NEXT_EPOCH,
    INSERT,
    UPDATE,
    DELETE,
    FIND,
    FIND_FILE,
    FIND_NAME,
    NEXT_IN_STATE,
    ADD_DAY,
    GET_DAY,
    EXPIRE,
    STATEMENT_COUNT
};

/* The newest movie of a file is the row that came last: ids tell the time of a clock that may have
 * been set back. */
static const char *const statements[STATEMENT_COUNT] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [NEXT_EPOCH] = "UPDATE meta SET epoch = epoch + 1, crc = mr_crc(instance, epoch + 1)"
                   " RETURNING epoch",
    [INSERT] = "INSERT INTO movies (" COLUMNS ", crc) VALUES"
               " (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,"
               " mr_crc(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,"
               "?22))",
    [UPDATE] =
        "UPDATE movies SET state = ?3, size = ?9, mtime_ns = ?10,"
        " event = ?15, text = ?16, updated_ns = ?18, ctime_ns = ?19, fresh = ?20,"
        " crc_file = ?21, crc_pixels = ?22, crc = mr_crc(id, revision, ?3, root, path, device,"
        " inode, birth_ns, ?9, ?10, kind, output, codec, geometry, ?15, ?16, first_seen_ns,"
        " ?18, ?19, ?20, ?21, ?22) WHERE id = ?1 AND revision = ?2",
    [DELETE] = "DELETE FROM movies WHERE id = ?1 AND revision = ?2",
    [FIND] = "SELECT " COLUMNS " FROM movies WHERE id = ?1 ORDER BY revision DESC LIMIT 1",
    [FIND_FILE] = "SELECT " COLUMNS " FROM movies WHERE path = ?1 AND root = ?2 AND device = ?3"
                  " AND inode = ?4 AND birth_ns = ?5 ORDER BY rowid DESC LIMIT 1",
    [FIND_NAME] = "SELECT " COLUMNS " FROM movies WHERE path = ?1 AND root = ?2"
                  " ORDER BY rowid DESC LIMIT 1",
    [NEXT_IN_STATE] = "SELECT " COLUMNS ", rowid FROM movies WHERE state = ?5 AND"
                      " (updated_ns, rowid) > (?1, ?2) AND updated_ns <= ?3 AND root = ?4"
                      " ORDER BY updated_ns, rowid LIMIT 1",
    [ADD_DAY] = "INSERT OR IGNORE INTO days (root, folder, day, crc)"
                " VALUES (?1, ?2, ?3, mr_crc(?1, ?2, ?3))",
    [GET_DAY] = "SELECT day FROM days WHERE root = ?1 AND folder = ?2",
    [EXPIRE] = "DELETE FROM movies WHERE state IN (2, 3, 4) AND updated_ns < ?1",
};

#endif
