/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a file is opened as: output, codec, geometry, the OPEN, the END. Sends nothing and reads
 * only source headers.
 */
#include "consign_state.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum mr_output mr_consign_named_output(enum mr_wish wish)
{
    switch (wish) {
    case MR_WISH_MRC:
        return MR_OUTPUT_MRC;
    case MR_WISH_HDF5:
        return MR_OUTPUT_HDF5;
    case MR_WISH_AUTO:
    case MR_WISH_KEEP:
        break;
    }
    return MR_OUTPUT_KEEP;
}

static enum mr_output output_of(const struct mr_consign *c, const struct mr_shipment *s)
{
    if (s->view.kind != MR_KIND_MOVIE || !s->view.known)
        return MR_OUTPUT_KEEP;
    return mr_consign_named_output(c->config.outputs[s->watch]);
}

enum mr_codec_id mr_consign_named_codec(enum mr_codec_wish wish)
{
    switch (wish) {
    case MR_CODEC_WISH_BSLZ4:
        return MR_CODEC_BSLZ4;
    case MR_CODEC_WISH_BSZSTD:
        return MR_CODEC_BSZSTD;
    case MR_CODEC_WISH_AUTO:
    case MR_CODEC_WISH_NONE:
        break;
    }
    return MR_CODEC_NONE;
}

static enum mr_codec_id codec_of(const struct mr_consign *c, enum mr_output output)
{
    if (c->config.codec != MR_CODEC_WISH_AUTO)
        return mr_consign_named_codec(c->config.codec);
    /* Else any that the gauge names when the first slab is read. */
    return output == MR_OUTPUT_HDF5 ? MR_CODEC_BSLZ4 : MR_CODEC_BSZSTD;
}

/* Kept big-endian pixels are digested as little-endian ones, slab by slab: where a cut goes through
 * a pixel that cannot be done, and the file travels without a digest of its pixels. */
static bool cuts_through_pixels(const struct mr_source_view *v)
{
    uint32_t element = mr_pixel_bytes(v->pixel);
    return v->swap_bytes && element > 1 && v->data_offset % element != 0;
}

int mr_consign_shape(const struct mr_consign *c, struct mr_shipment *s, struct mr_err *err)
{
    const struct mr_source_view *v = &s->view;
    s->output = output_of(c, s);
    s->codec = codec_of(c, s->output);
    if (s->output == MR_OUTPUT_KEEP &&
        (!v->known || v->pixel == MR_PIXEL_NONE || cuts_through_pixels(v))) {
        mr_geometry_opaque(&s->geometry);
        return 0;
    }
    int r = mr_geometry_frames(mr_output_layout(s->output), v->pixel, v->swap_bytes, v->width,
                               v->height, v->data_offset, v->ext_bytes, &s->geometry, err);
    return r < 0
               ? mr_err_prefix(err, "%s/%s: output %s", s->root, s->path, mr_output_name(s->output))
               : 0;
}

static struct mr_extent extent_of(const struct mr_shipment *s)
{
    bool frames = s->geometry.source_pixel != MR_PIXEL_NONE;
    return (struct mr_extent){.frames = frames ? s->view.frames : 0, .source_bytes = s->facts.size};
}

/* Of one slab, and nothing of it is to come: the server may take it without a journal of its own.
 */
static bool is_whole(const struct mr_shipment *s)
{
    struct mr_extent extent = extent_of(s);
    return s->kind == MR_GROWTH_COMPLETE && s->geometry.layout == MR_LAYOUT_BYTES &&
           mr_slab_count(&s->geometry, &extent) <= 1;
}

/* Of its topmost folder: the day on which the first file was seen in it. */
static void day_of(struct mr_consign *c, const struct mr_shipment *s, int64_t real_ns, char *ret)
{
    char today[MR_DAY_TEXT], top[MR_PATH_MAX + 1];
    size_t length = strcspn(s->path, "/");
    snprintf(top, sizeof(top), "%.*s", s->path[length] == '/' ? (int)length : 0, s->path);
    mr_clock_day(real_ns, "local", today);
    if (mr_journal_day_of(c->journal, s->root, top, today, ret, NULL) < 0)
        memcpy(ret, today, sizeof(today));
}

void mr_consign_write_day(struct mr_consign *c, const struct mr_shipment *s, int64_t real_ns)
{
    char day[MR_DAY_TEXT];
    day_of(c, s, real_ns, day);
}

bool mr_consign_is_small(const struct mr_shipment *s)
{
    return is_whole(s) && s->facts.size <= MR_SMALL_BYTES;
}

void mr_consign_describe(struct mr_consign *c, const struct mr_shipment *s, int64_t real_ns,
                         struct mr_open *open)
{
    char day[MR_DAY_TEXT];
    *open = (struct mr_open){.movie = s->id,
                             .revision = s->revision,
                             .kind = s->view.kind == MR_KIND_FILE ? MR_KIND_FILE : MR_KIND_MOVIE,
                             .output = s->output,
                             .codec = s->codec,
                             .geometry = s->geometry,
                             .pixel_size_angstrom = s->view.pixel_size_angstrom,
                             .source_bytes_expected = s->view.bytes_expected};
    snprintf(open->format, sizeof(open->format), "%s",
             s->view.format == NULL ? "file" : s->view.format);
    snprintf(open->path, sizeof(open->path), "%s", s->path);
    snprintf(open->source_path, sizeof(open->source_path), "%s%s%s", s->root,
             s->root[strlen(s->root) - 1] == '/' ? "" : "/", s->path);
    open->whole = is_whole(s);
    if (open->whole)
        open->source_bytes_expected = s->facts.size;
    day_of(c, s, real_ns, day);
    snprintf(open->day, sizeof(open->day), "%.10s", day);
}

