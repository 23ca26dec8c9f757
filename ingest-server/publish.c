/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishes what the log says, in its order, and answers replay. Keeps no copy of an event: the log
 * is read again for each. A subscriber that does not read loses messages at its high-water mark,
 * and nothing here waits for one.
 */
#include "publish.h"

#include "base/fs.h"
#include "base/log.h"
#include "base/tally.h"
#include "replay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STAGE    "publish"
#define BATCH    256u /* events between two looks at the requests */
#define RETRY_MS 1000 /* after the log could not be read */
#define REQUESTS 16u  /* and the other way round */

struct mr_publish {
    struct mr_eventlog *log;
    struct mr_publisher *publisher;
    int stop; /* eventfd */
    _Atomic uint64_t last, replays;
    _Atomic int error;
};

int mr_publish_new(struct mr_link *link, struct mr_eventlog *log, const char *events,
                   const char *replay, struct mr_publish **ret, struct mr_err *err)
{
    struct mr_publish *p = calloc(1, sizeof(*p));
    if (!p)
        return mr_err_errno(err, -ENOMEM, STAGE);
    p->log = log;
    atomic_init(&p->last, mr_eventlog_last(log));
    p->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = p->stop < 0 ? mr_err_errno(err, -errno, STAGE ": eventfd") : 0;
    if (r == 0)
        r = mr_publisher_bind(link, events, replay, &p->publisher, err);
    if (r < 0) {
        mr_publish_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

void mr_publish_free(struct mr_publish *p)
{
    if (!p)
        return;
    mr_publisher_close(p->publisher);
    mr_fs_close(&p->stop);
    free(p);
}

void mr_publish_stop(struct mr_publish *p)
{
    uint64_t one = 1;
    ssize_t n = write(p->stop, &one, sizeof(one));
    (void)n; /* EAGAIN: it is readable already */
}

static bool stopping(const struct mr_publish *p)
{
    uint64_t count;
    if (read(p->stop, &count, sizeof(count)) != sizeof(count))
        return false;
    uint64_t again = 1; /* stays readable: stopping is for good */
    ssize_t n = write(p->stop, &again, sizeof(again));
    (void)n;
    return true;
}

static int send_event(void *ctx, const struct mr_eventlog_record *record)
{
    struct mr_publish *p = ctx;
    int r = mr_publisher_send(p->publisher, record->type, record->json, record->json_bytes);
    if (r < 0) /* the doorbell is lost, the event is not: replay has it */
        mr_warn(STAGE, "event %" PRIu64 " could not be sent: %s", record->sequence, mr_err_name(r));
    atomic_store(&p->last, record->sequence);
    mr_tally_item(record->json_bytes);
    return 0;
}

static void note_error(struct mr_publish *p, int error)
{
    int before = atomic_exchange(&p->error, error);
    if (error < 0 && before == 0)
        mr_error(STAGE, "the event log cannot be read: %s; trying again", mr_err_name(error));
    else if (error == 0 && before < 0)
        mr_info(STAGE, "the event log can be read again");
}

static void send_pending(struct mr_publish *p)
{
    if (mr_publish_last(p) < mr_eventlog_last(p->log))
        note_error(p, mr_eventlog_read(p->log, mr_publish_last(p) + 1, BATCH, send_event, p));
}

/* Owned text, or NULL without memory. */
static char *answer(struct mr_publish *p, const void *data, size_t bytes, size_t *ret_bytes)
{
    struct mr_replay_request request;
    struct mr_err err = {.code = 0};
    char *text = NULL;
    int r = mr_replay_parse(data, bytes, &request, &err);
    if (r == 0) {
        r = mr_replay_page(p->log, request.since, request.limit, MR_REPLAY_PAGE_BYTES, &text,
                           ret_bytes);
        if (r == -EAGAIN)
            mr_err_set(&err, r, "this server may have been replaced, and is finding out");
        else if (r < 0)
            mr_err_errno(&err, r, "the event log cannot be read");
    }
    if (r < 0) {
        text = mr_replay_error(err.text);
        *ret_bytes = text ? strlen(text) : 0;
    }
    return text;
}

static void answer_requests(struct mr_publish *p)
{
    struct mr_part part;
    for (unsigned i = 0; i < REQUESTS; i++) {
        int r = mr_publisher_receive_request(p->publisher, &part);
        if (r == -EBADMSG)
            continue;
        if (r < 0)
            return;
        size_t bytes;
        char *text = answer(p, mr_part_data(&part), mr_part_bytes(&part), &bytes);
        mr_part_close(&part);
        r = text ? mr_publisher_reply(p->publisher, text, bytes) : -ENOMEM;
        if (r == 0)
            atomic_fetch_add(&p->replays, 1);
        else
            mr_log_seldom(MR_LOG_WARN, STAGE, "a request for replay gets no answer: %s",
                          r == -EAGAIN ? "that client does not read" : mr_err_name(r));
        free(text);
    }
}

static void run(void *stage)
{
    struct mr_publish *p = stage;
    const int fds[] = {mr_eventlog_doorbell(p->log), p->stop};
    for (;;) {
        uint64_t rung;
        ssize_t n = read(fds[0], &rung, sizeof(rung)); /* before looking, so that none is missed */
        (void)n;
        bool last_round = stopping(p);
        send_pending(p);
        answer_requests(p);
        bool behind = mr_publish_last(p) < mr_eventlog_last(p->log);
        bool failing = mr_publish_error(p) < 0;
        if (last_round && (!behind || failing))
            return;
        int r = mr_publisher_wait(p->publisher, fds, 2, behind ? (failing ? RETRY_MS : 0) : -1);
        (void)r; /* EINTR: look again */
    }
}

const struct mr_stage mr_publish_stage = {.name = STAGE, .start = NULL, .run = run};

void mr_publish_ports(const struct mr_publish *p, uint16_t *ret_events, uint16_t *ret_replay)
{
    mr_publisher_ports(p->publisher, ret_events, ret_replay);
}

uint64_t mr_publish_last(struct mr_publish *p)
{
    return atomic_load(&p->last);
}

uint64_t mr_publish_replays(struct mr_publish *p)
{
    return atomic_load(&p->replays);
}

int mr_publish_error(struct mr_publish *p)
{
    return atomic_load(&p->error);
}
