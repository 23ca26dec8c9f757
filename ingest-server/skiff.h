/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small movies: one slab at most, complete when they are opened, and their agent waits for no ACK
 * (mr_open.whole). Of such a one nothing is promised before it is committed, so nothing of it is
 * made durable before either: it has a part and no journal, and many are committed together
 * (flotilla.h), with one syncfs for all of their bytes. What a crash leaves of them are parts that
 * no journal names; so that they are found and removed by the next start, the directories that such
 * parts are made in are noted in <root>/.millrace/skiffs.log, durably, before the first of them.
 *
 * Only where a syncfs tells of every error (mr_fs_can_sync_all); elsewhere every movie goes the
 * ordinary way.
 */
#ifndef MR_SKIFF_H
#define MR_SKIFF_H

#include "dossier.h"
#include "movie.h"
#include "store.h"

struct mr_skiffs;

/* Removes what an earlier life left of small movies; then store->skiffs can be *ret, or NULL where
 * the store is not fit for them. After recovery, before the threads start. store is borrowed until
 * _close. Returns owned. */
int mr_skiffs_open(const struct mr_store *store, struct mr_skiffs **ret,
                   struct mr_err *err) MR_MUST_USE;
void mr_skiffs_close(struct mr_skiffs *skiffs); /* NULL allowed */

/* May it be a small one? */
bool mr_skiff_fits(const struct mr_store *store, const struct mr_open *open);

/* A number for the part of one that begins, so that two of the same movie never meet. */
uint32_t mr_skiff_generation(const struct mr_store *store);

/* The directory of path is noted by the next mr_skiff_note, with all others that are expected by
 * then; what is noted already is left out. -ENOBUFS: no more before that. Berth's thread. */
int mr_skiff_expect(const struct mr_store *store, const char *path) MR_MUST_USE;
/* Durably, with one sync. After an error nothing is expected any more. */
int mr_skiff_note(const struct mr_store *store) MR_MUST_USE;

/* Makes the part, and notes its directory where that is to be done yet. -EXDEV: it would lie on
 * another file system: to be made the ordinary way. After an error there may be some of it:
 * _remove. Berth's thread. */
int mr_skiff_make(const struct mr_store *store, struct mr_movie *movie, const struct mr_dossier *d,
                  struct mr_err *err) MR_MUST_USE;

/* Takes its part away. path: of its dossier. Any thread. */
void mr_skiff_remove(const struct mr_store *store, const struct mr_movie *movie, const char *path);

/* One syncfs for everything. An error may be of any small movie that was begun before, in whatever
 * group: none of them is sound any more, and none is synced again. Seal's thread. */
int mr_skiffs_sync(const struct mr_store *store) MR_MUST_USE;
bool mr_skiff_is_sound(const struct mr_store *store, const struct mr_movie *movie);

#endif
