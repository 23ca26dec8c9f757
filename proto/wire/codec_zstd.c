/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of zstd, each one frame: libzstd's at level 1, or one put together plane by plane for
 * planes of counts, where each plane gets what suits it: noise is stored, a constant is one
 * repeated byte, bits of a density between are entropy-coded without a search for matches, which
 * finds little there and takes most of the time. libzstd makes the coded blocks. The one file that
 * knows zstd.
 */
#include "wire/codec_block.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define LEVEL 1
/* Of the frame format, RFC 8878 */
#define MAGIC_BYTES  4u
#define HEADER_BYTES 9u /* magic, descriptor (one segment, four bytes of size), size */
#define DESCRIPTOR   0xa0u
#define BLOCK_HEADER 3u
#define BLOCK_MOST   (128u * 1024)
#define BLOCK_LAST   1u
enum block_type { STORED = 0, REPEATED = 1, CODED = 2 };

/* A match search that gives up at once: steps of a whole block. */
#define NO_SEARCH BLOCK_MOST

/* Places where a plane's bits are counted, and bytes at each */
#define LOOKS      8u
#define LOOK_BYTES 256u

struct mr_codec_zstd {
    ZSTD_CCtx *library;
    ZSTD_CCtx *entropy; /* NULL: this libzstd cannot be told to code literals alone */
    ZSTD_DCtx *unpack;
};

enum plane { NOISE, CONSTANT, MIXED, SPARSE };

/* A frame while it is written. */
struct cursor {
    uint8_t *start, *out, *end;
    uint8_t *last; /* header of the last block so far */
};

size_t mr_codec_zstd_bound(size_t bytes)
{
    /* stored planes, at most BLOCK_MOST each; and what libzstd may need to code the last */
    return ZSTD_compressBound(bytes) + HEADER_BYTES + 64 * BLOCK_HEADER + 64;
}

/* The parameter that has literals coded though nothing is searched has a number but no name that is
 * for keeps: where it is refused, there is no such context. */
static ZSTD_CCtx *entropy_context(void)
{
    const struct {
        ZSTD_cParameter name;
        int value;
    } wishes[] = {{ZSTD_c_strategy, ZSTD_fast}, {ZSTD_c_targetLength, (int)NO_SEARCH},
                  {ZSTD_c_hashLog, 6},          {ZSTD_c_minMatch, 7},
                  {ZSTD_c_windowLog, 17},       {ZSTD_c_experimentalParam5, 1}};
    ZSTD_CCtx *context = ZSTD_createCCtx();
    for (size_t i = 0; context && i < sizeof(wishes) / sizeof(wishes[0]); i++) {
        if (ZSTD_isError(ZSTD_CCtx_setParameter(context, wishes[i].name, wishes[i].value))) {
            ZSTD_freeCCtx(context);
            context = NULL;
        }
    }
    return context;
}

/* zstd sizes its workspace at the first use: let that be now, with a full block. (After 128 blocks
 * in a row of less than a third of that it may trade it for a smaller one; slabs of a movie never
 * are.) */
static int warm_up(struct mr_codec_zstd *coder, size_t block_bytes)
{
    uint8_t packed[1024];
    uint8_t *zeros = calloc(1, block_bytes);
    if (!zeros)
        return -ENOMEM;
    size_t whole =
        ZSTD_compressCCtx(coder->library, packed, sizeof(packed), zeros, block_bytes, LEVEL);
    if (coder->entropy && ZSTD_isError(ZSTD_compress2(coder->entropy, packed, sizeof(packed), zeros,
                                                      block_bytes / 8))) {
        ZSTD_freeCCtx(coder->entropy);
        coder->entropy = NULL;
    }
    free(zeros);
    return ZSTD_isError(whole) ? -ENOMEM : 0;
}

