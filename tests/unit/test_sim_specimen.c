/* SPDX-License-Identifier: Apache-2.0 */
/* Are the simulated frames counted as asked, and does the specimen move as told? */
#include "sim_drift.h"
#include "sim_specimen.h"

#include "suite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *joined(const struct mr_sim_specimen *s, uint64_t which, int64_t x, int64_t y)
{
    struct mr_sim_frame frame;
    mr_sim_specimen_frame(s, which, x, y, &frame);
    ck_assert_uint_eq(frame.piece[0].bytes + frame.piece[1].bytes, mr_sim_specimen_frame_bytes(s));
    uint8_t *all = malloc(mr_sim_specimen_frame_bytes(s));
    ck_assert_ptr_nonnull(all);
    memcpy(all, frame.piece[0].data, frame.piece[0].bytes);
    memcpy(all + frame.piece[0].bytes, frame.piece[1].data, frame.piece[1].bytes);
    return all;
}

static struct mr_sim_specimen *make(enum mr_pixel pixel, uint32_t nx, uint32_t ny, double dose,
                                    uint64_t seed)
{
    struct mr_sim_specimen *s = NULL;
    ck_assert_int_eq(mr_sim_specimen_new(pixel, nx, ny, dose, seed, 4, &s), 0);
    return s;
}

START_TEST(mean_is_the_dose_and_counts_spread_as_they_should)
{
    static const double doses[] = {0.25, 1.0, 20.0};
    for (size_t i = 0; i < sizeof(doses) / sizeof(doses[0]); i++) {
        struct mr_sim_specimen *s = make(MR_PIXEL_U16, 512, 400, doses[i], 7);
        struct mr_sim_frame frame;
        mr_sim_specimen_frame(s, 1, 0, 0, &frame);
        double n = (double)frame.sums->count, mean = (double)frame.sums->sum / n;
        double variance = (double)frame.sums->squares / n - mean * mean;
        ck_assert_double_eq_tol(mean, doses[i], 5.0 * sqrt(doses[i] / n) + doses[i] * 0.001);
        /* Poisson, and the specimen's shades on top */
        ck_assert_double_gt(variance, doses[i] * 0.98);
        mr_sim_specimen_free(s);
    }
}
END_TEST

START_TEST(sums_are_those_of_the_bytes)
{
    struct mr_sim_specimen *s = make(MR_PIXEL_U8, 64, 33, 2.0, 3);
    uint8_t *bytes = joined(s, 2, 5, -7);
    struct mr_sim_frame frame;
    uint64_t sum = 0, squares = 0;
    uint32_t most = 0;
    mr_sim_specimen_frame(s, 2, 0, 0, &frame);
    for (size_t i = 0; i < 64 * 33; i++) {
        sum += bytes[i];
        squares += (uint64_t)bytes[i] * bytes[i];
        most = bytes[i] > most ? bytes[i] : most;
    }
    ck_assert_uint_eq(frame.sums->sum, sum);
    ck_assert_uint_eq(frame.sums->squares, squares);
    ck_assert_uint_eq(frame.sums->max, most);
    free(bytes);
    mr_sim_specimen_free(s);
}
END_TEST

START_TEST(seed_decides)
{
    struct mr_sim_specimen *a = make(MR_PIXEL_I8, 40, 30, 1.0, 1);
    struct mr_sim_specimen *b = make(MR_PIXEL_I8, 40, 30, 1.0, 1);
    struct mr_sim_specimen *c = make(MR_PIXEL_I8, 40, 30, 1.0, 2);
    uint8_t *fa = joined(a, 0, 0, 0), *fb = joined(b, 0, 0, 0), *fc = joined(c, 0, 0, 0);
    ck_assert_mem_eq(fa, fb, 40 * 30);
    ck_assert_int_ne(memcmp(fa, fc, 40 * 30), 0);
    free(fa);
    free(fb);
    free(fc);
    mr_sim_specimen_free(a);
    mr_sim_specimen_free(b);
    mr_sim_specimen_free(c);
}
END_TEST

