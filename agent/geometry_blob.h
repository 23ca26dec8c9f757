/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A movie's geometry as the journal keeps it: fixed, little-endian, zeros at the end. Any thread.
 */
#ifndef MR_AGENT_GEOMETRY_BLOB_H
#define MR_AGENT_GEOMETRY_BLOB_H

#include "wire/slab.h"

#define MR_GEOMETRY_BLOB_BYTES 96

void mr_geometry_blob_encode(const struct mr_geometry *g, uint8_t ret[MR_GEOMETRY_BLOB_BYTES]);

/* False where it is not one of those, or describes no geometry (mr_geometry_check). */
bool mr_geometry_blob_decode(const void *data, size_t bytes, struct mr_geometry *ret);

#endif
