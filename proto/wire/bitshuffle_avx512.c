/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bit transpose with AVX-512, 512 bytes a step, in two kernels: with the byte and word
 * instructions alone, and where the CPU has VBMI and GFNI with those, which turn an 8x8 matrix of
 * bits in one instruction. Leftovers below a step are the plain kernel's.
 */
#include "wire/bitshuffle_kernel.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define STEP             512u
#define BW               "avx512f,avx512bw"
#define GFNI             "avx512f,avx512bw,avx512vbmi,gfni"
#define KERNEL(features) __attribute__((target(features))) static
#define INLINE(features) static inline __attribute__((always_inline, target(features)))

/* Bits of the high fields of *low with those of the low fields of *high: 0xca takes the second
 * where the first has ones, else the third. */
#define SWAP_BITS(low, high, shift, mask)                                                        \
    do {                                                                                         \
        __m512i m = _mm512_set1_epi8(mask);                                                      \
        __m512i up = _mm512_slli_epi16(*(high), shift), down = _mm512_srli_epi16(*(low), shift); \
        *(low) = _mm512_ternarylogic_epi32(m, *(low), up, 0xca);                                 \
        *(high) = _mm512_ternarylogic_epi32(m, down, *(high), 0xca);                             \
    } while (0)

/* Bit k of each byte of r[i] becomes bit i of the same byte of r[k]. Its own inverse. */
INLINE(BW) void turn_bits(__m512i r[8])
{
    for (size_t i = 0; i < 4; i++)
        SWAP_BITS(&r[i], &r[i + 4], 4, 0x0f);
    for (size_t i = 0; i < 8; i += i % 2 == 0 ? 1 : 3)
        SWAP_BITS(&r[i], &r[i + 2], 2, 0x33);
    for (size_t i = 0; i < 8; i += 2)
        SWAP_BITS(&r[i], &r[i + 1], 1, 0x55);
}

/* 4x4 of 16 bytes: quarter k of the ith given becomes quarter i of the kth. */
INLINE(BW)
void turn_quarters(const __m512i t[4], __m512i *r0, __m512i *r1, __m512i *r2, __m512i *r3)
{
    __m512i a = _mm512_shuffle_i64x2(t[0], t[1], 0x88), b = _mm512_shuffle_i64x2(t[2], t[3], 0x88);
    __m512i c = _mm512_shuffle_i64x2(t[0], t[1], 0xdd), d = _mm512_shuffle_i64x2(t[2], t[3], 0xdd);
    *r0 = _mm512_shuffle_i64x2(a, b, 0x88);
    *r1 = _mm512_shuffle_i64x2(c, d, 0x88);
    *r2 = _mm512_shuffle_i64x2(a, b, 0xdd);
    *r3 = _mm512_shuffle_i64x2(c, d, 0xdd);
}

/* 8x8 of 8 bytes: field k of r[i] becomes field i of r[k]. Its own inverse. */
INLINE(BW) void turn_fields(__m512i r[8])
{
    __m512i even[4], odd[4];
    for (size_t i = 0; i < 4; i++) {
        even[i] = _mm512_unpacklo_epi64(r[2 * i], r[2 * i + 1]);
        odd[i] = _mm512_unpackhi_epi64(r[2 * i], r[2 * i + 1]);
    }
    turn_quarters(even, &r[0], &r[2], &r[4], &r[6]);
    turn_quarters(odd, &r[1], &r[3], &r[5], &r[7]);
}

INLINE(BW) __m512i load(const uint8_t *p)
{
    return _mm512_loadu_si512((const void *)p);
}

INLINE(BW) void store(uint8_t *p, __m512i v)
{
    _mm512_storeu_si512((void *)p, v);
}

/* Of every 16 bytes, two times eight to eight times two; and back. */
INLINE(BW) __m512i pair_up(__m512i v)
{
    const __m128i order = _mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(order));
}

INLINE(BW) __m512i part(__m512i v)
{
    const __m128i order = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(order));
}

/* What a permutation takes to place i of 64: `outer` and `inner` say where i's two octal digits
 * go. */
#define WORDS(f)                                                                                  \
    _mm512_set_epi16(f(31), f(30), f(29), f(28), f(27), f(26), f(25), f(24), f(23), f(22), f(21), \
                     f(20), f(19), f(18), f(17), f(16), f(15), f(14), f(13), f(12), f(11), f(10), \
                     f(9), f(8), f(7), f(6), f(5), f(4), f(3), f(2), f(1), f(0))
#define DEAL(i)    ((i) % 4 * 8 + (i) / 4) /* 4 x 8 words to 8 x 4 */
#define COLLECT(i) ((i) % 8 * 4 + (i) / 8) /* and back */

KERNEL(BW) void spread_bw(const uint8_t *in, size_t bytes, uint8_t *planes, size_t plane_bytes)
{
    const __m512i deal = WORDS(DEAL);
    for (size_t at = 0; at < bytes; at += STEP) {
        __m512i r[8];
        for (size_t i = 0; i < 8; i++)
            r[i] = _mm512_permutexvar_epi16(deal, pair_up(load(in + at + 64 * i)));
        turn_fields(r);
        turn_bits(r);
        for (size_t i = 0; i < 8; i++)
            store(planes + i * plane_bytes + at / 8, r[i]);
    }
}

