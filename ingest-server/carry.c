/* SPDX-License-Identifier: Apache-2.0 */
/* Copying slabs from part to part. Decides neither which nor when. */
#include "carry.h"

#include "base/crc64.h"
#include "base/failpoint.h"
#include "base/recordlog.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINES_BYTES (1u << 20)

struct mr_carry {
    struct mr_movie *to;
    int fd;          /* of the old part */
    uint8_t *buffer; /* one slab with its padding, aligned */
};

int mr_carry_open(struct mr_movie *to, uint32_t from, struct mr_carry **ret)
{
    char name[MR_NAMING_PART];
    struct mr_carry *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return -ENOMEM;
    *c = (struct mr_carry){.to = to, .fd = -1};
    c->buffer = aligned_alloc(MR_MOVIE_SLACK, MR_MOVIE_BUFFER_BYTES);
    mr_dossier_name(&to->id, from, "part", name);
    int r = c->buffer == NULL ? -ENOMEM : 0;
    if (r == 0 && (c->fd = openat(to->part_dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) < 0)
        r = -errno;
    if (r < 0) {
        mr_carry_close(c);
        return r;
    }
    *ret = c;
    return 0;
}

void mr_carry_close(struct mr_carry *c)
{
    if (c == NULL)
        return;
    mr_fs_close(&c->fd);
    free(c->buffer);
    free(c);
}

int mr_carry_slab(struct mr_carry *c, const struct mr_placement *p)
{
    size_t padded = mr_movie_padded(c->to, p->stored_bytes);
    assert(padded <= MR_MOVIE_BUFFER_BYTES);
    if (mr_fs_pread_full(c->fd, c->buffer, p->stored_bytes, p->offset) < 0 ||
        mr_crc64(0, c->buffer, p->stored_bytes) != p->crc_stored)
        return -EILSEQ;
    memset(c->buffer + p->stored_bytes, 0, padded - p->stored_bytes);
    return mr_fs_pwrite_full(c->to->part_fd, c->buffer, padded, p->offset);
}

/* ---- what was carried is made durable ---- */

static int append_lines(int fd, const struct mr_dossier *d, char *lines)
{
    size_t at = 0;
    int r = 0;
    for (uint64_t i = 0; r == 0 && i < d->slab_count; i++) {
        char text[MR_PLACEMENT_TEXT];
        size_t bytes, line = 0;
        if (d->slabs[i].raw_bytes == 0)
            continue;
        bytes = mr_placement_format(&d->slabs[i], text);
        r = mr_recordlog_format(text, bytes, lines + at, LINES_BYTES - at, &line);
        at += line;
        if (r == 0 && at + MR_PLACEMENT_TEXT + MR_RECORD_AROUND > LINES_BYTES) {
            r = mr_recordlog_append(fd, lines, at);
            at = 0;
        }
    }
    if (r == 0 && at > 0)
        r = mr_recordlog_append(fd, lines, at);
    return r;
}

/* The old journal goes first: without it nobody looks for the old part. */
static int remove_old(const struct mr_store *store, uint32_t from, const struct mr_movie *to)
{
    char name[MR_NAMING_PART];
    mr_dossier_name(&to->id, from, "journal", name);
    if (unlinkat(store->journal_fd, name, 0) < 0 && errno != ENOENT)
        return -errno;
    int r = mr_fs_sync_dir(store->journal_fd);
    mr_failpoint("carried");
    mr_dossier_name(&to->id, from, "part", name);
    if (r == 0 && unlinkat(to->part_dir_fd, name, 0) < 0 && errno != ENOENT)
        r = -errno;
    return r;
}

int mr_carry_finish(const struct mr_store *store, uint32_t from, struct mr_movie *to,
                    const struct mr_dossier *d)
{
    char *lines = malloc(LINES_BYTES);
    int r = lines == NULL ? -ENOMEM : fdatasync(to->part_fd) < 0 ? -errno : 0;
    if (r == 0)
        r = append_lines(to->journal_fd, d, lines);
    free(lines);
    if (r == 0 && fdatasync(to->journal_fd) < 0)
        r = -errno;
    return r == 0 ? remove_old(store, from, to) : r;
}
