/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text: a bounded builder, sizes and times as people write them, near misses, globs, UTF-8. Nothing
 * here allocates; every function may be called from any thread. Numbers are read and written the
 * same in every locale.
 */
#ifndef MR_BASE_TEXT_H
#define MR_BASE_TEXT_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* ---- builder ---- */

/* Always NUL-terminated; what does not fit is cut and sets `overflowed`, which sticks. */

struct mr_text {
    char *data;          /* borrowed */
    size_t size, length; /* bytes; length without the NUL */
    bool overflowed;
};

struct mr_text mr_text_init(char *buffer, size_t size); /* size > 0 */
void mr_text_append(struct mr_text *t, const char *s);
void mr_text_append_bytes(struct mr_text *t, const char *data, size_t bytes); /* no NUL inside */
void mr_text_append_char(struct mr_text *t, char c);
void mr_text_appendf(struct mr_text *t, const char *fmt, ...) MR_PRINTF(2, 3);

/* ---- sizes, times, percentages ---- */

/* A decimal number ("1.5" too), blanks or none, a unit. -EINVAL where the text is something else or
 * the value is no whole number of bytes or ns; -ERANGE where it does not fit. */

/* none or B, KiB, MiB, GiB, TiB -> bytes */
int mr_text_parse_size(const char *s, uint64_t *ret_bytes) MR_MUST_USE;
/* ns, us, ms, s, min, h, d -> ns, never negative; "0" needs no unit */
int mr_text_parse_duration(const char *s, int64_t *ret_ns) MR_MUST_USE;
/* "2%", "0.25%" -> hundredths of a percent (200, 25), at most 10000 */
int mr_text_parse_percent(const char *s, uint32_t *ret_hundredths) MR_MUST_USE;

#define MR_QUANTITY_TEXT 32 /* bytes, for each of the five below; they return ret */

/* Exact, in the largest unit that gives a whole number; the parse functions read it back. */
const char *mr_text_size(uint64_t bytes, char *ret);         /* "512MiB" */
const char *mr_text_duration(int64_t ns, char *ret);         /* "10min"; ns >= 0 */
const char *mr_text_percent(uint32_t hundredths, char *ret); /* "2%", "0.25%" */
/* Rounded, for people. */
const char *mr_text_size_about(uint64_t bytes, char *ret); /* "1.2 GiB" */
/* "85 ms", "1.2 s", "3 min 05 s", "2 d 04 h" */
const char *mr_text_duration_about(int64_t ns, char *ret);

/* ---- names ---- */

/* Nothing but letters and digits of ASCII, '.', '_' and '-'; so also where s is empty. */
bool mr_text_is_plain(const char *s);

/* The last component of a path without a trailing slash; points into it. */
const char *mr_text_last(const char *path);

/* The one of names (count of them) that word is most likely a slip of, or NULL where none is near;
 * wrong case counts as a quarter of a slip. Borrowed from names. */
const char *mr_text_nearest(const char *word, const char *const *names, size_t count);

/* The whole of s matches pattern:
 * - '*' any run without '/', '**' any run, '?' one byte but '/';
 * - '[a-c]' and '[!a-c]' one byte of a set, never '/'; an unclosed '[' is literal;
 * - '\' takes the next byte literally; a dot in front is nothing special.
 * Time grows at most as bytes of pattern x bytes of s squared. */
bool mr_text_glob(const char *pattern, const char *s);

/* Globs on a relative path such as "grid7/movie_1.mrc", as `include` and `exclude` mean them:
 * - without '/', the pattern may match any one component: "*.tmp" matches "a.tmp" and
 *   "grid7/a.tmp", ".*" matches ".cache/a" too: what lies in a folder that matches goes with it;
 * - with '/', it begins at the top and matches the path or a folder that the path lies in: "bin/?*"
 *   matches "bin/S-1/a". A '/' in front does nothing but that. */
bool mr_text_glob_path(const char *pattern, const char *path);

/* ---- UTF-8 ---- */

bool mr_text_is_utf8(const char *s, size_t bytes);

/* Appends s, each byte that is part of no UTF-8 character as %XX. '%' itself stays, so the way back
 * is not unique: two names may meet and are then told apart like any two files of one name. */
void mr_text_append_escaped(struct mr_text *t, const char *s);

#endif
