/* SPDX-License-Identifier: Apache-2.0 */
/* Does a source go only while it is the very file that was read, and nothing else with it? */
#include "purge_rules.h"
#include "suite.h"
#include "tree.h"

#include "base/crc64.h"
#include "peek.h"
#include "watch.h"

#include <errno.h>
#include <sys/mman.h>

#define NOW (INT64_C(4000000000) * MR_NS_PER_S)

static struct mr_journal *journal;
static struct mr_agent_watch watch_config;
static struct mr_purge_case c;
static struct mr_journal_movie row;
static char why[MR_PURGE_WHY];
static uint8_t last_id;

static void begin(void)
{
    struct mr_err err = {0};
    tree_make();
    ck_assert_int_eq(mr_journal_open(NULL, &err, &journal), 0);
    watch_config = (struct mr_agent_watch){.path = tree_root, .purge = {.when_free_below = 10000}};
    c = (struct mr_purge_case){.watch = &watch_config, .journal = journal, .real_ns = NOW};
    c.root = open(tree_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(c.root, 0);
}

static void end(void)
{
    close(c.root);
    mr_journal_close(journal);
    tree_remove();
}

/* A file that is committed, as `row`. */
static void commit(const char *path, const char *text)
{
    struct mr_fs_facts facts;
    tree_put(path, text);
    ck_assert_int_eq(mr_fs_stat(c.root, path, &facts), 0);
    row = (struct mr_journal_movie){
        .revision = 1,
        .state = MR_JOURNAL_COMMITTED,
        .identity = facts.identity,
        .size = facts.size,
        .mtime_ns = facts.mtime_ns,
        .kind = MR_KIND_FILE,
        .output = MR_OUTPUT_KEEP,
        .source = {.ctime_ns = facts.ctime_ns, .crc_file = mr_crc64(0, text, strlen(text))},
        .updated_real_ns = NOW};
    row.id.bytes[15] = ++last_id;
    snprintf(row.root, sizeof(row.root), "%s", tree_root);
    snprintf(row.path, sizeof(row.path), "%s", path);
    mr_geometry_opaque(&row.geometry);
    ck_assert_int_eq(mr_journal_insert(journal, &row, NULL), 0);
}

static int judge(void)
{
    struct mr_purge_file f;
    int r = mr_purge_judge(&c, &row, &f, why);
    if (r == 0)
        mr_purge_file_close(&f);
    return r;
}

static void stays(int code, const char *text)
{
    int r = judge();
    ck_assert_msg(r == code, "%d: %s", r, why);
    ck_assert_msg(strstr(why, text) != NULL, "'%s' has no '%s'", why, text);
}

static void take(int code, const char *text)
{
    struct mr_purge_file f;
    ck_assert_msg(mr_purge_file_open(c.root, &row, &f, why) == 0, "%s", why);
    int r = mr_purge_file_take(&f, why);
    ck_assert_msg(r == code, "%d: %s", r, why);
    if (code < 0)
        ck_assert_msg(strstr(why, text) != NULL, "'%s' has no '%s'", why, text);
    mr_purge_file_close(&f);
}

static bool there(const char *path)
{
    struct mr_fs_facts facts;
    return mr_fs_stat(c.root, path, &facts) == 0;
}

/* Until its ctime is another: some file systems tick slowly. */
static void touch_until_ctime(const char *path)
{
    struct mr_fs_facts before, now;
    ck_assert_int_eq(mr_fs_stat(c.root, path, &before), 0);
    do {
        ck_assert_int_eq(fchmodat(c.root, path, 0600, 0), 0);
        ck_assert_int_eq(mr_fs_stat(c.root, path, &now), 0);
    } while (now.ctime_ns == before.ctime_ns);
}

static void set_mtime(const char *path, int64_t ns)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                      {.tv_sec = ns / MR_NS_PER_S, .tv_nsec = ns % MR_NS_PER_S}};
    ck_assert_int_eq(utimensat(c.root, path, times, 0), 0);
}

START_TEST(committed_file_goes)
{
    begin();
    tree_mkdir("a");
    commit("a/one.log", "one");
    ck_assert_msg(judge() == 0, "%s", why);
    take(0, "");
    ck_assert(!there("a/one.log"));
    ck_assert(there("a"));
    stays(-ENOENT, "no longer there");
    end();
}
END_TEST