int mr_codec_zstd_new(size_t block_bytes, struct mr_codec_zstd **ret)
{
    struct mr_codec_zstd *coder = calloc(1, sizeof(*coder));
    if (!coder)
        return -ENOMEM;
    coder->library = ZSTD_createCCtx();
    coder->entropy = entropy_context();
    coder->unpack = ZSTD_createDCtx();
    if (!coder->library || !coder->unpack || warm_up(coder, block_bytes) != 0) {
        mr_codec_zstd_free(coder);
        return -ENOMEM;
    }
    *ret = coder;
    return 0;
}

void mr_codec_zstd_free(struct mr_codec_zstd *coder)
{
    if (coder) {
        ZSTD_freeCCtx(coder->library);
        ZSTD_freeCCtx(coder->entropy);
        ZSTD_freeDCtx(coder->unpack);
        free(coder);
    }
}

/* ---- what a plane is ---- */

static unsigned count_bits(const uint8_t *p, size_t bytes)
{
    unsigned bits = 0;
    for (size_t i = 0; i + 8 <= bytes; i += 8) {
        uint64_t v;
        memcpy(&v, p + i, sizeof(v));
        bits += (unsigned)__builtin_popcountll(v);
    }
    return bits;
}

/* From a few looks: ones in 1024 bits, or zeros where those are fewer. */
static unsigned density(const uint8_t *plane, size_t bytes)
{
    size_t look = bytes / LOOKS < LOOK_BYTES ? bytes / LOOKS / 8 * 8 : LOOK_BYTES;
    unsigned ones = 0, bits = (unsigned)(LOOKS * look * 8);
    for (size_t i = 0; i < LOOKS; i++)
        ones += count_bits(plane + bytes / LOOKS * i, look);
    unsigned few = ones < bits - ones ? ones : bits - ones;
    return bits == 0 ? 512 : few * 1024 / bits;
}

/* Coding bits of density 0.42 saves 2 %, which libzstd would not take; below 0.008 runs of zeros
 * are long enough to be worth a search. */
static enum plane judge(const uint8_t *plane, size_t bytes)
{
    if (memcmp(plane, plane + 1, bytes - 1) == 0)
        return CONSTANT;
    unsigned few = density(plane, bytes);
    return few > 430 ? NOISE : few < 8 ? SPARSE : MIXED;
}

/* ---- a frame from parts ---- */

static bool put_header(struct cursor *c, enum block_type type, size_t size)
{
    if ((size_t)(c->end - c->out) < BLOCK_HEADER)
        return false;
    uint32_t header = (uint32_t)type << 1 | (uint32_t)size << 3;
    c->last = c->out;
    for (size_t i = 0; i < BLOCK_HEADER; i++)
        *c->out++ = (uint8_t)(header >> (8 * i));
    return true;
}

static bool put_bytes(struct cursor *c, const uint8_t *from, size_t bytes)
{
    if ((size_t)(c->end - c->out) < bytes)
        return false;
    memmove(c->out, from, bytes);
    c->out += bytes;
    return true;
}

static uint32_t load_24(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
}

/* Appends the blocks of a frame of libzstd's own, which lies at c->out. */
static bool take_over_blocks(struct cursor *c, size_t frame_bytes)
{
    static const uint8_t size_bytes[4] = {0, 2, 4, 8};
    const uint8_t *p = c->out, *end = p + frame_bytes;
    uint8_t descriptor = p[MAGIC_BYTES];
    bool segment = (descriptor & 0x20u) != 0;
    size_t size = descriptor >> 6 == 0 ? (segment ? 1 : 0) : size_bytes[descriptor >> 6];
    p += MAGIC_BYTES + 1 + (segment ? 0 : 1) + size;
    uint32_t header = 0;
    while ((header & BLOCK_LAST) == 0 && p + BLOCK_HEADER <= end) {
        header = load_24(p);
        enum block_type type = (enum block_type)(header >> 1 & 3u);
        size_t stored = type == REPEATED ? 1 : header >> 3;
        if (stored > (size_t)(end - p) - BLOCK_HEADER || !put_header(c, type, header >> 3) ||
            !put_bytes(c, p + BLOCK_HEADER, stored))
            return false;
        p += BLOCK_HEADER + stored;
    }
    return true;
}

