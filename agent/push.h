/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of millrace-agent besides running as a service. Each returns an exit status
 * (sysexits). Called by the main thread, which waits in them.
 */
#ifndef MR_AGENT_PUSH_H
#define MR_AGENT_PUSH_H

#include "agent_config.h"

/* NULL: the default. */
struct mr_push_options {
    const char *server, *agent, *output, *codec;
    const char *const *paths;
    size_t path_count; /* > 0 */
    bool stats;        /* tell at the end what each thread did */
};

/* Ships files or trees as they are now; 0 only when all are COMMITTED. signals: of
 * mr_process_take_signals, borrowed. */
int mr_push(const struct mr_push_options *options, const struct mr_agent_config *config,
            const struct mr_agent_plan *plan, int signals);

/* --once: ships all that the watches hold, waits for COMMITTED. */
int mr_ship_once(const struct mr_agent_config *config, const struct mr_agent_plan *plan, bool stats,
                 int signals);

/* --dry-run: per file what it is, whether complete and why, output and final name; sends
 * nothing. */
int mr_dry_run(const struct mr_agent_config *config);

#endif
