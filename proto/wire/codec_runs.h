/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An LZ4 block encoder for what a bit transpose makes of counts: planes of noise, planes of zeros,
 * and sparse planes between them. Any LZ4 decoder reads it. On other data it is a poor encoder, but
 * never a wrong one: the caller judges by a sample. Any thread, one struct each; no state passes
 * between calls. Internal to codec*.c.
 */
#ifndef MR_WIRE_CODEC_RUNS_H
#define MR_WIRE_CODEC_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MR_CODEC_RUNS_LEAST 256u /* bytes that a block must have */
#define MR_CODEC_RUNS_BATCH 4096u
#define MR_CODEC_RUNS_LONG  16u

/* Scratch. */
struct mr_codec_runs {
    /* By length of a run of zeros (below LONG) and the byte after it: where that byte was last
     * seen, counted from the window's start; 0 for never. */
    uint16_t seen[MR_CODEC_RUNS_LONG + 1][256];
    struct mr_codec_run {
        uint32_t end, zeros; /* offset of the byte after the run; how many zeros lie before it */
    } runs[MR_CODEC_RUNS_BATCH / 4 + 16];
};

/* Needs AVX2 and what came with it. */
bool mr_codec_runs_usable(void);

/* What out must hold for so many bytes. */
size_t mr_codec_runs_bound(size_t bytes);

/* bytes: LEAST to 2^31. Returns the bytes written to out, at most the bound. */
size_t mr_codec_runs_pack(struct mr_codec_runs *scratch, const uint8_t *in, size_t bytes,
                          uint8_t *out);

#endif
