/* SPDX-License-Identifier: Apache-2.0 */
/* Slab states of one movie. Does not decide what to send next (transfer does) and reads no
 * clock. */
#include "window.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void mr_window_init(struct mr_window *w)
{
    *w = (struct mr_window){0};
}

void mr_window_fini(struct mr_window *w)
{
    free(w->state);
    free(w->crc_raw);
    free(w->crc_pixels);
    *w = (struct mr_window){0};
}

static int grow(void **array, size_t item_bytes, uint64_t from, uint64_t to)
{
    void *bigger = realloc(*array, to * item_bytes);
    if (bigger == NULL)
        return -ENOMEM;
    memset((char *)bigger + from * item_bytes, 0, (to - from) * item_bytes);
    *array = bigger;
    return 0;
}

int mr_window_reserve(struct mr_window *w, uint64_t count)
{
    if (count <= w->capacity)
        return 0;
    if (count > MR_SLABS_MAX)
        return -EFBIG;
    uint64_t capacity = w->capacity < 32 ? 64 : w->capacity * 2;
    if (capacity < count)
        capacity = count;
    int r = grow((void **)&w->state, sizeof(*w->state), w->capacity, capacity);
    if (r == 0)
        r = grow((void **)&w->crc_raw, sizeof(*w->crc_raw), w->capacity, capacity);
    if (r == 0)
        r = grow((void **)&w->crc_pixels, sizeof(*w->crc_pixels), w->capacity, capacity);
    if (r == 0)
        w->capacity = capacity;
    return r;
}

void mr_window_reset(struct mr_window *w)
{
    for (uint64_t i = 0; i < w->capacity; i++)
        w->state[i] &= MR_SLAB_SUMMED;
    w->cursor = 0;
    w->durable = 0;
    w->in_flight = 0;
}

void mr_window_set_durable(struct mr_window *w, uint64_t slab)
{
    assert(slab < w->capacity);
    if (w->state[slab] & MR_SLAB_DURABLE)
        return;
    if (w->state[slab] & MR_SLAB_PICKED)
        w->in_flight--;
    w->state[slab] = (uint8_t)((w->state[slab] & MR_SLAB_SUMMED) | MR_SLAB_DURABLE);
    w->durable++;
}

void mr_window_pick(struct mr_window *w, uint64_t slab)
{
    assert(slab < w->capacity && !(w->state[slab] & MR_SLAB_PICKED));
    w->state[slab] |= MR_SLAB_PICKED;
    if (!(w->state[slab] & MR_SLAB_DURABLE))
        w->in_flight++;
}

void mr_window_unpick(struct mr_window *w, uint64_t slab)
{
    assert(slab < w->capacity);
    if (!(w->state[slab] & MR_SLAB_PICKED))
        return;
    if (!(w->state[slab] & MR_SLAB_DURABLE))
        w->in_flight--;
    w->state[slab] &= (uint8_t)~MR_SLAB_PICKED;
    if (slab < w->cursor)
        w->cursor = slab;
}

int mr_window_sum(struct mr_window *w, uint64_t slab, uint64_t crc_raw, uint64_t crc_pixels)
{
    assert(slab < w->capacity);
    if (w->state[slab] & MR_SLAB_SUMMED) {
        bool same = w->crc_raw[slab] == crc_raw && w->crc_pixels[slab] == crc_pixels;
        return same ? 0 : -ESTALE;
    }
    w->crc_raw[slab] = crc_raw;
    w->crc_pixels[slab] = crc_pixels;
    w->state[slab] |= MR_SLAB_SUMMED;
    if (w->state[slab] & MR_SLAB_DURABLE) /* it was picked only to be summed */
        w->state[slab] &= (uint8_t)~MR_SLAB_PICKED;
    return 0;
}

bool mr_window_finished(const struct mr_window *w, uint64_t slab)
{
    const uint8_t both = MR_SLAB_DURABLE | MR_SLAB_SUMMED;
    return slab < w->capacity && (w->state[slab] & both) == both;
}

bool mr_window_summed(const struct mr_window *w, uint64_t slab)
{
    return slab < w->capacity && (w->state[slab] & MR_SLAB_SUMMED) != 0;
}

bool mr_window_idle(const struct mr_window *w, uint64_t slab)
{
    return !mr_window_finished(w, slab) &&
           !(slab < w->capacity && (w->state[slab] & MR_SLAB_PICKED));
}
