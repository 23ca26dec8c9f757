/* SPDX-License-Identifier: Apache-2.0 */
/* Does a header say what it says: real ones, absurd ones, ours to a stranger's validator? */
#include "suite.h"
#include "wire/mrc_header.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void put(uint8_t *header, size_t at, int32_t value, bool big_endian)
{
    for (size_t i = 0; i < 4; i++) {
        size_t shift = 8 * (big_endian ? 3 - i : i);
        header[at + i] = (uint8_t)((uint32_t)value >> shift);
    }
}

static void make(uint8_t *header, bool big, int32_t nx, int32_t ny, int32_t nz, int32_t mode)
{
    memset(header, 0, MR_MRC_HEADER_BYTES);
    put(header, 0, nx, big);
    put(header, 4, ny, big);
    put(header, 8, nz, big);
    put(header, 12, mode, big);
    memcpy(header + 208, big ? "MAP \x11\x11" : "MAP \x44\x44", 6);
}

static int decode(const uint8_t *header, struct mr_mrc_header *h)
{
    struct mr_err err = {0};
    int code = mr_mrc_header_decode(header, h, &err);
    ck_assert_int_eq(err.code, code);
    return code;
}

START_TEST(both_byte_orders)
{
    uint8_t header[MR_MRC_HEADER_BYTES];
    struct mr_mrc_header h;
    for (int big = 0; big < 2; big++) {
        make(header, big, 5760, 4092, 40, 6);
        put(header, 92, 909312, big);
        ck_assert_int_eq(decode(header, &h), 0);
        ck_assert_int_eq(h.big_endian, big);
        ck_assert_int_eq(h.nx, 5760);
        ck_assert_int_eq(h.nz, 40);
        ck_assert_int_eq(h.pixel, MR_PIXEL_U16);
        ck_assert_uint_eq(mr_mrc_data_offset(&h), 910336);
        ck_assert_uint_eq(mr_mrc_frame_bytes(&h), 47139840);
        ck_assert_double_eq(h.pixel_size_angstrom, 0);
        ck_assert_str_eq(h.exttyp, "");
    }
}
END_TEST

START_TEST(unset_until_it_is_written)
{
    uint8_t header[MR_MRC_HEADER_BYTES] = {0};
    ck_assert(mr_mrc_header_unset(header));
    make(header, false, 10, 10, 0, 0);
    ck_assert(!mr_mrc_header_unset(header));
    header[208] = 0;
    ck_assert(mr_mrc_header_unset(header));
    make(header, false, 10, 0, 5, 1);
    ck_assert(mr_mrc_header_unset(header));
}
END_TEST

static void refuse(int32_t nx, int32_t ny, int32_t nz, int32_t nsymbt, const char *field)
{
    uint8_t header[MR_MRC_HEADER_BYTES];
    struct mr_mrc_header h;
    struct mr_err err = {0};
    make(header, false, nx, ny, nz, 2);
    put(header, 92, nsymbt, false);
    ck_assert_int_eq(mr_mrc_header_decode(header, &h, &err), -ERANGE);
    ck_assert_msg(strstr(err.text, field) != NULL, "%s: %s", field, err.text);
}

START_TEST(absurd_sizes_are_named)
{
    refuse(0, 10, 1, 0, "NX is 0");
    refuse(INT32_MIN, 10, 1, 0, "NX is -2147483648");
    refuse(INT32_MAX, 10, 1, 0, "NX is 2147483647");
    refuse(10, -1, 1, 0, "NY is -1");
    refuse(10, 10, -5, 0, "NZ is -5");
    refuse(10, 10, 1, -1, "NSYMBT is -1");
    refuse(10, 10, 1, (256 << 20) + 1, "NSYMBT");
    refuse(1 << 22, 1 << 22, INT32_MAX, 0, "2^63");
}
END_TEST

START_TEST(not_an_mrc)
{
    uint8_t header[MR_MRC_HEADER_BYTES] = {0};
    struct mr_mrc_header h;
    ck_assert_int_eq(decode(header, &h), -EPROTO);
    make(header, false, 10, 10, 1, 0);
    header[212] = 0x99;
    ck_assert_int_eq(decode(header, &h), -EPROTO);
    make(header, false, 10, 10, 1, 0);
    header[211] = 'S';
    ck_assert_int_eq(decode(header, &h), -EPROTO);
}
END_TEST