START_TEST(specimen_moves_right_and_up)
{
    struct mr_sim_specimen *s = make(MR_PIXEL_U8, 32, 16, 3.0, 9);
    uint8_t *still = joined(s, 0, 0, 0), *moved = joined(s, 0, 3, 2), *back = joined(s, 0, -3, -2);
    for (size_t y = 4; y < 12; y++) {
        ck_assert_mem_eq(moved + (y + 2) * 32 + 8, still + y * 32 + 5, 16);
        ck_assert_mem_eq(back + (y - 2) * 32 + 5, still + y * 32 + 8, 16);
    }
    free(still);
    free(moved);
    free(back);
    mr_sim_specimen_free(s);
}
END_TEST

START_TEST(types_hold_the_same_counts)
{
    struct mr_sim_specimen *bytes = make(MR_PIXEL_U8, 16, 8, 4.0, 5);
    struct mr_sim_specimen *nibbles = make(MR_PIXEL_U4, 16, 8, 4.0, 5);
    struct mr_sim_specimen *floats = make(MR_PIXEL_F32, 16, 8, 4.0, 5);
    struct mr_sim_specimen *halves = make(MR_PIXEL_F16, 16, 8, 4.0, 5);
    uint8_t *b = joined(bytes, 0, 0, 0), *n = joined(nibbles, 0, 0, 0);
    uint8_t *f = joined(floats, 0, 0, 0), *h = joined(halves, 0, 0, 0);
    for (size_t i = 0; i < 16 * 8; i++) {
        float single;
        uint16_t half;
        memcpy(&single, f + 4 * i, 4);
        memcpy(&half, h + 2 * i, 2);
        unsigned nibble = i % 2 == 0 ? n[i / 2] & 15u : (unsigned)n[i / 2] >> 4;
        ck_assert_uint_eq(nibble, b[i] > 15 ? 15 : b[i]);
        ck_assert_float_eq(single, b[i]);
        double value = half == 0 ? 0.0 : ldexp(1.0 + (half & 0x3ff) / 1024.0, (half >> 10) - 15);
        ck_assert_double_eq(value, b[i]);
    }
    free(b);
    free(n);
    free(f);
    free(h);
    mr_sim_specimen_free(bytes);
    mr_sim_specimen_free(nibbles);
    mr_sim_specimen_free(floats);
    mr_sim_specimen_free(halves);
}
END_TEST

START_TEST(smallest_frames_and_no_dose)
{
    struct mr_sim_specimen *one = make(MR_PIXEL_U8, 1, 1, 0.5, 1);
    struct mr_sim_specimen *dark = make(MR_PIXEL_U8, 20, 20, 0.0, 1);
    struct mr_sim_frame frame;
    mr_sim_specimen_frame(one, 3, 5, 5, &frame);
    ck_assert_uint_eq(frame.piece[0].bytes + frame.piece[1].bytes, 1);
    mr_sim_specimen_frame(dark, 0, 0, 0, &frame);
    ck_assert_uint_eq(frame.sums->sum, 0);
    mr_sim_specimen_free(one);
    mr_sim_specimen_free(dark);
    mr_sim_specimen_free(NULL);
}
END_TEST

START_TEST(drift_goes_the_whole_way_and_slows_down)
{
    struct mr_sim_drift d = mr_sim_drift_init(100.0, 21, MR_PIXEL_U4, 4);
    int64_t x, y, half_x, half_y;
    mr_sim_drift_at(&d, 0, &x, &y);
    ck_assert(x == 0 && y == 0);
    mr_sim_drift_at(&d, 10, &half_x, &half_y);
    mr_sim_drift_at(&d, 20, &x, &y);
    ck_assert_double_eq_tol(hypot((double)x, (double)y), 100.0, 2.0);
    ck_assert_double_gt(hypot((double)half_x, (double)half_y), 60.0);
    for (uint32_t i = 0; i < 21; i++) {
        mr_sim_drift_at(&d, i, &x, &y);
        ck_assert_int_eq(x % 2, 0);
    }
    d = mr_sim_drift_init(100.0, 1, MR_PIXEL_U8, 4);
    mr_sim_drift_at(&d, 0, &x, &y);
    ck_assert(x == 0 && y == 0);
}
END_TEST

MR_SUITE("sim_specimen", T(mean_is_the_dose_and_counts_spread_as_they_should),
         T(sums_are_those_of_the_bytes), T(seed_decides), T(specimen_moves_right_and_up),
         T(types_hold_the_same_counts), T(smallest_frames_and_no_dose),
         T(drift_goes_the_whole_way_and_slows_down))
