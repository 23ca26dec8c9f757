/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the geometry in an agent's journal: refused, or the geometry that writes as those.
 */
#include "geometry_blob.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct mr_geometry g, again;
    uint8_t blob[MR_GEOMETRY_BLOB_BYTES], blob_again[MR_GEOMETRY_BLOB_BYTES];
    if (!mr_geometry_blob_decode(data, bytes, &g))
        return 0;
    assert(mr_geometry_check(&g, NULL) == 0);
    mr_geometry_blob_encode(&g, blob);
    bool same = mr_geometry_blob_decode(blob, sizeof(blob), &again);
    assert(same);
    mr_geometry_blob_encode(&again, blob_again);
    assert(memcmp(blob, blob_again, sizeof(blob)) == 0);
    return 0;
}
