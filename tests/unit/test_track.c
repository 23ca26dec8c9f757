/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do real files that grow, close, shrink, change and vanish give the messages that track promises,
 * in order? Events lie in the kernel's queue as soon as a call returns, and the clock is ours:
 * nothing waits.
 */
#include "peek.h"
#include "track_rig.h"

#include <errno.h>

START_TEST(a_movie_is_told_as_it_grows)
{
    tree_make();
    tree_mkdir("grid7");
    start(MR_TRACK_FOLLOW);
    ck_assert_str_eq(listen(), "");
    int fd = tree_open("grid7/a.mrc");
    ck_assert_str_eq(listen(), "");
    write_frame(fd, 0, FRAME);
    write_header(fd, 3, false);
    ck_assert_str_eq(listen_after(S), "found grid7/a.mrc; ");
    ck_assert_uint_eq(got.view.width, 64);
    ck_assert_uint_eq(got.view.settled_to, got.view.settled_from);
    ck_assert_str_eq(got.root, tree_root);
    uint64_t number = got.file;
    write_frame(fd, 1, FRAME / 2);
    ck_assert_str_eq(listen_after(S), "grew grid7/a.mrc; ");
    ck_assert_uint_eq(got.view.settled_to, 1024 + FRAME);
    write_frame(fd, 1, FRAME);
    ck_assert_str_eq(listen_after(S), "");
    write_frame(fd, 2, FRAME);
    ck_assert_str_eq(listen_after(S), ""); /* the newest frame is never settled */
    close(fd);
    ck_assert_str_eq(listen(), "complete grid7/a.mrc; "); /* at once */
    ck_assert_int_eq(got.view.complete_by, MR_COMPLETE_CLOSE);
    ck_assert_uint_eq(got.view.settled_to, 1024 + 3 * FRAME);
    ck_assert_uint_eq(got.facts.size, 1024 + 3 * FRAME);
    ck_assert_uint_eq(got.file, number);
    ck_assert_str_eq(listen_after(3600 * S), "");
    end();
}
END_TEST

START_TEST(a_final_header_completes_without_a_close)
{
    int fd = find_growing(2);
    write_frame(fd, 1, FRAME);
    ck_assert_str_eq(listen_after(S), "");
    write_header(fd, 2, true);
    ck_assert_str_eq(listen_after(S), "complete a.mrc; ");
    ck_assert_int_eq(got.view.complete_by, MR_COMPLETE_HEADER);
    close(fd); /* says nothing new */
    ck_assert_str_eq(listen_after(S), "");
    end();
}
END_TEST

static int finish_before_read = -1; /* a movie whose final header comes just before the next read */
static int finishings;              /* and so many more */

static int64_t mtime_of(int fd)
{
    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    return st.st_mtim.tv_sec * S + st.st_mtim.tv_nsec;
}

/* Its time is later than ever, however coarse the file system's clock is. */
static void touch(int fd)
{
    static time_t ahead_s;
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                {.tv_sec = mtime_of(fd) / S + (ahead_s += 2)}};
    ck_assert_int_eq(futimens(fd, times), 0);
}

ssize_t __real_pread64(int fd, void *data, size_t bytes, off_t offset);
ssize_t __wrap_pread64(int fd, void *data, size_t bytes, off_t offset);
ssize_t __wrap_pread64(int fd, void *data, size_t bytes, off_t offset)
{
    int writer = finish_before_read;
    if (finishings-- <= 0)
        finish_before_read = -1;
    if (writer >= 0 && (fcntl(writer, F_GETFL) & O_ACCMODE) != O_RDONLY)
        write_header(writer, 2, true);
    if (writer >= 0)
        touch(writer);
    return __real_pread64(fd, data, bytes, offset);
}

/* A verdict by size and mtime of before and the header of after would be taken back: "complete,
 * changed, found, complete", and every slab sent twice. */
START_TEST(a_header_that_comes_within_a_look_is_judged_at_the_next)
{
    int fd = find_growing(2);
    write_frame(fd, 1, FRAME);
    finish_before_read = fd;
    ck_assert_str_eq(listen_after(S), "");
    ck_assert_int_eq(finish_before_read, -1);
    ck_assert_str_eq(listen_after(S), "complete a.mrc; ");
    ck_assert_int_eq(got.facts.mtime_ns, mtime_of(fd));
    close(fd);
    ck_assert_str_eq(listen_after(S), "");
    end();
}
END_TEST

