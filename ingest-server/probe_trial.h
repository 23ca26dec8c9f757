/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of --check-store share. Private to probe*.c: probe (where, and the whole),
 * probe_write (bytes), probe_name (names), probe_lease (two
 * servers), probe_owner (groups, projects, quotas). A trial says one
 * line for each of its findings; what it makes lies in the trials' folder, which probe empties.
 */
#ifndef MR_PROBE_TRIAL_H
#define MR_PROBE_TRIAL_H

#include "probe.h"

#include <stdbool.h>
#include <stdint.h>

struct mr_trial {
    const struct mr_probe_config *config;
    FILE *out;
    int dir_fd, fd;  /* the store; the folder the trials are in */
    char folder[64]; /* its name in the store */
    bool remote;     /* other hosts may see the store as well */
    int failed;      /* first error that makes the store unusable */
    struct mr_err *err;
};

/* verdict: "ok", "note" or "FAIL" */
void mr_trial_say(const struct mr_trial *t, const char *what, const char *verdict, const char *fmt,
                  ...) MR_PRINTF(4, 5);
/* FAIL: the store cannot be used; remedy says what to do. */
void mr_trial_refuse(struct mr_trial *t, const char *what, int code, const char *remedy);

/* A new file in a folder: 0 or -errno. */
int mr_trial_make_file(int dir, const char *name) MR_MUST_USE;

void mr_trial_direct(struct mr_trial *t);
void mr_trial_uring(struct mr_trial *t);
void mr_trial_allocate(struct mr_trial *t);
void mr_trial_sync(struct mr_trial *t);
void mr_trial_sync_folder(struct mr_trial *t);

void mr_trial_beneath(struct mr_trial *t);
void mr_trial_rename(struct mr_trial *t);
void mr_trial_long_name(struct mr_trial *t);
void mr_trial_birth(struct mr_trial *t);
void mr_trial_processes(struct mr_trial *t);
void mr_trial_lease(struct mr_trial *t);

void mr_trial_group(struct mr_trial *t);
void mr_trial_acl(struct mr_trial *t);
void mr_trial_project(struct mr_trial *t);
void mr_trial_quota(struct mr_trial *t);

#endif
