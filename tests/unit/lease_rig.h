/* SPDX-License-Identifier: Apache-2.0 */
/* A store's lease, as a server of a test claims it, and as another server has or left it. */
#ifndef MR_TESTS_LEASE_RIG_H
#define MR_TESTS_LEASE_RIG_H

#include "base/fs.h"
#include "lease.h"
#include "lease_make.h"

#include <check.h>
#include <string.h>
#include <unistd.h>

#define LEASE_RIG_MS 5000 /* of one that must not be late, however busy the machine */

/* Of storage1, which nobody tells to stop. */
static inline struct mr_lease_config lease_rig_config(int millrace_fd,
                                                      void (*lost)(void *ctx, const char *text))
{
    return (struct mr_lease_config){.millrace_dir = millrace_fd,
                                    .server = "storage1",
                                    .lease_ms = LEASE_RIG_MS,
                                    .stop = -1,
                                    .lost = lost};
}

/* f, but for its holder, is the newest file of the lease: of `server` on this machine, or of one
 * whose end nobody knows. */
static inline void lease_rig_hold(int millrace_fd, struct mr_lease_file *f, const char *server,
                                  bool elsewhere)
{
    int fd = -1, dir = mr_fs_mkdirs_durable(millrace_fd, "lease", 0, (gid_t)-1);
    ck_assert_int_ge(dir, 0);
    ck_assert_int_eq(mr_lease_self(server, &f->holder), 0);
    if (elsewhere)
        strcpy(f->holder.boot, "another");
    ck_assert_int_eq(mr_lease_make(dir, f, &fd), 0);
    close(fd);
    close(dir);
}

#endif
