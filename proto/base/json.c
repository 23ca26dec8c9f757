/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON over jansson, whose values these are under another name; no jansson type goes further than
 * this file. Writing is our own, because jansson prints every real with one fixed number of digits.
 * Does not stream: a document is read and written whole.
 */
#include "base/json.h"

#include "base/text.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *inside(const struct mr_json *value)
{
    /* jansson counts references in the value itself, so const ends here */
    return (json_t *)(uintptr_t)value;
}

static struct mr_json *outside(json_t *value)
{
    return (struct mr_json *)value;
}

/* ---- build ---- */

static json_t *made(json_t *value)
{
    assert(value != NULL); /* out of memory */
    return value;
}

struct mr_json *mr_json_object(void)
{
    return outside(made(json_object()));
}

struct mr_json *mr_json_array(void)
{
    return outside(made(json_array()));
}

struct mr_json *mr_json_copy(const struct mr_json *value)
{
    return outside(made(json_deep_copy(inside(value))));
}

void mr_json_free(struct mr_json *value)
{
    json_decref(inside(value));
}

void mr_json_freep(struct mr_json **value)
{
    mr_json_free(*value);
    *value = NULL;
}

static json_t *new_string(const char *s)
{
    if (s == NULL)
        return json_null();
    size_t bytes = strlen(s);
    if (mr_text_is_utf8(s, bytes))
        return made(json_stringn_nocheck(s, bytes));
    size_t size = 3 * bytes + 1;
    char *buffer = malloc(size);
    assert(buffer != NULL);
    struct mr_text t = mr_text_init(buffer, size);
    mr_text_append_escaped(&t, s);
    json_t *value = made(json_stringn_nocheck(t.data, t.length));
    free(buffer);
    return value;
}

static json_t *new_real(double v)
{
    return isfinite(v) ? made(json_real(v)) : json_null();
}

static void put(struct mr_json *object, const char *key, json_t *value)
{
    int r = json_object_set_new(inside(object), key, value);
    assert(r == 0); /* not an object, a key that is not UTF-8, a circle, no memory */
    (void)r;
}

void mr_json_put_string(struct mr_json *object, const char *key, const char *value)
{
    put(object, key, new_string(value));
}

void mr_json_put_int(struct mr_json *object, const char *key, int64_t value)
{
    put(object, key, made(json_integer(value)));
}

void mr_json_put_real(struct mr_json *object, const char *key, double value)
{
    put(object, key, new_real(value));
}

void mr_json_put_bool(struct mr_json *object, const char *key, bool value)
{
    put(object, key, json_boolean(value));
}

void mr_json_put_null(struct mr_json *object, const char *key)
{
    put(object, key, json_null());
}

void mr_json_put(struct mr_json *object, const char *key, struct mr_json *value)
{
    put(object, key, inside(value));
}

void mr_json_add(struct mr_json *array, struct mr_json *value)
{
    int r = json_array_append_new(inside(array), inside(value));
    assert(r == 0);
    (void)r;
}

void mr_json_add_string(struct mr_json *array, const char *value)
{
    mr_json_add(array, outside(new_string(value)));
}

void mr_json_add_int(struct mr_json *array, int64_t value)
{
    mr_json_add(array, outside(made(json_integer(value))));
}

void mr_json_add_real(struct mr_json *array, double value)
{
    mr_json_add(array, outside(new_real(value)));
}

/* ---- write ---- */

static void write_value(FILE *out, const json_t *value);

static void write_string(FILE *out, const char *s, size_t bytes)
{
    static const char names[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    fputc('"', out);
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)s[i];
        const char *name = c == '\0' ? NULL : strchr(names, c);
        if (name != NULL)
            fprintf(out, "\\%c", letters[name - names]);
        else if (c < 0x20)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

/* A ".0" keeps a whole real a real when it is read again. */
static void write_real(FILE *out, double v)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    fputs(text, out);
    if (strpbrk(text, ".e") == NULL)
        fputs(".0", out);
}

static void write_object(FILE *out, const json_t *object)
{
    const char *separator = "{";
    const char *key;
    json_t *value = NULL;
    json_object_foreach(inside((const struct mr_json *)object), key, value)
    {
        fputs(separator, out);
        separator = ",";
        write_string(out, key, strlen(key));
        fputc(':', out);
        write_value(out, value);
    }
    fputs(*separator == '{' ? "{}" : "}", out);
}

