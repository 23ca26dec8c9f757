/* SPDX-License-Identifier: Apache-2.0 */
/* Counts whole-number pixels of one block. Merges nothing and knows no rows. */
#include "wire/stats_tally.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

static struct mr_stats_tally tally_i8(const uint8_t *p, size_t n)
{
    int8_t min = INT8_MAX, max = INT8_MIN;
    int32_t sum = 0;
    uint32_t squares = 0;
    for (size_t i = 0; i < n; i++) {
        int8_t v = (int8_t)p[i];
        min = v < min ? v : min;
        max = v > max ? v : max;
        sum += v;
        squares += (uint32_t)(v * v);
    }
    return (struct mr_stats_tally){min, max, sum, squares};
}

static struct mr_stats_tally tally_u8(const uint8_t *p, size_t n)
{
    uint8_t min = UINT8_MAX, max = 0;
    uint32_t sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t v = p[i];
        min = p[i] < min ? p[i] : min;
        max = p[i] > max ? p[i] : max;
        sum += v;
        squares += v * v;
    }
    return (struct mr_stats_tally){min, max, (int64_t)sum, squares};
}

static uint16_t load_16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return le16toh(v);
}

static struct mr_stats_tally tally_i16(const uint8_t *p, size_t n)
{
    int16_t min = INT16_MAX, max = INT16_MIN;
    int32_t sum = 0;
    uint64_t squares = 0;
    for (size_t i = 0; i < n; i++) {
        int16_t v = (int16_t)load_16(p + 2 * i);
        min = v < min ? v : min;
        max = v > max ? v : max;
        sum += v;
        squares += (uint32_t)(v * v);
    }
    return (struct mr_stats_tally){min, max, sum, squares};
}

static struct mr_stats_tally tally_u16(const uint8_t *p, size_t n)
{
    uint16_t min = UINT16_MAX, max = 0;
    uint32_t sum = 0;
    uint64_t squares = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t v = load_16(p + 2 * i);
        min = v < min ? v : min;
        max = v > max ? v : max;
        sum += v;
        squares += (uint32_t)v * v;
    }
    return (struct mr_stats_tally){min, max, (int64_t)sum, squares};
}

/* Two nibbles a byte. */
static struct mr_stats_tally tally_u4(const uint8_t *p, size_t n)
{
    uint8_t min = 15, max = 0;
    uint32_t sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t low = p[i] & 15u, high = (uint8_t)(p[i] >> 4);
        uint8_t less = low < high ? low : high, more = low < high ? high : low;
        min = less < min ? less : min;
        max = more > max ? more : max;
        sum += (uint32_t)low + high;
        squares += (uint32_t)low * low + (uint32_t)high * high;
    }
    return (struct mr_stats_tally){min, max, (int64_t)sum, squares};
}

struct mr_stats_tally mr_stats_tally_plain(enum mr_pixel pixel, const uint8_t *p, size_t bytes)
{
    assert(bytes > 0 && bytes <= MR_STATS_TALLY_BYTES);
    switch (pixel) {
    case MR_PIXEL_I8:
        return tally_i8(p, bytes);
    case MR_PIXEL_U8:
        return tally_u8(p, bytes);
    case MR_PIXEL_I16:
        return tally_i16(p, bytes / 2);
    case MR_PIXEL_U16:
        return tally_u16(p, bytes / 2);
    case MR_PIXEL_U4:
        return tally_u4(p, bytes);
    case MR_PIXEL_NONE:
    case MR_PIXEL_F16:
    case MR_PIXEL_F32:
    case MR_PIXEL_COUNT:
    default:
        assert(false);
        return (struct mr_stats_tally){0, 0, 0, 0};
    }
}

#if defined(__x86_64__)
#include <immintrin.h>

#define VECTOR 32u /* bytes */
#define TARGET __attribute__((target("avx2")))
#define INLINE static inline __attribute__((always_inline, target("avx2")))

/* What the loops add to: min and max in bytes or words as the pixel is, sums of 64 bits. */
struct lanes {
    __m256i min, max, sum, squares;
};

