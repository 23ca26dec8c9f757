/* SPDX-License-Identifier: Apache-2.0 */
/* ULIDs: 48 bits of ms since 1970, 80 random bits; 26 characters of Crockford's base 32. */
#ifndef MR_BASE_ULID_H
#define MR_BASE_ULID_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define MR_ULID_TEXT 27 /* with NUL */

struct mr_ulid {
    uint8_t bytes[16]; /* big-endian, as in the text */
};

void mr_ulid_new(int64_t real_ns, struct mr_ulid *ret);        /* getrandom(2) */
const char *mr_ulid_text(const struct mr_ulid *id, char *ret); /* MR_ULID_TEXT bytes; returns ret */
/* -EINVAL; exactly 26 characters. */
int mr_ulid_parse(const char *text, struct mr_ulid *ret) MR_MUST_USE;
bool mr_ulid_equal(const struct mr_ulid *a, const struct mr_ulid *b);
uint32_t mr_ulid_hash(const struct mr_ulid *id); /* of its random end; the same on this machine */

#endif