/* As on a file system that tells another mtime of an open file than of its name. */
START_TEST(a_header_that_is_always_newer_is_judged_all_the_same)
{
    int looks = 0;
    int fd = find_growing(2);
    write_frame(fd, 1, FRAME);
    finish_before_read = fd;
    finishings = 1000;
    while (*listen_after(S) == '\0')
        ck_assert_int_lt(++looks, 1000);
    ck_assert_str_eq(told, "complete a.mrc; ");
    ck_assert_int_gt(looks, 10);
    close(fd);
    end();
}
END_TEST

START_TEST(an_mdoc_beside_it_completes_it)
{
    int fd = find_growing(1);
    tree_put("a.mrc.mdoc", "[FrameSet = 0]\nNumSubFrames = 1\n");
    listen_after(S);
    ck_assert_ptr_nonnull(strstr(told, "complete a.mrc; "));
    ck_assert_ptr_nonnull(strstr(told, "found a.mrc.mdoc; complete a.mrc.mdoc; "));
    close(fd);
    end();
}
END_TEST

START_TEST(what_never_agrees_is_broken_after_give_up)
{
    tree_make();
    start(MR_TRACK_FOLLOW);
    int fd = tree_open("a.mrc");
    write_frame(fd, 0, FRAME);
    write_header(fd, 5, true);
    close(fd);
    ck_assert_str_eq(listen(), "found a.mrc; ");
    ck_assert_str_eq(listen_after(599 * S), "");
    ck_assert_str_eq(listen_after(S), "broken a.mrc; ");
    ck_assert_ptr_nonnull(strstr(got.reason, "NZ 5"));
    fd = tree_open("a.mrc");
    write_frame(fd, 1, FRAME); /* it goes on after all */
    ck_assert_str_eq(listen_after(S), "changed a.mrc; found a.mrc; ");
    close(fd);
    end();
}
END_TEST

START_TEST(shrinking_replacing_and_changing_are_told)
{
    tree_make();
    start(MR_TRACK_FOLLOW);
    int fd = tree_open("a.mrc");
    write_frame(fd, 0, FRAME);
    write_frame(fd, 1, FRAME);
    write_header(fd, 9, false);
    ck_assert_str_eq(listen(), "found a.mrc; ");
    ck_assert_int_eq(ftruncate(fd, 1024 + FRAME), 0);
    ck_assert_str_eq(listen_after(S), "replaced a.mrc; found a.mrc; ");
    close(fd);

    int other = tree_open("b.tmp"); /* excluded, until it is renamed over the other */
    write_frame(other, 0, FRAME);
    write_header(other, 1, true);
    close(other);
    ck_assert_str_eq(listen_after(S), "");
    tree_rename("b.tmp", "a.mrc");
    ck_assert_str_eq(listen_after(S), "replaced a.mrc; found a.mrc; complete a.mrc; ");
    ck_assert_int_eq(got.view.complete_by, MR_COMPLETE_CLOSE);

    fd = tree_open("a.mrc");
    write_frame(fd, 1, FRAME);
    ck_assert_str_eq(listen_after(S), "changed a.mrc; found a.mrc; ");
    write_header(fd, 2, true);
    close(fd);
    ck_assert_str_eq(listen_after(S), "complete a.mrc; ");
    ck_assert_int_eq(unlink(tree_path("a.mrc")), 0);
    ck_assert_str_eq(listen_after(S), "gone a.mrc; ");
    end();
}
END_TEST

START_TEST(the_plugins_probe_file_is_ignored)
{
    tree_make();
    start(MR_TRACK_FOLLOW);
    close(tree_open("a.mrc"));
    ck_assert_str_eq(listen(), "");
    ck_assert_int_eq(unlink(tree_path("a.mrc")), 0);
    ck_assert_str_eq(listen_after(S), "");
    end();
}
END_TEST

