/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does the description of a movie stay where it may lie, whatever is known of the movie, and does
 * it depend on nothing but the movie? (That readers understand it is integration/check_seal's
 * affair.)
 */
#include "seal_hdf5.h"
#include "suite.h"

#include <errno.h>
#include <hdf5.h>
#include <math.h>
#include <string.h>

static const uint8_t signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1A, '\n'};

static struct mr_geometry geometry(enum mr_layout layout, enum mr_pixel pixel, uint64_t width,
                                   uint64_t height)
{
    struct mr_geometry g;
    ck_assert_int_eq(mr_geometry_frames(layout, pixel, false, width, height, 1024, 0, &g, NULL), 0);
    return g;
}

/* Three frames of two slabs each. */
#define SLABS 6
#define STEP  (8u << 20)
#define END   (MR_SEAL_HDF5_RESERVED + (uint64_t)SLABS * STEP)

static struct mr_geometry chunk_geometry(void)
{
    struct mr_geometry g = geometry(MR_LAYOUT_CHUNKS, MR_PIXEL_U16, 2048, 2000);
    ck_assert_uint_eq(g.slabs_per_frame, 2);
    return g;
}

static void place(struct mr_chunk chunks[SLABS])
{
    for (size_t i = 0; i < SLABS; i++)
        chunks[i] = (struct mr_chunk){i, MR_SEAL_HDF5_RESERVED + i * STEP, 1000 + i, true};
}

static int seal(const struct mr_chunk *chunks, size_t count, uint64_t end, enum mr_codec_id codec,
                struct mr_image *ret, struct mr_err *err)
{
    struct mr_geometry g = chunk_geometry();
    struct mr_extent extent = {.frames = 3};
    struct mr_movie_notes notes = {.title = "grid7_001", .mdoc = "T = 1\r\n", .frame_time_s = 0.04};
    return mr_seal_hdf5_chunked(&g, &extent, codec, chunks, count, end, &notes, ret, err);
}

static void assert_same(const struct mr_image *a, const struct mr_image *b)
{
    ck_assert_uint_eq(a->count, b->count);
    ck_assert_uint_eq(a->file_bytes, b->file_bytes);
    for (size_t i = 0; i < a->count; i++) {
        ck_assert_uint_eq(a->pieces[i].offset, b->pieces[i].offset);
        ck_assert_uint_eq(a->pieces[i].bytes, b->pieces[i].bytes);
        ck_assert(memcmp(a->pieces[i].data, b->pieces[i].data, a->pieces[i].bytes) == 0);
    }
}

static bool image_has(const struct mr_image *image, const void *bytes, size_t size)
{
    for (size_t i = 0; i < image->count; i++)
        if (memmem(image->pieces[i].data, image->pieces[i].bytes, bytes, size))
            return true;
    return false;
}

START_TEST(chunked_metadata_lies_around_the_slabs)
{
    struct mr_chunk chunks[SLABS];
    struct mr_image image;
    place(chunks);
    ck_assert_int_eq(seal(chunks, SLABS, END - 1, MR_CODEC_BSLZ4, &image, NULL), 0);
    ck_assert_uint_eq(image.count, 2);
    ck_assert_uint_eq(image.pieces[0].offset, 0);
    ck_assert_uint_le(image.pieces[0].bytes, MR_SEAL_HDF5_RESERVED);
    ck_assert(memcmp(image.pieces[0].data, signature, sizeof(signature)) == 0);
    ck_assert_uint_eq(image.pieces[1].offset, END);
    ck_assert_uint_eq(image.pieces[1].offset % MR_SLAB_ALIGN, 0);
    ck_assert_uint_eq(image.file_bytes, image.pieces[1].offset + image.pieces[1].bytes);
    ck_assert_str_eq(image.left_out, "");
    mr_image_free(&image);
    mr_image_free(&image); /* a zeroed one */
}
END_TEST

