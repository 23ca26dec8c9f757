/* SPDX-License-Identifier: Apache-2.0 */
/* Do globs, UTF-8, near names and the builder do what a slow and plain reading of their rules says?
 */
#include "base/text.h"
#include "dice.h"
#include "suite.h"

#include <errno.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void any_text(char *ret, size_t most, const char *letters)
{
    size_t n = dice(most + 1);
    for (size_t i = 0; i < n; i++)
        ret[i] = letters[dice(strlen(letters))];
    ret[n] = '\0';
}

/* ---- globs ---- */

/* Does c fit the set behind '['? *end: behind its ']', or NULL: it is not closed. */
static bool in_set(const char *p, char c, const char **end)
{
    bool inverted = *p == '!' || *p == '^', found = false;
    p += inverted;
    const char *start = p;
    *end = NULL;
    while (*p != '\0' && (*p != ']' || p == start)) {
        p += *p == '\\' && p[1] != '\0';
        char low = *p++, high = low;
        if (*p == '-' && p[1] != ']' && p[1] != '\0') {
            high = p[1];
            p += 2;
        }
        found |= (unsigned char)c >= (unsigned char)low && (unsigned char)c <= (unsigned char)high;
    }
    if (*p == '\0')
        return false;
    *end = p + 1;
    return found != inverted;
}

static bool plain_glob(const char *p, const char *s)
{
    const char *end;
    if (*p == '\0')
        return *s == '\0';
    if (*p == '*') {
        size_t stars = strspn(p, "*");
        for (;; s++) {
            if (plain_glob(p + stars, s))
                return true;
            if (*s == '\0' || (stars == 1 && *s == '/'))
                return false;
        }
    }
    if (*s == '\0')
        return false;
    if (*p == '?')
        return *s != '/' && plain_glob(p + 1, s + 1);
    if (*p == '[') {
        bool fits = in_set(p + 1, *s, &end);
        if (end != NULL)
            return fits && *s != '/' && plain_glob(end, s + 1);
    }
    if (*p == '\\' && p[1] != '\0')
        p++;
    return *p == *s && plain_glob(p + 1, s + 1);
}

/* One component, or from the top; and what lies below what matched. */
static bool plain_glob_path(const char *p, const char *path)
{
    char part[64];
    bool anchored = strchr(p, '/') != NULL;
    size_t length = strlen(path);
    p += *p == '/';
    for (size_t end = 0; end <= length; end++) {
        if (path[end] != '/' && path[end] != '\0')
            continue;
        size_t start = end;
        while (!anchored && start > 0 && path[start - 1] != '/')
            start--;
        start = anchored ? 0 : start;
        snprintf(part, sizeof(part), "%.*s", (int)(end - start), path + start);
        if (plain_glob(p, part))
            return true;
    }
    return false;
}

START_TEST(globs_match_as_a_plain_matcher_does)
{
    unsigned matched = 0;
    for (int round = 0; round < 200000; round++) {
        char pattern[12], s[12];
        any_text(pattern, 10, round % 2 ? "**ab/?" : "*a[]!-^\\b/?c");
        any_text(s, 9, round % 3 ? "ab/" : "abc/]-\\!");
        bool wanted = plain_glob(pattern, s);
        if (mr_text_glob(pattern, s) != wanted)
            ck_abort_msg("'%s' on '%s'", pattern, s);
        matched += wanted;
    }
    ck_assert_uint_gt(matched, 2000);
}
END_TEST

START_TEST(path_globs_match_a_component_or_from_the_top)
{
    unsigned matched = 0;
    for (int round = 0; round < 200000; round++) {
        char pattern[12], s[12];
        any_text(pattern, 6, round % 2 ? "*ab/?" : "*ab?");
        any_text(s, 10, "ab/");
        bool wanted = plain_glob_path(pattern, s);
        if (mr_text_glob_path(pattern, s) != wanted)
            ck_abort_msg("'%s' on '%s'", pattern, s);
        matched += wanted;
    }
    ck_assert_uint_gt(matched, 2000);
}
END_TEST

/* Sets are of bytes, whatever char is on this machine. */
START_TEST(sets_are_of_bytes)
{
    for (int low = 1; low < 256; low += 23)
        for (int high = 1; high < 256; high += 13)
            for (int c = 1; c < 256; c++) {
                char pattern[] = {'[', '\\', (char)low, '-', (char)high, ']', '\0'};
                char s[] = {(char)c, '\0'};
                if (high == ']' || high == '\\')
                    continue;
                bool wanted = c >= low && c <= high && c != '/';
                if (mr_text_glob(pattern, s) != wanted)
                    ck_abort_msg("%d-%d: %d", low, high, c);
            }
}
END_TEST

