/* SPDX-License-Identifier: Apache-2.0 */
/* Finished files against their digests, read back byte for byte; disagreement with END. */
#include "finish.h"

#include "store_rig.h"
#include "suite.h"

struct finished {
    struct mr_open open;
    struct mr_extent extent;
    struct mr_movie *movie;
    struct mr_dossier d;
    struct mr_end end;
    char part[128]; /* below the root */
};

static void land(struct rig *rig, const struct mr_open *open, uint64_t size, struct finished *f)
{
    f->open = *open;
    f->extent = rig_extent(open, size);
    f->movie = rig_begin(rig, open);
    snprintf(f->part, sizeof(f->part), "k3/.millrace/%s", f->movie->part_name);
    f->end = rig_end_of(f->movie, open, &f->extent, 1);
}

static int finish(struct rig *rig, struct finished *f, struct mr_err *err)
{
    char left_out[256];
    rig_dossier(rig, f->movie, &f->d);
    return mr_finish_part(&rig->store, f->movie, &f->d, &f->end, left_out, err);
}

static void drop(struct finished *f)
{
    mr_dossier_fini(&f->d);
    mr_movie_release(f->movie);
}

static void check_file(struct rig *rig, const struct finished *f)
{
    uint64_t bytes;
    struct stat st;
    ck_assert_uint_eq(rig_file_crc(rig, f->part, &bytes), f->d.sealed.digest_file);
    ck_assert_uint_eq(bytes, f->d.sealed.bytes);
    ck_assert_int_eq(fstatat(rig->store.root_fd, f->part, &st, 0), 0);
    ck_assert_uint_eq(st.st_ino, f->d.sealed.inode);
    ck_assert_int_eq(st.st_mtim.tv_sec * MR_NS_PER_S + st.st_mtim.tv_nsec, f->end.source_mtime_ns);
    ck_assert(!f->d.sealed.failed);
}

/* Leaves bytes behind every slab, as a slab that was sent twice or written with padding may. */
static void soil(struct rig *rig, const struct finished *f)
{
    uint8_t dirt[4096];
    struct mr_dossier d;
    memset(dirt, 0xee, sizeof(dirt));
    rig_dossier(rig, f->movie, &d);
    int fd = openat(rig->store.root_fd, f->part, O_WRONLY | O_CLOEXEC);
    for (uint64_t i = 0; i < d.slab_count; i++) {
        uint64_t end = d.slabs[i].offset + d.slabs[i].stored_bytes;
        uint64_t gap = (4096 - end % 4096) % 4096;
        ck_assert_int_eq(mr_fs_pwrite_full(fd, dirt, gap, end), 0);
    }
    if (f->open.output == MR_OUTPUT_HDF5) { /* claimed, written, never journalled */
        uint64_t unused = mr_movie_claim(f->movie, 100);
        ck_assert_int_eq(mr_fs_pwrite_full(fd, dirt, sizeof(dirt), unused), 0);
    }
    close(fd);
    mr_dossier_fini(&d);
}

START_TEST(kept_movie_is_its_source)
{
    struct rig rig;
    struct finished f = {0};
    struct mr_err err = {0};
    uint64_t bytes;
    rig_make(&rig);
    struct mr_open open = rig_movie(MR_OUTPUT_KEEP, 1000, 1001, "a.mrc");
    land(&rig, &open, 10, &f); /* 10 011 024 bytes: three slabs, the last one ragged */
    ck_assert_uint_eq(rig_land_all(f.movie, &f.extent, 1), 3);
    soil(&rig, &f);
    ck_assert_msg(finish(&rig, &f, &err) == 0, "%s", err.text);
    check_file(&rig, &f);
    ck_assert_uint_eq(rig_file_crc(&rig, f.part, &bytes), f.end.crc_file);
    ck_assert_uint_eq(bytes, f.extent.source_bytes);
    ck_assert(f.d.sealed.has_pixels);
    ck_assert_uint_eq(f.d.sealed.digest_pixels, f.end.crc_pixels);
    drop(&f);
    rig_end(&rig);
}
END_TEST

START_TEST(kept_file_has_no_pixels)
{
    struct rig rig;
    struct finished f = {0};
    struct mr_err err = {0};
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    land(&rig, &open, 4097, &f);
    rig_land_all(f.movie, &f.extent, 1);
    ck_assert_msg(finish(&rig, &f, &err) == 0, "%s", err.text);
    check_file(&rig, &f);
    ck_assert(!f.d.sealed.has_pixels);
    drop(&f);
    rig_end(&rig);
}
END_TEST

