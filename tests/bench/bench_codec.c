/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast a core transposes bits and codes slabs, and how small they become: one JSON object a
 * line, for scripts/bench. Seconds are the thread's CPU time; each figure is a median. Frames are
 * the simulated camera's, K3 size: "flat" without a specimen, where the bound (the entropy of the
 * counts' histogram) is what no coder passes, "specimen" with one. Sends nothing.
 *
 * usage: bench_codec [REPEATS]
 */
#include "base/crc64.h"
#include "sim_specimen.h"
#include "wire/bitshuffle.h"
#include "wire/codec.h"
#include "wire/codec_block.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NX         5760u
#define NY         4092u
#define SLAB       (4u << 20)
#define BLOCK      (256u * 1024)
#define MEMORY     (128u << 20) /* beyond any cache */
#define MOST_ROUND 99u

static uint8_t *slab, *packed, *planes, *memory;
static unsigned rounds = 7;

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static double median(double *values)
{
    qsort(values, rounds, sizeof(*values), compare);
    return values[rounds / 2];
}

/* ---- kernels ---- */

enum pass { FORWARD, INVERSE, COPY };

static double time_pass(enum pass pass, uint32_t element_bytes, uint8_t *data, size_t bytes)
{
    double began = cpu_seconds();
    for (size_t at = 0; at < bytes; at += BLOCK) {
        if (pass == FORWARD) {
            mr_bitshuffle(element_bytes, data + at, BLOCK / element_bytes, planes);
        } else if (pass == INVERSE) {
            mr_bitunshuffle(element_bytes, planes, BLOCK / element_bytes, data + at);
        } else {
            memcpy(planes, data + at, BLOCK);
        }
    }
    return cpu_seconds() - began;
}

static void bench_kernel(const char *kernel, uint32_t element_bytes, uint8_t *data, size_t bytes,
                         const char *where)
{
    double seconds[COPY + 1][MOST_ROUND];
    for (unsigned r = 0; r < rounds; r++) {
        for (enum pass pass = FORWARD; pass <= COPY; pass++) {
            seconds[pass][r] = time_pass(pass, element_bytes, data, bytes);
        }
    }
    printf("{\"what\":\"bitshuffle\",\"kernel\":\"%s\",\"element_bytes\":%u,\"data_in\":\"%s\","
           "\"forward_gbps\":%.2f,\"inverse_gbps\":%.2f,\"memcpy_gbps\":%.2f}\n",
           kernel, element_bytes, where, (double)bytes / median(seconds[FORWARD]) / 1e9,
           (double)bytes / median(seconds[INVERSE]) / 1e9,
           (double)bytes / median(seconds[COPY]) / 1e9);
    fflush(stdout);
}

/* Leaves the best kernel chosen: it is the last. */
static void bench_kernels(void)
{
    for (size_t k = 0; mr_bitshuffle_kernel_name(k); k++) {
        mr_bitshuffle_use_kernel(k);
        for (uint32_t size = 1; size <= 4; size *= 2) {
            bench_kernel(mr_bitshuffle_kernel_name(k), size, slab, SLAB, "cache");
            bench_kernel(mr_bitshuffle_kernel_name(k), size, memory, MEMORY, "memory");
        }
    }
}

/* ---- codecs ---- */

struct scene {
    const char *name;
    enum mr_pixel counted, stored; /* as the camera has it; as it is packed */
    double dose;
    const uint8_t *frame;
    size_t bytes;
    double bound; /* uncompressed bytes per byte of entropy */
};

static double histogram_bound(const uint8_t *frame, size_t bytes, uint32_t element_bytes)
{
    static size_t histogram[65536];
    size_t pixels = bytes / element_bytes;
    double bits = 0;
    memset(histogram, 0, sizeof(histogram));
    for (size_t i = 0; i < pixels; i++) {
        unsigned value = frame[i * element_bytes];
        if (element_bytes > 1)
            value |= (unsigned)frame[i * element_bytes + 1] << 8;
        histogram[value]++;
    }
    for (size_t v = 0; v < 65536; v++) {
        double p = (double)histogram[v] / (double)pixels;
        bits -= p > 0 ? p * log2(p) : 0;
    }
    return 8.0 * element_bytes / bits;
}

/* What liblz4 or libzstd makes of the same blocks, transposed as ours; and in how many seconds. */
static double library_ratio(const struct scene *s, enum mr_codec_id id, double *ret_seconds)
{
    struct mr_codec_lz4 *lz4;
    struct mr_codec_zstd *zstd;
    uint32_t size = mr_pixel_bytes(s->stored);
    size_t total = 0, done = 0;
    if (mr_codec_lz4_new(&lz4) != 0 || mr_codec_zstd_new(BLOCK, &zstd) != 0) {
        exit(1);
    }
    double began = cpu_seconds();
    for (; done + BLOCK <= s->bytes; done += BLOCK) {
        mr_bitshuffle(size, s->frame + done, BLOCK / size, planes);
        struct mr_codec_block block = {planes, BLOCK, BLOCK / size / 8, false};
        total += 4 + (id == MR_CODEC_BSLZ4 ? mr_codec_lz4_pack(lz4, &block, packed, 2 * BLOCK)
                                           : mr_codec_zstd_pack(zstd, &block, packed, 2 * BLOCK));
    }
    *ret_seconds = (cpu_seconds() - began) * (double)s->bytes / (double)done;
    mr_codec_lz4_free(lz4);
    mr_codec_zstd_free(zstd);
    return (double)done / (double)total;
}

