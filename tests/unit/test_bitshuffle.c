/* SPDX-License-Identifier: Apache-2.0 */
/* Is every kernel the transpose that the filter's definition says, and its inverse? */
#include "suite.h"
#include "wire/bitshuffle.h"

#include <string.h>

#define MOST 5000u /* beyond any kernel's step and the pieces that elements are taken apart in */

static uint8_t in[MOST * 4 + 2], out[MOST * 4 + 2], want[MOST * 4], back[MOST * 4 + 2];

static void fill_random(void)
{
    uint64_t x = 7;
    for (size_t i = 0; i < sizeof(in); i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        in[i] = (uint8_t)(x >> 56);
    }
}

/* Bit by bit, as bitshuffle.h words it. */
static void transpose_slowly(size_t size, const uint8_t *from, size_t elements, uint8_t *to)
{
    memset(to, 0, elements * size);
    for (size_t i = 0; i < elements; i++) {
        for (size_t bit = 0; bit < 8 * size; bit++) {
            unsigned value = (unsigned)from[i * size + bit / 8] >> bit % 8 & 1u;
            to[bit * (elements / 8) + i / 8] |= (uint8_t)(value << i % 8);
        }
    }
}

static void check_kernel(size_t kernel, uint32_t size, size_t elements)
{
    mr_bitshuffle_use_kernel(kernel);
    size_t bytes = elements * size;
    transpose_slowly(size, in + 1, elements, want);
    out[1 + bytes] = 0xa5;
    back[1 + bytes] = 0x5a;
    mr_bitshuffle(size, in + 1, elements, out + 1); /* odd addresses on purpose */
    ck_assert_mem_eq(out + 1, want, bytes);
    mr_bitunshuffle(size, out + 1, elements, back + 1);
    ck_assert_mem_eq(back + 1, in + 1, bytes);
    ck_assert_uint_eq(out[1 + bytes], 0xa5);
    ck_assert_uint_eq(back[1 + bytes], 0x5a);
}

START_TEST(every_kernel_every_size)
{
    fill_random();
    for (size_t k = 0; mr_bitshuffle_kernel_name(k); k++) {
        for (uint32_t size = 1; size <= 4; size *= 2) {
            for (size_t elements = 0; elements <= 320; elements += 8) {
                check_kernel(k, size, elements);
            }
            for (size_t elements = 504; elements <= MOST; elements = elements * 9 / 8 / 8 * 8) {
                check_kernel(k, size, elements);
                check_kernel(k, size, elements / 512 * 512);
            }
            check_kernel(k, size, 2048);
            check_kernel(k, size, 2056);
            check_kernel(k, size, MOST);
        }
    }
}
END_TEST

START_TEST(plain_is_always_there)
{
    ck_assert_str_eq(mr_bitshuffle_kernel_name(0), "plain");
    ck_assert_ptr_null(mr_bitshuffle_kernel_name(1000));
}
END_TEST

MR_SUITE("bitshuffle", T(every_kernel_every_size), T(plain_is_always_there))
