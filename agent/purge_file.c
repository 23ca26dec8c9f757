/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the last look at a name and unlinkat(2) another file can get that name, and it would be
 * gone. So the file is renamed first, to a name that nobody knows, looked at again under that name,
 * and then unlinked or put back: whatever else happens to its old name happens to other files. A
 * lease keeps those out who would write to it in between. Writes no ledger.
 */
#include "purge_file.h"

#include "base/crc64.h"
#include "base/failpoint.h"
#include "base/text.h"
#include "peek.h"
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES (1024 * 1024)

static int say(char why[MR_PURGE_WHY], int code, const char *text)
{
    snprintf(why, MR_PURGE_WHY, "%s", text);
    return code;
}

static int say_errno(char why[MR_PURGE_WHY], const char *what, int code)
{
    snprintf(why, MR_PURGE_WHY, "%s: %s", what, mr_err_name(code));
    return code;
}

/* ---- opening and comparing ---- */

/* The directory of root/path. */
static int open_parent(int root, const char *path)
{
    char folder[MR_PATH_MAX + 1];
    const char *slash = strrchr(path, '/');
    int length = slash == NULL ? 0 : (int)(slash - path);
    if (length == 0)
        return mr_fs_open_straight(root, ".", O_RDONLY | O_DIRECTORY);
    snprintf(folder, sizeof(folder), "%.*s", length, path);
    return mr_fs_open_straight(root, folder, O_RDONLY | O_DIRECTORY);
}

static bool same_file(const struct mr_fs_facts *a, const struct mr_fs_facts *b)
{
    return S_ISREG(a->mode) && mr_fs_same(&a->identity, &b->identity);
}

/* What differs of one file, in words; NULL: nothing. */
static const char *difference(const struct mr_fs_facts *a, const struct mr_fs_facts *b,
                              bool with_ctime)
{
    if (a->size != b->size)
        return "its size has changed since it was read";
    if (a->mtime_ns != b->mtime_ns)
        return "it was written to since it was read (mtime)";
    if (with_ctime && a->ctime_ns != b->ctime_ns)
        return "something about it changed since it was read (ctime)";
    if (a->links != 1)
        return "it has another name besides (hard link): unlinking this one would free nothing";
    return NULL;
}

static int compare(const struct mr_purge_file *f, bool with_ctime, char why[MR_PURGE_WHY])
{
    struct mr_fs_facts now;
    int r = mr_fs_stat_fresh(f->fd, "", &now);
    if (r < 0)
        return say_errno(why, "it cannot be looked at", r);
    if (!same_file(&now, &f->facts))
        return say(why, -ENOENT, "another file has its name now");
    const char *text = difference(&now, &f->facts, with_ctime);
    return text == NULL ? 0 : say(why, -ESTALE, text);
}

static int open_file(int root, const char *path, struct mr_purge_file *f, char why[MR_PURGE_WHY])
{
    f->parent = open_parent(root, path);
    if (f->parent >= 0)
        f->fd = mr_fs_open_straight(f->parent, f->name, O_RDONLY | O_NONBLOCK);
    int r = f->parent < 0 ? f->parent : f->fd;
    if (r == -ENOENT || r == -ENOTDIR)
        return say(why, -ENOENT, "it is no longer there");
    if (r == -ELOOP || r == -EXDEV)
        return say(why, -ESTALE, "a symbolic link leads to it, or it is one");
    return r < 0 ? say_errno(why, "it cannot be opened", r) : 0;
}

int mr_purge_file_open(int root, const struct mr_journal_movie *m, struct mr_purge_file *ret,
                       char why[MR_PURGE_WHY])
{
    char id[MR_ULID_TEXT];
    struct mr_purge_file f = {.fd = -1, .parent = -1, .id = m->id, .movie = m};
    f.facts = (struct mr_fs_facts){.identity = m->identity,
                                   .size = m->size,
                                   .mtime_ns = m->mtime_ns,
                                   .ctime_ns = m->source.ctime_ns};
    const char *name = mr_text_last(m->path);
    if (strlen(name) >= sizeof(f.name))
        return say_errno(why, "it cannot be opened", -ENAMETOOLONG);
    strcpy(f.name, name);
    snprintf(f.hidden, sizeof(f.hidden), MR_WATCH_HIDDEN "%s", mr_ulid_text(&m->id, id));
    int r = open_file(root, m->path, &f, why);
    if (r == 0)
        r = compare(&f, m->source.ctime_ns != 0, why);
    if (r < 0) {
        mr_purge_file_close(&f);
        return r;
    }
    *ret = f;
    return 0;
}

void mr_purge_file_close(struct mr_purge_file *f)
{
    mr_fs_close(&f->fd); /* a lease goes with it */
    mr_fs_close(&f->parent);
}

/* ---- reading it once more ---- */

static int crc_of(int fd, uint64_t size, const atomic_bool *stop, uint64_t *ret)
{
    uint64_t crc = 0;
    uint8_t *buffer = malloc(READ_BYTES);
    int r = buffer == NULL ? -ENOMEM : 0;
    for (uint64_t at = 0; r == 0 && at < size; at += READ_BYTES) {
        size_t bytes = size - at < READ_BYTES ? (size_t)(size - at) : READ_BYTES;
        r = atomic_load(stop) ? -ECANCELED : mr_fs_pread_full(fd, buffer, bytes, at);
        if (r == 0)
            crc = mr_crc64(crc, buffer, bytes);
        (void)posix_fadvise(fd, (off_t)at, (off_t)bytes, POSIX_FADV_DONTNEED);
    }
    free(buffer);
    *ret = crc;
    return r;
}

