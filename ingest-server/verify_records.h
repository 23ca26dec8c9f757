/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What catalogue and event log say, read beside the server that writes them. For verify alone; main
 * thread.
 */
#ifndef MR_VERIFY_RECORDS_H
#define MR_VERIFY_RECORDS_H

#include "base/ulid.h"
#include "verify.h"

/* What should lie under a path */
struct mr_verify_file {
    struct mr_ulid id;
    uint32_t revision;
    char *path;                              /* owned; below the root */
    uint64_t bytes, digest, sequence, event; /* event: hash of its id */
    int64_t mtime_ns;
    size_t line;  /* of the catalogue, counted in entries */
    bool current; /* nothing newer has its path or its id, and it is not expired */
};

struct mr_verify_list {
    struct mr_verify_file *files; /* by path, newest last */
    size_t count, room;
};

/* Reads the catalogue, says on `out` what of it is damaged and counts it. -errno with err. */
int mr_verify_list_read(int millrace_dir, struct mr_verify_list *ret, FILE *out, uint64_t *damaged,
                        struct mr_err *err) MR_MUST_USE;
void mr_verify_list_free(struct mr_verify_list *list);

/* The one that is current at a path; NULL: none. */
const struct mr_verify_file *mr_verify_list_find(const struct mr_verify_list *list,
                                                 const char *path);

/* Reads the event log: its records, its numbers, and that each of the list's events is there. */
int mr_verify_events(int millrace_dir, const struct mr_verify_list *list, FILE *out,
                     uint64_t *damaged, struct mr_err *err) MR_MUST_USE;

#endif
