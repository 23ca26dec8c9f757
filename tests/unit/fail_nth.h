/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nth call of libc fails, of this thread and while it is armed: of files with an errno of the
 * test's choice, of memory with NULL. The linker leads the calls here (fail_nth_calls in
 * list.cmake names them; both lists are the same). Include in one file of a test.
 */
#ifndef MR_TESTS_FAIL_NTH_H
#define MR_TESTS_FAIL_NTH_H

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

/* How a life ends; with 0 where none of its calls has failed. */
enum { FAIL_NTH_STRUCK = 42, FAIL_NTH_DIED = 43 };

/* Volatile: to compilers malloc reads no memory, and so not these. */
static _Thread_local struct {
    volatile bool armed, struck;
    volatile unsigned left; /* calls until it strikes */
    int error;
} fail_nth;
static const char *fail_nth_only; /* NULL, or: of names that begin so */
static bool fail_nth_dies;        /* the process ends there, as at a crash */
/* Shared with a life: what is to fail, as "call 17, EIO", and then its name. */
static struct fail_nth_told {
    char text[128];
    bool was_memory;
} * fail_nth_told;

static inline const char *fail_nth_where(void)
{
    return fail_nth_told == NULL ? "" : fail_nth_told->text;
}

/* ck_assert that says what to repeat. */
#define fail_nth_assert(true_after_it) \
    ck_assert_msg(true_after_it, "%s, after %s", #true_after_it, fail_nth_where())

static inline void fail_nth_share(void)
{
    if (fail_nth_told != NULL)
        return;
    fail_nth_told = mmap(NULL, sizeof(*fail_nth_told), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(fail_nth_told, MAP_FAILED);
}

/* Codes of a library's own calls are not errno's. */
static inline void fail_nth_tell(unsigned nth, int error)
{
    char *text = fail_nth_told->text;
    size_t room = sizeof(fail_nth_told->text);
    if (fail_nth_only == NULL)
        (void)snprintf(text, room, "call %u, %s", nth, strerrorname_np(error));
    else
        (void)snprintf(text, room, "call %u of %s*, error %d", nth, fail_nth_only, error);
    fail_nth_told->was_memory = false;
}

static inline void fail_nth_arm(unsigned nth, int error)
{
    fail_nth_share();
    fail_nth_tell(nth, error);
    fail_nth.struck = false;
    fail_nth.left = nth;
    fail_nth.error = error;
    fail_nth.armed = true;
}

/* True: one has failed. */
static inline bool fail_nth_disarm(void)
{
    fail_nth.armed = false;
    return fail_nth.struck;
}

static inline bool fail_nth_strikes(const char *where, int error)
{
    bool other = fail_nth_only != NULL && strncmp(where, fail_nth_only, strlen(fail_nth_only)) != 0;
    if (!fail_nth.armed || fail_nth.struck || other || --fail_nth.left > 0)
        return false;
    fail_nth.struck = true;
    size_t told = strlen(fail_nth_told->text);
    (void)snprintf(fail_nth_told->text + told, sizeof(fail_nth_told->text) - told, ": %s", where);
    fail_nth_told->was_memory = error == ENOMEM;
    if (fail_nth_dies)
        _exit(FAIL_NTH_DIED);
    errno = error;
    return true;
}

#define FAIL_NTH(type, failed, code, name, parameters, arguments) \
    type __real_##name parameters;                                \
    type __wrap_##name parameters;                                \
    type __wrap_##name parameters                                 \
    {                                                             \
        if (fail_nth_strikes(#name, code))                        \
            return failed;                                        \
        return __real_##name arguments;                           \
    }
#define FAIL_FILE(type, name, parameters, arguments) \
    FAIL_NTH(type, -1, fail_nth.error, name, parameters, arguments)
#define FAIL_MEMORY(name, parameters, arguments) \
    FAIL_NTH(void *, NULL, ENOMEM, name, parameters, arguments)

FAIL_MEMORY(malloc, (size_t bytes), (bytes))
FAIL_MEMORY(calloc, (size_t count, size_t bytes), (count, bytes))
FAIL_MEMORY(realloc, (void *old, size_t bytes), (old, bytes))
FAIL_MEMORY(aligned_alloc, (size_t to, size_t bytes), (to, bytes))
FAIL_NTH(char *, NULL, ENOMEM, strdup, (const char *text), (text))
FAIL_NTH(DIR *, NULL, fail_nth.error, fdopendir, (int fd), (fd))
FAIL_NTH(struct dirent *, NULL, fail_nth.error, readdir64, (DIR * dir), (dir))
FAIL_FILE(int, fsync, (int fd), (fd))
FAIL_FILE(int, fdatasync, (int fd), (fd))
FAIL_FILE(int, syncfs, (int fd), (fd))
FAIL_FILE(int, ftruncate64, (int fd, off_t size), (fd, size))
FAIL_FILE(int, fallocate64, (int fd, int mode, off_t at, off_t bytes), (fd, mode, at, bytes))
FAIL_FILE(int, fstat64, (int fd, struct stat *st), (fd, st))
FAIL_FILE(int, statx, (int dir, const char *path, int flags, unsigned mask, struct statx *st),
          (dir, path, flags, mask, st))
FAIL_FILE(int, fstatvfs64, (int fd, struct statvfs *st), (fd, st))
FAIL_FILE(int, fchmod, (int fd, mode_t mode), (fd, mode))
FAIL_FILE(int, futimens, (int fd, const struct timespec *times), (fd, times))
FAIL_FILE(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
FAIL_FILE(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
FAIL_FILE(int, renameat, (int from, const char *a, int to, const char *b), (from, a, to, b))
FAIL_FILE(int, renameat2, (int from, const char *a, int to, const char *b, unsigned flags),
          (from, a, to, b, flags))
FAIL_FILE(ssize_t, read, (int fd, void *data, size_t bytes), (fd, data, bytes))

/* Not of what wakes another thread. */
static inline bool fail_nth_is_file(int fd)
{
    struct stat st;
    return __real_fstat64(fd, &st) == 0 && S_ISREG(st.st_mode);
}

ssize_t __real_write(int fd, const void *data, size_t bytes);
ssize_t __wrap_write(int fd, const void *data, size_t bytes);
ssize_t __wrap_write(int fd, const void *data, size_t bytes)
{
    if (fail_nth.armed && fail_nth_is_file(fd) && fail_nth_strikes("write", fail_nth.error))
        return -1;
    return __real_write(fd, data, bytes);
}

FAIL_FILE(ssize_t, pread64, (int fd, void *data, size_t bytes, off_t at), (fd, data, bytes, at))
FAIL_FILE(ssize_t, pwrite64, (int fd, const void *data, size_t bytes, off_t at),
          (fd, data, bytes, at))

int __real_openat64(int dir, const char *path, int flags, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    unsigned mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, unsigned) : 0;
    va_end(args);
    if (fail_nth_strikes("openat64", fail_nth.error))
        return -1;
    return __real_openat64(dir, path, flags, mode);
}

/* openat2 has no function in libc. */
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    long a[5];
    va_list args;
    va_start(args, number);
    for (int i = 0; i < 5; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    if (fail_nth_strikes("syscall", fail_nth.error))
        return -1;
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4]);
}

/* act in a process of its own; its status. */
static inline int fail_nth_status(void (*act)(void), unsigned nth, int error)
{
    int status;
    fail_nth_share();
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        fail_nth_arm(nth, error);
        act();
        _exit(fail_nth_disarm() ? FAIL_NTH_STRUCK : 0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

/* act in a process of its own, which may end as it likes, and by abort() where memory failed. True:
 * one of its calls has failed. */
static inline bool fail_nth_life(void (*act)(void), unsigned nth, int error)
{
    int status = fail_nth_status(act, nth, error);
    bool aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && fail_nth_told->was_memory;
    bool struck = aborted || (WIFEXITED(status) && WEXITSTATUS(status) == FAIL_NTH_STRUCK);
    ck_assert_msg(struck || status == 0, "status %x after %s", (unsigned)status, fail_nth_where());
    return struck;
}

/* act in a process of its own, which dies at its nth call that begins with `only`. */
static inline void fail_nth_death(void (*act)(void), unsigned nth, const char *only)
{
    fail_nth_only = only;
    fail_nth_dies = true;
    int status = fail_nth_status(act, nth, 0);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == FAIL_NTH_DIED,
                  "status %x: it did not die at %s %u", (unsigned)status, only, nth);
    fail_nth_only = NULL;
    fail_nth_dies = false;
}

#endif
