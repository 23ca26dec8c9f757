/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One watched tree and the track that tells of it, with a clock of ours, and MRC movies of 64 x 32
 * bytes a frame to be written into it.
 */
#ifndef MR_TESTS_TRACK_RIG_H
#define MR_TESTS_TRACK_RIG_H

#include "base/clock.h"
#include "suite.h"
#include "track.h"
#include "tree.h"

#define S     MR_NS_PER_S
#define FRAME 2048u

static struct mr_queue *queue;
static struct mr_track *track;
static struct mr_growth got;
static int64_t now_ns, real_shift_ns; /* the wall clock is off by that */
static char told[8192]; /* messages since the last check: "found a.mrc; grew a.mrc; " */
static const char *const excludes[] = {"*.tmp", ".*"};

static inline struct mr_track_watch watch_config(void)
{
    return (struct mr_track_watch){.path = tree_root,
                                   .exclude = excludes,
                                   .exclude_count = 2,
                                   .quiet_ns = 30 * S,
                                   .give_up_ns = 600 * S,
                                   .rescan_ns = 10 * S};
}

static inline void start(enum mr_track_mode mode)
{
    static struct mr_track_watch watch;
    struct mr_err err = {0};
    watch = watch_config();
    struct mr_track_config config = {.mode = mode, .watches = &watch, .watch_count = 1};
    ck_assert_int_eq(mr_queue_new(sizeof(struct mr_growth), 4096, &queue), 0);
    ck_assert_msg(mr_track_new(&config, queue, &err, &track) == 0, "%s", err.text);
    now_ns = mr_clock_monotonic_ns();
}

static inline void end(void)
{
    mr_track_free(track);
    mr_queue_free(queue);
    tree_remove();
}

/* Steps until nothing is to be done at once, and writes down what was told. */
static inline const char *listen(void)
{
    int64_t deadline_ns;
    told[0] = '\0';
    for (int i = 0; mr_track_step(track, now_ns, mr_clock_real_ns() + real_shift_ns, &deadline_ns);
         i++)
        ck_assert_int_lt(i, 100000);
    while (mr_queue_pop(queue, 0, &got) == 0) {
        size_t used = strlen(told);
        snprintf(told + used, sizeof(told) - used, "%s %s; ", mr_growth_name(got.kind), got.path);
    }
    return told;
}

static inline const char *listen_after(int64_t ns)
{
    now_ns += ns;
    return listen();
}

static inline void write_header(int fd, int32_t nz, bool finished)
{
    uint8_t head[1024] = {0};
    int32_t size[4] = {64, 32, nz, 0};
    float stats[3] = {0, 9, 1.5f};
    memcpy(head, size, sizeof(size));
    if (finished)
        memcpy(head + 76, stats, sizeof(stats));
    memcpy(head + 208, "MAP DD", 6);
    tree_write(fd, head, sizeof(head), 0);
}

static inline void write_frame(int fd, unsigned index, size_t bytes)
{
    uint8_t frame[FRAME];
    memset(frame, (int)index + 1, sizeof(frame));
    tree_write(fd, frame, bytes, 1024 + (off_t)index * FRAME);
}

/* A tree, and in it a.mrc, found: NZ says nz, one frame is there. Its descriptor is the test's. */
static inline int find_growing(int32_t nz)
{
    tree_make();
    start(MR_TRACK_FOLLOW);
    int fd = tree_open("a.mrc");
    write_frame(fd, 0, FRAME);
    write_header(fd, nz, false);
    ck_assert_str_eq(listen(), "found a.mrc; ");
    return fd;
}

#endif
