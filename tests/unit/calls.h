/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of libc that go as a test wants: some fail with an errno, some move fewer bytes than they
 * were asked to, and those that change something are written down. The linker leads them here: each
 * test names its calls in list.cmake and says CALLS_OF for them. Include in one file of a test.
 */
#ifndef MR_TESTS_CALLS_H
#define MR_TESTS_CALLS_H

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is to fail: of the calls of that name, so many after the first few. */
struct calls_wish {
    const char *name; /* NULL: none */
    unsigned skip, times;
    int error;
};

static struct {
    struct calls_wish wishes[2];
    bool struck;    /* one has failed */
    size_t most;    /* bytes that one call moves; 0: all */
    char log[1024]; /* "fsync a, fsync b", as calls_note writes it */
} calls;

static inline void calls_reset(void)
{
    memset(&calls, 0, sizeof(calls));
}

/* Instead of what was to fail before. */
static inline void calls_fail(const char *name, unsigned skip, unsigned times, int error)
{
    calls.wishes[0] = (struct calls_wish){name, skip, times, error};
    calls.wishes[1].name = NULL;
    calls.struck = false;
}

/* Beside it. */
static inline void calls_fail_too(const char *name, unsigned skip, unsigned times, int error)
{
    calls.wishes[1] = (struct calls_wish){name, skip, times, error};
}

/* All that were to fail have. */
static inline bool calls_all_struck(void)
{
    return calls.wishes[0].times == 0 &&
           (calls.wishes[1].name == NULL || calls.wishes[1].times == 0);
}

/* True, with errno: this one is to fail. */
static inline bool calls_fails(const char *name)
{
    for (int i = 0; i < 2; i++) {
        struct calls_wish *w = &calls.wishes[i];
        if (w->name == NULL || strcmp(w->name, name) != 0 || w->times == 0)
            continue;
        if (w->skip > 0) {
            w->skip--;
            continue;
        }
        w->times--;
        calls.struck = true;
        errno = w->error;
        return true;
    }
    return false;
}

static inline size_t calls_bytes(size_t bytes)
{
    return calls.most > 0 && bytes > calls.most ? calls.most : bytes;
}

static inline void calls_note(const char *what, const char *of)
{
    size_t used = strlen(calls.log);
    (void)snprintf(calls.log + used, sizeof(calls.log) - used, "%s%s %s", used > 0 ? ", " : "",
                   what, of);
}

/* Of a file descriptor: its name, without what leads there. */
static inline void calls_note_fd(const char *what, int fd)
{
    char link[64], path[256] = "";
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    const char *slash = n < 0 ? NULL : strrchr(path, '/');
    calls_note(what, slash == NULL ? "?" : slash + 1);
}

#define CALLS_OF(type, failed, name, parameters, arguments, note) \
    type __real_##name parameters;                                \
    type __wrap_##name parameters;                                \
    type __wrap_##name parameters                                 \
    {                                                             \
        if (calls_fails(#name))                                   \
            return failed;                                        \
        note;                                                     \
        return __real_##name arguments;                           \
    }

#define CALLS_OF_INT(name, parameters, arguments, note) \
    CALLS_OF(int, -1, name, parameters, arguments, note)

/* Descriptors that are open. */
static inline unsigned calls_open_files(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir) != NULL)
        count++;
    (void)closedir(dir);
    return count;
}

#endif
