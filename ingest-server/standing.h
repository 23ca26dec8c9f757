/* SPDX-License-Identifier: Apache-2.0 */
/* The answer to CONFIRM: what the store has of a committed movie now. Any thread. */
#ifndef MR_STANDING_H
#define MR_STANDING_H

#include "catalogue.h"
#include "store.h"

/* Fills ret with a CONFIRMED. Looks at one file. */
void mr_standing_of(const struct mr_store *store, struct mr_catalogue *catalogue,
                    const struct mr_confirm *confirm, struct mr_message *ret);

#endif
