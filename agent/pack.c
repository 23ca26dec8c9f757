/* SPDX-License-Identifier: Apache-2.0 */
/* From a piece of the source to a slab as it travels. Decides nothing and sends nothing. */
#include "pack.h"

#include "base/clock.h"
#include "base/crc64.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/tally.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STAGE     "pack"
#define SCRATCH   (MR_SLAB_BYTES + 4096)
#define READ_STEP (256u * 1024) /* read and summed while still in the L2 cache */

struct mr_pack {
    struct mr_pack_queues queues;
    struct mr_codec *codec;
    uint8_t *scratch; /* one slab, for what cannot be done in place */
};

int mr_pack_new(const struct mr_pack_queues *queues, struct mr_pack **ret)
{
    struct mr_pack *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return -ENOMEM;
    p->queues = *queues;
    p->scratch = aligned_alloc(4096, SCRATCH);
    if (p->scratch == NULL || mr_codec_new(MR_SLAB_BYTES, &p->codec) < 0) {
        mr_pack_free(p);
        return -ENOMEM;
    }
    *ret = p;
    return 0;
}

void mr_pack_free(struct mr_pack *p)
{
    if (p == NULL)
        return;
    mr_codec_free(p->codec);
    free(p->scratch);
    free(p);
}

/* ---- the source ---- */

static int read_and_sum(const struct mr_parcel *parcel, uint64_t *ret_crc)
{
    const struct mr_span *span = &parcel->pick.span;
    uint8_t *to = parcel->buffer->data;
    uint64_t crc = 0;
    for (size_t at = 0; at < span->source_bytes; at += READ_STEP) {
        size_t left = span->source_bytes - at, step = left < READ_STEP ? left : READ_STEP;
        int r = mr_fs_pread_full(parcel->fd, to + at, step, span->source_offset + at);
        if (r < 0)
            return r;
        crc = mr_crc64(crc, to + at, step);
    }
    *ret_crc = crc;
    return 0;
}

/* ---- the pixels as they are to lie in the store ---- */

static void swap_bytes(const uint8_t *from, uint8_t *to, size_t bytes, uint32_t element)
{
    for (size_t i = 0; i + element <= bytes; i += element)
        for (uint32_t b = 0; b < element; b++)
            to[i + b] = from[i + element - 1 - b];
}

/* 4-bit pixels to bytes, left pixel in the low nibble; widths are even here
 * (mr_geometry_frames). */
static void unpack_nibbles(const uint8_t *from, uint8_t *to, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        to[2 * i] = from[i] & 15;
        to[2 * i + 1] = from[i] >> 4;
    }
}

/* Makes buffer hold span.raw_bytes as the layout wants them: little-endian, unpacked, padded.
 * crc: of the bytes as read; returns that of the bytes as arranged. */
static uint64_t arrange(struct mr_pack *p, struct mr_parcel *parcel, uint64_t crc)
{
    const struct mr_geometry *g = &parcel->geometry;
    const struct mr_span *span = &parcel->pick.span;
    uint8_t *data = parcel->buffer->data;
    bool as_read = false;
    if (g->layout == MR_LAYOUT_BYTES)
        return crc;
    if (g->source_pixel == MR_PIXEL_U4 && g->pixel == MR_PIXEL_U8) {
        memcpy(p->scratch, data, span->source_bytes);
        unpack_nibbles(p->scratch, data, span->source_bytes);
    } else if (g->swap_bytes && mr_pixel_bytes(g->pixel) > 1) {
        memcpy(p->scratch, data, span->source_bytes);
        swap_bytes(p->scratch, data, span->source_bytes, mr_pixel_bytes(g->pixel));
    } else {
        as_read = true;
    }
    size_t padding = span->raw_bytes - span->pixel_bytes;
    memset(data + span->pixel_bytes, 0, padding);
    return as_read ? mr_crc64(crc, data + span->pixel_bytes, padding)
                   : mr_crc64(0, data, span->raw_bytes);
}

/* A kept big-endian movie stays as it is; its pixels' digest is that of the little-endian ones. A
 * cut through a pixel is no matter: slabs and data offset are multiples of every pixel's size, or
 * the whole digest is not offered. */
