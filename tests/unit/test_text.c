/* SPDX-License-Identifier: Apache-2.0 */
/* Does text from operators and file systems come out as the documentation says? */
#include "base/text.h"
#include "suite.h"

#include <errno.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

START_TEST(builder_appends_and_cuts)
{
    char buffer[8];
    struct mr_text t = mr_text_init(buffer, sizeof(buffer));
    mr_text_append(&t, "ab");
    mr_text_append_char(&t, 'c');
    mr_text_appendf(&t, "%d", 1234);
    ck_assert_str_eq(t.data, "abc1234");
    ck_assert_uint_eq(t.length, 7);
    ck_assert(!t.overflowed);
    mr_text_append(&t, "");
    ck_assert(!t.overflowed);
    mr_text_append_char(&t, 'x');
    ck_assert(t.overflowed);
    ck_assert_str_eq(t.data, "abc1234");
    t = mr_text_init(buffer, sizeof(buffer));
    mr_text_appendf(&t, "%s", "123456789");
    ck_assert(t.overflowed);
    ck_assert_str_eq(t.data, "1234567");
    mr_text_append_bytes(&t, "x", 0);
    ck_assert_uint_eq(t.length, 7);
}
END_TEST

START_TEST(sizes_are_read)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"65536", 65536},
        {"512MiB", 512ull << 20},
        {"4GiB", 4ull << 30},
        {"1.5KiB", 1536},
        {"2 TiB", 2ull << 40},
        {"7B", 7},
        {"0.5 GiB", 1ull << 29},
        {"00012KiB", 12288},
        {"18446744073709551615", UINT64_MAX},
    };
    uint64_t bytes;
    for (size_t i = 0; i < COUNT(good); i++) {
        ck_assert_msg(mr_text_parse_size(good[i].text, &bytes) == 0, "%s", good[i].text);
        ck_assert_uint_eq(bytes, good[i].bytes);
    }
}
END_TEST

START_TEST(what_is_no_size_is_refused)
{
    static const char *const bad[] = {"",       "MiB",   "-1",    "+1",       "1MB",  "1mib",
                                      "1 KiBx", "1.KiB", ".5KiB", "1.5.5KiB", "0.3B", "1e6",
                                      " 1",     "0x10",  "1KiB ", "1\tKiB"};
    uint64_t bytes = 77;
    for (size_t i = 0; i < COUNT(bad); i++)
        ck_assert_msg(mr_text_parse_size(bad[i], &bytes) == -EINVAL, "%s", bad[i]);
    ck_assert_int_eq(mr_text_parse_size("18446744073709551616", &bytes), -ERANGE);
    ck_assert_int_eq(mr_text_parse_size("16777216TiB", &bytes), -ERANGE);
    ck_assert_uint_eq(bytes, 77);
}
END_TEST

START_TEST(durations_are_read)
{
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {
        {"30s", 30000000000},
        {"250ms", 250000000},
        {"10min", 600000000000},
        {"7d", 604800000000000},
        {"1h", 3600000000000},
        {"0", 0},
        {"0.5s", 500000000},
        {"10us", 10000},
        {"9 ns", 9},
        {"9223372036854775807ns", INT64_MAX},
    };
    static const char *const bad[] = {"",   "30",    "s",      "-1s",    "1m",
                                      "1S", "1.5ns", "1 hour", "1h30min"};
    int64_t ns = 77;
    for (size_t i = 0; i < COUNT(good); i++) {
        ck_assert_msg(mr_text_parse_duration(good[i].text, &ns) == 0, "%s", good[i].text);
        ck_assert_int_eq(ns, good[i].ns);
    }
    ns = 77;
    for (size_t i = 0; i < COUNT(bad); i++)
        ck_assert_msg(mr_text_parse_duration(bad[i], &ns) == -EINVAL, "%s", bad[i]);
    ck_assert_int_eq(mr_text_parse_duration("9223372036854775808ns", &ns), -ERANGE);
    ck_assert_int_eq(mr_text_parse_duration("106752d", &ns), -ERANGE);
    ck_assert_int_eq(ns, 77);
}
END_TEST

START_TEST(percentages_are_read)
{
    uint32_t v = 77;
    ck_assert_int_eq(mr_text_parse_percent("2%", &v), 0);
    ck_assert_uint_eq(v, 200);
    ck_assert_int_eq(mr_text_parse_percent("0.25 %", &v), 0);
    ck_assert_uint_eq(v, 25);
    ck_assert_int_eq(mr_text_parse_percent("100%", &v), 0);
    ck_assert_int_eq(mr_text_parse_percent("100.01%", &v), -ERANGE);
    ck_assert_int_eq(mr_text_parse_percent("0.001%", &v), -EINVAL);
    ck_assert_int_eq(mr_text_parse_percent("2", &v), -EINVAL);
    ck_assert_uint_eq(v, 10000);
}
END_TEST

