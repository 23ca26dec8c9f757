/* SPDX-License-Identifier: Apache-2.0 */
/* A header as a camera, or anyone, wrote it; what decodes must make sizes that can be reckoned
 * with. */
#include "wire/mrc_header.h"
#include "wire/slab.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void try_layout(enum mr_layout layout, const struct mr_mrc_header *h)
{
    struct mr_geometry g;
    struct mr_err err = {0};
    struct mr_span span;
    if (mr_geometry_frames(layout, h->pixel, h->big_endian, (uint64_t)h->nx, (uint64_t)h->ny,
                           mr_mrc_data_offset(h), (uint64_t)h->nsymbt, &g, &err) != 0) {
        assert(err.code < 0 && err.text[0] != '\0');
        return;
    }
    assert(mr_geometry_check(&g, &err) == 0);
    assert(g.source_frame_bytes == mr_mrc_frame_bytes(h));
    struct mr_extent extent = {(uint64_t)h->nz,
                               mr_mrc_data_offset(h) + (uint64_t)h->nz * mr_mrc_frame_bytes(h)};
    uint64_t count = mr_slab_count(&g, &extent);
    if (count > 0 && count <= MR_SLABS_MAX) {
        mr_slab_span(&g, &extent, count - 1, &span);
        assert(span.source_offset + span.source_bytes == extent.source_bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    uint8_t header[MR_MRC_HEADER_BYTES] = {0};
    struct mr_mrc_header h;
    struct mr_err err = {0};
    memcpy(header, data, bytes < sizeof(header) ? bytes : sizeof(header));
    bool unset = mr_mrc_header_unset(header);
    if (mr_mrc_header_decode(header, &h, &err) != 0) {
        assert(err.code < 0 && err.text[0] != '\0');
        return 0;
    }
    assert(!unset && strlen(h.exttyp) <= 4);
    (void)mr_mrc_stats_set(&h);
    for (enum mr_layout layout = MR_LAYOUT_BYTES; layout <= MR_LAYOUT_CHUNKS; layout++) {
        try_layout(layout, &h);
    }
    return 0;
}
