/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmillrace: hear of what a Millrace server stores, every event once and in order.
 *
 *     struct mr_subscription_options options = {.events = "tcp://127.0.0.1:5580", .since = 1};
 *     struct mr_subscription *s;
 *     char why[256];
 *     if (mr_subscription_open(&options, &s, why, sizeof(why)) < 0) ...
 *     struct mr_subscription_event e;
 *     int r;
 *     while ((r = mr_subscription_next(s, -1, &e)) == 0)
 *         puts(e.json);
 *     fprintf(stderr, "%s\n", mr_subscription_error(s));
 *     mr_subscription_close(s);
 *
 * What the server publishes is only a doorbell; the truth is its numbered log. So a subscription
 * asks for replay of what it does not have, goes over to the published messages when it has caught
 * up, notices a missing number, and asks again. It outlives the server's restarts. Events are JSON
 * (CloudEvents 1.0).
 *
 * To resume in another process, keep the sequence of the last event dealt with and open with since
 * = that
 * + 1: an event is then seen at least once.
 *
 * A subscription is used by one thread at a time. It starts a thread of ZeroMQ's; do not fork and
 * go on using it in the child (fork and exec is fine). Link with -lmillrace.
 */
#ifndef MR_CLIENT_MILLRACE_H
#define MR_CLIENT_MILLRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mr_subscription;

struct mr_subscription_options {
    /* "tcp://host:port" where the server publishes; NULL: tcp://127.0.0.1:5580 */
    const char *events;
    const char *replay; /* where it answers replay; NULL: the port after events' */
    uint64_t since;     /* sequence of the first event wanted; 0: only what comes from now on */
    const char *type;   /* a glob on types, "millrace.*.ready.v1"; NULL or "": all. Copied */
};

/* Texts are borrowed until the next call with this subscription */
struct mr_subscription_event {
    uint64_t sequence;
    uint64_t missed;  /* events just before this one that the server no longer keeps */
    const char *type; /* "millrace.movie.ready.v1" */
    const char *id;   /* stable however often an event is delivered */
    const char *json; /* the whole event on one line, NUL-terminated */
    size_t json_bytes;
};

/* Opens; does not wait for the server. 0 and *ret, to be closed; or a negative errno and its reason
 * in ret_error (ret_error_bytes; may be NULL): -EINVAL an endpoint or option, -ENOMEM, -EMFILE. */
int mr_subscription_open(const struct mr_subscription_options *options,
                         struct mr_subscription **ret, char *ret_error, size_t ret_error_bytes)
    __attribute__((warn_unused_result));

/* The next event that matches, in the order of the log. timeout_ms: -1 waits for ever; a wait may
 * take up to a quarter of a second longer while it asks for replay.
 *  0           *ret is filled
 *  -EAGAIN     none came in time (an unreachable server too: mr_subscription_reached)
 *  -EINTR      a signal was caught; call again
 *  -ESTALE     the server's log ends before the event in front of the wanted one: another or an
 *              older store, or a wrong number. Final
 *  -EPROTO     the server's answers make no sense. Final
 *  -ENOMEM     call again */
int mr_subscription_next(struct mr_subscription *subscription, int timeout_ms,
                         struct mr_subscription_event *ret) __attribute__((warn_unused_result));

/* True once the server has answered; and whether it did so when last asked. */
bool mr_subscription_reached(const struct mr_subscription *subscription);
bool mr_subscription_connected(const struct mr_subscription *subscription);

/* Sequence of the event that is looked at next, matching or not; 0 while it is not known (since = 0
 * and the server not reached yet). */
uint64_t mr_subscription_position(const struct mr_subscription *subscription);

/* Why the last call failed; "" if it did not. Borrowed. */
const char *mr_subscription_error(const struct mr_subscription *subscription);

void mr_subscription_close(struct mr_subscription *subscription); /* NULL allowed */

/* "0.1.0", and of what it is made: "libzmq 4.3.4". Static. */
const char *mr_subscription_version(void);
const char *mr_subscription_libraries(void);

#ifdef __cplusplus
}
#endif

#endif
