/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text as operators write and read it. No locale, no allocation, no regular expressions: globs are
 * matched here because fnmatch(3) knows no "**" and follows the locale's characters.
 */
#include "base/text.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- builder ---- */

struct mr_text mr_text_init(char *buffer, size_t size)
{
    assert(size > 0);
    buffer[0] = '\0';
    return (struct mr_text){.data = buffer, .size = size};
}

void mr_text_append_bytes(struct mr_text *t, const char *data, size_t bytes)
{
    size_t room = t->size - t->length - 1;
    if (bytes > room) {
        t->overflowed = true;
        bytes = room;
    }
    memcpy(t->data + t->length, data, bytes);
    t->length += bytes;
    t->data[t->length] = '\0';
}

void mr_text_append(struct mr_text *t, const char *s)
{
    mr_text_append_bytes(t, s, strlen(s));
}

void mr_text_append_char(struct mr_text *t, char c)
{
    mr_text_append_bytes(t, &c, 1);
}

void mr_text_appendf(struct mr_text *t, const char *fmt, ...)
{
    size_t room = t->size - t->length;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(t->data + t->length, room, fmt, args);
    va_end(args);
    assert(n >= 0);
    if ((size_t)n >= room) {
        t->overflowed = true;
        n = (int)(room - 1);
    }
    t->length += (size_t)n;
}

/* ---- sizes, times, percentages ---- */

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {
    {"", 1},
    {"B", 1},
    {"KiB", 1ull << 10},
    {"MiB", 1ull << 20},
    {"GiB", 1ull << 30},
    {"TiB", 1ull << 40},
};

static const struct unit time_units[] = {
    {"ns", 1},
    {"us", 1000},
    {"ms", 1000000},
    {"s", 1000000000},
    {"min", 60ull * 1000000000},
    {"h", 3600ull * 1000000000},
    {"d", 86400ull * 1000000000},
};

static const struct unit percent_units[] = {{"%", 100}};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

struct decimal {
    uint64_t whole;   /* all digits, the point left out */
    uint64_t divisor; /* ten to the digits behind the point */
    const char *rest;
};

static int read_decimal(const char *s, struct decimal *ret)
{
    struct decimal d = {.divisor = 1};
    bool point = false;
    if (!is_digit(*s))
        return -EINVAL;
    for (; is_digit(*s) || (*s == '.' && !point && is_digit(s[1])); s++) {
        if (*s == '.') {
            point = true;
            continue;
        }
        if (__builtin_mul_overflow(d.whole, 10u, &d.whole) ||
            __builtin_add_overflow(d.whole, (uint64_t)(*s - '0'), &d.whole))
            return -ERANGE;
        if (point && __builtin_mul_overflow(d.divisor, 10u, &d.divisor))
            return -EINVAL;
    }
    while (*s == ' ')
        s++;
    d.rest = s;
    *ret = d;
    return 0;
}

static int parse_quantity(const char *s, const struct unit *units, size_t count, uint64_t max,
                          uint64_t *ret)
{
    struct decimal d;
    int r = read_decimal(s, &d);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(d.rest, units[i].name) != 0)
            continue;
        unsigned __int128 product = (unsigned __int128)d.whole * units[i].factor;
        if (product % d.divisor != 0)
            return -EINVAL;
        if (product / d.divisor > max)
            return -ERANGE;
        *ret = (uint64_t)(product / d.divisor);
        return 0;
    }
    return -EINVAL;
}

int mr_text_parse_size(const char *s, uint64_t *ret_bytes)
{
    return parse_quantity(s, size_units, COUNT(size_units), UINT64_MAX, ret_bytes);
}

int mr_text_parse_duration(const char *s, int64_t *ret_ns)
{
    uint64_t ns = 0;
    int r =
        strcmp(s, "0") == 0 ? 0 : parse_quantity(s, time_units, COUNT(time_units), INT64_MAX, &ns);
    if (r == 0)
        *ret_ns = (int64_t)ns;
    return r;
}

int mr_text_parse_percent(const char *s, uint32_t *ret_hundredths)
{
    uint64_t hundredths;
    int r = parse_quantity(s, percent_units, COUNT(percent_units), 10000, &hundredths);
    if (r == 0)
        *ret_hundredths = (uint32_t)hundredths;
    return r;
}

static const struct unit *largest_whole(uint64_t v, const struct unit *units, size_t count)
{
    const struct unit *best = &units[0];
    for (size_t i = 1; v > 0 && i < count; i++)
        if (v % units[i].factor == 0 && units[i].factor > best->factor)
            best = &units[i];
    return best;
}

const char *mr_text_size(uint64_t bytes, char *ret)
{
    const struct unit *u = largest_whole(bytes, size_units, COUNT(size_units));
    snprintf(ret, MR_QUANTITY_TEXT, "%llu%s", (unsigned long long)(bytes / u->factor), u->name);
    return ret;
}

