/* SPDX-License-Identifier: Apache-2.0 */
/* Does the data header keep its bytes, come back as it was, and refuse what contradicts itself? */
#include "base/crc64.h"
#include "golden.h"
#include "wire/slab_header.h"

#include <errno.h>

static struct mr_slab_header sample(void)
{
    return (struct mr_slab_header){
        .session = 0x1122334455667788,
        .sequence = 9,
        .movie = {{0x01, 0x93, 0x52, 0x6f, 0x4a, 0x00, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
        .generation = 3,
        .lane = 1,
        .slab = 17,
        .codec = MR_CODEC_BSLZ4,
        .wire_bytes = 1000000,
        .raw_bytes = MR_SLAB_BYTES,
        .pixel_offset = 1024,
        .pixel_bytes = MR_SLAB_BYTES - 1024,
        .crc_wire = 0x0102030405060708,
        .crc_raw = 0x1112131415161718,
        .crc_pixels = 0x2122232425262728,
        .stats = {.kind = MR_STATS_EXACT,
                  .count = 4193280,
                  .min = -3,
                  .max = 120,
                  .sum = 123456789,
                  .squares = 987654321}};
}

static int decode(const struct mr_slab_header *h)
{
    struct mr_slab_header got;
    uint8_t wire[MR_SLAB_HEADER_BYTES];
    mr_slab_header_encode(h, wire);
    return mr_slab_header_decode(wire, sizeof(wire), &got);
}

START_TEST(bytes_are_kept)
{
    uint8_t wire[MR_SLAB_HEADER_BYTES];
    struct mr_slab_header h = sample();
    mr_slab_header_encode(&h, wire);
    golden_check("slab_header", "compressed", wire, sizeof(wire));
    h.codec = MR_CODEC_NONE;
    h.wire_bytes = h.raw_bytes;
    h.stats = (struct mr_stats){0};
    mr_slab_header_encode(&h, wire);
    golden_check("slab_header", "raw", wire, sizeof(wire));
}
END_TEST

START_TEST(header_comes_back)
{
    uint8_t wire[MR_SLAB_HEADER_BYTES];
    struct mr_slab_header h = sample(), got;
    mr_slab_header_encode(&h, wire);
    ck_assert_int_eq(mr_slab_header_decode(wire, sizeof(wire), &got), 0);
    ck_assert_uint_eq(got.session, h.session);
    ck_assert_uint_eq(got.sequence, h.sequence);
    ck_assert(mr_ulid_equal(&got.movie, &h.movie));
    ck_assert_uint_eq(got.generation, h.generation);
    ck_assert_uint_eq(got.lane, h.lane);
    ck_assert_uint_eq(got.slab, h.slab);
    ck_assert_int_eq(got.codec, h.codec);
    ck_assert_uint_eq(got.wire_bytes, h.wire_bytes);
    ck_assert_uint_eq(got.raw_bytes, h.raw_bytes);
    ck_assert_uint_eq(got.pixel_offset, h.pixel_offset);
    ck_assert_uint_eq(got.pixel_bytes, h.pixel_bytes);
    ck_assert_uint_eq(got.crc_wire, h.crc_wire);
    ck_assert_uint_eq(got.crc_raw, h.crc_raw);
    ck_assert_uint_eq(got.crc_pixels, h.crc_pixels);
    ck_assert(got.stats.sum == h.stats.sum && got.stats.squares == h.stats.squares);
}
END_TEST

START_TEST(damage_is_refused)
{
    uint8_t wire[MR_SLAB_HEADER_BYTES + 1] = {0};
    struct mr_slab_header h = sample(), got = {.slab = 99};
    mr_slab_header_encode(&h, wire);
    for (size_t bit = 0; bit < MR_SLAB_HEADER_BYTES * 8; bit++) {
        wire[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_eq(mr_slab_header_decode(wire, MR_SLAB_HEADER_BYTES, &got), -EBADMSG);
        wire[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    ck_assert_int_eq(mr_slab_header_decode(wire, MR_SLAB_HEADER_BYTES - 1, &got), -EBADMSG);
    ck_assert_int_eq(mr_slab_header_decode(wire, MR_SLAB_HEADER_BYTES + 1, &got), -EBADMSG);
    ck_assert_int_eq(mr_slab_header_decode(wire, 0, &got), -EBADMSG);
    ck_assert_uint_eq(got.slab, 99);
}
END_TEST

START_TEST(another_version_is_not_damage)
{
    uint8_t wire[MR_SLAB_HEADER_BYTES];
    struct mr_slab_header h = sample(), got;
    mr_slab_header_encode(&h, wire);
    wire[4] = 2;
    uint64_t crc = mr_crc64(0, wire, MR_SLAB_HEADER_BYTES - 8);
    for (size_t i = 0; i < 8; i++) {
        wire[MR_SLAB_HEADER_BYTES - 8 + i] = (uint8_t)(crc >> (8 * i));
    }
    ck_assert_int_eq(mr_slab_header_decode(wire, sizeof(wire), &got), -EPROTO);
}
END_TEST

#define REFUSED(change)                        \
    do {                                       \
        struct mr_slab_header h = sample();    \
        change;                                \
        ck_assert_int_eq(decode(&h), -EPROTO); \
    } while (0)

START_TEST(contradictions_are_refused)
{
    REFUSED(h.lane = 64);
    REFUSED(h.sequence = 0);
    REFUSED(h.slab = MR_SLABS_MAX);
    REFUSED(h.codec = MR_CODEC_COUNT);
    REFUSED(h.codec = MR_CODEC_NONE);
    REFUSED(h.wire_bytes = 0);
    REFUSED(h.wire_bytes = MR_SLAB_WIRE_MAX + 1);
    REFUSED(h.raw_bytes = 0);
    REFUSED(h.raw_bytes = MR_SLAB_BYTES + 1);
    REFUSED(h.pixel_offset = 1025);
    REFUSED(h.pixel_offset = UINT32_MAX);
    REFUSED(h.pixel_bytes = UINT32_MAX);
}
END_TEST

#define ALLOWED(change)                     \
    do {                                    \
        struct mr_slab_header h = sample(); \
        change;                             \
        ck_assert_int_eq(decode(&h), 0);    \
    } while (0)

START_TEST(what_is_just_within_the_limits_is_allowed)
{
    ALLOWED(h.lane = 0);
    ALLOWED(h.lane = 63);
    ALLOWED(h.session = UINT64_MAX);
    ALLOWED(h.sequence = 1);
    ALLOWED(h.sequence = UINT64_MAX);
    ALLOWED(h.slab = 0);
    ALLOWED(h.slab = MR_SLABS_MAX - 1);
    ALLOWED(h.generation = UINT32_MAX);
    ALLOWED(h.codec = MR_CODEC_BSZSTD);
    ALLOWED(h.wire_bytes = 1);
    ALLOWED(h.wire_bytes = MR_SLAB_WIRE_MAX);
    ALLOWED(h.pixel_bytes = 0);
    ALLOWED((h.pixel_offset = h.raw_bytes, h.pixel_bytes = 0)); /* an empty part, at the end */
    ALLOWED((h.pixel_offset = h.raw_bytes - 1, h.pixel_bytes = 1));
    ALLOWED((h.raw_bytes = 1, h.pixel_offset = 0, h.pixel_bytes = 1));
    ALLOWED((h.codec = MR_CODEC_NONE, h.wire_bytes = h.raw_bytes));
    ALLOWED(h.stats = (struct mr_stats){0});
}
END_TEST

START_TEST(a_pixel_part_ends_where_the_slab_does)
{
    REFUSED((h.pixel_offset = h.raw_bytes + 1, h.pixel_bytes = 0));
    REFUSED((h.pixel_offset = h.raw_bytes, h.pixel_bytes = 1));
    REFUSED((h.pixel_offset = 0, h.pixel_bytes = h.raw_bytes + 1));
    REFUSED((h.pixel_offset = 0, h.raw_bytes = 0, h.pixel_bytes = 0));
    REFUSED((h.codec = MR_CODEC_NONE, h.wire_bytes = h.raw_bytes - 1));
    REFUSED(h.stats.count = 0); /* the sums are judged, too */
}
END_TEST

/* So that whose slab it was can be told also where it cannot be taken. */
START_TEST(a_refused_header_still_names_its_session)
{
    uint8_t wire[MR_SLAB_HEADER_BYTES];
    struct mr_slab_header h = sample(), got = {.slab = 99};
    h.sequence = 0;
    mr_slab_header_encode(&h, wire);
    ck_assert_int_eq(mr_slab_header_decode(wire, sizeof(wire), &got), -EPROTO);
    ck_assert_uint_eq(got.slab, 99);
    ck_assert_uint_eq(mr_slab_header_session(wire), 0x1122334455667788);
    h = sample();
    h.session = 0xfedcba9876543210;
    mr_slab_header_encode(&h, wire);
    ck_assert_uint_eq(mr_slab_header_session(wire), 0xfedcba9876543210);
}
END_TEST

MR_SUITE("slab_header", T(bytes_are_kept), T(header_comes_back), T(damage_is_refused),
         T(another_version_is_not_damage), T(contradictions_are_refused),
         T(what_is_just_within_the_limits_is_allowed), T(a_pixel_part_ends_where_the_slab_does),
         T(a_refused_header_still_names_its_session))
