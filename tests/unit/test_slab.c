/* SPDX-License-Identifier: Apache-2.0 */
/* Do the slabs tile a movie: every pixel in exactly one, in order, whatever the sizes? */
#include "suite.h"
#include "wire/slab.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct mr_geometry frames_of(enum mr_layout layout, enum mr_pixel pixel, uint64_t width,
                                    uint64_t height, uint64_t offset)
{
    struct mr_geometry g;
    struct mr_err err = {0};
    uint64_t ext = offset >= 1024 ? offset - 1024 : 0;
    int code = mr_geometry_frames(layout, pixel, false, width, height, offset, ext, &g, &err);
    ck_assert_msg(code == 0, "%s", err.text);
    ck_assert_msg(mr_geometry_check(&g, &err) == 0, "%s", err.text);
    return g;
}

static uint64_t seed = 88172645463325252u;

static uint64_t below(uint64_t limit) /* xorshift64: the same movies in every run */
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % limit;
}

static bool same_span(const struct mr_span *a, const struct mr_span *b)
{
    return a->source_offset == b->source_offset && a->source_bytes == b->source_bytes &&
           a->raw_bytes == b->raw_bytes && a->pixel_offset == b->pixel_offset &&
           a->pixel_bytes == b->pixel_bytes && a->file_offset == b->file_offset;
}

/* Sizes of one span in itself; a short slab is the movie's last (or, in CHUNKS, a frame's last). */
static void check_span(const struct mr_geometry *g, const struct mr_extent *extent, uint64_t index)
{
    struct mr_span span, growing;
    mr_slab_span(g, extent, index, &span);
    mr_slab_span(g, NULL, index, &growing);
    ck_assert_uint_ge(span.source_bytes, 1);
    ck_assert_uint_ge(span.raw_bytes, 1);
    ck_assert_uint_le(span.raw_bytes, MR_SLAB_BYTES);
    ck_assert_uint_le(span.pixel_offset + span.pixel_bytes, span.raw_bytes);
    ck_assert_uint_eq(span.source_offset, growing.source_offset);
    bool last = index + 1 == mr_slab_count(g, extent);
    if (span.source_bytes == growing.source_bytes) {
        ck_assert_msg(same_span(&span, &growing), "slab %" PRIu64 " is another when growing",
                      index);
    } else {
        ck_assert(last);
    }
    if (g->layout == MR_LAYOUT_CHUNKS) {
        ck_assert_uint_eq(span.raw_bytes,
                          g->frame_bytes / g->height * g->rows_per_slab * g->frames_per_slab);
        ck_assert_uint_eq(span.file_offset, UINT64_MAX);
        ck_assert_uint_eq(span.pixel_offset, 0);
        ck_assert_uint_eq(span.source_bytes / (g->source_frame_bytes / g->height),
                          span.pixel_bytes / (g->frame_bytes / g->height));
    } else {
        ck_assert_uint_eq(span.raw_bytes, span.source_bytes);
        ck_assert_uint_eq(span.file_offset % MR_SLAB_ALIGN, 0);
        ck_assert_uint_eq(span.source_offset - g->source_data_offset,
                          span.file_offset - g->data_offset);
    }
}

static void check_tiling(const struct mr_geometry *g, const struct mr_extent *extent)
{
    uint64_t count = mr_slab_count(g, extent);
    uint64_t at = g->layout == MR_LAYOUT_BYTES ? 0 : g->source_data_offset;
    uint64_t landed = g->layout == MR_LAYOUT_STREAM ? g->data_offset : 0;
    uint64_t pixels = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct mr_span span;
        check_span(g, extent, i);
        mr_slab_span(g, extent, i, &span);
        ck_assert_uint_eq(span.source_offset, at);
        at += span.source_bytes;
        pixels += span.pixel_bytes;
        if (g->layout != MR_LAYOUT_CHUNKS) {
            ck_assert_uint_eq(span.file_offset, landed);
            landed += span.raw_bytes;
        }
    }
    ck_assert_uint_eq(at, extent->source_bytes);
    ck_assert_uint_eq(pixels, extent->frames * g->frame_bytes);
    if (g->layout != MR_LAYOUT_CHUNKS) {
        ck_assert_uint_eq(landed, mr_geometry_file_bytes(g, extent));
    }
}

