/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk for tests of landing: an engine of uring.h that holds every operation until the test
 * completes it, in any order, with any result; and a movie in a temporary directory beside the
 * build. Writes that complete well are really made.
 */
#ifndef MR_TESTS_HELD_DISK_H
#define MR_TESTS_HELD_DISK_H

#include "base/fs.h"
#include "landing.h"
#include "uring.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum held_kind { HELD_WRITE, HELD_SYNC };

struct held {
    enum held_kind kind;
    struct mr_uring_write write; /* HELD_SYNC: only its fd */
    uint64_t token;
    bool submitted;
};

#define HELD_MAX 256
struct held_disk {
    struct mr_uring base;
    struct held held[HELD_MAX];
    size_t count, depth;
    struct mr_uring_done done[HELD_MAX];
    size_t done_count;
    int submit_result; /* what the next submits say */
    void (*on_put)(void *ctx, const struct held *op);
    void *ctx;
};

static inline int held_put(struct held_disk *d, struct held op)
{
    if (d->count == d->depth)
        return -EAGAIN;
    d->held[d->count++] = op;
    if (d->on_put != NULL)
        d->on_put(d->ctx, &op);
    return 0;
}

static inline int held_write(struct mr_uring *u, const struct mr_uring_write *w, uint64_t token)
{
    return held_put((struct held_disk *)u,
                    (struct held){.kind = HELD_WRITE, .write = *w, .token = token});
}

static inline int held_fdatasync(struct mr_uring *u, int fd, uint64_t token)
{
    return held_put((struct held_disk *)u,
                    (struct held){.kind = HELD_SYNC, .write.fd = fd, .token = token});
}

static inline int held_submit(struct mr_uring *u)
{
    struct held_disk *d = (struct held_disk *)u;
    for (size_t i = 0; d->submit_result == 0 && i < d->count; i++)
        d->held[i].submitted = true;
    return d->submit_result;
}

static inline size_t held_reap(struct mr_uring *u, struct mr_uring_done *ret, size_t capacity)
{
    struct held_disk *d = (struct held_disk *)u;
    size_t count = d->done_count < capacity ? d->done_count : capacity;
    memcpy(ret, d->done, count * sizeof(*ret));
    memmove(d->done, d->done + count, (d->done_count - count) * sizeof(*ret));
    d->done_count -= count;
    return count;
}

static inline void held_close(struct mr_uring *u)
{
    close(u->event_fd);
    free(u);
}

static inline struct held_disk *held_disk_new(size_t depth)
{
    static const struct mr_uring_ops ops = {.name = "held",
                                            .write = held_write,
                                            .fdatasync = held_fdatasync,
                                            .submit = held_submit,
                                            .reap = held_reap,
                                            .close = held_close};
    struct held_disk *d = calloc(1, sizeof(*d));
    ck_assert_ptr_nonnull(d);
    d->base = (struct mr_uring){.ops = &ops, .event_fd = eventfd(0, EFD_NONBLOCK)};
    d->depth = depth;
    return d;
}

/* Completes held operation i; result 0: well. */
static inline void held_complete(struct held_disk *d, size_t i, int result)
{
    ck_assert_uint_lt(i, d->count);
    struct held op = d->held[i];
    ck_assert(op.submitted);
    memmove(&d->held[i], &d->held[i + 1], (d->count - i - 1) * sizeof(op));
    d->count--;
    if (result == 0 && op.kind == HELD_WRITE) {
        const struct mr_uring_write *w = &op.write;
        ck_assert_int_eq(pwrite(w->fd, w->data, w->bytes, (off_t)w->offset), (ssize_t)w->bytes);
        result = (int)w->bytes;
    }
    d->done[d->done_count++] = (struct mr_uring_done){.token = op.token, .result = result};
}

static inline bool held_same_file(int a, int b)
{
    struct stat x, y;
    ck_assert_int_eq(fstat(a, &x), 0);
    ck_assert_int_eq(fstat(b, &y), 0);
    return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Opens <dir>/<name> anew, reading and writing. */
static inline int held_file(const char *dir, const char *name, int flags)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC | flags, 0600);
    ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
    return fd;
}

/* A BYTES movie in dir; direct with the file system's alignment where asked for and to be had. */
static inline struct mr_movie *held_movie(const char *dir, const char *name, bool direct)
{
    struct mr_movie *movie = mr_movie_new();
    ck_assert_ptr_nonnull(movie);
    (void)snprintf(movie->part_name, sizeof(movie->part_name), "%s.part", name);
    (void)snprintf(movie->journal_name, sizeof(movie->journal_name), "%s.journal", name);
    mr_geometry_opaque(&movie->geometry);
    movie->codec = MR_CODEC_NONE;
    movie->part_fd = held_file(dir, movie->part_name, 0);
    uint32_t alignment;
    if (direct && mr_fs_direct_alignment(movie->part_fd, &alignment) == 0 &&
        fcntl(movie->part_fd, F_SETFL, O_DIRECT) == 0) {
        movie->direct = true;
        movie->alignment = alignment;
    }
    movie->journal_fd = held_file(dir, movie->journal_name, O_APPEND);
    return movie;
}

/* A slab of `bytes` that lands at its index. */
static inline struct mr_placement held_placement(uint64_t slab, uint32_t bytes)
{
    return (struct mr_placement){.slab = slab,
                                 .offset = slab * MR_SLAB_BYTES,
                                 .stored_bytes = bytes,
                                 .raw_bytes = bytes,
                                 .crc_stored = slab + 1,
                                 .crc_raw = slab + 1};
}

#endif
