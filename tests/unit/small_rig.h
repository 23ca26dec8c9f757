/* SPDX-License-Identifier: Apache-2.0 */
/* Small movies (skiff.h) that have landed, and a group of them that an earlier life left. */
#ifndef MR_TESTS_SMALL_RIG_H
#define MR_TESTS_SMALL_RIG_H

#include "flotilla.h"
#include "seal_rig.h"
#include "skiff.h"

#include <sys/statfs.h>
#include <sys/utsname.h>

/* By the machine alone: ext4, XFS or btrfs, Linux 5.17 on. */
static inline bool small_is_due(const struct rig *rig)
{
    struct utsname system;
    struct statfs fs;
    unsigned major = 0, minor = 0;
    ck_assert_int_eq(uname(&system), 0);
    ck_assert_int_eq(fstatfs(rig->store.root_fd, &fs), 0);
    ck_assert_int_eq(sscanf(system.release, "%u.%u", &major, &minor), 2);
    return (major > 5 || (major == 5 && minor >= 17)) &&
           (fs.f_type == 0xEF53 || fs.f_type == 0x58465342 || fs.f_type == 0x9123683E);
}

/* False: the file system beneath is not fit for it. */
static inline bool small_launch(struct rig *rig)
{
    struct mr_err err = {0};
    ck_assert_msg(mr_skiffs_open(&rig->store, &rig->store.skiffs, &err) == 0, "%s", err.text);
    ck_assert_msg(rig->store.skiffs != NULL || !small_is_due(rig),
                  "there are no small movies on a machine that is fit for them");
    return rig->store.skiffs != NULL;
}

static inline void small_restart(struct rig *rig)
{
    mr_skiffs_close(rig->store.skiffs);
    rig->store.skiffs = NULL;
    rig_restart(rig);
}

static inline struct mr_open small_file(const char *path, uint64_t bytes)
{
    struct mr_open open = rig_file(path);
    open.whole = true;
    open.source_bytes_expected = bytes;
    return open;
}

/* As lane 0 does it. */
static inline void small_board(struct mr_movie *m, const struct mr_extent *extent, unsigned seed)
{
    if (extent->source_bytes == 0)
        return;
    struct rig_slab slab = rig_slab(m, extent, 0, seed);
    ck_assert_int_eq(mr_fs_pwrite_full(m->part_fd, slab.stored, slab.placement.stored_bytes, 0), 0);
    m->slab = slab.placement;
    m->aboard = true;
    free(slab.stored);
}

static inline void small_ship(struct rig *rig, const struct mr_open *open, unsigned seed,
                              struct shipment *ret)
{
    ret->open = *open;
    ret->extent = rig_extent(open, open->source_bytes_expected);
    struct mr_movie *m = rig_begin(rig, open);
    ck_assert(m->small);
    small_board(m, &ret->extent, seed);
    ret->end = rig_end_of(m, open, &ret->extent, seed);
    ret->job = (struct mr_seal_job){
        .kind = MR_SEAL_COMMIT, .id = open->movie, .movie = m, .end = &ret->end};
}

static inline void small_seal_dossier(struct mr_movie *m, struct mr_dossier *d,
                                      const struct mr_extent *extent)
{
    struct stat st;
    ck_assert_int_eq(fstat(m->part_fd, &st), 0);
    d->slabs = calloc(1, sizeof(*d->slabs));
    d->slabs[0] = m->slab;
    d->slab_count = 1;
    d->is_sealed = true;
    d->sealed = (struct mr_sealed){.inode = st.st_ino,
                                   .bytes = extent->source_bytes,
                                   .digest_file = m->slab.crc_raw,
                                   .event = strdup("{}")};
    snprintf(d->sealed.path, sizeof(d->sealed.path), "%s", d->path);
}

/* Both sealed in one group file, which the crash left. */
static inline void small_leave_group(struct rig *rig, struct shipment *ships, char *ret_name)
{
    struct mr_dossier *members[2];
    struct mr_err err = {0};
    for (unsigned i = 0; i < 2; i++) {
        struct mr_open open = small_file(i == 0 ? "a.log" : "d/b.log", 900 + i);
        small_ship(rig, &open, i, &ships[i]);
        members[i] = ships[i].job.movie->dossier;
        small_seal_dossier(ships[i].job.movie, members[i], &ships[i].extent);
    }
    ck_assert_int_eq(mr_flotilla_write(&rig->store, members, 2, ret_name, &err), 0);
    for (unsigned i = 0; i < 2; i++)
        mr_movie_release(ships[i].job.movie);
}

#endif
