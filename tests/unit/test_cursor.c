/* SPDX-License-Identifier: Apache-2.0 */
/* Is a consumer's place kept whole, and a command fed and judged by its exit? */
#include "client/command.h"
#include "client/cursor.h"
#include "scratch.h"
#include "suite.h"

#include <errno.h>
#include <signal.h>

START_TEST(a_cursor_is_replaced_whole)
{
    struct scratch s = scratch_make();
    char path[128];
    uint64_t sequence = 7;
    struct mr_err err = {0};
    snprintf(path, sizeof(path), "%s/cursor", s.path);
    ck_assert_int_eq(mr_cursor_read(path, &sequence, &err), -ENOENT);
    ck_assert_uint_eq(sequence, 7);
    for (uint64_t n = 0; n < 1000000000; n = 10 * n + 9) {
        ck_assert_int_eq(mr_cursor_write(path, n, &err), 0);
        ck_assert_int_eq(mr_cursor_read(path, &sequence, &err), 0);
        ck_assert_uint_eq(sequence, n);
    }
    ck_assert_int_eq(faccessat(s.fd, ".cursor.new", F_OK, 0), -1);
    scratch_remove(&s);
}
END_TEST

START_TEST(what_is_no_cursor_is_refused)
{
    static const char *const bad[] = {"",     "\n", "-1\n", "1 2\n", "x", "99999999999999999999\n",
                                      "1\n\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct scratch s = scratch_make();
        char path[128];
        uint64_t sequence = 7;
        struct mr_err err = {0};
        snprintf(path, sizeof(path), "%s/cursor", s.path);
        scratch_append(&s, "cursor", bad[i]);
        ck_assert_int_eq(mr_cursor_read(path, &sequence, &err), -EINVAL);
        ck_assert_ptr_nonnull(strstr(err.text, path));
        ck_assert_uint_eq(sequence, 7);
        scratch_remove(&s);
    }
    struct mr_err err = {0};
    ck_assert_int_eq(mr_cursor_write("/nonexistent/cursor", 1, &err), -ENOENT);
    ck_assert_int_eq(err.code, -ENOENT);
}
END_TEST

START_TEST(a_command_is_fed_and_judged)
{
    signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(mr_command_run("read line && test \"$line\" = '{\"a\":1}'", "{\"a\":1}", 7),
                     0);
    ck_assert_int_eq(mr_command_run("exit 3", "x", 1), 3);
    ck_assert_int_eq(mr_command_run("kill -TERM $$", "x", 1), 128 + SIGTERM);
    ck_assert_int_eq(mr_command_run("no-such-command-at-all 2>/dev/null", "x", 1), 127);
    char *large = malloc(1 << 20); /* more than a pipe holds, to one that does not read */
    memset(large, 'x', 1 << 20);
    ck_assert_int_eq(mr_command_run("true", large, 1 << 20), 0);
    ck_assert_int_eq(mr_command_run("test $(wc -c) -eq 1048577", large, 1 << 20), 0);
    free(large);
}
END_TEST

MR_SUITE("cursor", T(a_cursor_is_replaced_whole), T(what_is_no_cursor_is_refused),
         T(a_command_is_fed_and_judged))