static uint64_t crc_of_pixels(struct mr_pack *p, const struct mr_parcel *parcel, uint64_t crc_raw)
{
    const struct mr_geometry *g = &parcel->geometry;
    const struct mr_span *span = &parcel->pick.span;
    const uint8_t *pixels = parcel->buffer->data + span->pixel_offset;
    uint32_t element = mr_pixel_bytes(g->pixel);
    if (span->pixel_bytes == 0)
        return 0;
    if (g->layout == MR_LAYOUT_BYTES && g->swap_bytes && element > 1 &&
        span->pixel_bytes % element == 0) {
        swap_bytes(pixels, p->scratch, span->pixel_bytes, element);
        return mr_crc64(0, p->scratch, span->pixel_bytes);
    }
    if (span->pixel_bytes == span->raw_bytes)
        return crc_raw;
    return mr_crc64(0, pixels, span->pixel_bytes);
}

/* The buffer changes places with the scratch only in content: what travels is always in the
 * buffer. */
static void compress(struct mr_pack *p, struct mr_parcel *parcel)
{
    struct mr_slab_header *h = &parcel->header;
    size_t bytes = 0;
    h->codec = MR_CODEC_NONE;
    h->wire_bytes = h->raw_bytes;
    h->crc_wire = h->crc_raw;
    if (parcel->codec == MR_CODEC_NONE || !parcel->pick.send)
        return;
    uint64_t begun_ns = mr_clock_thread_ns();
    int r = mr_codec_pack(p->codec, parcel->codec, mr_pixel_bytes(parcel->geometry.pixel),
                          parcel->buffer->data, h->raw_bytes, p->scratch, h->raw_bytes - 1, &bytes);
    parcel->codec_ns = mr_clock_thread_ns() - begun_ns;
    if (r < 0) /* it does not shrink: it goes raw */
        return;
    memcpy(parcel->buffer->data, p->scratch, bytes);
    h->codec = parcel->codec;
    h->wire_bytes = (uint32_t)bytes;
    h->crc_wire = mr_crc64(0, parcel->buffer->data, bytes);
}

/* crc_read: of the span.source_bytes in the buffer. */
static void pack(struct mr_pack *p, struct mr_parcel *parcel, uint64_t crc_read)
{
    const struct mr_span *span = &parcel->pick.span;
    struct mr_slab_header *h = &parcel->header;
    assert(span->raw_bytes <= parcel->buffer->capacity);
    uint64_t crc_raw = arrange(p, parcel, crc_read);
    *h = (struct mr_slab_header){.movie = parcel->pick.movie,
                                 .generation = parcel->pick.generation,
                                 .slab = parcel->pick.slab,
                                 .raw_bytes = span->raw_bytes,
                                 .pixel_offset = span->pixel_offset,
                                 .pixel_bytes = span->pixel_bytes};
    h->crc_raw = crc_raw;
    h->crc_pixels = crc_of_pixels(p, parcel, h->crc_raw);
    if (parcel->geometry.layout == MR_LAYOUT_STREAM)
        mr_stats_of(parcel->geometry.pixel, parcel->geometry.width, parcel->buffer->data,
                    span->raw_bytes, &h->stats);
    compress(p, parcel);
}

void mr_pack_do(struct mr_pack *p, struct mr_parcel *parcel)
{
    pack(p, parcel, mr_crc64(0, parcel->buffer->data, parcel->pick.span.source_bytes));
}

int mr_pack_read(struct mr_pack *p, struct mr_parcel *parcel)
{
    uint64_t crc;
    int r = read_and_sum(parcel, &crc);
    mr_fs_close(&parcel->fd);
    if (r == 0)
        pack(p, parcel, crc);
    return r;
}

static void run(void *stage)
{
    struct mr_pack *p = stage;
    struct mr_parcel parcel;
    while (mr_queue_pop(p->queues.in, -1, &parcel) == 0) {
        int r = mr_pack_read(p, &parcel);
        mr_tally_item(parcel.header.raw_bytes);
        const struct mr_packed note = {.pick = parcel.pick,
                                       .error = r,
                                       .crc_raw = parcel.header.crc_raw,
                                       .crc_pixels = parcel.header.crc_pixels,
                                       .wire_bytes = parcel.header.wire_bytes,
                                       .codec = parcel.codec,
                                       .pixel = parcel.geometry.pixel,
                                       .stored_so = parcel.geometry.layout == MR_LAYOUT_CHUNKS,
                                       .codec_ns = parcel.codec_ns};
        if (mr_queue_push(p->queues.notes, &note) < 0)
            mr_debug(STAGE, "a slab was packed while the agent stops");
        if (r < 0 || !parcel.pick.send || mr_queue_push(p->queues.out, &parcel) < 0)
            mr_pool_put(parcel.buffer);
    }
}

const struct mr_stage mr_pack_stage = {.name = STAGE, .run = run};
