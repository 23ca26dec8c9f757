/* SPDX-License-Identifier: Apache-2.0 */
/* The commit interrupted behind each of its steps and finished by recovery: one event, one file. */
#include "commit.h"

#include "announce.h"
#include "base/json.h"
#include "finish.h"
#include "recovery.h"
#include "sick_disk.h"
#include "store_rig.h"
#include "suite.h"

#include <dirent.h>

/* ---- what was logged ---- */

struct logged {
    uint64_t count;
    char id[MR_EVENT_ID_MAX + 1], type[MR_EVENT_TYPE_MAX + 1];
    char path[512], relative[512], file[512];
};

static int take(void *ctx, const struct mr_eventlog_record *record)
{
    struct logged *logged = ctx;
    MR_CLEANUP(mr_json_freep) struct mr_json *json = NULL;
    const char *path, *relative;
    const struct mr_json *data, *files;
    logged->count++;
    snprintf(logged->id, sizeof(logged->id), "%s", record->id);
    snprintf(logged->type, sizeof(logged->type), "%s", record->type);
    ck_assert_int_eq(mr_json_parse(record->json, record->json_bytes, &json, NULL), 0);
    ck_assert_int_eq(mr_json_need_object(json, "data", &data, NULL), 0);
    ck_assert_int_eq(mr_json_need_string(data, "path", &path, NULL), 0);
    ck_assert_int_eq(mr_json_need_string(data, "relative_path", &relative, NULL), 0);
    snprintf(logged->path, sizeof(logged->path), "%s", path);
    snprintf(logged->relative, sizeof(logged->relative), "%s", relative);
    if (mr_json_get(data, "files") != NULL) {
        ck_assert_int_eq(mr_json_need_array(data, "files", &files, NULL), 0);
        ck_assert_int_eq(mr_json_need_string(mr_json_at(files, 0), "path", &path, NULL), 0);
        snprintf(logged->file, sizeof(logged->file), "%s", path);
    }
    return 0;
}

static struct logged read_log(struct rig *rig)
{
    struct logged logged = {0};
    ck_assert_int_eq(mr_eventlog_read(rig->eventlog, 1, 1000, take, &logged), 0);
    return logged;
}

