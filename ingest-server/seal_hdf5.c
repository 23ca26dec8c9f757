/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HDF5 description of a movie: NeXus tree, HyperSpy view, EMD mark, and the dataset over slabs
 * that already lie in the part file. It reads and writes no pixel and no file; what it makes is an
 * image for the caller to write. Same arguments, same bytes.
 */
#include "seal_hdf5.h"

#include "h5out.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define USER_BLOCK    1024u      /* the MRC header's place in a bilingual movie */
#define TEXT_MAX      4096u      /* longest note but the mdoc; PATH_MAX, so no path is lost */
#define AXIS_MAX      (1u << 20) /* longest axis written out: 8 MiB of memory */
#define LINK_NAME_MAX 255u

/* Notes that are left out where there is no room; the most important first. */
enum part { PART_HYPERSPY, PART_TIME_AXIS, PART_PLACE_AXES, PART_MDOC, PART_SOURCE_HEADER, PARTS };
static const char *const part_names[PARTS] = {"hyperspy view", "dim1", "dim2,dim3", "mdoc",
                                              "source_header"};

/* Of the pixel dataset */
struct axis {
    const char *dim, *name, *units;
    uint64_t size;
    double scale;
};

/* What one description is made from; everything borrowed. */
struct plan {
    const struct mr_geometry *geometry;
    const struct mr_extent *extent;
    const struct mr_movie_notes *notes;
    struct axis axes[3]; /* slowest first */
    bool has[PARTS];     /* to be written */
    char left_out[256];
    enum mr_codec_id codec;
    const struct mr_chunk *chunks; /* in the order of slabs; NULL for a stream */
    size_t chunk_count;
    uint64_t room_from, room_to, file_end; /* metadata goes there first, then behind file_end */
};

static void free_pointer(void *pointer)
{
    free(*(void **)pointer);
}

static bool known(const char *text)
{
    return text && *text && strlen(text) <= TEXT_MAX;
}

static bool known_number(double value)
{
    return isfinite(value) && value > 0;
}

static const char *title_of(const struct plan *plan)
{
    return known(plan->notes->title) ? plan->notes->title : "movie";
}

/* ---- the tree ---- */

static void put_note(struct mr_h5out *out, int64_t at, const char *name, const char *text)
{
    if (known(text))
        (void)mr_h5out_text(out, at, name, text);
}

static void put_number(struct mr_h5out *out, int64_t at, const char *name, double value,
                       const char *units)
{
    if (known_number(value))
        mr_h5out_attr_text(out, mr_h5out_f64(out, at, name, value), "units", units);
}

static int64_t put_pixels(struct mr_h5out *out, int64_t at, const struct plan *plan)
{
    const struct mr_geometry *g = plan->geometry;
    const uint64_t dims[3] = {plan->axes[0].size, plan->axes[1].size, plan->axes[2].size};
    if (!plan->chunks) {
        int64_t set = mr_h5out_stream(out, at, "data", g->pixel, dims, g->data_offset,
                                      g->frame_bytes * plan->extent->frames);
        if (g->pixel == MR_PIXEL_U4)
            mr_h5out_attr_text(out, set, "packing", "uint4, low nibble first");
        return set;
    }
    const uint64_t size[3] = {g->frames_per_slab, g->rows_per_slab, g->width};
    int64_t set = mr_h5out_chunked(out, at, "data", g->pixel, dims, size, plan->codec);
    for (size_t i = 0; i < plan->chunk_count; i++) {
        const struct mr_chunk *chunk = &plan->chunks[i];
        const uint64_t first[3] = {chunk->index / g->slabs_per_frame * g->frames_per_slab,
                                   chunk->index % g->slabs_per_frame * g->rows_per_slab, 0};
        mr_h5out_chunk(out, set, first, chunk);
    }
    return set;
}

static bool axis_written(const struct plan *plan, int i)
{
    if (plan->geometry->pixel == MR_PIXEL_U4 && i == 2)
        return false; /* its elements are pairs of pixels: no scale would be true */
    return plan->has[i == 0 ? PART_TIME_AXIS : PART_PLACE_AXES];
}

/* Times as doubles; places as floats, which is exact enough and fits a K3's beside an MRC
 * header. */