/* ---- UTF-8 ---- */

/* By the numbers of Unicode, not by table: how many bytes the character at s has; 0: none. */
static size_t plain_utf8(const unsigned char *s, size_t bytes)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = s[0] < 0x80         ? 1
                    : (s[0] >> 5) == 6  ? 2
                    : (s[0] >> 4) == 14 ? 3
                    : (s[0] >> 3) == 30 ? 4
                                        : 0;
    if (length == 0 || length > bytes)
        return 0;
    uint32_t c = length == 1 ? s[0] : s[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    bool surrogate = c >= 0xd800 && c <= 0xdfff;
    return c >= least[length] && c <= 0x10ffff && !surrogate ? length : 0;
}

/* Here and below: each ck_assert tells the runner where it is, which takes longer than what it
 * asks. */
static void check_utf8(const unsigned char *s, size_t bytes)
{
    size_t at = 0;
    while (at < bytes) {
        size_t n = plain_utf8(s + at, bytes - at);
        if (n == 0)
            break;
        at += n;
    }
    if (mr_text_is_utf8((const char *)s, bytes) != (at == bytes))
        ck_abort_msg("%02x %02x %02x %02x, %zu bytes", s[0], s[1], s[2], s[3], bytes);
}

START_TEST(utf8_is_what_unicode_has_numbers_for)
{
    static const unsigned char later[] = {0x41, 0x7f, 0x80, 0x8f, 0xbf, 0xc0};
    for (unsigned first = 0; first < 256; first++)
        for (unsigned second = 0; second < 256; second++)
            for (size_t i = 0; i < COUNT(later) * COUNT(later); i++) {
                unsigned char s[] = {(unsigned char)first, (unsigned char)second,
                                     later[i % COUNT(later)], later[i / COUNT(later)]};
                for (size_t bytes = 1; bytes <= 4; bytes++)
                    check_utf8(s, bytes);
            }
    ck_assert(mr_text_is_utf8("\xff", 0));
}
END_TEST

START_TEST(each_stray_byte_is_escaped_and_no_other)
{
    static const char bytes[] = "a%/\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\xac\x80\xff\xed\xa0\xc2\x01";
    for (int round = 0; round < 20000; round++) {
        char s[16], out[64], expected[64] = "";
        any_text(s, 15, bytes);
        struct mr_text t = mr_text_init(out, sizeof(out));
        mr_text_append_escaped(&t, s);
        for (size_t at = 0, length = strlen(s); at < length;) {
            size_t n = plain_utf8((const unsigned char *)s + at, length - at),
                   used = strlen(expected);
            if (n == 0)
                snprintf(expected + used, sizeof(expected) - used, "%%%02X", (unsigned char)s[at]);
            else
                snprintf(expected + used, sizeof(expected) - used, "%.*s", (int)n, s + at);
            at += n == 0 ? 1 : n;
        }
        if (strcmp(out, expected) != 0 || t.overflowed)
            ck_abort_msg("%s, not %s", out, expected);
    }
}
END_TEST

/* ---- near names ---- */

enum { SLIP = 4 };

/* The least cost to make b of a: the rules as they read, every way tried. */
static unsigned plain_cost(const char *a, const char *b)
{
    if (*a == '\0' || *b == '\0')
        return SLIP * (unsigned)(strlen(a) + strlen(b));
    bool wrong_case = *a != *b && (*a ^ *b) == 0x20;
    unsigned least = (*a == *b ? 0 : wrong_case ? 1 : SLIP) + plain_cost(a + 1, b + 1);
    unsigned other = SLIP + plain_cost(a + 1, b);
    least = other < least ? other : least;
    other = SLIP + plain_cost(a, b + 1);
    least = other < least ? other : least;
    if (a[0] == b[1] && a[1] == b[0] && a[1] != '\0') {
        other = SLIP + plain_cost(a + 2, b + 2);
        least = other < least ? other : least;
    }
    return least;
}

static bool is_near(const char *word, const char *name, unsigned cost)
{
    size_t longer = strlen(word) > strlen(name) ? strlen(word) : strlen(name);
    return strlen(word) > 0 && (cost <= SLIP || cost <= longer * SLIP / 3) && cost < longer * SLIP;
}

