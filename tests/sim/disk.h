/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's file system, in memory. Every file and directory has two states: as its users see it
 * (NOW) and as it would be found after a power cut (SAFE). A write or a name is safe once an fsync
 * of its file or directory has ended well; what is not, a power cut keeps, loses or tears, page by
 * page and name by name, as the seed decides. No faults on its own account: disk_calls.c asks.
 *
 * Journalled file systems keep names in order; others do not. A schedule has one kind.
 */
#ifndef MR_TESTS_DISK_H
#define MR_TESTS_DISK_H

#include "world.h"

#include <sys/types.h>

#define DISK_PAGE   4096u
#define DISK_SECTOR 512u
#define DISK_NAME   255

enum disk_view { DISK_NOW, DISK_SAFE };
enum disk_room { DISK_ROOMY, DISK_FULL, DISK_READ_ONLY };

struct page_state {
    uint32_t dirty; /* stamp of the last write that is not safe; 0: clean */
    uint32_t safe;  /* stamp of what is safe */
    bool lost;      /* clean, but a failed fsync lost it; until it is written anew */
};

struct contents {
    uint8_t *bytes;
    uint64_t size, room;
};

struct name {
    char text[DISK_NAME + 1];
    struct inode *inode;
};

struct names {
    struct name *list;
    size_t count, room;
};

struct inode {
    struct inode *next;
    uint64_t number;
    mode_t mode; /* with its type */
    uint32_t links, opens;
    int64_t mtime_ns, safe_mtime_ns, birth_ns;
    /* a file's */
    struct contents now, safe;
    struct page_state *pages;
    size_t page_count;
    uint64_t allocated;
    struct page_state size; /* likewise, of its size */
    uint32_t write_errors;  /* failed write-backs so far: each open file is told once */
    bool final;             /* it has a name that users see */
    /* a directory's */
    struct inode *parent;
    struct names entries, safe_entries;
    const struct serverside *lock; /* flock */
};

struct change; /* of names, not yet safe */

struct disk {
    struct world *world;
    struct inode *root, *inodes;
    struct change *first, **last;
    uint32_t stamp;
    bool journalled; /* names become safe in order, and a file grows without holes */
    enum disk_room room;
    uint64_t cuts;
    uint32_t write_errors; /* of all files so far: syncfs tells each open file once */
};

/* What one fsync will make safe: as it was when it began. */
struct disk_sync;

struct disk *disk_new(struct world *w);
void disk_free(struct disk *d);

/* ---- names; -errno; directories must be directories ---- */
int disk_find(const struct inode *dir, enum disk_view view, const char *name, struct inode **ret);
int disk_make(struct disk *d, struct inode *dir, const char *name, mode_t mode, struct inode **ret);
int disk_link(struct disk *d, struct inode *file, struct inode *dir, const char *name);
int disk_remove(struct disk *d, struct inode *dir, const char *name, bool directory);
enum disk_rename { DISK_REPLACE, DISK_NO_REPLACE, DISK_EXCHANGE };
int disk_rename(struct disk *d, struct inode *from, const char *name, struct inode *to,
                const char *new_name, enum disk_rename how);
void disk_path(const struct disk *d, const struct inode *dir, char *ret, size_t size);

/* ---- contents ---- */
size_t disk_read(const struct inode *file, enum disk_view view, bool direct, void *ret,
                 size_t bytes, uint64_t offset);
void disk_write(struct disk *d, struct inode *file, const void *data, size_t bytes,
                uint64_t offset);
void disk_truncate(struct disk *d, struct inode *file, uint64_t size);
void disk_forget_clean(struct inode *file);   /* the cache lets go of what is clean */
bool disk_has_lost(const struct inode *file); /* what is seen is not on its way, nor there */

/* ---- durability ---- */
struct disk_sync *disk_sync_begin(struct disk *d, struct inode *inode);
void disk_sync_end(struct disk *d, struct disk_sync *sync, bool data_only); /* takes sync */
/* The device refuses: some of it is safe, the rest counts as clean all the same. Takes sync. */
void disk_sync_fail(struct disk *d, struct disk_sync *sync);
void disk_sync_drop(struct disk_sync *sync);

/* As syncfs does. fails: for some files it is as if the device had refused. */
void disk_sync_all(struct disk *d, bool fails);
void disk_flush(struct disk *d); /* all of it is safe, as before a mount becomes read-only */

void disk_close(struct disk *d, struct inode *inode); /* one open less */
void disk_power_cut(struct disk *d);                  /* with nothing open any more */

#endif
