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

START_TEST(room_is_made_once_and_for_more_than_was_asked)
{
    mr_window_init(&w);
    ck_assert_int_eq(mr_window_reserve(&w, 0), 0);
    ck_assert_uint_eq(w.capacity, 0); /* a movie without a slab takes nothing */
    ck_assert(!mr_window_finished(&w, 0) && !mr_window_summed(&w, 0) && mr_window_idle(&w, 0));
    ck_assert_int_eq(mr_window_reserve(&w, 1), 0);
    const uint64_t first = w.capacity;
    const uint8_t *state = w.state;
    ck_assert_uint_ge(first, 16); /* not with every slab that comes */
    for (uint64_t count = 0; count <= first; count++)
        ck_assert_int_eq(mr_window_reserve(&w, count), 0);
    ck_assert_uint_eq(w.capacity, first);
    ck_assert_ptr_eq(w.state, state);
    unsigned grown = 0;
    for (uint64_t count = first, last = first; count <= 10000; count++, last = w.capacity) {
        ck_assert_int_eq(mr_window_reserve(&w, count), 0);
        ck_assert_uint_ge(w.capacity, count);
        grown += w.capacity != last;
    }
    ck_assert_uint_le(grown, 8); /* each time by as much as there is */
    mr_window_fini(&w);
}
END_TEST

static int fail_in = -1; /* so many more succeed, then one fails; -1: all do */

void *__real_realloc(void *block, size_t bytes);
void *__wrap_realloc(void *block, size_t bytes);
void *__wrap_realloc(void *block, size_t bytes)
{
    return fail_in >= 0 && fail_in-- == 0 ? NULL : __real_realloc(block, bytes);
}

/* The largest there may be is refused for want of memory alone. */
START_TEST(a_movie_too_large_leaves_all_as_it_was)
{
    begin(3);
    mr_window_set_durable(&w, 2);
    const uint64_t capacity = w.capacity;
    ck_assert_int_eq(mr_window_reserve(&w, UINT64_MAX), -EFBIG);
    ck_assert_int_eq(mr_window_reserve(&w, MR_SLABS_MAX + 1), -EFBIG);
    fail_in = 0;
    ck_assert_int_eq(mr_window_reserve(&w, MR_SLABS_MAX), -ENOMEM);
    ck_assert_uint_eq(w.capacity, capacity);
    ck_assert_uint_eq(w.durable, 1);
    mr_window_fini(&w);
}
END_TEST

START_TEST(memory_that_is_not_there_loses_nothing)
{
    for (int nth = 0; nth < 3; nth++) { /* states, and two kinds of sums */
        begin(3);
        mr_window_set_durable(&w, 2);
        mr_window_pick(&w, 1);
        ck_assert_int_eq(mr_window_sum(&w, 1, 5, 6), 0);
        const uint64_t capacity = w.capacity;
        fail_in = nth;
        ck_assert_int_eq(mr_window_reserve(&w, capacity + 1), -ENOMEM);
        ck_assert_uint_eq(w.capacity, capacity);
        ck_assert_uint_eq(w.durable + w.in_flight, 2);
        ck_assert_int_eq(mr_window_sum(&w, 1, 5, 6), 0);
        ck_assert_int_eq(mr_window_reserve(&w, capacity + 1), 0); /* there is some again */
        ck_assert_int_eq(mr_window_sum(&w, 1, 5, 7), -ESTALE);
        ck_assert(mr_window_idle(&w, capacity) && !mr_window_idle(&w, 1));
        mr_window_fini(&w);
    }
}
END_TEST

START_TEST(a_slab_read_for_its_sum_alone_is_idle_no_more_until_it_is_read)
{
    begin(2);
    mr_window_set_durable(&w, 0);
    mr_window_pick(&w, 0);
    ck_assert(!mr_window_idle(&w, 0) && !mr_window_finished(&w, 0));
    mr_window_unpick(&w, 0); /* could not be read */
    ck_assert(mr_window_idle(&w, 0));
    ck_assert_uint_eq(w.in_flight, 0);
    mr_window_pick(&w, 0);
    ck_assert_int_eq(mr_window_sum(&w, 0, 1, 2), 0);
    ck_assert_uint_eq(w.state[0], MR_SLAB_DURABLE | MR_SLAB_SUMMED); /* nothing is under way */
    mr_window_pick(&w, 1);
    ck_assert_int_eq(mr_window_sum(&w, 1, 1, 2), 0);
    ck_assert_uint_eq(w.state[1], MR_SLAB_PICKED | MR_SLAB_SUMMED); /* it travels */
    ck_assert_uint_eq(w.in_flight, 1);
    mr_window_fini(&w);
}
END_TEST