START_TEST(order_of_arrival_leaves_no_trace)
{
    struct mr_chunk chunks[SLABS], reversed[SLABS];
    struct mr_image first, second;
    place(chunks);
    for (size_t i = 0; i < SLABS; i++)
        reversed[i] = chunks[SLABS - 1 - i];
    ck_assert_int_eq(seal(chunks, SLABS, END, MR_CODEC_BSZSTD, &first, NULL), 0);
    ck_assert_int_eq(seal(reversed, SLABS, END, MR_CODEC_BSZSTD, &second, NULL), 0);
    assert_same(&first, &second);
    mr_image_free(&first);
    mr_image_free(&second);
}
END_TEST

static void assert_refused(const struct mr_chunk *chunks, size_t count, uint64_t end,
                           enum mr_codec_id codec, const char *said)
{
    struct mr_image untouched = {.count = 77}, image = untouched;
    struct mr_err err = {0};
    ck_assert_int_eq(seal(chunks, count, end, codec, &image, &err), -EINVAL);
    ck_assert_msg(strstr(err.text, said), "%s", err.text);
    ck_assert_uint_eq(image.count, 77);
}

START_TEST(damaged_placements_are_refused)
{
    struct mr_chunk chunks[SLABS];
    place(chunks);
    assert_refused(chunks, SLABS - 1, END, MR_CODEC_BSLZ4, "5 slabs placed of 6");
    assert_refused(chunks, SLABS, END - STEP, MR_CODEC_BSLZ4, "slab 5 lies at");
    assert_refused(chunks, SLABS, END - STEP + 1004, MR_CODEC_BSLZ4, "slab 5 lies at");
    assert_refused(chunks, SLABS, 0, MR_CODEC_BSLZ4, "data cannot end at 0");
    assert_refused(chunks, SLABS, UINT64_MAX, MR_CODEC_BSLZ4, "data cannot end at");
    chunks[2].index = 3;
    assert_refused(chunks, SLABS, END, MR_CODEC_BSLZ4, "slab 2 is missing");
    place(chunks);
    chunks[2].index = UINT64_MAX;
    assert_refused(chunks, SLABS, END, MR_CODEC_BSLZ4, "slab 2 is missing");
    place(chunks);
    chunks[0].offset = MR_SEAL_HDF5_RESERVED - 1;
    assert_refused(chunks, SLABS, END, MR_CODEC_BSLZ4, "slab 0 lies at 4095");
    place(chunks);
    chunks[4].stored_bytes = 0;
    assert_refused(chunks, SLABS, END, MR_CODEC_BSLZ4, "slab 4 of 0 stored bytes");
    chunks[4].stored_bytes = UINT64_MAX;
    assert_refused(chunks, SLABS, END, MR_CODEC_BSLZ4, "slab 4 lies at");
}
END_TEST

/* A raw slab that is not a whole chunk would read back wrong, and libhdf5 would not say so. */
START_TEST(raw_slabs_are_full_size)
{
    struct mr_chunk chunks[SLABS];
    struct mr_image image;
    const uint64_t full = 2048 * 2 * 1000;
    place(chunks);
    assert_refused(chunks, SLABS, END, MR_CODEC_NONE, "slab 0 of 1000 stored bytes, not 4096000");
    chunks[3].filtered = false;
    assert_refused(chunks, SLABS, END, MR_CODEC_BSLZ4, "slab 3 of 1003 stored bytes");
    chunks[3].stored_bytes = full;
    ck_assert_int_eq(seal(chunks, SLABS, END, MR_CODEC_BSLZ4, &image, NULL), 0);
    mr_image_free(&image);
    for (size_t i = 0; i < SLABS; i++)
        chunks[i].stored_bytes = full;
    ck_assert_int_eq(seal(chunks, SLABS, END, MR_CODEC_NONE, &image, NULL), 0);
    mr_image_free(&image);
}
END_TEST

