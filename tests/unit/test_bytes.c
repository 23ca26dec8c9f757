/* SPDX-License-Identifier: Apache-2.0 */
/* Can a message read or write past its end, and does a failure stick? */
#include "base/bytes.h"
#include "suite.h"

#include <math.h>
#include <string.h>

START_TEST(what_is_written_is_read)
{
    uint8_t data[128];
    struct mr_writer w = mr_writer_init(data, sizeof(data));
    mr_write_u8(&w, 0xfe);
    mr_write_u16(&w, 0xfedc);
    mr_write_u32(&w, 0xfedcba98u);
    mr_write_u64(&w, UINT64_MAX - 1);
    mr_write_i64(&w, INT64_MIN);
    mr_write_f64(&w, -0.1);
    mr_write_str(&w, "k3-krios1");
    mr_write_str(&w, "");
    mr_write_raw(&w, "xyz", 3);
    ck_assert(!w.failed);
    struct mr_reader r = mr_reader_init(data, w.at);
    char text[16], raw[3];
    ck_assert_uint_eq(mr_read_u8(&r), 0xfe);
    ck_assert_uint_eq(mr_read_u16(&r), 0xfedc);
    ck_assert_uint_eq(mr_read_u32(&r), 0xfedcba98u);
    ck_assert_uint_eq(mr_read_u64(&r), UINT64_MAX - 1);
    ck_assert_int_eq(mr_read_i64(&r), INT64_MIN);
    ck_assert_double_eq(mr_read_f64(&r), -0.1);
    mr_read_str(&r, text, sizeof(text));
    ck_assert_str_eq(text, "k3-krios1");
    mr_read_str(&r, text, sizeof(text));
    ck_assert_str_eq(text, "");
    mr_read_raw(&r, raw, 3);
    ck_assert_mem_eq(raw, "xyz", 3);
    ck_assert(!r.failed);
    ck_assert_uint_eq(mr_reader_left(&r), 0);
}
END_TEST

START_TEST(integers_are_little_endian)
{
    uint8_t data[6];
    struct mr_writer w = mr_writer_init(data, sizeof(data));
    mr_write_u16(&w, 0x0102);
    mr_write_u32(&w, 0x01020304);
    ck_assert_mem_eq(data, "\x02\x01\x04\x03\x02\x01", 6);
}
END_TEST

START_TEST(nan_keeps_its_bits)
{
    uint8_t data[8];
    struct mr_writer w = mr_writer_init(data, sizeof(data));
    mr_write_f64(&w, NAN);
    struct mr_reader r = mr_reader_init(data, sizeof(data));
    ck_assert_double_nan(mr_read_f64(&r));
}
END_TEST

START_TEST(an_overrun_fails_and_sticks)
{
    uint8_t data[5] = {1, 2, 3, 4, 5};
    struct mr_reader r = mr_reader_init(data, sizeof(data));
    ck_assert_uint_eq(mr_read_u32(&r), 0x04030201);
    ck_assert_uint_eq(mr_read_u16(&r), 0);
    ck_assert(r.failed);
    ck_assert_uint_eq(mr_read_u8(&r), 0); /* one byte is left, but the message is broken */
    ck_assert_uint_eq(mr_reader_left(&r), 0);
    ck_assert_ptr_null(mr_read_view(&r, 0));
    uint8_t raw[2] = {7, 7};
    mr_read_raw(&r, raw, 2);
    ck_assert_mem_eq(raw, "\0\0", 2);
}
END_TEST

START_TEST(a_full_writer_fails_and_writes_nothing_more)
{
    uint8_t data[4] = {0};
    struct mr_writer w = mr_writer_init(data, 3);
    mr_write_u16(&w, 0xffff);
    mr_write_u16(&w, 0xffff);
    ck_assert(w.failed);
    mr_write_u8(&w, 0xff);
    mr_write_str(&w, "");
    ck_assert_uint_eq(w.at, 2);
    ck_assert_mem_eq(data, "\xff\xff\0\0", 4);
}
END_TEST

START_TEST(huge_sizes_do_not_wrap)
{
    uint8_t data[4] = {0};
    struct mr_reader r = mr_reader_init(data, sizeof(data));
    mr_read_u8(&r);
    ck_assert_ptr_null(mr_read_view(&r, SIZE_MAX));
    struct mr_writer w = mr_writer_init(data, sizeof(data));
    mr_write_u8(&w, 1);
    mr_write_raw(&w, data, SIZE_MAX);
    ck_assert(r.failed && w.failed);
}
END_TEST

START_TEST(strings_that_do_not_fit_or_hold_nul_fail)
{
    char text[4] = "old";
    struct mr_reader r = mr_reader_init("\x04\0abcd", 6);
    mr_read_str(&r, text, sizeof(text));
    ck_assert(r.failed);
    ck_assert_str_eq(text, "");
    r = mr_reader_init("\x03\0a\0b", 5);
    mr_read_str(&r, text, sizeof(text));
    ck_assert(r.failed);
    r = mr_reader_init("\x03\0ab", 4); /* cut short */
    mr_read_str(&r, text, sizeof(text));
    ck_assert(r.failed);
    r = mr_reader_init("\x03\0abc", 5); /* just fits */
    mr_read_str(&r, text, sizeof(text));
    ck_assert(!r.failed);
    ck_assert_str_eq(text, "abc");
}
END_TEST

START_TEST(a_string_too_long_for_its_length_fails)
{
    static uint8_t data[70000];
    static char longer[65537];
    memset(longer, 'x', 65536);
    struct mr_writer w = mr_writer_init(data, sizeof(data));
    mr_write_str(&w, longer);
    ck_assert(w.failed);
    longer[65535] = '\0';
    w = mr_writer_init(data, sizeof(data));
    mr_write_str(&w, longer);
    ck_assert(!w.failed);
    ck_assert_uint_eq(w.at, 65537);
}
END_TEST

START_TEST(an_empty_reader_is_allowed)
{
    struct mr_reader r = mr_reader_init(NULL, 0);
    ck_assert_ptr_nonnull(mr_read_view(&r, 0));
    ck_assert(!r.failed);
    mr_read_u8(&r);
    ck_assert(r.failed);
}
END_TEST

MR_SUITE("bytes", T(what_is_written_is_read), T(integers_are_little_endian), T(nan_keeps_its_bits),
         T(an_overrun_fails_and_sticks), T(a_full_writer_fails_and_writes_nothing_more),
         T(huge_sizes_do_not_wrap), T(strings_that_do_not_fit_or_hold_nul_fail),
         T(a_string_too_long_for_its_length_fails), T(an_empty_reader_is_allowed))
