/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named places at which a test ends the process as kill -9 would: MILLRACE_CRASH_AT=<name> or
 * <name>:<n> for the n-th time it is passed. Without the variable a failpoint costs one comparison.
 * Not for the data path.
 */
#ifndef MR_BASE_FAILPOINT_H
#define MR_BASE_FAILPOINT_H

void mr_failpoint(const char *name); /* any thread */

#endif
