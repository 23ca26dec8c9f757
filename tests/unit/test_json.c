/* SPDX-License-Identifier: Apache-2.0 */
/* Is what we write read the same everywhere, and is sloppy JSON refused with a place? */
#include "base/json.h"
#include "suite.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static void check_dump(const struct mr_json *value, const char *expected)
{
    char *text = mr_json_dump(value);
    ck_assert_str_eq(text, expected);
    free(text);
}

static struct mr_json *parse(const char *text)
{
    struct mr_json *value = NULL;
    struct mr_err err = {0};
    int r = mr_json_parse(text, strlen(text), &value, &err);
    ck_assert_msg(r == 0, "%s: %s", text, err.text);
    return value;
}

START_TEST(keys_keep_their_order)
{
    struct mr_json *o = mr_json_object(), *list = mr_json_array(), *inner = mr_json_object();
    mr_json_put_string(o, "zebra", "z");
    mr_json_put_int(o, "apple", INT64_MAX);
    mr_json_put_bool(o, "yes", true);
    mr_json_put_null(o, "nothing");
    mr_json_put_string(o, "none", NULL);
    mr_json_add_string(list, "a");
    mr_json_add_int(list, -1);
    mr_json_add_real(list, 0.5);
    mr_json_put_int(inner, "n", 1);
    mr_json_add(list, inner);
    mr_json_put(o, "list", list);
    mr_json_put_int(o, "apple", 7); /* replaced in place */
    check_dump(o, "{\"zebra\":\"z\",\"apple\":7,\"yes\":true,\"nothing\":null,\"none\":null,"
                  "\"list\":[\"a\",-1,0.5,{\"n\":1}]}");
    struct mr_json *copy = mr_json_copy(o);
    mr_json_put_int(o, "apple", 8);
    ck_assert_int_eq(mr_json_int_value(mr_json_get(copy, "apple")), 7);
    mr_json_free(copy);
    mr_json_freep(&o);
    ck_assert_ptr_null(o);
    mr_json_free(NULL);
}
END_TEST

START_TEST(reals_are_short_and_exact)
{
    struct mr_json *a = mr_json_array();
    mr_json_add_real(a, 0.834);
    mr_json_add_real(a, 0.1 + 0.2);
    mr_json_add_real(a, 3);
    mr_json_add_real(a, 1e300);
    mr_json_add_real(a, -0.0);
    mr_json_add_real(a, NAN);
    mr_json_add_real(a, -INFINITY);
    mr_json_add_real(a, 1.0 / 3);
    check_dump(a, "[0.834,0.30000000000000004,3.0,1e+300,-0.0,null,null,0.3333333333333333]");
    mr_json_free(a);
}
END_TEST

START_TEST(strings_are_escaped_and_made_utf8)
{
    struct mr_json *a = mr_json_array(), *empty = mr_json_object();
    mr_json_add_string(a, "a\"\\/\b\f\n\r\t\x01\x7f\xc3\xa4");
    mr_json_add_string(a, "bad\xff.mrc");
    mr_json_add(a, empty);
    mr_json_add(a, mr_json_array());
    check_dump(a, "[\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\x7f\xc3\xa4\",\"bad%FF.mrc\",{},[]]");
    mr_json_free(a);
}
END_TEST

START_TEST(sloppy_json_is_refused)
{
    static const char *const bad[] = {
        "",
        "{",
        "{\"a\":1,}",
        "[1,]",
        "{\"a\":1}x",
        "{'a':1}",
        "{\"a\":1,\"a\":2}",
        "[01]",
        "[NaN]",
        "[1e999]",
        "7",
        "\"text\"",
        "[\"\\u0000\"]",
        "[\"\xff\"]",
        "[9223372036854775808]",
        "[\"a\nb\"]",
        "{\"a\" 1}",
        "[\"\\ud800\"]",
        "[1] []",
        "/* c */ []",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct mr_json *value = NULL;
        struct mr_err err = {0};
        ck_assert_msg(mr_json_parse(bad[i], strlen(bad[i]), &value, &err) == -EINVAL, "%s", bad[i]);
        ck_assert_ptr_null(value);
        ck_assert_ptr_nonnull(strchr(err.text, ':'));
    }
}
END_TEST

START_TEST(depth_is_bounded)
{
    char text[2 * MR_JSON_DEPTH_MAX + 4];
    struct mr_json *value = NULL;
    struct mr_err err = {0};
    size_t deep = MR_JSON_DEPTH_MAX;
    memset(text, '[', deep);
    memset(text + deep, ']', deep);
    ck_assert_int_eq(mr_json_parse(text, 2 * deep, &value, &err), 0);
    mr_json_free(value);
    memset(text, '[', deep + 1);
    memset(text + deep + 1, ']', deep + 1);
    ck_assert_int_eq(mr_json_parse(text, 2 * deep + 2, &value, &err), -EINVAL);
    /* brackets in strings do not count, and the text needs no NUL */
    memset(text, '[', sizeof(text));
    memcpy(text, "[\"", 2);
    memcpy(text + 100, "\"]x", 3);
    ck_assert_int_eq(mr_json_parse(text, 102, &value, &err), 0);
    mr_json_free(value);
}
END_TEST