static void write_array(FILE *out, const json_t *array)
{
    fputc('[', out);
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (i > 0)
            fputc(',', out);
        write_value(out, json_array_get(array, i));
    }
    fputc(']', out);
}

static void write_value(FILE *out, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        write_object(out, value);
        break;
    case JSON_ARRAY:
        write_array(out, value);
        break;
    case JSON_STRING:
        write_string(out, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        write_real(out, json_real_value(value));
        break;
    case JSON_TRUE:
        fputs("true", out);
        break;
    case JSON_FALSE:
        fputs("false", out);
        break;
    case JSON_NULL:
        fputs("null", out);
        break;
    }
}

char *mr_json_dump(const struct mr_json *value)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        return NULL;
    write_value(out, inside(value));
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}

/* ---- read ---- */

/* jansson's own limit is 2048 levels; ours holds for those who walk the value, too. Where it is
 * passed: a position in text; NULL: nowhere. */
static const char *too_deep(const char *text, size_t bytes)
{
    size_t depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '['))
            depth++;
        else if (!quoted && (c == '}' || c == ']') && depth > 0)
            depth--;
        if (depth > MR_JSON_DEPTH_MAX)
            return text + i;
    }
    return NULL;
}

static int refuse_depth(const char *text, const char *at, struct mr_err *err)
{
    int line = 1, column = 1;
    for (; text < at; text++) {
        column = *text == '\n' ? 1 : column + 1;
        line += *text == '\n';
    }
    return mr_err_set(err, -EINVAL, "%d:%d: nested deeper than %d levels", line, column,
                      MR_JSON_DEPTH_MAX);
}

int mr_json_parse(const char *text, size_t bytes, struct mr_json **ret, struct mr_err *err)
{
    json_error_t e;
    const char *deep = too_deep(text, bytes);
    if (deep != NULL)
        return refuse_depth(text, deep, err);
    json_t *value = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &e);
    if (value == NULL) {
        int code = json_error_code(&e) == json_error_out_of_memory ? -ENOMEM : -EINVAL;
        return mr_err_set(err, code, "%d:%d: %s", e.line, e.column, e.text);
    }
    *ret = outside(value);
    return 0;
}

static int wrong(struct mr_err *err, const char *key, const char *wanted)
{
    return mr_err_set(err, -EINVAL, "%s: must be %s", key, wanted);
}

/* 1 and the member; 0 where it is missing and may be; -EINVAL. */
static int find(const struct mr_json *object, const char *key, bool needed, json_t **ret,
                struct mr_err *err)
{
    json_t *value = json_object_get(inside(object), key);
    if (value == NULL && needed)
        return mr_err_set(err, -EINVAL, "%s: missing", key);
    if (value == NULL || (json_is_null(value) && !needed))
        return 0;
    *ret = value;
    return 1;
}

static int get_string(const struct mr_json *object, const char *key, bool needed, const char **ret,
                      struct mr_err *err)
{
    json_t *value = NULL;
    int r = find(object, key, needed, &value, err);
    if (r <= 0)
        return r;
    if (!json_is_string(value))
        return wrong(err, key, "a string");
    *ret = json_string_value(value);
    return 0;
}

int mr_json_need_string(const struct mr_json *object, const char *key, const char **ret,
                        struct mr_err *err)
{
    return get_string(object, key, true, ret, err);
}

int mr_json_may_string(const struct mr_json *object, const char *key, const char **ret,
                       struct mr_err *err)
{
    return get_string(object, key, false, ret, err);
}

struct range {
    int64_t min, max;
};

static int get_int(const struct mr_json *object, const char *key, bool needed, struct range range,
                   int64_t *ret, struct mr_err *err)
{
    json_t *value = NULL;
    int r = find(object, key, needed, &value, err);
    if (r <= 0)
        return r;
    if (!json_is_integer(value))
        return wrong(err, key, "an integer");
    int64_t v = json_integer_value(value);
    if (v < range.min || v > range.max)
        return mr_err_set(err, -EINVAL, "%s: %lld is not from %lld to %lld", key, (long long)v,
                          (long long)range.min, (long long)range.max);
    *ret = v;
    return 0;
}

int mr_json_need_int(const struct mr_json *object, const char *key, int64_t min, int64_t max,
                     int64_t *ret, struct mr_err *err)
{
    return get_int(object, key, true, (struct range){min, max}, ret, err);
}

