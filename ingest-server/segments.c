/* SPDX-License-Identifier: Apache-2.0 */
/* Names of event segments, which of them count, and the copy with which an epoch begins. */
#include "segments.h"

#include "base/fs.h"
#include "mend.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void mr_segment_name(const struct mr_segment *s, char ret[MR_SEGMENT_NAME])
{
    if (s->epoch == 0)
        (void)snprintf(ret, MR_SEGMENT_NAME, "%08" PRIu64 ".log", s->first);
    else
        (void)snprintf(ret, MR_SEGMENT_NAME, "%08" PRIu64 ".e%" PRIu32 ".log", s->first, s->epoch);
}

int mr_segment_parse(const char *name, struct mr_segment *ret)
{
    char expected[MR_SEGMENT_NAME];
    struct mr_segment s = {0};
    size_t digits = strspn(name, "0123456789");
    if (digits < 8 || digits > 19)
        return -EINVAL;
    s.first = strtoull(name, NULL, 10);
    if (strncmp(name + digits, ".e", 2) == 0)
        s.epoch = (uint32_t)strtoul(name + digits + 2, NULL, 10);
    mr_segment_name(&s, expected);
    if (s.first == 0 || strcmp(name, expected) != 0)
        return -EINVAL;
    *ret = s;
    return 0;
}

/* ---- listing ---- */

static int in_order(const void *a, const void *b)
{
    const struct mr_segment *x = a, *y = b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return x->epoch < y->epoch ? -1 : x->epoch > y->epoch;
}

static int add(struct mr_segment **list, size_t *count, const struct mr_segment *s)
{
    struct mr_segment *more = realloc(*list, (*count + 1) * sizeof(*more));
    if (more == NULL)
        return -ENOMEM;
    more[(*count)++] = *s;
    *list = more;
    return 0;
}

int mr_segments_list(int events_dir, const struct mr_epochs *epochs, bool void_too,
                     struct mr_segment **ret, size_t *ret_count)
{
    struct mr_segment *list = NULL, s;
    size_t count = 0;
    MR_CLEANUP(mr_fs_list_close) DIR *dir = NULL;
    int r = mr_fs_list(events_dir, &dir);
    const char *name = "";
    while (r == 0 && name != NULL) {
        r = mr_fs_next_name(dir, &name);
        if (r == 0 && name != NULL && mr_segment_parse(name, &s) == 0 &&
            (void_too || mr_epochs_are_good(epochs, s.epoch, s.first)))
            r = add(&list, &count, &s);
    }
    if (r < 0) {
        free(list);
        return r;
    }
    if (count > 0)
        qsort(list, count, sizeof(*list), in_order);
    *ret = list;
    *ret_count = count;
    return 0;
}

/* ---- copying ---- */

int mr_segments_copy_last(int millrace_dir, const struct mr_epochs *epochs, uint32_t epoch,
                          uint64_t *ret_first, struct mr_err *err)
{
    char from[MR_SEGMENT_NAME], to[MR_SEGMENT_NAME];
    struct mr_segment *list = NULL;
    size_t count = 0;
    MR_CLEANUP(mr_fs_close)
    int dir = mr_fs_mkdirs_durable(millrace_dir, MR_SEGMENTS_DIR, 0, (gid_t)-1);
    int r = dir < 0 ? dir : mr_segments_list(dir, epochs, false, &list, &count);
    if (r < 0)
        return mr_err_errno(err, r, MR_SEGMENTS_DIR);
    struct mr_segment last = count == 0 ? (struct mr_segment){.first = 1} : list[count - 1];
    free(list);
    *ret_first = last.first;
    if (count == 0)
        return 0;
    mr_segment_name(&last, from);
    last.epoch = epoch;
    mr_segment_name(&last, to);
    r = mr_mend_copy(dir, from, to, true, err);
    if (r == 0 && (r = mr_fs_sync_dir(dir)) < 0)
        mr_err_errno(err, r, MR_SEGMENTS_DIR);
    return r < 0 ? mr_err_prefix(err, MR_SEGMENTS_DIR) : 0;
}
