/* SPDX-License-Identifier: Apache-2.0 */
/* What all movie files have in common, and the two formats that are nothing but frames: raw and
 * opaque. Knows no time and no exposure. */
#include "sim_stack.h"

#include "base/crc64.h"

static int nothing(struct mr_sim_stack *s, struct mr_err *err)
{
    (void)s;
    (void)err;
    return 0;
}

const struct mr_sim_stack_ops mr_sim_stack_raw = {.name = "raw",
                                                  .help = "frames without header",
                                                  .suffix = ".raw",
                                                  .modes = MR_SIM_ALL_MODES,
                                                  .has_pixels = true,
                                                  .may_be_empty = true,
                                                  .begin = nothing,
                                                  .before = nothing,
                                                  .after = nothing,
                                                  .finish = nothing};

const struct mr_sim_stack_ops mr_sim_stack_opaque = {.name = "file",
                                                     .help = "opaque bytes",
                                                     .suffix = ".bin",
                                                     .modes = MR_SIM_ALL_MODES,
                                                     .may_be_empty = true,
                                                     .begin = nothing,
                                                     .before = nothing,
                                                     .after = nothing,
                                                     .finish = nothing};

const struct mr_sim_stack_ops *mr_sim_stack_at(size_t index)
{
#define ROW(name) &mr_sim_stack_##name,
    static const struct mr_sim_stack_ops *const formats[] = {MR_SIM_FORMATS(ROW) NULL};
    return formats[index];
}

int mr_sim_stack_begin(struct mr_sim_stack *s, const struct mr_sim_options *options,
                       const char *path, struct mr_err *err)
{
    *s = (struct mr_sim_stack){.ops = options->format, .options = options};
    s->pixel = mr_pixel_from_mrc_mode(options->mode);
    s->total.min = UINT32_MAX;
    int r = mr_sim_file_create(&s->file, path, err);
    if (r < 0)
        return r;
    r = s->ops->begin(s, err);
    if (r < 0)
        mr_sim_file_abandon(&s->file);
    return r;
}

static void count(struct mr_sim_stack *s, const struct mr_sim_sums *sums)
{
    s->total.count += sums->count;
    s->total.sum += sums->sum;
    s->total.squares += sums->squares;
    s->total.min = sums->min < s->total.min ? sums->min : s->total.min;
    s->total.max = sums->max > s->total.max ? sums->max : s->total.max;
}

static int append_piece(struct mr_sim_stack *s, const void *data, size_t bytes, struct mr_err *err)
{
    uint64_t crc = 0;
    int r = mr_sim_file_append(&s->file, data, bytes, &crc, err);
    s->pixel_crc = mr_crc64_combine(s->pixel_crc, crc, bytes);
    return r;
}

int mr_sim_stack_add(struct mr_sim_stack *s, const struct mr_sim_frame *frame, struct mr_err *err)
{
    int r = s->ops->before(s, err);
    for (int i = 0; r == 0 && i < 2; i++)
        r = append_piece(s, frame->piece[i].data, frame->piece[i].bytes, err);
    if (r < 0)
        return r;
    if (frame->sums != NULL)
        count(s, frame->sums);
    s->frames++;
    return s->ops->after(s, err);
}

int mr_sim_stack_finish(struct mr_sim_stack *s, struct mr_err *err)
{
    return s->ops->finish(s, err);
}

int mr_sim_stack_end(struct mr_sim_stack *s, struct mr_err *err)
{
    return mr_sim_file_close(&s->file, err);
}
