/* SPDX-License-Identifier: Apache-2.0 */
/* What a source holds, and whether a finished file is that. Looks at no disk. */
#include "tale.h"

#include "agentside.h"
#include "seal_hdf5.h"

#include <stdlib.h>
#include <string.h>

struct tale *tale_find(struct tale *first, const struct mr_ulid *id)
{
    struct tale *t = first;
    while (t != NULL && !mr_ulid_equal(&t->id, id))
        t = t->next;
    return t;
}

void tale_expect(struct tale **first, const struct mr_ulid *id, const struct reel *source)
{
    struct tale *t = tale_find(*first, id);
    if (t == NULL) {
        t = calloc(1, sizeof(*t));
        if (t == NULL)
            abort();
        t->id = *id;
        t->next = *first;
        *first = t;
    }
    t->source = source;
    if (source == NULL)
        return;
    t->geometry = source->open.geometry;
    t->extent = source->extent;
    t->contents = source->contents;
    free(t->bytes);
    t->bytes = NULL;
}

void tales_free(struct tale *first)
{
    for (struct tale *t = first, *next; t != NULL; t = next) {
        next = t->next;
        free(t->bytes);
        free(t);
    }
}

static const uint8_t *source_bytes(struct tale *t)
{
    if (t->bytes == NULL) {
        t->bytes = calloc(1, t->extent.source_bytes + 8);
        if (t->bytes == NULL)
            abort();
        reel_content(t->contents, 0, t->bytes, t->extent.source_bytes);
    }
    return t->bytes;
}

static bool same(const struct contents *c, uint64_t offset, const uint8_t *wanted, uint64_t bytes)
{
    return offset + bytes <= c->size &&
           (bytes == 0 || memcmp(c->bytes + offset, wanted, bytes) == 0);
}

static const char *check_chunk(struct mr_codec *codec, struct tale *t, const struct contents *c,
                               const struct mr_chunk *chunk, uint64_t index)
{
    uint8_t raw[MR_SLAB_BYTES];
    struct mr_span span;
    mr_slab_span(&t->geometry, &t->extent, index, &span);
    if (chunk->index != index || chunk->offset + chunk->stored_bytes > c->size)
        return "its index leads nowhere";
    const uint8_t *stored_bytes = c->bytes + chunk->offset;
    if (!chunk->filtered && chunk->stored_bytes != span.raw_bytes)
        return "a chunk is of another size";
    if (!chunk->filtered)
        memcpy(raw, stored_bytes, span.raw_bytes);
    else if (mr_codec_unpack(codec, MR_CODEC_BSLZ4, mr_pixel_bytes(t->geometry.pixel), stored_bytes,
                             chunk->stored_bytes, raw, span.raw_bytes) < 0)
        return "a chunk cannot be unpacked";
    return memcmp(raw, source_bytes(t) + span.source_offset, span.pixel_bytes) == 0
               ? NULL
               : "a chunk is not what was sent";
}

static const char *check_chunks(struct mr_codec *codec, struct tale *t, const struct contents *c)
{
    uint64_t slabs = mr_slab_count(&t->geometry, &t->extent);
    if (c->size < MR_SEAL_HDF5_RESERVED)
        return "it has no index";
    for (uint64_t i = 0; i < slabs; i++) {
        struct mr_chunk chunk;
        memcpy(&chunk, c->bytes + i * sizeof(chunk), sizeof(chunk));
        const char *why = check_chunk(codec, t, c, &chunk, i);
        if (why != NULL)
            return why;
    }
    return NULL;
}

const char *tale_check(struct tale *t, struct mr_codec *codec, const struct contents *c)
{
    const struct mr_geometry *g = &t->geometry;
    if (g->layout == MR_LAYOUT_CHUNKS)
        return check_chunks(codec, t, c);
    uint64_t bytes = mr_geometry_file_bytes(g, &t->extent);
    if (c->size != bytes)
        return "it is of another size";
    if (g->layout == MR_LAYOUT_BYTES)
        return same(c, 0, source_bytes(t), bytes) ? NULL : "it is not what was sent";
    return same(c, g->data_offset, source_bytes(t) + g->source_data_offset, bytes - g->data_offset)
               ? NULL
               : "its pixels are not what was sent";
}
