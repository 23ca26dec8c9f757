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

MR_SUITE("event", T(an_event_is_one_line_of_cloudevents), T(what_cannot_be_an_event_is_refused),
         T(names_and_number_find_their_place))
