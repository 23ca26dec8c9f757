/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent.yaml: its keys, their meaning, and the sums that follow from them. Used by the main thread;
 * what was loaded is not changed afterwards and may be read by any.
 */
#ifndef MR_AGENT_CONFIG_H
#define MR_AGENT_CONFIG_H

#include "base/config.h"
#include "guest.h"

#include <stdio.h>

#define MR_AGENT_MOVIES_MAX   128 /* under way at once; the others wait */
#define MR_AGENT_PACKERS_MAX  16  /* threads */
#define MR_AGENT_PACKERS_AUTO (-1)
#define MR_AGENT_WATCHES_MAX  64

enum mr_after_commit { MR_AFTER_KEEP, MR_AFTER_DELETE };

/* An entry of `watch`. */
struct mr_agent_watch {
    char *path;
    struct mr_config_strings include, exclude;
    int output; /* enum mr_wish */
    int64_t quiet_ns, give_up_ns, rescan_ns;
    int source_after_commit; /* enum mr_after_commit */
    struct mr_agent_purge {
        int64_t after_ns;         /* since COMMITTED */
        uint32_t when_free_below; /* hundredths of a percent of the file system */
        bool allow_converted;
        struct mr_config_strings exclude; /* globs */
    } purge;
};

struct mr_agent_config {
    char *name, *state_dir, *timezone;
    struct mr_config_strings endpoints;
    int codec; /* enum mr_codec_wish */
    uint64_t pool_bytes;
    struct mr_agent_host {    /* the camera's host, whose guest the agent is */
        char *cpus;           /* mr_guest_cpus_parse's */
        int64_t nice;         /* 0 to 19, or MR_GUEST_NICE_INHERIT */
        char *io;             /* mr_guest_use_io's */
        int64_t pack_threads; /* MR_AGENT_PACKERS_AUTO: as many as the CPUs give, to 2 */
        bool uncache;
    } host;
    struct mr_config_maps watches; /* of struct mr_agent_watch */
};

/* Does one of them free its sources? */
bool mr_agent_frees(const struct mr_agent_watch *watches, size_t count);

extern const struct mr_config_key mr_agent_config_table[];

struct mr_agent_plan {
    uint32_t buffers;      /* slabs that may be in the agent at once */
    uint64_t buffer_bytes; /* of one */
    uint64_t pool_used;    /* buffers x buffer_bytes; at most the pool */
    uint32_t packers;      /* threads; never more than cpus has */
    struct mr_guest_cpus cpus;
};

/* Where a configuration comes from; all borrowed. */
struct mr_agent_source {
    const char *file;        /* NULL: the defaults and a watch that push ignores */
    const char *const *sets; /* KEY=VALUE over it */
    size_t set_count;
    /* of push's options; NULL: the host's, the defaults. endpoint: several with commas between */
    const char *name, *endpoint, *codec;
};

/* Reads and checks; err: file:line:column. -EINVAL; -errno of the file; -ENOMEM. */
int mr_agent_config_load(const struct mr_agent_source *from, struct mr_agent_config *ret,
                         struct mr_agent_plan *ret_plan, struct mr_err *err) MR_MUST_USE;
void mr_agent_config_free(struct mr_agent_config *config);

/* CPUs, nice and I/O class, before there are threads. -EINVAL, -errno: the CPUs cannot be had,
 * which is an error, as the agent would run on the camera's. The rest is logged where it cannot. */
int mr_agent_config_apply(const struct mr_agent_config *config, const struct mr_agent_plan *plan,
                          struct mr_err *err) MR_MUST_USE;

/* --check-config: every key, every limit with its sum, every port. */
void mr_agent_config_print(const struct mr_agent_config *config, const struct mr_agent_plan *plan,
                           FILE *out);

/* "auto", "keep", "mrc", "hdf5" as enum mr_wish. -EINVAL. */
int mr_agent_parse_output(const char *word, int *ret) MR_MUST_USE;

#endif
