/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claiming, holding and losing a store. Knows nothing of what lies in it: what a new holder does
 * with the files of the one before is takeover's.
 */
#include "lease.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/tally.h"
#include "base/thread.h"
#include "lease_make.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STAGE       "lease"
#define BEATS       5  /* in a lease */
#define LOOKS       20 /* of a challenger, likewise */
#define CLAIM_TRIES 16

struct mr_lease {
    void (*lost)(void *ctx, const char *text);
    void *ctx;
    int64_t lease_ns;
    int dir, fd;         /* lease/, own file */
    int stop, left;      /* eventfds: the thread, or the leaver, is to end */
    uint32_t generation; /* by which it was claimed */
    uint64_t counter;    /* of beats; the thread's */
    struct mr_thread *thread, *leaver;
    _Atomic int64_t until_ns;   /* CLOCK_BOOTTIME: certain up to there */
    pthread_mutex_t lock;       /* of the rest */
    pthread_cond_t held;        /* until_ns has moved */
    struct mr_lease_file *file; /* owned; as on disk */
};

static bool is_complete(const struct mr_lease_file *f)
{
    return f->epoch == 0 || mr_epochs_last(&f->epochs) == f->epoch;
}

/* ---- claiming ---- */

struct claim {
    const struct mr_lease_config *config;
    struct mr_lease_holder self;
    int dir;
    uint32_t newest;             /* 0: none */
    struct mr_lease_file before; /* of newest */
    struct mr_lease_file own;
    bool contested, told;
    struct mr_err *err;
};

static int64_t patience_ns(const struct claim *c)
{
    return (int64_t)c->before.lease_ms * MR_NS_PER_MS * 5 / 4;
}

static void describe(const struct claim *c, char *ret, size_t size)
{
    const struct mr_lease_holder *h = &c->before.holder;
    (void)snprintf(ret, size, "%s on %s (pid %" PRId64 ", generation %" PRIu32 ")", h->server,
                   h->host, h->pid, c->before.generation);
}

static int busy(const struct claim *c)
{
    char who[256];
    describe(c, who, sizeof(who));
    return mr_err_set(c->err, -EBUSY, "another server has this store open: %s", who);
}

static void say_waiting(struct claim *c)
{
    char who[256], text[400];
    if (c->config->waiting == NULL)
        return;
    if (c->told) {
        c->config->waiting(c->config->ctx, NULL);
        return;
    }
    c->told = true;
    describe(c, who, sizeof(who));
    (void)snprintf(text, sizeof(text), "the store was last held by %s: watching whether it lives%s",
                   who, c->config->standby ? ", and standing by while it does" : "");
    c->config->waiting(c->config->ctx, text);
}

static bool is_certain(const struct claim *c)
{
    return c->newest == 0 || c->before.released || mr_lease_is_gone(&c->self, &c->before.holder);
}

static int read_newest(struct claim *c)
{
    int r = -ENOENT;
    for (int i = 0; i < CLAIM_TRIES && r == -ENOENT; i++) { /* removed while we looked */
        r = mr_lease_list(c->dir, &c->newest);
        if (r == 0 && c->newest > 0)
            r = mr_lease_read(c->dir, c->newest, &c->before, c->err);
    }
    return r < 0 && c->err->code == 0 ? mr_err_errno(c->err, r, MR_LEASE_DIR) : r;
}

static int pause_for(const struct claim *c, int64_t ns)
{
    struct pollfd stop = {.fd = c->config->stop, .events = POLLIN};
    int ready = poll(&stop, c->config->stop < 0 ? 0 : 1, (int)(ns / MR_NS_PER_MS));
    return ready > 0 ? mr_err_set(c->err, -ECANCELED, "told to stop while waiting for the store")
                     : 0;
}

/* Until the newest holder is gone for certain or has stood still for long enough. */
static int watch(struct claim *c)
{
    uint8_t beat[MR_LEASE_BEAT_BYTES];
    uint32_t watched = 0;
    int64_t since_ns = 0;
    for (;;) {
        int64_t now_ns = mr_clock_boottime_ns(); /* before the look: what is seen is as new */
        int r = read_newest(c);
        if (r < 0)
            return r;
        c->contested = false;
        if (is_certain(c))
            return 0;
        bool moved = watched == c->newest && memcmp(beat, c->before.beat, sizeof(beat)) != 0;
        if (moved && !c->config->standby)
            return busy(c);
        if (moved || watched != c->newest) {
            memcpy(beat, c->before.beat, sizeof(beat));
            watched = c->newest;
            since_ns = now_ns;
        }
        c->contested = now_ns - since_ns >= patience_ns(c);
        if (c->contested)
            return 0;
        say_waiting(c);
        r = pause_for(c, patience_ns(c) / LOOKS);
        if (r < 0)
            return r;
    }
}

