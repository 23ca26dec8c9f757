/* SPDX-License-Identifier: Apache-2.0 */
/* Is an event's text what CloudEvents wants, and do type, id and sequence find their place? */
#include "event.h"
#include "suite.h"

#include <errno.h>
#include <string.h>

static const struct mr_event ready = {
    .type = MR_EVENT_MOVIE_READY,
    .id = "01ARYZ6S410000000000000000.ready",
    .source = "/millrace/storage1/k3",
    .subject = "grid7/a \"b\"\\\t\xc3\xa4.mrc",
    .time_real_ns = 1479880800000000000,
    .data = "{\"revision\":1}",
};

START_TEST(an_event_is_one_line_of_cloudevents)
{
    char *text;
    size_t bytes;
    ck_assert_int_eq(mr_event_encode(&ready, &text, &bytes), 0);
    ck_assert_str_eq(text, "{\"specversion\":\"1.0\",\"type\":\"millrace.movie.ready.v1\",\"id\":"
                           "\"01ARYZ6S410000000000000000.ready\",\"source\":\"/millrace/storage1/"
                           "k3\",\"subject\":\"grid7/a \\\"b\\\"\\\\\\u0009\xc3\xa4.mrc\",\"time\":"
                           "\"2016-11-23T06:00:00.000Z\",\"datacontenttype\":\"application/json\","
                           "\"data\":{\"revision\":1}}");
    ck_assert_uint_eq(bytes, strlen(text));
    free(text);
}
END_TEST

START_TEST(what_cannot_be_an_event_is_refused)
{
    struct mr_event e = ready;
    char *text = NULL;
    size_t bytes;
    e.id = "a b";
    ck_assert_int_eq(mr_event_encode(&e, &text, &bytes), -EINVAL);
    e.id = "";
    ck_assert_int_eq(mr_event_encode(&e, &text, &bytes), -EINVAL);
    e = ready;
    e.type = "0123456789012345678901234567890123456789012345678901234567890123";
    ck_assert_int_eq(mr_event_encode(&e, &text, &bytes), -EINVAL);
    e = ready;
    e.data = "{\n}";
    ck_assert_int_eq(mr_event_encode(&e, &text, &bytes), -EINVAL);
    e = ready;
    e.subject = "\xff";
    ck_assert_int_eq(mr_event_encode(&e, &text, &bytes), -EILSEQ);
    e = ready;
    char *big = malloc(MR_EVENT_TEXT_MAX + 1);
    memset(big, ' ', MR_EVENT_TEXT_MAX);
    big[MR_EVENT_TEXT_MAX] = '\0';
    e.data = big;
    ck_assert_int_eq(mr_event_encode(&e, &text, &bytes), -EMSGSIZE);
    ck_assert_ptr_null(text);
    free(big);
}
END_TEST

START_TEST(names_and_number_find_their_place)
{
    char *text, type[MR_EVENT_TYPE_MAX + 1], id[MR_EVENT_ID_MAX + 1], numbered[1024];
    size_t bytes, length;
    ck_assert_int_eq(mr_event_encode(&ready, &text, &bytes), 0);
    ck_assert_int_eq(mr_event_names(text, bytes, type, id), 0);
    ck_assert_str_eq(type, ready.type);
    ck_assert_str_eq(id, ready.id);
    ck_assert_int_eq(mr_event_number(text, bytes, 42, numbered, sizeof(numbered), &length), 0);
    ck_assert_ptr_nonnull(strstr(numbered, ".ready\",\"sequence\":\"42\",\"source\":"));
    ck_assert_uint_eq(length, strlen(numbered));
    ck_assert_int_eq(mr_event_names(numbered, length, type, id), 0);
    ck_assert_str_eq(id, ready.id);
    char again[1024];
    ck_assert_int_eq(mr_event_number(numbered, length, 43, again, sizeof(again), &length), -EPROTO);
    ck_assert_int_eq(mr_event_number(text, bytes, 42, again, bytes, &length), -ENOSPC);
    for (size_t cut = 0; cut < 90; cut++)
        ck_assert_int_eq(mr_event_names(text, cut, type, id), -EPROTO);
    free(text);
}
END_TEST

