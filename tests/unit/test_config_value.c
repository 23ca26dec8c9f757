/* SPDX-License-Identifier: Apache-2.0 */
/* What may a value of each type look like, what is said of one that may not, and which are equal?
 */
#include "base/config_value.h"
#include "suite.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const names[] = {"auto", "off", NULL};
static const char *const one_name[] = {"auto", NULL};

static const char *refuse_x(const char *text)
{
    return strchr(text, 'x') == NULL ? NULL : "must not hold an x";
}

/* Any field, so that a write beyond its own bytes is seen. */
union field {
    uint64_t words[3];
    char *string;
    uint32_t u32;
    int64_t i64;
    bool yes;
    int number;
};

static struct mr_config_key row(enum mr_config_type type, int64_t min, int64_t max)
{
    return (struct mr_config_key){.path = "k", .type = type, .min = min, .max = max};
}

static int set(const struct mr_config_key *key, const char *text, union field *ret, char why[400])
{
    struct mr_text t = mr_text_init(why, 400);
    return mr_config_value_set(key, text, ret, &t);
}

/* ---- numbers ---- */

#define TIB ((int64_t)1 << 40)
#define S   INT64_C(1000000000)

/* why NULL: accepted, and is `value` */
static const struct {
    enum mr_config_type type;
    int64_t min, max;
    const char *text;
    int64_t value;
    const char *why;
} numbers[] = {
    {MR_CONFIG_INT, 0, 0, "0", 0, NULL},
    {MR_CONFIG_INT, 0, 0, "-0", 0, NULL},
    {MR_CONFIG_INT, 0, 0, "007", 7, NULL},
    {MR_CONFIG_INT, 0, 0, "9223372036854775807", INT64_MAX, NULL},
    {MR_CONFIG_INT, 0, 0, "-9223372036854775808", INT64_MIN, NULL},
    {MR_CONFIG_INT, 0, 0, "9223372036854775808", 0,
     "\"9223372036854775808\" is not within what can be represented"},
    {MR_CONFIG_INT, 0, 0, "", 0, "\"\" is not a whole number"},
    {MR_CONFIG_INT, 0, 0, "-", 0, "\"-\" is not a whole number"},
    {MR_CONFIG_INT, 0, 0, "--1", 0, "\"--1\" is not a whole number"},
    {MR_CONFIG_INT, 0, 0, "+1", 0, "\"+1\" is not a whole number"},
    {MR_CONFIG_INT, 0, 0, " 1", 0, "\" 1\" is not a whole number"},
    {MR_CONFIG_INT, 0, 0, "1 ", 0, "\"1 \" is not a whole number"},
    {MR_CONFIG_INT, 0, 0, "/1", 0, "\"/1\" is not a whole number"},
    {MR_CONFIG_INT, 0, 0, ":1", 0, "\":1\" is not a whole number"},
    {MR_CONFIG_INT, 0, 0, "1.0", 0, "\"1.0\" is not a whole number"},
    {MR_CONFIG_INT, 3, 5, "3", 3, NULL},
    {MR_CONFIG_INT, 3, 5, "5", 5, NULL},
    {MR_CONFIG_INT, 3, 5, "2", 0, "2 is out of range: 3 to 5"},
    {MR_CONFIG_INT, 3, 5, "6", 0, "6 is out of range: 3 to 5"},
    {MR_CONFIG_INT, 0, 1, "1", 1, NULL},
    {MR_CONFIG_INT, 0, 1, "2", 0, "2 is out of range: 0 to 1"},
    {MR_CONFIG_INT, 0, 1, "-1", 0, "-1 is out of range: 0 to 1"},
    {MR_CONFIG_INT, -1, 0, "0", 0, NULL},
    {MR_CONFIG_INT, -1, 0, "-2", 0, "-2 is out of range: -1 to 0"},
    {MR_CONFIG_SIZE, 0, 0, "9223372036854775807", INT64_MAX, NULL},
    {MR_CONFIG_SIZE, 0, 0, "9223372036854775808", 0,
     "\"9223372036854775808\" is not within what can be represented"},
    {MR_CONFIG_SIZE, 0, 0, "16777216TiB", 0,
     "\"16777216TiB\" is not within what can be represented"},
    {MR_CONFIG_SIZE, 1024, TIB, "1KiB", 1024, NULL},
    {MR_CONFIG_SIZE, 1024, TIB, "1TiB", TIB, NULL},
    {MR_CONFIG_SIZE, 1024, TIB, "1023", 0, "1023 is out of range: 1KiB to 1TiB"},
    {MR_CONFIG_DURATION, 0, 0, "0", 0, NULL},
    {MR_CONFIG_DURATION, 0, 0, "106752d", 0, "\"106752d\" is not within what can be represented"},
    {MR_CONFIG_DURATION, S, 60 * S, "1min", 60 * S, NULL},
    {MR_CONFIG_DURATION, S, 60 * S, "61s", 0, "61s is out of range: 1s to 1min"},
    {MR_CONFIG_DURATION, S, 60 * S, "999ms", 0, "999ms is out of range: 1s to 1min"},
    {MR_CONFIG_OCTAL, 0, 0, "0", 0, NULL},
    {MR_CONFIG_OCTAL, 0, 0, "7777", 07777, NULL},
    {MR_CONFIG_OCTAL, 0, 0, "10000", 0, "\"10000\" is not within what can be represented"},
    {MR_CONFIG_OCTAL, 0, 0, "-1", 0, "\"-1\" is not a mode of octal digits such as 0640"},
    {MR_CONFIG_OCTAL, 0, 0, "8", 0, "\"8\" is not a mode of octal digits such as 0640"},
    {MR_CONFIG_OCTAL, 0400, 0777, "0777", 0777, NULL},
    {MR_CONFIG_OCTAL, 0400, 0777, "0377", 0, "0377 is out of range: 0400 to 0777"},
    {MR_CONFIG_PERCENT, 0, 0, "100%", 10000, NULL},
    {MR_CONFIG_PERCENT, 0, 0, "100.01%", 0, "\"100.01%\" is not within what can be represented"},
    {MR_CONFIG_PERCENT, 50, 9000, "0.5%", 50, NULL},
    {MR_CONFIG_PERCENT, 50, 9000, "90.01%", 0, "90.01% is out of range: 0.5% to 90%"},
    {MR_CONFIG_PERCENT, 50, 9000, "0.49%", 0, "0.49% is out of range: 0.5% to 90%"},
};

