/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Group files: written, removed, dissolved into ordinary journals. Places and records nothing
 * (seal_group does).
 */
#include "flotilla.h"

#include "base/recordlog.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CRC_BYTES 17 /* of a line, before its text */

/* Lines that are gathered; owned. */
struct lines {
    char *data;
    size_t bytes, room;
};

static int add_text(struct lines *l, const char *text, size_t bytes)
{
    size_t needed = l->bytes + bytes + MR_RECORD_AROUND, line = 0;
    if (needed > l->room) {
        char *more = realloc(l->data, 2 * needed);
        if (more == NULL)
            return -ENOMEM;
        l->data = more;
        l->room = 2 * needed;
    }
    int r = mr_recordlog_format(text, bytes, l->data + l->bytes, l->room - l->bytes, &line);
    l->bytes += r == 0 ? line : 0;
    return r;
}

static void free_lines(struct lines *l)
{
    free(l->data);
}

/* ---- writing ---- */

static int add_record(struct lines *to, const char *journal, const char *record, size_t bytes)
{
    size_t front = journal == NULL ? 0 : strlen(journal) + 1;
    char *text = malloc(front + bytes + 1);
    if (text == NULL)
        return -ENOMEM;
    if (front > 0) {
        memcpy(text, journal, front - 1);
        text[front - 1] = ' ';
    }
    memcpy(text + front, record, bytes);
    int r = add_text(to, text, front + bytes);
    free(text);
    return r;
}

/* line: owned, as dossier makes it, with a checksum of its own and a newline. */
static int add_line(struct lines *to, const char *journal, int made, char *line, size_t bytes)
{
    int r = made < 0 ? made : add_record(to, journal, line + CRC_BYTES, bytes - CRC_BYTES - 1);
    if (made == 0)
        free(line);
    return r;
}

static int add_member(struct lines *to, const char *journal, const struct mr_dossier *d)
{
    char *line = NULL;
    size_t bytes = 0;
    int made = mr_dossier_open_line(d, &line, &bytes);
    int r = add_line(to, journal, made, line, bytes);
    for (uint64_t i = 0; r == 0 && i < d->slab_count; i++) {
        char text[MR_PLACEMENT_TEXT];
        r = add_record(to, journal, text, mr_placement_format(&d->slabs[i], text));
    }
    if (r < 0 || !d->is_sealed)
        return r;
    made = mr_dossier_sealed_line(&d->sealed, &line, &bytes);
    return add_line(to, journal, made, line, bytes);
}

/* flags: O_EXCL, or O_TRUNC where what is there of an earlier attempt is written over. */
static int write_file(int dir, const char *name, int flags, const struct lines *l)
{
    MR_CLEANUP(mr_fs_close)
    int fd =
        openat(dir, name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | flags, 0640);
    return fd < 0 ? -errno : mr_recordlog_append(fd, l->data, l->bytes);
}

