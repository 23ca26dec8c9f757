/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual file driver for libhdf5 over a file that is not open: metadata is kept in memory, in
 * "rooms" of the file that are free of pixels, and raw data is "allocated" where it already lies.
 * No call here touches a file. One thread at a time.
 *
 * libhdf5's ids travel as int64_t (what hid_t is), so that its header stays in two files.
 */
#ifndef MR_PLACED_DRIVER_H
#define MR_PLACED_DRIVER_H

#include "seal_hdf5.h"

struct mr_placed;

/* first: where metadata goes, bytes [from, to) of the file; overflow: from where on it goes when
 * there is no room left (>= to). -ENOMEM. Returns owned. */
int mr_placed_new(uint64_t from, uint64_t to, uint64_t overflow,
                  struct mr_placed **ret) MR_MUST_USE;
/* NULL allowed; only after the HDF5 file is closed */
void mr_placed_free(struct mr_placed *placed);

/* A file access property list that opens files on this driver; caller closes it. placed is borrowed
 * until the file is closed. Negative: libhdf5's error stack says why. */
int64_t mr_placed_access(struct mr_placed *placed);

/* The file reaches to `end` at least. To be called once the HDF5 file is created, not before: an
 * end other than 0 makes libhdf5 look for a superblock to read. */
void mr_placed_reach(struct mr_placed *placed, uint64_t end);

/* The next raw data that libhdf5 asks room for lies at offset already. Its bytes are never
 * stored. */
void mr_placed_next(struct mr_placed *placed, uint64_t offset, uint64_t bytes);

bool mr_placed_overflowed(const struct mr_placed *placed); /* the first room was too small */

/* Takes the metadata out as an image (one piece a room used). Only after the file is closed.
 * -ENOMEM. */
int mr_placed_take(struct mr_placed *placed, struct mr_image *ret) MR_MUST_USE;

#endif
