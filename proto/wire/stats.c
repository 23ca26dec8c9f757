/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statistics of pixels. Counts what it is given: padding is left out by the caller (the pixel part
 * of a span), except the nibble that ends a 4-bit row of odd width. Inner loops are over short
 * blocks with narrow accumulators, so that the compiler can keep them in vector registers.
 */
#include "wire/stats.h"

#include "wire/stats_tally.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <string.h>

#define BLOCK 4096u /* floats that are looked at twice */
#define LANES 8u
/* Pixels of a movie, at most: sums of squares then fit 128 bits with room to merge. */
#define COUNT_MAX (1ull << 56)

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static uint16_t load_16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return le16toh(v);
}

static void add_tally(struct mr_stats *s, struct mr_stats_tally t, uint64_t pixels)
{
    struct mr_stats block = {.kind = MR_STATS_EXACT,
                             .count = pixels,
                             .min = t.min,
                             .max = t.max,
                             .sum = t.sum,
                             .squares = t.squares};
    mr_stats_merge(s, &block);
}

static void stats_of_integers(enum mr_pixel pixel, const uint8_t *p, size_t bytes,
                              struct mr_stats *s)
{
    for (size_t at = 0; at < bytes; at += MR_STATS_TALLY_BYTES) {
        size_t n = min_size(MR_STATS_TALLY_BYTES, bytes - at);
        uint64_t pixels = pixel == MR_PIXEL_U4 ? 2 * n : n / mr_pixel_bytes(pixel);
        add_tally(s, mr_stats_tally(pixel, p + at, n), pixels);
    }
}

/* Rows of odd width: the last byte of each holds one pixel. */
static void stats_of_odd_rows(uint64_t width, const uint8_t *p, size_t bytes, struct mr_stats *s)
{
    size_t row_bytes = (size_t)mr_pixel_row_bytes(MR_PIXEL_U4, width);
    assert(bytes % row_bytes == 0);
    for (size_t at = 0; at < bytes; at += row_bytes) {
        stats_of_integers(MR_PIXEL_U4, p + at, row_bytes - 1, s);
        uint8_t last = p[at + row_bytes - 1] & 15u;
        add_tally(s, mr_stats_tally(MR_PIXEL_U8, &last, 1), 1);
    }
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* IEEE 754 binary16. Normal: the exponent is moved into place and rebiased by 112. Subnormal: m x
 * 2^-24 is (1 + m / 1024) x 2^-14 less 2^-14, which needs no subnormal float (those trap to slow
 * microcode). Inf and NaN come out finite: see load_halves. */
static float from_half(uint16_t half)
{
    uint32_t low = (uint32_t)(half & 0x7fffu) << 13;
    float normal = float_of(low + (112u << 23));
    float subnormal = float_of(low + (113u << 23)) - 0x1p-14f;
    float size = (half & 0x7c00u) == 0 ? subnormal : normal;
    return half & 0x8000u ? -size : size;
}

/* Converts n pixels; false where one is NaN or Inf (all exponent bits set, the largest
 * magnitudes). */
static bool load_halves(const uint8_t *p, size_t n, float *ret)
{
    uint16_t most = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t half = load_16(p + 2 * i);
        uint16_t magnitude = half & 0x7fffu;
        most = magnitude > most ? magnitude : most;
        ret[i] = from_half(half);
    }
    return most < 0x7c00u;
}

static bool load_floats(const uint8_t *p, size_t n, float *ret)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, p + 4 * i, sizeof(bits));
        bits = le32toh(bits);
        uint32_t magnitude = bits & 0x7fffffffu;
        most = magnitude > most ? magnitude : most;
        memcpy(&ret[i], &bits, sizeof(bits));
    }
    return most < 0x7f800000u;
}

