/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a watch see what happens in a real tree, whatever comes, goes, is renamed, hidden or lost?
 * Events lie in the kernel's queue as soon as a call returns, and the clock is ours: nothing waits.
 */
#include "base/clock.h"
#include "dirmap.h"
#include "suite.h"
#include "tree.h"
#include "watch.h"

#include <errno.h>
#include <sched.h>

#define RESCAN (10 * MR_NS_PER_S)

static struct mr_watch *watch;
static int64_t now_ns = 1000 * MR_NS_PER_S;
static char told[1 << 16];
static unsigned hints, listed;

static void take(void *ctx, enum mr_hint hint, const char *path)
{
    static const char *const names[] = {"", "listed", "changed", "closed", "moved", "gone"};
    size_t used = strlen(told);
    (void)ctx;
    hints++;
    listed += hint == MR_HINT_LISTED;
    if (used + strlen(path) + 20 < sizeof(told))
        snprintf(told + used, sizeof(told) - used, "%s %s; ", names[hint], path);
}

static void start_with(struct mr_watch_config config)
{
    config.rescan_ns = RESCAN;
    config.hint = take;
    if (config.path == NULL)
        config.path = tree_root;
    ck_assert_int_eq(mr_watch_new(&config, &watch), 0);
}

static void start(void)
{
    start_with((struct mr_watch_config){.events = true});
}

static void end(void)
{
    mr_watch_free(watch);
    tree_remove();
}

static const char *listen(void)
{
    told[0] = '\0';
    hints = listed = 0;
    for (int i = 0; mr_watch_step(watch, now_ns, 64); i++)
        ck_assert_int_lt(i, 1000000);
    return told;
}

static const char *rescan(void)
{
    now_ns += RESCAN;
    return listen();
}

START_TEST(lists_first_and_then_hears)
{
    tree_make();
    tree_mkdir("a");
    tree_put("a/x", "1");
    start();
    ck_assert_str_eq(listen(), "listed a/x; ");
    ck_assert_uint_eq(mr_watch_listings_done(watch), 1);
    ck_assert_int_eq(mr_watch_deadline(watch), now_ns + RESCAN);
    ck_assert_str_eq(listen(), "");
    int fd = tree_open("a/y");
    tree_write(fd, "1", 1, 0);
    ck_assert_str_eq(listen(), "changed a/y; changed a/y; ");
    close(fd);
    ck_assert_str_eq(listen(), "closed a/y; ");
    tree_rename("a/y", "z");
    ck_assert_str_eq(listen(), "gone a/y; moved z; ");
    ck_assert_int_eq(unlink(tree_path("z")), 0);
    ck_assert_str_eq(listen(), "gone z; ");
    ck_assert_str_eq(rescan(), "listed a/x; ");
    ck_assert_uint_eq(mr_watch_listings_done(watch), 2);
    end();
}
END_TEST

START_TEST(new_directories_are_heard_at_once)
{
    tree_make();
    start();
    listen();
    tree_mkdir("d");
    tree_mkdir("d/e");
    tree_put("d/e/x", "1");
    ck_assert_str_eq(listen(), "listed d/e/x; ");
    tree_put("d/e/y", "");
    ck_assert_str_eq(listen(), "changed d/e/y; closed d/e/y; ");
    tree_rename("d", "f");
    listen();
    ck_assert_ptr_nonnull(strstr(told, "listed f/e/x; "));
    tree_put("f/e/z", "");
    ck_assert_str_eq(listen(), "changed f/e/z; closed f/e/z; ");
    end();
}
END_TEST

/* Its watches follow the inode wherever it goes. */
START_TEST(what_was_moved_out_is_heard_no_more)
{
    tree_make();
    tree_mkdir("in");
    tree_mkdir("in/d");
    tree_mkdir("in/d/e");
    tree_put("in/d/x", "");
    char root[4200];
    snprintf(root, sizeof(root), "%s", tree_path("in"));
    start_with((struct mr_watch_config){.events = true, .path = root});
    ck_assert_str_eq(listen(), "listed d/x; ");
    tree_rename("in/d", "out");
    ck_assert_str_eq(listen(), "");
    ck_assert_uint_eq(mr_watch_listings_done(watch), 2); /* it tells that d/x is gone */
    tree_put("out/x", "1");
    tree_put("out/e/y", "1");
    ck_assert_str_eq(listen(), "");
    tree_rename("out", "in/f");
    ck_assert_str_eq(listen(), "listed f/x; listed f/e/y; ");
    tree_put("in/f/e/y", "2");
    ck_assert_str_eq(listen(), "changed f/e/y; closed f/e/y; ");
    end();
}
END_TEST

