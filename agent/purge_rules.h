/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May this source go? Asks the journal, the names beside it and the file itself; changes nothing.
 * What only the server knows, purge asks afterwards. Any thread, with a journal of its own.
 */
#ifndef MR_AGENT_PURGE_RULES_H
#define MR_AGENT_PURGE_RULES_H

#include "agent_config.h"
#include "purge_file.h"

/* By its name: a camera's gain reference or list of defects. */
bool mr_purge_is_reference(const char *name);

/* By their names: does `name` belong to the file `other` beside it (the same stem, or other's whole
 * name, and more)? movie: `name` is a movie itself. */
bool mr_purge_belongs(const char *name, const char *other, bool movie);

struct mr_purge_case {
    const struct mr_agent_watch *watch;
    int root; /* its directory */
    struct mr_journal *journal;
    int64_t real_ns;
};

/* m: COMMITTED, of that watch. 0: it may go, *ret is owned. -ENOENT: what was read is gone
 * already, or superseded. -EAGAIN: not yet; the journal's errors; else it stays for as long as it
 * is what it is. why: in words, also for 0. */
int mr_purge_judge(const struct mr_purge_case *c, const struct mr_journal_movie *m,
                   struct mr_purge_file *ret, char why[MR_PURGE_WHY]) MR_MUST_USE;

#endif
