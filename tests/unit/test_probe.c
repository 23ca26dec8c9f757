/* SPDX-License-Identifier: Apache-2.0 */
/* Does --check-store find what a folder can and cannot do, say it in its format, and leave
 * nothing? Other file systems are tests/fault's. */
#include "probe.h"
#include "scratch.h"
#include "sick_disk.h"
#include "suite.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char *const findings[] = {
    "file system", "space",          "in use",     "writing",          "openat2", "direct I/O",
    "io_uring",    "allocate ahead", "fdatasync",  "fsync of folders", "rename",  "rename across",
    "exchange",    "long names",     "birth time", "two processes",    "lease",   "group",
    "default ACL", "project",        "quota",
};
#define FINDINGS (sizeof(findings) / sizeof(findings[0]))

/* Owned text. */
static char *probe(const char *dir, uint32_t keep_free, int wanted)
{
    struct mr_err err = {0};
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    const struct mr_probe_config config = {.dir = dir, .keep_free_hundredths = keep_free};
    int r = mr_probe_store(&config, out, &err);
    fclose(out);
    ck_assert_msg(r == wanted, "%s: %s\n%s", mr_err_name(r), err.text, text);
    ck_assert_int_eq(err.code, wanted);
    return text;
}

static unsigned count_entries(const struct scratch *s)
{
    unsigned count = 0;
    DIR *dir = opendir(s->path);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

/* The verdict of a finding in out, with the words behind it; "" where it is not there. */
static const char *verdict(const char *text, const char *what)
{
    static char line[512];
    char front[32];
    snprintf(front, sizeof(front), "%-18s ", what);
    const char *at = strncmp(text, front, 19) == 0 ? text : NULL;
    for (const char *p = strchr(text, '\n'); at == NULL && p != NULL; p = strchr(p + 1, '\n'))
        if (strncmp(p + 1, front, 19) == 0)
            at = p + 1;
    snprintf(line, sizeof(line), "%.*s", at == NULL ? 0 : (int)strcspn(at, "\n") - 19,
             at == NULL ? "" : at + 19);
    return line;
}

static bool is(const char *text, const char *what, const char *wanted)
{
    return strncmp(verdict(text, what), wanted, strlen(wanted)) == 0;
}

START_TEST(says_each_finding_on_a_line_and_leaves_nothing)
{
    struct scratch s = scratch_make();
    char *text = probe(s.path, 0, 0), *line = text;
    for (size_t i = 0; i < FINDINGS; i++) {
        char front[32];
        snprintf(front, sizeof(front), "%-18s ", findings[i]);
        ck_assert_msg(strncmp(line, front, 19) == 0, "%s: %.60s", findings[i], line);
        ck_assert_msg(strncmp(line + 19, "ok    ", 6) == 0 || strncmp(line + 19, "note  ", 6) == 0,
                      "%.60s", line);
        line = strchr(line, '\n') + 1;
    }
    ck_assert_str_eq(line, "usable as a store\n");
    ck_assert_uint_eq(count_entries(&s), 2); /* . and .. */
    free(text);
    scratch_remove(&s);
}
END_TEST

START_TEST(refuses_what_is_no_folder_to_write_in)
{
    free(probe("/nowhere/at/all", 200, -ENOENT));
    char *text = probe("/proc/self", 0, geteuid() == 0 ? -ENOENT : -EACCES);
    ck_assert(is(text, "writing", "FAIL"));
    ck_assert_ptr_nonnull(strstr(text, "\nNOT usable as a store\n"));
    free(text);
}
END_TEST

START_TEST(disk_below_keep_free_is_told)
{
    struct scratch s = scratch_make();
    char *text = probe(s.path, 9999, 0);
    ck_assert_msg(is(text, "space", "note") && strstr(verdict(text, "space"), "keep_free"), "%s",
                  text);
    free(text);
    scratch_remove(&s);
}
END_TEST

START_TEST(missing_exchange_is_told_with_what_happens_instead)
{
    struct scratch s = scratch_make();
    sick_disk.no_exchange = EINVAL;
    char *text = probe(s.path, 0, 0);
    ck_assert_msg(is(text, "exchange", "note "), "%s", text);
    ck_assert_ptr_nonnull(strstr(verdict(text, "exchange"), "by link and rename"));
    ck_assert_uint_eq(count_entries(&s), 2);
    free(text);
    scratch_remove(&s);
}
END_TEST

START_TEST(syncs_that_fail_make_it_unusable)
{
    struct scratch s = scratch_make();
    sick_disk.fail_fdatasync = 3;
    char *text = probe(s.path, 0, -EIO);
    ck_assert(is(text, "fdatasync", "FAIL"));
    free(text);
    sick_disk.fail_fsync = 2;
    text = probe(s.path, 0, -EIO);
    ck_assert(is(text, "fsync of folders", "FAIL"));
    ck_assert_uint_eq(count_entries(&s), 2);
    free(text);
    scratch_remove(&s);
}
END_TEST

START_TEST(a_full_disk_or_quota_makes_it_unusable)
{
    struct scratch s = scratch_make();
    sick_disk.no_files = EDQUOT;
    char *text = probe(s.path, 0, -EDQUOT);
    ck_assert(is(text, "allocate ahead", "FAIL"));
    ck_assert(is(text, "fdatasync", "FAIL"));
    ck_assert(is(text, "rename", "FAIL"));
    ck_assert_ptr_nonnull(strstr(text, "\nNOT usable as a store\n"));
    free(text);
    scratch_remove(&s);
}
END_TEST

START_TEST(without_io_uring_it_says_so)
{
    struct scratch s = scratch_make();
    ck_assert_int_eq(setenv("MILLRACE_FORCE_PWRITE_POOL", "1", 1), 0);
    char *text = probe(s.path, 0, 0);
    ck_assert_msg(strstr(verdict(text, "io_uring"), "pwrite") != NULL ||
                      is(text, "io_uring", "note"),
                  "%s", text);
    free(text);
    scratch_remove(&s);
}
END_TEST

MR_SUITE("probe", T(says_each_finding_on_a_line_and_leaves_nothing),
         T(refuses_what_is_no_folder_to_write_in), T(disk_below_keep_free_is_told),
         T(missing_exchange_is_told_with_what_happens_instead), T(syncs_that_fail_make_it_unusable),
         T(a_full_disk_or_quota_makes_it_unusable), T(without_io_uring_it_says_so))
