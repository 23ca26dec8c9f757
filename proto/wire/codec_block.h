/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two coders that stand behind codec.c, one block of bit planes at a time. Each knows two ways:
 * the library's own, for any bytes, and one for planes of counts. Which is taken is said by the
 * caller, after a look at a sample. Internal to codec*.c; a struct is one thread's scratch.
 */
#ifndef MR_WIRE_CODEC_BLOCK_H
#define MR_WIRE_CODEC_BLOCK_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A block: planes of plane_bytes each, bytes in all. */
struct mr_codec_block {
    const uint8_t *planes;
    size_t bytes, plane_bytes;
    bool counts; /* take the way for planes of counts */
};

struct mr_codec_lz4;
struct mr_codec_zstd;

/* Most bytes of a block that either can make of so many. */
size_t mr_codec_lz4_bound(size_t bytes);
size_t mr_codec_zstd_bound(size_t bytes);

/* Returns owned. -ENOMEM. block_bytes: the largest block it will be given to pack. */
int mr_codec_lz4_new(struct mr_codec_lz4 **ret) MR_MUST_USE;
int mr_codec_zstd_new(size_t block_bytes, struct mr_codec_zstd **ret) MR_MUST_USE;
void mr_codec_lz4_free(struct mr_codec_lz4 *coder);
void mr_codec_zstd_free(struct mr_codec_zstd *coder);

/* Bytes written to out, or 0 where they do not fit. */
size_t mr_codec_lz4_pack(struct mr_codec_lz4 *coder, const struct mr_codec_block *block,
                         uint8_t *out, size_t capacity);
size_t mr_codec_zstd_pack(struct mr_codec_zstd *coder, const struct mr_codec_block *block,
                          uint8_t *out, size_t capacity);

/* True where `in`, which may be anything, is `bytes` bytes packed. */
bool mr_codec_lz4_unpack(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t bytes);
bool mr_codec_zstd_unpack(struct mr_codec_zstd *coder, const uint8_t *in, size_t in_bytes,
                          uint8_t *out, size_t bytes);

const char *mr_codec_lz4_version(void);
const char *mr_codec_zstd_version(void);

#endif