const char *mr_text_duration(int64_t ns, char *ret)
{
    assert(ns >= 0);
    uint64_t v = (uint64_t)ns;
    const struct unit *u = largest_whole(v, time_units, COUNT(time_units));
    snprintf(ret, MR_QUANTITY_TEXT, "%llu%s", (unsigned long long)(v / u->factor),
             v == 0 ? "s" : u->name);
    return ret;
}

const char *mr_text_percent(uint32_t hundredths, char *ret)
{
    unsigned rest = hundredths % 100;
    if (rest == 0)
        snprintf(ret, MR_QUANTITY_TEXT, "%u%%", hundredths / 100);
    else if (rest % 10 == 0)
        snprintf(ret, MR_QUANTITY_TEXT, "%u.%u%%", hundredths / 100, rest / 10);
    else
        snprintf(ret, MR_QUANTITY_TEXT, "%u.%02u%%", hundredths / 100, rest);
    return ret;
}

const char *mr_text_size_about(uint64_t bytes, char *ret)
{
    size_t i = 1;
    while (i + 1 < COUNT(size_units) && bytes >= size_units[i + 1].factor)
        i++;
    double v = (double)bytes / (double)size_units[i].factor;
    snprintf(ret, MR_QUANTITY_TEXT, i == 1 || v >= 100 ? "%.0f %s" : "%.1f %s", v,
             size_units[i].name);
    return ret;
}

const char *mr_text_duration_about(int64_t ns, char *ret)
{
    double s = (double)ns / 1e9;
    unsigned long long whole = ns < 0 ? 0 : (unsigned long long)ns / 1000000000u;
    if (s < 1)
        snprintf(ret, MR_QUANTITY_TEXT, "%.0f ms", s < 0 ? 0 : s * 1e3);
    else if (s < 60)
        snprintf(ret, MR_QUANTITY_TEXT, "%.1f s", s);
    else if (whole < 3600)
        snprintf(ret, MR_QUANTITY_TEXT, "%llu min %02llu s", whole / 60, whole % 60);
    else if (whole < 86400)
        snprintf(ret, MR_QUANTITY_TEXT, "%llu h %02llu min", whole / 3600, whole / 60 % 60);
    else
        snprintf(ret, MR_QUANTITY_TEXT, "%llu d %02llu h", whole / 86400, whole / 3600 % 24);
    return ret;
}

/* ---- names ---- */

bool mr_text_is_plain(const char *s)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789._-";
    return s[strspn(s, plain)] == '\0';
}

enum { NAME_MAX_BYTES = 64, SLIP = 4 }; /* a slip costs 4, wrong case 1 */

static unsigned lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned)(c - 'A' + 'a') : (unsigned char)c;
}

static unsigned exchange_cost(char a, char b)
{
    return a == b ? 0 : lower(a) == lower(b) ? 1 : SLIP;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Edit distance with neighbours exchanged as one slip (optimal string alignment), three rows. */
static unsigned distance(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    unsigned rows[3][NAME_MAX_BYTES + 1];
    for (size_t j = 0; j <= b_bytes; j++)
        rows[0][j] = (unsigned)j * SLIP;
    for (size_t i = 1; i <= a_bytes; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i - 1) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = (unsigned)i * SLIP;
        for (size_t j = 1; j <= b_bytes; j++) {
            row[j] = least(above[j], row[j - 1]) + SLIP;
            row[j] = least(row[j], above[j - 1] + exchange_cost(a[i - 1], b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], above2[j - 2] + SLIP);
        }
    }
    return rows[a_bytes % 3][b_bytes];
}

const char *mr_text_last(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

const char *mr_text_nearest(const char *word, const char *const *names, size_t count)
{
    size_t bytes = strlen(word);
    const char *best = NULL;
    unsigned best_cost = UINT_MAX;
    if (bytes == 0 || bytes > NAME_MAX_BYTES)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t name_bytes = strlen(names[i]);
        if (name_bytes > NAME_MAX_BYTES)
            continue;
        unsigned cost = distance(word, bytes, names[i], name_bytes);
        /* near: one slip, or one in three characters */
        unsigned longer = (unsigned)(bytes > name_bytes ? bytes : name_bytes);
        if (cost < best_cost && (cost <= SLIP || cost <= longer * SLIP / 3) &&
            cost < longer * SLIP) {
            best = names[i];
            best_cost = cost;
        }
    }
    return best;
}

/* ---- globs ---- */

/* Matches c with the set that begins behind '['; *end is then behind its ']'. False with *end NULL
 * where the set is not closed. A ']' in front is a member. */
