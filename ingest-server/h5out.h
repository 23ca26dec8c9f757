/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HDF5 file being written on the placed driver: groups, attributes, small datasets, and the one
 * dataset whose pixels lie in place. Like mr_writer it fails once and for good: after a failure
 * every call does nothing, and mr_h5out_close reports the first cause. One thread at a time.
 *
 * A handle (int64_t) names a group or dataset; it is good until the close and is never released.
 * Texts are stored with fixed length (HyperSpy ignores a file whose marks are of variable length).
 */
#ifndef MR_H5OUT_H
#define MR_H5OUT_H

#include "placed_driver.h"

struct mr_h5out;

/* Switches libhdf5's plugin loading off for the process, and its messages off for the thread.
 * placed: borrowed until the close. user_block: bytes in front of the superblock, 0 or a power of
 * two from 512. reach: the file's end is there or later. Returns owned. -ENOMEM, -EIO. */
int mr_h5out_create(struct mr_placed *placed, uint64_t user_block, uint64_t reach,
                    struct mr_h5out **ret, struct mr_err *err) MR_MUST_USE;
/* Finishes the metadata and frees out. -EIO with libhdf5's first complaint in err. */
int mr_h5out_close(struct mr_h5out *out, struct mr_err *err) MR_MUST_USE;

int64_t mr_h5out_root(struct mr_h5out *out);
/* nx_class NULL: no NX_class. */
int64_t mr_h5out_group(struct mr_h5out *out, int64_t at, const char *name, const char *nx_class);
/* A soft link. */
void mr_h5out_link(struct mr_h5out *out, int64_t at, const char *name, const char *target);

void mr_h5out_attr_text(struct mr_h5out *out, int64_t at, const char *name, const char *value);
void mr_h5out_attr_texts(struct mr_h5out *out, int64_t at, const char *name,
                         const char *const *values, size_t count);
void mr_h5out_attr_i64(struct mr_h5out *out, int64_t at, const char *name, int64_t value);
void mr_h5out_attr_f64(struct mr_h5out *out, int64_t at, const char *name, double value);
void mr_h5out_attr_bool(struct mr_h5out *out, int64_t at, const char *name, bool value);

int64_t mr_h5out_text(struct mr_h5out *out, int64_t at, const char *name, const char *text);
int64_t mr_h5out_i64(struct mr_h5out *out, int64_t at, const char *name, int64_t value);
int64_t mr_h5out_f64(struct mr_h5out *out, int64_t at, const char *name, double value);
int64_t mr_h5out_bytes(struct mr_h5out *out, int64_t at, const char *name, const uint8_t *data,
                       size_t bytes);
int64_t mr_h5out_f64_array(struct mr_h5out *out, int64_t at, const char *name, const double *data,
                           size_t count);
int64_t mr_h5out_f32_array(struct mr_h5out *out, int64_t at, const char *name, const float *data,
                           size_t count);
/* count times the same value, which takes no room: the fill value of data never written. */
int64_t mr_h5out_constant(struct mr_h5out *out, int64_t at, const char *name, double value,
                          uint64_t count);

/* Contiguous pixels that lie at offset. */
int64_t mr_h5out_stream(struct mr_h5out *out, int64_t at, const char *name, enum mr_pixel pixel,
                        const uint64_t dims[3], uint64_t offset, uint64_t bytes);

/* Chunked pixels: dims of the dataset, size of a chunk; filter 32008 unless codec is NONE. A
 * dataset shorter than its chunk may grow, since libhdf5 allows it no other way. */
int64_t mr_h5out_chunked(struct mr_h5out *out, int64_t at, const char *name, enum mr_pixel pixel,
                         const uint64_t dims[3], const uint64_t size[3], enum mr_codec_id codec);
/* One chunk of it, first pixel at `at`, lying at chunk->offset. filtered counts only with a
 * codec. */
void mr_h5out_chunk(struct mr_h5out *out, int64_t dataset, const uint64_t at[3],
                    const struct mr_chunk *chunk);

const char *mr_h5out_library(void); /* "hdf5 1.10.8" */

#endif
