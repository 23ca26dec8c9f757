/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a slab travel as the layout wants it: little-endian, unpacked, padded, compressed only where
 * that shrinks it, with sums and statistics of the right bytes?
 */
#include "base/crc64.h"
#include "base/fs.h"
#include "pack.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct mr_pack *pack;
static struct mr_pool *pool;
static struct mr_parcel parcel;

static void begin(enum mr_layout layout, enum mr_pixel pixel, bool swap, uint64_t width,
                  uint64_t height, uint64_t offset)
{
    struct mr_err err = {0};
    const struct mr_pack_queues none = {0};
    ck_assert_int_eq(mr_pack_new(&none, &pack), 0);
    ck_assert_int_eq(mr_pool_new(MR_PARCEL_BYTES, 1, 4096, &pool), 0);
    parcel = (struct mr_parcel){.buffer = mr_pool_try_get(pool), .codec = MR_CODEC_NONE};
    memset(parcel.buffer->data, 0xEE, MR_PARCEL_BYTES);
    if (pixel == MR_PIXEL_NONE) {
        mr_geometry_opaque(&parcel.geometry);
        return;
    }
    int r =
        mr_geometry_frames(layout, pixel, swap, width, height, offset, 0, &parcel.geometry, &err);
    ck_assert_msg(r == 0, "%s", err.text);
}

static void pick(uint64_t slab, uint64_t frames, uint64_t source_bytes)
{
    const struct mr_extent extent = {.frames = frames, .source_bytes = source_bytes};
    parcel.pick = (struct mr_pick){.slab = slab, .generation = 3, .send = true};
    mr_slab_span(&parcel.geometry, &extent, slab, &parcel.pick.span);
}

static void end(void)
{
    mr_pool_put(parcel.buffer);
    mr_pool_free(pool);
    mr_pack_free(pack);
}

static void check_wire(enum mr_codec_id codec)
{
    const struct mr_slab_header *h = &parcel.header;
    ck_assert_int_eq(h->codec, codec);
    ck_assert_uint_eq(h->crc_wire, mr_crc64(0, parcel.buffer->data, h->wire_bytes));
    ck_assert(codec != MR_CODEC_NONE || h->wire_bytes == h->raw_bytes);
}

START_TEST(opaque_travels_as_it_is)
{
    static const char text[] = "a note of odd length";
    begin(MR_LAYOUT_BYTES, MR_PIXEL_NONE, false, 0, 0, 0);
    pick(0, 0, sizeof(text));
    memcpy(parcel.buffer->data, text, sizeof(text));
    mr_pack_do(pack, &parcel);
    check_wire(MR_CODEC_NONE);
    ck_assert_str_eq((char *)parcel.buffer->data, text);
    ck_assert_uint_eq(parcel.header.crc_raw, mr_crc64(0, text, sizeof(text)));
    ck_assert_uint_eq(parcel.header.crc_pixels, 0);
    ck_assert_uint_eq(parcel.header.pixel_bytes, 0);
    ck_assert_uint_eq(parcel.header.generation, 3);
    end();
}
END_TEST

START_TEST(header_is_no_pixel)
{
    begin(MR_LAYOUT_BYTES, MR_PIXEL_U16, false, 8, 4, 1024);
    pick(0, 2, 1024 + 2 * 64);
    mr_pack_do(pack, &parcel);
    ck_assert_uint_eq(parcel.header.pixel_offset, 1024);
    ck_assert_uint_eq(parcel.header.crc_pixels, mr_crc64(0, parcel.buffer->data + 1024, 128));
    ck_assert_int_eq(parcel.header.stats.kind, MR_STATS_NONE);
    end();
}
END_TEST

