/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small movies (skiff.h) that are committed together. What the journal of each would say, OPEN,
 * SLAB and SEALED, stands in one group file, <root>/.millrace/journal/<ULID>.g<generation>.group,
 * named after the first of them. It is a recordlog whose lines say whose they are:
 *
 *   <ULID>.g<generation>.journal <record>
 *
 * One syncfs makes group file and parts durable, in no order: a member counts as sealed where all
 * its lines are whole, and is read back after a crash as every sealed movie is. A group file lives
 * for a moment only. Whoever finds trouble with one, or an old one, dissolves it: each member gets
 * an ordinary journal, and goes the ordinary way from there.
 */
#ifndef MR_FLOTILLA_H
#define MR_FLOTILLA_H

#include "dossier.h"
#include "store.h"

/* Of sealed dossiers, 1 or more; not durable. After an error nothing is left of it; -EEXIST where
 * that is not certain: then nobody may go on with any of them. */
int mr_flotilla_write(const struct mr_store *store, struct mr_dossier *const *members, size_t count,
                      char ret_name[MR_NAMING_PART], struct mr_err *err) MR_MUST_USE;

/* Not durably. */
int mr_flotilla_remove(const struct mr_store *store, const char *name) MR_MUST_USE;

/* Ordinary journals instead, durably. Members whose lines are not whole are left out: nobody was
 * told of them. Repeating it is harmless. */
int mr_flotilla_dissolve(const struct mr_store *store, const char *name,
                         struct mr_err *err) MR_MUST_USE;
/* All of that epoch, as an earlier life left them; those of others are void, and removed. */
int mr_flotilla_dissolve_all(const struct mr_store *store, uint32_t epoch,
                             struct mr_err *err) MR_MUST_USE;

/* A journal of its own for a small movie that is to go the ordinary way; durable. */
int mr_flotilla_leave(const struct mr_store *store, const struct mr_dossier *d,
                      struct mr_err *err) MR_MUST_USE;

#endif
