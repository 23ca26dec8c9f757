/* SPDX-License-Identifier: Apache-2.0 */
/* Is it CRC-64/XZ, by either way, and do parts give the whole? */
#include "base/crc64.h"
#include "suite.h"

#include <string.h>

static uint8_t data[100003];

static void fill(void)
{
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < sizeof(data); i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        data[i] = (uint8_t)x;
    }
}

START_TEST(known_values)
{
    ck_assert_uint_eq(mr_crc64(0, "123456789", 9), 0x995DC9BBDF1939FAu);
    ck_assert_uint_eq(mr_crc64_plain(0, "123456789", 9), 0x995DC9BBDF1939FAu);
    ck_assert_uint_eq(mr_crc64(0, "", 0), 0);
    ck_assert_uint_eq(mr_crc64(0, NULL, 0), 0);
    ck_assert_uint_eq(mr_crc64(5, NULL, 0), 5);
    /* as `7z h -scrcCRC64` prints it for a file that holds "millrace\n" */
    ck_assert_uint_eq(mr_crc64(0, "millrace\n", 9), 0xE5CBB8F54745E886u);
}
END_TEST

START_TEST(fast_and_plain_agree_at_every_length_and_alignment)
{
    fill();
    for (size_t bytes = 0; bytes < 600; bytes++)
        for (size_t at = 0; at < 9; at++)
            ck_assert_uint_eq(mr_crc64(bytes, data + at, bytes),
                              mr_crc64_plain(bytes, data + at, bytes));
    ck_assert_uint_eq(mr_crc64(0, data, sizeof(data)), mr_crc64_plain(0, data, sizeof(data)));
}
END_TEST

START_TEST(it_continues)
{
    fill();
    uint64_t whole = mr_crc64(0, data, sizeof(data));
    for (size_t cut = 0; cut < sizeof(data); cut += 997)
        ck_assert_uint_eq(mr_crc64(mr_crc64(0, data, cut), data + cut, sizeof(data) - cut), whole);
}
END_TEST

START_TEST(parts_combine_to_the_whole)
{
    fill();
    uint64_t whole = mr_crc64(0, data, sizeof(data));
    for (size_t cut = 0; cut < sizeof(data); cut += 991) {
        uint64_t a = mr_crc64(0, data, cut);
        uint64_t b = mr_crc64(0, data + cut, sizeof(data) - cut);
        ck_assert_uint_eq(mr_crc64_combine(a, b, sizeof(data) - cut), whole);
    }
    ck_assert_uint_eq(mr_crc64_combine(whole, 0, 0), whole);
    ck_assert_uint_eq(mr_crc64_combine(0, whole, sizeof(data)), whole);
}
END_TEST

START_TEST(combining_is_associative_beyond_any_memory)
{
    uint64_t a = 0x0123456789abcdefu, b = 0xfedcba9876543210u, c = 0x5555aaaa3333ccccu;
    uint64_t b_bytes = (uint64_t)1 << 45, c_bytes = ((uint64_t)1 << 50) + 12345;
    ck_assert_uint_eq(mr_crc64_combine(mr_crc64_combine(a, b, b_bytes), c, c_bytes),
                      mr_crc64_combine(a, mr_crc64_combine(b, c, c_bytes), b_bytes + c_bytes));
}
END_TEST

START_TEST(zeros_are_appended)
{
    static uint8_t zeros[70000];
    uint64_t crc = mr_crc64(0, "abc", 3);
    for (size_t n = 0; n <= sizeof(zeros); n = n * 3 + 1)
        ck_assert_uint_eq(mr_crc64_zeros(crc, n), mr_crc64(crc, zeros, n));
    ck_assert_uint_eq(mr_crc64_zeros(0, 4096), mr_crc64(0, zeros, 4096));
    ck_assert_uint_eq(mr_crc64_zeros(mr_crc64_zeros(crc, (uint64_t)1 << 62), 77),
                      mr_crc64_zeros(crc, ((uint64_t)1 << 62) + 77));
}
END_TEST

/* Every edge of the steps and lines, wherever it begins: the sum is right, and nothing else is
 * written. */
START_TEST(copies_what_it_sums)
{
    static const size_t sizes[] = {0,    1,      63,     64,     65,         200,
                                   4096, 131071, 131072, 131073, 262144 + 70};
    static _Alignas(64) uint8_t from[300000], to[300000 + 128];
    for (size_t i = 0; i < sizeof(from); i++)
        from[i] = (uint8_t)(i * 2654435761u >> 13);
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
        for (size_t skew = 0; skew < 64; skew += 21) {
            size_t bytes = sizes[s];
            memset(to, 0xEE, sizeof(to));
            ck_assert_uint_eq(mr_crc64_copy(7, to + skew, from + skew / 3, bytes),
                              mr_crc64(7, from + skew / 3, bytes));
            ck_assert(memcmp(to + skew, from + skew / 3, bytes) == 0);
            for (size_t i = 0; i < 64; i++)
                ck_assert_uint_eq(to[skew + bytes + i], 0xEE);
            ck_assert(skew == 0 || to[skew - 1] == 0xEE);
        }
}
END_TEST

MR_SUITE("crc64", T(known_values), T(fast_and_plain_agree_at_every_length_and_alignment),
         T(it_continues), T(parts_combine_to_the_whole),
         T(combining_is_associative_beyond_any_memory), T(zeros_are_appended),
         T(copies_what_it_sums))
