/* SPDX-License-Identifier: Apache-2.0 */
/* Does the first bad field stick, by its name, and does everything behind it read as 0? */
#include "suite.h"
#include "wire/field.h"

#include <math.h>
#include <string.h>

static const uint8_t ones[64] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

START_TEST(fields_are_read_in_their_order)
{
    static const uint8_t body[] = {7,    0x34, 0x12, 0x78, 0x56, 0x34, 0x12, 0xff, 0xff, 0xff,
                                   0xff, 0xff, 0xff, 0xff, 0xff, 1,    2,    0,    'h',  'i'};
    struct mr_fields f = mr_fields_init(body, sizeof(body));
    char text[3];
    ck_assert_uint_eq(mr_fields_left(&f), sizeof(body));
    ck_assert_uint_eq(mr_field_u8(&f, "a", 0, 7), 7);
    ck_assert_uint_eq(mr_field_u16(&f, "b", 0x1234, 0x1234), 0x1234);
    ck_assert_uint_eq(mr_field_u32(&f, "c", 0, UINT32_MAX), 0x12345678);
    ck_assert_int_eq(mr_field_i64(&f, "d"), -1);
    ck_assert(mr_field_bool(&f, "e"));
    mr_field_str(&f, "f", text, sizeof(text));
    ck_assert_str_eq(text, "hi");
    ck_assert_uint_eq(mr_fields_left(&f), 0);
    ck_assert(mr_fields_ok(&f));
    ck_assert(!f.cut);
    mr_field_check(&f, "rule", true);
    ck_assert(mr_fields_ok(&f));
}
END_TEST

/* Every kind of read, of a cursor that has failed. */
static void check_all_read_as_zero(struct mr_fields *f)
{
    uint8_t raw[4] = {9, 9, 9, 9};
    char text[4] = "xyz";
    uint32_t bytes = 9;
    struct mr_ulid id;
    memset(&id, 9, sizeof(id));
    size_t left = mr_fields_left(f);
    ck_assert_uint_eq(mr_field_u8(f, "later", 0, UINT8_MAX), 0);
    ck_assert_uint_eq(mr_field_u16(f, "later", 0, UINT16_MAX), 0);
    ck_assert_uint_eq(mr_field_u32(f, "later", 0, UINT32_MAX), 0);
    ck_assert_uint_eq(mr_field_u64(f, "later", 0, UINT64_MAX), 0);
    ck_assert_int_eq(mr_field_i64(f, "later"), 0);
    ck_assert(mr_field_amount(f, "later") == 0);
    ck_assert(!mr_field_bool(f, "later"));
    mr_field_ulid(f, "later", &id);
    ck_assert_mem_eq(id.bytes, (uint8_t[16]){0}, 16);
    mr_field_raw(f, "later", raw, sizeof(raw));
    ck_assert_mem_eq(raw, (uint8_t[4]){0}, 4);
    mr_field_str(f, "later", text, sizeof(text));
    ck_assert_str_eq(text, "");
    ck_assert_ptr_null(mr_field_view(f, "later", 1));
    ck_assert_ptr_null(mr_field_blob(f, "later", 100, &bytes));
    ck_assert_uint_eq(bytes, 0);
    mr_field_check(f, "later", false);
    ck_assert_uint_eq(mr_fields_left(f), left);
}

START_TEST(after_a_field_out_of_range_all_is_zero)
{
    struct mr_fields f = mr_fields_init(ones, sizeof(ones));
    ck_assert_uint_eq(mr_field_u8(&f, "good", 1, 1), 1);
    ck_assert_uint_eq(mr_field_u32(&f, "bad", 0, 1), 0);
    ck_assert(!mr_fields_ok(&f));
    check_all_read_as_zero(&f);
    ck_assert_str_eq(f.bad, "bad");
    ck_assert(!f.cut);
}
END_TEST

START_TEST(after_a_broken_rule_all_is_zero)
{
    struct mr_fields f = mr_fields_init(ones, sizeof(ones));
    mr_field_check(&f, "rule", false);
    ck_assert(!mr_fields_ok(&f));
    check_all_read_as_zero(&f);
    ck_assert_str_eq(f.bad, "rule");
    ck_assert(!f.cut);
}
END_TEST

/* Each kind where a byte of it is missing. */
START_TEST(a_body_that_ends_is_cut_at_its_field)
{
    for (int kind = 0; kind < 11; kind++) {
        static const size_t needs[] = {1, 2, 4, 8, 8, 8, 1, 16, 5, 2 + 0x0101, 6};
        for (int whole = 0; whole < 2; whole++) {
            uint8_t body[300];
            memset(body, 1, sizeof(body));
            struct mr_fields f = mr_fields_init(body, needs[kind] - (whole ? 0 : 1));
            struct mr_ulid id;
            char text[400];
            uint8_t raw[5];
            switch (kind) {
            case 0:
                (void)mr_field_u8(&f, "it", 0, UINT8_MAX);
                break;
            case 1:
                (void)mr_field_u16(&f, "it", 0, UINT16_MAX);
                break;
            case 2:
                (void)mr_field_u32(&f, "it", 0, UINT32_MAX);
                break;
            case 3:
                (void)mr_field_u64(&f, "it", 0, UINT64_MAX);
                break;
            case 4:
                (void)mr_field_i64(&f, "it");
                break;
            case 5:
                (void)mr_field_amount(&f, "it");
                break;
            case 6:
                (void)mr_field_bool(&f, "it");
                break;
            case 7:
                mr_field_ulid(&f, "it", &id);
                break;
            case 8:
                mr_field_raw(&f, "it", raw, sizeof(raw));
                break;
            case 9:
                mr_field_str(&f, "it", text, sizeof(text));
                break;
            default:
                ck_assert(whole == (mr_field_view(&f, "it", 6) == body));
                break;
            }
            ck_assert_msg(mr_fields_ok(&f) == whole, "kind %d", kind);
            if (!whole) {
                ck_assert_str_eq(f.bad, "it");
                ck_assert(f.cut);
                check_all_read_as_zero(&f);
                ck_assert_str_eq(f.bad, "it");
            }
        }
    }
}
END_TEST

