/* SPDX-License-Identifier: Apache-2.0 */
/* Names, and which of them are safe. A rename is one step, whatever it spans. */
#include "disk.h"

#include "disk_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* One step of names in one or two directories: afterwards `name` of `dir` is `inode` (NULL: is no
 * more). */
struct assignment {
    struct inode *dir;
    char name[DISK_NAME + 1];
    struct inode *inode;
};

struct change {
    struct change *next;
    struct assignment steps[2];
    size_t count;
    bool marked;
};

struct disk_sync {
    struct inode *inode;
    struct disk_file_sync *file; /* NULL: a directory's */
    struct change *until;        /* directory: the last change it covers; NULL: none */
};

/* ---- tables ---- */

static struct name *find_name(const struct names *names, const char *text)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->list[i].text, text) == 0)
            return &names->list[i];
    return NULL;
}

static void set_name(struct names *names, const char *text, struct inode *inode)
{
    struct name *n = find_name(names, text);
    if (inode == NULL) {
        if (n != NULL)
            *n = names->list[--names->count];
        return;
    }
    if (n == NULL) {
        if (names->count == names->room) {
            names->room = names->room == 0 ? 8 : 2 * names->room;
            names->list = realloc(names->list, names->room * sizeof(*names->list));
            if (names->list == NULL)
                abort();
        }
        n = &names->list[names->count++];
        snprintf(n->text, sizeof(n->text), "%s", text);
    }
    n->inode = inode;
}

static bool is_dir(const struct inode *i)
{
    return S_ISDIR(i->mode);
}

/* ---- inodes ---- */

/* The lowest number that is free, as ext4 does: an old number soon means another file. */
static uint64_t free_number(const struct disk *d)
{
    for (uint64_t number = 2;; number++) {
        const struct inode *i = d->inodes;
        while (i != NULL && i->number != number)
            i = i->next;
        if (i == NULL)
            return number;
    }
}

static struct inode *new_inode(struct disk *d, mode_t mode, struct inode *parent)
{
    struct inode *i = calloc(1, sizeof(*i));
    if (i == NULL)
        abort();
    i->number = free_number(d);
    i->mode = mode;
    i->parent = parent;
    i->mtime_ns = i->safe_mtime_ns = i->birth_ns = d->world->time.now_ns;
    i->next = d->inodes;
    d->inodes = i;
    return i;
}

static void free_inode(struct inode *i)
{
    disk_file_fini(i);
    free(i->entries.list);
    free(i->safe_entries.list);
    free(i);
}

static bool named_by_safe(const struct disk *d, const struct inode *i)
{
    for (const struct inode *dir = d->inodes; dir != NULL; dir = dir->next)
        for (size_t n = 0; n < dir->safe_entries.count; n++)
            if (dir->safe_entries.list[n].inode == i)
                return true;
    for (const struct change *c = d->first; c != NULL; c = c->next)
        for (size_t n = 0; n < c->count; n++)
            if (c->steps[n].inode == i || c->steps[n].dir == i)
                return true;
    return false;
}

static void drop_unused(struct disk *d)
{
    for (struct inode **at = &d->inodes; *at != NULL;) {
        struct inode *i = *at;
        if (i == d->root || i->links > 0 || i->opens > 0 || named_by_safe(d, i)) {
            at = &i->next;
            continue;
        }
        *at = i->next;
        free_inode(i);
    }
}

static void drop_if_unused(struct disk *d, struct inode *i)
{
    if (i == d->root || i->links > 0 || i->opens > 0 || named_by_safe(d, i))
        return;
    struct inode **at = &d->inodes;
    while (*at != i)
        at = &(*at)->next;
    *at = i->next;
    free_inode(i);
}

void disk_close(struct disk *d, struct inode *inode)
{
    inode->opens--;
    drop_if_unused(d, inode);
}

/* ---- changes ---- */

static void trace(const struct disk *d, const struct change *c, const char *what)
{
    for (size_t i = 0; i < c->count; i++)
        TRACE_DISK(d->world, "disk: %s of directory %llu: %s is %llu", what,
                   (unsigned long long)c->steps[i].dir->number, c->steps[i].name,
                   c->steps[i].inode == NULL ? 0 : (unsigned long long)c->steps[i].inode->number);
}

