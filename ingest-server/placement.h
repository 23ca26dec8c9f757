/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A movie's placement journal is one recordlog per movie and part generation. Its records:
 *
 * - OPEN: what the movie is (the OPEN message, hex), its part's directory and generation; the first
 * - SLAB: slab n lies at this offset, durable: appended only after the fdatasync that covers it
 * - SEALED: final name, inode, digests and the whole event: from here the commit is only repeated
 *
 * The text of SLAB records is here, of the other two in dossier. Pure; any thread. Who writes when
 * is slipway's and flotilla's (OPEN), strip's and carry's (SLAB), and commit's affair (SEALED).
 */
#ifndef MR_PLACEMENT_H
#define MR_PLACEMENT_H

#include "base/ulid.h"
#include "wire/codec.h"
#include "wire/stats.h"

/* A SLAB record */
struct mr_placement {
    uint64_t slab;
    uint64_t offset;              /* in the part file */
    uint32_t stored_bytes;        /* there */
    uint32_t raw_bytes;           /* uncompressed, padding included */
    enum mr_codec_id codec;       /* as stored: always NONE for BYTES and STREAM */
    uint64_t crc_stored, crc_raw; /* CRC-64/XZ */
    uint32_t pixel_bytes;
    uint64_t crc_pixels; /* of the pixel part, little-endian */
    struct mr_stats stats;
};

#define MR_PLACEMENT_TEXT       512          /* bytes enough for one SLAB record's text */
#define MR_PLACEMENT_OFFSET_MAX (1ull << 62) /* so that an offset's end is an off_t too */

/* -EPROTO unless every value is in range; only such a placement may be formatted. Statistics come
 * from a peer: a journal must not hold what cannot be read back. */
int mr_placement_check(const struct mr_placement *p) MR_MUST_USE;

/* SLAB record's text ("SLAB 17 69206016 ...") into ret (MR_PLACEMENT_TEXT); returns its length. */
size_t mr_placement_format(const struct mr_placement *p, char *ret);
/* -EPROTO unless text is a whole SLAB record with values in range. */
int mr_placement_parse(const char *text, struct mr_placement *ret) MR_MUST_USE;

/* Which of the three a record is. */
enum mr_placement_kind { MR_RECORD_OPEN, MR_RECORD_SLAB, MR_RECORD_SEALED, MR_RECORD_UNKNOWN };
enum mr_placement_kind mr_placement_kind(const char *text);

#endif
