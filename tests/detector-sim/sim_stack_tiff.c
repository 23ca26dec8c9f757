/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A classic, uncompressed TIFF that grows as libtiff grows one: a frame's bytes, later its
 * directory, then the four bytes that make the directory reachable. The directory of frame i is
 * written when frame i + 1 begins or the exposure is over. One strip a frame, where libtiff makes
 * many; row 0 is the first stored.
 */
#include "sim_stack.h"

#include "base/bytes.h"

#include <errno.h>

#define ENTRIES         10
#define DIRECTORY_BYTES (2 + ENTRIES * 12 + 4)

enum { SHORT = 3, LONG = 4 };

static void entry(struct mr_writer *w, uint16_t tag, uint16_t type, uint32_t value)
{
    mr_write_u16(w, tag);
    mr_write_u16(w, type);
    mr_write_u32(w, 1);
    mr_write_u32(w, value); /* a SHORT lies in the low bytes: little-endian */
}

static uint32_t sample_format(enum mr_pixel pixel)
{
    if (pixel == MR_PIXEL_F32 || pixel == MR_PIXEL_F16)
        return 3;
    return pixel == MR_PIXEL_I16 ? 2 : 1; /* the cameras store counted bytes as unsigned */
}

/* The directory of the last frame goes to the file's end, on an even offset. */
static int put_directory(struct mr_sim_stack *s, struct mr_err *err)
{
    const struct mr_sim_options *o = s->options;
    uint8_t bytes[DIRECTORY_BYTES], link[4], zero = 0;
    uint32_t frame_bytes = (uint32_t)(s->file.bytes - s->frame_offset);
    int r = s->file.bytes % 2 == 0 ? 0 : mr_sim_file_append(&s->file, &zero, 1, NULL, err);
    uint32_t at = (uint32_t)s->file.bytes;
    struct mr_writer w = mr_writer_init(bytes, sizeof(bytes));
    mr_write_u16(&w, ENTRIES);
    entry(&w, 256, LONG, o->nx);
    entry(&w, 257, LONG, o->ny);
    entry(&w, 258, SHORT, mr_pixel_bytes(s->pixel) * 8);
    entry(&w, 259, SHORT, 1); /* no compression */
    entry(&w, 262, SHORT, 1); /* black is zero */
    entry(&w, 273, LONG, (uint32_t)s->frame_offset);
    entry(&w, 277, SHORT, 1);
    entry(&w, 278, LONG, o->ny);
    entry(&w, 279, LONG, frame_bytes);
    entry(&w, 339, SHORT, sample_format(s->pixel));
    mr_write_u32(&w, 0); /* no next directory yet */
    if (r == 0)
        r = mr_sim_file_append(&s->file, bytes, sizeof(bytes), NULL, err);
    struct mr_writer l = mr_writer_init(link, sizeof(link));
    mr_write_u32(&l, at);
    if (r == 0)
        r = mr_sim_file_patch(&s->file, s->link_offset, link, sizeof(link), err);
    s->link_offset = at + DIRECTORY_BYTES - 4;
    s->frame_offset = 0;
    return r;
}

static int begin(struct mr_sim_stack *s, struct mr_err *err)
{
    s->link_offset = 4;
    return mr_sim_file_append(&s->file, "II*\0\0\0\0\0", 8, NULL, err);
}

static int before(struct mr_sim_stack *s, struct mr_err *err)
{
    int r = s->frame_offset == 0 ? 0 : put_directory(s, err);
    s->frame_offset = s->file.bytes;
    return r;
}

static int after(struct mr_sim_stack *s, struct mr_err *err)
{
    (void)s;
    (void)err;
    return 0;
}

static int finish(struct mr_sim_stack *s, struct mr_err *err)
{
    return s->frame_offset == 0 ? 0 : put_directory(s, err);
}

/* Room for each frame's directory, and for what makes it lie on an even offset. */
static int judge(const struct mr_sim_options *o, uint64_t frame_bytes, struct mr_err *err)
{
    if ((frame_bytes + 256) * o->frames >= UINT32_MAX)
        return mr_err_set(err, -EINVAL, "a classic TIFF ends at 4 GiB: fewer --frames");
    return 0;
}

const struct mr_sim_stack_ops mr_sim_stack_tiff = {.name = "tiff",
                                                   .suffix = ".tif",
                                                   .modes = {0, 1, 2, 6, 12, -1},
                                                   .has_pixels = true,
                                                   .judge = judge,
                                                   .begin = begin,
                                                   .before = before,
                                                   .after = after,
                                                   .finish = finish};
