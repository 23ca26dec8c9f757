/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libhdf5's write calls, made terse and turned into our errors. Knows types, texts and the filter's
 * values; knows nothing of the tree it helps to write (seal_hdf5), and moves no pixel: what it
 * hands to libhdf5 as raw data of a slab is a pointer the placed driver never follows.
 */
#include "h5out.h"

#include <errno.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILTER_BITSHUFFLE 32008  /* registered HDF5 filter id */
#define COMPACT_MAX       16384u /* bytes; data up to this size goes into the object header */

struct mr_h5out {
    struct mr_placed *placed; /* borrowed */
    hid_t file, group_plist, link_plist;
    bool filtered; /* the pixel dataset has a filter */
    bool failed;
    char why[200];
};

static herr_t first_cause(unsigned depth, const H5E_error2_t *error, void *ctx)
{
    struct mr_h5out *out = ctx;
    if (depth == 0)
        snprintf(out->why, sizeof(out->why), "%s: %s", error->func_name, error->desc);
    return 0;
}

/* Passes a result of libhdf5 through, noting the first failure. */
static hid_t checked(struct mr_h5out *out, hid_t result)
{
    if (result < 0 && !out->failed) {
        out->failed = true;
        snprintf(out->why, sizeof(out->why), "cause unknown");
        H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, first_cause, out);
    }
    return result;
}

static void drop(hid_t id)
{
    if (id >= 0)
        H5Idec_ref(id);
}

/* Times of objects are switched off everywhere: the same movie gives the same bytes. */
static hid_t plist_of(struct mr_h5out *out, hid_t class)
{
    hid_t plist = checked(out, H5Pcreate(class));
    if (!out->failed)
        checked(out, H5Pset_obj_track_times(plist, false));
    return plist;
}

static void create_file(struct mr_h5out *out, uint64_t user_block)
{
    out->group_plist = plist_of(out, H5P_GROUP_CREATE);
    out->link_plist = checked(out, H5Pcreate(H5P_LINK_CREATE));
    hid_t create = plist_of(out, H5P_FILE_CREATE);
    hid_t access = checked(out, mr_placed_access(out->placed));
    if (!out->failed) {
        checked(out, H5Pset_char_encoding(out->link_plist, H5T_CSET_UTF8));
        checked(out, H5Pset_userblock(create, user_block));
        checked(out, H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V110));
        checked(out, H5Pset_fclose_degree(access, H5F_CLOSE_STRONG));
    }
    if (!out->failed)
        out->file = checked(out, H5Fcreate("movie", H5F_ACC_TRUNC, create, access));
    drop(access);
    drop(create);
}

int mr_h5out_create(struct mr_placed *placed, uint64_t user_block, uint64_t reach,
                    struct mr_h5out **ret, struct mr_err *err)
{
    struct mr_h5out *out = calloc(1, sizeof(*out));
    if (!out)
        return mr_err_set(err, -ENOMEM, "out of memory");
    out->placed = placed;
    out->file = out->group_plist = out->link_plist = H5I_INVALID_HID;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* of this thread; we report, it does not print */
    /* No plugin is wanted: nothing is filtered here, and a plugin's version would get into the
     * file. */
    H5PLset_loading_state(0);
    create_file(out, user_block);
    if (out->failed)
        return mr_h5out_close(out, err);
    mr_placed_reach(placed, reach);
    *ret = out;
    return 0;
}

int mr_h5out_close(struct mr_h5out *out, struct mr_err *err)
{
    drop(out->group_plist);
    drop(out->link_plist);
    if (out->file >= 0)
        checked(out, H5Fclose(out->file));
    int code = out->failed ? mr_err_set(err, -EIO, "libhdf5: %s", out->why) : 0;
    /* What a filter that is not there leaves in this thread's error stack would keep libhdf5 from
     * ending with the program: "infinite loop closing library". */
    H5Eclear2(H5E_DEFAULT);
    free(out);
    return code;
}

int64_t mr_h5out_root(struct mr_h5out *out)
{
    return out->file; /* stands for its root group */
}

int64_t mr_h5out_group(struct mr_h5out *out, int64_t at, const char *name, const char *nx_class)
{
    if (out->failed)
        return -1;
    hid_t group =
        checked(out, H5Gcreate2(at, name, out->link_plist, out->group_plist, H5P_DEFAULT));
    if (nx_class)
        mr_h5out_attr_text(out, group, "NX_class", nx_class);
    return group;
}

