/* SPDX-License-Identifier: Apache-2.0 */
/* Is a buffer lent to one borrower at a time, aligned, and does an empty pool hold people back? */
#include "base/pool.h"
#include "suite.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

static struct mr_pool *new_pool(size_t bytes, size_t count, size_t alignment)
{
    struct mr_pool *pool = NULL;
    ck_assert_int_eq(mr_pool_new(bytes, count, alignment, &pool), 0);
    return pool;
}

static bool readable(const struct mr_pool *pool)
{
    struct pollfd p = {.fd = mr_pool_fd(pool), .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

START_TEST(buffers_are_aligned_distinct_and_writable)
{
    static const size_t alignments[] = {4096, 65536, (size_t)4 << 20};
    for (size_t a = 0; a < 3; a++) {
        struct mr_pool *pool = new_pool(300000, 8, alignments[a]);
        struct mr_buffer *b[8];
        for (size_t i = 0; i < 8; i++) {
            b[i] = mr_pool_try_get(pool);
            ck_assert_ptr_nonnull(b[i]);
            ck_assert_uint_eq(b[i]->capacity, 300000);
            ck_assert_uint_eq((uintptr_t)b[i]->data % alignments[a], 0);
            memset(b[i]->data, (int)i, b[i]->capacity);
        }
        for (size_t i = 0; i < 8; i++) {
            ck_assert_uint_eq(b[i]->data[0], i);
            ck_assert_uint_eq(b[i]->data[299999], i);
            mr_pool_put(b[i]);
        }
        mr_pool_free(pool);
    }
}
END_TEST

START_TEST(an_empty_pool_gives_nothing)
{
    struct mr_pool *pool = new_pool(4096, 1, 4096);
    ck_assert_uint_eq(mr_pool_count(pool), 1);
    ck_assert(readable(pool));
    struct mr_buffer *b = mr_pool_get(pool, -1);
    ck_assert_ptr_nonnull(b);
    ck_assert_ptr_eq(b->pool, pool);
    ck_assert(!readable(pool));
    ck_assert_ptr_null(mr_pool_try_get(pool));
    ck_assert_ptr_null(mr_pool_get(pool, 1));
    ck_assert_uint_eq(mr_pool_available(pool), 0);
    mr_pool_put(b);
    ck_assert(readable(pool));
    ck_assert_uint_eq(mr_pool_available(pool), 1);
    mr_pool_free(pool);
    mr_pool_free(NULL);
}
END_TEST

START_TEST(too_much_is_refused)
{
    struct mr_pool *pool = NULL;
    ck_assert_int_eq(mr_pool_new((size_t)1 << 50, 8, 4096, &pool), -ENOMEM);
    ck_assert_int_eq(mr_pool_new(SIZE_MAX - 5, 1, 4096, &pool), -ENOMEM);
    ck_assert_ptr_null(pool);
}
END_TEST

START_TEST(a_loan_returned_twice_is_a_bug)
{
    struct mr_pool *pool = new_pool(4096, 2, 4096);
    struct mr_buffer *b = mr_pool_try_get(pool);
    mr_pool_put(b);
    mr_pool_put(b); /* aborts */
}
END_TEST

START_TEST(freeing_with_a_loan_out_is_a_bug)
{
    struct mr_pool *pool = new_pool(4096, 2, 4096);
    (void)mr_pool_try_get(pool);
    mr_pool_free(pool); /* aborts */
}
END_TEST

enum { WORKERS = 6, LOANS = 5000 };
static atomic_int failures;

static void *borrow(void *arg)
{
    for (int i = 0; i < LOANS; i++) {
        struct mr_buffer *b = mr_pool_get(arg, -1);
        uint8_t mark = (uint8_t)(uintptr_t)&b;
        memset(b->data, mark, 64);
        for (int k = 0; k < 64; k++)
            if (b->data[k] != mark)
                atomic_fetch_add(&failures, 1);
        mr_pool_put(b);
    }
    return NULL;
}

START_TEST(a_crowd_shares_without_meeting)
{
    struct mr_pool *pool = new_pool(4096, 3, 4096);
    pthread_t threads[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, borrow, pool), 0);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(atomic_load(&failures), 0);
    ck_assert_uint_eq(mr_pool_available(pool), 3);
    mr_pool_free(pool);
}
END_TEST

int main(void)
{
    static const struct mr_suite_entry entries[] = {
        T(buffers_are_aligned_distinct_and_writable), T(an_empty_pool_gives_nothing),
        T(too_much_is_refused), T(a_crowd_shares_without_meeting)};
    Suite *suite = suite_create("pool bugs");
    TCase *aborts = tcase_create("aborts");
    tcase_add_test_raise_signal(aborts, a_loan_returned_twice_is_a_bug, SIGABRT);
    tcase_add_test_raise_signal(aborts, freeing_with_a_loan_out_is_a_bug, SIGABRT);
    suite_add_tcase(suite, aborts);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    int r = mr_suite_run("pool", entries, sizeof(entries) / sizeof(entries[0]));
    return failed > 0 ? EXIT_FAILURE : r;
}
