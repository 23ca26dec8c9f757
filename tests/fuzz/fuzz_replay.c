/* SPDX-License-Identifier: Apache-2.0 */
/* A request that is taken is within its limits; one that is not has a reason. */
#include "replay.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct mr_replay_request q = {0};
    struct mr_err err = {0};
    if (mr_replay_parse((const char *)data, bytes, &q, &err) == 0)
        assert(q.since >= 1 && q.limit >= 1 && q.limit <= MR_REPLAY_LIMIT_MAX);
    else
        assert(err.code < 0 && err.text[0] != '\0' && q.since == 0 && q.limit == 0);
    return 0;
}
