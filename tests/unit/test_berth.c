/* SPDX-License-Identifier: Apache-2.0 */
/* Where movies land: new, resumed, doubted, changed, committed before, refused. */
#include "berth.h"

#include "announce.h"
#include "dossier.h"
#include "finish.h"
#include "sick_disk.h"
#include "store_rig.h"
#include "suite.h"

static size_t durable(const struct mr_berth_answer *answer, uint64_t slab)
{
    size_t hits = 0;
    for (size_t i = 0; i < answer->durable_count; i++) {
        const struct mr_range *range = &answer->durable[i];
        hits += slab >= range->first && slab - range->first < range->count;
    }
    return hits;
}

static void part_path(const struct mr_movie *movie, const char *dir, char ret[256])
{
    snprintf(ret, 256, "%s/.millrace/%s", dir, movie->part_name);
}

START_TEST(new_movie_has_part_and_journal)
{
    struct rig rig;
    struct mr_dossier d;
    char part[256];
    struct stat st;
    rig_make(&rig);
    struct mr_open open = rig_movie(MR_OUTPUT_HDF5, 2048, 2501, "grid7/a.mrc");
    open.source_bytes_expected = 77;
    struct mr_berth_answer answer = rig_ask(&rig, &open);
    ck_assert_ptr_nonnull(answer.movie);
    ck_assert(!answer.resumed);
    ck_assert_uint_eq(answer.durable_count, 0);
    ck_assert_uint_eq(answer.movie->generation, 1);
    ck_assert_uint_eq(atomic_load(&answer.movie->space_end), MR_SLAB_ALIGN);
    part_path(answer.movie, "k3/grid7", part);
    ck_assert_int_eq(fstatat(rig.store.root_fd, part, &st, 0), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0640);
    ck_assert_int_eq(fstatat(rig.store.root_fd, "k3/grid7", &st, 0), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0750);
    rig_dossier(&rig, answer.movie, &d);
    ck_assert_str_eq(d.path, "k3/grid7/a.h5");
    ck_assert_str_eq(d.agent, "k3");
    ck_assert_int_eq(d.clock_offset_ms, 5);
    ck_assert_uint_eq(d.open.source_bytes_expected, 77);
    ck_assert_mem_eq(&d.open.geometry, &open.geometry, sizeof(open.geometry));
    mr_dossier_fini(&d);
    rig_forget(&answer);
    rig_end(&rig);
}
END_TEST

START_TEST(resumed_movie_brings_its_durable_set)
{
    struct rig rig;
    rig_make(&rig);
    struct mr_open open = rig_movie(MR_OUTPUT_HDF5, 2048, 2501, "a.mrc");
    struct mr_extent extent = rig_extent(&open, 4); /* 8 slabs */
    struct mr_movie *movie = rig_begin(&rig, &open);
    static const uint64_t landed[] = {0, 1, 2, 5, 7};
    for (size_t i = 0; i < 5; i++)
        rig_land(movie, &extent, landed[i], 1);
    uint64_t end = atomic_load(&movie->space_end);
    mr_movie_release(movie);
    rig_restart(&rig);
    open.pixel_size_angstrom = 1.2; /* better known by now: the same movie */
    struct mr_berth_answer answer = rig_ask(&rig, &open);
    ck_assert_ptr_nonnull(answer.movie);
    ck_assert(answer.resumed);
    ck_assert_uint_eq(answer.movie->generation, 1);
    ck_assert_uint_eq(answer.durable_count, 3);
    for (uint64_t i = 0; i < 8; i++)
        ck_assert_uint_eq(durable(&answer, i), i <= 2 || i == 5 || i == 7);
    ck_assert_uint_ge(atomic_load(&answer.movie->space_end), end);
    ck_assert_uint_eq(atomic_load(&answer.movie->space_end) % MR_MOVIE_SLACK, 0);
    rig_forget(&answer);
    rig_end(&rig);
}
END_TEST

