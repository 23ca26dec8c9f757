/* SPDX-License-Identifier: Apache-2.0 */
/* A movie's journal read whole: what was written comes back, damage is counted, names are exact. */
#include "dossier.h"

#include "base/clock.h"
#include "base/recordlog.h"
#include "dice.h"
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

START_TEST(push_comes_back)
{
    struct scratch s = scratch_make();
    struct mr_dossier d;
    char *line, text[64];
    size_t bytes;
    put_open(&s, "a.h5");
    ck_assert_int_eq(read_it(&s, &d), 0);
    ck_assert(!d.push);
    d.push = true;
    ck_assert_int_eq(mr_dossier_open_line(&d, &line, &bytes), 0);
    mr_dossier_fini(&d);
    line[bytes - 1] = '\0'; /* its newline, and then its checksum, come anew */
    put_line(&s, line + 17);
    ck_assert_int_eq(read_it(&s, &d), 0);
    ck_assert(d.push);
    mr_dossier_fini(&d);
    scratch_cut(&s, NAME, 0);
    memcpy(strstr(line, " push"), " pull",
           5); /* of a later version, which says what is not known */
    put_line(&s, line + 17);
    ck_assert_int_eq(read_it(&s, &d), -EUCLEAN);
    (void)snprintf(text, sizeof(text), "OPEN 1 k3 5 5 %s", "6b33 01");
    put_line(&s, text); /* whole, but no movie's */
    ck_assert_int_eq(read_it(&s, &d), -EUCLEAN);
    free(line);
    scratch_remove(&s);
}
END_TEST

START_TEST(journals_name_tells_its_generation)
{
    static const char renamed[] = "01J0000000000000000000000A.g2049.journal";
    struct scratch s = scratch_make();
    struct mr_dossier d;
    put_open(&s, "a.h5");
    ck_assert_int_eq(renameat(s.fd, NAME, s.fd, renamed), 0);
    ck_assert_int_eq(mr_dossier_read(s.fd, renamed, &d, NULL), 0);
    ck_assert_uint_eq(d.generation, 2049);
    mr_dossier_fini(&d);
    ck_assert_int_eq(symlinkat(renamed, s.fd, NAME), 0);
    ck_assert_int_eq(read_it(&s, &d), -ELOOP);
    scratch_remove(&s);
}
END_TEST

/* Each is a whole record and lacks, or bends, one thing. */
START_TEST(sealed_that_is_no_sealed_is_passed_over)
{
    static const char good[] =
        "{\"failed\":false,\"inode\":5,\"path\":\"a\",\"bytes\":1,\"file\":\"0A\","
        "\"pixels\":null,\"source_bytes\":2,\"source_mtime_ns\":-3}\t{}";
    static const struct {
        const char *from, *to;
    } changes[] = {{"\t", " "},
                   {"\"failed\":false", "\"failed\":0"},
                   {"\"inode\":5", "\"inode\":\"5\""},
                   {"\"inode\":5,", ""},
                   {"\"path\":\"a\"", "\"path\":null"},
                   {"\"bytes\":1", "\"bytes\":-1"},
                   {"\"file\":\"0A\"", "\"file\":10"},
                   {"\"pixels\":null", "\"pixels\":[]"},
                   {"\"source_bytes\":2", "\"source_bytes\":-2"},
                   {"\"source_mtime_ns\":-3", "\"source_mtime_ns\":0.5"},
                   {"{\"failed\"", "\"failed\""}};
    for (size_t i = 0; i <= sizeof(changes) / sizeof(changes[0]); i++) {
        struct scratch s = scratch_make();
        struct mr_dossier d;
        char text[512] = "SEALED ";
        bool changed = i < sizeof(changes) / sizeof(changes[0]);
        const char *from = changed ? strstr(good, changes[i].from) : good;
        size_t before = (size_t)(from - good);
        (void)snprintf(text, sizeof(text), "SEALED %.*s%s%s", (int)before, good,
                       changed ? changes[i].to : "",
                       from + (changed ? strlen(changes[i].from) : 0));
        put_open(&s, "a.h5");
        put_line(&s, text);
        ck_assert_int_eq(read_it(&s, &d), 0);
        ck_assert_msg(d.is_sealed == !changed, "%s", text);
        mr_dossier_fini(&d);
        scratch_remove(&s);
    }
}
END_TEST

START_TEST(path_of_a_sealed_one_has_its_limit)
{
    for (size_t more = 0; more <= 1; more++) {
        struct scratch s = scratch_make();
        struct mr_dossier d;
        static char path[MR_NAMING_PATH_MAX + 2], text[MR_NAMING_PATH_MAX + 300];
        memset(path, 'p', MR_NAMING_PATH_MAX + more);
        (void)snprintf(text, sizeof(text),
                       "SEALED {\"failed\":true,\"inode\":0,\"path\":\"%s\",\"bytes\":0,"
                       "\"file\":\"0\",\"source_bytes\":0,\"source_mtime_ns\":0}\te",
                       path);
        put_open(&s, "a.h5");
        put_line(&s, text);
        ck_assert_int_eq(read_it(&s, &d), 0);
        ck_assert(d.is_sealed == (more == 0));
        mr_dossier_fini(&d);
        scratch_remove(&s);
    }
}
END_TEST