static int64_t stored(enum mr_config_type type, const union field *f)
{
    return type == MR_CONFIG_PERCENT || type == MR_CONFIG_OCTAL ? (int64_t)f->u32 : f->i64;
}

START_TEST(numbers_end_at_their_limits)
{
    for (size_t i = 0; i < COUNT(numbers); i++) {
        char why[400];
        struct mr_config_key key = row(numbers[i].type, numbers[i].min, numbers[i].max);
        union field f = {.words = {0x5a5a5a5a5a5a5a5a, 1, 2}}, before = f;
        int r = set(&key, numbers[i].text, &f, why);
        ck_assert_str_eq(why, numbers[i].why == NULL ? "" : numbers[i].why);
        ck_assert_int_eq(r, numbers[i].why == NULL ? 0 : -EINVAL);
        if (r == 0)
            ck_assert_int_eq(stored(numbers[i].type, &f), numbers[i].value);
        size_t own = r == 0 ? mr_config_value_bytes(numbers[i].type) : 0;
        ck_assert_mem_eq((char *)&f + own, (char *)&before + own, sizeof(f) - own);
    }
}
END_TEST

START_TEST(a_name_may_stand_for_a_number)
{
    char why[400];
    union field f = {.i64 = 5};
    struct mr_config_key key = row(MR_CONFIG_INT, 1, 9);
    key.names = names;
    ck_assert_int_eq(set(&key, "auto", &f, why), 0);
    ck_assert_int_eq(f.i64, -1);
    ck_assert_int_eq(set(&key, "off", &f, why), 0);
    ck_assert_int_eq(f.i64, -2);
    ck_assert_int_eq(set(&key, "-1", &f, why), -EINVAL); /* a name's number is none to write */
    ck_assert_str_eq(why, "-1 is out of range: 1 to 9");
    ck_assert_int_eq(set(&key, "of", &f, why), -EINVAL);
    ck_assert_str_eq(why, "\"of\" is not a whole number or auto or off; did you mean off?");
    key.names = one_name;
    ck_assert_int_eq(set(&key, "aut", &f, why), -EINVAL); /* there is but one: it is said anyhow */
    ck_assert_str_eq(why, "\"aut\" is not a whole number or auto");
    ck_assert_int_eq(f.i64, -2);
}
END_TEST

/* ---- words ---- */

