/* SPDX-License-Identifier: Apache-2.0 */
/* The table of pixel types. Does not touch pixels: see stats.c for their values. */
#include "wire/pixel.h"

#include <assert.h>

static const struct {
    const char *name; /* as numpy calls it, but for uint4 */
    uint32_t bytes;
    int mrc_mode; /* MRC2014; -1: none. u8 has none: mode 0 is signed (200 reads as -56) */
} pixels[MR_PIXEL_COUNT] = {
    [MR_PIXEL_NONE] = {"none", 1, -1},  [MR_PIXEL_I8] = {"int8", 1, 0},
    [MR_PIXEL_U8] = {"uint8", 1, -1},   [MR_PIXEL_I16] = {"int16", 2, 1},
    [MR_PIXEL_U16] = {"uint16", 2, 6},  [MR_PIXEL_F16] = {"float16", 2, 12},
    [MR_PIXEL_F32] = {"float32", 4, 2}, [MR_PIXEL_U4] = {"uint4", 1, 101},
};

bool mr_pixel_valid(unsigned value)
{
    return value < MR_PIXEL_COUNT;
}

const char *mr_pixel_name(enum mr_pixel pixel)
{
    assert(mr_pixel_valid(pixel));
    return pixels[pixel].name;
}

uint32_t mr_pixel_bytes(enum mr_pixel pixel)
{
    assert(mr_pixel_valid(pixel));
    return pixels[pixel].bytes;
}

uint64_t mr_pixel_row_bytes(enum mr_pixel pixel, uint64_t width)
{
    if (pixel == MR_PIXEL_U4)
        return width / 2 + width % 2;
    return width * mr_pixel_bytes(pixel);
}

int mr_pixel_mrc_mode(enum mr_pixel pixel)
{
    assert(mr_pixel_valid(pixel));
    return pixels[pixel].mrc_mode;
}

enum mr_pixel mr_pixel_from_mrc_mode(int mode)
{
    for (unsigned i = MR_PIXEL_NONE + 1; i < MR_PIXEL_COUNT; i++)
        if (mode >= 0 && pixels[i].mrc_mode == mode)
            return (enum mr_pixel)i;
    return MR_PIXEL_NONE;
}
