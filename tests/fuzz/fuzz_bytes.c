/* SPDX-License-Identifier: Apache-2.0 */
/* Any order of reads over any bytes stays inside them; what is read can be written again. */
#include "base/bytes.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void read_one(struct mr_reader *r, uint8_t what)
{
    char text[32];
    uint8_t raw[16];
    switch (what % 8) {
    case 0:
        (void)mr_read_u8(r);
        break;
    case 1:
        (void)mr_read_u16(r);
        break;
    case 2:
        (void)mr_read_u32(r);
        break;
    case 3:
        (void)mr_read_u64(r);
        break;
    case 4:
        (void)mr_read_f64(r);
        break;
    case 5:
        mr_read_str(r, text, sizeof(text));
        assert(memchr(text, '\0', sizeof(text)) != NULL);
        break;
    case 6:
        mr_read_raw(r, raw, what % sizeof(raw));
        break;
    default:
        (void)mr_read_view(r, what);
        break;
    }
}

static void copy_strings(const uint8_t *data, size_t bytes)
{
    char text[64], again[64];
    uint8_t out[66];
    struct mr_reader r = mr_reader_init(data, bytes);
    while (!r.failed && mr_reader_left(&r) > 0) {
        mr_read_str(&r, text, sizeof(text));
        struct mr_writer w = mr_writer_init(out, sizeof(out));
        mr_write_str(&w, text);
        assert(!w.failed);
        struct mr_reader back = mr_reader_init(out, w.at);
        mr_read_str(&back, again, sizeof(again));
        assert(!back.failed && strcmp(text, again) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    size_t orders = bytes < 16 ? bytes : 16;
    struct mr_reader r = mr_reader_init(data + orders, bytes - orders);
    for (size_t i = 0; i < orders; i++) {
        size_t left = mr_reader_left(&r);
        read_one(&r, data[i]);
        assert(r.at <= r.size && mr_reader_left(&r) <= left);
    }
    copy_strings(data, bytes);
    return 0;
}
