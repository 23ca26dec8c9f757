/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A unit test program in one line: MR_SUITE("name", T(test), T(test), ...) makes main() for a Check
 * suite. Run one test by name with CK_RUN_CASE=<test>; each test is a case of its own.
 */
#ifndef MR_TESTS_SUITE_H
#define MR_TESTS_SUITE_H

#include <check.h>
#include <stdlib.h>

struct mr_suite_entry {
    const char *name;
    const TTest *const *test;
};

static inline int mr_suite_run(const char *name, const struct mr_suite_entry *entries, size_t count)
{
    Suite *suite = suite_create(name);
    for (size_t i = 0; i < count; i++) {
        TCase *tcase = tcase_create(entries[i].name);
        tcase_set_timeout(tcase, 300); /* only what hangs is to meet it */
        tcase_add_test(tcase, *entries[i].test);
        suite_add_tcase(suite, tcase);
    }
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
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
