/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes through our encoder of runs, and through a slab's whole way there and back: byte 0
 * chooses codec and element size, byte 1 how often the rest is repeated with zeros between. */
#include "wire/codec.h"
#include "wire/codec_block.h"
#include "wire/codec_runs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define MOST (1u << 20)

static void through_runs(const uint8_t *in, size_t bytes)
{
    static struct mr_codec_runs scratch;
    uint8_t *out = malloc(mr_codec_runs_bound(bytes)), *back = malloc(bytes);
    assert(out && back);
    size_t packed = mr_codec_runs_pack(&scratch, in, bytes, out);
    assert(packed <= mr_codec_runs_bound(bytes));
    assert(mr_codec_lz4_unpack(out, packed, back, bytes) && memcmp(in, back, bytes) == 0);
    free(out);
    free(back);
}

static void through_codec(struct mr_codec *codec, uint8_t choice, const uint8_t *in, size_t bytes)
{
    enum mr_codec_id id = choice & 4 ? MR_CODEC_BSZSTD : MR_CODEC_BSLZ4;
    uint32_t element_bytes = 1u << (choice & 3u) % 3;
    size_t packed = 0;
    uint8_t *out = malloc(bytes + 1), *back = malloc(bytes + 1);
    assert(out && back);
    if (mr_codec_pack(codec, id, element_bytes, in, bytes, out, bytes, &packed) == 0) {
        assert(packed < bytes);
        assert(mr_codec_unpack(codec, id, element_bytes, out, packed, back, bytes) == 0);
        assert(memcmp(in, back, bytes) == 0);
    }
    free(out);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct mr_codec *codec;
    if (bytes < 3 || (!codec && mr_codec_new(MOST, &codec) != 0)) {
        return 0;
    }
    size_t piece = bytes - 2, pitch = piece + data[1], total = 0;
    uint8_t *in = calloc(1, MOST);
    assert(in);
    for (size_t i = 0; i <= data[1] && total + pitch <= MOST; i++, total += pitch) {
        memcpy(in + total, data + 2, piece);
    }
    if (total >= MR_CODEC_RUNS_LEAST && mr_codec_runs_usable()) {
        through_runs(in, total);
    }
    through_codec(codec, data[0], in, total);
    free(in);
    return 0;
}
