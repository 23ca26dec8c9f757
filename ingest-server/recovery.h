/* SPDX-License-Identifier: Apache-2.0 */
/* What an earlier server left in the journals, looked through before the stages start. Main
 * thread. */
#ifndef MR_RECOVERY_H
#define MR_RECOVERY_H

#include "commit.h"

/* What recovery finds and does not finish; called on its thread. */
struct mr_recovery_found {
    void *ctx;
    void (*unfinished)(void *ctx, const struct mr_ulid *id); /* a journal that is to be resumed */
    void (*sealed)(void *ctx, struct mr_dossier *d, enum mr_commit_state state); /* takes d */
};

/* Before the stages start: finishes every sealed movie whose event an earlier server has logged, or
 * that failed; hands over the other ones, and those it meets with trouble. Journals of nothing are
 * removed. Logs a line per movie. An error is the end of the server. */
int mr_recovery_run(const struct mr_commit *c, const struct mr_recovery_found *found,
                    struct mr_err *err) MR_MUST_USE;

#endif
