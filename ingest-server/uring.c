/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place that knows liburing: one ring, its requests in a fixed table, short writes carried
 * on. Also the choice between ring and pwrite pool. Does not know what is written, nor when it is
 * durable; registers no files or buffers.
 */
#include "uring.h"

#include "base/failpoint.h"
#include "write_pool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define ATTEMPTS 100u /* fruitless ones at one write, before it fails */

struct request {
    bool sync;
    unsigned attempts;           /* fruitless ones in a row */
    struct mr_uring_write write; /* what is left of it; sync: only its fd */
    size_t total;
    uint64_t token;
};

struct ring {
    struct mr_uring base;
    struct io_uring ring;
    bool ring_ready;
    struct request *requests; /* depth of them; an SQE's user_data is an index here */
    uint32_t *free;           /* stack of indices */
    uint32_t free_count, depth;
    unsigned unsubmitted;
};

/* True: progress. */
static bool advance(struct mr_uring_write *w, size_t written)
{
    size_t keep = written >= w->bytes ? w->bytes : written - written % w->alignment;
    w->data = (const uint8_t *)w->data + keep;
    w->offset += keep;
    w->bytes -= keep;
    return keep > 0;
}

int mr_uring_carry_on(struct mr_uring_write *w, unsigned *attempts, int64_t result)
{
    if (result < 0 && result != -EINTR && result != -EAGAIN)
        return (int)result;
    if (result > 0 && advance(w, (size_t)result))
        *attempts = 0;
    else if (++*attempts >= ATTEMPTS)
        return result < 0 ? (int)result : -EIO;
    return w->bytes > 0;
}

static void queue_request(struct ring *ring, uint32_t index)
{
    struct request *request = &ring->requests[index];
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);
    assert(sqe != NULL); /* the submission queue has a place for every request */
    const struct mr_uring_write *w = &request->write;
    if (request->sync)
        io_uring_prep_fsync(sqe, w->fd, IORING_FSYNC_DATASYNC);
    else
        io_uring_prep_write(sqe, w->fd, w->data, (unsigned)w->bytes, w->offset);
    io_uring_sqe_set_data64(sqe, index);
    ring->unsubmitted++;
}

static int put_request(struct ring *ring, const struct request *request)
{
    if (ring->free_count == 0)
        return -EAGAIN;
    uint32_t index = ring->free[--ring->free_count];
    ring->requests[index] = *request;
    queue_request(ring, index);
    return 0;
}

static int ring_write(struct mr_uring *u, const struct mr_uring_write *w, uint64_t token)
{
    struct request request = {.write = *w, .total = w->bytes, .token = token};
    return put_request((struct ring *)u, &request);
}

static int ring_fdatasync(struct mr_uring *u, int fd, uint64_t token)
{
    struct request request = {.sync = true, .write.fd = fd, .token = token};
    return put_request((struct ring *)u, &request);
}

static int ring_submit(struct mr_uring *u)
{
    struct ring *ring = (struct ring *)u;
    while (ring->unsubmitted > 0) {
        int n = mr_failpoint_result("uring-submit", 0);
        if (n == 0)
            n = io_uring_submit(&ring->ring);
        if (n == -EINTR)
            continue;
        if (n == 0 || n == -EBUSY || n == -EAGAIN)
            return -EAGAIN;
        if (n < 0)
            return n;
        assert((unsigned)n <= ring->unsubmitted);
        ring->unsubmitted -= (unsigned)n;
    }
    return 0;
}

/* True when the request is through, its result in *ret; else it has been queued again. */
static bool finish(struct ring *ring, uint32_t index, int res, int64_t *ret)
{
    struct request *request = &ring->requests[index];
    res = mr_failpoint_result(request->sync ? "uring-fdatasync" : "uring-write", res);
    *ret = res;
    if (request->sync)
        return true; /* whatever it says: an fsync is never tried again */
    int more = mr_uring_carry_on(&request->write, &request->attempts, res);
    *ret = more < 0 ? more : (int64_t)request->total;
    if (more <= 0)
        return true;
    queue_request(ring, index);
    return false;
}

