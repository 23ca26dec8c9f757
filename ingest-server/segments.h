/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of the event log: which there are below <root>/.millrace/events and which of them
 * count.
 * "<sequence of the first record>.log", and with a later epoch (lease_file.h) than the first,
 * "<sequence>.e<epoch>.log". Any thread.
 */
#ifndef MR_SEGMENTS_H
#define MR_SEGMENTS_H

#include "lease_file.h"

#define MR_SEGMENTS_DIR "events" /* below .millrace */
#define MR_SEGMENT_NAME 48

struct mr_segment {
    uint64_t first; /* sequence of the first record */
    uint32_t epoch;
};

void mr_segment_name(const struct mr_segment *segment, char ret[MR_SEGMENT_NAME]);
/* -EINVAL: no segment's name. */
int mr_segment_parse(const char *name, struct mr_segment *ret) MR_MUST_USE;

/* Those that count, in order, as owned memory (free). void_too: all of them. */
int mr_segments_list(int events_dir, const struct mr_epochs *epochs, bool void_too,
                     struct mr_segment **ret, size_t *ret_count) MR_MUST_USE;

/* For a new epoch: a durable copy of the last segment that counts, so that what its old writer
 * still appends is without effect. *ret_first: where the epoch begins (1 where there is nothing to
 * copy). A record that was cut short at the end is left out; -EUCLEAN: one that is damaged would
 * be, and its number given again. err names the file. */
int mr_segments_copy_last(int millrace_dir, const struct mr_epochs *epochs, uint32_t epoch,
                          uint64_t *ret_first, struct mr_err *err) MR_MUST_USE;

#endif
