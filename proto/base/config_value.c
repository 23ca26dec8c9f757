/* SPDX-License-Identifier: Apache-2.0 */
/* What a configuration value of each type may look like. Knows nothing of files and places. */
#include "base/config_value.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { STRING_MAX_BYTES = 4096 }; /* where the row has no max */

/* ---- from text ---- */

static int refuse(struct mr_text *why, const char *text, const char *wanted)
{
    mr_text_appendf(why, "\"%.80s\" is not %s", text, wanted);
    return -EINVAL;
}

static void print_number(const struct mr_config_key *key, int64_t v, char *ret)
{
    if (key->type == MR_CONFIG_SIZE)
        mr_text_size((uint64_t)v, ret);
    else if (key->type == MR_CONFIG_DURATION)
        mr_text_duration(v, ret);
    else if (key->type == MR_CONFIG_PERCENT)
        mr_text_percent((uint32_t)v, ret);
    else if (key->type == MR_CONFIG_OCTAL)
        snprintf(ret, MR_QUANTITY_TEXT, "0%" PRIo64, (uint64_t)v);
    else
        snprintf(ret, MR_QUANTITY_TEXT, "%" PRId64, v);
}

static int check_range(const struct mr_config_key *key, int64_t v, const char *text,
                       struct mr_text *why)
{
    char min[MR_QUANTITY_TEXT], max[MR_QUANTITY_TEXT];
    if ((key->min == 0 && key->max == 0) || (v >= key->min && v <= key->max))
        return 0;
    print_number(key, key->min, min);
    print_number(key, key->max, max);
    mr_text_appendf(why, "%.80s is out of range: %s to %s", text, min, max);
    return -ERANGE;
}

static int parse_plain_number(const char *text, int base, int64_t *ret)
{
    const char *digits = text + (*text == '-' && base == 10 ? 1 : 0);
    char *end;
    if (*digits < '0' || *digits > '9')
        return -EINVAL;
    errno = 0;
    long long v = strtoll(text, &end, base);
    if (*end != '\0')
        return -EINVAL;
    *ret = v;
    return errno == ERANGE ? -ERANGE : 0;
}

static size_t count_names(const char *const *names)
{
    size_t count = 0;
    while (names != NULL && names[count] != NULL)
        count++;
    return count;
}

static int find_name(const char *const *names, const char *text)
{
    for (size_t i = 0; i < count_names(names); i++)
        if (strcmp(names[i], text) == 0)
            return (int)i;
    return -1;
}

static int refuse_name(const char *const *names, const char *text, const char *or_else,
                       struct mr_text *why)
{
    size_t count = count_names(names);
    const char *nearest = mr_text_nearest(text, names, count);
    mr_text_appendf(why, "\"%.80s\" is not %s", text, or_else);
    for (size_t i = 0; i < count; i++)
        mr_text_appendf(why, "%s%s", i == 0 ? "" : i + 1 == count ? " or " : ", ", names[i]);
    if (nearest != NULL && count > 1)
        mr_text_appendf(why, "; did you mean %s?", nearest);
    return -EINVAL;
}

static int parse_number(const struct mr_config_key *key, const char *text, int64_t *ret)
{
    uint64_t size;
    uint32_t hundredths;
    int r;
    switch (key->type) {
    case MR_CONFIG_SIZE:
        r = mr_text_parse_size(text, &size);
        if (r == 0 && size > INT64_MAX)
            r = -ERANGE;
        if (r == 0)
            *ret = (int64_t)size;
        return r;
    case MR_CONFIG_DURATION:
        return mr_text_parse_duration(text, ret);
    case MR_CONFIG_PERCENT:
        r = mr_text_parse_percent(text, &hundredths);
        if (r == 0)
            *ret = hundredths;
        return r;
    case MR_CONFIG_OCTAL:
        r = parse_plain_number(text, 8, ret);
        return r == 0 && *ret > 07777 ? -ERANGE : r;
    case MR_CONFIG_INT:
    case MR_CONFIG_STRING:
    case MR_CONFIG_STRINGS:
    case MR_CONFIG_BOOL:
    case MR_CONFIG_ENUM:
    case MR_CONFIG_MAPS:
        break;
    }
    return parse_plain_number(text, 10, ret);
}

static const char *describe(enum mr_config_type type)
{
    switch (type) {
    case MR_CONFIG_SIZE:
        return "a size such as 512MiB (units: KiB, MiB, GiB, TiB)";
    case MR_CONFIG_DURATION:
        return "a time such as 30s (units: ms, s, min, h, d)";
    case MR_CONFIG_PERCENT:
        return "a percentage such as 2%";
    case MR_CONFIG_OCTAL:
        return "a mode of octal digits such as 0640";
    case MR_CONFIG_INT:
    case MR_CONFIG_STRING:
    case MR_CONFIG_STRINGS:
    case MR_CONFIG_BOOL:
    case MR_CONFIG_ENUM:
    case MR_CONFIG_MAPS:
        break;
    }
    return "a whole number";
}

