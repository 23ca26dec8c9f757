/* SPDX-License-Identifier: Apache-2.0 */
/* Copies for a new epoch: of whole files, of some that were cut short, of damaged ones. */
#include "mend.h"
#include "segments.h"

#include "base/recordlog.h"
#include "scratch.h"
#include "suite.h"

#include <errno.h>

static void add_record(const struct scratch *s, const char *name, const char *text)
{
    char line[128];
    size_t bytes = 0;
    ck_assert_int_eq(mr_recordlog_format(text, strlen(text), line, sizeof(line) - 1, &bytes), 0);
    line[bytes] = '\0';
    scratch_append(s, name, line);
}

START_TEST(what_was_cut_short_is_left_out)
{
    struct scratch s = scratch_make();
    add_record(&s, "a", "one");
    add_record(&s, "a", "two");
    uint64_t bytes = scratch_size(&s, "a");
    scratch_append(&s, "a", "0123456789ABCDEF th");
    ck_assert_int_eq(mr_mend_copy(s.fd, "a", "b", true, NULL), 0);
    ck_assert_uint_eq(scratch_size(&s, "b"), bytes);
    ck_assert_int_eq(mr_mend_copy(s.fd, "a", "b", true, NULL), -EEXIST);
    scratch_remove(&s);
}
END_TEST

/* Of log and catalogue: what it says was told to others. */
START_TEST(what_is_damaged_is_not_left_out)
{
    struct scratch s = scratch_make();
    add_record(&s, "a", "one");
    uint64_t first = scratch_size(&s, "a");
    add_record(&s, "a", "two");
    for (uint64_t at = first; at < scratch_size(&s, "a"); at++) {
        struct mr_err err = {0};
        scratch_flip(&s, "a", at);
        ck_assert_int_eq(mr_mend_copy(s.fd, "a", "b", true, &err), -EUCLEAN);
        ck_assert_msg(strstr(err.text, "a: damaged record at offset") != NULL, "%s", err.text);
        scratch_flip(&s, "a", at);
    }
    scratch_flip(&s, "a", first + 18);
    ck_assert_int_eq(mr_mend_copy(s.fd, "a", "b", false, NULL), 0);
    ck_assert_uint_eq(scratch_size(&s, "b"), first);
    scratch_remove(&s);
}
END_TEST

MR_SUITE("segments", T(what_was_cut_short_is_left_out), T(what_is_damaged_is_not_left_out))
