/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is each field of an MRC header read from its place and written to it, in range up to the limit?
 * Offsets are those of ccpem.ac.uk/mrc_format, written out here once more.
 */
#include "dice.h"
#include "suite.h"
#include "wire/mrc_header.h"
#include "wire/slab.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

static uint8_t header[MR_MRC_HEADER_BYTES];

static void put(size_t at, int64_t value, bool big)
{
    for (size_t i = 0; i < 4; i++)
        header[at + i] = (uint8_t)((uint64_t)value >> 8 * (big ? 3 - i : i));
}

static void put_float(size_t at, float value, bool big)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    put(at, bits, big);
}

static void begin(bool big)
{
    memset(header, 0, sizeof(header));
    put(0, 10, big);
    put(4, 20, big);
    put(8, 3, big);
    put(12, 1, big);
    memcpy(header + 208, big ? "MAP \x11\x11" : "MAP \x44\x44", 6);
}

static struct mr_mrc_header decoded(void)
{
    struct mr_mrc_header h;
    struct mr_err err = {0};
    int code = mr_mrc_header_decode(header, &h, &err);
    ck_assert_msg(code == 0, "%s", err.text);
    return h;
}

#define INT(at, field)                                   \
    {                                                    \
        at, offsetof(struct mr_mrc_header, field), false \
    }
#define FLT(at, field)                                  \
    {                                                   \
        at, offsetof(struct mr_mrc_header, field), true \
    }
static const struct {
    size_t at, member;
    bool real;
} places[] = {INT(28, mx),       INT(32, my),       INT(36, mz),        FLT(40, cella[0]),
              FLT(44, cella[1]), FLT(48, cella[2]), FLT(76, dmin),      FLT(80, dmax),
              FLT(84, dmean),    INT(88, ispg),     INT(108, nversion), FLT(216, rms)};

START_TEST(each_field_is_read_from_its_place)
{
    for (int big = 0; big < 2; big++) {
        begin(big);
        for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
            if (places[i].real)
                put_float(places[i].at, 0.5f + (float)i, big);
            else
                put(places[i].at, 0x01020300 + (int64_t)i, big);
        put(92, 0x00030201, big);
        memcpy(header + 104, "SERI", 4);
        struct mr_mrc_header h = decoded();
        for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
            int32_t whole;
            float real;
            memcpy(&whole, (const char *)&h + places[i].member, 4);
            memcpy(&real, (const char *)&h + places[i].member, 4);
            if (places[i].real)
                ck_assert_msg(real == 0.5f + (float)i, "at %zu: %g", places[i].at, (double)real);
            else
                ck_assert_msg(whole == 0x01020300 + (int)i, "at %zu: %d", places[i].at, whole);
        }
        ck_assert_int_eq(h.nx, 10);
        ck_assert_int_eq(h.ny, 20);
        ck_assert_int_eq(h.nz, 3);
        ck_assert_int_eq(h.mode, 1);
        ck_assert_int_eq(h.nsymbt, 0x00030201);
        ck_assert_uint_eq(mr_mrc_data_offset(&h), 0x00030201 + 1024);
        ck_assert_str_eq(h.exttyp, "SERI");
        ck_assert_int_eq(h.big_endian, big);
        ck_assert(!h.imod_packed4);
    }
}
END_TEST

START_TEST(all_four_bytes_count_in_either_order)
{
    for (int big = 0; big < 2; big++) {
        begin(big);
        put(108, 0x01020304, big);
        put(88, -2, big);
        ck_assert_int_eq(decoded().nversion, 0x01020304);
        ck_assert_int_eq(decoded().ispg, -2);
    }
}
END_TEST

/* The machine stamp's first byte decides; the second is told where it does not. */
START_TEST(machine_stamps)
{
    static const uint8_t stamps[][2] = {
        {0x44, 0x44}, {0x44, 0x41}, {0x44, 0}, {0x11, 0x11}, {0x11, 0}};
    for (size_t i = 0; i < 5; i++) {
        begin(stamps[i][0] == 0x11);
        memcpy(header + 212, stamps[i], 2);
        ck_assert_int_eq(decoded().big_endian, stamps[i][0] == 0x11);
    }
    struct mr_mrc_header h = {.nx = 99};
    struct mr_err err = {0};
    begin(false);
    memcpy(header + 212, "\x12\xab", 2);
    ck_assert_int_eq(mr_mrc_header_decode(header, &h, &err), -EPROTO);
    ck_assert_ptr_nonnull(strstr(err.text, "12 ab"));
    ck_assert_int_eq(h.nx, 99);
}
END_TEST