/* The same numbers, written both ways, have the same sum; kept bytes stay as they were. */
START_TEST(big_endian_kept_is_digested_as_little)
{
    begin(MR_LAYOUT_BYTES, MR_PIXEL_U16, true, 8, 4, 1024);
    pick(0, 1, 1024 + 64);
    uint8_t little[64];
    for (int i = 0; i < 32; i++) {
        parcel.buffer->data[1024 + 2 * i] = little[2 * i + 1] = (uint8_t)i;
        parcel.buffer->data[1024 + 2 * i + 1] = little[2 * i] = (uint8_t)(100 + i);
    }
    uint64_t before = mr_crc64(0, parcel.buffer->data, 1024 + 64);
    mr_pack_do(pack, &parcel);
    ck_assert_uint_eq(parcel.header.crc_pixels, mr_crc64(0, little, 64));
    ck_assert_uint_eq(parcel.header.crc_raw, before);
    ck_assert_uint_eq(mr_crc64(0, parcel.buffer->data, 1024 + 64), before);
    end();
}
END_TEST

START_TEST(stream_is_little_endian_with_statistics)
{
    begin(MR_LAYOUT_STREAM, MR_PIXEL_F32, true, 4, 2, 1024);
    pick(0, 1, 1024 + 32);
    for (unsigned i = 0; i < 8; i++) {
        float value = (float)i;
        uint32_t bits;
        memcpy(&bits, &value, 4);
        bits = __builtin_bswap32(bits);
        memcpy(parcel.buffer->data + 4 * i, &bits, 4);
    }
    mr_pack_do(pack, &parcel);
    float first[8];
    memcpy(first, parcel.buffer->data, sizeof(first));
    ck_assert_float_eq(first[7], 7);
    ck_assert_uint_eq(parcel.header.stats.count, 8);
    ck_assert_double_eq(parcel.header.stats.max, 7);
    ck_assert_double_eq_tol(parcel.header.stats.mean, 3.5, 1e-12);
    ck_assert_uint_eq(parcel.header.crc_pixels, parcel.header.crc_raw);
    end();
}
END_TEST

START_TEST(nan_makes_statistics_unknown)
{
    begin(MR_LAYOUT_STREAM, MR_PIXEL_F32, false, 4, 2, 1024);
    pick(0, 1, 1024 + 32);
    const float values[8] = {1, 2, __builtin_nanf("")};
    memcpy(parcel.buffer->data, values, sizeof(values));
    mr_pack_do(pack, &parcel);
    ck_assert_int_eq(parcel.header.stats.kind, MR_STATS_UNKNOWN);
    end();
}
END_TEST

START_TEST(nibbles_are_counted_where_they_stay)
{
    begin(MR_LAYOUT_STREAM, MR_PIXEL_U4, false, 4, 2, 1024);
    pick(0, 1, 1024 + 4);
    memcpy(parcel.buffer->data, "\x21\x43\x65\x87", 4);
    mr_pack_do(pack, &parcel);
    ck_assert_uint_eq(parcel.header.raw_bytes, 4);
    ck_assert_uint_eq(parcel.header.stats.count, 8);
    ck_assert_double_eq(parcel.header.stats.max, 8);
    end();
}
END_TEST

START_TEST(nibbles_become_bytes_in_chunks)
{
    begin(MR_LAYOUT_CHUNKS, MR_PIXEL_U4, false, 4, 2, 1024);
    pick(0, 1, 1024 + 4);
    memcpy(parcel.buffer->data, "\x21\x43\x65\x87", 4);
    mr_pack_do(pack, &parcel);
    for (uint8_t i = 0; i < 8; i++)
        ck_assert_uint_eq(parcel.buffer->data[i], i + 1u);
    ck_assert_uint_eq(parcel.header.pixel_bytes, 8);
    ck_assert_uint_eq(parcel.header.crc_pixels, mr_crc64(0, "\1\2\3\4\5\6\7\10", 8));
    end();
}
END_TEST