START_TEST(empty_file_is_a_file)
{
    struct rig rig;
    struct finished f = {0};
    struct mr_err err = {0};
    rig_make(&rig);
    struct mr_open open = rig_file("empty");
    land(&rig, &open, 0, &f);
    ck_assert_uint_eq(rig_land_all(f.movie, &f.extent, 1), 0);
    ck_assert_msg(finish(&rig, &f, &err) == 0, "%s", err.text);
    check_file(&rig, &f);
    ck_assert_uint_eq(f.d.sealed.bytes, 0);
    ck_assert_uint_eq(f.d.sealed.digest_file, 0);
    drop(&f);
    rig_end(&rig);
}
END_TEST

START_TEST(bilingual_movie_agrees_with_its_digest)
{
    struct rig rig;
    struct finished f = {0};
    struct mr_err err = {0};
    uint8_t magic[8];
    rig_make(&rig);
    struct mr_open open = rig_movie(MR_OUTPUT_MRC, 1500, 1001, "b.mrc");
    land(&rig, &open, 4, &f); /* 6 MB: two slabs */
    ck_assert_uint_eq(rig_land_all(f.movie, &f.extent, 1), 2);
    soil(&rig, &f);
    ck_assert_msg(finish(&rig, &f, &err) == 0, "%s", err.text);
    check_file(&rig, &f);
    ck_assert_uint_eq(f.d.sealed.bytes, open.geometry.data_offset + 4 * 1500 * 1001);
    int fd = openat(rig.store.root_fd, f.part, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(mr_fs_pread_full(fd, magic, 4, 208), 0);
    ck_assert_mem_eq(magic, "MAP ", 4);
    ck_assert_int_eq(mr_fs_pread_full(fd, magic, 8, 1024), 0);
    ck_assert_mem_eq(magic, "\x89HDF\r\n\x1a\n", 8);
    close(fd);
    drop(&f);
    rig_end(&rig);
}
END_TEST

START_TEST(chunked_movie_agrees_with_its_digest)
{
    struct rig rig;
    struct finished f = {0};
    struct mr_err err = {0};
    rig_make(&rig);
    struct mr_open open = rig_movie(MR_OUTPUT_HDF5, 2048, 2501, "c.mrc");
    land(&rig, &open, 2, &f); /* two slabs a frame, the second one padded */
    ck_assert_uint_eq(rig_land_all(f.movie, &f.extent, 1), 4);
    soil(&rig, &f);
    ck_assert_msg(finish(&rig, &f, &err) == 0, "%s", err.text);
    check_file(&rig, &f);
    ck_assert_uint_eq(f.d.sealed.digest_pixels, f.end.crc_pixels);
    drop(&f);
    rig_end(&rig);
}
END_TEST

/* A slab that lies there twice: the journal's last word counts, the other copy becomes zeros. */
START_TEST(second_copy_is_not_in_the_file)
{
    struct rig rig;
    struct finished f = {0};
    struct mr_err err = {0};
    rig_make(&rig);
    struct mr_open open = rig_movie(MR_OUTPUT_HDF5, 2048, 2501, "c.mrc");
    land(&rig, &open, 2, &f);
    rig_land(f.movie, &f.extent, 1, 9); /* what it held is not what it should be */
    rig_land_all(f.movie, &f.extent, 1);
    ck_assert_msg(finish(&rig, &f, &err) == 0, "%s", err.text);
    check_file(&rig, &f);
    drop(&f);
    rig_end(&rig);
}
END_TEST

static void refused(enum mr_output output, void (*spoil)(struct finished *), const char *why)
{
    struct rig rig;
    struct finished f = {0};
    struct mr_err err = {0};
    rig_make(&rig);
    struct mr_open open = rig_movie(output, 1000, 1001, "a.mrc");
    land(&rig, &open, 10, &f);
    rig_land_all(f.movie, &f.extent, 1);
    spoil(&f);
    ck_assert_int_eq(finish(&rig, &f, &err), -EUCLEAN);
    ck_assert_msg(strstr(err.text, why) != NULL, "%s", err.text);
    drop(&f);
    rig_end(&rig);
}

static void other_file(struct finished *f)
{
    f->end.crc_file ^= 1;
}

static void other_pixels(struct finished *f)
{
    f->end.crc_pixels ^= 1;
}

static void longer(struct finished *f)
{
    f->end.extent = rig_extent(&f->open, 11);
}

static void one_more(struct finished *f)
{
    f->end.extent = rig_extent(&f->open, 15);
    f->end.slabs = mr_slab_count(&f->open.geometry, &f->end.extent);
}

START_TEST(totals_must_agree)
{
    refused(MR_OUTPUT_KEEP, other_file, "the agent read");
    refused(MR_OUTPUT_KEEP, other_pixels, "pixels: the agent read");
    refused(MR_OUTPUT_MRC, other_pixels, "pixels: the agent read");
    refused(MR_OUTPUT_KEEP, longer, "slab 2 is of another size");
    refused(MR_OUTPUT_MRC, longer, "slab 2 is of another size");
    refused(MR_OUTPUT_KEEP, one_more, "slab 2 is of another size");
}
END_TEST

START_TEST(missing_slab_is_named)
{
    struct rig rig;
    struct finished f = {0};
    struct mr_err err = {0};
    rig_make(&rig);
    struct mr_open open = rig_movie(MR_OUTPUT_KEEP, 1000, 1001, "a.mrc");
    land(&rig, &open, 10, &f);
    rig_land(f.movie, &f.extent, 0, 1);
    rig_land(f.movie, &f.extent, 2, 1);
    ck_assert_int_eq(finish(&rig, &f, &err), -EUCLEAN);
    ck_assert_msg(strstr(err.text, "slab 1 is missing") != NULL, "%s", err.text);
    drop(&f);
    rig_end(&rig);
}
END_TEST

START_TEST(time_of_the_commit_where_so_configured)
{
    struct rig rig;
    struct finished f = {0};
    struct mr_err err = {0};
    struct stat st;
    rig_make(&rig);
    rig.config.source_mtime = false;
    rig_restart(&rig);
    struct mr_open open = rig_file("a.log");
    land(&rig, &open, 100, &f);
    rig_land_all(f.movie, &f.extent, 1);
    ck_assert_int_eq(finish(&rig, &f, &err), 0);
    ck_assert_int_eq(fstatat(rig.store.root_fd, f.part, &st, 0), 0);
    ck_assert_int_ne(st.st_mtim.tv_sec, f.end.source_mtime_ns / MR_NS_PER_S);
    drop(&f);
    rig_end(&rig);
}
END_TEST

START_TEST(failed_movie_is_cut_to_its_source)
{
    struct rig rig;
    struct finished f = {0};
    struct mr_err err = {0};
    uint64_t bytes;
    rig_make(&rig);
    struct mr_open open = rig_movie(MR_OUTPUT_KEEP, 1000, 1001, "a.mrc");
    land(&rig, &open, 10, &f);
    rig_land_all(f.movie, &f.extent, 1);
    soil(&rig, &f);
    rig_dossier(&rig, f.movie, &f.d);
    const struct mr_fail fail = {.movie = f.movie->id, .extent = f.extent, .text = "cut"};
    ck_assert_int_eq(mr_finish_failed(f.movie, &f.d, &fail, &err), 0);
    ck_assert(f.d.sealed.failed);
    ck_assert_uint_eq(rig_file_crc(&rig, f.part, &bytes), f.end.crc_file);
    ck_assert_uint_eq(bytes, f.extent.source_bytes);
    drop(&f);
    rig_end(&rig);
}
END_TEST

START_TEST(failed_movie_keeps_no_space_had_ahead)
{
    struct rig rig;
    struct finished f = {0};
    struct mr_err err = {0};
    uint64_t bytes;
    rig_make(&rig);
    struct mr_open open = rig_movie(MR_OUTPUT_MRC, 1000, 1001, "a.mrc");
    land(&rig, &open, 10, &f);
    rig_land_all(f.movie, &f.extent, 1);
    if (fallocate(f.movie->part_fd, 0, 0, 32 << 20) != 0) {
        rig_end(&rig);
        suite_skip("this file system has no fallocate");
    }
    rig_dossier(&rig, f.movie, &f.d);
    const struct mr_fail fail = {.movie = f.movie->id, .extent = f.extent, .text = "cut"};
    ck_assert_int_eq(mr_finish_failed(f.movie, &f.d, &fail, &err), 0);
    rig_file_crc(&rig, f.part, &bytes);
    ck_assert_uint_eq(bytes, f.d.space_end);
    ck_assert_uint_eq(f.d.sealed.bytes, bytes);
    ck_assert_uint_lt(bytes, 32 << 20);
    drop(&f);
    rig_end(&rig);
}
END_TEST

MR_SUITE("finish", T(kept_movie_is_its_source), T(kept_file_has_no_pixels), T(empty_file_is_a_file),
         T(bilingual_movie_agrees_with_its_digest), T(chunked_movie_agrees_with_its_digest),
         T(second_copy_is_not_in_the_file), T(totals_must_agree), T(missing_slab_is_named),
         T(time_of_the_commit_where_so_configured), T(failed_movie_is_cut_to_its_source),
         T(failed_movie_keeps_no_space_had_ahead))