/* type and id: 1 to 63 of [A-Za-z0-9._-], each on its own. */
START_TEST(names_have_an_alphabet_and_a_length)
{
    static const char alphabet[] = "abzABZ019._-", others[] = " /\"\\,:;@`[{!+\x7f\x80\n\t";
    char name[66];
    for (unsigned which = 0; which < 2; which++) {
        for (int c = 1; c < 256; c++) {
            struct mr_event e = ready;
            char *text = NULL;
            size_t bytes;
            (void)snprintf(name, sizeof(name), "a%cb", c);
            *(which == 0 ? &e.type : &e.id) = name;
            int r = mr_event_encode(&e, &text, &bytes);
            if (strchr(alphabet, c) != NULL)
                ck_assert_int_eq(r, 0);
            if (strchr(others, c) != NULL)
                ck_assert_int_eq(r, -EINVAL);
            free(r == 0 ? text : NULL);
        }
        for (size_t length = 0; length <= 65; length++) {
            struct mr_event e = ready;
            char *text, type[MR_EVENT_TYPE_MAX + 1], id[MR_EVENT_ID_MAX + 1];
            size_t bytes;
            memset(name, 'x', sizeof(name));
            name[length] = '\0';
            *(which == 0 ? &e.type : &e.id) = name;
            int r = mr_event_encode(&e, &text, &bytes);
            ck_assert_int_eq(r, length >= 1 && length <= 63 ? 0 : -EINVAL);
            if (r < 0)
                continue;
            ck_assert_int_eq(mr_event_names(text, bytes, type, id), 0);
            ck_assert_str_eq(which == 0 ? type : id, name);
            free(text);
        }
    }
}
END_TEST

START_TEST(what_there_is_none_of_is_left_out)
{
    struct mr_event e = ready;
    char *text;
    size_t bytes;
    e.subject = "";
    e.data = NULL;
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(mr_event_encode(&e, &text, &bytes), 0);
        ck_assert_ptr_null(strstr(text, "subject"));
        ck_assert_ptr_null(strstr(text, "data\":"));
        ck_assert_uint_eq(bytes, strlen(text));
        free(text);
        e.subject = NULL;
    }
}
END_TEST

START_TEST(a_source_has_to_be_utf8_and_is_quoted_whatever_it_holds)
{
    struct mr_event e = ready;
    char control[1001], *text;
    size_t bytes;
    e.source = "/m/\xc3";
    ck_assert_int_eq(mr_event_encode(&e, &text, &bytes), -EILSEQ);
    for (int i = 0; i < 1000; i++)
        control[i] = (char)(i % 31 + 1); /* each takes six bytes */
    control[1000] = '\0';
    e.source = e.subject = control;
    ck_assert_int_eq(mr_event_encode(&e, &text, &bytes), 0);
    ck_assert_ptr_nonnull(strstr(text, "\"source\":\"\\u0001\\u0002"));
    ck_assert_ptr_nonnull(strstr(text, "\\u0007\\u0008\",\"time\""));
    ck_assert_ptr_null(strchr(text, '\n'));
    free(text);
}
END_TEST

START_TEST(an_event_is_as_long_as_it_may_be_and_no_longer)
{
    struct mr_event e = ready;
    char *text, *data = malloc(MR_EVENT_TEXT_MAX + 1);
    size_t bytes, rest;
    e.data = "";
    ck_assert_int_eq(mr_event_encode(&e, &text, &rest), 0);
    free(text);
    for (unsigned over = 0; over < 2; over++) {
        size_t room = MR_EVENT_TEXT_MAX - rest + over;
        memset(data, ' ', room);
        data[room] = '\0';
        e.data = data;
        ck_assert_int_eq(mr_event_encode(&e, &text, &bytes), over == 0 ? 0 : -EMSGSIZE);
        if (over > 0)
            continue;
        ck_assert_uint_eq(bytes, MR_EVENT_TEXT_MAX);
        free(text);
    }
    free(data);
}
END_TEST