/* A chunk past the edge: zeros, in the slab's sum and not in the pixels'. */
START_TEST(short_chunk_is_padded)
{
    begin(MR_LAYOUT_CHUNKS, MR_PIXEL_U8, false, 64, 32, 1024);
    ck_assert_uint_gt(parcel.geometry.frames_per_slab, 1);
    pick(0, 1, 1024 + 64 * 32);
    memset(parcel.buffer->data, 7, 64 * 32);
    mr_pack_do(pack, &parcel);
    const struct mr_slab_header *h = &parcel.header;
    ck_assert_uint_eq(h->pixel_bytes, 64 * 32);
    ck_assert_uint_eq(h->raw_bytes, 64 * 32 * parcel.geometry.frames_per_slab);
    size_t filled = 0; /* an assert for each byte takes minutes where calls are slow */
    for (size_t i = h->pixel_bytes; i < h->raw_bytes; i++)
        filled += parcel.buffer->data[i] != 0;
    ck_assert_uint_eq(filled, 0);
    ck_assert_uint_eq(h->crc_pixels, mr_crc64(0, parcel.buffer->data, 64 * 32));
    end();
}
END_TEST

/* Both codecs, each layout: what is unpacked is what was read; noise travels raw. */
START_TEST(codecs_restore)
{
    static uint8_t out[MR_SLAB_BYTES], in[MR_SLAB_BYTES];
    struct mr_codec *codec;
    ck_assert_int_eq(mr_codec_new(MR_SLAB_BYTES, &codec), 0);
    for (int layout = MR_LAYOUT_BYTES; layout <= MR_LAYOUT_CHUNKS; layout++)
        for (int id = MR_CODEC_BSLZ4; id <= MR_CODEC_BSZSTD; id++) {
            begin((enum mr_layout)layout, MR_PIXEL_I16, false, 1001, 33, 1024);
            parcel.codec = (enum mr_codec_id)id;
            pick(0, 3, 1024 + 3 * 2 * 1001 * 33);
            for (size_t i = 0; i < parcel.pick.span.source_bytes; i++)
                parcel.buffer->data[i] = (uint8_t)(i % 2 == 0 ? i / 7 % 5 : 0);
            memcpy(in, parcel.buffer->data, parcel.pick.span.source_bytes);
            mr_pack_do(pack, &parcel);
            const struct mr_slab_header *h = &parcel.header;
            check_wire((enum mr_codec_id)id);
            ck_assert_uint_lt(h->wire_bytes, h->raw_bytes);
            ck_assert_int_eq(mr_codec_unpack(codec, h->codec, 2, parcel.buffer->data, h->wire_bytes,
                                             out, h->raw_bytes),
                             0);
            ck_assert_mem_eq(out, in, parcel.pick.span.source_bytes);
            ck_assert_uint_eq(h->crc_raw, mr_crc64(0, out, h->raw_bytes));
            end();
        }
    mr_codec_free(codec);
}
END_TEST

START_TEST(noise_and_crumbs_travel_raw)
{
    uint64_t state = 1;
    begin(MR_LAYOUT_BYTES, MR_PIXEL_NONE, false, 0, 0, 0);
    parcel.codec = MR_CODEC_BSLZ4;
    pick(0, 0, MR_SLAB_BYTES);
    for (size_t i = 0; i < MR_SLAB_BYTES; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        parcel.buffer->data[i] = (uint8_t)(state >> 56);
    }
    mr_pack_do(pack, &parcel);
    check_wire(MR_CODEC_NONE);
    pick(0, 0, 1);
    mr_pack_do(pack, &parcel);
    check_wire(MR_CODEC_NONE);
    end();
}
END_TEST

/* Durable already, read only for its sum: packing it would be work for nothing. */
START_TEST(only_summed_where_it_is_not_sent)
{
    begin(MR_LAYOUT_BYTES, MR_PIXEL_NONE, false, 0, 0, 0);
    parcel.codec = MR_CODEC_BSLZ4;
    pick(0, 0, 4096);
    parcel.pick.send = false;
    memset(parcel.buffer->data, 0, 4096);
    mr_pack_do(pack, &parcel);
    check_wire(MR_CODEC_NONE);
    ck_assert_uint_eq(parcel.header.crc_raw, mr_crc64(0, parcel.buffer->data, 4096));
    end();
}
END_TEST

