/* SPDX-License-Identifier: Apache-2.0 */
/* How many bytes is a row, and which MRC mode is it? */
#include "suite.h"
#include "wire/pixel.h"

/* What is on the wire and in events, so written out once more. */
static const struct {
    enum mr_pixel pixel;
    unsigned number;
    const char *name;
    uint32_t bytes;
    int mode;
    uint64_t row_of_5, row_of_5760;
} types[] = {
    {MR_PIXEL_NONE, 0, "none", 1, -1, 5, 5760},    {MR_PIXEL_I8, 1, "int8", 1, 0, 5, 5760},
    {MR_PIXEL_U8, 2, "uint8", 1, -1, 5, 5760},     {MR_PIXEL_I16, 3, "int16", 2, 1, 10, 11520},
    {MR_PIXEL_U16, 4, "uint16", 2, 6, 10, 11520},  {MR_PIXEL_F16, 5, "float16", 2, 12, 10, 11520},
    {MR_PIXEL_F32, 6, "float32", 4, 2, 20, 23040}, {MR_PIXEL_U4, 7, "uint4", 1, 101, 3, 2880},
};

START_TEST(each_type_is_what_the_table_says)
{
    ck_assert_uint_eq(sizeof(types) / sizeof(types[0]), MR_PIXEL_COUNT);
    for (size_t i = 0; i < MR_PIXEL_COUNT; i++) {
        enum mr_pixel pixel = types[i].pixel;
        ck_assert_uint_eq(pixel, types[i].number);
        ck_assert_str_eq(mr_pixel_name(pixel), types[i].name);
        ck_assert_uint_eq(mr_pixel_bytes(pixel), types[i].bytes);
        ck_assert_int_eq(mr_pixel_mrc_mode(pixel), types[i].mode);
        ck_assert_uint_eq(mr_pixel_row_bytes(pixel, 5), types[i].row_of_5);
        ck_assert_uint_eq(mr_pixel_row_bytes(pixel, 5760), types[i].row_of_5760);
        ck_assert_uint_eq(mr_pixel_row_bytes(pixel, 0), 0);
        ck_assert(mr_pixel_valid(types[i].number));
        if (types[i].mode >= 0)
            ck_assert_int_eq(mr_pixel_from_mrc_mode(types[i].mode), pixel);
    }
    ck_assert_uint_eq(mr_pixel_row_bytes(MR_PIXEL_U4, 1), 1);
    ck_assert_uint_eq(mr_pixel_row_bytes(MR_PIXEL_U4, 2), 1);
}
END_TEST

START_TEST(unknown_modes_and_values)
{
    static const int modes[] = {-1, 3, 4, 5, 7, 16, 100, 102, 1 << 30};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        ck_assert_int_eq(mr_pixel_from_mrc_mode(modes[i]), MR_PIXEL_NONE);
    }
    ck_assert(mr_pixel_valid(MR_PIXEL_NONE));
    ck_assert(mr_pixel_valid(MR_PIXEL_U4));
    ck_assert(!mr_pixel_valid(MR_PIXEL_COUNT));
    ck_assert(!mr_pixel_valid(0xffffffffu));
}
END_TEST

MR_SUITE("pixel", T(each_type_is_what_the_table_says), T(unknown_modes_and_values))