START_TEST(modes_not_taken_apart)
{
    uint8_t header[MR_MRC_HEADER_BYTES];
    struct mr_mrc_header h;
    make(header, false, 10, 10, 1, 4);
    ck_assert_int_eq(decode(header, &h), 0);
    ck_assert_int_eq(h.pixel, MR_PIXEL_NONE);
    ck_assert_uint_eq(mr_mrc_frame_bytes(&h), 0);
}
END_TEST

START_TEST(four_bit_pixels)
{
    uint8_t header[MR_MRC_HEADER_BYTES];
    struct mr_mrc_header h;
    make(header, false, 11521, 4, 1, 101);
    ck_assert_int_eq(decode(header, &h), 0);
    ck_assert_uint_eq(mr_mrc_frame_bytes(&h), 5761 * 4);
    make(header, false, 5760, 4, 1, 0); /* IMOD's way: half NX in mode 0 */
    put(header, 152, 1146047817, false);
    put(header, 156, 16 | 2, false);
    ck_assert_int_eq(decode(header, &h), 0);
    ck_assert(h.imod_packed4);
    ck_assert_int_eq(h.pixel, MR_PIXEL_U4);
    ck_assert_int_eq(h.nx, 11520);
    ck_assert_uint_eq(mr_mrc_frame_bytes(&h), 5760 * 4);
}
END_TEST

START_TEST(statistics_set_or_not)
{
    struct mr_mrc_header h = {0};
    ck_assert(!mr_mrc_stats_set(&h)); /* zeros */
    h.dmin = 0, h.dmax = -1, h.dmean = -2, h.rms = -1;
    ck_assert(!mr_mrc_stats_set(&h)); /* unknown */
    h.dmin = 0, h.dmax = 9, h.dmean = 1.5f, h.rms = 0;
    ck_assert(mr_mrc_stats_set(&h));
    h.dmean = NAN;
    ck_assert(!mr_mrc_stats_set(&h));
}
END_TEST

START_TEST(ours_reads_back)
{
    uint8_t header[MR_MRC_HEADER_BYTES];
    struct mr_stats_summary stats = {-3, 9, 1.5f, 2.5f, true};
    struct mr_mrc_header h;
    mr_mrc_header_encode(MR_PIXEL_I16, 5760, 4092, 40, 65536, 0.834f, &stats, header);
    ck_assert(!mr_mrc_header_unset(header));
    ck_assert_int_eq(decode(header, &h), 0);
    ck_assert(!h.big_endian);
    ck_assert_int_eq(h.mode, 1);
    ck_assert_int_eq(h.nz, 40);
    ck_assert_int_eq(h.mz, 1);
    ck_assert_int_eq(h.ispg, 0);
    ck_assert_int_eq(h.nsymbt, 64512);
    ck_assert_int_eq(h.nversion, 20140);
    ck_assert_str_eq(h.exttyp, "HDF5");
    ck_assert_double_eq_tol(h.pixel_size_angstrom, 0.834, 1e-6);
    float cell = (float)(0.834 * 511); /* divided as floats it is told as 0.8340001 */
    int32_t mx = 511;
    memcpy(header + 28, &mx, sizeof(mx));
    memcpy(header + 40, &cell, sizeof(cell));
    ck_assert_int_eq(decode(header, &h), 0);
    ck_assert_double_eq_tol(h.pixel_size_angstrom, 0.834, 4e-8);
    ck_assert_float_eq(h.dmax, 9);
    ck_assert(mr_mrc_stats_set(&h));
    ck_assert_int_eq(memcmp(header + 224, "Millrace " MILLRACE_VERSION, 14), 0);
}
END_TEST

/* A movie of `frames` x 6 x 8 pixels, values 1 2 3 ..., written with our header. */
static void write_movie(const char *path, enum mr_pixel pixel, const void *data, size_t bytes)
{
    static const uint8_t gap[65536 - MR_MRC_HEADER_BYTES];
    uint8_t header[MR_MRC_HEADER_BYTES];
    struct mr_stats stats;
    struct mr_stats_summary summary;
    mr_stats_of(pixel, 8, data, bytes, &stats);
    mr_stats_summarise(&stats, &summary);
    uint64_t frames = bytes / (48 * mr_pixel_bytes(pixel));
    mr_mrc_header_encode(pixel, 8, 6, frames, 65536, 1.25f, &summary, header);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(header, sizeof(header), 1, file), 1);
    ck_assert_uint_eq(fwrite(gap, sizeof(gap), 1, file), 1);
    ck_assert_uint_eq(fwrite(data, bytes, 1, file), 1);
    ck_assert_int_eq(fclose(file), 0);
}

