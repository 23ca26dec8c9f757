/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an OPEN's body: what decodes must encode to bytes that decode. */
#include "wire/message.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mr_open open, again;
    struct mr_err err = {0};
    uint8_t out[MR_OPEN_BODY_MAX];
    size_t bytes = 0;
    if (mr_open_decode(data, size, &open, &err) < 0) {
        return 0;
    }
    if (mr_open_encode(&open, out, sizeof(out), &bytes) < 0 ||
        mr_open_decode(out, bytes, &again, &err) < 0) {
        abort();
    }
    return 0;
}
