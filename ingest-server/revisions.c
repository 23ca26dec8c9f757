/* SPDX-License-Identifier: Apache-2.0 */
/* Removing old revisions. Puts none away: commit does, when a newer one takes the name. */
#include "revisions.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define STAGE   "seal"
#define HOUR_NS (3600 * MR_NS_PER_S)

static int expire_one(void *ctx, const struct mr_catalogue_entry *old,
                      const struct mr_catalogue_entry *by)
{
    const struct mr_commit *c = ctx;
    char name[MR_NAMING_OLD], path[sizeof(MR_NAMING_OLD_DIR) + MR_NAMING_OLD];
    (void)by;
    mr_naming_old(&old->id, old->revision, name);
    (void)snprintf(path, sizeof(path), MR_NAMING_OLD_DIR "/%s", name);
    mr_lease_prove_by_sight(c->store->lease); /* this name is the same for every server */
    MR_CLEANUP(mr_fs_close) int dir = mr_store_part_dir(c->store, old->path, false);
    if (dir >= 0 && unlinkat(dir, path, 0) < 0 && errno != ENOENT)
        return 0; /* another time */
    if (dir >= 0)
        unlinkat(dir, MR_NAMING_OLD_DIR, AT_REMOVEDIR);
    mr_store_tidy(c->store, old->path);
    return mr_catalogue_expire(c->catalogue, &old->id, old->revision, NULL);
}

void mr_revisions_expire(const struct mr_commit *c, int64_t *last_ns)
{
    int64_t now_ns = mr_clock_monotonic_ns(), keep_ns = c->store->keep_revisions_ns;
    int64_t every_ns = keep_ns < MR_NS_PER_S ? MR_NS_PER_S : keep_ns < HOUR_NS ? keep_ns : HOUR_NS;
    if (*last_ns != 0 && now_ns - *last_ns < every_ns)
        return;
    *last_ns = now_ns;
    struct mr_err err = {0};
    struct mr_commit copy = *c;
    int r = mr_catalogue_superseded(c->catalogue, mr_clock_real_ns() - keep_ns, expire_one, &copy);
    if (r == 0)
        r = mr_catalogue_sync(c->catalogue, &err);
    if (r < 0)
        mr_warn(STAGE, "old revisions: %s", err.code == 0 ? mr_err_name(r) : err.text);
}
