/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do both engines write what they were given, whole or with the right error? On a disk (beside the
 * build) and on tmpfs, with and without O_DIRECT; a short write, a full disk, a forbidden io_uring.
 */
#include "base/fs.h"
#include "suite.h"
#include "uring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BLOCK 4096u

static struct mr_uring *open_engine(bool pool, uint32_t depth)
{
    struct mr_uring_config config = {.depth = depth, .force_pwrite_pool = pool, .pool_threads = 2};
    struct mr_err notice = {0};
    struct mr_uring *u = NULL;
    ck_assert_msg(mr_uring_open(&config, &notice, &u) == 0, "%s", notice.text);
    if (notice.code != 0)
        (void)fprintf(stderr, "tested on the pool only: %s\n", notice.text);
    return u;
}

/* Submits and waits for one completion of that token. */
static int64_t result_of(struct mr_uring *u, uint64_t token)
{
    struct mr_uring_done done;
    ck_assert_int_eq(mr_uring_submit(u), 0);
    while (mr_uring_reap(u, &done, 1) == 0)
        ck_assert_int_eq(mr_uring_wait(u, 30000), 0);
    ck_assert_uint_eq(done.token, token);
    return done.result;
}

static int64_t write_at(struct mr_uring *u, int fd, const void *data, size_t bytes, uint64_t offset)
{
    struct mr_uring_write w = {
        .fd = fd, .alignment = BLOCK, .data = data, .bytes = bytes, .offset = offset};
    ck_assert_int_eq(mr_uring_write(u, &w, 99), 0);
    return result_of(u, 99);
}

static uint8_t *blocks(size_t count, uint8_t first)
{
    uint8_t *data = aligned_alloc(65536, (count * BLOCK + 65535) / 65536 * 65536);
    ck_assert_ptr_nonnull(data);
    for (size_t i = 0; i < count; i++)
        memset(data + i * BLOCK, first + (int)i, BLOCK);
    return data;
}

static int temporary(const char *dir, int flags)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/uring.XXXXXX", dir);
    int fd = mkostemp(path, flags | O_CLOEXEC);
    if (fd >= 0)
        (void)unlink(path);
    return fd;
}

#define MANY 40
static void write_many(bool pool, const char *dir, int flags)
{
    int fd = temporary(dir, flags);
    if (fd < 0 && flags == O_DIRECT && errno == EINVAL)
        return; /* tmpfs before 6.6 refuses O_DIRECT */
    ck_assert_int_ge(fd, 0);
    struct mr_uring *u = open_engine(pool, 8);
    uint8_t *data = blocks(MANY, 1), *back = blocks(MANY, 100);
    unsigned sent = 0, got = 0;
    while (got < MANY) {
        struct mr_uring_write w = {
            .fd = fd, .alignment = BLOCK, .bytes = BLOCK, .data = data + sent * BLOCK};
        w.offset = (uint64_t)sent * BLOCK;
        if (sent < MANY && mr_uring_write(u, &w, sent) == 0) {
            sent++;
            continue;
        }
        ck_assert_uint_le(sent - got, 8);
        ck_assert_int_eq(mr_uring_submit(u), 0);
        struct mr_uring_done done[3];
        size_t count = mr_uring_reap(u, done, 3);
        for (size_t i = 0; i < count; i++)
            ck_assert_int_eq(done[i].result, BLOCK);
        got += (unsigned)count;
        if (count == 0)
            ck_assert_int_eq(mr_uring_wait(u, 30000), 0);
    }
    ck_assert_int_eq(mr_uring_fdatasync(u, fd, 7), 0);
    ck_assert_int_eq(result_of(u, 7), 0);
    struct mr_uring_done none; /* the kernel may signal a completion after it was reaped */
    while (mr_uring_wait(u, 0) == 0)
        ck_assert_uint_eq(mr_uring_reap(u, &none, 1), 0);
    ck_assert_int_eq(mr_fs_pread_full(fd, back, MANY * BLOCK, 0), 0);
    ck_assert_int_eq(memcmp(data, back, MANY * BLOCK), 0);
    mr_uring_close(u);
    close(fd);
    free(data);
    free(back);
}

START_TEST(both_engines_write_on_disk_and_tmpfs)
{
    for (int pool = 0; pool < 2; pool++) {
        for (int direct = 0; direct < 2; direct++) {
            write_many(pool, ".", direct ? O_DIRECT : 0);
            write_many(pool, "/dev/shm", direct ? O_DIRECT : 0);
        }
    }
}
END_TEST

