/* SPDX-License-Identifier: Apache-2.0 */
/* Contents of files, page by page: what is seen, what is safe, what a power cut makes of it. */
#include "disk.h"
#include "disk_inside.h"

#include <stdlib.h>
#include <string.h>

static size_t pages_of(uint64_t bytes)
{
    return (size_t)((bytes + DISK_PAGE - 1) / DISK_PAGE);
}

static void make_room(struct contents *c, uint64_t bytes)
{
    if (bytes <= c->room)
        return;
    uint64_t room = c->room * 2 > bytes ? c->room * 2 : bytes + DISK_PAGE;
    c->bytes = realloc(c->bytes, room);
    if (c->bytes == NULL)
        abort();
    memset(c->bytes + c->room, 0, room - c->room);
    c->room = room;
}

/* What lies behind the size reads as zeros when the file grows again. */
static void set_size(struct contents *c, uint64_t size)
{
    make_room(c, size);
    if (size < c->size)
        memset(c->bytes + size, 0, c->size - size);
    c->size = size;
}

static void make_pages(struct inode *file, uint64_t bytes)
{
    size_t count = pages_of(bytes);
    if (count <= file->page_count)
        return;
    file->pages = realloc(file->pages, count * sizeof(*file->pages));
    if (file->pages == NULL)
        abort();
    memset(file->pages + file->page_count, 0, (count - file->page_count) * sizeof(*file->pages));
    file->page_count = count;
}

void disk_file_fini(struct inode *file)
{
    free(file->now.bytes);
    free(file->safe.bytes);
    free(file->pages);
}

/* ---- reading and writing ---- */

static size_t copy_out(const struct contents *c, uint8_t *ret, size_t bytes, uint64_t offset)
{
    if (offset >= c->size)
        return 0;
    size_t n = c->size - offset < bytes ? (size_t)(c->size - offset) : bytes;
    memcpy(ret, c->bytes + offset, n);
    return n;
}

static void copy_safe_page(const struct inode *file, size_t page, uint8_t *ret, size_t bytes,
                           uint64_t offset)
{
    uint64_t from = page * (uint64_t)DISK_PAGE, to = from + DISK_PAGE;
    from = from > offset ? from : offset;
    to = to < offset + bytes ? to : offset + bytes;
    for (uint64_t at = from; at < to; at++)
        ret[at - offset] = at < file->safe.size ? file->safe.bytes[at] : 0;
}

/* A direct read asks the device, but for what is still on its way there. */
size_t disk_read(const struct inode *file, enum disk_view view, bool direct, void *ret,
                 size_t bytes, uint64_t offset)
{
    size_t n = copy_out(view == DISK_SAFE ? &file->safe : &file->now, ret, bytes, offset);
    if (!direct || view == DISK_SAFE || n == 0)
        return n;
    for (size_t page = offset / DISK_PAGE; page <= (offset + n - 1) / DISK_PAGE; page++)
        if (file->pages[page].dirty == 0)
            copy_safe_page(file, page, ret, n, offset);
    return n;
}

static void soil(struct disk *d, struct inode *file, uint64_t from, uint64_t to)
{
    make_pages(file, to);
    d->stamp++;
    for (uint64_t page = from / DISK_PAGE; page * DISK_PAGE < to; page++) {
        file->pages[page].dirty = d->stamp;
        file->pages[page].lost = false;
    }
}

void disk_write(struct disk *d, struct inode *file, const void *data, size_t bytes, uint64_t offset)
{
    if (bytes == 0)
        return;
    TRACE_DISK(d->world, "disk: %llu: %zu bytes are written at %llu, of %llu",
               (unsigned long long)file->number, bytes, (unsigned long long)offset,
               (unsigned long long)file->now.size);
    if (offset + bytes > file->now.size) {
        set_size(&file->now, offset + bytes);
        file->size.dirty = ++d->stamp;
    }
    memcpy(file->now.bytes + offset, data, bytes);
    soil(d, file, offset, offset + bytes);
    file->mtime_ns = d->world->time.now_ns;
}

