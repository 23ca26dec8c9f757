/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any beat, and any lines behind it, each with an honest checksum, since that would keep a fuzzer
 * out, and the last one as it is: refused, or a lease that can be written and read again.
 */
#include "lease_file.h"
#include "record_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define NAME "0000000007"

static void write_lines(const char *data, size_t bytes)
{
    int fd = record_file_new();
    size_t beat = bytes < MR_LEASE_BEAT_BYTES ? bytes : MR_LEASE_BEAT_BYTES;
    record_file_put(fd, data, beat);
    data += beat;
    bytes -= beat;
    const char *end;
    while (bytes > 0 && (end = memchr(data, '\n', bytes)) != NULL) {
        size_t length = (size_t)(end - data);
        record_file_append(fd, data, length);
        data += length + 1;
        bytes -= length + 1;
    }
    record_file_put(fd, data, bytes);
    close(fd);
}

/* What was read, as a server would write it. */
static void write_again(const struct mr_lease_file *f)
{
    char line[MR_LEASE_LINE];
    int fd = record_file_new();
    record_file_put(fd, line, mr_lease_format_beat(1, f->released, line));
    record_file_put(fd, line, mr_lease_format_holder(f, line));
    for (size_t i = 0; i < f->epochs.count; i++)
        record_file_put(fd, line, mr_lease_format_epoch(&f->epochs.list[i], line));
    close(fd);
}

static void check(const struct mr_lease_file *f)
{
    assert(f->generation == 7 && f->epochs.count <= MR_EPOCHS_MAX &&
           mr_epochs_are_good(&f->epochs, 0, 0));
    for (size_t i = 0; i < f->epochs.count; i++) {
        const struct mr_epoch *e = &f->epochs.list[i];
        assert(mr_epochs_are_good(&f->epochs, e->generation, e->first_event));
        assert(i == 0 || (e[-1].generation < e->generation && e[-1].first_event < e->first_event));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct mr_lease_file first, again;
    record_folder_make(NAME);
    write_lines((const char *)data, bytes);
    if (mr_lease_read(record_dir, 7, &first, NULL) < 0)
        return 0;
    check(&first);
    write_again(&first);
    int r = mr_lease_read(record_dir, 7, &again, NULL);
    assert(r == 0 && again.released == first.released && again.epoch == first.epoch);
    assert(again.lease_ms == first.lease_ms && again.epochs.count == first.epochs.count);
    assert(memcmp(&again.holder, &first.holder, sizeof(first.holder)) == 0);
    return 0;
}
