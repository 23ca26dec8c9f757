/* SPDX-License-Identifier: Apache-2.0 */
/* Are the statistics those of a slow loop, however the pixels are cut? What of a peer's numbers? */
#include "suite.h"
#include "wire/stats.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <string.h>

#define BYTES 100004u

static uint8_t data[BYTES];

static void fill_random(void)
{
    uint64_t x = 42;
    for (size_t i = 0; i < BYTES; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        data[i] = (uint8_t)(x >> 56);
    }
}

static int value_of(enum mr_pixel pixel, size_t i)
{
    int v16 = data[2 * i % BYTES] | data[(2 * i + 1) % BYTES] << 8;
    switch (pixel) {
    case MR_PIXEL_I8:
        return data[i] < 128 ? data[i] : data[i] - 256;
    case MR_PIXEL_U8:
        return data[i];
    case MR_PIXEL_I16:
        return v16 < 32768 ? v16 : v16 - 65536;
    case MR_PIXEL_U16:
        return v16;
    case MR_PIXEL_U4:
        return i % 2 ? data[i / 2] >> 4 : data[i / 2] & 15;
    case MR_PIXEL_NONE:
    case MR_PIXEL_F16:
    case MR_PIXEL_F32:
    case MR_PIXEL_COUNT:
        break;
    }
    ck_abort();
}

static struct mr_stats naive(enum mr_pixel pixel, size_t pixels)
{
    struct mr_stats s = {.kind = MR_STATS_EXACT, .count = pixels, .min = 1e9, .max = -1e9};
    for (size_t i = 0; i < pixels; i++) {
        int v = value_of(pixel, i);
        s.min = v < s.min ? v : s.min;
        s.max = v > s.max ? v : s.max;
        s.sum += v;
        s.squares += (unsigned __int128)((int64_t)v * v);
    }
    return s;
}

static void check_equal(const struct mr_stats *a, const struct mr_stats *b)
{
    ck_assert_int_eq(a->kind, b->kind);
    ck_assert_uint_eq(a->count, b->count);
    ck_assert_double_eq(a->min, b->min);
    ck_assert_double_eq(a->max, b->max);
    ck_assert(a->sum == b->sum);
    ck_assert(a->squares == b->squares);
    ck_assert_double_eq(a->mean, b->mean);
    ck_assert_double_eq(a->m2, b->m2);
}

START_TEST(integers_are_exact)
{
    static const enum mr_pixel types[] = {MR_PIXEL_I8, MR_PIXEL_U8, MR_PIXEL_I16, MR_PIXEL_U16,
                                          MR_PIXEL_U4};
    static const size_t sizes[] = {4, 8188, 8192, 8196, BYTES};
    for (size_t t = 0; t < 5; t++) {
        for (size_t i = 0; i < 5; i++) {
            size_t pixels = sizes[i] / mr_pixel_bytes(types[t]) * (types[t] == MR_PIXEL_U4 ? 2 : 1);
            struct mr_stats s, want = naive(types[t], pixels);
            mr_stats_of(types[t], 8, data, sizes[i], &s);
            check_equal(&s, &want);
        }
    }
}
END_TEST

START_TEST(extremes_do_not_overflow)
{
    static uint8_t full[1u << 20];
    struct mr_stats s;
    memset(full, 0xff, sizeof(full));
    mr_stats_of(MR_PIXEL_U16, 1, full, sizeof(full), &s);
    ck_assert(s.sum == (__int128)65535 * (1 << 19));
    ck_assert(s.squares == (unsigned __int128)65535 * 65535 * (1 << 19));
    mr_stats_of(MR_PIXEL_U8, 1, full, sizeof(full), &s);
    ck_assert(s.squares == (unsigned __int128)255 * 255 * (1 << 20));
    for (size_t i = 0; i < sizeof(full); i++) {
        full[i] = (uint8_t)(i % 2 ? 0x80 : 0);
    }
    mr_stats_of(MR_PIXEL_I16, 1, full, sizeof(full), &s);
    ck_assert(s.sum == (__int128)-32768 * (1 << 19));
    ck_assert(s.squares == (unsigned __int128)1 << 49);
    ck_assert_double_eq(s.min, -32768);
}
END_TEST