START_TEST(a_choice_is_one_of_its_names)
{
    char why[400];
    union field f = {.words = {7, 8, 9}};
    struct mr_config_key key = row(MR_CONFIG_ENUM, 0, 0);
    key.names = names;
    ck_assert_int_eq(set(&key, "off", &f, why), 0);
    ck_assert_int_eq(f.number, 1);
    ck_assert_uint_eq(f.words[0] >> 32, 0);
    ck_assert_uint_eq(f.words[1], 8);
    ck_assert_int_eq(set(&key, "Off", &f, why), -EINVAL);
    ck_assert_str_eq(why, "\"Off\" is not auto or off; did you mean off?");
    ck_assert_int_eq(set(&key, "", &f, why), -EINVAL);
    ck_assert_str_eq(why, "\"\" is not auto or off");
    ck_assert_int_eq(f.number, 1);
}
END_TEST

START_TEST(true_and_false_are_written_out)
{
    static const char *const bad[] = {"", "yes", "True", "0", "1", "truee", "tru", "false "};
    char why[400];
    union field f = {.yes = false};
    struct mr_config_key key = row(MR_CONFIG_BOOL, 0, 0);
    ck_assert_int_eq(set(&key, "true", &f, why), 0);
    ck_assert(f.yes);
    for (size_t i = 0; i < COUNT(bad); i++)
        ck_assert_int_eq(set(&key, bad[i], &f, why), -EINVAL);
    ck_assert(f.yes);
    ck_assert_int_eq(set(&key, "false", &f, why), 0);
    ck_assert(!f.yes);
}
END_TEST

/* ---- strings ---- */

static const struct {
    const char *text, *why;
} strings[] = {
    {"abc", NULL},
    {"ab", "has 2 bytes; must have 3 to 8"},
    {"12345678", NULL},
    {"123456789", "has 9 bytes; must have 3 to 8"},
    {"\xc3\xa4\xc3\xa4", NULL},
    {"a x", "\"a x\": must not hold an x"},
    {"a\nb", "contains a control character"},
    {"a\x1f"
     "b",
     "contains a control character"},
    {"a b", NULL},
    {"a\x7e"
     "b",
     NULL},
    {"a\x7f"
     "b",
     "contains a control character"},
    {"a\xc2\x80", "contains a control character"},
    {"a\xc2\x85", "contains a control character"},
    {"a\xc2\x9f", "contains a control character"},
    {"a\xc2\xa0", NULL},
    {"a\xc3\x80", NULL},
    {"abc\xe4", "is not UTF-8"},
    {"abc\xed\xa0\x80", "is not UTF-8"},
    {"\xe2\x80\xa7", NULL},
    {"\xe2\x80\xa8", "contains a control character"},
    {"\xe2\x80\xa9", "contains a control character"},
    {"\xe2\x80\xaa", NULL},
    {"\xef\xbb\xbf", "contains a control character"},
    {"\xef\xbf\xbd", NULL},
    {"\xef\xbf\xbe", "contains a control character"},
    {"a\xef\xbf\xbf", "contains a control character"},
};

START_TEST(strings_have_a_length_and_no_controls)
{
    struct mr_config_key key = row(MR_CONFIG_STRING, 3, 8);
    key.refuse = refuse_x;
    for (size_t i = 0; i < COUNT(strings); i++) {
        char why[400];
        union field f = {.string = strdup("before")};
        int r = set(&key, strings[i].text, &f, why);
        ck_assert_msg(strcmp(why, strings[i].why == NULL ? "" : strings[i].why) == 0, "%zu: %s", i,
                      why);
        ck_assert_int_eq(r, strings[i].why == NULL ? 0 : -EINVAL);
        ck_assert_str_eq(f.string, r == 0 ? strings[i].text : "before");
        mr_config_value_free(&key, &f);
        ck_assert_ptr_null(f.string);
    }
}
END_TEST

/* Entries of a list have the limit of a string without one; the row's own counts entries. */
START_TEST(without_a_limit_strings_end_at_4096_bytes)
{
    static const struct mr_config_key rows[] = {
        {.type = MR_CONFIG_STRING},
        {.type = MR_CONFIG_STRINGS, .min = 2, .max = 3},
    };
    for (size_t i = 0; i < 2; i++) {
        char text[4098], why[400];
        struct mr_text t = mr_text_init(why, sizeof(why));
        memset(text, 'a', sizeof(text));
        text[4096] = '\0';
        ck_assert_int_eq(mr_config_value_check_string(&rows[i], text, &t), 0);
        ck_assert_int_eq(mr_config_value_check_string(&rows[i], "", &t), 0);
        ck_assert_str_eq(why, "");
        text[4096] = 'a';
        text[4097] = '\0';
        ck_assert_int_eq(mr_config_value_check_string(&rows[i], text, &t), -EINVAL);
        ck_assert_str_eq(why, "has 4097 bytes; must have 0 to 4096");
    }
}
END_TEST