static int put_axis(struct mr_h5out *out, int64_t at, const struct axis *axis, bool as_float)
{
    size_t element = as_float ? sizeof(float) : sizeof(double);
    MR_CLEANUP(free_pointer) void *values = calloc(axis->size, element);
    if (!values)
        return -ENOMEM;
    for (uint64_t i = 0; i < axis->size; i++) {
        if (as_float)
            ((float *)values)[i] = (float)((double)i * axis->scale);
        else
            ((double *)values)[i] = (double)i * axis->scale;
    }
    int64_t set = as_float ? mr_h5out_f32_array(out, at, axis->dim, values, axis->size)
                           : mr_h5out_f64_array(out, at, axis->dim, values, axis->size);
    mr_h5out_attr_text(out, set, "name", axis->name);
    mr_h5out_attr_text(out, set, "units", axis->units);
    return 0;
}

static int put_data_group(struct mr_h5out *out, int64_t entry, const struct plan *plan)
{
    int64_t data = mr_h5out_group(out, entry, "data", "NXdata");
    const char *names[3];
    bool all = true;
    for (int i = 0; i < 3; i++) {
        bool written = axis_written(plan, i);
        names[i] = written ? plan->axes[i].dim : "."; /* NeXus: a dimension without an axis */
        all = all && written;
    }
    mr_h5out_attr_text(out, data, "signal", "data");
    mr_h5out_attr_texts(out, data, "axes", names, 3);
    mr_h5out_attr_text(out, data, "interpretation", "image");
    if (all) /* EMD readers want every dim */
        mr_h5out_attr_i64(out, data, "emd_group_type", 1);
    (void)put_pixels(out, data, plan);
    int code = 0;
    for (int i = 0; i < 3 && code == 0; i++)
        if (axis_written(plan, i))
            code = put_axis(out, data, &plan->axes[i], i > 0);
    return code;
}

static void put_instrument(struct mr_h5out *out, int64_t entry, const struct plan *plan)
{
    const struct mr_movie_notes *notes = plan->notes;
    bool beam_known = known_number(notes->voltage_kv) || known_number(notes->dose_per_frame) ||
                      known_number(notes->dose_rate);
    if (!beam_known && !known_number(notes->frame_time_s))
        return;
    int64_t instrument = mr_h5out_group(out, entry, "instrument", "NXinstrument");
    if (known_number(notes->frame_time_s)) {
        int64_t detector = mr_h5out_group(out, instrument, "detector", "NXdetector");
        int64_t set = mr_h5out_constant(out, detector, "frame_time", notes->frame_time_s,
                                        plan->extent->frames);
        mr_h5out_attr_text(out, set, "units", "s");
    }
    if (beam_known) {
        int64_t beam = mr_h5out_group(out, instrument, "beam", "NXbeam");
        put_number(out, beam, "voltage", notes->voltage_kv, "kV");
        put_number(out, beam, "dose_per_frame", notes->dose_per_frame, "1/angstrom^2");
        put_number(out, beam, "dose_rate", notes->dose_rate, "1/s");
    }
}

static void put_acquisition(struct mr_h5out *out, int64_t entry, const struct plan *plan)
{
    const struct mr_movie_notes *notes = plan->notes;
    int64_t group = mr_h5out_group(out, entry, "acquisition", "NXcollection");
    (void)mr_h5out_i64(out, group, "complete", 1); /* there is no description of a partial movie */
    put_note(out, group, "source_path", notes->source_path);
    put_note(out, group, "host", notes->host);
    if (known(notes->pixel_digest))
        mr_h5out_attr_text(out, mr_h5out_text(out, group, "digest", notes->pixel_digest),
                           "algorithm", "crc64-xz");
    if (plan->has[PART_MDOC])
        (void)mr_h5out_text(out, group, "mdoc", notes->mdoc);
    if (plan->has[PART_SOURCE_HEADER])
        (void)mr_h5out_bytes(out, group, "source_header", notes->source_header,
                             notes->source_header_bytes);
    if (plan->left_out[0])
        mr_h5out_attr_text(out, group, "left_out", plan->left_out);
}

static int put_entry(struct mr_h5out *out, const struct plan *plan)
{
    const struct mr_movie_notes *notes = plan->notes;
    int64_t entry = mr_h5out_group(out, mr_h5out_root(out), "entry", "NXentry");
    mr_h5out_attr_text(out, entry, "default", "data");
    (void)mr_h5out_text(out, entry, "title", title_of(plan));
    put_note(out, entry, "start_time", notes->start_time);
    put_note(out, entry, "end_time", notes->end_time);
    put_note(out, entry, "entry_identifier", notes->movie_id);
    (void)mr_h5out_text(out, entry, "program_name", "Millrace " MILLRACE_VERSION);
    int code = put_data_group(out, entry, plan);
    put_instrument(out, entry, plan);
    put_acquisition(out, entry, plan);
    return code;
}