static void tile_random(enum mr_layout layout, uint64_t max_width, uint64_t max_height)
{
    static const enum mr_pixel types[] = {MR_PIXEL_I8,  MR_PIXEL_I16, MR_PIXEL_U16,
                                          MR_PIXEL_F16, MR_PIXEL_F32, MR_PIXEL_U4};
    enum mr_pixel pixel = types[below(6)];
    uint64_t width = 1 + below(max_width);
    width += pixel == MR_PIXEL_U4 && layout != MR_LAYOUT_BYTES ? width % 2 : 0;
    uint64_t offset = below(2) ? 1024 + below(1u << 20) : 1024;
    struct mr_geometry g = frames_of(layout, pixel, width, 1 + below(max_height), offset);
    uint64_t most = 1 + 64 * (uint64_t)MR_SLAB_BYTES / g.source_frame_bytes;
    struct mr_extent extent = {.frames = 1 + below(most < 5000 ? most : 5000)};
    extent.source_bytes = offset + extent.frames * g.source_frame_bytes;
    check_tiling(&g, &extent);
}

START_TEST(random_movies_are_tiled)
{
    for (int i = 0; i < 150; i++) {
        for (enum mr_layout layout = MR_LAYOUT_BYTES; layout <= MR_LAYOUT_CHUNKS; layout++) {
            tile_random(layout, 16000, 9000);
            tile_random(layout, 300, 300);
            tile_random(layout, 1u << 20, 12);
            tile_random(layout, 12, 1u << 20);
        }
    }
}
END_TEST

START_TEST(edges_of_whole_frames)
{
    static const uint64_t rows[] = {1, 2, 511, 512, 513, 1023, 1024, 1025, 2047, 2048, 2049, 4099};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (uint64_t frames = 1; frames < 20; frames++) {
            struct mr_geometry g = frames_of(MR_LAYOUT_CHUNKS, MR_PIXEL_I8, 4096, rows[i], 1024);
            struct mr_extent extent = {frames, 1024 + frames * g.source_frame_bytes};
            check_tiling(&g, &extent);
        }
    }
}
END_TEST

START_TEST(camera_chunks)
{
    struct mr_geometry k3 = frames_of(MR_LAYOUT_CHUNKS, MR_PIXEL_I8, 5760, 4092, 1024);
    ck_assert_uint_eq(k3.rows_per_slab, 682); /* 4092 / 6; 728 would fit */
    ck_assert_uint_eq(k3.slabs_per_frame, 6);
    struct mr_geometry small = frames_of(MR_LAYOUT_CHUNKS, MR_PIXEL_U16, 16, 16, 1024);
    ck_assert_uint_eq(small.frames_per_slab, MR_SLAB_BYTES / 512);
    ck_assert_uint_eq(small.rows_per_slab, 16);
    struct mr_geometry one = frames_of(MR_LAYOUT_CHUNKS, MR_PIXEL_U16, 1024, 1500, 1024);
    ck_assert_uint_eq(one.frames_per_slab, 1);
    ck_assert_uint_eq(one.slabs_per_frame, 1);
    struct mr_geometry nibbles = frames_of(MR_LAYOUT_CHUNKS, MR_PIXEL_U4, 11520, 8184, 1024);
    ck_assert_int_eq(nibbles.pixel, MR_PIXEL_U8);
    ck_assert_uint_eq(nibbles.frame_bytes, 2 * nibbles.source_frame_bytes);
}
END_TEST

START_TEST(prime_height_is_balanced)
{
    struct mr_geometry g = frames_of(MR_LAYOUT_CHUNKS, MR_PIXEL_I8, 5760, 4093, 1024);
    ck_assert_uint_eq(g.slabs_per_frame, 6); /* ceil(4093 / 728) */
    ck_assert_uint_eq(g.rows_per_slab, 683); /* 6 x 683 = 4098: five rows of padding */
    struct mr_extent extent = {3, 1024 + 3 * g.source_frame_bytes};
    struct mr_span span;
    mr_slab_span(&g, &extent, 5, &span);
    ck_assert_uint_eq(span.raw_bytes, 683 * 5760);
    ck_assert_uint_eq(span.pixel_bytes, 678 * 5760);
    ck_assert_uint_eq(span.source_bytes, 678 * 5760);
}
END_TEST

