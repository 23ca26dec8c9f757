/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A movie in flight, as every server stage sees it. Immutable after berth made it, but for the space
 * counter and the reference count, which are atomic; so lanes, seal and control share it without a lock.
 */
#ifndef MR_MOVIE_H
#define MR_MOVIE_H

#include "base/ulid.h"
#include "wire/codec.h"
#include "wire/slab.h"

#include <stdatomic.h>

struct mr_movie {
    struct mr_ulid id;
    uint32_t revision;   /* 1 for a first landing */
    uint32_t generation; /* of the part; a new one after a failed fsync */
    struct mr_geometry geometry;
    enum mr_codec_id codec; /* CHUNKS: stored as such; else for the link only */
    int part_fd;            /* O_DIRECT where direct is true */
    int part_dir_fd;        /* <final dir>/.millrace */
    int journal_fd;         /* O_APPEND */
    bool direct;
    uint32_t alignment;     /* of offset, length and memory for writes to part_fd (1 when not direct: any) */
    char part_name[64];     /* "<ULID>.g1.part" below part_dir_fd */
    char journal_name[64];  /* "<ULID>.g1.journal" below <root>/.millrace/journal */
    _Atomic uint64_t space_end; /* CHUNKS: where the next slab goes; multiple of MR_SLAB_ALIGN */
    _Atomic uint32_t references;
};

void mr_movie_hold(struct mr_movie *movie);
void mr_movie_release(struct mr_movie *movie); /* the last one closes the fds and frees; NULL allowed */

/* CHUNKS: claims room for one stored slab (rounded up to the larger of MR_SLAB_ALIGN and alignment). */
uint64_t mr_movie_claim(struct mr_movie *movie, uint32_t stored_bytes);

#endif