static void seen(const struct assignment *a)
{
    const struct name *before = find_name(&a->dir->entries, a->name);
    if (before != NULL)
        before->inode->links--;
    if (a->inode != NULL) {
        a->inode->links++;
        if (is_dir(a->inode))
            a->inode->parent = a->dir;
    }
    set_name(&a->dir->entries, a->name, a->inode);
}

static void change(struct disk *d, const struct assignment *steps, size_t count)
{
    struct change *c = calloc(1, sizeof(*c));
    if (c == NULL)
        abort();
    memcpy(c->steps, steps, count * sizeof(*steps));
    c->count = count;
    *d->last = c;
    d->last = &c->next;
    trace(d, c, "a name");
    for (size_t i = 0; i < count; i++)
        seen(&steps[i]);
}

static struct assignment assignment(struct inode *dir, const char *name, struct inode *inode)
{
    struct assignment a = {.dir = dir, .inode = inode};
    snprintf(a.name, sizeof(a.name), "%s", name);
    return a;
}

static void make_safe(const struct disk *d, const struct change *c)
{
    trace(d, c, "a safe name");
    for (size_t i = 0; i < c->count; i++)
        set_name(&c->steps[i].dir->safe_entries, c->steps[i].name, c->steps[i].inode);
}

/* ---- calls ---- */

int disk_find(const struct inode *dir, enum disk_view view, const char *name, struct inode **ret)
{
    if (!is_dir(dir))
        return -ENOTDIR;
    const struct name *n = find_name(view == DISK_NOW ? &dir->entries : &dir->safe_entries, name);
    if (n == NULL)
        return -ENOENT;
    *ret = n->inode;
    return 0;
}

/* While it was open: no name comes into it any more. */
static bool was_removed(const struct disk *d, const struct inode *dir)
{
    return dir->links == 0 && dir != d->root;
}

int disk_make(struct disk *d, struct inode *dir, const char *name, mode_t mode, struct inode **ret)
{
    if (strlen(name) > DISK_NAME)
        return -ENAMETOOLONG;
    if (was_removed(d, dir))
        return -ENOENT;
    if (find_name(&dir->entries, name) != NULL)
        return -EEXIST;
    struct inode *i = new_inode(d, mode, dir);
    struct assignment a = assignment(dir, name, i);
    change(d, &a, 1);
    *ret = i;
    return 0;
}

int disk_link(struct disk *d, struct inode *file, struct inode *dir, const char *name)
{
    if (was_removed(d, dir))
        return -ENOENT;
    if (find_name(&dir->entries, name) != NULL)
        return -EEXIST;
    struct assignment a = assignment(dir, name, file);
    change(d, &a, 1);
    return 0;
}

int disk_remove(struct disk *d, struct inode *dir, const char *name, bool directory)
{
    const struct name *n = find_name(&dir->entries, name);
    if (n == NULL)
        return -ENOENT;
    struct inode *i = n->inode;
    if (is_dir(i) != directory)
        return directory ? -ENOTDIR : -EISDIR;
    if (directory && i->entries.count > 0)
        return -ENOTEMPTY;
    struct assignment a = assignment(dir, name, NULL);
    change(d, &a, 1);
    return 0;
}

int disk_rename(struct disk *d, struct inode *from, const char *name, struct inode *to,
                const char *new_name, enum disk_rename how)
{
    const struct name *n = find_name(&from->entries, name);
    const struct name *over = find_name(&to->entries, new_name);
    if (n == NULL || was_removed(d, to) || (how == DISK_EXCHANGE && over == NULL))
        return -ENOENT;
    if (how == DISK_NO_REPLACE && over != NULL)
        return -EEXIST;
    if (over != NULL && over->inode == n->inode)
        return 0;
    struct inode *moved = n->inode, *other = how == DISK_EXCHANGE ? over->inode : NULL;
    moved->links++; /* not gone in between */
    if (other != NULL)
        other->links++;
    struct assignment steps[2] = {assignment(from, name, other), assignment(to, new_name, moved)};
    change(d, steps, 2);
    moved->links--;
    if (other != NULL)
        other->links--;
    return 0;
}

