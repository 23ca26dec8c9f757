/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HDF5 made over bytes that already lie in place. libhdf5 runs on a virtual file driver of ours
 * that keeps its metadata in memory and answers raw-data allocation with addresses where slabs lie,
 * so no pixel passes through it. The result is an image: pieces of metadata and where they go; the
 * caller writes them. Nothing here touches a file. Called on one thread at a time (libhdf5 has one
 * lock).
 */
#ifndef MR_SEAL_HDF5_H
#define MR_SEAL_HDF5_H

#include "wire/codec.h"
#include "wire/slab.h"

/* Where one slab lies in the part file. */
struct mr_chunk {
    uint64_t index;        /* slab */
    uint64_t offset;       /* in the file */
    uint64_t stored_bytes; /* as stored */
    bool filtered;         /* false: it did not shrink and lies there raw (filter mask) */
};

/* What is known of a movie besides its pixels; every pointer borrowed, NULL or 0/NaN where unknown.
 * Texts but the mdoc are left out (and named) when longer than 4096 bytes. dose_per_frame:
 * electrons per square angstrom; dose_rate: electrons per unbinned pixel and second. */
struct mr_movie_notes {
    const char *title;                 /* movie's name without extension */
    const char *movie_id;              /* ULID text */
    const char *source_path;           /* on the camera host */
    const char *host;                  /* agent's name */
    const char *start_time, *end_time; /* RFC 3339 */
    const char *pixel_digest;          /* 16 hex digits, CRC-64/XZ of the pixels */
    const char *mdoc;                  /* verbatim text */
    double pixel_size_angstrom, frame_time_s, voltage_kv, dose_per_frame, dose_rate;
    /* the source's own header and extended header, kept byte for byte */
    const uint8_t *source_header;
    size_t source_header_bytes;
};

struct mr_image_piece {
    uint64_t offset; /* in the file */
    uint8_t *data;   /* owned by the image */
    size_t bytes;
};

struct mr_image {
    struct mr_image_piece *pieces; /* ascending, not overlapping; offsets multiples of 4096 but for
                                      the 1024 of a contiguous one */
    size_t count;
    uint64_t file_bytes; /* size the finished file is to have */
    char left_out[256];  /* comma-separated names of notes that had no room; "" when all are in */
};
void mr_image_free(struct mr_image *image); /* frees what is inside; a zeroed image is allowed */

/* Bytes at the start of a CHUNKS part file that slabs must leave free (superblock and first
 * metadata). */
#define MR_SEAL_HDF5_RESERVED 4096u

/* Errors of both: -EINVAL (slabs missing, twice, or lying where none may), -ENOSPC (contiguous: not
 * even the bare tree fits), -ENOMEM, -EIO (libhdf5's complaint). ret is owned by the caller. */

/* CHUNKS: chunked dataset with filter 32008. chunks: one per slab in any order, count =
 * mr_slab_count; data_end: first byte behind the last slab (metadata that does not fit the reserved
 * start goes there). */
int mr_seal_hdf5_chunked(const struct mr_geometry *g, const struct mr_extent *extent,
                         enum mr_codec_id codec, const struct mr_chunk *chunks, size_t count,
                         uint64_t data_end, const struct mr_movie_notes *notes,
                         struct mr_image *ret, struct mr_err *err) MR_MUST_USE;

/* STREAM: contiguous dataset over the pixels at g->data_offset, all metadata between 1024 and there
 * (user block 1024 left to the MRC header). Notes that do not fit are left out and named.
 * U4: readers know no 4-bit type, so the dataset is of bytes, (frames, height, width / 2), with the
 * attribute packing = "uint4, low nibble first" and without dim3. */
int mr_seal_hdf5_contiguous(const struct mr_geometry *g, const struct mr_extent *extent,
                            const struct mr_movie_notes *notes, struct mr_image *ret,
                            struct mr_err *err) MR_MUST_USE;

#endif