KERNEL(BW) void gather_bw(const uint8_t *planes, size_t plane_bytes, uint8_t *out, size_t bytes)
{
    const __m512i collect = WORDS(COLLECT);
    for (size_t at = 0; at < bytes; at += STEP) {
        __m512i r[8];
        for (size_t i = 0; i < 8; i++)
            r[i] = load(planes + i * plane_bytes + at / 8);
        turn_bits(r);
        turn_fields(r);
        for (size_t i = 0; i < 8; i++)
            store(out + at + 64 * i, part(_mm512_permutexvar_epi16(collect, r[i])));
    }
}

/* Where the byte of place i comes from: 8x8 bytes turned, and turned with each row reversed. */
static const uint8_t turned[64] = {0, 8,  16, 24, 32, 40, 48, 56, 1, 9,  17, 25, 33, 41, 49, 57,
                                   2, 10, 18, 26, 34, 42, 50, 58, 3, 11, 19, 27, 35, 43, 51, 59,
                                   4, 12, 20, 28, 36, 44, 52, 60, 5, 13, 21, 29, 37, 45, 53, 61,
                                   6, 14, 22, 30, 38, 46, 54, 62, 7, 15, 23, 31, 39, 47, 55, 63};
static const uint8_t turned_reversed[64] = {
    56, 48, 40, 32, 24, 16, 8,  0,  57, 49, 41, 33, 25, 17, 9,  1,  58, 50, 42, 34, 26, 18,
    10, 2,  59, 51, 43, 35, 27, 19, 11, 3,  60, 52, 44, 36, 28, 20, 12, 4,  61, 53, 45, 37,
    29, 21, 13, 5,  62, 54, 46, 38, 30, 22, 14, 6,  63, 55, 47, 39, 31, 23, 15, 7};

/* 8x8 bits in every 8 bytes, the last of which is the first row: that is how GF2P8AFFINEQB counts.
 * It multiplies a matrix with vectors; the unit vectors give its columns. */
INLINE(GFNI) __m512i turn_matrix(__m512i reversed)
{
    const __m512i units = _mm512_set1_epi64((long long)0x8040201008040201u);
    return _mm512_gf2p8affine_epi64_epi8(units, reversed, 0);
}

KERNEL(GFNI)
void spread_gfni(const uint8_t *in, size_t bytes, uint8_t *planes, size_t plane_bytes)
{
    const __m512i turn = load(turned);
    const __m512i reverse =
        _mm512_broadcast_i32x4(_mm_setr_epi8(7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8));
    for (size_t at = 0; at < bytes; at += STEP) {
        __m512i r[8];
        for (size_t i = 0; i < 8; i++) {
            __m512i v = _mm512_shuffle_epi8(load(in + at + 64 * i), reverse);
            r[i] = _mm512_permutexvar_epi8(turn, turn_matrix(v));
        }
        turn_fields(r);
        for (size_t i = 0; i < 8; i++)
            store(planes + i * plane_bytes + at / 8, r[i]);
    }
}

KERNEL(GFNI)
void gather_gfni(const uint8_t *planes, size_t plane_bytes, uint8_t *out, size_t bytes)
{
    const __m512i turn = load(turned_reversed);
    for (size_t at = 0; at < bytes; at += STEP) {
        __m512i r[8];
        for (size_t i = 0; i < 8; i++)
            r[i] = load(planes + i * plane_bytes + at / 8);
        turn_fields(r);
        for (size_t i = 0; i < 8; i++)
            store(out + at + 64 * i, turn_matrix(_mm512_permutexvar_epi8(turn, r[i])));
    }
}

KERNEL(BW) void split(const uint8_t *in, size_t pairs, uint8_t *first, uint8_t *second)
{
    const __m512i low = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
    const __m512i high = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
    size_t whole = pairs - pairs % 64;
    for (size_t i = 0; i < whole; i += 64) {
        __m512i a = part(load(in + 2 * i)), b = part(load(in + 2 * i + 64));
        store(first + i, _mm512_permutex2var_epi64(a, low, b));
        store(second + i, _mm512_permutex2var_epi64(a, high, b));
    }
    mr_bitshuffle_plain.split(in + 2 * whole, pairs - whole, first + whole, second + whole);
}

KERNEL(BW) void join(const uint8_t *first, const uint8_t *second, size_t pairs, uint8_t *out)
{
    const __m512i low = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    const __m512i high = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    size_t whole = pairs - pairs % 64;
    for (size_t i = 0; i < whole; i += 64) {
        __m512i a = load(first + i), b = load(second + i);
        store(out + 2 * i, pair_up(_mm512_permutex2var_epi64(a, low, b)));
        store(out + 2 * i + 64, pair_up(_mm512_permutex2var_epi64(a, high, b)));
    }
    mr_bitshuffle_plain.join(first + whole, second + whole, pairs - whole, out + 2 * whole);
}

static bool usable_bw(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
}

static bool usable_gfni(void)
{
    return usable_bw() && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("gfni");
}

const struct mr_bitshuffle_kernel mr_bitshuffle_avx512 = {
    .name = "avx512",
    .step = STEP,
    .usable = usable_bw,
    .spread = spread_bw,
    .gather = gather_bw,
    .split = split,
    .join = join,
};

const struct mr_bitshuffle_kernel mr_bitshuffle_gfni = {
    .name = "gfni",
    .step = STEP,
    .usable = usable_gfni,
    .spread = spread_gfni,
    .gather = gather_gfni,
    .split = split,
    .join = join,
};
#endif
