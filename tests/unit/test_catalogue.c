/* SPDX-License-Identifier: Apache-2.0 */
/* Does the catalogue know, after any end, what is committed, what is the same and what is old? */
#include "base/clock.h"
#include "catalogue.h"
#include "scratch.h"
#include "sick_disk.h"
#include "suite.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#define LOG "catalogue.log"

static struct mr_ulid id_of(uint32_t n)
{
    struct mr_ulid id = {{0}};
    for (size_t i = 0; i < 4; i++)
        id.bytes[12 + i] = (uint8_t)(n >> (24 - 8 * i));
    return id;
}

static struct mr_catalogue_entry entry_of(uint32_t n)
{
    return (struct mr_catalogue_entry){.id = id_of(n),
                                       .revision = 1,
                                       .agent = "k3",
                                       .source = "grid7/a.mrc",
                                       .output = MR_OUTPUT_MRC,
                                       .geometry = 5,
                                       .path = "k3/grid7/a.mrc",
                                       .bytes = 4,
                                       .mtime_ns = -1,
                                       .digest_file = UINT64_MAX,
                                       .has_pixels = true,
                                       .digest_pixels = 7,
                                       .event = "x.ready",
                                       .sequence = n,
                                       .committed_real_ns = 1000};
}

static struct mr_catalogue *open_it(const struct scratch *s)
{
    struct mr_catalogue *c;
    struct mr_err err = {0};
    ck_assert_msg(mr_catalogue_open(s->fd, &c, NULL, &err) == 0, "%s", err.text);
    return c;
}

static void add(struct mr_catalogue *c, const struct mr_catalogue_entry *e)
{
    struct mr_err err = {0};
    ck_assert_msg(mr_catalogue_add(c, e, &err) == 0, "%s", err.text);
}

START_TEST(entries_come_back_whole)
{
    struct scratch s = scratch_make();
    struct mr_catalogue *c = open_it(&s);
    struct mr_ulid id = id_of(9);
    ck_assert_ptr_null(mr_catalogue_find(c, &id));
    struct mr_catalogue_entry e = entry_of(9);
    e.source = "grid7/\xff.mrc";
    add(c, &e);
    ck_assert_int_eq(mr_catalogue_add(c, &e, NULL), -EEXIST);
    ck_assert_int_eq(mr_catalogue_sync(c, NULL), 0);
    for (int reopened = 0; reopened < 2; reopened++) {
        const struct mr_catalogue_entry *f = mr_catalogue_find(c, &id);
        ck_assert_ptr_nonnull(f);
        ck_assert_uint_eq(f->revision, 1);
        ck_assert_str_eq(f->agent, "k3");
        ck_assert_str_eq(f->source, "grid7/%FF.mrc");
        ck_assert_str_eq(f->path, "k3/grid7/a.mrc");
        ck_assert_str_eq(f->event, "x.ready");
        ck_assert_int_eq(f->mtime_ns, -1);
        ck_assert_uint_eq(f->digest_file, UINT64_MAX);
        ck_assert(f->has_pixels && f->digest_pixels == 7);
        ck_assert_uint_eq(f->sequence, 9);
        mr_catalogue_close(c);
        c = open_it(&s);
    }
    mr_catalogue_close(c);
    scratch_remove(&s);
}
END_TEST

START_TEST(the_newest_revision_counts)
{
    struct scratch s = scratch_make();
    struct mr_catalogue *c = open_it(&s);
    for (uint32_t r = 1; r <= 3; r++) {
        struct mr_catalogue_entry e = entry_of(1);
        e.revision = r;
        e.committed_real_ns = 1000 * r;
        add(c, &e);
    }
    struct mr_ulid id = id_of(1);
    ck_assert_uint_eq(mr_catalogue_find(c, &id)->revision, 3);
    ck_assert_uint_eq(mr_catalogue_find_revision(c, &id, 2)->revision, 2);
    ck_assert_ptr_null(mr_catalogue_find_revision(c, &id, 4));
    mr_catalogue_close(c);
    scratch_remove(&s);
}
END_TEST