START_TEST(doubted_slabs_that_do_not_read_back_are_dropped)
{
    static const enum mr_output outputs[] = {MR_OUTPUT_KEEP, MR_OUTPUT_MRC, MR_OUTPUT_HDF5};
    for (size_t o = 0; o < 3; o++) {
        struct rig rig;
        char part[256];
        struct mr_dossier d;
        rig_make(&rig);
        struct mr_open open = rig_movie(outputs[o], 2000, 2000, "a.mrc");
        struct mr_extent extent = rig_extent(&open, 5);
        struct mr_movie *movie = rig_begin(&rig, &open);
        uint64_t count = rig_land_all(movie, &extent, 1);
        part_path(movie, "k3", part);
        rig_dossier(&rig, movie, &d);
        scratch_flip(&rig.scratch, part, d.slabs[1].offset + d.slabs[1].stored_bytes - 1);
        scratch_cut(&rig.scratch, part, d.slabs[count - 1].offset + 10);
        uint64_t last_offset = d.slabs[count - 1].offset;
        rig_restart(&rig);
        ck_assert_int_eq(mr_berth_note_left(rig.berth, &open.movie), 0);
        struct mr_berth_answer answer = rig_ask(&rig, &open);
        ck_assert_ptr_nonnull(answer.movie);
        for (uint64_t i = 0; i < count; i++)
            ck_assert_uint_eq(durable(&answer, i), i != 1 && d.slabs[i].offset < last_offset);
        mr_dossier_fini(&d);
        rig_forget(&answer);
        mr_movie_release(movie);
        rig_end(&rig);
    }
}
END_TEST

START_TEST(damaged_record_counts_as_not_durable)
{
    struct rig rig;
    char journal[128];
    rig_make(&rig);
    struct mr_open open = rig_movie(MR_OUTPUT_KEEP, 2000, 2000, "a.mrc");
    struct mr_extent extent = rig_extent(&open, 5);
    struct mr_movie *movie = rig_begin(&rig, &open);
    snprintf(journal, sizeof(journal), ".millrace/journal/%s", movie->journal_name);
    uint64_t before = scratch_size(&rig.scratch, journal);
    rig_land_all(movie, &extent, 1); /* the first line is the last slab's */
    scratch_flip(&rig.scratch, journal, before + 20);
    mr_movie_release(movie);
    rig_restart(&rig);
    struct mr_berth_answer answer = rig_ask(&rig, &open);
    ck_assert_uint_eq(durable(&answer, 4), 0);
    ck_assert_uint_eq(durable(&answer, 3), 1);
    rig_forget(&answer);
    rig_end(&rig);
}
END_TEST

START_TEST(torn_record_does_not_swallow_the_next)
{
    struct rig rig;
    char journal[128];
    rig_make(&rig);
    struct mr_open open = rig_movie(MR_OUTPUT_KEEP, 2000, 2000, "a.mrc");
    struct mr_extent extent = rig_extent(&open, 5);
    struct mr_movie *movie = rig_begin(&rig, &open);
    rig_land(movie, &extent, 0, 1);
    snprintf(journal, sizeof(journal), ".millrace/journal/%s", movie->journal_name);
    scratch_append(&rig.scratch, journal, "0123456789abcdef SLAB 1 4");
    mr_movie_release(movie);
    for (uint64_t i = 1; i < 3; i++) { /* a life of the server each */
        rig_restart(&rig);
        struct mr_berth_answer answer = rig_ask(&rig, &open);
        ck_assert_ptr_nonnull(answer.movie);
        for (uint64_t k = 0; k < 3; k++)
            ck_assert_uint_eq(durable(&answer, k), k < i);
        rig_land(answer.movie, &extent, i, 1);
        rig_forget(&answer);
    }
    rig_end(&rig);
}
END_TEST

START_TEST(another_geometry_is_another_generation)
{
    struct rig rig;
    char part[256];
    rig_make(&rig);
    struct mr_open open = rig_movie(MR_OUTPUT_KEEP, 2000, 2000, "a.mrc");
    struct mr_extent extent = rig_extent(&open, 5);
    struct mr_movie *movie = rig_begin(&rig, &open);
    rig_land_all(movie, &extent, 1);
    part_path(movie, "k3", part);
    mr_movie_release(movie);
    struct mr_open other = rig_movie(MR_OUTPUT_KEEP, 1000, 2000, "a.mrc");
    other.movie = open.movie;
    struct mr_berth_answer answer = rig_ask(&rig, &other);
    ck_assert_ptr_nonnull(answer.movie);
    ck_assert(!answer.resumed);
    ck_assert_uint_eq(answer.movie->generation, 2);
    ck_assert_uint_eq(answer.durable_count, 0);
    ck_assert(!rig_has(&rig, part));
    rig_forget(&answer);
    rig_end(&rig);
}
END_TEST

/* Of keep and mrc it is the link's alone: what is durable stays so, and slabs come as was said
 * last.
 */