static size_t count_journals(const struct rig *rig)
{
    size_t count = 0;
    int fd = openat(rig->store.journal_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fdopendir(fd);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

/* ---- a movie on its way ---- */

static struct mr_dossier *finished(struct rig *rig, const struct mr_open *open, unsigned seed)
{
    struct mr_dossier *d = calloc(1, sizeof(*d));
    struct mr_extent extent = rig_extent(open, 5000);
    struct mr_movie *movie = rig_begin(rig, open);
    rig_land_all(movie, &extent, seed);
    struct mr_end end = rig_end_of(movie, open, &extent, seed);
    rig_dossier(rig, movie, d);
    rig_finish(rig, movie, &end, d);
    mr_movie_release(movie);
    return d;
}

static void drop(struct mr_dossier *d)
{
    mr_dossier_fini(d);
    free(d);
}

static int unfinished_count;

static void unfinished(void *ctx, const struct mr_ulid *id)
{
    (void)ctx;
    (void)id;
    unfinished_count++;
}

static int doubted_count;

/* As recheck and seal do, where all of it reads back. */
static void sealed(void *ctx, struct mr_dossier *d, enum mr_commit_state state)
{
    struct rig *rig = ctx;
    struct mr_err err = {0};
    uint64_t sequence;
    doubted_count += state == MR_COMMIT_DOUBTED;
    int r = mr_commit_place(&rig->commit, d, &err);
    if (r == 0)
        ck_assert_int_eq(mr_commit_record(&rig->commit, &d, 1, &sequence, &err), 0);
    if (r == -ENOENT)
        ck_assert_int_eq(mr_commit_vanished(&rig->commit, d), 0);
    drop(d);
}

static void recover(struct rig *rig)
{
    struct mr_err err = {0};
    const struct mr_recovery_found found = {.ctx = rig, .unfinished = unfinished, .sealed = sealed};
    rig_restart(rig);
    unfinished_count = doubted_count = 0;
    ck_assert_msg(mr_recovery_run(&rig->commit, &found, &err) == 0, "%s", err.text);
}

static void check_committed(struct rig *rig, const struct mr_open *open, const char *path,
                            uint64_t events)
{
    uint64_t bytes;
    struct logged logged = read_log(rig);
    const struct mr_catalogue_entry *entry =
        mr_catalogue_find_revision(rig->catalogue, &open->movie, open->revision);
    ck_assert_ptr_nonnull(entry);
    ck_assert_str_eq(entry->path, path);
    ck_assert_str_eq(entry->event, logged.id);
    ck_assert_uint_eq(entry->sequence, events);
    ck_assert_uint_eq(logged.count, events);
    ck_assert_str_eq(logged.relative, path);
    ck_assert_uint_eq(rig_file_crc(rig, path, &bytes), entry->digest_file);
    ck_assert_uint_eq(bytes, 5000);
    ck_assert_uint_eq(count_journals(rig), 0);
}

START_TEST(every_step_can_be_entered_again)
{
    for (int step = RIG_SEALED; step < RIG_STEPS; step++) {
        struct rig rig;
        rig_make(&rig);
        struct mr_open open = rig_file("grid7/a.log");
        struct mr_dossier *d = finished(&rig, &open, 1);
        rig_walk(&rig, d, (enum rig_step)step);
        drop(d);
        for (int again = 0; again < 2; again++) { /* and once more over a finished commit */
            recover(&rig);
            check_committed(&rig, &open, "k3/grid7/a.log", 1);
            ck_assert_int_eq(unfinished_count, 0);
            /* what was announced is not doubted any more: --verify's affair */
            ck_assert_int_eq(doubted_count, again == 0 && step < RIG_LOGGED);
        }
        ck_assert(!rig_has(&rig, "k3/grid7/.millrace"));
        rig_end(&rig);
    }
}
END_TEST

START_TEST(what_was_not_sealed_is_resumed)
{
    struct rig rig;
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    struct mr_dossier *d = finished(&rig, &open, 1);
    drop(d);
    recover(&rig);
    ck_assert_int_eq(unfinished_count, 1);
    ck_assert_uint_eq(read_log(&rig).count, 0);
    ck_assert(!rig_has(&rig, "k3/a.log"));
    ck_assert_uint_eq(count_journals(&rig), 1);
    rig_end(&rig);
}
END_TEST

static int count_record(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    (void)ctx, (void)text, (void)bytes, (void)offset;
    return 0;
}

static void occupy(const struct rig *rig, const char *path)
{
    int fd = openat(rig->store.root_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, "mine", 4), 4);
    close(fd);
}

START_TEST(name_taken_meanwhile_is_not_overwritten)
{
    for (int recovering = 0; recovering < 2; recovering++) {
        struct rig rig;
        uint64_t bytes;
        rig_make(&rig);
        struct mr_open open = rig_file("a.log");
        struct mr_dossier *d = finished(&rig, &open, 1);
        rig_walk(&rig, d, RIG_SEALED);
        occupy(&rig, "k3/a.log");
        occupy(&rig, "k3/a_dup2.log");
        if (recovering == 0)
            rig_walk(&rig, d, RIG_RECORDED);
        else
            recover(&rig);
        drop(d);
        check_committed(&rig, &open, "k3/a_dup3.log", 1);
        rig_file_crc(&rig, "k3/a.log", &bytes);
        ck_assert_uint_eq(bytes, 4);
        struct logged logged = read_log(&rig);
        char full[600];
        snprintf(full, sizeof(full), "%s/k3/a_dup3.log", rig.store.root);
        ck_assert_str_eq(logged.path, full);
        ck_assert_str_eq(logged.file, full);
        rig_end(&rig);
    }
}
END_TEST

static void revision_after(enum rig_step crash, bool old_is_there)
{
    struct rig rig;
    uint64_t bytes;
    rig_make(&rig);
    struct mr_open open = rig_file("grid7/a.log");
    struct mr_dossier *d = finished(&rig, &open, 1);
    rig_walk(&rig, d, RIG_RECORDED);
    drop(d);
    uint64_t old_crc = rig_file_crc(&rig, "k3/grid7/a.log", &bytes);
    if (!old_is_there)
        ck_assert_int_eq(unlinkat(rig.store.root_fd, "k3/grid7/a.log", 0), 0);
    open.revision = 2;
    d = finished(&rig, &open, 2);
    rig_walk(&rig, d, crash);
    drop(d);
    recover(&rig);
    check_committed(&rig, &open, "k3/grid7/a.log", 2);
    ck_assert_uint_ne(rig_file_crc(&rig, "k3/grid7/a.log", &bytes), old_crc);
    char id[MR_ULID_TEXT], kept[128], event[MR_EVENT_ID_MAX + 1];
    snprintf(kept, sizeof(kept), "k3/grid7/.millrace/old/%s.r1", mr_ulid_text(&open.movie, id));
    ck_assert_int_eq(rig_has(&rig, kept), old_is_there);
    if (old_is_there)
        ck_assert_uint_eq(rig_file_crc(&rig, kept, &bytes), old_crc);
    snprintf(event, sizeof(event), "%s.ready.r2", id);
    ck_assert_str_eq(read_log(&rig).id, event);
    rig_end(&rig);
}

START_TEST(revision_takes_the_place_and_the_old_one_is_kept)
{
    for (int step = RIG_SEALED; step < RIG_STEPS; step++) {
        revision_after((enum rig_step)step, true);
        revision_after((enum rig_step)step, false);
    }
}
END_TEST

/* As on NFS. */
START_TEST(revision_does_without_an_exchange)
{
    static const int errors[] = {EINVAL, ENOSYS, EOPNOTSUPP};
    for (int step = RIG_SEALED; step < RIG_STEPS; step++)
        for (size_t i = 0; i < 3; i++) {
            sick_disk.no_exchange = errors[i];
            revision_after((enum rig_step)step, true);
            revision_after((enum rig_step)step, false);
        }
}
END_TEST

/* Between the exchange and putting the old one away. */
START_TEST(exchange_alone_is_completed)
{
    struct rig rig;
    char part[128], id[MR_ULID_TEXT], kept[128];
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    struct mr_dossier *d = finished(&rig, &open, 1);
    rig_walk(&rig, d, RIG_RECORDED);
    drop(d);
    open.revision = 2;
    d = finished(&rig, &open, 2);
    rig_walk(&rig, d, RIG_SEALED);
    snprintf(part, sizeof(part), "k3/.millrace/%s.g1.part", mr_ulid_text(&open.movie, id));
    ck_assert_int_eq(mr_fs_exchange(rig.store.root_fd, part, rig.store.root_fd, "k3/a.log"), 0);
    drop(d);
    recover(&rig);
    check_committed(&rig, &open, "k3/a.log", 2);
    snprintf(kept, sizeof(kept), "k3/.millrace/old/%s.r1", id);
    ck_assert(rig_has(&rig, kept));
    ck_assert(!rig_has(&rig, part));
    rig_end(&rig);
}
END_TEST

static struct mr_dossier *failed(struct rig *rig, const struct mr_open *open)
{
    struct mr_err err = {0};
    char dir[128], id[MR_ULID_TEXT];
    struct mr_dossier *d = calloc(1, sizeof(*d));
    struct mr_extent extent = rig_extent(open, 5000);
    struct mr_movie *movie = rig_begin(rig, open);
    rig_land_all(movie, &extent, 1);
    const struct mr_fail fail = {.movie = open->movie, .extent = extent, .text = "was cut"};
    rig_dossier(rig, movie, d);
    ck_assert_int_eq(mr_finish_failed(movie, d, &fail, &err), 0);
    snprintf(dir, sizeof(dir), ".millrace/failed/%s", mr_ulid_text(&open->movie, id));
    int fd = mr_fs_mkdirs_durable(rig->store.root_fd, dir, 0750, (gid_t)-1);
    ck_assert_int_ge(fd, 0);
    close(fd);
    snprintf(d->sealed.path, sizeof(d->sealed.path), "%s/a.log", dir);
    const struct mr_announcement a = {.extent = &extent,
                                      .sealed = &d->sealed,
                                      .reason = fail.text,
                                      .code = MR_REASON_SOURCE,
                                      .committed_real_ns = 1};
    ck_assert_int_eq(mr_announce_movie(&rig->store, d, &a, &d->sealed.event), 0);
    mr_movie_release(movie);
    return d;
}

START_TEST(failed_movie_is_kept_apart_and_told_once)
{
    for (int step = RIG_SEALED; step < RIG_STEPS; step++) {
        struct rig rig;
        char path[MR_NAMING_PATH_MAX + 1];
        rig_make(&rig);
        struct mr_open open = rig_file("a.log");
        struct mr_dossier *d = failed(&rig, &open);
        snprintf(path, sizeof(path), "%s", d->sealed.path);
        rig_walk(&rig, d, (enum rig_step)step);
        drop(d);
        recover(&rig);
        struct logged logged = read_log(&rig);
        ck_assert_uint_eq(logged.count, 1);
        ck_assert_str_eq(logged.type, MR_EVENT_MOVIE_FAILED);
        ck_assert(rig_has(&rig, path));
        ck_assert(!rig_has(&rig, "k3/a.log"));
        ck_assert_uint_eq(mr_catalogue_count(rig.catalogue), 0);
        ck_assert_uint_eq(count_journals(&rig), 0);
        rig_end(&rig);
    }
}
END_TEST

/* Whatever lies where it should be kept: a failed movie never gets a final name. */
START_TEST(failed_movie_never_goes_to_a_final_name)
{
    struct rig rig;
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    struct mr_dossier *d = failed(&rig, &open);
    rig_walk(&rig, d, RIG_SEALED);
    occupy(&rig, d->sealed.path);
    rig_walk(&rig, d, RIG_RECORDED);
    ck_assert(!rig_has(&rig, "k3/a.log"));
    ck_assert_msg(strncmp(d->sealed.path, ".millrace/failed/", 17) == 0, "%s", d->sealed.path);
    ck_assert_str_eq(read_log(&rig).relative, d->sealed.path);
    drop(d);
    rig_end(&rig);
}
END_TEST

/* The crash came while the second SEALED record was being written, and another one takes its
 * place. */
START_TEST(torn_end_does_not_swallow_what_follows)
{
    struct rig rig;
    char name[MR_NAMING_PART];
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    struct mr_dossier *d = finished(&rig, &open, 1);
    rig_walk(&rig, d, RIG_SEALED);
    drop(d);
    occupy(&rig, "k3/a.log");
    mr_dossier_name(&open.movie, 1, "journal", name);
    int fd = openat(rig.store.journal_fd, name, O_WRONLY | O_APPEND | O_CLOEXEC);
    ck_assert_int_eq(write(fd, "0123456789abcdef SEALED {", 25), 25);
    close(fd);
    int keep = openat(rig.store.journal_fd, name, O_RDONLY | O_CLOEXEC); /* outlives its name */
    recover(&rig);
    check_committed(&rig, &open, "k3/a_dup2.log", 1);
    struct mr_recordlog_scan scan;
    ck_assert_int_eq(mr_recordlog_scan(keep, 0, count_record, NULL, &scan), 0);
    ck_assert_uint_eq(scan.bad_records, 0);
    ck_assert_uint_eq(scan.records, 4); /* OPEN, SLAB, SEALED, SEALED */
    close(keep);
    rig_end(&rig);
}
END_TEST

START_TEST(sealed_without_any_file_begins_again)
{
    struct rig rig;
    char part[128], id[MR_ULID_TEXT];
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    struct mr_dossier *d = finished(&rig, &open, 1);
    rig_walk(&rig, d, RIG_SEALED);
    snprintf(part, sizeof(part), "k3/.millrace/%s.g1.part", mr_ulid_text(&open.movie, id));
    ck_assert_int_eq(unlinkat(rig.store.root_fd, part, 0), 0);
    drop(d);
    recover(&rig);
    ck_assert_uint_eq(read_log(&rig).count, 0);
    ck_assert_uint_eq(count_journals(&rig), 0);
    rig_end(&rig);
}
END_TEST

START_TEST(journals_of_nothing)
{
    struct rig rig;
    char id[MR_ULID_TEXT], name[MR_NAMING_PART];
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    snprintf(name, sizeof(name), "%s.g1.journal", mr_ulid_text(&open.movie, id));
    int fd = openat(rig.store.journal_fd, name, O_CREAT | O_WRONLY, 0600);
    ck_assert_int_eq(write(fd, "0123456789ab", 12), 12); /* an OPEN record cut short */
    close(fd);
    fd = openat(rig.store.journal_fd, "notes.txt", O_CREAT | O_WRONLY, 0600);
    close(fd);
    recover(&rig);
    ck_assert_int_eq(unfinished_count, 0);
    ck_assert_uint_eq(count_journals(&rig), 1); /* what is not ours stays */
    rig_end(&rig);
}
END_TEST

START_TEST(several_movies_share_a_sync)
{
    struct rig rig;
    struct mr_dossier *d[3];
    uint64_t sequences[3];
    struct mr_err err = {0};
    rig_make(&rig);
    for (int i = 0; i < 3; i++) {
        char path[16];
        snprintf(path, sizeof(path), "%d.log", i);
        struct mr_open open = rig_file(path);
        d[i] = finished(&rig, &open, 1);
        rig_walk(&rig, d[i], RIG_PLACED);
    }
    ck_assert_int_eq(mr_commit_record(&rig.commit, d, 3, sequences, &err), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(sequences[i], (uint64_t)i + 1);
        drop(d[i]);
    }
    ck_assert_uint_eq(read_log(&rig).count, 3);
    rig_end(&rig);
}
END_TEST

/* In an epoch that began with a take-over. */
START_TEST(what_a_movie_was_copied_from_goes_with_its_journal)
{
    struct rig rig;
    char before[128], foreign[128], other[128], id[MR_ULID_TEXT];
    rig_make(&rig);
    rig.store.epoch = 2;
    struct mr_open open = rig_file("a.log");
    struct mr_dossier *d = finished(&rig, &open, 1);
    ck_assert_uint_eq(d->generation, 2049);
    mr_ulid_text(&open.movie, id);
    snprintf(before, sizeof(before), "k3/.millrace/%s.g1024.part", id);
    snprintf(foreign, sizeof(foreign), "k3/.millrace/%s.g2048.part", id);
    struct mr_ulid next = open.movie;
    next.bytes[15] ^= 1;
    snprintf(other, sizeof(other), "k3/.millrace/%s.g2048.part", mr_ulid_text(&next, id));
    scratch_append(&rig.scratch, before, "x");
    scratch_append(&rig.scratch, foreign, "x");
    scratch_append(&rig.scratch, other, "x");
    rig_walk(&rig, d, RIG_RECORDED);
    drop(d);
    ck_assert(!rig_has(&rig, before));
    ck_assert(!rig_has(&rig, foreign));
    ck_assert(rig_has(&rig, other));
    rig_end(&rig);
}
END_TEST

START_TEST(name_that_is_not_utf8_is_committed)
{
    struct rig rig;
    rig_make(&rig);
    struct mr_open open = rig_file("gr\xff id/a.log");
    struct mr_dossier *d = finished(&rig, &open, 1);
    rig_walk(&rig, d, RIG_RECORDED);
    drop(d);
    check_committed(&rig, &open, "k3/gr%FF id/a.log", 1);
    rig_restart(&rig);
    check_committed(&rig, &open, "k3/gr%FF id/a.log", 1);
    rig_end(&rig);
}
END_TEST

MR_SUITE("commit", T(every_step_can_be_entered_again), T(what_was_not_sealed_is_resumed),
         T(name_taken_meanwhile_is_not_overwritten),
         T(revision_takes_the_place_and_the_old_one_is_kept), T(revision_does_without_an_exchange),
         T(exchange_alone_is_completed), T(failed_movie_is_kept_apart_and_told_once),
         T(failed_movie_never_goes_to_a_final_name), T(torn_end_does_not_swallow_what_follows),
         T(sealed_without_any_file_begins_again), T(journals_of_nothing),
         T(several_movies_share_a_sync), T(name_that_is_not_utf8_is_committed),
         T(what_a_movie_was_copied_from_goes_with_its_journal))
