/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Old revisions, <directory>/.millrace/old/<ULID>.r<n>, and when they have had their time. Called
 * on seal's thread, the catalogue's writer.
 */
#ifndef MR_REVISIONS_H
#define MR_REVISIONS_H

#include "commit.h"

/* Removes what was superseded longer than store.keep_revisions ago. Looks about as often as that is
 * long, once an hour at most; *last_ns (monotonic, 0 at first) remembers when. What cannot be
 * removed is tried again another time; failures are logged. */
void mr_revisions_expire(const struct mr_commit *c, int64_t *last_ns);

#endif