static void clear_event(int fd)
{
    uint64_t count;
    ssize_t n;
    do {
        n = read(fd, &count, sizeof(count));
    } while (n < 0 && errno == EINTR);
}

static size_t ring_reap(struct mr_uring *u, struct mr_uring_done *ret, size_t capacity)
{
    struct ring *ring = (struct ring *)u;
    struct io_uring_cqe *cqe;
    size_t count = 0;
    clear_event(u->event_fd); /* before looking: what completes later signals again */
    while (count < capacity && io_uring_peek_cqe(&ring->ring, &cqe) == 0) {
        uint32_t index = (uint32_t)io_uring_cqe_get_data64(cqe);
        int res = cqe->res;
        assert(index < ring->depth && ring->free_count < ring->depth);
        io_uring_cqe_seen(&ring->ring, cqe);
        if (!finish(ring, index, res, &ret[count].result))
            continue;
        ret[count++].token = ring->requests[index].token;
        ring->free[ring->free_count++] = index;
    }
    if (ring->unsubmitted > 0) /* remainders of short writes; an error shows at the next submit */
        (void)ring_submit(u);
    return count;
}

/* What the kernel refuses for good it does not have, and it need not be waited for. */
static void drain(struct ring *ring)
{
    struct mr_uring_done done[16];
    bool refused = false;
    while (ring->free_count + (refused ? ring->unsubmitted : 0) < ring->depth) {
        (void)ring_reap(&ring->base, done, sizeof(done) / sizeof(done[0]));
        if (ring->free_count == ring->depth)
            return;
        int r = ring_submit(&ring->base);
        refused = r != 0 && r != -EAGAIN;
        struct pollfd p = {.fd = ring->base.event_fd, .events = POLLIN};
        (void)poll(&p, 1, 10);
    }
}

static void ring_close(struct mr_uring *u)
{
    struct ring *ring = (struct ring *)u;
    if (ring->ring_ready) {
        drain(ring);
        io_uring_queue_exit(&ring->ring);
    }
    if (u->event_fd >= 0)
        (void)close(u->event_fd);
    free(ring->requests);
    free(ring->free);
    free(ring);
}

static const struct mr_uring_ops ring_ops = {.name = "io_uring",
                                             .write = ring_write,
                                             .fdatasync = ring_fdatasync,
                                             .submit = ring_submit,
                                             .reap = ring_reap,
                                             .close = ring_close};

static int io_uring_sysctl(void)
{
    char text[8] = "";
    int fd = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1; /* the kernel has no such switch (before 6.6) */
    ssize_t n = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    return n > 0 ? atoi(text) : -1;
}

#define INSTEAD "; writing by a pool of pwrite threads instead, which is slower"

static void say_forbidden(int code, struct mr_err *notice)
{
    struct rlimit limit = {0};
    int sysctl = io_uring_sysctl();
    if (code == -EPERM && sysctl > 0)
        mr_err_set(notice, code,
                   "io_uring is forbidden: kernel.io_uring_disabled is %d; remedy: sysctl -w "
                   "kernel.io_uring_disabled=0" INSTEAD,
                   sysctl);
    else if (code == -EPERM || code == -EACCES)
        mr_err_set(notice, code,
                   "io_uring is forbidden, likely by a seccomp profile (container, systemd "
                   "SystemCallFilter) or a security module; remedy: allow io_uring_setup, "
                   "io_uring_enter and io_uring_register" INSTEAD);
    else if (code == -ENOSYS || code == -EOPNOTSUPP)
        mr_err_set(notice, code,
                   "io_uring is not there: a kernel before 5.6, one built without CONFIG_IO_URING, "
                   "or a seccomp profile that hides it" INSTEAD);
    else if (code == -ENOMEM && getrlimit(RLIMIT_MEMLOCK, &limit) == 0)
        mr_err_set(notice, code,
                   "io_uring could not lock its memory: RLIMIT_MEMLOCK is %llu bytes; remedy: "
                   "LimitMEMLOCK=infinity in the unit, or ulimit -l unlimited" INSTEAD,
                   (unsigned long long)limit.rlim_cur);
    else
        mr_err_errno(notice, code, "io_uring could not be set up" INSTEAD);
}