START_TEST(the_nearest_is_the_one_with_the_fewest_slips)
{
    unsigned found = 0;
    for (int round = 0; round < 20000; round++) {
        char texts[4][8], word[8];
        const char *names[4], *wanted = NULL;
        unsigned best = UINT32_MAX;
        any_text(word, 6, "abA");
        for (int i = 0; i < 4; i++) {
            any_text(texts[i], 6, "abcB");
            names[i] = texts[i];
            unsigned cost = plain_cost(word, names[i]);
            if (cost < best && is_near(word, names[i], cost)) {
                best = cost;
                wanted = names[i];
            }
        }
        const char *got = mr_text_nearest(word, names, 4);
        if (got != wanted)
            ck_abort_msg("%s: %s, not %s", word, got == NULL ? "none" : got,
                         wanted == NULL ? "none" : wanted);
        found += got != NULL;
    }
    ck_assert_uint_gt(found, 1000);
}
END_TEST

START_TEST(words_of_64_bytes_are_compared_and_longer_ones_are_not)
{
    char word[70], name[70];
    const char *names[] = {name};
    for (size_t bytes = 63; bytes <= 66; bytes++)
        for (size_t name_bytes = 63; name_bytes <= 66; name_bytes++) {
            memset(word, 'a', sizeof(word));
            memset(name, 'a', sizeof(name));
            word[bytes] = name[name_bytes] = '\0';
            const char *wanted = bytes <= 64 && name_bytes <= 64 ? name : NULL;
            ck_assert_ptr_eq(mr_text_nearest(word, names, 1), wanted);
        }
}
END_TEST

/* ---- the builder ---- */

START_TEST(what_does_not_fit_is_cut_at_any_size)
{
    for (int round = 0; round < 20000; round++) {
        char out[24], all[400] = "", piece[12];
        size_t size = 1 + dice(20);
        memset(out, 0x5a, sizeof(out));
        struct mr_text t = mr_text_init(out, size);
        ck_assert_int_eq(out[0], '\0');
        for (size_t n = dice(8); n > 0; n--) {
            any_text(piece, 6, "abc%d");
            size_t before = strlen(all);
            switch (dice(4)) {
            case 0:
                mr_text_append(&t, piece);
                strcat(all, piece);
                break;
            case 1:
                mr_text_append_bytes(&t, piece, strlen(piece));
                strcat(all, piece);
                break;
            case 2:
                mr_text_append_char(&t, 'x');
                strcat(all, "x");
                break;
            default:
                mr_text_appendf(&t, "<%s>", piece);
                snprintf(all + before, sizeof(all) - before, "<%s>", piece);
            }
            size_t length = strlen(all) < size ? strlen(all) : size - 1;
            if (t.length != length || t.overflowed != (strlen(all) >= size) ||
                strlen(out) != length || memcmp(out, all, length) != 0 || out[size] != 0x5a)
                ck_abort_msg("%s for %s", out, all);
        }
    }
}
END_TEST

/* ---- sizes and times ---- */

START_TEST(exact_texts_use_the_largest_unit)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } sizes[] = {{0, "0"},
                 {1, "1"},
                 {1025, "1025"},
                 {1024, "1KiB"},
                 {1048576, "1MiB"},
                 {1048576 + 1024, "1025KiB"},
                 {UINT64_C(3) << 30, "3GiB"},
                 {UINT64_C(1) << 40, "1TiB"},
                 {UINT64_C(1) << 50, "1024TiB"},
                 {UINT64_MAX, "18446744073709551615"}};
    static const struct {
        int64_t ns;
        const char *text;
    } times[] = {{0, "0s"},
                 {1, "1ns"},
                 {1000, "1us"},
                 {1001, "1001ns"},
                 {1000000, "1ms"},
                 {1000000000, "1s"},
                 {59000000000, "59s"},
                 {60000000000, "1min"},
                 {3600000000000, "1h"},
                 {5400000000000, "90min"},
                 {86400000000000, "1d"},
                 {90000000000000, "25h"}};
    char text[MR_QUANTITY_TEXT];
    for (size_t i = 0; i < COUNT(sizes); i++) {
        ck_assert_ptr_eq(mr_text_size(sizes[i].bytes, text), text);
        ck_assert_str_eq(text, sizes[i].text);
    }
    for (size_t i = 0; i < COUNT(times); i++) {
        ck_assert_ptr_eq(mr_text_duration(times[i].ns, text), text);
        ck_assert_str_eq(text, times[i].text);
    }
}
END_TEST

START_TEST(any_exact_text_is_read_back)
{
    char text[MR_QUANTITY_TEXT];
    for (int round = 0; round < 100000; round++) {
        uint64_t bytes = dice_bits() >> dice(64), size = 0;
        int64_t ns = (int64_t)(dice_bits() >> (1 + dice(63))), back = 0;
        static const int64_t units[] = {1, 1000, 1000000, 1000000000, 60000000000, 3600000000000};
        ns -= ns % units[dice(COUNT(units))];
        bytes -= bytes % (UINT64_C(1) << dice(50));
        if (mr_text_parse_size(mr_text_size(bytes, text), &size) != 0 || size != bytes)
            ck_abort_msg("%s", text);
        if (mr_text_parse_duration(mr_text_duration(ns, text), &back) != 0 || back != ns)
            ck_abort_msg("%s", text);
    }
}
END_TEST