START_TEST(names_and_forcing)
{
    struct mr_uring *u = open_engine(true, 1);
    ck_assert_str_eq(mr_uring_name(u), "pwrite");
    mr_uring_close(u);
    setenv("MILLRACE_FORCE_PWRITE_POOL", "1", 1);
    u = open_engine(false, 1);
    ck_assert_str_eq(mr_uring_name(u), "pwrite");
    mr_uring_close(u);
    mr_uring_close(NULL);
}
END_TEST

START_TEST(errors_come_back)
{
    for (int pool = 0; pool < 2; pool++) {
        struct mr_uring *u = open_engine(pool, 4);
        uint8_t *data = blocks(1, 1);
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        ck_assert_int_eq(write_at(u, fd, data, BLOCK, 0), -EBADF);
        close(fd);
        fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
        ck_assert_int_eq(write_at(u, fd, data, BLOCK, 0), -ENOSPC);
        ck_assert_int_eq(mr_uring_fdatasync(u, fd, 5), 0);
        ck_assert_int_eq(result_of(u, 5), -EINVAL);
        close(fd);
        free(data);
        mr_uring_close(u);
    }
}
END_TEST

START_TEST(short_write_goes_on_and_meets_the_limit)
{
    signal(SIGXFSZ, SIG_IGN);
    for (int pool = 0; pool < 2; pool++) {
        for (int direct = 0; direct < 2; direct++) {
            struct mr_uring *u = open_engine(pool, 4);
            int fd = temporary(".", direct ? O_DIRECT : 0);
            uint8_t *data = blocks(4, 1);
            struct rlimit limit = {10 * BLOCK, RLIM_INFINITY},
                          none = {RLIM_INFINITY, RLIM_INFINITY};
            ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
            ck_assert_int_eq(write_at(u, fd, data, 4 * BLOCK, 8 * BLOCK), -EFBIG);
            ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
            struct stat st;
            ck_assert_int_eq(fstat(fd, &st), 0);
            ck_assert_int_eq(st.st_size, 10 * BLOCK); /* two blocks went, then it was tried on */
            close(fd);
            free(data);
            mr_uring_close(u);
        }
    }
}
END_TEST

START_TEST(short_writes_of_a_pipe_are_carried_on)
{
    enum { TOTAL = 300000 };
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    struct mr_uring *u = open_engine(false, 4);
    if (strcmp(mr_uring_name(u), "io_uring") != 0)
        suite_skip("no io_uring, and pwrite knows no pipes");
    uint8_t *data = malloc(TOTAL), *back = malloc(TOTAL);
    for (size_t i = 0; i < TOTAL; i++)
        data[i] = (uint8_t)(i * 7 + (i >> 8));
    struct mr_uring_write w = {.fd = ends[1], .alignment = 1, .data = data, .bytes = TOTAL};
    ck_assert_int_eq(mr_uring_write(u, &w, 1), 0);
    ck_assert_int_eq(mr_uring_submit(u), 0);
    struct mr_uring_done done = {0};
    size_t got = 0, ready = 0;
    while (got < TOTAL || ready == 0) {
        struct pollfd p[2] = {{.fd = ends[0], .events = POLLIN},
                              {.fd = mr_uring_fd(u), .events = POLLIN}};
        ck_assert_int_gt(poll(p, 2, 30000), 0);
        if ((p[0].revents & POLLIN) != 0) {
            ssize_t n = read(ends[0], back + got, TOTAL - got);
            ck_assert_int_gt(n, 0);
            got += (size_t)n;
        }
        if ((p[1].revents & POLLIN) != 0)
            ready += mr_uring_reap(u, &done, 1);
        ck_assert_int_eq(mr_uring_submit(u), 0);
    }
    ck_assert_int_eq(done.result, TOTAL);
    ck_assert_int_eq(memcmp(data, back, TOTAL), 0);
    mr_uring_close(u);
    free(data);
    free(back);
}
END_TEST

/* Writes four blocks and syncs while one of the ring's results is another. */
static void check_fault(const char *fault, int64_t written, int64_t synced)
{
    setenv("MILLRACE_FAIL_AT", fault, 1);
    struct mr_uring *u = open_engine(false, 4);
    if (strcmp(mr_uring_name(u), "io_uring") != 0)
        suite_skip("no io_uring");
    uint8_t *data = blocks(4, 1), *back = blocks(4, 100);
    int fd = temporary(".", O_DIRECT);
    ck_assert_int_eq(write_at(u, fd, data, 4 * BLOCK, 0), written);
    ck_assert_int_eq(mr_fs_pread_full(fd, back, 4 * BLOCK, 0), 0);
    ck_assert_int_eq(memcmp(data, back, 4 * BLOCK), 0);
    ck_assert_int_eq(mr_uring_fdatasync(u, fd, 5), 0);
    ck_assert_int_eq(result_of(u, 5), synced);
    mr_uring_close(u);
    close(fd);
    free(data);
    free(back);
}