START_TEST(a_strangers_validator_agrees)
{
    static const enum mr_pixel types[] = {MR_PIXEL_I8, MR_PIXEL_I16, MR_PIXEL_F32, MR_PIXEL_U16,
                                          MR_PIXEL_F16};
    if (system("mrcfile-validate --help >/dev/null 2>&1") != 0)
        suite_skip("mrcfile-validate is not installed");
    for (size_t t = 0; t < 5; t++) {
        uint8_t data[144 * 4];
        char path[] = "/tmp/millrace-test-XXXXXX.mrc", command[200];
        for (size_t i = 0; i < 144; i++) {
            float f = (float)i / 3;
            int16_t v = types[t] == MR_PIXEL_F16 ? (int16_t)(0x3c00 + i) : (int16_t)(7 * i - 64);
            size_t size = mr_pixel_bytes(types[t]);
            memcpy(data + size * i, types[t] == MR_PIXEL_F32 ? (void *)&f : (void *)&v, size);
        }
        close(mkstemps(path, 4));
        write_movie(path, types[t], data, 144 * mr_pixel_bytes(types[t]));
        snprintf(command, sizeof(command), "mrcfile-validate %s", path);
        ck_assert_msg(system(command) == 0, "mode %d", mr_pixel_mrc_mode(types[t]));
        unlink(path);
    }
}
END_TEST

static int samples_read;

static bool read_sample(const char *name, uint8_t *header)
{
    const char *root = getenv("MILLRACE_SAMPLES");
    char path[1000];
    snprintf(path, sizeof(path), "%s/%s", root ? root : MR_SOURCE_DIR "/../shared/samples", name);
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "no sample %s (set MILLRACE_SAMPLES)\n", path);
        return false;
    }
    size_t read = fread(header, 1, MR_MRC_HEADER_BYTES, file);
    fclose(file);
    samples_read++;
    return read == MR_MRC_HEADER_BYTES;
}

static void check_sample(const char *name, int32_t nx, int32_t nz, enum mr_pixel pixel, float size)
{
    uint8_t header[MR_MRC_HEADER_BYTES];
    struct mr_mrc_header h;
    if (read_sample(name, header)) {
        ck_assert(!mr_mrc_header_unset(header));
        ck_assert_int_eq(decode(header, &h), 0);
        ck_assert_int_eq(h.nx, nx);
        ck_assert_int_eq(h.nz, nz);
        ck_assert_int_eq(h.pixel, pixel);
        ck_assert_double_eq_tol(h.pixel_size_angstrom, (double)size, 1e-3);
    }
}

START_TEST(real_headers)
{
    check_sample("cisTEM/hiv_images_shift_noise_80x80x10.mrc", 80, 10, MR_PIXEL_F32, 0);
    check_sample("rosettasciio_mrc/ROI_Random_Scan_movie.mrc", 16, 348, MR_PIXEL_U16, 0);
    check_sample("rosettasciio_mrc/HAADFscan.mrc", 16, 1, MR_PIXEL_U16, 56.7913f);
    check_sample("ccpem_mrcfile/EMD-3197.map", 20, 20, MR_PIXEL_F32, 11.4f);
    uint8_t header[MR_MRC_HEADER_BYTES];
    struct mr_mrc_header h;
    if (read_sample("rosettasciio_mrc/HAADFscan.mrc", header)) {
        ck_assert_int_eq(decode(header, &h), 0);
        ck_assert_str_eq(h.exttyp, "FEI2");
        ck_assert_int_eq(h.nsymbt, 909312);
        ck_assert(!mr_mrc_stats_set(&h)); /* 3 2 1 -1: unknown, by the standard */
    }
    if (samples_read == 0)
        suite_skip("no samples");
}
END_TEST

MR_SUITE("mrc_header", T(both_byte_orders), T(unset_until_it_is_written), T(absurd_sizes_are_named),
         T(not_an_mrc), T(modes_not_taken_apart), T(four_bit_pixels), T(statistics_set_or_not),
         T(ours_reads_back), T(a_strangers_validator_agrees), T(real_headers))
