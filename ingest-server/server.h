/* SPDX-License-Identifier: Apache-2.0 */
/* The ingest server as a whole: makes the stages, joins them by queues, starts and stops their
 * threads. */
#ifndef MR_SERVER_H
#define MR_SERVER_H

#include "ingest_config.h"

struct mr_server;

/* Claims the store, waiting for it where need be (`stop` readable ends that with -ECANCELED; -1:
 * nothing does), opens it, finishes what an earlier server had sealed, binds every port, starts
 * every thread: returns when all of it runs, or nothing does. fatal(ctx), on any thread: the server
 * has to end now (its records cannot be written). config and plan are borrowed until _stop. Returns
 * owned. */
int mr_server_start(const struct mr_ingest_config *config, const struct mr_ingest_plan *plan,
                    int stop, void (*fatal)(void *ctx), void *ctx, struct mr_server **ret,
                    struct mr_err *err) MR_MUST_USE;

/* Drains and frees: agents are told, what is being sealed is committed, the rest is resumed by the
 * next server. stats: tells at the end what each thread did. */
void mr_server_stop(struct mr_server *server, bool stats);

#endif