void disk_truncate(struct disk *d, struct inode *file, uint64_t size)
{
    uint64_t before = file->now.size;
    TRACE_DISK(d->world, "disk: %llu: %llu bytes are cut to %llu", (unsigned long long)file->number,
               (unsigned long long)before, (unsigned long long)size);
    set_size(&file->now, size);
    make_pages(file, size > before ? size : before);
    if (size != before)
        file->size.dirty = ++d->stamp;
    file->mtime_ns = d->world->time.now_ns;
    if (size < before) /* the rest of its last page is zeros now */
        soil(d, file, size, size + 1);
    for (size_t page = pages_of(size); page < file->page_count; page++)
        file->pages[page].dirty = 0;
}

void disk_forget_clean(struct inode *file)
{
    for (size_t page = 0; page < file->page_count; page++) {
        uint64_t from = page * (uint64_t)DISK_PAGE;
        if (file->pages[page].dirty != 0 || from >= file->now.size)
            continue;
        size_t n = file->now.size - from < DISK_PAGE ? (size_t)(file->now.size - from) : DISK_PAGE;
        copy_safe_page(file, page, file->now.bytes + from, n, from);
        file->pages[page].lost = false;
    }
}

bool disk_has_lost(const struct inode *file)
{
    for (size_t page = 0; page < file->page_count; page++)
        if (file->pages[page].lost)
            return true;
    return false;
}

/* ---- fsync ---- */

struct saved_page {
    size_t page;
    uint32_t stamp;
    uint8_t bytes[DISK_PAGE];
};

struct disk_file_sync {
    uint64_t size;
    uint32_t size_stamp; /* 0: it is safe already */
    int64_t mtime_ns;
    size_t count;
    struct saved_page pages[];
};

static void read_page(const struct contents *c, size_t page, uint8_t ret[DISK_PAGE])
{
    memset(ret, 0, DISK_PAGE);
    copy_out(c, ret, DISK_PAGE, page * (uint64_t)DISK_PAGE);
}

struct disk_file_sync *disk_file_sync_begin(const struct inode *file)
{
    size_t dirty = 0;
    for (size_t page = 0; page < file->page_count; page++)
        dirty += file->pages[page].dirty != 0;
    struct disk_file_sync *s = malloc(sizeof(*s) + dirty * sizeof(s->pages[0]));
    if (s == NULL)
        abort();
    *s = (struct disk_file_sync){
        .size = file->now.size, .size_stamp = file->size.dirty, .mtime_ns = file->mtime_ns};
    for (size_t page = 0; page < file->page_count; page++)
        if (file->pages[page].dirty != 0) {
            struct saved_page *p = &s->pages[s->count++];
            p->page = page;
            p->stamp = file->pages[page].dirty;
            read_page(&file->now, page, p->bytes);
        }
    return s;
}

/* The size of what is safe follows; pages first, so that nothing behind it shows. */
static void save_page(struct inode *file, const struct saved_page *p)
{
    struct page_state *state = &file->pages[p->page];
    uint64_t from = p->page * (uint64_t)DISK_PAGE;
    if (p->stamp <= state->safe)
        return; /* a later fsync was faster */
    state->safe = p->stamp;
    if (state->dirty == p->stamp)
        state->dirty = 0;
    make_room(&file->safe, from + DISK_PAGE);
    memcpy(file->safe.bytes + from, p->bytes, DISK_PAGE);
}

static void save_size(struct inode *file, uint64_t size)
{
    make_room(&file->safe, size);
    file->safe.size = size;
    if (file->safe.room > size)
        memset(file->safe.bytes + size, 0, file->safe.room - size);
}

static void save_size_of(struct inode *file, const struct disk_file_sync *s)
{
    if (s->size_stamp <= file->size.safe)
        return;
    save_size(file, s->size);
    file->size.safe = s->size_stamp;
    if (file->size.dirty == s->size_stamp)
        file->size.dirty = 0;
}

/* Where a failed fsync lost the size, it grows again with what is written behind it. */
static void reach_pages(struct inode *file, const struct disk_file_sync *s)
{
    for (size_t i = 0; s->size_stamp == 0 && i < s->count; i++) {
        uint64_t end = (s->pages[i].page + 1) * (uint64_t)DISK_PAGE;
        end = end < s->size ? end : s->size;
        if (end > file->safe.size && end <= file->now.size)
            file->safe.size = end;
    }
}

