/* SPDX-License-Identifier: Apache-2.0 */
/* What berth says to an OPEN that gets no part: COMMITTED, FAILED or HOLD. Pure but for malloc. */
#ifndef MR_BERTH_ANSWER_H
#define MR_BERTH_ANSWER_H

#include "berth.h"

struct mr_berth_why {
    uint16_t code; /* enum mr_reason; 0: what follows from the error */
    bool final;    /* FAILED; else HOLD */
    struct mr_err err;
};

/* Gives answer, whose id is set, its message; NULL without memory. error: -errno. path: of the
 * movie, where why says nothing. */
void mr_berth_answer_refuse(struct mr_berth_answer *answer, int error, const char *path,
                            struct mr_berth_why *why);

/* Returns owned (free); NULL without memory. */
struct mr_message *mr_berth_answer_committed(const struct mr_store *store,
                                             const struct mr_catalogue_entry *entry);

#endif
