/* SPDX-License-Identifier: Apache-2.0 */
/* Does any value that can be built come back as it was, and does each reader take its own type and
 * no other? */
#include "base/json.h"
#include "base/text.h"
#include "dice.h"
#include "suite.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- there and back ---- */

static double any_real(void)
{
    static const double some[] = {0.1, -0.0, 1e22, 5e-324, 1.7976931348623157e308, 123456789.0};
    if (dice(3) == 0)
        return some[dice(COUNT(some))];
    uint64_t bits = dice_bits();
    double v;
    memcpy(&v, &bits, sizeof(v));
    return isfinite(v) ? v : 0.5;
}

static int64_t any_int(void)
{
    static const int64_t some[] = {0, -1, INT64_MAX, INT64_MIN, 1};
    return dice(2) == 0 ? some[dice(COUNT(some))] : (int64_t)dice_bits() >> dice(60);
}

static const char *any_text(void)
{
    static char text[40];
    static const char *const pieces[] = {"a",
                                         "\"",
                                         "\\",
                                         "/",
                                         "\n",
                                         "\x01",
                                         "\x1f",
                                         "\x20",
                                         "\x7f",
                                         "\t",
                                         "{",
                                         "]",
                                         "\xc3\xa4",
                                         "\xe2\x82\xac",
                                         "\xf0\x9f\x94\xac",
                                         "%FF"};
    text[0] = '\0';
    for (size_t n = dice(8); n > 0; n--)
        strcat(text, pieces[dice(COUNT(pieces))]);
    return text;
}

static struct mr_json *any_value(unsigned depth);

static void put_any(struct mr_json *object, const char *key, unsigned depth)
{
    switch (dice(depth > 0 ? 6 : 5)) {
    case 0:
        mr_json_put_string(object, key, any_text());
        break;
    case 1:
        mr_json_put_int(object, key, any_int());
        break;
    case 2:
        mr_json_put_real(object, key, any_real());
        break;
    case 3:
        mr_json_put_bool(object, key, dice(2) == 0);
        break;
    case 4:
        mr_json_put_null(object, key);
        break;
    default:
        mr_json_put(object, key, any_value(depth - 1));
    }
}

static struct mr_json *any_value(unsigned depth)
{
    char key[64];
    struct mr_json *value = dice(2) == 0 ? mr_json_object() : mr_json_array();
    bool object = mr_json_type(value) == MR_JSON_OBJECT;
    for (size_t n = dice(6), i = 0; i < n; i++) {
        struct mr_json *member = mr_json_object();
        put_any(member, "x", depth);
        snprintf(key, sizeof(key), "%zu%s", i, any_text());
        if (object)
            mr_json_put(value, key, mr_json_copy(mr_json_get(member, "x")));
        else
            mr_json_add(value, mr_json_copy(mr_json_get(member, "x")));
        mr_json_free(member);
    }
    ck_assert(object || mr_json_get(value, "0") == NULL);
    return value;
}

/* In memory that ends with it: the text needs no NUL. */
static int parse(const char *text, size_t bytes, struct mr_json **ret, struct mr_err *err)
{
    char *exact = malloc(bytes + (bytes == 0));
    memcpy(exact, text, bytes);
    int r = mr_json_parse(exact, bytes, ret, err);
    free(exact);
    return r;
}

static bool same_int(const struct mr_json *a, const struct mr_json *b)
{
    return mr_json_int_value(a) == mr_json_int_value(b);
}

static bool same_real(const struct mr_json *a, const struct mr_json *b)
{
    struct mr_json *in_a = mr_json_object(), *in_b = mr_json_object();
    double x = 1, y = 2;
    mr_json_put(in_a, "x", mr_json_copy(a));
    mr_json_put(in_b, "x", mr_json_copy(b));
    int r = mr_json_need_real(in_a, "x", &x, NULL) | mr_json_need_real(in_b, "x", &y, NULL);
    mr_json_free(in_a);
    mr_json_free(in_b);
    return r == 0 && memcmp(&x, &y, sizeof(x)) == 0;
}

static void check_same(const struct mr_json *a, const struct mr_json *b);

static int check_member(void *ctx, const char *key, const struct mr_json *value)
{
    check_same(value, mr_json_get(ctx, key));
    return 0;
}