/* The title as a link's name: no '/', not "." (HDF5's own group), not longer than a file name. */
static void link_name(const char *title, char ret[LINK_NAME_MAX + 1])
{
    size_t bytes = strnlen(title, LINK_NAME_MAX);
    while (bytes > 0 && title[bytes] != '\0' && ((unsigned char)title[bytes] & 0xC0) == 0x80)
        bytes--; /* not in the middle of a UTF-8 character */
    for (size_t i = 0; i < bytes; i++)
        ret[i] = title[i] == '/' ? '_' : title[i];
    ret[bytes] = '\0';
    if (strcmp(ret, ".") == 0)
        ret[0] = '_';
}

/* HyperSpy reads only this. Its data is a soft link: a hard one hides the dataset from EMD
 * readers. */
static void put_hyperspy(struct mr_h5out *out, const struct plan *plan)
{
    char name[LINK_NAME_MAX + 1];
    link_name(title_of(plan), name);
    int64_t all = mr_h5out_group(out, mr_h5out_root(out), "Experiments", NULL);
    int64_t view = mr_h5out_group(out, all, name, NULL);
    mr_h5out_link(out, view, "data", "/entry/data/data");
    for (int i = 0; i < 3; i++) {
        const struct axis *axis = &plan->axes[i];
        char axis_name[] = {'a', 'x', 'i', 's', '-', (char)('0' + i), '\0'};
        int64_t group = mr_h5out_group(out, view, axis_name, NULL);
        mr_h5out_attr_text(out, group, "name", axis->name);
        mr_h5out_attr_text(out, group, "units", axis->units);
        mr_h5out_attr_f64(out, group, "scale", axis->scale);
        mr_h5out_attr_f64(out, group, "offset", 0);
        mr_h5out_attr_i64(out, group, "size", (int64_t)axis->size);
        mr_h5out_attr_bool(out, group, "navigate", i == 0);
    }
    int64_t metadata = mr_h5out_group(out, view, "metadata", NULL);
    int64_t general = mr_h5out_group(out, metadata, "General", NULL);
    mr_h5out_attr_text(out, general, "title", title_of(plan));
    int64_t signal = mr_h5out_group(out, metadata, "Signal", NULL);
    mr_h5out_attr_text(out, signal, "signal_type", "");
    (void)mr_h5out_group(out, view, "original_metadata", NULL); /* it must be there */
}

static int put_tree(struct mr_h5out *out, const struct plan *plan)
{
    int64_t root = mr_h5out_root(out);
    mr_h5out_attr_text(out, root, "NX_class", "NXroot");
    mr_h5out_attr_text(out, root, "default", "entry");
    if (plan->has[PART_HYPERSPY]) {
        mr_h5out_attr_text(out, root, "file_format", "HyperSpy");
        mr_h5out_attr_text(out, root, "file_format_version", "3.1");
    }
    int code = put_entry(out, plan);
    if (plan->has[PART_HYPERSPY])
        put_hyperspy(out, plan);
    return code;
}

/* ---- what goes in ---- */

static void plan_axes(struct plan *plan)
{
    const struct mr_geometry *g = plan->geometry;
    double place = plan->notes->pixel_size_angstrom, time = plan->notes->frame_time_s;
    bool timed = known_number(time), scaled = known_number(place);
    const char *units = scaled ? "angstrom" : "px";
    plan->axes[0] = (struct axis){.dim = "dim1",
                                  .name = timed ? "time" : "frame",
                                  .units = timed ? "s" : "",
                                  .size = plan->extent->frames,
                                  .scale = timed ? time : 1};
    plan->axes[1] = (struct axis){"dim2", "y", units, g->height, scaled ? place : 1};
    plan->axes[2] = (struct axis){"dim3", "x", units, g->width, scaled ? place : 1};
    if (g->pixel == MR_PIXEL_U4)
        plan->axes[2] = (struct axis){"dim3", "x, two pixels a byte", "", g->width / 2, 1};
}

/* What there is to write, room aside. */
static void plan_parts(const struct plan *plan, bool ret[PARTS])
{
    const struct mr_movie_notes *notes = plan->notes;
    ret[PART_HYPERSPY] = true;
    ret[PART_TIME_AXIS] = true;
    ret[PART_PLACE_AXES] = true;
    ret[PART_MDOC] = notes->mdoc && *notes->mdoc;
    ret[PART_SOURCE_HEADER] = notes->source_header && notes->source_header_bytes > 0;
}

/* Whether a part's size allows a try at all: axes as long as a camera never had cost memory. */
static bool part_possible(const struct plan *plan, int part)
{
    uint64_t most = plan->chunks ? AXIS_MAX : plan->room_to / sizeof(float);
    if (most > AXIS_MAX)
        most = AXIS_MAX;
    if (part == PART_TIME_AXIS)
        return plan->axes[0].size <= most;
    if (part == PART_PLACE_AXES)
        return plan->axes[1].size <= most && plan->axes[2].size <= most;
    return true;
}