INLINE __m256i load(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

INLINE uint64_t add_up_64(__m256i v)
{
    uint64_t lane[4];
    memcpy(lane, &v, sizeof(lane));
    return lane[0] + lane[1] + lane[2] + lane[3];
}

/* Two sums of 32 bits, unsigned, to one of 64. */
INLINE __m256i widen(__m256i v)
{
    return _mm256_add_epi64(_mm256_srli_epi64(v, 32),
                            _mm256_and_si256(v, _mm256_set1_epi64x(0xffffffff)));
}

/* By way of the plain code, which finds min and max of the lanes. */
INLINE struct mr_stats_tally collect(enum mr_pixel pixel, const struct lanes *l)
{
    uint8_t least[VECTOR], most[VECTOR];
    memcpy(least, &l->min, VECTOR);
    memcpy(most, &l->max, VECTOR);
    return (struct mr_stats_tally){mr_stats_tally_plain(pixel, least, VECTOR).min,
                                   mr_stats_tally_plain(pixel, most, VECTOR).max,
                                   (int64_t)add_up_64(l->sum), add_up_64(l->squares)};
}

TARGET static struct mr_stats_tally vector_u8(const uint8_t *p, size_t bytes)
{
    const __m256i zero = _mm256_setzero_si256();
    struct lanes l = {_mm256_set1_epi8(-1), zero, zero, zero};
    for (size_t i = 0; i < bytes; i += VECTOR) {
        __m256i v = load(p + i);
        __m256i low = _mm256_unpacklo_epi8(v, zero), high = _mm256_unpackhi_epi8(v, zero);
        l.min = _mm256_min_epu8(l.min, v);
        l.max = _mm256_max_epu8(l.max, v);
        l.sum = _mm256_add_epi64(l.sum, _mm256_sad_epu8(v, zero));
        l.squares = _mm256_add_epi32(l.squares, _mm256_add_epi32(_mm256_madd_epi16(low, low),
                                                                 _mm256_madd_epi16(high, high)));
    }
    l.squares = widen(l.squares);
    return collect(MR_PIXEL_U8, &l);
}

/* Moved up by 128 for the sum. */
TARGET static struct mr_stats_tally vector_i8(const uint8_t *p, size_t bytes)
{
    const __m256i zero = _mm256_setzero_si256(), top = _mm256_set1_epi8(INT8_MIN);
    struct lanes l = {_mm256_set1_epi8(INT8_MAX), top, zero, zero};
    for (size_t i = 0; i < bytes; i += VECTOR) {
        __m256i v = load(p + i), sign = _mm256_cmpgt_epi8(zero, v);
        __m256i low = _mm256_unpacklo_epi8(v, sign), high = _mm256_unpackhi_epi8(v, sign);
        l.min = _mm256_min_epi8(l.min, v);
        l.max = _mm256_max_epi8(l.max, v);
        l.sum = _mm256_add_epi64(l.sum, _mm256_sad_epu8(_mm256_xor_si256(v, top), zero));
        l.squares = _mm256_add_epi32(l.squares, _mm256_add_epi32(_mm256_madd_epi16(low, low),
                                                                 _mm256_madd_epi16(high, high)));
    }
    l.squares = widen(l.squares);
    struct mr_stats_tally t = collect(MR_PIXEL_I8, &l);
    t.sum -= 128 * (int64_t)bytes;
    return t;
}

TARGET static struct mr_stats_tally vector_u4(const uint8_t *p, size_t bytes)
{
    const __m256i zero = _mm256_setzero_si256(), nibble = _mm256_set1_epi8(15);
    const __m256i square = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 1, 4, 9, 16, 25, 36, 49, 64, 81, 100, 121, (char)144, (char)169, (char)196, (char)225));
    struct lanes l = {nibble, zero, zero, zero};
    for (size_t i = 0; i < bytes; i += VECTOR) {
        __m256i v = load(p + i), low = _mm256_and_si256(v, nibble);
        __m256i high = _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble);
        l.min = _mm256_min_epu8(l.min, _mm256_min_epu8(low, high));
        l.max = _mm256_max_epu8(l.max, _mm256_max_epu8(low, high));
        l.sum = _mm256_add_epi64(l.sum, _mm256_sad_epu8(_mm256_add_epi8(low, high), zero));
        l.squares = _mm256_add_epi64(
            l.squares, _mm256_add_epi64(_mm256_sad_epu8(_mm256_shuffle_epi8(square, low), zero),
                                        _mm256_sad_epu8(_mm256_shuffle_epi8(square, high), zero)));
    }
    return collect(MR_PIXEL_U8, &l);
}