static void store_number(const struct mr_config_key *key, int64_t v, void *field)
{
    if (key->type == MR_CONFIG_PERCENT || key->type == MR_CONFIG_OCTAL)
        *(uint32_t *)field = (uint32_t)v;
    else if (key->type == MR_CONFIG_SIZE)
        *(uint64_t *)field = (uint64_t)v;
    else
        *(int64_t *)field = v;
}

static int set_number(const struct mr_config_key *key, const char *text, void *field,
                      struct mr_text *why)
{
    int64_t v;
    int name = key->type == MR_CONFIG_INT ? find_name(key->names, text) : -1;
    if (name >= 0) {
        *(int64_t *)field = -1 - (int64_t)name;
        return 0;
    }
    int r = parse_number(key, text, &v);
    if (r == -EINVAL && key->names != NULL)
        return refuse_name(key->names, text, "a whole number or ", why);
    if (r == -EINVAL)
        return refuse(why, text, describe(key->type));
    if (r == -ERANGE)
        return refuse(why, text, "within what can be represented");
    if (check_range(key, v, text, why) < 0)
        return -EINVAL;
    store_number(key, v, field);
    return 0;
}

static int set_bool(const char *text, bool *field, struct mr_text *why)
{
    bool yes = strcmp(text, "true") == 0;
    if (!yes && strcmp(text, "false") != 0)
        return refuse(why, text, "true or false");
    *field = yes;
    return 0;
}

/* Controls of ASCII and Latin-1, and what YAML takes for a line break or not at all: U+2028,
 * U+2029, U+FEFF, U+FFFE, U+FFFF. The text is UTF-8. */
static bool has_control(const char *text)
{
    static const char *const others[] = {"\xe2\x80\xa8", "\xe2\x80\xa9", "\xef\xbb\xbf",
                                         "\xef\xbf\xbe", "\xef\xbf\xbf"};
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++)
        if (*c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0))
            return true;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (strstr(text, others[i]) != NULL)
            return true;
    return false;
}

int mr_config_value_check_string(const struct mr_config_key *key, const char *text,
                                 struct mr_text *why)
{
    bool list = key->type == MR_CONFIG_STRINGS; /* whose min and max count entries */
    size_t min = list ? 0 : (size_t)key->min;
    size_t max = list || key->max == 0 ? STRING_MAX_BYTES : (size_t)key->max;
    size_t bytes = strlen(text);
    if (bytes < min || bytes > max) {
        mr_text_appendf(why, "has %zu bytes; must have %zu to %zu", bytes, min, max);
        return -EINVAL;
    }
    if (!mr_text_is_utf8(text, bytes)) { /* from a command line: libyaml lets none pass */
        mr_text_append(why, "is not UTF-8");
        return -EINVAL;
    }
    if (has_control(text)) {
        mr_text_append(why, "contains a control character");
        return -EINVAL;
    }
    const char *reason = key->refuse == NULL ? NULL : key->refuse(text);
    if (reason == NULL)
        return 0;
    mr_text_appendf(why, "\"%.200s\": %s", text, reason);
    return -EINVAL;
}

const char *mr_config_refuse_name(const char *text)
{
    if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
        return "is no name";
    return mr_text_is_plain(text) ? NULL : "may hold letters, digits, '.', '_' and '-'";
}

const char *mr_config_refuse_relative(const char *text)
{
    return text[0] == '/' || text[0] == '\0' ? NULL : "must be an absolute path";
}

int mr_config_set_string(char **field, const char *value)
{
    char *copy = strdup(value);
    if (copy == NULL)
        return -ENOMEM;
    free(*field);
    *field = copy;
    return 0;
}

int mr_config_value_set(const struct mr_config_key *key, const char *text, void *field,
                        struct mr_text *why)
{
    int r;
    switch (key->type) {
    case MR_CONFIG_STRING:
        r = mr_config_value_check_string(key, text, why);
        return r < 0 ? r : mr_config_set_string(field, text);
    case MR_CONFIG_BOOL:
        return set_bool(text, field, why);
    case MR_CONFIG_ENUM:
        r = find_name(key->names, text);
        if (r < 0)
            return refuse_name(key->names, text, "", why);
        *(int *)field = r;
        return 0;
    case MR_CONFIG_SIZE:
    case MR_CONFIG_DURATION:
    case MR_CONFIG_INT:
    case MR_CONFIG_OCTAL:
    case MR_CONFIG_PERCENT:
        return set_number(key, text, field, why);
    case MR_CONFIG_STRINGS:
    case MR_CONFIG_MAPS:
        break;
    }
    assert(false); /* lists are no scalars */
    return -EINVAL;
}

/* ---- to text ---- */

/* Double-quoted, the one YAML style that can hold everything. */
static void print_string(const char *s, FILE *out)
{
    fputc('"', out);
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\')
            fputc('\\', out);
        fputc(*s, out);
    }
    fputc('"', out);
}

static void print_strings(const struct mr_config_strings *list, FILE *out)
{
    fputc('[', out);
    for (size_t i = 0; i < list->count; i++) {
        fputs(i > 0 ? ", " : "", out);
        print_string(list->items[i], out);
    }
    fputc(']', out);
}

