/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was promised, and whether it holds: looked at when something is said or done, and again
 * after every power cut. Knows what each source holds; believes only what is safe on the disk.
 */
#ifndef MR_TESTS_ORACLE_H
#define MR_TESTS_ORACLE_H

#include "disk.h"
#include "wire/message.h"

struct oracle;
struct reel;
struct mr_eventlog;

struct oracle *oracle_new(struct world *w);
void oracle_free(struct oracle *o);

/* A movie is opened under this id (again: with these contents now). source NULL: a rogue's. */
void oracle_expect(struct world *w, const struct mr_ulid *id, const struct reel *source);

/* A rogue opens what is another one's. */
void oracle_meddled(struct world *w, const struct mr_ulid *id);

/* Its agent gives it up: what of it was durable may go. */
void oracle_abandoned(struct world *w, const struct mr_ulid *id);
/* Its agent knows that it is abandoned, and never opens it again. */
void oracle_given_up(struct world *w, const struct mr_ulid *id);

/* The server has said something of it. */
bool oracle_was_told(const struct world *w, const struct mr_ulid *id);

/* ---- what the server says ---- */
void oracle_durable(struct world *w, const struct mr_ulid *id, uint32_t generation,
                    const uint8_t *ranges, uint32_t count, bool all, uint32_t cable);
/* An OPENED that nobody can judge: no ACK is, before the next one. */
void oracle_not_judged(struct world *w, const struct mr_ulid *id);
void oracle_committed(struct world *w, const struct mr_committed *c);
void oracle_failed(struct world *w, const struct mr_ulid *id);
void oracle_event(struct world *w, const char *json, size_t bytes); /* published */

/* ---- what happens on the disk ---- */
void oracle_before_write(struct world *w, const struct inode *file);
void oracle_before_remove(struct world *w, const struct inode *dir, const char *name);
void oracle_after_rename(struct world *w, struct inode *file, const struct inode *dir,
                         const char *from, const char *to);

/* ---- at certain moments ---- */
void oracle_before_power_cut(struct world *w);
void oracle_after_power_cut(struct world *w);
void oracle_log(struct world *w, struct mr_eventlog *log); /* a server has just opened it */
void oracle_at_the_end(struct world *w);                   /* nothing runs any more */

#endif