START_TEST(exact_texts_are_read_back)
{
    static const uint64_t sizes[] = {0, 1, 1023, 1024, 1536, 512ull << 20, 5ull << 40, UINT64_MAX};
    static const int64_t times[] = {
        0, 1, 999, 1000000, 30000000000, 90000000000, 604800000000000, INT64_MAX};
    char text[MR_QUANTITY_TEXT];
    for (size_t i = 0; i < COUNT(sizes); i++) {
        uint64_t back;
        ck_assert_int_eq(mr_text_parse_size(mr_text_size(sizes[i], text), &back), 0);
        ck_assert_uint_eq(back, sizes[i]);
    }
    for (size_t i = 0; i < COUNT(times); i++) {
        int64_t back;
        ck_assert_int_eq(mr_text_parse_duration(mr_text_duration(times[i], text), &back), 0);
        ck_assert_int_eq(back, times[i]);
    }
    for (uint32_t v = 0; v <= 10000; v++) {
        uint32_t back;
        ck_assert_int_eq(mr_text_parse_percent(mr_text_percent(v, text), &back), 0);
        ck_assert_uint_eq(back, v);
    }
    ck_assert_str_eq(mr_text_size(512ull << 20, text), "512MiB");
    ck_assert_str_eq(mr_text_size(1536, text), "1536");
    ck_assert_str_eq(mr_text_duration(600000000000, text), "10min");
    ck_assert_str_eq(mr_text_duration(0, text), "0s");
    ck_assert_str_eq(mr_text_percent(25, text), "0.25%");
    ck_assert_str_eq(mr_text_percent(250, text), "2.5%");
}
END_TEST

START_TEST(about_texts_suit_people)
{
    char text[MR_QUANTITY_TEXT];
    ck_assert_str_eq(mr_text_size_about(0, text), "0 B");
    ck_assert_str_eq(mr_text_size_about(1023, text), "1023 B");
    ck_assert_str_eq(mr_text_size_about(1288490189, text), "1.2 GiB");
    ck_assert_str_eq(mr_text_size_about(512ull << 20, text), "512 MiB");
    ck_assert_str_eq(mr_text_duration_about(85000000, text), "85 ms");
    ck_assert_str_eq(mr_text_duration_about(1200000000, text), "1.2 s");
    ck_assert_str_eq(mr_text_duration_about(185000000000, text), "3 min 05 s");
    ck_assert_str_eq(mr_text_duration_about(3900000000000, text), "1 h 05 min");
    ck_assert_str_eq(mr_text_duration_about(187200000000000, text), "2 d 04 h");
}
END_TEST

