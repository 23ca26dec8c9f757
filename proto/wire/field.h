/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fields of a message's body read by name, so that a refusal can say which one was wrong. A thin
 * layer over the bounded cursor: the first bad field sticks, everything after it reads as 0, so a
 * body is read straight through and judged once, at its end. Pure; used by message*.c only.
 */
#ifndef MR_WIRE_FIELD_H
#define MR_WIRE_FIELD_H

#include "base/bytes.h"
#include "base/ulid.h"

struct mr_fields {
    struct mr_reader reader;
    const char *bad; /* name of the first bad field, static; NULL while all is well */
    bool cut;        /* it was bad because the body ended, or a string was too long */
};

struct mr_fields mr_fields_init(const void *data, size_t bytes); /* borrows data */
bool mr_fields_ok(const struct mr_fields *f);
size_t mr_fields_left(const struct mr_fields *f); /* bytes not yet read */

/* Each: a value outside min..max is a bad field. */
uint8_t mr_field_u8(struct mr_fields *f, const char *name, uint8_t min, uint8_t max);
uint16_t mr_field_u16(struct mr_fields *f, const char *name, uint16_t min, uint16_t max);
uint32_t mr_field_u32(struct mr_fields *f, const char *name, uint32_t min, uint32_t max);
uint64_t mr_field_u64(struct mr_fields *f, const char *name, uint64_t min, uint64_t max);
int64_t mr_field_i64(struct mr_fields *f, const char *name);
double mr_field_amount(struct mr_fields *f, const char *name); /* finite, not negative */
bool mr_field_bool(struct mr_fields *f, const char *name);     /* u8, 0 or 1 */
void mr_field_ulid(struct mr_fields *f, const char *name, struct mr_ulid *ret);
void mr_field_raw(struct mr_fields *f, const char *name, void *ret, size_t bytes);
void mr_field_str(struct mr_fields *f, const char *name, char *ret, size_t size);

/* u32 length + bytes; a borrowed view, NULL where empty. */
const uint8_t *mr_field_blob(struct mr_fields *f, const char *name, uint32_t max,
                             uint32_t *ret_bytes);
const uint8_t *mr_field_view(struct mr_fields *f, const char *name, size_t bytes);

/* A rule between fields: ok false makes `name` bad. */
void mr_field_check(struct mr_fields *f, const char *name, bool ok);

#endif