START_TEST(globs_links_and_pipes)
{
    static const char *const include[] = {"*.mrc", "logs/**"}, *const exclude[] = {".*", "*.tmp"};
    tree_make();
    tree_mkdir(".hidden");
    tree_put(".hidden/a.mrc", "");
    tree_mkdir("logs");
    tree_put("logs/b", "");
    tree_put("c.mrc", "");
    tree_put("d.txt", "");
    tree_mkdir("x.tmp");
    tree_put("x.tmp/e.mrc", "");
    ck_assert_int_eq(symlink("/etc", tree_path("out")), 0);
    ck_assert_int_eq(symlink("c.mrc", tree_path("link.mrc")), 0);
    ck_assert_int_eq(mkfifo(tree_path("pipe.mrc"), 0600), 0);
    start_with((struct mr_watch_config){.events = true,
                                        .include = include,
                                        .include_count = 2,
                                        .exclude = exclude,
                                        .exclude_count = 2});
    listen();
    ck_assert_uint_eq(hints, 2);
    ck_assert_ptr_nonnull(strstr(told, "listed logs/b; "));
    ck_assert_ptr_nonnull(strstr(told, "listed c.mrc; "));
    tree_put(".hidden/f.mrc", "");
    tree_put("g.txt", "");
    ck_assert_str_eq(listen(), "");
    end();
}
END_TEST

START_TEST(a_root_that_comes_late_and_goes)
{
    char root[4200];
    tree_make();
    snprintf(root, sizeof(root), "%s", tree_path("mount"));
    start_with((struct mr_watch_config){.events = true, .path = root});
    ck_assert_str_eq(listen(), "");
    ck_assert_int_eq(mr_watch_root(watch), -1);
    ck_assert_uint_eq(mr_watch_skipped(watch), 1); /* nobody knows what it would hold */
    tree_mkdir("mount");
    tree_put("mount/x", "");
    ck_assert_str_eq(rescan(), "listed x; ");
    ck_assert_uint_eq(mr_watch_skipped(watch), 0);
    tree_put("mount/y", "");
    ck_assert_str_eq(listen(), "changed y; closed y; ");
    tree_rename("mount", "away");
    ck_assert_str_eq(listen(), ""); /* heard, and looked for at once */
    ck_assert_int_eq(mr_watch_root(watch), -1);
    tree_put("away/z", "");
    ck_assert_str_eq(listen(), "");
    tree_mkdir("mount");
    tree_put("mount/x", "");
    ck_assert_str_eq(rescan(), "listed x; ");
    end();
}
END_TEST

START_TEST(lost_events_bring_a_whole_listing)
{
    long limit = 0;
    FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
    if (f == NULL || fscanf(f, "%ld", &limit) != 1 || limit > 200000)
        limit = 0;
    if (f != NULL)
        fclose(f);
    tree_make();
    tree_put("a", "");
    tree_put("b", "");
    start();
    listen();
    int a = tree_open("a"), b = tree_open("b");
    for (long i = 0; i < limit; i++) /* alternating, or the kernel merges them */
        tree_write(i % 2 ? a : b, "x", 1, 0);
    tree_put("c", "");
    close(a);
    close(b);
    listen();
    if (limit > 0) {
        ck_assert_uint_eq(mr_watch_listings_done(watch), 2);
        ck_assert_uint_eq(listed, 3);
    }
    end();
}
END_TEST

START_TEST(what_cannot_be_taken_in_is_counted)
{
    tree_make();
    char path[2000] = "d";
    tree_mkdir(path);
    for (int i = 0; i < 6; i++) { /* 6 x 200: too long for a path, not for the file system */
        size_t used = strlen(path);
        path[used++] = '/';
        memset(path + used, 'n', 200);
        path[used + 200] = '\0';
        tree_mkdir(path);
    }
    tree_put("ok", "");
    start();
    ck_assert_str_eq(listen(), "listed ok; ");
    ck_assert_uint_eq(mr_watch_skipped(watch), 1);
    ck_assert_str_eq(rescan(), "listed ok; ");
    ck_assert_uint_eq(mr_watch_skipped(watch), 1);
    if (geteuid() != 0) {
        tree_mkdir("locked");
        ck_assert_int_eq(chmod(tree_path("locked"), 0), 0);
        ck_assert_str_eq(rescan(), "listed ok; ");
        ck_assert_uint_eq(mr_watch_skipped(watch), 2);
        chmod(tree_path("locked"), 0700);
    }
    end();
}
END_TEST

/* In a user namespace of our own, where the limit is ours to set. Check runs each test in a
 * process. */