static herr_t prepend(hid_t plist, hid_t type, hid_t space)
{
    unsigned values[5] = {9, 8}, flags, config;
    size_t count = 2;
    (void)space;
    H5Pget_filter_by_id2(plist, 32008, &flags, &count, values + 3, 0, NULL, &config);
    values[2] = (unsigned)H5Tget_size(type);
    return H5Pmodify_filter(plist, 32008, flags, 5, values);
}

static size_t unused_filter(unsigned flags, size_t count, const unsigned *values, size_t bytes,
                            size_t *size, void **data)
{
    (void)flags, (void)count, (void)values, (void)bytes, (void)size, (void)data;
    return 0;
}

/* What is stored must be {element bytes, block elements, 2} after the version, plugin or not. */
START_TEST(filter_values_are_right_with_and_without_a_plugin)
{
    struct mr_chunk chunks[SLABS];
    struct mr_image image;
    const uint32_t without[5] = {0, 4, 2, mr_codec_block_elements(2), 2};
    const uint32_t with[5] = {9, 8, 2, mr_codec_block_elements(2), 2};
    const H5Z_class2_t plugin = {H5Z_CLASS_T_VERS, 32008, 1,       1,
                                 "a plugin",       NULL,  prepend, unused_filter};
    place(chunks);
    ck_assert_int_eq(seal(chunks, SLABS, END, MR_CODEC_BSLZ4, &image, NULL), 0);
    ck_assert(image_has(&image, without, sizeof(without)));
    mr_image_free(&image);
    ck_assert_int_ge(H5Zregister(&plugin), 0);
    ck_assert_int_eq(seal(chunks, SLABS, END, MR_CODEC_BSLZ4, &image, NULL), 0);
    ck_assert(image_has(&image, with, sizeof(with)));
    mr_image_free(&image);
    ck_assert_int_ge(H5Zunregister(32008), 0);
}
END_TEST

/* ---- contiguous ---- */

static char long_text[200001];
static uint8_t source_header[1024];

static struct mr_movie_notes full_notes(size_t mdoc_bytes)
{
    memset(long_text, 'm', sizeof(long_text));
    long_text[mdoc_bytes] = '\0';
    memset(source_header, 0xA5, sizeof(source_header));
    return (struct mr_movie_notes){.title = "grid7_001",
                                   .source_path = "/data/movies/grid7_001.mrc",
                                   .mdoc = long_text,
                                   .pixel_size_angstrom = 0.834,
                                   .source_header = source_header,
                                   .source_header_bytes = sizeof(source_header)};
}

/* Seals and asserts that the metadata stays before the pixels. */
static void seal_stream(uint64_t width, uint64_t height, uint64_t frames,
                        const struct mr_movie_notes *notes, struct mr_image *ret)
{
    struct mr_geometry g = geometry(MR_LAYOUT_STREAM, MR_PIXEL_I8, width, height);
    struct mr_extent extent = {.frames = frames};
    struct mr_err err = {0};
    int code = mr_seal_hdf5_contiguous(&g, &extent, notes, ret, &err);
    ck_assert_msg(code == 0, "%s", err.text);
    ck_assert_uint_eq(ret->count, 1);
    ck_assert_uint_eq(ret->pieces[0].offset, 1024);
    ck_assert_uint_le(1024 + ret->pieces[0].bytes, g.data_offset);
    ck_assert(memcmp(ret->pieces[0].data, signature, sizeof(signature)) == 0);
    ck_assert_uint_eq(ret->file_bytes, g.data_offset + g.frame_bytes * frames);
}

START_TEST(contiguous_metadata_lies_before_the_pixels)
{
    struct mr_movie_notes notes = full_notes(500);
    struct mr_image image, again;
    seal_stream(5760, 4092, 40, &notes, &image);
    ck_assert_str_eq(image.left_out, "");
    ck_assert(image_has(&image, source_header, sizeof(source_header)));
    seal_stream(5760, 4092, 40, &notes, &again);
    assert_same(&image, &again);
    mr_image_free(&image);
    mr_image_free(&again);
}
END_TEST

