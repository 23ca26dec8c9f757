/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A movie file while the camera writes it. One table of operations per format; the four steps are
 * begin, add (frame by frame), finish (what is written when the exposure is over) and end (close).
 * Formats are pure in that they touch only their mr_sim_file.
 */
#ifndef MR_SIM_STACK_H
#define MR_SIM_STACK_H

#include "sim_file.h"
#include "sim_options.h"
#include "sim_specimen.h"

struct mr_sim_stack {
    const struct mr_sim_stack_ops *ops;
    const struct mr_sim_options *options; /* borrowed */
    struct mr_sim_file file;
    enum mr_pixel pixel;
    uint32_t frames; /* added so far */
    uint64_t pixel_crc;
    struct {
        uint64_t count;
        unsigned __int128 sum, squares;
        uint32_t min, max;
    } total;
    uint64_t frame_offset; /* TIFF: where the frame lies that has no directory yet */
    uint64_t link_offset;  /* TIFF: where that directory's offset goes */
};

struct mr_sim_stack_ops {
    const char *suffix; /* of the name, with its dot */
    int (*begin)(struct mr_sim_stack *s, struct mr_err *err);
    int (*before)(struct mr_sim_stack *s, struct mr_err *err); /* each frame's bytes */
    int (*after)(struct mr_sim_stack *s,
                 struct mr_err *err); /* them; s->frames counts it already */
    int (*finish)(struct mr_sim_stack *s, struct mr_err *err);
};

extern const struct mr_sim_stack_ops mr_sim_stack_mrc, mr_sim_stack_tiff;

const char *mr_sim_stack_suffix(enum mr_sim_format format);

/* Creates the file. Borrows options and path until the end. On failure nothing is left open. */
int mr_sim_stack_begin(struct mr_sim_stack *s, const struct mr_sim_options *options,
                       const char *path, struct mr_err *err) MR_MUST_USE;
int mr_sim_stack_add(struct mr_sim_stack *s, const struct mr_sim_frame *frame,
                     struct mr_err *err) MR_MUST_USE;
int mr_sim_stack_finish(struct mr_sim_stack *s, struct mr_err *err) MR_MUST_USE;
/* Closes; s->file.bytes, s->file.crc, s->frames and s->pixel_crc then tell what was written. */
int mr_sim_stack_end(struct mr_sim_stack *s, struct mr_err *err) MR_MUST_USE;

#endif
