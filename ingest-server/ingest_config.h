/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingest.yaml: its keys, their meaning, and the sums that follow from them. Used by the main
 * thread; what was loaded is not changed afterwards and may be read by any.
 */
#ifndef MR_INGEST_CONFIG_H
#define MR_INGEST_CONFIG_H

#include "base/config.h"
#include "wire/endpoint.h"
#include "wire/message.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct mr_ingest_config {
    char *name, *site, *state_dir;
    char *control, *events, *http; /* endpoints; http is host:port */
    int64_t lanes;                 /* -1: auto */
    char *root, *path, *group;
    int direct_io; /* enum mr_direct_io */
    int mtime;     /* 0 source, 1 commit */
    uint32_t keep_free_hundredths, file_mode, dir_mode;
    int64_t keep_revisions_ns;
    int64_t lease_ns;
    bool standby;
    uint64_t pool_bytes;
    int security; /* 0 none, 1 curve */
    bool verify_at_seal;
    bool allow_plaintext;
    struct mr_config_maps webhooks;
};

extern const struct mr_config_key mr_ingest_config_table[];

/* What follows from a configuration. */
struct mr_ingest_plan {
    uint16_t lanes;
    uint32_t lane_buffers; /* landing buffers of a lane */
    uint64_t buffer_bytes; /* of one */
    uint64_t lane_budget;  /* bytes of credit a lane gives out: what libzmq may hold */
    uint64_t pool_used;    /* lanes x (buffers + budget); at most the pool */
    /* endpoints to bind */
    char control[MR_ENDPOINT_TEXT], events[MR_ENDPOINT_TEXT], replay[MR_ENDPOINT_TEXT],
        http[MR_ENDPOINT_TEXT], lane[MR_LANES_MAX][MR_ENDPOINT_TEXT];
};

/* Where a configuration comes from; texts borrowed for the call */
struct mr_ingest_source {
    const char *file;        /* NULL: defaults alone, and no state_dir */
    const char *store;       /* absolute; over store.root. NULL: as it is */
    const char *const *sets; /* "key=value" of --set, over all else */
    size_t set_count;
};

/* Reads it, and checks what no single key can tell: ports that overlap, plaintext beyond loopback,
 * a pool too small. err: file:line:column, or --set. -EINVAL; -errno of the file. */
int mr_ingest_config_load(const struct mr_ingest_source *from, struct mr_ingest_config *ret,
                          struct mr_ingest_plan *ret_plan, struct mr_err *err) MR_MUST_USE;
void mr_ingest_config_free(struct mr_ingest_config *config);

/* --check-config: every key, every limit with its sum, every port. */
void mr_ingest_config_print(const struct mr_ingest_config *config,
                            const struct mr_ingest_plan *plan, FILE *out);

#endif