START_TEST(keep_knows_its_pixel_part)
{
    struct mr_geometry g = frames_of(MR_LAYOUT_BYTES, MR_PIXEL_F32, 80, 80, 1024);
    struct mr_extent extent = {10, 1024 + 10 * 25600 + 7}; /* seven stray bytes behind the pixels */
    struct mr_span span;
    mr_slab_span(&g, &extent, 0, &span);
    ck_assert_uint_eq(span.source_bytes, extent.source_bytes);
    ck_assert_uint_eq(span.pixel_offset, 1024);
    ck_assert_uint_eq(span.pixel_bytes, 256000);
}
END_TEST

START_TEST(keep_slab_of_header_alone_has_no_pixels)
{
    struct mr_geometry g = frames_of(MR_LAYOUT_BYTES, MR_PIXEL_I8, 64, 64, 2 * MR_SLAB_BYTES + 5);
    struct mr_extent extent = {1, 2 * MR_SLAB_BYTES + 5 + 4096};
    struct mr_span span;
    mr_slab_span(&g, &extent, 1, &span);
    ck_assert_uint_eq(span.pixel_bytes, 0);
    mr_slab_span(&g, &extent, 2, &span);
    ck_assert_uint_eq(span.pixel_offset, 5);
    ck_assert_uint_eq(span.pixel_bytes, 4096);
}
END_TEST

START_TEST(opaque_files_of_any_size)
{
    static const uint64_t sizes[] = {0, 1, 4095, MR_SLAB_BYTES, MR_SLAB_BYTES + 1};
    static const uint64_t counts[] = {0, 1, 1, 1, 2};
    struct mr_geometry g;
    mr_geometry_opaque(&g);
    ck_assert_int_eq(mr_geometry_check(&g, NULL), 0);
    for (size_t i = 0; i < 5; i++) {
        struct mr_extent extent = {0, sizes[i]};
        ck_assert_uint_eq(mr_slab_count(&g, &extent), counts[i]);
        check_tiling(&g, &extent);
    }
}
END_TEST

START_TEST(stream_makes_room_for_the_extended_header)
{
    struct mr_geometry plain = frames_of(MR_LAYOUT_STREAM, MR_PIXEL_I16, 64, 64, 1024);
    ck_assert_uint_eq(plain.data_offset, 65536);
    struct mr_geometry fei = frames_of(MR_LAYOUT_STREAM, MR_PIXEL_I16, 64, 64, 1024 + 909312);
    ck_assert_uint_eq(fei.data_offset % MR_SLAB_ALIGN, 0);
    ck_assert_uint_ge(fei.data_offset, 1024 + 62 * 1024 + 909312);
    ck_assert_uint_lt(fei.data_offset, 1024 + 62 * 1024 + 909312 + MR_SLAB_ALIGN);
}
END_TEST

static int try_frames(enum mr_layout layout, enum mr_pixel pixel, uint64_t width, uint64_t height,
                      uint64_t offset, struct mr_err *err)
{
    struct mr_geometry untouched, g;
    memset(&untouched, 0x55, sizeof(untouched));
    memset(&g, 0x55, sizeof(g));
    int code = mr_geometry_frames(layout, pixel, false, width, height, offset, 0, &g, err);
    ck_assert_int_eq(memcmp(&g, &untouched, sizeof(g)), 0); /* every case here fails */
    ck_assert_str_ne(err->text, "");
    return code;
}

