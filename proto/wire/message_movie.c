/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies of the messages about a movie: what comes, what is durable, totals, verdicts. Byte tables
 * in docs/PROTOCOL.md, in the same order. Judges fields, and rules between fields of one message;
 * whether the movie is known and paths are decent is the receiver's affair.
 */
#include "wire/message_body.h"

#include <assert.h>
#include <string.h>

/* Whoever knows that a message is of a movie reaches its id through any of these bodies. */
#define MOVIE_COMES_FIRST(body) \
    _Static_assert(offsetof(struct body, movie) == 0, #body " begins with its movie's id")
MOVIE_COMES_FIRST(mr_open);
MOVIE_COMES_FIRST(mr_opened);
MOVIE_COMES_FIRST(mr_ack);
MOVIE_COMES_FIRST(mr_resend);
MOVIE_COMES_FIRST(mr_end);
MOVIE_COMES_FIRST(mr_committed);
MOVIE_COMES_FIRST(mr_hold);
MOVIE_COMES_FIRST(mr_fail);
MOVIE_COMES_FIRST(mr_failed);
MOVIE_COMES_FIRST(mr_abandon);
MOVIE_COMES_FIRST(mr_confirm);
MOVIE_COMES_FIRST(mr_confirmed);

#define OPEN_WHOLE 1u /* bit 0 of flags */

struct mr_range mr_message_range(const uint8_t *ranges, uint32_t index)
{
    struct mr_reader r = mr_reader_init(ranges + (size_t)index * MR_RANGE_BYTES, MR_RANGE_BYTES);
    struct mr_range range = {.first = mr_read_u64(&r)};
    range.count = mr_read_u64(&r);
    return range;
}

void mr_message_put_range(uint8_t *ranges, uint32_t index, struct mr_range range)
{
    struct mr_writer w = mr_writer_init(ranges + (size_t)index * MR_RANGE_BYTES, MR_RANGE_BYTES);
    mr_write_u64(&w, range.first);
    mr_write_u64(&w, range.count);
}

/* The other faces of mr_field_ulid and mr_field_blob. */
static void write_ulid(struct mr_writer *w, const struct mr_ulid *id)
{
    mr_write_raw(w, id->bytes, sizeof(id->bytes));
}

static void write_blob(struct mr_writer *w, const uint8_t *blob, uint32_t bytes, uint32_t max)
{
    assert(bytes <= max);
    assert(bytes == 0 || blob != NULL);
    mr_write_u32(w, bytes);
    mr_write_raw(w, blob, bytes);
}

static void write_ranges(struct mr_writer *w, const uint8_t *ranges, uint32_t count)
{
    assert(count <= MR_RANGES_MAX);
    assert(count == 0 || ranges != NULL);
    mr_write_u32(w, count);
    mr_write_raw(w, ranges, (size_t)count * MR_RANGE_BYTES);
}

/* Every range within MR_SLABS_MAX; ordered: also ascending with a gap between any two. */
static const uint8_t *read_ranges(struct mr_fields *f, bool ordered, uint32_t *ret_count)
{
    uint32_t count = mr_field_u32(f, "range_count", 0, MR_RANGES_MAX);
    const uint8_t *ranges = mr_field_view(f, "ranges", (size_t)count * MR_RANGE_BYTES);
    uint64_t next = 0; /* least first that is allowed */
    for (uint32_t i = 0; mr_fields_ok(f) && i < count; i++) {
        struct mr_range range = mr_message_range(ranges, i);
        mr_field_check(f, "ranges",
                       range.count >= 1 && range.first < MR_SLABS_MAX &&
                           range.count <= MR_SLABS_MAX - range.first);
        mr_field_check(f, "ranges", !ordered || range.first >= next);
        next = range.first + range.count + 1;
    }
    *ret_count = mr_fields_ok(f) ? count : 0;
    return count == 0 ? NULL : ranges;
}

static void write_geometry(struct mr_writer *w, const struct mr_geometry *g)
{
    mr_write_u8(w, (uint8_t)g->layout);
    mr_write_u8(w, (uint8_t)g->source_pixel);
    mr_write_u8(w, (uint8_t)g->pixel);
    mr_write_u8(w, g->swap_bytes);
    mr_write_u32(w, g->rows_per_slab);
    mr_write_u32(w, g->frames_per_slab);
    mr_write_u32(w, g->slabs_per_frame);
    mr_write_u64(w, g->width);
    mr_write_u64(w, g->height);
    mr_write_u64(w, g->source_data_offset);
    mr_write_u64(w, g->source_frame_bytes);
    mr_write_u64(w, g->frame_bytes);
    mr_write_u64(w, g->data_offset);
}

static void read_geometry(struct mr_fields *f, struct mr_geometry *g)
{
    g->layout = (enum mr_layout)mr_field_u8(f, "layout", MR_LAYOUT_BYTES, MR_LAYOUT_CHUNKS);
    g->source_pixel = (enum mr_pixel)mr_field_u8(f, "source_pixel", 0, MR_PIXEL_COUNT - 1);
    g->pixel = (enum mr_pixel)mr_field_u8(f, "pixel", 0, MR_PIXEL_COUNT - 1);
    g->swap_bytes = mr_field_bool(f, "swap_bytes");
    g->rows_per_slab = mr_field_u32(f, "rows_per_slab", 0, UINT32_MAX);
    g->frames_per_slab = mr_field_u32(f, "frames_per_slab", 0, UINT32_MAX);
    g->slabs_per_frame = mr_field_u32(f, "slabs_per_frame", 0, UINT32_MAX);
    g->width = mr_field_u64(f, "width", 0, MR_WIDTH_MAX);
    g->height = mr_field_u64(f, "height", 0, MR_HEIGHT_MAX);
    g->source_data_offset = mr_field_u64(f, "source_data_offset", 0, INT64_MAX);
    g->source_frame_bytes = mr_field_u64(f, "source_frame_bytes", 0, INT64_MAX);
    g->frame_bytes = mr_field_u64(f, "frame_bytes", 0, INT64_MAX);
    g->data_offset = mr_field_u64(f, "data_offset", 0, INT64_MAX);
}

void mr_message_write_open_body(struct mr_writer *w, const struct mr_open *o)
{
    write_ulid(w, &o->movie);
    mr_write_u32(w, o->revision);
    mr_write_u8(w, (uint8_t)o->kind);
    mr_write_u8(w, (uint8_t)o->output);
    mr_write_u8(w, (uint8_t)o->codec);
    mr_write_u8(w, o->whole ? OPEN_WHOLE : 0);
    write_geometry(w, &o->geometry);
    mr_write_f64(w, o->pixel_size_angstrom);
    mr_write_u64(w, o->source_bytes_expected);
    mr_write_str(w, o->format);
    mr_write_str(w, o->path);
    mr_write_str(w, o->source_path);
    mr_write_str(w, o->session);
    mr_write_str(w, o->day);
}

void mr_message_read_open_body(struct mr_fields *f, struct mr_open *o)
{
    mr_field_ulid(f, "movie", &o->movie);
    o->revision = mr_field_u32(f, "revision", 1, UINT32_MAX);
    o->kind = (enum mr_kind)mr_field_u8(f, "kind", MR_KIND_MOVIE, MR_KIND_FILE);
    o->output = (enum mr_output)mr_field_u8(f, "output", MR_OUTPUT_KEEP, MR_OUTPUT_HDF5);
    o->codec = (enum mr_codec_id)mr_field_u8(f, "codec", 0, MR_CODEC_COUNT - 1);
    o->whole = (mr_field_u8(f, "flags", 0, UINT8_MAX) & OPEN_WHOLE) != 0;
    read_geometry(f, &o->geometry);
    o->pixel_size_angstrom = mr_field_amount(f, "pixel_size_angstrom");
    o->source_bytes_expected = mr_field_u64(f, "source_bytes_expected", 0, INT64_MAX);
    mr_field_str(f, "format", o->format, sizeof(o->format));
    mr_field_str(f, "path", o->path, sizeof(o->path));
    mr_field_str(f, "source_path", o->source_path, sizeof(o->source_path));
    mr_field_str(f, "session", o->session, sizeof(o->session));
    mr_field_str(f, "day", o->day, sizeof(o->day));
    mr_field_check(f, "path", o->path[0] != '\0');
    if (mr_fields_ok(f))
        mr_field_check(f, "output", o->geometry.layout == mr_output_layout(o->output));
}

void mr_message_write_open(struct mr_writer *w, const struct mr_message *m)
{
    mr_message_write_open_body(w, &m->open);
}

void mr_message_read_open(struct mr_fields *f, struct mr_message *m)
{
    mr_message_read_open_body(f, &m->open);
}

void mr_message_write_opened(struct mr_writer *w, const struct mr_message *m)
{
    const struct mr_opened *o = &m->opened;
    write_ulid(w, &o->movie);
    mr_write_u32(w, o->generation);
    mr_write_u8(w, o->resumed);
    write_ranges(w, o->ranges, o->range_count);
}

void mr_message_read_opened(struct mr_fields *f, struct mr_message *m)
{
    struct mr_opened *o = &m->opened;
    mr_field_ulid(f, "movie", &o->movie);
    o->generation = mr_field_u32(f, "generation", 0, UINT32_MAX);
    o->resumed = mr_field_bool(f, "resumed");
    o->ranges = read_ranges(f, true, &o->range_count);
}

void mr_message_write_ack(struct mr_writer *w, const struct mr_message *m)
{
    const struct mr_ack *a = &m->ack;
    write_ulid(w, &a->movie);
    mr_write_u32(w, a->generation);
    write_ranges(w, a->ranges, a->range_count);
}

void mr_message_read_ack(struct mr_fields *f, struct mr_message *m)
{
    struct mr_ack *a = &m->ack;
    mr_field_ulid(f, "movie", &a->movie);
    a->generation = mr_field_u32(f, "generation", 0, UINT32_MAX);
    a->ranges = read_ranges(f, false, &a->range_count);
}

void mr_message_write_resend(struct mr_writer *w, const struct mr_message *m)
{
    const struct mr_resend *s = &m->resend;
    write_ulid(w, &s->movie);
    mr_write_u32(w, s->generation);
    mr_write_u64(w, s->slab);
}

void mr_message_read_resend(struct mr_fields *f, struct mr_message *m)
{
    struct mr_resend *s = &m->resend;
    mr_field_ulid(f, "movie", &s->movie);
    s->generation = mr_field_u32(f, "generation", 0, UINT32_MAX);
    s->slab = mr_field_u64(f, "slab", 0, MR_SLABS_MAX - 1);
}

static void write_extent(struct mr_writer *w, const struct mr_extent *extent)
{
    mr_write_u64(w, extent->frames);
    mr_write_u64(w, extent->source_bytes);
}

static void read_extent(struct mr_fields *f, struct mr_extent *ret)
{
    ret->frames = mr_field_u64(f, "frames", 0, MR_FRAMES_MAX);
    ret->source_bytes = mr_field_u64(f, "source_bytes", 0, INT64_MAX);
}

void mr_message_write_end(struct mr_writer *w, const struct mr_message *m)
{
    const struct mr_end *e = &m->end;
    write_ulid(w, &e->movie);
    mr_write_u32(w, e->generation);
    write_extent(w, &e->extent);
    mr_write_u64(w, e->slabs);
    mr_write_i64(w, e->source_mtime_ns);
    mr_write_u64(w, e->crc_file);
    mr_write_u64(w, e->crc_pixels);
    mr_write_f64(w, e->pixel_size_angstrom);
    mr_write_f64(w, e->frame_time_s);
    mr_write_i64(w, e->started_real_ns);
    mr_write_i64(w, e->finished_real_ns);
    mr_write_str(w, e->complete_by);
    mr_write_str(w, e->warnings);
    write_blob(w, e->metadata, e->metadata_bytes, MR_METADATA_MAX);
    write_blob(w, e->source_header, e->source_header_bytes, MR_BLOB_MAX);
}

void mr_message_read_end(struct mr_fields *f, struct mr_message *m)
{
    struct mr_end *e = &m->end;
    mr_field_ulid(f, "movie", &e->movie);
    e->generation = mr_field_u32(f, "generation", 0, UINT32_MAX);
    read_extent(f, &e->extent);
    e->slabs = mr_field_u64(f, "slabs", 0, MR_SLABS_MAX);
    e->source_mtime_ns = mr_field_i64(f, "source_mtime_ns");
    e->crc_file = mr_field_u64(f, "crc_file", 0, UINT64_MAX);
    e->crc_pixels = mr_field_u64(f, "crc_pixels", 0, UINT64_MAX);
    e->pixel_size_angstrom = mr_field_amount(f, "pixel_size_angstrom");
    e->frame_time_s = mr_field_amount(f, "frame_time_s");
    e->started_real_ns = mr_field_i64(f, "started_real_ns");
    e->finished_real_ns = mr_field_i64(f, "finished_real_ns");
    mr_field_str(f, "complete_by", e->complete_by, sizeof(e->complete_by));
    mr_field_str(f, "warnings", e->warnings, sizeof(e->warnings));
    e->metadata = mr_field_blob(f, "metadata", MR_METADATA_MAX, &e->metadata_bytes);
    e->source_header = mr_field_blob(f, "source_header", MR_BLOB_MAX, &e->source_header_bytes);
}

void mr_message_write_committed(struct mr_writer *w, const struct mr_message *m)
{
    const struct mr_committed *c = &m->committed;
    write_ulid(w, &c->movie);
    mr_write_u32(w, c->revision);
    mr_write_u64(w, c->sequence);
    mr_write_u8(w, c->known);
    mr_write_u64(w, c->source_bytes);
    mr_write_i64(w, c->source_mtime_ns);
    mr_write_str(w, c->event);
    mr_write_str(w, c->path);
}

void mr_message_read_committed(struct mr_fields *f, struct mr_message *m)
{
    struct mr_committed *c = &m->committed;
    mr_field_ulid(f, "movie", &c->movie);
    c->revision = mr_field_u32(f, "revision", 1, UINT32_MAX);
    c->sequence = mr_field_u64(f, "sequence", 0, UINT64_MAX);
    c->known = mr_field_bool(f, "known");
    c->source_bytes = mr_field_u64(f, "source_bytes", 0, UINT64_MAX);
    c->source_mtime_ns = mr_field_i64(f, "source_mtime_ns");
    mr_field_str(f, "event", c->event, sizeof(c->event));
    mr_field_str(f, "path", c->path, sizeof(c->path));
}

void mr_message_write_hold(struct mr_writer *w, const struct mr_message *m)
{
    write_ulid(w, &m->hold.movie);
    mr_write_u16(w, m->hold.code);
    mr_write_u32(w, m->hold.retry_ms);
    mr_write_str(w, m->hold.text);
}

void mr_message_read_hold(struct mr_fields *f, struct mr_message *m)
{
    mr_field_ulid(f, "movie", &m->hold.movie);
    m->hold.code = mr_field_u16(f, "code", 0, UINT16_MAX);
    m->hold.retry_ms = mr_field_u32(f, "retry_ms", 0, UINT32_MAX);
    mr_field_str(f, "text", m->hold.text, sizeof(m->hold.text));
}

void mr_message_write_fail(struct mr_writer *w, const struct mr_message *m)
{
    write_ulid(w, &m->fail.movie);
    mr_write_u32(w, m->fail.generation);
    write_extent(w, &m->fail.extent);
    mr_write_str(w, m->fail.text);
}

void mr_message_read_fail(struct mr_fields *f, struct mr_message *m)
{
    mr_field_ulid(f, "movie", &m->fail.movie);
    m->fail.generation = mr_field_u32(f, "generation", 0, UINT32_MAX);
    read_extent(f, &m->fail.extent);
    mr_field_str(f, "text", m->fail.text, sizeof(m->fail.text));
}

void mr_message_write_failed(struct mr_writer *w, const struct mr_message *m)
{
    write_ulid(w, &m->failed.movie);
    mr_write_u16(w, m->failed.code);
    mr_write_str(w, m->failed.text);
}

void mr_message_read_failed(struct mr_fields *f, struct mr_message *m)
{
    mr_field_ulid(f, "movie", &m->failed.movie);
    m->failed.code = mr_field_u16(f, "code", 0, UINT16_MAX);
    mr_field_str(f, "text", m->failed.text, sizeof(m->failed.text));
}

void mr_message_write_abandon(struct mr_writer *w, const struct mr_message *m)
{
    write_ulid(w, &m->abandon.movie);
}

void mr_message_read_abandon(struct mr_fields *f, struct mr_message *m)
{
    mr_field_ulid(f, "movie", &m->abandon.movie);
}

void mr_message_write_confirm(struct mr_writer *w, const struct mr_message *m)
{
    write_ulid(w, &m->confirm.movie);
    mr_write_u32(w, m->confirm.revision);
}

void mr_message_read_confirm(struct mr_fields *f, struct mr_message *m)
{
    mr_field_ulid(f, "movie", &m->confirm.movie);
    m->confirm.revision = mr_field_u32(f, "revision", 1, UINT32_MAX);
}

void mr_message_write_confirmed(struct mr_writer *w, const struct mr_message *m)
{
    const struct mr_confirmed *c = &m->confirmed;
    write_ulid(w, &c->movie);
    mr_write_u32(w, c->revision);
    mr_write_u8(w, (uint8_t)c->standing);
    mr_write_u8(w, c->has_pixels);
    mr_write_u64(w, c->bytes);
    mr_write_u64(w, c->crc_file);
    mr_write_u64(w, c->crc_pixels);
    mr_write_str(w, c->path);
}

void mr_message_read_confirmed(struct mr_fields *f, struct mr_message *m)
{
    struct mr_confirmed *c = &m->confirmed;
    mr_field_ulid(f, "movie", &c->movie);
    c->revision = mr_field_u32(f, "revision", 1, UINT32_MAX);
    c->standing =
        (enum mr_standing)mr_field_u8(f, "standing", MR_STANDING_IN_PLACE, MR_STANDING_UNKNOWN);
    c->has_pixels = mr_field_bool(f, "has_pixels");
    c->bytes = mr_field_u64(f, "bytes", 0, INT64_MAX);
    c->crc_file = mr_field_u64(f, "crc_file", 0, UINT64_MAX);
    c->crc_pixels = mr_field_u64(f, "crc_pixels", 0, UINT64_MAX);
    mr_field_str(f, "path", c->path, sizeof(c->path));
}

bool mr_open_equal(const struct mr_open *a, const struct mr_open *b)
{
    uint8_t left[MR_OPEN_BODY_MAX], right[MR_OPEN_BODY_MAX];
    size_t left_bytes, right_bytes;
    return mr_open_encode(a, left, sizeof(left), &left_bytes) == 0 &&
           mr_open_encode(b, right, sizeof(right), &right_bytes) == 0 &&
           left_bytes == right_bytes && memcmp(left, right, left_bytes) == 0;
}
