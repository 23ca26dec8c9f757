/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ZeroMQ context, parts, and what all sockets share: limits, binding, payloads on loan. The
 * ends are in link_agent.c, link_server.c and link_events.c. Knows no message and no session.
 */
#include "wire/endpoint.h"
#include "wire/link_socket.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define HANDSHAKE_MS 10000
/* Of TCP alone, which needs nobody's attention at the other end. A SYN that was lost is sent again
 * after 1, 2, 4 s ...: a new try is the sooner way over a link that has come back. */
#define CONNECT_MS 1500
/* "Do not reconnect" is not spelled -1: with that, 4.3.4 throws away what has arrived and is not
 * yet read when the connection breaks. A week is never: the peer is closed long before. */
#define NEVER_MS (7 * 24 * 3600 * 1000)
/* Above the largest payload, so that received ones come from the heap and keep their pages; libzmq
 * allocates each anew, and pages fresh from mmap cost a fault per 4 KiB. */
#define MMAP_THRESHOLD (16 * 1024 * 1024)
#define TRIM_THRESHOLD (256 * 1024 * 1024)

_Static_assert(sizeof(struct mr_part) == sizeof(zmq_msg_t), "a part is a zmq_msg_t");

int mr_link_errno(void)
{
    int code = zmq_errno();
    switch (code) {
    case ETERM:
        return -ESHUTDOWN;
    case EFSM:
        return -EPROTO;
    case ENOCOMPATPROTO:
        return -EPROTONOSUPPORT;
    case EMTHREAD:
        return -EMFILE;
    default:
        return -code;
    }
}

static void keep_received_pages(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
    (void)mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD);
}

int mr_link_new(int io_threads, struct mr_link **ret)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    assert(io_threads >= 1);
    (void)pthread_once(&once, keep_received_pages);
    struct mr_link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return -ENOMEM;
    link->context = zmq_ctx_new();
    if (link->context == NULL || zmq_ctx_set(link->context, ZMQ_IO_THREADS, io_threads) != 0 ||
        zmq_ctx_set(link->context, ZMQ_MAX_SOCKETS, 4096) != 0) {
        int code = mr_link_errno();
        if (link->context != NULL)
            (void)zmq_ctx_term(link->context);
        free(link);
        return code;
    }
    (void)pthread_mutex_init(&link->lock, NULL);
    for (size_t i = 0; i < MR_LINK_LOANS; i++) {
        link->loans[i] = (struct mr_loan){.link = link, .next = link->free};
        link->free = &link->loans[i];
    }
    *ret = link;
    return 0;
}

void mr_link_free(struct mr_link *link)
{
    if (link == NULL)
        return;
    while (zmq_ctx_term(link->context) != 0 && zmq_errno() == EINTR) {}
    size_t back = 0;
    for (const struct mr_loan *loan = link->free; loan != NULL; loan = loan->next)
        back++;
    assert(back == MR_LINK_LOANS); /* libzmq has nobody's payload any more */
    (void)pthread_mutex_destroy(&link->lock);
    free(link);
}

const char *mr_link_library(void)
{
    static _Thread_local char text[32];
    int major, minor, patch;
    zmq_version(&major, &minor, &patch);
    (void)snprintf(text, sizeof(text), "libzmq %d.%d.%d", major, minor, patch);
    return text;
}

struct mr_loan *mr_link_lend(struct mr_link *link, void (*done)(void *ctx), void *ctx)
{
    (void)pthread_mutex_lock(&link->lock);
    struct mr_loan *loan = link->free;
    if (loan != NULL) {
        link->free = loan->next;
        loan->done = done;
        loan->ctx = ctx;
    }
    (void)pthread_mutex_unlock(&link->lock);
    return loan;
}

/* The record goes back before its owner is told, so that the owner may lend again at once. */
void mr_link_loan_over(void *payload, void *hint)
{
    (void)payload;
    struct mr_loan *loan = hint;
    struct mr_link *link = loan->link;
    (void)pthread_mutex_lock(&link->lock);
    void (*done)(void *ctx) = loan->done;
    void *ctx = loan->ctx;
    loan->next = link->free;
    link->free = loan;
    (void)pthread_mutex_unlock(&link->lock);
    if (done != NULL)
        done(ctx);
}