START_TEST(another_codec_is_the_same_movie)
{
    static const enum mr_output outputs[] = {MR_OUTPUT_KEEP, MR_OUTPUT_MRC, MR_OUTPUT_HDF5};
    struct rig rig;
    rig_make(&rig);
    for (size_t i = 0; i < 3; i++) {
        char name[] = "a.mrc";
        name[0] = (char)('a' + i);
        struct mr_open open = rig_movie(outputs[i], 2000, 2000, name);
        struct mr_extent extent = rig_extent(&open, 5);
        struct mr_movie *movie = rig_begin(&rig, &open);
        rig_land(movie, &extent, 0, 1);
        mr_movie_release(movie);
        open.codec = MR_CODEC_BSZSTD;
        struct mr_berth_answer answer = rig_ask(&rig, &open);
        ck_assert_ptr_nonnull(answer.movie);
        ck_assert(answer.resumed == (outputs[i] != MR_OUTPUT_HDF5));
        ck_assert_uint_eq(answer.durable_count, outputs[i] != MR_OUTPUT_HDF5);
        ck_assert_int_eq(answer.movie->codec, MR_CODEC_BSZSTD);
        rig_forget(&answer);
    }
    rig_end(&rig);
}
END_TEST

START_TEST(lost_part_voids_its_journal)
{
    struct rig rig;
    char part[256];
    rig_make(&rig);
    struct mr_open open = rig_movie(MR_OUTPUT_KEEP, 2000, 2000, "g/a.mrc");
    struct mr_extent extent = rig_extent(&open, 5);
    struct mr_movie *movie = rig_begin(&rig, &open);
    rig_land_all(movie, &extent, 1);
    part_path(movie, "k3/g", part);
    mr_movie_release(movie);
    ck_assert_int_eq(unlinkat(rig.store.root_fd, part, 0), 0);
    struct mr_berth_answer answer = rig_ask(&rig, &open);
    ck_assert_ptr_nonnull(answer.movie);
    ck_assert(!answer.resumed);
    ck_assert_uint_eq(answer.movie->generation, 2);
    ck_assert_uint_eq(answer.durable_count, 0);
    rig_forget(&answer);
    rig_end(&rig);
}
END_TEST

START_TEST(unreadable_open_record_begins_again)
{
    struct rig rig;
    char journal[128];
    rig_make(&rig);
    struct mr_open open = rig_movie(MR_OUTPUT_KEEP, 2000, 2000, "a.mrc");
    struct mr_extent extent = rig_extent(&open, 5);
    struct mr_movie *movie = rig_begin(&rig, &open);
    rig_land_all(movie, &extent, 1);
    snprintf(journal, sizeof(journal), ".millrace/journal/%s", movie->journal_name);
    mr_movie_release(movie);
    scratch_flip(&rig.scratch, journal, 30);
    struct mr_berth_answer answer = rig_ask(&rig, &open);
    ck_assert_ptr_nonnull(answer.movie);
    ck_assert(!answer.resumed);
    ck_assert_uint_eq(answer.movie->generation, 2);
    ck_assert(rig_has(&rig, journal)); /* for a person to look at */
    rig_forget(&answer);
    rig_end(&rig);
}
END_TEST

START_TEST(tainted_movie_leaves_nothing)
{
    struct rig rig;
    char part[256], journal[128];
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    struct mr_movie *movie = rig_begin(&rig, &open);
    part_path(movie, "k3", part);
    snprintf(journal, sizeof(journal), ".millrace/journal/%s", movie->journal_name);
    struct mr_berth_job job = {.kind = MR_BERTH_RELEASE, .movie = movie, .distrusted = true};
    mr_berth_do(rig.berth, &job);
    ck_assert(!rig_has(&rig, part));
    ck_assert(!rig_has(&rig, journal));
    rig_end(&rig);
}
END_TEST

static void commit(struct rig *rig, const struct mr_open *open)
{
    struct mr_dossier d = {0};
    struct mr_extent extent = rig_extent(open, 5000);
    struct mr_movie *movie = rig_begin(rig, open);
    rig_land_all(movie, &extent, 1);
    struct mr_end end = rig_end_of(movie, open, &extent, 1);
    rig_dossier(rig, movie, &d);
    rig_finish(rig, movie, &end, &d);
    rig_walk(rig, &d, RIG_RECORDED);
    mr_dossier_fini(&d);
    mr_movie_release(movie);
}

