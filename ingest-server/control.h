/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control stage, thread "control": the control socket around intake, and the queues to and from
 * lanes, berth and seal. What intake asks for becomes a job here, what the others answer becomes a
 * call of intake's.
 */
#ifndef MR_CONTROL_H
#define MR_CONTROL_H

#include "berth.h"
#include "lane.h"
#include "seal.h"
#include "space.h"

struct mr_control_config {
    const char *endpoint;           /* to bind; borrowed for _new */
    struct mr_intake_config intake; /* lanes and ports are filled in from the lanes */
    struct mr_lane *const *lanes;   /* borrowed */
    const struct mr_store *store;   /* borrowed */
    struct mr_space *space;         /* borrowed */
    bool says_full;                 /* the event log's last word about the store's room */
    struct mr_queue *news;          /* struct mr_lane_news, from lanes */
    struct mr_queue *berth_jobs, *berth_answers;
    struct mr_queue *seal_jobs, *seal_answers;
    void (*fatal)(void *ctx); /* a lane is gone: the server has to end */
    void *ctx;
};

/* Capacities that make every push of control's succeed: movies in flight are limited. */
#define MR_CONTROL_JOBS     (4 * MR_MOVIES_MAX)
#define MR_CONTROL_CONFIRMS 64 /* jobs before berth beyond which questions are dropped */

struct mr_control;

int mr_control_new(struct mr_link *link, const struct mr_control_config *config,
                   struct mr_control **ret, struct mr_err *err) MR_MUST_USE;
void mr_control_free(struct mr_control *control);

/* Any thread: say BYE to agents, let go of movies in flight, finish those being sealed, then
 * end. */
void mr_control_stop(struct mr_control *control);

/* Any thread: sessions and movies as of at most 0.2 s ago: `"sessions":[...],"movies":[...]` as
 * owned text of a JSON object. NULL without memory. */
char *mr_control_status(struct mr_control *control);

extern const struct mr_stage mr_control_stage;

#endif