static bool limit_watches(const char *limit)
{
    if (unshare(CLONE_NEWUSER) != 0)
        return false;
    int fd = open("/proc/sys/user/max_inotify_watches", O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, limit, strlen(limit)) > 0;
    if (fd >= 0)
        close(fd);
    return good;
}

START_TEST(without_watches_rescans_do_the_work)
{
    tree_make();
    for (int i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof(name), "d%d", i);
        tree_mkdir(name);
    }
    if (!limit_watches("4")) {
        tree_remove();
        suite_skip("no user namespace");
    }
    start();
    listen();
    for (int i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof(name), "d%d/x", i);
        tree_put(name, "");
    }
    listen();
    ck_assert_uint_eq(listed, 0);
    ck_assert_uint_eq(hints, 2 * 3); /* of the three directories that got one, beside the root */
    rescan();
    ck_assert_uint_eq(listed, 10);
    end();
}
END_TEST

START_TEST(a_deep_tree_needs_no_deep_stack)
{
    char path[1024] = "0";
    tree_make();
    tree_mkdir(path);
    for (int i = 0; i < 400; i++) {
        strcat(path, "/0");
        tree_mkdir(path);
    }
    strcat(path, "/x");
    tree_put(path, "");
    start();
    listen();
    ck_assert_uint_eq(hints, 1);
    end();
}
END_TEST

START_TEST(a_step_does_a_bounded_amount_of_work)
{
    tree_make();
    for (int i = 0; i < 300; i++) {
        char name[16];
        snprintf(name, sizeof(name), "f%d", i);
        tree_put(name, "");
    }
    start();
    for (unsigned seen = 0; seen < 300; seen += hints) {
        hints = 0;
        (void)mr_watch_step(watch, now_ns, 10);
        ck_assert_uint_le(hints, 10);
    }
    end();
}
END_TEST

START_TEST(below_and_without_events)
{
    tree_make();
    tree_mkdir("a");
    tree_put("a/x", "");
    tree_put("b", "");
    start_with((struct mr_watch_config){.below = "a"});
    ck_assert_str_eq(listen(), "listed a/x; ");
    ck_assert_int_eq(mr_watch_fd(watch), -1);
    ck_assert_int_eq(mr_watch_deadline(watch), INT64_MAX);
    mr_watch_free(watch);
    start_with((struct mr_watch_config){.below = "b"});
    ck_assert_str_eq(listen(), "listed b; ");
    ck_assert_uint_eq(mr_watch_skipped(watch), 0);
    mr_watch_free(watch);
    start_with((struct mr_watch_config){.below = "gone"});
    ck_assert_str_eq(listen(), "");
    ck_assert_uint_eq(mr_watch_skipped(watch), 1);
    end();
}
END_TEST

START_TEST(the_map_of_directories_survives_removals)
{
    struct mr_dirmap map = {0};
    char path[32];
    for (int wd = 1; wd <= 5000; wd++) {
        snprintf(path, sizeof(path), "%s/%d", wd % 3 ? "a" : "ab", wd);
        ck_assert_int_eq(mr_dirmap_set(&map, wd, path), 0);
    }
    for (int wd = 1; wd <= 5000; wd += 2)
        ck_assert(mr_dirmap_remove(&map, wd));
    ck_assert(!mr_dirmap_remove(&map, 1));
    size_t at = 0, removed = 0;
    for (int wd; (wd = mr_dirmap_find_below(&map, "a", &at)) != 0; removed++)
        ck_assert(mr_dirmap_remove(&map, wd));
    ck_assert_uint_eq(map.count, 2500 - removed);
    for (int wd = 1; wd <= 5000; wd++)
        ck_assert_int_eq(mr_dirmap_get(&map, wd) != NULL, wd % 2 == 0 && wd % 3 == 0);
    mr_dirmap_fini(&map);
    ck_assert(mr_dirmap_is_below("a/b", "a") && mr_dirmap_is_below("a", "a"));
    ck_assert(!mr_dirmap_is_below("ab", "a") && mr_dirmap_is_below("x", ""));
}
END_TEST

MR_SUITE("watch", T(lists_first_and_then_hears), T(new_directories_are_heard_at_once),
         T(what_was_moved_out_is_heard_no_more), T(globs_links_and_pipes),
         T(a_root_that_comes_late_and_goes), T(lost_events_bring_a_whole_listing),
         T(what_cannot_be_taken_in_is_counted), T(without_watches_rescans_do_the_work),
         T(a_deep_tree_needs_no_deep_stack), T(a_step_does_a_bounded_amount_of_work),
         T(below_and_without_events), T(the_map_of_directories_survives_removals))
