/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Geometry: where slab n lies in the source, in the pixels and in the finished movie. Pure
 * functions of (geometry, index), so that order does not matter and a slab sent twice is harmless.
 *
 * Three layouts:
 *
 * - BYTES (keep): slab n is bytes [n, n+1) x MR_SLAB_BYTES of the source, landing at the same
 * offset
 * - STREAM (mrc): slab n is bytes [n, n+1) x MR_SLAB_BYTES of the pixel stream, landing at
 *   data_offset + that
 * - CHUNKS (hdf5): slab n is one chunk: some rows of one frame, or some whole frames. Always full
 *   size: rows or frames past the edge are zero padding, outside digest and statistics
 */
#ifndef MR_WIRE_SLAB_H
#define MR_WIRE_SLAB_H

#include "wire/pixel.h"

#ifndef MR_SLAB_BYTES                    /* tests/sim has small ones */
#define MR_SLAB_BYTES (4u * 1024 * 1024) /* most bytes of a slab, uncompressed */
#endif
#define MR_SLAB_ALIGN 4096u /* every cut and data offset is a multiple of it */
#define MR_SMALL_BYTES \
    (1u << 20) /* of a file that is opened whole; larger ones go past the cache */

/* Limits on what a header may claim; more is refused, not tried. */
#define MR_WIDTH_MAX  (1u << 22)
#define MR_HEIGHT_MAX (1u << 22)
#define MR_FRAMES_MAX (1u << 31)
#define MR_SLABS_MAX  (1ull << 26) /* 256 TiB of keep */

/* On the wire. */
enum mr_layout { MR_LAYOUT_BYTES = 1, MR_LAYOUT_STREAM = 2, MR_LAYOUT_CHUNKS = 3 };

struct mr_geometry {
    enum mr_layout layout;
    enum mr_pixel source_pixel;  /* as in the source file; NONE for opaque files */
    enum mr_pixel pixel;         /* as in the finished movie (U4 becomes U8 in CHUNKS) */
    bool swap_bytes;             /* source is big-endian; STREAM and CHUNKS travel little-endian */
    uint64_t width, height;      /* pixels; 0 for opaque files */
    uint64_t source_data_offset; /* bytes before frame 0 in the source */
    uint64_t source_frame_bytes;
    uint64_t frame_bytes;     /* in the finished movie */
    uint64_t data_offset;     /* of pixel 0 in the finished movie: BYTES as the source, STREAM a
                                 multiple of MR_SLAB_ALIGN, CHUNKS 0 */
    uint32_t rows_per_slab;   /* CHUNKS; height when a slab holds whole frames */
    uint32_t frames_per_slab; /* CHUNKS; 1 when a slab holds rows of one frame */
    uint32_t slabs_per_frame; /* CHUNKS; 1 when a slab holds whole frames */
};

/* How long the movie is; known at END only (before that: what is visible so far). */
struct mr_extent {
    uint64_t frames;       /* 0 for opaque files */
    uint64_t source_bytes; /* whole source file, header included */
};

struct mr_span {
    uint64_t source_offset, source_bytes; /* what to read */
    uint32_t raw_bytes;                   /* of the slab uncompressed, padding included */
    uint32_t pixel_offset, pixel_bytes;   /* the pixel part within raw (0, 0 for opaque files) */
    uint64_t file_offset;                 /* BYTES, STREAM: where it lands; CHUNKS: UINT64_MAX */
};

/* Geometry of an opaque file (keep). */
void mr_geometry_opaque(struct mr_geometry *ret);

/* Geometry of frames. source_data_offset: bytes; ext_bytes: the source's extended header, which a
 * STREAM movie makes room for (its data_offset becomes 65536 or more). -EINVAL: zero or over-limit
 * sizes; -EOPNOTSUPP: the pixel type (STREAM: one without an MRC mode), or a row over MR_SLAB_BYTES
 * (CHUNKS), or odd-width U4 (STREAM, CHUNKS); err says which. */
int mr_geometry_frames(enum mr_layout layout, enum mr_pixel source_pixel, bool swap_bytes,
                       uint64_t width, uint64_t height, uint64_t source_data_offset,
                       uint64_t ext_bytes, struct mr_geometry *ret, struct mr_err *err) MR_MUST_USE;

bool mr_geometry_equal(const struct mr_geometry *a, const struct mr_geometry *b);

/* Checks a geometry that came from a peer: every derived field must be what mr_geometry_* would
 * make (data_offset of STREAM: any multiple of MR_SLAB_ALIGN from 65536 to 64 MiB). -EPROTO. */
int mr_geometry_check(const struct mr_geometry *g, struct mr_err *err) MR_MUST_USE;

/* Saturates instead of wrapping: refuse a movie of more than MR_SLABS_MAX. */
uint64_t mr_slab_count(const struct mr_geometry *g, const struct mr_extent *extent);

/* Span of slab `index` in a movie of that extent. extent NULL: the movie is still growing without
 * limit, the span is that of a full slab. index must be < MR_SLABS_MAX, and < mr_slab_count when
 * extent is given (both asserted: check what a peer says before). */
void mr_slab_span(const struct mr_geometry *g, const struct mr_extent *extent, uint64_t index,
                  struct mr_span *ret);

/* Bytes of the file that slabs land in: BYTES source_bytes, STREAM data_offset + pixels. (CHUNKS:
 * 0, its size follows from the placements.) */
uint64_t mr_geometry_file_bytes(const struct mr_geometry *g, const struct mr_extent *extent);

/* What a slab costs of a lane's credit, in bytes: what libzmq holds of it, in whole MR_SLAB_ALIGN,
 * and one more for the header around it. (Landing buffers are bounded by their own pool.) */
static inline uint64_t mr_slab_cost(uint64_t wire_bytes)
{
    return (wire_bytes + 2 * MR_SLAB_ALIGN - 1) / MR_SLAB_ALIGN * MR_SLAB_ALIGN;
}
/* Of a full slab: a lane's smallest grant. */
#define MR_SLAB_COST_MAX (MR_SLAB_BYTES + MR_SLAB_ALIGN)

#endif
