/* SPDX-License-Identifier: Apache-2.0 */
/* Does --verify find what is wrong with a store, call it by its name, count it, and nothing else?
 */
#include "verify.h"

#include "segments.h"

#include "store_rig.h"
#include "suite.h"

static struct rig rig;
static struct mr_verify_counts counts;
static struct mr_err err;
static char *said; /* what was written on out */
static uint64_t sequence;

/* ---- a store ---- */

static uint64_t crc_of(const char *path)
{
    uint64_t bytes;
    return rig_file_crc(&rig, path, &bytes);
}

static struct mr_ulid id_of(uint8_t number)
{
    return (struct mr_ulid){{1, 1, number}};
}

/* A committed revision of movie `number`: file, event, line. */
static void commit_revision(uint8_t number, uint32_t revision, const char *path, const char *text)
{
    char event[64], name[MR_ULID_TEXT], *json;
    size_t bytes;
    struct mr_fs_facts facts;
    struct mr_ulid id = id_of(number);
    if (rig_has(&rig, path))
        ck_assert_int_eq(unlinkat(rig.store.root_fd, path, 0), 0);
    scratch_append(&rig.scratch, path, text);
    ck_assert_int_eq(mr_fs_stat(rig.store.root_fd, path, &facts), 0);
    (void)snprintf(event, sizeof(event), "%s.ready.r%u", mr_ulid_text(&id, name), revision);
    const struct mr_event e = {.type = MR_EVENT_FILE_READY, .id = event, .source = "/millrace/t"};
    ck_assert_int_eq(mr_event_encode(&e, &json, &bytes), 0);
    ck_assert_int_eq(mr_eventlog_append(rig.eventlog, json, bytes, &sequence, &err), 0);
    free(json);
    ck_assert_int_eq(mr_eventlog_sync(rig.eventlog, &err), 0);
    const struct mr_catalogue_entry entry = {.id = id,
                                             .revision = revision,
                                             .agent = "k3",
                                             .source = path,
                                             .output = MR_OUTPUT_KEEP,
                                             .path = path,
                                             .bytes = facts.size,
                                             .mtime_ns = facts.mtime_ns,
                                             .digest_file = crc_of(path),
                                             .event = event,
                                             .sequence = sequence,
                                             .committed_real_ns = 1};
    ck_assert_int_eq(mr_catalogue_add(rig.catalogue, &entry, &err), 0);
    ck_assert_int_eq(mr_catalogue_sync(rig.catalogue, &err), 0);
}

/* Three files: a, dir/b and dir2/c. */
static void make(void)
{
    rig_make(&rig);
    ck_assert_int_eq(mkdirat(rig.store.root_fd, "dir", 0700), 0);
    ck_assert_int_eq(mkdirat(rig.store.root_fd, "dir2", 0700), 0);
    commit_revision(1, 1, "a", "the first");
    commit_revision(2, 1, "dir/b", "the second one");
    commit_revision(3, 1, "dir2/c", "");
}

static void end(void)
{
    free(said);
    said = NULL;
    rig_end(&rig);
}

/* ---- verify ---- */

static int verify_with(struct mr_verify_config config)
{
    size_t bytes;
    free(said);
    config.out = open_memstream(&said, &bytes);
    if (config.root == NULL)
        config.root = rig.scratch.path;
    err = (struct mr_err){0};
    int r = mr_verify_run(&config, &counts, &err);
    ck_assert_int_eq(fclose(config.out), 0);
    return r;
}

static int verify(const char *path)
{
    return verify_with((struct mr_verify_config){.path = path});
}

/* All of it, and this is what comes of it. */
static void finds(uint64_t missing, uint64_t changed, uint64_t damaged, uint64_t unreadable,
                  uint64_t records)
{
    ck_assert_msg(verify(NULL) == 0, "%s", err.text);
    ck_assert_msg(counts.missing == missing && counts.changed == changed &&
                      counts.damaged == damaged && counts.unreadable == unreadable &&
                      counts.records == records,
                  "%s", said);
    if (missing + changed + damaged + unreadable + records == 0)
        ck_assert_str_eq(said, "");
}

static void tells(const char *words)
{
    ck_assert_msg(strstr(said, words) != NULL, "not \"%s\" in:\n%s", words, said);
}

/* Its time as it was, whatever is done to it meanwhile. */
static void set_mtime(const char *path, int64_t ns)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                      {.tv_sec = ns / MR_NS_PER_S, .tv_nsec = ns % MR_NS_PER_S}};
    ck_assert_int_eq(utimensat(rig.store.root_fd, path, times, 0), 0);
}