START_TEST(a_short_write_is_carried_on)
{
    check_fault("uring-write:1:short", 4 * BLOCK, 0);
}
END_TEST

START_TEST(an_interrupted_write_is_tried_again)
{
    check_fault("uring-write:1:EINTR", 4 * BLOCK, 0);
}
END_TEST

START_TEST(a_write_that_should_come_again_does)
{
    check_fault("uring-write:1:EAGAIN", 4 * BLOCK, 0);
}
END_TEST

START_TEST(a_failed_write_is_told)
{
    check_fault("uring-write:1:EDQUOT", -EDQUOT, 0);
}
END_TEST

START_TEST(a_sync_is_not_tried_again)
{
    check_fault("uring-fdatasync:1:EINTR", 4 * BLOCK, -EINTR);
}
END_TEST

START_TEST(an_interrupted_submission_goes_on)
{
    check_fault("uring-submit:1:EINTR", 4 * BLOCK, 0);
}
END_TEST

START_TEST(a_submission_refused_for_now_is_said_and_nothing_lost)
{
    setenv("MILLRACE_FAIL_AT", "uring-submit:1:EBUSY", 1);
    struct mr_uring *u = open_engine(false, 4);
    if (strcmp(mr_uring_name(u), "io_uring") != 0)
        suite_skip("no io_uring");
    uint8_t *data = blocks(1, 1);
    int fd = temporary(".", 0);
    struct mr_uring_write w = {.fd = fd, .alignment = 1, .data = data, .bytes = BLOCK};
    ck_assert_int_eq(mr_uring_write(u, &w, 3), 0);
    ck_assert_int_eq(mr_uring_submit(u), -EAGAIN);
    ck_assert_int_eq(result_of(u, 3), BLOCK);
    mr_uring_close(u);
    close(fd);
    free(data);
}
END_TEST

START_TEST(a_ring_that_takes_nothing_can_be_closed)
{
    setenv("MILLRACE_FAIL_AT", "uring-submit:1:EIO", 1);
    struct mr_uring *u = open_engine(false, 4);
    uint8_t *data = blocks(1, 1);
    int fd = temporary(".", 0);
    struct mr_uring_write w = {.fd = fd, .alignment = 1, .data = data, .bytes = BLOCK};
    ck_assert_int_eq(mr_uring_write(u, &w, 3), 0);
    mr_uring_close(u);
    close(fd);
    free(data);
}
END_TEST

static void check_no_ring(const char *fault)
{
    struct mr_err notice = {0};
    struct mr_uring *u = NULL;
    setenv("MILLRACE_FAIL_AT", fault, 1);
    ck_assert_int_eq(mr_uring_open(&(struct mr_uring_config){.depth = 4}, &notice, &u), 0);
    ck_assert_str_eq(mr_uring_name(u), "pwrite");
    ck_assert_int_ne(notice.code, 0);
    mr_uring_close(u);
}

START_TEST(the_first_step_of_the_setup_may_fail)
{
    check_no_ring("uring-setup:1:ENOMEM");
}
END_TEST

START_TEST(the_second_step_of_the_setup_may_fail)
{
    check_no_ring("uring-setup:2:EPERM");
}
END_TEST

START_TEST(the_third_step_of_the_setup_may_fail)
{
    check_no_ring("uring-setup:3:EMFILE");
}
END_TEST

START_TEST(short_write_goes_on_aligned)
{
    unsigned attempts = 0;
    static const uint8_t data[4 * BLOCK];
    struct mr_uring_write w = {
        .alignment = BLOCK, .data = data, .bytes = 3 * BLOCK, .offset = BLOCK};
    ck_assert_int_eq(mr_uring_carry_on(&w, &attempts, BLOCK - 1), 1);
    ck_assert_uint_eq(attempts, 1); /* no progress */
    ck_assert_uint_eq(w.bytes, 3 * BLOCK);
    ck_assert_int_eq(mr_uring_carry_on(&w, &attempts, BLOCK + 1), 1);
    ck_assert_uint_eq(attempts, 0);
    ck_assert_uint_eq(w.bytes, 2 * BLOCK);
    ck_assert_uint_eq(w.offset, 2 * BLOCK);
    ck_assert_ptr_eq(w.data, data + BLOCK);
    w.alignment = 1;
    ck_assert_int_eq(mr_uring_carry_on(&w, &attempts, 1), 1);
    ck_assert_uint_eq(w.bytes, 2 * BLOCK - 1);
    ck_assert_int_eq(mr_uring_carry_on(&w, &attempts, -ENOSPC), -ENOSPC);
    ck_assert_int_eq(mr_uring_carry_on(&w, &attempts, 2 * BLOCK - 1), 0);
    ck_assert_uint_eq(w.bytes, 0);
}
END_TEST

