/* SPDX-License-Identifier: Apache-2.0 */
/* Does the vector code say what the plain code says, at every length and at the extremes? */
#include "suite.h"
#include "wire/stats_tally.h"

#include <string.h>

#define MOST MR_STATS_TALLY_BYTES

static const enum mr_pixel pixels[] = {MR_PIXEL_I8, MR_PIXEL_U8, MR_PIXEL_I16, MR_PIXEL_U16,
                                       MR_PIXEL_U4};
static uint8_t data[MOST + 1];

static void check_all(const uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < sizeof(pixels) / sizeof(pixels[0]); i++) {
        size_t whole = bytes - bytes % mr_pixel_bytes(pixels[i]);
        if (whole > 0) {
            struct mr_stats_tally a = mr_stats_tally(pixels[i], p, whole);
            struct mr_stats_tally b = mr_stats_tally_plain(pixels[i], p, whole);
            ck_assert_int_eq(a.min, b.min);
            ck_assert_int_eq(a.max, b.max);
            ck_assert_int_eq(a.sum, b.sum);
            ck_assert_uint_eq(a.squares, b.squares);
        }
    }
}

START_TEST(every_length)
{
    uint64_t x = 3;
    for (size_t i = 0; i <= MOST; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        data[i] = (uint8_t)(x >> 56);
    }
    for (size_t bytes = 1; bytes <= 300; bytes++) {
        check_all(data + bytes % 3, bytes);
    }
    check_all(data + 1, MOST);
    check_all(data, MOST - 2);
}
END_TEST

START_TEST(extremes)
{
    const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0x0f, 0xf0, 0xff};
    for (size_t i = 0; i < sizeof(values); i++) {
        memset(data, values[i], sizeof(data));
        check_all(data, MOST);
        check_all(data, 96);
        for (size_t at = 0; at < 96; at++) { /* one that is different, in any lane */
            data[at] ^= 0x83;
            check_all(data, 96);
            data[at] ^= 0x83;
        }
    }
    for (size_t i = 0; i + 2 <= MOST; i += 2) { /* words of -32768, and of 32768 */
        memcpy(data + i, "\x00\x80", 2);
    }
    check_all(data, MOST);
}
END_TEST

MR_SUITE("stats_tally", T(every_length), T(extremes))
