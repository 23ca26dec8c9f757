/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of LZ4: liblz4's encoder, or codec_runs' for planes of counts where the CPU has what that
 * needs; liblz4 decodes both. The one file that knows lz4.
 */
#include "wire/codec_block.h"
#include "wire/codec_runs.h"

#include <errno.h>
#include <lz4.h>
#include <stdlib.h>

#define ACCELERATION 1

struct mr_codec_lz4 {
    bool has_runs;
    void *state; /* LZ4_compress_fast_extState's */
    struct mr_codec_runs runs;
};

size_t mr_codec_lz4_bound(size_t bytes)
{
    size_t library = (size_t)LZ4_compressBound((int)bytes), ours = mr_codec_runs_bound(bytes);
    return library > ours ? library : ours;
}

int mr_codec_lz4_new(struct mr_codec_lz4 **ret)
{
    struct mr_codec_lz4 *coder = calloc(1, sizeof(*coder));
    if (!coder)
        return -ENOMEM;
    coder->has_runs = mr_codec_runs_usable();
    coder->state = malloc((size_t)LZ4_sizeofState());
    if (!coder->state) {
        mr_codec_lz4_free(coder);
        return -ENOMEM;
    }
    *ret = coder;
    return 0;
}

void mr_codec_lz4_free(struct mr_codec_lz4 *coder)
{
    if (coder) {
        free(coder->state);
        free(coder);
    }
}

size_t mr_codec_lz4_pack(struct mr_codec_lz4 *coder, const struct mr_codec_block *block,
                         uint8_t *out, size_t capacity)
{
    if (block->counts && coder->has_runs && block->bytes >= MR_CODEC_RUNS_LEAST &&
        capacity >= mr_codec_runs_bound(block->bytes))
        return mr_codec_runs_pack(&coder->runs, block->planes, block->bytes, out);
    int most = capacity > LZ4_MAX_INPUT_SIZE ? LZ4_MAX_INPUT_SIZE : (int)capacity;
    return (size_t)LZ4_compress_fast_extState(coder->state, (const char *)block->planes,
                                              (char *)out, (int)block->bytes, most, ACCELERATION);
}

bool mr_codec_lz4_unpack(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t bytes)
{
    if (in_bytes > LZ4_MAX_INPUT_SIZE || bytes > LZ4_MAX_INPUT_SIZE)
        return false;
    int restored = LZ4_decompress_safe((const char *)in, (char *)out, (int)in_bytes, (int)bytes);
    return restored >= 0 && (size_t)restored == bytes;
}

const char *mr_codec_lz4_version(void)
{
    return LZ4_versionString();
}
