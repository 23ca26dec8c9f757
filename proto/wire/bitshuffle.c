/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bit transpose in portable C, 64 elements a step: each 8 bytes are an 8x8 bit matrix in one
 * 64-bit word, eight such words an 8x8 byte matrix, and both are turned by swaps on whole words.
 * The loops are over eight words with no branch, so that the compiler makes vectors of them; on
 * x86-64 the same code is compiled once more for AVX2 and taken where the CPU has it. Does not
 * compress: see codec.c.
 */
#include "wire/bitshuffle.h"

#include <assert.h>
#include <endian.h>
#include <stdatomic.h>
#include <string.h>

#define STEP   64u /* elements of the fast path */
#define INLINE static inline __attribute__((always_inline))

struct kernel {
    const char *name;
    void (*shuffle)(size_t element_bytes, const uint8_t *in, size_t elements, uint8_t *out);
    void (*unshuffle)(size_t element_bytes, const uint8_t *in, size_t elements, uint8_t *out);
};

INLINE uint64_t load_64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return le64toh(v);
}

INLINE void store_64(uint8_t *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof(v));
}

/* Swaps the bits of x under mask with those `shift` above them. */
INLINE uint64_t swap_bits(uint64_t x, unsigned shift, uint64_t mask)
{
    uint64_t t = (x ^ (x >> shift)) & mask;
    return x ^ t ^ (t << shift);
}

/* Bit k of byte i becomes bit i of byte k. Its own inverse. */
INLINE uint64_t turn_bits(uint64_t x)
{
    x = swap_bits(x, 7, 0x00aa00aa00aa00aau);
    x = swap_bits(x, 14, 0x0000cccc0000ccccu);
    return swap_bits(x, 28, 0x00000000f0f0f0f0u);
}

/* Swaps the high half-fields of w[i] with the low ones of w[i + apart], for all pairs. */
INLINE void swap_words(uint64_t w[8], size_t apart, uint64_t low)
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
INLINE void turn_bytes(uint64_t w[8])
{
    swap_words(w, 4, 0x00000000ffffffffu);
    swap_words(w, 2, 0x0000ffff0000ffffu);
    swap_words(w, 1, 0x00ff00ff00ff00ffu);
}

/* 64 bytes to eight planes. */
INLINE void spread_64(const uint8_t *in, uint8_t *planes, size_t plane_bytes)
{
    uint64_t w[8];
    for (size_t i = 0; i < 8; i++) {
        w[i] = turn_bits(load_64(in + 8 * i));
    }
    turn_bytes(w);
    for (size_t k = 0; k < 8; k++) {
        store_64(planes + k * plane_bytes, w[k]);
    }
}

INLINE void gather_64(const uint8_t *planes, size_t plane_bytes, uint8_t *out)
{
    uint64_t w[8];
    for (size_t k = 0; k < 8; k++) {
        w[k] = load_64(planes + k * plane_bytes);
    }
    turn_bytes(w);
    for (size_t i = 0; i < 8; i++) {
        store_64(out + 8 * i, turn_bits(w[i]));
    }
}

INLINE void spread_8(const uint8_t in[8], uint8_t *planes, size_t plane_bytes)
{
    uint8_t turned[8];
    store_64(turned, turn_bits(load_64(in)));
    for (size_t k = 0; k < 8; k++) {
        planes[k * plane_bytes] = turned[k];
    }
}

INLINE void gather_8(const uint8_t *planes, size_t plane_bytes, uint8_t out[8])
{
    uint8_t turned[8];
    for (size_t k = 0; k < 8; k++) {
        turned[k] = planes[k * plane_bytes];
    }
    store_64(out, turn_bits(load_64(turned)));
}

/* size is a constant at every call, so each becomes a loop of its own. */
INLINE void shuffle_sized(size_t size, const uint8_t *in, size_t elements, uint8_t *out)
{
    size_t plane = elements / 8, i = 0;
    uint8_t bytes[STEP];
    for (; i + STEP <= elements; i += STEP) {
        for (size_t j = 0; j < size; j++) {
            const uint8_t *from = in + i * size;
            if (size > 1) {
                for (size_t k = 0; k < STEP; k++) {
                    bytes[k] = in[(i + k) * size + j];
                }
                from = bytes;
            }
            spread_64(from, out + 8 * j * plane + i / 8, plane);
        }
    }
    for (; i < elements; i += 8) {
        for (size_t j = 0; j < size; j++) {
            for (size_t k = 0; k < 8; k++) {
                bytes[k] = in[(i + k) * size + j];
            }
            spread_8(bytes, out + 8 * j * plane + i / 8, plane);
        }
    }
}

