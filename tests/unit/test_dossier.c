/* SPDX-License-Identifier: Apache-2.0 */
/* A movie's journal read whole: what was written comes back, damage is counted, names are exact. */
#include "dossier.h"

#include "base/recordlog.h"
#include "message_samples.h"
#include "scratch.h"
#include "suite.h"

#include <errno.h>

#define NAME "x.journal"

static void put_line(const struct scratch *s, const char *text)
{
    char line[4096];
    size_t bytes;
    ck_assert_int_eq(mr_recordlog_format(text, strlen(text), line, sizeof(line), &bytes), 0);
    line[bytes] = '\0';
    scratch_append(s, NAME, line);
}

static void put_open(const struct scratch *s, const char *path)
{
    char *line;
    size_t bytes;
    struct mr_dossier *d = calloc(1, sizeof(*d));
    d->generation = 7;
    strcpy(d->agent, "k3-krios1");
    d->started_real_ns = 1795330800000000001;
    d->clock_offset_ms = -12;
    snprintf(d->path, sizeof(d->path), "%s", path);
    sample_open(&d->open);
    ck_assert_int_eq(mr_dossier_open_line(d, &line, &bytes), 0);
    ck_assert_int_eq(line[bytes - 1], '\n');
    int fd = openat(s->fd, NAME, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ck_assert_int_eq(mr_recordlog_append(fd, line, bytes), 0);
    close(fd);
    free(line);
    free(d);
}

static struct mr_placement placed(uint64_t slab, uint64_t offset)
{
    return (struct mr_placement){.slab = slab,
                                 .offset = offset,
                                 .stored_bytes = 100,
                                 .raw_bytes = 200,
                                 .codec = MR_CODEC_BSLZ4,
                                 .crc_stored = slab,
                                 .crc_raw = ~slab,
                                 .pixel_bytes = 200,
                                 .crc_pixels = 3};
}

static void put_slab(const struct scratch *s, uint64_t slab, uint64_t offset)
{
    char text[MR_PLACEMENT_TEXT];
    struct mr_placement p = placed(slab, offset);
    mr_placement_format(&p, text);
    put_line(s, text);
}

static struct mr_sealed sealed_sample(const char *event)
{
    struct mr_sealed s = {.inode = UINT64_MAX - 5, /* file systems give such */
                          .path = "k3-krios1/grid7/\xc3\xa9 \"quoted\".h5",
                          .bytes = 943000000,
                          .digest_file = UINT64_C(0x9242280E488DAD9A),
                          .digest_pixels = UINT64_C(0x000000000000000A),
                          .has_pixels = true,
                          .source_bytes = 943000001,
                          .source_mtime_ns = -5};
    s.event = strdup(event);
    return s;
}

static void put_sealed(const struct scratch *s, const struct mr_sealed *sealed)
{
    char *line;
    size_t bytes;
    ck_assert_int_eq(mr_dossier_sealed_line(sealed, &line, &bytes), 0);
    int fd = openat(s->fd, NAME, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ck_assert_int_eq(mr_recordlog_append(fd, line, bytes), 0);
    close(fd);
    free(line);
}

static int read_it(const struct scratch *s, struct mr_dossier *d)
{
    struct mr_err err = {0};
    int r = mr_dossier_read(s->fd, NAME, d, &err);
    ck_assert(r == 0 || strstr(err.text, "journal " NAME) != NULL);
    return r;
}

START_TEST(open_comes_back)
{
    static const char *const paths[] = {"k3-krios1/grid7/movie_0001.h5", "a", "a b/\xff\xfe c.mrc"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct scratch s = scratch_make();
        struct mr_dossier d;
        struct mr_open open;
        sample_open(&open);
        put_open(&s, paths[i]);
        ck_assert_int_eq(read_it(&s, &d), 0);
        ck_assert_uint_eq(d.generation, 7);
        ck_assert_str_eq(d.agent, "k3-krios1");
        ck_assert_int_eq(d.started_real_ns, 1795330800000000001);
        ck_assert_int_eq(d.clock_offset_ms, -12);
        ck_assert_str_eq(d.path, paths[i]);
        ck_assert_str_eq(d.open.path, open.path);
        ck_assert_str_eq(d.open.source_path, open.source_path);
        ck_assert_mem_eq(&d.open.geometry, &open.geometry, sizeof(open.geometry));
        ck_assert(!d.is_sealed);
        ck_assert_uint_eq(d.slab_count, 0);
        ck_assert(!d.torn);
        mr_dossier_fini(&d);
        scratch_remove(&s);
    }
}
END_TEST

START_TEST(longest_paths_come_back)
{
    struct scratch s = scratch_make();
    struct mr_dossier d;
    char path[MR_NAMING_PATH_MAX + 1];
    memset(path, 'p', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    put_open(&s, path);
    ck_assert_int_eq(read_it(&s, &d), 0);
    ck_assert_str_eq(d.path, path);
    mr_dossier_fini(&d);
    scratch_remove(&s);
}
END_TEST

START_TEST(slabs_come_back_by_index)
{
    struct scratch s = scratch_make();
    struct mr_dossier d;
    put_open(&s, "a.h5");
    put_slab(&s, 300, 4096);
    put_slab(&s, 2, 8192);
    put_slab(&s, 2, 65536); /* sent again: the last one stands */
    put_slab(&s, 0, 12288);
    ck_assert_int_eq(read_it(&s, &d), 0);
    ck_assert_uint_eq(d.slab_count, 301);
    ck_assert_uint_eq(d.durable, 3);
    ck_assert_uint_eq(d.slabs[2].offset, 65536);
    ck_assert_uint_eq(d.slabs[300].crc_raw, ~UINT64_C(300));
    ck_assert_uint_eq(d.slabs[1].raw_bytes, 0);
    ck_assert_uint_eq(d.space_end, 65636);
    mr_dossier_fini(&d);
    scratch_remove(&s);
}
END_TEST

START_TEST(sealed_comes_back_and_the_last_one_stands)
{
    struct scratch s = scratch_make();
    struct mr_dossier d;
    struct mr_sealed one = sealed_sample("{\"id\":\"x.ready\",\"data\":{\"a\":[1,2]}}");
    put_open(&s, "a.h5");
    put_sealed(&s, &one);
    ck_assert_int_eq(read_it(&s, &d), 0);
    ck_assert(d.is_sealed);
    ck_assert(!d.sealed.failed);
    ck_assert_uint_eq(d.sealed.inode, one.inode);
    ck_assert_str_eq(d.sealed.path, one.path);
    ck_assert_uint_eq(d.sealed.bytes, one.bytes);
    ck_assert_uint_eq(d.sealed.digest_file, one.digest_file);
    ck_assert_uint_eq(d.sealed.digest_pixels, one.digest_pixels);
    ck_assert(d.sealed.has_pixels);
    ck_assert_uint_eq(d.sealed.source_bytes, one.source_bytes);
    ck_assert_int_eq(d.sealed.source_mtime_ns, -5);
    ck_assert_str_eq(d.sealed.event, one.event);
    mr_dossier_fini(&d);
    strcpy(one.path, "b.h5");
    one.has_pixels = false;
    one.failed = true;
    put_sealed(&s, &one);
    ck_assert_int_eq(read_it(&s, &d), 0);
    ck_assert_str_eq(d.sealed.path, "b.h5");
    ck_assert(!d.sealed.has_pixels);
    ck_assert(d.sealed.failed);
    mr_dossier_fini(&d);
    free(one.event);
    scratch_remove(&s);
}
END_TEST

START_TEST(damage_is_counted_not_believed)
{
    struct scratch s = scratch_make();
    struct mr_dossier d;
    put_open(&s, "a.h5");
    uint64_t first = scratch_size(&s, NAME);
    put_slab(&s, 0, 4096);
    put_slab(&s, 1, 8192);
    put_line(&s, "SLAB 2 what is this");
    put_line(&s, "FUTURE record of another version");
    put_line(&s, "SEALED {\"failed\":false}\t{}");
    scratch_flip(&s, NAME, first + 20);
    ck_assert_int_eq(read_it(&s, &d), 0);
    ck_assert_uint_eq(d.damaged, 2);
    ck_assert_uint_eq(d.durable, 1);
    ck_assert_uint_eq(d.slabs[0].raw_bytes, 0);
    ck_assert(!d.is_sealed);
    mr_dossier_fini(&d);
    scratch_remove(&s);
}
END_TEST

/* The number comes from a peer; the table for all slabs up to it is the server's memory. */
START_TEST(slab_far_ahead_of_all_others_is_not_believed)
{
    struct scratch s = scratch_make();
    struct mr_dossier d;
    put_open(&s, "k3/a.mrc");
    put_slab(&s, 0, 4096);
    put_slab(&s, MR_SLABS_MAX - 1, 8192);
    put_slab(&s, 1, 12288);
    ck_assert_int_eq(mr_dossier_read(s.fd, NAME, &d, NULL), 0);
    ck_assert_uint_eq(d.slab_count, 2);
    ck_assert_uint_eq(d.durable, 2);
    ck_assert_uint_eq(d.damaged, 1);
    mr_dossier_fini(&d);
    scratch_remove(&s);
}
END_TEST

START_TEST(torn_end_is_told)
{
    struct scratch s = scratch_make();
    struct mr_dossier d;
    put_open(&s, "a.h5");
    put_slab(&s, 0, 4096);
    uint64_t good = scratch_size(&s, NAME);
    scratch_append(&s, NAME, "0123456789abcdef SLAB 1 ");
    ck_assert_int_eq(read_it(&s, &d), 0);
    ck_assert(d.torn);
    ck_assert_uint_eq(d.good_bytes, good);
    ck_assert_uint_eq(d.durable, 1);
    mr_dossier_fini(&d);
    scratch_remove(&s);
}
END_TEST

START_TEST(damaged_last_record_is_not_taken_for_a_torn_one)
{
    struct scratch s = scratch_make();
    struct mr_dossier d;
    put_open(&s, "a.h5");
    uint64_t good = scratch_size(&s, NAME);
    put_slab(&s, 0, 4096);
    scratch_flip(&s, NAME, good + 20);
    ck_assert_int_eq(read_it(&s, &d), 0);
    ck_assert_uint_eq(d.damaged, 1);
    ck_assert_uint_eq(d.durable, 0);
    ck_assert(d.torn);
    ck_assert_uint_eq(d.good_bytes, good);
    mr_dossier_fini(&d);
    scratch_cut(&s, NAME, good);
    scratch_flip(&s, NAME, 20);
    ck_assert_int_eq(read_it(&s, &d), -EUCLEAN);
    scratch_remove(&s);
}
END_TEST

START_TEST(without_an_open_there_is_no_movie)
{
    struct scratch s = scratch_make();
    struct mr_dossier d;
    ck_assert_int_eq(read_it(&s, &d), -ENOENT);
    scratch_append(&s, NAME, "");
    ck_assert_int_eq(read_it(&s, &d), -ENODATA);
    scratch_append(&s, NAME, "0123456789abcdef OPEN 1");
    ck_assert_int_eq(read_it(&s, &d), -ENODATA);
    scratch_cut(&s, NAME, 0);
    put_slab(&s, 0, 4096);
    ck_assert_int_eq(read_it(&s, &d), -EUCLEAN);
    scratch_cut(&s, NAME, 0);
    put_line(&s, "OPEN 1 k3 5 5 zz zz");
    ck_assert_int_eq(read_it(&s, &d), -EUCLEAN);
    scratch_remove(&s);
}
END_TEST

START_TEST(names_are_exact)
{
    static const char *const wrong[] = {"",
                                        "notes.txt",
                                        "01J0000000000000000000000A.g1.part",
                                        "01J0000000000000000000000A.g01.journal",
                                        "01J0000000000000000000000A.g-1.journal",
                                        "01J0000000000000000000000A.g1.journal~",
                                        "01j0000000000000000000000a.g1.journal",
                                        "01J0000000000000000000000A.g4294967296.journal",
                                        "01J0000000000000000000000A.journal"};
    struct mr_ulid id;
    uint32_t generation;
    char name[MR_NAMING_PART];
    ck_assert_int_eq(mr_dossier_parse_name("01J0000000000000000000000A.g12.journal", "journal", &id,
                                           &generation),
                     0);
    ck_assert_uint_eq(generation, 12);
    mr_dossier_name(&id, generation, "part", name);
    ck_assert_str_eq(name, "01J0000000000000000000000A.g12.part");
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_msg(mr_dossier_parse_name(wrong[i], "journal", &id, &generation) == -EINVAL, "%s",
                      wrong[i]);
}
END_TEST

MR_SUITE("dossier", T(open_comes_back), T(longest_paths_come_back), T(slabs_come_back_by_index),
         T(sealed_comes_back_and_the_last_one_stands), T(damage_is_counted_not_believed),
         T(torn_end_is_told), T(damaged_last_record_is_not_taken_for_a_torn_one),
         T(slab_far_ahead_of_all_others_is_not_believed), T(without_an_open_there_is_no_movie),
         T(names_are_exact))
