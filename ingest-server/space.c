/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at free space and says whether the store is paused. What follows from it (no credit, an
 * event, words) is control's; a write that finds no room all the same is strip's.
 */
#include "space.h"

#include "base/counter.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/tally.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STAGE    "space"
#define EVERY_MS 1000
#define NEAR_MS  100                  /* while little is left: GiB/s land */
#define NEAR     (UINT64_C(16) << 30) /* bytes above keep_free */
#define SPARE    8                    /* the part of keep_free that must be there beyond it */

enum gauge { FREE, SIZE, KEEP, PAUSED, PAUSES, GAUGES };

static const struct mr_counter gauges[GAUGES] = {
    [FREE] = {.name = "millrace_store_free_bytes",
              .help = "Bytes the store's file system has left.",
              .kind = MR_GAUGE},
    [SIZE] = {.name = "millrace_store_size_bytes",
              .help = "Bytes the store's file system holds in all.",
              .kind = MR_GAUGE},
    [KEEP] = {.name = "millrace_store_keep_free_bytes",
              .help = "Below so many free bytes no credit is granted.",
              .kind = MR_GAUGE},
    [PAUSED] = {.name = "millrace_store_paused",
                .help = "1 while there is less free than store.keep_free.",
                .kind = MR_GAUGE},
    [PAUSES] = {.name = "millrace_store_pauses_total", .help = "How often that began."},
};

struct mr_space {
    mr_space_ask ask;
    void *ctx;
    uint32_t keep_free_hundredths;
    int stop; /* eventfd */
    struct mr_counter gauges[GAUGES];
    pthread_mutex_t lock; /* of view */
    struct mr_space_view view;
};

uint64_t mr_space_keep(uint64_t total, uint32_t hundredths)
{
    return total / 10000 * hundredths + total % 10000 * hundredths / 10000;
}

static bool is_paused(const struct mr_space_view *before, uint64_t free_bytes, uint64_t keep_bytes)
{
    if (free_bytes < keep_bytes)
        return true;
    return before->paused && free_bytes - keep_bytes < keep_bytes / SPARE;
}

void mr_space_look(struct mr_space *s)
{
    struct mr_space_view v = {0};
    if (s->ask(s->ctx, &v.free_bytes, &v.total_bytes) < 0)
        return;
    v.keep_bytes = mr_space_keep(v.total_bytes, s->keep_free_hundredths);
    v.paused = is_paused(&s->view, v.free_bytes, v.keep_bytes); /* this thread alone writes view */
    mr_counter_add(&s->gauges[PAUSES], v.paused && !s->view.paused);
    mr_counter_set(&s->gauges[FREE], v.free_bytes);
    mr_counter_set(&s->gauges[SIZE], v.total_bytes);
    mr_counter_set(&s->gauges[KEEP], v.keep_bytes);
    mr_counter_set(&s->gauges[PAUSED], v.paused);
    pthread_mutex_lock(&s->lock);
    s->view = v;
    pthread_mutex_unlock(&s->lock);
}

void mr_space_view(struct mr_space *s, struct mr_space_view *ret)
{
    pthread_mutex_lock(&s->lock);
    *ret = s->view;
    pthread_mutex_unlock(&s->lock);
}

int mr_space_new(mr_space_ask ask, void *ctx, uint32_t keep_free_hundredths, struct mr_space **ret)
{
    struct mr_space *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return -ENOMEM;
    s->ask = ask;
    s->ctx = ctx;
    s->keep_free_hundredths = keep_free_hundredths;
    s->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->stop < 0) {
        int code = -errno;
        free(s);
        return code;
    }
    pthread_mutex_init(&s->lock, NULL);
    memcpy(s->gauges, gauges, sizeof(gauges));
    mr_counters_register(s->gauges, GAUGES);
    mr_space_look(s);
    *ret = s;
    return 0;
}

void mr_space_free(struct mr_space *s)
{
    if (s == NULL)
        return;
    mr_counters_unregister(s->gauges, GAUGES);
    pthread_mutex_destroy(&s->lock);
    mr_fs_close(&s->stop);
    free(s);
}

void mr_space_stop(struct mr_space *s)
{
    const uint64_t one = 1;
    ssize_t n = write(s->stop, &one, sizeof(one));
    (void)n; /* EAGAIN: it is readable already */
}

static void run(void *stage)
{
    struct mr_space *s = stage;
    struct pollfd stop = {.fd = s->stop, .events = POLLIN};
    for (;;) {
        const struct mr_space_view *v = &s->view;
        bool near = v->paused || v->free_bytes < v->keep_bytes + NEAR;
        if (mr_tally_poll(&stop, 1, near ? NEAR_MS : EVERY_MS, MR_TALLY_INPUT) > 0)
            return;
        mr_space_look(s);
    }
}

const struct mr_stage mr_space_stage = {.name = STAGE, .run = run};
