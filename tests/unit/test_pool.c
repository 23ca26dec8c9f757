/* SPDX-License-Identifier: Apache-2.0 */
/* Is a buffer lent to one borrower at a time, aligned, and does an empty pool hold people back? */
#include "asleep.h"
#include "base/pool.h"
#include "dice.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>

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

/* ---- memory ---- */

/* Bytes of this process's mappings. */
static uint64_t mapped(void)
{
    uint64_t sum = 0;
    char line[512];
    FILE *f = fopen("/proc/self/maps", "re");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof(line), f) != NULL) {
        unsigned long start, end;
        ck_assert_int_eq(sscanf(line, "%lx-%lx ", &start, &end), 2);
        sum += end - start;
    }
    fclose(f);
    return sum;
}

static const struct {
    size_t bytes, count, alignment;
} shapes[] = {
    {4096, 1, 4096},   {1, 7, 4096},        {4097, 5, 4096},
    {70000, 9, 65536}, {4194304, 2, 4096},  {2097152, 1, (size_t)4 << 20},
    {5000, 600, 8192}, {1048576, 3, 4096},  {2097151, 1, 4096},
    {8192, 255, 8192}, {8192, 1024, 65536},
};

START_TEST(what_is_mapped_is_what_was_asked_for_and_goes_with_it)
{
    mr_pool_free(new_pool(4096, 1, 4096)); /* whatever the C library maps for good */
    (void)mapped();
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        size_t alignment = shapes[i].alignment;
        size_t stride = (shapes[i].bytes + alignment - 1) / alignment * alignment;
        uint64_t before = mapped();
        struct mr_pool *pool = new_pool(shapes[i].bytes, shapes[i].count, alignment);
        /* slots and their stack may lie on the heap, or in a mapping of their own */
        ck_assert_uint_ge(mapped() - before, stride * shapes[i].count);
        ck_assert_uint_le(mapped() - before, stride * shapes[i].count + 300000);
        mr_pool_free(pool);
        ck_assert_uint_le(mapped(), before + 150000);
    }
}
END_TEST

/* No first touch is left for the data path. */
START_TEST(every_page_is_there_from_the_start)
{
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct mr_pool *pool = new_pool(shapes[i].bytes, shapes[i].count, shapes[i].alignment);
        struct mr_buffer *loans[1024];
        for (size_t n = 0; n < shapes[i].count; n++) {
            unsigned char there[1025];
            loans[n] = mr_pool_try_get(pool);
            size_t pages = (shapes[i].bytes + 4095) / 4096;
            ck_assert_int_eq(mincore(loans[n]->data, shapes[i].bytes, there), 0);
            for (size_t p = 0; p < pages; p++)
                if ((there[p] & 1) == 0)
                    ck_abort_msg("page %zu of buffer %zu, shape %zu", p, n, i);
        }
        for (size_t n = 0; n < shapes[i].count; n++)
            mr_pool_put(loans[n]);
        mr_pool_free(pool);
    }
}
END_TEST

START_TEST(no_byte_is_in_two_buffers)
{
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct mr_pool *pool = new_pool(shapes[i].bytes, shapes[i].count, shapes[i].alignment);
        static struct mr_buffer *b[1024];
        for (size_t n = 0; n < shapes[i].count; n++) {
            b[n] = mr_pool_try_get(pool);
            ck_assert_uint_eq((uintptr_t)b[n]->data % shapes[i].alignment, 0);
            ck_assert_uint_eq(b[n]->capacity, shapes[i].bytes);
        }
        ck_assert_ptr_null(mr_pool_try_get(pool));
        for (size_t n = 0; n < shapes[i].count; n++)
            for (size_t m = 0; m < n; m++) {
                bool below = b[n]->data + b[n]->capacity <= b[m]->data;
                if (!below && b[m]->data + b[m]->capacity > b[n]->data)
                    ck_abort_msg("buffers %zu and %zu of shape %zu", n, m, i);
            }
        for (size_t n = 0; n < shapes[i].count; n++)
            mr_pool_put(b[n]);
        mr_pool_free(pool);
    }
}
END_TEST

/* ---- against a count ---- */

enum { BUFFERS = 6, STEPS = 3000 };

START_TEST(it_counts_what_is_out_and_lends_what_came_back_last)
{
    struct mr_pool *pool = new_pool(4096, BUFFERS, 4096);
    struct mr_buffer *out[BUFFERS], *last = NULL;
    size_t count = 0, high = 0;
    for (int step = 0; step < STEPS; step++) {
        uint64_t way = dice(8);
        if (way == 0) {
            ck_assert_uint_eq(mr_pool_take_high(pool), high);
            high = count;
        } else if (way < 5) {
            struct mr_buffer *b =
                count < BUFFERS && dice(2) == 0 ? mr_pool_get(pool, -1) : mr_pool_try_get(pool);
            ck_assert((b != NULL) == (count < BUFFERS));
            ck_assert(last == NULL || b == last); /* warm in the caches still */
            last = NULL;
            for (size_t i = 0; b != NULL && i < count; i++)
                ck_assert_ptr_ne(b, out[i]);
            if (b != NULL)
                out[count++] = b;
            high = count > high ? count : high;
        } else if (count > 0) {
            size_t i = dice(count);
            last = out[i];
            out[i] = out[--count];
            mr_pool_put(last);
        }
        ck_assert_uint_eq(mr_pool_available(pool), BUFFERS - count);
        ck_assert_uint_eq(mr_pool_count(pool), BUFFERS);
        ck_assert(readable(pool) == (count < BUFFERS));
    }
    while (count > 0)
        mr_pool_put(out[--count]);
    mr_pool_free(pool);
}
END_TEST

