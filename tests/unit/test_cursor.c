/* SPDX-License-Identifier: Apache-2.0 */
/* Is a consumer's place kept whole, and a command fed and judged by its exit? */
#include "client/command.h"
#include "client/cursor.h"
#include "scratch.h"
#include "suite.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

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
    static const char *const bad[] = {
        "",
        "\n",
        "-1\n",
        "1 2\n",
        "x",
        "99999999999999999999\n",
        "1\n\n",
        "1 ",
        " 1\n",
        "+1\n",
        "1\r\n",
        "0x1\n",
        "1.0\n",
        "1234567890123456789\n", /* 19 digits */
        "1\n                                                              "};
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

START_TEST(a_cursor_may_be_written_by_hand)
{
    static const struct {
        const char *text;
        uint64_t sequence;
    } good[] = {{"42", 42}, {"0\n", 0}, {"007\n", 7}, {"999999999999999999\n", 999999999999999999}};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct scratch s = scratch_make();
        char path[128];
        uint64_t sequence = 77;
        snprintf(path, sizeof(path), "%s/cursor", s.path);
        scratch_append(&s, "cursor", good[i].text);
        ck_assert_int_eq(mr_cursor_read(path, &sequence, NULL), 0);
        ck_assert_uint_eq(sequence, good[i].sequence);
        scratch_remove(&s);
    }
}
END_TEST

START_TEST(what_cannot_be_read_or_written_is_told)
{
    struct scratch s = scratch_make();
    char path[128];
    uint64_t sequence = 7;
    struct mr_err err = {0};
    snprintf(path, sizeof(path), "%s/absent", s.path);
    ck_assert_int_eq(mr_cursor_read(path, &sequence, &err), -ENOENT);
    ck_assert_int_eq(err.code, 0); /* no cursor yet is no error */
    ck_assert_str_eq(err.text, "");
    ck_assert_int_eq(mr_cursor_read(s.path, &sequence, &err), -EISDIR);
    ck_assert_int_eq(err.code, -EISDIR);
    ck_assert_ptr_nonnull(strstr(err.text, s.path));
    scratch_append(&s, "file", "1\n");
    snprintf(path, sizeof(path), "%s/file/cursor", s.path);
    ck_assert_int_eq(mr_cursor_write(path, 1, &err), -ENOTDIR);
    ck_assert_int_eq(err.code, -ENOTDIR);
    ck_assert_int_eq(mr_cursor_write(s.path, 1, &err), -EISDIR); /* a directory has the name */
    ck_assert_uint_eq(sequence, 7);
    scratch_remove(&s);
}
END_TEST

/* The new file's name is nobody's to prepare: a link there would be written through. */
START_TEST(a_link_in_the_way_is_not_followed)
{
    struct scratch s = scratch_make();
    char path[128];
    uint64_t sequence = 0;
    struct mr_err err = {0};
    snprintf(path, sizeof(path), "%s/cursor", s.path);
    ck_assert_int_eq(mr_cursor_write(path, 5, &err), 0);
    scratch_append(&s, "other", "precious");
    ck_assert_int_eq(symlinkat("other", s.fd, ".cursor.new"), 0);
    ck_assert_int_eq(mr_cursor_write(path, 6, &err), -ELOOP);
    ck_assert_uint_eq(scratch_size(&s, "other"), 8);
    ck_assert_int_eq(mr_cursor_read(path, &sequence, &err), 0);
    ck_assert_uint_eq(sequence, 5);
    ck_assert_int_eq(unlinkat(s.fd, ".cursor.new", 0), 0);
    scratch_append(&s, ".cursor.new", "123456789012345678901234567890\n"); /* of a crash: longer */
    ck_assert_int_eq(mr_cursor_write(path, 6, &err), 0);
    ck_assert_uint_eq(scratch_size(&s, "cursor"), 2);
    scratch_remove(&s);
}
END_TEST

