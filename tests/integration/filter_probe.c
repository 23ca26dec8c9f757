/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packs or unpacks one file with the slab codec, so that check_filter.py can show our payloads to
 * other readers and other writers' payloads to us; or shuffles one with each kernel in turn.
 *   filter_probe pack CODEC ELEMENT_BYTES IN OUT
 *   filter_probe unpack CODEC ELEMENT_BYTES IN OUT OUT_BYTES
 *   filter_probe shuffle KERNEL ELEMENT_BYTES IN OUT   (status 69: this CPU has no such kernel)
 */
#include "wire/bitshuffle.h"
#include "wire/codec.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST (16u << 20)

static uint8_t in[MOST], out[MOST];

static bool write_file(const char *path, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    bool good = file && fwrite(out, 1, bytes, file) == bytes;
    return file && fclose(file) == 0 && good;
}

static size_t read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t bytes = file ? fread(in, 1, MOST, file) : 0;
    if (file) {
        fclose(file);
    }
    return bytes;
}

static int shuffle(char **argv)
{
    for (size_t k = 0; mr_bitshuffle_kernel_name(k); k++) {
        if (strcmp(mr_bitshuffle_kernel_name(k), argv[2]) == 0) {
            uint32_t element_bytes = (uint32_t)strtoul(argv[3], NULL, 10);
            size_t bytes = read_file(argv[4]);
            mr_bitshuffle_use_kernel(k);
            mr_bitshuffle(element_bytes, in, bytes / element_bytes, out);
            return write_file(argv[5], bytes) ? 0 : 74;
        }
    }
    return 69;
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "shuffle") == 0) {
        return shuffle(argv);
    }
    enum mr_codec_id id;
    struct mr_codec *codec;
    if (argc < 6 || mr_codec_parse(argv[2], &id) != 0 || mr_codec_new(MOST, &codec) != 0) {
        fprintf(stderr, "usage: filter_probe pack|unpack CODEC ELEMENT_BYTES IN OUT [OUT_BYTES]\n");
        return 64;
    }
    size_t in_bytes = read_file(argv[4]);
    uint32_t element_bytes = (uint32_t)strtoul(argv[3], NULL, 10);
    size_t out_bytes = argc > 6 ? strtoul(argv[6], NULL, 10) : 0;
    int code = strcmp(argv[1], "pack") == 0
                   ? mr_codec_pack(codec, id, element_bytes, in, in_bytes, out, MOST, &out_bytes)
                   : mr_codec_unpack(codec, id, element_bytes, in, in_bytes, out, out_bytes);
    mr_codec_free(codec);
    if (code != 0) {
        fprintf(stderr, "%s: %s\n", argv[4], mr_err_name(code));
        return 1;
    }
    return write_file(argv[5], out_bytes) ? 0 : 74;
}
