/* SPDX-License-Identifier: Apache-2.0 */
/* Named fields over the cursor. Knows ranges; knows no message. */
#include "wire/field.h"

#include <math.h>

struct mr_fields mr_fields_init(const void *data, size_t bytes)
{
    return (struct mr_fields){.reader = mr_reader_init(data, bytes)};
}

bool mr_fields_ok(const struct mr_fields *f)
{
    return f->bad == NULL;
}

size_t mr_fields_left(const struct mr_fields *f)
{
    return mr_reader_left(&f->reader);
}

/* Called after every read: remembers who made the cursor fail. */
static bool arrived(struct mr_fields *f, const char *name)
{
    if (f->reader.failed && f->bad == NULL) {
        f->bad = name;
        f->cut = true;
    }
    return f->bad == NULL;
}

void mr_field_check(struct mr_fields *f, const char *name, bool ok)
{
    if (!ok && f->bad == NULL) {
        f->bad = name;
        f->reader.failed = true;
    }
}

static uint64_t ranged(struct mr_fields *f, const char *name, uint64_t v, uint64_t min,
                       uint64_t max)
{
    if (!arrived(f, name))
        return 0;
    mr_field_check(f, name, v >= min && v <= max);
    return f->bad == NULL ? v : 0;
}

uint8_t mr_field_u8(struct mr_fields *f, const char *name, uint8_t min, uint8_t max)
{
    return (uint8_t)ranged(f, name, mr_read_u8(&f->reader), min, max);
}

uint16_t mr_field_u16(struct mr_fields *f, const char *name, uint16_t min, uint16_t max)
{
    return (uint16_t)ranged(f, name, mr_read_u16(&f->reader), min, max);
}

uint32_t mr_field_u32(struct mr_fields *f, const char *name, uint32_t min, uint32_t max)
{
    return (uint32_t)ranged(f, name, mr_read_u32(&f->reader), min, max);
}

uint64_t mr_field_u64(struct mr_fields *f, const char *name, uint64_t min, uint64_t max)
{
    return ranged(f, name, mr_read_u64(&f->reader), min, max);
}

int64_t mr_field_i64(struct mr_fields *f, const char *name)
{
    int64_t v = mr_read_i64(&f->reader);
    return arrived(f, name) ? v : 0;
}

double mr_field_amount(struct mr_fields *f, const char *name)
{
    double v = mr_read_f64(&f->reader);
    if (!arrived(f, name))
        return 0;
    mr_field_check(f, name, isfinite(v) && v >= 0);
    return f->bad == NULL ? v : 0;
}

bool mr_field_bool(struct mr_fields *f, const char *name)
{
    return mr_field_u8(f, name, 0, 1) == 1;
}

void mr_field_raw(struct mr_fields *f, const char *name, void *ret, size_t bytes)
{
    mr_read_raw(&f->reader, ret, bytes);
    (void)arrived(f, name);
}

void mr_field_ulid(struct mr_fields *f, const char *name, struct mr_ulid *ret)
{
    mr_field_raw(f, name, ret->bytes, sizeof(ret->bytes));
}

void mr_field_str(struct mr_fields *f, const char *name, char *ret, size_t size)
{
    mr_read_str(&f->reader, ret, size);
    (void)arrived(f, name);
}

const uint8_t *mr_field_view(struct mr_fields *f, const char *name, size_t bytes)
{
    const uint8_t *view = mr_read_view(&f->reader, bytes);
    return arrived(f, name) ? view : NULL;
}

const uint8_t *mr_field_blob(struct mr_fields *f, const char *name, uint32_t max,
                             uint32_t *ret_bytes)
{
    uint32_t bytes = mr_field_u32(f, name, 0, max);
    const uint8_t *view = mr_field_view(f, name, bytes);
    *ret_bytes = view == NULL ? 0 : bytes;
    return bytes == 0 ? NULL : view;
}
