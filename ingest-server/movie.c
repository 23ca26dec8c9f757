/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all lanes share of a movie in flight: its life, the space counter of chunked movies,
 * allocation ahead of the writes. Does not open, write or sync anything: that is berth's, landing's
 * and seal's.
 */
#include "movie.h"

#include "base/fs.h"
#include "dossier.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>

/* Small movies are not worth a reservation; large ones grow by doubling, so that at most half of
 * what is reserved is in vain when many movies are in flight on a nearly full disk. */
#define STEP_MIN (4ull * MR_SLAB_BYTES)  /* 16 MiB */
#define STEP_MAX (64ull * MR_SLAB_BYTES) /* 256 MiB */

struct mr_movie *mr_movie_new(void)
{
    struct mr_movie *movie = calloc(1, sizeof(*movie));
    if (movie == NULL)
        return NULL;
    movie->part_fd = movie->part_dir_fd = movie->journal_fd = -1;
    movie->alignment = 1;
    movie->generation = movie->revision = 1;
    atomic_init(&movie->references, 1);
    return movie;
}

void mr_movie_hold(struct mr_movie *movie)
{
    uint32_t before = atomic_fetch_add_explicit(&movie->references, 1, memory_order_relaxed);
    assert(before > 0);
}

void mr_movie_release(struct mr_movie *movie)
{
    if (movie == NULL)
        return;
    uint32_t before = atomic_fetch_sub_explicit(&movie->references, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before > 1)
        return;
    mr_fs_close(&movie->part_fd);
    mr_fs_close(&movie->part_dir_fd);
    mr_fs_close(&movie->journal_fd);
    if (movie->dossier != NULL)
        mr_dossier_fini(movie->dossier);
    free(movie->dossier);
    free(movie);
}

static uint64_t round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

uint64_t mr_movie_claim(struct mr_movie *movie, uint32_t stored_bytes)
{
    assert(stored_bytes > 0);
    uint64_t unit = movie->alignment > MR_SLAB_ALIGN ? movie->alignment : MR_SLAB_ALIGN;
    uint64_t end = atomic_load_explicit(&movie->space_end, memory_order_relaxed);
    /* rounded too: what berth reserved need not be a multiple of a large alignment */
    uint64_t start;
    do {
        start = round_up(end, unit);
    } while (!atomic_compare_exchange_weak(&movie->space_end, &end,
                                           start + round_up(stored_bytes, unit)));
    return start;
}

bool mr_movie_direct_fits(const struct mr_geometry *g, uint32_t alignment)
{
    if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > MR_MOVIE_SLACK)
        return false;
    /* Cuts lie at multiples of MR_SLAB_BYTES and chunks where mr_movie_claim puts them; only a
     * stream's beginning can be off. */
    return g->layout != MR_LAYOUT_STREAM || g->data_offset % alignment == 0;
}

uint64_t mr_movie_padded(const struct mr_movie *movie, uint32_t stored_bytes)
{
    return movie->direct ? round_up(stored_bytes, movie->alignment) : stored_bytes;
}

void mr_movie_allocate_ahead(struct mr_movie *movie, uint64_t end)
{
    uint64_t from = atomic_load_explicit(&movie->allocated_end, memory_order_relaxed);
    uint64_t to;
    do {
        if (end <= from || end <= STEP_MIN)
            return;
        uint64_t step = from < STEP_MIN ? STEP_MIN : from > STEP_MAX ? STEP_MAX : from;
        to = round_up(end > from + step ? end : from + step, STEP_MIN);
    } while (!atomic_compare_exchange_weak(&movie->allocated_end, &from, to));
    /* A slab far ahead of all others: what lies between may never come, and ext4 would fill the
     * disk with it before it says ENOSPC. */
    if (to - from > 2 * STEP_MAX)
        return;
    /* The file's size with it: direct writes that move its end exclude each other, and io_uring
     * hands each to a thread. What is too much is cut off when the movie is finished. */
    if (fallocate(movie->part_fd, 0, (off_t)from, (off_t)(to - from)) != 0)
        atomic_store(&movie->allocated_end, UINT64_MAX);
}

void mr_movie_taint(struct mr_movie *movie)
{
    atomic_store(&movie->tainted, true);
}

bool mr_movie_is_tainted(struct mr_movie *movie)
{
    return atomic_load(&movie->tainted);
}