void mr_h5out_link(struct mr_h5out *out, int64_t at, const char *name, const char *target)
{
    if (!out->failed)
        checked(out, H5Lcreate_soft(target, at, name, out->link_plist, H5P_DEFAULT));
}

/* ---- attributes ---- */

static hid_t text_type(struct mr_h5out *out, const char *text, size_t bytes)
{
    hid_t type = checked(out, H5Tcopy(H5T_C_S1));
    bool ascii = true;
    for (; *text; text++)
        ascii = ascii && (unsigned char)*text < 128;
    if (!out->failed) {
        checked(out, H5Tset_size(type, bytes));
        checked(out, H5Tset_cset(type, ascii ? H5T_CSET_ASCII : H5T_CSET_UTF8));
    }
    return type;
}

/* count 0: a scalar. */
static hid_t space_of(struct mr_h5out *out, hsize_t count)
{
    return checked(out, count ? H5Screate_simple(1, &count, NULL) : H5Screate(H5S_SCALAR));
}

/* Takes type. */
static void put_attr(struct mr_h5out *out, int64_t at, const char *name, hid_t type, hsize_t count,
                     const void *value)
{
    hid_t space = space_of(out, count), attr = -1;
    if (!out->failed)
        attr = checked(out, H5Acreate2(at, name, type, space, H5P_DEFAULT, H5P_DEFAULT));
    if (!out->failed)
        checked(out, H5Awrite(attr, type, value));
    drop(attr);
    drop(space);
    drop(type);
}

void mr_h5out_attr_text(struct mr_h5out *out, int64_t at, const char *name, const char *value)
{
    if (!out->failed)
        put_attr(out, at, name, text_type(out, value, strlen(value) + 1), 0, value);
}

void mr_h5out_attr_texts(struct mr_h5out *out, int64_t at, const char *name,
                         const char *const *values, size_t count)
{
    size_t longest = 0;
    for (size_t i = 0; i < count; i++)
        longest = strlen(values[i]) > longest ? strlen(values[i]) : longest;
    char *joined = out->failed ? NULL : calloc(count, longest + 1);
    if (!joined) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++)
        memcpy(joined + i * (longest + 1), values[i], strlen(values[i]));
    put_attr(out, at, name, text_type(out, "", longest + 1), count, joined);
    free(joined);
}

void mr_h5out_attr_i64(struct mr_h5out *out, int64_t at, const char *name, int64_t value)
{
    if (!out->failed)
        put_attr(out, at, name, H5Tcopy(H5T_NATIVE_INT64), 0, &value);
}

void mr_h5out_attr_f64(struct mr_h5out *out, int64_t at, const char *name, double value)
{
    if (!out->failed)
        put_attr(out, at, name, H5Tcopy(H5T_NATIVE_DOUBLE), 0, &value);
}

void mr_h5out_attr_bool(struct mr_h5out *out, int64_t at, const char *name, bool value)
{
    if (out->failed)
        return;
    const int8_t no = 0, yes = 1;
    hid_t type = checked(out, H5Tenum_create(H5T_STD_I8LE)); /* what h5py takes for a bool */
    if (!out->failed) {
        checked(out, H5Tenum_insert(type, "FALSE", &no));
        checked(out, H5Tenum_insert(type, "TRUE", &yes));
    }
    put_attr(out, at, name, type, 0, value ? &yes : &no);
}

/* ---- small datasets ---- */

/* Creates a dataset; takes type, space and plist. */
static hid_t create_set(struct mr_h5out *out, int64_t at, const char *name, hid_t type, hid_t space,
                        hid_t plist)
{
    hid_t set = -1;
    if (!out->failed)
        set = checked(out, H5Dcreate2(at, name, type, space, out->link_plist, plist, H5P_DEFAULT));
    drop(plist);
    drop(space);
    drop(type);
    return set;
}