static bool match_set(const char *p, char c, const char **end)
{
    bool inverted = *p == '!' || *p == '^';
    bool found = false;
    if (inverted)
        p++;
    for (bool first = true; first || *p != ']'; first = false) {
        if (*p == '\\' && p[1] != '\0')
            p++;
        if (*p == '\0') {
            *end = NULL;
            return false;
        }
        unsigned char low = (unsigned char)*p++, high = low;
        if (p[0] == '-' && p[1] != ']' && p[1] != '\0') {
            high = (unsigned char)p[1];
            p += 2;
        }
        found = found || ((unsigned char)c >= low && (unsigned char)c <= high);
    }
    *end = p + 1;
    return found != inverted && c != '/';
}

/* Matches one pattern element that is no star with c (not NUL); *next is the element behind it. */
static bool match_one(const char *p, char c, const char **next)
{
    *next = p + 1;
    if (*p == '?')
        return c != '/';
    if (*p == '[') {
        const char *end;
        bool matched = match_set(p + 1, c, &end);
        if (end != NULL) {
            *next = end;
            return matched;
        }
    }
    if (*p == '\\' && p[1] != '\0') {
        *next = p + 2;
        p++;
    }
    return *p == c;
}

/* Where to go on when the elements behind a star do not match: let the star take one byte more. */
struct star {
    const char *pattern, *s; /* pattern NULL: none met */
};

/* The inner star first; where it may not pass a '/', the outer "**". */
static bool star_retry(struct star *inner, struct star *outer, const char **p, const char **s)
{
    struct star *use = inner;
    if (inner->pattern == NULL || *inner->s == '/' || *inner->s == '\0') {
        inner->pattern = NULL;
        use = outer;
    }
    if (use->pattern == NULL || *use->s == '\0')
        return false;
    use->s++;
    *p = use->pattern;
    *s = use->s;
    return true;
}

/* Matches s up to end. */
static bool glob_until(const char *pattern, const char *s, const char *end)
{
    struct star inner = {0}, outer = {0};
    const char *p = pattern;
    for (;;) {
        const char *next;
        if (*p == '*') {
            bool any = p[1] == '*';
            while (*p == '*')
                p++;
            *(any ? &outer : &inner) = (struct star){p, s};
            if (any)
                inner.pattern = NULL;
        } else if (s == end) {
            return *p == '\0';
        } else if (*p != '\0' && match_one(p, *s, &next)) {
            p = next;
            s++;
        } else if (!star_retry(&inner, &outer, &p, &s)) {
            return false;
        }
    }
}

bool mr_text_glob(const char *pattern, const char *s)
{
    return glob_until(pattern, s, s + strlen(s));
}

bool mr_text_glob_path(const char *pattern, const char *path)
{
    bool anchored = strchr(pattern, '/') != NULL;
    const char *start = path;
    if (*pattern == '/')
        pattern++;
    for (const char *at = path;; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        if (glob_until(pattern, start, at))
            return true;
        if (*at == '\0')
            return false;
        if (!anchored)
            start = at + 1;
    }
}

/* ---- UTF-8 ---- */

/* Bytes of the well-formed character at s (1 to 4), or 0: overlong forms, surrogates, beyond
 * U+10FFFF. */
static size_t utf8_char(const char *s, size_t bytes)
{
    /* Unicode 15, table 3-7: the second byte's range depends on the first, later ones are 80..BF */
    static const struct {
        uint8_t first_low, first_high, second_low, second_high;
        size_t length;
    } forms[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t f = 0; bytes > 0 && f < COUNT(forms); f++) {
        uint8_t first = (uint8_t)s[0];
        if (first < forms[f].first_low || first > forms[f].first_high)
            continue;
        if (bytes < forms[f].length)
            return 0;
        for (size_t i = 1; i < forms[f].length; i++) {
            uint8_t low = i == 1 ? forms[f].second_low : 0x80;
            uint8_t high = i == 1 ? forms[f].second_high : 0xbf;
            if ((uint8_t)s[i] < low || (uint8_t)s[i] > high)
                return 0;
        }
        return forms[f].length;
    }
    return 0;
}

bool mr_text_is_utf8(const char *s, size_t bytes)
{
    while (bytes > 0) {
        size_t n = utf8_char(s, bytes);
        if (n == 0)
            return false;
        s += n;
        bytes -= n;
    }
    return true;
}

void mr_text_append_escaped(struct mr_text *t, const char *s)
{
    size_t left = strlen(s);
    while (left > 0) {
        size_t n = utf8_char(s, left);
        if (n == 0) {
            n = 1;
            mr_text_appendf(t, "%%%02X", (unsigned)(uint8_t)*s);
        } else {
            mr_text_append_bytes(t, s, n);
        }
        s += n;
        left -= n;
    }
}
