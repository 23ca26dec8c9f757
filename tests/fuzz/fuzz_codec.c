/* SPDX-License-Identifier: Apache-2.0 */
/* A compressed slab from a peer: byte 0 chooses codec and element size, bytes 1-3 the size to
 * restore. */
#include "wire/codec.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define MOST (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct mr_codec *codec;
    if (bytes < 4 || (!codec && mr_codec_new(MOST, &codec) != 0)) {
        return 0;
    }
    enum mr_codec_id id = data[0] & 4 ? MR_CODEC_BSZSTD : MR_CODEC_BSLZ4;
    uint32_t element_bytes = 1u << (data[0] & 3u) % 3;
    size_t out_bytes = ((size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3]) % (MOST + 1);
    uint8_t *out = malloc(out_bytes ? out_bytes : 1); /* of the exact size, for AddressSanitizer */
    assert(out);
    int code = mr_codec_unpack(codec, id, element_bytes, data + 4, bytes - 4, out, out_bytes);
    assert(code == 0 || code == -EBADMSG);
    free(out);
    return 0;
}
