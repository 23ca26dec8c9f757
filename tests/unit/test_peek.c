/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the beginning of a file read as it was described, and of no other file; are mdocs, leases and
 * writers told as they are; and does nothing of it wait for a pipe or follow a link out of the
 * tree?
 */
#include "peek.h"
#include "suite.h"
#include "tree.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

static int root = -1;
static struct mr_fs_facts facts;
static uint8_t bytes[64];
static size_t count;
static bool current;

static void set_up(void)
{
    tree_make();
    root = open(tree_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(root, 0);
}

static void tear_down(void)
{
    close(root);
    tree_remove();
}

static void describe(const char *path)
{
    ck_assert_int_eq(mr_fs_stat(root, path, &facts), 0);
}

static int peek(const char *path, size_t want)
{
    memset(bytes, '#', sizeof(bytes));
    count = 99;
    current = false;
    return mr_peek_head(root, path, &facts, want, bytes, &count, &current);
}

/* ---- heads ---- */

START_TEST(a_head_is_as_long_as_wanted_or_as_the_file)
{
    static const struct {
        size_t want, got;
    } rows[] = {{0, 0}, {1, 1}, {9, 9}, {10, 10}, {11, 10}, {60, 10}};
    set_up();
    tree_put("a", "0123456789");
    describe("a");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ck_assert_int_eq(peek("a", rows[i].want), 0);
        ck_assert_uint_eq(count, rows[i].got);
        ck_assert(current);
        ck_assert_mem_eq(bytes, "0123456789", rows[i].got);
        ck_assert_uint_eq(bytes[rows[i].got], '#'); /* and not one byte more */
    }
    tear_down();
}
END_TEST

START_TEST(a_head_says_whether_it_is_newer_than_the_facts)
{
    set_up();
    tree_put("a", "0123456789");
    describe("a");
    facts.mtime_ns--;
    ck_assert_int_eq(peek("a", 4), 0);
    ck_assert(!current && count == 4);
    describe("a");
    scratch_append(&(struct scratch){.fd = root}, "a", "more");
    ck_assert_int_eq(peek("a", 60), 0);
    ck_assert(!current);
    ck_assert_uint_eq(count, 10); /* of the file as it was described */
    tear_down();
}
END_TEST

/* What was asked for stays unwritten. */
static void refused(const char *path, int code)
{
    int r = peek(path, 10);
    ck_assert_msg(r == code, "%s: %d", path, r);
    ck_assert(count == 99 && !current);
}

START_TEST(another_file_of_that_name_is_stale)
{
    set_up();
    tree_put("a", "0123456789");
    tree_put("b", "9876543210");
    describe("a");
    tree_rename("b", "a");
    refused("a", -ESTALE);
    describe("a");
    facts.identity.birth_ns++; /* its inode was used again */
    refused("a", -ESTALE);
    describe("a");
    ck_assert_int_eq(truncate(tree_path("a"), 9), 0);
    refused("a", -ESTALE);
    ck_assert_int_eq(unlink(tree_path("a")), 0);
    refused("a", -ENOENT);
    tear_down();
}
END_TEST

START_TEST(no_link_leads_out_and_no_pipe_is_waited_for)
{
    set_up();
    tree_mkdir("d");
    tree_put("d/a", "0123456789");
    tree_put("b", "0123456789");
    describe("b");
    ck_assert_int_eq(symlink("b", tree_path("link")), 0);
    ck_assert_int_eq(symlink("/etc", tree_path("out")), 0);
    ck_assert_int_eq(symlink("..", tree_path("up")), 0);
    ck_assert_int_eq(mkfifo(tree_path("pipe"), 0600), 0);
    refused("link", -ELOOP);
    refused("out/passwd", -EXDEV);
    refused("up/b", -EXDEV);
    refused("../b", -EXDEV);
    refused("/etc/passwd", -EXDEV);
    refused("b/c", -ENOTDIR);
    ck_assert_int_lt(peek("pipe", 10), 0);
    ck_assert_int_lt(peek("d", 10), 0);
    ck_assert(!mr_peek_unwritten(root, "pipe") && !mr_peek_unwritten(root, "link"));
    ck_assert(!mr_peek_unwritten(root, "none") && !mr_peek_unwritten(root, "../b"));
    ck_assert(!mr_peek_unwritten(root, "d"));
    tear_down();
}
END_TEST

/* ---- mdocs ---- */

static void check_mdoc(const char *path, const char *text)
{
    char *got = mr_peek_mdoc(root, path);
    ck_assert_msg((got == NULL) == (text == NULL), "%s", path);
    if (text != NULL)
        ck_assert_str_eq(got, text);
    free(got);
}

