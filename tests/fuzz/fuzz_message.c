/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a control message. The body is also tried behind an honest envelope, since the
 * checksum would keep a fuzzer out; what decodes must encode, and decode again.
 */
#include "base/crc64.h"
#include "wire/message.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode_again(const struct mr_message *m, size_t size)
{
    size_t room = size + 64, bytes = 0;
    uint8_t *out = malloc(room);
    struct mr_message again;
    if (out == NULL || mr_message_encode(m, out, room, &bytes) < 0) {
        abort();
    }
    if (m->type != MR_HELLO && mr_message_decode(out, bytes, &again, NULL) < 0) {
        abort();
    }
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mr_message m;
    struct mr_err err = {0};
    if (mr_message_decode(data, size, &m, &err) == 0) {
        encode_again(&m, size + 256);
    }
    if (size < 32) {
        return 0;
    }
    uint8_t *honest = malloc(size);
    if (honest == NULL) {
        return 0;
    }
    memcpy(honest, data, size);
    memcpy(honest, "MRCT", 4);
    uint64_t body = size - 32, crc;
    for (size_t i = 0; i < 4; i++) {
        honest[12 + i] = (uint8_t)(body >> (8 * i));
    }
    crc = mr_crc64(0, honest, size - 8);
    for (size_t i = 0; i < 8; i++) {
        honest[size - 8 + i] = (uint8_t)(crc >> (8 * i));
    }
    if (mr_message_decode(honest, size, &m, &err) == 0) {
        encode_again(&m, size + 256);
    }
    free(honest);
    return 0;
}
