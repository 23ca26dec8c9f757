/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes finished movies without a server: random pixels, cut, packed and placed as the data path
 * does it, then sealed; for check_seal.py to read with programs that are not ours. Beside each
 * movie lies <name>.raw, the pixels it must hold. It checks nothing itself.
 *
 *   seal_probe DIR     writes the movies and DIR/movies.tsv: name, file, dtype, shape, codec
 *   seal_probe --time  seals 1,000 and 100,000 placements and prints how long that takes
 */
#include "base/clock.h"
#include "seal_hdf5.h"
#include "seal_mrc.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SHUFFLED = 1, ONE_RAW = 2, BARE = 4, LONG_NOTES = 8 };

struct movie {
    const char *name;
    enum mr_layout layout;
    enum mr_pixel pixel; /* of the source */
    uint64_t width, height, frames;
    enum mr_codec_id codec;
    unsigned flags;
    uint64_t ext_bytes;
};

#define S MR_LAYOUT_STREAM
#define C MR_LAYOUT_CHUNKS
static const struct movie movies[] = {
    /* rows of a frame per slab: dividing the height, a prime height, all shuffled once */
    {"rows_u16_none", C, MR_PIXEL_U16, 2048, 1200, 3, MR_CODEC_NONE, SHUFFLED, 0},
    {"rows_u16_bslz4", C, MR_PIXEL_U16, 2048, 1200, 3, MR_CODEC_BSLZ4, SHUFFLED | ONE_RAW, 0},
    {"rows_u16_bszstd", C, MR_PIXEL_U16, 2048, 1200, 3, MR_CODEC_BSZSTD, SHUFFLED | ONE_RAW, 0},
    {"prime_u8_none", C, MR_PIXEL_U8, 3838, 2203, 2, MR_CODEC_NONE, 0, 0},
    {"prime_u8_bslz4", C, MR_PIXEL_U8, 3838, 2203, 2, MR_CODEC_BSLZ4, SHUFFLED, 0},
    {"prime_f32_bszstd", C, MR_PIXEL_F32, 1021, 1511, 2, MR_CODEC_BSZSTD, 0, 0},
    /* one whole frame per slab; several; more than the movie has; a last slab that is padded */
    {"frame_i16_bslz4", C, MR_PIXEL_I16, 1536, 1024, 3, MR_CODEC_BSLZ4, SHUFFLED, 0},
    {"small_u8_bslz4", C, MR_PIXEL_U8, 128, 128, 600, MR_CODEC_BSLZ4, SHUFFLED | ONE_RAW, 0},
    {"small_i8_none", C, MR_PIXEL_I8, 127, 131, 600, MR_CODEC_NONE, 0, 0},
    {"few_u16_bslz4", C, MR_PIXEL_U16, 64, 63, 5, MR_CODEC_BSLZ4, 0, 0},
    {"few_u16_bszstd", C, MR_PIXEL_U16, 64, 63, 5, MR_CODEC_BSZSTD, 0, 0},
    {"one_f16_bslz4", C, MR_PIXEL_F16, 100, 77, 1, MR_CODEC_BSLZ4, 0, 0},
    {"one_f32_none", C, MR_PIXEL_F32, 100, 77, 1, MR_CODEC_NONE, BARE, 0},
    {"odd_f32_bslz4", C, MR_PIXEL_F32, 333, 77, 4, MR_CODEC_BSLZ4, BARE, 0},
    {"counts_u4_bslz4", C, MR_PIXEL_U4, 640, 480, 20, MR_CODEC_BSLZ4, 0, 0},
    /* many notes, behind the slabs */
    {"notes_u8_bslz4", C, MR_PIXEL_U8, 128, 128, 300, MR_CODEC_BSLZ4, LONG_NOTES, 0},
    {"stream_i8", S, MR_PIXEL_I8, 1000, 700, 9, MR_CODEC_NONE, 0, 0},
    {"stream_i16", S, MR_PIXEL_I16, 333, 77, 4, MR_CODEC_NONE, 0, 0},
    {"stream_u16", S, MR_PIXEL_U16, 2048, 1201, 3, MR_CODEC_NONE, 0, 0},
    {"stream_f16", S, MR_PIXEL_F16, 100, 77, 2, MR_CODEC_NONE, 0, 0},
    {"stream_f32", S, MR_PIXEL_F32, 100, 77, 1, MR_CODEC_NONE, BARE, 0},
    {"stream_u4", S, MR_PIXEL_U4, 640, 480, 3, MR_CODEC_NONE, 0, 0},
    /* room: a K3 frame's axes fit; super-resolution's do not; notes do not; an extended header
     * does */
    {"stream_k3_i8", S, MR_PIXEL_I8, 5760, 4092, 1, MR_CODEC_NONE, LONG_NOTES, 0},
    {"stream_super_i8", S, MR_PIXEL_I8, 11520, 8184, 1, MR_CODEC_NONE, 0, 0},
    {"stream_notes_u16", S, MR_PIXEL_U16, 64, 64, 3, MR_CODEC_NONE, LONG_NOTES, 0},
    {"stream_fei2_u16", S, MR_PIXEL_U16, 64, 64, 3, MR_CODEC_NONE, LONG_NOTES, 909312},
};
#undef S
#undef C