START_TEST(names_and_absolute_paths_are_told)
{
    static const char *const name_good[] = {"", "a", "...", ".a", "k3-1_x.mrc", ".-"};
    static const char *const name_bad[] = {".", "..", "a/b", "a b", "\xc3\xa4", "a:b"};
    for (size_t i = 0; i < COUNT(name_good); i++)
        ck_assert_ptr_null(mr_config_refuse_name(name_good[i]));
    for (size_t i = 0; i < COUNT(name_bad); i++)
        ck_assert_ptr_nonnull(mr_config_refuse_name(name_bad[i]));
    ck_assert_ptr_null(mr_config_refuse_relative("/"));
    ck_assert_ptr_null(mr_config_refuse_relative("/a/b"));
    ck_assert_ptr_null(mr_config_refuse_relative(""));
    ck_assert_str_eq(mr_config_refuse_relative("a/b"), "must be an absolute path");
    ck_assert_str_eq(mr_config_refuse_relative("./a"), "must be an absolute path");
}
END_TEST

/* ---- to text ---- */

static void check_print(const struct mr_config_key *key, const void *field, const char *expected)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    mr_config_value_print(key, field, out);
    ck_assert_int_eq(fclose(out), 0);
    ck_assert_str_eq(text, expected);
    free(text);
}