struct old {
    struct mr_catalogue *c;
    size_t count;
    uint32_t revisions[4];
};

static int note_old(void *ctx, const struct mr_catalogue_entry *old,
                    const struct mr_catalogue_entry *by)
{
    struct old *o = ctx;
    ck_assert_uint_eq(by->revision, old->revision + 1);
    o->revisions[o->count++] = old->revision;
    return mr_catalogue_expire(o->c, &old->id, old->revision, NULL);
}

START_TEST(old_revisions_have_their_time)
{
    struct scratch s = scratch_make();
    struct mr_catalogue *c = open_it(&s);
    for (uint32_t r = 1; r <= 3; r++) {
        struct mr_catalogue_entry e = entry_of(1);
        e.revision = r;
        e.committed_real_ns = 1000 * r;
        add(c, &e);
    }
    struct old old = {.c = c};
    ck_assert_int_eq(mr_catalogue_superseded(c, 2000, note_old, &old), 0);
    ck_assert_uint_eq(old.count, 0);
    ck_assert_int_eq(mr_catalogue_superseded(c, 2001, note_old, &old), 0);
    ck_assert_uint_eq(old.count, 1);
    ck_assert_uint_eq(old.revisions[0], 1);
    mr_catalogue_close(c);
    old.c = c = open_it(&s);
    ck_assert_uint_eq(mr_catalogue_count(c), 2);
    struct mr_ulid id = id_of(1);
    ck_assert_ptr_null(mr_catalogue_find_revision(c, &id, 1));
    ck_assert_int_eq(mr_catalogue_expire(c, &id, 1, NULL), -ENOENT);
    ck_assert_int_eq(mr_catalogue_superseded(c, INT64_MAX, note_old, &old), 0);
    ck_assert_uint_eq(old.count, 2);
    ck_assert_uint_eq(mr_catalogue_find(c, &id)->revision, 3);
    mr_catalogue_close(c);
    scratch_remove(&s);
}
END_TEST

static int64_t make_file(const struct scratch *s)
{
    struct stat st;
    ck_assert_int_eq(mkdirat(s->fd, "k3", 0700), 0);
    ck_assert_int_eq(mkdirat(s->fd, "k3/grid7", 0700), 0);
    scratch_append(s, "k3/grid7/a.mrc", "abcd");
    ck_assert_int_eq(fstatat(s->fd, "k3/grid7/a.mrc", &st, 0), 0);
    return st.st_mtim.tv_sec * MR_NS_PER_S + st.st_mtim.tv_nsec;
}

/* NULL: there is none. */
static const struct mr_catalogue_entry *content(struct mr_catalogue *c, int root,
                                                const struct mr_catalogue_content *what)
{
    const struct mr_catalogue_entry *found = NULL;
    int r = mr_catalogue_find_content(c, root, what, &found);
    ck_assert(r == 0 || r == -ENOENT);
    return found;
}

START_TEST(the_same_content_is_known)
{
    struct scratch s = scratch_make();
    struct mr_catalogue *c = open_it(&s);
    struct mr_catalogue_entry e = entry_of(1);
    e.mtime_ns = make_file(&s);
    add(c, &e);
    struct mr_catalogue_content what = {.agent = "k3",
                                        .source = "grid7/a.mrc",
                                        .output = MR_OUTPUT_MRC,
                                        .geometry = 5,
                                        .has_pixels = true,
                                        .digest_pixels = 7};
    const struct mr_catalogue_entry *f = content(c, s.fd, &what);
    ck_assert_ptr_nonnull(f);
    struct mr_catalogue_content other = what;
    other.digest_pixels = 8;
    ck_assert_ptr_null(content(c, s.fd, &other));
    other = what;
    other.geometry = 6;
    ck_assert_ptr_null(content(c, s.fd, &other));
    other = what;
    other.output = MR_OUTPUT_KEEP;
    ck_assert_ptr_null(content(c, s.fd, &other));
    other = what;
    other.agent = "k4";
    ck_assert_ptr_null(content(c, s.fd, &other));
    other = what;
    other.has_pixels = false;
    ck_assert_ptr_null(content(c, s.fd, &other));
    other.has_file = true;
    other.digest_file = UINT64_MAX;
    ck_assert_ptr_eq(content(c, s.fd, &other), f);
    /* what cannot be seen is neither there nor gone */
    ck_assert_int_eq(mr_catalogue_find_content(c, -1, &what, &f), -EBADF);
    ck_assert_int_eq(mr_catalogue_is_unchanged(-1, f), -EBADF);
    ck_assert_int_eq(mr_catalogue_is_unchanged(s.fd, f), 1);
    /* a second movie of that name does not hide the first */
    struct mr_catalogue_entry second = entry_of(2);
    second.digest_pixels = 9;
    second.path = "k3/grid7/a_dup2.mrc";
    add(c, &second);
    ck_assert_ptr_eq(content(c, s.fd, &what), f);
    /* changed, replaced by a link, gone */
    scratch_append(&s, "k3/grid7/a.mrc", "e");
    ck_assert_ptr_null(content(c, s.fd, &what));
    ck_assert_int_eq(unlinkat(s.fd, "k3/grid7/a.mrc", 0), 0);
    ck_assert_ptr_null(content(c, s.fd, &what));
    mr_catalogue_close(c);
    scratch_remove(&s);
}
END_TEST

