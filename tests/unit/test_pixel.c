/* SPDX-License-Identifier: Apache-2.0 */
/* How many bytes is a row, and which MRC mode is it? */
#include "suite.h"
#include "wire/pixel.h"

START_TEST(rows_of_each_type)
{
    ck_assert_uint_eq(mr_pixel_row_bytes(MR_PIXEL_I8, 5760), 5760);
    ck_assert_uint_eq(mr_pixel_row_bytes(MR_PIXEL_U16, 5760), 11520);
    ck_assert_uint_eq(mr_pixel_row_bytes(MR_PIXEL_F16, 3), 6);
    ck_assert_uint_eq(mr_pixel_row_bytes(MR_PIXEL_F32, 3), 12);
    ck_assert_uint_eq(mr_pixel_row_bytes(MR_PIXEL_U4, 5760), 2880);
    ck_assert_uint_eq(mr_pixel_row_bytes(MR_PIXEL_U4, 5), 3);
    ck_assert_uint_eq(mr_pixel_row_bytes(MR_PIXEL_U4, 1), 1);
}
END_TEST

START_TEST(modes_both_ways)
{
    static const int modes[] = {0, 1, 2, 6, 12, 101};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        enum mr_pixel pixel = mr_pixel_from_mrc_mode(modes[i]);
        ck_assert_int_ne(pixel, MR_PIXEL_NONE);
        ck_assert_int_eq(mr_pixel_mrc_mode(pixel), modes[i]);
    }
    ck_assert_int_eq(mr_pixel_mrc_mode(MR_PIXEL_U8), -1);
    ck_assert_int_eq(mr_pixel_mrc_mode(MR_PIXEL_NONE), -1);
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

START_TEST(names_are_the_events)
{
    ck_assert_str_eq(mr_pixel_name(MR_PIXEL_I8), "int8");
    ck_assert_str_eq(mr_pixel_name(MR_PIXEL_U16), "uint16");
    ck_assert_str_eq(mr_pixel_name(MR_PIXEL_F32), "float32");
    ck_assert_str_eq(mr_pixel_name(MR_PIXEL_U4), "uint4");
}
END_TEST

MR_SUITE("pixel", T(rows_of_each_type), T(modes_both_ways), T(unknown_modes_and_values),
         T(names_are_the_events))
