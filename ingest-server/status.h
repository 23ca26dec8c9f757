/* SPDX-License-Identifier: Apache-2.0 */
/* What /v1/status says (docs/OPERATIONS.md), as JSON. Reads the stages' own counts, changes
 * nothing. */
#ifndef MR_STATUS_H
#define MR_STATUS_H

#include "control.h"
#include "eventlog.h"
#include "lane.h"
#include "seal.h"
#include "space.h"

/* Sessions and movies, as owned text (free): control says it on its own thread, once in a while,
 * and others read the text. NULL: out of memory. */
char *mr_status_of_intake(const struct mr_intake *in, uint64_t duplicate_slabs);

/* Borrowed */
struct mr_status_parts {
    const char *name, *root;
    int64_t started_ns; /* monotonic */
    struct mr_control *control;
    struct mr_space *space;
    struct mr_lane *const *lanes;
    uint16_t lane_count;
    struct mr_seal *seal;
    struct mr_eventlog *eventlog;
};

/* All of it, as owned text (free). Any thread. NULL: out of memory. */
char *mr_status_text(const struct mr_status_parts *p);

#endif