/* Takes type. count 0: a scalar. */
static hid_t put_data(struct mr_h5out *out, int64_t at, const char *name, hid_t type, hsize_t count,
                      const void *data)
{
    hid_t plist = plist_of(out, H5P_DATASET_CREATE);
    if (!out->failed && H5Tget_size(type) * (count ? count : 1) <= COMPACT_MAX)
        checked(out, H5Pset_layout(plist, H5D_COMPACT));
    hid_t memory = out->failed ? -1 : checked(out, H5Tcopy(type));
    hid_t set = create_set(out, at, name, type, space_of(out, count), plist);
    if (!out->failed)
        checked(out, H5Dwrite(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data));
    drop(memory);
    return set;
}

int64_t mr_h5out_text(struct mr_h5out *out, int64_t at, const char *name, const char *text)
{
    if (out->failed)
        return -1;
    return put_data(out, at, name, text_type(out, text, strlen(text) + 1), 0, text);
}

int64_t mr_h5out_i64(struct mr_h5out *out, int64_t at, const char *name, int64_t value)
{
    return out->failed ? -1 : put_data(out, at, name, H5Tcopy(H5T_NATIVE_INT64), 0, &value);
}

int64_t mr_h5out_f64(struct mr_h5out *out, int64_t at, const char *name, double value)
{
    return out->failed ? -1 : put_data(out, at, name, H5Tcopy(H5T_NATIVE_DOUBLE), 0, &value);
}

int64_t mr_h5out_bytes(struct mr_h5out *out, int64_t at, const char *name, const uint8_t *data,
                       size_t bytes)
{
    return out->failed ? -1 : put_data(out, at, name, H5Tcopy(H5T_STD_U8LE), bytes, data);
}

int64_t mr_h5out_f64_array(struct mr_h5out *out, int64_t at, const char *name, const double *data,
                           size_t count)
{
    return out->failed ? -1 : put_data(out, at, name, H5Tcopy(H5T_NATIVE_DOUBLE), count, data);
}

int64_t mr_h5out_f32_array(struct mr_h5out *out, int64_t at, const char *name, const float *data,
                           size_t count)
{
    return out->failed ? -1 : put_data(out, at, name, H5Tcopy(H5T_NATIVE_FLOAT), count, data);
}

int64_t mr_h5out_constant(struct mr_h5out *out, int64_t at, const char *name, double value,
                          uint64_t count)
{
    if (out->failed)
        return -1;
    hid_t plist = plist_of(out, H5P_DATASET_CREATE);
    if (!out->failed)
        checked(out, H5Pset_fill_value(plist, H5T_NATIVE_DOUBLE, &value));
    return create_set(out, at, name, H5Tcopy(H5T_NATIVE_DOUBLE), space_of(out, count), plist);
}

/* ---- pixels ---- */

static hid_t half_type(void)
{
    hid_t type =
        H5Tcopy(H5T_IEEE_F32LE); /* 1.10 has no half of its own; readers know it by fields */
    H5Tset_fields(type, 15, 10, 5, 0, 10);
    H5Tset_size(type, 2);
    H5Tset_ebias(type, 15);
    return type;
}

static hid_t pixel_type(enum mr_pixel pixel)
{
    switch (pixel) {
    case MR_PIXEL_I8:
        return H5Tcopy(H5T_STD_I8LE);
    case MR_PIXEL_U8:
    case MR_PIXEL_U4: /* two to a byte */
        return H5Tcopy(H5T_STD_U8LE);
    case MR_PIXEL_I16:
        return H5Tcopy(H5T_STD_I16LE);
    case MR_PIXEL_U16:
        return H5Tcopy(H5T_STD_U16LE);
    case MR_PIXEL_F32:
        return H5Tcopy(H5T_IEEE_F32LE);
    case MR_PIXEL_F16:
        return half_type();
    case MR_PIXEL_NONE:
    case MR_PIXEL_COUNT:
        break;
    }
    return H5I_INVALID_HID;
}

/* Takes plist. */
static hid_t create_pixels(struct mr_h5out *out, int64_t at, const char *name, enum mr_pixel pixel,
                           const uint64_t dims[3], bool may_grow, hid_t plist)
{
    hsize_t now[3] = {dims[0], dims[1], dims[2]};
    hsize_t most[3] = {may_grow ? H5S_UNLIMITED : dims[0], dims[1], dims[2]};
    if (!out->failed)
        checked(out, H5Pset_fill_time(plist, H5D_FILL_TIME_NEVER));
    hid_t space = checked(out, H5Screate_simple(3, now, most));
    return create_set(out, at, name, checked(out, pixel_type(pixel)), space, plist);
}

