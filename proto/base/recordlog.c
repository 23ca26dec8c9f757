/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checksummed lines. Reads and appends; does not create, cut, sync or repair a file: what damage
 * means differs between the event log, the catalogue and a movie's journal, and is theirs to say.
 */
#include "base/recordlog.h"

#include "base/crc64.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CRC_DIGITS = 16, HEAD_BYTES = CRC_DIGITS + 1, BEHIND = '+' };
#define MARK_MAX       21 /* of an offset and a space */
#define LINE_MAX_BYTES (HEAD_BYTES + MARK_MAX + (size_t)MR_RECORD_TEXT_MAX + 1)

static const char digits[] = "0123456789ABCDEF";

/* ---- writing ---- */

static void put_head(char *out, uint64_t crc, char separator)
{
    for (int i = 0; i < CRC_DIGITS; i++)
        out[i] = digits[crc >> (4 * (CRC_DIGITS - 1 - i)) & 0xf];
    out[CRC_DIGITS] = separator;
}

static int format(const char *mark, const char *text, size_t bytes, char *ret, size_t size,
                  size_t *ret_bytes)
{
    size_t mark_bytes = strlen(mark), whole = mark_bytes + bytes;
    if (bytes > MR_RECORD_TEXT_MAX)
        return -EMSGSIZE;
    if (bytes > 0 && (memchr(text, '\n', bytes) != NULL || memchr(text, '\0', bytes) != NULL))
        return -EINVAL;
    if (size < HEAD_BYTES + whole + 1)
        return -ENOSPC;
    memcpy(ret + HEAD_BYTES, mark, mark_bytes);
    if (bytes > 0)
        memcpy(ret + HEAD_BYTES + mark_bytes, text, bytes);
    uint64_t crc = mr_crc64(0, ret + HEAD_BYTES, whole);
    put_head(ret, mark_bytes > 0 ? ~crc : crc, mark_bytes > 0 ? BEHIND : ' ');
    ret[HEAD_BYTES + whole] = '\n';
    *ret_bytes = HEAD_BYTES + whole + 1;
    return 0;
}

int mr_recordlog_format(const char *text, size_t bytes, char *ret, size_t size, size_t *ret_bytes)
{
    return format("", text, bytes, ret, size, ret_bytes);
}

int mr_recordlog_format_behind(uint64_t synced, const char *text, size_t bytes, char *ret,
                               size_t size, size_t *ret_bytes)
{
    char mark[MARK_MAX + 1];
    snprintf(mark, sizeof(mark), "%" PRIu64 " ", synced);
    return format(mark, text, bytes, ret, size, ret_bytes);
}

int mr_recordlog_append(int fd, const char *lines, size_t bytes)
{
    ssize_t n;
    do
        n = write(fd, lines, bytes);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if ((size_t)n == bytes)
        return 0;
    /* Linux cuts a write to a file short where space or a size limit ends. The rest must not
     * follow: another thread's line may already be behind the piece. */
    return n == 0 ? -EIO : -ENOSPC;
}

bool mr_recordlog_is_whole(int code)
{
    return code == -ENOSPC || code == -EDQUOT || code == -EROFS;
}

int mr_recordlog_append_whole(int fd, const char *lines, size_t bytes)
{
    struct stat before;
    if (fstat(fd, &before) < 0)
        return -EIO;
    int r = mr_recordlog_append(fd, lines, bytes);
    if (!mr_recordlog_is_whole(r) || r == -EROFS) /* read-only: nothing was written, and no cut */
        return r;
    return ftruncate(fd, before.st_size) == 0 ? r : -EIO;
}

/* ---- reading ---- */

struct scanner {
    mr_recordlog_visit visit;
    void *ctx;
    struct mr_recordlog_scan scan;
    uint64_t damaged;       /* damaged lines since the last good record */
    uint64_t first_damaged; /* offset of the first of them */
    char *buffer;           /* LINE_MAX_BYTES */
    size_t used;            /* bytes in buffer */
    uint64_t offset;        /* of buffer[0] in the file */
    bool skipping;          /* inside a line longer than any record */
    bool front;             /* no visits behind the first damaged line */
};

