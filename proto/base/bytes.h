/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded cursor over bytes: all of the project's message reading and writing passes through it,
 * so bounds are checked here and nowhere else. Integers are little-endian. An overrun sets
 * `failed`, which sticks: reads then give 0 and writes do nothing, so a codec checks once, at the
 * end.
 */
#ifndef MR_BASE_BYTES_H
#define MR_BASE_BYTES_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct mr_reader {
    const uint8_t *data; /* borrowed */
    size_t size, at;
    bool failed;
};

struct mr_writer {
    uint8_t *data; /* borrowed */
    size_t size, at;
    bool failed;
};

struct mr_reader mr_reader_init(const void *data, size_t size);
struct mr_writer mr_writer_init(void *data, size_t size);

uint8_t mr_read_u8(struct mr_reader *r);
uint16_t mr_read_u16(struct mr_reader *r);
uint32_t mr_read_u32(struct mr_reader *r);
uint64_t mr_read_u64(struct mr_reader *r);
int64_t mr_read_i64(struct mr_reader *r);
double mr_read_f64(struct mr_reader *r);
void mr_read_raw(struct mr_reader *r, void *ret, size_t size); /* zero-filled on failure */
/* Borrowed view of `size` bytes, or NULL (and failed). */
const uint8_t *mr_read_view(struct mr_reader *r, size_t size);
/* u16 length + bytes, no NUL inside allowed; into ret (capacity size, NUL-terminated). Longer
 * fails. */
void mr_read_str(struct mr_reader *r, char *ret, size_t size);
size_t mr_reader_left(const struct mr_reader *r);

void mr_write_u8(struct mr_writer *w, uint8_t v);
void mr_write_u16(struct mr_writer *w, uint16_t v);
void mr_write_u32(struct mr_writer *w, uint32_t v);
void mr_write_u64(struct mr_writer *w, uint64_t v);
void mr_write_i64(struct mr_writer *w, int64_t v);
void mr_write_f64(struct mr_writer *w, double v);
void mr_write_raw(struct mr_writer *w, const void *data, size_t size);
void mr_write_str(struct mr_writer *w, const char *s);

#endif
