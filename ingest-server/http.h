/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status server: GET (and HEAD) of /healthz, /readyz, /metrics (base/counter.h), /v1/status,
 * /v1/events and a status page at /. The only file that knows libmicrohttpd. Its threads are its
 * own and it never takes a lock that the data path holds: what it shows comes from providers that
 * return quickly.
 */
#ifndef MR_HTTP_H
#define MR_HTTP_H

#include "eventlog.h"

/* Called on http's threads, perhaps several at once; each must return at once from a snapshot and
 * never wait for a stage. Texts are returned owned (free); NULL: out of memory. */
struct mr_http_provider {
    void *ctx;                                    /* borrowed */
    char *(*status)(void *ctx);                   /* JSON object */
    bool (*ready)(void *ctx, struct mr_err *err); /* false: err says why */
};

#define MR_HTTP_CONNECTIONS_MAX 64u
#define MR_HTTP_TIMEOUT_S       15u

struct mr_http;

/* address: "127.0.0.1:8570" or "[::1]:8570"; port 0 picks one. log may be NULL (then /v1/events is
 * 404). provider is copied, log borrowed until mr_http_stop. -EADDRINUSE and so on, err names the
 * address. Returns owned. */
int mr_http_start(const char *address, const struct mr_http_provider *provider,
                  struct mr_eventlog *log, struct mr_http **ret, struct mr_err *err) MR_MUST_USE;
void mr_http_stop(struct mr_http *http); /* waits for its threads; NULL allowed */
uint16_t mr_http_port(const struct mr_http *http);
const char *mr_http_library(void); /* "libmicrohttpd 0.9.75" */

#endif
