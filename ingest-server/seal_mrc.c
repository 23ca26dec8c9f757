/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joins the MRC header and the HDF5 description of one movie into the bytes in front of its pixels.
 * HDF5 looks for its superblock at 1024, where MRC's extended header (EXTTYP "HDF5") begins; so one
 * is the other's user block. What is in the header is mrc_header's, what is in the tree
 * seal_hdf5's.
 */
#include "seal_mrc.h"

#include "wire/mrc_header.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void copy_pieces(const struct mr_image *from, uint8_t *to, uint64_t to_bytes)
{
    for (size_t i = 0; i < from->count; i++) {
        const struct mr_image_piece *piece = &from->pieces[i];
        assert(piece->offset >= MR_MRC_HEADER_BYTES && piece->bytes <= to_bytes - piece->offset);
        memcpy(to + piece->offset, piece->data, piece->bytes);
    }
}

int mr_seal_mrc(const struct mr_geometry *g, const struct mr_extent *extent,
                const struct mr_stats_summary *stats, const struct mr_movie_notes *notes,
                struct mr_image *ret, struct mr_err *err)
{
    MR_CLEANUP(mr_image_free) struct mr_image hdf5 = {0};
    int code = mr_seal_hdf5_contiguous(g, extent, notes, &hdf5, err);
    if (code != 0)
        return code;
    uint8_t *start = calloc(1, g->data_offset);
    struct mr_image_piece *piece = calloc(1, sizeof(*piece));
    if (!start || !piece) {
        free(start);
        free(piece);
        return mr_err_set(err, -ENOMEM, "no memory for the start of an MRC file");
    }
    double size = notes->pixel_size_angstrom;
    mr_mrc_header_encode(g->pixel, g->width, g->height, extent->frames, g->data_offset,
                         isfinite(size) && size > 0 ? (float)size : 0, stats, start);
    copy_pieces(&hdf5, start, g->data_offset);
    *piece = (struct mr_image_piece){.data = start, .bytes = g->data_offset};
    *ret = (struct mr_image){.pieces = piece, .count = 1, .file_bytes = hdf5.file_bytes};
    memcpy(ret->left_out, hdf5.left_out, sizeof(ret->left_out));
    return 0;
}