int mr_json_may_int(const struct mr_json *object, const char *key, int64_t min, int64_t max,
                    int64_t *ret, struct mr_err *err)
{
    return get_int(object, key, false, (struct range){min, max}, ret, err);
}

static int get_real(const struct mr_json *object, const char *key, bool needed, double *ret,
                    struct mr_err *err)
{
    json_t *value = NULL;
    int r = find(object, key, needed, &value, err);
    if (r <= 0)
        return r;
    if (!json_is_number(value))
        return wrong(err, key, "a number");
    *ret = json_number_value(value);
    return 0;
}

int mr_json_need_real(const struct mr_json *object, const char *key, double *ret,
                      struct mr_err *err)
{
    return get_real(object, key, true, ret, err);
}

int mr_json_may_real(const struct mr_json *object, const char *key, double *ret, struct mr_err *err)
{
    return get_real(object, key, false, ret, err);
}

static int get_bool(const struct mr_json *object, const char *key, bool needed, bool *ret,
                    struct mr_err *err)
{
    json_t *value = NULL;
    int r = find(object, key, needed, &value, err);
    if (r <= 0)
        return r;
    if (!json_is_boolean(value))
        return wrong(err, key, "true or false");
    *ret = json_is_true(value);
    return 0;
}

int mr_json_need_bool(const struct mr_json *object, const char *key, bool *ret, struct mr_err *err)
{
    return get_bool(object, key, true, ret, err);
}

int mr_json_may_bool(const struct mr_json *object, const char *key, bool *ret, struct mr_err *err)
{
    return get_bool(object, key, false, ret, err);
}

static int get_nested(const struct mr_json *object, const char *key, bool needed, json_type type,
                      const struct mr_json **ret, struct mr_err *err)
{
    json_t *value = NULL;
    int r = find(object, key, needed, &value, err);
    if (r <= 0)
        return r;
    if (json_typeof(value) != type)
        return wrong(err, key, type == JSON_OBJECT ? "an object" : "an array");
    *ret = outside(value);
    return 0;
}

int mr_json_need_object(const struct mr_json *object, const char *key, const struct mr_json **ret,
                        struct mr_err *err)
{
    return get_nested(object, key, true, JSON_OBJECT, ret, err);
}

int mr_json_may_object(const struct mr_json *object, const char *key, const struct mr_json **ret,
                       struct mr_err *err)
{
    return get_nested(object, key, false, JSON_OBJECT, ret, err);
}

int mr_json_need_array(const struct mr_json *object, const char *key, const struct mr_json **ret,
                       struct mr_err *err)
{
    return get_nested(object, key, true, JSON_ARRAY, ret, err);
}

int mr_json_may_array(const struct mr_json *object, const char *key, const struct mr_json **ret,
                      struct mr_err *err)
{
    return get_nested(object, key, false, JSON_ARRAY, ret, err);
}

const struct mr_json *mr_json_get(const struct mr_json *object, const char *key)
{
    return outside(json_object_get(inside(object), key));
}

enum mr_json_type mr_json_type(const struct mr_json *value)
{
    switch (json_typeof(inside(value))) {
    case JSON_OBJECT:
        return MR_JSON_OBJECT;
    case JSON_ARRAY:
        return MR_JSON_ARRAY;
    case JSON_STRING:
        return MR_JSON_STRING;
    case JSON_INTEGER:
        return MR_JSON_INT;
    case JSON_REAL:
        return MR_JSON_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return MR_JSON_BOOL;
    case JSON_NULL:
        break;
    }
    return MR_JSON_NULL;
}

size_t mr_json_count(const struct mr_json *value)
{
    json_t *v = inside(value);
    return json_is_object(v) ? json_object_size(v) : json_array_size(v);
}

const struct mr_json *mr_json_at(const struct mr_json *array, size_t index)
{
    return outside(json_array_get(inside(array), index));
}

const char *mr_json_string_value(const struct mr_json *value)
{
    return json_string_value(inside(value));
}

int64_t mr_json_int_value(const struct mr_json *value)
{
    return json_integer_value(inside(value));
}

int mr_json_each(const struct mr_json *object, mr_json_visit visit, void *ctx)
{
    const char *key;
    json_t *value = NULL;
    json_object_foreach(inside(object), key, value)
    {
        int r = visit(ctx, key, outside(value));
        if (r != 0)
            return r;
    }
    return 0;
}

const char *mr_json_library(void)
{
    static _Thread_local char text[32];
    snprintf(text, sizeof(text), "jansson %s", jansson_version_str());
    return text;
}
