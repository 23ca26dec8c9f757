/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small movies are committed together: group file and bytes by one syncfs, names by another. Where
 * anything goes wrong each goes the ordinary way, or begins again. Finishes no part (finish does)
 * and records nothing.
 */
#include "base/failpoint.h"
#include "base/log.h"
#include "flotilla.h"
#include "seal_state.h"
#include "skiff.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct group {
    struct work *works[BATCH];
    struct mr_dossier *members[BATCH];
    size_t count;
    char name[MR_NAMING_PART];
};

/* ---- where it does not succeed ---- */

static void refuse_one(const struct mr_seal *s, struct work *w, const struct mr_err *err)
{
    mr_skiff_remove(s->commit->store, w->job.movie, w->d->path);
    mr_seal_hold(w, err);
}

/* Before the first name was given: all of them begin again. */
static void refuse(struct mr_seal *s, struct group *g, bool written, struct mr_err *err)
{
    const struct mr_store *store = s->commit->store;
    for (size_t i = 0; i < g->count; i++)
        refuse_one(s, g->works[i], err);
    if (!written)
        return;
    int r = mr_flotilla_remove(store, g->name);
    if (r == 0)
        r = mr_fs_sync_dir(store->journal_fd);
    if (r < 0) { /* what it says is sealed would be found after they were begun again */
        mr_err_errno(err, r, "journal %s cannot be removed", g->name);
        mr_seal_die(s, err);
    }
}

static bool dissolve(struct mr_seal *s, struct group *g)
{
    struct mr_err err = {0};
    if (mr_flotilla_dissolve(s->commit->store, g->name, &err) < 0) {
        mr_seal_die(s, &err);
        return false;
    }
    for (size_t i = 0; i < g->count; i++) {
        g->members[i]->group[0] = '\0';
        g->works[i]->job.movie->small = false;
    }
    return true;
}

void mr_seal_dissolve(struct mr_seal *s, struct work *works, size_t count)
{
    struct group g = {.count = 0};
    for (size_t i = 0; i < count && !s->dead; i++) {
        if (works[i].need != TO_RECORD || works[i].d->group[0] == '\0')
            continue;
        memcpy(g.name, works[i].d->group, sizeof(g.name));
        g.count = 0;
        for (size_t k = i; k < count; k++)
            if (works[k].need == TO_RECORD && strcmp(works[k].d->group, g.name) == 0) {
                g.works[g.count] = &works[k];
                g.members[g.count++] = works[k].d;
            }
        dissolve(s, &g);
    }
}

/* ---- the steps ---- */

static void gather(const struct mr_seal *s, struct work *works, size_t count, struct group *ret)
{
    struct mr_err err = {0};
    ret->count = 0;
    for (size_t i = 0; i < count; i++) {
        struct work *w = &works[i];
        if (w->need != TO_GROUP)
            continue;
        w->need = NOTHING;
        if (!mr_skiff_is_sound(s->commit->store, w->job.movie)) {
            mr_err_set(&err, -EIO, "%s: a sync has failed since it was begun", w->d->open.path);
            refuse_one(s, w, &err);
            continue;
        }
        ret->works[ret->count] = w;
        ret->members[ret->count++] = w->d;
    }
}

static bool same_directory(const char *a, const char *b)
{
    const char *end = strrchr(a, '/');
    size_t bytes = end == NULL ? 0 : (size_t)(end - a + 1);
    return strncmp(a, b, bytes) == 0 && strchr(b + bytes, '/') == NULL;
}

static int place(const struct mr_seal *s, struct group *g)
{
    const char *last = NULL;
    MR_CLEANUP(mr_fs_close) int dir = -1;
    int r = 0;
    for (size_t i = 0; r == 0 && i < g->count; i++) {
        const char *path = g->members[i]->sealed.path;
        if (last == NULL || !same_directory(last, path)) {
            mr_fs_close(&dir);
            dir = mr_store_dir(s->commit->store, path);
        }
        last = path;
        r = dir < 0 ? dir
                    : mr_commit_place_small(s->commit, g->members[i], g->works[i]->job.movie, dir);
    }
    return r;
}

/* Before the names are synced: then that they went is, too. */
static void tidy(const struct mr_seal *s, const struct group *g)
{
    const char *last = NULL;
    for (size_t i = 0; i < g->count; i++) {
        const char *path = g->members[i]->path;
        if (last == NULL || !same_directory(last, path))
            mr_store_lazy_tidy(s->commit->store, path);
        last = path;
    }
}

/* A journal of its own, since its group was dissolved; none where its bytes could not be synced. */
static bool has_journal(const struct mr_seal *s, const struct mr_dossier *d)
{
    char name[MR_NAMING_PART];
    mr_dossier_name(&d->open.movie, d->generation, "journal", name);
    return faccessat(s->commit->store->journal_fd, name, F_OK, 0) == 0;
}

/* From where the group file is durable: there is no way back but the ordinary one. */
static void finish(struct mr_seal *s, struct group *g)
{
    struct mr_err err = {0};
    bool taken = false;
    mr_lease_prove_by_sight(s->commit->store->lease); /* who takes over later finds the group */
    int r = place(s, g);
    if (r == 0)
        tidy(s, g);
    if (r == 0 && (taken = (r = mr_skiffs_sync(s->commit->store)) < 0))
        mr_err_errno(&err, r, "%zu small files: syncing their names", g->count);
    mr_failpoint("placed");
    if (r < 0 && !dissolve(s, g))
        return;
    for (size_t i = 0; i < g->count; i++) {
        struct work *w = g->works[i];
        w->need = r == 0 ? TO_RECORD : NOTHING;
        bool lost = r < 0 && !taken && !has_journal(s, w->d);
        struct mr_err why = err;
        if (lost)
            mr_err_set(&why, -EIO, "%s could not be synced", w->d->open.path);
        if (taken || lost)
            mr_seal_begin_again(s, w, &why);
        else if (r < 0)
            mr_seal_place(s, w);
    }
}

void mr_seal_group(struct mr_seal *s, struct work *works, size_t count)
{
    struct group g;
    struct mr_err err = {0};
    gather(s, works, count, &g);
    if (g.count == 0)
        return;
    mr_failpoint("before-sealed");
    int r = mr_flotilla_write(s->commit->store, g.members, g.count, g.name, &err);
    if (r == -EEXIST) {
        mr_seal_die(s, &err);
        return;
    }
    mr_failpoint("group-written");
    bool written = r == 0;
    if (written && (r = mr_skiffs_sync(s->commit->store)) < 0)
        mr_err_errno(&err, r, "%zu small files: syncing them", g.count);
    if (r < 0) {
        refuse(s, &g, written, &err);
        return;
    }
    mr_failpoint("sealed");
    for (size_t i = 0; i < g.count; i++)
        memcpy(g.members[i]->group, g.name, sizeof(g.name));
    finish(s, &g);
}