START_TEST(sizes_are_taken_up_to_their_limits)
{
    static const struct {
        size_t at;
        int64_t value;
        const char *refused; /* NULL: it is good */
    } cases[] = {{0, 1, NULL},
                 {0, 1 << 22, NULL},
                 {0, (1 << 22) + 1, "NX is 4194305, not within 1..4194304"},
                 {0, 0, "NX is 0"},
                 {4, 1, NULL},
                 {4, 1 << 22, NULL},
                 {4, (1 << 22) + 1, "NY is 4194305"},
                 {4, 0, "NY is 0"},
                 {8, 0, NULL},
                 {8, INT32_MAX, NULL},
                 {8, -1, "NZ is -1"},
                 {92, 0, NULL},
                 {92, 256 << 20, NULL},
                 {92, (256 << 20) + 1, "NSYMBT is 268435457"},
                 {92, -1, "NSYMBT is -1"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int big = 0; big < 2; big++) {
            struct mr_mrc_header h = {.mode = 99};
            struct mr_err err = {0};
            begin(big);
            put(cases[i].at, cases[i].value, big);
            int code = mr_mrc_header_decode(header, &h, &err);
            ck_assert_int_eq(code, cases[i].refused == NULL ? 0 : -ERANGE);
            ck_assert_int_eq(err.code, code);
            ck_assert_int_eq(h.mode, code == 0 ? 1 : 99);
            if (code != 0)
                ck_assert_msg(strstr(err.text, cases[i].refused) != NULL, "%s", err.text);
        }
    }
}
END_TEST

START_TEST(a_file_of_2_to_the_63_bytes_is_too_large)
{
    struct mr_mrc_header h;
    struct mr_err err = {0};
    begin(false);
    put(0, 1 << 22, false);
    put(4, 1 << 22, false);
    put(12, 2, false);
    put(8, (1 << 17) - 1, false); /* frames of 2^46 bytes; the extended header needs room, too */
    ck_assert_int_eq(mr_mrc_header_decode(header, &h, &err), 0);
    put(8, 1 << 17, false);
    ck_assert_int_eq(mr_mrc_header_decode(header, &h, &err), -ERANGE);
    ck_assert_ptr_nonnull(strstr(err.text, "NX 4194304, NY 4194304, NZ 131072, MODE 2"));
    put(12, 3, false); /* not taken apart: only the count is known */
    ck_assert_int_eq(mr_mrc_header_decode(header, &h, &err), 0);
    ck_assert_uint_eq(mr_mrc_frame_bytes(&h), 0);
}
END_TEST

START_TEST(imods_packed_pixels_are_known_by_stamp_flag_and_mode)
{
    static const struct {
        int32_t mode, stamp, flags;
        bool packed;
    } cases[] = {
        {0, 1146047817, 16, true},  {0, 1146047817, 31, true},  {0, 1146047817, -1, true},
        {0, 1146047817, 15, false}, {0, 1146047817, 32, false}, {0, 1146047817, 0, false},
        {0, 1146047816, 16, false}, {1, 1146047817, 16, false}, {6, 1146047817, 16, false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int big = 0; big < 2; big++) {
            begin(big);
            put(12, cases[i].mode, big);
            put(152, cases[i].stamp, big);
            put(156, cases[i].flags, big);
            struct mr_mrc_header h = decoded();
            ck_assert(h.imod_packed4 == cases[i].packed);
            ck_assert_int_eq(h.nx, cases[i].packed ? 20 : 10);
            ck_assert(cases[i].packed == (h.pixel == MR_PIXEL_U4));
        }
    }
    struct mr_mrc_header h;
    begin(false);
    put(12, 0, false);
    put(152, 1146047817, false);
    put(156, 16, false);
    put(0, 1 << 21, false); /* doubled it is the limit */
    ck_assert_int_eq(decoded().nx, 1 << 22);
    put(0, (1 << 21) + 1, false);
    ck_assert_int_eq(mr_mrc_header_decode(header, &h, NULL), -ERANGE);
}
END_TEST