START_TEST(an_mdoc_is_the_file_beside_it)
{
    set_up();
    tree_mkdir("d");
    tree_put("d/a.mrc.mdoc", "NumSubFrames = 3\n");
    tree_put("d/empty.mrc.mdoc", "");
    tree_put("d/b.mdoc", "no"); /* of d/b, not of d/b.mrc */
    tree_mkdir("d/folder.mrc.mdoc");
    ck_assert_int_eq(mkfifo(tree_path("d/pipe.mrc.mdoc"), 0600), 0);
    ck_assert_int_eq(symlink("a.mrc.mdoc", tree_path("d/link.mrc.mdoc")), 0);
    check_mdoc("d/a.mrc", "NumSubFrames = 3\n");
    check_mdoc("d/empty.mrc", "");
    check_mdoc("d/b.mrc", NULL);
    check_mdoc("d/folder.mrc", NULL);
    check_mdoc("d/pipe.mrc", NULL);
    check_mdoc("d/link.mrc", NULL);
    check_mdoc("none/a.mrc", NULL);
    tear_down();
}
END_TEST

START_TEST(an_mdoc_too_large_is_none)
{
    set_up();
    for (uint64_t more = 0; more < 2; more++) {
        int fd = tree_open("a.mrc.mdoc");
        ck_assert_int_eq(ftruncate(fd, (off_t)(MR_PEEK_MDOC_MAX + more)), 0);
        close(fd);
        char *text = mr_peek_mdoc(root, "a.mrc");
        ck_assert((text != NULL) == (more == 0));
        free(text);
    }
    tear_down();
}
END_TEST

/* The longest path there may be has one, too. */
START_TEST(the_longest_path_has_room_for_its_mdoc)
{
    char path[1025] = "", name[1040];
    set_up();
    for (size_t at = 0; at < 1000; at += 200) {
        memset(path + at, 'n', 199);
        path[at + 199] = '\0';
        if (at < 800) {
            tree_mkdir(path);
            path[at + 199] = '/';
        }
    }
    memset(path + 999, 'n', 25);
    path[1024] = '\0';
    snprintf(name, sizeof(name), "%s.mdoc", path);
    tree_put(name, "x");
    check_mdoc(path, "x");
    tear_down();
}
END_TEST

/* ---- leases ---- */

/* A file of the tree, open for reading, where leases are to be had. */
static int leased(const char *name)
{
    tree_put(name, "x");
    int fd = open(tree_path(name), O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    int r = mr_peek_lease(fd);
    if (r == -EOPNOTSUPP) {
        close(fd);
        tear_down();
        suite_skip("this file system gives no leases");
    }
    ck_assert_int_eq(r, 0);
    return fd;
}

/* As another process that does not want to wait; its errno, or 0. */
static int write_as_another(const char *name)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(open(tree_path(name), O_WRONLY | O_NONBLOCK | O_CLOEXEC) < 0 ? errno : 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* And the word about a writer that waits does not end us. */
START_TEST(a_lease_holds_writers_off_until_it_is_given_back)
{
    set_up();
    int fd = leased("a");
    ck_assert_int_eq(write_as_another("a"), EAGAIN);
    mr_peek_unlease(fd);
    ck_assert_int_eq(write_as_another("a"), 0);
    ck_assert_int_eq(mr_peek_lease(fd), 0);
    close(fd); /* gives it back, too */
    ck_assert_int_eq(write_as_another("a"), 0);
    tear_down();
}
END_TEST

START_TEST(a_writer_keeps_a_lease_away)
{
    set_up();
    int fd = leased("a");
    mr_peek_unlease(fd);
    int writer = tree_open("a");
    ck_assert_int_eq(mr_peek_lease(fd), -EAGAIN);
    ck_assert(!mr_peek_unwritten(root, "a"));
    close(writer);
    ck_assert(mr_peek_unwritten(root, "a"));
    ck_assert_int_eq(write_as_another("a"), 0); /* nothing is held afterwards */
    close(fd);
    tear_down();
}
END_TEST

/* A file system of which nobody knows what its leases are worth. */
START_TEST(a_lease_of_what_is_not_local_says_nothing)
{
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(mr_peek_lease(fd), -EOPNOTSUPP);
    close(fd);
    ck_assert_int_eq(mr_peek_lease(-1), -EOPNOTSUPP);
    int proc = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert(!mr_peek_unwritten(proc, "status"));
    close(proc);
}
END_TEST

MR_SUITE("peek", T(a_head_is_as_long_as_wanted_or_as_the_file),
         T(a_head_says_whether_it_is_newer_than_the_facts), T(another_file_of_that_name_is_stale),
         T(no_link_leads_out_and_no_pipe_is_waited_for), T(an_mdoc_is_the_file_beside_it),
         T(an_mdoc_too_large_is_none), T(the_longest_path_has_room_for_its_mdoc),
         T(a_lease_holds_writers_off_until_it_is_given_back), T(a_writer_keeps_a_lease_away),
         T(a_lease_of_what_is_not_local_says_nothing))
