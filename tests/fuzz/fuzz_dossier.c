/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any lines as a movie's placement journal, each behind an honest checksum, since that would keep a
 * fuzzer out: refused, or a movie whose own records can be written and read again.
 */
#include "base/recordlog.h"
#include "dossier.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static char folder[] = "/tmp/millrace-fuzz-XXXXXX";
static int dir = -1;

static void remove_folder(void)
{
    unlinkat(dir, "journal", 0);
    rmdir(folder);
}

static void make_folder(void)
{
    if (dir >= 0)
        return;
    char *made = mkdtemp(folder);
    assert(made != NULL);
    dir = open(folder, O_DIRECTORY | O_CLOEXEC);
    assert(dir >= 0);
    atexit(remove_folder);
}

static int new_journal(void)
{
    int fd = openat(dir, "journal", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert(fd >= 0);
    return fd;
}

static void write_record(int fd, const char *text, size_t bytes)
{
    char *line = malloc(bytes + 32);
    size_t line_bytes;
    assert(line != NULL);
    if (memchr(text, '\0', bytes) == NULL &&
        mr_recordlog_format(text, bytes, line, bytes + 32, &line_bytes) == 0) {
        ssize_t n = write(fd, line, line_bytes);
        assert(n == (ssize_t)line_bytes);
    }
    free(line);
}

static void write_lines(const char *data, size_t bytes)
{
    int fd = new_journal();
    while (bytes > 0) {
        const char *end = memchr(data, '\n', bytes);
        size_t length = end == NULL ? bytes : (size_t)(end - data);
        write_record(fd, data, length);
        length += end != NULL;
        data += length;
        bytes -= length;
    }
    close(fd);
}

static void write_line(int fd, char *line, size_t bytes)
{
    ssize_t n = write(fd, line, bytes);
    assert(n == (ssize_t)bytes);
    free(line);
}

/* What was read, as the server would write it, means the same. */
static void check_again(const struct mr_dossier *d)
{
    char *line;
    size_t bytes;
    struct mr_dossier again;
    int fd = new_journal();
    int r = mr_dossier_open_line(d, &line, &bytes);
    assert(r == 0);
    write_line(fd, line, bytes);
    bool sealed = d->is_sealed && mr_dossier_sealed_line(&d->sealed, &line, &bytes) == 0;
    if (sealed)
        write_line(fd, line, bytes);
    close(fd);
    r = mr_dossier_read(dir, "journal", &again, NULL);
    assert(r == 0 && again.is_sealed == sealed && again.damaged == 0);
    assert(again.generation == d->generation && strcmp(again.path, d->path) == 0);
    assert(!sealed || strcmp(again.sealed.event, d->sealed.event) == 0);
    mr_dossier_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct mr_dossier d;
    make_folder();
    write_lines((const char *)data, bytes);
    if (mr_dossier_read(dir, "journal", &d, NULL) == 0) {
        assert(d.durable <= d.slab_count);
        check_again(&d);
        mr_dossier_fini(&d);
    }
    return 0;
}