START_TEST(committed_movie_is_answered_from_the_catalogue)
{
    struct rig rig;
    char id[MR_ULID_TEXT], event[MR_EVENT_ID_MAX + 1], path[128];
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    commit(&rig, &open);
    rig_restart(&rig);
    struct mr_berth_answer answer = rig_ask(&rig, &open);
    ck_assert_ptr_null(answer.movie);
    ck_assert_int_eq(answer.message->type, MR_COMMITTED);
    ck_assert_uint_eq(answer.message->committed.sequence, 1);
    ck_assert_uint_eq(answer.message->committed.source_bytes, 5000);
    snprintf(event, sizeof(event), "%s.ready", mr_ulid_text(&open.movie, id));
    ck_assert_str_eq(answer.message->committed.event, event);
    snprintf(path, sizeof(path), "%s/k3/a.log", rig.store.root);
    ck_assert_str_eq(answer.message->committed.path, path);
    rig_forget(&answer);
    open.revision = 2; /* is another thing, and goes where the first one is */
    answer = rig_ask(&rig, &open);
    ck_assert_ptr_nonnull(answer.movie);
    ck_assert_uint_eq(answer.movie->revision, 2);
    rig_forget(&answer);
    rig_end(&rig);
}
END_TEST

START_TEST(sealed_movie_is_not_touched)
{
    struct rig rig;
    struct mr_dossier d;
    struct mr_err err = {0};
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    struct mr_movie *movie = rig_begin(&rig, &open);
    rig_dossier(&rig, movie, &d);
    memcpy(d.sealed.path, d.path, sizeof(d.path));
    d.sealed.event = strdup("{}");
    ck_assert_int_eq(mr_commit_seal(&rig.commit, &d, &err), 0);
    struct mr_berth_answer answer = rig_ask(&rig, &open);
    ck_assert_ptr_null(answer.movie);
    ck_assert_int_eq(answer.message->type, MR_HOLD);
    rig_forget(&answer);
    mr_dossier_fini(&d);
    mr_movie_release(movie);
    rig_end(&rig);
}
END_TEST

/* An empty folder is of a verdict that a crash cut off: it was told as FAILED, without an event. */
START_TEST(failed_movie_stays_failed)
{
    struct rig rig;
    char id[MR_ULID_TEXT], kept[128];
    rig_make(&rig);
    struct mr_open open = rig_file("a.log"), cut_off = rig_file("b.log");
    struct mr_open elsewhere = rig_file("c.log"); /* beside its own folder, for a quota's sake */
    ck_assert_int_eq(mkdirat(rig.store.failed_fd, mr_ulid_text(&cut_off.movie, id), 0700), 0);
    mr_movie_release(rig_begin(&rig, &cut_off));
    ck_assert_int_eq(faccessat(rig.store.failed_fd, id, F_OK, 0), -1);
    ck_assert_int_eq(mkdirat(rig.store.failed_fd, mr_ulid_text(&open.movie, id), 0700), 0);
    snprintf(kept, sizeof(kept), ".millrace/failed/%s/a.log", id);
    scratch_append(&rig.scratch, kept, "kept");
    struct mr_berth_answer answer = rig_ask(&rig, &open);
    ck_assert_ptr_null(answer.movie);
    ck_assert_int_eq(answer.message->type, MR_FAILED);
    ck_assert_uint_eq(answer.message->failed.code, MR_REASON_SOURCE);
    rig_forget(&answer);
    snprintf(kept, sizeof(kept), "k3/.millrace/failed/%s", mr_ulid_text(&elsewhere.movie, id));
    close(mr_fs_mkdirs_durable(rig.store.root_fd, kept, 0700, (gid_t)-1));
    snprintf(kept, sizeof(kept), "k3/.millrace/failed/%s/c.log", id);
    scratch_append(&rig.scratch, kept, "kept");
    answer = rig_ask(&rig, &elsewhere);
    ck_assert_ptr_null(answer.movie);
    ck_assert_int_eq(answer.message->type, MR_FAILED);
    rig_forget(&answer);
    rig_end(&rig);
}
END_TEST

