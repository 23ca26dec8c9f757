/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every daemon of ours does with its process: signals taken by the main thread alone, the
 * watchdog fed, the limit of open files raised. Says nothing and decides nothing. Main thread.
 */
#ifndef MR_BASE_PROCESS_H
#define MR_BASE_PROCESS_H

#include "base/err.h"

/* Blocks SIGTERM, SIGINT, SIGHUP and SIGUSR1, also for threads started from now on, and ignores
 * SIGPIPE. SIGUSR1 is for tally_sheet; for the others returns a descriptor that reads as signalfd
 * (owned, not blocking); -errno. */
int mr_process_take_signals(void) MR_MUST_USE;

/* Waits for the next signal, telling systemd's watchdog meanwhile; returns its number. */
int mr_process_wait_signal(int signals);

/* From here a second SIGTERM or SIGINT ends the process at once, with `text` (static, with its
 * newline) on stderr: slower or faster, never less safe. */
void mr_process_allow_end(const char *text);

/* Soft limit of open files up to the hard one. -errno: it stays. */
int mr_process_raise_file_limit(void) MR_MUST_USE;

#endif
