/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden files: what goes over the wire, byte for byte, kept in tests/data/golden and seeding the
 * fuzz corpora. MILLRACE_GOLDEN_WRITE=1 makes the tests write them instead; then look at the diff:
 * a change is a new protocol version.
 */
#ifndef MR_TESTS_GOLDEN_H
#define MR_TESTS_GOLDEN_H

#include "suite.h"

#include <stdio.h>
#include <string.h>

static inline void golden_write(const char *path, const void *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    ck_assert_msg(f != NULL, "%s", path);
    ck_assert_uint_eq(fwrite(data, 1, bytes, f), bytes);
    ck_assert_int_eq(fclose(f), 0);
}

/* corpus: of the fuzz target that reads this kind of bytes. */
static inline void golden_check(const char *corpus, const char *name, const void *data,
                                size_t bytes)
{
    static unsigned char kept[64 * 1024];
    char path[512], seed[512];
    snprintf(path, sizeof(path), MR_SOURCE_DIR "/tests/data/golden/%s_%s.bin", corpus, name);
    snprintf(seed, sizeof(seed), MR_SOURCE_DIR "/tests/fuzz/corpus/%s/%s.bin", corpus, name);
    if (getenv("MILLRACE_GOLDEN_WRITE") != NULL) {
        golden_write(path, data, bytes);
        golden_write(seed, data, bytes);
        return;
    }
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s", path);
    size_t count = fread(kept, 1, sizeof(kept), f);
    fclose(f);
    ck_assert_msg(count == bytes && memcmp(kept, data, bytes) == 0, "%s differs", path);
}

#endif