/* Where files may be made, but not for this one: it alone fails, and leaves nothing. */
START_TEST(quota_and_group_fail_one_movie)
{
    for (int group = 0; group < 2; group++) {
        struct rig rig;
        rig_make(&rig);
        struct mr_open open = rig_file("a.log"), next = rig_file("b.log");
        bool root = geteuid() == 0; /* root may use any group, so it must be nobody */
        if (group == 0)
            sick_disk.no_room = EDQUOT;
        else
            rig.store.group = 1;
        if (group != 0 && root) {
            ck_assert_int_eq(fchown(rig.store.root_fd, 65534, (gid_t)-1), 0);
            ck_assert_int_eq(fchown(rig.store.journal_fd, 65534, (gid_t)-1), 0);
            ck_assert_int_eq(seteuid(65534), 0);
        }
        struct mr_berth_answer answer = rig_ask(&rig, &open);
        if (group != 0 && root)
            ck_assert_int_eq(seteuid(0), 0);
        ck_assert_ptr_null(answer.movie);
        ck_assert_int_eq(answer.message->type, MR_FAILED);
        ck_assert_uint_eq(answer.message->failed.code, MR_REASON_PERMISSION);
        rig_forget(&answer);
        sick_disk.no_room = 0;
        rig.store.group = (gid_t)-1;
        mr_movie_release(rig_begin(&rig, &next));
        rig_end(&rig);
    }
}
END_TEST

START_TEST(full_store_lets_agents_wait)
{
    struct rig rig;
    rig_make(&rig);
    rig.config.keep_free_hundredths = 10000; /* all of it: there is always less */
    struct mr_open running = rig_file("a.log"), later = rig_file("b.log");
    struct mr_movie *movie = rig_begin(&rig, &running);
    mr_movie_release(movie);
    rig_restart(&rig);
    struct mr_berth_answer answer = rig_ask(&rig, &later);
    ck_assert_ptr_null(answer.movie);
    ck_assert_int_eq(answer.message->type, MR_HOLD);
    ck_assert_uint_eq(answer.message->hold.code, MR_REASON_NO_SPACE);
    ck_assert_uint_gt(answer.message->hold.retry_ms, 0);
    rig_forget(&answer);
    answer = rig_ask(&rig, &running); /* what has begun is finished */
    ck_assert_ptr_nonnull(answer.movie);
    rig_forget(&answer);
    rig_end(&rig);
}
END_TEST

START_TEST(bad_names_are_refused_for_good)
{
    static const char *const names[] = {"../a.mrc",        "/etc/passwd", "a//b.mrc", "a/./b.mrc",
                                        ".millrace/x.mrc", "a\nb.mrc",    ""};
    struct rig rig;
    rig_make(&rig);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct mr_open open = rig_file(names[i]);
        struct mr_berth_answer answer = rig_ask(&rig, &open);
        ck_assert_msg(answer.movie == NULL, "%s", names[i]);
        ck_assert_int_eq(answer.message->type, MR_FAILED);
        ck_assert_uint_eq(answer.message->failed.code, MR_REASON_BAD_NAME);
        rig_forget(&answer);
    }
    rig_end(&rig);
}
END_TEST

START_TEST(links_out_of_the_store_are_not_followed)
{
    struct rig rig;
    rig_make(&rig);
    ck_assert_int_eq(symlinkat("/tmp", rig.store.root_fd, "k3"), 0);
    struct mr_open open = rig_file("a.log");
    struct mr_berth_answer answer = rig_ask(&rig, &open);
    ck_assert_ptr_null(answer.movie);
    ck_assert_int_eq(answer.message->type, MR_HOLD);
    rig_forget(&answer);
    rig_end(&rig);
}
END_TEST

static void tidy(void *ctx)
{
    struct rig *rig = ctx;
    mr_store_tidy(&rig->store, "k3/before.log");
    ck_assert(!rig_has(rig, "k3/.millrace"));
}

/* The seal stage takes the empty directory away just as the next movie is to begin in it. */
START_TEST(directory_that_is_tidied_away_is_made_again)
{
    struct rig rig;
    char part[256];
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    sick_disk.after_fdatasync = tidy;
    sick_disk.ctx = &rig;
    struct mr_movie *movie = rig_begin(&rig, &open);
    part_path(movie, "k3", part);
    ck_assert(rig_has(&rig, part));
    mr_movie_release(movie);
    rig_end(&rig);
}
END_TEST

