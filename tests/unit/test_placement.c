/* SPDX-License-Identifier: Apache-2.0 */
/* Does a SLAB record read back as it was written, and is everything else refused? */
#include "placement.h"
#include "suite.h"
#include "wire/slab.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <string.h>

static const struct mr_placement plain = {.slab = 17,
                                          .offset = 69206016,
                                          .stored_bytes = 1234,
                                          .raw_bytes = 4096,
                                          .codec = MR_CODEC_BSLZ4,
                                          .crc_stored = 0x995DC9BBDF1939FAull,
                                          .crc_raw = 1,
                                          .pixel_bytes = 4000,
                                          .crc_pixels = UINT64_MAX};

#define PLAIN \
    "SLAB 17 69206016 1234 4096 1 995dc9bbdf1939fa 0000000000000001 4000 ffffffffffffffff none"

static void round_trip(const struct mr_placement *p)
{
    char text[MR_PLACEMENT_TEXT], again[MR_PLACEMENT_TEXT];
    ck_assert_int_eq(mr_placement_check(p), 0);
    ck_assert_uint_eq(mr_placement_format(p, text), strlen(text));
    struct mr_placement back = {0};
    ck_assert_msg(mr_placement_parse(text, &back) == 0, "%s", text);
    mr_placement_format(&back, again);
    ck_assert_str_eq(text, again);
    ck_assert_uint_eq(back.slab, p->slab);
    ck_assert_uint_eq(back.crc_pixels, p->crc_pixels);
    ck_assert_int_eq(back.stats.kind, p->stats.kind);
    ck_assert_uint_eq(back.stats.count, p->stats.count);
    ck_assert(back.stats.min == p->stats.min && back.stats.max == p->stats.max);
    ck_assert(back.stats.sum == p->stats.sum && back.stats.squares == p->stats.squares);
    ck_assert(back.stats.mean == p->stats.mean && back.stats.m2 == p->stats.m2);
}

START_TEST(record_has_one_known_form)
{
    char text[MR_PLACEMENT_TEXT];
    mr_placement_format(&plain, text);
    ck_assert_str_eq(text, PLAIN);
    round_trip(&plain);
}
END_TEST

START_TEST(statistics_come_back_exactly)
{
    struct mr_placement p = plain;
    p.stats = (struct mr_stats){.kind = MR_STATS_EXACT, .count = 4000, .min = -5, .max = 7};
    p.stats.sum = -((__int128)1 << 100) - 3;
    p.stats.squares = ((unsigned __int128)1 << 127) + 9;
    round_trip(&p);
    p.stats = (struct mr_stats){.kind = MR_STATS_FLOAT,
                                .count = 1000,
                                .min = -0.1,
                                .max = DBL_MAX,
                                .mean = 1.0 / 3,
                                .m2 = DBL_TRUE_MIN};
    round_trip(&p);
    p.stats = (struct mr_stats){.kind = MR_STATS_UNKNOWN, .count = 12};
    round_trip(&p);
}
END_TEST

START_TEST(longest_record_fits)
{
    struct mr_placement p = {.slab = MR_SLABS_MAX - 1,
                             .offset = MR_PLACEMENT_OFFSET_MAX,
                             .stored_bytes = MR_SLAB_BYTES,
                             .raw_bytes = MR_SLAB_BYTES,
                             .crc_stored = UINT64_MAX,
                             .crc_raw = UINT64_MAX,
                             .pixel_bytes = MR_SLAB_BYTES,
                             .crc_pixels = UINT64_MAX};
    p.stats = (struct mr_stats){.kind = MR_STATS_EXACT,
                                .count = 2ull * MR_SLAB_BYTES,
                                .min = -DBL_MAX,
                                .max = DBL_MAX,
                                .sum = -1,
                                .squares = 0};
    p.stats.squares--;
    round_trip(&p);
    p.stats = (struct mr_stats){.kind = MR_STATS_FLOAT,
                                .count = 2ull * MR_SLAB_BYTES,
                                .min = -DBL_MAX,
                                .max = DBL_MAX,
                                .mean = -DBL_MAX,
                                .m2 = -DBL_MAX};
    round_trip(&p);
}
END_TEST

