/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger of freed sources, `<state_dir>/ledger.log`: a recordlog of JSON lines, never
 * rewritten. For each file an "intent" before it is touched and an outcome after: "freed", "kept"
 * (with why), or "left" (it could not get its name back). Each is fsynced before the call returns.
 * After a failed write or fsync the ledger is broken for good (-EIO): nothing is freed any more in
 * this run. One thread.
 */
#ifndef MR_AGENT_LEDGER_H
#define MR_AGENT_LEDGER_H

#include "base/err.h"
#include "base/ulid.h"
#include "wire/message.h"

/* Texts borrowed. */
struct mr_ledger_entry {
    const char *what;     /* "intent", "freed", "kept", "left" */
    const char *path;     /* of the source, whole */
    uint64_t bytes;       /* of the source */
    struct mr_ulid movie; /* as the server knows it */
    uint32_t revision;
    struct mr_ulid row; /* as our journal knows it: mostly the same */
    uint64_t digest;    /* CRC-64/XZ of the stored file */
    const char *store;  /* its path on the server */
    const char *why;
};

/* What a crash left open. */
struct mr_ledger_pending {
    bool is_open;
    struct mr_ulid row;
    char *path; /* owned: of the source, whole; what is not UTF-8 in it is escaped */
    char *line; /* owned: the intent's text */
};

struct mr_ledger;

bool mr_ledger_exists(const char *state_dir);

/* Opens or makes it; a torn last line, of a crash, is cut. -EUCLEAN: damaged otherwise, err says
 * where; nothing is to be freed before somebody looked at it. Returns owned; ret_pending as well
 * (mr_ledger_pending_fini). */
int mr_ledger_open(const char *state_dir, struct mr_ledger **ret,
                   struct mr_ledger_pending *ret_pending, struct mr_err *err) MR_MUST_USE;
void mr_ledger_close(struct mr_ledger *ledger); /* NULL allowed */
void mr_ledger_pending_fini(struct mr_ledger_pending *pending);

int mr_ledger_write(struct mr_ledger *ledger, const struct mr_ledger_entry *entry,
                    struct mr_err *err) MR_MUST_USE;
/* Ends an open intent: its line again, as `what` and with another why. */
int mr_ledger_settle(struct mr_ledger *ledger, const struct mr_ledger_pending *pending,
                     const char *what, const char *why, struct mr_err *err) MR_MUST_USE;

#endif