/* ---- who waits is woken ---- */

struct waiter {
    struct mr_pool *pool;
    int timeout_ms;
    atomic_int tid;
    _Atomic(struct mr_buffer *) got;
};

static void *wait_for_it(void *arg)
{
    struct waiter *w = arg;
    atomic_store(&w->tid, gettid());
    atomic_store(&w->got, mr_pool_get(w->pool, w->timeout_ms));
    return NULL;
}

START_TEST(who_waits_gets_what_comes_back)
{
    enum { WAITERS = 3 };
    static const int timeouts[WAITERS] = {-1, INT32_MAX, -1};
    struct mr_pool *pool = new_pool(4096, WAITERS, 4096);
    struct mr_buffer *loans[WAITERS];
    struct waiter w[WAITERS];
    pthread_t threads[WAITERS];
    for (int i = 0; i < WAITERS; i++)
        loans[i] = mr_pool_try_get(pool);
    for (int i = 0; i < WAITERS; i++) {
        w[i] = (struct waiter){.pool = pool, .timeout_ms = timeouts[i]};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, wait_for_it, &w[i]), 0);
        UNTIL(atomic_load(&w[i].tid) != 0 && is_asleep(atomic_load(&w[i].tid)), sched_yield());
    }
    for (int i = 0; i < WAITERS; i++)
        mr_pool_put(loans[i]);
    for (int i = 0; i < WAITERS; i++) {
        UNTIL(atomic_load(&w[i].got) != NULL, sched_yield());
        pthread_join(threads[i], NULL);
    }
    ck_assert_uint_eq(mr_pool_available(pool), 0);
    for (int i = 0; i < WAITERS; i++)
        mr_pool_put(atomic_load(&w[i].got));
    mr_pool_free(pool);
}
END_TEST

/* ---- making one ---- */

START_TEST(without_descriptors_there_is_none)
{
    struct rlimit before, none;
    struct mr_pool *pool = NULL;
    uint64_t in_use = mapped();
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    int r = mr_pool_new(4 << 20, 4, 4096, &pool);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(r, -EMFILE);
    ck_assert_ptr_null(pool);
    ck_assert_uint_le(mapped(), in_use + 150000);
}
END_TEST

START_TEST(its_descriptor_is_not_inherited_and_goes_with_it)
{
    struct mr_pool *pool = new_pool(4096, 1, 4096);
    int fd = mr_pool_fd(pool);
    ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    mr_pool_free(pool);
    ck_assert_int_lt(fcntl(fd, F_GETFD), 0);
}
END_TEST

START_TEST(an_alignment_that_is_none_is_a_bug)
{
    struct mr_pool *pool;
    (void)!mr_pool_new(4096, 1, 4096 * 3, &pool); /* aborts */
}
END_TEST

START_TEST(a_small_alignment_is_a_bug)
{
    struct mr_pool *pool;
    (void)!mr_pool_new(4096, 1, 2048, &pool); /* aborts */
}
END_TEST

int main(void)
{
    static const struct mr_suite_entry entries[] = {
        T(buffers_are_aligned_distinct_and_writable),
        T(an_empty_pool_gives_nothing),
        T(too_much_is_refused),
        T(a_crowd_shares_without_meeting),
        T(what_is_mapped_is_what_was_asked_for_and_goes_with_it),
        T(every_page_is_there_from_the_start),
        T(no_byte_is_in_two_buffers),
        T(it_counts_what_is_out_and_lends_what_came_back_last),
        T(who_waits_gets_what_comes_back),
        T(without_descriptors_there_is_none),
        T(its_descriptor_is_not_inherited_and_goes_with_it)};
    Suite *suite = suite_create("pool bugs");
    TCase *aborts = tcase_create("aborts");
    tcase_add_test_raise_signal(aborts, a_loan_returned_twice_is_a_bug, SIGABRT);
    tcase_add_test_raise_signal(aborts, freeing_with_a_loan_out_is_a_bug, SIGABRT);
    tcase_add_test_raise_signal(aborts, an_alignment_that_is_none_is_a_bug, SIGABRT);
    tcase_add_test_raise_signal(aborts, a_small_alignment_is_a_bug, SIGABRT);
    suite_add_tcase(suite, aborts);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    int r = mr_suite_run("pool", entries, sizeof(entries) / sizeof(entries[0]));
    return failed > 0 ? EXIT_FAILURE : r;
}
