/* SPDX-License-Identifier: Apache-2.0 */
/* When is a store paused, and when does it go on? */
#include "suite.h"

#include "base/clock.h"
#include "base/counter.h"
#include "dice.h"
#include "space.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic uint64_t left, size;
static _Atomic int result, asked;

static int ask(void *ctx, uint64_t *ret_free, uint64_t *ret_total)
{
    ck_assert_ptr_eq(ctx, &asked);
    asked++;
    if (result == 0) {
        *ret_free = left;
        *ret_total = size;
    }
    return result;
}

static struct mr_space *make(uint64_t free_bytes, uint64_t total_bytes, uint32_t hundredths)
{
    struct mr_space *space = NULL;
    left = free_bytes;
    size = total_bytes;
    ck_assert_int_eq(mr_space_new(ask, &asked, hundredths, &space), 0);
    return space;
}

static bool paused_at(struct mr_space *space, uint64_t free_bytes)
{
    struct mr_space_view v;
    left = free_bytes;
    mr_space_look(space);
    mr_space_view(space, &v);
    if (result == 0)
        ck_assert_uint_eq(v.free_bytes, free_bytes);
    return v.paused;
}

START_TEST(test_pauses_below_and_goes_on_well_above)
{
    struct mr_space *space = make(500, 1000, 2000); /* 20 % of 1000; on again at 225 */
    struct mr_space_view v;
    mr_space_view(space, &v);
    ck_assert_uint_eq(v.keep_bytes, 200);
    ck_assert_uint_eq(v.total_bytes, 1000);
    ck_assert(!v.paused);
    ck_assert(!paused_at(space, 200));
    ck_assert(paused_at(space, 199));
    ck_assert(paused_at(space, 200));
    ck_assert(paused_at(space, 224));
    ck_assert(!paused_at(space, 225));
    ck_assert(!paused_at(space, 201));
    ck_assert(paused_at(space, 0));
    mr_space_free(space);
}
END_TEST

START_TEST(test_paused_from_the_start)
{
    struct mr_space *space = make(5, 1000, 100);
    struct mr_space_view v;
    mr_space_view(space, &v);
    ck_assert(v.paused);
    mr_space_free(space);
}
END_TEST

START_TEST(test_zero_keeps_nothing_free)
{
    struct mr_space *space = make(0, 1000, 0);
    ck_assert(!paused_at(space, 0));
    ck_assert(!paused_at(space, 1));
    mr_space_free(space);
}
END_TEST

START_TEST(test_sizes_of_any_size)
{
    struct mr_space *space = make(UINT64_MAX, UINT64_MAX, 9000);
    struct mr_space_view v;
    mr_space_view(space, &v);
    ck_assert_uint_eq(v.keep_bytes / 1000, UINT64_MAX / 10 * 9 / 1000);
    mr_space_free(space);
    space = make(1, 9999, 1); /* less than a byte */
    ck_assert(!paused_at(space, 0));
    mr_space_free(space);
}
END_TEST

START_TEST(test_no_answer_changes_nothing)
{
    struct mr_space *space = make(100, 1000, 2000);
    ck_assert(paused_at(space, 100));
    result = -EIO;
    ck_assert(paused_at(space, 900));
    result = 0;
    ck_assert(!paused_at(space, 900));
    result = -ESTALE;
    ck_assert(!paused_at(space, 1));
    mr_space_free(space);
}
END_TEST

/* Against the two sentences of the header: paused below what is kept free, and on again with an
 * eighth more. */
START_TEST(test_any_course_of_free_bytes)
{
    for (unsigned seed = 1; seed <= 50; seed++) {
        dice_seed(seed);
        uint64_t total = 1 + dice(1u << 30);
        uint32_t hundredths = (uint32_t)dice(9001);
        uint64_t keep = mr_space_keep(total, hundredths);
        ck_assert_uint_eq(keep, total * hundredths / 10000);
        struct mr_space *space = make(keep, total, hundredths);
        bool paused = false;
        for (unsigned i = 0; i < 200; i++) {
            static const int64_t around[] = {-1, 0, 1};
            uint64_t edge = dice(2) == 0 ? keep : keep + keep / 8;
            int64_t free_bytes = (int64_t)edge + around[dice(3)];
            if (dice(4) == 0)
                free_bytes = (int64_t)dice(total + 1);
            if (free_bytes < 0)
                continue;
            if ((uint64_t)free_bytes < keep)
                paused = true;
            else if ((uint64_t)free_bytes >= keep + keep / 8)
                paused = false;
            ck_assert_int_eq(paused_at(space, (uint64_t)free_bytes), paused);
        }
        mr_space_free(space);
    }
}
END_TEST

static char *metrics(void)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    mr_counter_print(out);
    ck_assert_int_eq(fclose(out), 0);
    return text;
}

START_TEST(test_metrics)
{
    struct mr_space *space = make(100, 1000, 2000);
    char *text = metrics();
    ck_assert_ptr_nonnull(strstr(text, "\nmillrace_store_free_bytes 100\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nmillrace_store_size_bytes 1000\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nmillrace_store_keep_free_bytes 200\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nmillrace_store_paused 1\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nmillrace_store_pauses_total 1\n"));
    free(text);
    ck_assert(!paused_at(space, 500));
    ck_assert(paused_at(space, 10));
    text = metrics();
    ck_assert_ptr_nonnull(strstr(text, "\nmillrace_store_pauses_total 2\n"));
    free(text);
    mr_space_free(space);
    text = metrics();
    ck_assert_ptr_null(strstr(text, "millrace_store_free_bytes"));
    free(text);
}
END_TEST

START_TEST(test_the_stage_looks_by_itself)
{
    struct mr_space *space = make(500, 1000, 2000);
    struct mr_thread *thread = NULL;
    struct mr_err err = {0};
    struct mr_space_view v;
    ck_assert_int_eq(mr_thread_start(&mr_space_stage, space, &err, &thread), 0);
    left = 1;
    UNTIL((mr_space_view(space, &v), v.paused), usleep(1000));
    mr_space_stop(space);
    mr_thread_join(thread);
    mr_space_free(space);
}
END_TEST

MR_SUITE("space", T(test_pauses_below_and_goes_on_well_above), T(test_paused_from_the_start),
         T(test_zero_keeps_nothing_free), T(test_sizes_of_any_size),
         T(test_no_answer_changes_nothing), T(test_any_course_of_free_bytes), T(test_metrics),
         T(test_the_stage_looks_by_itself))
