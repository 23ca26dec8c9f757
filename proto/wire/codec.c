/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payloads of HDF5 filter 32008: header, blocks (each bit-transposed, then LZ4 or zstd), the last
 * few bytes raw. What codes a block is in codec_lz4 and codec_zstd. Makes no decision about when to
 * compress; what does not shrink is the caller's to send raw.
 *
 * Layout: u64 BE uncompressed bytes, u32 BE block bytes; per block u32 BE length and data. The last
 * block is shorter, a multiple of 8 elements; what is left (fewer than 8 elements) follows
 * uncompressed.
 */
#include "wire/codec.h"

#include "wire/bitshuffle.h"
#include "wire/codec_block.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES 12u
#define LENGTH_BYTES 4u
/* Against 64 KiB, 256 KiB gave counted frames 1-4 % better ratios and no less speed with either
 * coder; 1 MiB adds little and leaves the L2 cache. The size stands in each payload: no reader
 * depends on it. */
#define BLOCK_BYTES (256u * 1024)
/* Both ways to code are tried on so much of a slab's first block; the one for counts is taken
 * unless it is worse by more than a part in WORSE. */
#define SAMPLE_BYTES (32u * 1024)
#define WORSE        8u
#define LINE         64u /* alignment: the transpose writes whole cache lines */

struct mr_codec {
    size_t max_bytes;
    uint8_t *planes; /* one transposed block; as large as max_bytes, for a peer's blocks */
    uint8_t *sample, *packed_sample;
    struct mr_codec_lz4 *lz4;
    struct mr_codec_zstd *zstd;
};

/* Where an unpack has come to. */
struct cursor {
    const uint8_t *in;
    size_t in_left;
    uint8_t *out;
    size_t out_left;
};

static const char *const names[MR_CODEC_COUNT] = {"none", "bslz4", "bszstd"};

const char *mr_codec_name(enum mr_codec_id id)
{
    assert((unsigned)id < MR_CODEC_COUNT);
    return names[id];
}

int mr_codec_parse(const char *name, enum mr_codec_id *ret)
{
    for (unsigned i = 0; i < MR_CODEC_COUNT; i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret = (enum mr_codec_id)i;
            return 0;
        }
    }
    return -EINVAL;
}

uint32_t mr_codec_block_elements(uint32_t element_bytes)
{
    return BLOCK_BYTES / element_bytes;
}

static size_t block_bound(size_t bytes)
{
    size_t lz4 = mr_codec_lz4_bound(bytes), zstd = mr_codec_zstd_bound(bytes);
    return lz4 > zstd ? lz4 : zstd;
}

size_t mr_codec_bound(size_t bytes)
{
    return HEADER_BYTES + (bytes / BLOCK_BYTES + 1) * (LENGTH_BYTES + block_bound(BLOCK_BYTES));
}

static void *new_lines(size_t bytes)
{
    return aligned_alloc(LINE, (bytes + LINE - 1) / LINE * LINE);
}

int mr_codec_new(size_t max_bytes, struct mr_codec **ret)
{
    struct mr_codec *codec = calloc(1, sizeof(*codec));
    if (!codec)
        return -ENOMEM;
    codec->max_bytes = max_bytes;
    codec->planes = new_lines(max_bytes > BLOCK_BYTES ? max_bytes : BLOCK_BYTES);
    codec->sample = new_lines(SAMPLE_BYTES);
    codec->packed_sample = new_lines(block_bound(SAMPLE_BYTES));
    if (!codec->planes || !codec->sample || !codec->packed_sample ||
        mr_codec_lz4_new(&codec->lz4) != 0 || mr_codec_zstd_new(BLOCK_BYTES, &codec->zstd) != 0) {
        mr_codec_free(codec);
        return -ENOMEM;
    }
    *ret = codec;
    return 0;
}

void mr_codec_free(struct mr_codec *codec)
{
    if (codec) {
        mr_codec_zstd_free(codec->zstd);
        mr_codec_lz4_free(codec->lz4);
        free(codec->packed_sample);
        free(codec->sample);
        free(codec->planes);
        free(codec);
    }
}