/* `bias` is added to every pixel first: 0, or what makes an unsigned word a signed one. */
TARGET static struct mr_stats_tally vector_16(const uint8_t *p, size_t bytes, int16_t bias)
{
    const __m256i zero = _mm256_setzero_si256(), ones = _mm256_set1_epi16(1);
    const __m256i add = _mm256_set1_epi16(bias);
    struct lanes l = {_mm256_set1_epi16(INT16_MAX), _mm256_set1_epi16(INT16_MIN), zero, zero};
    for (size_t i = 0; i < bytes; i += VECTOR) {
        __m256i v = _mm256_add_epi16(load(p + i), add);
        l.min = _mm256_min_epi16(l.min, v);
        l.max = _mm256_max_epi16(l.max, v);
        l.sum = _mm256_add_epi32(l.sum, _mm256_madd_epi16(v, ones));
        /* two of -32768 make 2^31, which is right without a sign */
        l.squares = _mm256_add_epi64(l.squares, widen(_mm256_madd_epi16(v, v)));
    }
    int32_t sums[8];
    memcpy(sums, &l.sum, sizeof(sums));
    struct mr_stats_tally t = collect(MR_PIXEL_I16, &l);
    t.sum = 0;
    for (size_t i = 0; i < 8; i++)
        t.sum += sums[i];
    return t;
}

/* From the pixels less 32768 back to the pixels. */
static struct mr_stats_tally vector_u16(const uint8_t *p, size_t bytes)
{
    struct mr_stats_tally t = vector_16(p, bytes, INT16_MIN);
    int64_t pixels = (int64_t)bytes / 2;
    t.squares = (uint64_t)((int64_t)t.squares + 65536 * t.sum + (pixels << 30));
    t.sum += 32768 * pixels;
    t.min += 32768;
    t.max += 32768;
    return t;
}

static struct mr_stats_tally tally_vectors(enum mr_pixel pixel, const uint8_t *p, size_t bytes)
{
    switch (pixel) {
    case MR_PIXEL_I8:
        return vector_i8(p, bytes);
    case MR_PIXEL_U8:
        return vector_u8(p, bytes);
    case MR_PIXEL_I16:
        return vector_16(p, bytes, 0);
    case MR_PIXEL_U16:
        return vector_u16(p, bytes);
    case MR_PIXEL_U4:
        return vector_u4(p, bytes);
    case MR_PIXEL_NONE:
    case MR_PIXEL_F16:
    case MR_PIXEL_F32:
    case MR_PIXEL_COUNT:
    default:
        return mr_stats_tally_plain(pixel, p, bytes);
    }
}

static struct mr_stats_tally merge(struct mr_stats_tally a, struct mr_stats_tally b)
{
    return (struct mr_stats_tally){a.min < b.min ? a.min : b.min, a.max > b.max ? a.max : b.max,
                                   a.sum + b.sum, a.squares + b.squares};
}

struct mr_stats_tally mr_stats_tally(enum mr_pixel pixel, const uint8_t *p, size_t bytes)
{
    size_t whole = bytes - bytes % VECTOR;
    assert(bytes <= MR_STATS_TALLY_BYTES);
    if (whole == 0 || !__builtin_cpu_supports("avx2"))
        return mr_stats_tally_plain(pixel, p, bytes);
    struct mr_stats_tally t = tally_vectors(pixel, p, whole);
    return whole == bytes ? t : merge(t, mr_stats_tally_plain(pixel, p + whole, bytes - whole));
}

#else

struct mr_stats_tally mr_stats_tally(enum mr_pixel pixel, const uint8_t *p, size_t bytes)
{
    return mr_stats_tally_plain(pixel, p, bytes);
}
#endif