static void check_same(const struct mr_json *a, const struct mr_json *b)
{
    ck_assert_ptr_nonnull(b);
    enum mr_json_type type = mr_json_type(a);
    ck_assert_int_eq(type, mr_json_type(b));
    ck_assert_uint_eq(mr_json_count(a), mr_json_count(b));
    ck_assert((mr_json_string_value(a) != NULL) == (type == MR_JSON_STRING));
    if (type == MR_JSON_STRING)
        ck_assert_str_eq(mr_json_string_value(a), mr_json_string_value(b));
    ck_assert(same_int(a, b));
    ck_assert(type != MR_JSON_REAL || same_real(a, b));
    if (type == MR_JSON_OBJECT)
        ck_assert_int_eq(mr_json_each(a, check_member, (void *)(uintptr_t)b), 0);
    for (size_t i = 0; type == MR_JSON_ARRAY && i < mr_json_count(a); i++)
        check_same(mr_json_at(a, i), mr_json_at(b, i));
    ck_assert_ptr_null(mr_json_at(a, mr_json_count(a)));
}

START_TEST(what_is_built_is_written_on_one_line_and_read_back)
{
    for (int round = 0; round < 3000; round++) {
        struct mr_err err = {0};
        struct mr_json *value = any_value(4), *back = NULL;
        char *text = mr_json_dump(value);
        ck_assert_ptr_null(strpbrk(text, "\n\r\t\x01\x1f"));
        int r = parse(text, strlen(text), &back, &err);
        ck_assert_msg(r == 0, "%s: %s", err.text, text);
        check_same(value, back);
        char *again = mr_json_dump(back);
        ck_assert_str_eq(text, again); /* the order of keys, too */
        free(text);
        free(again);
        mr_json_free(value);
        mr_json_free(back);
    }
}
END_TEST

START_TEST(no_text_is_read_that_was_cut_short)
{
    for (int round = 0; round < 100; round++) {
        struct mr_json *value = any_value(3);
        char *text = mr_json_dump(value);
        for (size_t bytes = 0; bytes < strlen(text); bytes++) {
            struct mr_json *none = NULL;
            struct mr_err err = {0};
            ck_assert_int_eq(parse(text, bytes, &none, &err), -EINVAL);
            ck_assert_ptr_null(none);
            int line = 0, column = -1;
            ck_assert_int_eq(sscanf(err.text, "%d:%d: ", &line, &column), 2);
            ck_assert(line == 1 && column >= 0);
        }
        free(text);
        mr_json_free(value);
    }
}
END_TEST

START_TEST(any_bytes_of_a_name_become_text)
{
    for (int round = 0; round < 5000; round++) {
        char name[12] = "";
        for (size_t n = dice(sizeof(name)), i = 0; i < n; i++)
            name[i] = (char)(1 + dice(255));
        struct mr_json *value = mr_json_array(), *back = NULL;
        mr_json_add_string(value, name);
        char escaped[64], *text = mr_json_dump(value);
        struct mr_text t = mr_text_init(escaped, sizeof(escaped));
        mr_text_append_escaped(&t, name);
        ck_assert_int_eq(parse(text, strlen(text), &back, NULL), 0);
        ck_assert_str_eq(mr_json_string_value(mr_json_at(back, 0)), escaped);
        free(text);
        mr_json_free(value);
        mr_json_free(back);
    }
}
END_TEST

START_TEST(reals_have_as_few_digits_as_tell_them_apart)
{
    for (int round = 0; round < 20000; round++) {
        char shorter[40];
        double v = any_real();
        struct mr_json *value = mr_json_array();
        mr_json_add_real(value, v);
        char *text = mr_json_dump(value);
        ck_assert(strtod(text + 1, NULL) == v);
        int digits = 0;
        for (const char *c = text + 1; *c != 'e' && *c != ']'; c++)
            digits += *c >= '0' && *c <= '9';
        snprintf(shorter, sizeof(shorter), "%.*g", 16, v);
        if (digits >= 17 && strchr(text, 'e') != NULL)
            ck_assert_msg(strtod(shorter, NULL) != v, "%s", text);
        snprintf(shorter, sizeof(shorter), "%.*g", 15, v);
        if (digits >= 16 && strchr(text, 'e') != NULL)
            ck_assert_msg(strtod(shorter, NULL) != v, "%s", text);
        free(text);
        mr_json_free(value);
    }
}
END_TEST

/* ---- readers ---- */

static const char members[] = "{\"string\":\"x\",\"int\":5,\"real\":0.5,\"bool\":false,"
                              "\"object\":{},\"array\":[],\"null\":null}";

/* Each need_ and may_, by a number; what stood in *ret changes only where it says 0 and is there.
 */
enum { STRING, INT, REAL, BOOL, OBJECT, ARRAY, READERS };

