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
    struct mr_err err = {0};
    enum mr_layout bytes = MR_LAYOUT_BYTES, chunks = MR_LAYOUT_CHUNKS, stream = MR_LAYOUT_STREAM;
    ck_assert_int_eq(try_frames(bytes, MR_PIXEL_I8, 0, 1, 0, &err), -EINVAL);
    ck_assert_int_eq(try_frames(bytes, MR_PIXEL_I8, 1, 0, 0, &err), -EINVAL);
    ck_assert_int_eq(try_frames(bytes, MR_PIXEL_I8, 1ull << 31, 1, 0, &err), -EINVAL);
    ck_assert_int_eq(try_frames(bytes, MR_PIXEL_I8, 1, UINT64_MAX, 0, &err), -EINVAL);
    ck_assert_int_eq(try_frames(bytes, MR_PIXEL_I8, 1, 1, UINT64_MAX, &err), -EINVAL);
    ck_assert_int_eq(try_frames(bytes, MR_PIXEL_NONE, 1, 1, 0, &err), -EOPNOTSUPP);
    ck_assert_int_eq(try_frames(bytes, (enum mr_pixel)77, 1, 1, 0, &err), -EOPNOTSUPP);
    ck_assert_int_eq(try_frames(stream, MR_PIXEL_U4, 5, 1, 0, &err), -EOPNOTSUPP);
    ck_assert_int_eq(try_frames(chunks, MR_PIXEL_U4, 5, 1, 0, &err), -EOPNOTSUPP);
    ck_assert_int_eq(try_frames(stream, MR_PIXEL_U8, 8, 8, 0, &err), -EOPNOTSUPP);
    ck_assert_int_eq(try_frames(chunks, MR_PIXEL_F32, MR_WIDTH_MAX, 1, 0, &err), -EOPNOTSUPP);
}
END_TEST

START_TEST(a_peers_geometry_must_follow)
{
    struct mr_geometry good = frames_of(MR_LAYOUT_CHUNKS, MR_PIXEL_U16, 5760, 4092, 1024);
    struct mr_err err = {0};
    struct mr_geometry bad = good;
    bad.rows_per_slab = 0;
    ck_assert_int_eq(mr_geometry_check(&bad, &err), -EPROTO);
    bad = good, bad.slabs_per_frame = 0;
    ck_assert_int_eq(mr_geometry_check(&bad, &err), -EPROTO);
    bad = good, bad.frame_bytes--;
    ck_assert_int_eq(mr_geometry_check(&bad, &err), -EPROTO);
    bad = good, bad.width = 0;
    ck_assert_int_eq(mr_geometry_check(&bad, &err), -EPROTO);
    ck_assert_int_eq(err.code, -EPROTO);
    bad = good, bad.layout = (enum mr_layout)0;
    ck_assert_int_eq(mr_geometry_check(&bad, &err), -EPROTO);
    bad = good, bad.pixel = (enum mr_pixel)200;
    ck_assert_int_eq(mr_geometry_check(&bad, NULL), -EPROTO);
}
END_TEST

START_TEST(a_peers_stream_offset_is_bounded)
{
    struct mr_geometry g = frames_of(MR_LAYOUT_STREAM, MR_PIXEL_U16, 5760, 4092, 1024);
    g.data_offset = 64u << 20;
    ck_assert_int_eq(mr_geometry_check(&g, NULL), 0);
    g.data_offset = (64u << 20) + 4096;
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

MR_SUITE("slab", T(random_movies_are_tiled), T(edges_of_whole_frames), T(camera_chunks),
         T(prime_height_is_balanced), T(keep_knows_its_pixel_part),
         T(keep_slab_of_header_alone_has_no_pixels), T(opaque_files_of_any_size),
         T(stream_makes_room_for_the_extended_header), T(absurd_sizes_are_refused),
         T(a_peers_geometry_must_follow), T(a_peers_stream_offset_is_bounded),
         T(absurd_lengths_saturate))