START_TEST(the_nearest_name_is_found)
{
    static const char *const names[] = {"path", "include", "exclude", "output", "rescan", "pool"};
    ck_assert_str_eq(mr_text_nearest("paht", names, COUNT(names)), "path");
    ck_assert_str_eq(mr_text_nearest("Path", names, COUNT(names)), "path");
    ck_assert_str_eq(mr_text_nearest("incldue", names, COUNT(names)), "include");
    ck_assert_str_eq(mr_text_nearest("excludes", names, COUNT(names)), "exclude");
    ck_assert_str_eq(mr_text_nearest("re_scan", names, COUNT(names)), "rescan");
    ck_assert_str_eq(mr_text_nearest("POOL", names, COUNT(names)), "pool");
    ck_assert_ptr_null(mr_text_nearest("webhooks", names, COUNT(names)));
    ck_assert_ptr_null(mr_text_nearest("", names, COUNT(names)));
    ck_assert_ptr_null(mr_text_nearest("x", names, 0));
    char longer[300];
    memset(longer, 'p', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    ck_assert_ptr_null(mr_text_nearest(longer, names, COUNT(names)));
}
END_TEST

struct glob_case {
    const char *pattern, *s;
    bool matches;
};

static const struct glob_case globs[] = {
    {"*", "movie.mrc", true},
    {"*", "a/b", false},
    {"**", "a/b", true},
    {"*.mrc", "a.mrc", true},
    {"*.mrc", "a.mrc.tmp", false},
    {"a?c", "abc", true},
    {"a?c", "a/c", false},
    {"a?c", "ac", false},
    {"", "", true},
    {"", "a", false},
    {"*", "", true},
    {"[a-c]x", "bx", true},
    {"[!a-c]x", "bx", false},
    {"[^a-c]x", "dx", true},
    {"[]]x", "]x", true},
    {"[!/]", "/", false},
    {"[a", "[a", true},
    {"[\\]]", "]", true},
    {"\\*", "*", true},
    {"\\*", "a", false},
    {"a\\", "a\\", true},
    {"a**/c", "ab/x/c", true},
    {"**/x*/c", "a/b/x1/c", true},
    {"**/x*/c", "a/x1/y/c", false},
    {"*a*/*b*", "xay/zbz", true},
    {"millrace.*.ready.v1", "millrace.movie.ready.v1", true},
    {"millrace.*.ready.v1", "millrace.movie.failed.v1", false},
};

START_TEST(plain_names_are_told)
{
    ck_assert(mr_text_is_plain("k3-Krios.1_a"));
    ck_assert(mr_text_is_plain(""));
    ck_assert(!mr_text_is_plain("a b"));
    ck_assert(!mr_text_is_plain("a/b"));
    ck_assert(!mr_text_is_plain("\xc3\xa4"));
}
END_TEST

START_TEST(globs_match_as_written)
{
    for (size_t i = 0; i < COUNT(globs); i++)
        ck_assert_msg(mr_text_glob(globs[i].pattern, globs[i].s) == globs[i].matches, "%s on %s",
                      globs[i].pattern, globs[i].s);
}
END_TEST

static const struct glob_case paths[] = {
    {"*", "a.mrc", true},
    {"*", "grid7/a.mrc", true},
    {"*.tmp", "a.tmp", true},
    {"*.tmp", "grid7/x/a.tmp", true},
    {"*.tmp", "grid7/a.tmpx", false},
    {".*", ".hidden", true},
    {".*", "grid7/.hidden", true},
    {".*", ".cache/a.mrc", true},
    {".*", "a.mrc", false},
    {"$RECYCLE.BIN/*", "$RECYCLE.BIN/S-1-5/a.mrc", true},
    {"$RECYCLE.BIN/*", "$RECYCLE.BIN/a.mrc", true},
    {"$RECYCLE.BIN/*", "$RECYCLE.BIN", false},
    {"$RECYCLE.BIN/*", "x/$RECYCLE.BIN/a.mrc", false},
    {"System Volume Information/*", "System Volume Information/a", true},
    {"grid*/*.mrc", "grid7/a.mrc", true},
    {"grid*/*.mrc", "x/grid7/a.mrc", false},
    {"**/raw/*.mrc", "x/y/raw/a.mrc", true},
    {"/a.mrc", "a.mrc", true},
    {"/a.mrc", "x/a.mrc", false},
    {"Thumbs.db", "x/Thumbs.db", true},
};

START_TEST(path_globs_match_as_documented)
{
    for (size_t i = 0; i < COUNT(paths); i++)
        ck_assert_msg(mr_text_glob_path(paths[i].pattern, paths[i].s) == paths[i].matches,
                      "%s on %s", paths[i].pattern, paths[i].s);
}
END_TEST

START_TEST(a_hostile_glob_ends_in_time)
{
    char s[2001], pattern[201];
    memset(s, 'a', 2000);
    s[2000] = '\0';
    for (size_t i = 0; i < 200; i += 2)
        memcpy(pattern + i, "*a", 2);
    pattern[199] = 'b';
    pattern[200] = '\0';
    ck_assert(!mr_text_glob(pattern, s));
}
END_TEST

START_TEST(utf8_is_judged_strictly)
{
    static const char *const good[] = {"",
                                       "abc",
                                       "\xc3\xa4",
                                       "\xe2\x82\xac",
                                       "\xf0\x9f\x94\xac",
                                       "\xed\x9f\xbf",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\xaf",
                                      "\xc3",
                                      "\xe2\x82",
                                      "\xe0\x80\xaf",
                                      "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf8\x88\x80\x80\x80",
                                      "\xff"};
    for (size_t i = 0; i < COUNT(good); i++)
        ck_assert_msg(mr_text_is_utf8(good[i], strlen(good[i])), "good %zu", i);
    for (size_t i = 0; i < COUNT(bad); i++)
        ck_assert_msg(!mr_text_is_utf8(bad[i], strlen(bad[i])), "bad %zu", i);
}
END_TEST

START_TEST(other_than_utf8_is_escaped)
{
    char buffer[64];
    struct mr_text t = mr_text_init(buffer, sizeof(buffer));
    mr_text_append_escaped(&t, "a\xff\xc3\xa4\xc3z 5%");
    ck_assert_str_eq(t.data, "a%FF\xc3\xa4%C3z 5%");
}
END_TEST

MR_SUITE("text", T(builder_appends_and_cuts), T(sizes_are_read), T(what_is_no_size_is_refused),
         T(durations_are_read), T(percentages_are_read), T(exact_texts_are_read_back),
         T(about_texts_suit_people), T(the_nearest_name_is_found), T(plain_names_are_told),
         T(globs_match_as_written), T(path_globs_match_as_documented),
         T(a_hostile_glob_ends_in_time), T(utf8_is_judged_strictly), T(other_than_utf8_is_escaped))
