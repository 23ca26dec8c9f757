/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is nothing but that very file ever lost, whatever happens to it, its name or its folder before it
 * is opened, before it is taken and in the midst of that? What was there beside it is counted by
 * name and inode before and after.
 */
#include "purge_rig.h"
#include "sick_disk.h"

#include <dirent.h>

static struct mr_purge_file file;
static char why[MR_PURGE_WHY];
static int root;
static int writer;
static char seen[4096]; /* all of the folder, behind the mischief */

/* ---- what may happen to it ---- */

enum mischief {
    NOTHING,
    APPENDED,
    TOUCHED,
    CHMODDED,
    LINKED,
    UNLINKED,
    REPLACED,
    BY_A_LINK,
    BY_A_FOLDER,
    HELD,   /* open for writing */
    WANTED, /* somebody would open it for writing, and does not wait */
    MOVED,  /* its folder */
    MISCHIEFS
};

static const char *const names[MISCHIEFS] = {"nothing",     "appended", "touched",  "chmodded",
                                             "linked",      "unlinked", "replaced", "by a link",
                                             "by a folder", "held",     "wanted",   "moved"};

static void list_folder(const char *below, char *ret, size_t size)
{
    DIR *d = opendir(tree_path(below));
    size_t used = 0;
    uint64_t sum = 0, count = 0;
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) { /* in any order */
        uint64_t one = e->d_ino * 31 + e->d_type;
        for (const char *c = e->d_name; *c != '\0'; c++)
            one = one * 131 + (uint8_t)*c;
        if (strcmp(e->d_name, "..") == 0)
            continue;
        sum += one * one;
        count++;
    }
    closedir(d);
    snprintf(ret + used, size - used, "%llu names, %llx", (unsigned long long)count,
             (unsigned long long)sum);
}

static void happen(enum mischief m)
{
    const char *path = tree_path("in/d/a");
    switch (m) {
    case NOTHING:
    case MISCHIEFS:
        break;
    case APPENDED:
        scratch_append(&(struct scratch){.fd = root}, "d/a", "more");
        break;
    case TOUCHED:
        ck_assert_int_eq(
            utimensat(AT_FDCWD, path, (struct timespec[2]){{.tv_sec = 1}, {.tv_sec = 1}}, 0), 0);
        break;
    case CHMODDED:
        ck_assert_int_eq(chmod(path, 0640), 0);
        break;
    case LINKED:
        ck_assert_int_eq(link(path, tree_path("in/d/b")), 0);
        break;
    case UNLINKED:
        ck_assert_int_eq(unlink(path), 0);
        break;
    case REPLACED:
        tree_put("in/d/new", "as it is"); /* the same bytes, and yet another file */
        tree_rename("in/d/new", "in/d/a");
        break;
    case BY_A_LINK:
        ck_assert_int_eq(unlink(path), 0);
        ck_assert_int_eq(symlink("/etc/passwd", path), 0);
        break;
    case BY_A_FOLDER:
        ck_assert_int_eq(unlink(path), 0);
        tree_mkdir("in/d/a");
        break;
    case HELD:
        writer = open(path, O_WRONLY | O_CLOEXEC);
        ck_assert_int_ge(writer, 0);
        break;
    case WANTED:
        ck_assert_int_lt(open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC), 0);
        ck_assert_int_eq(errno, EAGAIN); /* a lease is held: it would have waited */
        break;
    case MOVED:
        tree_rename("in/d", "in/archive");
        break;
    }
}

/* ---- around each case ---- */