START_TEST(names_of_any_length_the_system_allows)
{
    struct scratch s = scratch_make();
    static char path[8192];
    struct mr_err err = {0};
    uint64_t sequence = 0;
    for (size_t length = 249; length <= 252; length++) { /* ".NAME.new" has 5 more */
        int n = snprintf(path, sizeof(path), "%s/", s.path);
        memset(path + n, 'c', length);
        path[(size_t)n + length] = '\0';
        ck_assert_int_eq(mr_cursor_write(path, length, &err), length <= 250 ? 0 : -ENAMETOOLONG);
        ck_assert_int_eq(mr_cursor_read(path, &sequence, NULL), length <= 250 ? 0 : -ENOENT);
    }
    ck_assert_uint_eq(sequence, 250);
    memset(path, '/', 8000);
    strcpy(path + 8000, "c");
    ck_assert_int_eq(mr_cursor_write(path, 1, &err), -ENAMETOOLONG);
    ck_assert_int_eq(err.code, -ENAMETOOLONG);
    ck_assert_int_eq(fchdir(s.fd), 0);
    ck_assert_int_eq(mr_cursor_write("here", 9, &err), 0); /* no directory in front */
    ck_assert_int_eq(mr_cursor_read("here", &sequence, &err), 0);
    ck_assert_uint_eq(sequence, 9);
    ck_assert_int_eq(chdir("/"), 0);
    scratch_remove(&s);
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

static void heard(int number)
{
    (void)number;
}

START_TEST(a_command_has_the_usual_signals)
{
    sigset_t all, before;
    signal(SIGPIPE, SIG_IGN);
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    int term = mr_command_run("kill -TERM $$; exit 3", "", 0);
    int broken = mr_command_run("kill -PIPE $$; exit 3", "", 0);
    sigprocmask(SIG_SETMASK, &before, NULL);
    ck_assert_int_eq(term, 128 + SIGTERM);
    ck_assert_int_eq(broken, 128 + SIGPIPE);
}
END_TEST

START_TEST(signals_do_not_cut_a_command_short)
{
    struct sigaction action = {.sa_handler = heard}; /* without SA_RESTART */
    char *large = malloc(1 << 20);
    memset(large, 'x', 1 << 20);
    signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
    ck_assert_int_eq(mr_command_run("for i in 1 2 3 4 5 6 7 8 9; do kill -USR1 $PPID; done; "
                                    "test $(wc -c) -eq 1048577 || exit 1; "
                                    "for i in 1 2 3 4 5 6 7 8 9; do kill -USR1 $PPID; done; exit 5",
                                    large, 1 << 20),
                     5);
    free(large);
}
END_TEST

START_TEST(a_command_gets_the_bytes_and_a_newline)
{
    signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(mr_command_run("test \"$(od -An -tx1 | tr -d ' \\n')\" = 0a", "", 0), 0);
    ck_assert_int_eq(
        mr_command_run("test \"$(od -An -tx1 | tr -d ' \\n')\" = 61000a620a", "a\0\nbc", 4), 0);
    ck_assert_int_eq(mr_command_run("cat >/dev/null; exit 255", "x", 1), 255);
    ck_assert_int_eq(mr_command_run("", "x", 1), 0);
}
END_TEST

START_TEST(a_command_leaves_no_descriptor_and_says_when_there_is_none)
{
    signal(SIGPIPE, SIG_IGN);
    int before = dup(STDIN_FILENO);
    ck_assert_int_ge(before, 0);
    close(before);
    ck_assert_int_eq(mr_command_run("exit 0", "x", 1), 0);
    struct rlimit limit, none;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = (rlim_t)before;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    int code = mr_command_run("exit 0", "x", 1);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(code, -EMFILE);
    int after = dup(STDIN_FILENO);
    ck_assert_int_eq(after, before);
    close(after);
}
END_TEST

MR_SUITE("cursor", T(a_cursor_is_replaced_whole), T(what_is_no_cursor_is_refused),
         T(a_cursor_may_be_written_by_hand), T(what_cannot_be_read_or_written_is_told),
         T(a_link_in_the_way_is_not_followed), T(names_of_any_length_the_system_allows),
         T(a_command_is_fed_and_judged), T(a_command_has_the_usual_signals),
         T(signals_do_not_cut_a_command_short), T(a_command_gets_the_bytes_and_a_newline),
         T(a_command_leaves_no_descriptor_and_says_when_there_is_none))