START_TEST(absurd_sizes_are_refused)
{
    enum mr_layout bytes = MR_LAYOUT_BYTES, chunks = MR_LAYOUT_CHUNKS, stream = MR_LAYOUT_STREAM;
    const struct {
        enum mr_layout layout;
        enum mr_pixel pixel;
        uint64_t width, height, offset;
        int code;
        const char *text;
    } cases[] = {
        {bytes, MR_PIXEL_I8, 0, 1, 0, -EINVAL, "width 0"},
        {bytes, MR_PIXEL_I8, 1, 0, 0, -EINVAL, "height 0"},
        {bytes, MR_PIXEL_I8, 1ull << 31, 1, 0, -EINVAL, "width 2147483648"},
        {bytes, MR_PIXEL_I8, MR_WIDTH_MAX + 1, 1, 0, -EINVAL, "width 4194305"},
        {bytes, MR_PIXEL_I8, 1, MR_HEIGHT_MAX + 1, 0, -EINVAL, "height 4194305"},
        {bytes, MR_PIXEL_I8, 1, UINT64_MAX, 0, -EINVAL, "height 18446744073709551615"},
        {bytes, MR_PIXEL_I8, 1, 1, UINT64_MAX, -EINVAL, "byte 18446744073709551615"},
        {bytes, MR_PIXEL_I8, 1, 1, (1ull << 32) + 1, -EINVAL, "byte 4294967297"},
        {bytes, MR_PIXEL_NONE, 1, 1, 0, -EOPNOTSUPP, "pixel type 0"},
        {chunks, MR_PIXEL_NONE, 1, 1, 0, -EOPNOTSUPP, "pixel type 0"},
        {bytes, MR_PIXEL_COUNT, 1, 1, 0, -EOPNOTSUPP, "pixel type 8"},
        {bytes, (enum mr_pixel)77, 1, 1, 0, -EOPNOTSUPP, "pixel type 77"},
        {stream, MR_PIXEL_U4, 5, 1, 0, -EOPNOTSUPP, "odd width 5"},
        {chunks, MR_PIXEL_U4, 5, 1, 0, -EOPNOTSUPP, "odd width 5"},
        {stream, MR_PIXEL_U8, 8, 8, 0, -EOPNOTSUPP, "uint8 has no MRC mode"},
        {chunks, MR_PIXEL_F32, MR_WIDTH_MAX, 1, 0, -EOPNOTSUPP, "a row of 16777216 bytes"},
        {chunks, MR_PIXEL_F32, MR_SLAB_BYTES / 4 + 1, 1, 0, -EOPNOTSUPP, "a row of 4194308"},
        {chunks, MR_PIXEL_U16, MR_SLAB_BYTES / 2 + 1, 1, 0, -EOPNOTSUPP, "a row of 4194306"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mr_err err = {0};
        ck_assert_int_eq(try_frames(cases[i].layout, cases[i].pixel, cases[i].width,
                                    cases[i].height, cases[i].offset, &err),
                         cases[i].code);
        ck_assert_int_eq(err.code, cases[i].code);
        ck_assert_msg(strstr(err.text, cases[i].text) != NULL, "%s", err.text);
    }
}
END_TEST

START_TEST(sizes_at_their_limits_are_taken)
{
    static const struct {
        enum mr_layout layout;
        enum mr_pixel pixel;
        uint64_t width, height, offset;
    } cases[] = {{MR_LAYOUT_BYTES, MR_PIXEL_F32, MR_WIDTH_MAX, MR_HEIGHT_MAX, 1ull << 32},
                 {MR_LAYOUT_BYTES, MR_PIXEL_U4, 5, 1, 0}, /* as it is: no row is taken apart */
                 {MR_LAYOUT_BYTES, MR_PIXEL_U8, 1, 1, 0},
                 {MR_LAYOUT_CHUNKS, MR_PIXEL_F32, MR_SLAB_BYTES / 4, 3, 0},
                 {MR_LAYOUT_CHUNKS, MR_PIXEL_I8, MR_WIDTH_MAX, MR_HEIGHT_MAX, 0},
                 {MR_LAYOUT_CHUNKS, MR_PIXEL_U4, 2, 1, 0},
                 {MR_LAYOUT_STREAM, MR_PIXEL_F32, MR_WIDTH_MAX, MR_HEIGHT_MAX, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mr_geometry g;
        struct mr_err err = {0};
        int code = mr_geometry_frames(cases[i].layout, cases[i].pixel, true, cases[i].width,
                                      cases[i].height, cases[i].offset, 0, &g, &err);
        ck_assert_msg(code == 0, "%s", err.text);
        ck_assert(g.swap_bytes);
        ck_assert_int_eq(mr_geometry_check(&g, &err), 0);
        ck_assert_uint_eq(g.source_data_offset, cases[i].offset);
        ck_assert_uint_eq(g.data_offset, g.layout == MR_LAYOUT_BYTES    ? cases[i].offset
                                         : g.layout == MR_LAYOUT_STREAM ? 65536
                                                                        : 0);
    }
}
END_TEST

/* In KiB: 1 of header, 62 for HDF5, what the source has; up to the next page, at least 64. */
START_TEST(room_for_the_extended_header_is_exact)
{
    static const struct {
        uint64_t ext, offset;
    } cases[] = {{0, 65536},
                 {1, 65536},
                 {1024, 65536},
                 {1025, 65536 + 4096},
                 {1024 + 4096, 65536 + 4096},
                 {1024 + 4097, 65536 + 8192},
                 {1024 * 1024, 1024 * 1024 + 64 * 1024},
                 {(64u << 20) - 65536, 64u << 20}};
    struct mr_geometry g;
    struct mr_err err = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_int_eq(mr_geometry_frames(MR_LAYOUT_STREAM, MR_PIXEL_I8, false, 8, 8, 1024,
                                            cases[i].ext, &g, &err),
                         0);
        ck_assert_uint_eq(g.data_offset, cases[i].offset);
        ck_assert_int_eq(mr_geometry_check(&g, &err), 0);
    }
    ck_assert_int_eq(mr_geometry_frames(MR_LAYOUT_STREAM, MR_PIXEL_I8, false, 8, 8, 1024,
                                        (64u << 20) - 65535, &g, &err),
                     -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "extended header of 67043329 bytes"));
    for (enum mr_layout l = MR_LAYOUT_BYTES; l <= MR_LAYOUT_CHUNKS; l++) /* only STREAM has one */
        ck_assert_int_eq(
            mr_geometry_frames(l, MR_PIXEL_I8, false, 8, 8, 1024, UINT64_MAX, &g, &err),
            l == MR_LAYOUT_STREAM ? -EINVAL : 0);
}
END_TEST

