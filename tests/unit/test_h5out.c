/* SPDX-License-Identifier: Apache-2.0 */
/* Does a failure inside libhdf5 come out as one error, and leave nothing behind for the next
 * movie? */
#include "h5out.h"
#include "suite.h"

#include <errno.h>
#include <string.h>

static struct mr_h5out *create(struct mr_placed **ret_placed)
{
    struct mr_h5out *out;
    ck_assert_int_eq(mr_placed_new(0, 4096, 1 << 20, ret_placed), 0);
    ck_assert_int_eq(mr_h5out_create(*ret_placed, 0, 1 << 20, &out, NULL), 0);
    return out;
}

static void close_well(struct mr_h5out *out, struct mr_placed *placed)
{
    struct mr_image image;
    ck_assert_int_eq(mr_h5out_close(out, NULL), 0);
    ck_assert_int_eq(mr_placed_take(placed, &image), 0);
    ck_assert_uint_ge(image.count, 1);
    mr_image_free(&image);
    mr_placed_free(placed);
}

START_TEST(first_failure_sticks_and_is_told_at_the_close)
{
    struct mr_placed *placed;
    struct mr_h5out *out = create(&placed);
    struct mr_err err = {0};
    int64_t root = mr_h5out_root(out);
    ck_assert_int_ge(mr_h5out_group(out, root, "twice", "NXentry"), 0);
    ck_assert_int_lt(mr_h5out_group(out, root, "twice", "NXentry"), 0);
    ck_assert_int_lt(mr_h5out_group(out, root, "later", NULL), 0);
    const uint64_t dims[3] = {2, 8, 8};
    ck_assert_int_lt(mr_h5out_stream(out, root, "data", MR_PIXEL_U8, dims, 4096, 128), 0);
    ck_assert_int_lt(mr_h5out_chunked(out, root, "data", MR_PIXEL_U8, dims, dims, 0), 0);
    mr_h5out_attr_texts(out, root, "a", (const char *const[]){"x"}, 1);
    ck_assert_int_eq(mr_h5out_close(out, &err), -EIO);
    ck_assert_msg(strncmp(err.text, "libhdf5: H5", 11) == 0, "%s", err.text);
    ck_assert_ptr_nonnull(strstr(err.text, "exists"));
    mr_placed_free(placed);

    out = create(&placed); /* the next movie knows nothing of it */
    ck_assert_int_ge(mr_h5out_group(out, mr_h5out_root(out), "twice", "NXentry"), 0);
    close_well(out, placed);
}
END_TEST

START_TEST(what_libhdf5_refuses_is_an_error)
{
    const uint64_t none[3] = {0, 0, 0}, dims[3] = {2, 8, 8};
    struct mr_placed *placed;
    struct mr_h5out *out = create(&placed);
    ck_assert_int_lt(mr_h5out_chunked(out, mr_h5out_root(out), "data", MR_PIXEL_U8, dims, none, 0),
                     0);
    ck_assert_int_eq(mr_h5out_close(out, NULL), -EIO);
    mr_placed_free(placed);
    out = create(&placed);
    ck_assert_int_lt(
        mr_h5out_stream(out, mr_h5out_root(out), "data", MR_PIXEL_NONE, dims, 4096, 128), 0);
    ck_assert_int_eq(mr_h5out_close(out, NULL), -EIO);
    mr_placed_free(placed);
}
END_TEST

START_TEST(big_data_overflows_the_first_room)
{
    static uint8_t bytes[100000];
    struct mr_placed *placed;
    struct mr_h5out *out = create(&placed);
    ck_assert(!mr_placed_overflowed(placed));
    ck_assert_int_ge(mr_h5out_bytes(out, mr_h5out_root(out), "big", bytes, sizeof(bytes)), 0);
    ck_assert(mr_placed_overflowed(placed));
    close_well(out, placed);
}
END_TEST

MR_SUITE("h5out", T(first_failure_sticks_and_is_told_at_the_close),
         T(what_libhdf5_refuses_is_an_error), T(big_data_overflows_the_first_room))