static int read_member(int reader, bool need, const struct mr_json *o, const char *key,
                       bool *ret_changed, struct mr_err *err)
{
    const char *s = "before";
    const struct mr_json *j = o;
    int64_t i = 77;
    double d = 77;
    bool b = true;
    int r = -ENOSYS;
    switch (reader) {
    case STRING:
        r = need ? mr_json_need_string(o, key, &s, err) : mr_json_may_string(o, key, &s, err);
        break;
    case INT:
        r = need ? mr_json_need_int(o, key, 0, 9, &i, err) : mr_json_may_int(o, key, 0, 9, &i, err);
        break;
    case REAL:
        r = need ? mr_json_need_real(o, key, &d, err) : mr_json_may_real(o, key, &d, err);
        break;
    case BOOL:
        r = need ? mr_json_need_bool(o, key, &b, err) : mr_json_may_bool(o, key, &b, err);
        break;
    case OBJECT:
        r = need ? mr_json_need_object(o, key, &j, err) : mr_json_may_object(o, key, &j, err);
        break;
    case ARRAY:
        r = need ? mr_json_need_array(o, key, &j, err) : mr_json_may_array(o, key, &j, err);
        break;
    }
    *ret_changed = strcmp(s, "before") != 0 || i != 77 || d != 77 || !b || j != o;
    return r;
}

START_TEST(each_reader_takes_its_type_and_no_other)
{
    static const char *const keys[] = {"string", "int",   "real", "bool",
                                       "object", "array", "null", "none"};
    static const char *const wanted[READERS] = {"a string",      "an integer", "a number",
                                                "true or false", "an object",  "an array"};
    struct mr_json *o = NULL;
    ck_assert_int_eq(parse(members, strlen(members), &o, NULL), 0);
    for (int reader = 0; reader < READERS; reader++)
        for (size_t k = 0; k < COUNT(keys); k++)
            for (int need = 0; need <= 1; need++) {
                char expected[64] = "";
                struct mr_err err = {0};
                bool changed;
                bool absent = k >= 6; /* null, and not there at all */
                bool fits = (size_t)reader == k || (reader == REAL && k == INT);
                if (k == 7 && need)
                    snprintf(expected, sizeof(expected), "none: missing");
                else if (!fits && (need || !absent))
                    snprintf(expected, sizeof(expected), "%s: must be %s", keys[k], wanted[reader]);
                int r = read_member(reader, need, o, keys[k], &changed, &err);
                ck_assert_str_eq(err.text, expected);
                ck_assert_int_eq(r, expected[0] == '\0' ? 0 : -EINVAL);
                ck_assert(changed == fits);
            }
    mr_json_free(o);
}
END_TEST

START_TEST(integers_end_at_their_limits)
{
    static const struct {
        const char *text;
        int64_t min, max;
        const char *error;
    } rows[] = {
        {"{\"i\":3}", 3, 5, ""},
        {"{\"i\":5}", 3, 5, ""},
        {"{\"i\":2}", 3, 5, "i: 2 is not from 3 to 5"},
        {"{\"i\":6}", 3, 5, "i: 6 is not from 3 to 5"},
        {"{\"i\":-9223372036854775808}", INT64_MIN, INT64_MAX, ""},
        {"{\"i\":9223372036854775807}", INT64_MIN, INT64_MAX, ""},
        {"{\"i\":-1}", 0, INT64_MAX, "i: -1 is not from 0 to 9223372036854775807"},
        {"{\"i\":5.0}", 3, 5, "i: must be an integer"},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        for (int need = 0; need <= 1; need++) {
            struct mr_json *o = NULL;
            struct mr_err err = {0};
            int64_t v = 77;
            ck_assert_int_eq(parse(rows[i].text, strlen(rows[i].text), &o, NULL), 0);
            int r = need ? mr_json_need_int(o, "i", rows[i].min, rows[i].max, &v, &err)
                         : mr_json_may_int(o, "i", rows[i].min, rows[i].max, &v, &err);
            ck_assert_str_eq(err.text, rows[i].error);
            ck_assert_int_eq(r, rows[i].error[0] == '\0' ? 0 : -EINVAL);
            ck_assert(r == 0 ? v == mr_json_int_value(mr_json_get(o, "i")) : v == 77);
            mr_json_free(o);
        }
}
END_TEST

START_TEST(values_of_another_type_have_nothing_to_give)
{
    struct mr_json *o = NULL;
    ck_assert_int_eq(parse(members, strlen(members), &o, NULL), 0);
    static const enum mr_json_type types[] = {MR_JSON_STRING, MR_JSON_INT,    MR_JSON_REAL,
                                              MR_JSON_BOOL,   MR_JSON_OBJECT, MR_JSON_ARRAY,
                                              MR_JSON_NULL};
    static const char *const keys[] = {"string", "int", "real", "bool", "object", "array", "null"};
    for (size_t i = 0; i < COUNT(keys); i++) {
        const struct mr_json *v = mr_json_get(o, keys[i]);
        ck_assert_int_eq(mr_json_type(v), types[i]);
        ck_assert_uint_eq(mr_json_count(v), 0);
        ck_assert_ptr_null(mr_json_at(v, 0));
        ck_assert_int_eq(mr_json_int_value(v), types[i] == MR_JSON_INT ? 5 : 0);
    }
    mr_json_put_real(o, "real", NAN);
    ck_assert_int_eq(mr_json_type(mr_json_get(o, "real")), MR_JSON_NULL);
    mr_json_put_real(o, "real", 2);
    ck_assert_int_eq(mr_json_type(mr_json_get(o, "real")), MR_JSON_REAL);
    mr_json_put_bool(o, "bool", true);
    bool b = false;
    ck_assert_int_eq(mr_json_need_bool(o, "bool", &b, NULL), 0);
    ck_assert(b);
    mr_json_free(o);
}
END_TEST

/* ---- depth ---- */

/* Prints one text `times` times. */
static size_t repeat(char *ret, const char *text, size_t times)
{
    for (size_t i = 0; i < times; i++)
        memcpy(ret + i * strlen(text), text, strlen(text));
    return times * strlen(text);
}

START_TEST(only_what_is_open_counts_as_depth)
{
    static const struct {
        const char *one; /* many of these in one array are as deep as one of them */
    } rows[] = {{"{},"},         {"[],"},          {"[{}],"}, {"\"[\","},
                {"\"\\\"[{\","}, {"\"\\\\\",[],"}, {"\"]\","}};
    static char text[10000];
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mr_json *value = NULL;
        struct mr_err err = {0};
        text[0] = '[';
        size_t bytes = 1 + repeat(text + 1, rows[i].one, 3 * MR_JSON_DEPTH_MAX);
        text[bytes - 1] = ']';
        int r = parse(text, bytes, &value, &err);
        ck_assert_msg(r == 0, "%s: %s", rows[i].one, err.text);
        mr_json_free(value);
    }
}
END_TEST

