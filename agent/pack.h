/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pack stage: a slab is read, then byte order, padding, checksums, statistics, codec. Several
 * threads may run, each with a struct mr_pack of its own, on the same queues: no parcel depends on
 * another.
 */
#ifndef MR_AGENT_PACK_H
#define MR_AGENT_PACK_H

#include "base/queue.h"
#include "base/thread.h"
#include "parcel.h"

struct mr_pack;

/* Borrowed. */
struct mr_pack_queues {
    struct mr_queue *in;    /* struct mr_parcel, from tail */
    struct mr_queue *out;   /* struct mr_parcel, to uplink: those that are to be sent */
    struct mr_queue *notes; /* struct mr_packed, to tail: all of them, unreadable ones too */
};

/* Returns owned. -ENOMEM. */
int mr_pack_new(const struct mr_pack_queues *queues, struct mr_pack **ret) MR_MUST_USE;
void mr_pack_free(struct mr_pack *pack);

extern const struct mr_stage mr_pack_stage; /* ends when `in` is closed and empty */

/* What the stage does to one parcel; for tests. Closes its fd. The header's session, sequence and
 * lane stay unset. -ENODATA: the source ends before the slab does; -errno of reading. */
int mr_pack_read(struct mr_pack *pack, struct mr_parcel *parcel) MR_MUST_USE;
/* The same where the buffer holds the source's bytes already. */
void mr_pack_do(struct mr_pack *pack, struct mr_parcel *parcel);

/* Bytes a parcel's buffer must hold. */
#define MR_PARCEL_BYTES MR_SLAB_BYTES

#endif