START_TEST(full_disk_is_enospc)
{
    char dir[] = "uring_full.XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    /* A mount namespace of this process: the mount goes with it. */
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", dir, "tmpfs", 0, "size=64k") != 0) {
        (void)rmdir(dir);
        suite_skip("no right to mount a small tmpfs");
    }
    for (int pool = 0; pool < 2; pool++) {
        struct mr_uring *u = open_engine(pool, 4);
        int fd = temporary(dir, 0);
        uint8_t *data = blocks(32, 1);
        ck_assert_int_eq(write_at(u, fd, data, 8 * BLOCK, 0), 8 * BLOCK);
        ck_assert_int_eq(write_at(u, fd, data, 32 * BLOCK, 8 * BLOCK), -ENOSPC);
        close(fd);
        free(data);
        mr_uring_close(u);
    }
    ck_assert_int_eq(umount(dir), 0);
    (void)rmdir(dir);
}
END_TEST

START_TEST(close_waits_for_what_is_in_flight)
{
    for (int pool = 0; pool < 2; pool++) {
        struct mr_uring *u = open_engine(pool, 16);
        int fd = temporary(".", O_DIRECT);
        uint8_t *data = blocks(16, 1), *back = blocks(16, 50);
        for (unsigned i = 0; i < 16; i++) {
            struct mr_uring_write w = {.fd = fd, .alignment = BLOCK, .bytes = BLOCK};
            w.data = data + i * BLOCK;
            w.offset = (uint64_t)i * BLOCK;
            ck_assert_int_eq(mr_uring_write(u, &w, i), 0);
        }
        ck_assert_int_eq(mr_uring_fdatasync(u, fd, 0), -EAGAIN);
        mr_uring_close(u);
        ck_assert_int_eq(mr_fs_pread_full(fd, back, 16 * BLOCK, 0), 0);
        ck_assert_int_eq(memcmp(data, back, 16 * BLOCK), 0);
        close(fd);
        free(data);
        free(back);
    }
}
END_TEST

/* From here on io_uring_setup fails in this process with that error, as under a container's
 * profile. */
static bool forbid_io_uring(int code)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)code),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

static void check_forbidden(int code, const char *word)
{
    if (!forbid_io_uring(code))
        suite_skip("no seccomp here");
    struct mr_uring_config config = {.depth = 4};
    struct mr_err notice = {0};
    struct mr_uring *u = NULL;
    ck_assert_int_eq(mr_uring_open(&config, &notice, &u), 0);
    ck_assert_str_eq(mr_uring_name(u), "pwrite");
    ck_assert_int_eq(notice.code, -code);
    ck_assert_msg(strstr(notice.text, word) != NULL, "%s", notice.text);
    ck_assert_msg(strstr(notice.text, "pwrite threads") != NULL, "%s", notice.text);
    uint8_t *data = blocks(1, 1);
    int fd = temporary(".", 0);
    ck_assert_int_eq(write_at(u, fd, data, BLOCK, 0), BLOCK);
    close(fd);
    free(data);
    mr_uring_close(u);
}

START_TEST(forbidden_says_seccomp_or_sysctl)
{
    check_forbidden(EPERM, "io_uring is forbidden");
}
END_TEST

START_TEST(missing_says_kernel)
{
    check_forbidden(ENOSYS, "CONFIG_IO_URING");
}
END_TEST

START_TEST(memlock_says_limit)
{
    check_forbidden(ENOMEM, "RLIMIT_MEMLOCK");
}
END_TEST

MR_SUITE("uring", T(both_engines_write_on_disk_and_tmpfs), T(names_and_forcing),
         T(errors_come_back), T(short_write_goes_on_and_meets_the_limit),
         T(short_writes_of_a_pipe_are_carried_on), T(a_short_write_is_carried_on),
         T(an_interrupted_write_is_tried_again), T(a_write_that_should_come_again_does),
         T(a_failed_write_is_told), T(a_sync_is_not_tried_again),
         T(an_interrupted_submission_goes_on),
         T(a_submission_refused_for_now_is_said_and_nothing_lost),
         T(a_ring_that_takes_nothing_can_be_closed), T(the_first_step_of_the_setup_may_fail),
         T(the_second_step_of_the_setup_may_fail), T(the_third_step_of_the_setup_may_fail),
         T(short_write_goes_on_aligned), T(full_disk_is_enospc),
         T(close_waits_for_what_is_in_flight), T(forbidden_says_seccomp_or_sysctl),
         T(missing_says_kernel), T(memlock_says_limit))
