/* SPDX-License-Identifier: Apache-2.0 */
/* --check-store: is a folder fit to be a store, and what to do where it is not. */
#ifndef MR_PROBE_H
#define MR_PROBE_H

#include "base/err.h"

#include <stdint.h>
#include <stdio.h>

struct mr_probe_config {
    const char *dir;               /* must be there; borrowed */
    uint32_t keep_free_hundredths; /* store.keep_free in percent x 100 */
};

/* Tries in the folder what the server will do there, one line of out per finding:
 * "<what> <verdict> <words>", the first padded to 18 columns, the second to 5; verdict is ok, note
 * or FAIL; then the words say what it means or what to do. docs/man/millrace-ingest.1 lists them.
 * Works in a folder of its own, which it removes; forks. 0: usable, maybe with notes; else the
 * first error that makes it unusable, and err. Blocks for a second or so; main thread. */
int mr_probe_store(const struct mr_probe_config *config, FILE *out, struct mr_err *err) MR_MUST_USE;

#endif