START_TEST(changed_file_stays)
{
    begin();
    commit("a.log", "one");
    touch_until_ctime("a.log");
    stays(-ESTALE, "(ctime)");
    set_mtime("a.log", row.mtime_ns + 1);
    stays(-ESTALE, "(mtime)");
    set_mtime("a.log", row.mtime_ns); /* as it was: the ctime still tells */
    stays(-ESTALE, "(ctime)");
    tree_put("a.log", "longer");
    stays(-ESTALE, "size");
    row.source.ctime_ns = 0;
    row.size = 6;
    row.mtime_ns++;
    ck_assert_int_eq(mr_journal_update(journal, &row, NULL), 0);
    struct mr_fs_facts facts;
    ck_assert_int_eq(mr_fs_stat(c.root, "a.log", &facts), 0);
    row.mtime_ns = facts.mtime_ns;
    stays(-ESTALE, "not known");
    ck_assert(there("a.log"));
    end();
}
END_TEST

START_TEST(another_file_stays)
{
    begin();
    commit("a.log", "one");
    tree_put("b.log", "one");
    set_mtime("b.log", row.mtime_ns);
    tree_rename("b.log", "a.log");
    stays(-ENOENT, "another file");
    ck_assert(there("a.log"));
    end();
}
END_TEST

START_TEST(links_are_not_followed)
{
    begin();
    tree_mkdir("a");
    commit("a/one.log", "one");
    tree_rename("a", "b");
    ck_assert_int_eq(symlink("b", tree_path("a")), 0);
    stays(-ESTALE, "symbolic link");
    ck_assert_int_eq(unlink(tree_path("a")), 0);
    tree_rename("b", "a");
    ck_assert_msg(judge() == 0, "%s", why);
    tree_rename("a/one.log", "a/two.log");
    ck_assert_int_eq(symlink("two.log", tree_path("a/one.log")), 0);
    stays(-ESTALE, "symbolic link");
    snprintf(row.path, sizeof(row.path), "a/../../%s", strrchr(tree_root, '/') + 1);
    ck_assert_int_lt(judge(), 0);
    ck_assert(there("a/two.log"));
    end();
}
END_TEST

START_TEST(file_with_two_names_stays)
{
    begin();
    commit("a.log", "one");
    ck_assert_int_eq(link(tree_path("a.log"), tree_path("b.log")), 0);
    struct mr_fs_facts facts;
    ck_assert_int_eq(mr_fs_stat(c.root, "a.log", &facts), 0);
    row.source.ctime_ns = facts.ctime_ns; /* as if it had had both when it was read */
    stays(-ESTALE, "hard link");
    end();
}
END_TEST

