/* SPDX-License-Identifier: Apache-2.0 */
/* Makes counted frames. All work is done at start, at about 2 ns a pixel and base frame; handing
 * out a frame is arithmetic. Writes no file and knows no format. */
#include "sim_specimen.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS      16    /* shades of the specimen */
#define QUANTILES   65536 /* a 16-bit random number picks one */
#define STOPPED     0.8   /* share of the electrons that the darkest shade takes away */
#define BASES_BYTES (192ull << 20)

struct mr_sim_specimen {
    enum mr_pixel pixel;
    uint64_t pixels, nx;
    size_t frame_bytes;
    uint32_t bases;
    struct mr_sim_sums *sums; /* one per base */
    uint8_t *data;            /* bases x frame_bytes */
};

uint64_t mr_sim_specimen_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void shade_disc(uint8_t *shade, uint32_t nx, uint32_t ny, uint64_t at, int64_t radius)
{
    int64_t cx = (int64_t)(at % nx), cy = (int64_t)(at / nx);
    for (int64_t dy = -radius; dy <= radius; dy++) {
        uint64_t y = (uint64_t)(cy + dy + (int64_t)ny * 2) % ny;
        for (int64_t dx = -radius; dx <= radius; dx++) {
            double d = 1.0 - (double)(dx * dx + dy * dy) / (double)(radius * radius);
            if (d <= 0.0)
                continue;
            uint64_t x = (uint64_t)(cx + dx + (int64_t)nx * 2) % nx;
            unsigned sum = shade[y * nx + x] + (unsigned)(d * 12.0);
            shade[y * nx + x] = (uint8_t)(sum < LEVELS ? sum : LEVELS - 1);
        }
    }
}

/* Particles of three sizes over about a third of the frame, scaled to it so that small test frames
 * have something to align too. */
static void paint(uint8_t *shade, uint32_t nx, uint32_t ny, uint64_t seed)
{
    uint32_t edge = nx < ny ? nx : ny;
    int64_t largest = edge / 24 < 2 ? 2 : edge / 24 > 90 ? 90 : edge / 24;
    uint64_t area = (uint64_t)nx * ny, state = seed ^ 0x5bec1e5u;
    if (edge < 8)
        return;
    for (int64_t radius = largest; radius >= 2 && radius >= largest / 4; radius /= 2) {
        uint64_t discs = area / (uint64_t)(radius * radius * 24) + 1;
        for (uint64_t i = 0; i < discs; i++)
            shade_disc(shade, nx, ny, mr_sim_specimen_random(&state) % area, radius);
    }
}

static uint32_t most_counts(enum mr_pixel pixel)
{
    switch (pixel) {
    case MR_PIXEL_U4:
        return 15;
    case MR_PIXEL_I8: /* the camera's bytes are read as signed by every program */
        return 127;
    case MR_PIXEL_U8:
        return 255;
    case MR_PIXEL_F16: /* whole numbers are exact up to here */
        return 2048;
    case MR_PIXEL_NONE:
    case MR_PIXEL_I16:
    case MR_PIXEL_U16:
    case MR_PIXEL_F32:
    case MR_PIXEL_COUNT:
    default:
        return 32767;
    }
}

/* table[q]: the count below which a share (q + 1/2) / QUANTILES of a Poisson variable of mean rate
 * lies. */
static void poisson_table(double rate, uint32_t most, uint16_t *table)
{
    double log_p = -rate, below = exp(log_p);
    uint32_t count = 0;
    for (uint32_t q = 0; q < QUANTILES; q++) {
        while (below < (q + 0.5) / QUANTILES && count < most) {
            count++;
            log_p += log(rate / count);
            below += exp(log_p);
        }
        table[q] = (uint16_t)count;
    }
}

/* Rates such that the mean over all pixels is the dose, whatever the specimen hides. */
static void make_tables(const uint8_t *shade, uint64_t pixels, double dose, uint32_t most,
                        uint16_t *tables)
{
    uint64_t histogram[LEVELS] = {0};
    double passed = 0.0;
    for (uint64_t i = 0; i < pixels; i++)
        histogram[shade[i]]++;
    for (unsigned l = 0; l < LEVELS; l++)
        passed += (double)histogram[l] * (1.0 - STOPPED * l / (LEVELS - 1));
    for (unsigned l = 0; l < LEVELS; l++) {
        double rate = dose * (double)pixels / passed * (1.0 - STOPPED * l / (LEVELS - 1));
        poisson_table(rate, most, tables + (size_t)l * QUANTILES);
    }
}

/* IEEE half of a whole number up to 2048; <math.h> has none that both compilers know on every
 * machine. */
static uint16_t half(uint32_t count)
{
    if (count == 0)
        return 0;
    uint32_t exponent = 31u - (uint32_t)__builtin_clz(count);
    uint32_t fraction = exponent <= 10 ? count << (10 - exponent) : count >> (exponent - 10);
    return (uint16_t)(((exponent + 15) << 10) | (fraction & 0x3ff));
}

