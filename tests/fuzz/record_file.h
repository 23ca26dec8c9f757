/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For fuzz targets that read a file of records by name: a folder of the process's own with that one
 * file in it, written anew for each input. Each text gets an honest checksum, since that would keep
 * a fuzzer out.
 */
#ifndef MR_TESTS_RECORD_FILE_H
#define MR_TESTS_RECORD_FILE_H

#include "base/recordlog.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char record_folder[] = "/tmp/millrace-fuzz-XXXXXX";
static const char *record_name;
static int record_dir = -1; /* of the folder, for the reader under test */

static void record_folder_remove(void)
{
    unlinkat(record_dir, record_name, 0);
    rmdir(record_folder);
}

/* Makes the folder, the first time. name: of the file, borrowed for ever. */
static inline void record_folder_make(const char *name)
{
    if (record_dir >= 0)
        return;
    record_name = name;
    char *made = mkdtemp(record_folder);
    assert(made != NULL);
    record_dir = open(record_folder, O_DIRECTORY | O_CLOEXEC);
    assert(record_dir >= 0);
    atexit(record_folder_remove);
}

/* The file, empty; to be closed. */
static inline int record_file_new(void)
{
    int fd = openat(record_dir, record_name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert(fd >= 0);
    return fd;
}

static inline void record_file_put(int fd, const void *data, size_t bytes)
{
    ssize_t n = write(fd, data, bytes);
    assert(n == (ssize_t)bytes);
}

/* One record of text; nothing where it can be none. */
static inline void record_file_append(int fd, const char *text, size_t bytes)
{
    char *line = malloc(bytes + 32);
    size_t line_bytes;
    assert(line != NULL);
    if (mr_recordlog_format(text, bytes, line, bytes + 32, &line_bytes) == 0)
        record_file_put(fd, line, line_bytes);
    free(line);
}

#endif
