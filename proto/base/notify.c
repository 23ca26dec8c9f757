/* SPDX-License-Identifier: Apache-2.0 */
/* sd_notify(3)'s protocol: one datagram of VARIABLE=value lines. Passes no file descriptors. */
#include "base/notify.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 1024 };

/* 0 and no length where nobody asked. '@' in front means the abstract namespace, a NUL there. */
static int socket_address(struct sockaddr_un *ret, socklen_t *ret_bytes)
{
    const char *path = getenv("NOTIFY_SOCKET");
    *ret_bytes = 0;
    if (path == NULL || path[0] == '\0')
        return 0;
    size_t length = strlen(path);
    if (path[0] != '/' && path[0] != '@')
        return -EAFNOSUPPORT;
    if (length >= sizeof(ret->sun_path))
        return -ENAMETOOLONG;
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret->sun_path, path, length);
    if (path[0] == '@')
        ret->sun_path[0] = '\0';
    *ret_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    return 0;
}

static int send_message(const char *message)
{
    struct sockaddr_un address;
    socklen_t bytes;
    int r = socket_address(&address, &bytes);
    if (r < 0 || bytes == 0)
        return r;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    ssize_t n = sendto(fd, message, strlen(message), MSG_NOSIGNAL,
                       (const struct sockaddr *)&address, bytes);
    r = n < 0 ? -errno : 0;
    close(fd);
    return r;
}

/* A newline would begin another variable. */
static void append_status(char *message, const char *status)
{
    size_t used = strlen(message);
    snprintf(message + used, MESSAGE_BYTES - used, "%sSTATUS=%s", used > 0 ? "\n" : "", status);
    for (char *c = message + used + (used > 0 ? 1 : 0); *c != '\0'; c++)
        if (*c == '\n')
            *c = ' ';
}

static int send_state(const char *state, const char *status)
{
    char message[MESSAGE_BYTES];
    snprintf(message, sizeof(message), "%s", state);
    if (status != NULL)
        append_status(message, status);
    return send_message(message);
}

int mr_notify_ready(const char *status)
{
    return send_state("READY=1", status);
}

int mr_notify_stopping(const char *status)
{
    return send_state("STOPPING=1", status);
}

int mr_notify_reloading(int64_t monotonic_ns)
{
    char state[64];
    snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)(monotonic_ns / 1000));
    return send_state(state, NULL);
}

int mr_notify_status(const char *status)
{
    return send_state("", status);
}

int mr_notify_watchdog(void)
{
    return send_state("WATCHDOG=1", NULL);
}

static long long positive(const char *name, long long otherwise)
{
    const char *text = getenv(name);
    if (text == NULL)
        return otherwise;
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    return errno != 0 || end == text || *end != '\0' || v < 0 ? 0 : v;
}

int64_t mr_notify_watchdog_interval_ns(void)
{
    long long usec = positive("WATCHDOG_USEC", 0);
    long long pid = positive("WATCHDOG_PID", getpid());
    return pid == getpid() && usec < LLONG_MAX / 1000 ? usec * 1000 : 0;
}