static void need(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "seal_probe: %s\n", what);
    exit(1);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Counts as a camera has them, so that they compress; every bit of the type is met now and then. */
static void fill_pixels(enum mr_pixel pixel, uint8_t *data, uint64_t bytes)
{
    uint64_t state = 88172645463325252u;
    uint32_t element = mr_pixel_bytes(pixel);
    for (uint64_t i = 0; i < bytes; i += element) {
        uint64_t r = next_random(&state);
        uint64_t value = r & (r >> 8) & (r >> 16) & 7;
        if (r >> 52 == 0)
            value = r & 0xFFFF;
        if (pixel == MR_PIXEL_U4)
            value = (value & 15) | (r >> 24 & r >> 32 & 3) << 4;
        if (pixel == MR_PIXEL_F16)
            value = (r & 0x83FF) | 0x3C00; /* +-1 .. 2 */
        float real = (float)value / 4 - 1;
        if (pixel == MR_PIXEL_F32)
            memcpy(data + i, &real, 4);
        else
            memcpy(data + i, &value, element);
    }
}

static void write_at(int fd, const void *data, size_t bytes, uint64_t offset)
{
    need(pwrite(fd, data, bytes, (off_t)offset) == (ssize_t)bytes, "cannot write");
}

static int make_file(const char *dir, const char *name, const char *extension)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/%s%s", dir, name, extension);
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644);
    need(fd >= 0, "cannot make a file");
    return fd;
}

static void write_image(int fd, const struct mr_image *image)
{
    for (size_t i = 0; i < image->count; i++)
        write_at(fd, image->pieces[i].data, image->pieces[i].bytes, image->pieces[i].offset);
    need(ftruncate(fd, (off_t)image->file_bytes) == 0, "cannot truncate");
}

static char *long_text(size_t bytes)
{
    char *text = malloc(bytes + 1);
    need(text, "no memory");
    for (size_t i = 0; i < bytes; i++)
        text[i] = i % 40 == 39 ? '\n' : (char)('a' + i % 26);
    text[bytes] = '\0';
    return text;
}

static struct mr_movie_notes notes_of(const struct movie *m)
{
    static uint8_t header[1024 + 909312];
    static char *mdoc;
    if (m->flags & BARE)
        return (struct mr_movie_notes){0};
    if (!mdoc)
        mdoc = long_text(50000);
    for (size_t i = 0; i < sizeof(header); i++)
        header[i] = (uint8_t)(i * 7);
    bool lengthy = m->flags & LONG_NOTES;
    return (struct mr_movie_notes){.title = m->name,
                                   .movie_id = "01JDB7Q2T3V4W5X6Y7Z8A9B0CD",
                                   .source_path = "/data/movies/gr\xC3\xBCn/movie.mrc",
                                   .host = "k3-krios1",
                                   .start_time = "2026-11-22T07:00:00.000Z",
                                   .end_time = "2026-11-22T07:00:04.000Z",
                                   .pixel_digest = "9242280E488DAD9A",
                                   .mdoc = lengthy ? mdoc : "PixelSpacing = 1.08\r\n",
                                   .pixel_size_angstrom = 1.08,
                                   .frame_time_s = 0.04,
                                   .voltage_kv = 300,
                                   .dose_per_frame = 1.25,
                                   .source_header = header,
                                   .source_header_bytes = 1024 + (size_t)(lengthy ? 909312 : 0)};
}