/* Texts that a log might hold and that no encode made. */
START_TEST(what_is_no_event_has_no_names_and_takes_no_number)
{
#define FRONT "{\"specversion\":\"1.0\",\"type\":\""
    static const char *const texts[] = {
        "",
        "{}",
        FRONT "a\",\"id\":\"b\"}",
        FRONT "\",\"id\":\"b\",\"source\":\"\"}",
        FRONT "a\",\"id\":\"\",\"source\":\"\"}",
        FRONT "a b\",\"id\":\"b\",\"source\":\"\"}",
        FRONT "a\",\"ID\":\"b\",\"source\":\"\"}",
        FRONT "a\", \"id\":\"b\",\"source\":\"\"}",
        "{\"specversion\":\"1.1\",\"type\":\"a\",\"id\":\"b\",\"s\""};
    char type[MR_EVENT_TYPE_MAX + 1] = "as it was", id[MR_EVENT_ID_MAX + 1] = "so, too", out[512];
    size_t bytes = 4711;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        size_t n = strlen(texts[i]);
        ck_assert_int_eq(mr_event_names(texts[i], n, type, id), -EPROTO);
        ck_assert_int_eq(mr_event_number(texts[i], n, 1, out, sizeof(out), &bytes), -EPROTO);
    }
    ck_assert_str_eq(type, "as it was");
    ck_assert_str_eq(id, "so, too");
    ck_assert_uint_eq(bytes, 4711);
    static const char good[] = FRONT "a\",\"id\":\"b\",\"source\":\"\"}";
    char text[sizeof(good)];
    for (size_t i = 0; i + 1 < sizeof(good); i++) { /* on one line, and no two texts */
        memcpy(text, good, sizeof(good));
        text[i] = '\n';
        ck_assert_int_eq(mr_event_number(text, sizeof(good) - 1, 1, out, 512, &bytes), -EPROTO);
        text[i] = '\0';
        ck_assert_int_eq(mr_event_number(text, sizeof(good) - 1, 1, out, 512, &bytes), -EPROTO);
    }
}
END_TEST

START_TEST(a_numbered_event_fits_exactly_or_not_at_all)
{
    static const uint64_t numbers[] = {0, 9, 10, UINT64_MAX};
    char *text, out[1024];
    size_t bytes, length, again;
    ck_assert_int_eq(mr_event_encode(&ready, &text, &bytes), 0);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq(mr_event_number(text, bytes, numbers[i], out, sizeof(out), &length), 0);
        char *exact = malloc(length + 1);
        ck_assert_int_eq(mr_event_number(text, bytes, numbers[i], exact, length + 1, &again), 0);
        ck_assert_uint_eq(again, length);
        ck_assert_str_eq(exact, out);
        ck_assert_int_eq(mr_event_number(text, bytes, numbers[i], exact, length, &again), -ENOSPC);
        ck_assert_int_eq(mr_event_number(text, bytes, numbers[i], exact, 0, &again), -ENOSPC);
        free(exact);
    }
    ck_assert_ptr_nonnull(strstr(out, "\"sequence\":\"18446744073709551615\""));
    free(text);
}
END_TEST

MR_SUITE("event", T(an_event_is_one_line_of_cloudevents), T(what_cannot_be_an_event_is_refused),
         T(names_and_number_find_their_place), T(names_have_an_alphabet_and_a_length),
         T(what_there_is_none_of_is_left_out),
         T(a_source_has_to_be_utf8_and_is_quoted_whatever_it_holds),
         T(an_event_is_as_long_as_it_may_be_and_no_longer),
         T(what_is_no_event_has_no_names_and_takes_no_number),
         T(a_numbered_event_fits_exactly_or_not_at_all))