/* Whole frames while two fit, one while one does; else rows, none of them padding where a divisor
 * of the height leaves slabs at least half full. */
START_TEST(chunks_are_cut_by_what_fits)
{
    static const struct {
        uint64_t width, height;
        uint32_t frames, rows, per_frame;
    } cases[] = {
        {1, 1, MR_SLAB_BYTES, 1, 1},
        {2048, 1024, 2, 1024, 1},
        {2048, 1025, 1, 1025, 1},
        {4096, 1024, 1, 1024, 1},
        {4096, 1025, 1, 513, 2}, /* 5 x 205 are too small: one row of padding */
        {4096, 2048, 1, 1024, 2},
        {4096, 1026, 1, 513, 2},
        {MR_SLAB_BYTES, 1, 1, 1, 1},
        {MR_SLAB_BYTES, 7, 1, 1, 7},
        {MR_SLAB_BYTES / 2 + 1, 7, 1, 1, 7},
        {MR_SLAB_BYTES / 3, 5, 1, 3, 2},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mr_geometry g =
            frames_of(MR_LAYOUT_CHUNKS, MR_PIXEL_I8, cases[i].width, cases[i].height, 1024);
        ck_assert_msg(g.frames_per_slab == cases[i].frames && g.rows_per_slab == cases[i].rows &&
                          g.slabs_per_frame == cases[i].per_frame,
                      "case %zu: %u frames, %u rows, %u a frame", i, g.frames_per_slab,
                      g.rows_per_slab, g.slabs_per_frame);
    }
}
END_TEST

/* Changes one field of three layouts: refused, and not equal. */
#define OTHER(change)                                                 \
    do {                                                              \
        for (size_t k = 0; k < 3; k++) {                              \
            struct mr_geometry bad = good[k];                         \
            change;                                                   \
            struct mr_err err = {0};                                  \
            ck_assert(!mr_geometry_equal(&bad, &good[k]));            \
            ck_assert_int_eq(mr_geometry_check(&bad, &err), -EPROTO); \
            ck_assert_int_eq(err.code, -EPROTO);                      \
            ck_assert_int_eq(mr_geometry_check(&bad, NULL), -EPROTO); \
        }                                                             \
    } while (0)

