/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bit transpose for elements of 1, 2 and 4 bytes out of kernels that know bytes only, and the
 * choice of the kernel. Elements of several bytes are taken apart in pieces that stay in the L1
 * cache. Does not compress: see codec.c.
 */
#include "wire/bitshuffle.h"

#include "wire/bitshuffle_kernel.h"

#include <assert.h>
#include <stdatomic.h>

/* Elements taken apart at a time: two stages of 4 x PIECE bytes are half of the usual L1 cache. */
#define PIECE 2048u

/* From what every CPU has to what few have, each better than those before it. */
static const struct mr_bitshuffle_kernel *const kernels[] = {
    &mr_bitshuffle_plain,
#if defined(__x86_64__)
    &mr_bitshuffle_avx2,
    &mr_bitshuffle_avx512,
    &mr_bitshuffle_gfni,
#endif
};

#define KERNELS (sizeof(kernels) / sizeof(kernels[0]))

/* Threads that race to choose find the same. */
static const struct mr_bitshuffle_kernel *_Atomic chosen;

/* The nth of those that this CPU can run. */
static const struct mr_bitshuffle_kernel *usable_kernel(size_t index)
{
    for (size_t i = 0; i < KERNELS; i++)
        if (kernels[i]->usable() && index-- == 0)
            return kernels[i];
    return NULL;
}

static const struct mr_bitshuffle_kernel *best_kernel(void)
{
    size_t i = KERNELS;
    while (!kernels[i - 1]->usable())
        i--;
    return kernels[i - 1];
}

static const struct mr_bitshuffle_kernel *kernel(void)
{
    const struct mr_bitshuffle_kernel *k = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (!k) {
        k = best_kernel();
        atomic_store_explicit(&chosen, k, memory_order_relaxed);
    }
    return k;
}

const char *mr_bitshuffle_kernel_name(size_t index)
{
    const struct mr_bitshuffle_kernel *k = usable_kernel(index);
    return k ? k->name : NULL;
}

void mr_bitshuffle_use_kernel(size_t index)
{
    const struct mr_bitshuffle_kernel *k = usable_kernel(index);
    assert(k);
    atomic_store_explicit(&chosen, k, memory_order_relaxed);
}

static void spread(const struct mr_bitshuffle_kernel *k, const uint8_t *in, size_t bytes,
                   uint8_t *planes, size_t plane_bytes)
{
    size_t whole = bytes - bytes % k->step;
    k->spread(in, whole, planes, plane_bytes);
    mr_bitshuffle_plain.spread(in + whole, bytes - whole, planes + whole / 8, plane_bytes);
}

static void gather(const struct mr_bitshuffle_kernel *k, const uint8_t *planes, size_t plane_bytes,
                   uint8_t *out, size_t bytes)
{
    size_t whole = bytes - bytes % k->step;
    k->gather(planes, plane_bytes, out, whole);
    mr_bitshuffle_plain.gather(planes + whole / 8, plane_bytes, out + whole, bytes - whole);
}

/* bytes[j] becomes byte j of each of `count` elements; and back. */
static void take_apart(const struct mr_bitshuffle_kernel *k, size_t size, const uint8_t *in,
                       size_t count, uint8_t bytes[4][PIECE])
{
    if (size == 2) {
        k->split(in, count, bytes[0], bytes[1]);
    } else {
        uint8_t even[2 * PIECE], odd[2 * PIECE];
        k->split(in, 2 * count, even, odd);
        k->split(even, count, bytes[0], bytes[2]);
        k->split(odd, count, bytes[1], bytes[3]);
    }
}

static void put_together(const struct mr_bitshuffle_kernel *k, size_t size, uint8_t bytes[4][PIECE],
                         size_t count, uint8_t *out)
{
    if (size == 2) {
        k->join(bytes[0], bytes[1], count, out);
    } else {
        uint8_t even[2 * PIECE], odd[2 * PIECE];
        k->join(bytes[0], bytes[2], count, even);
        k->join(bytes[1], bytes[3], count, odd);
        k->join(even, odd, 2 * count, out);
    }
}

static size_t piece_of(size_t elements, size_t at)
{
    return elements - at < PIECE ? elements - at : PIECE;
}

static void check_arguments(uint32_t element_bytes, size_t elements)
{
    assert(element_bytes == 1 || element_bytes == 2 || element_bytes == 4);
    assert(elements % MR_BITSHUFFLE_STEP == 0);
}

void mr_bitshuffle(uint32_t element_bytes, const void *in, size_t elements, void *out)
{
    const struct mr_bitshuffle_kernel *k = kernel();
    const uint8_t *from = in;
    uint8_t *to = out, bytes[4][PIECE];
    size_t plane = elements / 8;
    check_arguments(element_bytes, elements);
    if (element_bytes == 1) {
        spread(k, from, elements, to, plane);
        return;
    }
    for (size_t at = 0; at < elements; at += PIECE) {
        size_t count = piece_of(elements, at);
        take_apart(k, element_bytes, from + at * element_bytes, count, bytes);
        for (size_t j = 0; j < element_bytes; j++)
            spread(k, bytes[j], count, to + 8 * j * plane + at / 8, plane);
    }
}

void mr_bitunshuffle(uint32_t element_bytes, const void *in, size_t elements, void *out)
{
    const struct mr_bitshuffle_kernel *k = kernel();
    const uint8_t *from = in;
    uint8_t *to = out, bytes[4][PIECE];
    size_t plane = elements / 8;
    check_arguments(element_bytes, elements);
    if (element_bytes == 1) {
        gather(k, from, plane, to, elements);
        return;
    }
    for (size_t at = 0; at < elements; at += PIECE) {
        size_t count = piece_of(elements, at);
        for (size_t j = 0; j < element_bytes; j++)
            gather(k, from + 8 * j * plane + at / 8, plane, bytes[j], count);
        put_together(k, element_bytes, bytes, count, to + at * element_bytes);
    }
}