START_TEST(opaque_files_complete_on_close_or_quiet)
{
    tree_make();
    int before = tree_open("before.log");
    tree_write(before, "x", 1, 0);
    start(MR_TRACK_FOLLOW);
    ck_assert_str_eq(listen(), "found before.log; ");
    tree_put("empty.flag", "");
    ck_assert_str_eq(listen(), "found empty.flag; complete empty.flag; ");
    int fd = tree_open("open.log");
    tree_write(fd, "x", 1, 0);
    ck_assert_str_eq(listen_after(S), "found open.log; ");
    ck_assert_str_eq(listen_after(29 * S), "complete before.log; ");
    ck_assert_int_eq(got.view.complete_by, MR_COMPLETE_QUIET);
    ck_assert_str_eq(listen_after(S), "complete open.log; ");
    close(fd);
    close(before);
    end();
}
END_TEST

/* A close that nobody could hear, because the directory was not watched yet, is seen all the
 * same. */
START_TEST(what_nobody_writes_any_more_was_closed)
{
    tree_make();
    tree_put("before.log", "x");
    start(MR_TRACK_FOLLOW);
    MR_CLEANUP(mr_fs_close) int root = open(tree_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!mr_peek_unwritten(root, "before.log")) {
        end();
        suite_skip("this file system does not tell what is not written back");
    }
    ck_assert_str_eq(listen(), "found before.log; complete before.log; ");
    ck_assert_int_eq(got.view.complete_by, MR_COMPLETE_CLOSE);
    tree_mkdir("d");
    tree_put("d/a.log", "x");
    int fd = tree_open("d/b.log");
    listen();
    ck_assert_ptr_nonnull(strstr(told, "found d/a.log; complete d/a.log; "));
    ck_assert_ptr_nonnull(strstr(told, "found d/b.log; "));
    ck_assert_ptr_null(strstr(told, "complete d/b.log; "));
    ck_assert(!mr_peek_unwritten(root, "d/b.log"));
    close(fd);
    ck_assert_str_eq(listen(), "complete d/b.log; ");
    ck_assert(!mr_peek_unwritten(root, "d")); /* no file */
    end();
}
END_TEST

START_TEST(a_log_written_line_by_line_is_one_revision_in_quiet)
{
    tree_make();
    start(MR_TRACK_FOLLOW);
    listen();
    tree_put("a.log", "1");
    ck_assert_str_eq(listen(), "found a.log; complete a.log; ");
    tree_put("a.log", "12");
    ck_assert_str_eq(listen_after(S), "changed a.log; found a.log; ");
    tree_put("a.log", "123");
    ck_assert_str_eq(listen_after(S), "");
    ck_assert_str_eq(listen_after(30 * S), "complete a.log; ");
    end();
}
END_TEST

START_TEST(directories_that_come_and_go)
{
    tree_make();
    start(MR_TRACK_FOLLOW);
    listen();
    tree_mkdir("new");
    tree_mkdir("new/deep");
    tree_put("new/deep/a.log", "x");
    listen();
    ck_assert_ptr_nonnull(strstr(told, "found new/deep/a.log; "));
    tree_put("new/deep/b.log", "x");
    ck_assert_str_eq(listen(), "found new/deep/b.log; complete new/deep/b.log; ");
    tree_rename("new", "other");
    listen_after(S);
    ck_assert_ptr_nonnull(strstr(told, "gone new/deep/a.log; "));
    ck_assert_ptr_nonnull(strstr(told, "gone new/deep/b.log; "));
    ck_assert_ptr_nonnull(strstr(told, "found other/deep/a.log; "));
    tree_put("other/deep/c.log", "x");
    ck_assert_str_eq(listen_after(S), "found other/deep/c.log; complete other/deep/c.log; ");
    struct mr_track_counts counts;
    mr_track_counts(track, &counts);
    ck_assert_uint_eq(counts.files, 3);
    ck_assert(counts.listed);
    end();
}
END_TEST

static int explained;
static char explanation[4096];

static int explain(void *ctx, const struct mr_growth *growth, const char *why)
{
    (void)ctx;
    size_t used = strlen(explanation);
    snprintf(explanation + used, sizeof(explanation) - used, "%s %s (%s); ",
             mr_growth_name(growth->kind), growth->path, why);
    return ++explained < 100 ? 0 : -ECANCELED;
}

