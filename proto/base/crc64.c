/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-64/XZ by ISA-L, and the arithmetic that puts CRCs together. A polynomial over GF(2) of degree
 * below 64 is a uint64_t with its highest power in bit 0 (reflected), so 1 is the top bit and
 * multiplying by x is a shift to the right.
 */
#include "base/crc64.h"

#include <isa-l.h>
#include <isa-l/crc64.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define POLYNOMIAL 0xC96C5795D7870F42u
#define ONE        ((uint64_t)1 << 63)
#define X_TO_8     ((uint64_t)1 << 55)
#define COPY_STEP \
    (128u * 1024) /* read once for the sum, and again for the copy from the L2 cache */
#define LINE 64u

static uint64_t table[256]; /* remainder of each byte */
static uint64_t powers[64]; /* powers[k] = x^(8 * 2^k): a factor appends 2^k zero bytes */
static pthread_once_t tables_made = PTHREAD_ONCE_INIT;

static uint64_t times_x(uint64_t a)
{
    return (a & 1) != 0 ? (a >> 1) ^ POLYNOMIAL : a >> 1;
}

static uint64_t multiply(uint64_t a, uint64_t b)
{
    uint64_t product = 0;
    for (; a != 0; a <<= 1) {
        if ((a & ONE) != 0)
            product ^= b;
        b = times_x(b);
    }
    return product;
}

static void make_tables(void)
{
    for (unsigned i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = times_x(table[i]);
    }
    powers[0] = X_TO_8;
    for (unsigned k = 1; k < 64; k++)
        powers[k] = multiply(powers[k - 1], powers[k - 1]);
}

static uint64_t x_to_8_times(uint64_t bytes)
{
    pthread_once(&tables_made, make_tables);
    uint64_t power = ONE;
    for (unsigned k = 0; bytes != 0; k++, bytes >>= 1)
        if ((bytes & 1) != 0)
            power = multiply(power, powers[k]);
    return power;
}

uint64_t mr_crc64(uint64_t crc, const void *data, size_t bytes)
{
    /* ISA-L inverts at both ends itself, so its seed is the CRC so far */
    return bytes == 0 ? crc : crc64_ecma_refl(crc, data, bytes);
}

#if defined(__x86_64__)
/* Stores that do not first read what they overwrite: a third of an ordinary copy's traffic. `to` is
 * a multiple of LINE, and so is bytes. */
__attribute__((target("avx2"))) static void stream(uint8_t *to, const uint8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += LINE) {
        __m256i low = _mm256_loadu_si256((const void *)(from + i));
        __m256i high = _mm256_loadu_si256((const void *)(from + i + LINE / 2));
        _mm256_stream_si256((void *)(to + i), low);
        _mm256_stream_si256((void *)(to + i + LINE / 2), high);
    }
    _mm_sfence(); /* before another thread, or a device, is told of it */
}

static bool can_stream(void)
{
    return __builtin_cpu_supports("avx2");
}
#else
static void stream(uint8_t *to, const uint8_t *from, size_t bytes)
{
    memcpy(to, from, bytes);
}

static bool can_stream(void)
{
    return false;
}
#endif

uint64_t mr_crc64_copy(uint64_t crc, void *to, const void *from, size_t bytes)
{
    bool streams = (uintptr_t)to % LINE == 0 && can_stream();
    uint8_t *out = to;
    const uint8_t *in = from;
    for (size_t at = 0; at < bytes; at += COPY_STEP) {
        size_t left = bytes - at, step = left < COPY_STEP ? left : COPY_STEP;
        size_t lines = streams ? step / LINE * LINE : 0;
        crc = mr_crc64(crc, in + at, step);
        if (lines > 0)
            stream(out + at, in + at, lines);
        memcpy(out + at + lines, in + at + lines, step - lines);
    }
    return crc;
}

uint64_t mr_crc64_plain(uint64_t crc, const void *data, size_t bytes)
{
    pthread_once(&tables_made, make_tables);
    const uint8_t *p = data;
    crc = ~crc;
    for (size_t i = 0; i < bytes; i++)
        crc = table[(crc ^ p[i]) & 0xff] ^ (crc >> 8);
    return ~crc;
}

uint64_t mr_crc64_combine(uint64_t crc_a, uint64_t crc_b, uint64_t bytes_b)
{
    /* the inversions at A's end and at B's start cancel out */
    return multiply(crc_a, x_to_8_times(bytes_b)) ^ crc_b;
}

uint64_t mr_crc64_zeros(uint64_t crc, uint64_t bytes)
{
    return ~multiply(~crc, x_to_8_times(bytes));
}

#define TEXT(number)  TEXT_(number)
#define TEXT_(number) #number

/* ISA-L tells no version at run time: this is what the program was built with. */
const char *mr_crc64_library(void)
{
    return "isa-l " TEXT(ISAL_MAJOR_VERSION) "." TEXT(ISAL_MINOR_VERSION) "." TEXT(
        ISAL_PATCH_VERSION);
}