int mr_purge_file_check(const struct mr_purge_file *f, uint64_t crc, const atomic_bool *stop,
                        char why[MR_PURGE_WHY])
{
    uint64_t found = 0;
    int r = crc_of(f->fd, f->facts.size, stop, &found);
    if (r < 0)
        return say_errno(why, "it cannot be read again", r);
    return found == crc ? 0 : say(why, -ESTALE, "it reads back with another checksum");
}

/* ---- taking it away ---- */

/* Nobody may have it open for writing. Where leases speak for some writers only, or are not for us
 * to have (the file is another user's), there is none. */
static int take_lease(const struct mr_purge_file *f, bool *ret_leased, char why[MR_PURGE_WHY])
{
    int r = mr_peek_lease(f->fd);
    *ret_leased = r == 0;
    return r == -EAGAIN ? say(why, -EBUSY, "somebody has it open for writing") : 0;
}

static void drop_lease(const struct mr_purge_file *f, bool leased)
{
    if (leased)
        mr_peek_unlease(f->fd);
}

int mr_purge_file_probe(const struct mr_purge_file *f, char why[MR_PURGE_WHY])
{
    bool leased;
    if (faccessat(f->parent, ".", W_OK | X_OK, AT_EACCESS) < 0)
        return say_errno(why, "its directory cannot be written to", -errno);
    int r = take_lease(f, &leased, why);
    drop_lease(f, r == 0 && leased);
    return r;
}

/* Synced, for once an outcome is written down nobody looks for the hidden name any more; where a
 * directory cannot be synced that is all that can be done. */
static int give_name(int parent, const char *hidden, const char *name)
{
    int r = mr_fs_rename_new(parent, hidden, parent, name);
    if (r == 0)
        (void)!mr_fs_sync_dir(parent);
    return r;
}

/* Its name may be another file's by now: then it stays where it is. */
static int put_back(const struct mr_purge_file *f, int code, char why[MR_PURGE_WHY])
{
    int r = give_name(f->parent, f->hidden, f->name);
    if (r == 0)
        return code;
    snprintf(why, MR_PURGE_WHY, "it cannot get its name back (%s) and lies there as %s",
             mr_err_name(r), f->hidden);
    return -EEXIST;
}

/* Under its hidden name: is it that file, as it was, and does nobody wait to write to it? Its ctime
 * is the rename's by now. */
static int check_hidden(const struct mr_purge_file *f, bool leased, char why[MR_PURGE_WHY])
{
    struct mr_fs_facts there;
    int r = mr_fs_stat(f->parent, f->hidden, &there);
    if (r < 0)
        return say_errno(why, "it cannot be looked at", r);
    if (!same_file(&there, &f->facts))
        return say(why, -ENOENT, "another file has its name now");
    r = compare(f, false, why);
    if (r == 0 && leased && fcntl(f->fd, F_GETLEASE) != F_RDLCK)
        return say(why, -EBUSY, "somebody opens it for writing");
    return r;
}

/* Its folder may have been moved away since it was opened, to an archive perhaps, with the file in
 * it: nobody asked us to free that. */
static int check_place(const struct mr_purge_file *f, char why[MR_PURGE_WHY])
{
    struct mr_fs_facts now, then;
    MR_CLEANUP(mr_fs_close)
    int root = open(f->movie->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    MR_CLEANUP(mr_fs_close) int parent = root < 0 ? -errno : open_parent(root, f->movie->path);
    bool same = parent >= 0 && mr_fs_stat(parent, "", &now) == 0 &&
                mr_fs_stat(f->parent, "", &then) == 0 && mr_fs_same(&now.identity, &then.identity);
    return same ? 0 : say(why, -ENOENT, "its folder is no longer where it was");
}

static int take_away(const struct mr_purge_file *f, bool leased, char why[MR_PURGE_WHY])
{
    int r = mr_fs_rename_new(f->parent, f->name, f->parent, f->hidden);
    if (r < 0)
        return say_errno(why, "it cannot be renamed", r);
    mr_failpoint("purge-hidden");
    r = check_hidden(f, leased, why);
    if (r < 0)
        return put_back(f, r, why);
    if (unlinkat(f->parent, f->hidden, 0) < 0) {
        r = say_errno(why, "it cannot be unlinked", -errno);
        return put_back(f, r, why);
    }
    mr_failpoint("purge-unlinked");
    return 0;
}

int mr_purge_file_take(struct mr_purge_file *f, char why[MR_PURGE_WHY])
{
    bool leased;
    int r = take_lease(f, &leased, why);
    if (r == 0)
        r = compare(f, true, why);
    if (r == 0)
        r = check_place(f, why);
    if (r == 0)
        r = take_away(f, leased, why);
    drop_lease(f, leased);
    if (r == 0 && mr_fs_sync_dir(f->parent) < 0)
        snprintf(why, MR_PURGE_WHY, "its directory cannot be synced: it may be there again");
    return r;
}

int mr_purge_file_restore(int root, const char *path, const struct mr_ulid *id)
{
    char text[MR_ULID_TEXT], hidden[64];
    snprintf(hidden, sizeof(hidden), MR_WATCH_HIDDEN "%s", mr_ulid_text(id, text));
    MR_CLEANUP(mr_fs_close) int parent = open_parent(root, path);
    return parent < 0 ? parent : give_name(parent, hidden, mr_text_last(path));
}
