/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What systemd wants to know of a Type=notify-reload service (sd_notify(3)), without its library.
 * All return 0, also where nobody asked (NOTIFY_SOCKET unset), or -errno; a service goes on
 * without. The environment is read each time: nobody may change it meanwhile.
 */
#ifndef MR_BASE_NOTIFY_H
#define MR_BASE_NOTIFY_H

#include "base/err.h"

#include <stdint.h>

/* status: one line for `systemctl status`, or NULL. */
int mr_notify_ready(const char *status); /* after start and after each reload */
int mr_notify_stopping(const char *status);
int mr_notify_reloading(int64_t monotonic_ns); /* now, CLOCK_MONOTONIC */
int mr_notify_status(const char *status);      /* that line alone */
int mr_notify_watchdog(void);                  /* alive */

/* How often systemd wants mr_notify_watchdog at least, in ns; 0 where it does not watch this
 * process. Send at half of it. */
int64_t mr_notify_watchdog_interval_ns(void);

#endif
