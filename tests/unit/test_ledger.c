/* SPDX-License-Identifier: Apache-2.0 */
/* Does the ledger keep what was written, tell what a crash left open, and stop where it is damaged?
 */
#include "ledger.h"
#include "sick_disk.h"
#include "suite.h"
#include "tree.h"

#include "base/recordlog.h"

#include <errno.h>
#include <fcntl.h>

static struct mr_err err;
static struct mr_ledger_pending pending;

static struct mr_ledger *open_ledger(void)
{
    struct mr_ledger *l = NULL;
    mr_ledger_pending_fini(&pending);
    ck_assert_msg(mr_ledger_open(tree_root, &l, &pending, &err) == 0, "%s", err.text);
    return l;
}

static struct mr_ledger_entry entry(const char *what, uint8_t row)
{
    struct mr_ledger_entry e = {.what = what,
                                .path = "/data/m\xff.mrc",
                                .bytes = 7,
                                .revision = 2,
                                .digest = 0xABC,
                                .store = "/store/m.mrc",
                                .why = "old"};
    e.row.bytes[15] = row;
    return e;
}

static void write_one(struct mr_ledger *l, const char *what, uint8_t row)
{
    const struct mr_ledger_entry e = entry(what, row);
    ck_assert_msg(mr_ledger_write(l, &e, &err) == 0, "%s", err.text);
}

START_TEST(open_intent_is_found_and_settled)
{
    tree_make();
    ck_assert(!mr_ledger_exists(tree_root));
    struct mr_ledger *l = open_ledger();
    ck_assert(mr_ledger_exists(tree_root) && !pending.is_open);
    write_one(l, "intent", 1);
    write_one(l, "freed", 1);
    mr_ledger_close(l);
    l = open_ledger();
    ck_assert(!pending.is_open);
    write_one(l, "intent", 2);
    mr_ledger_close(l);
    l = open_ledger();
    ck_assert(pending.is_open);
    ck_assert_uint_eq(pending.row.bytes[15], 2);
    ck_assert_msg(mr_ledger_settle(l, &pending, "kept", "a reason", &err) == 0, "%s", err.text);
    mr_ledger_close(l);
    mr_ledger_close(open_ledger());
    ck_assert(!pending.is_open);
    tree_remove();
}
END_TEST

START_TEST(torn_tail_is_cut)
{
    tree_make();
    struct mr_ledger *l = open_ledger();
    write_one(l, "intent", 1);
    write_one(l, "freed", 1);
    mr_ledger_close(l);
    int fd = open(tree_path("ledger.log"), O_WRONLY | O_APPEND | O_CLOEXEC);
    ck_assert_int_eq(write(fd, "0123456789ABCDEF {\"wha", 22), 22);
    close(fd);
    l = open_ledger();
    write_one(l, "intent", 3);
    mr_ledger_close(l);
    mr_ledger_close(open_ledger());
    ck_assert(pending.is_open);
    ck_assert_uint_eq(pending.row.bytes[15], 3);
    mr_ledger_pending_fini(&pending);
    tree_remove();
}
END_TEST

static void refused_with_a_flip_at(off_t at)
{
    struct mr_ledger *l;
    int fd = open(tree_path("ledger.log"), O_WRONLY | O_CLOEXEC);
    tree_write(fd, "#", 1, at);
    close(fd);
    ck_assert_int_eq(mr_ledger_open(tree_root, &l, &pending, &err), -EUCLEAN);
    ck_assert_ptr_nonnull(strstr(err.text, "ledger.log is damaged"));
}

START_TEST(damage_elsewhere_is_refused)
{
    tree_make();
    struct mr_ledger *l = open_ledger();
    write_one(l, "intent", 1);
    write_one(l, "freed", 1);
    mr_ledger_close(l);
    refused_with_a_flip_at(40);
    tree_remove();
}
END_TEST

/* It may be the intent of a file that waits for its name. */
START_TEST(damaged_last_line_is_no_torn_one)
{
    tree_make();
    struct mr_ledger *l = open_ledger();
    write_one(l, "intent", 1);
    mr_ledger_close(l);
    refused_with_a_flip_at(40);
    tree_remove();
}
END_TEST

/* ---- what stands in it ---- */

static char text[65536];

static size_t read_text(void)
{
    int fd = open(tree_path("ledger.log"), O_RDONLY | O_CLOEXEC);
    ssize_t bytes = read(fd, text, sizeof(text) - 1);
    ck_assert_int_ge(bytes, 0);
    text[bytes] = '\0';
    close(fd);
    return (size_t)bytes;
}

static unsigned lines(void)
{
    unsigned count = 0;
    (void)read_text();
    for (const char *c = text; (c = strchr(c, '\n')) != NULL; c++)
        count++;
    return count;
}

