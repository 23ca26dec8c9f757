/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole store in a temporary folder, with berth and commit over it, and movies that land in it
 * without a network: slabs of made-up pixels are written and journalled as lanes do it.
 */
#ifndef MR_TESTS_STORE_RIG_H
#define MR_TESTS_STORE_RIG_H

#include "announce.h"
#include "base/clock.h"
#include "base/crc64.h"
#include "base/recordlog.h"
#include "berth.h"
#include "commit.h"
#include "finish.h"
#include "recheck.h"
#include "scratch.h"
#include "seal.h"

#include <errno.h>

#define RIG_HEADER 1024 /* bytes before the pixels of a movie's source */

struct rig {
    struct scratch scratch;
    struct mr_store_config config;
    struct mr_store store;
    struct mr_eventlog *eventlog;
    struct mr_catalogue *catalogue;
    struct mr_commit commit;
    struct mr_berth_queues queues;
    struct mr_berth *berth;
    struct mr_recheck *recheck;
    struct mr_queue *seal_jobs;
};

static inline void rig_open(struct rig *rig)
{
    struct mr_err err = {0};
    ck_assert_msg(mr_store_open(&rig->config, &rig->store, &err) == 0, "%s", err.text);
    ck_assert_msg(mr_eventlog_open(rig->store.millrace_fd, MR_EVENTLOG_SEGMENT_BYTES,
                                   &rig->eventlog, NULL, &err) == 0,
                  "%s", err.text);
    ck_assert_msg(mr_catalogue_open(rig->store.millrace_fd, &rig->catalogue, NULL, &err) == 0, "%s",
                  err.text);
    rig->commit = (struct mr_commit){
        .store = &rig->store, .eventlog = rig->eventlog, .catalogue = rig->catalogue};
    struct mr_berth_queues *q = &rig->queues;
    ck_assert_int_eq(mr_queue_new(sizeof(struct mr_berth_job), 4, &q->jobs), 0);
    ck_assert_int_eq(mr_queue_new(sizeof(struct mr_berth_answer), 4, &q->answers), 0);
    ck_assert_int_eq(mr_queue_new(sizeof(struct mr_recheck_job *), 4, &q->rechecks), 0);
    ck_assert_int_eq(mr_queue_new(sizeof(struct mr_seal_job), 4, &rig->seal_jobs), 0);
    const struct mr_recheck_queues rechecks = {
        .jobs = q->rechecks, .berth_jobs = q->jobs, .seal_jobs = rig->seal_jobs};
    ck_assert_int_eq(mr_recheck_new(&rig->store, &rechecks, &rig->recheck), 0);
    ck_assert_int_eq(mr_berth_new(&rig->store, rig->catalogue, q, &rig->berth), 0);
}

static inline void rig_close(struct rig *rig)
{
    mr_berth_free(rig->berth);
    mr_recheck_free(rig->recheck);
    mr_queue_free(rig->queues.jobs);
    mr_queue_free(rig->queues.answers);
    mr_queue_free(rig->queues.rechecks);
    mr_queue_free(rig->seal_jobs);
    mr_catalogue_close(rig->catalogue);
    mr_eventlog_close(rig->eventlog);
    mr_store_close(&rig->store);
}

static inline void rig_make(struct rig *rig)
{
    *rig = (struct rig){.scratch = scratch_make()};
    rig->config = (struct mr_store_config){.root = rig->scratch.path,
                                           .path_template = "{agent}/{path}",
                                           .site = "",
                                           .server = "storage1",
                                           .direct_io = MR_DIRECT_AUTO,
                                           .file_mode = 0640,
                                           .dir_mode = 0750,
                                           .group = "inherit",
                                           .source_mtime = true};
    rig_open(rig);
}

/* What a crash leaves is what is on disk; so a new life of the server is this. */
static inline void rig_restart(struct rig *rig)
{
    rig_close(rig);
    rig_open(rig);
}

static inline void rig_end(struct rig *rig)
{
    rig_close(rig);
    scratch_remove(&rig->scratch);
}

/* ---- movies ---- */