int64_t mr_h5out_stream(struct mr_h5out *out, int64_t at, const char *name, enum mr_pixel pixel,
                        const uint64_t dims[3], uint64_t offset, uint64_t bytes)
{
    if (out->failed)
        return -1;
    hid_t plist = plist_of(out, H5P_DATASET_CREATE);
    if (!out->failed)
        checked(out, H5Pset_alloc_time(plist, H5D_ALLOC_TIME_EARLY));
    mr_placed_next(out->placed, offset, bytes);
    return create_pixels(out, at, name, pixel, dims, false, plist);
}

/* The values that are to be stored: {major, minor, element bytes, block elements, coder}. */
static void filter_values(enum mr_pixel pixel, enum mr_codec_id codec, unsigned ret[5])
{
    uint32_t element = mr_pixel_bytes(pixel);
    ret[0] = 0; /* version 0.4 of the filter, the first with zstd inside */
    ret[1] = 4;
    ret[2] = element;
    ret[3] = mr_codec_block_elements(element);
    ret[4] = codec == MR_CODEC_BSZSTD ? 3 : 2;
}

/* Where the filter's plugin is at hand (linked in or loaded by someone else) its set_local puts the
 * first three values in front of what is given; else they are stored as given. */
static void put_filter(struct mr_h5out *out, hid_t plist, const unsigned values[5])
{
    bool plugin = H5Zfilter_avail(FILTER_BITSHUFFLE) > 0;
    checked(out, H5Pset_filter(plist, FILTER_BITSHUFFLE, H5Z_FLAG_OPTIONAL, plugin ? 2 : 5,
                               plugin ? values + 3 : values));
}

/* Wrong values read back as wrong pixels, so what was stored is looked at. */
static void check_filter(struct mr_h5out *out, int64_t set, const unsigned values[5])
{
    unsigned stored[8] = {0}, flags = 0, config = 0;
    size_t count = 8;
    hid_t plist = checked(out, H5Dget_create_plist(set));
    if (!out->failed)
        checked(out, H5Pget_filter2(plist, 0, &flags, &count, stored, 0, NULL, &config));
    drop(plist);
    if (out->failed || (count == 5 && memcmp(stored + 2, values + 2, 3 * sizeof(values[0])) == 0))
        return;
    out->failed = true;
    snprintf(out->why, sizeof(out->why), "the filter stored other values than the slabs need");
}

int64_t mr_h5out_chunked(struct mr_h5out *out, int64_t at, const char *name, enum mr_pixel pixel,
                         const uint64_t dims[3], const uint64_t size[3], enum mr_codec_id codec)
{
    if (out->failed)
        return -1;
    hsize_t chunk[3] = {size[0], size[1], size[2]};
    unsigned values[5];
    filter_values(pixel, codec, values);
    out->filtered = codec != MR_CODEC_NONE;
    hid_t plist = plist_of(out, H5P_DATASET_CREATE);
    if (!out->failed)
        checked(out, H5Pset_chunk(plist, 3, chunk));
    if (!out->failed && out->filtered)
        put_filter(out, plist, values);
    hid_t set = create_pixels(out, at, name, pixel, dims, size[0] > dims[0], plist);
    if (!out->failed && out->filtered)
        check_filter(out, set, values);
    return set;
}

void mr_h5out_chunk(struct mr_h5out *out, int64_t dataset, const uint64_t at[3],
                    const struct mr_chunk *chunk)
{
    static const uint8_t nothing; /* the driver takes no byte of a slab */
    if (out->failed)
        return;
    hsize_t first[3] = {at[0], at[1], at[2]};
    uint32_t skipped = out->filtered && !chunk->filtered; /* bit 0: the first filter */
    mr_placed_next(out->placed, chunk->offset, chunk->stored_bytes);
    checked(out,
            H5Dwrite_chunk(dataset, H5P_DEFAULT, skipped, first, chunk->stored_bytes, &nothing));
}

const char *mr_h5out_library(void)
{
    static _Thread_local char text[48];
    unsigned major = 0, minor = 0, release = 0;
    (void)H5get_libversion(&major, &minor, &release);
    snprintf(text, sizeof(text), "hdf5 %u.%u.%u", major, minor, release);
    return text;
}
