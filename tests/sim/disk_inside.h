/* SPDX-License-Identifier: Apache-2.0 */
/* What disk.c (names) and disk_file.c (contents) know of each other. Nobody else's. */
#ifndef MR_TESTS_DISK_INSIDE_H
#define MR_TESTS_DISK_INSIDE_H

#include "disk.h"

struct disk_file_sync;

struct disk_file_sync *disk_file_sync_begin(const struct inode *file);
void disk_file_sync_end(struct inode *file, const struct disk_file_sync *s, bool data_only);
void disk_file_sync_fail(struct disk *d, struct inode *file, const struct disk_file_sync *s);
void disk_file_cut(struct disk *d, struct inode *file);
void disk_file_fini(struct inode *file);

#endif
