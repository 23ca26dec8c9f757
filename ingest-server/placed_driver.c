/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual file driver that lets libhdf5 describe pixels which already lie in a file: it gives
 * out addresses and remembers metadata. It does no I/O, knows no movie and reads no pixel.
 *
 * Written against HDF5 1.10 (the class is in H5FDpublic.h; 1.14 moved it to H5FDdevelop.h). What
 * libhdf5 expects beyond its manual: both ends 0 until it has made the superblock; an `alloc` that
 * answers in file addresses, the user block counted; a `free` (without one it moves the end of the
 * file back instead); and growth of the block that touches the end by set_eoa alone, without
 * `alloc`.
 */
#include "placed_driver.h"

#include <assert.h>
#include <errno.h>
#include <hdf5.h>
#include <stdlib.h>
#include <string.h>

static_assert(sizeof(hid_t) == sizeof(int64_t), "libhdf5's ids travel as int64_t");

struct room {
    uint64_t from, to, next; /* in the file; next is the first byte not given out */
    uint8_t *data;           /* of [from, from + capacity); bytes never written are 0 */
    size_t capacity;
};

struct mr_placed {
    struct room rooms[2]; /* the first, the overflow */
    uint64_t eoa;         /* end of what is given out, as libhdf5 calls it */
    bool has_next;
    uint64_t next_offset, next_bytes;
};

/* What libhdf5 holds as an open file */
struct placed_file {
    H5FD_t pub; /* must be first */
    struct mr_placed *placed;
};

/* Copied by libhdf5 with the access property list */
struct placed_info {
    struct mr_placed *placed;
};

static struct mr_placed *placed_of(const H5FD_t *file)
{
    return ((const struct placed_file *)(const void *)file)->placed;
}

static int room_reserve(struct room *room, uint64_t end)
{
    size_t need = (size_t)(end - room->from);
    if (need <= room->capacity)
        return 0;
    size_t capacity = room->capacity < 32768 ? 65536 : room->capacity * 2;
    if (capacity < need)
        capacity = need;
    uint8_t *data = realloc(room->data, capacity);
    if (!data)
        return -ENOMEM;
    memset(data + room->capacity, 0, capacity - room->capacity);
    room->data = data;
    room->capacity = capacity;
    return 0;
}

static struct room *room_at(struct mr_placed *placed, uint64_t addr, size_t size)
{
    for (size_t i = 0; i < 2; i++) {
        struct room *room = &placed->rooms[i];
        if (addr >= room->from && addr <= room->next && size <= room->next - addr)
            return room;
    }
    return NULL;
}

static H5FD_t *placed_open(const char *name, unsigned flags, hid_t access, haddr_t maxaddr)
{
    (void)name, (void)flags, (void)maxaddr;
    const struct placed_info *info = H5Pget_driver_info(access);
    if (!info)
        return NULL;
    struct placed_file *file = calloc(1, sizeof(*file));
    if (!file)
        return NULL;
    file->placed = info->placed;
    return &file->pub;
}

static herr_t placed_close(H5FD_t *file)
{
    free(file);
    return 0;
}

static herr_t placed_query(const H5FD_t *file, unsigned long *ret_flags)
{
    (void)file;
    /* Not AGGREGATE_SMALLDATA: raw data must be asked for piece by piece, as it lies. */
    *ret_flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA;
    return 0;
}

static haddr_t placed_alloc(H5FD_t *file, H5FD_mem_t type, hid_t dxpl, hsize_t size)
{
    (void)dxpl;
    struct mr_placed *placed = placed_of(file);
    if (type == H5FD_MEM_DRAW && placed->has_next) {
        assert(size == placed->next_bytes);
        placed->has_next = false;
        mr_placed_reach(placed, placed->next_offset + size);
        return placed->next_offset;
    }
    for (size_t i = 0; i < 2; i++) {
        struct room *room = &placed->rooms[i];
        if (size > room->to - room->next)
            continue;
        haddr_t addr = room->next;
        room->next += size;
        mr_placed_reach(placed, room->next);
        return addr;
    }
    return HADDR_UNDEF;
}

static herr_t placed_release(H5FD_t *file, H5FD_mem_t type, hid_t dxpl, haddr_t addr, hsize_t size)
{
    (void)file, (void)type, (void)dxpl, (void)addr, (void)size;
    return 0;
}

static haddr_t placed_get_end(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return placed_of(file)->eoa;
}

static herr_t placed_set_eoa(H5FD_t *file, H5FD_mem_t type, haddr_t addr)
{
    (void)type;
    struct mr_placed *placed = placed_of(file);
    for (size_t i = 0; i < 2; i++) {
        struct room *room = &placed->rooms[i];
        if (room->next != placed->eoa || addr < room->from)
            continue;
        if (addr > room->to)
            return -1;
        room->next = addr;
    }
    placed->eoa = addr;
    return 0;
}

