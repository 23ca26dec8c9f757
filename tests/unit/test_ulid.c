/* SPDX-License-Identifier: Apache-2.0 */
/* Are ids ordered by time, distinct, and the same after a trip through their text? */
#include "base/ulid.h"
#include "suite.h"

#include <errno.h>
#include <string.h>

START_TEST(text_is_the_known_one)
{
    struct mr_ulid id = {{0x01, 0x56, 0x3d, 0xf3, 0x64, 0x81, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9}};
    char text[MR_ULID_TEXT];
    mr_ulid_text(&id, text);
    ck_assert_uint_eq(strlen(text), 26);
    /* 0x01563DF36481 ms is the example time of the ULID specification: 01ARYZ6S41 */
    ck_assert_int_eq(strncmp(text, "01ARYZ6S41", 10), 0);
    struct mr_ulid back;
    ck_assert_int_eq(mr_ulid_parse(text, &back), 0);
    ck_assert(mr_ulid_equal(&id, &back));
}
END_TEST

START_TEST(extremes_survive)
{
    struct mr_ulid id;
    char text[MR_ULID_TEXT];
    ck_assert_int_eq(mr_ulid_parse("7ZZZZZZZZZZZZZZZZZZZZZZZZZ", &id), 0);
    for (size_t i = 0; i < 16; i++)
        ck_assert_uint_eq(id.bytes[i], 0xff);
    ck_assert_str_eq(mr_ulid_text(&id, text), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    ck_assert_int_eq(mr_ulid_parse("00000000000000000000000000", &id), 0);
    ck_assert_str_eq(mr_ulid_text(&id, text), "00000000000000000000000000");
}
END_TEST

START_TEST(what_is_no_ulid_is_refused_and_ret_stays)
{
    static const char *const bad[] = {
        "",
        "01ARYZ6S41",
        "01ARYZ6S410000000000000000X", /* 27 */
        "80000000000000000000000000",  /* beyond 128 bits */
        "01ARYZ6S41000000000000000U",  /* no such digit */
        "01ARYZ6S4100000000000000 0",
        ("01ARYZ6S4100000000000000\xff"
         "0"),
    };
    struct mr_ulid id, before;
    memset(&id, 0x5a, sizeof(id));
    before = id;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(mr_ulid_parse(bad[i], &id), -EINVAL);
        ck_assert(mr_ulid_equal(&id, &before));
    }
}
END_TEST

START_TEST(look_alikes_are_read)
{
    struct mr_ulid a, b;
    ck_assert_int_eq(mr_ulid_parse("01aryz6s41oil0000000000000", &a), 0);
    ck_assert_int_eq(mr_ulid_parse("01ARYZ6S410110000000000000", &b), 0);
    ck_assert(mr_ulid_equal(&a, &b));
}
END_TEST

START_TEST(new_ids_carry_the_time_and_differ)
{
    struct mr_ulid early, late, again;
    char a[MR_ULID_TEXT], b[MR_ULID_TEXT];
    mr_ulid_new(1469922850259 * 1000000LL, &early);
    mr_ulid_new(1469922850260 * 1000000LL, &late);
    mr_ulid_new(1469922850259 * 1000000LL, &again);
    ck_assert_int_eq(strncmp(mr_ulid_text(&early, a), "01ARZ3NDEK", 10), 0);
    ck_assert_int_lt(strcmp(a, mr_ulid_text(&late, b)), 0);
    ck_assert(!mr_ulid_equal(&early, &again));
}
END_TEST

START_TEST(hashes_fill_a_table)
{
    bool used[64] = {false};
    unsigned count = 0;
    for (int i = 0; i < 1000; i++) {
        struct mr_ulid id;
        mr_ulid_new(1469922850259 * 1000000LL, &id);
        const struct mr_ulid same = id;
        ck_assert_uint_eq(mr_ulid_hash(&id), mr_ulid_hash(&same));
        count += !used[mr_ulid_hash(&id) % 64];
        used[mr_ulid_hash(&id) % 64] = true;
    }
    ck_assert_uint_eq(count, 64); /* one is left with a chance of 64 x (63/64)^1000, 1 in 100,000 */
}
END_TEST

MR_SUITE("ulid", T(text_is_the_known_one), T(extremes_survive),
         T(what_is_no_ulid_is_refused_and_ret_stays), T(look_alikes_are_read),
         T(new_ids_carry_the_time_and_differ), T(hashes_fill_a_table))