/* Packs and unpacks the frame's slabs, each read just before, as pack has them from its CRC. */
static size_t one_round(struct mr_codec *codec, const struct scene *s, enum mr_codec_id id,
                        double *ret_pack, double *ret_unpack)
{
    uint32_t size = mr_pixel_bytes(s->stored);
    size_t total = 0;
    *ret_pack = *ret_unpack = 0;
    for (size_t at = 0; at < s->bytes; at += SLAB) {
        size_t bytes = s->bytes - at < SLAB ? s->bytes - at : SLAB, length = 0;
        memcpy(slab, s->frame + at, bytes);
        uint64_t crc = mr_crc64(0, slab, bytes);
        double began = cpu_seconds();
        int r = mr_codec_pack(codec, id, size, slab, bytes, packed, SLAB, &length);
        double between = cpu_seconds();
        if (r != 0 || mr_codec_unpack(codec, id, size, packed, length, slab, bytes) != 0) {
            fprintf(stderr, "bench_codec: a slab does not shrink or does not come back\n");
            exit(1);
        }
        *ret_pack += between - began;
        *ret_unpack += cpu_seconds() - between;
        total += length;
        if (mr_crc64(0, slab, bytes) != crc) {
            fprintf(stderr, "bench_codec: a slab came back changed\n");
            exit(1);
        }
    }
    return total;
}

static void bench_codec(const struct scene *s, enum mr_codec_id id)
{
    double pack[MOST_ROUND], unpack[MOST_ROUND], by_library[MOST_ROUND], library = 0;
    size_t total = 0;
    struct mr_codec *codec;
    if (mr_codec_new(SLAB, &codec) != 0) {
        exit(1);
    }
    for (unsigned r = 0; r < rounds; r++) {
        total = one_round(codec, s, id, &pack[r], &unpack[r]);
        library = library_ratio(s, id, &by_library[r]);
    }
    mr_codec_free(codec);
    double ratio = (double)s->bytes / (double)total;
    printf("{\"what\":\"codec\",\"codec\":\"%s\",\"scene\":\"%s\",\"dose\":%.2f,\"counted\":\"%s\","
           "\"stored\":\"%s\",\"pack_gbps\":%.2f,\"unpack_gbps\":%.2f,\"ratio\":%.3f,"
           "\"library_pack_gbps\":%.2f,\"library_ratio\":%.3f,\"of_library\":%.3f,\"bound\":%.3f,"
           "\"of_bound\":%.3f}\n",
           mr_codec_name(id), s->name, s->dose, mr_pixel_name(s->counted), mr_pixel_name(s->stored),
           (double)s->bytes / median(pack) / 1e9, (double)s->bytes / median(unpack) / 1e9, ratio,
           (double)s->bytes / median(by_library) / 1e9, library, ratio / library, s->bound,
           ratio / s->bound);
    fflush(stdout);
}

/* 4-bit pixels to bytes, as pack unpacks them. */
static uint8_t *to_bytes(const uint8_t *nibbles, size_t bytes)
{
    uint8_t *frame = malloc(2 * bytes);
    for (size_t i = 0; frame && i < bytes; i++) {
        frame[2 * i] = nibbles[i] & 15u;
        frame[2 * i + 1] = (uint8_t)(nibbles[i] >> 4);
    }
    return frame;
}

/* A frame of less than 8 rows has no specimen: flat is such a one, of as many pixels. */
static void bench_scene(bool flat, enum mr_pixel counted, double dose)
{
    struct mr_sim_specimen *specimen;
    struct mr_sim_frame frame;
    uint32_t nx = flat ? NX * (NY / 6) : NX, ny = flat ? 6 : NY;
    if (mr_sim_specimen_new(counted, nx, ny, dose, 1, 1, &specimen) != 0) {
        exit(1);
    }
    mr_sim_specimen_frame(specimen, 0, 0, 0, &frame);
    struct scene s = {.name = flat ? "flat" : "specimen",
                      .counted = counted,
                      .stored = counted == MR_PIXEL_U4 ? MR_PIXEL_U8 : counted,
                      .dose = dose,
                      .frame = frame.piece[1].data,
                      .bytes = frame.piece[1].bytes};
    uint8_t *unpacked = NULL;
    if (counted == MR_PIXEL_U4) {
        s.frame = unpacked = to_bytes(s.frame, s.bytes);
        s.bytes *= 2;
    }
    if (!s.frame) {
        exit(1);
    }
    s.bound = histogram_bound(s.frame, s.bytes, mr_pixel_bytes(s.stored));
    bench_codec(&s, MR_CODEC_BSLZ4);
    bench_codec(&s, MR_CODEC_BSZSTD);
    free(unpacked);
    mr_sim_specimen_free(specimen);
}

int main(int argc, char **argv)
{
    const double doses[] = {0.25, 0.5, 1.0};
    const enum mr_pixel pixels[] = {MR_PIXEL_U8, MR_PIXEL_U4, MR_PIXEL_U16};
    if (argc > 1) {
        rounds = (unsigned)strtoul(argv[1], NULL, 10);
    }
    slab = aligned_alloc(4096, SLAB);
    packed = aligned_alloc(4096, SLAB);
    planes = aligned_alloc(4096, BLOCK);
    memory = aligned_alloc(4096, MEMORY);
    if (rounds == 0 || rounds > MOST_ROUND || !slab || !packed || !planes || !memory) {
        fprintf(stderr, "usage: bench_codec [REPEATS], 1 to %u\n", MOST_ROUND);
        return 64;
    }
    memset(slab, 1, SLAB);
    memset(packed, 1, SLAB);
    memset(memory, 1, MEMORY);
    bench_kernels();
    for (int flat = 1; flat >= 0; flat--) {
        for (size_t p = 0; p < sizeof(pixels) / sizeof(pixels[0]); p++) {
            for (size_t d = 0; d < sizeof(doses) / sizeof(doses[0]); d++) {
                bench_scene(flat == 1, pixels[p], doses[d]);
            }
        }
    }
    return 0;
}