#define DRAWN_SLABS 700

/* What a journal of any slabs in any order says, against a table. */
START_TEST(any_journal_is_read_as_it_was_written)
{
    static struct mr_placement table[DRAWN_SLABS];
    for (unsigned seed = 1; seed <= 20; seed++) {
        struct scratch s = scratch_make();
        struct mr_dossier d;
        uint64_t count = 0, durable = 0, end = 0, doubted = 0;
        dice_seed(seed);
        memset(table, 0, sizeof(table));
        put_open(&s, "a.h5");
        uint64_t below = 1 + dice(DRAWN_SLABS);
        for (uint64_t i = dice(200); i > 0; i--) {
            struct mr_placement p = placed(dice(below), 4096 * dice(100000));
            uint64_t at = scratch_size(&s, NAME);
            put_slab(&s, p.slab, p.offset);
            if (i > 1 && dice(16) == 0) { /* not the last: of some at the end one is told */
                scratch_flip(&s, NAME, at + dice(20));
                doubted++;
                continue;
            }
            durable += table[p.slab].raw_bytes == 0;
            table[p.slab] = p;
            count = p.slab >= count ? p.slab + 1 : count;
            end = p.offset + p.stored_bytes > end ? p.offset + p.stored_bytes : end;
        }
        ck_assert_int_eq(read_it(&s, &d), 0);
        ck_assert_uint_eq(d.slab_count, count);
        ck_assert_uint_eq(d.durable, durable);
        ck_assert_uint_eq(d.space_end, end);
        ck_assert_uint_eq(d.damaged, doubted);
        for (uint64_t i = 0; i < count; i++) {
            ck_assert_uint_eq(d.slabs[i].raw_bytes, table[i].raw_bytes);
            ck_assert_uint_eq(d.slabs[i].offset, table[i].offset);
            ck_assert_uint_eq(d.slabs[i].crc_raw, table[i].crc_raw);
        }
        mr_dossier_fini(&d);
        scratch_remove(&s);
    }
}
END_TEST

START_TEST(slab_may_be_so_far_ahead_and_no_farther)
{
    enum { AHEAD = 1 << 20 };
    struct scratch s = scratch_make();
    struct mr_dossier d;
    put_open(&s, "a.h5");
    put_slab(&s, AHEAD, 4096); /* nothing is durable yet */
    put_slab(&s, AHEAD - 1, 8192);
    put_slab(&s, AHEAD, 12288); /* and now one is */
    put_slab(&s, AHEAD + 2, 16384);
    ck_assert_int_eq(read_it(&s, &d), 0);
    ck_assert_uint_eq(d.damaged, 2);
    ck_assert_uint_eq(d.durable, 2);
    ck_assert_uint_eq(d.slab_count, AHEAD + 1);
    ck_assert_uint_eq(d.slabs[AHEAD].offset, 12288);
    mr_dossier_fini(&d);
    scratch_remove(&s);
}
END_TEST

/* Times of an acquisition come by the agent's clock, which is off by 2 ms here. */
START_TEST(course_is_in_order)
{
    static const struct {
        int64_t opened, started, finished; /* ms; opened: by the server's own clock */
        int64_t from, to;
    } cases[] = {{100, 0, 0, 100, 0},   /* END says nothing */
                 {100, 52, 92, 50, 90}, /* what it says, by this clock */
                 {100, 52, 0, 50, 0},   /* not when it ended */
                 {100, 0, 92, 90, 90},  /* begun after its end */
                 {80, 0, 92, 80, 90},       {100, 95, 92, 90, 90},
                 {100, 52, 1002, 50, 1000}, /* the end is now */
                 {100, 52, 1003, 50, 1000}, /* and cannot come later */
                 {100, 1003, 0, 1000, 0},   /* nor the beginning */
                 {100, 1002, 0, 1000, 0},   {1001, 0, 0, 1000, 0},
                 {100, 1, 2, -1, 0}};
    struct mr_dossier *d = calloc(1, sizeof(*d));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        d->clock_offset_ms = 2;
        d->started_real_ns = cases[i].opened * MR_NS_PER_MS;
        const struct mr_end end = {.started_real_ns = cases[i].started * MR_NS_PER_MS,
                                   .finished_real_ns = cases[i].finished * MR_NS_PER_MS};
        struct mr_course course = mr_dossier_course(d, &end, 1000 * MR_NS_PER_MS);
        ck_assert_msg(course.started_real_ns == cases[i].from * MR_NS_PER_MS, "case %zu", i);
        ck_assert_msg(course.finished_real_ns == cases[i].to * MR_NS_PER_MS, "case %zu", i);
        course = mr_dossier_course(d, NULL, 1000 * MR_NS_PER_MS);
        ck_assert_int_eq(course.started_real_ns, cases[i].opened * MR_NS_PER_MS);
        ck_assert_int_eq(course.finished_real_ns, 0);
    }
    free(d);
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
         T(push_comes_back), T(journals_name_tells_its_generation),
         T(sealed_that_is_no_sealed_is_passed_over), T(path_of_a_sealed_one_has_its_limit),
         T(any_journal_is_read_as_it_was_written), T(slab_may_be_so_far_ahead_and_no_farther),
         T(course_is_in_order), T(names_are_exact))