int mr_flotilla_remove(const struct mr_store *store, const char *name)
{
    return unlinkat(store->journal_fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

int mr_flotilla_write(const struct mr_store *store, struct mr_dossier *const *members, size_t count,
                      char ret_name[MR_NAMING_PART], struct mr_err *err)
{
    MR_CLEANUP(free_lines) struct lines l = {0};
    char journal[MR_NAMING_PART];
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i++) {
        mr_dossier_name(&members[i]->open.movie, members[i]->generation, "journal", journal);
        r = add_member(&l, journal, members[i]);
    }
    mr_dossier_name(&members[0]->open.movie, members[0]->generation, "group", ret_name);
    if (r == 0 && (r = write_file(store->journal_fd, ret_name, O_EXCL, &l)) < 0 && r != -EEXIST &&
        mr_flotilla_remove(store, ret_name) < 0)
        r = -EEXIST;
    return r < 0 ? mr_err_errno(err, r, "journal %s", ret_name) : 0;
}

/* ---- dissolving ---- */

struct member {
    char journal[MR_NAMING_PART];
    struct lines lines;
    bool opened, sealed;
};

struct members {
    struct member *list; /* owned */
    size_t count;
};

static void free_members(struct members *m)
{
    for (size_t i = 0; i < m->count; i++)
        free_lines(&m->list[i].lines);
    free(m->list);
}

/* Those of one member follow each other. */
static struct member *member_of(struct members *m, const char *journal, size_t bytes)
{
    struct member *last = m->count == 0 ? NULL : &m->list[m->count - 1];
    if (last != NULL && strlen(last->journal) == bytes &&
        memcmp(last->journal, journal, bytes) == 0)
        return last;
    struct member *more = realloc(m->list, (m->count + 1) * sizeof(*more));
    if (more == NULL)
        return NULL;
    m->list = more;
    last = &more[m->count++];
    *last = (struct member){.opened = false};
    memcpy(last->journal, journal, bytes);
    return last;
}

static int visit(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    struct mr_ulid id;
    uint32_t generation;
    size_t front = strcspn(text, " ");
    char journal[MR_NAMING_PART] = "";
    (void)offset;
    if (front >= sizeof(journal) || text[front] != ' ')
        return 0;
    memcpy(journal, text, front);
    if (mr_dossier_parse_name(journal, "journal", &id, &generation) < 0)
        return 0;
    struct member *m = member_of(ctx, journal, front);
    if (m == NULL)
        return -ENOMEM;
    const char *record = text + front + 1;
    enum mr_placement_kind kind = mr_placement_kind(record);
    m->opened |= kind == MR_RECORD_OPEN;
    m->sealed |= kind == MR_RECORD_SEALED;
    return add_text(&m->lines, record, bytes - front - 1);
}

/* Names that are linked, or that a power cut tore apart, leave the final one beside the part's.
 * Nobody was told of it. */
static int drop_final_name(const struct mr_store *store, const struct mr_dossier *d)
{
    const char *name = mr_text_last(d->sealed.path);
    MR_CLEANUP(mr_fs_close) int dir = mr_store_dir(store, d->sealed.path);
    int r = dir == -ENOENT ? 0 : dir < 0 ? dir : mr_fs_is_inode(dir, name, d->sealed.inode);
    if (r <= 0)
        return r;
    mr_lease_prove_by_sight(store->lease);
    return unlinkat(dir, name, 0) < 0 ? -errno : mr_fs_sync_dir(dir);
}

/* What an ordinary movie has by the time it is sealed: directories that are durable, and bytes,
 * where they lie in the part still. -EBADF: they cannot be made so, and are not to be relied on. */
static int catch_up(const struct mr_store *store, const struct mr_dossier *d)
{
    char part[MR_NAMING_PART];
    MR_CLEANUP(mr_fs_close) int dir = mr_store_part_dir(store, d->path, true);
    if (dir < 0)
        return dir;
    mr_dossier_name(&d->open.movie, d->generation, "part", part);
    MR_CLEANUP(mr_fs_close) int fd = openat(dir, part, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    int r = fsync(fd) < 0 ? -EBADF : 0;
    int dropped = r < 0 && d->is_sealed ? drop_final_name(store, d) : 0;
    return dropped < 0 ? dropped : r;
}

static int sync_journal(const struct mr_store *store, const char *journal)
{
    MR_CLEANUP(mr_fs_close)
    int fd = openat(store->journal_fd, journal, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 || fdatasync(fd) < 0 ? -errno : 0;
}

/* A journal of its own, durable but for its name. d: what lines say; NULL: it is read. -EBADF: its
 * bytes cannot be made durable. */
static int make_journal(const struct mr_store *store, const char *journal,
                        const struct lines *lines, const struct mr_dossier *d)
{
    struct mr_dossier read = {0};
    int r = write_file(store->journal_fd, journal, O_TRUNC, lines);
    if (r == 0 && d == NULL)
        r = mr_dossier_read(store->journal_fd, journal, &read, NULL);
    if (r == 0)
        r = catch_up(store, d == NULL ? &read : d);
    mr_dossier_fini(&read);
    return r < 0 ? r : sync_journal(store, journal);
}

/* One that goes its own way already may have been given another name since. What an earlier life
 * could not sync, or did not come to sync, may lie in memory, and there alone: of the journal that
 * is forgotten here; else both are synced before the group goes. */
static int catch_up_left(const struct mr_store *store, const char *journal)
{
    struct mr_dossier d = {0};
    mr_dossier_forget_cached(store->journal_fd, journal);
    int r = mr_dossier_read(store->journal_fd, journal, &d, NULL) == 0 && d.is_sealed ? 0 : -ENOENT;
    if (r == 0 && (r = catch_up(store, &d)) == 0)
        r = sync_journal(store, journal);
    mr_dossier_fini(&d);
    return r;
}

/* None where its bytes are lost, for nobody was told of them. */
static int set_free(const struct mr_store *store, const struct member *m)
{
    int r = catch_up_left(store, m->journal);
    if (r == -ENOENT)
        r = make_journal(store, m->journal, &m->lines, NULL);
    if (r == -EBADF)
        r = unlinkat(store->journal_fd, m->journal, 0) < 0 ? -errno : 0;
    return r;
}

int mr_flotilla_dissolve(const struct mr_store *store, const char *name, struct mr_err *err)
{
    MR_CLEANUP(free_members) struct members all = {0};
    struct mr_recordlog_scan scan;
    MR_CLEANUP(mr_fs_close) int fd = openat(store->journal_fd, name, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : mr_recordlog_scan(fd, 0, visit, &all, &scan);
    for (size_t i = 0; r == 0 && i < all.count; i++) {
        const struct member *m = &all.list[i];
        if (m->opened && m->sealed)
            r = set_free(store, m);
    }
    if (r == 0)
        r = mr_fs_sync_dir(store->journal_fd);
    if (r == 0)
        r = mr_flotilla_remove(store, name);
    if (r == 0)
        r = mr_fs_sync_dir(store->journal_fd);
    return r < 0 ? mr_err_errno(err, r, "journal %s", name) : 0;
}

int mr_flotilla_leave(const struct mr_store *store, const struct mr_dossier *d, struct mr_err *err)
{
    MR_CLEANUP(free_lines) struct lines l = {0};
    char journal[MR_NAMING_PART];
    mr_dossier_name(&d->open.movie, d->generation, "journal", journal);
    int r = add_member(&l, NULL, d);
    if (r == 0)
        r = make_journal(store, journal, &l, d);
    if (r == 0)
        r = mr_fs_sync_dir(store->journal_fd);
    return r < 0 ? mr_err_errno(err, r, "journal %s", journal) : 0;
}

/* ---- what an earlier life left ---- */

static int next_group(const struct mr_store *store, uint32_t *ret_generation,
                      char ret[MR_NAMING_PART])
{
    struct mr_dossier_file f;
    MR_CLEANUP(mr_fs_list_close) DIR *dir = NULL;
    int r = mr_fs_list(store->journal_fd, &dir);
    int found = r < 0 ? r : mr_dossier_next(dir, "group", &f);
    if (found > 0) {
        *ret_generation = f.generation;
        mr_dossier_name(&f.id, f.generation, "group", ret);
    }
    return found;
}

int mr_flotilla_dissolve_all(const struct mr_store *store, uint32_t epoch, struct mr_err *err)
{
    char name[MR_NAMING_PART];
    uint32_t generation;
    int r;
    while ((r = next_group(store, &generation, name)) > 0) {
        mr_dossier_forget_cached(store->journal_fd, name);
        r = mr_dossier_epoch(generation) == epoch ? mr_flotilla_dissolve(store, name, err)
                                                  : mr_flotilla_remove(store, name);
        if (r < 0)
            return mr_err_errno(err, r, "journal %s", name);
    }
    return r < 0 ? mr_err_errno(err, r, "%s/.millrace/journal", store->root) : 0;
}