START_TEST(order_does_not_matter)
{
    struct mr_stats whole, a, b, c;
    mr_stats_of(MR_PIXEL_I16, 8, data, BYTES, &whole);
    mr_stats_of(MR_PIXEL_I16, 8, data, 10, &a);
    mr_stats_of(MR_PIXEL_I16, 8, data + 10, 50000, &b);
    mr_stats_of(MR_PIXEL_I16, 8, data + 50010, BYTES - 50010, &c);
    struct mr_stats s = {0};
    mr_stats_merge(&s, &c);
    mr_stats_merge(&s, &a);
    mr_stats_merge(&s, &b);
    check_equal(&s, &whole);
}
END_TEST

START_TEST(odd_rows_of_nibbles_leave_padding_out)
{
    static const uint8_t rows[] = {0x21, 0xf3, 0x54, 0xf6}; /* 1 2 3, 4 5 6; f is padding */
    struct mr_stats s;
    mr_stats_of(MR_PIXEL_U4, 3, rows, sizeof(rows), &s);
    ck_assert_uint_eq(s.count, 6);
    ck_assert(s.sum == 21);
    ck_assert(s.squares == 91);
    ck_assert_double_eq(s.max, 6);
}
END_TEST

/* binary16 as its definition says. */
static double half_value(unsigned h)
{
    int e = (int)(h >> 10 & 31), m = (int)(h & 1023);
    double v = e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return h & 0x8000 ? -v : v;
}

START_TEST(every_half_float)
{
    for (unsigned h = 0; h < 65536; h++) {
        uint8_t pixel[2] = {(uint8_t)h, (uint8_t)(h >> 8)};
        struct mr_stats s;
        mr_stats_of(MR_PIXEL_F16, 1, pixel, 2, &s);
        if ((h >> 10 & 31) == 31) {
            ck_assert_int_eq(s.kind, MR_STATS_UNKNOWN);
        } else if (s.kind != MR_STATS_FLOAT || s.mean != half_value(h) || s.min != s.mean ||
                   s.max != s.mean || s.m2 != 0) {
            ck_abort_msg("half %04x is %g, not %g", h, s.mean, half_value(h));
        }
    }
}
END_TEST

START_TEST(floats_far_from_zero_keep_their_spread)
{
    static float v[20000];
    for (size_t i = 0; i < 20000; i++) {
        v[i] = 1e6f + (float)(i % 5); /* variance 2 about a mean of 1000002 */
    }
    struct mr_stats s, part;
    mr_stats_of(MR_PIXEL_F32, 1, v, sizeof(v), &s);
    ck_assert_double_eq_tol(s.mean, 1000002, 1e-6);
    ck_assert_double_eq_tol(s.m2 / 20000, 2, 1e-9);
    struct mr_stats merged = {0};
    for (size_t at = 0; at < 20000; at += 2500) {
        mr_stats_of(MR_PIXEL_F32, 1, v + at, 2500 * sizeof(v[0]), &part);
        mr_stats_merge(&merged, &part);
    }
    ck_assert_uint_eq(merged.count, 20000);
    ck_assert_double_eq_tol(merged.mean, 1000002, 1e-6);
    ck_assert_double_eq_tol(merged.m2 / 20000, 2, 1e-9);
}
END_TEST

START_TEST(one_nan_makes_all_unknown)
{
    static float v[10000];
    struct mr_stats s, good;
    struct mr_stats_summary sum;
    mr_stats_of(MR_PIXEL_F32, 1, v, sizeof(v), &good);
    v[9000] = NAN;
    mr_stats_of(MR_PIXEL_F32, 1, v, sizeof(v), &s);
    ck_assert_int_eq(s.kind, MR_STATS_UNKNOWN);
    v[9000] = -INFINITY;
    mr_stats_of(MR_PIXEL_F32, 1, v, sizeof(v), &s);
    ck_assert_int_eq(s.kind, MR_STATS_UNKNOWN);
    mr_stats_merge(&good, &s);
    mr_stats_summarise(&good, &sum);
    ck_assert(!sum.known);
    ck_assert_float_lt(sum.max, sum.min);
    ck_assert_float_lt(sum.mean, sum.max);
    ck_assert_float_lt(sum.rms, 0);
}
END_TEST

