/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bit transpose with AVX2, 256 bytes a step: the bytes are dealt to eight registers so that
 * register i has every eighth byte from the ith on, and then bits are swapped between registers,
 * eight bytes' worth of each at a time. Leftovers below a step are the plain kernel's.
 */
#include "wire/bitshuffle_kernel.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define STEP   256u
#define AVX2   __attribute__((target("avx2")))
#define INLINE static inline __attribute__((always_inline, target("avx2")))

/* Bits of the high fields of *low with those of the low fields of *high. */
#define SWAP_BITS(low, high, shift, mask)                                                         \
    do {                                                                                          \
        __m256i t = _mm256_and_si256(_mm256_xor_si256(_mm256_srli_epi16(*(low), shift), *(high)), \
                                     _mm256_set1_epi8(mask));                                     \
        *(high) = _mm256_xor_si256(*(high), t);                                                   \
        *(low) = _mm256_xor_si256(*(low), _mm256_slli_epi16(t, shift));                           \
    } while (0)

/* Bit k of each byte of r[i] becomes bit i of the same byte of r[k]. Its own inverse. */
INLINE void turn_bits(__m256i r[8])
{
    for (size_t i = 0; i < 4; i++)
        SWAP_BITS(&r[i], &r[i + 4], 4, 0x0f);
    for (size_t i = 0; i < 8; i += i % 2 == 0 ? 1 : 3)
        SWAP_BITS(&r[i], &r[i + 2], 2, 0x33);
    for (size_t i = 0; i < 8; i += 2)
        SWAP_BITS(&r[i], &r[i + 1], 1, 0x55);
}

/* In each half: word k of r[i] becomes word i of r[k]. Its own inverse. */
INLINE void turn_words(__m256i r[8])
{
    __m256i a[8], b[8];
    for (size_t i = 0; i < 4; i++) {
        a[2 * i] = _mm256_unpacklo_epi16(r[2 * i], r[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_epi16(r[2 * i], r[2 * i + 1]);
    }
    for (size_t i = 0; i < 8; i += 4) {
        b[i] = _mm256_unpacklo_epi32(a[i], a[i + 2]);
        b[i + 1] = _mm256_unpackhi_epi32(a[i], a[i + 2]);
        b[i + 2] = _mm256_unpacklo_epi32(a[i + 1], a[i + 3]);
        b[i + 3] = _mm256_unpackhi_epi32(a[i + 1], a[i + 3]);
    }
    for (size_t i = 0; i < 4; i++) {
        r[2 * i] = _mm256_unpacklo_epi64(b[i], b[i + 4]);
        r[2 * i + 1] = _mm256_unpackhi_epi64(b[i], b[i + 4]);
    }
}

/* Two times eight bytes to eight times two, in each half; and back. */
INLINE __m256i pair_up(__m256i v)
{
    const __m256i order = _mm256_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15, 0,
                                           8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    return _mm256_shuffle_epi8(v, order);
}

INLINE __m256i part(__m256i v)
{
    const __m256i order = _mm256_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15, 0,
                                           2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    return _mm256_shuffle_epi8(v, order);
}

/* The lower half of each register is of the first 128 bytes, the upper of the second: what is
 * turned within halves comes out in order. */
AVX2 static void spread(const uint8_t *in, size_t bytes, uint8_t *planes, size_t plane_bytes)
{
    for (size_t at = 0; at < bytes; at += STEP) {
        __m256i r[8];
        for (size_t i = 0; i < 8; i++) {
            const uint8_t *p = in + at + 16 * i;
            r[i] = pair_up(_mm256_loadu2_m128i((const __m128i *)(const void *)(p + STEP / 2),
                                               (const __m128i *)(const void *)p));
        }
        turn_words(r);
        turn_bits(r);
        for (size_t i = 0; i < 8; i++)
            _mm256_storeu_si256((__m256i *)(void *)(planes + i * plane_bytes + at / 8), r[i]);
    }
}

AVX2 static void gather(const uint8_t *planes, size_t plane_bytes, uint8_t *out, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += STEP) {
        __m256i r[8];
        for (size_t i = 0; i < 8; i++) {
            const uint8_t *p = planes + i * plane_bytes + at / 8;
            r[i] = _mm256_loadu_si256((const __m256i *)(const void *)p);
        }
        turn_bits(r);
        turn_words(r);
        for (size_t i = 0; i < 8; i++) {
            uint8_t *p = out + at + 16 * i;
            _mm256_storeu2_m128i((__m128i *)(void *)(p + STEP / 2), (__m128i *)(void *)p,
                                 part(r[i]));
        }
    }
}

AVX2 static void split(const uint8_t *in, size_t pairs, uint8_t *first, uint8_t *second)
{
    size_t whole = pairs - pairs % 32;
    for (size_t i = 0; i < whole; i += 32) {
        const __m256i *p = (const __m256i *)(const void *)(in + 2 * i);
        __m256i a = part(_mm256_loadu_si256(p)), b = part(_mm256_loadu_si256(p + 1));
        __m256i low = _mm256_unpacklo_epi64(a, b), high = _mm256_unpackhi_epi64(a, b);
        _mm256_storeu_si256((__m256i *)(void *)(first + i), _mm256_permute4x64_epi64(low, 0xd8));
        _mm256_storeu_si256((__m256i *)(void *)(second + i), _mm256_permute4x64_epi64(high, 0xd8));
    }
    mr_bitshuffle_plain.split(in + 2 * whole, pairs - whole, first + whole, second + whole);
}

AVX2 static void join(const uint8_t *first, const uint8_t *second, size_t pairs, uint8_t *out)
{
    size_t whole = pairs - pairs % 32;
    for (size_t i = 0; i < whole; i += 32) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(first + i));
        __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(second + i));
        a = _mm256_permute4x64_epi64(a, 0xd8);
        b = _mm256_permute4x64_epi64(b, 0xd8);
        __m256i *p = (__m256i *)(void *)(out + 2 * i);
        _mm256_storeu_si256(p, _mm256_unpacklo_epi8(a, b));
        _mm256_storeu_si256(p + 1, _mm256_unpackhi_epi8(a, b));
    }
    mr_bitshuffle_plain.join(first + whole, second + whole, pairs - whole, out + 2 * whole);
}

static bool usable(void)
{
    return __builtin_cpu_supports("avx2");
}

const struct mr_bitshuffle_kernel mr_bitshuffle_avx2 = {
    .name = "avx2",
    .step = STEP,
    .usable = usable,
    .spread = spread,
    .gather = gather,
    .split = split,
    .join = join,
};
#endif