static herr_t placed_read(H5FD_t *file, H5FD_mem_t type, hid_t dxpl, haddr_t addr, size_t size,
                          void *buffer)
{
    (void)type, (void)dxpl;
    struct room *room = room_at(placed_of(file), addr, size);
    if (!room || room_reserve(room, addr + size) < 0)
        return -1;
    memcpy(buffer, room->data + (addr - room->from), size);
    return 0;
}

static herr_t placed_write(H5FD_t *file, H5FD_mem_t type, hid_t dxpl, haddr_t addr, size_t size,
                           const void *buffer)
{
    (void)dxpl;
    struct room *room = room_at(placed_of(file), addr, size);
    if (!room)
        return type == H5FD_MEM_DRAW ? 0 : -1; /* a slab, which lies there already */
    if (room_reserve(room, addr + size) < 0)
        return -1;
    memcpy(room->data + (addr - room->from), buffer, size);
    return 0;
}

static herr_t placed_truncate(H5FD_t *file, hid_t dxpl, hbool_t closing)
{
    (void)file, (void)dxpl, (void)closing;
    return 0;
}

static const H5FD_class_t placed_class = {
    .name = "millrace_placed",
    .maxaddr = (haddr_t)INT64_MAX,
    .fc_degree = H5F_CLOSE_STRONG,
    .fapl_size = sizeof(struct placed_info),
    .open = placed_open,
    .close = placed_close,
    .query = placed_query,
    .alloc = placed_alloc,
    .free = placed_release,
    .get_eoa = placed_get_end,
    .set_eoa = placed_set_eoa,
    .get_eof = placed_get_end,
    .read = placed_read,
    .write = placed_write,
    .truncate = placed_truncate,
    /* One free list for metadata, none shared with raw data: freed metadata must not become the
     * place of a slab. */
    .fl_map = {[H5FD_MEM_DEFAULT] = H5FD_MEM_SUPER,
               [H5FD_MEM_SUPER] = H5FD_MEM_SUPER,
               [H5FD_MEM_BTREE] = H5FD_MEM_SUPER,
               [H5FD_MEM_DRAW] = H5FD_MEM_DRAW,
               [H5FD_MEM_GHEAP] = H5FD_MEM_SUPER,
               [H5FD_MEM_LHEAP] = H5FD_MEM_SUPER,
               [H5FD_MEM_OHDR] = H5FD_MEM_SUPER},
};

int mr_placed_new(uint64_t from, uint64_t to, uint64_t overflow, struct mr_placed **ret)
{
    assert(from <= to && to <= overflow);
    struct mr_placed *placed = calloc(1, sizeof(*placed));
    if (!placed)
        return -ENOMEM;
    placed->rooms[0] = (struct room){.from = from, .to = to, .next = from};
    placed->rooms[1] = (struct room){.from = overflow, .to = INT64_MAX, .next = overflow};
    *ret = placed;
    return 0;
}

void mr_placed_free(struct mr_placed *placed)
{
    if (!placed)
        return;
    free(placed->rooms[0].data);
    free(placed->rooms[1].data);
    free(placed);
}

int64_t mr_placed_access(struct mr_placed *placed)
{
    static hid_t driver = -1; /* registered once; libhdf5 lives as long as the program */
    if (driver < 0)
        driver = H5FDregister(&placed_class);
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    struct placed_info info = {.placed = placed};
    if (driver < 0 || access < 0 || H5Pset_driver(access, driver, &info) < 0) {
        H5Pclose(access);
        return -1;
    }
    return access;
}

void mr_placed_reach(struct mr_placed *placed, uint64_t end)
{
    if (end > placed->eoa)
        placed->eoa = end;
}

void mr_placed_next(struct mr_placed *placed, uint64_t offset, uint64_t bytes)
{
    assert(!placed->has_next);
    placed->has_next = true;
    placed->next_offset = offset;
    placed->next_bytes = bytes;
}

bool mr_placed_overflowed(const struct mr_placed *placed)
{
    return placed->rooms[1].next > placed->rooms[1].from;
}

int mr_placed_take(struct mr_placed *placed, struct mr_image *ret)
{
    struct mr_image_piece *pieces = calloc(2, sizeof(*pieces));
    if (!pieces)
        return -ENOMEM;
    size_t count = 0;
    for (size_t i = 0; i < 2; i++) {
        struct room *room = &placed->rooms[i];
        if (room->next == room->from)
            continue;
        if (room_reserve(room, room->next) < 0) {
            free(pieces);
            return -ENOMEM;
        }
        pieces[count++] = (struct mr_image_piece){
            .offset = room->from, .data = room->data, .bytes = (size_t)(room->next - room->from)};
    }
    placed->rooms[0].data = placed->rooms[1].data = NULL;
    placed->rooms[0].capacity = placed->rooms[1].capacity = 0;
    *ret = (struct mr_image){.pieces = pieces, .count = count, .file_bytes = placed->eoa};
    return 0;
}