START_TEST(summary_of_known_numbers)
{
    static const uint8_t v[] = {2, 4, 4, 4, 5, 5, 7, 9};
    struct mr_stats s;
    struct mr_stats_summary sum;
    mr_stats_of(MR_PIXEL_U8, 8, v, sizeof(v), &s);
    mr_stats_summarise(&s, &sum);
    ck_assert(sum.known);
    ck_assert_float_eq(sum.min, 2);
    ck_assert_float_eq(sum.max, 9);
    ck_assert_float_eq(sum.mean, 5);
    ck_assert_float_eq(sum.rms, 2);
    s = (struct mr_stats){0};
    mr_stats_summarise(&s, &sum);
    ck_assert(!sum.known);
    mr_stats_of(MR_PIXEL_U8, 8, v, 0, &s);
    ck_assert_int_eq(s.kind, MR_STATS_NONE);
}
END_TEST

static int wire(const struct mr_stats *in, struct mr_stats *ret, uint8_t out[MR_STATS_WIRE])
{
    struct mr_writer w = mr_writer_init(out, MR_STATS_WIRE);
    mr_stats_write(&w, in);
    ck_assert(!w.failed);
    ck_assert_uint_eq(w.at, MR_STATS_WIRE);
    struct mr_reader r = mr_reader_init(out, MR_STATS_WIRE);
    return mr_stats_read(&r, ret);
}

START_TEST(wire_there_and_back)
{
    uint8_t out[MR_STATS_WIRE];
    static const enum mr_pixel types[] = {MR_PIXEL_I8, MR_PIXEL_I16, MR_PIXEL_U16, MR_PIXEL_U4};
    struct mr_stats s = {0}, back;
    ck_assert_int_eq(wire(&s, &back, out), 0);
    check_equal(&s, &back);
    for (size_t i = 0; i < 4; i++) {
        mr_stats_of(types[i], 8, data, BYTES, &s);
        ck_assert_int_eq(wire(&s, &back, out), 0);
        check_equal(&s, &back);
    }
    static const float v[] = {-1.5f, 2, 1e30f};
    mr_stats_of(MR_PIXEL_F32, 8, v, sizeof(v), &s);
    ck_assert_int_eq(wire(&s, &back, out), 0);
    check_equal(&s, &back);
    s = (struct mr_stats){.kind = MR_STATS_UNKNOWN, .count = 7};
    ck_assert_int_eq(wire(&s, &back, out), 0);
    check_equal(&s, &back);
}
END_TEST

START_TEST(a_peers_impossible_sums_are_refused)
{
    uint8_t out[MR_STATS_WIRE];
    struct mr_stats good, bad, back;
    mr_stats_of(MR_PIXEL_I16, 8, data, BYTES, &good);
    bad = good, bad.sum = (__int128)1 << 120;
    ck_assert_int_eq(wire(&bad, &back, out), -EPROTO);
    bad = good, bad.squares = ~(unsigned __int128)0;
    ck_assert_int_eq(wire(&bad, &back, out), -EPROTO);
    bad = good, bad.count = 0;
    ck_assert_int_eq(wire(&bad, &back, out), -EPROTO);
    bad = good, bad.count = UINT64_MAX;
    ck_assert_int_eq(wire(&bad, &back, out), -EPROTO);
    bad = good, bad.min = NAN;
    ck_assert_int_eq(wire(&bad, &back, out), -EPROTO);
    bad = (struct mr_stats){.kind = MR_STATS_FLOAT, .count = 1, .m2 = INFINITY};
    ck_assert_int_eq(wire(&bad, &back, out), -EPROTO);
    bad = (struct mr_stats){.kind = (enum mr_stats_kind)9};
    ck_assert_int_eq(wire(&bad, &back, out), -EPROTO);
    struct mr_reader r = mr_reader_init(out, MR_STATS_WIRE - 1);
    ck_assert_int_eq(mr_stats_read(&r, &back), -EPROTO);
}
END_TEST