/* Records of a server that was killed are read from memory: they may not be on the disk yet. */
START_TEST(durable_set_is_synced_before_it_is_told)
{
    struct rig rig;
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    struct mr_extent extent = rig_extent(&open, 5000);
    struct mr_movie *movie = rig_begin(&rig, &open);
    rig_land_all(movie, &extent, 1);
    mr_movie_release(movie);
    rig_restart(&rig);
    sick_disk.fdatasyncs = 0;
    struct mr_berth_answer answer = rig_ask(&rig, &open);
    ck_assert(answer.resumed);
    ck_assert_uint_eq(answer.durable_count, 1);
    ck_assert_int_ge(sick_disk.fdatasyncs, 1);
    rig_forget(&answer);
    sick_disk.fail_fdatasync = 1; /* then the records are not to be relied on */
    answer = rig_ask(&rig, &open);
    ck_assert_ptr_null(answer.movie);
    ck_assert_int_eq(answer.message->type, MR_HOLD);
    rig_forget(&answer);
    answer = rig_ask(&rig, &open);
    ck_assert_ptr_nonnull(answer.movie);
    ck_assert(!answer.resumed);
    rig_forget(&answer);
    rig_end(&rig);
}
END_TEST

/* A sync of it failed, and it could not be removed: what memory says of it is not to be believed.
 */
START_TEST(tainted_movie_that_stays_is_read_back)
{
    for (int journal = 0; journal <= 1; journal++) {
        struct rig rig;
        char part[256];
        rig_make(&rig);
        struct mr_open open = rig_file("a.log");
        struct mr_extent extent = rig_extent(&open, 5000);
        struct mr_movie *movie = rig_begin(&rig, &open);
        rig_land_all(movie, &extent, 1);
        part_path(movie, "k3", part);
        sick_disk.no_unlinks = EIO;
        struct mr_berth_job job = {
            .kind = MR_BERTH_RELEASE, .movie = movie, .distrusted = journal == 0};
        mr_berth_do(rig.berth, &job);
        if (journal) {
            sick_disk.fail_fdatasync = 1;
            struct mr_berth_answer answer = rig_ask(&rig, &open);
            ck_assert_int_eq(answer.message->type, MR_HOLD);
            rig_forget(&answer);
        }
        sick_disk.no_unlinks = 0;
        ck_assert(rig_has(&rig, part));
        scratch_flip(&rig.scratch, part, 7);
        struct mr_berth_answer answer = rig_ask(&rig, &open);
        ck_assert_ptr_nonnull(answer.movie);
        ck_assert_uint_eq(answer.durable_count, 0);
        rig_forget(&answer);
        rig_end(&rig);
    }
}
END_TEST

/* Memory may have one that a sync which failed kept from the disk. */
START_TEST(size_of_a_part_of_an_earlier_life_is_set_anew)
{
    struct rig rig;
    char part[256];
    struct mr_fs_facts after;
    const struct timespec long_ago[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    struct mr_extent extent = rig_extent(&open, 5000);
    struct mr_movie *movie = rig_begin(&rig, &open);
    rig_land_all(movie, &extent, 1);
    part_path(movie, "k3", part);
    mr_movie_release(movie);
    ck_assert_int_eq(utimensat(rig.store.root_fd, part, long_ago, 0), 0);
    rig_restart(&rig);
    ck_assert_int_eq(mr_berth_note_left(rig.berth, &open.movie), 0);
    struct mr_berth_answer answer = rig_ask(&rig, &open);
    ck_assert(answer.resumed);
    ck_assert_uint_eq(answer.durable_count, 1);
    ck_assert_int_eq(mr_fs_stat(rig.store.root_fd, part, &after), 0);
    ck_assert_uint_eq(after.size, 5000);
    ck_assert_int_gt(after.mtime_ns, 2 * MR_NS_PER_S); /* changed, and back */
    rig_forget(&answer);
    rig_end(&rig);
}
END_TEST

MR_SUITE("berth", T(new_movie_has_part_and_journal), T(resumed_movie_brings_its_durable_set),
         T(doubted_slabs_that_do_not_read_back_are_dropped),
         T(damaged_record_counts_as_not_durable), T(torn_record_does_not_swallow_the_next),
         T(another_geometry_is_another_generation), T(another_codec_is_the_same_movie),
         T(lost_part_voids_its_journal), T(unreadable_open_record_begins_again),
         T(tainted_movie_leaves_nothing), T(committed_movie_is_answered_from_the_catalogue),
         T(sealed_movie_is_not_touched), T(failed_movie_stays_failed),
         T(quota_and_group_fail_one_movie), T(full_store_lets_agents_wait),
         T(bad_names_are_refused_for_good), T(links_out_of_the_store_are_not_followed),
         T(directory_that_is_tidied_away_is_made_again), T(durable_set_is_synced_before_it_is_told),
         T(tainted_movie_that_stays_is_read_back), T(size_of_a_part_of_an_earlier_life_is_set_anew))
