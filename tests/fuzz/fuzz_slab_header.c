/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a data header, also with the checksum an honest sender would have put. */
#include "base/crc64.h"
#include "wire/slab_header.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mr_slab_header h;
    uint8_t wire[MR_SLAB_HEADER_BYTES];
    (void)!mr_slab_header_decode(data, size, &h);
    if (size < sizeof(wire)) {
        return 0;
    }
    memcpy(wire, data, sizeof(wire));
    uint64_t crc = mr_crc64(0, wire, sizeof(wire) - 8);
    for (size_t i = 0; i < 8; i++) {
        wire[sizeof(wire) - 8 + i] = (uint8_t)(crc >> (8 * i));
    }
    if (mr_slab_header_decode(wire, sizeof(wire), &h) == 0) {
        mr_slab_header_encode(&h, wire);
        if (mr_slab_header_decode(wire, sizeof(wire), &h) < 0) {
            abort();
        }
    }
    return 0;
}
