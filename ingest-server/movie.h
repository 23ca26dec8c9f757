/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A movie in flight, as every server stage sees it. Immutable after berth made it, so that lanes,
 * seal and control share it without a lock, but for the atomic fields, and for a small one's:
 * those are lane 0's until it says ABOARD, and seal's after that.
 */
#ifndef MR_MOVIE_H
#define MR_MOVIE_H

#include "base/ulid.h"
#include "naming.h"
#include "placement.h"
#include "wire/codec.h"
#include "wire/slab.h"

#include <stdatomic.h>

#define MR_MOVIES_MAX 2048 /* in flight at once; the others wait with their agents */

struct mr_dossier;

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
    /* of offset, length and memory for writes to part_fd (1 when not direct: any) */
    uint32_t alignment;
    char part_name[MR_NAMING_PART];    /* "<ULID>.g1.part" below part_dir_fd */
    char journal_name[MR_NAMING_PART]; /* "<ULID>.g1.journal" below <root>/.millrace/journal */
    _Atomic uint64_t space_end; /* CHUNKS: where the next slab goes; multiple of MR_SLAB_ALIGN */
    _Atomic uint64_t allocated_end; /* fallocated so far; UINT64_MAX: no more of it */
    _Atomic bool tainted;           /* a write, fsync or journal append failed: no acks, no seal */
    _Atomic uint32_t references;
    /* A small one (skiff.h), which has no journal; written to through the page cache */
    bool small;
    uint64_t failures; /* of the store's syncs, when its part was made */
    struct mr_dossier
        *dossier; /* owned: what its journal would say, but for the slab; seal takes */
    bool aboard;  /* lane 0: its slab is written, and is this; seal reads, later */
    struct mr_placement slab;
};

/* Zeroed, fds -1, alignment 1, generation and revision 1, one reference; NULL: out of memory. */
struct mr_movie *mr_movie_new(void);

void mr_movie_hold(struct mr_movie *movie);
/* the last one closes the fds and frees; NULL allowed */
void mr_movie_release(struct mr_movie *movie);

/* CHUNKS: claims room for one stored slab (rounded up to the larger of MR_SLAB_ALIGN and
 * alignment). */
uint64_t mr_movie_claim(struct mr_movie *movie, uint32_t stored_bytes);

/* True where direct writes of such a movie keep offset and length aligned and no two slabs share an
 * aligned block. False, with movie->direct then false: an alignment that is no power of two or over
 * MR_MOVIE_SLACK, and a STREAM whose data_offset is no multiple of it (65536 + 4096 k on a file
 * system that wants 64 KiB). Such a movie is written through the page cache, whole. */
bool mr_movie_direct_fits(const struct mr_geometry *g, uint32_t alignment);

/* A buffer that any slab fits in as it is written: behind the slab, the padding of a tail. Aligned
 * to MR_MOVIE_SLACK. */
#define MR_MOVIE_SLACK        65536u
#define MR_MOVIE_BUFFER_BYTES (MR_SLAB_BYTES + MR_MOVIE_SLACK)

/* Bytes that a slab of stored_bytes takes when written: padded to the alignment where direct. */
uint64_t mr_movie_padded(const struct mr_movie *movie, uint32_t stored_bytes);

/* Sees to it that space up to `end` is allocated ahead in growing steps (16 to 256 MiB), by one
 * lane for all. Best effort: a refusal ends it for this movie, and the write will tell. */
void mr_movie_allocate_ahead(struct mr_movie *movie, uint64_t end);

void mr_movie_taint(struct mr_movie *movie);
bool mr_movie_is_tainted(struct mr_movie *movie);

#endif