static int64_t load_number(const struct mr_config_key *key, const void *field)
{
    if (key->type == MR_CONFIG_PERCENT || key->type == MR_CONFIG_OCTAL)
        return *(const uint32_t *)field;
    if (key->type == MR_CONFIG_SIZE)
        return (int64_t) * (const uint64_t *)field;
    return *(const int64_t *)field;
}

void mr_config_value_print(const struct mr_config_key *key, const void *field, FILE *out)
{
    char text[MR_QUANTITY_TEXT];
    switch (key->type) {
    case MR_CONFIG_STRING: {
        const char *s = *(char *const *)field;
        print_string(s == NULL ? "" : s, out);
        return;
    }
    case MR_CONFIG_STRINGS:
        print_strings(field, out);
        return;
    case MR_CONFIG_BOOL:
        fputs(*(const bool *)field ? "true" : "false", out);
        return;
    case MR_CONFIG_ENUM:
        fputs(key->names[*(const int *)field], out);
        return;
    case MR_CONFIG_SIZE:
    case MR_CONFIG_DURATION:
    case MR_CONFIG_INT:
    case MR_CONFIG_OCTAL:
    case MR_CONFIG_PERCENT: {
        int64_t v = load_number(key, field);
        bool named =
            key->type == MR_CONFIG_INT && v < 0 && -1 - v < (int64_t)count_names(key->names);
        print_number(key, v, text);
        fputs(named ? key->names[-1 - v] : text, out);
        return;
    }
    case MR_CONFIG_MAPS:
        break;
    }
    assert(false); /* config prints entries itself */
}

/* ---- compare, free ---- */

size_t mr_config_value_bytes(enum mr_config_type type)
{
    static const size_t bytes[] = {
        [MR_CONFIG_STRING] = sizeof(char *),
        [MR_CONFIG_STRINGS] = sizeof(struct mr_config_strings),
        [MR_CONFIG_SIZE] = sizeof(uint64_t),
        [MR_CONFIG_DURATION] = sizeof(int64_t),
        [MR_CONFIG_INT] = sizeof(int64_t),
        [MR_CONFIG_OCTAL] = sizeof(uint32_t),
        [MR_CONFIG_PERCENT] = sizeof(uint32_t),
        [MR_CONFIG_BOOL] = sizeof(bool),
        [MR_CONFIG_ENUM] = sizeof(int),
        [MR_CONFIG_MAPS] = sizeof(struct mr_config_maps),
    };
    return bytes[type];
}

static bool strings_equal(const char *a, const char *b)
{
    return strcmp(a == NULL ? "" : a, b == NULL ? "" : b) == 0;
}

static bool lists_equal(const struct mr_config_strings *a, const struct mr_config_strings *b)
{
    for (size_t i = 0; i < a->count && i < b->count; i++)
        if (!strings_equal(a->items[i], b->items[i]))
            return false;
    return a->count == b->count;
}

static bool maps_equal(const struct mr_config_key *key, const struct mr_config_maps *a,
                       const struct mr_config_maps *b)
{
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        const char *in_a = (const char *)a->items + i * key->entry_bytes;
        const char *in_b = (const char *)b->items + i * key->entry_bytes;
        for (const struct mr_config_key *k = key->keys; k->path != NULL; k++)
            if (!mr_config_value_equal(k, in_a + k->offset, in_b + k->offset))
                return false;
    }
    return a->count == b->count;
}

bool mr_config_value_equal(const struct mr_config_key *key, const void *a, const void *b)
{
    switch (key->type) {
    case MR_CONFIG_STRING:
        return strings_equal(*(char *const *)a, *(char *const *)b);
    case MR_CONFIG_STRINGS:
        return lists_equal(a, b);
    case MR_CONFIG_MAPS:
        return maps_equal(key, a, b);
    case MR_CONFIG_BOOL:
        return *(const bool *)a == *(const bool *)b;
    case MR_CONFIG_ENUM:
        return *(const int *)a == *(const int *)b;
    case MR_CONFIG_SIZE:
    case MR_CONFIG_DURATION:
    case MR_CONFIG_INT:
    case MR_CONFIG_OCTAL:
    case MR_CONFIG_PERCENT:
        break;
    }
    return load_number(key, a) == load_number(key, b);
}

static void free_list(struct mr_config_strings *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
}

static void free_maps(const struct mr_config_key *key, struct mr_config_maps *maps)
{
    for (size_t i = 0; i < maps->count; i++)
        mr_config_free(key->keys, (char *)maps->items + i * key->entry_bytes);
    free(maps->items);
}

void mr_config_value_free(const struct mr_config_key *key, void *field)
{
    if (key->type == MR_CONFIG_STRING)
        free(*(char **)field);
    else if (key->type == MR_CONFIG_STRINGS)
        free_list(field);
    else if (key->type == MR_CONFIG_MAPS)
        free_maps(key, field);
    memset(field, 0, mr_config_value_bytes(key->type));
}
