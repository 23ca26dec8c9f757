/* SPDX-License-Identifier: Apache-2.0 */
/* A shell command run once, with a text on its standard input. */
#ifndef MR_COMMAND_H
#define MR_COMMAND_H

#include "base/err.h"

/* Runs `/bin/sh -c command`, writes text and a newline to its stdin, waits for its end; a command
 * need not read its stdin. The caller ignores SIGPIPE; the command gets default signals. Returns
 * the exit status, 128 + n when signal n ended it, or -errno when it could not be started. */
int mr_command_run(const char *command, const char *text, size_t bytes) MR_MUST_USE;

#endif
