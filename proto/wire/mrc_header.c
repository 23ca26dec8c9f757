/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MRC2014 header, both ways. Reads no file and no extended header; whether a movie is complete
 * is source_mrc's question. Offsets are those of ccpem.ac.uk/mrc_format.
 */
#include "wire/mrc_header.h"

#include "wire/slab.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define NSYMBT_MAX       (256 * 1024 * 1024)
#define IMOD_STAMP       1146047817 /* "IMOD" */
#define IMOD_4BIT_BYTES  16         /* flag bit 4: half NX, two pixels a byte */
#define AT_STATS         76
#define AT_EXTTYP        104
#define AT_IMOD          152
#define AT_MAP           208
#define AT_MACHST        212
#define AT_NLABL         220
#define AT_LABELS        224
#define LABEL_BYTES      80
#define NVERSION_MRC2014 20140

static uint32_t get_u32(const uint8_t *header, bool big_endian, size_t at)
{
    const uint8_t *p = header + at;
    if (big_endian)
        return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static int32_t get_i32(const uint8_t *header, bool big_endian, size_t at)
{
    return (int32_t)get_u32(header, big_endian, at);
}

static float get_f32(const uint8_t *header, bool big_endian, size_t at)
{
    uint32_t bits = get_u32(header, big_endian, at);
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void put_u32(uint8_t *header, size_t at, uint32_t value)
{
    for (size_t i = 0; i < 4; i++)
        header[at + i] = (uint8_t)(value >> (8 * i));
}

static void put_f32(uint8_t *header, size_t at, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    put_u32(header, at, bits);
}

bool mr_mrc_header_unset(const uint8_t header[MR_MRC_HEADER_BYTES])
{
    /* Mode 0 is a mode, so MODE tells nothing; zero is zero in either byte order. */
    return memcmp(header + AT_MAP, "MAP ", 4) != 0 || get_u32(header, false, 0) == 0 ||
           get_u32(header, false, 4) == 0;
}

/* MACHST: 44 44 as the standard says, 44 41 as CCP4 wrote; big-endian 11 11. The first byte
 * decides. */
static int find_byte_order(const uint8_t *header, bool *ret_big_endian, struct mr_err *err)
{
    uint8_t stamp = header[AT_MACHST];
    if (memcmp(header + AT_MAP, "MAP ", 4) != 0)
        return mr_err_set(err, -EPROTO, "not an MRC header: no \"MAP \" at byte %d", AT_MAP);
    if (stamp != 0x44 && stamp != 0x11) {
        return mr_err_set(err, -EPROTO, "not an MRC header: unknown machine stamp %02x %02x", stamp,
                          header[AT_MACHST + 1]);
    }
    *ret_big_endian = stamp == 0x11;
    return 0;
}

static int check_range(const char *field, int64_t value, int64_t min, int64_t max,
                       struct mr_err *err)
{
    if (value < min || value > max) {
        return mr_err_set(err, -ERANGE,
                          "MRC header: %s is %" PRId64 ", not within %" PRId64 "..%" PRId64, field,
                          value, min, max);
    }
    return 0;
}

static int check_sizes(const struct mr_mrc_header *h, struct mr_err *err)
{
    int code = check_range("NX", h->nx, 1, h->imod_packed4 ? MR_WIDTH_MAX / 2 : MR_WIDTH_MAX, err);
    if (code == 0)
        code = check_range("NY", h->ny, 1, MR_HEIGHT_MAX, err);
    if (code == 0)
        code = check_range("NZ", h->nz, 0, INT32_MAX, err);
    if (code == 0)
        code = check_range("NSYMBT", h->nsymbt, 0, NSYMBT_MAX, err);
    return code;
}

static void read_exttyp(const uint8_t *header, char ret[5])
{
    for (size_t i = 0; i < 4; i++) {
        uint8_t c = header[AT_EXTTYP + i];
        ret[i] = c == 0 ? ' ' : c >= 32 && c < 127 ? (char)c : '?';
    }
    ret[4] = '\0';
    for (size_t i = 4; i > 0 && ret[i - 1] == ' '; i--)
        ret[i - 1] = '\0';
}

static void read_fields(const uint8_t *header, bool big, struct mr_mrc_header *h)
{
    h->big_endian = big;
    h->nx = get_i32(header, big, 0);
    h->ny = get_i32(header, big, 4);
    h->nz = get_i32(header, big, 8);
    h->mode = get_i32(header, big, 12);
    h->mx = get_i32(header, big, 28);
    h->my = get_i32(header, big, 32);
    h->mz = get_i32(header, big, 36);
    for (size_t i = 0; i < 3; i++)
        h->cella[i] = get_f32(header, big, 40 + 4 * i);
    h->dmin = get_f32(header, big, AT_STATS);
    h->dmax = get_f32(header, big, AT_STATS + 4);
    h->dmean = get_f32(header, big, AT_STATS + 8);
    h->ispg = get_i32(header, big, 88);
    h->nsymbt = get_i32(header, big, 92);
    read_exttyp(header, h->exttyp);
    h->nversion = get_i32(header, big, 108);
    h->rms = get_f32(header, big, 216);
    h->imod_packed4 = h->mode == 0 && get_i32(header, big, AT_IMOD) == IMOD_STAMP &&
                      (get_i32(header, big, AT_IMOD + 4) & IMOD_4BIT_BYTES) != 0;
}

/* What follows from the fields. IMOD doubles MX and CELLA together, so the pixel size is of NX as
 * stored. */
static void derive(struct mr_mrc_header *h)
{
    h->pixel = h->imod_packed4 ? MR_PIXEL_U4 : mr_pixel_from_mrc_mode(h->mode);
    if (h->imod_packed4)
        h->nx *= 2;
    double size = h->mx > 0 ? (double)h->cella[0] / h->mx : 0;
    h->pixel_size_angstrom = isfinite(size) && size > 0 ? size : 0;
}

int mr_mrc_header_decode(const uint8_t header[MR_MRC_HEADER_BYTES], struct mr_mrc_header *ret,
                         struct mr_err *err)
{
    struct mr_mrc_header h = {0};
    bool big_endian = false;
    int code = find_byte_order(header, &big_endian, err);
    if (code != 0)
        return code;
    read_fields(header, big_endian, &h);
    code = check_sizes(&h, err);
    if (code != 0)
        return code;
    derive(&h);
    uint64_t frames_max = (uint64_t)(INT64_MAX - NSYMBT_MAX - 1024) /
                          (mr_mrc_frame_bytes(&h) ? mr_mrc_frame_bytes(&h) : 1);
    if ((uint64_t)h.nz > frames_max) {
        return mr_err_set(err, -ERANGE,
                          "MRC header: NX %d, NY %d, NZ %d, MODE %d make a file over 2^63 bytes",
                          h.nx, h.ny, h.nz, h.mode);
    }
    *ret = h;
    return 0;
}

uint64_t mr_mrc_data_offset(const struct mr_mrc_header *h)
{
    return MR_MRC_HEADER_BYTES + (uint64_t)h->nsymbt;
}

uint64_t mr_mrc_frame_bytes(const struct mr_mrc_header *h)
{
    if (h->pixel == MR_PIXEL_NONE)
        return 0;
    return mr_pixel_row_bytes(h->pixel, (uint64_t)h->nx) * (uint64_t)h->ny;
}

bool mr_mrc_stats_set(const struct mr_mrc_header *h)
{
    /* RMS stays out: several writers leave it 0 or -1 beside real minima and maxima. */
    bool zeros = h->dmin == 0 && h->dmax == 0 && h->dmean == 0;
    return isfinite(h->dmin) && isfinite(h->dmax) && isfinite(h->dmean) && !zeros &&
           h->dmin <= h->dmax && h->dmean >= h->dmin;
}

static void put_sizes(uint8_t *header, uint32_t width, uint32_t height, float pixel_size)
{
    put_u32(header, 28, width);
    put_u32(header, 32, height);
    put_u32(header, 36, 1); /* MZ 1, ISPG 0: a stack of images, not a volume */
    put_f32(header, 40, pixel_size * (float)width);
    put_f32(header, 44, pixel_size * (float)height);
    put_f32(header, 48, pixel_size);
    for (uint32_t axis = 0; axis < 3; axis++) {
        put_f32(header, 52 + 4 * axis, 90.0f);
        put_u32(header, 64 + 4 * axis, axis + 1);
    }
}

void mr_mrc_header_encode(enum mr_pixel pixel, uint64_t width, uint64_t height, uint64_t frames,
                          uint64_t data_offset, float pixel_size_angstrom,
                          const struct mr_stats_summary *stats, uint8_t ret[MR_MRC_HEADER_BYTES])
{
    assert(mr_pixel_mrc_mode(pixel) >= 0);
    assert(width <= MR_WIDTH_MAX && height <= MR_HEIGHT_MAX && frames <= INT32_MAX);
    assert(data_offset >= MR_MRC_HEADER_BYTES && data_offset <= INT32_MAX);
    memset(ret, 0, MR_MRC_HEADER_BYTES);
    put_u32(ret, 0, (uint32_t)width);
    put_u32(ret, 4, (uint32_t)height);
    put_u32(ret, 8, (uint32_t)frames);
    put_u32(ret, 12, (uint32_t)mr_pixel_mrc_mode(pixel));
    put_sizes(ret, (uint32_t)width, (uint32_t)height, pixel_size_angstrom);
    put_f32(ret, AT_STATS, stats->min);
    put_f32(ret, AT_STATS + 4, stats->max);
    put_f32(ret, AT_STATS + 8, stats->mean);
    put_f32(ret, 216, stats->rms);
    put_u32(ret, 92, (uint32_t)(data_offset - MR_MRC_HEADER_BYTES));
    memcpy(ret + AT_EXTTYP, "HDF5", 4);
    put_u32(ret, 108, NVERSION_MRC2014);
    memcpy(ret + AT_MAP, "MAP \x44\x44\0\0", 8);
    put_u32(ret, AT_NLABL, 1);
    static const char label[] = "Millrace " MILLRACE_VERSION;
    memset(ret + AT_LABELS, ' ', LABEL_BYTES);
    memcpy(ret + AT_LABELS, label, sizeof(label) - 1);
}