START_TEST(members_are_read_by_type)
{
    struct mr_json *o =
        parse("{\"s\":\"x\",\"i\":5,\"r\":0.5,\"b\":true,\"n\":null,\"o\":{},\"a\":[1]}");
    struct mr_err err = {0};
    const char *s = NULL;
    int64_t i = 0;
    double r = 0;
    bool b = false;
    const struct mr_json *nested = NULL;
    ck_assert_int_eq(mr_json_need_string(o, "s", &s, &err), 0);
    ck_assert_str_eq(s, "x");
    ck_assert_int_eq(mr_json_need_int(o, "i", 5, 5, &i, &err), 0);
    ck_assert_int_eq(i, 5);
    ck_assert_int_eq(mr_json_need_real(o, "i", &r, &err), 0);
    ck_assert_double_eq(r, 5);
    ck_assert_int_eq(mr_json_need_real(o, "r", &r, &err), 0);
    ck_assert_double_eq(r, 0.5);
    ck_assert_int_eq(mr_json_need_bool(o, "b", &b, &err), 0);
    ck_assert(b);
    ck_assert_int_eq(mr_json_need_object(o, "o", &nested, &err), 0);
    ck_assert_uint_eq(mr_json_count(nested), 0);
    ck_assert_int_eq(mr_json_need_array(o, "a", &nested, &err), 0);
    ck_assert_uint_eq(mr_json_count(nested), 1);
    ck_assert_int_eq(mr_json_int_value(mr_json_at(nested, 0)), 1);
    ck_assert_ptr_null(mr_json_at(nested, 1));
    ck_assert_int_eq(mr_json_type(mr_json_get(o, "n")), MR_JSON_NULL);
    ck_assert_uint_eq(mr_json_count(o), 7);
    mr_json_free(o);
}
END_TEST

START_TEST(missing_and_wrong_members_are_named)
{
    struct mr_json *o =
        parse("{\"s\":7,\"i\":\"x\",\"big\":11,\"n\":null,\"b\":0,\"r\":\"1\",\"o\":[]}");
    struct mr_err err = {0};
    const char *s = "default";
    int64_t i = 3;
    double r = 1.5;
    bool b = true;
    const struct mr_json *nested = NULL;
    ck_assert_int_eq(mr_json_need_string(o, "none", &s, &err), -EINVAL);
    ck_assert_str_eq(err.text, "none: missing");
    ck_assert_int_eq(mr_json_need_string(o, "s", &s, &err), -EINVAL);
    ck_assert_str_eq(err.text, "s: must be a string");
    ck_assert_int_eq(mr_json_need_string(o, "n", &s, &err), -EINVAL);
    ck_assert_int_eq(mr_json_may_string(o, "s", &s, &err), -EINVAL);
    ck_assert_int_eq(mr_json_may_int(o, "i", 0, 10, &i, &err), -EINVAL);
    ck_assert_int_eq(mr_json_may_int(o, "big", 0, 10, &i, &err), -EINVAL);
    ck_assert_str_eq(err.text, "big: 11 is not from 0 to 10");
    ck_assert_int_eq(mr_json_need_bool(o, "b", &b, &err), -EINVAL);
    ck_assert_int_eq(mr_json_may_real(o, "r", &r, &err), -EINVAL);
    ck_assert_int_eq(mr_json_may_object(o, "o", &nested, &err), -EINVAL);
    ck_assert_int_eq(mr_json_may_string(o, "none", &s, &err), 0);
    ck_assert_int_eq(mr_json_may_int(o, "n", 0, 10, &i, &err), 0);
    ck_assert_int_eq(mr_json_may_real(o, "n", &r, &err), 0);
    ck_assert_int_eq(mr_json_may_bool(o, "none", &b, &err), 0);
    ck_assert_int_eq(mr_json_may_array(o, "none", &nested, &err), 0);
    ck_assert_str_eq(s, "default");
    ck_assert(i == 3 && b && nested == NULL);
    ck_assert_double_eq(r, 1.5);
    mr_json_free(o);
}
END_TEST

static int stop_at_b(void *ctx, const char *key, const struct mr_json *value)
{
    strcat(ctx, key);
    return mr_json_type(value) == MR_JSON_INT && strcmp(key, "b") == 0 ? 42 : 0;
}

START_TEST(members_are_visited_in_order)
{
    struct mr_json *o = parse("{\"z\":\"\",\"a\":1,\"b\":2,\"c\":3}");
    char keys[16] = "";
    ck_assert_int_eq(mr_json_each(o, stop_at_b, keys), 42);
    ck_assert_str_eq(keys, "zab");
    mr_json_free(o);
}
END_TEST

MR_SUITE("json", T(keys_keep_their_order), T(reals_are_short_and_exact),
         T(strings_are_escaped_and_made_utf8), T(sloppy_json_is_refused), T(depth_is_bounded),
         T(members_are_read_by_type), T(missing_and_wrong_members_are_named),
         T(members_are_visited_in_order))
