/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes an event's text and finds type, id and the sequence's place in it. The front of the text
 * has one fixed form, {"specversion":"1.0","type":"T","id":"I", so that neither needs a JSON
 * parser: the bytes that were fsynced in a SEALED record are the bytes that are published. Knows
 * nothing of what `data` means.
 */
#include "event.h"

#include "base/clock.h"
#include "base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FRONT  "{\"specversion\":\"1.0\",\"type\":\""
#define MIDDLE "\",\"id\":\""
#define NUMBER "\",\"sequence\":\""

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

/* Length of the name at s, or 0 where there is none of at most max bytes. */
static size_t name_bytes(const char *s, size_t bytes, size_t max)
{
    size_t n = 0;
    while (n < bytes && is_name_char(s[n]))
        n++;
    return n <= max ? n : 0;
}

static bool is_name(const char *s, size_t max)
{
    size_t bytes = strlen(s);
    return bytes > 0 && name_bytes(s, bytes, max) == bytes;
}

static void append_quoted(struct mr_text *t, const char *s)
{
    mr_text_append_char(t, '"');
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\')
            mr_text_append_char(t, '\\');
        if ((unsigned char)*s < 0x20)
            mr_text_appendf(t, "\\u%04x", (unsigned)*s);
        else
            mr_text_append_char(t, *s);
    }
    mr_text_append_char(t, '"');
}

static void build(struct mr_text *t, const struct mr_event *event)
{
    char time[MR_TIME_TEXT];
    mr_text_appendf(t, FRONT "%s" MIDDLE "%s\",\"source\":", event->type, event->id);
    append_quoted(t, event->source);
    if (event->subject && event->subject[0] != '\0') {
        mr_text_append(t, ",\"subject\":");
        append_quoted(t, event->subject);
    }
    mr_text_appendf(t, ",\"time\":\"%s\",\"datacontenttype\":\"application/json\"",
                    mr_clock_text(event->time_real_ns, time));
    if (event->data) {
        mr_text_append(t, ",\"data\":");
        mr_text_append(t, event->data);
    }
    mr_text_append_char(t, '}');
}

static int check(const struct mr_event *event)
{
    if (!is_name(event->type, MR_EVENT_TYPE_MAX) || !is_name(event->id, MR_EVENT_ID_MAX))
        return -EINVAL;
    if (event->data && strchr(event->data, '\n'))
        return -EINVAL;
    if (!mr_text_is_utf8(event->source, strlen(event->source)))
        return -EILSEQ;
    if (event->subject && !mr_text_is_utf8(event->subject, strlen(event->subject)))
        return -EILSEQ;
    return 0;
}

int mr_event_encode(const struct mr_event *event, char **ret, size_t *ret_bytes)
{
    int r = check(event);
    if (r < 0)
        return r;
    size_t room = 512 + 6 * strlen(event->source);
    room += event->subject ? 6 * strlen(event->subject) : 0;
    room += event->data ? strlen(event->data) : 0;
    char *text = malloc(room);
    if (!text)
        return -ENOMEM;
    struct mr_text t = mr_text_init(text, room);
    build(&t, event);
    if (t.overflowed || t.length > MR_EVENT_TEXT_MAX) {
        free(text);
        return -EMSGSIZE;
    }
    *ret = text;
    *ret_bytes = t.length;
    return 0;
}

/* Where type and id lie in an event's text */
struct front {
    size_t type, type_bytes, id, id_bytes;
};

static bool has(const char *json, size_t bytes, size_t at, const char *what)
{
    size_t n = strlen(what);
    return at <= bytes && n <= bytes - at && memcmp(json + at, what, n) == 0;
}

static int find_front(const char *json, size_t bytes, struct front *ret)
{
    struct front f = {.type = strlen(FRONT)};
    if (!has(json, bytes, 0, FRONT))
        return -EPROTO;
    f.type_bytes = name_bytes(json + f.type, bytes - f.type, MR_EVENT_TYPE_MAX);
    size_t at = f.type + f.type_bytes;
    if (f.type_bytes == 0 || !has(json, bytes, at, MIDDLE))
        return -EPROTO;
    f.id = at + strlen(MIDDLE);
    f.id_bytes = name_bytes(json + f.id, bytes - f.id, MR_EVENT_ID_MAX);
    if (f.id_bytes == 0 || !has(json, bytes, f.id + f.id_bytes, "\",\""))
        return -EPROTO;
    *ret = f;
    return 0;
}

int mr_event_names(const char *json, size_t bytes, char *ret_type, char *ret_id)
{
    struct front f;
    int r = find_front(json, bytes, &f);
    if (r < 0)
        return r;
    memcpy(ret_type, json + f.type, f.type_bytes);
    ret_type[f.type_bytes] = '\0';
    memcpy(ret_id, json + f.id, f.id_bytes);
    ret_id[f.id_bytes] = '\0';
    return 0;
}

int mr_event_number(const char *json, size_t bytes, uint64_t sequence, char *ret, size_t size,
                    size_t *ret_bytes)
{
    struct front f;
    int r = find_front(json, bytes, &f);
    if (r < 0)
        return r;
    size_t cut = f.id + f.id_bytes;
    if (has(json, bytes, cut, NUMBER) || memchr(json, '\n', bytes) || memchr(json, '\0', bytes))
        return -EPROTO;
    if (size == 0)
        return -ENOSPC;
    struct mr_text t = mr_text_init(ret, size);
    mr_text_append_bytes(&t, json, cut);
    mr_text_appendf(&t, NUMBER "%" PRIu64, sequence);
    mr_text_append_bytes(&t, json + cut, bytes - cut);
    if (t.overflowed)
        return -ENOSPC;
    *ret_bytes = t.length;
    return 0;
}
