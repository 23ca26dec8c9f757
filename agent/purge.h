/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The purge stage, thread "purge": unlinks sources that are committed, where a watch says
 * `source_after_commit: delete`. Walks the journal, judges each (purge_rules), asks the server
 * whether it still has it (by way of tail), writes the ledger and takes the file away (purge_file).
 * Everything that waits for a disk is done here, so that tailing never waits for it.
 */
#ifndef MR_AGENT_PURGE_H
#define MR_AGENT_PURGE_H

#include "agent_config.h"
#include "base/queue.h"
#include "base/thread.h"

/* All borrowed until _free. */
struct mr_purge_config {
    const char *state_dir;
    const struct mr_agent_watch *watches;
    size_t watch_count;
    struct mr_queue *questions; /* struct mr_confirm, to tail; closed by _stop */
    struct mr_queue *answers;   /* struct mr_confirmed, from tail; closed by _stop */
};

struct mr_purge;

bool mr_purge_wanted(const char *state_dir, const struct mr_agent_watch *watches, size_t count);

/* Opens the ledger; run begins by mending what a crash left of a file on its way out. -EUCLEAN: the
 * ledger is damaged. The journal must have been opened before. Returns owned. */
int mr_purge_new(const struct mr_purge_config *config, struct mr_purge **ret,
                 struct mr_err *err) MR_MUST_USE;
void mr_purge_free(struct mr_purge *p); /* NULL allowed */

extern const struct mr_stage mr_purge_stage;

void mr_purge_stop(struct mr_purge *p); /* any thread */

#endif