static void put_be(uint8_t *p, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        p[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
}

static uint64_t get_be(const uint8_t *p, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | p[i];
    return value;
}

/* Bytes written, or 0 where they do not fit. */
static size_t compress(struct mr_codec *codec, enum mr_codec_id id,
                       const struct mr_codec_block *block, uint8_t *out, size_t capacity)
{
    return id == MR_CODEC_BSLZ4 ? mr_codec_lz4_pack(codec->lz4, block, out, capacity)
                                : mr_codec_zstd_pack(codec->zstd, block, out, capacity);
}

/* Are these planes of counts? Compared with the library's way on the start of each plane. */
static bool has_counts(struct mr_codec *codec, enum mr_codec_id id,
                       const struct mr_codec_block *block)
{
    size_t planes = block->bytes / block->plane_bytes, piece = SAMPLE_BYTES / planes;
    if (block->plane_bytes < piece)
        return false;
    for (size_t i = 0; i < planes; i++)
        memcpy(codec->sample + i * piece, block->planes + i * block->plane_bytes, piece);
    struct mr_codec_block sample = {codec->sample, SAMPLE_BYTES, piece, false};
    size_t capacity = block_bound(SAMPLE_BYTES);
    size_t library = compress(codec, id, &sample, codec->packed_sample, capacity);
    sample.counts = true;
    size_t counts = compress(codec, id, &sample, codec->packed_sample, capacity);
    return counts > 0 && counts <= library + library / WORSE;
}

/* What the blocks of one slab have in common, and where packing has come to. */
struct job {
    enum mr_codec_id id;
    uint32_t element_bytes;
    bool looked, counts;
    size_t rate; /* what 1024 bytes came to, and 1, in the block that was looked at; 0: none yet */
    mr_codec_next next;
    void *ctx;
    size_t in_left;
    uint8_t *out;
    size_t out_left;
};

/* A block that comes out much larger or smaller than the one that was looked at is of another kind:
 * the next is looked at. Frames of counts never are. */
static void judge_again(struct job *job, size_t rate)
{
    job->rate = job->rate == 0 ? rate : job->rate;
    job->looked = rate < 2 * job->rate + 1 && job->rate < 2 * rate + 1;
}

static int pack_block(struct mr_codec *codec, struct job *job, size_t bytes)
{
    const uint8_t *in;
    if (job->out_left <= LENGTH_BYTES)
        return -E2BIG;
    int code = job->next(job->ctx, bytes, &in);
    if (code != 0)
        return code;
    mr_bitshuffle(job->element_bytes, in, bytes / job->element_bytes, codec->planes);
    struct mr_codec_block block = {
        .planes = codec->planes, .bytes = bytes, .plane_bytes = bytes / job->element_bytes / 8};
    if (!job->looked) {
        job->looked = true;
        job->counts = has_counts(codec, job->id, &block);
        job->rate = 0;
    }
    block.counts = job->counts;
    size_t packed =
        compress(codec, job->id, &block, job->out + LENGTH_BYTES, job->out_left - LENGTH_BYTES);
    if (packed == 0)
        return -E2BIG;
    judge_again(job, packed * 1024 / bytes + 1);
    put_be(job->out, packed, LENGTH_BYTES);
    job->out += LENGTH_BYTES + packed;
    job->out_left -= LENGTH_BYTES + packed;
    job->in_left -= bytes;
    return 0;
}

/* The few bytes behind the last block. */
static int pack_rest(struct job *job)
{
    const uint8_t *in;
    if (job->in_left > job->out_left)
        return -E2BIG;
    int code = job->in_left == 0 ? 0 : job->next(job->ctx, job->in_left, &in);
    if (code == 0 && job->in_left > 0) {
        memcpy(job->out, in, job->in_left);
        job->out += job->in_left;
    }
    return code;
}

/* Bytes of the next block when `left` remain: a full one, the short last one, or 0. */
static size_t next_block(size_t left, size_t block_bytes, uint32_t element_bytes)
{
    size_t group = (size_t)MR_BITSHUFFLE_STEP * element_bytes;
    return left >= block_bytes ? block_bytes : left - left % group;
}

static void check_arguments(const struct mr_codec *codec, enum mr_codec_id id,
                            uint32_t element_bytes, size_t bytes)
{
    assert(id == MR_CODEC_BSLZ4 || id == MR_CODEC_BSZSTD);
    assert(element_bytes == 1 || element_bytes == 2 || element_bytes == 4);
    assert(bytes <= codec->max_bytes);
}

int mr_codec_pack_from(struct mr_codec *codec, enum mr_codec_id id, uint32_t element_bytes,
                       mr_codec_next next, void *ctx, size_t in_bytes, void *out,
                       size_t out_capacity, size_t *ret_bytes)
{
    check_arguments(codec, id, element_bytes, in_bytes);
    size_t capacity = out_capacity < in_bytes ? out_capacity : in_bytes - (in_bytes > 0);
    if (capacity < HEADER_BYTES)
        return -E2BIG;
    uint8_t *start = out;
    put_be(start, in_bytes, 8);
    put_be(start + 8, BLOCK_BYTES, 4);
    struct job job = {.id = id,
                      .element_bytes = element_bytes,
                      .next = next,
                      .ctx = ctx,
                      .in_left = in_bytes,
                      .out = start + HEADER_BYTES,
                      .out_left = capacity - HEADER_BYTES};
    size_t block;
    int code = 0;
    while (code == 0 && (block = next_block(job.in_left, BLOCK_BYTES, element_bytes)) > 0)
        code = pack_block(codec, &job, block);
    if (code == 0)
        code = pack_rest(&job);
    if (code == 0)
        *ret_bytes = (size_t)(job.out - start);
    return code;
}

static int next_in_memory(void *ctx, size_t bytes, const uint8_t **ret)
{
    const uint8_t **in = ctx;
    *ret = *in;
    *in += bytes;
    return 0;
}

int mr_codec_pack(struct mr_codec *codec, enum mr_codec_id id, uint32_t element_bytes,
                  const void *in, size_t in_bytes, void *out, size_t out_capacity,
                  size_t *ret_bytes)
{
    const uint8_t *at = in;
    return mr_codec_pack_from(codec, id, element_bytes, next_in_memory, &at, in_bytes, out,
                              out_capacity, ret_bytes);
}

static bool decompress(struct mr_codec *codec, enum mr_codec_id id, const uint8_t *in,
                       size_t in_bytes, size_t bytes)
{
    return id == MR_CODEC_BSLZ4
               ? mr_codec_lz4_unpack(in, in_bytes, codec->planes, bytes)
               : mr_codec_zstd_unpack(codec->zstd, in, in_bytes, codec->planes, bytes);
}

static int unpack_block(struct mr_codec *codec, enum mr_codec_id id, uint32_t element_bytes,
                        size_t bytes, struct cursor *c)
{
    if (c->in_left < LENGTH_BYTES)
        return -EBADMSG;
    size_t packed = (size_t)get_be(c->in, LENGTH_BYTES);
    if (packed > c->in_left - LENGTH_BYTES ||
        !decompress(codec, id, c->in + LENGTH_BYTES, packed, bytes))
        return -EBADMSG;
    mr_bitunshuffle(element_bytes, codec->planes, bytes / element_bytes, c->out);
    c->in += LENGTH_BYTES + packed;
    c->in_left -= LENGTH_BYTES + packed;
    c->out += bytes;
    c->out_left -= bytes;
    return 0;
}

int mr_codec_unpack(struct mr_codec *codec, enum mr_codec_id id, uint32_t element_bytes,
                    const void *in, size_t in_bytes, void *out, size_t out_bytes)
{
    check_arguments(codec, id, element_bytes, out_bytes);
    const uint8_t *start = in;
    if (in_bytes < HEADER_BYTES || get_be(start, 8) != out_bytes)
        return -EBADMSG;
    size_t block_bytes = (size_t)get_be(start + 8, 4);
    if (block_bytes == 0 || block_bytes % (MR_BITSHUFFLE_STEP * element_bytes) != 0)
        return -EBADMSG;
    struct cursor c = {start + HEADER_BYTES, in_bytes - HEADER_BYTES, out, out_bytes};
    size_t block;
    while ((block = next_block(c.out_left, block_bytes, element_bytes)) > 0) {
        int code = unpack_block(codec, id, element_bytes, block, &c);
        if (code != 0)
            return code;
    }
    if (c.in_left != c.out_left)
        return -EBADMSG;
    memcpy(c.out, c.in, c.in_left);
    return 0;
}

const char *mr_codec_library(void)
{
    static _Thread_local char text[64];
    snprintf(text, sizeof(text), "zstd %s, lz4 %s", mr_codec_zstd_version(),
             mr_codec_lz4_version());
    return text;
}