static void leave_out(struct plan *plan, const char *name)
{
    size_t used = strlen(plan->left_out), room = sizeof(plan->left_out) - used;
    snprintf(plan->left_out + used, room, "%s%s", used ? "," : "", name);
}

/* Names what is there but will not be written. */
static void name_left_out(struct plan *plan, const bool there[PARTS])
{
    const struct mr_movie_notes *notes = plan->notes;
    const struct {
        const char *name, *text;
    } texts[] = {{"title", notes->title},
                 {"source_path", notes->source_path},
                 {"host", notes->host},
                 {"entry_identifier", notes->movie_id},
                 {"start_time", notes->start_time},
                 {"end_time", notes->end_time},
                 {"digest", notes->pixel_digest}};
    plan->left_out[0] = '\0';
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (texts[i].text && strlen(texts[i].text) > TEXT_MAX)
            leave_out(plan, texts[i].name);
    for (int i = 0; i < PARTS; i++)
        if (there[i] && !plan->has[i])
            leave_out(plan, part_names[i]);
}

/* ---- making it ---- */

/* One description with the parts of the plan; *ret_overflowed: it did not fit in the first room. */
static int build(const struct plan *plan, struct mr_image *ret, bool *ret_overflowed,
                 struct mr_err *err)
{
    struct mr_placed *placed = NULL;
    struct mr_h5out *out = NULL;
    uint64_t user_block = plan->chunks ? 0 : USER_BLOCK;
    int code = mr_placed_new(plan->room_from, plan->room_to, plan->file_end, &placed);
    if (code == 0)
        code = mr_h5out_create(placed, user_block, plan->file_end, &out, err);
    if (code == 0) {
        int tree_code = put_tree(out, plan);
        code = mr_h5out_close(out, err);
        code = tree_code ? tree_code : code;
    }
    if (code == 0)
        code = mr_placed_take(placed, ret);
    if (code == 0) {
        *ret_overflowed = mr_placed_overflowed(placed);
        memcpy(ret->left_out, plan->left_out, sizeof(ret->left_out));
    }
    mr_placed_free(placed);
    return code == -ENOMEM ? mr_err_set(err, code, "no memory for the HDF5 description") : code;
}

/* Every part that is there and of possible size. */
static void take_all_parts(struct plan *plan, const bool there[PARTS])
{
    for (int part = 0; part < PARTS; part++)
        plan->has[part] = there[part] && part_possible(plan, part);
    name_left_out(plan, there);
}

/* As build, but what overflows is no result. */
static int build_within(const struct plan *plan, struct mr_image *ret, bool *ret_fits,
                        struct mr_err *err)
{
    struct mr_image image = {0};
    bool overflowed = false;
    int code = build(plan, &image, &overflowed, err);
    if (code != 0)
        return code;
    *ret_fits = !overflowed;
    if (overflowed)
        mr_image_free(&image);
    else
        *ret = image;
    return 0;
}

/* From the most important part on, each that fits beside those before it. A build takes about a
 * millisecond, and only libhdf5 knows how much room it needs: so it is tried. */
static int build_what_fits(struct plan *plan, const bool there[PARTS], struct mr_image *ret,
                           struct mr_err *err)
{
    struct mr_image best = {0};
    bool fits = false;
    memset(plan->has, 0, sizeof(plan->has));
    for (int part = -1; part < PARTS; part++) {
        if (part >= 0 && (!there[part] || !part_possible(plan, part)))
            continue;
        if (part >= 0)
            plan->has[part] = true;
        struct mr_image image = {0};
        name_left_out(plan, there);
        int code = build_within(plan, &image, &fits, err);
        if (code == 0 && !fits && part < 0)
            code = mr_err_set(err, -ENOSPC, "no room for HDF5 in front of the pixels at %" PRIu64,
                              plan->room_to);
        if (code != 0) {
            mr_image_free(&best);
            return code;
        }
        if (!fits) {
            plan->has[part] = false;
            continue;
        }
        mr_image_free(&best);
        best = image;
    }
    *ret = best;
    return 0;
}