/* An epoch that its holder did not come to begin is begun by the next one. */
static int take_next(struct claim *c, int *ret_fd)
{
    if (c->newest >= MR_GENERATION_MAX)
        return mr_err_set(c->err, -EOVERFLOW, MR_LEASE_DIR ": no generation is left");
    bool sure = c->newest == 0 || (!c->contested && is_complete(&c->before));
    c->own = (struct mr_lease_file){.generation = c->newest + 1,
                                    .epoch = sure ? c->before.epoch : c->newest + 1,
                                    .lease_ms = c->config->lease_ms,
                                    .holder = c->self,
                                    .epochs = c->before.epochs};
    mr_failpoint("lease-take");
    int r = mr_lease_make(c->dir, &c->own, ret_fd);
    if (r == -ENOSPC || r == -EDQUOT) {
        mr_lease_tidy(c->dir, c->own.generation); /* the last but one gives its room */
        r = mr_lease_make(c->dir, &c->own, ret_fd);
    }
    if (r == 0 && (r = mr_fs_sync_dir(c->dir)) < 0) {
        mr_lease_withdraw(c->dir, c->own.generation);
        mr_fs_close(ret_fd);
    }
    if (r < 0 && r != -EEXIST)
        mr_err_errno(c->err, r, MR_LEASE_DIR ": claiming the store");
    return r;
}

/* Others may have come by while the file was made: one that took a later generation, since removed
 * files can be made again; or the one before, which was slow and not dead, and has beaten. It looks
 * for our file after each beat, we look for its beat after our file: one of us sees the other. */
static int look_again(struct claim *c)
{
    uint32_t newest = 0;
    struct mr_lease_file *now = malloc(sizeof(*now));
    int r = now == NULL ? -ENOMEM : mr_lease_list(c->dir, &newest);
    if (r == 0 && newest != c->own.generation)
        r = -EEXIST;
    if (r == 0 && c->contested) {
        r = mr_lease_read(c->dir, c->newest, now, c->err);
        if (r == -ENOENT || (r == 0 && memcmp(now->beat, c->before.beat, sizeof(now->beat)) != 0))
            r = -EEXIST;
    }
    free(now);
    if (r < 0)
        mr_lease_withdraw(c->dir, c->own.generation);
    if (r < 0 && r != -EEXIST && c->err->code == 0)
        mr_err_errno(c->err, r, MR_LEASE_DIR);
    return r;
}

static int claim(struct claim *c, int *ret_fd, int64_t *ret_since_ns)
{
    for (int i = 0; i < CLAIM_TRIES || c->config->standby; i++) {
        int r = watch(c);
        *ret_since_ns = mr_clock_boottime_ns();
        if (r == 0)
            r = take_next(c, ret_fd);
        if (r == 0 && (r = look_again(c)) < 0)
            mr_fs_close(ret_fd);
        if (r != -EEXIST)
            return r;
    }
    return busy(c);
}

/* ---- holding ---- */

static void hold_until(struct mr_lease *l, int64_t until_ns)
{
    pthread_mutex_lock(&l->lock);
    atomic_store(&l->until_ns, until_ns);
    pthread_cond_broadcast(&l->held);
    pthread_mutex_unlock(&l->lock);
}

static void lose(struct mr_lease *l, uint32_t to)
{
    char text[200];
    (void)snprintf(text, sizeof(text),
                   "another server has taken the store (generation %" PRIu32
                   ", this one is %" PRIu32 "): this one ends at once",
                   to, l->file->generation);
    l->lost(l->ctx, text);
}

/* 0: this is the newest generation. -ESTALE: lost. */
static int look_out(struct mr_lease *l)
{
    uint32_t newest = 0;
    int r = mr_lease_list(l->dir, &newest);
    if (r == 0 && newest > l->file->generation) {
        lose(l, newest);
        return -ESTALE;
    }
    return r;
}

static int beat(struct mr_lease *l, bool released)
{
    char line[MR_LEASE_BEAT_BYTES];
    mr_lease_format_beat(++l->counter, released, line);
    int r = mr_fs_pwrite_full(l->fd, line, sizeof(line), 0);
    return r == 0 && fdatasync(l->fd) < 0 ? -errno : r;
}

/* The lease has run out. That the next generation can be made shows that nobody has made it. Where
 * its name cannot be made durable, it is ours all the same, and the one after it is tried next. */