void disk_path(const struct disk *d, const struct inode *dir, char *ret, size_t size)
{
    char path[2048] = "", longer[2048];
    for (const struct inode *i = dir; i != d->root && i->parent != NULL; i = i->parent) {
        const char *name = "?";
        for (size_t n = 0; n < i->parent->entries.count; n++)
            if (i->parent->entries.list[n].inode == i)
                name = i->parent->entries.list[n].text;
        snprintf(longer, sizeof(longer), "/%.255s%.1700s", name, path);
        memcpy(path, longer, sizeof(path));
    }
    snprintf(ret, size, "%s", path);
}

/* ---- fsync ---- */

struct disk_sync *disk_sync_begin(struct disk *d, struct inode *inode)
{
    struct disk_sync *s = calloc(1, sizeof(*s));
    if (s == NULL)
        abort();
    s->inode = inode;
    inode->opens++;
    if (!is_dir(inode)) {
        s->file = disk_file_sync_begin(inode);
        return s;
    }
    for (struct change *c = d->first; c != NULL; c = c->next)
        s->until = c;
    return s;
}

static bool touches(const struct change *c, const struct inode *dir)
{
    return c->steps[0].dir == dir || (c->count > 1 && c->steps[1].dir == dir);
}

/* The changes that go with one of dir: names of a directory become safe in their order. */
static void mark(struct disk *d, const struct inode *dir, const struct change *until)
{
    struct change *all[4096];
    const struct inode *dirs[512];
    size_t count = 0, dir_count = 1;
    dirs[0] = dir;
    for (struct change *c = d->first; c != NULL; c = c->next) {
        if (count == sizeof(all) / sizeof(all[0]))
            abort();
        all[count++] = c;
        c->marked = false;
        if (c == until)
            break;
    }
    while (count-- > 0) {
        struct change *c = all[count];
        bool wanted = d->journalled; /* a journal is written to its end */
        for (size_t i = 0; i < dir_count && !wanted; i++)
            wanted = touches(c, dirs[i]);
        c->marked = wanted;
        for (size_t i = 0; wanted && i < c->count && dir_count < 510; i++)
            dirs[dir_count++] = c->steps[i].dir;
    }
}

static void settle_marked(struct disk *d)
{
    for (struct change **at = &d->first; *at != NULL;) {
        struct change *c = *at;
        if (!c->marked) {
            c->marked = false;
            at = &c->next;
            continue;
        }
        make_safe(d, c);
        *at = c->next;
        free(c);
    }
    d->last = &d->first;
    while (*d->last != NULL)
        d->last = &(*d->last)->next;
    drop_unused(d);
}

static bool is_pending(const struct disk *d, const struct change *wanted)
{
    for (const struct change *c = d->first; c != NULL; c = c->next)
        if (c == wanted)
            return true;
    return false;
}

void disk_sync_drop(struct disk_sync *s)
{
    s->inode->opens--;
    free(s->file);
    free(s);
}

static void leave(struct disk *d, struct disk_sync *s)
{
    struct inode *inode = s->inode;
    disk_sync_drop(s);
    drop_if_unused(d, inode);
}

void disk_sync_end(struct disk *d, struct disk_sync *s, bool data_only)
{
    TRACE_DISK(d->world, "disk: %llu is synced", (unsigned long long)s->inode->number);
    if (s->file != NULL) {
        disk_file_sync_end(s->inode, s->file, data_only);
    } else if (s->until != NULL && is_pending(d, s->until)) {
        mark(d, s->inode, s->until);
        settle_marked(d);
    } else if (s->until != NULL) { /* a later fsync settled the last of them: the rest, too */
        mark(d, s->inode, NULL);
        settle_marked(d);
    }
    leave(d, s);
}

void disk_sync_fail(struct disk *d, struct disk_sync *s)
{
    TRACE_DISK(d->world, "disk: %llu is not synced", (unsigned long long)s->inode->number);
    if (s->file != NULL) {
        disk_file_sync_fail(d, s->inode, s->file);
        s->inode->write_errors++;
        d->write_errors++;
    }
    leave(d, s);
}

