/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bounded cursor. Knows integers, floats and short strings; knows nothing of any message.
 * Bytes are put together by shifting, so neither alignment nor the host's byte order matters.
 */
#include "base/bytes.h"

#include <assert.h>
#include <string.h>

struct mr_reader mr_reader_init(const void *data, size_t size)
{
    return (struct mr_reader){.data = data, .size = size};
}

struct mr_writer mr_writer_init(void *data, size_t size)
{
    return (struct mr_writer){.data = data, .size = size};
}

size_t mr_reader_left(const struct mr_reader *r)
{
    return r->failed ? 0 : r->size - r->at;
}

const uint8_t *mr_read_view(struct mr_reader *r, size_t size)
{
    static const uint8_t empty[1];
    if (r->failed || size > r->size - r->at) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *view = r->data == NULL ? empty : r->data + r->at;
    r->at += size;
    return view;
}

static uint64_t read_uint(struct mr_reader *r, size_t bytes)
{
    const uint8_t *p = mr_read_view(r, bytes);
    uint64_t v = 0;
    for (size_t i = 0; p != NULL && i < bytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

uint8_t mr_read_u8(struct mr_reader *r)
{
    return (uint8_t)read_uint(r, 1);
}

uint16_t mr_read_u16(struct mr_reader *r)
{
    return (uint16_t)read_uint(r, 2);
}

uint32_t mr_read_u32(struct mr_reader *r)
{
    return (uint32_t)read_uint(r, 4);
}

uint64_t mr_read_u64(struct mr_reader *r)
{
    return read_uint(r, 8);
}

int64_t mr_read_i64(struct mr_reader *r)
{
    return (int64_t)read_uint(r, 8);
}

double mr_read_f64(struct mr_reader *r)
{
    uint64_t bits = read_uint(r, 8);
    double v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

void mr_read_raw(struct mr_reader *r, void *ret, size_t size)
{
    const uint8_t *p = mr_read_view(r, size);
    if (size == 0)
        return;
    if (p != NULL)
        memcpy(ret, p, size);
    else
        memset(ret, 0, size);
}

void mr_read_str(struct mr_reader *r, char *ret, size_t size)
{
    assert(size > 0);
    size_t length = mr_read_u16(r);
    const uint8_t *p = mr_read_view(r, length);
    ret[0] = '\0';
    if (p == NULL)
        return;
    if (length >= size || memchr(p, '\0', length) != NULL) {
        r->failed = true;
        return;
    }
    memcpy(ret, p, length);
    ret[length] = '\0';
}

void mr_write_raw(struct mr_writer *w, const void *data, size_t size)
{
    if (w->failed || size > w->size - w->at) {
        w->failed = true;
        return;
    }
    if (size > 0)
        memcpy(w->data + w->at, data, size);
    w->at += size;
}

static void write_uint(struct mr_writer *w, uint64_t v, size_t bytes)
{
    uint8_t out[8];
    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(v >> (8 * i));
    mr_write_raw(w, out, bytes);
}

void mr_write_u8(struct mr_writer *w, uint8_t v)
{
    write_uint(w, v, 1);
}

void mr_write_u16(struct mr_writer *w, uint16_t v)
{
    write_uint(w, v, 2);
}

void mr_write_u32(struct mr_writer *w, uint32_t v)
{
    write_uint(w, v, 4);
}

void mr_write_u64(struct mr_writer *w, uint64_t v)
{
    write_uint(w, v, 8);
}

void mr_write_i64(struct mr_writer *w, int64_t v)
{
    write_uint(w, (uint64_t)v, 8);
}

void mr_write_f64(struct mr_writer *w, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    write_uint(w, bits, 8);
}

void mr_write_str(struct mr_writer *w, const char *s)
{
    size_t length = strlen(s);
    if (length > UINT16_MAX || w->failed || length + 2 > w->size - w->at) {
        w->failed = true;
        return;
    }
    mr_write_u16(w, (uint16_t)length);
    mr_write_raw(w, s, length);
}
