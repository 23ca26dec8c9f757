/* SPDX-License-Identifier: Apache-2.0 */
/* --check-store: is a folder fit to be a store, and what to do where it is not. */
#ifndef MR_PROBE_H
#define MR_PROBE_H

#include "base/err.h"

#include <stdio.h>

/* Tries on dir (which must be there) what the server will do in it, one line of out per finding
 * with a verdict and, where it is not ok, a remedy. Works in a folder of its own, which it removes.
 * 0: usable, maybe with notes; else the first error that makes it unusable, and err. Blocks for a
 * second or so; main thread. */
int mr_probe_store(const char *dir, FILE *out, struct mr_err *err) MR_MUST_USE;

#endif