START_TEST(what_is_printed_is_what_may_be_written)
{
    static const struct {
        enum mr_config_type type;
        int64_t value;
        const char *text;
    } rows[] = {
        {MR_CONFIG_INT, -1, "auto"},
        {MR_CONFIG_INT, -2, "off"},
        {MR_CONFIG_INT, -3, "-3"},
        {MR_CONFIG_INT, 0, "0"},
        {MR_CONFIG_INT, INT64_MIN, "-9223372036854775808"},
        {MR_CONFIG_INT, 7, "7"},
        {MR_CONFIG_SIZE, -1, "18446744073709551615"},
        {MR_CONFIG_SIZE, 3 << 20, "3MiB"},
        {MR_CONFIG_DURATION, 90 * S, "90s"},
        {MR_CONFIG_DURATION, 0, "0s"},
        {MR_CONFIG_PERCENT, 125, "1.25%"},
        {MR_CONFIG_OCTAL, 0640, "0640"},
        {MR_CONFIG_OCTAL, 0, "00"},
        {MR_CONFIG_BOOL, 1, "true"},
        {MR_CONFIG_BOOL, 0, "false"},
        {MR_CONFIG_ENUM, 1, "off"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mr_config_key key = row(rows[i].type, 0, 0);
        key.names = rows[i].type == MR_CONFIG_INT || rows[i].type == MR_CONFIG_ENUM ? names : NULL;
        union field f = {.i64 = rows[i].value}; /* of smaller ones: their bytes, on this machine */
        check_print(&key, &f, rows[i].text);
    }
    struct mr_config_key key = row(MR_CONFIG_STRING, 0, 0);
    check_print(&key, &(char *){NULL}, "\"\"");
    check_print(&key, &(const char *){"a\"b\\c d"}, "\"a\\\"b\\\\c d\"");
    char *items[] = {(char[]){"a"}, (char[]){""}, (char[]){"c\""}};
    key.type = MR_CONFIG_STRINGS;
    check_print(&key, &(struct mr_config_strings){.items = items, .count = 3},
                "[\"a\", \"\", \"c\\\"\"]");
    check_print(&key, &(struct mr_config_strings){.count = 0}, "[]");
}
END_TEST

/* ---- comparing ---- */

START_TEST(values_are_equal_where_all_of_them_is)
{
    static const enum mr_config_type types[] = {MR_CONFIG_SIZE,  MR_CONFIG_DURATION, MR_CONFIG_INT,
                                                MR_CONFIG_OCTAL, MR_CONFIG_PERCENT,  MR_CONFIG_ENUM,
                                                MR_CONFIG_BOOL};
    for (size_t i = 0; i < COUNT(types); i++) {
        struct mr_config_key key = row(types[i], 0, 0);
        size_t bytes = mr_config_value_bytes(types[i]);
        union field a = {.words = {0}}, b = {.words = {0}};
        memset((char *)&b + bytes, 0xff, sizeof(b) - bytes); /* another field's */
        ck_assert(mr_config_value_equal(&key, &a, &b));
        for (size_t at = 0; at < bytes; at++) {
            ((char *)&b)[at] = 1;
            ck_assert(!mr_config_value_equal(&key, &a, &b));
            ck_assert(!mr_config_value_equal(&key, &b, &a));
            ((char *)&b)[at] = 0;
        }
    }
    struct mr_config_key key = row(MR_CONFIG_STRING, 0, 0);
    ck_assert(mr_config_value_equal(&key, &(char *){NULL}, &(const char *){""}));
    ck_assert(!mr_config_value_equal(&key, &(char *){NULL}, &(const char *){"a"}));
    ck_assert(mr_config_value_equal(&key, &(const char *){"a"}, &(char *){(char[]){"a"}}));
    ck_assert(!mr_config_value_equal(&key, &(const char *){"a"}, &(const char *){"ab"}));
}
END_TEST

static struct mr_config_strings list_of(const char *letters)
{
    static char texts[256][2];
    struct mr_config_strings list = {.count = strlen(letters)};
    list.items = calloc(list.count + 1, sizeof(char *));
    for (size_t i = 0; i < list.count; i++) {
        texts[(unsigned char)letters[i]][0] = letters[i];
        list.items[i] = texts[(unsigned char)letters[i]];
    }
    return list;
}

static const char *const lists[] = {"", "a", "b", "ab", "ba", "abc", "abd", "xbc"};

START_TEST(lists_are_equal_entry_by_entry)
{
    struct mr_config_key key = row(MR_CONFIG_STRINGS, 0, 0);
    for (size_t i = 0; i < COUNT(lists); i++)
        for (size_t k = 0; k < COUNT(lists); k++) {
            struct mr_config_strings a = list_of(lists[i]), b = list_of(lists[k]);
            ck_assert_msg(mr_config_value_equal(&key, &a, &b) == (i == k), "%s and %s", lists[i],
                          lists[k]);
            free(a.items);
            free(b.items);
        }
}
END_TEST

struct entry {
    int64_t other; /* no key's */
    int64_t first, second;
};

START_TEST(lists_of_maps_are_equal_key_by_key)
{
    static const struct mr_config_key keys[] = {
        {.path = "first", .type = MR_CONFIG_INT, .offset = offsetof(struct entry, first)},
        {.path = "second", .type = MR_CONFIG_INT, .offset = offsetof(struct entry, second)},
        {.path = NULL},
    };
    static const struct mr_config_key key = {
        .path = "k", .type = MR_CONFIG_MAPS, .keys = keys, .entry_bytes = sizeof(struct entry)};
    struct entry a[3] = {{0, 1, 2}, {0, 3, 4}, {0, 5, 6}}, b[3];
    struct mr_config_maps in_a = {.items = a, .count = 3}, in_b = {.items = b, .count = 3};
    memcpy(b, a, sizeof(b));
    b[1].other = 99;
    ck_assert(mr_config_value_equal(&key, &in_a, &in_b));
    for (int i = 0; i < 3; i++) {
        b[i].second++;
        ck_assert(!mr_config_value_equal(&key, &in_a, &in_b));
        b[i].second--;
        b[i].first++;
        ck_assert(!mr_config_value_equal(&key, &in_a, &in_b));
        b[i].first--;
    }
    in_b.count = 2;
    ck_assert(!mr_config_value_equal(&key, &in_a, &in_b));
    ck_assert(!mr_config_value_equal(&key, &in_b, &in_a));
    in_a.count = 2;
    ck_assert(mr_config_value_equal(&key, &in_a, &in_b));
}
END_TEST

MR_SUITE("config_value", T(numbers_end_at_their_limits), T(a_name_may_stand_for_a_number),
         T(a_choice_is_one_of_its_names), T(true_and_false_are_written_out),
         T(strings_have_a_length_and_no_controls), T(without_a_limit_strings_end_at_4096_bytes),
         T(names_and_absolute_paths_are_told), T(what_is_printed_is_what_may_be_written),
         T(values_are_equal_where_all_of_them_is), T(lists_are_equal_entry_by_entry),
         T(lists_of_maps_are_equal_key_by_key))
