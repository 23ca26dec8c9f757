/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Are --set's assignments kept in order, and what is none, or one too many, told and refused? Do
 * all daemons answer --help, --version and a wrong option alike, and say what SIGHUP came to?
 */
#include "base/options.h"
#include "config_sample.h"
#include "suite.h"

#include <errno.h>
#include <sysexits.h>
#include <unistd.h>

static struct mr_options_sets sets;

START_TEST(assignments_are_kept_in_order)
{
    ck_assert_int_eq(mr_options_add_set("p", &sets, "a=1"), MR_OPTIONS_GO_ON);
    ck_assert_int_eq(mr_options_add_set("p", &sets, "a="), MR_OPTIONS_GO_ON);
    ck_assert_uint_eq(sets.count, 2);
    ck_assert_str_eq(sets.items[0], "a=1");
    ck_assert_str_eq(sets.items[1], "a=");
}
END_TEST

START_TEST(what_is_no_assignment_is_refused)
{
    ck_assert_int_eq(mr_options_add_set("p", &sets, "a"), EX_USAGE);
    ck_assert_uint_eq(sets.count, 0);
}
END_TEST

START_TEST(one_too_many_is_refused)
{
    for (int i = 0; i < MR_OPTIONS_SETS_MAX; i++)
        ck_assert_int_eq(mr_options_add_set("p", &sets, "a=1"), MR_OPTIONS_GO_ON);
    ck_assert_int_eq(mr_options_add_set("p", &sets, "b=1"), EX_USAGE);
    ck_assert_uint_eq(sets.count, MR_OPTIONS_SETS_MAX);
}
END_TEST

static int version(void)
{
    return 7;
}

START_TEST(common_options_end_it_or_go_on)
{
    ck_assert_int_eq(mr_options_take_common('b', "p", "usage\n", version), MR_OPTIONS_GO_ON);
    ck_assert_int_eq(mr_options_take_common('h', "p", "usage\n", version), EX_OK);
    ck_assert_int_eq(mr_options_take_common('v', "p", "usage\n", version), 7);
    ck_assert_int_eq(mr_options_take_common('?', "p", "usage\n", version), EX_USAGE);
}
END_TEST

/* Stderr so far, of this process for good. */
static const char *said(void)
{
    static char text[4096];
    static int fd = -1;
    if (fd < 0) {
        fd = fileno(tmpfile());
        ck_assert_int_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    }
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    return text;
}

START_TEST(what_sighup_came_to_is_said)
{
    struct sample running = {.pool_bytes = 1}, same = running, other = running;
    struct mr_err err = {0};
    (void)said();
    mr_options_tell_reload(sample_keys, &running, &same, "main", "a.yaml", &err);
    ck_assert_ptr_nonnull(strstr(said(), "info  main: a.yaml: read again, nothing has changed"));
    other.pool_bytes = 2;
    mr_options_tell_reload(sample_keys, &running, &other, "main", "a.yaml", &err);
    ck_assert_ptr_nonnull(strstr(said(), "warn  main: a.yaml: memory.pool: cannot change while"));
    mr_err_set(&err, -EINVAL, "a.yaml:3: no such key");
    mr_options_tell_reload(sample_keys, &running, NULL, "main", "a.yaml", &err);
    ck_assert_ptr_nonnull(
        strstr(said(), "error main: a.yaml:3: no such key: the running configuration stays"));
}
END_TEST

MR_SUITE("options", T(assignments_are_kept_in_order), T(what_is_no_assignment_is_refused),
         T(one_too_many_is_refused), T(common_options_end_it_or_go_on),
         T(what_sighup_came_to_is_said))