START_TEST(a_line_says_all_of_its_entry)
{
    static const char *const parts[] = {"\"what\":\"intent\"",
                                        "\"path\":\"/data/m%FF.mrc\"",
                                        "\"bytes\":7",
                                        "\"movie\":\"00000000000000000000000016\"",
                                        "\"revision\":2",
                                        "\"row\":\"00000000000000000000000001\"",
                                        "\"digest\":\"0000000000000ABC\"",
                                        "\"store\":\"/store/m.mrc\"",
                                        "\"why\":\"old\"",
                                        "\"time\":\"20"};
    tree_make();
    struct mr_ledger *l = open_ledger();
    struct mr_ledger_entry e = entry("intent", 1);
    e.movie.bytes[15] = 38; /* 16, in a ULID's letters */
    ck_assert_int_eq(mr_ledger_write(l, &e, &err), 0);
    ck_assert_uint_eq(lines(), 1);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        ck_assert_msg(strstr(text, parts[i]) != NULL, "no %s in %s", parts[i], text);
    mr_ledger_close(l);
    l = open_ledger();
    ck_assert_str_eq(pending.path, "/data/m%FF.mrc");
    ck_assert_ptr_nonnull(strstr(text, pending.line));
    mr_ledger_close(l);
    mr_ledger_pending_fini(&pending);
    ck_assert(!pending.is_open && pending.path == NULL && pending.line == NULL);
    mr_ledger_pending_fini(&pending);
    tree_remove();
}
END_TEST

/* The same movie, path and digest, with another what and why. */
START_TEST(an_intent_is_settled_by_its_own_line)
{
    tree_make();
    struct mr_ledger *l = open_ledger();
    write_one(l, "intent", 9);
    mr_ledger_close(l);
    l = open_ledger();
    ck_assert_int_eq(mr_ledger_settle(l, &pending, "left", "its name was taken", &err), 0);
    ck_assert_uint_eq(lines(), 2);
    const char *second = strchr(text, '\n') + 1;
    ck_assert_ptr_nonnull(strstr(second, "\"what\":\"left\""));
    ck_assert_ptr_nonnull(strstr(second, "\"why\":\"its name was taken\""));
    ck_assert_ptr_nonnull(strstr(second, "\"row\":\"00000000000000000000000009\""));
    ck_assert_ptr_nonnull(strstr(second, "\"path\":\"/data/m%FF.mrc\""));
    ck_assert_ptr_nonnull(strstr(second, "\"digest\":\"0000000000000ABC\""));
    ck_assert_ptr_null(strstr(second, "intent"));
    mr_ledger_close(l);
    mr_ledger_close(open_ledger());
    ck_assert(!pending.is_open);
    tree_remove();
}
END_TEST

START_TEST(every_outcome_ends_an_intent_and_the_last_intent_counts)
{
    static const char *const outcomes[] = {"freed", "kept", "left"};
    tree_make();
    for (uint8_t i = 0; i < 3; i++) {
        struct mr_ledger *l = open_ledger();
        ck_assert(!pending.is_open);
        write_one(l, "intent", (uint8_t)(10 + i));
        write_one(l, "intent", i);
        mr_ledger_close(l);
        l = open_ledger();
        ck_assert(pending.is_open && pending.row.bytes[15] == i);
        write_one(l, outcomes[i], i);
        mr_ledger_close(l);
    }
    mr_ledger_close(open_ledger());
    ck_assert(!pending.is_open);
    ck_assert_uint_eq(lines(), 9); /* nothing is ever rewritten */
    tree_remove();
}
END_TEST

/* ---- a disk that fails ---- */

START_TEST(each_line_is_synced_before_the_call_returns)
{
    tree_make();
    struct mr_ledger *l = open_ledger();
    for (int i = 1; i <= 5; i++) {
        int before = sick_disk.fdatasyncs;
        write_one(l, i % 2 ? "intent" : "freed", 1);
        ck_assert_int_eq(sick_disk.fdatasyncs, before + 1);
    }
    mr_ledger_close(l);
    tree_remove();
}
END_TEST

/* By a sync, by a disk that is full, and by one that is full in the midst of a line. */
START_TEST(after_one_failure_nothing_is_written_any_more)
{
    for (int how = 0; how < 3; how++) {
        tree_make();
        struct mr_ledger *l = open_ledger();
        const struct mr_ledger_entry e = entry("intent", 1), late = entry("freed", 1);
        if (how == 0)
            sick_disk.fail_fdatasync = 1;
        else
            sick_disk.no_room = ENOSPC;
        sick_disk.room_bytes = how == 2 ? 40 : 0;
        err = (struct mr_err){0};
        ck_assert_int_eq(mr_ledger_write(l, &e, &err), how == 0 ? -EIO : -ENOSPC);
        ck_assert_ptr_nonnull(strstr(err.text, "ledger.log"));
        sick_disk.no_room = 0; /* there is room again, and the disk is well */
        size_t bytes = read_text();
        for (int i = 0; i < 3; i++) {
            err = (struct mr_err){0};
            ck_assert_int_eq(mr_ledger_write(l, &late, &err), -EIO);
            ck_assert_ptr_nonnull(strstr(err.text, "failed before"));
        }
        ck_assert_uint_eq(read_text(), bytes);
        mr_ledger_close(l);
        err = (struct mr_err){0};
        l = open_ledger(); /* another run */
        ck_assert(pending.is_open == (how == 0));
        write_one(l, "kept", 1);
        mr_ledger_close(l);
        mr_ledger_close(open_ledger());
        ck_assert(!pending.is_open);
        tree_remove();
    }
}
END_TEST