START_TEST(what_has_no_room_is_left_out_and_named)
{
    struct mr_movie_notes notes = full_notes(200000);
    struct mr_image image;
    seal_stream(64, 64, 3, &notes, &image);
    ck_assert_str_eq(image.left_out, "mdoc"); /* the header fits all the same */
    ck_assert(!image_has(&image, "mmmm", 4));
    ck_assert(image_has(&image, source_header, sizeof(source_header)));
    mr_image_free(&image);

    notes = full_notes(1000);
    seal_stream(11520, 8184, 3, &notes, &image);
    ck_assert_str_eq(image.left_out, "dim2,dim3");
    mr_image_free(&image);
    seal_stream(64, 64, 1u << 31, &notes, &image);
    ck_assert_str_eq(image.left_out, "dim1");
    mr_image_free(&image);
}
END_TEST

/* At no length of the mdoc may the edge of the room be missed. */
START_TEST(room_is_never_overrun)
{
    bool in = false, out = false;
    for (size_t bytes = 40000; bytes <= 64000; bytes += 997) {
        struct mr_movie_notes notes = full_notes(bytes);
        struct mr_image image;
        seal_stream(64, 64, 3, &notes, &image);
        *(image.left_out[0] ? &out : &in) = true;
        mr_image_free(&image);
    }
    ck_assert(in && out);
}
END_TEST

START_TEST(unknown_and_odd_notes)
{
    struct mr_movie_notes none = {.pixel_size_angstrom = NAN, .dose_rate = -1}, odd = none;
    struct mr_image image;
    seal_stream(64, 64, 1, &none, &image);
    ck_assert_str_eq(image.left_out, "");
    mr_image_free(&image);
    static const char *const titles[] = {".", "..", "a/b", "/", "\xC3\xBC", ""};
    for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++) {
        odd.title = titles[i];
        seal_stream(64, 64, 1, &odd, &image);
        mr_image_free(&image);
    }
    full_notes(4096);
    odd.title = long_text; /* as a link's name it is cut */
    seal_stream(64, 64, 1, &odd, &image);
    ck_assert_str_eq(image.left_out, "");
    mr_image_free(&image);
    full_notes(4097);
    seal_stream(64, 64, 1, &odd, &image);
    ck_assert_str_eq(image.left_out, "title");
    mr_image_free(&image);
}
END_TEST

START_TEST(absurd_extents_are_refused)
{
    struct mr_geometry g = geometry(MR_LAYOUT_STREAM, MR_PIXEL_F32, MR_WIDTH_MAX, MR_HEIGHT_MAX);
    struct mr_movie_notes notes = {.title = "x"};
    struct mr_image image = {.count = 77};
    struct mr_err err = {0};
    struct mr_extent extent = {.frames = MR_FRAMES_MAX};
    ck_assert_int_eq(mr_seal_hdf5_contiguous(&g, &extent, &notes, &image, &err), -EINVAL);
    extent.frames = 0;
    ck_assert_int_eq(mr_seal_hdf5_contiguous(&g, &extent, &notes, &image, &err), -EINVAL);
    g = geometry(MR_LAYOUT_STREAM, MR_PIXEL_F32, 64, 64);
    g.data_offset = 4096; /* too little for any tree: said, not overrun */
    extent.frames = 1;
    ck_assert_int_eq(mr_seal_hdf5_contiguous(&g, &extent, &notes, &image, &err), -ENOSPC);
    ck_assert_uint_eq(image.count, 77);
}
END_TEST

MR_SUITE("seal_hdf5", T(chunked_metadata_lies_around_the_slabs),
         T(order_of_arrival_leaves_no_trace), T(damaged_placements_are_refused),
         T(raw_slabs_are_full_size), T(filter_values_are_right_with_and_without_a_plugin),
         T(contiguous_metadata_lies_before_the_pixels), T(what_has_no_room_is_left_out_and_named),
         T(room_is_never_overrun), T(unknown_and_odd_notes), T(absurd_extents_are_refused))