void disk_file_sync_end(struct inode *file, const struct disk_file_sync *s, bool data_only)
{
    for (size_t i = 0; i < s->count; i++)
        save_page(file, &s->pages[i]);
    save_size_of(file, s);
    reach_pages(file, s);
    if (!data_only)
        file->safe_mtime_ns = s->mtime_ns;
}

void disk_file_sync_fail(struct disk *d, struct inode *file, const struct disk_file_sync *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct page_state *state = &file->pages[s->pages[i].page];
        if (chance_one_in(&d->world->chance, 2))
            save_page(file, &s->pages[i]);
        else if (state->dirty == s->pages[i].stamp) {
            state->dirty = 0;
            state->lost = true;
        }
    }
    if (chance_one_in(&d->world->chance, 2))
        save_size_of(file, s);
    else if (file->size.dirty == s->size_stamp)
        file->size.dirty = 0;
}

/* ---- a power cut ---- */

/* The device writes sectors whole, in any order. */
static void tear_page(struct chance *c, const uint8_t *wanted, uint8_t *safe)
{
    for (size_t at = 0; at < DISK_PAGE; at += DISK_SECTOR)
        if (chance_one_in(c, 2))
            memcpy(safe + at, wanted + at, DISK_SECTOR);
}

static uint64_t size_after_cut(struct disk *d, const struct inode *file)
{
    struct chance *c = &d->world->chance;
    if (file->size.dirty == 0 || chance_one_in(c, 3))
        return file->safe.size;
    if (chance_one_in(c, 2) || file->now.size <= file->safe.size)
        return file->now.size;
    return file->safe.size + chance_below(c, file->now.size - file->safe.size);
}

/* A page the file grows into, where it grows without holes: all of it, its beginning, or neither it
 * nor what follows. */
static bool grow_into(struct disk *d, const uint8_t *wanted, uint8_t *safe, uint64_t fate,
                      uint64_t from, uint64_t *size)
{
    memcpy(safe, wanted, DISK_PAGE);
    if (fate < 2)
        return true;
    uint64_t end = from + (fate == 2 ? chance_below(&d->world->chance, DISK_PAGE) : 0);
    *size = end < *size ? end : *size;
    return false;
}

static void cut_pages(struct disk *d, struct inode *file, uint64_t *size)
{
    struct chance *c = &d->world->chance;
    uint64_t safe_before = file->safe.size;
    make_room(&file->safe, pages_of(*size) * (uint64_t)DISK_PAGE);
    for (size_t page = 0; page < pages_of(*size) && page < file->page_count; page++) {
        if (file->pages[page].dirty == 0)
            continue;
        uint8_t wanted[DISK_PAGE];
        uint64_t from = page * (uint64_t)DISK_PAGE, fate = chance_below(c, 5);
        uint8_t *safe = file->safe.bytes + from;
        read_page(&file->now, page, wanted);
        if (d->journalled && *size > safe_before && from + DISK_PAGE > safe_before) {
            if (!grow_into(d, wanted, safe, fate, from > safe_before ? from : safe_before, size))
                return;
        } else if (fate < 2) {
            memcpy(safe, wanted, DISK_PAGE);
        } else if (fate == 2) {
            tear_page(c, wanted, safe);
        }
    }
}

static void see_what_is_safe(struct inode *file)
{
    free(file->now.bytes);
    file->now = (struct contents){0};
    set_size(&file->now, file->safe.size);
    if (file->safe.size > 0)
        memcpy(file->now.bytes, file->safe.bytes, file->safe.size);
    make_pages(file, file->safe.size);
    for (size_t page = 0; page < file->page_count; page++)
        file->pages[page].dirty = file->pages[page].lost = 0;
    file->size.dirty = 0;
    file->mtime_ns = file->safe_mtime_ns;
}

void disk_file_cut(struct disk *d, struct inode *file)
{
    uint64_t size = size_after_cut(d, file);
    cut_pages(d, file, &size);
    if (size != file->now.size || file->size.dirty != 0)
        TRACE_DISK(d->world, "disk: %llu: of %llu bytes, %llu of them safe, %llu are left",
                   (unsigned long long)file->number, (unsigned long long)file->now.size,
                   (unsigned long long)file->safe.size, (unsigned long long)size);
    save_size(file, size);
    see_what_is_safe(file);
}
