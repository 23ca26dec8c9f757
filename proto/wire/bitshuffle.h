/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bit transpose of HDF5 filter 32008: bit k of every element, side by side, for each k. Output
 * plane 8j+k (of 8 x element_bytes) holds bit k of byte j; in a plane, element i is bit i % 8 of
 * byte i / 8.
 *
 * Any thread; no state. The kernel is chosen from what the CPU can do, once.
 */
#ifndef MR_WIRE_BITSHUFFLE_H
#define MR_WIRE_BITSHUFFLE_H

#include <stddef.h>
#include <stdint.h>

#define MR_BITSHUFFLE_STEP 8u /* elements are a multiple of it (asserted) */

/* element_bytes: 1, 2, 4 (asserted). in, out: elements x element_bytes, any alignment, not
 * overlapping. */
void mr_bitshuffle(uint32_t element_bytes, const void *in, size_t elements, void *out);
void mr_bitunshuffle(uint32_t element_bytes, const void *in, size_t elements, void *out);

/* Names of the kernels this CPU can run, the plain one first; NULL past the last. */
const char *mr_bitshuffle_kernel_name(size_t index);

/* Runs that kernel instead of the chosen one: for tests and benchmarks, before threads start. */
void mr_bitshuffle_use_kernel(size_t index);

#endif