START_TEST(rounded_texts_change_their_unit_at_its_first_whole)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } sizes[] = {{1023, "1023 B"},
                 {1024, "1.0 KiB"},
                 {102348, "99.9 KiB"},
                 {102400, "100 KiB"},
                 {1048575, "1024 KiB"},
                 {1048576, "1.0 MiB"},
                 {UINT64_C(1) << 30, "1.0 GiB"},
                 {UINT64_C(1) << 40, "1.0 TiB"},
                 {UINT64_MAX, "16777216 TiB"}};
    static const struct {
        int64_t ns;
        const char *text;
    } times[] = {{-5, "0 ms"},
                 {INT64_MIN, "0 ms"},
                 {0, "0 ms"},
                 {499999, "0 ms"},
                 {999000000, "999 ms"},
                 {1000000000, "1.0 s"},
                 {59900000000, "59.9 s"},
                 {60000000000, "1 min 00 s"},
                 {3599999999999, "59 min 59 s"},
                 {3600000000000, "1 h 00 min"},
                 {86399999999999, "23 h 59 min"},
                 {86400000000000, "1 d 00 h"},
                 {INT64_MAX, "106751 d 23 h"}};
    char text[MR_QUANTITY_TEXT];
    for (size_t i = 0; i < COUNT(sizes); i++)
        ck_assert_str_eq(mr_text_size_about(sizes[i].bytes, text), sizes[i].text);
    for (size_t i = 0; i < COUNT(times); i++)
        ck_assert_str_eq(mr_text_duration_about(times[i].ns, text), times[i].text);
}
END_TEST

START_TEST(every_unit_is_read)
{
    static const struct {
        const char *text;
        int64_t value;
    } rows[] = {{"3ns", 3},
                {"3us", 3000},
                {"3ms", 3000000},
                {"3s", 3000000000},
                {"3min", 180000000000},
                {"3h", 10800000000000},
                {"3d", 259200000000000},
                {"0.000000001s", 1},
                {"1.5min", 90000000000},
                {"0.0s", 0},
                {"2.50ms", 2500000}};
    static const char *const bad[] = {"0.0000000001s", "1.0000000001s", "0.5ns", "00", "0 ", "1.s"};
    for (size_t i = 0; i < COUNT(rows); i++) {
        int64_t ns = -1;
        ck_assert_int_eq(mr_text_parse_duration(rows[i].text, &ns), 0);
        ck_assert_int_eq(ns, rows[i].value);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        int64_t ns = -1;
        ck_assert_msg(mr_text_parse_duration(bad[i], &ns) == -EINVAL && ns == -1, "%s", bad[i]);
    }
}
END_TEST

/* ---- names ---- */

START_TEST(letters_digits_and_three_marks_are_plain)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    for (int c = 1; c < 256; c++) {
        char text[] = {'a', (char)c, 'b', '\0'};
        ck_assert_msg(mr_text_is_plain(text) == (strchr(plain, c) != NULL), "%d", c);
    }
}
END_TEST

START_TEST(the_last_component_is_behind_the_last_slash)
{
    static const struct {
        const char *path, *last;
    } rows[] = {{"a", "a"}, {"", ""}, {"/a", "a"}, {"a/b", "b"}, {"/a/b.c/d", "d"}, {"//a", "a"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *last = mr_text_last(rows[i].path);
        ck_assert_str_eq(last, rows[i].last);
        ck_assert_ptr_eq(last + strlen(last), rows[i].path + strlen(rows[i].path));
    }
}
END_TEST

MR_SUITE("text_model", T(globs_match_as_a_plain_matcher_does),
         T(path_globs_match_a_component_or_from_the_top), T(sets_are_of_bytes),
         T(utf8_is_what_unicode_has_numbers_for), T(each_stray_byte_is_escaped_and_no_other),
         T(the_nearest_is_the_one_with_the_fewest_slips),
         T(words_of_64_bytes_are_compared_and_longer_ones_are_not),
         T(what_does_not_fit_is_cut_at_any_size), T(exact_texts_use_the_largest_unit),
         T(any_exact_text_is_read_back), T(rounded_texts_change_their_unit_at_its_first_whole),
         T(every_unit_is_read), T(letters_digits_and_three_marks_are_plain),
         T(the_last_component_is_behind_the_last_slash))