static void read_head(struct mr_shipment *s, struct mr_end *end)
{
    uint64_t bytes = s->view.data_offset;
    if (s->output == MR_OUTPUT_KEEP || bytes == 0 || s->fd < 0)
        return;
    if (bytes > MR_BLOB_MAX) {
        snprintf(end->warnings, sizeof(end->warnings),
                 "the source's header of %llu bytes is too large to keep",
                 (unsigned long long)bytes);
        return;
    }
    free(s->head);
    s->head = malloc(bytes);
    if (s->head == NULL || mr_fs_pread_full(s->fd, s->head, bytes, 0) < 0) {
        snprintf(end->warnings, sizeof(end->warnings), "the source's header could not be read");
        return;
    }
    s->head_bytes = (uint32_t)bytes;
    end->source_header = s->head;
    end->source_header_bytes = s->head_bytes;
}

/* Frames were asked for, and the file is called a movie without being one. */
static void note_kept(const struct mr_consign *c, const struct mr_shipment *s, struct mr_end *end)
{
    enum mr_wish wish = c->config.outputs[s->watch];
    if ((wish != MR_WISH_MRC && wish != MR_WISH_HDF5) || s->output != MR_OUTPUT_KEEP ||
        s->view.format == NULL || strcmp(s->view.format, "file") == 0)
        return;
    snprintf(end->warnings, sizeof(end->warnings),
             "by its header it is no %s movie: kept as it is, not made into %s", s->view.format,
             wish == MR_WISH_MRC ? "mrc" : "hdf5");
}

int mr_consign_open_source(struct mr_shipment *s)
{
    char path[MR_JOURNAL_ROOT_MAX + MR_PATH_MAX + 2];
    struct mr_fs_facts now;
    const struct mr_fs_facts *said = &s->facts;
    snprintf(path, sizeof(path), "%s/%s", s->root, s->path);
    s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (s->fd < 0)
        return -errno;
    int r = mr_fs_stat(s->fd, "", &now);
    if (r < 0)
        return r;
    bool other = !mr_fs_same(&now.identity, &said->identity);
    bool decided = !mr_shipment_growing(s);
    bool changed = decided && (now.size != said->size || now.mtime_ns != said->mtime_ns);
    return other || changed || now.size < said->size ? -ESTALE : 0;
}

static void complete(struct mr_consign *c, struct mr_shipment *s)
{
    struct mr_end end = {.extent = extent_of(s),
                         .source_mtime_ns = s->facts.mtime_ns,
                         .pixel_size_angstrom = s->view.pixel_size_angstrom,
                         .started_real_ns = s->first_seen_real_ns,
                         .finished_real_ns = s->decided_real_ns};
    snprintf(end.complete_by, sizeof(end.complete_by), "%s",
             mr_complete_by_name(s->view.complete_by));
    read_head(s, &end);
    note_kept(c, s, &end);
    s->shipped = s->facts;
    mr_transfer_complete(c->transfer, s, &end);
}

void mr_consign_tell(struct mr_consign *c, struct mr_shipment *s)
{
    struct mr_extent extent = extent_of(s);
    if (s->kind == MR_GROWTH_COMPLETE)
        complete(c, s);
    else if (s->kind == MR_GROWTH_BROKEN)
        mr_transfer_fail(c->transfer, s, s->fd < 0 ? NULL : &extent,
                         s->reason == NULL ? "broken" : s->reason);
    else
        mr_transfer_settled(c->transfer, s, s->view.settled_from, s->view.settled_to);
}

/* See MR_JOURNAL_TICK_NS. */
static int64_t tick_of(const struct mr_fs_facts *f)
{
    bool whole_seconds = f->ctime_ns % MR_NS_PER_S == 0 && f->mtime_ns % MR_NS_PER_S == 0;
    return whole_seconds ? MR_JOURNAL_TICK_S_NS : MR_JOURNAL_TICK_NS;
}

/* What is known of the source from the first look that found it complete to now, when all of it has
 * been read: nothing of it changed in between, if not even its ctime did. Of what was read before,
 * while it grew, that says nothing: all of it is compared before it is freed. */
static void note_source(struct mr_shipment *s, const struct mr_fs_facts *now,
                        const struct mr_end *end)
{
    bool same = now->ctime_ns == s->shipped.ctime_ns;
    bool early = s->read_early && s->output == MR_OUTPUT_KEEP; /* else there is no way to compare */
    int64_t age_ns = mr_clock_real_ns() - now->ctime_ns;
    s->said = (struct mr_shipment_said){.size = now->size,
                                        .mtime_ns = now->mtime_ns,
                                        .source = {.ctime_ns = same ? now->ctime_ns : 0,
                                                   .fresh = early || age_ns < tick_of(now),
                                                   .crc_file = end->crc_file,
                                                   .crc_pixels = end->crc_pixels}};
}

/* The facts that END names are those of the look that found the file complete. What was read may be
 * newer: then all of it is read again. */
bool mr_consign_unchanged(void *ctx, void *owner, const struct mr_end *end)
{
    struct mr_consign *c = ctx;
    struct mr_shipment *s = owner;
    struct mr_fs_facts now;
    if (s->state != MR_SHIPMENT_MOVING || mr_fs_stat(s->fd, "", &now) < 0)
        return true; /* a verdict or an error is on its way */
    if (now.size == s->shipped.size && now.mtime_ns == s->shipped.mtime_ns) {
        note_source(s, &now, end);
        if (c->config.frees != NULL && c->config.frees[s->watch])
            mr_consign_write_source(c, s);
        return true;
    }
    mr_warn("tail", "%s/%s: it changed while it was read: it begins again", s->root, s->path);
    s->state = MR_SHIPMENT_LEAVING;
    return false;
}
