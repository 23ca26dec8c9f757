/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any lines as a movie's placement journal, each behind an honest checksum, since that would keep a
 * fuzzer out: refused, or a movie whose own records can be written and read again.
 */
#include "dossier.h"
#include "record_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void write_lines(const char *data, size_t bytes)
{
    int fd = record_file_new();
    while (bytes > 0) {
        const char *end = memchr(data, '\n', bytes);
        size_t length = end == NULL ? bytes : (size_t)(end - data);
        if (memchr(data, '\0', length) == NULL)
            record_file_append(fd, data, length);
        length += end != NULL;
        data += length;
        bytes -= length;
    }
    close(fd);
}

static void write_line(int fd, char *line, size_t bytes)
{
    record_file_put(fd, line, bytes);
    free(line);
}

/* What was read, as the server would write it, means the same. */
static void check_again(const struct mr_dossier *d)
{
    char *line;
    size_t bytes;
    struct mr_dossier again;
    int fd = record_file_new();
    int r = mr_dossier_open_line(d, &line, &bytes);
    assert(r == 0);
    write_line(fd, line, bytes);
    bool sealed = d->is_sealed && mr_dossier_sealed_line(&d->sealed, &line, &bytes) == 0;
    if (sealed)
        write_line(fd, line, bytes);
    close(fd);
    r = mr_dossier_read(record_dir, "journal", &again, NULL);
    assert(r == 0 && again.is_sealed == sealed && again.damaged == 0);
    assert(again.generation == d->generation && strcmp(again.path, d->path) == 0);
    assert(!sealed || strcmp(again.sealed.event, d->sealed.event) == 0);
    mr_dossier_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct mr_dossier d;
    record_folder_make("journal");
    write_lines((const char *)data, bytes);
    if (mr_dossier_read(record_dir, "journal", &d, NULL) == 0) {
        assert(d.durable <= d.slab_count);
        check_again(&d);
        mr_dossier_fini(&d);
    }
    return 0;
}