START_TEST(a_pixel_size_is_known_or_0)
{
    static const struct {
        float cell;
        int32_t mx;
        double size;
    } cases[] = {{8, 4, 2},
                 {1.5f, 1, 1.5},
                 {8, 0, 0},
                 {8, -4, 0},
                 {-8, 4, 0},
                 {-8, -4, 0},
                 {0, 4, 0},
                 {NAN, 4, 0},
                 {INFINITY, 4, 0},
                 {-INFINITY, 4, 0},
                 {FLT_MAX, 1, (double)FLT_MAX},
                 {8, INT32_MAX, 8.0 / INT32_MAX}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin(false);
        put_float(40, cases[i].cell, false);
        put(28, cases[i].mx, false);
        ck_assert_msg(decoded().pixel_size_angstrom == cases[i].size, "case %zu", i);
    }
}
END_TEST

START_TEST(a_type_of_extended_header_is_printable)
{
    static const char types[][2][5] = {
        {"FEI1", "FEI1"},       {"MRCO", "MRCO"},         {"    ", ""},       {"\0\0\0\0", ""},
        {"A   ", "A"},          {"A\0\0\0", "A"},         {"A\0B\0", "A B"},  {" A  ", " A"},
        {"\x1f!~\x7f", "?!~?"}, {"\xff\n\t\x80", "????"}, {"\0\0\0Z", "   Z"}};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        begin(false);
        memset(header + 108, 'x', 4); /* what follows it is not of it */
        memcpy(header + 104, types[i][0], 4);
        ck_assert_str_eq(decoded().exttyp, types[i][1]);
    }
}
END_TEST

START_TEST(a_header_is_unset_until_sizes_and_map_are_there)
{
    for (int big = 0; big < 2; big++) {
        begin(big);
        ck_assert(!mr_mrc_header_unset(header));
        put(8, 0, big);
        put(12, 0, big);
        ck_assert(!mr_mrc_header_unset(header)); /* NZ and MODE may be 0 */
        put(0, 1, big);
        put(4, 1, big);
        ck_assert(!mr_mrc_header_unset(header));
        put(0, 0, big);
        ck_assert(mr_mrc_header_unset(header));
        put(0, 1 << 24, big);
        ck_assert(!mr_mrc_header_unset(header));
        put(4, 0, big);
        ck_assert(mr_mrc_header_unset(header));
        put(4, 1 << 24, big);
        ck_assert(!mr_mrc_header_unset(header));
        for (size_t i = 0; i < 4; i++) {
            header[208 + i] ^= 0x20;
            ck_assert(mr_mrc_header_unset(header));
            header[208 + i] ^= 0x20;
        }
    }
}
END_TEST

