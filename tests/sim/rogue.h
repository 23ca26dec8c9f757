/* SPDX-License-Identifier: Apache-2.0 */
/* A peer that breaks the protocol in one way at a time. Nobody else may suffer from it. */
#ifndef MR_TESTS_ROGUE_H
#define MR_TESTS_ROGUE_H

#include "cable.h"

struct rogue *rogue_new(struct world *w);
void rogue_free(struct rogue *r);

#endif
