/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A movie file while the camera writes it. One row per format, which --help is printed from, too;
 * the four steps are begin, add (frame by frame), finish (what is written when the exposure is
 * over) and end (close). Formats are pure in that they touch only their mr_sim_file.
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

#define MR_SIM_ALL_MODES        \
    {                           \
        0, 1, 2, 6, 12, 101, -1 \
    }

struct mr_sim_stack_ops {
    const char *name;   /* what --format calls it */
    const char *help;   /* what it is, in a few words; NULL: what its name says */
    const char *suffix; /* of the name, with its dot */
    int modes[8];       /* of MRC's, those it can hold; -1 behind the last */
    bool has_count;     /* its header says how many frames there are */
    bool has_pixels;    /* false: opaque bytes */
    bool may_be_empty;
    /* What else it cannot hold: -EINVAL, err says why. NULL: nothing. */
    int (*judge)(const struct mr_sim_options *o, uint64_t frame_bytes, struct mr_err *err);
    int (*begin)(struct mr_sim_stack *s, struct mr_err *err);
    int (*before)(struct mr_sim_stack *s, struct mr_err *err); /* each frame's bytes */
    int (*after)(struct mr_sim_stack *s,
                 struct mr_err *err); /* them; s->frames counts it already */
    int (*finish)(struct mr_sim_stack *s, struct mr_err *err);
};

/* Every format, a row each: X(name) is mr_sim_stack_<name>. The first is the default. */
#define MR_SIM_FORMATS(X) \
    X(mrc)                \
    X(tiff)               \
    X(raw)                \
    X(opaque)

#define MR_SIM_FORMAT(name) extern const struct mr_sim_stack_ops mr_sim_stack_##name;
MR_SIM_FORMATS(MR_SIM_FORMAT)
#undef MR_SIM_FORMAT

/* The nth of them, NULL behind the last. */
const struct mr_sim_stack_ops *mr_sim_stack_at(size_t index);

/* Creates the file. Borrows options and path until the end. On failure nothing is left open. */
int mr_sim_stack_begin(struct mr_sim_stack *s, const struct mr_sim_options *options,
                       const char *path, struct mr_err *err) MR_MUST_USE;
int mr_sim_stack_add(struct mr_sim_stack *s, const struct mr_sim_frame *frame,
                     struct mr_err *err) MR_MUST_USE;
int mr_sim_stack_finish(struct mr_sim_stack *s, struct mr_err *err) MR_MUST_USE;
/* Closes; s->file.bytes, s->file.crc, s->frames and s->pixel_crc then tell what was written. */
int mr_sim_stack_end(struct mr_sim_stack *s, struct mr_err *err) MR_MUST_USE;

#endif