static int hex_value(char c)
{
    const char *at = c == '\0' ? NULL : strchr(digits, c);
    return at == NULL ? -1 : (int)(at - digits);
}

/* line: without its newline */
static bool line_is_good(const char *line, size_t bytes)
{
    uint64_t crc = 0;
    if (bytes < HEAD_BYTES || (line[CRC_DIGITS] != ' ' && line[CRC_DIGITS] != BEHIND))
        return false;
    for (int i = 0; i < CRC_DIGITS; i++) {
        int v = hex_value(line[i]);
        if (v < 0)
            return false;
        crc = crc << 4 | (uint64_t)v;
    }
    const char *text = line + HEAD_BYTES;
    size_t text_bytes = bytes - HEAD_BYTES;
    uint64_t wanted = mr_crc64(0, text, text_bytes);
    return crc == (line[CRC_DIGITS] == BEHIND ? ~wanted : wanted) &&
           memchr(text, '\0', text_bytes) == NULL;
}

/* Of a good line, at offset: where its text begins, and what is before *ret_synced was synced.
 * NULL: its mark is none. line ends in a NUL. */
static const char *text_of(const char *line, uint64_t offset, uint64_t *ret_synced)
{
    const char *text = line + HEAD_BYTES;
    *ret_synced = offset;
    if (line[CRC_DIGITS] != BEHIND)
        return text;
    size_t count = strspn(text, "0123456789");
    if (count == 0 || count + 1 > MARK_MAX || text[count] != ' ')
        return NULL;
    *ret_synced = strtoull(text, NULL, 10);
    return *ret_synced < offset ? text + count + 1 : NULL;
}

static void note_damaged(struct scanner *s, uint64_t offset)
{
    if (s->damaged++ == 0)
        s->first_damaged = offset;
}

static void note_good(struct scanner *s, uint64_t end)
{
    if (s->damaged > 0 && s->scan.bad_records == 0)
        s->scan.first_bad = s->first_damaged;
    s->scan.bad_records += s->damaged;
    s->damaged = 0;
    s->scan.records++;
    s->scan.good_bytes = end;
}

static int take_line(struct scanner *s, char *line, size_t bytes)
{
    uint64_t offset = s->offset + (uint64_t)(line - s->buffer);
    if (s->skipping) {
        s->skipping = false;
        return 0;
    }
    uint64_t synced = 0;
    line[bytes] = '\0';
    const char *text = line_is_good(line, bytes) ? text_of(line, offset, &synced) : NULL;
    if (text == NULL) {
        note_damaged(s, offset);
        return 0;
    }
    note_good(s, offset + bytes + 1);
    if (synced > s->scan.synced)
        s->scan.synced = synced;
    if (s->visit == NULL || (s->front && s->scan.bad_records > 0))
        return 0;
    return s->visit(s->ctx, text, (size_t)(line + bytes - text), offset);
}

static void drop_front(struct scanner *s, size_t bytes)
{
    memmove(s->buffer, s->buffer + bytes, s->used - bytes);
    s->used -= bytes;
    s->offset += bytes;
}

static int take_lines(struct scanner *s)
{
    size_t at = 0;
    for (;;) {
        char *line = s->buffer + at;
        char *end = s->used > at ? memchr(line, '\n', s->used - at) : NULL;
        if (end == NULL)
            break;
        size_t bytes = (size_t)(end - line);
        int r = take_line(s, line, bytes);
        if (r != 0)
            return r;
        at += bytes + 1;
    }
    drop_front(s, at);
    if (s->used < LINE_MAX_BYTES)
        return 0;
    if (!s->skipping)
        note_damaged(s, s->offset);
    s->skipping = true;
    drop_front(s, s->used);
    return 0;
}

