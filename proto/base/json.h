/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON: build, read strictly, write compactly. Keys keep the order in which they were put. Texts
 * that are not UTF-8 are taken in with their stray bytes percent-escaped, since JSON has no other
 * bytes.
 *
 * A value is used by one thread at a time. Building aborts when memory for a few bytes is not to be
 * had; parsing, whose size a peer chooses, gives -ENOMEM.
 */
#ifndef MR_BASE_JSON_H
#define MR_BASE_JSON_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct mr_json;

#define MR_JSON_DEPTH_MAX 64 /* nested objects and arrays that the parser accepts */

/* ---- build. Each returns owned. ---- */
struct mr_json *mr_json_object(void);
struct mr_json *mr_json_array(void);
struct mr_json *mr_json_copy(const struct mr_json *value); /* deep */
void mr_json_free(struct mr_json *value);                  /* NULL allowed */
void mr_json_freep(struct mr_json **value);                /* for MR_CLEANUP */

/* Into an object; key is UTF-8 (asserted); one that is there is replaced. A string that
 * is NULL is a null. */
void mr_json_put_string(struct mr_json *object, const char *key, const char *value);
void mr_json_put_int(struct mr_json *object, const char *key, int64_t value);
void mr_json_put_real(struct mr_json *object, const char *key, double value); /* NaN, Inf: null */
void mr_json_put_bool(struct mr_json *object, const char *key, bool value);
void mr_json_put_null(struct mr_json *object, const char *key);
void mr_json_put(struct mr_json *object, const char *key, struct mr_json *value); /* takes value */

/* Behind an array's end. */
void mr_json_add_string(struct mr_json *array, const char *value);
void mr_json_add_int(struct mr_json *array, int64_t value);
void mr_json_add_real(struct mr_json *array, double value);
void mr_json_add(struct mr_json *array, struct mr_json *value); /* takes value */

/* ---- write ---- */

/* One line; reals with as few digits (at most 17) as read back to the same double. Returns owned
 * (free), or NULL without memory. */
char *mr_json_dump(const struct mr_json *value);

/* ---- read ---- */

/* The text is one object or array and nothing behind it; duplicate keys, NUL, other than UTF-8,
 * integers beyond int64 and depth beyond MR_JSON_DEPTH_MAX are errors: -EINVAL with
 * "line:column: why", -ENOMEM. *ret is owned. The text need not end in NUL. */
int mr_json_parse(const char *text, size_t bytes, struct mr_json **ret,
                  struct mr_err *err) MR_MUST_USE;

/* Members of an object; results are borrowed from it. -EINVAL and "key: ..." where the type or
 * range is another. need_: the key must be there. may_: a missing key or a null leaves *ret as it
 * was, so put the default there first. A real may be written as an integer. */
int mr_json_need_string(const struct mr_json *object, const char *key, const char **ret,
                        struct mr_err *err) MR_MUST_USE;
int mr_json_may_string(const struct mr_json *object, const char *key, const char **ret,
                       struct mr_err *err) MR_MUST_USE;
int mr_json_need_int(const struct mr_json *object, const char *key, int64_t min, int64_t max,
                     int64_t *ret, struct mr_err *err) MR_MUST_USE;
int mr_json_may_int(const struct mr_json *object, const char *key, int64_t min, int64_t max,
                    int64_t *ret, struct mr_err *err) MR_MUST_USE;
int mr_json_need_real(const struct mr_json *object, const char *key, double *ret,
                      struct mr_err *err) MR_MUST_USE;
int mr_json_may_real(const struct mr_json *object, const char *key, double *ret,
                     struct mr_err *err) MR_MUST_USE;
int mr_json_need_bool(const struct mr_json *object, const char *key, bool *ret,
                      struct mr_err *err) MR_MUST_USE;
int mr_json_may_bool(const struct mr_json *object, const char *key, bool *ret,
                     struct mr_err *err) MR_MUST_USE;
int mr_json_need_object(const struct mr_json *object, const char *key, const struct mr_json **ret,
                        struct mr_err *err) MR_MUST_USE;
int mr_json_may_object(const struct mr_json *object, const char *key, const struct mr_json **ret,
                       struct mr_err *err) MR_MUST_USE;
int mr_json_need_array(const struct mr_json *object, const char *key, const struct mr_json **ret,
                       struct mr_err *err) MR_MUST_USE;
int mr_json_may_array(const struct mr_json *object, const char *key, const struct mr_json **ret,
                      struct mr_err *err) MR_MUST_USE;

/* The member whatever its type, or NULL. Borrowed. */
const struct mr_json *mr_json_get(const struct mr_json *object, const char *key);

enum mr_json_type {
    MR_JSON_OBJECT,
    MR_JSON_ARRAY,
    MR_JSON_STRING,
    MR_JSON_INT,
    MR_JSON_REAL,
    MR_JSON_BOOL,
    MR_JSON_NULL
};

enum mr_json_type mr_json_type(const struct mr_json *value);
size_t mr_json_count(const struct mr_json *value); /* members of an array or object; else 0 */
/* Borrowed; NULL behind the end. */
const struct mr_json *mr_json_at(const struct mr_json *array, size_t index);
/* Borrowed; NULL where it is no string. */
const char *mr_json_string_value(const struct mr_json *value);
int64_t mr_json_int_value(const struct mr_json *value); /* 0 where it is no integer */

/* Visits an object's members in order; a non-zero return stops and is returned. */
typedef int (*mr_json_visit)(void *ctx, const char *key, const struct mr_json *value);
int mr_json_each(const struct mr_json *object, mr_json_visit visit, void *ctx);

const char *mr_json_library(void); /* "jansson 2.14" */

#endif
