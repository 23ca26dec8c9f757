/* SPDX-License-Identifier: Apache-2.0 */
/* A directory for one test, and bytes of files in it read, written and flipped behind a module's
 * back. */
#ifndef MR_TESTS_SCRATCH_H
#define MR_TESTS_SCRATCH_H

#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct scratch {
    char path[64];
    int fd;
};

/* Below MILLRACE_SCRATCH, or /tmp. */
static inline struct scratch scratch_make(void)
{
    struct scratch s;
    const char *base = getenv("MILLRACE_SCRATCH");
    (void)snprintf(s.path, sizeof(s.path), "%s/mr-test-XXXXXX", base == NULL ? "/tmp" : base);
    ck_assert_ptr_nonnull(mkdtemp(s.path));
    s.fd = open(s.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(s.fd, 0);
    return s;
}

static inline int scratch_remove_one(const char *path, const struct stat *st, int type,
                                     struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline void scratch_remove_tree(const char *path)
{
    (void)nftw(path, scratch_remove_one, 32, FTW_DEPTH | FTW_PHYS);
}

static inline void scratch_remove(struct scratch *s)
{
    close(s->fd);
    scratch_remove_tree(s->path);
}

static inline uint64_t scratch_size(const struct scratch *s, const char *name)
{
    struct stat st;
    ck_assert_int_eq(fstatat(s->fd, name, &st, 0), 0);
    return (uint64_t)st.st_size;
}

static inline void scratch_append(const struct scratch *s, const char *name, const char *text)
{
    int fd = openat(s->fd, name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static inline void scratch_flip(const struct scratch *s, const char *name, uint64_t offset)
{
    unsigned char byte;
    int fd = openat(s->fd, name, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= 0x04;
    ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)offset), 1);
    close(fd);
}

static inline void scratch_cut(const struct scratch *s, const char *name, uint64_t size)
{
    int fd = openat(s->fd, name, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
    close(fd);
}

#endif
