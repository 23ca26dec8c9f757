/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a payload laid out as HDF5 filter 32008 says, so that a stranger reads ours and we read a
 * stranger's? Both are done here by hand: blocks are found and made without codec.c.
 */
#include "dice.h"
#include "suite.h"
#include "wire/bitshuffle.h"
#include "wire/codec.h"
#include "wire/codec_block.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define BLOCK (256u * 1024)
#define MOST  (3u * BLOCK)

static uint8_t raw[MOST], packed[2 * MOST], again[2 * MOST], back[MOST + 1];
static struct mr_codec *codec;
static struct mr_codec_lz4 *lz4;
static struct mr_codec_zstd *zstd;

static void setup(void)
{
    for (size_t i = 0; i < MOST; i++) /* counts, mostly 0 */
        raw[i] = (uint8_t)(dice(16) < 12 ? 0 : dice(4));
    ck_assert_int_eq(mr_codec_new(MOST, &codec), 0);
    ck_assert_int_eq(mr_codec_lz4_new(&lz4), 0);
    ck_assert_int_eq(mr_codec_zstd_new(BLOCK, &zstd), 0);
}

static void teardown(void)
{
    mr_codec_zstd_free(zstd);
    mr_codec_lz4_free(lz4);
    mr_codec_free(codec);
}

static uint64_t load(const uint8_t *p, size_t bytes) /* big-endian */
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | p[i];
    return value;
}

