/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An append-only file of records, each one line of text: 16 hex digits of CRC-64/XZ over the text,
 * a space, the text, '\n'. A person can read it, a program can check it. Used for the event log,
 * the catalogue and the movies' placement journals.
 *
 * Several threads may append through one open recordlog: an append is one write(2) with O_APPEND.
 *
 * A power cut may keep the later one of two records that were not synced yet and lose the earlier
 * one: a file system writes pages, and a device sectors, in any order. Where that must be told from
 * damage, a record behind such says where they begin: '+', that offset in decimal digits and a
 * space follow on the checksum (then its complement, over all behind the '+') in place of the
 * space.
 */
#ifndef MR_BASE_RECORDLOG_H
#define MR_BASE_RECORDLOG_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define MR_RECORD_TEXT_MAX (1024u * 1024u) /* bytes of one record's text */
#define MR_RECORD_AROUND   40u             /* of a line beside its text, at most; then a NUL */

/* Called per good record; text is NUL-terminated, borrowed for the call. offset: of the line's
 * start. A non-zero return stops the scan and is returned from it. */
typedef int (*mr_recordlog_visit)(void *ctx, const char *text, size_t bytes, uint64_t offset);

struct mr_recordlog_scan {
    uint64_t good_bytes;  /* end of the last good record */
    uint64_t total_bytes; /* file size seen */
    uint64_t records;     /* good records */
    uint64_t bad_records; /* damaged lines with a good record after them */
    uint64_t first_bad; /* offset of the first damaged line, when bad_records > 0 or a torn tail */
    bool torn_tail;     /* bytes after the last good record */
    uint64_t synced;    /* what is before this was synced, as the good records say */
};

/* Reads fd from offset `from` (a line's start). Damaged lines are counted, never visited; what they
 * mean (cut the tail, stop, skip) is the caller's. -EIO and other read errors; visit's result. */
int mr_recordlog_scan(int fd, uint64_t from, mr_recordlog_visit visit, void *ctx,
                      struct mr_recordlog_scan *ret) MR_MUST_USE;

/* The same from the file's start, but that nothing behind the first damaged line is visited. */
int mr_recordlog_scan_front(int fd, mr_recordlog_visit visit, void *ctx,
                            struct mr_recordlog_scan *ret) MR_MUST_USE;

/* Of a scan from the file's start: true where something is damaged that was whole and may have been
 * acknowledged. False where nothing is, or where all that is damaged is of appends that were cut
 * short before they were synced: then what is behind first_bad was never acknowledged. */
bool mr_recordlog_is_damaged(int fd, const struct mr_recordlog_scan *scan);

/* Of a scan with a torn_tail: true where what is behind the last good record was whole once, so
 * that it is no append that was cut short: it ends as a record does, and nothing of it is missing
 * (a power cut leaves zeros). A record that was acknowledged may then be damaged. False where it
 * cannot be read. */
bool mr_recordlog_tail_is_damage(int fd, const struct mr_recordlog_scan *scan);

/* Formats one record line from text (no '\n' inside: -EINVAL; too long: -EMSGSIZE; no room:
 * -ENOSPC) into ret (capacity size); *ret_bytes its length. Several may be put behind each other
 * for one append. */
int mr_recordlog_format(const char *text, size_t bytes, char *ret, size_t size,
                        size_t *ret_bytes) MR_MUST_USE;

/* The same for a record that is appended behind others which are not synced yet and begin at
 * `synced`. */
int mr_recordlog_format_behind(uint64_t synced, const char *text, size_t bytes, char *ret,
                               size_t size, size_t *ret_bytes) MR_MUST_USE;

/* Appends already formatted lines with one write to an O_APPEND fd. A short write is an error
 * (-ENOSPC, or -EIO): the log must then not be appended to again. Not synced. */
int mr_recordlog_append(int fd, const char *lines, size_t bytes) MR_MUST_USE;

/* The same where nobody else appends to fd's file: what was written of lines that found no room is
 * cut off again. See mr_recordlog_is_whole for what its error leaves. */
int mr_recordlog_append_whole(int fd, const char *lines, size_t bytes) MR_MUST_USE;

/* After an error of mr_recordlog_append_whole: true where the file is as it was, for there was no
 * room or it is read-only; the same append may succeed later. Never said of a failed fsync. */
bool mr_recordlog_is_whole(int code);

#endif
