/* SPDX-License-Identifier: Apache-2.0 */
/* What seal says of a movie. All return owned messages (free), and never NULL: a verdict that
 * cannot be told would leave its agent waiting for ever. Pure but for malloc. */
#ifndef MR_SEAL_ANSWER_H
#define MR_SEAL_ANSWER_H

#include "dossier.h"
#include "store.h"

/* COMMITTED, FAILED, ABANDONED or HOLD, with nothing but its movie. */
struct mr_message *mr_seal_answer_new(enum mr_message_type type, const struct mr_ulid *id);

struct mr_message *mr_seal_answer_hold(const struct mr_ulid *id, uint32_t retry_ms,
                                       const struct mr_err *err);

/* path: below the root. */
struct mr_message *mr_seal_answer_committed(const struct mr_store *store,
                                            const struct mr_dossier *d, const char *event,
                                            const char *path, uint64_t sequence);

#endif
