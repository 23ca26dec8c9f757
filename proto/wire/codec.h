/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slab codecs. The payload is exactly what HDF5 filter 32008 stores (bitshuffle with LZ4 or zstd
 * inside): u64 BE uncompressed bytes, u32 BE block bytes, then blocks. So a slab travels as it is
 * stored.
 *
 * A struct mr_codec is the scratch of one packing thread: no state passes between calls, any number
 * may exist. Nothing is allocated after _new.
 */
#ifndef MR_WIRE_CODEC_H
#define MR_WIRE_CODEC_H

#include "base/err.h"

#include <stdint.h>

/* Values travel on the wire */
enum mr_codec_id { MR_CODEC_NONE = 0, MR_CODEC_BSLZ4 = 1, MR_CODEC_BSZSTD = 2, MR_CODEC_COUNT };

struct mr_codec;

const char *mr_codec_name(enum mr_codec_id id); /* "none", "bslz4", "bszstd" */
int mr_codec_parse(const char *name, enum mr_codec_id *ret) MR_MUST_USE; /* -EINVAL */

/* max_bytes: the largest slab it will be given, uncompressed. Returns owned. -ENOMEM. */
int mr_codec_new(size_t max_bytes, struct mr_codec **ret) MR_MUST_USE;
void mr_codec_free(struct mr_codec *codec);

/* Most bytes a compressed slab of that size can take (any codec). */
size_t mr_codec_bound(size_t bytes);

/* element_bytes: 1, 2, 4. *ret_bytes: written to out. -E2BIG: it would not shrink (send it raw);
 * out need not hold mr_codec_bound: packing stops at out_capacity with -E2BIG. */
int mr_codec_pack(struct mr_codec *codec, enum mr_codec_id id, uint32_t element_bytes,
                  const void *in, size_t in_bytes, void *out, size_t out_capacity,
                  size_t *ret_bytes) MR_MUST_USE;

/* The same of in_bytes that come piece by piece, so that each is worked on while it is in the
 * cache. `next` puts the following `bytes` of them (at most a block of 256 KiB) at *ret, valid
 * until it is called again; what it returns that is not 0 is returned. Not all need have been asked
 * for when packing ends with an error. */
typedef int (*mr_codec_next)(void *ctx, size_t bytes, const uint8_t **ret);
int mr_codec_pack_from(struct mr_codec *codec, enum mr_codec_id id, uint32_t element_bytes,
                       mr_codec_next next, void *ctx, size_t in_bytes, void *out,
                       size_t out_capacity, size_t *ret_bytes) MR_MUST_USE;

/* Restores exactly out_bytes. in comes from a peer: every length inside is checked. -EBADMSG. */
int mr_codec_unpack(struct mr_codec *codec, enum mr_codec_id id, uint32_t element_bytes,
                    const void *in, size_t in_bytes, void *out, size_t out_bytes) MR_MUST_USE;

/* Block size in elements that pack uses for that element size (the filter's cd_values[3]). */
uint32_t mr_codec_block_elements(uint32_t element_bytes);

const char *mr_codec_library(void); /* "zstd 1.5.4, lz4 1.9.4" */

#endif