START_TEST(dry_run_explains_and_sends_nothing)
{
    tree_make();
    int fd = tree_open("a.mrc");
    write_frame(fd, 0, FRAME);
    write_header(fd, 3, false);
    close(fd);
    struct mr_track_watch watch = watch_config();
    struct mr_track_config config = {.mode = MR_TRACK_FOLLOW, .watches = &watch, .watch_count = 1};
    struct mr_track_counts counts;
    struct mr_err err = {0};
    ck_assert_int_eq(mr_track_explain(&config, explain, NULL, &counts, &err), 0);
    ck_assert_ptr_nonnull(strstr(explanation, "found a.mrc (growing: NZ 3"));
    ck_assert_uint_eq(counts.undecided, 1);
    config.mode = MR_TRACK_AS_IT_IS;
    explanation[0] = '\0';
    ck_assert_int_eq(mr_track_explain(&config, explain, NULL, &counts, &err), 0);
    ck_assert_ptr_nonnull(strstr(explanation, "broken a.mrc (header and size disagree"));
    int touched = finish_before_read = open(tree_path("a.mrc"), O_RDONLY | O_CLOEXEC);
    config.mode = MR_TRACK_ONCE; /* as it is now, though it changes under the look */
    watch.give_up_ns = 1;
    explanation[0] = '\0';
    ck_assert_int_eq(mr_track_explain(&config, explain, NULL, &counts, &err), 0);
    ck_assert_int_eq(finish_before_read, -1);
    ck_assert_ptr_nonnull(strstr(explanation, "broken a.mrc (header and size disagree"));
    close(touched);
    watch.below = "not-there";
    ck_assert_int_eq(mr_track_explain(&config, explain, NULL, &counts, &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.text, "not-there"));
    tree_remove();
}
END_TEST

/* The thread: a queue of two items, so that it has to wait for room. */
START_TEST(push_ends_by_itself_and_loses_nothing)
{
    tree_make();
    for (int i = 0; i < 200; i++) {
        char name[32];
        snprintf(name, sizeof(name), "f%03d.dat", i);
        tree_put(name, i % 2 ? "x" : "");
    }
    struct mr_track_watch watch = watch_config();
    struct mr_track_config config = {
        .mode = MR_TRACK_AS_IT_IS, .watches = &watch, .watch_count = 1};
    struct mr_err err = {0};
    struct mr_thread *thread;
    unsigned complete = 0, messages = 0;
    ck_assert_int_eq(mr_queue_new(sizeof(struct mr_growth), 2, &queue), 0);
    ck_assert_int_eq(mr_track_new(&config, queue, &err, &track), 0);
    ck_assert_int_eq(mr_thread_start(&mr_track_stage, track, &err, &thread), 0);
    while (mr_queue_pop(queue, 10000, &got) == 0) {
        messages++;
        complete += got.kind == MR_GROWTH_COMPLETE && got.view.complete_by == MR_COMPLETE_PUSH;
    }
    mr_thread_join(thread);
    ck_assert_uint_eq(complete, 200);
    ck_assert_uint_eq(messages, 400);
    end();
}
END_TEST

static enum mr_growth_kind pop(void)
{
    ck_assert_int_eq(mr_queue_pop(queue, 10000, &got), 0);
    return got.kind;
}