/* The slab as the agent would make it: U4 unpacked, edges padded with zeros. */
static void cut_chunk(const struct mr_geometry *g, const struct mr_span *span,
                      const uint8_t *source, uint8_t *ret)
{
    const uint8_t *from = source + span->source_offset;
    memset(ret, 0, span->raw_bytes);
    if (g->source_pixel != MR_PIXEL_U4) {
        memcpy(ret + span->pixel_offset, from, span->source_bytes);
        return;
    }
    for (uint64_t i = 0; i < span->source_bytes; i++) {
        ret[2 * i] = from[i] & 15;
        ret[2 * i + 1] = from[i] >> 4;
    }
}

static void shuffle(uint64_t *order, size_t count)
{
    uint64_t state = 1234567;
    for (size_t i = count; i > 1; i--) {
        size_t j = next_random(&state) % i;
        uint64_t kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
}

/* Packs and places every slab, in the order given; returns where the data end. */
static uint64_t place_chunks(int fd, const struct movie *m, const struct mr_geometry *g,
                             const struct mr_extent *extent, const uint8_t *source,
                             const uint64_t *order, size_t count, struct mr_chunk *ret)
{
    struct mr_codec *codec;
    uint8_t *raw = malloc(MR_SLAB_BYTES), *packed = malloc(MR_SLAB_BYTES);
    uint64_t end = MR_SEAL_HDF5_RESERVED;
    need(raw && packed && mr_codec_new(MR_SLAB_BYTES, &codec) == 0, "no memory");
    for (size_t i = 0; i < count; i++) {
        struct mr_span span;
        size_t bytes;
        mr_slab_span(g, extent, order[i], &span);
        cut_chunk(g, &span, source, raw);
        bool filtered = m->codec != MR_CODEC_NONE && !(m->flags & ONE_RAW && i == 0) &&
                        mr_codec_pack(codec, m->codec, mr_pixel_bytes(g->pixel), raw,
                                      span.raw_bytes, packed, MR_SLAB_BYTES, &bytes) == 0;
        if (!filtered)
            bytes = span.raw_bytes;
        ret[i] = (struct mr_chunk){order[i], end, bytes, filtered};
        write_at(fd, filtered ? packed : raw, bytes, end);
        end = (end + bytes + MR_SLAB_ALIGN - 1) / MR_SLAB_ALIGN * MR_SLAB_ALIGN;
        if (i + 1 == count)
            end = ret[i].offset + bytes; /* the end may be ragged */
    }
    mr_codec_free(codec);
    free(raw);
    free(packed);
    return end;
}

static void seal_chunks(int fd, const struct movie *m, const struct mr_geometry *g,
                        const struct mr_extent *extent, const uint8_t *source, struct mr_image *ret)
{
    size_t count = (size_t)mr_slab_count(g, extent);
    uint64_t *order = calloc(count, sizeof(*order));
    struct mr_chunk *chunks = calloc(count, sizeof(*chunks));
    need(order && chunks, "no memory");
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    if (m->flags & SHUFFLED)
        shuffle(order, count);
    uint64_t end = place_chunks(fd, m, g, extent, source, order, count, chunks);
    struct mr_movie_notes notes = notes_of(m);
    struct mr_err err = {0};
    int code = mr_seal_hdf5_chunked(g, extent, m->codec, chunks, count, end, &notes, ret, &err);
    need(code == 0, err.text);
    free(order);
    free(chunks);
}

static void seal_stream(int fd, const struct movie *m, const struct mr_geometry *g,
                        const struct mr_extent *extent, const uint8_t *source, struct mr_image *ret)
{
    uint64_t bytes = g->frame_bytes * extent->frames;
    struct mr_stats stats;
    struct mr_stats_summary summary;
    mr_stats_of(g->pixel, g->width, source, bytes, &stats);
    mr_stats_summarise(&stats, &summary);
    write_at(fd, source, bytes, g->data_offset);
    struct mr_movie_notes notes = notes_of(m);
    struct mr_err err = {0};
    int code = mr_seal_mrc(g, extent, &summary, &notes, ret, &err);
    need(code == 0, err.text);
}

static void make_movie(const char *dir, const struct movie *m, FILE *list)
{
    struct mr_geometry g;
    struct mr_err err = {0};
    int code = mr_geometry_frames(m->layout, m->pixel, false, m->width, m->height, 0, m->ext_bytes,
                                  &g, &err);
    need(code == 0, err.text);
    struct mr_extent extent = {m->frames, g.source_frame_bytes * m->frames};
    uint8_t *source = malloc(extent.source_bytes);
    need(source, "no memory");
    fill_pixels(m->pixel, source, extent.source_bytes);

    bool stream = m->layout == MR_LAYOUT_STREAM;
    struct mr_image image;
    int fd = make_file(dir, m->name, stream ? ".mrc" : ".h5");
    (stream ? seal_stream : seal_chunks)(fd, m, &g, &extent, source, &image);
    write_image(fd, &image);
    int raw = make_file(dir, m->name, ".raw");
    write_at(raw, source, extent.source_bytes, 0);
    fprintf(list, "%s\t%s\t%s\t%" PRIu64 "x%" PRIu64 "x%" PRIu64 "\t%s\t%s\n", m->name,
            stream ? "mrc" : "h5", mr_pixel_name(m->pixel), m->frames, m->height, m->width,
            mr_codec_name(m->codec), image.left_out[0] ? image.left_out : "-");
    mr_image_free(&image);
    free(source);
    close(fd);
    close(raw);
}

static void time_chunks(size_t count)
{
    struct mr_geometry g;
    need(mr_geometry_frames(MR_LAYOUT_CHUNKS, MR_PIXEL_U8, false, 5760, 4092, 0, 0, &g, NULL) == 0,
         "geometry");
    struct mr_extent extent = {.frames = count / g.slabs_per_frame};
    count = (size_t)mr_slab_count(&g, &extent);
    struct mr_chunk *chunks = calloc(count, sizeof(*chunks));
    need(chunks, "no memory");
    for (size_t i = 0; i < count; i++)
        chunks[i] = (struct mr_chunk){i, MR_SEAL_HDF5_RESERVED + (i * 7919 % count) * 4194304,
                                      999999, true};
    struct mr_movie_notes notes = {.title = "time"};
    struct mr_image image;
    int64_t begin = mr_clock_monotonic_ns();
    int code = mr_seal_hdf5_chunked(&g, &extent, MR_CODEC_BSLZ4, chunks, count,
                                    MR_SEAL_HDF5_RESERVED + count * 4194304, &notes, &image, NULL);
    int64_t end = mr_clock_monotonic_ns();
    need(code == 0, "cannot seal");
    printf("%zu slabs sealed in %.1f ms, %zu bytes of metadata\n", count,
           (double)(end - begin) / MR_NS_PER_MS, image.pieces[image.count - 1].bytes);
    mr_image_free(&image);
    free(chunks);
}

int main(int argc, char **argv)
{
    need(argc == 2, "usage: seal_probe DIR | --time");
    if (strcmp(argv[1], "--time") == 0) {
        time_chunks(1000);
        time_chunks(100000);
        return 0;
    }
    char path[600];
    snprintf(path, sizeof(path), "%s/movies.tsv", argv[1]);
    FILE *list = fopen(path, "we");
    need(list, "cannot make movies.tsv");
    for (size_t i = 0; i < sizeof(movies) / sizeof(movies[0]); i++)
        make_movie(argv[1], &movies[i], list);
    fclose(list);
    return 0;
}
