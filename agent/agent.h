/* SPDX-License-Identifier: Apache-2.0 */
/* The agent as a whole: makes the stages, joins them by queues, starts and stops their threads. */
#ifndef MR_AGENT_H
#define MR_AGENT_H

#include "agent_config.h"
#include "tail.h"

/* What to ship; borrowed until _stop. */
struct mr_agent_job {
    enum mr_track_mode mode;
    const struct mr_agent_config *config;
    const struct mr_agent_plan *plan;
    const struct mr_track_watch *watches; /* with push: one per PATH */
    const enum mr_wish *outputs;          /* one per watch */
    size_t watch_count;
    bool push;              /* no journal, any number of one name */
    int64_t unreachable_ns; /* ONCE, AS_IT_IS: give up without a server for so long */
    bool stats;             /* what each thread did is told at the end */
};

struct mr_agent;

/* Returns when every thread runs, or nothing does. ended(ctx), on a thread of the agent: ONCE and
 * AS_IT_IS are done; call _stop. Returns owned. */
int mr_agent_start(const struct mr_agent_job *job, void (*ended)(void *ctx), void *ctx,
                   struct mr_agent **ret, struct mr_err *err) MR_MUST_USE;

/* Stops reading, waits a little for acks of what is in flight, says BYE, frees. What is unfinished
 * is resumed by the next start. ret_status (may be NULL): as of the end. */
void mr_agent_stop(struct mr_agent *agent, struct mr_tail_status *ret_status);

void mr_agent_status(struct mr_agent *agent, struct mr_tail_status *ret,
                     struct mr_track_counts *ret_track);

/* Watches of a configuration, for mr_agent_job. Both arrays are owned by the caller (free). */
int mr_agent_watches(const struct mr_agent_config *config, struct mr_track_watch **ret,
                     enum mr_wish **ret_outputs) MR_MUST_USE;

#endif