const void *mr_part_data(struct mr_part *part)
{
    return zmq_msg_data(mr_link_message(part));
}

size_t mr_part_bytes(struct mr_part *part)
{
    return zmq_msg_size(mr_link_message(part));
}

void mr_part_close(struct mr_part *part)
{
    (void)zmq_msg_close(mr_link_message(part));
}

int mr_link_part_receive(void *socket, struct mr_part *ret, bool *ret_more)
{
    zmq_msg_t *message = mr_link_message(ret);
    (void)zmq_msg_init(message);
    if (zmq_msg_recv(message, socket, ZMQ_DONTWAIT) < 0) {
        int code = mr_link_errno();
        (void)zmq_msg_close(message);
        return code;
    }
    *ret_more = zmq_msg_more(message) != 0;
    return 0;
}

void mr_link_drain(void *socket, bool more)
{
    while (more) {
        struct mr_part part;
        if (mr_link_part_receive(socket, &part, &more) < 0)
            return;
        mr_part_close(&part);
    }
}

int mr_link_last_receive(void *socket, struct mr_part *ret)
{
    struct mr_part part;
    bool more = false;
    int r = mr_link_part_receive(socket, &part, &more);
    if (r < 0)
        return r;
    if (more) {
        mr_part_close(&part);
        mr_link_drain(socket, true);
        return -EBADMSG;
    }
    *ret = part;
    return 0;
}

int mr_link_head_receive(void *socket, size_t min, size_t max, void *ret, size_t *ret_bytes)
{
    struct mr_part head;
    bool more = false;
    int r = mr_link_part_receive(socket, &head, &more);
    if (r < 0)
        return r;
    size_t bytes = mr_part_bytes(&head);
    bool good = more && bytes >= min && bytes <= max;
    if (good) {
        memcpy(ret, mr_part_data(&head), bytes);
        *ret_bytes = bytes;
    }
    mr_part_close(&head);
    if (!good) {
        mr_link_drain(socket, more);
        return -EBADMSG;
    }
    return 0;
}

int mr_link_route_receive(void *socket, struct mr_route *ret)
{
    size_t size = 0;
    int r = mr_link_head_receive(socket, 0, sizeof(ret->bytes), ret->bytes, &size);
    if (r == 0)
        ret->size = (uint8_t)size;
    return r;
}

int mr_link_part_send(void *socket, const void *data, size_t bytes, bool more)
{
    int flags = ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0);
    return zmq_send(socket, data, bytes, flags) < 0 ? mr_link_errno() : 0;
}

static bool set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof(value)) == 0;
}

static bool set_options(void *socket, const struct mr_socket_options *o)
{
    bool ok =
        zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &o->message_max, sizeof(o->message_max)) == 0 &&
        set_int(socket, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS) &&
        set_int(socket, ZMQ_CONNECT_TIMEOUT, CONNECT_MS) &&
        set_int(socket, ZMQ_HEARTBEAT_IVL, o->heartbeat_ms) &&
        set_int(socket, ZMQ_HEARTBEAT_TIMEOUT, o->heartbeat_timeout_ms) &&
        set_int(socket, ZMQ_IMMEDIATE, !o->keep_received) &&
        set_int(socket, ZMQ_LINGER, o->linger_ms) && set_int(socket, ZMQ_SNDHWM, o->send_hwm) &&
        set_int(socket, ZMQ_RCVHWM, o->receive_hwm) && set_int(socket, ZMQ_IPV6, o->ipv6);
    ok = ok && (o->type != ZMQ_ROUTER || set_int(socket, ZMQ_ROUTER_MANDATORY, 1));
    if (o->reconnect) {
        return ok && set_int(socket, ZMQ_RECONNECT_IVL, 100) &&
               set_int(socket, ZMQ_RECONNECT_IVL_MAX, 5000);
    }
    return ok && set_int(socket, ZMQ_RECONNECT_IVL, NEVER_MS);
}