static int64_t mtime_of(const char *path)
{
    struct mr_fs_facts facts;
    ck_assert_int_eq(mr_fs_stat(rig.store.root_fd, path, &facts), 0);
    return facts.mtime_ns;
}

START_TEST(a_sound_store_is_read_and_found_sound)
{
    make();
    for (unsigned direct = 0; direct < 2; direct++) {
        ck_assert_int_eq(verify_with((struct mr_verify_config){.direct = direct == 1}), 0);
        ck_assert_uint_eq(counts.files, 3);
        ck_assert_uint_eq(counts.bytes, 9 + 14);
        ck_assert_str_eq(said, "");
    }
    finds(0, 0, 0, 0, 0);
    end();
}
END_TEST

START_TEST(an_empty_store_is_sound)
{
    rig_make(&rig);
    finds(0, 0, 0, 0, 0);
    ck_assert_uint_eq(counts.files, 0);
    ck_assert_int_eq(verify("a"), -ENOENT);
    end();
}
END_TEST

START_TEST(other_bytes_under_the_recorded_time_are_damage_and_else_a_change)
{
    make();
    int64_t was = mtime_of("dir/b");
    scratch_flip(&rig.scratch, "dir/b", 3);
    set_mtime("dir/b", was);
    finds(0, 0, 1, 0, 0);
    tells("DAMAGED dir/b: movie ");
    tells(" revision 1, ");
    set_mtime("dir/b", was + 1);
    finds(0, 1, 0, 0, 0);
    tells("CHANGED dir/b: movie ");
    scratch_flip(&rig.scratch, "dir/b", 3);
    set_mtime("dir/b", was + 5); /* touched: its bytes are what they were */
    finds(0, 0, 0, 0, 0);
    end();
}
END_TEST

START_TEST(another_size_is_a_change_whatever_its_time)
{
    make();
    int64_t was = mtime_of("a");
    scratch_append(&rig.scratch, "a", "x");
    set_mtime("a", was);
    finds(0, 1, 0, 0, 0);
    ck_assert_uint_eq(counts.bytes, 14); /* it is not read for that */
    scratch_cut(&rig.scratch, "a", 8);
    set_mtime("a", was);
    finds(0, 1, 0, 0, 0);
    scratch_append(&rig.scratch, "dir2/c", "no more empty");
    finds(0, 2, 0, 0, 0);
    end();
}
END_TEST

START_TEST(what_is_gone_is_missing_and_may_be_allowed_to)
{
    make();
    ck_assert_int_eq(unlinkat(rig.store.root_fd, "dir/b", 0), 0);
    finds(1, 0, 0, 0, 0);
    tells("MISSING dir/b: ");
    ck_assert_int_eq(unlinkat(rig.store.root_fd, "dir", AT_REMOVEDIR), 0);
    scratch_append(&rig.scratch, "dir", "a file now");
    finds(1, 0, 0, 0, 0);
    ck_assert_int_eq(verify_with((struct mr_verify_config){.allow_missing = true}), 0);
    ck_assert_uint_eq(counts.missing, 1); /* counted, not told */
    ck_assert_str_eq(said, "");
    ck_assert_uint_eq(counts.files, 3);
    end();
}
END_TEST

START_TEST(what_is_no_file_any_more_is_a_change)
{
    make();
    ck_assert_int_eq(unlinkat(rig.store.root_fd, "a", 0), 0);
    ck_assert_int_eq(symlinkat("dir/b", rig.store.root_fd, "a"), 0);
    finds(0, 1, 0, 0, 0);
    ck_assert_int_eq(unlinkat(rig.store.root_fd, "a", 0), 0);
    ck_assert_int_eq(mkfifoat(rig.store.root_fd, "a", 0600), 0);
    finds(0, 1, 0, 0, 0); /* and nobody waits for a writer */
    ck_assert_int_eq(unlinkat(rig.store.root_fd, "a", 0), 0);
    ck_assert_int_eq(mkdirat(rig.store.root_fd, "a", 0700), 0);
    finds(0, 1, 0, 0, 0);
    end();
}
END_TEST

START_TEST(all_that_is_wrong_is_told_and_the_rest_is_read)
{
    make();
    scratch_flip(&rig.scratch, "a", 0);
    ck_assert_int_eq(unlinkat(rig.store.root_fd, "dir2/c", 0), 0);
    finds(1, 1, 0, 0, 0);
    ck_assert_uint_eq(counts.bytes, 9 + 14);
    tells("CHANGED a: ");
    tells("MISSING dir2/c: ");
    end();
}
END_TEST

/* ---- what is looked at ---- */

