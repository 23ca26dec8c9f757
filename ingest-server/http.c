/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status server on libmicrohttpd, one thread of its own. Reads the event log through fds of its
 * own and asks providers for the rest; knows no stage and holds no lock while it sends.
 */
#include "http.h"

#include "base/counter.h"
#include "base/fs.h"
#include "http_page.h"
#include "replay.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct mr_http {
    struct MHD_Daemon *daemon;
    struct mr_http_provider provider;
    struct mr_eventlog *log;
    uint16_t port;
};

#define TEXT "text/plain; charset=utf-8"
#define JSON "application/json"

/* ---- answers ---- */

struct answer {
    unsigned status;
    const char *type;
    char *text; /* owned */
    size_t bytes;
};

static struct answer answer_text(unsigned status, const char *type, char *owned)
{
    return (struct answer){status, type, owned, owned ? strlen(owned) : 0};
}

static struct answer answer_copy(unsigned status, const char *type, const char *text)
{
    return answer_text(status, type, strdup(text));
}

static const char policy[] = "default-src 'none'; style-src 'unsafe-inline'; "
                             "script-src 'unsafe-inline'; connect-src 'self'";

/* Takes answer's text. */
static enum MHD_Result send_answer(struct MHD_Connection *connection, struct answer answer)
{
    if (!answer.text)
        return MHD_NO; /* out of memory: the connection is closed */
    struct MHD_Response *r =
        MHD_create_response_from_buffer(answer.bytes, answer.text, MHD_RESPMEM_MUST_FREE);
    if (!r) {
        free(answer.text);
        return MHD_NO;
    }
    enum MHD_Result result = MHD_NO;
    if (MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, answer.type) == MHD_YES &&
        MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") == MHD_YES &&
        MHD_add_response_header(r, "X-Content-Type-Options", "nosniff") == MHD_YES &&
        MHD_add_response_header(r, "Content-Security-Policy", policy) == MHD_YES &&
        (answer.status != MHD_HTTP_METHOD_NOT_ALLOWED ||
         MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD") == MHD_YES))
        result = MHD_queue_response(connection, answer.status, r);
    MHD_destroy_response(r);
    return result;
}

/* ---- the paths ---- */

static struct answer get_health(struct mr_http *h, struct MHD_Connection *c)
{
    (void)h, (void)c;
    return answer_copy(MHD_HTTP_OK, TEXT, "ok\n");
}

static struct answer get_ready(struct mr_http *h, struct MHD_Connection *c)
{
    struct mr_err err = {.code = 0};
    (void)c;
    if (h->provider.ready(h->provider.ctx, &err))
        return answer_copy(MHD_HTTP_OK, TEXT, "ready\n");
    return answer_copy(MHD_HTTP_SERVICE_UNAVAILABLE, TEXT, err.text[0] ? err.text : "not ready");
}

static struct answer get_metrics(struct mr_http *h, struct MHD_Connection *c)
{
    struct answer a = {MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", NULL, 0};
    (void)h, (void)c;
    FILE *out = open_memstream(&a.text, &a.bytes);
    if (!out)
        return a;
    mr_counter_print(out);
    if (fclose(out) != 0) {
        free(a.text);
        a.text = NULL;
    }
    return a;
}

static struct answer get_status(struct mr_http *h, struct MHD_Connection *c)
{
    (void)c;
    return answer_text(MHD_HTTP_OK, JSON, h->provider.status(h->provider.ctx));
}

static struct answer get_page(struct mr_http *h, struct MHD_Connection *c)
{
    (void)h, (void)c;
    return answer_copy(MHD_HTTP_OK, "text/html; charset=utf-8", mr_http_page);
}

struct query {
    struct mr_replay_request request;
    bool seen_since, seen_limit;
    struct mr_err err;
};

static bool read_number(const char *text, uint64_t *ret)
{
    size_t digits = text ? strspn(text, "0123456789") : 0;
    if (digits == 0 || digits > 18 || text[digits] != '\0')
        return false;
    *ret = strtoull(text, NULL, 10);
    return *ret > 0;
}

static enum MHD_Result read_argument(void *ctx, enum MHD_ValueKind kind, const char *key,
                                     const char *value)
{
    struct query *q = ctx;
    (void)kind;
    bool since = strcmp(key, "since") == 0;
    bool *seen = since ? &q->seen_since : &q->seen_limit;
    uint64_t *number = since ? &q->request.since : &q->request.limit;
    if (!since && strcmp(key, "limit") != 0)
        mr_err_set(&q->err, -EINVAL, "%s: unknown (known: since, limit)", key);
    else if (*seen || !read_number(value, number))
        mr_err_set(&q->err, -EINVAL, "%s: one whole number from 1 on", key);
    else
        *seen = true;
    return q->err.code == 0 ? MHD_YES : MHD_NO;
}

static struct answer get_events(struct mr_http *h, struct MHD_Connection *c)
{
    struct query q = {.request = {.since = 1, .limit = MR_REPLAY_LIMIT_DEFAULT}};
    struct answer a = {MHD_HTTP_OK, JSON, NULL, 0};
    if (!h->log)
        return answer_copy(MHD_HTTP_NOT_FOUND, TEXT, "not found\n");
    MHD_get_connection_values(c, MHD_GET_ARGUMENT_KIND, read_argument, &q);
    if (q.err.code != 0)
        return answer_text(MHD_HTTP_BAD_REQUEST, JSON, mr_replay_error(q.err.text));
    if (q.request.limit > MR_REPLAY_LIMIT_MAX)
        q.request.limit = MR_REPLAY_LIMIT_MAX;
    int r = mr_replay_page(h->log, q.request.since, q.request.limit, MR_REPLAY_PAGE_BYTES, &a.text,
                           &a.bytes);
    if (r < 0)
        return answer_text(MHD_HTTP_INTERNAL_SERVER_ERROR, JSON, mr_replay_error(mr_err_name(r)));
    return a;
}

static const struct {
    const char *path;
    struct answer (*get)(struct mr_http *h, struct MHD_Connection *c);
} paths[] = {
    {"/", get_page},           {"/healthz", get_health},   {"/readyz", get_ready},
    {"/metrics", get_metrics}, {"/v1/status", get_status}, {"/v1/events", get_events},
};

static enum MHD_Result serve(void *ctx, struct MHD_Connection *connection, const char *url,
                             const char *method, const char *version, const char *data,
                             size_t *data_bytes, void **state)
{
    struct mr_http *h = ctx;
    (void)version, (void)data, (void)data_bytes, (void)state;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return send_answer(connection,
                           answer_copy(MHD_HTTP_METHOD_NOT_ALLOWED, TEXT, "GET only\n"));
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        if (strcmp(url, paths[i].path) == 0)
            return send_answer(connection, paths[i].get(h, connection));
    return send_answer(connection, answer_copy(MHD_HTTP_NOT_FOUND, TEXT, "not found\n"));
}

/* ---- starting ---- */

/* "host:port" or "[host]:port" cut in two. */
static int cut_address(const char *address, char host[256], char port[8], struct mr_err *err)
{
    const char *colon = strrchr(address, ':');
    size_t bytes = colon ? (size_t)(colon - address) : 0;
    bool brackets = bytes > 2 && address[0] == '[' && address[bytes - 1] == ']';
    size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
    if (bytes == 0 || bytes > 255 || digits == 0 || digits > 5 || colon[1 + digits] != '\0' ||
        strtoul(colon + 1, NULL, 10) > 65535 || (!brackets && memchr(address, ':', bytes)))
        return mr_err_set(err, -EINVAL, "'%s' is no address (host:port)", address);
    snprintf(host, 256, "%.*s", (int)(brackets ? bytes - 2 : bytes), address + (brackets ? 1 : 0));
    snprintf(port, 8, "%s", colon + 1);
    return 0;
}

static int listen_on(const struct addrinfo *a, uint16_t *ret_port)
{
    struct sockaddr_storage bound;
    socklen_t bytes = sizeof(bound);
    int one = 1;
    MR_CLEANUP(mr_fs_close)
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, 32) < 0 ||
        getsockname(fd, (struct sockaddr *)&bound, &bytes) < 0)
        return -errno;
    *ret_port = ntohs(a->ai_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                               : ((struct sockaddr_in *)&bound)->sin_port);
    int listening = fd;
    fd = -1;
    return listening;
}