/* An unlinked file of so many bytes, no two steps of reading alike. */
static int source_of(size_t bytes)
{
    int fd = memfd_create("source", MFD_CLOEXEC);
    uint32_t words[4096];
    for (size_t at = 0; at < bytes; at += sizeof(words)) {
        size_t left = bytes - at;
        for (uint32_t i = 0; i < 4096; i++)
            words[i] = ((uint32_t)at + i) * 2654435761u;
        ck_assert_int_gt(write(fd, words, left < sizeof(words) ? left : sizeof(words)), 0);
    }
    return fd;
}

static void same_as_in_memory(enum mr_layout layout, bool swap, size_t frames)
{
    static uint8_t in[MR_SLAB_BYTES];
    begin(layout, MR_PIXEL_U16, swap, 641, 479, 1024);
    for (uint64_t slab = 0; slab < 2; slab++) {
        pick(slab, frames, 1024 + frames * 2 * 641 * 479);
        parcel.fd = source_of(1024 + frames * 2 * 641 * 479);
        const struct mr_span *span = &parcel.pick.span;
        ck_assert_int_eq(mr_fs_pread_full(parcel.fd, in, span->source_bytes, span->source_offset),
                         0);
        ck_assert_int_eq(mr_pack_read(pack, &parcel), 0);
        ck_assert_int_eq(parcel.fd, -1);
        check_wire(MR_CODEC_NONE);
        const struct mr_slab_header read = parcel.header;
        ck_assert_uint_eq(read.crc_raw, read.crc_wire);
        memset(parcel.buffer->data, 0xEE, MR_PARCEL_BYTES);
        memcpy(parcel.buffer->data, in, span->source_bytes);
        mr_pack_do(pack, &parcel);
        check_wire(MR_CODEC_NONE);
        ck_assert_uint_eq(parcel.header.crc_raw, read.crc_raw);
        ck_assert_uint_eq(parcel.header.crc_pixels, read.crc_pixels);
        ck_assert(parcel.header.stats.sum == read.stats.sum);
    }
    end();
}

START_TEST(what_is_read_is_summed_on_the_way)
{
    for (int layout = MR_LAYOUT_BYTES; layout <= MR_LAYOUT_CHUNKS; layout++) {
        same_as_in_memory((enum mr_layout)layout, false, 15); /* the last slab ends within a step */
        same_as_in_memory((enum mr_layout)layout, true, 15);
    }
}
END_TEST

/* Low counts in the first `counts` bytes, noise behind them. */
static int source_of_counts(size_t counts, size_t bytes)
{
    int fd = memfd_create("source", MFD_CLOEXEC);
    static uint8_t block[65536];
    for (size_t at = 0; at < bytes; at += sizeof(block)) {
        size_t left = bytes - at;
        for (size_t i = 0; i < sizeof(block); i++) {
            uint32_t word = ((uint32_t)(at + i) * 2654435761u) ^ ((uint32_t)(at + i) >> 7);
            block[i] = (uint8_t)(at + i < counts ? (word >> 28) / 5 * ((at + i) % 2) : word >> 13);
        }
        ck_assert_int_gt(write(fd, block, left < sizeof(block) ? left : sizeof(block)), 0);
    }
    return fd;
}