START_TEST(a_path_is_a_file_or_a_folder_and_no_part_of_a_name)
{
    static const struct {
        const char *path; /* "*" in front: below the root, absolute */
        unsigned files;   /* 0: nothing is recorded there */
    } cases[] = {{"a", 1},        {"dir", 1},     {"dir/", 1}, {"dir/b", 1},   {"dir2", 1},
                 {"di", 0},       {"dir/b/c", 0}, {"b", 0},    {"./dir//", 1}, {".", 3},
                 {"./", 3},       {"*", 3},       {"*/", 3},   {"*/dir", 1},   {"*2/dir", 0},
                 {"*/dir/b", 1},  {"/", 0},       {"/dir", 0}, {"././a", 1},   {"*//./a", 1},
                 {".millrace", 0}};
    make();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char path[256];
        const char *p = cases[i].path;
        (void)snprintf(path, sizeof(path), "%s%s", p[0] == '*' ? rig.scratch.path : "",
                       p[0] == '*' ? p + 1 : p);
        int r = verify(path);
        ck_assert_msg(r == (cases[i].files == 0 ? -ENOENT : 0), "%s: %d", path, r);
        ck_assert_msg(counts.files == cases[i].files, "%s", path);
        if (r < 0)
            ck_assert_ptr_nonnull(strstr(err.text, path));
    }
    end();
}
END_TEST

START_TEST(a_root_may_end_in_slashes)
{
    char root[80], path[90];
    make();
    (void)snprintf(root, sizeof(root), "%s//", rig.scratch.path);
    (void)snprintf(path, sizeof(path), "%s/dir", rig.scratch.path);
    ck_assert_int_eq(verify_with((struct mr_verify_config){.root = root, .path = path}), 0);
    ck_assert_uint_eq(counts.files, 1);
    end();
}
END_TEST

START_TEST(of_a_movie_the_newest_revision_counts_and_of_a_path_what_came_last)
{
    make();
    commit_revision(1, 2, "a2", "revised");
    ck_assert_int_eq(unlinkat(rig.store.root_fd, "a", 0), 0); /* the older one had its time */
    finds(0, 0, 0, 0, 0);
    ck_assert_uint_eq(counts.files, 3);
    commit_revision(9, 1, "dir/b", "another movie took its place");
    finds(0, 0, 0, 0, 0);
    ck_assert_uint_eq(counts.files, 3);
    scratch_append(&rig.scratch, "dir/b", "x");
    finds(0, 1, 0, 0, 0);
    end();
}
END_TEST

START_TEST(an_expired_revision_is_not_asked_for)
{
    struct mr_ulid id = id_of(1);
    make();
    commit_revision(1, 2, "a", "revised");
    ck_assert_int_eq(mr_catalogue_expire(rig.catalogue, &id, 1, &err), 0);
    ck_assert_int_eq(mr_catalogue_sync(rig.catalogue, &err), 0);
    finds(0, 0, 0, 0, 0);
    ck_assert_uint_eq(counts.files, 3);
    end();
}
END_TEST

/* ---- records ---- */

static uint64_t line_start(const char *file, unsigned line)
{
    char text[4096];
    int fd = openat(rig.store.millrace_fd, file, O_RDONLY | O_CLOEXEC);
    ssize_t got = read(fd, text, sizeof(text));
    close(fd);
    ssize_t at = 0;
    for (; line > 0 && at < got; at++)
        line -= text[at] == '\n';
    return (uint64_t)at;
}

#define CATALOGUE ".millrace/catalogue.log"

