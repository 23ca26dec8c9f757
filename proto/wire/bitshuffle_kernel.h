/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one way of transposing bits must be able to do; bitshuffle.c puts the rest together from it.
 * All of it is about bytes: elements of more bytes are taken apart first. Any alignment, nothing
 * overlaps, any thread. Internal to bitshuffle*.c.
 */
#ifndef MR_WIRE_BITSHUFFLE_KERNEL_H
#define MR_WIRE_BITSHUFFLE_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mr_bitshuffle_kernel {
    const char *name;
    size_t step; /* spread and gather take multiples of it, in bytes of 8 planes */
    bool (*usable)(void);
    /* Eight planes of `bytes / 8` bytes each, `plane_bytes` apart, out of `bytes` bytes. */
    void (*spread)(const uint8_t *in, size_t bytes, uint8_t *planes, size_t plane_bytes);
    void (*gather)(const uint8_t *planes, size_t plane_bytes, uint8_t *out, size_t bytes);
    /* Pairs of bytes, of any number, into those that come first and those that come second. */
    void (*split)(const uint8_t *in, size_t pairs, uint8_t *first, uint8_t *second);
    void (*join)(const uint8_t *first, const uint8_t *second, size_t pairs, uint8_t *out);
};

extern const struct mr_bitshuffle_kernel mr_bitshuffle_plain;
#if defined(__x86_64__)
extern const struct mr_bitshuffle_kernel mr_bitshuffle_avx2;
extern const struct mr_bitshuffle_kernel mr_bitshuffle_avx512;
extern const struct mr_bitshuffle_kernel mr_bitshuffle_gfni; /* AVX-512 with VBMI and GFNI */
#endif

#endif
