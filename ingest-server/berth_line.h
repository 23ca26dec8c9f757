/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OPENs that wait for their berth: each agent's in their order, the agents in turn. An agent sends
 * a hundred of them at once when it has a backlog, and each may take some syncs: the movie that
 * another's camera has just begun does not wait for all of these. Berth's thread.
 */
#ifndef MR_BERTH_LINE_H
#define MR_BERTH_LINE_H

#include "berth.h"

struct mr_berth_line; /* NULL: nobody waits */

/* An OPEN; takes what it owns. -ENOMEM: it is still the caller's. */
int mr_berth_line_add(struct mr_berth_line **line, const struct mr_berth_job *job) MR_MUST_USE;
/* False: nobody waits. What it owns is the caller's. */
bool mr_berth_line_take(struct mr_berth_line **line, struct mr_berth_job *ret);
void mr_berth_line_free(struct mr_berth_line **line);

#endif
