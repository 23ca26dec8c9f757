/* SPDX-License-Identifier: Apache-2.0 */
/* A scan of any file must end, visit only good records, and add up. */
#include "base/recordlog.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

struct seen {
    const uint8_t *data;
    size_t bytes;
    uint64_t count;
};

static int check_record(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    struct seen *s = ctx;
    char *line = malloc(bytes + 18);
    size_t line_bytes;
    assert(line != NULL && strlen(text) == bytes);
    int r = mr_recordlog_format(text, bytes, line, bytes + 18, &line_bytes);
    assert(r == 0 && offset + line_bytes <= s->bytes);
    assert(memcmp(line, s->data + offset, line_bytes) == 0);
    free(line);
    s->count++;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct seen s = {.data = data, .bytes = bytes};
    struct mr_recordlog_scan scan;
    int fd = memfd_create("recordlog", MFD_CLOEXEC);
    assert(fd >= 0);
    ssize_t n = write(fd, data, bytes);
    assert(n == (ssize_t)bytes);
    int r = mr_recordlog_scan(fd, 0, check_record, &s, &scan);
    close(fd);
    assert(r == 0 && scan.records == s.count && scan.total_bytes == bytes);
    assert(scan.torn_tail == (scan.good_bytes < bytes));
    assert(scan.bad_records == 0 || scan.first_bad < scan.good_bytes);
    return 0;
}