START_TEST(a_kept_file_with_another_header_is_another)
{
    struct scratch s = scratch_make();
    struct mr_catalogue *c = open_it(&s);
    struct mr_catalogue_entry e = entry_of(1);
    e.mtime_ns = make_file(&s);
    e.output = MR_OUTPUT_KEEP;
    add(c, &e);
    struct mr_catalogue_content what = {.agent = "k3",
                                        .source = "grid7/a.mrc",
                                        .output = MR_OUTPUT_KEEP,
                                        .geometry = 5,
                                        .has_file = true,
                                        .has_pixels = true,
                                        .digest_file = UINT64_MAX,
                                        .digest_pixels = 7};
    ck_assert_ptr_nonnull(content(c, s.fd, &what));
    what.digest_file = 3;
    ck_assert_ptr_null(content(c, s.fd, &what));
    mr_catalogue_close(c);
    scratch_remove(&s);
}
END_TEST

START_TEST(a_superseded_revision_is_not_the_same_content)
{
    struct scratch s = scratch_make();
    struct mr_catalogue *c = open_it(&s);
    struct mr_catalogue_entry e = entry_of(1);
    e.mtime_ns = make_file(&s);
    add(c, &e);
    e.revision = 2;
    e.digest_pixels = 8;
    add(c, &e);
    struct mr_catalogue_content what = {.agent = "k3",
                                        .source = "grid7/a.mrc",
                                        .output = MR_OUTPUT_MRC,
                                        .geometry = 5,
                                        .has_pixels = true,
                                        .digest_pixels = 7};
    ck_assert_ptr_null(content(c, s.fd, &what));
    what.digest_pixels = 8;
    ck_assert_ptr_nonnull(content(c, s.fd, &what));
    mr_catalogue_close(c);
    scratch_remove(&s);
}
END_TEST

START_TEST(a_torn_tail_is_cut_and_damage_refused)
{
    struct scratch s = scratch_make();
    struct mr_catalogue *c = open_it(&s);
    for (uint32_t n = 1; n <= 3; n++) {
        struct mr_catalogue_entry e = entry_of(n);
        add(c, &e);
    }
    mr_catalogue_close(c);
    uint64_t size = scratch_size(&s, LOG);
    scratch_cut(&s, LOG, size - 5);
    struct mr_mend_note note = {0};
    ck_assert_int_eq(mr_catalogue_open(s.fd, &c, &note, NULL), 0);
    ck_assert_uint_eq(mr_catalogue_count(c), 2);
    ck_assert_str_eq(note.file, LOG);
    struct mr_catalogue_entry e = entry_of(3);
    add(c, &e);
    mr_catalogue_close(c);
    scratch_flip(&s, LOG, size / 2);
    struct mr_err err = {0};
    ck_assert_int_eq(mr_catalogue_open(s.fd, &c, NULL, &err), -EUCLEAN);
    ck_assert_ptr_nonnull(strstr(err.text, LOG ": damaged record at offset"));
    scratch_remove(&s);
}
END_TEST

