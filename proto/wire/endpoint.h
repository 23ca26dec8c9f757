/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints: "tcp://host:port" taken apart and put together. Pure; nothing is resolved. */
#ifndef MR_WIRE_ENDPOINT_H
#define MR_WIRE_ENDPOINT_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define MR_ENDPOINT_TEXT 300 /* bytes of an endpoint, with NUL */

struct mr_endpoint {
    char host[256]; /* a name, an IPv4 address, "[::1]" with its brackets, or "*" */
    uint16_t port;  /* 1 .. 65535 */
};

/* -EINVAL with err: not "tcp://host:port". */
int mr_endpoint_parse(const char *text, struct mr_endpoint *ret, struct mr_err *err) MR_MUST_USE;

/* "tcp://host:<port + offset>" into ret (MR_ENDPOINT_TEXT bytes). Replay of events is at offset 1,
 * data lane n at 1 + n from control. -ERANGE: past port 65535. */
int mr_endpoint_text(const struct mr_endpoint *endpoint, uint32_t offset, char *ret) MR_MUST_USE;

/* "localhost", 127.x.x.x or [::1]: reachable from this machine alone. */
bool mr_endpoint_is_loopback(const struct mr_endpoint *endpoint);

#endif