static inline struct mr_open rig_movie(enum mr_output output, uint64_t width, uint64_t height,
                                       const char *path)
{
    static const enum mr_layout layouts[] = {[MR_OUTPUT_KEEP] = MR_LAYOUT_BYTES,
                                             [MR_OUTPUT_MRC] = MR_LAYOUT_STREAM,
                                             [MR_OUTPUT_HDF5] = MR_LAYOUT_CHUNKS};
    struct mr_err err = {0};
    struct mr_open open = {.revision = 1,
                           .kind = MR_KIND_MOVIE,
                           .output = output,
                           .codec = output == MR_OUTPUT_HDF5 ? MR_CODEC_BSLZ4 : MR_CODEC_NONE,
                           .format = "mrc",
                           .day = "2026-11-22",
                           .pixel_size_angstrom = 0.834};
    mr_ulid_new(mr_clock_real_ns(), &open.movie);
    snprintf(open.path, sizeof(open.path), "%s", path);
    snprintf(open.source_path, sizeof(open.source_path), "/data/movies/%s", path);
    ck_assert_msg(mr_geometry_frames(layouts[output], MR_PIXEL_I8, false, width, height, RIG_HEADER,
                                     0, &open.geometry, &err) == 0,
                  "%s", err.text);
    return open;
}

static inline struct mr_open rig_file(const char *path)
{
    struct mr_open open = {.revision = 1,
                           .kind = MR_KIND_FILE,
                           .output = MR_OUTPUT_KEEP,
                           .format = "file",
                           .day = "2026-11-22"};
    mr_ulid_new(mr_clock_real_ns(), &open.movie);
    snprintf(open.path, sizeof(open.path), "%s", path);
    snprintf(open.source_path, sizeof(open.source_path), "/data/movies/%s", path);
    mr_geometry_opaque(&open.geometry);
    return open;
}

static inline struct mr_extent rig_extent(const struct mr_open *open, uint64_t size)
{
    const struct mr_geometry *g = &open->geometry;
    if (open->kind == MR_KIND_FILE)
        return (struct mr_extent){.source_bytes = size};
    return (struct mr_extent){.frames = size,
                              .source_bytes = RIG_HEADER + size * g->source_frame_bytes};
}

/* Byte `at` of the made-up source; seed tells one from another. */
static inline uint8_t rig_byte(uint64_t at, unsigned seed)
{
    uint64_t mixed = (at + seed) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint8_t)(mixed >> 61); /* 0 .. 7: it is to compress */
}

/* Berth does what recheck has given back to it. */
static inline void rig_take_rechecked(struct rig *rig)
{
    struct mr_berth_job job;
    while (mr_queue_pop(rig->queues.jobs, 0, &job) == 0)
        mr_berth_do(rig->berth, &job);
}

static inline void rig_open_movie(struct rig *rig, const struct mr_open *open)
{
    struct mr_berth_job job = {.kind = MR_BERTH_OPEN, .agent = "k3", .clock_offset_ms = 5};
    job.open = malloc(sizeof(*job.open));
    ck_assert_ptr_nonnull(job.open);
    *job.open = *open;
    mr_berth_do(rig->berth, &job);
}

static inline struct mr_berth_answer rig_ask(struct rig *rig, const struct mr_open *open)
{
    struct mr_berth_answer answer;
    rig_open_movie(rig, open);
    while (mr_recheck_turn(rig->recheck)) {}
    rig_take_rechecked(rig);
    ck_assert_int_eq(mr_queue_pop(rig->queues.answers, 0, &answer), 0);
    return answer;
}

static inline void rig_forget(struct mr_berth_answer *answer)
{
    mr_movie_release(answer->movie);
    free(answer->durable);
    free(answer->message);
}

/* A movie that has a berth; the caller releases it. */
static inline struct mr_movie *rig_begin(struct rig *rig, const struct mr_open *open)
{
    struct mr_berth_answer answer = rig_ask(rig, open);
    ck_assert_msg(answer.movie != NULL, "%s",
                  answer.message == NULL ? "no message" : answer.message->hold.text);
    ck_assert_ptr_null(answer.message);
    free(answer.durable);
    return answer.movie;
}

struct rig_slab {
    struct mr_placement placement;
    uint8_t *stored; /* owned */
};

