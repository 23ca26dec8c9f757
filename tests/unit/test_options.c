/* SPDX-License-Identifier: Apache-2.0 */
/* Are --set's assignments kept in order, and what is none, or one too many, told and refused? */
#include "base/options.h"
#include "suite.h"

#include <sysexits.h>

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

MR_SUITE("options", T(assignments_are_kept_in_order), T(what_is_no_assignment_is_refused),
         T(one_too_many_is_refused))