void disk_sync_all(struct disk *d, bool fails)
{
    bool names = !fails || chance_one_in(&d->world->chance, 2);
    for (struct inode *i = d->inodes, *next; i != NULL; i = next) {
        next = i->next;
        if (is_dir(i))
            continue;
        struct disk_sync *s = disk_sync_begin(d, i);
        if (fails && s->file != NULL && chance_one_in(&d->world->chance, 3))
            disk_sync_fail(d, s);
        else
            disk_sync_end(d, s, false);
    }
    d->write_errors += fails; /* of the journal, where of no file */
    for (struct change *c = d->first; names && c != NULL; c = c->next)
        c->marked = true;
    if (names)
        settle_marked(d);
}

void disk_flush(struct disk *d)
{
    for (struct change *c = d->first; c != NULL; c = c->next)
        c->marked = true;
    settle_marked(d);
    for (struct inode *i = d->inodes; i != NULL; i = i->next)
        if (!is_dir(i)) {
            struct disk_file_sync *s = disk_file_sync_begin(i);
            disk_file_sync_end(i, s, false);
            free(s);
        }
}

/* ---- a power cut ---- */

/* In order and up to a moment; or each for itself, but none before an earlier one of its
 * directories. */
static void keep_some(struct disk *d)
{
    struct chance *c = &d->world->chance;
    const struct inode *blocked[512];
    size_t blocked_count = 0;
    bool cut = chance_one_in(c, 3); /* as many as these are all lost */
    for (struct change *ch = d->first; ch != NULL; ch = ch->next) {
        bool lost = cut || (d->journalled ? chance_one_in(c, 6) : chance_one_in(c, 2));
        cut |= lost && d->journalled;
        for (size_t i = 0; i < blocked_count && !lost; i++)
            lost = touches(ch, blocked[i]);
        for (size_t i = 0; lost && i < ch->count && blocked_count < 510; i++)
            blocked[blocked_count++] = ch->steps[i].dir;
        if (!lost)
            make_safe(d, ch);
    }
    while (d->first != NULL) {
        struct change *next = d->first->next;
        free(d->first);
        d->first = next;
    }
    d->last = &d->first;
}

static void see_safe_names(struct inode *dir)
{
    dir->entries.count = 0;
    for (size_t i = 0; i < dir->safe_entries.count; i++) {
        struct name *n = &dir->safe_entries.list[i];
        set_name(&dir->entries, n->text, n->inode);
    }
}

static void count_links(struct inode *dir)
{
    for (size_t i = 0; i < dir->entries.count; i++) {
        struct inode *child = dir->entries.list[i].inode;
        if (child->links++ == 0 && is_dir(child))
            count_links(child);
    }
}

void disk_power_cut(struct disk *d)
{
    d->cuts++;
    keep_some(d);
    for (struct inode *i = d->inodes; i != NULL; i = i->next) {
        i->links = 0;
        i->lock = NULL;
        if (is_dir(i))
            see_safe_names(i);
        else
            disk_file_cut(d, i);
    }
    count_links(d->root);
    /* what no name leads to goes, with the names in it */
    for (struct inode *i = d->inodes; i != NULL; i = i->next)
        if (i->links == 0 && i != d->root)
            i->entries.count = i->safe_entries.count = 0;
    drop_unused(d);
}

/* ---- life ---- */

struct disk *disk_new(struct world *w)
{
    struct disk *d = calloc(1, sizeof(*d));
    if (d == NULL)
        abort();
    d->world = w;
    d->last = &d->first;
    d->journalled = chance_one_in(&w->chance, 2);
    d->root = new_inode(d, S_IFDIR | 0755, NULL);
    d->root->links = 1;
    return d;
}

void disk_free(struct disk *d)
{
    for (struct change *c = d->first, *next; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
    for (struct inode *i = d->inodes, *next; i != NULL; i = next) {
        next = i->next;
        free_inode(i);
    }
    free(d);
}