static inline struct rig_slab rig_slab(struct mr_movie *movie, const struct mr_extent *extent,
                                       uint64_t index, unsigned seed)
{
    struct mr_span span;
    mr_slab_span(&movie->geometry, extent, index, &span);
    uint8_t *raw = calloc(1, MR_SLAB_BYTES);
    ck_assert_ptr_nonnull(raw);
    for (uint64_t i = 0; i < span.source_bytes; i++)
        raw[i] = rig_byte(span.source_offset + i, seed);
    struct rig_slab slab = {.stored = raw};
    struct mr_placement *p = &slab.placement;
    *p = (struct mr_placement){.slab = index,
                               .offset = span.file_offset,
                               .stored_bytes = span.raw_bytes,
                               .raw_bytes = span.raw_bytes,
                               .crc_raw = mr_crc64(0, raw, span.raw_bytes),
                               .pixel_bytes = span.pixel_bytes};
    p->crc_pixels = mr_crc64(0, raw + span.pixel_offset, span.pixel_bytes);
    if (movie->geometry.layout == MR_LAYOUT_STREAM)
        mr_stats_of(movie->geometry.pixel, movie->geometry.width, raw, span.pixel_bytes, &p->stats);
    if (movie->geometry.layout == MR_LAYOUT_CHUNKS && index % 2 == 0) {
        struct mr_codec *codec;
        size_t bytes;
        uint8_t *packed = malloc(mr_codec_bound(MR_SLAB_BYTES));
        ck_assert_int_eq(mr_codec_new(MR_SLAB_BYTES, &codec), 0);
        ck_assert_int_eq(mr_codec_pack(codec, movie->codec, 1, raw, span.raw_bytes, packed,
                                       mr_codec_bound(MR_SLAB_BYTES), &bytes),
                         0);
        mr_codec_free(codec);
        free(raw);
        slab.stored = packed;
        p->stored_bytes = (uint32_t)bytes;
        p->codec = movie->codec;
    }
    p->crc_stored = mr_crc64(0, slab.stored, p->stored_bytes);
    if (movie->geometry.layout == MR_LAYOUT_CHUNKS)
        p->offset = mr_movie_claim(movie, p->stored_bytes);
    return slab;
}

static inline void rig_journal(struct mr_movie *movie, const struct mr_placement *p)
{
    char text[MR_PLACEMENT_TEXT], line[MR_PLACEMENT_TEXT + 32];
    size_t bytes, length = mr_placement_format(p, text);
    ck_assert_int_eq(mr_recordlog_format(text, length, line, sizeof(line), &bytes), 0);
    ck_assert_int_eq(mr_recordlog_append(movie->journal_fd, line, bytes), 0);
}

