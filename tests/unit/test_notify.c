/* SPDX-License-Identifier: Apache-2.0 */
/* Does systemd hear us, on both kinds of socket, and does its absence not matter? */
#include "base/notify.h"
#include "suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int listener;

/* name: as NOTIFY_SOCKET has it */
static void listen_on(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    memcpy(address.sun_path, name, length);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    listener = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    socklen_t bytes = (socklen_t)(sizeof(address) - sizeof(address.sun_path) + length);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, bytes), 0);
    setenv("NOTIFY_SOCKET", name, 1);
}

static void check_heard(const char *expected)
{
    char message[2000] = "";
    ck_assert_int_gt(recv(listener, message, sizeof(message) - 1, 0), 0);
    ck_assert_str_eq(message, expected);
}

START_TEST(messages_reach_a_socket_in_the_file_system)
{
    char dir[] = "/tmp/mr_test_notify_XXXXXX", name[64];
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(name, sizeof(name), "%s/s", dir);
    listen_on(name);
    ck_assert_int_eq(mr_notify_ready(NULL), 0);
    check_heard("READY=1");
    ck_assert_int_eq(mr_notify_ready("2 lanes"), 0);
    check_heard("READY=1\nSTATUS=2 lanes");
    ck_assert_int_eq(mr_notify_stopping("draining"), 0);
    check_heard("STOPPING=1\nSTATUS=draining");
    ck_assert_int_eq(mr_notify_reloading(123456789), 0);
    check_heard("RELOADING=1\nMONOTONIC_USEC=123456");
    ck_assert_int_eq(mr_notify_stopping("a\nREADY=1"), 0);
    check_heard("STOPPING=1\nSTATUS=a READY=1");
    ck_assert_int_eq(mr_notify_watchdog(), 0);
    check_heard("WATCHDOG=1");
    unlink(name);
    ck_assert_int_eq(mr_notify_watchdog(), -ENOENT);
    rmdir(dir);
}
END_TEST

START_TEST(messages_reach_an_abstract_socket)
{
    char name[64];
    snprintf(name, sizeof(name), "@mr_test_notify_%d", (int)getpid());
    listen_on(name);
    ck_assert_int_eq(mr_notify_ready("x"), 0);
    check_heard("READY=1\nSTATUS=x");
}
END_TEST

START_TEST(nobody_asked_is_no_error)
{
    unsetenv("NOTIFY_SOCKET");
    ck_assert_int_eq(mr_notify_ready("x"), 0);
    setenv("NOTIFY_SOCKET", "", 1);
    ck_assert_int_eq(mr_notify_watchdog(), 0);
    setenv("NOTIFY_SOCKET", "vsock:2:1", 1);
    ck_assert_int_eq(mr_notify_watchdog(), -EAFNOSUPPORT);
    char longer[300];
    memset(longer, '/', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    setenv("NOTIFY_SOCKET", longer, 1);
    ck_assert_int_eq(mr_notify_watchdog(), -ENAMETOOLONG);
}
END_TEST

START_TEST(a_long_status_is_cut)
{
    char name[64], longer[3000], message[3000] = "";
    snprintf(name, sizeof(name), "@mr_test_notify_%d", (int)getpid());
    listen_on(name);
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    ck_assert_int_eq(mr_notify_ready(longer), 0);
    ck_assert_int_eq(recv(listener, message, sizeof(message) - 1, 0), 1023);
}
END_TEST

START_TEST(the_watchdog_is_ours_or_none)
{
    char pid[32];
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    ck_assert_int_eq(mr_notify_watchdog_interval_ns(), 0);
    setenv("WATCHDOG_USEC", "30000000", 1);
    ck_assert_int_eq(mr_notify_watchdog_interval_ns(), 30000000000);
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    ck_assert_int_eq(mr_notify_watchdog_interval_ns(), 30000000000);
    setenv("WATCHDOG_PID", "1", 1);
    ck_assert_int_eq(mr_notify_watchdog_interval_ns(), 0);
    setenv("WATCHDOG_PID", pid, 1);
    setenv("WATCHDOG_USEC", "30s", 1);
    ck_assert_int_eq(mr_notify_watchdog_interval_ns(), 0);
    setenv("WATCHDOG_USEC", "99999999999999999999", 1);
    ck_assert_int_eq(mr_notify_watchdog_interval_ns(), 0);
}
END_TEST

MR_SUITE("notify", T(messages_reach_a_socket_in_the_file_system),
         T(messages_reach_an_abstract_socket), T(nobody_asked_is_no_error), T(a_long_status_is_cut),
         T(the_watchdog_is_ours_or_none))
