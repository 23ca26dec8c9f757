/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A unit test program in one line: MR_SUITE("name", T(test), T(test), ...) makes main() for a Check
 * suite. Run one test by name with CK_RUN_CASE=<test>; each test is a case of its own. A test that
 * this machine lacks something for says suite_skip(); where all do, the program's status is 77.
 */
#ifndef MR_TESTS_SUITE_H
#define MR_TESTS_SUITE_H

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct mr_suite_entry {
    const char *name;
    const TTest *const *test;
};

#define WAIT_MS 120000 /* for what comes at once but on a busy machine */

static inline int64_t suite_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* Does what follows the condition, which should wait a little, until it holds. */
#define UNTIL(condition, ...)                                               \
    do {                                                                    \
        int64_t until_ms_ = suite_ms() + WAIT_MS;                           \
        while (!(condition)) {                                              \
            ck_assert_msg(suite_ms() < until_ms_, "never: %s", #condition); \
            __VA_ARGS__;                                                    \
        }                                                                   \
    } while (0)

/* ck_assert for what holds a hundred thousand times: that writes to a file each time. */
#define MUST(condition)                             \
    do {                                            \
        if (!(condition))                           \
            ck_abort_msg("not so: %s", #condition); \
    } while (0)

enum { SUITE_SKIPPED = 77 }; /* ctest's SKIP_RETURN_CODE, too */
static int *suite_skips;     /* shared with the tests, each of which is a process */

/* The end of this test, and of the program where CK_FORK=no; the caller has taken down what it set
 * up.
 */
_Noreturn static inline void suite_skip(const char *reason)
{
    (void)fprintf(stderr, "skipped: %s\n", reason);
    ++*suite_skips;
    const char *fork = getenv("CK_FORK");
    _exit(fork != NULL && strcmp(fork, "no") == 0 ? SUITE_SKIPPED : EXIT_SUCCESS);
}

static inline int mr_suite_run(const char *name, const struct mr_suite_entry *entries, size_t count)
{
    Suite *suite = suite_create(name);
    for (size_t i = 0; i < count; i++) {
        TCase *tcase = tcase_create(entries[i].name);
        tcase_set_timeout(tcase, 300); /* only what hangs is to meet it */
        tcase_add_test(tcase, *entries[i].test);
        suite_add_tcase(suite, tcase);
    }
    suite_skips =
        mmap(NULL, sizeof(*suite_skips), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (suite_skips == MAP_FAILED)
        return EXIT_FAILURE;
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner), run = srunner_ntests_run(runner);
    srunner_free(runner);
    if (failed == 0 && run > 0 && *suite_skips == run)
        return SUITE_SKIPPED;
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define T(test)      \
    {                \
#test, &test \
    }
#define MR_SUITE(suite_name, ...)                                                       \
    int main(void)                                                                      \
    {                                                                                   \
        static const struct mr_suite_entry entries[] = {__VA_ARGS__};                   \
        return mr_suite_run(suite_name, entries, sizeof(entries) / sizeof(entries[0])); \
    }

#endif
