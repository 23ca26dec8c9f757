/* SPDX-License-Identifier: Apache-2.0 */
/* Does liblz4 restore what our encoder of runs makes, whatever it is given, and is it never longer
 * than it may be? */
#include "suite.h"
#include "wire/codec_block.h"
#include "wire/codec_runs.h"

#include <stdio.h>
#include <string.h>

#define MOST (300u * 1024)

static struct mr_codec_runs scratch;

static uint32_t next_random(void)
{
    static uint64_t x = 4242;
    x = x * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(x >> 33);
}

/* Buffers of the exact size, so that AddressSanitizer sees a byte too far. Returns the ratio. */
static double there_and_back(const uint8_t *data, size_t bytes)
{
    uint8_t *in = malloc(bytes), *back = malloc(bytes);
    uint8_t *out = malloc(mr_codec_runs_bound(bytes));
    ck_assert(in && back && out);
    memcpy(in, data, bytes);
    size_t packed = mr_codec_runs_pack(&scratch, in, bytes, out);
    ck_assert_uint_le(packed, mr_codec_runs_bound(bytes));
    ck_assert(mr_codec_lz4_unpack(out, packed, back, bytes));
    ck_assert_mem_eq(back, data, bytes);
    free(in);
    free(back);
    free(out);
    return (double)bytes / (double)packed;
}

/* Bytes that are not 0 with a probability of one in `rarity`, of `values` values. */
static void fill_sparse(uint8_t *data, size_t bytes, uint32_t rarity, uint32_t values)
{
    for (size_t i = 0; i < bytes; i++) {
        data[i] = (uint8_t)(next_random() % rarity == 0 ? 1 + next_random() % values : 0);
    }
}

START_TEST(every_size)
{
    static uint8_t data[MOST];
    for (size_t bytes = MR_CODEC_RUNS_LEAST; bytes < 800; bytes++) {
        fill_sparse(data, bytes, 1 + (uint32_t)bytes % 9, 3);
        there_and_back(data, bytes);
    }
    const size_t edges[] = {4096, 4159, 4160, 4161, 8192, 32768, 32769, 65535, 65536, 131072, MOST};
    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
        fill_sparse(data, edges[i], 5, 8);
        there_and_back(data, edges[i]);
    }
}
END_TEST

/* Then a match goes on over the run after its own, also where that is the last one looked at. */
START_TEST(regular_patterns)
{
    static uint8_t data[MOST];
    for (size_t period = 4; period < 12; period++) {
        for (size_t bytes = MR_CODEC_RUNS_LEAST; bytes < 500; bytes++) {
            for (size_t i = 0; i < bytes; i++) {
                data[i] = i % period == 0;
            }
            there_and_back(data, bytes);
        }
    }
}
END_TEST

START_TEST(every_density)
{
    static uint8_t data[MOST];
    for (uint32_t rarity = 1; rarity < 5000; rarity = rarity * 3 / 2 + 1) {
        for (uint32_t values = 1; values < 256; values = values * 2 + 1) {
            fill_sparse(data, 70000, rarity, values);
            there_and_back(data, 70000);
        }
    }
}
END_TEST

START_TEST(planes_one_after_the_other)
{
    static uint8_t data[MOST];
    for (size_t i = 0; i < 20; i++) {
        for (size_t plane = 0; plane < 8; plane++) {
            const uint32_t rarities[] = {1, 2, 5, 7, 70, 900, UINT32_MAX, UINT32_MAX};
            fill_sparse(data + plane * 32768, 32768, rarities[next_random() % 8], 255);
        }
        there_and_back(data, 8 * 32768);
    }
}
END_TEST

START_TEST(long_runs_are_one_match)
{
    static uint8_t data[MOST];
    memset(data, 0, sizeof(data));
    ck_assert(there_and_back(data, MOST) > 240);
    data[0] = 1;
    ck_assert(there_and_back(data, MOST) > 240);
    for (size_t at = MOST - 200; at < MOST; at++) { /* the run ends near the end */
        data[at] = 7;
        ck_assert(there_and_back(data, MOST) > 150);
        data[at] = 0;
    }
    for (size_t at = 1; at < 5000; at += 61) {
        data[at] = data[MOST / 2 + at] = 1;
        there_and_back(data, MOST);
        data[at] = 0;
    }
}
END_TEST

START_TEST(noise_grows_by_little)
{
    static uint8_t data[MOST];
    for (size_t i = 0; i < MOST; i++) {
        data[i] = (uint8_t)next_random();
    }
    ck_assert(there_and_back(data, MOST) > 0.99);
    memset(data, 0xff, sizeof(data));
    there_and_back(data, MOST);
}
END_TEST

/* As a transpose leaves one electron per 4 pixels: what it is made for. */
START_TEST(sparse_planes_shrink)
{
    static uint8_t data[MOST];
    for (size_t i = 0; i < 32768; i++) {
        data[i] = 0;
        for (unsigned bit = 0; bit < 8; bit++) {
            data[i] |= (uint8_t)((next_random() % 1000 < 26) << bit);
        }
    }
    ck_assert(there_and_back(data, 32768) > 1.8);
}
END_TEST

START_TEST(blocks_do_not_depend_on_those_before)
{
    static uint8_t data[MOST], first[MOST * 2], second[MOST * 2];
    fill_sparse(data, MOST, 6, 8);
    size_t bytes = mr_codec_runs_pack(&scratch, data, MOST, first);
    there_and_back(data + 999, 50000);
    ck_assert_uint_eq(mr_codec_runs_pack(&scratch, data, MOST, second), bytes);
    ck_assert_mem_eq(first, second, bytes);
}
END_TEST

#define RUNS                                                                             \
    T(every_size), T(regular_patterns), T(every_density), T(planes_one_after_the_other), \
        T(long_runs_are_one_match), T(noise_grows_by_little), T(sparse_planes_shrink),   \
        T(blocks_do_not_depend_on_those_before)

int main(void)
{
    static const struct mr_suite_entry entries[] = {RUNS};
    if (!mr_codec_runs_usable()) {
        puts("skipped: this CPU has no AVX2");
        return 77;
    }
    return mr_suite_run("codec_runs", entries, sizeof(entries) / sizeof(entries[0]));
}