static void store(enum mr_pixel pixel, uint8_t *frame, uint64_t at, uint32_t count)
{
    float f = (float)count;
    uint16_t u = pixel == MR_PIXEL_F16 ? half(count) : (uint16_t)count;
    switch (pixel) {
    case MR_PIXEL_U4: /* the left pixel is the low nibble */
        frame[at / 2] = (uint8_t)(at % 2 == 0 ? count : frame[at / 2] | count << 4);
        return;
    case MR_PIXEL_I16:
    case MR_PIXEL_U16:
    case MR_PIXEL_F16:
        memcpy(frame + at * 2, &u, sizeof(u));
        return;
    case MR_PIXEL_F32:
        memcpy(frame + at * 4, &f, sizeof(f));
        return;
    case MR_PIXEL_NONE:
    case MR_PIXEL_I8:
    case MR_PIXEL_U8:
    case MR_PIXEL_COUNT:
    default:
        frame[at] = (uint8_t)count;
        return;
    }
}

static void add(struct mr_sim_sums *sums, uint32_t count)
{
    sums->sum += count;
    sums->squares += (uint64_t)count * count;
    sums->min = count < sums->min ? count : sums->min;
    sums->max = count > sums->max ? count : sums->max;
}

static void expose(struct mr_sim_specimen *s, uint32_t base, const uint8_t *shade,
                   const uint16_t *tables, uint64_t *state)
{
    uint8_t *frame = s->data + base * s->frame_bytes;
    struct mr_sim_sums sums = {.count = s->pixels, .min = UINT32_MAX};
    uint64_t random = 0;
    for (uint64_t i = 0; i < s->pixels; i++, random >>= 16) {
        if (i % 4 == 0)
            random = mr_sim_specimen_random(state);
        uint32_t count = tables[(size_t)shade[i] * QUANTILES + (random & 0xffff)];
        store(s->pixel, frame, i, count);
        add(&sums, count);
    }
    s->sums[base] = sums;
}

static int fill(struct mr_sim_specimen *s, uint32_t ny, double dose, uint64_t seed)
{
    uint8_t *shade = calloc(s->pixels, 1);
    uint16_t *tables = malloc((size_t)LEVELS * QUANTILES * sizeof(*tables));
    int r = shade == NULL || tables == NULL ? -ENOMEM : 0;
    if (r == 0) {
        uint64_t state = seed;
        paint(shade, (uint32_t)s->nx, ny, seed);
        make_tables(shade, s->pixels, dose, most_counts(s->pixel), tables);
        for (uint32_t base = 0; base < s->bases; base++)
            expose(s, base, shade, tables, &state);
    }
    free(shade);
    free(tables);
    return r;
}

static uint32_t affordable(uint32_t wanted, size_t frame_bytes)
{
    uint64_t fit = BASES_BYTES / frame_bytes;
    fit = fit < 2 ? 2 : fit;
    wanted = wanted == 0 ? 1 : wanted;
    return wanted < fit ? wanted : (uint32_t)fit;
}

int mr_sim_specimen_new(enum mr_pixel pixel, uint32_t nx, uint32_t ny, double dose, uint64_t seed,
                        uint32_t bases, struct mr_sim_specimen **ret)
{
    assert(pixel != MR_PIXEL_U4 || nx % 2 == 0);
    struct mr_sim_specimen *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return -ENOMEM;
    s->pixel = pixel;
    s->nx = nx;
    s->pixels = (uint64_t)nx * ny;
    s->frame_bytes = mr_pixel_row_bytes(pixel, nx) * ny;
    s->bases = affordable(bases, s->frame_bytes);
    s->sums = calloc(s->bases, sizeof(*s->sums));
    s->data = malloc(s->bases * s->frame_bytes);
    int r = s->sums == NULL || s->data == NULL ? -ENOMEM : fill(s, ny, dose, seed);
    if (r < 0) {
        mr_sim_specimen_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

void mr_sim_specimen_free(struct mr_sim_specimen *s)
{
    if (s == NULL)
        return;
    free(s->sums);
    free(s->data);
    free(s);
}

size_t mr_sim_specimen_frame_bytes(const struct mr_sim_specimen *s)
{
    return s->frame_bytes;
}

void mr_sim_specimen_frame(const struct mr_sim_specimen *s, uint64_t which, int64_t x, int64_t y,
                           struct mr_sim_frame *ret)
{
    int64_t pixels = (int64_t)s->pixels, moved = (y * (int64_t)s->nx + x) % pixels;
    assert(s->pixel != MR_PIXEL_U4 || x % 2 == 0);
    /* pixel p shows what lay `moved` before it: the frame begins with the base's last `moved`
     * pixels */
    uint64_t last = (uint64_t)(moved < 0 ? moved + pixels : moved);
    size_t last_bytes = (size_t)(last * s->frame_bytes / s->pixels);
    uint32_t base = (uint32_t)(which % s->bases);
    const uint8_t *frame = s->data + base * s->frame_bytes;
    ret->piece[0].data = frame + (s->frame_bytes - last_bytes);
    ret->piece[0].bytes = last_bytes;
    ret->piece[1].data = frame;
    ret->piece[1].bytes = s->frame_bytes - last_bytes;
    ret->sums = &s->sums[base];
}