START_TEST(limits_belong_to_the_range)
{
    static const struct {
        uint64_t value, min, max;
        bool good;
    } cases[] = {
        {5, 5, 9, true},   {9, 5, 9, true},           {4, 5, 9, false},
        {10, 5, 9, false}, {7, 7, 7, true},           {0, 0, 0, true},
        {1, 0, 0, false},  {UINT64_MAX, 0, 1, false}, {UINT64_MAX, UINT64_MAX, UINT64_MAX, true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t body[8];
        for (size_t k = 0; k < 8; k++)
            body[k] = (uint8_t)(cases[i].value >> (8 * k));
        struct mr_fields f = mr_fields_init(body, 8);
        uint64_t got = mr_field_u64(&f, "n", cases[i].min, cases[i].max);
        ck_assert_uint_eq(got, cases[i].good ? cases[i].value : 0);
        ck_assert(mr_fields_ok(&f) == cases[i].good);
    }
}
END_TEST

START_TEST(a_bool_is_0_or_1)
{
    for (unsigned value = 0; value < 256; value++) {
        uint8_t body = (uint8_t)value;
        struct mr_fields f = mr_fields_init(&body, 1);
        ck_assert(mr_field_bool(&f, "b") == (value == 1));
        ck_assert(mr_fields_ok(&f) == (value < 2));
    }
}
END_TEST

START_TEST(an_amount_is_finite_and_not_negative)
{
    static const double good[] = {0, 0.834, 1e308}, bad[] = {-0.1, -INFINITY, INFINITY, NAN};
    for (size_t i = 0; i < 7; i++) {
        double value = i < 3 ? good[i] : bad[i - 3];
        uint8_t body[8];
        memcpy(body, &value, 8); /* as on the wire where this is tested: little-endian */
        struct mr_fields f = mr_fields_init(body, 8);
        ck_assert(mr_field_amount(&f, "a") == (i < 3 ? value : 0));
        ck_assert(mr_fields_ok(&f) == (i < 3));
        ck_assert(!f.cut);
    }
}
END_TEST

START_TEST(a_blob_is_a_view_or_none)
{
    static const uint8_t body[] = {3, 0, 0, 0, 'a', 'b', 'c', 0, 0, 0, 0};
    uint32_t bytes = 9;
    struct mr_fields f = mr_fields_init(body, sizeof(body));
    ck_assert_ptr_eq(mr_field_blob(&f, "b", 3, &bytes), body + 4);
    ck_assert_uint_eq(bytes, 3);
    ck_assert_ptr_null(mr_field_blob(&f, "empty", 3, &bytes));
    ck_assert_uint_eq(bytes, 0);
    ck_assert(mr_fields_ok(&f));
    f = mr_fields_init(body, sizeof(body));
    ck_assert_ptr_null(mr_field_blob(&f, "b", 2, &bytes)); /* over the limit, though there */
    ck_assert_uint_eq(bytes, 0);
    ck_assert_str_eq(f.bad, "b");
    ck_assert(!f.cut);
    f = mr_fields_init(body, 6);
    bytes = 9;
    ck_assert_ptr_null(mr_field_blob(&f, "b", 3, &bytes)); /* cut within it */
    ck_assert_uint_eq(bytes, 0);
    ck_assert(f.cut);
}
END_TEST

START_TEST(a_text_that_does_not_fit_is_bad)
{
    static const uint8_t body[] = {3, 0, 'a', 'b', 'c'};
    char text[4];
    struct mr_fields f = mr_fields_init(body, sizeof(body));
    mr_field_str(&f, "t", text, 4);
    ck_assert_str_eq(text, "abc");
    ck_assert(mr_fields_ok(&f));
    f = mr_fields_init(body, sizeof(body));
    mr_field_str(&f, "t", text, 3);
    ck_assert_str_eq(text, "");
    ck_assert_str_eq(f.bad, "t");
    ck_assert(f.cut);
}
END_TEST

MR_SUITE("field", T(fields_are_read_in_their_order), T(after_a_field_out_of_range_all_is_zero),
         T(after_a_broken_rule_all_is_zero), T(a_body_that_ends_is_cut_at_its_field),
         T(limits_belong_to_the_range), T(a_bool_is_0_or_1),
         T(an_amount_is_finite_and_not_negative), T(a_blob_is_a_view_or_none),
         T(a_text_that_does_not_fit_is_bad))
