/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints as text. Names are checked for their alphabet only; resolving is the link's affair. */
#include "wire/endpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_host(const char *s, size_t bytes)
{
    if (bytes == 0 || bytes > 255)
        return false;
    if (bytes == 1 && s[0] == '*')
        return true;
    bool six = s[0] == '[';
    if (six != (s[bytes - 1] == ']') || (six && bytes < 4))
        return false;
    const char *allowed = six ? "[]0123456789abcdefABCDEF:.%"
                              : "-._0123456789"
                                "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    return strspn(s, allowed) >= bytes;
}

static bool parse_port(const char *s, uint16_t *ret)
{
    size_t digits = strspn(s, "0123456789");
    if (digits == 0 || digits > 5 || s[digits] != '\0')
        return false;
    long port = strtol(s, NULL, 10);
    if (port < 1 || port > 65535)
        return false;
    *ret = (uint16_t)port;
    return true;
}

int mr_endpoint_parse(const char *text, struct mr_endpoint *ret, struct mr_err *err)
{
    struct mr_endpoint e = {.port = 0};
    const char *colon = strrchr(text, ':');
    if (strncmp(text, "tcp://", 6) != 0 || !colon || colon < text + 6)
        return mr_err_set(err, -EINVAL, "'%s' is no endpoint (tcp://host:port)", text);
    size_t bytes = (size_t)(colon - text) - 6;
    if (!is_host(text + 6, bytes))
        return mr_err_set(err, -EINVAL, "'%s' is no endpoint: host", text);
    if (!parse_port(colon + 1, &e.port))
        return mr_err_set(err, -EINVAL, "'%s' is no endpoint: port is 1 to 65535", text);
    memcpy(e.host, text + 6, bytes);
    e.host[bytes] = '\0';
    *ret = e;
    return 0;
}

int mr_endpoint_text(const struct mr_endpoint *endpoint, uint32_t offset, char *ret)
{
    if (offset > 65535u - endpoint->port)
        return -ERANGE;
    snprintf(ret, MR_ENDPOINT_TEXT, "tcp://%s:%u", endpoint->host, endpoint->port + offset);
    return 0;
}

bool mr_endpoint_is_loopback(const struct mr_endpoint *endpoint)
{
    const char *h = endpoint->host;
    if (strcmp(h, "localhost") == 0 || strcmp(h, "[::1]") == 0)
        return true;
    /* "127." and then digits and dots only: 127.example.org is somebody else's */
    return strncmp(h, "127.", 4) == 0 && strspn(h, "0123456789.") == strlen(h);
}