int mr_link_socket(struct mr_link *link, const struct mr_socket_options *options, void **ret)
{
    void *socket = zmq_socket(link->context, options->type);
    if (socket == NULL)
        return mr_link_errno();
    if (!set_options(socket, options)) {
        int code = mr_link_errno();
        mr_link_socket_close(socket, 0);
        return code;
    }
    *ret = socket;
    return 0;
}

void mr_link_socket_close(void *socket, int linger_ms)
{
    if (socket == NULL)
        return;
    (void)set_int(socket, ZMQ_LINGER, linger_ms);
    (void)zmq_close(socket);
}

bool mr_link_wants_ipv6(const char *host)
{
    struct in_addr v4;
    if (host[0] == '[' || host[0] == '*')
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return false;
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return true;
    freeaddrinfo(found);
    return false;
}

/* libzmq would take the low 16 bits of a larger number. */
static bool is_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return strcmp(text, "*") == 0 ||
           (digits >= 1 && digits <= 5 && text[digits] == '\0' && strtol(text, NULL, 10) <= 65535);
}

/* Host of an endpoint to bind, whose port may be "*" or 0, which mr_endpoint_parse refuses. */
static int bind_host(const char *endpoint, char *ret, size_t size, struct mr_err *err)
{
    static const char scheme[] = "tcp://";
    size_t prefix = sizeof(scheme) - 1;
    const char *colon = strrchr(endpoint, ':');
    if (strncmp(endpoint, scheme, prefix) != 0 || colon <= endpoint + prefix ||
        (size_t)(colon - endpoint) - prefix >= size || !is_port(colon + 1))
        return mr_err_set(err, -EINVAL, "%s: an endpoint is tcp://host:port", endpoint);
    size_t length = (size_t)(colon - endpoint) - prefix;
    memcpy(ret, endpoint + prefix, length);
    ret[length] = '\0';
    return 0;
}

static uint16_t bound_port(void *socket)
{
    char endpoint[MR_ENDPOINT_TEXT];
    size_t size = sizeof(endpoint);
    if (zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size) != 0)
        return 0;
    const char *colon = strrchr(endpoint, ':');
    return colon == NULL ? 0 : (uint16_t)strtoul(colon + 1, NULL, 10);
}

int mr_link_socket_bind(struct mr_link *link, const struct mr_socket_options *options,
                        const char *endpoint, void **ret, uint16_t *ret_port, struct mr_err *err)
{
    char host[256];
    int r = bind_host(endpoint, host, sizeof(host), err);
    if (r < 0)
        return r;
    struct mr_socket_options own = *options;
    own.ipv6 = mr_link_wants_ipv6(host);
    void *socket = NULL;
    r = mr_link_socket(link, &own, &socket);
    if (r < 0)
        return mr_err_errno(err, r, "%s: no socket", endpoint);
    if (zmq_bind(socket, endpoint) != 0) {
        r = mr_link_errno();
        mr_link_socket_close(socket, 0);
        return mr_err_errno(err, r, "%s: cannot listen", endpoint);
    }
    if (ret_port != NULL)
        *ret_port = bound_port(socket);
    *ret = socket;
    return 0;
}

int mr_link_poll(zmq_pollitem_t *items, size_t sockets, const int *fds, size_t fd_count,
                 int timeout_ms, enum mr_tally_wait what)
{
    assert(fd_count <= MR_LINK_FDS_MAX);
    for (size_t i = 0; i < fd_count; i++)
        items[sockets + i] = (zmq_pollitem_t){.fd = fds[i], .events = ZMQ_POLLIN};
    if (timeout_ms != 0)
        mr_tally_wait(what);
    int ready = zmq_poll(items, (int)(sockets + fd_count), timeout_ms);
    int r = ready < 0 ? mr_link_errno() : 0;
    mr_tally_go_on();
    return r;
}
