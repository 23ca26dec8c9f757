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

static void travel_raw(struct mr_slab_header *h)
{
    h->codec = MR_CODEC_NONE;
    h->wire_bytes = h->raw_bytes;
    h->crc_wire = h->crc_raw;
}

static void travel_packed(struct mr_parcel *parcel, size_t bytes)
{
    struct mr_slab_header *h = &parcel->header;
    h->codec = parcel->codec;
    h->wire_bytes = (uint32_t)bytes;
    h->crc_wire = mr_crc64(0, parcel->buffer->data, bytes);
}

/* The buffer changes places with the scratch only in content: what travels is always in the
 * buffer. */
static void compress(struct mr_pack *p, struct mr_parcel *parcel)
{
    const struct mr_slab_header *h = &parcel->header;
    size_t bytes = 0;
    uint64_t begun_ns = mr_clock_thread_ns();
    int r = mr_codec_pack(p->codec, parcel->codec, mr_pixel_bytes(parcel->geometry.pixel),
                          parcel->buffer->data, h->raw_bytes, p->scratch, h->raw_bytes - 1, &bytes);
    parcel->codec_ns = mr_clock_thread_ns() - begun_ns;
    if (r < 0) /* it does not shrink */
        return;
    memcpy(parcel->buffer->data, p->scratch, bytes);
    travel_packed(parcel, bytes);
}

static void begin_header(struct mr_parcel *parcel)
{
    const struct mr_span *span = &parcel->pick.span;
    assert(span->raw_bytes <= parcel->buffer->capacity);
    parcel->header = (struct mr_slab_header){.movie = parcel->pick.movie,
                                             .generation = parcel->pick.generation,
                                             .slab = parcel->pick.slab,
                                             .raw_bytes = span->raw_bytes,
                                             .pixel_offset = span->pixel_offset,
                                             .pixel_bytes = span->pixel_bytes};
}

/* crc_read: of the span.source_bytes in the buffer. */
static void arrange_and_sum(struct mr_pack *p, struct mr_parcel *parcel, uint64_t crc_read)
{
    struct mr_slab_header *h = &parcel->header;
    begin_header(parcel);
    h->crc_raw = arrange(p, parcel, crc_read);
    h->crc_pixels = crc_of_pixels(p, parcel, h->crc_raw);
    if (parcel->geometry.layout == MR_LAYOUT_STREAM)
        mr_stats_of(parcel->geometry.pixel, parcel->geometry.width, parcel->buffer->data,
                    h->raw_bytes, &h->stats);
    travel_raw(h);
}

static bool wants_codec(const struct mr_parcel *parcel)
{
    return parcel->codec != MR_CODEC_NONE && parcel->pick.send;
}

void mr_pack_do(struct mr_pack *p, struct mr_parcel *parcel)
{
    arrange_and_sum(p, parcel, mr_crc64(0, parcel->buffer->data, parcel->pick.span.source_bytes));
    if (wants_codec(parcel))
        compress(p, parcel);
}

/* ---- both at once: what is compressed never lies in memory as a whole ---- */

struct flow {
    struct mr_pack *pack;
    struct mr_parcel *parcel;
    size_t at;          /* in the slab's raw bytes */
    uint64_t others_ns; /* CPU time that is not the codec's */
};

/* Pieces may be summed and packed one by one where bytes stay as they are, and where statistics do
 * not depend on where a piece ends. */
static bool can_flow(const struct mr_parcel *parcel)
{
    const struct mr_geometry *g = &parcel->geometry;
    bool nibbles = g->source_pixel == MR_PIXEL_U4 || g->pixel == MR_PIXEL_U4;
    bool floats = g->pixel == MR_PIXEL_F16 || g->pixel == MR_PIXEL_F32;
    bool swaps = g->swap_bytes && mr_pixel_bytes(g->pixel) > 1;
    if (!wants_codec(parcel) || swaps)
        return false;
    return g->layout == MR_LAYOUT_BYTES || (!nibbles && !(floats && g->layout == MR_LAYOUT_STREAM));
}

static void sum_pixels(struct mr_slab_header *h, const uint8_t *piece, uint64_t at, size_t bytes)
{
    uint64_t from = h->pixel_offset > at ? h->pixel_offset : at;
    uint64_t end = (uint64_t)h->pixel_offset + h->pixel_bytes;
    uint64_t to = end < at + bytes ? end : at + bytes;
    if (from < to)
        h->crc_pixels = mr_crc64(h->crc_pixels, piece + (from - at), to - from);
}

static int next_piece(void *ctx, size_t bytes, const uint8_t **ret)
{
    struct flow *f = ctx;
    const struct mr_geometry *g = &f->parcel->geometry;
    const struct mr_span *span = &f->parcel->pick.span;
    struct mr_slab_header *h = &f->parcel->header;
    uint8_t *piece = f->pack->scratch;
    uint64_t begun_ns = mr_clock_thread_ns();
    size_t left = f->at < span->source_bytes ? span->source_bytes - f->at : 0;
    size_t there = bytes < left ? bytes : left;
    int r = mr_fs_pread_full(f->parcel->fd, piece, there, span->source_offset + f->at);
    if (r < 0)
        return r;
    memset(piece + there, 0, bytes - there);
    h->crc_raw = mr_crc64(h->crc_raw, piece, bytes);
    if (h->pixel_bytes != h->raw_bytes)
        sum_pixels(h, piece, f->at, bytes);
    if (g->layout == MR_LAYOUT_STREAM) {
        struct mr_stats stats;
        mr_stats_of(g->pixel, g->width, piece, bytes, &stats);
        mr_stats_merge(&h->stats, &stats);
    }
    f->at += bytes;
    f->others_ns += mr_clock_thread_ns() - begun_ns;
    *ret = piece;
    return 0;
}

/* -E2BIG: it does not shrink. */
static int flow(struct mr_pack *p, struct mr_parcel *parcel)
{
    struct flow f = {.pack = p, .parcel = parcel};
    struct mr_slab_header *h = &parcel->header;
    size_t bytes = 0;
    begin_header(parcel);
    uint64_t begun_ns = mr_clock_thread_ns();
    int r = mr_codec_pack_from(p->codec, parcel->codec, mr_pixel_bytes(parcel->geometry.pixel),
                               next_piece, &f, h->raw_bytes, parcel->buffer->data, h->raw_bytes - 1,
                               &bytes);
    parcel->codec_ns = mr_clock_thread_ns() - begun_ns - f.others_ns;
    if (r < 0)
        return r;
    if (h->pixel_bytes == h->raw_bytes)
        h->crc_pixels = h->crc_raw;
    travel_packed(parcel, bytes);
    return 0;
}

static int read_whole(struct mr_pack *p, struct mr_parcel *parcel)
{
    uint64_t crc;
    int r = read_and_sum(parcel, &crc);
    if (r == 0)
        arrange_and_sum(p, parcel, crc);
    return r;
}

int mr_pack_read(struct mr_pack *p, struct mr_parcel *parcel)
{
    bool flows = can_flow(parcel);
    int r = flows ? flow(p, parcel) : -E2BIG;
    if (r == -E2BIG)
        r = read_whole(p, parcel);
    if (r == 0 && !flows && wants_codec(parcel))
        compress(p, parcel);
    mr_fs_close(&parcel->fd);
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
