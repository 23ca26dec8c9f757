/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the lease directory (lease_file.h says what is in them), made and removed. Any thread;
 * one server's calls one after the other. */
#ifndef MR_LEASE_MAKE_H
#define MR_LEASE_MAKE_H

#include "lease_file.h"

/* The file of f's generation appears under its name whole and synced, or not at all; that it has
 * its name is durable only when the directory is synced. Sets f->bytes. ret_fd: owned. -EEXIST:
 * somebody has this generation; -errno. */
int mr_lease_make(int lease_dir, struct mr_lease_file *f, int *ret_fd) MR_MUST_USE;
/* Takes back what was made. */
void mr_lease_withdraw(int lease_dir, uint32_t generation);
/* What is needed of older files is in the newest; the one before stays for people to read. */
void mr_lease_tidy(int lease_dir, uint32_t generation);
/* A store that is full has to be served too: its next holder finds room that was kept for it. */
void mr_lease_keep_spare(int lease_dir);

#endif
