/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A geometry as bytes. Does not travel: only the journal on this host reads it.
 */
#include "geometry_blob.h"

#include "base/bytes.h"

#include <assert.h>
#include <string.h>

void mr_geometry_blob_encode(const struct mr_geometry *g, uint8_t ret[MR_GEOMETRY_BLOB_BYTES])
{
    struct mr_writer w = mr_writer_init(ret, MR_GEOMETRY_BLOB_BYTES);
    memset(ret, 0, MR_GEOMETRY_BLOB_BYTES);
    mr_write_u8(&w, (uint8_t)g->layout);
    mr_write_u8(&w, (uint8_t)g->source_pixel);
    mr_write_u8(&w, (uint8_t)g->pixel);
    mr_write_u8(&w, g->swap_bytes);
    mr_write_u64(&w, g->width);
    mr_write_u64(&w, g->height);
    mr_write_u64(&w, g->source_data_offset);
    mr_write_u64(&w, g->source_frame_bytes);
    mr_write_u64(&w, g->frame_bytes);
    mr_write_u64(&w, g->data_offset);
    mr_write_u32(&w, g->rows_per_slab);
    mr_write_u32(&w, g->frames_per_slab);
    mr_write_u32(&w, g->slabs_per_frame);
    assert(!w.failed);
}

bool mr_geometry_blob_decode(const void *data, size_t bytes, struct mr_geometry *ret)
{
    if (bytes != MR_GEOMETRY_BLOB_BYTES)
        return false;
    struct mr_reader r = mr_reader_init(data, MR_GEOMETRY_BLOB_BYTES);
    ret->layout = (enum mr_layout)mr_read_u8(&r);
    ret->source_pixel = (enum mr_pixel)mr_read_u8(&r);
    ret->pixel = (enum mr_pixel)mr_read_u8(&r);
    ret->swap_bytes = mr_read_u8(&r) != 0;
    ret->width = mr_read_u64(&r);
    ret->height = mr_read_u64(&r);
    ret->source_data_offset = mr_read_u64(&r);
    ret->source_frame_bytes = mr_read_u64(&r);
    ret->frame_bytes = mr_read_u64(&r);
    ret->data_offset = mr_read_u64(&r);
    ret->rows_per_slab = mr_read_u32(&r);
    ret->frames_per_slab = mr_read_u32(&r);
    ret->slabs_per_frame = mr_read_u32(&r);
    return !r.failed && mr_geometry_check(ret, NULL) == 0;
}
