/* SPDX-License-Identifier: Apache-2.0 */
/* What does an operator read, and do lines of several threads stay whole? */
#include "base/log.h"
#include "suite.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Turns stderr into fd for good: each test is a process of its own. */
static void take_stderr(int fd)
{
    ck_assert_int_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
}

static int log_file(void)
{
    char name[] = "/tmp/mr_test_log_XXXXXX";
    int fd = mkstemp(name);
    ck_assert_int_ge(fd, 0);
    unlink(name);
    take_stderr(fd);
    return fd;
}

static const char *content(int fd)
{
    static char text[1 << 20];
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    return text;
}

START_TEST(a_line_has_time_level_stage_text)
{
    int fd = log_file();
    unsetenv("JOURNAL_STREAM");
    mr_warn("tail", "%s: %d", "movie", 7);
    const char *line = content(fd);
    ck_assert_uint_eq(strspn(line, "0123456789-T:.Z"), 24);
    ck_assert_str_eq(line + 24, " warn  tail: movie: 7\n");
}
END_TEST

START_TEST(levels_below_the_threshold_are_silent)
{
    int fd = log_file();
    mr_debug("tail", "not heard");
    ck_assert_str_eq(content(fd), "");
    mr_log_set_level(MR_LOG_DEBUG);
    mr_debug("tail", "heard");
    ck_assert_ptr_nonnull(strstr(content(fd), "debug tail: heard\n"));
    mr_log_set_level(MR_LOG_ERROR);
    mr_warn("tail", "not heard either");
    ck_assert_ptr_null(strstr(content(fd), "either"));
}
END_TEST

START_TEST(control_characters_and_long_texts_are_tamed)
{
    int fd = log_file();
    char name[5000];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    mr_error("tail", "a\nb\033[2J");
    ck_assert_ptr_nonnull(strstr(content(fd), "tail: a?b?[2J\n"));
    mr_error("tail", "%s", name);
    const char *text = content(fd);
    ck_assert_str_eq(text + strlen(text) - 5, "n...\n");
    ck_assert(strlen(text) < 4096);
}
END_TEST

START_TEST(the_journal_gets_priorities)
{
    int pair[2];
    struct stat st;
    char stream[64], line[256] = {0};
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(fstat(pair[0], &st), 0);
    snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    take_stderr(pair[0]);
    mr_warn("tail", "text");
    ck_assert_int_gt(read(pair[1], line, sizeof(line) - 1), 0);
    ck_assert_str_eq(line, "<4>tail: text\n");
    /* the variable is inherited by children whose stderr goes elsewhere */
    int fd = log_file();
    mr_warn("tail", "text");
    ck_assert_int_ne(content(fd)[0], '<');
}
END_TEST

START_TEST(seldom_means_once_in_a_while)
{
    int fd = log_file();
    for (int i = 0; i < 3; i++) {
        mr_log_seldom(MR_LOG_WARN, "tail", "the disk is full: %d", 1);
        mr_log_seldom(MR_LOG_WARN, "tail", "the disk is full: %d", 2);
    }
    size_t lines = 0;
    for (const char *at = content(fd); (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    ck_assert_uint_eq(lines, 2);
    for (int i = 0; i < 300; i++) /* more than are known: the first is forgotten */
        mr_log_seldom(MR_LOG_WARN, "tail", "another line: %d", i);
    fd = log_file();
    mr_log_seldom(MR_LOG_WARN, "tail", "the disk is full: %d", 1);
    ck_assert_ptr_nonnull(strstr(content(fd), "the disk is full: 1"));
}
END_TEST

static void *speak(void *arg)
{
    for (int i = 0; i < 500; i++)
        mr_info(arg, "%s says a line that must stay whole", (const char *)arg);
    return NULL;
}

START_TEST(lines_of_threads_do_not_mix)
{
    int fd = log_file();
    static char names[4][8] = {"lane-0", "lane-1", "lane-2", "lane-3"};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, speak, names[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    size_t lines = 0;
    for (const char *at = content(fd); *at != '\0'; at = strchr(at, '\n') + 1, lines++) {
        char expected[64];
        snprintf(expected, sizeof(expected), "lane-%c: lane-%c says a line that must stay whole\n",
                 at[36], at[36]);
        ck_assert_int_eq(strncmp(at + 31, expected, strlen(expected)), 0);
    }
    ck_assert_uint_eq(lines, 2000);
}
END_TEST

START_TEST(a_progress_line_is_cleared_first)
{
    int fd = log_file();
    mr_log_set_over_progress(true);
    mr_info("tail", "done");
    mr_log_set_over_progress(false);
    ck_assert_int_eq(strncmp(content(fd), "\r\033[K20", 6), 0);
}
END_TEST

MR_SUITE("log", T(a_line_has_time_level_stage_text), T(levels_below_the_threshold_are_silent),
         T(control_characters_and_long_texts_are_tamed), T(the_journal_gets_priorities),
         T(seldom_means_once_in_a_while), T(lines_of_threads_do_not_mix),
         T(a_progress_line_is_cleared_first))