static int check_operations(struct ring *ring)
{
    struct io_uring_probe *probe = io_uring_get_probe_ring(&ring->ring);
    if (probe == NULL)
        return -EOPNOTSUPP; /* probing and IORING_OP_WRITE both came with 5.6 */
    bool there = io_uring_opcode_supported(probe, IORING_OP_WRITE) &&
                 io_uring_opcode_supported(probe, IORING_OP_FSYNC);
    io_uring_free_probe(probe);
    return there ? 0 : -EOPNOTSUPP;
}

static int set_up(struct ring *ring)
{
    ring->requests = calloc(ring->depth, sizeof(*ring->requests));
    ring->free = calloc(ring->depth, sizeof(*ring->free));
    if (ring->requests == NULL || ring->free == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < ring->depth; i++)
        ring->free[ring->free_count++] = i;
    ring->base.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ring->base.event_fd < 0)
        return -errno;
    int r = mr_failpoint_result("uring-setup", 0);
    if (r == 0)
        r = io_uring_queue_init(ring->depth, &ring->ring, 0);
    if (r != 0)
        return r;
    ring->ring_ready = true;
    r = mr_failpoint_result("uring-setup", check_operations(ring));
    if (r == 0)
        r = mr_failpoint_result("uring-setup",
                                io_uring_register_eventfd(&ring->ring, ring->base.event_fd));
    return r;
}

static int open_ring(uint32_t depth, struct mr_uring **ret)
{
    struct ring *ring = calloc(1, sizeof(*ring));
    if (ring == NULL)
        return -ENOMEM;
    ring->base = (struct mr_uring){.ops = &ring_ops, .event_fd = -1};
    ring->depth = depth;
    int r = set_up(ring);
    if (r != 0) {
        ring_close(&ring->base);
        return r;
    }
    *ret = &ring->base;
    return 0;
}

int mr_uring_open(const struct mr_uring_config *config, struct mr_err *notice,
                  struct mr_uring **ret)
{
    assert(config->depth > 0 && config->depth <= MR_URING_DEPTH_MAX);
    const char *forced = getenv("MILLRACE_FORCE_PWRITE_POOL");
    if (!config->force_pwrite_pool && (forced == NULL || strcmp(forced, "1") != 0)) {
        int r = open_ring(config->depth, ret);
        if (r == 0)
            return 0;
        say_forbidden(r, notice);
    }
    uint32_t threads = config->pool_threads > 0 ? config->pool_threads : 4;
    return mr_write_pool_open(config->depth, threads, notice, ret);
}

void mr_uring_close(struct mr_uring *u)
{
    if (u != NULL)
        u->ops->close(u);
}

int mr_uring_write(struct mr_uring *u, const struct mr_uring_write *w, uint64_t token)
{
    assert(w->bytes > 0 && w->bytes <= INT32_MAX);
    assert(w->alignment > 0 && w->offset % w->alignment == 0 && w->bytes % w->alignment == 0);
    assert((uintptr_t)w->data % w->alignment == 0);
    return u->ops->write(u, w, token);
}

int mr_uring_fdatasync(struct mr_uring *u, int fd, uint64_t token)
{
    return u->ops->fdatasync(u, fd, token);
}

int mr_uring_submit(struct mr_uring *u)
{
    return u->ops->submit(u);
}

size_t mr_uring_reap(struct mr_uring *u, struct mr_uring_done *ret, size_t capacity)
{
    return u->ops->reap(u, ret, capacity);
}

int mr_uring_fd(const struct mr_uring *u)
{
    return u->event_fd;
}

int mr_uring_wait(const struct mr_uring *u, int timeout_ms)
{
    struct pollfd p = {.fd = u->event_fd, .events = POLLIN};
    int n;
    do {
        n = poll(&p, 1, timeout_ms);
    } while (n < 0 && errno == EINTR);
    return n > 0 ? 0 : n == 0 ? -ETIME : -errno;
}

const char *mr_uring_name(const struct mr_uring *u)
{
    return u->ops->name;
}

/* liburing tells no version before 2.4: CMake asks pkg-config. */
const char *mr_uring_library(void)
{
    return "liburing " MR_URING_VERSION;
}
