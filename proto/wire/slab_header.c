/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data header, written and read side by side. Checks what the header can contradict by itself;
 * whether the movie is known and the slab fits its geometry is the receiver's affair.
 */
#include "wire/slab_header.h"

#include "base/bytes.h"
#include "base/crc64.h"
#include "wire/message.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static const uint8_t magic[4] = {'M', 'R', 'S', 'L'};

enum { RESERVED_BYTES = 88, SESSION_OFFSET = 8, CRC_OFFSET = MR_SLAB_HEADER_BYTES - 8 };

void mr_slab_header_encode(const struct mr_slab_header *h, uint8_t ret[MR_SLAB_HEADER_BYTES])
{
    static const uint8_t zeros[RESERVED_BYTES];
    struct mr_writer w = mr_writer_init(ret, MR_SLAB_HEADER_BYTES);
    mr_write_raw(&w, magic, sizeof(magic));
    mr_write_u16(&w, MR_SLAB_HEADER_VERSION);
    mr_write_u16(&w, h->lane);
    mr_write_u64(&w, h->session);
    mr_write_u64(&w, h->sequence);
    mr_write_raw(&w, h->movie.bytes, sizeof(h->movie.bytes));
    mr_write_u32(&w, h->generation);
    mr_write_u8(&w, (uint8_t)h->codec);
    mr_write_raw(&w, zeros, 3);
    mr_write_u64(&w, h->slab);
    mr_write_u32(&w, h->wire_bytes);
    mr_write_u32(&w, h->raw_bytes);
    mr_write_u32(&w, h->pixel_offset);
    mr_write_u32(&w, h->pixel_bytes);
    mr_write_u64(&w, h->crc_wire);
    mr_write_u64(&w, h->crc_raw);
    mr_write_u64(&w, h->crc_pixels);
    mr_stats_write(&w, &h->stats);
    mr_write_raw(&w, zeros, RESERVED_BYTES);
    assert(w.at == CRC_OFFSET);
    mr_write_u64(&w, mr_crc64(0, ret, CRC_OFFSET));
    assert(!w.failed);
}

static bool fields_agree(const struct mr_slab_header *h)
{
    return h->lane < MR_LANES_MAX && h->sequence >= 1 && h->slab < MR_SLABS_MAX &&
           h->wire_bytes >= 1 && h->wire_bytes <= MR_SLAB_WIRE_MAX && h->raw_bytes >= 1 &&
           h->raw_bytes <= MR_SLAB_BYTES && h->pixel_offset <= h->raw_bytes &&
           h->pixel_bytes <= h->raw_bytes - h->pixel_offset &&
           (h->codec != MR_CODEC_NONE || h->wire_bytes == h->raw_bytes);
}

int mr_slab_header_decode(const void *data, size_t bytes, struct mr_slab_header *ret)
{
    if (bytes != MR_SLAB_HEADER_BYTES || memcmp(data, magic, sizeof(magic)) != 0)
        return -EBADMSG;
    struct mr_reader r = mr_reader_init((const uint8_t *)data + CRC_OFFSET, 8);
    if (mr_read_u64(&r) != mr_crc64(0, data, CRC_OFFSET))
        return -EBADMSG;
    struct mr_slab_header h = {0};
    r = mr_reader_init(data, CRC_OFFSET);
    (void)mr_read_view(&r, sizeof(magic));
    if (mr_read_u16(&r) != MR_SLAB_HEADER_VERSION)
        return -EPROTO;
    h.lane = mr_read_u16(&r);
    h.session = mr_read_u64(&r);
    h.sequence = mr_read_u64(&r);
    mr_read_raw(&r, h.movie.bytes, sizeof(h.movie.bytes));
    h.generation = mr_read_u32(&r);
    uint8_t codec = mr_read_u8(&r);
    (void)mr_read_view(&r, 3);
    h.slab = mr_read_u64(&r);
    h.wire_bytes = mr_read_u32(&r);
    h.raw_bytes = mr_read_u32(&r);
    h.pixel_offset = mr_read_u32(&r);
    h.pixel_bytes = mr_read_u32(&r);
    h.crc_wire = mr_read_u64(&r);
    h.crc_raw = mr_read_u64(&r);
    h.crc_pixels = mr_read_u64(&r);
    if (mr_stats_read(&r, &h.stats) < 0 || codec >= MR_CODEC_COUNT)
        return -EPROTO;
    h.codec = (enum mr_codec_id)codec;
    if (!fields_agree(&h))
        return -EPROTO;
    *ret = h;
    return 0;
}

uint64_t mr_slab_header_session(const void *data)
{
    struct mr_reader r = mr_reader_init((const uint8_t *)data + SESSION_OFFSET, 8);
    return mr_read_u64(&r);
}