int mr_seal_hdf5_contiguous(const struct mr_geometry *g, const struct mr_extent *extent,
                            const struct mr_movie_notes *notes, struct mr_image *ret,
                            struct mr_err *err)
{
    assert(g->layout == MR_LAYOUT_STREAM);
    if (extent->frames == 0)
        return mr_err_set(err, -EINVAL, "a movie without frames");
    uint64_t file_end = mr_geometry_file_bytes(g, extent); /* saturates */
    if (file_end > INT64_MAX - MR_SLAB_ALIGN)
        return mr_err_set(err, -EINVAL, "%" PRIu64 " frames are more than a file holds",
                          extent->frames);
    struct plan plan = {.geometry = g,
                        .extent = extent,
                        .notes = notes,
                        .room_from = USER_BLOCK,
                        .room_to = g->data_offset,
                        .file_end = file_end};
    bool there[PARTS], fits = false;
    plan_axes(&plan);
    plan_parts(&plan, there);
    take_all_parts(&plan, there);
    int code = build_within(&plan, ret, &fits, err);
    if (code != 0 || fits)
        return code;
    return build_what_fits(&plan, there, ret, err);
}

static int by_index(const void *a, const void *b)
{
    uint64_t left = ((const struct mr_chunk *)a)->index,
             right = ((const struct mr_chunk *)b)->index;
    return (left > right) - (left < right);
}

/* Placements come from a journal: what is wrong with them is damage, not a bug. Sorted by index. */
static int check_chunks(const struct plan *plan, uint64_t data_end, struct mr_err *err)
{
    const struct mr_geometry *g = plan->geometry;
    uint64_t full = g->width * mr_pixel_bytes(g->pixel) * g->rows_per_slab * g->frames_per_slab;
    for (size_t i = 0; i < plan->chunk_count; i++) {
        const struct mr_chunk *chunk = &plan->chunks[i];
        bool raw = plan->codec == MR_CODEC_NONE || !chunk->filtered;
        if (chunk->index != i)
            return mr_err_set(err, -EINVAL, "slab %zu is missing or there twice", i);
        if (chunk->offset < MR_SEAL_HDF5_RESERVED || chunk->offset > data_end ||
            chunk->stored_bytes > data_end - chunk->offset)
            return mr_err_set(err, -EINVAL, "slab %zu lies at %" PRIu64 ", outside the data", i,
                              chunk->offset);
        if (chunk->stored_bytes == 0 || chunk->stored_bytes > UINT32_MAX ||
            (raw && chunk->stored_bytes != full))
            return mr_err_set(err, -EINVAL, "slab %zu of %" PRIu64 " stored bytes, not %" PRIu64, i,
                              chunk->stored_bytes, full);
    }
    return 0;
}

static int describe_chunks(struct plan *plan, uint64_t data_end, struct mr_image *ret,
                           struct mr_err *err)
{
    bool there[PARTS], overflowed;
    int code = check_chunks(plan, data_end, err);
    if (code != 0)
        return code;
    plan_axes(plan);
    plan_parts(plan, there);
    take_all_parts(plan, there);
    return build(plan, ret, &overflowed, err); /* behind the slabs there is room for all */
}

int mr_seal_hdf5_chunked(const struct mr_geometry *g, const struct mr_extent *extent,
                         enum mr_codec_id codec, const struct mr_chunk *chunks, size_t count,
                         uint64_t data_end, const struct mr_movie_notes *notes,
                         struct mr_image *ret, struct mr_err *err)
{
    assert(g->layout == MR_LAYOUT_CHUNKS);
    if (extent->frames == 0 || count != mr_slab_count(g, extent))
        return mr_err_set(err, -EINVAL, "%zu slabs placed of %" PRIu64, count,
                          mr_slab_count(g, extent));
    if (data_end < MR_SEAL_HDF5_RESERVED || data_end > INT64_MAX - MR_SLAB_ALIGN)
        return mr_err_set(err, -EINVAL, "data cannot end at %" PRIu64, data_end);
    struct mr_chunk *sorted = malloc(count * sizeof(*sorted));
    if (!sorted)
        return mr_err_set(err, -ENOMEM, "no memory for %zu placements", count);
    memcpy(sorted, chunks, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), by_index); /* the order of arrival leaves no trace */
    struct plan plan = {.geometry = g,
                        .extent = extent,
                        .notes = notes,
                        .codec = codec,
                        .chunks = sorted,
                        .chunk_count = count,
                        .room_to = MR_SEAL_HDF5_RESERVED,
                        .file_end = (data_end + MR_SLAB_ALIGN - 1) / MR_SLAB_ALIGN * MR_SLAB_ALIGN};
    int code = describe_chunks(&plan, data_end, ret, err);
    free(sorted);
    return code;
}

void mr_image_free(struct mr_image *image)
{
    for (size_t i = 0; i < image->count; i++)
        free(image->pieces[i].data);
    free(image->pieces);
    *image = (struct mr_image){0};
}
