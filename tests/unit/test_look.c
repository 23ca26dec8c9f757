/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one look makes of a file that was there before us, whose times stand still, that cannot be
 * read, that becomes another movie, that nobody wants to hear of: is the message the right one, and
 * said when it is time?
 */
#include "track_rig.h"

#include <errno.h>
#include <sys/mman.h>

static int read_error; /* what reads of heads end with; 0: they read */
static unsigned reads; /* so many were tried */

ssize_t __real_pread64(int fd, void *data, size_t bytes, off_t offset);
ssize_t __wrap_pread64(int fd, void *data, size_t bytes, off_t offset);
ssize_t __wrap_pread64(int fd, void *data, size_t bytes, off_t offset)
{
    reads++;
    errno = read_error;
    return read_error != 0 ? -1 : __real_pread64(fd, data, bytes, offset);
}

/* A movie of one frame; closed. */
static void put_movie(const char *below)
{
    int fd = tree_open(below);
    write_frame(fd, 0, FRAME);
    write_header(fd, 1, true);
    close(fd);
}

START_TEST(names_of_growth)
{
    static const char *const names[] = {"",         "found",   "grew", "complete", "broken",
                                        "replaced", "changed", "gone", ""};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        ck_assert_str_eq(mr_growth_name((enum mr_growth_kind)i), names[i]);
    ck_assert_str_eq(mr_growth_name((enum mr_growth_kind) - 1), "");
}
END_TEST

/* ---- times ---- */

/* By its own times, of which the later one counts; a clock that is behind them makes it no younger
 * than now. A writer holds it open, so that nothing else completes it. */
START_TEST(what_was_there_before_us_is_as_old_as_it_says)
{
    static const struct {
        int64_t shift_ns, wait_ns;
    } rows[] = {{31 * S, 0}, {20 * S, 10 * S}, {0, 30 * S}, {-1000 * S, 30 * S}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        tree_make();
        int held = tree_open("a.log");
        tree_write(held, "x", 1, 0);
        const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
        ck_assert_int_eq(futimens(held, long_ago), 0); /* a copy that kept it; ctime is of now */
        real_shift_ns = rows[i].shift_ns;
        start(MR_TRACK_FOLLOW);
        listen();
        ck_assert(rows[i].wait_ns == 0 || strcmp(told, "found a.log; ") == 0);
        if (rows[i].wait_ns > 0)
            ck_assert_str_eq(listen_after(rows[i].wait_ns - 5 * S), "");
        if (rows[i].wait_ns > 0)
            listen_after(5 * S);
        ck_assert_ptr_nonnull(strstr(told, "complete a.log; "));
        ck_assert_int_eq(got.view.complete_by, MR_COMPLETE_QUIET);
        int late = tree_open("late.log"); /* this one's age is known */
        ck_assert_str_eq(listen(), "found late.log; ");
        ck_assert_str_eq(listen_after(30 * S), "complete late.log; ");
        close(late);
        close(held);
        end();
    }
}
END_TEST

/* Within one tick of its clock, or by a writer that keeps the times: the event says that it was
 * written to. */
START_TEST(a_write_that_leaves_no_trace_keeps_it_waiting)
{
    struct stat st;
    tree_make();
    start(MR_TRACK_FOLLOW);
    int fd = tree_open("a.log");
    tree_write(fd, "x", 1, 0);
    ck_assert_str_eq(listen(), "found a.log; ");
    ck_assert_str_eq(listen_after(20 * S), "");
    ck_assert_int_eq(fstat(fd, &st), 0);
    tree_write(fd, "y", 1, 0);
    ck_assert_int_eq(futimens(fd, (struct timespec[2]){st.st_atim, st.st_mtim}), 0);
    ck_assert_str_eq(listen_after(S), "");
    ck_assert_str_eq(listen_after(29 * S), "");
    ck_assert_str_eq(listen_after(S), "complete a.log; ");
    close(fd);
    end();
}
END_TEST