/* ---- against a model: a few words a slab ---- */

enum { SLABS = 300, STEPS = 60000 };

static struct {
    bool picked, durable, summed;
    uint64_t crc;
} model[SLABS];
static uint64_t model_cursor;

static void check_slab(uint64_t i)
{
    bool finished = model[i].durable && model[i].summed;
    MUST(mr_window_finished(&w, i) == finished);
    MUST(mr_window_summed(&w, i) == model[i].summed);
    MUST(mr_window_idle(&w, i) == (!finished && !model[i].picked));
}

static void check_all(void)
{
    uint64_t durable = 0, in_flight = 0;
    for (uint64_t i = 0; i < SLABS; i++) {
        check_slab(i);
        durable += model[i].durable;
        in_flight += model[i].picked && !model[i].durable;
        if (model[i].summed)
            MUST(w.crc_raw[i] == model[i].crc && w.crc_pixels[i] == ~model[i].crc);
    }
    MUST(w.durable == durable);
    MUST(w.in_flight == in_flight);
    MUST(w.cursor == model_cursor);
    for (uint64_t i = SLABS; i < w.capacity; i++)
        MUST(w.state[i] == 0);
}

static void sum(uint64_t i, uint64_t crc)
{
    bool same = !model[i].summed || model[i].crc == crc;
    MUST(mr_window_sum(&w, i, crc, ~crc) == (same ? 0 : -ESTALE));
    if (!same || model[i].summed)
        return;
    model[i].summed = true;
    model[i].crc = crc;
    if (model[i].durable)
        model[i].picked = false;
}

static void step(long dice, uint64_t i)
{
    if (dice < 350 && !model[i].picked) {
        mr_window_pick(&w, i);
        model[i].picked = true;
    } else if (dice < 500) {
        mr_window_unpick(&w, i);
        if (model[i].picked && i < model_cursor)
            model_cursor = i;
        model[i].picked = false;
    } else if (dice < 700) {
        mr_window_set_durable(&w, i);
        if (!model[i].durable) /* a word that comes twice takes nothing back */
            model[i].picked = false;
        model[i].durable = true;
    } else if (dice < 950) {
        sum(i, i * 7 + (random() % 8 == 0));
    } else if (dice < 998) {
        w.cursor = model_cursor = i;
    } else {
        mr_window_reset(&w);
        for (i = 0; i < SLABS; i++)
            model[i].picked = model[i].durable = false;
        model_cursor = 0;
    }
}

START_TEST(it_agrees_with_a_plain_list_while_the_movie_grows)
{
    uint64_t count = 1;
    srandom(20261123);
    begin(count);
    for (unsigned n = 0; n < STEPS; n++) {
        if (count < SLABS && random() % 64 == 0)
            MUST(mr_window_reserve(&w, ++count) == 0);
        step(random() % 1000, (uint64_t)random() % count);
        if (n % 100 == 0)
            check_all();
    }
    MUST(count == SLABS);
    check_all();
    mr_window_fini(&w);
    MUST(w.state == NULL && w.crc_raw == NULL && w.crc_pixels == NULL && w.capacity == 0);
}
END_TEST

MR_SUITE("window", T(test_counts), T(test_finished_is_durable_and_summed),
         T(test_another_sum_is_stale), T(test_reset_keeps_sums_alone),
         T(test_unpick_takes_the_cursor_back), T(test_grows_and_knows_its_limit),
         T(room_is_made_once_and_for_more_than_was_asked),
         T(a_movie_too_large_leaves_all_as_it_was), T(memory_that_is_not_there_loses_nothing),
         T(a_slab_read_for_its_sum_alone_is_idle_no_more_until_it_is_read),
         T(it_agrees_with_a_plain_list_while_the_movie_grows))
