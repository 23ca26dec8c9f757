/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slab geometry. Pure arithmetic: knows no file, no message and no codec. Products are bounded by
 * the limits of slab.h (a frame has at most 2^46 bytes), and where frames multiply they saturate,
 * so that a peer's absurd count becomes "too many slabs" and never a small wrong number.
 */
#include "wire/slab.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

/* What libhdf5's metadata of a bilingual movie needs beside the source's own extended header. */
#define HDF5_ROOM_BYTES (62u * 1024)
#define MRC_HEADER      1024u
#define STREAM_DATA_MIN 65536u
#define STREAM_DATA_MAX (64u * 1024 * 1024)
#define SOURCE_DATA_MAX (1ull << 32)

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t ceil_div(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

static uint64_t mul_saturate(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return product > UINT64_MAX ? UINT64_MAX : (uint64_t)product;
}

static uint64_t add_saturate(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

void mr_geometry_opaque(struct mr_geometry *ret)
{
    *ret = (struct mr_geometry){.layout = MR_LAYOUT_BYTES};
}

/* Rows of one frame in a chunk when `fit` rows have room: a divisor of the height where a decent
 * one exists (no padding), else slabs as equal as can be (least padding). */
static uint64_t chunk_rows(uint64_t height, uint64_t fit)
{
    for (uint64_t rows = min_u64(fit, height); rows >= ceil_div(fit, 2); rows--)
        if (height % rows == 0)
            return rows;
    return ceil_div(height, ceil_div(height, fit));
}

static void cut_chunks(struct mr_geometry *g)
{
    uint64_t row_bytes = g->frame_bytes / g->height;
    g->frames_per_slab = 1;
    g->slabs_per_frame = 1;
    g->rows_per_slab = (uint32_t)g->height;
    if (2 * g->frame_bytes <= MR_SLAB_BYTES) {
        g->frames_per_slab = (uint32_t)(MR_SLAB_BYTES / g->frame_bytes);
    } else if (g->frame_bytes > MR_SLAB_BYTES) {
        uint64_t rows = chunk_rows(g->height, MR_SLAB_BYTES / row_bytes);
        g->rows_per_slab = (uint32_t)rows;
        g->slabs_per_frame = (uint32_t)ceil_div(g->height, rows);
    }
}

static int check_sizes(uint64_t width, uint64_t height, uint64_t source_data_offset,
                       uint64_t ext_bytes, struct mr_err *err)
{
    if (width < 1 || width > MR_WIDTH_MAX) {
        return mr_err_set(err, -EINVAL, "width %" PRIu64 " is not within 1..%u", width,
                          MR_WIDTH_MAX);
    }
    if (height < 1 || height > MR_HEIGHT_MAX) {
        return mr_err_set(err, -EINVAL, "height %" PRIu64 " is not within 1..%u", height,
                          MR_HEIGHT_MAX);
    }
    if (source_data_offset > SOURCE_DATA_MAX) {
        return mr_err_set(err, -EINVAL, "frames begin at byte %" PRIu64 ", over the limit of %llu",
                          source_data_offset, SOURCE_DATA_MAX);
    }
    if (ext_bytes > STREAM_DATA_MAX - STREAM_DATA_MIN) {
        return mr_err_set(err, -EINVAL,
                          "extended header of %" PRIu64 " bytes, over the limit of %u", ext_bytes,
                          STREAM_DATA_MAX - STREAM_DATA_MIN);
    }
    return 0;
}

static int check_pixel(enum mr_layout layout, enum mr_pixel pixel, uint64_t width,
                       struct mr_err *err)
{
    if (pixel == MR_PIXEL_NONE || !mr_pixel_valid(pixel)) {
        return mr_err_set(err, -EOPNOTSUPP, "pixel type %u is not one we take apart",
                          (unsigned)pixel);
    }
    if (layout == MR_LAYOUT_BYTES)
        return 0;
    if (pixel == MR_PIXEL_U4 && width % 2 != 0) {
        return mr_err_set(
            err, -EOPNOTSUPP,
            "4-bit pixels with odd width %" PRIu64 ": readers disagree on row padding", width);
    }
    if (layout == MR_LAYOUT_STREAM && mr_pixel_mrc_mode(pixel) < 0)
        return mr_err_set(err, -EOPNOTSUPP, "pixel type %s has no MRC mode", mr_pixel_name(pixel));
    return 0;
}

int mr_geometry_frames(enum mr_layout layout, enum mr_pixel source_pixel, bool swap_bytes,
                       uint64_t width, uint64_t height, uint64_t source_data_offset,
                       uint64_t ext_bytes, struct mr_geometry *ret, struct mr_err *err)
{
    assert(layout >= MR_LAYOUT_BYTES && layout <= MR_LAYOUT_CHUNKS);
    /* Only a STREAM makes room for the extended header. */
    uint64_t room = layout == MR_LAYOUT_STREAM ? ext_bytes : 0;
    int code = check_sizes(width, height, source_data_offset, room, err);
    if (code == 0)
        code = check_pixel(layout, source_pixel, width, err);
    if (code != 0)
        return code;
    bool unpack = layout == MR_LAYOUT_CHUNKS && source_pixel == MR_PIXEL_U4;
    struct mr_geometry g = {
        .layout = layout,
        .source_pixel = source_pixel,
        .pixel = unpack ? MR_PIXEL_U8 : source_pixel,
        .swap_bytes = swap_bytes,
        .width = width,
        .height = height,
        .source_data_offset = source_data_offset,
        .source_frame_bytes = mr_pixel_row_bytes(source_pixel, width) * height,
    };
    uint64_t row_bytes = mr_pixel_row_bytes(g.pixel, width);
    g.frame_bytes = row_bytes * height;
    if (layout == MR_LAYOUT_BYTES) {
        g.data_offset = source_data_offset;
    } else if (layout == MR_LAYOUT_STREAM) {
        g.data_offset =
            ceil_div(MRC_HEADER + HDF5_ROOM_BYTES + ext_bytes, MR_SLAB_ALIGN) * MR_SLAB_ALIGN;
        g.data_offset = g.data_offset < STREAM_DATA_MIN ? STREAM_DATA_MIN : g.data_offset;
    } else if (row_bytes > MR_SLAB_BYTES) {
        return mr_err_set(err, -EOPNOTSUPP, "a row of %" PRIu64 " bytes is over the slab's %u",
                          row_bytes, MR_SLAB_BYTES);
    } else {
        cut_chunks(&g);
    }
    *ret = g;
    return 0;
}

bool mr_geometry_equal(const struct mr_geometry *a, const struct mr_geometry *b)
{
    return a->layout == b->layout && a->source_pixel == b->source_pixel && a->pixel == b->pixel &&
           a->swap_bytes == b->swap_bytes && a->width == b->width && a->height == b->height &&
           a->source_data_offset == b->source_data_offset &&
           a->source_frame_bytes == b->source_frame_bytes && a->frame_bytes == b->frame_bytes &&
           a->data_offset == b->data_offset && a->rows_per_slab == b->rows_per_slab &&
           a->frames_per_slab == b->frames_per_slab && a->slabs_per_frame == b->slabs_per_frame;
}

static bool stream_offset_fits(uint64_t data_offset)
{
    return data_offset % MR_SLAB_ALIGN == 0 && data_offset >= STREAM_DATA_MIN &&
           data_offset <= STREAM_DATA_MAX;
}

int mr_geometry_check(const struct mr_geometry *g, struct mr_err *err)
{
    struct mr_geometry want;
    if ((unsigned)g->layout < MR_LAYOUT_BYTES || (unsigned)g->layout > MR_LAYOUT_CHUNKS)
        return mr_err_set(err, -EPROTO, "geometry: unknown layout %u", (unsigned)g->layout);
    if (g->layout == MR_LAYOUT_BYTES && g->source_pixel == MR_PIXEL_NONE) {
        mr_geometry_opaque(&want);
    } else {
        int code = mr_geometry_frames(g->layout, g->source_pixel, g->swap_bytes, g->width,
                                      g->height, g->source_data_offset, 0, &want, err);
        if (code != 0) {
            mr_err_prefix(err, "geometry");
            if (err)
                err->code = -EPROTO;
            return -EPROTO;
        }
    }
    if (g->layout == MR_LAYOUT_STREAM && stream_offset_fits(g->data_offset))
        want.data_offset = g->data_offset;
    if (!mr_geometry_equal(g, &want))
        return mr_err_set(err, -EPROTO, "geometry: derived sizes do not follow from the movie's");
    return 0;
}

uint64_t mr_slab_count(const struct mr_geometry *g, const struct mr_extent *extent)
{
    switch (g->layout) {
    case MR_LAYOUT_BYTES:
        return ceil_div(extent->source_bytes, MR_SLAB_BYTES);
    case MR_LAYOUT_STREAM:
        return ceil_div(mul_saturate(extent->frames, g->frame_bytes), MR_SLAB_BYTES);
    case MR_LAYOUT_CHUNKS:
        return mul_saturate(ceil_div(extent->frames, g->frames_per_slab), g->slabs_per_frame);
    }
    return 0;
}

uint64_t mr_geometry_file_bytes(const struct mr_geometry *g, const struct mr_extent *extent)
{
    switch (g->layout) {
    case MR_LAYOUT_BYTES:
        return extent->source_bytes;
    case MR_LAYOUT_STREAM:
        return add_saturate(g->data_offset, mul_saturate(extent->frames, g->frame_bytes));
    case MR_LAYOUT_CHUNKS:
        break;
    }
    return 0;
}

/* The part of [begin, begin + span->raw_bytes) of the source that is pixels. */
static void bytes_pixels(const struct mr_geometry *g, const struct mr_extent *extent,
                         struct mr_span *span)
{
    uint64_t frames = extent ? extent->frames : UINT64_MAX;
    uint64_t pixels_end =
        add_saturate(g->source_data_offset, mul_saturate(frames, g->source_frame_bytes));
    uint64_t begin = span->source_offset;
    uint64_t end = min_u64(begin + span->source_bytes, pixels_end);
    uint64_t first = begin > g->source_data_offset ? begin : g->source_data_offset;
    if (g->source_pixel != MR_PIXEL_NONE && first < end) {
        span->pixel_offset = (uint32_t)(first - begin);
        span->pixel_bytes = (uint32_t)(end - first);
    }
}

static void bytes_span(const struct mr_geometry *g, const struct mr_extent *extent, uint64_t index,
                       struct mr_span *span)
{
    uint64_t left = extent ? extent->source_bytes - index * MR_SLAB_BYTES : UINT64_MAX;
    span->source_offset = index * MR_SLAB_BYTES;
    span->source_bytes = min_u64(left, MR_SLAB_BYTES);
    span->raw_bytes = (uint32_t)span->source_bytes;
    span->file_offset = span->source_offset;
    bytes_pixels(g, extent, span);
}

static void stream_span(const struct mr_geometry *g, const struct mr_extent *extent, uint64_t index,
                        struct mr_span *span)
{
    uint64_t total = extent ? mul_saturate(extent->frames, g->frame_bytes) : UINT64_MAX;
    uint64_t at = index * MR_SLAB_BYTES;
    span->source_offset = g->source_data_offset + at;
    span->source_bytes = min_u64(total - at, MR_SLAB_BYTES);
    span->raw_bytes = (uint32_t)span->source_bytes;
    span->pixel_bytes = span->raw_bytes;
    span->file_offset = g->data_offset + at;
}

static void chunk_span(const struct mr_geometry *g, const struct mr_extent *extent, uint64_t index,
                       struct mr_span *span)
{
    uint64_t source_row = g->source_frame_bytes / g->height;
    uint64_t row = g->frame_bytes / g->height;
    uint64_t frame = index / g->slabs_per_frame * g->frames_per_slab;
    uint64_t first_row = index % g->slabs_per_frame * g->rows_per_slab;
    uint64_t frames_left = extent ? extent->frames - frame : UINT64_MAX;
    uint64_t frames = min_u64(frames_left, g->frames_per_slab);
    uint64_t rows = min_u64(g->height - first_row, g->rows_per_slab) * frames;
    span->source_offset =
        g->source_data_offset + frame * g->source_frame_bytes + first_row * source_row;
    span->source_bytes = rows * source_row;
    span->raw_bytes = (uint32_t)(row * g->rows_per_slab * g->frames_per_slab);
    span->pixel_bytes = (uint32_t)(rows * row);
    span->file_offset = UINT64_MAX;
}

void mr_slab_span(const struct mr_geometry *g, const struct mr_extent *extent, uint64_t index,
                  struct mr_span *ret)
{
    assert(index < MR_SLABS_MAX);
    assert(!extent || index < mr_slab_count(g, extent));
    struct mr_span span = {0};
    switch (g->layout) {
    case MR_LAYOUT_BYTES:
        bytes_span(g, extent, index, &span);
        break;
    case MR_LAYOUT_STREAM:
        stream_span(g, extent, index, &span);
        break;
    case MR_LAYOUT_CHUNKS:
        chunk_span(g, extent, index, &span);
        break;
    }
    *ret = span;
}