/* Through a mapping: no event tells of that, but its time does, at the next rescan. */
START_TEST(a_close_counts_until_the_file_changes)
{
    tree_make();
    start(MR_TRACK_FOLLOW);
    int fd = tree_open("a.mrc");
    write_frame(fd, 0, FRAME);
    write_header(fd, 2, false);
    close(fd);
    ck_assert_str_eq(listen(), "found a.mrc; "); /* closed, but NZ and size disagree */
    fd = open(tree_path("a.mrc"), O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    int32_t *head = mmap(NULL, 1024, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(head, MAP_FAILED);
    head[2] = 1;
    st.st_mtim.tv_sec--; /* another time, whatever the file system's ticks */
    ck_assert_int_eq(futimens(fd, (struct timespec[2]){st.st_atim, st.st_mtim}), 0);
    ck_assert_str_eq(listen_after(10 * S), ""); /* agrees now, but who knows for how long */
    ck_assert_str_eq(listen_after(20 * S), "");
    ck_assert_str_eq(listen_after(10 * S), "complete a.mrc; ");
    ck_assert_int_eq(got.view.complete_by, MR_COMPLETE_QUIET);
    munmap(head, 1024);
    close(fd);
    end();
}
END_TEST

/* ---- another movie ---- */

/* Nothing of the view before counts: what was settled of frames of another size is not. */
START_TEST(a_header_of_another_movie_replaces_it)
{
    tree_make();
    start(MR_TRACK_FOLLOW);
    int fd = tree_open("a.mrc");
    for (unsigned i = 0; i < 5; i++)
        write_frame(fd, i, FRAME);
    write_header(fd, 9, false);
    ck_assert_str_eq(listen(), "found a.mrc; ");
    ck_assert_uint_eq(got.view.settled_to, 1024 + 4 * FRAME);
    uint64_t number = got.file;
    tree_write(fd, &(int32_t){160}, 4, 4); /* NY: the five are one frame */
    ck_assert_str_eq(listen_after(S), "replaced a.mrc; found a.mrc; ");
    ck_assert_uint_eq(got.file, number);
    ck_assert_uint_eq(got.view.height, 160);
    ck_assert_uint_eq(got.view.settled_to, 1024);
    tree_write(fd, &(int32_t){3}, 4, 8); /* NZ alone is the same movie */
    ck_assert_str_eq(listen_after(S), "");
    close(fd);
    end();
}
END_TEST

/* What was said is void, but not that there is a file of that number. */
START_TEST(what_vanishes_before_it_is_found_again_is_gone)
{
    for (int replaced = 0; replaced < 2; replaced++) {
        tree_make();
        start(MR_TRACK_FOLLOW);
        put_movie("a.mrc");
        ck_assert_str_eq(listen(), "found a.mrc; complete a.mrc; ");
        uint64_t number = got.file;
        if (replaced) {
            close(tree_open("b.tmp"));
            tree_rename("b.tmp", "a.mrc");
        } else {
            ck_assert_int_eq(truncate(tree_path("a.mrc"), 0), 0);
        }
        listen_after(S); /* too short for a header */
        ck_assert_str_eq(told, replaced ? "replaced a.mrc; " : "changed a.mrc; ");
        ck_assert_int_eq(unlink(tree_path("a.mrc")), 0);
        ck_assert_str_eq(listen_after(S), "gone a.mrc; ");
        ck_assert_uint_eq(got.file, number);
        put_movie("a.mrc");
        ck_assert_str_eq(listen_after(S), "found a.mrc; complete a.mrc; ");
        ck_assert_uint_ne(got.file, number); /* another one */
        end();
    }
}
END_TEST

/* Of which nothing was said, nothing is said. */
START_TEST(what_was_never_found_goes_without_a_word)
{
    struct mr_track_counts counts;
    tree_make();
    start(MR_TRACK_FOLLOW);
    int fd = tree_open("a.mrc");
    ck_assert_str_eq(listen(), "");
    mr_track_counts(track, &counts);
    ck_assert(counts.files == 1 && counts.undecided == 1);
    ck_assert_int_eq(unlink(tree_path("a.mrc")), 0);
    ck_assert_str_eq(listen_after(S), "");
    mr_track_counts(track, &counts);
    ck_assert(counts.files == 0 && counts.undecided == 0);
    close(fd);
    end();
}
END_TEST

START_TEST(a_folder_or_a_link_in_its_place_is_its_end)
{
    tree_make();
    start(MR_TRACK_FOLLOW);
    put_movie("a.mrc");
    put_movie("b.mrc");
    listen();
    ck_assert_int_eq(unlink(tree_path("a.mrc")), 0);
    tree_mkdir("a.mrc");
    ck_assert_int_eq(unlink(tree_path("b.mrc")), 0);
    ck_assert_int_eq(symlink("/etc/passwd", tree_path("b.mrc")), 0);
    listen_after(S);
    ck_assert_ptr_nonnull(strstr(told, "gone a.mrc; "));
    ck_assert_ptr_nonnull(strstr(told, "gone b.mrc; "));
    ck_assert_str_eq(listen_after(100 * S), "");
    end();
}
END_TEST

/* ---- what cannot be read ---- */

START_TEST(a_service_tries_again_at_every_rescan_for_as_long_as_it_takes)
{
    tree_make();
    read_error = EIO;
    start(MR_TRACK_FOLLOW);
    put_movie("a.mrc");
    for (unsigned i = 0; i < 20; i++) {
        unsigned before = reads;
        ck_assert_str_eq(listen(), "");
        ck_assert_uint_eq(reads, before + 1);
        ck_assert_str_eq(listen(), ""); /* not before it is time */
        ck_assert_uint_eq(reads, before + 1);
        now_ns += 10 * S;
    }
    read_error = 0;
    ck_assert_str_eq(listen(), "found a.mrc; complete a.mrc; ");
    end();
}
END_TEST

START_TEST(a_command_tries_three_times_and_calls_it_broken)
{
    static const enum mr_track_mode modes[] = {MR_TRACK_ONCE, MR_TRACK_AS_IT_IS};
    for (size_t m = 0; m < 2; m++) {
        tree_make();
        read_error = EIO;
        reads = 0;
        put_movie("a.mrc");
        start(modes[m]);
        for (unsigned i = 1; i < MR_TRACK_READ_TRIES; i++) {
            ck_assert_str_eq(listen(), "");
            ck_assert_uint_eq(reads, i);
            now_ns += 10 * S;
        }
        ck_assert_str_eq(listen(), "broken a.mrc; "); /* without a FOUND */
        ck_assert_uint_eq(reads, MR_TRACK_READ_TRIES);
        ck_assert_ptr_nonnull(strstr(got.reason, "cannot be read: Input/output error"));
        ck_assert(!got.view.known);
        ck_assert_str_eq(listen_after(10 * S), "");
        end();
        read_error = 0;
    }
}
END_TEST

/* As when it was cut or taken away in between: it is looked at again, and nothing is broken. */
START_TEST(a_name_that_was_given_away_is_looked_at_again)
{
    static const int errors[] = {ENOENT, ESTALE};
    for (size_t i = 0; i < 2; i++) {
        tree_make();
        start(MR_TRACK_ONCE);
        read_error = errors[i];
        put_movie("a.mrc");
        for (unsigned n = 0; n < 10; n++)
            ck_assert_str_eq(listen_after(20 * S / 1000), "");
        read_error = 0;
        ck_assert_str_eq(listen_after(20 * S / 1000), "found a.mrc; complete a.mrc; ");
        end();
    }
}
END_TEST

/* ---- explaining, and listeners ---- */

static unsigned visits;
static int visit_answer;

static int visit(void *ctx, const struct mr_growth *growth, const char *why)
{
    ck_assert_ptr_eq(ctx, &visits);
    ck_assert(growth->file > 0 && why[0] != '\0');
    visits++;
    return visit_answer;
}

START_TEST(a_visitor_ends_the_explanation)
{
    tree_make();
    for (char name[] = "a.log"; name[0] < 'k'; name[0]++)
        tree_put(name, "x");
    const struct mr_track_watch watch = watch_config();
    const struct mr_track_config config = {
        .mode = MR_TRACK_FOLLOW, .watches = &watch, .watch_count = 1};
    struct mr_track_counts counts;
    struct mr_err err = {0};
    ck_assert_int_eq(mr_track_explain(&config, visit, &visits, &counts, &err), 0);
    ck_assert_uint_eq(visits, 10);
    ck_assert_uint_eq(counts.files, 10);
    visits = 0;
    visit_answer = -ECANCELED;
    ck_assert_int_eq(mr_track_explain(&config, visit, &visits, &counts, &err), -ECANCELED);
    ck_assert_uint_eq(visits, 1);
    visits = 0;
    visit_answer = 7; /* not only what is below zero */
    ck_assert_int_eq(mr_track_explain(&config, visit, &visits, &counts, &err), 7);
    ck_assert_uint_eq(visits, 1);
    tree_remove();
}
END_TEST

START_TEST(what_cannot_be_read_is_explained_at_once)
{
    tree_make();
    put_movie("a.mrc");
    read_error = EIO;
    const struct mr_track_watch watch = watch_config();
    const struct mr_track_config config = {
        .mode = MR_TRACK_FOLLOW, .watches = &watch, .watch_count = 1};
    struct mr_track_counts counts;
    struct mr_err err = {0};
    ck_assert_int_eq(mr_track_explain(&config, visit, &visits, &counts, &err), 0);
    ck_assert_uint_eq(visits, 1);
    ck_assert(counts.broken == 1 && counts.undecided == 0);
    read_error = 0;
    tree_remove();
}
END_TEST

/* The queue closed from outside: nothing more is looked at, and the stage ends. */
START_TEST(nobody_listens_any_more)
{
    struct mr_thread *thread;
    struct mr_err err = {0};
    tree_make();
    for (char name[] = "a.mrc"; name[0] < 'k'; name[0]++)
        put_movie(name);
    start(MR_TRACK_FOLLOW);
    mr_queue_close(queue);
    ck_assert_str_eq(listen(), "");
    ck_assert_uint_eq(reads, 1);
    ck_assert_str_eq(listen_after(S), "");
    ck_assert_uint_eq(reads, 1);
    ck_assert_int_eq(mr_thread_start(&mr_track_stage, track, &err, &thread), 0);
    mr_thread_join(thread);
    end();
}
END_TEST

MR_SUITE("look", T(names_of_growth), T(what_was_there_before_us_is_as_old_as_it_says),
         T(a_write_that_leaves_no_trace_keeps_it_waiting), T(a_close_counts_until_the_file_changes),
         T(a_header_of_another_movie_replaces_it),
         T(what_vanishes_before_it_is_found_again_is_gone),
         T(what_was_never_found_goes_without_a_word), T(a_folder_or_a_link_in_its_place_is_its_end),
         T(a_service_tries_again_at_every_rescan_for_as_long_as_it_takes),
         T(a_command_tries_three_times_and_calls_it_broken),
         T(a_name_that_was_given_away_is_looked_at_again), T(a_visitor_ends_the_explanation),
         T(what_cannot_be_read_is_explained_at_once), T(nobody_listens_any_more))