START_TEST(writers_keep_it)
{
    begin();
    commit("a.log", "one");
    int fd = open(tree_path("a.log"), O_RDWR | O_CLOEXEC);
    if (mr_peek_lease(fd) == -EOPNOTSUPP) { /* such a file goes */
        close(fd);
        end();
        suite_skip("no lease to be had");
    }
    take(-EBUSY, "open for writing");
    stays(-EBUSY, "open for writing");
    void *map = mmap(NULL, 3, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(map, MAP_FAILED);
    close(fd);
    take(-EBUSY, "open for writing");
    munmap(map, 3);
    ck_assert(there("a.log"));
    fd = open(tree_path("a.log"), O_RDONLY | O_CLOEXEC);
    take(0, "");
    close(fd);
    end();
}
END_TEST

/* The name is given to another file between the look and the unlink. */
START_TEST(newcomer_under_its_name_is_not_lost)
{
    struct mr_purge_file f;
    begin();
    commit("a.log", "one");
    ck_assert_int_eq(mr_purge_file_open(c.root, &row, &f, why), 0);
    tree_rename("a.log", "moved.log");
    touch_until_ctime("moved.log");
    struct mr_fs_facts facts;
    ck_assert_int_eq(mr_fs_stat(c.root, "moved.log", &facts), 0);
    f.facts.ctime_ns = facts.ctime_ns; /* the look before the rename saw nothing */
    tree_put("a.log", "new");
    ck_assert_int_eq(mr_purge_file_take(&f, why), -ENOENT);
    ck_assert_msg(strstr(why, "another file") != NULL, "%s", why);
    mr_purge_file_close(&f);
    ck_assert(there("moved.log") && there("a.log"));
    ck_assert_int_eq(mr_fs_stat(c.root, "a.log", &facts), 0);
    ck_assert_uint_ne(facts.identity.inode, row.identity.inode);
    ck_assert(!there(f.hidden));
    end();
}
END_TEST

/* While the server was asked the folder became an archive, and a link has its name. */
START_TEST(file_in_a_folder_that_was_moved_away_stays)
{
    struct mr_purge_file f;
    begin();
    tree_mkdir("a");
    commit("a/one.log", "one");
    ck_assert_int_eq(mr_purge_file_open(c.root, &row, &f, why), 0);
    tree_rename("a", "archive");
    ck_assert_int_eq(mr_purge_file_take(&f, why), -ENOENT);
    ck_assert_msg(strstr(why, "folder") != NULL, "%s", why);
    ck_assert_int_eq(symlinkat("archive", c.root, "a"), 0);
    ck_assert_int_eq(mr_purge_file_take(&f, why), -ENOENT);
    ck_assert_int_eq(unlinkat(c.root, "a", 0), 0);
    tree_rename("archive", "a");
    ck_assert_msg(mr_purge_file_take(&f, why) == 0, "%s", why);
    mr_purge_file_close(&f);
    ck_assert(!there("a/one.log"));
    end();
}
END_TEST

START_TEST(hidden_file_is_given_back)
{
    char id[MR_ULID_TEXT], hidden[64];
    begin();
    tree_mkdir("a");
    commit("a/one.log", "one");
    snprintf(hidden, sizeof(hidden), "a/" MR_WATCH_HIDDEN "%s", mr_ulid_text(&row.id, id));
    ck_assert_int_eq(mr_purge_file_restore(c.root, row.path, &row.id), -ENOENT);
    tree_rename("a/one.log", hidden);
    tree_put("a/one.log", "new");
    ck_assert_int_eq(mr_purge_file_restore(c.root, row.path, &row.id), -EEXIST);
    ck_assert(there(hidden));
    ck_assert_int_eq(unlink(tree_path("a/one.log")), 0);
    ck_assert_int_eq(mr_purge_file_restore(c.root, row.path, &row.id), 0);
    ck_assert(there("a/one.log") && !there(hidden));
    end();
}
END_TEST

START_TEST(content_is_compared_where_times_prove_nothing)
{
    struct mr_purge_file f;
    atomic_bool stop = false;
    begin();
    commit("a.log", "one");
    row.source.fresh = true;
    c.real_ns = row.source.ctime_ns + MR_NS_PER_S;
    stays(-EAGAIN, "a moment ago");
    c.real_ns = NOW;
    ck_assert_msg(judge() == 0, "%s", why);
    ck_assert_int_eq(mr_purge_file_open(c.root, &row, &f, why), 0);
    ck_assert_int_eq(mr_purge_file_check(&f, row.source.crc_file, &stop, why), 0);
    ck_assert_int_eq(mr_purge_file_check(&f, row.source.crc_file + 1, &stop, why), -ESTALE);
    atomic_store(&stop, true);
    ck_assert_int_eq(mr_purge_file_check(&f, row.source.crc_file, &stop, why), -ECANCELED);
    mr_purge_file_close(&f);
    row.output = MR_OUTPUT_MRC; /* nothing to compare with */
    watch_config.purge.allow_converted = true;
    stays(-ESTALE, "still changing");
    end();
}
END_TEST

START_TEST(rules_of_the_watch)
{
    static char *globs[] = {"a*"};
    begin();
    commit("a.log", "one");
    watch_config.purge.exclude = (struct mr_config_strings){globs, 1};
    stays(-EPERM, "purge.exclude");
    watch_config.purge.exclude.count = 0;
    watch_config.exclude = (struct mr_config_strings){globs, 1};
    stays(-EPERM, "leaves it out");
    watch_config.exclude.count = 0;
    watch_config.purge.after_ns = 3600 * MR_NS_PER_S;
    c.real_ns = NOW + 3599 * MR_NS_PER_S;
    stays(-EAGAIN, "purge.after is 1h");
    c.real_ns = NOW - 1; /* the clock was set back */
    stays(-EAGAIN, "purge.after");
    c.real_ns = NOW + 3600 * MR_NS_PER_S;
    ck_assert_msg(judge() == 0, "%s", why);
    watch_config.purge.when_free_below = 0;
    stays(-EAGAIN, "when_free_below is 0 %");
    watch_config.purge.when_free_below = 10000;
    row.output = MR_OUTPUT_HDF5;
    stays(-EPERM, "converted");
    watch_config.purge.allow_converted = true;
    ck_assert_msg(judge() == 0, "%s", why);
    end();
}
END_TEST

START_TEST(newer_revision_supersedes)
{
    begin();
    commit("a.log", "one");
    struct mr_journal_movie next = row;
    next.revision = 2;
    next.state = MR_JOURNAL_OPEN;
    ck_assert_int_eq(mr_journal_insert(journal, &next, NULL), 0);
    stays(-ENOENT, "newer");
    end();
}
END_TEST

START_TEST(sidecars_of_what_is_not_committed_stay)
{
    begin();
    commit("m.mrc", "movie");
    struct mr_journal_movie movie = row;
    commit("m.mrc.mdoc", "mdoc");
    ck_assert_msg(judge() == 0, "%s", why);
    tree_put("m.mrc", "movie goes on"); /* by its size it is not what was committed */
    stays(-EBUSY, "it belongs to m.mrc");
    movie.revision = 2;
    movie.size = strlen("movie goes on");
    struct mr_fs_facts facts;
    ck_assert_int_eq(mr_fs_stat(c.root, "m.mrc", &facts), 0);
    movie.mtime_ns = facts.mtime_ns;
    movie.state = MR_JOURNAL_FAILED;
    ck_assert_int_eq(mr_journal_insert(journal, &movie, NULL), 0);
    stays(-EBUSY, "it belongs to m.mrc");
    movie.state = MR_JOURNAL_COMMITTED;
    ck_assert_int_eq(mr_journal_update(journal, &movie, NULL), 0);
    ck_assert_msg(judge() == 0, "%s", why);
    commit("n.log", "log");
    ck_assert_msg(judge() == 0, "%s", why);
    tree_put("n.mrc", ""); /* nobody knows it yet */
    stays(-EBUSY, "it belongs to n.mrc");
    end();
}
END_TEST

START_TEST(names)
{
    static const char *const references[] = {"CountRef_1.dm4", "superref_x.dm4",    "defects_1.txt",
                                             "x.gain",         "GainRef.mrc",       "gain.mrc",
                                             "a_gain.tif",     "K3-Gain Ref x1.dm4"};
    static const char *const others[] = {"again.mrc", "movie.mrc", "defects.mrc", "regain_1.tif"};
    for (size_t i = 0; i < sizeof(references) / sizeof(references[0]); i++)
        ck_assert_msg(mr_purge_is_reference(references[i]), "%s", references[i]);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        ck_assert_msg(!mr_purge_is_reference(others[i]), "%s", others[i]);
    ck_assert(mr_purge_belongs("m.mrc.mdoc", "m.mrc", false));
    ck_assert(mr_purge_belongs("m.mdoc", "m.mrc", false));
    ck_assert(mr_purge_belongs("m_saved.txt", "m.mrc", false));
    ck_assert(mr_purge_belongs("m.raw_1", "m.dm4", false));
    ck_assert(!mr_purge_belongs("m_0001.mrc", "m.mrc", true));
    ck_assert(!mr_purge_belongs("m2.mdoc", "m.mrc", false));
    ck_assert(!mr_purge_belongs("m.mrc", "m.mrc.mdoc", true));
    ck_assert(!mr_purge_belongs("a.log", ".a", false));
}
END_TEST

MR_SUITE("purge_rules", T(committed_file_goes), T(changed_file_stays), T(another_file_stays),
         T(links_are_not_followed), T(file_with_two_names_stays), T(writers_keep_it),
         T(newcomer_under_its_name_is_not_lost), T(file_in_a_folder_that_was_moved_away_stays),
         T(hidden_file_is_given_back), T(content_is_compared_where_times_prove_nothing),
         T(rules_of_the_watch), T(newer_revision_supersedes),
         T(sidecars_of_what_is_not_committed_stay), T(names))