static double sum_lanes(const double lanes[LANES])
{
    return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
           ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

/* v holds whole groups of LANES: pixel i is added in lane i % LANES, so that the order of
 * additions, and with it the last bit, is the same on every machine. */
static void range_lanes(const float *v, size_t n, double sum[LANES], float min[LANES],
                        float max[LANES])
{
    for (size_t i = 0; i < n; i += LANES) {
        for (size_t k = 0; k < LANES; k++) {
            float x = v[i + k];
            sum[k] += (double)x;
            min[k] = x < min[k] ? x : min[k];
            max[k] = x > max[k] ? x : max[k];
        }
    }
}

static void square_lanes(const float *v, size_t n, double mean, double squares[LANES])
{
    for (size_t i = 0; i < n; i += LANES) {
        for (size_t k = 0; k < LANES; k++) {
            double d = (double)v[i + k] - mean;
            squares[k] += d * d;
        }
    }
}

/* Mean and M2 of one block, about the block's own mean. */
static struct mr_stats float_block(const float *v, size_t n)
{
    double sum[LANES] = {0}, squares[LANES] = {0};
    float min[LANES], max[LANES];
    size_t whole = n - n % LANES;
    for (size_t k = 0; k < LANES; k++)
        min[k] = max[k] = v[0];
    range_lanes(v, whole, sum, min, max);
    for (size_t i = whole; i < n; i++) {
        sum[i % LANES] += (double)v[i];
        min[0] = v[i] < min[0] ? v[i] : min[0];
        max[0] = v[i] > max[0] ? v[i] : max[0];
    }
    double mean = sum_lanes(sum) / (double)n;
    square_lanes(v, whole, mean, squares);
    for (size_t i = whole; i < n; i++) {
        double d = (double)v[i] - mean;
        squares[i % LANES] += d * d;
    }
    for (size_t k = 1; k < LANES; k++) {
        min[0] = min[k] < min[0] ? min[k] : min[0];
        max[0] = max[k] > max[0] ? max[k] : max[0];
    }
    return (struct mr_stats){.kind = MR_STATS_FLOAT,
                             .count = n,
                             .min = (double)min[0],
                             .max = (double)max[0],
                             .mean = mean,
                             .m2 = sum_lanes(squares)};
}

static void stats_of_floats(enum mr_pixel pixel, const uint8_t *p, size_t pixels,
                            struct mr_stats *s)
{
    float block[BLOCK];
    size_t size = mr_pixel_bytes(pixel);
    for (size_t at = 0; at < pixels; at += BLOCK) {
        size_t n = min_size(BLOCK, pixels - at);
        bool finite = pixel == MR_PIXEL_F16 ? load_halves(p + at * size, n, block)
                                            : load_floats(p + at * size, n, block);
        if (!finite) {
            *s = (struct mr_stats){.kind = MR_STATS_UNKNOWN, .count = pixels};
            return;
        }
        struct mr_stats next = float_block(block, n);
        mr_stats_merge(s, &next);
    }
}

void mr_stats_of(enum mr_pixel pixel, uint64_t width, const void *data, size_t bytes,
                 struct mr_stats *ret)
{
    size_t size = mr_pixel_bytes(pixel);
    assert(bytes % size == 0);
    struct mr_stats s = {0};
    switch (pixel) {
    case MR_PIXEL_I8:
    case MR_PIXEL_U8:
    case MR_PIXEL_I16:
    case MR_PIXEL_U16:
        stats_of_integers(pixel, data, bytes, &s);
        break;
    case MR_PIXEL_F16:
    case MR_PIXEL_F32:
        stats_of_floats(pixel, data, bytes / size, &s);
        break;
    case MR_PIXEL_U4:
        if (width % 2 == 0)
            stats_of_integers(pixel, data, bytes, &s);
        else
            stats_of_odd_rows(width, data, bytes, &s);
        break;
    case MR_PIXEL_NONE:
    case MR_PIXEL_COUNT:
        break;
    }
    *ret = s;
}

/* Chan, Golub, LeVeque: combining means and squared deviations of two sets. */
static void merge_float(struct mr_stats *into, const struct mr_stats *next)
{
    double a = (double)into->count, b = (double)next->count;
    double delta = next->mean - into->mean;
    into->mean += delta * (b / (a + b));
    into->m2 += next->m2 + delta * delta * (a * b / (a + b));
}

void mr_stats_merge(struct mr_stats *into, const struct mr_stats *next)
{
    if (next->kind == MR_STATS_NONE)
        return;
    if (into->kind == MR_STATS_NONE) {
        *into = *next;
        return;
    }
    uint64_t count = into->count + next->count;
    if (into->kind != next->kind || into->kind == MR_STATS_UNKNOWN || count > COUNT_MAX) {
        count = count > COUNT_MAX ? COUNT_MAX : count;
        *into = (struct mr_stats){.kind = MR_STATS_UNKNOWN, .count = count};
        return;
    }
    if (into->kind == MR_STATS_FLOAT)
        merge_float(into, next);
    into->sum += next->sum;
    into->squares += next->squares;
    into->min = next->min < into->min ? next->min : into->min;
    into->max = next->max > into->max ? next->max : into->max;
    into->count = count;
}

/* Exact in integers where the products fit 128 bits, which they do up to thousands of frames. */
static double exact_variance(const struct mr_stats *s)
{
    unsigned __int128 n = s->count, a, b;
    unsigned __int128 size = (unsigned __int128)(s->sum < 0 ? -s->sum : s->sum);
    if (__builtin_mul_overflow(n, s->squares, &a) || __builtin_mul_overflow(size, size, &b)) {
        long double mean = (long double)s->sum / (long double)s->count;
        return (double)((long double)s->squares / (long double)s->count - mean * mean);
    }
    return a > b ? (double)((long double)(a - b) / (long double)s->count / (long double)s->count)
                 : 0.0;
}

static bool fits_float(double v)
{
    return isfinite(v) && fabs(v) <= (double)FLT_MAX;
}

void mr_stats_summarise(const struct mr_stats *s, struct mr_stats_summary *ret)
{
    *ret = (struct mr_stats_summary){.min = 0, .max = -1, .mean = -2, .rms = -1, .known = false};
    double mean = s->mean, variance = 0;
    if (s->kind == MR_STATS_EXACT) {
        mean = (double)((long double)s->sum / (long double)s->count);
        variance = exact_variance(s);
    } else if (s->kind == MR_STATS_FLOAT) {
        variance = s->m2 / (double)s->count;
    } else {
        return;
    }
    double rms = variance > 0 ? sqrt(variance) : 0.0;
    if (fits_float(s->min) && fits_float(s->max) && fits_float(mean) && fits_float(rms) &&
        !isnan(variance)) {
        *ret =
            (struct mr_stats_summary){(float)s->min, (float)s->max, (float)mean, (float)rms, true};
    }
}

static void write_128(struct mr_writer *w, unsigned __int128 v)
{
    mr_write_u64(w, (uint64_t)v);
    mr_write_u64(w, (uint64_t)(v >> 64));
}

static unsigned __int128 read_128(struct mr_reader *r)
{
    uint64_t low = mr_read_u64(r);
    return (unsigned __int128)mr_read_u64(r) << 64 | low;
}

void mr_stats_write(struct mr_writer *w, const struct mr_stats *s)
{
    static const uint8_t zeros[7];
    bool counted = s->kind == MR_STATS_EXACT || s->kind == MR_STATS_FLOAT;
    mr_write_u8(w, (uint8_t)s->kind);
    mr_write_raw(w, zeros, sizeof(zeros));
    mr_write_u64(w, s->count);
    mr_write_f64(w, counted ? s->min : 0.0);
    mr_write_f64(w, counted ? s->max : 0.0);
    if (s->kind == MR_STATS_FLOAT) {
        mr_write_f64(w, s->mean);
        mr_write_f64(w, s->m2);
        write_128(w, 0);
    } else {
        write_128(w, counted ? (unsigned __int128)s->sum : 0);
        write_128(w, counted ? s->squares : 0);
    }
}

/* Could these be the sums of `count` pixels between min and max? Keeps a peer's numbers from
 * overflowing the merge. */
static bool exact_plausible(const struct mr_stats *s)
{
    if (!(s->min >= INT16_MIN && s->max <= UINT16_MAX && s->min <= s->max) ||
        s->min != floor(s->min) || s->max != floor(s->max))
        return false;
    int64_t min = (int64_t)s->min, max = (int64_t)s->max;
    uint64_t top = (uint64_t)(max * max > min * min ? max * max : min * min);
    return s->sum >= (__int128)s->count * min && s->sum <= (__int128)s->count * max &&
           s->squares <= (unsigned __int128)s->count * top;
}

static bool float_plausible(const struct mr_stats *s)
{
    return fits_float(s->min) && fits_float(s->max) && s->min <= s->max && isfinite(s->mean) &&
           fabs(s->mean) <= 2 * (double)FLT_MAX && isfinite(s->m2) && s->m2 >= 0;
}

int mr_stats_read(struct mr_reader *r, struct mr_stats *ret)
{
    struct mr_stats s = {.kind = (enum mr_stats_kind)mr_read_u8(r)};
    uint8_t zeros[7];
    mr_read_raw(r, zeros, sizeof(zeros));
    s.count = mr_read_u64(r);
    s.min = mr_read_f64(r);
    s.max = mr_read_f64(r);
    unsigned __int128 tail = 0;
    if (s.kind == MR_STATS_FLOAT) {
        s.mean = mr_read_f64(r);
        s.m2 = mr_read_f64(r);
        tail = read_128(r);
    } else {
        s.sum = (__int128)read_128(r);
        s.squares = read_128(r);
    }
    bool good = !r->failed && tail == 0 && s.count <= COUNT_MAX;
    for (size_t i = 0; i < sizeof(zeros); i++)
        good = good && zeros[i] == 0;
    if (good && s.kind == MR_STATS_EXACT) {
        good = s.count > 0 && exact_plausible(&s);
    } else if (good && s.kind == MR_STATS_FLOAT) {
        good = s.count > 0 && float_plausible(&s);
    } else {
        good = good && (s.kind == MR_STATS_UNKNOWN || (s.kind == MR_STATS_NONE && s.count == 0)) &&
               s.min == 0 && s.max == 0 && s.sum == 0 && s.squares == 0;
    }
    if (!good)
        return -EPROTO;
    *ret = s;
    return 0;
}