static int scan_file(struct scanner *s, int fd)
{
    for (;;) {
        ssize_t n =
            pread(fd, s->buffer + s->used, LINE_MAX_BYTES - s->used, (off_t)(s->offset + s->used));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
        s->used += (size_t)n;
        int r = take_lines(s);
        if (r != 0)
            return r;
    }
}

static void finish(struct scanner *s)
{
    if (s->used > 0 && !s->skipping)
        note_damaged(s, s->offset);
    s->scan.total_bytes = s->offset + s->used;
    s->scan.torn_tail = s->damaged > 0;
    if (s->scan.torn_tail && s->scan.bad_records == 0)
        s->scan.first_bad = s->first_damaged;
}

static int scan_with(struct scanner *s, int fd, struct mr_recordlog_scan *ret)
{
    s->buffer = malloc(LINE_MAX_BYTES);
    if (s->buffer == NULL)
        return -ENOMEM;
    int r = scan_file(s, fd);
    free(s->buffer);
    if (r != 0)
        return r;
    finish(s);
    *ret = s->scan;
    return 0;
}

int mr_recordlog_scan(int fd, uint64_t from, mr_recordlog_visit visit, void *ctx,
                      struct mr_recordlog_scan *ret)
{
    struct scanner s = {.visit = visit, .ctx = ctx, .offset = from};
    s.scan.good_bytes = from;
    return scan_with(&s, fd, ret);
}

int mr_recordlog_scan_front(int fd, mr_recordlog_visit visit, void *ctx,
                            struct mr_recordlog_scan *ret)
{
    struct scanner s = {.visit = visit, .ctx = ctx, .front = true};
    return scan_with(&s, fd, ret);
}

/* ---- the tail ---- */

#define TAIL_MAX (8 * LINE_MAX_BYTES) /* more is not appended at once */

static bool has_zeros(const char *data, size_t bytes)
{
    for (size_t i = 1; i < bytes; i++)
        if (data[i - 1] == '\0' && data[i] == '\0') /* a flipped bit makes one, not two */
            return true;
    return false;
}

/* A sector that did not come leaves zeros; no flipped bit makes one of a digit or a newline. */
static bool was_whole(const char *tail, size_t bytes)
{
    if (has_zeros(tail, bytes) || tail[0] == '\0' || tail[bytes - 1] == '\0')
        return false;
    if (tail[bytes - 1] == '\n')
        return true;
    const char *before = memrchr(tail, '\n', bytes);
    const char *line = before == NULL ? tail : before + 1;
    return line_is_good(line, bytes - 1 - (size_t)(line - tail)); /* only its end is another one */
}

static bool read_tail(int fd, char *ret, size_t bytes, uint64_t offset)
{
    size_t at = 0;
    while (at < bytes) {
        ssize_t n = pread(fd, ret + at, bytes - at, (off_t)(offset + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    return true;
}

static bool is_damage(int fd, const struct mr_recordlog_scan *scan, uint64_t from)
{
    size_t bytes = (size_t)(scan->total_bytes - from);
    if (bytes == 0 || bytes > TAIL_MAX)
        return bytes > 0;
    char *tail = malloc(bytes);
    bool damage = tail != NULL && read_tail(fd, tail, bytes, from) && was_whole(tail, bytes);
    free(tail);
    return damage;
}

bool mr_recordlog_tail_is_damage(int fd, const struct mr_recordlog_scan *scan)
{
    return is_damage(fd, scan, scan->good_bytes);
}

bool mr_recordlog_is_damaged(int fd, const struct mr_recordlog_scan *scan)
{
    if (scan->bad_records == 0 && !scan->torn_tail)
        return false;
    /* what is behind it was appended after a sync of it; else its group may have come torn */
    return scan->first_bad < scan->synced || is_damage(fd, scan, scan->first_bad);
}
