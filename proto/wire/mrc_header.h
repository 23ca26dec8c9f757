/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MRC2014 header (1024 bytes; ccpem.ac.uk/mrc_format). Decodes either byte order, encodes
 * little-endian. Decoding an untrusted header yields numbers and a verdict, never a crash.
 */
#ifndef MR_WIRE_MRC_HEADER_H
#define MR_WIRE_MRC_HEADER_H

#include "wire/stats.h"

#define MR_MRC_HEADER_BYTES 1024u

struct mr_mrc_header {
    bool big_endian;
    int32_t nx, ny, nz, mode; /* nx in pixels: doubled where imod_packed4 */
    int32_t mx, my, mz;
    float cella[3];
    int32_t ispg;
    int64_t nsymbt; /* bytes of the extended header */
    char exttyp[5]; /* NUL-terminated; "" where blank */
    int32_t nversion;
    float dmin, dmax, dmean, rms;
    bool imod_packed4;   /* imodStamp with flag bit 4: mode 0 holds two 4-bit pixels a byte */
    enum mr_pixel pixel; /* NONE: a mode we do not take apart */
    double pixel_size_angstrom; /* cella.x / mx, 0 where unknown (not finite, <= 0) */
};

/* True while the header is not yet there: NX or NY zero, or no "MAP " at 208 (a growing movie). */
bool mr_mrc_header_unset(const uint8_t header[MR_MRC_HEADER_BYTES]);

/* -EPROTO: not an MRC header (no "MAP ", unknown MACHST); -ERANGE: absurd sizes (nx, ny < 1 or over
 * MR_WIDTH_MAX / MR_HEIGHT_MAX, nz < 0, nsymbt < 0 or over 256 MiB, sizes that overflow); err names
 * the field and its value. nz == 0 is allowed (not known yet). */
int mr_mrc_header_decode(const uint8_t header[MR_MRC_HEADER_BYTES], struct mr_mrc_header *ret,
                         struct mr_err *err) MR_MUST_USE;

uint64_t mr_mrc_data_offset(const struct mr_mrc_header *h); /* 1024 + nsymbt */
uint64_t mr_mrc_frame_bytes(const struct mr_mrc_header *h); /* 0 where pixel is NONE */
bool mr_mrc_stats_set(const struct mr_mrc_header *h); /* real values, not zeros and not "unknown" */

/* A finished movie's header: NZ frames, ISPG 0, MZ 1, EXTTYP "HDF5", NVERSION
 * 20140, MACHST 44 44, statistics, one label "Millrace <version>", NSYMBT data_offset - 1024. */
void mr_mrc_header_encode(enum mr_pixel pixel, uint64_t width, uint64_t height, uint64_t frames,
                          uint64_t data_offset, float pixel_size_angstrom,
                          const struct mr_stats_summary *stats, uint8_t ret[MR_MRC_HEADER_BYTES]);

#endif
