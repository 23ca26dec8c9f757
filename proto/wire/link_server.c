/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's ends: the control ROUTER and the data lanes' PULL. What arrives is anybody's bytes:
 * here only the number and size of parts is judged.
 */
#include "wire/link_socket.h"

#include <errno.h>
#include <stdlib.h>

struct mr_router {
    void *socket;
};

struct mr_lane_socket {
    void *socket;
};

int mr_router_bind(struct mr_link *link, const char *endpoint, struct mr_router **ret,
                   uint16_t *ret_port, struct mr_err *err)
{
    static const struct mr_socket_options options = {
        .type = ZMQ_ROUTER,
        .message_max = MR_CONTROL_BYTES_MAX,
        .send_hwm = MR_LINK_CONTROL_HWM,
        .receive_hwm = MR_LINK_CONTROL_HWM,
        .linger_ms = MR_LINK_LINGER_MS,
        .heartbeat_ms = MR_LINK_CONTROL_BEAT_MS,
        .heartbeat_timeout_ms = MR_LINK_CONTROL_LIMIT_MS,
    };
    struct mr_router *router = calloc(1, sizeof(*router));
    if (router == NULL)
        return mr_err_errno(err, -ENOMEM, "%s: no socket", endpoint);
    int r = mr_link_socket_bind(link, &options, endpoint, &router->socket, ret_port, err);
    if (r < 0) {
        free(router);
        return r;
    }
    *ret = router;
    return 0;
}

void mr_router_close(struct mr_router *router)
{
    if (router == NULL)
        return;
    mr_link_socket_close(router->socket, MR_LINK_LINGER_MS);
    free(router);
}

int mr_router_receive(struct mr_router *router, struct mr_route *ret_from, struct mr_part *ret)
{
    struct mr_route from = {0};
    int r = mr_link_route_receive(router->socket, &from);
    if (r == 0)
        r = mr_link_last_receive(router->socket, ret);
    if (r == 0)
        *ret_from = from;
    return r;
}

/* Only the first part can fail for the peer's sake; once it is in, libzmq takes the second. */
int mr_router_send(struct mr_router *router, const struct mr_route *to, const void *message,
                   size_t bytes)
{
    int r = mr_link_part_send(router->socket, to->bytes, to->size, true);
    return r < 0 ? r : mr_link_part_send(router->socket, message, bytes, false);
}

static int wait_readable(void *socket, const int *fds, size_t fd_count, int timeout_ms)
{
    zmq_pollitem_t items[1 + MR_LINK_FDS_MAX] = {{.socket = socket, .events = ZMQ_POLLIN}};
    return mr_link_poll(items, 1, fds, fd_count, timeout_ms, MR_TALLY_INPUT);
}

int mr_router_wait(struct mr_router *router, const int *fds, size_t fd_count, int timeout_ms)
{
    return wait_readable(router->socket, fds, fd_count, timeout_ms);
}

int mr_lane_bind(struct mr_link *link, const char *endpoint, struct mr_lane_socket **ret,
                 uint16_t *ret_port, struct mr_err *err)
{
    static const struct mr_socket_options options = {
        .type = ZMQ_PULL,
        .message_max = MR_SLAB_WIRE_MAX,
        .send_hwm = MR_LINK_LANE_HWM,
        .receive_hwm = MR_LINK_LANE_HWM,
        .heartbeat_ms = MR_LINK_LANE_BEAT_MS,
        .heartbeat_timeout_ms = MR_LINK_LANE_LIMIT_MS,
    };
    struct mr_lane_socket *lane = calloc(1, sizeof(*lane));
    if (lane == NULL)
        return mr_err_errno(err, -ENOMEM, "%s: no socket", endpoint);
    int r = mr_link_socket_bind(link, &options, endpoint, &lane->socket, ret_port, err);
    if (r < 0) {
        free(lane);
        return r;
    }
    *ret = lane;
    return 0;
}

void mr_lane_close(struct mr_lane_socket *lane)
{
    if (lane == NULL)
        return;
    mr_link_socket_close(lane->socket, 0);
    free(lane);
}

int mr_lane_receive(struct mr_lane_socket *lane, uint8_t ret_header[MR_SLAB_HEADER_BYTES],
                    struct mr_part *ret_payload)
{
    size_t bytes = 0;
    int r = mr_link_head_receive(lane->socket, MR_SLAB_HEADER_BYTES, MR_SLAB_HEADER_BYTES,
                                 ret_header, &bytes);
    return r < 0 ? r : mr_link_last_receive(lane->socket, ret_payload);
}

int mr_lane_wait(struct mr_lane_socket *lane, const int *fds, size_t fd_count, int timeout_ms)
{
    return wait_readable(lane->socket, fds, fd_count, timeout_ms);
}