/* Writes a slab where it belongs and says so in the journal. */
static inline void rig_land(struct mr_movie *movie, const struct mr_extent *extent, uint64_t index,
                            unsigned seed)
{
    struct rig_slab slab = rig_slab(movie, extent, index, seed);
    int fd = openat(movie->part_dir_fd, movie->part_name, O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(
        mr_fs_pwrite_full(fd, slab.stored, slab.placement.stored_bytes, slab.placement.offset), 0);
    close(fd);
    rig_journal(movie, &slab.placement);
    free(slab.stored);
}

static inline uint64_t rig_land_all(struct mr_movie *movie, const struct mr_extent *extent,
                                    unsigned seed)
{
    uint64_t count = mr_slab_count(&movie->geometry, extent);
    for (uint64_t i = count; i-- > 0;) /* order does not matter */
        rig_land(movie, extent, i, seed);
    return count;
}

static inline uint64_t rig_crc(uint64_t from, uint64_t to, unsigned seed)
{
    uint64_t crc = 0;
    uint8_t block[4096];
    while (from < to) {
        size_t bytes = to - from < sizeof(block) ? (size_t)(to - from) : sizeof(block);
        for (size_t i = 0; i < bytes; i++)
            block[i] = rig_byte(from + i, seed);
        crc = mr_crc64(crc, block, bytes);
        from += bytes;
    }
    return crc;
}

/* END as an honest agent words it. */
static inline struct mr_end rig_end_of(const struct mr_movie *movie, const struct mr_open *open,
                                       const struct mr_extent *extent, unsigned seed)
{
    struct mr_end end = {.movie = movie->id,
                         .generation = movie->generation,
                         .extent = *extent,
                         .slabs = mr_slab_count(&movie->geometry, extent),
                         .source_mtime_ns = INT64_C(1795330800123456789),
                         .complete_by = "close",
                         .pixel_size_angstrom = 0.834,
                         .finished_real_ns = INT64_C(1795330801000000000)};
    if (open->output == MR_OUTPUT_KEEP)
        end.crc_file = rig_crc(0, extent->source_bytes, seed);
    if (open->kind == MR_KIND_MOVIE)
        end.crc_pixels = rig_crc(RIG_HEADER, extent->source_bytes, seed);
    return end;
}

/* ---- a movie that has landed, on its way to its event ---- */

static inline void rig_dossier(const struct rig *rig, const struct mr_movie *movie,
                               struct mr_dossier *ret)
{
    struct mr_err err = {0};
    ck_assert_msg(mr_dossier_read(rig->store.journal_fd, movie->journal_name, ret, &err) == 0, "%s",
                  err.text);
}

/* The part is as it is to be, and its event is worded. */
static inline void rig_finish(struct rig *rig, struct mr_movie *movie, const struct mr_end *end,
                              struct mr_dossier *d)
{
    char left_out[256];
    struct mr_err err = {0};
    ck_assert_msg(mr_finish_part(&rig->store, movie, d, end, left_out, &err) == 0, "%s", err.text);
    if (d->open.revision == 1)
        ck_assert_int_eq(mr_commit_free_name(&rig->store, d->path, d->sealed.path), 0);
    else
        memcpy(d->sealed.path, d->path, sizeof(d->path));
    const struct mr_announcement a = {
        .end = end, .extent = &end->extent, .sealed = &d->sealed, .committed_real_ns = 1};
    ck_assert_int_eq(mr_announce_movie(&rig->store, d, &a, &d->sealed.event), 0);
}

enum rig_step { RIG_BEFORE, RIG_SEALED, RIG_PLACED, RIG_LOGGED, RIG_RECORDED, RIG_STEPS };

/* What is finished, as far as a crash lets it come. */
static inline void rig_walk(struct rig *rig, struct mr_dossier *d, enum rig_step until)
{
    struct mr_err err = {0};
    uint64_t sequence = 0;
    if (until >= RIG_SEALED)
        ck_assert_msg(mr_commit_seal(&rig->commit, d, &err) == 0, "%s", err.text);
    if (until >= RIG_PLACED)
        ck_assert_msg(mr_commit_place(&rig->commit, d, &err) == 0, "%s", err.text);
    if (until == RIG_LOGGED) { /* the event alone: its line in the catalogue is missing */
        const char *event = d->sealed.event;
        ck_assert_int_eq(mr_eventlog_append(rig->eventlog, event, strlen(event), &sequence, NULL),
                         0);
        ck_assert_int_eq(mr_eventlog_sync(rig->eventlog, NULL), 0);
    }
    if (until == RIG_RECORDED) {
        ck_assert_int_eq(mr_commit_record(&rig->commit, &d, 1, &sequence, &err), 0);
        ck_assert_uint_gt(sequence, 0);
    }
}

/* ---- what lies in the store ---- */

static inline bool rig_has(const struct rig *rig, const char *path)
{
    struct stat st;
    return fstatat(rig->store.root_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static inline uint64_t rig_file_crc(const struct rig *rig, const char *path, uint64_t *ret_bytes)
{
    uint8_t block[65536];
    uint64_t crc = 0;
    ssize_t got;
    int fd = openat(rig->store.root_fd, path, O_RDONLY | O_CLOEXEC);
    ck_assert_msg(fd >= 0, "%s", path);
    *ret_bytes = 0;
    while ((got = read(fd, block, sizeof(block))) > 0) {
        crc = mr_crc64(crc, block, (size_t)got);
        *ret_bytes += (uint64_t)got;
    }
    close(fd);
    return crc;
}

#endif