START_TEST(a_peers_geometry_must_follow)
{
    const struct mr_geometry good[] = {
        frames_of(MR_LAYOUT_BYTES, MR_PIXEL_U16, 5760, 4092, 1024),
        frames_of(MR_LAYOUT_STREAM, MR_PIXEL_U16, 5760, 4092, 1024),
        frames_of(MR_LAYOUT_CHUNKS, MR_PIXEL_U16, 5760, 4092, 1024),
    };
    OTHER(bad.rows_per_slab++);
    OTHER(bad.frames_per_slab++);
    OTHER(bad.slabs_per_frame++);
    OTHER(bad.frame_bytes--);
    OTHER(bad.source_frame_bytes++);
    OTHER(bad.data_offset++);
    OTHER(bad.width = 0);
    OTHER(bad.height++);
    OTHER(bad.source_data_offset = UINT64_MAX);
    OTHER(bad.layout = (enum mr_layout)0);
    OTHER(bad.layout = (enum mr_layout)4);
    OTHER(bad.pixel = (enum mr_pixel)200);
    OTHER(bad.pixel = MR_PIXEL_I16);
    OTHER(bad.source_pixel = MR_PIXEL_NONE);
    OTHER(bad.source_pixel = MR_PIXEL_U4);
    for (size_t k = 0; k < 3; k++) {
        struct mr_geometry same = good[k];
        same.swap_bytes = true; /* which follows from nothing */
        ck_assert(!mr_geometry_equal(&same, &good[k]));
        ck_assert_int_eq(mr_geometry_check(&same, NULL), 0);
    }
}
END_TEST

START_TEST(an_opaque_file_has_no_geometry)
{
    struct mr_geometry g;
    memset(&g, 0x55, sizeof(g));
    mr_geometry_opaque(&g);
    ck_assert_int_eq(mr_geometry_check(&g, NULL), 0);
    g.width = 1;
    ck_assert_int_eq(mr_geometry_check(&g, NULL), -EPROTO);
    mr_geometry_opaque(&g);
    g.source_data_offset = 1;
    ck_assert_int_eq(mr_geometry_check(&g, NULL), -EPROTO);
    mr_geometry_opaque(&g);
    g.pixel = MR_PIXEL_I8;
    ck_assert_int_eq(mr_geometry_check(&g, NULL), -EPROTO);
    mr_geometry_opaque(&g);
    g.layout = MR_LAYOUT_STREAM;
    ck_assert_int_eq(mr_geometry_check(&g, NULL), -EPROTO);
}
END_TEST

START_TEST(a_peers_stream_offset_is_bounded)
{
    struct mr_geometry g = frames_of(MR_LAYOUT_STREAM, MR_PIXEL_U16, 5760, 4092, 1024);
    g.data_offset = 64u << 20;
    ck_assert_int_eq(mr_geometry_check(&g, NULL), 0);
    g.data_offset = (64u << 20) + 4096;
    ck_assert_int_eq(mr_geometry_check(&g, NULL), -EPROTO);
    g.data_offset = 65536;
    ck_assert_int_eq(mr_geometry_check(&g, NULL), 0);
    g.data_offset = 65536 - 4096;
    ck_assert_int_eq(mr_geometry_check(&g, NULL), -EPROTO);
    g.data_offset = 65536 + 512;
    ck_assert_int_eq(mr_geometry_check(&g, NULL), -EPROTO);
    g.data_offset = 0;
    ck_assert_int_eq(mr_geometry_check(&g, NULL), -EPROTO);
}
END_TEST