static int open_listener(const char *address, uint16_t *ret_port, struct mr_err *err)
{
    char host[256], port[8];
    struct addrinfo *found = NULL;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    int r = cut_address(address, host, port, err);
    if (r < 0)
        return r;
    int gai = getaddrinfo(host, port, &hints, &found);
    if (gai != 0)
        return mr_err_set(err, -EADDRNOTAVAIL, "%s: %s", address, gai_strerror(gai));
    int fd = listen_on(found, ret_port);
    freeaddrinfo(found);
    return fd < 0 ? mr_err_errno(err, fd, "%s: listening", address) : fd;
}

/* libmicrohttpd's thread inherits the mask: signals are main's. Takes fd on success. */
static struct MHD_Daemon *start_daemon(struct mr_http *h, int fd)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, serve, h,
                         MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                         MR_HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, MR_HTTP_TIMEOUT_S,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)32768, MHD_OPTION_END);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return daemon;
}

int mr_http_start(const char *address, const struct mr_http_provider *provider,
                  struct mr_eventlog *log, struct mr_http **ret, struct mr_err *err)
{
    struct mr_http *h = calloc(1, sizeof(*h));
    if (!h)
        return mr_err_errno(err, -ENOMEM, "http");
    h->provider = *provider;
    h->log = log;
    int fd = open_listener(address, &h->port, err);
    if (fd < 0) {
        free(h);
        return fd;
    }
    h->daemon = start_daemon(h, fd);
    if (!h->daemon) {
        close(fd);
        free(h);
        return mr_err_set(err, -EIO, "%s: the http thread could not be started", address);
    }
    *ret = h;
    return 0;
}

void mr_http_stop(struct mr_http *h)
{
    if (!h)
        return;
    MHD_stop_daemon(h->daemon);
    free(h);
}

uint16_t mr_http_port(const struct mr_http *h)
{
    return h->port;
}

const char *mr_http_library(void)
{
    static _Thread_local char text[48];
    snprintf(text, sizeof(text), "libmicrohttpd %s", MHD_get_version());
    return text;
}
