/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of the events about movies, agents and the store; docs/OPERATIONS.md lists their
 * fields. Pure but for memory; any thread.
 */
#ifndef MR_ANNOUNCE_H
#define MR_ANNOUNCE_H

#include "dossier.h"
#include "event.h"
#include "space.h"
#include "store.h"

/* What a ready or failed event says beyond the dossier; borrowed */
struct mr_announcement {
    const struct mr_end *end; /* NULL for failed */
    const struct mr_extent *extent;
    const struct mr_sealed *sealed; /* path, bytes, digests */
    const char *reason;             /* failed: why */
    uint16_t code;                  /* failed: enum mr_reason */
    const char *left_out;           /* notes the HDF5 part had no room for; "" none */
    bool renamed;                   /* the name was taken: path is a _dup */
    int64_t committed_real_ns;
};

/* millrace.movie.ready, millrace.file.ready or (sealed->failed) millrace.movie.failed, without
 * sequence. Returns owned text in *ret. -ENOMEM, -EMSGSIZE. */
int mr_announce_movie(const struct mr_store *store, const struct mr_dossier *d,
                      const struct mr_announcement *a, char **ret) MR_MUST_USE;

/* The same event under another final path: the name had been taken meanwhile. */
int mr_announce_moved(const struct mr_store *store, const char *event, const char *path,
                      char **ret) MR_MUST_USE;

/* millrace.movie.started; millrace.agent.online or .offline. Returned as above. */
int mr_announce_started(const struct mr_store *store, const struct mr_open *open, const char *agent,
                        int64_t real_ns, char **ret) MR_MUST_USE;
int mr_announce_presence(const struct mr_store *store, const struct mr_hello *hello, bool online,
                         int64_t real_ns, char **ret) MR_MUST_USE;

/* millrace.store.full (paused) or .space: below store.keep_free, or room again. Returned as
 * above. */
int mr_announce_space(const struct mr_store *store, const struct mr_space_view *space,
                      int64_t real_ns, char **ret) MR_MUST_USE;

/* "<ULID>.ready", ".failed", ".started", with ".r<n>" for a revision, into ret. */
void mr_announce_id(const struct mr_ulid *id, const char *kind, uint32_t revision,
                    char ret[MR_EVENT_ID_MAX + 1]);

#endif
