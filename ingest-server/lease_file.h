/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a file of <root>/.millrace/lease says. Its name is the server's generation, ten digits; its
 * lines are records (recordlog.h):
 *
 *   BEAT <counter> <held|released>      always MR_LEASE_BEAT_BYTES, written over again and again
 *   LEASE <generation> <epoch> <lease ms> <server> <host> <boot id> <pid> <start> <pid namespace>
 *         <instance>                    who holds it, or held it
 *   EPOCH <generation> <first event>    one for each take-over from a server that may still live
 *
 * An epoch is the generation of the server that took the store over from one that may still have
 * been alive. Servers that follow one another with certainty share an epoch and each other's files;
 * files of older epochs are void from the epoch's beginning on: see mr_epochs_are_good.
 *
 * Pure but for mr_lease_list, mr_lease_read and mr_epochs_load, which read; any thread.
 */
#ifndef MR_LEASE_FILE_H
#define MR_LEASE_FILE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MR_LEASE_DIR        "lease"
#define MR_LEASE_BEAT_BYTES 64u
#define MR_LEASE_NAME       16       /* a file's name with its NUL */
#define MR_LEASE_LINE       512      /* room for one LEASE or EPOCH line */
#define MR_EPOCHS_MAX       512      /* more are folded into one (mr_lease_fold_epochs) */
#define MR_EPOCH_PARTS      1024u    /* part generations of a movie in one epoch */
#define MR_GENERATION_MAX   4194303u /* so that generation x MR_EPOCH_PARTS fits in 32 bits */

struct mr_epoch {
    uint32_t generation;
    uint64_t first_event; /* of the event segment that the epoch began with */
};

/* Generations and first events both ascend. Epoch 0, from the beginning on, is not listed. */
struct mr_epochs {
    size_t count;
    struct mr_epoch list[MR_EPOCHS_MAX];
};

/* The newest; 0 where there was none. */
uint32_t mr_epochs_last(const struct mr_epochs *epochs);
/* Of an event segment: its epoch is known, and none that is newer begins at or before it. */
bool mr_epochs_are_good(const struct mr_epochs *epochs, uint32_t epoch, uint64_t first_event);
/* Adds a newest epoch; one whose part of the log is empty by that is dropped. -EOVERFLOW. */
int mr_epochs_add(struct mr_epochs *epochs, const struct mr_epoch *epoch) MR_MUST_USE;

/* A process, so that another one on the same machine can tell whether it still lives */
struct mr_lease_holder {
    char server[65], host[65]; /* plain names */
    char boot[40];             /* boot id; "-" unknown */
    int64_t pid;
    uint64_t start;         /* of the process, ticks since boot */
    uint64_t pid_namespace; /* inode; 0 unknown */
    uint64_t instance;      /* random */
};

struct mr_lease_file {
    uint32_t generation;
    uint32_t epoch; /* that its holder works in, or is about to begin: then epochs lacks it */
    uint32_t lease_ms;
    struct mr_lease_holder holder;
    struct mr_epochs epochs;
    bool released;
    uint8_t beat[MR_LEASE_BEAT_BYTES]; /* as read: whether it moves is all that matters */
    uint64_t bytes;                    /* to the end of the last line */
};

/* "0000000007" */
void mr_lease_name(uint32_t generation, char ret[MR_LEASE_NAME]);
/* 0 where name is none. */
uint32_t mr_lease_number(const char *name);

/* The lines into ret, which has room; each returns its length. */
size_t mr_lease_format_beat(uint64_t counter, bool released, char ret[MR_LEASE_BEAT_BYTES]);
size_t mr_lease_format_holder(const struct mr_lease_file *file, char ret[MR_LEASE_LINE]);
size_t mr_lease_format_epoch(const struct mr_epoch *epoch, char ret[MR_LEASE_LINE]);

/* The highest generation of the files in the directory (0: none). -errno. */
int mr_lease_list(int lease_dir, uint32_t *ret) MR_MUST_USE;
/* Opens, reads and closes it, so that a network file system asks its server. -ENOENT; -EUCLEAN
 * with err: damaged; -errno with err. */
int mr_lease_read(int lease_dir, uint32_t generation, struct mr_lease_file *ret,
                  struct mr_err *err) MR_MUST_USE;
/* The epochs of the newest file below <root>/.millrace; none where there is no lease. */
int mr_epochs_load(int millrace_dir, struct mr_epochs *ret, struct mr_err *err) MR_MUST_USE;

/* This process. -errno where /proc does not tell. */
int mr_lease_self(const char *server, struct mr_lease_holder *ret) MR_MUST_USE;
/* It ran under this kernel, in this pid namespace, and none of its threads is left. False: who
 * knows. */
bool mr_lease_is_gone(const struct mr_lease_holder *self, const struct mr_lease_holder *other);

#endif
