/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `codec: auto`: is the link the narrow place, and does compressing widen it? Rates that were
 * measured go in, the codec of movies that begin comes out. Pure: no clock, no file, no thread, no
 * log. Used by one thread (tail).
 *
 * What it does not know it tries: where slabs wait for seconds because the link takes no more, the
 * next movies are compressed, and where that brings no more of them through (the store was the
 * narrow place, or they do not shrink) it is let be, for longer each time. Where nothing waits any
 * more for a while it is tried without.
 */
#ifndef MR_GAUGE_H
#define MR_GAUGE_H

#include "wire/codec.h"
#include "wire/pixel.h"

#include <stdbool.h>

/* What the pipeline looks like now. */
struct mr_gauge_look {
    int64_t now_ns; /* monotonic */
    bool session;   /* there is one */
    bool held_back; /* since the last look a slab could not be read for want of credit or buffers */
    uint64_t landed_raw, landed_wire; /* bytes, totals: durable at the server, as in the sources and
                                         as they travelled */
    uint64_t waiting;                 /* bytes: may be shipped, are not durable */
    uint64_t in_flight, packing;      /* slabs: read and not durable; of these not packed yet */
    double free_cpus;                 /* that packing may have, what it has now included */
};

enum mr_gauge_reason {
    MR_GAUGE_BEGIN,     /* nothing is known yet */
    MR_GAUGE_NARROW,    /* the link is the narrow place */
    MR_GAUGE_CALM,      /* nothing waits any more: is it needed still? */
    MR_GAUGE_NO_FASTER, /* it did not help: the store, or something else, is the narrow place */
    MR_GAUGE_NO_CPU,    /* packing is the narrow place, or would be */
    MR_GAUGE_NO_SMALLER /* what comes does not shrink */
};

struct mr_gauge_verdict {
    enum mr_codec_id codec; /* of movies that begin */
    enum mr_gauge_reason reason;
    double link_rate; /* bytes on the wire a second, when it last was the narrow place; 0: never */
    double waiting_s; /* how long what waits would take at the present rate */
};

struct mr_gauge;

/* threads: that pack. Returns owned. -ENOMEM. */
int mr_gauge_new(uint32_t threads, struct mr_gauge **ret) MR_MUST_USE;
void mr_gauge_free(struct mr_gauge *g);

/* A slab was packed: bytes before and after, CPU time of the codec. codec: as wished for. */
void mr_gauge_packed(struct mr_gauge *g, enum mr_pixel pixel, enum mr_codec_id codec,
                     uint32_t raw_bytes, uint32_t wire_bytes, uint64_t cpu_ns, int64_t now_ns);

/* A look, some ten times a second. True: there is something new to be said of the verdict. */
bool mr_gauge_look(struct mr_gauge *g, const struct mr_gauge_look *look);
void mr_gauge_verdict(const struct mr_gauge *g, struct mr_gauge_verdict *ret);

/* The codec of a movie of such pixels that begins now: the verdict's, or none where such pixels did
 * not shrink of late. */
enum mr_codec_id mr_gauge_codec(const struct mr_gauge *g, enum mr_pixel pixel, int64_t now_ns);

#endif
