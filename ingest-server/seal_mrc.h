/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The start of a bilingual movie: MRC2014 header and, as its extended header, HDF5 over the same
 * pixels. Pure: nothing here touches a file.
 */
#ifndef MR_SEAL_MRC_H
#define MR_SEAL_MRC_H

#include "seal_hdf5.h"
#include "wire/stats.h"

/* STREAM: one piece, bytes [0, g->data_offset) of the finished file, gaps zero; file_bytes is the
 * finished size; left_out as from mr_seal_hdf5_contiguous, whose errors these are. Returns owned.
 */
int mr_seal_mrc(const struct mr_geometry *g, const struct mr_extent *extent,
                const struct mr_stats_summary *stats, const struct mr_movie_notes *notes,
                struct mr_image *ret, struct mr_err *err) MR_MUST_USE;

#endif