START_TEST(absurd_lengths_saturate)
{
    struct mr_geometry g =
        frames_of(MR_LAYOUT_STREAM, MR_PIXEL_F32, MR_WIDTH_MAX, MR_HEIGHT_MAX, 1024);
    struct mr_extent extent = {UINT64_MAX, UINT64_MAX};
    ck_assert_uint_gt(mr_slab_count(&g, &extent), MR_SLABS_MAX);
    ck_assert_uint_eq(mr_geometry_file_bytes(&g, &extent), UINT64_MAX);
    g = frames_of(MR_LAYOUT_CHUNKS, MR_PIXEL_I8, MR_WIDTH_MAX, MR_HEIGHT_MAX, 1024);
    ck_assert_uint_eq(mr_slab_count(&g, &extent), UINT64_MAX);
}
END_TEST

START_TEST(a_slab_costs_whole_pages_and_one)
{
    static const uint64_t costs[][2] = {{1, 8192},
                                        {4096, 8192},
                                        {4097, 12288},
                                        {MR_SLAB_BYTES - 1, MR_SLAB_COST_MAX},
                                        {MR_SLAB_BYTES, MR_SLAB_COST_MAX}};
    for (size_t i = 0; i < sizeof(costs) / sizeof(costs[0]); i++)
        ck_assert_uint_eq(mr_slab_cost(costs[i][0]), costs[i][1]);
    ck_assert_uint_eq(MR_SLAB_COST_MAX, 4198400);
}
END_TEST

START_TEST(the_last_slab_that_a_movie_may_have_has_a_span)
{
    struct mr_geometry g;
    struct mr_span span;
    mr_geometry_opaque(&g);
    struct mr_extent extent = {0, MR_SLABS_MAX * MR_SLAB_BYTES - 1};
    ck_assert_uint_eq(mr_slab_count(&g, &extent), MR_SLABS_MAX);
    mr_slab_span(&g, &extent, MR_SLABS_MAX - 1, &span);
    ck_assert_uint_eq(span.source_offset, (MR_SLABS_MAX - 1) * MR_SLAB_BYTES);
    ck_assert_uint_eq(span.source_bytes, MR_SLAB_BYTES - 1);
    ck_assert_uint_eq(span.pixel_bytes, 0);
    extent.source_bytes += 2;
    ck_assert_uint_eq(mr_slab_count(&g, &extent), MR_SLABS_MAX + 1);
    ck_assert_uint_eq(mr_geometry_file_bytes(&g, &extent), extent.source_bytes);
    g = frames_of(MR_LAYOUT_STREAM, MR_PIXEL_I8, MR_SLAB_BYTES, 1, 1024);
    extent.frames = MR_SLABS_MAX;
    ck_assert_uint_eq(mr_slab_count(&g, &extent), MR_SLABS_MAX);
    ck_assert_uint_eq(mr_geometry_file_bytes(&g, &extent), 65536 + MR_SLABS_MAX * MR_SLAB_BYTES);
    mr_slab_span(&g, &extent, MR_SLABS_MAX - 1, &span);
    ck_assert_uint_eq(span.file_offset, 65536 + (MR_SLABS_MAX - 1) * MR_SLAB_BYTES);
    g = frames_of(MR_LAYOUT_CHUNKS, MR_PIXEL_I8, MR_SLAB_BYTES, 2, 1024);
    ck_assert_uint_eq(mr_slab_count(&g, &extent), 2 * MR_SLABS_MAX);
    ck_assert_uint_eq(mr_geometry_file_bytes(&g, &extent), 0);
    extent.frames = 0; /* nothing is visible yet */
    ck_assert_uint_eq(mr_slab_count(&g, &extent), 0);
}
END_TEST

MR_SUITE("slab", T(random_movies_are_tiled), T(edges_of_whole_frames), T(camera_chunks),
         T(prime_height_is_balanced), T(keep_knows_its_pixel_part),
         T(keep_slab_of_header_alone_has_no_pixels), T(opaque_files_of_any_size),
         T(stream_makes_room_for_the_extended_header), T(absurd_sizes_are_refused),
         T(sizes_at_their_limits_are_taken), T(room_for_the_extended_header_is_exact),
         T(chunks_are_cut_by_what_fits), T(an_opaque_file_has_no_geometry),
         T(a_slab_costs_whole_pages_and_one), T(the_last_slab_that_a_movie_may_have_has_a_span),
         T(a_peers_geometry_must_follow), T(a_peers_stream_offset_is_bounded),
         T(absurd_lengths_saturate))
