/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bit transpose in portable C, for every CPU and for what is left over by the kernels with
 * larger steps: each 8 bytes are an 8x8 bit matrix in one 64-bit word, eight such words an 8x8 byte
 * matrix, and both are turned by swaps on whole words. Knows no element of more than a byte.
 */
#include "wire/bitshuffle_kernel.h"

#include <endian.h>
#include <string.h>

#define STEP 64u /* bytes of the fast path */

static uint64_t load_64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return le64toh(v);
}

static void store_64(uint8_t *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof(v));
}

/* Swaps the bits of x under mask with those `shift` above them. */
static uint64_t swap_bits(uint64_t x, unsigned shift, uint64_t mask)
{
    uint64_t t = (x ^ (x >> shift)) & mask;
    return x ^ t ^ (t << shift);
}

/* Bit k of byte i becomes bit i of byte k. Its own inverse. */
static uint64_t turn_bits(uint64_t x)
{
    x = swap_bits(x, 7, 0x00aa00aa00aa00aau);
    x = swap_bits(x, 14, 0x0000cccc0000ccccu);
    return swap_bits(x, 28, 0x00000000f0f0f0f0u);
}

/* Swaps the high half-fields of w[i] with the low ones of w[i + apart], for all pairs. */
static void swap_words(uint64_t w[8], size_t apart, uint64_t low)
{
    unsigned shift = (unsigned)apart * 8;
    for (size_t i = 0; i < 8; i++) {
        if ((i & apart) == 0) {
            uint64_t t = ((w[i] >> shift) ^ w[i + apart]) & low;
            w[i + apart] ^= t;
            w[i] ^= t << shift;
        }
    }
}

/* Byte k of word i becomes byte i of word k. Its own inverse. */
static void turn_bytes(uint64_t w[8])
{
    swap_words(w, 4, 0x00000000ffffffffu);
    swap_words(w, 2, 0x0000ffff0000ffffu);
    swap_words(w, 1, 0x00ff00ff00ff00ffu);
}

static void spread_64(const uint8_t *in, uint8_t *planes, size_t plane_bytes)
{
    uint64_t w[8];
    for (size_t i = 0; i < 8; i++)
        w[i] = turn_bits(load_64(in + 8 * i));
    turn_bytes(w);
    for (size_t k = 0; k < 8; k++)
        store_64(planes + k * plane_bytes, w[k]);
}

static void gather_64(const uint8_t *planes, size_t plane_bytes, uint8_t *out)
{
    uint64_t w[8];
    for (size_t k = 0; k < 8; k++)
        w[k] = load_64(planes + k * plane_bytes);
    turn_bytes(w);
    for (size_t i = 0; i < 8; i++)
        store_64(out + 8 * i, turn_bits(w[i]));
}

static void spread_8(const uint8_t in[8], uint8_t *planes, size_t plane_bytes)
{
    uint8_t turned[8];
    store_64(turned, turn_bits(load_64(in)));
    for (size_t k = 0; k < 8; k++)
        planes[k * plane_bytes] = turned[k];
}

static void gather_8(const uint8_t *planes, size_t plane_bytes, uint8_t out[8])
{
    uint8_t turned[8];
    for (size_t k = 0; k < 8; k++)
        turned[k] = planes[k * plane_bytes];
    store_64(out, turn_bits(load_64(turned)));
}

static void spread(const uint8_t *in, size_t bytes, uint8_t *planes, size_t plane_bytes)
{
    size_t i = 0;
    for (; i + STEP <= bytes; i += STEP)
        spread_64(in + i, planes + i / 8, plane_bytes);
    for (; i < bytes; i += 8)
        spread_8(in + i, planes + i / 8, plane_bytes);
}

static void gather(const uint8_t *planes, size_t plane_bytes, uint8_t *out, size_t bytes)
{
    size_t i = 0;
    for (; i + STEP <= bytes; i += STEP)
        gather_64(planes + i / 8, plane_bytes, out + i);
    for (; i < bytes; i += 8)
        gather_8(planes + i / 8, plane_bytes, out + i);
}

static void split(const uint8_t *in, size_t pairs, uint8_t *first, uint8_t *second)
{
    for (size_t i = 0; i < pairs; i++) {
        first[i] = in[2 * i];
        second[i] = in[2 * i + 1];
    }
}

static void join(const uint8_t *first, const uint8_t *second, size_t pairs, uint8_t *out)
{
    for (size_t i = 0; i < pairs; i++) {
        out[2 * i] = first[i];
        out[2 * i + 1] = second[i];
    }
}

static bool usable(void)
{
    return true;
}

const struct mr_bitshuffle_kernel mr_bitshuffle_plain = {
    .name = "plain",
    .step = 8,
    .usable = usable,
    .spread = spread,
    .gather = gather,
    .split = split,
    .join = join,
};
