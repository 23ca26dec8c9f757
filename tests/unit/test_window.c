/* SPDX-License-Identifier: Apache-2.0 */
/* Slab states of one movie: the counts, the cursor, what a new session forgets and what it
 * keeps. */
#include "suite.h"

#include "window.h"

#include <errno.h>

static struct mr_window w;

static void begin(uint64_t slabs)
{
    mr_window_init(&w);
    ck_assert_int_eq(mr_window_reserve(&w, slabs), 0);
}

START_TEST(test_counts)
{
    begin(10);
    mr_window_pick(&w, 3);
    mr_window_pick(&w, 4);
    ck_assert_uint_eq(w.in_flight, 2);
    ck_assert(!mr_window_idle(&w, 3));
    mr_window_set_durable(&w, 3);
    mr_window_set_durable(&w, 3); /* acks may repeat */
    ck_assert_uint_eq(w.in_flight, 1);
    ck_assert_uint_eq(w.durable, 1);
    mr_window_unpick(&w, 4);
    mr_window_unpick(&w, 4);
    ck_assert_uint_eq(w.in_flight, 0);
    ck_assert(mr_window_idle(&w, 4));
    mr_window_fini(&w);
}
END_TEST

START_TEST(test_finished_is_durable_and_summed)
{
    begin(2);
    mr_window_set_durable(&w, 0);
    ck_assert(!mr_window_finished(&w, 0));
    ck_assert(mr_window_idle(&w, 0)); /* to be read for its sum */
    mr_window_pick(&w, 0);
    ck_assert_uint_eq(w.in_flight, 0); /* nothing is sent for that */
    ck_assert_int_eq(mr_window_sum(&w, 0, 7, 8), 0);
    ck_assert(mr_window_finished(&w, 0));
    ck_assert(!mr_window_finished(&w, 1000)); /* beyond what it holds */
    mr_window_fini(&w);
}
END_TEST

START_TEST(test_another_sum_is_stale)
{
    begin(1);
    ck_assert_int_eq(mr_window_sum(&w, 0, 7, 8), 0);
    ck_assert_int_eq(mr_window_sum(&w, 0, 7, 8), 0);
    ck_assert_int_eq(mr_window_sum(&w, 0, 7, 9), -ESTALE);
    ck_assert_uint_eq(w.crc_pixels[0], 8);
    mr_window_fini(&w);
}
END_TEST

START_TEST(test_reset_keeps_sums_alone)
{
    begin(3);
    mr_window_set_durable(&w, 0);
    mr_window_pick(&w, 1);
    ck_assert_int_eq(mr_window_sum(&w, 1, 5, 6), 0);
    w.cursor = 2;
    mr_window_reset(&w);
    ck_assert_uint_eq(w.durable + w.in_flight + w.cursor, 0);
    ck_assert(mr_window_idle(&w, 0));
    ck_assert(mr_window_idle(&w, 1));
    mr_window_set_durable(&w, 1);
    ck_assert(mr_window_finished(&w, 1));
    mr_window_fini(&w);
}
END_TEST

START_TEST(test_unpick_takes_the_cursor_back)
{
    begin(8);
    mr_window_pick(&w, 2);
    w.cursor = 5;
    mr_window_unpick(&w, 2);
    ck_assert_uint_eq(w.cursor, 2);
    mr_window_fini(&w);
}
END_TEST

START_TEST(test_grows_and_knows_its_limit)
{
    begin(1);
    mr_window_set_durable(&w, 0);
    ck_assert_int_eq(mr_window_reserve(&w, 5000), 0);
    ck_assert_uint_ge(w.capacity, 5000);
    ck_assert(mr_window_idle(&w, 4999));
    ck_assert_uint_eq(w.durable, 1);
    ck_assert_int_eq(mr_window_reserve(&w, MR_SLABS_MAX + 1), -EFBIG);
    mr_window_fini(&w);
    mr_window_fini(&w);
}
END_TEST

MR_SUITE("window", T(test_counts), T(test_finished_is_durable_and_summed),
         T(test_another_sum_is_stale), T(test_reset_keeps_sums_alone),
         T(test_unpick_takes_the_cursor_back), T(test_grows_and_knows_its_limit))