START_TEST(the_thread_hears_a_movie_grow)
{
    tree_make();
    struct mr_track_watch watch = watch_config();
    struct mr_track_config config = {.mode = MR_TRACK_FOLLOW, .watches = &watch, .watch_count = 1};
    struct mr_err err = {0};
    struct mr_thread *thread;
    ck_assert_int_eq(mr_queue_new(sizeof(struct mr_growth), 64, &queue), 0);
    ck_assert_int_eq(mr_track_new(&config, queue, &err, &track), 0);
    ck_assert_int_eq(mr_thread_start(&mr_track_stage, track, &err, &thread), 0);
    tree_mkdir("grid");
    int fd = tree_open("grid/a.mrc");
    write_frame(fd, 0, FRAME);
    write_header(fd, 4, false);
    ck_assert_int_eq(pop(), MR_GROWTH_FOUND);
    write_frame(fd, 1, FRAME);
    ck_assert_int_eq(pop(), MR_GROWTH_GREW);
    ck_assert_uint_eq(got.view.settled_to, 1024 + FRAME);
    write_frame(fd, 2, FRAME);
    ck_assert_int_eq(pop(), MR_GROWTH_GREW);
    write_header(fd, 3, false);
    close(fd);
    ck_assert_int_eq(pop(), MR_GROWTH_COMPLETE);
    ck_assert_int_eq(got.view.complete_by, MR_COMPLETE_CLOSE);
    ck_assert_uint_eq(got.view.frames, 3);
    mr_track_stop(track);
    mr_thread_join(thread);
    end();
}
END_TEST

START_TEST(once_ends_when_all_is_decided)
{
    tree_make();
    tree_put("a.log", "x");
    int held = tree_open("held.log"), movie = tree_open("b.mrc");
    write_frame(movie, 0, FRAME);
    write_header(movie, 2, false);
    struct mr_track_watch watch = watch_config();
    watch.quiet_ns = 20 * MR_NS_PER_MS;
    watch.give_up_ns = 200 * MR_NS_PER_MS;
    struct mr_track_config config = {.mode = MR_TRACK_ONCE, .watches = &watch, .watch_count = 1};
    struct mr_err err = {0};
    struct mr_thread *thread;
    struct mr_track_counts counts;
    ck_assert_int_eq(mr_queue_new(sizeof(struct mr_growth), 64, &queue), 0);
    ck_assert_int_eq(mr_track_new(&config, queue, &err, &track), 0);
    ck_assert_int_eq(mr_thread_start(&mr_track_stage, track, &err, &thread), 0);
    while (mr_queue_pop(queue, 10000, &got) == 0)
        ;
    mr_thread_join(thread);
    mr_track_counts(track, &counts);
    ck_assert_uint_eq(counts.files, 3);
    ck_assert_uint_eq(counts.complete, 2);
    ck_assert_uint_eq(counts.broken, 1);
    ck_assert_uint_eq(counts.undecided, 0);
    close(held);
    close(movie);
    end();
}
END_TEST

START_TEST(stop_ends_it_even_where_it_waits_for_room)
{
    tree_make();
    tree_put("a.dat", "x");
    tree_put("b.dat", "x");
    struct mr_track_watch watch = watch_config();
    watch.quiet_ns = 1;
    struct mr_track_config config = {.mode = MR_TRACK_FOLLOW, .watches = &watch, .watch_count = 1};
    struct mr_err err = {0};
    struct mr_thread *thread;
    ck_assert_int_eq(mr_queue_new(sizeof(struct mr_growth), 1, &queue), 0);
    ck_assert_int_eq(mr_track_new(&config, queue, &err, &track), 0);
    ck_assert_int_eq(mr_thread_start(&mr_track_stage, track, &err, &thread), 0);
    ck_assert_int_eq(mr_queue_pop(queue, 10000, &got), 0);
    mr_track_stop(track);
    mr_thread_join(thread);
    end();
}
END_TEST

MR_SUITE("track", T(a_movie_is_told_as_it_grows), T(a_final_header_completes_without_a_close),
         T(a_header_that_comes_within_a_look_is_judged_at_the_next),
         T(a_header_that_is_always_newer_is_judged_all_the_same), T(an_mdoc_beside_it_completes_it),
         T(what_never_agrees_is_broken_after_give_up), T(shrinking_replacing_and_changing_are_told),
         T(the_plugins_probe_file_is_ignored), T(opaque_files_complete_on_close_or_quiet),
         T(what_nobody_writes_any_more_was_closed),
         T(a_log_written_line_by_line_is_one_revision_in_quiet), T(directories_that_come_and_go),
         T(dry_run_explains_and_sends_nothing), T(push_ends_by_itself_and_loses_nothing),
         T(the_thread_hears_a_movie_grow), T(once_ends_when_all_is_decided),
         T(stop_ends_it_even_where_it_waits_for_room))