static void store(uint8_t *p, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        p[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

static bool restore(enum mr_codec_id id, const uint8_t *in, size_t in_bytes, uint8_t *out,
                    size_t bytes)
{
    return id == MR_CODEC_BSLZ4 ? mr_codec_lz4_unpack(in, in_bytes, out, bytes)
                                : mr_codec_zstd_unpack(zstd, in, in_bytes, out, bytes);
}

/* Reads it as the filter's description says. */
static void check_layout(enum mr_codec_id id, uint32_t element, const uint8_t *p, size_t bytes,
                         size_t of)
{
    static uint8_t planes[BLOCK];
    const uint8_t *end = p + bytes;
    ck_assert_uint_eq(load(p, 8), of);
    ck_assert_uint_eq(load(p + 8, 4), BLOCK);
    p += 12;
    for (size_t at = 0; at < of;) {
        size_t left = of - at, size = left < BLOCK ? left - left % (8u * element) : BLOCK;
        if (size == 0) { /* fewer than 8 elements: as they are */
            ck_assert_uint_eq((size_t)(end - p), left);
            ck_assert_mem_eq(p, raw + at, left);
            return;
        }
        size_t length = load(p, 4);
        ck_assert_uint_le(length, (size_t)(end - p) - 4);
        ck_assert(restore(id, p + 4, length, planes, size));
        mr_bitunshuffle(element, planes, size / element, back);
        ck_assert_mem_eq(back, raw + at, size);
        p += 4 + length;
        at += size;
    }
    ck_assert_ptr_eq(p, end);
}

static const size_t sizes[] = {600,        601,       607,       608,       BLOCK - 8,
                               BLOCK - 1,  BLOCK,     BLOCK + 1, BLOCK + 7, BLOCK + 8,
                               BLOCK + 64, 2 * BLOCK, MOST - 33, MOST};

START_TEST(a_stranger_reads_ours)
{
    setup();
    for (enum mr_codec_id id = MR_CODEC_BSLZ4; id <= MR_CODEC_BSZSTD; id++) {
        for (uint32_t element = 1; element <= 4; element *= 2) {
            for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
                size_t length = 0;
                ck_assert_int_eq(mr_codec_pack(codec, id, element, raw, sizes[i], packed,
                                               sizeof(packed), &length),
                                 0);
                check_layout(id, element, packed, length, sizes[i]);
            }
        }
    }
    teardown();
}
END_TEST

/* A payload of blocks of so many bytes: returns its length. */
static size_t make(enum mr_codec_id id, uint32_t element, size_t block_bytes, size_t of)
{
    static uint8_t planes[BLOCK];
    uint8_t *p = packed;
    store(p, of, 8);
    store(p + 8, block_bytes, 4);
    p += 12;
    for (size_t at = 0; at < of;) {
        size_t left = of - at;
        size_t size = left < block_bytes ? left - left % (8u * element) : block_bytes;
        if (size == 0) {
            memcpy(p, raw + at, left);
            return (size_t)(p - packed) + left;
        }
        mr_bitshuffle(element, raw + at, size / element, planes);
        struct mr_codec_block block = {planes, size, size / element / 8, false};
        size_t room = sizeof(packed) - (size_t)(p + 4 - packed);
        size_t length = id == MR_CODEC_BSLZ4 ? mr_codec_lz4_pack(lz4, &block, p + 4, room)
                                             : mr_codec_zstd_pack(zstd, &block, p + 4, room);
        ck_assert_uint_gt(length, 0);
        store(p, length, 4);
        p += 4 + length;
        at += size;
    }
    return (size_t)(p - packed);
}

START_TEST(we_read_a_strangers_of_any_block_size)
{
    static const size_t blocks[] = {32, 64, 96, 4096, 8192, 65536, BLOCK};
    static const size_t totals[] = {0, 1, 7, 31, 32, 33, 5000, 5003, 70001};
    setup();
    for (enum mr_codec_id id = MR_CODEC_BSLZ4; id <= MR_CODEC_BSZSTD; id++) {
        for (uint32_t element = 1; element <= 4; element *= 2) {
            for (size_t b = 0; b < sizeof(blocks) / sizeof(blocks[0]); b++) {
                for (size_t t = 0; t < sizeof(totals) / sizeof(totals[0]); t++) {
                    size_t length = make(id, element, blocks[b], totals[t]);
                    memset(back, 0xa5, totals[t] + 1);
                    ck_assert_int_eq(
                        mr_codec_unpack(codec, id, element, packed, length, back, totals[t]), 0);
                    ck_assert_mem_eq(back, raw, totals[t]);
                    ck_assert_uint_eq(back[totals[t]], 0xa5);
                    ck_assert_int_eq(
                        mr_codec_unpack(codec, id, element, packed, length + 1, back, totals[t]),
                        -EBADMSG);
                }
            }
        }
    }
    teardown();
}
END_TEST

/* The length of the first of two blocks is one too many or too few, or far too many. */
START_TEST(a_blocks_length_and_size_have_to_agree)
{
    setup();
    for (enum mr_codec_id id = MR_CODEC_BSLZ4; id <= MR_CODEC_BSZSTD; id++) {
        size_t length = make(id, 1, 4096, 8192), first = load(packed + 12, 4);
        const uint64_t wrong[] = {0,           first - 1,  first + 1,       length - 15,
                                  length - 16, length + 1, UINT32_MAX - 3u, UINT32_MAX};
        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
            store(packed + 12, wrong[i], 4);
            ck_assert_int_eq(mr_codec_unpack(codec, id, 1, packed, length, back, 8192), -EBADMSG);
        }
        store(packed + 12, first, 4);
        ck_assert_int_eq(mr_codec_unpack(codec, id, 1, packed, length, back, 8192), 0);
        for (size_t of = 8184; of <= 8200; of += 8) { /* another size than was packed */
            store(packed, of, 8);
            ck_assert_int_eq(mr_codec_unpack(codec, id, 1, packed, length, back, of),
                             of == 8192 ? 0 : -EBADMSG);
        }
        store(packed, 1ull << 32 | 8192, 8); /* all eight bytes of the size count */
        ck_assert_int_eq(mr_codec_unpack(codec, id, 1, packed, length, back, 8192), -EBADMSG);
        store(packed, 8192, 8);
        enum mr_codec_id other = id == MR_CODEC_BSLZ4 ? MR_CODEC_BSZSTD : MR_CODEC_BSLZ4;
        ck_assert_int_eq(mr_codec_unpack(codec, other, 1, packed, length, back, 8192), -EBADMSG);
    }
    teardown();
}
END_TEST

/* ---- bytes that come piece by piece ---- */

struct pieces {
    size_t at, total, calls, fail_at;
    int error;
    uint8_t window[BLOCK]; /* so that a piece is gone when the next is asked for */
};

static int next_piece(void *ctx, size_t bytes, const uint8_t **ret)
{
    struct pieces *p = ctx;
    ck_assert_uint_ge(bytes, 1);
    ck_assert_uint_le(bytes, BLOCK);
    ck_assert_uint_le(p->at + bytes, p->total);
    if (++p->calls == p->fail_at)
        return p->error;
    memset(p->window, 0xee, sizeof(p->window));
    memcpy(p->window, raw + p->at, bytes);
    p->at += bytes;
    *ret = p->window;
    return 0;
}

