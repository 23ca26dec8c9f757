/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a geometry in a journal of today read by the agents to come, byte for byte where it stands
 * now, and is what never was one refused?
 */
#include "geometry_blob.h"
#include "suite.h"

#include <string.h>

static struct mr_err err;

static struct mr_geometry frames(enum mr_layout layout, enum mr_pixel pixel, bool swap,
                                 uint64_t width, uint64_t height)
{
    struct mr_geometry g;
    int r = mr_geometry_frames(layout, pixel, swap, width, height, 1024 + 768, 768, &g, &err);
    ck_assert_msg(r == 0, "%s", err.text);
    return g;
}

/* In the order of the fields, little-endian, and zeros behind. */
START_TEST(each_byte_stands_where_it_stood)
{
    static const uint8_t expected[MR_GEOMETRY_BLOB_BYTES] = {
        2,    4,    4,    1,                /* STREAM, pixels of source and movie, swapped */
        0x80, 0x16, 0,    0,    0, 0, 0, 0, /* 5760 wide */
        0xfc, 0x0f, 0,    0,    0, 0, 0, 0, /* 4092 high */
        0x00, 0x07, 0,    0,    0, 0, 0, 0, /* pixels begin at 1792 */
        0x00, 0x4c, 0xcf, 0x02, 0, 0, 0, 0, /* bytes of a frame: source */
        0x00, 0x4c, 0xcf, 0x02, 0, 0, 0, 0, /* and movie */
        0x00, 0x00, 0x01, 0,    0, 0, 0, 0, /* pixels of the movie begin at 65536 */
    };
    uint8_t blob[MR_GEOMETRY_BLOB_BYTES];
    const struct mr_geometry g = frames(MR_LAYOUT_STREAM, MR_PIXEL_U16, true, 5760, 4092);
    memset(blob, 0xee, sizeof(blob));
    mr_geometry_blob_encode(&g, blob);
    ck_assert_mem_eq(blob, expected, sizeof(blob));
}
END_TEST

START_TEST(every_layout_comes_back_as_it_was)
{
    static const struct {
        enum mr_layout layout;
        enum mr_pixel pixel;
        bool swap;
        uint64_t width, height;
    } rows[] = {{MR_LAYOUT_BYTES, MR_PIXEL_I8, false, 64, 32},
                {MR_LAYOUT_BYTES, MR_PIXEL_F32, true, 5760, 4092},
                {MR_LAYOUT_STREAM, MR_PIXEL_I16, true, 64, 32},
                {MR_LAYOUT_STREAM, MR_PIXEL_U4, false, 64, 32},
                {MR_LAYOUT_CHUNKS, MR_PIXEL_U4, false, 64, 32},
                {MR_LAYOUT_CHUNKS, MR_PIXEL_U16, true, 5760, 4092},
                {MR_LAYOUT_CHUNKS, MR_PIXEL_I8, false, 11520, 8184},
                {MR_LAYOUT_CHUNKS, MR_PIXEL_I8, false, 1, 1}};
    uint8_t blob[MR_GEOMETRY_BLOB_BYTES];
    struct mr_geometry g, back;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        g = frames(rows[i].layout, rows[i].pixel, rows[i].swap, rows[i].width, rows[i].height);
        mr_geometry_blob_encode(&g, blob);
        memset(&back, 0xee, sizeof(back));
        ck_assert_msg(mr_geometry_blob_decode(blob, sizeof(blob), &back), "row %zu", i);
        ck_assert_msg(mr_geometry_equal(&g, &back), "row %zu", i);
    }
    mr_geometry_opaque(&g);
    mr_geometry_blob_encode(&g, blob);
    ck_assert(mr_geometry_blob_decode(blob, sizeof(blob), &back));
    ck_assert(mr_geometry_equal(&g, &back));
}
END_TEST

START_TEST(another_length_is_none)
{
    uint8_t blob[MR_GEOMETRY_BLOB_BYTES + 1] = {0};
    const struct mr_geometry g = frames(MR_LAYOUT_CHUNKS, MR_PIXEL_I8, false, 64, 32);
    struct mr_geometry back;
    mr_geometry_blob_encode(&g, blob);
    for (size_t bytes = 0; bytes <= sizeof(blob); bytes++)
        ck_assert(mr_geometry_blob_decode(blob, bytes, &back) == (bytes == MR_GEOMETRY_BLOB_BYTES));
    ck_assert(!mr_geometry_blob_decode(NULL, 0, &back)); /* a column that is NULL */
}
END_TEST

/* Each field hangs on the others: one that is off by one is no geometry, but for where the source's
 * pixels begin, and whether they are swapped. */
START_TEST(a_field_that_does_not_fit_is_refused)
{
    static const struct {
        size_t at;
        bool free;
    } fields[] = {{0, false},  {1, false},  {2, false},  {3, true},   {4, false},
                  {12, false}, {20, true},  {28, false}, {36, false}, {44, false},
                  {52, false}, {56, false}, {60, false}};
    uint8_t blob[MR_GEOMETRY_BLOB_BYTES];
    const struct mr_geometry g = frames(MR_LAYOUT_CHUNKS, MR_PIXEL_U16, true, 5760, 4092);
    struct mr_geometry back;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        mr_geometry_blob_encode(&g, blob);
        blob[fields[i].at] ^= 1;
        ck_assert_msg(mr_geometry_blob_decode(blob, sizeof(blob), &back) == fields[i].free,
                      "byte %zu", fields[i].at);
    }
    memset(blob, 0, sizeof(blob));
    ck_assert(!mr_geometry_blob_decode(blob, sizeof(blob), &back));
    memset(blob, 0xff, sizeof(blob));
    ck_assert(!mr_geometry_blob_decode(blob, sizeof(blob), &back));
}
END_TEST

MR_SUITE("geometry_blob", T(each_byte_stands_where_it_stood), T(every_layout_comes_back_as_it_was),
         T(another_length_is_none), T(a_field_that_does_not_fit_is_refused))
