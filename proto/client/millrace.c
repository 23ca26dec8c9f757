/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Catching up by replay, going over to what is published, and back whenever a number is missing.
 * Every event is taken from the socket, whatever types are wanted: only the whole sequence shows a
 * gap. Prints nothing, keeps no file.
 */
#include "client/millrace.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "wire/endpoint.h"
#include "wire/link.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_EVENTS    500
#define REQUEST_MS     2000 /* one request for replay */
#define REQUEST_MIN_MS 250  /* it gets at least this, however short the caller's timeout */
#define CHECK_MIN_MS   100  /* how soon replay is asked whether something was missed ... */
#define CHECK_MAX_MS   5000 /* ... doubling to this while nothing was */
#define TOPIC_BYTES    256

struct mr_subscription {
    struct mr_link *link;
    struct mr_subscriber *subscriber;
    char *type;
    uint64_t next;        /* sequence to look at next; 0: ask the server for its last first */
    uint64_t missed;      /* events before next that the server has dropped */
    struct mr_json *page; /* replay's reply being worked through, or NULL */
    const struct mr_json *events;
    size_t at;   /* in events */
    bool behind; /* replay has, or may have, what is next */
    bool reached, connected;
    int check_ms;
    int64_t check_ns;        /* monotonic: when to ask replay again though nothing seems missing */
    struct mr_json *current; /* the event delivered last, when it came by PUB */
    char *text;              /* and its text */
    struct mr_err err;
    bool dead; /* err is final */
};

/* ---- opening ---- */

static int connect_to(struct mr_subscription *s, const struct mr_subscription_options *o)
{
    struct mr_endpoint events;
    char replay[MR_ENDPOINT_TEXT];
    const char *text = o->events ? o->events : "tcp://127.0.0.1:5580";
    int r = mr_endpoint_parse(text, &events, &s->err);
    if (r < 0)
        return r;
    if (o->replay)
        snprintf(replay, sizeof(replay), "%s", o->replay);
    else if (mr_endpoint_text(&events, 1, replay) < 0)
        return mr_err_set(&s->err, -EINVAL, "%s: no port after it for replay", text);
    r = mr_link_new(1, &s->link);
    if (r < 0)
        return mr_err_errno(&s->err, r, "ZeroMQ");
    return mr_subscriber_connect(s->link, text, replay, "", &s->subscriber, &s->err);
}

