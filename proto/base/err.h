/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors. Functions return 0 or a negative errno. Where an operator has to mend something, the
 * lowest layer that knows the noun (the file, key or peer) also fills a struct mr_err, once;
 * callers above may put their own noun in front with mr_err_prefix, and only a stage or main logs
 * it.
 */
#ifndef MR_BASE_ERR_H
#define MR_BASE_ERR_H

#include <stddef.h>

#define MR_MUST_USE          __attribute__((warn_unused_result))
#define MR_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define MR_CLEANUP(fn)       __attribute__((cleanup(fn)))

struct mr_err {
    int code;       /* negative errno; 0 while unset */
    char text[600]; /* one line, no newline, NUL-terminated; long texts are cut with "..." */
};

/* Fills err (may be NULL) and returns code, so that a caller can write: return mr_err_set(...).
 * code: negative errno. Control characters in the text become '?'. */
int mr_err_set(struct mr_err *err, int code, const char *fmt, ...) MR_PRINTF(3, 4);

/* As mr_err_set, with ": <strerror(-code)>" after the text. */
int mr_err_errno(struct mr_err *err, int code, const char *fmt, ...) MR_PRINTF(3, 4);

/* Puts "<text>: " in front of an error already set; no effect on an unset one. Returns
 * err->code. */
int mr_err_prefix(struct mr_err *err, const char *fmt, ...) MR_PRINTF(2, 3);

/* strerror without its shared buffer; code of either sign. Borrowed, static or thread-local. */
const char *mr_err_name(int code);

#endif
