/* SPDX-License-Identifier: Apache-2.0 */
/* Where failed movies are kept. Any thread. */
#ifndef MR_FAILED_PLACE_H
#define MR_FAILED_PLACE_H

#include "dossier.h"
#include "store.h"

/* Chooses d->sealed.path: <root>/.millrace/failed/<id>/<name>, or with local (where another
 * project's quota forbids the rename) the same below the movie's own directory. Makes the
 * directory, durably. */
int mr_failed_place(const struct mr_store *store, struct mr_dossier *d, bool local,
                    struct mr_err *err) MR_MUST_USE;

/* 1: it is kept in either place; path: its final name. 0: it is not; a folder that a crash left
 * empty there is gone. -errno. */
int mr_failed_is_kept(const struct mr_store *store, const struct mr_ulid *id,
                      const char *path) MR_MUST_USE;

uint16_t mr_failed_code(const struct mr_fail *fail); /* enum mr_reason: whose fault it is */

#endif