int mr_subscription_open(const struct mr_subscription_options *options,
                         struct mr_subscription **ret, char *ret_error, size_t ret_error_bytes)
{
    int r = -ENOMEM;
    struct mr_subscription *s = calloc(1, sizeof(*s));
    if (s) {
        s->next = options->since;
        s->behind = true;
        s->check_ms = CHECK_MIN_MS;
        s->type = strdup(options->type ? options->type : "");
        if (s->type)
            r = options->since > INT64_MAX ? mr_err_set(&s->err, -EINVAL, "since is too large")
                                           : connect_to(s, options);
    }
    if (r < 0) {
        const char *why = s && s->err.code != 0 ? s->err.text : mr_err_name(r);
        if (ret_error && ret_error_bytes > 0)
            snprintf(ret_error, ret_error_bytes, "%s", why);
        mr_subscription_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

static void drop_page(struct mr_subscription *s)
{
    mr_json_free(s->page);
    s->page = NULL;
    s->events = NULL;
}

static void drop_current(struct mr_subscription *s)
{
    free(s->text);
    mr_json_free(s->current);
    s->text = NULL;
    s->current = NULL;
}

void mr_subscription_close(struct mr_subscription *s)
{
    if (!s)
        return;
    drop_page(s);
    drop_current(s);
    mr_subscriber_close(s->subscriber);
    if (s->link)
        mr_link_free(s->link);
    free(s->type);
    free(s);
}

/* ---- one event ---- */

static int final(struct mr_subscription *s, int code)
{
    s->dead = true;
    s->err.code = code;
    return code;
}

static int sequence_of(const struct mr_json *event, uint64_t *ret)
{
    const char *text = NULL;
    if (mr_json_type(event) != MR_JSON_OBJECT ||
        mr_json_need_string(event, "sequence", &text, NULL) < 0)
        return -EPROTO;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 18 || text[digits] != '\0')
        return -EPROTO;
    *ret = strtoull(text, NULL, 10);
    return *ret > 0 ? 0 : -EPROTO;
}

/* Fills ret from an event that is next in the sequence; text is its own. 1: not of a type that is
 * wanted. */
static int deliver(struct mr_subscription *s, const struct mr_json *event, uint64_t sequence,
                   const char *text, struct mr_subscription_event *ret)
{
    const char *type = "", *id = "";
    if (mr_json_need_string(event, "type", &type, &s->err) < 0 ||
        mr_json_need_string(event, "id", &id, &s->err) < 0) {
        mr_err_prefix(&s->err, "event %" PRIu64, sequence);
        return final(s, -EPROTO);
    }
    s->next = sequence + 1;
    if (s->type[0] != '\0' && !mr_text_glob(s->type, type))
        return 1;
    *ret = (struct mr_subscription_event){.sequence = sequence,
                                          .missed = s->missed,
                                          .type = type,
                                          .id = id,
                                          .json = text,
                                          .json_bytes = strlen(text)};
    s->missed = 0;
    return 0;
}

/* ---- replay ---- */

static void check_soon(struct mr_subscription *s, bool something_missed)
{
    if (something_missed)
        s->check_ms = CHECK_MIN_MS;
    s->check_ns = mr_clock_monotonic_ns() + s->check_ms * MR_NS_PER_MS;
    s->check_ms = 2 * s->check_ms < CHECK_MAX_MS ? 2 * s->check_ms : CHECK_MAX_MS;
}

/* Nothing was got from replay: listen for a while before asking again. */
static int ask_later(struct mr_subscription *s)
{
    s->behind = false;
    check_soon(s, false);
    return -EAGAIN;
}

/* What replay said besides events: has the log gone back, is more to come? */
static int take_bounds(struct mr_subscription *s, uint64_t first, uint64_t last)
{
    if (s->next == 0)
        s->next = last + 1;
    if (last + 1 < s->next) {
        mr_err_set(&s->err, -ESTALE,
                   "the server's log ends at event %" PRIu64 ", and %" PRIu64
                   " is to come next: it is another store, an older copy, or a wrong number",
                   last, s->next);
        return final(s, -ESTALE);
    }
    if (first > s->next) {
        s->missed += first - s->next;
        s->next = first;
    }
    s->behind = s->next <= last;
    if (s->behind && mr_json_count(s->events) == 0) {
        mr_err_set(&s->err, -EPROTO,
                   "replay from %" PRIu64 " is empty though the log ends at %" PRIu64, s->next,
                   last);
        return final(s, -EPROTO);
    }
    check_soon(s, s->behind);
    return 0;
}

static int take_reply(struct mr_subscription *s, const void *data, size_t bytes)
{
    int64_t first = 0, last = 0;
    const char *why = NULL;
    drop_page(s);
    s->at = 0;
    int r = mr_json_parse(data, bytes, &s->page, &s->err);
    if (r == -ENOMEM)
        return r;
    if (r == 0 && mr_json_type(s->page) == MR_JSON_OBJECT &&
        mr_json_may_string(s->page, "error", &why, NULL) == 0 && why) {
        /* the server cannot read its log just now: it may again */
        mr_err_set(&s->err, -EAGAIN, "the server says: %s", why);
        drop_page(s);
        return ask_later(s);
    }
    if (r < 0 || mr_json_need_array(s->page, "events", &s->events, &s->err) < 0 ||
        mr_json_need_int(s->page, "first", 1, INT64_MAX - 1, &first, &s->err) < 0 ||
        mr_json_need_int(s->page, "last", 0, INT64_MAX - 1, &last, &s->err) < 0) {
        mr_err_prefix(&s->err, "replay");
        return final(s, -EPROTO);
    }
    return take_bounds(s, (uint64_t)first, (uint64_t)last);
}

/* Asks once. 0: there is a page (perhaps without events); -EAGAIN: no answer yet. */
static int ask_replay(struct mr_subscription *s, int64_t left_ms)
{
    char request[96];
    struct mr_part reply;
    int timeout = left_ms > REQUEST_MS ? REQUEST_MS : (int)left_ms;
    timeout = timeout < REQUEST_MIN_MS ? REQUEST_MIN_MS : timeout;
    uint64_t since = s->next > 0 ? s->next : INT64_MAX; /* from now: only the end is wanted */
    int n = snprintf(request, sizeof(request), "{\"since\":%" PRIu64 ",\"limit\":%d}", since,
                     PAGE_EVENTS);
    int r = mr_subscriber_request(s->subscriber, request, (size_t)n, timeout, &reply);
    if (r == -EINTR || r == -ENOMEM)
        return r;
    s->connected = r == 0;
    if (r == -ETIMEDOUT)
        return -EAGAIN;
    if (r < 0) {
        mr_err_errno(&s->err, r, "replay");
        return ask_later(s);
    }
    s->reached = true;
    r = take_reply(s, mr_part_data(&reply), mr_part_bytes(&reply));
    mr_part_close(&reply);
    return r;
}

/* The next wanted event of the page; 1: the page is at its end. */
static int next_of_page(struct mr_subscription *s, struct mr_subscription_event *ret)
{
    for (; s->page && s->at < mr_json_count(s->events); s->at++) {
        const struct mr_json *event = mr_json_at(s->events, s->at);
        uint64_t sequence = 0;
        int r = sequence_of(event, &sequence);
        if (r < 0 || sequence > s->next) {
            mr_err_set(&s->err, -EPROTO, "replay: no event %" PRIu64 " where it belongs", s->next);
            return final(s, -EPROTO);
        }
        if (sequence < s->next)
            continue;
        free(s->text);
        s->text = mr_json_dump(event);
        if (!s->text)
            return -ENOMEM;
        r = deliver(s, event, sequence, s->text, ret);
        if (r == 1)
            continue;
        s->at++;
        return r;
    }
    drop_page(s);
    return 1;
}

/* ---- what is published ---- */

/* 1: nothing to deliver (seen already, not wanted, or a gap, which sets behind). Takes parsed. */
static int take_published(struct mr_subscription *s, struct mr_json *parsed, const char *data,
                          size_t bytes, struct mr_subscription_event *ret)
{
    uint64_t sequence = 0;
    drop_current(s);
    s->current = parsed;
    if (sequence_of(parsed, &sequence) < 0 || sequence < s->next)
        return 1;
    if (sequence > s->next) {
        s->behind = true;
        return 1;
    }
    s->text = malloc(bytes + 1);
    if (!s->text) {
        s->behind = true;
        return -ENOMEM;
    }
    memcpy(s->text, data, bytes);
    s->text[bytes] = '\0';
    s->connected = true;
    check_soon(s, false);
    return deliver(s, parsed, sequence, s->text, ret);
}

static int next_published(struct mr_subscription *s, int64_t left_ms,
                          struct mr_subscription_event *ret)
{
    char topic[TOPIC_BYTES];
    struct mr_part part;
    struct mr_json *parsed = NULL;
    int64_t check_ms = (s->check_ns - mr_clock_monotonic_ns()) / MR_NS_PER_MS + 1;
    int64_t wait = check_ms < left_ms ? check_ms : left_ms;
    int r =
        mr_subscriber_receive(s->subscriber, wait > 0 ? (int)wait : 0, topic, sizeof(topic), &part);
    if (mr_clock_monotonic_ns() >= s->check_ns)
        s->behind = true; /* a doorbell may have been missed, and perhaps no other follows */
    if (r < 0)
        return r == -EAGAIN ? 1 : r;
    r = mr_json_parse(mr_part_data(&part), mr_part_bytes(&part), &parsed, NULL);
    r = r < 0 ? 1 : take_published(s, parsed, mr_part_data(&part), mr_part_bytes(&part), ret);
    mr_part_close(&part);
    return r;
}

/* ---- both ---- */

/* One step: 0 delivered, 1 go on, -EAGAIN no answer, or an error. */
static int step(struct mr_subscription *s, int64_t left_ms, struct mr_subscription_event *ret)
{
    if (s->page)
        return next_of_page(s, ret);
    if (!s->behind)
        return next_published(s, left_ms, ret);
    int r = ask_replay(s, left_ms);
    return r == 0 || r == -EAGAIN ? 1 : r;
}

int mr_subscription_next(struct mr_subscription *s, int timeout_ms,
                         struct mr_subscription_event *ret)
{
    if (s->dead)
        return s->err.code;
    s->err = (struct mr_err){.code = 0};
    int64_t deadline = mr_clock_monotonic_ns() + timeout_ms * MR_NS_PER_MS;
    for (;;) {
        int64_t left =
            timeout_ms < 0 ? CHECK_MAX_MS : (deadline - mr_clock_monotonic_ns()) / MR_NS_PER_MS;
        int r = step(s, left > 0 ? left : 0, ret);
        if (r != 1)
            return r;
        if (timeout_ms >= 0 && mr_clock_monotonic_ns() >= deadline && !s->page)
            return -EAGAIN;
    }
}

bool mr_subscription_reached(const struct mr_subscription *s)
{
    return s->reached;
}

bool mr_subscription_connected(const struct mr_subscription *s)
{
    return s->connected;
}

uint64_t mr_subscription_position(const struct mr_subscription *s)
{
    return s->next;
}

const char *mr_subscription_error(const struct mr_subscription *s)
{
    return s->err.text;
}

const char *mr_subscription_version(void)
{
    return MILLRACE_VERSION;
}

const char *mr_subscription_libraries(void)
{
    return mr_link_library();
}