/* Of lines in one sync a power cut may keep a later one and lose an earlier one. */
START_TEST(lines_that_were_not_synced_may_have_a_hole)
{
    for (int synced = 0; synced <= 1; synced++) {
        static const char zeros[200];
        struct scratch s = scratch_make();
        struct mr_catalogue *c = open_it(&s);
        struct mr_err err = {0};
        uint64_t ends[4] = {0};
        for (uint32_t n = 1; n <= 3; n++) {
            struct mr_catalogue_entry e = entry_of(n);
            ck_assert_int_eq(mr_catalogue_add(c, &e, &err), 0);
            if (n == 1 || synced)
                ck_assert_int_eq(mr_catalogue_sync(c, &err), 0);
            ends[n] = scratch_size(&s, LOG);
        }
        mr_catalogue_close(c);
        int fd = openat(s.fd, LOG, O_WRONLY | O_CLOEXEC);
        ck_assert_int_eq(pwrite(fd, zeros, 100, (off_t)ends[1]), 100);
        close(fd);
        int r = mr_catalogue_open(s.fd, &c, NULL, &err);
        ck_assert_int_eq(r, synced ? -EUCLEAN : 0);
        if (r == 0) {
            ck_assert_uint_eq(mr_catalogue_count(c), 1);
            ck_assert_uint_eq(scratch_size(&s, LOG), ends[1]);
            mr_catalogue_close(c);
        }
        scratch_remove(&s);
    }
}
END_TEST

START_TEST(without_room_nothing_is_added_and_it_stays_good)
{
    struct scratch s = scratch_make();
    struct mr_catalogue *c = open_it(&s);
    struct mr_catalogue_entry e = entry_of(1);
    struct mr_ulid id = id_of(2);
    add(c, &e);
    e = entry_of(2);
    sick_disk.no_room = EDQUOT;
    ck_assert_int_eq(mr_catalogue_add(c, &e, NULL), -EDQUOT);
    sick_disk.no_room = ENOSPC;
    sick_disk.room_bytes = 30; /* a piece of it */
    ck_assert_int_eq(mr_catalogue_add(c, &e, NULL), -ENOSPC);
    ck_assert_ptr_null(mr_catalogue_find(c, &id));
    ck_assert_int_eq(mr_catalogue_sync(c, NULL), 0);
    sick_disk.no_room = 0;
    add(c, &e);
    ck_assert_int_eq(mr_catalogue_sync(c, NULL), 0);
    mr_catalogue_close(c);
    struct mr_mend_note note = {0};
    ck_assert_int_eq(mr_catalogue_open(s.fd, &c, &note, NULL), 0);
    ck_assert_uint_eq(note.cut_bytes, 0);
    ck_assert_uint_eq(mr_catalogue_count(c), 2);
    e = entry_of(3);
    sick_disk.no_room = EIO; /* that is another matter */
    ck_assert_int_eq(mr_catalogue_add(c, &e, NULL), -EIO);
    sick_disk.no_room = 0;
    ck_assert_int_eq(mr_catalogue_add(c, &e, NULL), -EIO);
    mr_catalogue_close(c);
    scratch_remove(&s);
}
END_TEST

START_TEST(what_cannot_be_a_line_is_refused)
{
    struct scratch s = scratch_make();
    struct mr_catalogue *c = open_it(&s);
    struct mr_catalogue_entry e = entry_of(1);
    struct mr_err err = {0};
    e.path = "\xff";
    ck_assert_int_eq(mr_catalogue_add(c, &e, &err), -EINVAL);
    e = entry_of(1);
    e.revision = 0;
    ck_assert_int_eq(mr_catalogue_add(c, &e, &err), -EINVAL);
    e = entry_of(1);
    e.bytes = UINT64_MAX;
    ck_assert_int_eq(mr_catalogue_add(c, &e, &err), -EINVAL);
    ck_assert_uint_eq(scratch_size(&s, LOG), 0);
    e = entry_of(1);
    add(c, &e);
    mr_catalogue_close(c);
    scratch_remove(&s);
}
END_TEST

