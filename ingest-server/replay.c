/* SPDX-License-Identifier: Apache-2.0 */
/* Replay's request and page as text. Sockets are publish's and http's. */
#include "replay.h"

#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct member_check {
    struct mr_err *err;
};

static int check_member(void *ctx, const char *key, const struct mr_json *value)
{
    struct member_check *check = ctx;
    if (strcmp(key, "since") != 0 && strcmp(key, "limit") != 0)
        return mr_err_set(check->err, -EPROTO, "%s: unknown key (known: since, limit)", key);
    if (mr_json_type(value) != MR_JSON_INT)
        return mr_err_set(check->err, -EPROTO, "%s: not an integer", key);
    return 0;
}

int mr_replay_parse(const char *data, size_t bytes, struct mr_replay_request *ret,
                    struct mr_err *err)
{
    MR_CLEANUP(mr_json_freep) struct mr_json *request = NULL;
    int64_t since = 0, limit = MR_REPLAY_LIMIT_DEFAULT;
    struct member_check check = {.err = err};
    if (bytes > MR_REPLAY_REQUEST_MAX)
        return mr_err_set(err, -EPROTO, "request over %u bytes", MR_REPLAY_REQUEST_MAX);
    if (mr_json_parse(data, bytes, &request, err) < 0)
        return -EPROTO;
    if (mr_json_type(request) != MR_JSON_OBJECT)
        return mr_err_set(err, -EPROTO, "not an object");
    if (mr_json_each(request, check_member, &check) != 0 ||
        mr_json_need_int(request, "since", 1, INT64_MAX, &since, err) < 0 ||
        mr_json_may_int(request, "limit", 1, INT64_MAX, &limit, err) < 0)
        return -EPROTO;
    ret->since = (uint64_t)since;
    ret->limit = limit < MR_REPLAY_LIMIT_MAX ? (uint64_t)limit : MR_REPLAY_LIMIT_MAX;
    return 0;
}

char *mr_replay_error(const char *text)
{
    MR_CLEANUP(mr_json_freep) struct mr_json *o = mr_json_object();
    mr_json_put_string(o, "error", text);
    return mr_json_dump(o);
}

struct page {
    char *text;
    size_t bytes, room, max_bytes;
};

enum { FULL = 1 };

static int page_append(struct page *p, const char *text, size_t bytes)
{
    if (p->bytes + bytes + 1 > p->room) {
        size_t room = 2 * (p->bytes + bytes + 1);
        char *more = realloc(p->text, room);
        if (!more)
            return -ENOMEM;
        p->text = more;
        p->room = room;
    }
    memcpy(p->text + p->bytes, text, bytes);
    p->bytes += bytes;
    p->text[p->bytes] = '\0';
    return 0;
}

static int page_event(void *ctx, const struct mr_eventlog_record *record)
{
    struct page *p = ctx;
    bool first = p->text[p->bytes - 1] == '[';
    if (!first && p->bytes + record->json_bytes > p->max_bytes)
        return FULL;
    int r = first ? 0 : page_append(p, ",", 1);
    return r < 0 ? r : page_append(p, record->json, record->json_bytes);
}

static void page_fini(struct page *p)
{
    free(p->text);
}

int mr_replay_page(struct mr_eventlog *log, uint64_t since, uint64_t limit, size_t max_bytes,
                   char **ret, size_t *ret_bytes)
{
    MR_CLEANUP(page_fini) struct page p = {.max_bytes = max_bytes};
    char tail[96];
    int r = page_append(&p, "{\"events\":[", 11);
    if (r == 0)
        r = mr_eventlog_read(log, since, limit, page_event, &p);
    if (r < 0)
        return r;
    /* after the reading: then last is never smaller than an event on the page */
    int n = snprintf(tail, sizeof(tail), "],\"first\":%" PRIu64 ",\"last\":%" PRIu64 "}",
                     mr_eventlog_first(log), mr_eventlog_last(log));
    if (!mr_eventlog_is_newest(log))
        return -EAGAIN;
    r = page_append(&p, tail, (size_t)n);
    if (r < 0)
        return r;
    *ret = p.text;
    *ret_bytes = p.bytes;
    p.text = NULL;
    return 0;
}
