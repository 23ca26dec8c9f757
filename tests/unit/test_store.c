/* SPDX-License-Identifier: Apache-2.0 */
/* The store's root: made, refused; parts' folders; how new files look. */
#include "store.h"

#include "scratch.h"
#include "sick_disk.h"
#include "suite.h"

#include <errno.h>
#include <sys/xattr.h>

static struct mr_store_config config_of(const char *root)
{
    return (struct mr_store_config){.root = root,
                                    .path_template = "{agent}/{path}",
                                    .site = "",
                                    .server = "storage1",
                                    .file_mode = 0640,
                                    .dir_mode = 0750,
                                    .group = "inherit"};
}

static bool has(const struct mr_store *store, const char *path)
{
    struct stat st;
    return fstatat(store->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

START_TEST(root_is_made_with_its_parents)
{
    struct scratch s = scratch_make();
    struct mr_store store;
    struct mr_err err = {0};
    char root[128];
    snprintf(root, sizeof(root), "%s/a/b/c//", s.path);
    struct mr_store_config config = config_of(root);
    ck_assert_msg(mr_store_open(&config, &store, &err) == 0, "%s", err.text);
    ck_assert_str_eq(store.root + strlen(s.path), "/a/b/c");
    ck_assert(has(&store, ".millrace/journal"));
    ck_assert(has(&store, ".millrace/failed"));
    mr_store_close(&store);
    ck_assert_int_eq(mr_store_open(&config, &store, &err), 0); /* and again */
    mr_store_close(&store);
    scratch_remove(&s);
}
END_TEST

static void refused(struct mr_store_config config, int code, const char *why)
{
    struct mr_store store;
    struct mr_err err = {0};
    ck_assert_int_eq(mr_store_open(&config, &store, &err), code);
    ck_assert_msg(strstr(err.text, why) != NULL, "'%s' is not in '%s'", why, err.text);
}

START_TEST(what_cannot_be_a_store_is_refused_in_words)
{
    struct scratch s = scratch_make();
    char file[128], below[160];
    snprintf(file, sizeof(file), "%s/file", s.path);
    snprintf(below, sizeof(below), "%s/below", file);
    scratch_append(&s, "file", "text");
    struct mr_store_config config = config_of(file);
    refused(config, -ENOTDIR, "store.root: ");
    refused(config_of(below), -ENOTDIR, "store.root: ");
    config = config_of(s.path);
    config.path_template = "{agent}";
    refused(config, -EINVAL, "store.path: ");
    config = config_of(s.path);
    config.group = "no-such-group-here";
    refused(config, -EINVAL, "store.group: no group named no-such-group-here");
    if (geteuid() != 0) { /* root may write anywhere */
        ck_assert_int_eq(fchmod(s.fd, 0500), 0);
        refused(config_of(s.path), -EACCES, s.path);
        ck_assert_int_eq(fchmod(s.fd, 0700), 0);
    }
    refused(config_of("/proc/1/millrace"), -ENOENT, "/proc/1/millrace");
    scratch_remove(&s);
}
END_TEST

START_TEST(split_gives_folder_and_name)
{
    char dir[64];
    const char *name;
    mr_store_split("a/b/c.mrc", dir, sizeof(dir), &name);
    ck_assert_str_eq(dir, "a/b");
    ck_assert_str_eq(name, "c.mrc");
    mr_store_split("c.mrc", dir, sizeof(dir), &name);
    ck_assert_str_eq(dir, ".");
    ck_assert_str_eq(name, "c.mrc");
}
END_TEST

START_TEST(part_folders_come_and_go)
{
    struct scratch s = scratch_make();
    struct mr_store store;
    struct mr_err err = {0};
    struct mr_store_config config = config_of(s.path);
    ck_assert_int_eq(mr_store_open(&config, &store, &err), 0);
    ck_assert_int_eq(mr_store_part_dir(&store, "a/b/c.mrc", false), -ENOENT);
    int fd = mr_store_part_dir(&store, "a/b/c.mrc", true);
    ck_assert_int_ge(fd, 0);
    ck_assert(has(&store, "a/b/.millrace"));
    int part = openat(fd, "x.part", O_CREAT | O_WRONLY, 0600);
    close(part);
    mr_store_tidy(&store, "a/b/c.mrc"); /* is not empty */
    ck_assert(has(&store, "a/b/.millrace/x.part"));
    ck_assert_int_eq(unlinkat(fd, "x.part", 0), 0);
    close(fd);
    mr_store_tidy(&store, "a/b/c.mrc");
    ck_assert(!has(&store, "a/b/.millrace"));
    ck_assert(has(&store, "a/b"));
    fd = mr_store_part_dir(&store, "top.mrc", true); /* at the top it is the store's own */
    ck_assert_int_ge(fd, 0);
    close(fd);
    mr_store_tidy(&store, "top.mrc");
    ck_assert(has(&store, ".millrace/journal"));
    ck_assert_int_lt(mr_store_part_dir(&store, "../c.mrc", true), 0);
    mr_store_close(&store);
    scratch_remove(&s);
}
END_TEST

static unsigned mode_of(int fd)
{
    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    return st.st_mode & 07777;
}

/* By a server that was replaced, say, which ended before it had synced it. */
START_TEST(part_folder_that_another_made_anew_is_synced)
{
    struct scratch s = scratch_make();
    struct mr_store store;
    struct mr_err err = {0};
    struct mr_store_config config = config_of(s.path);
    ck_assert_int_eq(mr_store_open(&config, &store, &err), 0);
    for (int lazy = 0; lazy < 2; lazy++) {
        int fd = mr_store_part_dir(&store, "a/b/c.mrc", true);
        ck_assert_int_ge(fd, 0);
        close(fd);
        if (lazy)
            mr_store_lazy_tidy(&store, "a/b/c.mrc");
        else
            mr_store_tidy(&store, "a/b/c.mrc");
        ck_assert_int_eq(mkdirat(store.root_fd, "a/b/.millrace", 0750), 0);
        sick_disk.no_sync_of = "/a/b";
        ck_assert_int_eq(mr_store_part_dir(&store, "a/b/c.mrc", true), -EIO);
        sick_disk.no_sync_of = NULL;
    }
    mr_store_close(&store);
    scratch_remove(&s);
}
END_TEST

START_TEST(new_files_get_mode_and_group)
{
    struct scratch s = scratch_make();
    struct mr_store store;
    struct mr_err err = {0};
    struct stat st;
    char group[16];
    struct mr_store_config config = config_of(s.path);
    config.file_mode = 0644;
    if (geteuid() == 0) {
        snprintf(group, sizeof(group), "%d", 12345);
        config.group = group;
    }
    umask(077);
    ck_assert_int_eq(mr_store_open(&config, &store, &err), 0);
    int fd = openat(store.root_fd, "f", O_CREAT | O_WRONLY, 0600);
    ck_assert_int_eq(mr_store_dress(&store, store.root_fd, fd, &err), 0);
    ck_assert_uint_eq(mode_of(fd), 0644);
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_uint_eq(st.st_gid, geteuid() == 0 ? 12345 : getegid());
    close(fd);
    mr_store_close(&store);
    scratch_remove(&s);
}
END_TEST

/* version 2; user rwx, group r-x, mask rwx, other none: as setfacl -d writes it */
static const unsigned char default_acl[] = {2,    0,   0, 0, 1,   0,   7,   0,   255, 255,
                                            255,  255, 4, 0, 5,   0,   255, 255, 255, 255,
                                            0x20, 0,   0, 0, 255, 255, 255, 255};

START_TEST(default_acl_decides_the_mode)
{
    struct scratch s = scratch_make();
    struct mr_store store;
    struct mr_err err = {0};
    struct mr_store_config config = config_of(s.path);
    config.file_mode = 0600;
    ck_assert_int_eq(mr_store_open(&config, &store, &err), 0);
    ck_assert_int_eq(mkdirat(store.root_fd, "d", 0770), 0);
    int dir = openat(store.root_fd, "d", O_RDONLY | O_DIRECTORY);
    if (fsetxattr(dir, "system.posix_acl_default", default_acl, sizeof(default_acl), 0) == 0) {
        int fd = openat(dir, "f", O_CREAT | O_WRONLY, 0666);
        unsigned before = mode_of(fd);
        ck_assert_int_eq(mr_store_dress(&store, dir, fd, &err), 0);
        ck_assert_uint_eq(mode_of(fd), before);
        ck_assert_uint_ne(before, 0600);
        close(fd);
    }
    close(dir);
    mr_store_close(&store);
    scratch_remove(&s);
}
END_TEST

MR_SUITE("store", T(root_is_made_with_its_parents), T(what_cannot_be_a_store_is_refused_in_words),
         T(split_gives_folder_and_name), T(part_folders_come_and_go),
         T(part_folder_that_another_made_anew_is_synced), T(new_files_get_mode_and_group),
         T(default_acl_decides_the_mode))