/* What may stand in a slab's header, and what no pixels can have made. */
START_TEST(a_peers_numbers_are_taken_up_to_what_pixels_can_make)
{
    const enum mr_stats_kind N = MR_STATS_NONE, E = MR_STATS_EXACT, F = MR_STATS_FLOAT,
                             U = MR_STATS_UNKNOWN;
    const double huge = (double)FLT_MAX;
    const struct {
        struct mr_stats s;
        bool good;
    } cases[] = {
        {{.kind = E, .count = 1, .min = 5, .max = 5, .sum = 5, .squares = 25}, true},
        {{.kind = E, .count = 1, .min = 5, .max = 5, .sum = 6, .squares = 25}, false},
        {{.kind = E, .count = 1, .min = 5, .max = 5, .sum = 4, .squares = 25}, false},
        {{.kind = E, .count = 1, .min = 5, .max = 5, .sum = 5, .squares = 26}, false},
        {{.kind = E, .count = 2, .min = -9, .max = 5, .sum = -18, .squares = 162}, true},
        {{.kind = E, .count = 2, .min = -9, .max = 5, .sum = 10, .squares = 0}, true},
        {{.kind = E, .count = 2, .min = -9, .max = 5, .sum = -19, .squares = 0}, false},
        {{.kind = E, .count = 2, .min = -9, .max = 5, .sum = 11, .squares = 0}, false},
        {{.kind = E, .count = 2, .min = -9, .max = 5, .squares = 163}, false},
        {{.kind = E, .count = 2, .min = -3, .max = 5, .squares = 50}, true},
        {{.kind = E, .count = 2, .min = -3, .max = 5, .squares = 51}, false},
        {{.kind = E, .count = 1, .min = -32768, .max = 65535}, true},
        {{.kind = E, .count = 1, .min = -32769, .max = 65535}, false},
        {{.kind = E, .count = 1, .min = -32768, .max = 65536}, false},
        {{.kind = E, .count = 1, .min = 6, .max = 5, .sum = 5}, false},
        {{.kind = E, .count = 1, .min = 0.5, .max = 5}, false},
        {{.kind = E, .count = 1, .min = 0, .max = 5.5}, false},
        {{.kind = E, .count = 1, .min = 0, .max = NAN}, false},
        {{.kind = E, .count = 0, .min = 0, .max = 0}, false},
        {{.kind = E, .count = 1ull << 56, .min = 0, .max = 0}, true},
        {{.kind = E, .count = (1ull << 56) + 1, .min = 0, .max = 0}, false},
        {{.kind = F, .count = 1, .min = -huge, .max = huge, .mean = 0, .m2 = 0}, true},
        {{.kind = F, .count = 1, .min = 1, .max = 1, .mean = -2 * huge, .m2 = 1e300}, true},
        {{.kind = F, .count = 1, .min = 1, .max = 1, .mean = 2.1 * huge}, false},
        {{.kind = F, .count = 1, .min = 1, .max = 1, .mean = NAN}, false},
        {{.kind = F, .count = 1, .min = 1, .max = 1, .mean = 1, .m2 = -1e-9}, false},
        {{.kind = F, .count = 1, .min = 1, .max = 1, .mean = 1, .m2 = NAN}, false},
        {{.kind = F, .count = 1, .min = 2, .max = 1, .mean = 1}, false},
        {{.kind = F, .count = 1, .min = NAN, .max = 1, .mean = 1}, false},
        {{.kind = F, .count = 1, .min = 1, .max = INFINITY, .mean = 1}, false},
        {{.kind = F, .count = 1, .min = -2 * huge, .max = 1, .mean = 1}, false},
        {{.kind = F, .count = 0, .min = 1, .max = 1, .mean = 1}, false},
        {{.kind = F, .count = (1ull << 56) + 1, .min = 1, .max = 1, .mean = 1}, false},
        {{.kind = U, .count = 0}, true},
        {{.kind = U, .count = 1ull << 56}, true},
        {{.kind = U, .count = (1ull << 56) + 1}, false},
        {{.kind = N, .count = 0}, true},
        {{.kind = N, .count = 1}, false},
        {{.kind = (enum mr_stats_kind)4}, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t out[MR_STATS_WIRE];
        struct mr_stats back = {.count = 99};
        int code = wire(&cases[i].s, &back, out);
        ck_assert_msg(code == (cases[i].good ? 0 : -EPROTO), "case %zu", i);
        if (code == 0)
            check_equal(&cases[i].s, &back);
        else
            ck_assert_uint_eq(back.count, 99);
    }
}
END_TEST

/* Each byte that has to be zero, by kind; all are written as zeros whatever the struct has. */
START_TEST(bytes_without_a_meaning_are_zero)
{
    for (unsigned kind = MR_STATS_NONE; kind <= MR_STATS_UNKNOWN; kind++) {
        uint8_t out[MR_STATS_WIRE];
        struct mr_stats back;
        bool counted = kind == MR_STATS_EXACT || kind == MR_STATS_FLOAT;
        struct mr_stats s = {
            .kind = (enum mr_stats_kind)kind, .count = counted, .max = 3, .min = 1};
        s.sum = 2, s.squares = 4, s.mean = 2, s.m2 = 1;
        ck_assert_int_eq(wire(&s, &back, out), 0);
        for (size_t at = 1; at < MR_STATS_WIRE; at++) {
            size_t from = kind == MR_STATS_FLOAT ? 48 : counted ? MR_STATS_WIRE : 16;
            if (at >= 8 && at < from)
                continue;
            ck_assert_uint_eq(out[at], 0);
            out[at] = 1;
            struct mr_reader r = mr_reader_init(out, MR_STATS_WIRE);
            ck_assert_msg(mr_stats_read(&r, &back) == -EPROTO, "kind %u, byte %zu", kind, at);
            out[at] = 0;
        }
    }
}
END_TEST

START_TEST(sums_are_on_the_wire_as_two_words_the_low_one_first)
{
    uint8_t out[MR_STATS_WIRE];
    struct mr_stats back, s = {.kind = MR_STATS_EXACT, .count = 1ull << 40, .min = -1, .max = 0};
    static const uint8_t want[MR_STATS_WIRE] = {
        1,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
        1,    0,    0,    0,    0,    0,    0,    0,    0,    0xf0, 0xbf, 0,    0,
        0,    0,    0,    0,    0,    0,    0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 3,    0,    0,    0,
        0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0};
    s.sum = -2;
    s.squares = 3;
    ck_assert_int_eq(wire(&s, &back, out), 0);
    ck_assert_mem_eq(out, want, sizeof(want));
    s = (struct mr_stats){.kind = MR_STATS_EXACT, .count = 1ull << 56, .min = 0, .max = 65535};
    s.squares = (unsigned __int128)65535 * 65535 << 56; /* above 2^64: both words count */
    s.sum = (__int128)65535 << 56;
    ck_assert_int_eq(wire(&s, &back, out), 0);
    check_equal(&s, &back);
    s.squares++;
    ck_assert_int_eq(wire(&s, &back, out), -EPROTO);
}
END_TEST

START_TEST(mixed_kinds_and_endless_counts_become_unknown)
{
    const enum mr_stats_kind N = MR_STATS_NONE, E = MR_STATS_EXACT, F = MR_STATS_FLOAT,
                             U = MR_STATS_UNKNOWN;
    const enum mr_stats_kind becomes[4][4] = {
        {N, E, F, U}, {E, E, U, U}, {F, U, F, U}, {U, U, U, U}};
    for (unsigned a = N; a <= U; a++) {
        for (unsigned b = N; b <= U; b++) {
            struct mr_stats into = {.kind = (enum mr_stats_kind)a, .count = a == N ? 0 : 5};
            struct mr_stats next = {.kind = (enum mr_stats_kind)b, .count = b == N ? 0 : 7};
            uint64_t count = into.count + next.count;
            mr_stats_merge(&into, &next);
            ck_assert_int_eq(into.kind, becomes[a][b]);
            ck_assert_uint_eq(into.count, count);
            ck_assert_int_eq(next.kind, b); /* only read */
        }
    }
    struct mr_stats most = {.kind = E, .count = (1ull << 56) - 1};
    struct mr_stats one = {.kind = E, .count = 1, .min = 3, .max = 3};
    mr_stats_merge(&most, &one);
    ck_assert_int_eq(most.kind, E);
    ck_assert_uint_eq(most.count, 1ull << 56);
    ck_assert_double_eq(most.max, 3);
    for (int i = 0; i < 3; i++) {
        mr_stats_merge(&most, &one);
        ck_assert_int_eq(most.kind, U);
        ck_assert_uint_eq(most.count, 1ull << 56);
        ck_assert_double_eq(most.max, 0);
    }
}
END_TEST

START_TEST(a_summary_is_known_where_floats_can_hold_it)
{
    const double huge = (double)FLT_MAX;
    const struct {
        struct mr_stats s;
        bool known;
        double mean, rms;
    } cases[] = {
        {{.kind = MR_STATS_FLOAT, .count = 4, .min = 1, .max = 3, .mean = 2, .m2 = 4}, true, 2, 1},
        {{.kind = MR_STATS_FLOAT, .count = 4, .min = 1, .max = 3, .mean = 2, .m2 = 0}, true, 2, 0},
        {{.kind = MR_STATS_FLOAT, .count = 1, .min = -huge, .max = huge}, true, 0, 0},
        {{.kind = MR_STATS_FLOAT, .count = 1, .max = 2 * huge}, false, 0, 0},
        {{.kind = MR_STATS_FLOAT, .count = 1, .min = -INFINITY}, false, 0, 0},
        {{.kind = MR_STATS_FLOAT, .count = 1, .mean = 2 * huge}, false, 0, 0},
        {{.kind = MR_STATS_FLOAT, .count = 1, .m2 = 1e300}, false, 0, 0},
        {{.kind = MR_STATS_FLOAT, .count = 1, .m2 = NAN}, false, 0, 0},
        {{.kind = MR_STATS_EXACT, .count = 2, .min = -3, .max = 1, .sum = -2, .squares = 10},
         true,
         -1,
         2},
        {{.kind = MR_STATS_EXACT, .count = 3, .min = 7, .max = 7, .sum = 21, .squares = 147},
         true,
         7,
         0},
        {{.kind = MR_STATS_UNKNOWN, .count = 3, .min = 1, .max = 2}, false, 0, 0},
        {{.kind = MR_STATS_NONE}, false, 0, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mr_stats_summary sum;
        memset(&sum, 0x55, sizeof(sum));
        mr_stats_summarise(&cases[i].s, &sum);
        ck_assert_msg(sum.known == cases[i].known, "case %zu", i);
        ck_assert_float_eq(sum.min, sum.known ? (float)cases[i].s.min : 0);
        ck_assert_float_eq(sum.max, sum.known ? (float)cases[i].s.max : -1);
        ck_assert_float_eq(sum.mean, sum.known ? (float)cases[i].mean : -2);
        ck_assert_float_eq(sum.rms, sum.known ? (float)cases[i].rms : -1);
    }
}
END_TEST

/* The variance of the largest movies: of counts near the limit, where products pass 128 bits. */
START_TEST(the_spread_of_the_largest_movies_is_right)
{
    for (unsigned shift = 2; shift <= 56; shift += 9) {
        uint64_t half = 1ull << (shift - 1);
        struct mr_stats s = {.kind = MR_STATS_EXACT, .count = 2 * half, .min = 10, .max = 20};
        struct mr_stats_summary sum;
        s.sum = (__int128)half * 30; /* as many 10s as 20s */
        s.squares = (unsigned __int128)half * 500;
        mr_stats_summarise(&s, &sum);
        ck_assert(sum.known);
        ck_assert_float_eq(sum.mean, 15);
        ck_assert_float_eq(sum.rms, 5);
        s.sum = -(__int128)half * 65535;
        s.squares = (unsigned __int128)half * 65535 * 65535;
        s.min = -65535;
        mr_stats_summarise(&s, &sum);
        ck_assert_float_eq(sum.mean, -32767.5f);
        ck_assert_float_eq(sum.rms, 32767.5f);
    }
}
END_TEST

/* Every length around the groups and blocks that floats are taken in, against long double. */
START_TEST(floats_of_any_count_are_all_counted)
{
    enum { MOST = 8209 };
    static float v[MOST];
    static const size_t counts[] = {1,  2,  3,    7,    8,    9,    15,   16,   17,
                                    63, 64, 4095, 4096, 4097, 4104, 8192, 8193, MOST};
    uint64_t x = 5;
    for (size_t i = 0; i < MOST; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        v[i] = (float)(int32_t)(x >> 32) / 65536;
    }
    for (size_t k = 0; k < sizeof(counts) / sizeof(counts[0]); k++) {
        size_t n = counts[k];
        long double sum = 0, squares = 0;
        float low = v[0], high = v[0];
        for (size_t i = 0; i < n; i++) {
            sum += (long double)v[i];
            low = v[i] < low ? v[i] : low;
            high = v[i] > high ? v[i] : high;
        }
        for (size_t i = 0; i < n; i++)
            squares += ((long double)v[i] - sum / n) * ((long double)v[i] - sum / n);
        struct mr_stats s;
        mr_stats_of(MR_PIXEL_F32, 1, v, n * sizeof(v[0]), &s);
        ck_assert_int_eq(s.kind, MR_STATS_FLOAT);
        ck_assert_uint_eq(s.count, n);
        ck_assert_double_eq(s.min, (double)low);
        ck_assert_double_eq(s.max, (double)high);
        ck_assert_double_eq_tol(s.mean, (double)(sum / n), 1e-8);
        ck_assert_double_eq_tol(s.m2, (double)squares, 1e-9 * (double)squares + 1e-9);
    }
}
END_TEST

/* The extreme at each place in turn: every lane and the rest behind them are looked at. */
START_TEST(the_extreme_is_found_wherever_it_is)
{
    for (size_t at = 0; at < 19; at++) {
        float v[19];
        struct mr_stats s;
        for (size_t i = 0; i < 19; i++)
            v[i] = 5;
        v[at] = 9;
        mr_stats_of(MR_PIXEL_F32, 1, v, sizeof(v), &s);
        ck_assert_double_eq(s.max, 9);
        ck_assert_double_eq(s.min, 5);
        v[at] = -9;
        mr_stats_of(MR_PIXEL_F32, 1, v, sizeof(v), &s);
        ck_assert_double_eq(s.max, 5);
        ck_assert_double_eq(s.min, -9);
        v[at] = at % 2 ? NAN : INFINITY;
        mr_stats_of(MR_PIXEL_F32, 1, v, sizeof(v), &s);
        ck_assert_int_eq(s.kind, MR_STATS_UNKNOWN);
        ck_assert_uint_eq(s.count, 19);
    }
}
END_TEST

static void __attribute__((constructor)) prepare(void)
{
    fill_random();
}

MR_SUITE("stats", T(integers_are_exact), T(extremes_do_not_overflow), T(order_does_not_matter),
         T(odd_rows_of_nibbles_leave_padding_out), T(every_half_float),
         T(floats_far_from_zero_keep_their_spread), T(one_nan_makes_all_unknown),
         T(summary_of_known_numbers), T(wire_there_and_back),
         T(a_peers_impossible_sums_are_refused), T(mixed_kinds_and_endless_counts_become_unknown),
         T(a_peers_numbers_are_taken_up_to_what_pixels_can_make),
         T(bytes_without_a_meaning_are_zero),
         T(sums_are_on_the_wire_as_two_words_the_low_one_first),
         T(a_summary_is_known_where_floats_can_hold_it),
         T(the_spread_of_the_largest_movies_is_right), T(floats_of_any_count_are_all_counted),
         T(the_extreme_is_found_wherever_it_is))