INLINE void unshuffle_sized(size_t size, const uint8_t *in, size_t elements, uint8_t *out)
{
    size_t plane = elements / 8, i = 0;
    uint8_t bytes[4][STEP];
    for (; i + STEP <= elements; i += STEP) {
        if (size == 1) {
            gather_64(in + i / 8, plane, out + i);
            continue;
        }
        for (size_t j = 0; j < size; j++) {
            gather_64(in + 8 * j * plane + i / 8, plane, bytes[j]);
        }
        for (size_t k = 0; k < STEP; k++) {
            for (size_t j = 0; j < size; j++) {
                out[(i + k) * size + j] = bytes[j][k];
            }
        }
    }
    for (; i < elements; i += 8) {
        for (size_t j = 0; j < size; j++) {
            gather_8(in + 8 * j * plane + i / 8, plane, bytes[0]);
            for (size_t k = 0; k < 8; k++) {
                out[(i + k) * size + j] = bytes[0][k];
            }
        }
    }
}

INLINE void shuffle_any(size_t size, const uint8_t *in, size_t elements, uint8_t *out)
{
    if (size == 1) {
        shuffle_sized(1, in, elements, out);
    } else if (size == 2) {
        shuffle_sized(2, in, elements, out);
    } else {
        shuffle_sized(4, in, elements, out);
    }
}

INLINE void unshuffle_any(size_t size, const uint8_t *in, size_t elements, uint8_t *out)
{
    if (size == 1) {
        unshuffle_sized(1, in, elements, out);
    } else if (size == 2) {
        unshuffle_sized(2, in, elements, out);
    } else {
        unshuffle_sized(4, in, elements, out);
    }
}

static void shuffle_portable(size_t size, const uint8_t *in, size_t elements, uint8_t *out)
{
    shuffle_any(size, in, elements, out);
}

static void unshuffle_portable(size_t size, const uint8_t *in, size_t elements, uint8_t *out)
{
    unshuffle_any(size, in, elements, out);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void shuffle_avx2(size_t size, const uint8_t *in,
                                                         size_t elements, uint8_t *out)
{
    shuffle_any(size, in, elements, out);
}

__attribute__((target("avx2"))) static void unshuffle_avx2(size_t size, const uint8_t *in,
                                                           size_t elements, uint8_t *out)
{
    unshuffle_any(size, in, elements, out);
}
#endif

static const struct kernel kernels[] = {
    {"portable", shuffle_portable, unshuffle_portable},
#if defined(__x86_64__)
    {"avx2", shuffle_avx2, unshuffle_avx2},
#endif
};

/* How many of the table this CPU can run: they are ordered by what they ask for. */
static size_t usable_kernels(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") ? 2 : 1;
#else
    return 1;
#endif
}

/* Threads that race to choose find the same. */
static const struct kernel *_Atomic chosen;

static const struct kernel *kernel(void)
{
    const struct kernel *k = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (!k) {
        k = &kernels[usable_kernels() - 1];
        atomic_store_explicit(&chosen, k, memory_order_relaxed);
    }
    return k;
}

const char *mr_bitshuffle_kernel_name(size_t index)
{
    return index < usable_kernels() ? kernels[index].name : NULL;
}

void mr_bitshuffle_use_kernel(size_t index)
{
    assert(index < usable_kernels());
    atomic_store_explicit(&chosen, &kernels[index], memory_order_relaxed);
}

static void check_arguments(uint32_t element_bytes, size_t elements)
{
    assert(element_bytes == 1 || element_bytes == 2 || element_bytes == 4);
    assert(elements % MR_BITSHUFFLE_STEP == 0);
}

void mr_bitshuffle(uint32_t element_bytes, const void *in, size_t elements, void *out)
{
    check_arguments(element_bytes, elements);
    kernel()->shuffle(element_bytes, in, elements, out);
}

void mr_bitunshuffle(uint32_t element_bytes, const void *in, size_t elements, void *out)
{
    check_arguments(element_bytes, elements);
    kernel()->unshuffle(element_bytes, in, elements, out);
}
