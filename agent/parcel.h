/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One slab on its way through the agent: picked by tail, read and packed by pack, sent by uplink.
 * Passed by value through queues; its buffer, and fd until it is read, are owned by whoever holds
 * the parcel.
 */
#ifndef MR_AGENT_PARCEL_H
#define MR_AGENT_PARCEL_H

#include "base/pool.h"
#include "transfer.h"
#include "wire/slab_header.h"

struct mr_parcel {
    struct mr_pick pick;
    struct mr_geometry geometry;
    enum mr_codec_id codec;       /* wished for */
    int fd;                       /* the source; tail may have closed its own meanwhile */
    struct mr_buffer *buffer;     /* pick.span.source_bytes as read; later what travels */
    struct mr_slab_header header; /* filled by pack */
    uint64_t codec_ns;            /* likewise: CPU time */
};

/* What pack tells tail about a parcel it passed on, or could not read. */
struct mr_packed {
    struct mr_pick pick;
    int error; /* -ENODATA: the source ends before it; -errno of reading; 0: the rest holds */
    uint64_t crc_raw, crc_pixels;
    uint32_t wire_bytes;
    enum mr_codec_id codec; /* wished for */
    enum mr_pixel pixel;
    bool stored_so;    /* as it travels; not the link's alone */
    uint64_t codec_ns; /* CPU time */
};

#endif