static bool put_coded(struct cursor *c, ZSTD_CCtx *context, const uint8_t *from, size_t bytes)
{
    size_t packed = ZSTD_compress2(context, c->out, (size_t)(c->end - c->out), from, bytes);
    return !ZSTD_isError(packed) && take_over_blocks(c, packed);
}

/* How many planes from the first on are sparse or constant, the last of them sparse. */
static size_t sparse_planes(const struct mr_codec_block *b, size_t first, size_t planes)
{
    size_t count = 1;
    for (size_t i = first + 1; i < planes; i++) {
        enum plane kind = judge(b->planes + i * b->plane_bytes, b->plane_bytes);
        if (kind == SPARSE)
            count = i - first + 1;
        else if (kind != CONSTANT)
            break;
    }
    return count;
}

/* Matches may be in one stretch of planes only: libzstd codes it as a frame of its own, and what a
 * frame's first match may refer to is what no block before it has changed. */
static bool put_planes(struct mr_codec_zstd *coder, const struct mr_codec_block *b,
                       struct cursor *c)
{
    size_t planes = b->bytes / b->plane_bytes;
    bool searched = false, good = true;
    for (size_t i = 0, count = 1; good && i < planes; i += count) {
        const uint8_t *plane = b->planes + i * b->plane_bytes;
        enum plane kind = judge(plane, b->plane_bytes);
        count = 1;
        if (kind == NOISE) {
            good = put_header(c, STORED, b->plane_bytes) && put_bytes(c, plane, b->plane_bytes);
        } else if (kind == CONSTANT) {
            good = put_header(c, REPEATED, b->plane_bytes) && put_bytes(c, plane, 1);
        } else if (kind == SPARSE && !searched) {
            searched = true;
            count = sparse_planes(b, i, planes);
            good = put_coded(c, coder->library, plane, count * b->plane_bytes);
        } else {
            good = put_coded(c, coder->entropy, plane, b->plane_bytes);
        }
    }
    return good;
}

static size_t pack_planes(struct mr_codec_zstd *coder, const struct mr_codec_block *b, uint8_t *out,
                          size_t capacity)
{
    struct cursor c = {out, out, out + capacity, NULL};
    uint8_t header[HEADER_BYTES] = {0x28, 0xb5, 0x2f, 0xfd, DESCRIPTOR};
    for (size_t i = 0; i < 4; i++)
        header[MAGIC_BYTES + 1 + i] = (uint8_t)(b->bytes >> (8 * i));
    if (!put_bytes(&c, header, sizeof(header)) || !put_planes(coder, b, &c))
        return 0;
    *c.last |= BLOCK_LAST;
    return (size_t)(c.out - c.start);
}

size_t mr_codec_zstd_pack(struct mr_codec_zstd *coder, const struct mr_codec_block *block,
                          uint8_t *out, size_t capacity)
{
    if (block->counts && coder->entropy && block->plane_bytes >= LOOKS * 8 &&
        block->plane_bytes <= BLOCK_MOST && block->bytes % block->plane_bytes == 0)
        return pack_planes(coder, block, out, capacity);
    size_t packed =
        ZSTD_compressCCtx(coder->library, out, capacity, block->planes, block->bytes, LEVEL);
    return ZSTD_isError(packed) ? 0 : packed;
}

bool mr_codec_zstd_unpack(struct mr_codec_zstd *coder, const uint8_t *in, size_t in_bytes,
                          uint8_t *out, size_t bytes)
{
    /* An error is a size far above any block's. */
    return ZSTD_decompressDCtx(coder->unpack, out, bytes, in, in_bytes) == bytes;
}

const char *mr_codec_zstd_version(void)
{
    return ZSTD_versionString();
}
