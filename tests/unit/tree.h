/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A temporary tree of files for tests of watch and track: made below TMPDIR, removed at the end.
 * Failures are the test's.
 */
#ifndef MR_TESTS_TREE_H
#define MR_TESTS_TREE_H

#include "scratch.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char tree_root[4096];

static inline void tree_make(void)
{
    const char *dir = getenv("TMPDIR");
    snprintf(tree_root, sizeof(tree_root), "%s/mr_tree_XXXXXX", dir != NULL ? dir : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(tree_root));
}

static inline void tree_remove(void)
{
    scratch_remove_tree(tree_root);
}

/* Whole path of one below the root; one of four static buffers. */
static inline const char *tree_path(const char *below)
{
    static char buffers[4][8192];
    static unsigned next;
    char *buffer = buffers[next++ % 4];
    snprintf(buffer, sizeof(buffers[0]), "%s/%s", tree_root, below);
    return buffer;
}

static inline void tree_mkdir(const char *below)
{
    ck_assert_int_eq(mkdir(tree_path(below), 0755), 0);
}

/* Opens for appending, made where missing. */
static inline int tree_open(const char *below)
{
    int fd = open(tree_path(below), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static inline void tree_write(int fd, const void *data, size_t bytes, off_t at)
{
    ck_assert_int_eq(pwrite(fd, data, bytes, at), (ssize_t)bytes);
}

/* A whole file, closed. */
static inline void tree_put(const char *below, const char *text)
{
    int fd = tree_open(below);
    tree_write(fd, text, strlen(text), 0);
    close(fd);
}

static inline void tree_rename(const char *from, const char *to)
{
    ck_assert_int_eq(rename(tree_path(from), tree_path(to)), 0);
}

#endif