START_TEST(a_hundred_thousand_lines_come_back)
{
    struct scratch s = scratch_make();
    struct mr_catalogue *c = open_it(&s);
    for (uint32_t n = 1; n <= 100000; n++) {
        char source[64], path[80];
        snprintf(source, sizeof(source), "grid%u/movie_%07u.mrc", n / 1000, n);
        snprintf(path, sizeof(path), "k3/%s", source);
        struct mr_catalogue_entry e = entry_of(n);
        e.source = source;
        e.path = path;
        add(c, &e);
    }
    mr_catalogue_close(c);
    int64_t begin = mr_clock_monotonic_ns();
    c = open_it(&s);
    int64_t took = mr_clock_monotonic_ns() - begin;
    printf("100,000 lines in %lld ms\n", (long long)(took / MR_NS_PER_MS));
    ck_assert_uint_eq(mr_catalogue_count(c), 100000);
    struct mr_ulid id = id_of(77777);
    ck_assert_str_eq(mr_catalogue_find(c, &id)->source, "grid77/movie_0077777.mrc");
    id = id_of(1);
    ck_assert_str_eq(mr_catalogue_find(c, &id)->path, "k3/grid0/movie_0000001.mrc");
    mr_catalogue_close(c);
    scratch_remove(&s);
}
END_TEST

static _Atomic bool adding_ended;

static void *ask_along(void *arg)
{
    struct mr_catalogue *c = arg;
    while (!atomic_load(&adding_ended)) {
        const struct mr_catalogue_content what = {.agent = "k3", .source = "grid7/a.mrc"};
        const struct mr_catalogue_entry
            *e; /* none of this output: all of the source are gone through */
        if (mr_catalogue_find_content(c, AT_FDCWD, &what, &e) != -ENOENT)
            return c;
        struct mr_ulid id = id_of(500);
        e = mr_catalogue_find(c, &id);
        if (e && e->sequence != 500)
            return c;
    }
    return NULL;
}

START_TEST(questions_go_along_with_adding)
{
    struct scratch s = scratch_make();
    struct mr_catalogue *c = open_it(&s);
    pthread_t thread;
    void *failed;
    atomic_store(&adding_ended, false);
    ck_assert_int_eq(pthread_create(&thread, NULL, ask_along, c), 0);
    for (uint32_t n = 1; n <= 2000; n++) {
        struct mr_catalogue_entry e = entry_of(n);
        add(c, &e);
    }
    atomic_store(&adding_ended, true);
    pthread_join(thread, &failed);
    ck_assert_ptr_null(failed);
    mr_catalogue_close(c);
    scratch_remove(&s);
}
END_TEST

START_TEST(geometries_have_keys)
{
    struct mr_geometry a, b;
    ck_assert_int_eq(
        mr_geometry_frames(MR_LAYOUT_BYTES, MR_PIXEL_I16, false, 64, 32, 1024, 0, &a, NULL), 0);
    b = a;
    ck_assert_uint_eq(mr_catalogue_geometry_key(&a), mr_catalogue_geometry_key(&b));
    b.width = 65;
    ck_assert_uint_ne(mr_catalogue_geometry_key(&a), mr_catalogue_geometry_key(&b));
    mr_geometry_opaque(&b);
    ck_assert_uint_ne(mr_catalogue_geometry_key(&a), mr_catalogue_geometry_key(&b));
}
END_TEST

MR_SUITE("catalogue", T(entries_come_back_whole), T(the_newest_revision_counts),
         T(old_revisions_have_their_time), T(the_same_content_is_known),
         T(a_kept_file_with_another_header_is_another),
         T(a_superseded_revision_is_not_the_same_content), T(a_torn_tail_is_cut_and_damage_refused),
         T(lines_that_were_not_synced_may_have_a_hole),
         T(without_room_nothing_is_added_and_it_stays_good), T(what_cannot_be_a_line_is_refused),
         T(a_hundred_thousand_lines_come_back), T(questions_go_along_with_adding),
         T(geometries_have_keys))
