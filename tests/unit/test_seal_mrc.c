/* SPDX-License-Identifier: Apache-2.0 */
/* Is the start of a bilingual movie an MRC header and an HDF5 superblock, and nothing else? */
#include "seal_mrc.h"
#include "suite.h"
#include "wire/mrc_header.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static const struct mr_stats_summary known = {0, 7, 1.5f, 1.25f, true};

static struct mr_geometry geometry(uint64_t ext_bytes)
{
    struct mr_geometry g;
    ck_assert_int_eq(mr_geometry_frames(MR_LAYOUT_STREAM, MR_PIXEL_U16, false, 512, 256, 1024,
                                        ext_bytes, &g, NULL),
                     0);
    return g;
}

static struct mr_mrc_header decode(const struct mr_image *image)
{
    struct mr_mrc_header header;
    ck_assert_int_eq(mr_mrc_header_decode(image->pieces[0].data, &header, NULL), 0);
    return header;
}

START_TEST(both_formats_are_there)
{
    struct mr_geometry g = geometry(0);
    struct mr_extent extent = {.frames = 40};
    struct mr_movie_notes notes = {.title = "movie", .pixel_size_angstrom = 1.08};
    struct mr_image image;
    ck_assert_int_eq(mr_seal_mrc(&g, &extent, &known, &notes, &image, NULL), 0);
    ck_assert_uint_eq(image.count, 1);
    ck_assert_uint_eq(image.pieces[0].offset, 0);
    ck_assert_uint_eq(image.pieces[0].bytes, g.data_offset);
    ck_assert_uint_eq(image.file_bytes, g.data_offset + 40 * 512 * 256 * 2);
    struct mr_mrc_header header = decode(&image);
    ck_assert_int_eq(header.nx, 512);
    ck_assert_int_eq(header.ny, 256);
    ck_assert_int_eq(header.nz, 40);
    ck_assert_int_eq(header.mode, 6);
    ck_assert_uint_eq(mr_mrc_data_offset(&header), g.data_offset);
    ck_assert_str_eq(header.exttyp, "HDF5");
    ck_assert_float_eq(header.dmean, 1.5f);
    ck_assert_double_eq_tol(header.pixel_size_angstrom, 1.08, 1e-5);
    ck_assert(memcmp(image.pieces[0].data + 1024, "\x89HDF\r\n\x1a\n", 8) == 0);
    mr_image_free(&image);
}
END_TEST

START_TEST(gap_before_the_pixels_is_zero)
{
    struct mr_geometry g = geometry(909312);
    struct mr_extent extent = {.frames = 1};
    struct mr_movie_notes notes = {.title = "movie"};
    struct mr_image image;
    ck_assert_int_eq(mr_seal_mrc(&g, &extent, &known, &notes, &image, NULL), 0);
    ck_assert_uint_gt(g.data_offset, 909312);
    const uint8_t *gap =
        image.pieces[0].data + 65536; /* a byte equal to the next, the first zero */
    ck_assert(gap[0] == 0 && memcmp(gap, gap + 1, g.data_offset - 65536 - 1) == 0);
    mr_image_free(&image);
}
END_TEST

START_TEST(source_header_fits_where_room_was_made)
{
    static uint8_t source[1024 + 909312];
    memset(source, 0xA5, sizeof(source));
    struct mr_geometry g = geometry(909312);
    struct mr_extent extent = {.frames = 3};
    struct mr_movie_notes notes = {
        .title = "movie", .source_header = source, .source_header_bytes = sizeof(source)};
    struct mr_image image;
    ck_assert_int_eq(mr_seal_mrc(&g, &extent, &known, &notes, &image, NULL), 0);
    ck_assert_str_eq(image.left_out, "");
    ck_assert_ptr_nonnull(
        memmem(image.pieces[0].data, image.pieces[0].bytes, source, sizeof(source)));
    mr_image_free(&image);
    g = geometry(0);
    ck_assert_int_eq(mr_seal_mrc(&g, &extent, &known, &notes, &image, NULL), 0);
    ck_assert_str_eq(image.left_out, "source_header");
    mr_image_free(&image);
}
END_TEST

START_TEST(unknown_is_said_as_mrc_says_it)
{
    struct mr_geometry g = geometry(0);
    struct mr_extent extent = {.frames = 1};
    struct mr_movie_notes notes = {.pixel_size_angstrom = NAN};
    struct mr_stats_summary unknown = {0, -1, -2, -1, false};
    struct mr_image image;
    ck_assert_int_eq(mr_seal_mrc(&g, &extent, &unknown, &notes, &image, NULL), 0);
    struct mr_mrc_header header = decode(&image);
    ck_assert(header.pixel_size_angstrom == 0);
    ck_assert(header.dmax < header.dmin && header.dmean < header.dmax && header.rms < 0);
    mr_image_free(&image);
}
END_TEST

START_TEST(errors_pass_through)
{
    struct mr_geometry g = geometry(0);
    struct mr_extent extent = {.frames = 0};
    struct mr_movie_notes notes = {.title = "movie"};
    struct mr_image image = {.count = 77};
    struct mr_err err = {0};
    ck_assert_int_eq(mr_seal_mrc(&g, &extent, &known, &notes, &image, &err), -EINVAL);
    ck_assert_str_ne(err.text, "");
    ck_assert_uint_eq(image.count, 77);
    extent.frames = 1;
    ck_assert_int_eq(mr_seal_mrc(&g, &extent, &known, &notes, &image, NULL), 0);
    mr_image_free(&image);
}
END_TEST

MR_SUITE("seal_mrc", T(both_formats_are_there), T(gap_before_the_pixels_is_zero),
         T(source_header_fits_where_room_was_made), T(unknown_is_said_as_mrc_says_it),
         T(errors_pass_through))