static void begin(void)
{
    rig_make();
    tree_mkdir("in/d");
    root = open(rig.in, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(root, 0);
    rig_commit("d/a", "as it is");
    tree_put("in/d/beside", "it");
    writer = -1;
    why[0] = '\0';
}

static void end(void)
{
    if (writer >= 0)
        close(writer);
    close(root);
    tree_remove();
}

static void need_leases(void)
{
    begin();
    int fd = open(tree_path("in/d/a"), O_RDONLY | O_CLOEXEC);
    int leased = fcntl(fd, F_SETLEASE, F_RDLCK);
    close(fd);
    end();
    if (leased < 0)
        suite_skip("this file system gives no leases");
}

static int open_it(void)
{
    return mr_purge_file_open(root, &rig.row, &file, why);
}

static void check_kept(const char *folder, const char *what)
{
    char now[4096];
    list_folder(folder, now, sizeof(now));
    ck_assert_msg(strcmp(now, seen) == 0, "%s: %s, but were %s", what, now, seen);
    ck_assert_msg(why[0] != '\0', "%s", what);
}

/* ---- the cases ---- */

START_TEST(what_is_not_that_file_any_more_is_not_opened)
{
    static const int expected[MISCHIEFS] = {
        [APPENDED] = -ESTALE,  [TOUCHED] = -ESTALE,     [CHMODDED] = -ESTALE,
        [LINKED] = -ESTALE,    [UNLINKED] = -ENOENT,    [REPLACED] = -ENOENT,
        [BY_A_LINK] = -ESTALE, [BY_A_FOLDER] = -ENOENT, [MOVED] = -ENOENT};
    for (int m = 0; m < MISCHIEFS; m++) {
        if (m == WANTED)
            continue;
        begin();
        happen((enum mischief)m);
        const char *folder = m == MOVED ? "in/archive" : "in/d";
        list_folder(folder, seen, sizeof(seen));
        memset(&file, 0x5a, sizeof(file));
        int r = open_it();
        ck_assert_msg(r == expected[m], "%s: %d, %s", names[m], r, why);
        if (r == 0)
            mr_purge_file_close(&file);
        else
            check_kept(folder, names[m]);
        end();
    }
}
END_TEST

/* Of a journal of before, which did not write it down. */
START_TEST(a_ctime_that_is_not_known_is_not_compared)
{
    begin();
    rig.row.source.ctime_ns = 0;
    happen(CHMODDED);
    ck_assert_msg(open_it() == 0, "%s", why);
    mr_purge_file_close(&file);
    happen(TOUCHED);
    ck_assert_int_eq(open_it(), -ESTALE);
    end();
}
END_TEST

START_TEST(a_folder_that_became_a_link_is_not_followed)
{
    begin();
    tree_rename("in/d", "elsewhere");
    ck_assert_int_eq(symlink("../elsewhere", tree_path("in/d")), 0);
    ck_assert_int_eq(open_it(), -ESTALE);
    ck_assert_ptr_nonnull(strstr(why, "symbolic link"));
    memset(rig.row.path, 'n', 300);
    rig.row.path[300] = '\0';
    ck_assert_int_eq(open_it(), -ENAMETOOLONG);
    end();
}
END_TEST

START_TEST(what_happens_before_it_is_taken_keeps_it)
{
    need_leases();
    static const int expected[MISCHIEFS] = {
        [APPENDED] = -ESTALE, [TOUCHED] = -ESTALE,  [CHMODDED] = -ESTALE,  [LINKED] = -ESTALE,
        [UNLINKED] = -ESTALE, [REPLACED] = -ESTALE, [BY_A_LINK] = -ESTALE, [BY_A_FOLDER] = -ESTALE,
        [HELD] = -EBUSY,      [MOVED] = -ENOENT};
    for (int m = 0; m < MISCHIEFS; m++) {
        if (m == WANTED)
            continue;
        begin();
        ck_assert_int_eq(open_it(), 0);
        happen((enum mischief)m);
        const char *folder = m == MOVED ? "in/archive" : "in/d";
        list_folder(folder, seen, sizeof(seen));
        int r = mr_purge_file_take(&file, why);
        ck_assert_msg(r == expected[m], "%s: %d, %s", names[m], r, why);
        if (r == 0)
            ck_assert(!rig_there("d/a") && rig_there("d/beside"));
        else
            check_kept(folder, names[m]);
        mr_purge_file_close(&file);
        end();
    }
}
END_TEST

/* Between the last look at its name and the rename: what lies under the hidden name then is looked
 * at again, and gets its name back. */
static void in_the_midst(void *ctx)
{
    happen(*(const enum mischief *)ctx);
    list_folder("in/d", seen, sizeof(seen));
}

START_TEST(what_happens_in_the_midst_keeps_it_too)
{
    need_leases();
    static const int expected[MISCHIEFS] = {
        [TOUCHED] = -ESTALE,   [LINKED] = -ESTALE,      [UNLINKED] = -ENOENT, [REPLACED] = -ENOENT,
        [BY_A_LINK] = -ENOENT, [BY_A_FOLDER] = -ENOENT, [WANTED] = -EBUSY};
    for (enum mischief m = 0; m < MISCHIEFS; m++) {
        if (m == APPENDED || m == HELD || m == MOVED) /* the lease holds off the first two */
            continue;
        begin();
        ck_assert_int_eq(open_it(), 0);
        sick_disk.before_rename = in_the_midst;
        sick_disk.ctx = &m;
        int r = mr_purge_file_take(&file, why);
        ck_assert_msg(r == expected[m], "%s: %d, %s", names[m], r, why);
        if (r == 0)
            ck_assert(!rig_there("d/a") && rig_there("d/beside"));
        else
            check_kept("in/d", names[m]);
        mr_purge_file_close(&file);
        if (r == -EBUSY) { /* the lease went with it: nobody waits any more */
            happen(HELD);
        }
        end();
    }
}
END_TEST

static void take_its_name(void *ctx)
{
    (void)ctx;
    tree_put("in/d/a", "a newcomer");
}

static void change_it_and_take_its_name(void *ctx)
{
    (void)ctx;
    happen(TOUCHED);
    sick_disk.before_rename = take_its_name; /* of the way back */
}

START_TEST(a_name_given_away_in_the_midst_leaves_both)
{
    char hidden[128];
    begin();
    ck_assert_int_eq(open_it(), 0);
    sick_disk.before_rename = change_it_and_take_its_name;
    ck_assert_int_eq(mr_purge_file_take(&file, why), -EEXIST);
    ck_assert_ptr_nonnull(strstr(why, file.hidden));
    ck_assert_str_eq(file.hidden, rig_hidden());
    snprintf(hidden, sizeof(hidden), "d/%s", file.hidden);
    ck_assert(rig_there(hidden) && rig_there("d/a"));
    mr_purge_file_close(&file);
    /* as the next start finds it */
    ck_assert_int_eq(mr_purge_file_restore(root, "d/a", &rig.row.id), -EEXIST);
    ck_assert(rig_there(hidden) && rig_there("d/a"));
    ck_assert_int_eq(unlink(tree_path("in/d/a")), 0);
    ck_assert_int_eq(mr_purge_file_restore(root, "d/a", &rig.row.id), 0);
    ck_assert(!rig_there(hidden) && rig_there("d/a"));
    ck_assert_uint_eq(scratch_size(&(struct scratch){.fd = root}, "d/a"), strlen("as it is"));
    ck_assert_int_eq(mr_purge_file_restore(root, "d/a", &rig.row.id), -ENOENT);
    ck_assert_int_eq(mr_purge_file_restore(root, "none/a", &rig.row.id), -ENOENT);
    end();
}
END_TEST

/* ---- calls that fail ---- */

START_TEST(what_cannot_be_unlinked_has_its_name_back)
{
    begin();
    ck_assert_int_eq(open_it(), 0);
    list_folder("in/d", seen, sizeof(seen));
    sick_disk.no_unlinks = EROFS;
    ck_assert_int_eq(mr_purge_file_take(&file, why), -EROFS);
    ck_assert_ptr_nonnull(strstr(why, "cannot be unlinked"));
    check_kept("in/d", "no unlink");
    sick_disk.no_unlinks = 0;
    mr_purge_file_close(&file);
    end();
}
END_TEST

/* It is gone, and may come back: that is said, and is no failure. */
START_TEST(a_folder_that_cannot_be_synced_is_told)
{
    begin();
    ck_assert_int_eq(open_it(), 0);
    sick_disk.no_sync_of = "/in/d";
    ck_assert_int_eq(mr_purge_file_take(&file, why), 0);
    ck_assert_ptr_nonnull(strstr(why, "cannot be synced"));
    ck_assert(!rig_there("d/a"));
    mr_purge_file_close(&file);
    end();
}
END_TEST

/* ---- asking without touching ---- */

START_TEST(a_probe_tells_of_a_writer_and_leaves_no_lease)
{
    need_leases();
    begin();
    ck_assert_int_eq(open_it(), 0);
    ck_assert_int_eq(mr_purge_file_probe(&file, why), 0);
    happen(HELD); /* at once: nothing holds it off */
    ck_assert_int_eq(mr_purge_file_probe(&file, why), -EBUSY);
    ck_assert_ptr_nonnull(strstr(why, "open for writing"));
    mr_purge_file_close(&file);
    end();
}
END_TEST

START_TEST(all_of_a_long_file_is_read_again)
{
    static char text[2 * 1024 * 1024 + 12];
    static const size_t places[] = {0, 1024 * 1024 - 1, 1024 * 1024, sizeof(text) - 2};
    atomic_bool stop = false;
    begin();
    memset(text, 'x', sizeof(text) - 1);
    rig_commit("d/long", text);
    ck_assert_int_eq(open_it(), 0);
    ck_assert_int_eq(mr_purge_file_check(&file, rig.row.source.crc_file, &stop, why), 0);
    for (size_t i = 0; i < 4; i++) {
        scratch_flip(&(struct scratch){.fd = root}, "d/long", places[i]);
        ck_assert_int_eq(mr_purge_file_check(&file, rig.row.source.crc_file, &stop, why), -ESTALE);
        ck_assert_ptr_nonnull(strstr(why, "checksum"));
        scratch_flip(&(struct scratch){.fd = root}, "d/long", places[i]);
    }
    stop = true;
    ck_assert_int_eq(mr_purge_file_check(&file, rig.row.source.crc_file, &stop, why), -ECANCELED);
    stop = false;
    scratch_cut(&(struct scratch){.fd = root}, "d/long", sizeof(text) - 2);
    ck_assert_int_lt(mr_purge_file_check(&file, rig.row.source.crc_file, &stop, why), 0);
    ck_assert_ptr_nonnull(strstr(why, "cannot be read again"));
    mr_purge_file_close(&file);
    end();
}
END_TEST

MR_SUITE("purge_file", T(what_is_not_that_file_any_more_is_not_opened),
         T(a_ctime_that_is_not_known_is_not_compared),
         T(a_folder_that_became_a_link_is_not_followed),
         T(what_happens_before_it_is_taken_keeps_it), T(what_happens_in_the_midst_keeps_it_too),
         T(a_name_given_away_in_the_midst_leaves_both),
         T(what_cannot_be_unlinked_has_its_name_back), T(a_folder_that_cannot_be_synced_is_told),
         T(a_probe_tells_of_a_writer_and_leaves_no_lease), T(all_of_a_long_file_is_read_again))
