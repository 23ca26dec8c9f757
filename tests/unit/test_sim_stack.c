/* SPDX-License-Identifier: Apache-2.0 */
/* What does somebody who looks at a movie see while the simulated camera writes it? */
#include "sim_stack.h"

#include "base/crc64.h"
#include "base/fs.h"
#include "wire/mrc_header.h"

#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NX          100
#define NY          50
#define FRAME_BYTES (NX * NY)

static char folder[] = "/tmp/millrace-sim-XXXXXX", path[64], old[72];
static uint8_t pixels[FRAME_BYTES];
static struct mr_sim_sums sums = {FRAME_BYTES, 3 * FRAME_BYTES, 9 * FRAME_BYTES, 3, 3};

static struct mr_sim_options prepare(const struct mr_sim_stack_ops *format)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/m.mrc", folder);
    (void)snprintf(old, sizeof(old), "%s~", path);
    memset(pixels, 3, sizeof(pixels));
    return (struct mr_sim_options){
        .format = format, .nx = NX, .ny = NY, .frames = 4, .pixel_size = 0.5};
}

static void clean(void)
{
    (void)unlink(path);
    (void)unlink(old);
    ck_assert_int_eq(rmdir(folder), 0);
}

static void add(struct mr_sim_stack *s, unsigned count)
{
    struct mr_sim_frame frame = {{{pixels, 999}, {pixels + 999, FRAME_BYTES - 999}}, &sums};
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(mr_sim_stack_add(s, &frame, NULL), 0);
}

static char *contents(size_t *ret_bytes)
{
    char *data = NULL;
    ck_assert_int_eq(mr_fs_read_file(AT_FDCWD, path, 1 << 20, &data, ret_bytes), 0);
    return data;
}

static void check_crc(const struct mr_sim_stack *s)
{
    size_t bytes = 0;
    char *data = contents(&bytes);
    ck_assert_uint_eq(bytes, s->file.bytes);
    ck_assert_uint_eq(mr_crc64(0, data, bytes), s->file.crc);
    free(data);
}

static struct mr_mrc_header header_now(size_t *ret_bytes, bool *ret_unset)
{
    struct mr_mrc_header header = {0};
    char *data = contents(ret_bytes);
    *ret_unset = *ret_bytes < 1024 || mr_mrc_header_unset((const uint8_t *)data);
    if (!*ret_unset)
        ck_assert_int_eq(mr_mrc_header_decode((const uint8_t *)data, &header, NULL), 0);
    free(data);
    return header;
}

START_TEST(mrc_grows_as_the_plugin_grows_it)
{
    struct mr_sim_options o = prepare(&mr_sim_stack_mrc);
    struct mr_sim_stack s;
    size_t bytes = 1;
    bool unset = false;
    ck_assert_int_eq(mr_sim_stack_begin(&s, &o, path, NULL), 0);
    (void)header_now(&bytes, &unset);
    ck_assert(unset && bytes == 0);
    add(&s, 1); /* the header is there, with the frames expected, and frame 0 whole */
    struct mr_mrc_header h = header_now(&bytes, &unset);
    ck_assert(!unset && h.nz == 4 && h.nx == NX && h.mode == 0 && !mr_mrc_stats_set(&h));
    ck_assert_uint_eq(bytes, 1024 + FRAME_BYTES);
    add(&s, 2); /* a frame is visible in part */
    h = header_now(&bytes, &unset);
    ck_assert(h.nz == 4 && bytes < 1024 + 3 * FRAME_BYTES && bytes > 1024 + 2 * FRAME_BYTES);
    add(&s, 1);
    ck_assert_int_eq(mr_sim_stack_finish(&s, NULL), 0);
    h = header_now(&bytes, &unset);
    ck_assert(h.nz == 4 && mr_mrc_stats_set(&h) && bytes == 1024 + 4 * FRAME_BYTES);
    ck_assert_float_eq(h.dmean, 3.0f);
    ck_assert_float_eq(h.rms, 0.0f);
    ck_assert_double_eq_tol(h.pixel_size_angstrom, 0.5, 1e-6);
    ck_assert_int_eq(mr_sim_stack_end(&s, NULL), 0);
    check_crc(&s);
    ck_assert_uint_eq(s.frames, 4);
    clean();
}
END_TEST

