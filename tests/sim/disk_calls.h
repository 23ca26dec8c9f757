/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls of simulated processes: open files over the simulated disk, and eventfds. A call may
 * take its time, and its process may end within; it may fail as the seed decides.
 */
#ifndef MR_TESTS_DISK_CALLS_H
#define MR_TESTS_DISK_CALLS_H

#include "disk.h"

#define CALLS_FD_BASE (1 << 20) /* descriptors of simulated files begin here */

/* Descriptors of the world itself, for looking at what is safe; close() takes them back. */
int calls_look_at(struct inode *inode, enum disk_view view);

bool calls_is_readable(int fd);       /* eventfds; anything else is not */
const void *calls_channel_of(int fd); /* what is signalled when that may change */
void calls_close_all(const struct serverside *process);
size_t calls_count_open(const struct serverside *process);

#endif