START_TEST(other_spellings_are_refused)
{
    static const char *const bad[] = {
        "",
        "SLAB",
        "SLAB ",
        "slab 1",
        "OPEN 17",
        PLAIN " ",
        PLAIN "x",
        " " PLAIN,
        PLAIN " none",
        "SLAB +17 0 1 1 0 0000000000000000 0000000000000000 0 0000000000000000 none",
        "SLAB 017 0 1 1 0 0000000000000000 0000000000000000 0 0000000000000000 none",
        "SLAB  17 0 1 1 0 0000000000000000 0000000000000000 0 0000000000000000 none",
        "SLAB 17 0 1 1 0 0x00000000000000 0000000000000000 0 0000000000000000 none",
        "SLAB 17 0 1 1 0 000000000000000A 0000000000000000 0 0000000000000000 none",
        "SLAB -1 0 1 1 0 0000000000000000 0000000000000000 0 0000000000000000 none",
        "SLAB 17 0 1 1 0 0000000000000000 0000000000000000 0 0000000000000000",
        "SLAB 17 0 1 1 0 0000000000000000 0000000000000000 0 0000000000000000 ",
        "SLAB 17 0 1 1 0 0000000000000000 0000000000000000 0 0000000000000000 exact 1",
        "SLAB 17 0 1 1 0 0000000000000000 0000000000000000 0 0000000000000000 float 1 1 1 1 1",
        "SLAB 17 0 1 1 0 0000000000000000 0000000000000000 0 0000000000000000 float 1 nan inf "
        "0x0p+0 0x0p+0",
        "SLAB 99999999999999999999 0 1 1 0 0000000000000000 0000000000000000 0 0000000000000000 "
        "none",
    };
    struct mr_placement untouched = plain;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(mr_placement_parse(bad[i], &untouched) == -EPROTO, "accepted: %s", bad[i]);
    ck_assert_uint_eq(untouched.slab, plain.slab);
    char giant[4096];
    memset(giant, '1', sizeof(giant) - 1);
    giant[sizeof(giant) - 1] = '\0';
    memcpy(giant, "SLAB ", 5);
    ck_assert_int_eq(mr_placement_parse(giant, &untouched), -EPROTO);
}
END_TEST

