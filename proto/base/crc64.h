/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-64/XZ, the project's one checksum: what `7z h -scrcCRC64` and .xz files use (polynomial
 * 42F0E1EBA9EA3693 reflected, start and end inverted; of "123456789" 995DC9BBDF1939FA). It
 * combines: the CRC of a whole follows from those of its parts. Any thread.
 */
#ifndef MR_BASE_CRC64_H
#define MR_BASE_CRC64_H

#include <stddef.h>
#include <stdint.h>

/* CRC of the bytes that gave `crc`, followed by data; crc is 0 for none. */
uint64_t mr_crc64(uint64_t crc, const void *data, size_t bytes);

/* The same of what it copies. Meant for much: `to` goes past the caches where the processor can do
 * that, so it is not to be read again soon. They must not overlap. */
uint64_t mr_crc64_copy(uint64_t crc, void *to, const void *from, size_t bytes);

/* mr_crc64 from a table, a byte at a time: the tests' reference, some 50 times slower. */
uint64_t mr_crc64_plain(uint64_t crc, const void *data, size_t bytes);

/* CRC of A followed by B, from the CRC of each and B's length. About 2 microseconds. */
uint64_t mr_crc64_combine(uint64_t crc_a, uint64_t crc_b, uint64_t bytes_b);

/* CRC of the bytes that gave `crc`, followed by that many zeros; as long as a combination. */
uint64_t mr_crc64_zeros(uint64_t crc, uint64_t bytes);

const char *mr_crc64_library(void); /* "isa-l 2.30.0" */

#endif
