/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The measuring side of `codec: auto`: looks at the transfer, the packing notes and the CPUs some
 * ten times a second, asks the gauge, says each change in the log, and tells which codec a movie
 * travels in. Tail thread.
 */
#ifndef MR_SLUICE_H
#define MR_SLUICE_H

#include "gauge.h"
#include "guest.h"
#include "parcel.h"
#include "shipment.h"

struct mr_sluice;

/* cpus: that packing may use, `threads` at once; borrowed. Returns owned. -ENOMEM. */
int mr_sluice_new(const struct mr_guest_cpus *cpus, uint32_t threads,
                  struct mr_sluice **ret) MR_MUST_USE;
void mr_sluice_free(struct mr_sluice *s);

/* A slab of `shipment` is about to be read: the codec that it is packed with, which is decided with
 * the first slab of a movie that is sent. */
enum mr_codec_id mr_sluice_codec(struct mr_sluice *s, struct mr_shipment *shipment,
                                 const struct mr_pick *pick, int64_t now_ns);
void mr_sluice_packed(struct mr_sluice *s, const struct mr_packed *note, int64_t now_ns);

/* Every turn of the loop. held_back: a slab waits for credit or a buffer. */
void mr_sluice_look(struct mr_sluice *s, const struct mr_transfer *transfer, bool held_back,
                    int64_t now_ns);
/* For the server's status. */
void mr_sluice_tell(const struct mr_sluice *s, struct mr_packing *ret);

#endif