START_TEST(statistics_are_real_or_not)
{
    static const struct {
        float min, max, mean, rms;
        bool set;
    } cases[] = {{0, 9, 1, 2, true},     {0, 0, 0, 0, false},        {0, -1, -2, -1, false},
                 {3, 2, 1, -1, false},   {5, 5, 5, 0, true},         {0, 0, 0, 7, false},
                 {-1, 0, 0, 0, true},    {0, 1, 0, 0, true},         {0, 9, -1, 2, false},
                 {1, 9, 0.5f, 2, false}, {1, 9, 1, -1, true},        {9, 1, 10, 2, false},
                 {NAN, 9, 1, 2, false},  {0, INFINITY, 1, 2, false}, {-INFINITY, 9, 1, 2, false},
                 {0, NAN, 1, 2, false},  {0, 9, NAN, 2, false},      {0, 9, INFINITY, 2, false},
                 {0, 9, 1, NAN, true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mr_mrc_header h = {.dmin = cases[i].min,
                                  .dmax = cases[i].max,
                                  .dmean = cases[i].mean,
                                  .rms = cases[i].rms};
        ck_assert_msg(mr_mrc_stats_set(&h) == cases[i].set, "case %zu", i);
    }
}
END_TEST

/* The whole of it, byte for byte: what is not named here is 0. */
START_TEST(ours_is_written_field_by_field)
{
    static const struct mr_stats_summary stats = {-3, 9, 1.5f, 2.5f, true};
    uint8_t ours[MR_MRC_HEADER_BYTES];
    memset(ours, 0xee, sizeof(ours));
    mr_mrc_header_encode(MR_PIXEL_U16, 5760, 4092, 40, 65536, 0.5f, &stats, ours);
    memset(header, 0, sizeof(header));
    const struct {
        size_t at;
        int32_t value;
    } ints[] = {{0, 5760}, {4, 4092}, {8, 40}, {12, 6},     {28, 5760}, {32, 4092},   {36, 1},
                {64, 1},   {68, 2},   {72, 3}, {92, 64512}, {88, 0},    {108, 20140}, {220, 1}};
    const struct {
        size_t at;
        float value;
    } floats[] = {{40, 2880}, {44, 2046}, {48, 0.5f}, {52, 90},   {56, 90},
                  {60, 90},   {76, -3},   {80, 9},    {84, 1.5f}, {216, 2.5f}};
    for (size_t i = 0; i < sizeof(ints) / sizeof(ints[0]); i++)
        put(ints[i].at, ints[i].value, false);
    for (size_t i = 0; i < sizeof(floats) / sizeof(floats[0]); i++)
        put_float(floats[i].at, floats[i].value, false);
    memcpy(header + 104, "HDF5", 4);
    memcpy(header + 208, "MAP \x44\x44\0\0", 8);
    memset(header + 224, ' ', 80);
    memcpy(header + 224, "Millrace " MILLRACE_VERSION, strlen("Millrace " MILLRACE_VERSION));
    for (size_t at = 0; at < sizeof(header); at++)
        ck_assert_msg(ours[at] == header[at], "byte %zu is %02x", at, ours[at]);
}
END_TEST

START_TEST(every_mode_of_ours_reads_back)
{
    static const struct mr_stats_summary unknown = {0, -1, -2, -1, false};
    for (unsigned i = MR_PIXEL_NONE + 1; i < MR_PIXEL_COUNT; i++) {
        enum mr_pixel pixel = (enum mr_pixel)i;
        if (mr_pixel_mrc_mode(pixel) < 0)
            continue;
        mr_mrc_header_encode(pixel, MR_WIDTH_MAX, 1, INT32_MAX, INT32_MAX / 8, 0, &unknown, header);
        struct mr_mrc_header h = decoded();
        ck_assert_int_eq(h.pixel, pixel);
        ck_assert_int_eq(h.nx, MR_WIDTH_MAX);
        ck_assert_int_eq(h.nz, INT32_MAX);
        ck_assert_uint_eq(mr_mrc_data_offset(&h), INT32_MAX / 8);
        ck_assert_uint_eq(mr_mrc_frame_bytes(&h), mr_pixel_row_bytes(pixel, MR_WIDTH_MAX));
        ck_assert(h.pixel_size_angstrom == 0);
        ck_assert(!mr_mrc_stats_set(&h));
    }
}
END_TEST

/* Of random bytes behind a good stamp: refused, or all within the limits. */
START_TEST(random_headers_are_refused_or_within_the_limits)
{
    int good = 0;
    for (int i = 0; i < 20000; i++) {
        for (size_t at = 0; at < 208; at++)
            header[at] = dice(4) != 0 ? 0 : (uint8_t)dice(256); /* mostly small numbers */
        memcpy(header + 208, i % 2 ? "MAP \x11\x11" : "MAP \x44\x44", 6);
        struct mr_mrc_header h;
        struct mr_err err = {0};
        int code = mr_mrc_header_decode(header, &h, &err);
        MUST(code == 0 || code == -ERANGE);
        if (code != 0)
            continue;
        good++;
        MUST(h.nx >= 1 && h.nx <= (int)MR_WIDTH_MAX && h.ny >= 1 && h.ny <= (int)MR_HEIGHT_MAX);
        MUST(h.nz >= 0 && h.nsymbt >= 0 && h.nsymbt <= 256 << 20);
        uint64_t frame = mr_mrc_frame_bytes(&h), left = INT64_MAX - mr_mrc_data_offset(&h);
        MUST(frame == 0 || (uint64_t)h.nz <= left / frame);
        MUST(isfinite(h.pixel_size_angstrom) && h.pixel_size_angstrom >= 0);
    }
    ck_assert_int_gt(good, 100);
}
END_TEST

MR_SUITE("mrc_header_fields", T(each_field_is_read_from_its_place),
         T(all_four_bytes_count_in_either_order), T(machine_stamps),
         T(sizes_are_taken_up_to_their_limits), T(a_file_of_2_to_the_63_bytes_is_too_large),
         T(imods_packed_pixels_are_known_by_stamp_flag_and_mode), T(a_pixel_size_is_known_or_0),
         T(a_type_of_extended_header_is_printable),
         T(a_header_is_unset_until_sizes_and_map_are_there), T(statistics_are_real_or_not),
         T(ours_is_written_field_by_field), T(every_mode_of_ours_reads_back),
         T(random_headers_are_refused_or_within_the_limits))
