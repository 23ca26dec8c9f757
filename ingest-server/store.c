/* SPDX-License-Identifier: Apache-2.0 */
/* The store's directories and how files in it look. Knows no movie. */
#include "store.h"

#include "base/text.h"
#include "dirset.h"
#include "space.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int mr_store_find_group(const char *name, gid_t *ret, struct mr_err *err)
{
    if (strcmp(name, "inherit") == 0) {
        *ret = (gid_t)-1;
        return 0;
    }
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    if (*name != '\0' && *end == '\0') {
        *ret = (gid_t)number;
        return 0;
    }
    const struct group *group = getgrnam(name);
    if (group == NULL)
        return mr_err_set(err, -EINVAL, "no group named %s", name);
    *ret = group->gr_gid;
    return 0;
}

static int open_below(int dir, const char *name, int *ret_fd, struct mr_err *err)
{
    int fd = mr_fs_mkdirs_durable(dir, name, 0750, (gid_t)-1);
    if (fd < 0)
        return mr_err_errno(err, fd, "%s", name);
    *ret_fd = fd;
    return 0;
}

/* The root may be given with any number of missing parents. */
static int open_root(const char *root, mode_t mode, int *ret_fd, struct mr_err *err)
{
    int fd = open(root, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        MR_CLEANUP(mr_fs_close)
        int base = open(root[0] == '/' ? "/" : ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
        if (base < 0)
            return mr_err_errno(err, -errno, "%s", root);
        fd = mr_fs_mkdirs_durable(base, root + strspn(root, "/"), mode, (gid_t)-1);
        if (fd < 0)
            return mr_err_errno(err, fd, "store.root: %s", root);
    }
    if (fd < 0)
        return mr_err_errno(err, -errno, "store.root: %s", root);
    *ret_fd = fd;
    return 0;
}

static int open_dirs(struct mr_store *s, const struct mr_store_config *config, struct mr_err *err)
{
    int r = open_root(s->root, config->dir_mode, &s->root_fd, err);
    if (r == 0)
        r = open_below(s->root_fd, MR_NAMING_RESERVED, &s->millrace_fd, err);
    if (r == 0)
        r = open_below(s->millrace_fd, "journal", &s->journal_fd, err);
    if (r == 0)
        r = open_below(s->millrace_fd, "failed", &s->failed_fd, err);
    return r < 0 ? mr_err_prefix(err, "store %s", s->root) : 0;
}

int mr_store_open(const struct mr_store_config *config, struct mr_store *ret, struct mr_err *err)
{
    struct mr_store s = {.root_fd = -1,
                         .millrace_fd = -1,
                         .journal_fd = -1,
                         .failed_fd = -1,
                         .direct_io = config->direct_io,
                         .file_mode = config->file_mode,
                         .dir_mode = config->dir_mode,
                         .source_mtime = config->source_mtime,
                         .keep_revisions_ns = config->keep_revisions_ns,
                         .keep_free_hundredths = config->keep_free_hundredths};
    s.root = strdup(config->root);
    s.site = strdup(config->site);
    s.server = strdup(config->server);
    s.durable_dirs = calloc(1, sizeof(*s.durable_dirs));
    int r = s.root == NULL || s.site == NULL || s.server == NULL || s.durable_dirs == NULL
                ? mr_err_errno(err, -ENOMEM, "store")
                : mr_naming_new(config->path_template, config->site, &s.naming, err);
    if (r < 0)
        mr_err_prefix(err, "store.path");
    for (size_t n = r == 0 ? strlen(s.root) : 0; n > 1 && s.root[n - 1] == '/'; n--)
        s.root[n - 1] = '\0';
    if (r == 0 && (r = mr_store_find_group(config->group, &s.group, err)) < 0)
        mr_err_prefix(err, "store.group");
    if (r == 0)
        r = open_dirs(&s, config, err);
    if (r < 0) {
        mr_store_close(&s);
        return r;
    }
    *ret = s;
    return 0;
}

void mr_store_close(struct mr_store *s)
{
    mr_fs_close(&s->failed_fd);
    mr_fs_close(&s->journal_fd);
    mr_fs_close(&s->millrace_fd);
    mr_fs_close(&s->root_fd);
    mr_naming_free(s->naming);
    free(s->root);
    free(s->site);
    free(s->server);
    free(s->durable_dirs);
}

void mr_store_split(const char *path, char *ret_dir, size_t dir_size, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    *ret_name = mr_text_last(path);
    snprintf(ret_dir, dir_size, "%.*s", slash == NULL ? 1 : (int)(slash - path),
             slash == NULL ? "." : path);
}

int mr_store_dir(const struct mr_store *s, const char *path)
{
    char dir[MR_NAMING_PATH_MAX + 1];
    const char *name;
    mr_store_split(path, dir, sizeof(dir), &name);
    return mr_fs_open_beneath(s->root_fd, dir, O_DIRECTORY | O_RDONLY, 0);
}

static int open_part_dir(int dir)
{
    return mr_fs_open_beneath(dir, MR_NAMING_RESERVED, O_DIRECTORY | O_RDONLY, 0);
}

static int make_part_dir(const struct mr_store *s, int dir)
{
    return mr_fs_mkdirs_durable(dir, MR_NAMING_RESERVED, s->dir_mode, s->group);
}

/* The first time in this server's life all of a path is synced, whoever made it; and whenever some
 * of it is made anew, until that has succeeded. Asked again behind the opening: who makes anew what
 * was opened has forgotten it before. */
static int durable_part_dir(const struct mr_store *s, const char *dir)
{
    uint64_t hash = mr_dirset_hash(dir);
    MR_CLEANUP(mr_fs_close) int fd = -1;
    if (mr_dirset_has(s->durable_dirs, hash)) {
        fd = mr_fs_open_beneath(s->root_fd, dir, O_DIRECTORY | O_RDONLY, 0);
        int part = fd < 0 ? fd : open_part_dir(fd);
        if (part != -ENOENT && (part < 0 || mr_dirset_has(s->durable_dirs, hash)))
            return part;
        mr_fs_close(&part);
        mr_fs_close(&fd);
    }
    mr_dirset_remove(s->durable_dirs, hash);
    fd = mr_fs_mkdirs_durable(s->root_fd, dir, s->dir_mode, s->group);
    int part = fd < 0 ? fd : make_part_dir(s, fd);
    if (part >= 0)
        mr_dirset_add(s->durable_dirs, hash);
    return part;
}

int mr_store_part_dir(const struct mr_store *s, const char *path, bool make)
{
    char dir[MR_NAMING_PATH_MAX + 1];
    const char *name;
    mr_store_split(path, dir, sizeof(dir), &name);
    if (make)
        return durable_part_dir(s, dir);
    MR_CLEANUP(mr_fs_close)
    int fd = mr_fs_open_beneath(s->root_fd, dir, O_DIRECTORY | O_RDONLY, 0);
    return fd < 0 ? fd : open_part_dir(fd);
}

int mr_store_lazy_part_dir(const struct mr_store *s, const char *path)
{
    char dir[MR_NAMING_PATH_MAX + 1];
    const char *name;
    mr_store_split(path, dir, sizeof(dir), &name);
    MR_CLEANUP(mr_fs_close)
    int fd = mr_fs_open_beneath(s->root_fd, dir, O_DIRECTORY | O_RDONLY, 0);
    int part = fd < 0 ? fd : open_part_dir(fd);
    if (part != -ENOENT)
        return part;
    mr_dirset_remove(
        s->durable_dirs,
        mr_dirset_hash(dir)); /* before and after: who finds it meanwhile must not rely on it */
    if (fd < 0)
        fd = mr_fs_mkdirs(s->root_fd, dir, s->dir_mode, s->group);
    part = fd < 0 ? fd : mr_fs_mkdirs(fd, MR_NAMING_RESERVED, s->dir_mode, s->group);
    mr_dirset_remove(s->durable_dirs, mr_dirset_hash(dir));
    return part;
}

/* One that comes after it under this name, be it another server's, is not known to be durable. */
static bool remove_part_dir(const struct mr_store *s, int parent, const char *path)
{
    char dir[MR_NAMING_PATH_MAX + 1];
    const char *name;
    if (parent < 0 || strchr(path, '/') == NULL ||
        unlinkat(parent, MR_NAMING_RESERVED, AT_REMOVEDIR) < 0)
        return false;
    mr_store_split(path, dir, sizeof(dir), &name);
    mr_dirset_remove(s->durable_dirs, mr_dirset_hash(dir));
    return true;
}

void mr_store_lazy_tidy(const struct mr_store *s, const char *path)
{
    MR_CLEANUP(mr_fs_close) int dir = mr_store_dir(s, path);
    (void)remove_part_dir(s, dir, path);
}

void mr_store_tidy(const struct mr_store *s, const char *path)
{
    MR_CLEANUP(mr_fs_close) int dir = mr_store_dir(s, path);
    if (remove_part_dir(s, dir, path)) {
        int r = mr_fs_sync_dir(dir);
        (void)r; /* an empty directory that comes back after a crash does no harm */
    }
}

/* Under a default ACL the mode would become the mask and take rights away. */
int mr_store_create_mode(const struct mr_store *s, int dir_fd)
{
    int by_acl = mr_fs_has_default_acl(dir_fd);
    return by_acl < 0 ? by_acl : by_acl ? 0666 : (int)(s->file_mode & 0777);
}

int mr_store_dress(const struct mr_store *s, int dir_fd, int fd, struct mr_err *err)
{
    struct stat dir, file;
    /* inherit, where no setgid bit has done it; not everybody may, and then it stays as it is */
    if (fstat(dir_fd, &dir) < 0 || fstat(fd, &file) < 0)
        return mr_err_errno(err, -errno, "the directory's group");
    if (s->group == (gid_t)-1 && dir.st_gid != file.st_gid &&
        fchown(fd, (uid_t)-1, dir.st_gid) < 0 && errno != EPERM)
        return mr_err_errno(err, -errno, "giving the file to its directory's group");
    if (s->group != (gid_t)-1 && fchown(fd, (uid_t)-1, s->group) < 0)
        return mr_err_errno(err, -errno, "giving the file to group %u", (unsigned)s->group);
    int by_acl = mr_fs_has_default_acl(dir_fd);
    if (by_acl < 0)
        return mr_err_errno(err, by_acl, "the directory's default ACL");
    if (!by_acl && fchmod(fd, s->file_mode) < 0)
        return mr_err_errno(err, -errno, "setting the file's mode");
    return 0;
}

/* chown(2): a group of one's own, or CAP_CHOWN, which root is taken to have. */
bool mr_store_may_use_group(const struct mr_store *s)
{
    gid_t groups[NGROUPS_MAX];
    if (s->group == (gid_t)-1 || geteuid() == 0 || getegid() == s->group)
        return true;
    int count = getgroups(NGROUPS_MAX, groups);
    for (int i = 0; i < count; i++)
        if (groups[i] == s->group)
            return true;
    return false;
}

bool mr_store_is_full(const struct mr_store *s)
{
    uint64_t available, total;
    if (mr_fs_space(s->root_fd, &available, &total) < 0 || total == 0)
        return false;
    return available < mr_space_keep(total, s->keep_free_hundredths);
}
