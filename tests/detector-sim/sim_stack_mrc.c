/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An MRC movie as SerialEM's plugin grows it: the first 1024 bytes are a hole until frame 0 is
 * there, then a header with the expected NZ and no statistics, and the right header last. Written
 * from the MRC2014 page and on purpose without wire/mrc_header, whose judge it is in the tests.
 */
#include "sim_stack.h"

#include "base/bytes.h"

#include <math.h>
#include <string.h>

#define HEADER_BYTES 1024
#define IMOD_STAMP   1146047817u

static void write_f32(struct mr_writer *w, double value)
{
    float f = (float)value;
    uint32_t bits = 0;
    memcpy(&bits, &f, sizeof(bits));
    mr_write_u32(w, bits);
}

static void write_statistics(const struct mr_sim_stack *s, struct mr_writer *at76,
                             struct mr_writer *at216)
{
    double count = (double)s->total.count;
    double mean = (double)s->total.sum / count;
    double variance = (double)s->total.squares / count - mean * mean;
    write_f32(at76, s->total.min);
    write_f32(at76, s->total.max);
    write_f32(at76, mean);
    write_f32(at216, variance > 0.0 ? sqrt(variance) : 0.0);
}

static void write_geometry(const struct mr_sim_stack *s, uint32_t nz, struct mr_writer *w)
{
    const struct mr_sim_options *o = s->options;
    uint32_t size[3] = {o->nx, o->ny, nz}, axes[3] = {1, 2, 3};
    for (int i = 0; i < 3; i++)
        mr_write_u32(w, size[i]);
    mr_write_u32(w, (uint32_t)o->mode);
    w->at = 28;
    for (int i = 0; i < 3; i++)
        mr_write_u32(w, size[i]);
    for (int i = 0; i < 3; i++)
        write_f32(w, o->pixel_size * size[i]);
    for (int i = 0; i < 3; i++)
        write_f32(w, 90.0);
    for (int i = 0; i < 3; i++)
        mr_write_u32(w, axes[i]);
}

static int put_header(struct mr_sim_stack *s, uint32_t nz, bool statistics, struct mr_err *err)
{
    static const char label[] = "SerialEMCCD: counted frames by millrace-sim";
    uint8_t header[HEADER_BYTES] = {0};
    struct mr_writer w = mr_writer_init(header, sizeof(header)), at76 = w, at216 = w;
    write_geometry(s, nz, &w);
    at76.at = 76;
    at216.at = 216;
    if (statistics)
        write_statistics(s, &at76, &at216);
    w.at = 108;
    mr_write_u32(&w, 20140);
    w.at = 152;
    mr_write_u32(&w, IMOD_STAMP);
    mr_write_u32(&w, s->options->mode == 0 ? 1 : 0); /* imodFlags bit 0: bytes are signed */
    w.at = 208;
    mr_write_raw(&w, "MAP DA\0\0", 8); /* the machine stamp as IMOD writes it */
    w.at = 220;
    mr_write_u32(&w, 1);
    memset(header + 224, ' ', 80);
    memcpy(header + 224, label, sizeof(label) - 1);
    return mr_sim_file_patch(&s->file, 0, header, sizeof(header), err);
}

static int begin(struct mr_sim_stack *s, struct mr_err *err)
{
    (void)err;
    mr_sim_file_skip(&s->file, HEADER_BYTES);
    return 0;
}

static int before(struct mr_sim_stack *s, struct mr_err *err)
{
    (void)s;
    (void)err;
    return 0;
}

static int after(struct mr_sim_stack *s, struct mr_err *err)
{
    uint32_t expected = s->options->nz_late ? 0 : s->options->frames;
    return s->frames == 1 ? put_header(s, expected, false, err) : 0;
}

static int finish(struct mr_sim_stack *s, struct mr_err *err)
{
    return put_header(s, s->frames, s->total.count > 0, err);
}

const struct mr_sim_stack_ops mr_sim_stack_mrc = {.name = "mrc",
                                                  .suffix = ".mrc",
                                                  .modes = MR_SIM_ALL_MODES,
                                                  .has_count = true,
                                                  .has_pixels = true,
                                                  .begin = begin,
                                                  .before = before,
                                                  .after = after,
                                                  .finish = finish};