START_TEST(one_level_too_many_is_refused_wherever_it_is)
{
    static const struct {
        const char *front, *open, *close;
    } rows[] = {{"", "[", "]"}, {"", "{\"a\":", "}"}, {"[[[]],", "[", "]"}, {"[\"]]\",", "[", "]"}};
    static char text[10000];
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t depth = MR_JSON_DEPTH_MAX - 2; depth <= MR_JSON_DEPTH_MAX + 2; depth++) {
            struct mr_json *value = NULL;
            struct mr_err err = {0};
            size_t in_front = rows[i].front[0] != '\0'; /* levels */
            size_t bytes = repeat(text, rows[i].front, 1);
            bytes += repeat(text + bytes, rows[i].open, depth - in_front);
            bytes += repeat(text + bytes, "{}", rows[i].open[0] == '{');
            bytes += repeat(text + bytes, rows[i].close, depth - in_front);
            bytes += repeat(text + bytes, "]", in_front);
            size_t deepest = depth + (rows[i].open[0] == '{');
            int r = parse(text, bytes, &value, &err);
            ck_assert_int_eq(r, deepest <= MR_JSON_DEPTH_MAX ? 0 : -EINVAL);
            ck_assert((value == NULL) == (r < 0));
            ck_assert(r == 0 || strstr(err.text, "nested deeper than 64 levels") != NULL);
            mr_json_free(value);
        }
}
END_TEST

START_TEST(too_much_depth_has_a_place)
{
    static char text[1000];
    struct mr_json *value = NULL;
    struct mr_err err = {0};
    size_t bytes = repeat(text, "[", 200);
    ck_assert_int_eq(parse(text, bytes, &value, &err), -EINVAL);
    ck_assert_str_eq(err.text, "1:65: nested deeper than 64 levels");
    bytes = repeat(text, "[\n", 60);
    bytes += repeat(text + bytes, " [", 10);
    ck_assert_int_eq(parse(text, bytes, &value, &err), -EINVAL);
    ck_assert_str_eq(err.text, "61:10: nested deeper than 64 levels");
}
END_TEST

MR_SUITE("json_model", T(what_is_built_is_written_on_one_line_and_read_back),
         T(no_text_is_read_that_was_cut_short), T(any_bytes_of_a_name_become_text),
         T(reals_have_as_few_digits_as_tell_them_apart), T(each_reader_takes_its_type_and_no_other),
         T(integers_end_at_their_limits), T(values_of_another_type_have_nothing_to_give),
         T(only_what_is_open_counts_as_depth), T(one_level_too_many_is_refused_wherever_it_is),
         T(too_much_depth_has_a_place))
