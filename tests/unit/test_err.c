/* SPDX-License-Identifier: Apache-2.0 */
/* What does an operator read when something failed? */
#include "base/err.h"
#include "suite.h"

#include <errno.h>
#include <string.h>

START_TEST(set_fills_code_and_text)
{
    struct mr_err err = {0};
    ck_assert_int_eq(mr_err_set(&err, -EINVAL, "a.yaml:%d:5: bad", 12), -EINVAL);
    ck_assert_int_eq(err.code, -EINVAL);
    ck_assert_str_eq(err.text, "a.yaml:12:5: bad");
}
END_TEST

START_TEST(null_is_accepted)
{
    ck_assert_int_eq(mr_err_set(NULL, -EIO, "x"), -EIO);
    ck_assert_int_eq(mr_err_errno(NULL, -EIO, "x"), -EIO);
    ck_assert_int_eq(mr_err_prefix(NULL, "x"), 0);
}
END_TEST

START_TEST(errno_text_follows)
{
    struct mr_err err = {0};
    mr_err_errno(&err, -ENOSPC, "/data/store");
    ck_assert_str_eq(err.text, "/data/store: No space left on device");
}
END_TEST

START_TEST(prefix_goes_in_front)
{
    struct mr_err err = {0};
    ck_assert_int_eq(mr_err_prefix(&err, "unset"), 0);
    ck_assert_str_eq(err.text, "");
    mr_err_set(&err, -EPROTO, "short header");
    ck_assert_int_eq(mr_err_prefix(&err, "peer %s", "k3"), -EPROTO);
    ck_assert_str_eq(err.text, "peer k3: short header");
}
END_TEST

START_TEST(long_text_is_cut_and_control_characters_go)
{
    struct mr_err err = {0};
    char name[2000];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    mr_err_set(&err, -EINVAL, "%s", name);
    ck_assert_uint_eq(strlen(err.text), sizeof(err.text) - 1);
    ck_assert_str_eq(err.text + sizeof(err.text) - 4, "...");
    mr_err_set(&err, -EINVAL, "a\nb\033[1m");
    ck_assert_str_eq(err.text, "a?b?[1m");
}
END_TEST

MR_SUITE("err", T(set_fills_code_and_text), T(null_is_accepted), T(errno_text_follows),
         T(prefix_goes_in_front), T(long_text_is_cut_and_control_characters_go))
