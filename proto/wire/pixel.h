/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pixel types. "Bytes of n pixels" is asked here because 4-bit pixels pack two to a byte (left
 * pixel in the low nibble; a row of odd width ends in a padding nibble, as IMOD writes it).
 */
#ifndef MR_WIRE_PIXEL_H
#define MR_WIRE_PIXEL_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Values travel on the wire: never renumber */
enum mr_pixel {
    MR_PIXEL_NONE = 0,
    MR_PIXEL_I8 = 1,
    MR_PIXEL_U8 = 2,
    MR_PIXEL_I16 = 3,
    MR_PIXEL_U16 = 4,
    MR_PIXEL_F16 = 5,
    MR_PIXEL_F32 = 6,
    MR_PIXEL_U4 = 7, /* MRC mode 101 */
    MR_PIXEL_COUNT
};

/* The event's dtype: "int8", "uint16", "uint4" ... */
const char *mr_pixel_name(enum mr_pixel pixel);
bool mr_pixel_valid(unsigned value);          /* a value from the wire, MR_PIXEL_NONE included */
uint32_t mr_pixel_bytes(enum mr_pixel pixel); /* of one element as stored; 1 for U4 and NONE */
uint64_t mr_pixel_row_bytes(enum mr_pixel pixel, uint64_t width);

/* MRC mode of a type, or -1; type of an MRC mode, or MR_PIXEL_NONE (modes 3, 4 and unknown
 * ones). */
int mr_pixel_mrc_mode(enum mr_pixel pixel);
enum mr_pixel mr_pixel_from_mrc_mode(int mode);

#endif
