/* SPDX-License-Identifier: Apache-2.0 */
/* Generations of a movie, made as berth makes them, and what is left of their files. */
#ifndef MR_TESTS_SLIPWAY_RIG_H
#define MR_TESTS_SLIPWAY_RIG_H

#include "slipway.h"
#include "store_rig.h"

/* Of a movie that agent k3 opened; owned, like what it holds. */
static inline struct mr_dossier *slipway_dossier(const struct mr_open *open, uint32_t generation)
{
    struct mr_dossier *d = calloc(1, sizeof(*d));
    ck_assert_ptr_nonnull(d);
    d->generation = generation;
    d->open = *open;
    snprintf(d->agent, sizeof(d->agent), "k3");
    snprintf(d->path, sizeof(d->path), "k3/%s", open->path);
    return d;
}

static inline void slipway_drop(struct mr_dossier *d)
{
    mr_dossier_fini(d);
    free(d);
}

/* Its files; the caller releases it. */
static inline struct mr_movie *slipway_build(const struct rig *rig, const struct mr_dossier *d)
{
    struct mr_err err = {0};
    struct mr_movie *movie = mr_slipway_movie(d);
    ck_assert_ptr_nonnull(movie);
    ck_assert_msg(mr_slipway_make(&rig->store, movie, d, &err) == 0, "%s", err.text);
    return movie;
}

static inline bool slipway_has_part(const struct rig *rig, const struct mr_dossier *d)
{
    char name[MR_NAMING_PART], path[128];
    mr_dossier_name(&d->open.movie, d->generation, "part", name);
    snprintf(path, sizeof(path), "k3/.millrace/%s", name);
    return rig_has(rig, path);
}

static inline bool slipway_has_journal(const struct rig *rig, const struct mr_dossier *d)
{
    char name[MR_NAMING_PART], path[128];
    mr_dossier_name(&d->open.movie, d->generation, "journal", name);
    snprintf(path, sizeof(path), ".millrace/journal/%s", name);
    return rig_has(rig, path);
}

#endif