START_TEST(settling_fails_with_the_disk_too)
{
    tree_make();
    struct mr_ledger *l = open_ledger();
    write_one(l, "intent", 4);
    mr_ledger_close(l);
    l = open_ledger();
    sick_disk.fail_fdatasync = 1;
    ck_assert_int_eq(mr_ledger_settle(l, &pending, "kept", "x", &err), -EIO);
    ck_assert_int_eq(mr_ledger_settle(l, &pending, "kept", "x", &err), -EIO);
    ck_assert_uint_eq(lines(), 2); /* what was written before its sync failed may be there */
    mr_ledger_close(l);
    mr_ledger_pending_fini(&pending);
    tree_remove();
}
END_TEST

/* A name that is too long for a line is that entry's trouble alone. */
START_TEST(an_entry_that_does_not_fit_breaks_nothing)
{
    static char path[40 * 1024];
    tree_make();
    struct mr_ledger *l = open_ledger();
    struct mr_ledger_entry e = entry("intent", 1);
    memset(path, '\xff', sizeof(path) - 1);
    e.path = path;
    ck_assert_int_lt(mr_ledger_write(l, &e, &err), 0);
    ck_assert_uint_eq(read_text(), 0);
    path[5 * 1024] = '\0'; /* the longest of a root and of a path below it */
    ck_assert_int_eq(mr_ledger_write(l, &e, &err), 0);
    mr_ledger_close(l);
    l = open_ledger();
    ck_assert(pending.is_open);
    ck_assert_uint_eq(strlen(pending.path), 3 * 5 * 1024);
    mr_ledger_close(l);
    mr_ledger_pending_fini(&pending);
    tree_remove();
}
END_TEST

/* ---- a place where there can be none ---- */

static void cannot_open(const char *dir, int code)
{
    struct mr_ledger *untouched = (struct mr_ledger *)&err, *l = untouched;
    err = (struct mr_err){0};
    int r = mr_ledger_open(dir, &l, &pending, &err);
    ck_assert_msg(r == code, "%d: %s", r, err.text);
    ck_assert_ptr_eq(l, untouched);
    ck_assert(!pending.is_open && pending.path == NULL);
    ck_assert_ptr_nonnull(strstr(err.text, dir));
}

START_TEST(no_folder_a_link_and_a_folder_in_its_place)
{
    tree_make();
    tree_put("file", "x");
    ck_assert(!mr_ledger_exists(tree_path("none")) && !mr_ledger_exists(tree_path("file")));
    cannot_open(tree_path("none"), -ENOENT);
    cannot_open(tree_path("file"), -ENOTDIR);
    ck_assert_int_eq(symlink("file", tree_path("ledger.log")), 0);
    cannot_open(tree_root, -ELOOP);
    ck_assert_int_eq(unlink(tree_path("ledger.log")), 0);
    tree_mkdir("ledger.log");
    cannot_open(tree_root, -EISDIR);
    mr_ledger_close(NULL);
    tree_remove();
}
END_TEST

/* A good record that is none of ours: who knows what it meant. */
START_TEST(a_line_that_says_something_else_is_damage)
{
    static const char *const bodies[] = {"{}", "{\"what\":\"intent\"}",
                                         "{\"what\":\"intent\",\"row\":\"x\"}",
                                         "{\"what\":1,\"row\":\"x\",\"path\":\"/a\"}", "no JSON"};
    char line[256];
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        size_t bytes;
        tree_make();
        ck_assert_int_eq(
            mr_recordlog_format(bodies[i], strlen(bodies[i]), line, sizeof(line), &bytes), 0);
        int fd = tree_open("ledger.log");
        tree_write(fd, line, bytes, 0);
        close(fd);
        cannot_open(tree_root, -EUCLEAN);
        ck_assert_ptr_nonnull(strstr(err.text, "damaged"));
        tree_remove();
    }
}
END_TEST

MR_SUITE("ledger", T(open_intent_is_found_and_settled), T(torn_tail_is_cut),
         T(damage_elsewhere_is_refused), T(damaged_last_line_is_no_torn_one),
         T(a_line_says_all_of_its_entry), T(an_intent_is_settled_by_its_own_line),
         T(every_outcome_ends_an_intent_and_the_last_intent_counts),
         T(each_line_is_synced_before_the_call_returns),
         T(after_one_failure_nothing_is_written_any_more), T(settling_fails_with_the_disk_too),
         T(an_entry_that_does_not_fit_breaks_nothing),
         T(no_folder_a_link_and_a_folder_in_its_place),
         T(a_line_that_says_something_else_is_damage))
