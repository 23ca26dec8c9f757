/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the server is made differently here: smaller tables, captured pointers, and stand-ins for
 * what needs a library (HTTP, and libhdf5's trees: the image is a list of where slabs lie).
 */
#include "base/counter.h"
#include "fibre.h"
#include "http.h"
#include "seal_hdf5.h"
#include "serverside.h"
#include "wrapped.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUED_MAX 256

/* ---- smaller, so that limits are met ---- */

int __wrap_mr_intake_new(const struct mr_intake_config *config, const struct mr_intake_ops *ops,
                         struct mr_intake **ret)
{
    struct serverside *s = fibre_process();
    struct world *w = s->world;
    struct mr_intake_config smaller = *config;
    smaller.heartbeat_ms = w->heartbeat_ms;
    smaller.credit_limit_ms = 5000;
    smaller.movies_max = (uint32_t)chance_between(&w->chance, 3, 20);
    smaller.session_seed >>= 1;
    int r = __real_mr_intake_new(&smaller, ops, ret);
    s->intake = r == 0 ? *ret : NULL;
    return r;
}

void __wrap_mr_intake_free(struct mr_intake *intake)
{
    fibre_process()->intake = NULL;
    __real_mr_intake_free(intake);
}

int __wrap_mr_queue_new(size_t item_bytes, size_t capacity, struct mr_queue **ret)
{
    return __real_mr_queue_new(item_bytes, capacity < QUEUED_MAX ? capacity : QUEUED_MAX, ret);
}

/* Comes at the end of each turn of control, whatever it did. */
void __wrap_mr_intake_tick(struct mr_intake *intake, int64_t now_ns, int64_t real_ns)
{
    __real_mr_intake_tick(intake, now_ns, real_ns);
    serverside_check_books(fibre_process());
}

int __wrap_mr_landing_new(const struct mr_landing_config *config,
                          const struct mr_landing_callbacks *callbacks, struct mr_err *notice,
                          struct mr_landing **ret)
{
    struct chance *c = &fibre_process()->world->chance;
    struct mr_landing_config smaller = *config;
    smaller.slabs = (uint32_t)chance_between(c, 2, 40);
    smaller.group_slabs = (uint32_t)chance_between(c, 1, 16);
    smaller.group_bytes = (uint64_t)chance_between(c, 1, 8) * MR_SLAB_BYTES;
    smaller.uring.depth = (uint32_t)chance_between(c, 1, 16);
    smaller.uring.pool_threads = 2;
    return __real_mr_landing_new(&smaller, callbacks, notice, ret);
}

int __wrap_mr_publish_new(struct mr_link *link, struct mr_eventlog *log, const char *events,
                          const char *replay, struct mr_publish **ret, struct mr_err *err)
{
    fibre_process()->eventlog = log;
    return __real_mr_publish_new(link, log, events, replay, ret, err);
}

/* ---- who holds the store ---- */

int __wrap_mr_lease_self(const char *server, struct mr_lease_holder *ret)
{
    const struct serverside *s = fibre_process();
    *ret = (struct mr_lease_holder){
        .pid = s->life, .pid_namespace = 1, .instance = chance_next(&s->world->chance)};
    snprintf(ret->server, sizeof(ret->server), "%s", server);
    snprintf(ret->host, sizeof(ret->host), "%u", s->number);
    snprintf(ret->boot, sizeof(ret->boot), "-");
    return 0;
}

/* Of another machine's process nobody knows. */
bool __wrap_mr_lease_is_gone(const struct mr_lease_holder *self,
                             const struct mr_lease_holder *other)
{
    return strcmp(self->host, other->host) == 0 &&
           !serverside_lives(world_current(), (uint32_t)atoi(other->host), (uint32_t)other->pid);
}

/* ---- the log, into the trace ---- */

static void say(const char *stage, const char *fmt, va_list args) MR_PRINTF(2, 0);
static void say(const char *stage, const char *fmt, va_list args)
{
    char text[1024];
    const struct serverside *s = fibre_process();
    const struct world *w = world_current();
    if (!w->verbose)
        return;
    vsnprintf(text, sizeof(text), fmt, args);
    TRACE(w, "%s %u: %s: %s", s == NULL ? "?" : "server", s == NULL ? 0 : s->number, stage, text);
}

void __wrap_mr_log(enum mr_log_level level, const char *stage, const char *fmt, ...)
{
    va_list args;
    (void)level;
    va_start(args, fmt);
    say(stage, fmt, args);
    va_end(args);
}

void __wrap_mr_log_seldom(enum mr_log_level level, const char *stage, const char *fmt, ...)
{
    va_list args;
    (void)level;
    va_start(args, fmt);
    say(stage, fmt, args);
    va_end(args);
}

/* The registry would outlive a killed process: only how many there are is kept. */
void __wrap_mr_counters_register(struct mr_counter *counters, size_t count)
{
    struct serverside *s = fibre_process();
    (void)counters;
    s->counters += count;
}

void __wrap_mr_counters_unregister(struct mr_counter *counters, size_t count)
{
    struct serverside *s = fibre_process();
    (void)counters;
    s->counters -= count;
}

/* ---- accounts: all fibres are one thread ---- */

void __wrap_mr_tally_begin(const char *name)
{
    (void)name;
}

void __wrap_mr_tally_end(void)
{
}

int __wrap_mr_tally_sheet_open(const char *program, const struct mr_tally_level *levels,
                               size_t count, struct mr_err *err, struct mr_tally_sheet **ret)
{
    (void)program;
    (void)levels;
    (void)count;
    (void)err;
    *ret = NULL;
    return 0;
}

void __wrap_mr_tally_sheet_close(struct mr_tally_sheet *sheet, bool at_end)
{
    (void)sheet;
    (void)at_end;
}

/* ---- HTTP ---- */

int mr_http_start(const char *address, const struct mr_http_provider *provider,
                  struct mr_eventlog *log, struct mr_http **ret, struct mr_err *err)
{
    (void)address;
    (void)provider;
    (void)log;
    (void)err;
    *ret = NULL;
    return 0;
}

void mr_http_stop(struct mr_http *http)
{
    (void)http;
}

/* ---- HDF5 ---- */

void mr_image_free(struct mr_image *image)
{
    for (size_t i = 0; i < image->count; i++)
        free(image->pieces[i].data);
    free(image->pieces);
    *image = (struct mr_image){0};
}

static int one_piece(struct mr_image *ret, uint64_t offset, size_t bytes, uint64_t file_bytes)
{
    struct mr_image_piece *piece = calloc(1, sizeof(*piece));
    uint8_t *data = calloc(1, bytes);
    if (piece == NULL || data == NULL)
        abort();
    *piece = (struct mr_image_piece){.offset = offset, .data = data, .bytes = bytes};
    *ret = (struct mr_image){.pieces = piece, .count = 1, .file_bytes = file_bytes};
    return 0;
}

int mr_seal_hdf5_chunked(const struct mr_geometry *g, const struct mr_extent *extent,
                         enum mr_codec_id codec, const struct mr_chunk *chunks, size_t count,
                         uint64_t data_end, const struct mr_movie_notes *notes,
                         struct mr_image *ret, struct mr_err *err)
{
    (void)codec;
    (void)notes;
    (void)err;
    if (count != mr_slab_count(g, extent) || count * sizeof(*chunks) > MR_SEAL_HDF5_RESERVED)
        return -EINVAL;
    one_piece(ret, 0, MR_SEAL_HDF5_RESERVED,
              data_end > MR_SEAL_HDF5_RESERVED ? data_end : MR_SEAL_HDF5_RESERVED);
    memcpy(ret->pieces[0].data, chunks, count * sizeof(*chunks));
    return 0;
}

int mr_seal_hdf5_contiguous(const struct mr_geometry *g, const struct mr_extent *extent,
                            const struct mr_movie_notes *notes, struct mr_image *ret,
                            struct mr_err *err)
{
    (void)notes;
    (void)err;
    return one_piece(ret, 1024, 1024, mr_geometry_file_bytes(g, extent));
}