static int claim_again(struct mr_lease *l)
{
    int fd = -1, r = look_out(l);
    if (r < 0)
        return r;
    pthread_mutex_lock(&l->lock);
    l->file->generation++;
    r = mr_lease_make(l->dir, l->file, &fd);
    if (r < 0) {
        l->file->generation--;
    } else {
        mr_fs_close(&l->fd);
        l->fd = fd;
    }
    pthread_mutex_unlock(&l->lock);
    if (r == -EEXIST)
        lose(l, l->file->generation + 1);
    if (r == 0)
        r = mr_fs_sync_dir(l->dir);
    if (r == 0)
        r = look_out(l);
    if (r == 0)
        mr_warn(STAGE,
                "the lease had run out while this server or its store stood still; nobody had "
                "taken it, it goes on as generation %" PRIu32,
                l->file->generation);
    return r;
}

static void renew(struct mr_lease *l)
{
    int64_t begun_ns = mr_clock_boottime_ns();
    bool late = begun_ns >= atomic_load(&l->until_ns);
    int r = late ? claim_again(l) : beat(l, false);
    if (r == 0 && !late)
        r = look_out(l);
    /* a beat that took until after the end is good for nothing: somebody may have judged by it */
    if (r == 0 && (late || mr_clock_boottime_ns() < atomic_load(&l->until_ns)))
        hold_until(l, begun_ns + l->lease_ns);
    else if (r < 0 && r != -ESTALE)
        mr_log_seldom(MR_LOG_ERROR, STAGE, "the lease on the store cannot be renewed: %s",
                      mr_err_name(r));
}

static void run(void *stage)
{
    struct mr_lease *l = stage;
    struct pollfd stop = {.fd = l->stop, .events = POLLIN};
    const int beat_ms = (int)(l->lease_ns / BEATS / MR_NS_PER_MS);
    while (mr_tally_poll(&stop, 1, beat_ms, MR_TALLY_INPUT) <= 0)
        renew(l);
}

static const struct mr_stage lease_stage = {.name = STAGE, .run = run};

/* A thread of its own and no lock: the others may hang in a store that does. */
static void run_out(void *stage)
{
    struct mr_lease *l = stage;
    struct pollfd left = {.fd = l->left, .events = POLLIN};
    int not_held = 0; /* looks, not time: the process may have been stopped */
    while (poll(&left, 1, (int)(l->lease_ns / BEATS / MR_NS_PER_MS)) <= 0) {
        bool held = mr_clock_boottime_ns() < atomic_load(&l->until_ns);
        not_held = held ? 0 : not_held + 1;
        if (not_held > BEATS)
            l->lost(l->ctx, "told to stop, and the lease on the store cannot be renewed: this "
                            "server ends at once; what was acknowledged is on disk");
    }
}

static const struct mr_stage leave_stage = {.name = "lease-end", .run = run_out};

/* ---- birth and death ---- */

static void destroy(struct mr_lease *l)
{
    mr_fs_close(&l->dir);
    mr_fs_close(&l->fd);
    mr_fs_close(&l->stop);
    mr_fs_close(&l->left);
    pthread_cond_destroy(&l->held);
    pthread_mutex_destroy(&l->lock);
    free(l->file);
    free(l);
}

static struct mr_lease *create(const struct mr_lease_config *config)
{
    struct mr_lease *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return NULL;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->held, &attributes);
    pthread_condattr_destroy(&attributes);
    l->dir = l->fd = -1;
    l->lost = config->lost;
    l->ctx = config->ctx;
    l->lease_ns = config->lease_ms * MR_NS_PER_MS;
    l->file = malloc(sizeof(*l->file));
    l->stop = eventfd(0, EFD_CLOEXEC);
    l->left = eventfd(0, EFD_CLOEXEC);
    if (l->file != NULL && l->stop >= 0 && l->left >= 0)
        return l;
    destroy(l);
    return NULL;
}

static int prepare(const struct mr_lease_config *config, struct claim *c, struct mr_lease *l,
                   struct mr_err *err)
{
    *c = (struct claim){.config = config, .err = err};
    l->dir = mr_fs_mkdirs_durable(config->millrace_dir, MR_LEASE_DIR, 0, (gid_t)-1);
    if (l->dir < 0)
        return mr_err_errno(err, l->dir, MR_LEASE_DIR ": the store cannot be written");
    c->dir = l->dir;
    int r = mr_lease_self(config->server, &c->self);
    return r < 0 ? mr_err_errno(err, r, "who is this process? /proc") : 0;
}