/* What is packed while it is read is byte for byte what is packed from memory. */
static void flows_as_it_packs(enum mr_layout layout, enum mr_pixel pixel, enum mr_codec_id codec,
                              size_t counts)
{
    static uint8_t payload[MR_SLAB_BYTES];
    size_t frame = 641 * 479 * (size_t)mr_pixel_bytes(pixel), bytes = 1024 + 15 * frame;
    begin(layout, pixel, false, 641, 479, 1024);
    parcel.codec = codec;
    const struct mr_extent extent = {.frames = 15, .source_bytes = bytes};
    uint64_t slabs = mr_slab_count(&parcel.geometry, &extent);
    for (uint64_t slab = slabs > 3 ? slabs - 3 : 0; slab < slabs; slab++) {
        pick(slab, 15, bytes);
        const struct mr_span *span = &parcel.pick.span;
        int fd = source_of_counts(counts, bytes);
        parcel.fd = dup(fd);
        ck_assert_int_eq(mr_pack_read(pack, &parcel), 0);
        const struct mr_slab_header read = parcel.header;
        memcpy(payload, parcel.buffer->data, read.wire_bytes);
        ck_assert_int_eq(
            mr_fs_pread_full(fd, parcel.buffer->data, span->source_bytes, span->source_offset), 0);
        close(fd);
        mr_pack_do(pack, &parcel);
        uint8_t a[MR_SLAB_HEADER_BYTES], b[MR_SLAB_HEADER_BYTES];
        mr_slab_header_encode(&read, a);
        mr_slab_header_encode(&parcel.header, b);
        ck_assert_mem_eq(a, b, sizeof(a));
        ck_assert(memcmp(payload, parcel.buffer->data, read.wire_bytes) == 0);
        ck_assert(counts < bytes || read.codec == codec);
    }
    end();
}

START_TEST(what_flows_is_what_is_packed)
{
    for (int layout = MR_LAYOUT_BYTES; layout <= MR_LAYOUT_CHUNKS; layout++)
        for (int codec = MR_CODEC_BSLZ4; codec <= MR_CODEC_BSZSTD; codec++)
            for (int pixel = MR_PIXEL_I8; pixel <= MR_PIXEL_F32; pixel++) {
                if (layout == MR_LAYOUT_STREAM && mr_pixel_mrc_mode((enum mr_pixel)pixel) < 0)
                    continue;
                flows_as_it_packs((enum mr_layout)layout, (enum mr_pixel)pixel,
                                  (enum mr_codec_id)codec, SIZE_MAX);
                flows_as_it_packs((enum mr_layout)layout, (enum mr_pixel)pixel,
                                  (enum mr_codec_id)codec, 300000); /* then it does not shrink */
            }
}
END_TEST

START_TEST(source_that_ends_early_is_told)
{
    begin(MR_LAYOUT_BYTES, MR_PIXEL_NONE, false, 0, 0, 0);
    pick(0, 0, 300000);
    parcel.fd = source_of(299999);
    ck_assert_int_eq(mr_pack_read(pack, &parcel), -ENODATA);
    ck_assert_int_eq(parcel.fd, -1);
    parcel.fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(mr_pack_read(pack, &parcel), -EISDIR);
    parcel.fd = source_of(300000);
    ck_assert_int_eq(mr_pack_read(pack, &parcel), 0);
    check_wire(MR_CODEC_NONE);
    parcel.codec = MR_CODEC_BSLZ4;
    parcel.fd = source_of_counts(SIZE_MAX, 299999);
    ck_assert_int_eq(mr_pack_read(pack, &parcel), -ENODATA);
    ck_assert_int_eq(parcel.fd, -1);
    end();
}
END_TEST

MR_SUITE("pack", T(opaque_travels_as_it_is), T(header_is_no_pixel),
         T(big_endian_kept_is_digested_as_little), T(stream_is_little_endian_with_statistics),
         T(nan_makes_statistics_unknown), T(nibbles_are_counted_where_they_stay),
         T(nibbles_become_bytes_in_chunks), T(short_chunk_is_padded), T(codecs_restore),
         T(noise_and_crumbs_travel_raw), T(only_summed_where_it_is_not_sent),
         T(what_is_read_is_summed_on_the_way), T(what_flows_is_what_is_packed),
         T(source_that_ends_early_is_told))
