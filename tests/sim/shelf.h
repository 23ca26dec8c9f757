/* SPDX-License-Identifier: Apache-2.0 */
/* The store's disk: what is here survives the server. One record per movie ever opened. */
#ifndef MR_TESTS_SHELF_H
#define MR_TESTS_SHELF_H

#include "wire/message.h"
#include "world.h"

enum shelf_state { SHELF_NOTHING, SHELF_PART, SHELF_COMMITTED, SHELF_FAILED };

struct record {
    struct record *next;
    struct mr_ulid id;
    enum shelf_state state;
    struct mr_geometry geometry;
    uint32_t generation;
    uint32_t commits;
    bool durable[WORLD_SLABS]; /* of this generation */
    uint64_t crc_raw[WORLD_SLABS], crc_pixels[WORLD_SLABS];
    uint32_t pixel_bytes[WORLD_SLABS], raw_bytes[WORLD_SLABS];
};

struct shelf {
    struct record *records;
};

struct record *shelf_find(const struct shelf *s, const struct mr_ulid *id); /* NULL: never seen */
struct record *shelf_find_or_add(struct shelf *s, const struct mr_ulid *id);
void shelf_begin(struct record *r, const struct mr_geometry *g); /* a new generation, empty */
size_t shelf_ranges(const struct record *r, struct mr_range ret[WORLD_SLABS]);
void shelf_free(struct shelf *s);

#endif