int mr_lease_claim(const struct mr_lease_config *config, struct mr_lease **ret, struct mr_err *err)
{
    assert(config->lease_ms >= MR_LEASE_MIN_MS);
    struct mr_err local = {.code = 0};
    err = err == NULL ? &local : err;
    int64_t since_ns = 0;
    struct claim *c = malloc(sizeof(*c));
    struct mr_lease *l = create(config);
    int r =
        c == NULL || l == NULL ? mr_err_errno(err, -ENOMEM, "lease") : prepare(config, c, l, err);
    if (r == 0)
        r = claim(c, &l->fd, &since_ns);
    if (r == 0) {
        *l->file = c->own;
        l->generation = c->own.generation;
        atomic_store(&l->until_ns, since_ns + l->lease_ns);
        mr_lease_tidy(l->dir, l->generation);
        mr_lease_keep_spare(l->dir);
        r = mr_thread_start(&lease_stage, l, err, &l->thread);
    }
    free(c);
    if (r < 0 && l != NULL)
        destroy(l);
    if (r == 0)
        *ret = l;
    return r;
}

void mr_lease_leave(struct mr_lease *l)
{
    struct mr_err err = {0};
    if (l == NULL || l->leaver != NULL)
        return;
    if (mr_thread_start(&leave_stage, l, &err, &l->leaver) < 0)
        mr_warn(STAGE, "%s: where the store hangs, a second signal is needed", err.text);
}

static void end_thread(int told, struct mr_thread *thread)
{
    uint64_t one = 1;
    ssize_t n = write(told, &one, sizeof(one));
    (void)n;
    mr_thread_join(thread);
}

void mr_lease_release(struct mr_lease *l)
{
    if (l == NULL)
        return;
    end_thread(l->stop, l->thread);
    int r = beat(l, true);
    if (r < 0)
        mr_warn(STAGE, "the store could not be let go of, its next server waits: %s",
                mr_err_name(r));
    end_thread(l->left, l->leaver);
    destroy(l);
}

/* ---- what the holder asks ---- */

uint32_t mr_lease_generation(const struct mr_lease *l)
{
    return l->generation;
}

uint32_t mr_lease_epoch(const struct mr_lease *l)
{
    return l->file->epoch; /* stays when a generation is claimed again */
}

bool mr_lease_is_contested(struct mr_lease *l)
{
    pthread_mutex_lock(&l->lock);
    bool contested = !is_complete(l->file);
    pthread_mutex_unlock(&l->lock);
    return contested;
}

const struct mr_epochs *mr_lease_epochs(const struct mr_lease *l)
{
    return &l->file->epochs;
}

int mr_lease_begin_epoch(struct mr_lease *l, uint64_t first_event, struct mr_err *err)
{
    char line[MR_LEASE_LINE];
    const struct mr_epoch epoch = {.generation = l->file->epoch, .first_event = first_event};
    size_t bytes = mr_lease_format_epoch(&epoch, line);
    pthread_mutex_lock(&l->lock);
    struct mr_epochs epochs = l->file->epochs;
    int r = mr_epochs_add(&epochs, &epoch); /* first: a line too many would make the file damaged */
    if (r == 0)
        r = mr_fs_pwrite_full(l->fd, line, bytes, l->file->bytes);
    if (r == 0 && fsync(l->fd) < 0)
        r = -errno;
    if (r == 0) {
        l->file->epochs = epochs;
        l->file->bytes += bytes;
    }
    pthread_mutex_unlock(&l->lock);
    return r < 0 ? mr_err_errno(err, r, MR_LEASE_DIR ": noting the take-over") : 0;
}

static uint32_t current(struct mr_lease *l)
{
    pthread_mutex_lock(&l->lock);
    uint32_t generation = l->file->generation;
    pthread_mutex_unlock(&l->lock);
    return generation;
}

/* The next generation's file says so: the thread makes it, as where the lease had run out. */
void mr_lease_fold_epochs(struct mr_lease *l)
{
    uint32_t before = current(l);
    pthread_mutex_lock(&l->lock);
    struct mr_epochs *e = &l->file->epochs;
    e->list[0].generation = mr_epochs_last(e);
    e->count = 1;
    pthread_mutex_unlock(&l->lock);
    while (current(l) == before) {
        hold_until(l, INT64_MIN);
        mr_lease_prove(l);
    }
}

bool mr_lease_holds(const struct mr_lease *l)
{
    return l == NULL || mr_clock_boottime_ns() < atomic_load(&l->until_ns);
}

void mr_lease_prove(struct mr_lease *l)
{
    if (mr_lease_holds(l))
        return;
    pthread_mutex_lock(&l->lock);
    while (mr_clock_boottime_ns() >= atomic_load(&l->until_ns))
        pthread_cond_wait(&l->held, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

void mr_lease_prove_by_sight(struct mr_lease *l)
{
    if (l == NULL)
        return;
    uint32_t newest = 0;
    pthread_mutex_lock(&l->lock);
    int r = mr_lease_list(l->dir, &newest);
    bool mine = r == 0 && newest == l->file->generation;
    pthread_mutex_unlock(&l->lock);
    if (!mine)
        hold_until(l, INT64_MIN); /* the thread finds out what that means, and soon */
    mr_lease_prove(l);
}
