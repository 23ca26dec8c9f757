/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data header: the first of a data message's two parts, MR_SLAB_HEADER_BYTES, little-endian,
 * closed by its own checksum. Byte table in docs/PROTOCOL.md. The second part is the payload
 * (wire_bytes).
 */
#ifndef MR_WIRE_SLAB_HEADER_H
#define MR_WIRE_SLAB_HEADER_H

#include "base/ulid.h"
#include "wire/codec.h"
#include "wire/slab.h"
#include "wire/stats.h"

#define MR_SLAB_HEADER_BYTES   256u
#define MR_SLAB_HEADER_VERSION 1u
#define MR_SLAB_WIRE_MAX       (MR_SLAB_BYTES) /* of a payload: what would grow goes raw */

struct mr_slab_header {
    uint64_t session;  /* from WELCOME; anything else is stale and dropped */
    uint64_t sequence; /* of this lane in this session: 1, 2, 3 ...; a gap is a lost message */
    struct mr_ulid movie;
    uint32_t generation; /* from OPENED */
    uint16_t lane;
    uint64_t slab;
    enum mr_codec_id codec; /* of the payload; NONE where it did not shrink */
    uint32_t wire_bytes, raw_bytes;
    uint32_t pixel_offset, pixel_bytes;
    uint64_t crc_wire, crc_raw,
        crc_pixels; /* payload as sent; restored; its pixels, little-endian */
    struct mr_stats stats;
};

void mr_slab_header_encode(const struct mr_slab_header *h, uint8_t ret[MR_SLAB_HEADER_BYTES]);

/* -EBADMSG: size, magic or checksum wrong; -EPROTO: a version or field out of range (wire_bytes 1
 * to MR_SLAB_WIRE_MAX, raw_bytes 1 to MR_SLAB_BYTES, pixel part inside raw, codec known, NONE
 * implies wire == raw). */
int mr_slab_header_decode(const void *data, size_t bytes, struct mr_slab_header *ret) MR_MUST_USE;

/* The session that a header of whole checksum names, also where decode says -EPROTO. */
uint64_t mr_slab_header_session(const void *data);

#endif
