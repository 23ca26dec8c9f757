/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One fixed message of each type, every field set to something of its own, so that two fields that
 * changed places would show in the golden files.
 */
#ifndef MR_TESTS_MESSAGE_SAMPLES_H
#define MR_TESTS_MESSAGE_SAMPLES_H

#include "wire/message.h"

#include <stdlib.h>
#include <string.h>

#define SAMPLE_RANGES 3

static const struct mr_ulid sample_movie = {
    {0x01, 0x93, 0x52, 0x6f, 0x4a, 0x00, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}};

static inline const uint8_t *sample_ranges(void)
{
    static uint8_t ranges[SAMPLE_RANGES * MR_RANGE_BYTES];
    mr_message_put_range(ranges, 0, (struct mr_range){0, 5});
    mr_message_put_range(ranges, 1, (struct mr_range){7, 1});
    mr_message_put_range(ranges, 2, (struct mr_range){1000, MR_SLABS_MAX - 1000});
    return ranges;
}

static inline void sample_open(struct mr_open *o)
{
    *o = (struct mr_open){.movie = sample_movie,
                          .revision = 2,
                          .kind = MR_KIND_MOVIE,
                          .output = MR_OUTPUT_HDF5,
                          .codec = MR_CODEC_BSLZ4,
                          .format = "mrc",
                          .path = "grid7/movie_0001.mrc",
                          .source_path = "/data/movies/grid7/movie_0001.mrc",
                          .session = "visit-12",
                          .day = "2026-11-22",
                          .pixel_size_angstrom = 0.834,
                          .source_bytes_expected = 942796800 + 1024};
    struct mr_err err = {0};
    if (mr_geometry_frames(MR_LAYOUT_CHUNKS, MR_PIXEL_I8, false, 5760, 4092, 1024, 0, &o->geometry,
                           &err) < 0) {
        abort();
    }
}

static inline void sample_body_hello(struct mr_message *m)
{
    m->session = 0;
    m->hello = (struct mr_hello){.version_min = 1,
                                 .version_max = 1,
                                 .name = "k3-krios1",
                                 .instance = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 11, 12, 13, 14, 15, 16},
                                 .epoch = 42,
                                 .ephemeral = true,
                                 .software = "millrace 0.1.0",
                                 .host = "camera-host",
                                 .real_ns = 1795330800000000001};
}

static inline void sample_body_welcome(struct mr_message *m)
{
    m->welcome = (struct mr_welcome){.version = 1,
                                     .abilities = MR_ABLE_CONFIRM,
                                     .heartbeat_ms = 1000,
                                     .lanes = 2,
                                     .ports = {5571, 5572},
                                     .server = "storage1",
                                     .site = "eBIC",
                                     .software = "millrace 0.1.0"};
}

static inline void sample_body_refused(struct mr_message *m)
{
    m->session = 0;
    m->refused = (struct mr_refused){MR_REASON_NAME_IN_USE, "k3-krios1 is connected from b"};
}

static inline void sample_body_credit(struct mr_message *m)
{
    m->credit = (struct mr_credit){.lanes = 2, .granted = {8396800, 4198400}};
}

static inline void sample_body_demand(struct mr_message *m)
{
    m->demand = (struct mr_demand){.lanes = 2, .wanted = {true, false}, .returned = {0, 4198400}};
}

static inline void sample_body_ping(struct mr_message *m)
{
    m->ping = (struct mr_ping){
        .token = 77,
        .real_ns = 1795330800000000002,
        .backlog = {.bytes = 5000000000, .files = 3},
        .packing = {.codec = MR_CODEC_BSLZ4, .by_itself = true, .link_bytes_per_s = 117000000}};
}

static inline void sample_body_bye(struct mr_message *m)
{
    m->bye = (struct mr_bye){MR_REASON_STOPPING, "the server stops"};
}

static inline void sample_body_committed(struct mr_message *m)
{
    m->committed = (struct mr_committed){.movie = sample_movie,
                                         .revision = 2,
                                         .sequence = 4242,
                                         .source_bytes = 919224320,
                                         .source_mtime_ns = 1763800000123456789,
                                         .event = "01JD96YJG0040G2081GG50E20J.ready.r2",
                                         .path = "/data/store/k3-krios1/grid7/movie_0001.h5",
                                         .known = true};
}

static inline void sample_body_hold(struct mr_message *m)
{
    m->hold = (struct mr_hold){sample_movie, MR_REASON_NO_SPACE, 5000, "/data/store: 1% free"};
}

static inline void sample_body_fail(struct mr_message *m)
{
    m->fail = (struct mr_fail){sample_movie, 3, {39, 919224320}, "header and size disagree", 0};
}

static inline void sample_body_failed(struct mr_message *m)
{
    m->failed = (struct mr_failed){sample_movie, MR_REASON_MISMATCH, "digest differs"};
}

static inline void sample_body_abandon(struct mr_message *m)
{
    m->abandon = (struct mr_abandon){sample_movie};
}

static inline void sample_body_confirm(struct mr_message *m)
{
    m->confirm = (struct mr_confirm){sample_movie, 2};
}

static inline void sample_body_confirmed(struct mr_message *m)
{
    m->confirmed = (struct mr_confirmed){.movie = sample_movie,
                                         .revision = 2,
                                         .standing = MR_STANDING_MOVED,
                                         .bytes = 919224320,
                                         .crc_file = 0x9242280e488dad9a,
                                         .has_pixels = true,
                                         .crc_pixels = 0x995dc9bbdf1939fa,
                                         .path = "/data/store/k3-krios1/grid7/a.mrc"};
}

static inline void sample_body_open(struct mr_message *m)
{
    sample_open(&m->open);
}

static inline void sample_body_opened(struct mr_message *m)
{
    m->opened = (struct mr_opened){sample_movie, 3, true, SAMPLE_RANGES, sample_ranges()};
}

static inline void sample_body_ack(struct mr_message *m)
{
    m->ack = (struct mr_ack){sample_movie, 3, SAMPLE_RANGES, sample_ranges()};
}

static inline void sample_body_resend(struct mr_message *m)
{
    m->resend = (struct mr_resend){sample_movie, 3, 17};
}

static inline void sample_body_end(struct mr_message *m)
{
    m->end = (struct mr_end){.movie = sample_movie,
                             .generation = 3,
                             .extent = {40, 942796800 + 1024},
                             .slabs = 240,
                             .source_mtime_ns = 1795330799000000003,
                             .crc_file = 0x9242280e488dad9a,
                             .crc_pixels = 0x995dc9bbdf1939fa,
                             .complete_by = "close",
                             .pixel_size_angstrom = 0.834,
                             .frame_time_s = 0.05,
                             .started_real_ns = 1795330790000000004,
                             .finished_real_ns = 1795330799500000005,
                             .warnings = "no gain reference\nno sidecar",
                             .metadata = (const uint8_t *)"{\"dose\":1.5}",
                             .metadata_bytes = 12,
                             .source_header = (const uint8_t *)"HEADER",
                             .source_header_bytes = 6};
}

/* By a body's name: that a message of the list has none does not compile. */
static inline void sample_message(enum mr_message_type type, struct mr_message *ret)
{
#define SAMPLE(number, NAME, body, from, needs) [number] = sample_body_##body,
    static void (*const fill[MR_MESSAGE_LAST + 1])(struct mr_message * m) = {MR_MESSAGES(SAMPLE)};
#undef SAMPLE
    *ret = (struct mr_message){.type = type, .sequence = 5, .session = 0x1122334455667788};
    fill[type](ret);
}

#endif
