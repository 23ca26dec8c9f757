/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who owns a store: one server at a time, on whatever node, by files in <root>/.millrace/lease and
 * without any lock of the operating system (there are file systems where flock succeeds on two
 * nodes). What the files say: lease_file.h.
 *
 * The holder rewrites a counter in its file every fifth of the lease. Who wants the store takes it
 * at once from a server that let go of it or is dead for certain (same kernel, same pid namespace,
 * process gone), and from any other only after its counter has stood still for a lease and a
 * quarter, by the own clock. Taking it is making the file of the next generation, which the file
 * system lets succeed once.
 *
 * A holder that was stopped for longer than its lease proves nothing any more (mr_lease_prove does
 * not return) until its own thread has either taken the next generation itself, which shows that
 * nobody had the store in between, or found that somebody has: then lost() is called.
 */
#ifndef MR_LEASE_H
#define MR_LEASE_H

#include "lease_file.h"

#define MR_LEASE_MIN_MS 500

struct mr_lease;

struct mr_lease_config {
    int millrace_dir;   /* <root>/.millrace, borrowed for the claim */
    const char *server; /* name, borrowed for the claim */
    uint32_t lease_ms;  /* at least MR_LEASE_MIN_MS */
    bool standby;       /* wait while another server lives, instead of -EBUSY */
    int stop;           /* descriptor: readable ends the waiting with -ECANCELED; -1: none */
    /* While waiting, about ten times a lease: about whom, the first time; then NULL, for a sign of
     * life. May be NULL. */
    void (*waiting)(void *ctx, const char *text);
    /* On any thread: another server has the store, or see mr_lease_leave. Must end the process, at
     * once. */
    void (*lost)(void *ctx, const char *text);
    void *ctx;
};

/* Claims the store and starts the thread "lease" that holds it. Waits for up to a lease and a
 * quarter of the one before. -EBUSY: another server lives, err says which; -EUCLEAN: the newest
 * file is damaged; -ECANCELED; -errno of I/O; all with err. Returns owned. */
int mr_lease_claim(const struct mr_lease_config *config, struct mr_lease **ret,
                   struct mr_err *err) MR_MUST_USE;
/* The server is to stop: once the lease cannot be proved for as long as a lease, lost is called, so
 * that nobody waits for a store that hangs or is read-only. Main thread; NULL allowed. */
void mr_lease_leave(struct mr_lease *lease);
/* Lets go of it, for a successor to take at once: after all else has stopped. NULL allowed. */
void mr_lease_release(struct mr_lease *lease);

/* The server's, by which it was claimed. */
uint32_t mr_lease_generation(const struct mr_lease *lease);
/* That this server's files belong to. */
uint32_t mr_lease_epoch(const struct mr_lease *lease);
/* A server before this one may still be alive, and the epoch has not begun: the store is to be
 * taken over file by file (takeover.h). */
bool mr_lease_is_contested(struct mr_lease *lease);
/* All epochs before. Main thread, before the epoch begins; borrowed. */
const struct mr_epochs *mr_lease_epochs(const struct mr_lease *lease);
/* The take-over is complete and durable: notes the epoch in the lease. */
int mr_lease_begin_epoch(struct mr_lease *lease, uint64_t first_event,
                         struct mr_err *err) MR_MUST_USE;

/* Only the newest epoch is noted from here on, as if it had begun where the oldest one did: all
 * that belonged to the others is the newest one's now. Main thread, before the epoch begins;
 * returns when that is durable. */
void mr_lease_fold_epochs(struct mr_lease *lease);

/* Returns while it is certain that no other server has taken the store before this call: what was
 * made durable before it is seen by any that takes it later. Else does not return before that is
 * certain again, or at all. Cheap; any thread; NULL: always certain. */
void mr_lease_prove(struct mr_lease *lease);
/* Whether that would return at once. */
bool mr_lease_holds(const struct mr_lease *lease);
/* mr_lease_prove by looking into the lease directory too: before a movie gets its name, and before
 * what allows a source to be freed. Where it cannot be looked at, the lease is claimed anew first.
 * Waits for the store. */
void mr_lease_prove_by_sight(struct mr_lease *lease);

#endif
