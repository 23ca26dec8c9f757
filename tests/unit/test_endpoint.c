/* SPDX-License-Identifier: Apache-2.0 */
/* Are endpoints read as written, and is what is none refused? */
#include "suite.h"
#include "wire/endpoint.h"

#include <errno.h>
#include <string.h>

START_TEST(endpoints_are_read_and_written)
{
    struct mr_endpoint e;
    char text[MR_ENDPOINT_TEXT];
    ck_assert_int_eq(mr_endpoint_parse("tcp://127.0.0.1:5580", &e, NULL), 0);
    ck_assert_str_eq(e.host, "127.0.0.1");
    ck_assert_uint_eq(e.port, 5580);
    ck_assert_int_eq(mr_endpoint_text(&e, 1, text), 0);
    ck_assert_str_eq(text, "tcp://127.0.0.1:5581");
    ck_assert_int_eq(mr_endpoint_parse("tcp://[::1]:65535", &e, NULL), 0);
    ck_assert_str_eq(e.host, "[::1]");
    ck_assert_int_eq(mr_endpoint_text(&e, 0, text), 0);
    ck_assert_str_eq(text, "tcp://[::1]:65535");
    ck_assert_int_eq(mr_endpoint_text(&e, 1, text), -ERANGE);
    ck_assert_int_eq(mr_endpoint_parse("tcp://storage-1.example.org:1", &e, NULL), 0);
    ck_assert_int_eq(mr_endpoint_parse("tcp://*:5570", &e, NULL), 0);
}
END_TEST

START_TEST(what_is_none_is_refused_and_ret_stays)
{
    static const char *const bad[] = {
        "",           "127.0.0.1:5580", "ipc:///tmp/x", "tcp://",         "tcp://:5580",
        "tcp://a",    "tcp://a:",       "tcp://a:0",    "tcp://a:65536",  "tcp://a:-1",
        "tcp://a:+1", "tcp://a:1 ",     "tcp://a b:1",  "tcp://::1:5580", "tcp://[::1:5580",
        "tcp://[]:1", "tcp://a/b:1",    "tcp:/",        "tcp:",           "tcp:///:1",
        "tcp:/a:1",   "tcq://a:1",      "TCP://a:1",    "tcp://a:000001", "tcp://a:99999999999",
        "tcp://**:1", "tcp://a*:1",     "tcp://*a:1",   "tcp://a]:1",     "tcp://[1]]:1/",
        "tcp://[1:1", "tcp://[g::]:1",  "tcp:// a:1",   "tcp://a:1:"};
    struct mr_endpoint e = {.port = 7};
    struct mr_err err = {0};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(mr_endpoint_parse(bad[i], &e, &err) == -EINVAL, "%s", bad[i]);
    char longer[400] = "tcp://";
    memset(longer + 6, 'a', 256);
    strcpy(longer + 262, ":1");
    ck_assert_int_eq(mr_endpoint_parse(longer, &e, &err), -EINVAL);
    ck_assert_uint_eq(e.port, 7);
    ck_assert_int_eq(err.code, -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "host"));
    ck_assert_int_eq(mr_endpoint_parse("tcp://h.example.org:70000", &e, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "'tcp://h.example.org:70000'"));
    ck_assert_ptr_nonnull(strstr(err.text, "port"));
}
END_TEST

START_TEST(the_longest_names_and_highest_ports_fit)
{
    char longest[400] = "tcp://", text[MR_ENDPOINT_TEXT];
    struct mr_endpoint e;
    memset(&e, 'x', sizeof(e)); /* the NUL is the parser's */
    memset(longest + 6, 'a', 255);
    strcpy(longest + 261, ":65535");
    ck_assert_int_eq(mr_endpoint_parse(longest, &e, NULL), 0);
    ck_assert_uint_eq(strlen(e.host), 255);
    ck_assert_uint_eq(e.port, 65535);
    ck_assert_int_eq(mr_endpoint_text(&e, 0, text), 0);
    ck_assert_str_eq(text, longest);
    memset(&e, 'x', sizeof(e));
    ck_assert_int_eq(mr_endpoint_parse("tcp://[::]:1", &e, NULL), 0);
    ck_assert_str_eq(e.host, "[::]");
    ck_assert_uint_eq(e.port, 1);
    ck_assert_int_eq(mr_endpoint_text(&e, 65534, text), 0);
    ck_assert_str_eq(text, "tcp://[::]:65535");
    ck_assert_int_eq(mr_endpoint_text(&e, 65535, text), -ERANGE);
    ck_assert_int_eq(mr_endpoint_text(&e, UINT32_MAX, text), -ERANGE);
    ck_assert_str_eq(text, "tcp://[::]:65535"); /* as it was */
    ck_assert_int_eq(mr_endpoint_parse("tcp://a:9", &e, NULL), 0);
    ck_assert_str_eq(e.host, "a");
}
END_TEST

START_TEST(loopback_is_told_from_the_rest)
{
    static const struct {
        const char *host;
        bool loopback;
    } cases[] = {{"localhost", true},
                 {"127.0.0.1", true},
                 {"127.8.9.1", true},
                 {"[::1]", true},
                 {"*", false},
                 {"0.0.0.0", false},
                 {"127.example.org", false},
                 {"[::]", false},
                 {"10.0.0.1", false},
                 {"1270.0.0.1", false},
                 {"127-0-0-1", false},
                 {"localhost.x", false},
                 {"[::1", false},
                 {"[::11]", false},
                 {"128.0.0.1", false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mr_endpoint e = {.port = 1};
        strcpy(e.host, cases[i].host);
        ck_assert_msg(mr_endpoint_is_loopback(&e) == cases[i].loopback, "%s", cases[i].host);
    }
}
END_TEST

MR_SUITE("endpoint", T(endpoints_are_read_and_written), T(what_is_none_is_refused_and_ret_stays),
         T(the_longest_names_and_highest_ports_fit), T(loopback_is_told_from_the_rest))