static const char *events_file(void)
{
    static char name[96];
    struct mr_epochs epochs;
    struct mr_segment *segments;
    size_t count;
    char segment[MR_SEGMENT_NAME];
    int dir = openat(rig.store.millrace_fd, MR_SEGMENTS_DIR, O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(mr_epochs_load(rig.store.millrace_fd, &epochs, &err), 0);
    ck_assert_int_eq(mr_segments_list(dir, &epochs, false, &segments, &count), 0);
    ck_assert_uint_eq(count, 1);
    mr_segment_name(&segments[0], segment);
    (void)snprintf(name, sizeof(name), ".millrace/" MR_SEGMENTS_DIR "/%s", segment);
    free(segments);
    close(dir);
    return name;
}

START_TEST(a_damaged_line_of_the_catalogue_is_told_and_counted)
{
    make();
    scratch_flip(&rig.scratch, CATALOGUE, line_start("catalogue.log", 1) + 30);
    finds(0, 0, 0, 0, 1);
    tells("DAMAGED .millrace/catalogue.log: 1 records, the first at offset ");
    ck_assert_uint_eq(counts.files, 2); /* the others are still looked at */
    end();
}
END_TEST

START_TEST(a_torn_end_is_no_damage)
{
    make();
    scratch_append(&rig.scratch, CATALOGUE, "0123");
    scratch_append(&rig.scratch, events_file(), "0123");
    finds(0, 0, 0, 0, 0);
    ck_assert_uint_eq(counts.files, 3);
    end();
}
END_TEST

START_TEST(a_damaged_event_is_told_once_and_not_as_a_gap)
{
    make();
    const char *name = events_file();
    scratch_flip(&rig.scratch, name, line_start(name + strlen(".millrace/"), 1) + 60);
    finds(0, 0, 0, 0, 2); /* the record, and that dir/b's event is not there */
    tells("1 records, the first at offset ");
    tells("DAMAGED .millrace: event 2 is not that of dir/b");
    ck_assert_ptr_null(strstr(said, "gap"));
    end();
}
END_TEST

START_TEST(an_event_that_is_not_the_catalogues_is_told)
{
    struct mr_catalogue_entry entry = {.id = id_of(8),
                                       .revision = 1,
                                       .agent = "k3",
                                       .source = "a",
                                       .output = MR_OUTPUT_KEEP,
                                       .path = "nowhere",
                                       .event = "another.ready",
                                       .sequence = 2,
                                       .committed_real_ns = 1};
    make();
    ck_assert_int_eq(mr_catalogue_add(rig.catalogue, &entry, &err), 0);
    entry.id = id_of(9);
    entry.sequence = 4; /* of which there is none */
    entry.path = "nowhere else";
    ck_assert_int_eq(mr_catalogue_add(rig.catalogue, &entry, &err), 0);
    ck_assert_int_eq(mr_catalogue_sync(rig.catalogue, &err), 0);
    finds(2, 0, 0, 0, 2);
    tells("event 2 is not that of nowhere\n");
    tells("event 4 is not that of nowhere else\n");
    end();
}
END_TEST

/* ---- no store ---- */

START_TEST(what_is_no_store_is_an_error_that_names_it)
{
    struct scratch empty = scratch_make();
    char path[80];
    (void)snprintf(path, sizeof(path), "%s/none", empty.path);
    ck_assert_int_eq(verify_with((struct mr_verify_config){.root = empty.path}), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.text, "is it a store?"));
    ck_assert_int_eq(verify_with((struct mr_verify_config){.root = path}), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.text, path));
    ck_assert_int_eq(mkdirat(empty.fd, ".millrace", 0700), 0);
    ck_assert_int_eq(verify_with((struct mr_verify_config){.root = empty.path}), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.text, "catalogue.log"));
    scratch_remove(&empty);
    free(said);
    said = NULL;
}
END_TEST

START_TEST(nothing_is_written)
{
    struct stat before[3], after[3];
    make();
    const char *const files[] = {CATALOGUE, events_file(), "a"};
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(fstatat(rig.scratch.fd, files[i], &before[i], 0), 0);
    ck_assert_int_eq(unlinkat(rig.store.root_fd, "dir/b", 0), 0);
    finds(1, 0, 0, 0, 0);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(fstatat(rig.scratch.fd, files[i], &after[i], 0), 0);
        ck_assert_int_eq(before[i].st_size, after[i].st_size);
        ck_assert_int_eq(before[i].st_mtim.tv_nsec, after[i].st_mtim.tv_nsec);
        ck_assert_uint_eq(before[i].st_ino, after[i].st_ino);
    }
    end();
}
END_TEST

MR_SUITE("verify", T(a_sound_store_is_read_and_found_sound), T(an_empty_store_is_sound),
         T(other_bytes_under_the_recorded_time_are_damage_and_else_a_change),
         T(another_size_is_a_change_whatever_its_time),
         T(what_is_gone_is_missing_and_may_be_allowed_to), T(what_is_no_file_any_more_is_a_change),
         T(all_that_is_wrong_is_told_and_the_rest_is_read),
         T(a_path_is_a_file_or_a_folder_and_no_part_of_a_name), T(a_root_may_end_in_slashes),
         T(of_a_movie_the_newest_revision_counts_and_of_a_path_what_came_last),
         T(an_expired_revision_is_not_asked_for),
         T(a_damaged_line_of_the_catalogue_is_told_and_counted), T(a_torn_end_is_no_damage),
         T(a_damaged_event_is_told_once_and_not_as_a_gap),
         T(an_event_that_is_not_the_catalogues_is_told),
         T(what_is_no_store_is_an_error_that_names_it), T(nothing_is_written))