START_TEST(aborted_movie_gets_the_true_count)
{
    struct mr_sim_options o = prepare(&mr_sim_stack_mrc);
    struct mr_sim_stack s;
    size_t bytes = 0;
    bool unset = false;
    o.nz_late = true;
    ck_assert_int_eq(mr_sim_stack_begin(&s, &o, path, NULL), 0);
    add(&s, 3);
    ck_assert_int_eq(header_now(&bytes, &unset).nz, 0);
    ck_assert(!unset);
    ck_assert_int_eq(mr_sim_stack_finish(&s, NULL), 0);
    ck_assert_int_eq(header_now(&bytes, &unset).nz, 3);
    ck_assert_int_eq(mr_sim_stack_end(&s, NULL), 0);
    check_crc(&s);
    uint64_t crc = 0;
    for (int i = 0; i < 3; i++)
        crc = mr_crc64(crc, pixels, sizeof(pixels));
    ck_assert_uint_eq(s.pixel_crc, crc);
    clean();
}
END_TEST

static uint32_t le32(const char *data, size_t at)
{
    const uint8_t *b = (const uint8_t *)data + at;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* Directories that can be reached; each one's frame must lie in the file. */
static unsigned reachable(void)
{
    size_t bytes = 0;
    char *data = contents(&bytes);
    unsigned found = 0;
    if (bytes >= 8) {
        for (uint32_t at = le32(data, 4); at != 0; at = le32(data, at + 122), found++) {
            ck_assert_uint_le(at + 126, bytes);
            ck_assert_uint_le(le32(data, at + 2 + 5 * 12 + 8) + FRAME_BYTES, bytes);
        }
    }
    free(data);
    return found;
}

START_TEST(tiff_shows_whole_frames_only)
{
    struct mr_sim_options o = prepare(&mr_sim_stack_tiff);
    struct mr_sim_stack s;
    ck_assert_int_eq(mr_sim_stack_begin(&s, &o, path, NULL), 0);
    for (unsigned i = 0; i < 3; i++) {
        add(&s, 1);
        ck_assert_uint_eq(reachable(), i);
    }
    ck_assert_int_eq(mr_sim_stack_finish(&s, NULL), 0);
    ck_assert_uint_eq(reachable(), 3);
    ck_assert_int_eq(mr_sim_stack_end(&s, NULL), 0);
    check_crc(&s);
    clean();
}
END_TEST

START_TEST(raw_is_nothing_but_frames_and_an_old_file_is_set_aside)
{
    struct mr_sim_options o = prepare(&mr_sim_stack_raw);
    struct mr_sim_stack s;
    ck_assert_int_eq(mr_sim_stack_begin(&s, &o, path, NULL), 0);
    ck_assert_int_eq(mr_sim_stack_end(&s, NULL), 0);
    check_crc(&s);
    ck_assert_int_eq(mr_sim_stack_begin(&s, &o, path, NULL), 0);
    ck_assert_int_eq(access(old, F_OK), 0);
    add(&s, 4);
    ck_assert_int_eq(mr_sim_stack_finish(&s, NULL), 0);
    ck_assert_int_eq(mr_sim_stack_end(&s, NULL), 0);
    ck_assert_uint_eq(s.file.bytes, 4 * FRAME_BYTES);
    ck_assert_uint_eq(s.file.crc, s.pixel_crc);
    check_crc(&s);
    clean();
}
END_TEST

START_TEST(what_cannot_be_written_is_said)
{
    struct mr_sim_options o = prepare(&mr_sim_stack_mrc);
    struct mr_sim_stack s;
    struct mr_err err = {0};
    ck_assert_int_eq(mr_sim_stack_begin(&s, &o, "/nowhere/at/all.mrc", &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.text, "/nowhere/at/all.mrc"));
    clean();
}
END_TEST

MR_SUITE("sim_stack", T(mrc_grows_as_the_plugin_grows_it), T(aborted_movie_gets_the_true_count),
         T(tiff_shows_whole_frames_only), T(raw_is_nothing_but_frames_and_an_old_file_is_set_aside),
         T(what_cannot_be_written_is_said))