START_TEST(pieces_are_packed_as_the_whole_is)
{
    static struct pieces p;
    setup();
    for (enum mr_codec_id id = MR_CODEC_BSLZ4; id <= MR_CODEC_BSZSTD; id++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            size_t length = 0, same = 0;
            ck_assert_int_eq(
                mr_codec_pack(codec, id, 2, raw, sizes[i], packed, sizeof(packed), &length), 0);
            p = (struct pieces){.total = sizes[i]};
            ck_assert_int_eq(mr_codec_pack_from(codec, id, 2, next_piece, &p, sizes[i], again,
                                                sizeof(again), &same),
                             0);
            ck_assert_uint_eq(p.at, sizes[i]); /* each byte was asked for, once */
            ck_assert_uint_eq(same, length);
            ck_assert_mem_eq(again, packed, length);
        }
    }
    teardown();
}
END_TEST

START_TEST(what_the_source_returns_is_returned)
{
    static struct pieces p;
    static const int errors[] = {-EIO, -ESTALE, 1};
    setup();
    for (size_t call = 1; call <= 4; call++) { /* two blocks, a short one, the rest */
        for (size_t e = 0; e < 3; e++) {
            size_t length = 77;
            p = (struct pieces){.total = 2 * BLOCK + 101, .fail_at = call, .error = errors[e]};
            ck_assert_int_eq(mr_codec_pack_from(codec, MR_CODEC_BSLZ4, 1, next_piece, &p, p.total,
                                                packed, sizeof(packed), &length),
                             errors[e]);
            ck_assert_uint_eq(p.calls, call); /* not asked again */
            ck_assert_uint_eq(length, 77);
        }
    }
    teardown();
}
END_TEST

/* At each capacity around what is needed, and never as much as there was. */
START_TEST(packing_has_to_save_a_byte)
{
    setup();
    for (size_t bytes = 8; bytes < 300; bytes++) {
        size_t length = 0;
        memset(raw, 0, bytes);
        int code =
            mr_codec_pack(codec, MR_CODEC_BSZSTD, 1, raw, bytes, packed, sizeof(packed), &length);
        ck_assert(code == -E2BIG || (code == 0 && length < bytes));
        if (code != 0)
            continue;
        memset(packed, 0x5a, length + 1);
        size_t same = 0;
        ck_assert_int_eq(
            mr_codec_pack(codec, MR_CODEC_BSZSTD, 1, raw, bytes, packed, length - 1, &same),
            -E2BIG);
        ck_assert_uint_eq(packed[length - 1], 0x5a);
        ck_assert_uint_eq(same, 0);
    }
    teardown();
}
END_TEST

START_TEST(what_was_packed_before_leaves_no_trace)
{
    setup();
    for (enum mr_codec_id id = MR_CODEC_BSLZ4; id <= MR_CODEC_BSZSTD; id++) {
        size_t first = 0, between = 0, second = 0;
        ck_assert_int_eq(mr_codec_pack(codec, id, 2, raw, MOST, packed, sizeof(packed), &first), 0);
        ck_assert_int_eq(mr_codec_pack(codec, id, 1, raw + 5, 9999, again, sizeof(again), &between),
                         0);
        ck_assert_int_eq(mr_codec_unpack(codec, id, 1, again, between, back, 9999), 0);
        ck_assert_int_eq(mr_codec_unpack(codec, id, 1, packed, 400, back, MOST), -EBADMSG);
        ck_assert_int_eq(mr_codec_pack(codec, id, 2, raw, MOST, again, sizeof(again), &second), 0);
        ck_assert_uint_eq(first, second);
        ck_assert_mem_eq(packed, again, first);
    }
    ck_assert_ptr_nonnull(strstr(mr_codec_library(), "zstd "));
    ck_assert_ptr_nonnull(strstr(mr_codec_library(), ", lz4 "));
    teardown();
}
END_TEST

MR_SUITE("codec_layout", T(a_stranger_reads_ours), T(we_read_a_strangers_of_any_block_size),
         T(a_blocks_length_and_size_have_to_agree), T(pieces_are_packed_as_the_whole_is),
         T(what_the_source_returns_is_returned), T(packing_has_to_save_a_byte),
         T(what_was_packed_before_leaves_no_trace))