START_TEST(values_out_of_range_are_refused)
{
    struct mr_placement p = plain;
#define REFUSED(change) \
    p = plain;          \
    change;             \
    ck_assert_msg(mr_placement_check(&p) == -EPROTO, "%s", #change)
    REFUSED(p.slab = MR_SLABS_MAX);
    REFUSED(p.offset = 1);
    REFUSED(p.offset = MR_PLACEMENT_OFFSET_MAX + MR_SLAB_ALIGN);
    REFUSED(p.stored_bytes = 0);
    REFUSED(p.stored_bytes = p.raw_bytes + 1);
    REFUSED(p.raw_bytes = MR_SLAB_BYTES + 1);
    REFUSED(p.codec = MR_CODEC_COUNT);
    REFUSED(p.codec = MR_CODEC_NONE); /* stored and raw then agree */
    REFUSED(p.pixel_bytes = p.raw_bytes + 1);
    REFUSED((p.stats = (struct mr_stats){.kind = MR_STATS_UNKNOWN, .count = UINT64_MAX}));
    REFUSED((p.stats = (struct mr_stats){.kind = MR_STATS_EXACT, .count = 1, .min = 2, .max = 1}));
    REFUSED((p.stats = (struct mr_stats){.kind = MR_STATS_EXACT, .count = 1, .min = NAN}));
    REFUSED((p.stats = (struct mr_stats){.kind = MR_STATS_FLOAT, .count = 1, .mean = INFINITY}));
    REFUSED(p.stats.kind = (enum mr_stats_kind)9);
    REFUSED((p.raw_bytes = 0, p.stored_bytes = 0, p.pixel_bytes = 0));
    REFUSED((p.codec = MR_CODEC_NONE, p.raw_bytes = 0, p.stored_bytes = 0, p.pixel_bytes = 0));
    REFUSED(
        (p.stats = (struct mr_stats){.kind = MR_STATS_UNKNOWN, .count = 2ull * MR_SLAB_BYTES + 1}));
    REFUSED((p.stats = (struct mr_stats){.kind = MR_STATS_FLOAT, .count = 1, .m2 = NAN}));
    REFUSED((p.stats = (struct mr_stats){.kind = MR_STATS_FLOAT, .count = 1, .max = -INFINITY}));
}
END_TEST

START_TEST(values_at_their_limits_are_taken)
{
    struct mr_placement p = plain;
#define TAKEN(change) \
    p = plain;        \
    change;           \
    round_trip(&p)
    TAKEN((p.stored_bytes = 1, p.raw_bytes = 1, p.pixel_bytes = 0));
    TAKEN((p.stored_bytes = 1, p.raw_bytes = 1, p.pixel_bytes = 1, p.codec = MR_CODEC_NONE));
    TAKEN(p.stored_bytes = p.raw_bytes); /* it did not compress */
    TAKEN(p.codec = MR_CODEC_COUNT - 1);
    TAKEN(p.pixel_bytes = p.raw_bytes);
    TAKEN(p.raw_bytes = MR_SLAB_BYTES);
    TAKEN(p.slab = 0);
    TAKEN(p.offset = 0);
    TAKEN((p.stats = (struct mr_stats){.kind = MR_STATS_EXACT, .count = 1, .min = 3, .max = 3}));
    TAKEN((p.stats = (struct mr_stats){.kind = MR_STATS_EXACT, .min = 1})); /* of no pixel */
    TAKEN((p.stats = (struct mr_stats){.kind = MR_STATS_UNKNOWN, .count = 2ull * MR_SLAB_BYTES}));
}
END_TEST

/* A good record with one character changed, left out or put in, anywhere: it is refused, or it is
 * what that text says, in the one form. */
START_TEST(any_change_of_a_record_is_noticed)
{
    static const char letters[] = "0123456789abcdefxAF -+.pnu";
    struct mr_placement p = plain, back;
    char good[MR_PLACEMENT_TEXT], text[MR_PLACEMENT_TEXT + 1], again[MR_PLACEMENT_TEXT];
    p.stats = (struct mr_stats){
        .kind = MR_STATS_FLOAT, .count = 4000, .min = -0.5, .max = 7, .mean = 0.1, .m2 = 3};
    size_t length = mr_placement_format(&p, good);
    for (size_t at = 0; at <= length; at++) {
        for (size_t i = 0; i < 2 * sizeof(letters) - 1; i++) {
            char letter = letters[i % sizeof(letters)];
            size_t kept = i < sizeof(letters) ? 0 : 1; /* put in, or in its place */
            (void)snprintf(text, sizeof(text), "%.*s%.1s%s", (int)at, good, &letter,
                           at + 1 - kept <= length ? good + at + 1 - kept : "");
            if (mr_placement_parse(text, &back) != 0)
                continue;
            ck_assert_int_eq(mr_placement_check(&back), 0);
            mr_placement_format(&back, again);
            ck_assert_str_eq(again, text);
        }
    }
}
END_TEST

START_TEST(kinds_are_told_apart)
{
    ck_assert_int_eq(mr_placement_kind("SLAB 1"), MR_RECORD_SLAB);
    ck_assert_int_eq(mr_placement_kind("OPEN 00"), MR_RECORD_OPEN);
    ck_assert_int_eq(mr_placement_kind("SEALED {}"), MR_RECORD_SEALED);
    ck_assert_int_eq(mr_placement_kind("SEALED"), MR_RECORD_UNKNOWN);
    ck_assert_int_eq(mr_placement_kind("SLABS 1"), MR_RECORD_UNKNOWN);
    ck_assert_int_eq(mr_placement_kind(""), MR_RECORD_UNKNOWN);
}
END_TEST

MR_SUITE("placement", T(record_has_one_known_form), T(statistics_come_back_exactly),
         T(longest_record_fits), T(other_spellings_are_refused), T(values_out_of_range_are_refused),
         T(values_at_their_limits_are_taken), T(any_change_of_a_record_is_noticed),
         T(kinds_are_told_apart))
