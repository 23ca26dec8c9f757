/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From landed slabs to a finished file. Reads no pixel and writes none: what slabs hold is known
 * from their journal records. Chooses no name and logs no event.
 */
#include "finish.h"

#include "base/clock.h"
#include "base/crc64.h"
#include "base/failpoint.h"
#include "base/text.h"
#include "salvage.h"
#include "seal_mrc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- digests ---- */

struct sums {
    uint64_t raw, pixels; /* CRC-64/XZ of everything, of the pixels */
    struct mr_stats stats;
};

static int add_up(const struct mr_dossier *d, const struct mr_end *end, struct sums *ret,
                  struct mr_err *err)
{
    struct sums sums = {0};
    for (uint64_t i = 0; i < end->slabs; i++) {
        const struct mr_placement *p = i < d->slab_count ? &d->slabs[i] : NULL;
        struct mr_span span;
        mr_slab_span(&d->open.geometry, &end->extent, i, &span);
        if (p == NULL || p->raw_bytes != span.raw_bytes || p->pixel_bytes != span.pixel_bytes)
            return mr_err_set(err, -EUCLEAN, "slab %" PRIu64 " is %s", i,
                              p == NULL || p->raw_bytes == 0 ? "missing" : "of another size");
        sums.raw = mr_crc64_combine(sums.raw, p->crc_raw, p->raw_bytes);
        sums.pixels = mr_crc64_combine(sums.pixels, p->crc_pixels, p->pixel_bytes);
        mr_stats_merge(&sums.stats, &p->stats);
    }
    if (d->open.geometry.layout == MR_LAYOUT_BYTES && end->crc_file != sums.raw)
        return mr_err_set(err, -EUCLEAN, "the agent read %016" PRIX64 ", %016" PRIX64 " arrived",
                          end->crc_file, sums.raw);
    if (end->crc_pixels != sums.pixels)
        return mr_err_set(err, -EUCLEAN,
                          "pixels: the agent read %016" PRIX64 ", %016" PRIX64 " arrived",
                          end->crc_pixels, sums.pixels);
    *ret = sums;
    return 0;
}

/* Of the finished file; for the digest in file order */
struct extent {
    uint64_t offset, bytes, crc;
};

static int by_offset(const void *a, const void *b)
{
    const struct extent *left = a, *right = b;
    return left->offset < right->offset ? -1 : left->offset > right->offset;
}

/* Slabs and the image's pieces in file order; what lies between is zeros, and counts as such. */
static int digest_of(const struct mr_dossier *d, uint64_t slabs, const struct mr_image *image,
                     uint64_t *ret, struct mr_err *err)
{
    size_t count = slabs + image->count;
    struct extent *extents = calloc(count + 1, sizeof(*extents));
    if (extents == NULL)
        return mr_err_errno(err, -ENOMEM, "digest");
    for (uint64_t i = 0; i < slabs; i++)
        extents[i] =
            (struct extent){d->slabs[i].offset, d->slabs[i].stored_bytes, d->slabs[i].crc_stored};
    for (size_t i = 0; i < image->count; i++)
        extents[slabs + i] =
            (struct extent){image->pieces[i].offset, image->pieces[i].bytes,
                            mr_crc64(0, image->pieces[i].data, image->pieces[i].bytes)};
    qsort(extents, count, sizeof(*extents), by_offset);
    uint64_t crc = 0, at = 0;
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i++) {
        if (extents[i].offset < at)
            r = mr_err_set(err, -EUCLEAN, "two pieces of the file overlap at %" PRIu64, at);
        crc = mr_crc64_zeros(crc, extents[i].offset - at);
        crc = mr_crc64_combine(crc, extents[i].crc, extents[i].bytes);
        at = extents[i].offset + extents[i].bytes;
    }
    free(extents);
    *ret = mr_crc64_zeros(crc, image->file_bytes > at ? image->file_bytes - at : 0);
    return r;
}

/* ---- the image ---- */

#define SOURCE_PATH_MAX (3 * sizeof(((struct mr_open *)0)->source_path))
/* Texts that the notes borrow; HDF5's are UTF-8, names from agents need not be */
struct words {
    char title[3 * MR_NAMING_COMPONENT_MAX + 1], source_path[SOURCE_PATH_MAX];
    char id[MR_ULID_TEXT], start[MR_TIME_TEXT], end[MR_TIME_TEXT], pixels[17];
};

static void take_notes(const struct mr_dossier *d, const struct mr_end *end, uint64_t crc_pixels,
                       struct words *words, struct mr_movie_notes *ret)
{
    const char *name = mr_text_last(d->open.path);
    const char *dot = strrchr(name, '.');
    size_t stem = dot == NULL || dot == name ? strlen(name) : (size_t)(dot - name);
    char plain[MR_PATH_MAX + 1];
    snprintf(plain, sizeof(plain), "%.*s", (int)stem, name);
    struct mr_text title = mr_text_init(words->title, sizeof(words->title));
    mr_text_append_escaped(&title, plain);
    struct mr_text path = mr_text_init(words->source_path, sizeof(words->source_path));
    mr_text_append_escaped(&path, d->open.source_path);
    mr_ulid_text(&d->open.movie, words->id);
    struct mr_course course = mr_dossier_course(d, end, mr_clock_real_ns());
    mr_clock_text(course.started_real_ns, words->start);
    mr_clock_text(course.finished_real_ns, words->end);
    snprintf(words->pixels, sizeof(words->pixels), "%016" PRIX64, crc_pixels);
    *ret = (struct mr_movie_notes){.title = words->title,
                                   .movie_id = words->id,
                                   .source_path = words->source_path,
                                   .host = d->agent,
                                   .start_time = words->start,
                                   .end_time = course.finished_real_ns == 0 ? NULL : words->end,
                                   .pixel_digest = words->pixels,
                                   .pixel_size_angstrom = end->pixel_size_angstrom,
                                   .frame_time_s = end->frame_time_s,
                                   .source_header = end->source_header,
                                   .source_header_bytes = end->source_header_bytes};
}

static int chunked_image(const struct mr_dossier *d, const struct mr_end *end,
                         const struct mr_movie_notes *notes, struct mr_image *ret,
                         struct mr_err *err)
{
    struct mr_chunk *chunks = calloc(end->slabs + 1, sizeof(*chunks));
    if (chunks == NULL)
        return mr_err_errno(err, -ENOMEM, "chunks");
    for (uint64_t i = 0; i < end->slabs; i++)
        chunks[i] = (struct mr_chunk){.index = i,
                                      .offset = d->slabs[i].offset,
                                      .stored_bytes = d->slabs[i].stored_bytes,
                                      .filtered = d->slabs[i].codec != MR_CODEC_NONE};
    uint64_t data_end = (d->space_end + MR_SLAB_ALIGN - 1) / MR_SLAB_ALIGN * MR_SLAB_ALIGN;
    int r = mr_seal_hdf5_chunked(&d->open.geometry, &end->extent, d->open.codec, chunks, end->slabs,
                                 data_end, notes, ret, err);
    free(chunks);
    return r;
}

static int make_image(const struct mr_dossier *d, const struct mr_end *end, const struct sums *sums,
                      struct mr_image *ret, struct mr_err *err)
{
    struct words words;
    struct mr_movie_notes notes;
    struct mr_stats_summary stats;
    take_notes(d, end, sums->pixels, &words, &notes);
    switch (d->open.geometry.layout) {
    case MR_LAYOUT_BYTES:
        ret->file_bytes = end->extent.source_bytes;
        return 0;
    case MR_LAYOUT_STREAM:
        mr_stats_summarise(&sums->stats, &stats);
        return mr_seal_mrc(&d->open.geometry, &end->extent, &stats, &notes, ret, err);
    case MR_LAYOUT_CHUNKS:
        return chunked_image(d, end, &notes, ret, err);
    }
    return mr_err_set(err, -EINVAL, "unknown layout");
}

/* ---- the file ---- */

/* Zeros what lies between placed slabs and the image: a slab that was sent twice may have left
 * bytes. */
static int punch(int fd, uint64_t from, uint64_t to)
{
    static const uint8_t zeros[65536];
    if (to <= from)
        return 0;
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
                  (off_t)(to - from)) == 0)
        return 0;
    while (from < to) {
        size_t step = to - from < sizeof(zeros) ? to - from : sizeof(zeros);
        int r = mr_fs_pwrite_full(fd, zeros, step, from);
        if (r < 0)
            return r;
        from += step;
    }
    return 0;
}

static int placed_by_offset(const void *a, const void *b)
{
    const struct mr_placement *const *left = a, *const *right = b;
    return (*left)->offset < (*right)->offset ? -1 : (*left)->offset > (*right)->offset;
}

static int zero_gaps(int fd, const struct mr_dossier *d, uint64_t slabs)
{
    if (d->open.geometry.layout != MR_LAYOUT_CHUNKS)
        return 0;
    const struct mr_placement **order = calloc(slabs + 1, sizeof(*order));
    if (order == NULL)
        return -ENOMEM;
    for (uint64_t i = 0; i < slabs; i++)
        order[i] = &d->slabs[i];
    qsort(order, slabs, sizeof(const struct mr_placement *), placed_by_offset);
    uint64_t at = 0;
    int r = 0;
    for (uint64_t i = 0; r == 0 && i < slabs; i++) {
        r = punch(fd, at, order[i]->offset);
        at = order[i]->offset + order[i]->stored_bytes;
    }
    free(order);
    struct stat st;
    if (r == 0 && fstat(fd, &st) == 0)
        r = punch(fd, at, (uint64_t)st.st_size);
    return r;
}

static int write_image(int fd, const struct mr_image *image)
{
    for (size_t i = 0; i < image->count; i++) {
        int r = mr_fs_pwrite_full(fd, image->pieces[i].data, image->pieces[i].bytes,
                                  image->pieces[i].offset);
        if (r < 0)
            return r;
    }
    return 0;
}

static int set_mtime(int fd, int64_t mtime_ns)
{
    const struct timespec times[2] = {
        {.tv_nsec = UTIME_OMIT},
        {.tv_sec = mtime_ns / MR_NS_PER_S, .tv_nsec = mtime_ns % MR_NS_PER_S}};
    return futimens(fd, times) < 0 ? -errno : 0;
}

/* After a failure the kernel counts the pages as written: to try again would only hide it. */
static int sync_part(struct mr_movie *movie, int fd)
{
    if (fsync(fd) == 0)
        return 0;
    int r = -errno;
    mr_movie_taint(movie);
    return r;
}

/* Through the page cache: these few bytes are ragged, and no page of theirs is written directly. */
static int complete_file(const struct mr_store *store, struct mr_movie *movie,
                         const struct mr_dossier *d, const struct mr_end *end,
                         const struct mr_image *image, uint64_t *ret_inode)
{
    MR_CLEANUP(mr_fs_close)
    int fd = openat(movie->part_dir_fd, movie->part_name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    int r = zero_gaps(fd, d, end->slabs);
    if (r == 0)
        r = write_image(fd, image);
    if (r == 0 && ftruncate(fd, (off_t)image->file_bytes) < 0)
        r = -errno;
    if (r == 0 && store->source_mtime && end->source_mtime_ns > 0)
        r = set_mtime(fd, end->source_mtime_ns);
    mr_failpoint("part-complete");
    if (r == 0)
        r = sync_part(movie, fd);
    mr_failpoint("part-synced");
    *ret_inode = st.st_ino;
    return r;
}

/* Not synced: its group is. */
static int complete_small(const struct mr_store *store, const struct mr_movie *movie,
                          const struct mr_end *end, const struct mr_image *image,
                          struct mr_sealed *ret)
{
    struct stat st;
    int r = fstat(movie->part_fd, &st) < 0 ? -errno : 0;
    if (r == 0 && (uint64_t)st.st_size != image->file_bytes)
        r = ftruncate(movie->part_fd, (off_t)image->file_bytes) < 0 ? -errno : 0;
    if (r == 0 && store->source_mtime && end->source_mtime_ns > 0)
        r = set_mtime(movie->part_fd, end->source_mtime_ns);
    if (r == 0 && fstat(movie->part_fd, &st) < 0)
        r = -errno;
    mr_failpoint("part-complete");
    if (r < 0)
        return r;
    ret->inode = st.st_ino;
    ret->mtime_ns = st.st_mtim.tv_sec * MR_NS_PER_S + st.st_mtim.tv_nsec;
    return 0;
}

int mr_finish_part(const struct mr_store *store, struct mr_movie *movie, struct mr_dossier *d,
                   const struct mr_end *end, char *ret_left_out, struct mr_err *err)
{
    struct sums sums;
    struct mr_image image = {0};
    struct mr_sealed *s = &d->sealed;
    if (mr_movie_is_tainted(movie))
        return mr_err_set(err, -EIO, "part %s: a write or sync of it has failed", movie->part_name);
    int r = add_up(d, end, &sums, err);
    if (r == 0)
        r = make_image(d, end, &sums, &image, err);
    if (r == 0)
        r = digest_of(d, end->slabs, &image, &s->digest_file, err);
    if (r == 0) {
        r = movie->small ? complete_small(store, movie, end, &image, s)
                         : complete_file(store, movie, d, end, &image, &s->inode);
        if (r < 0)
            mr_err_errno(err, r, "part %s", movie->part_name);
    }
    s->failed = false;
    s->bytes = image.file_bytes;
    s->has_pixels = d->open.geometry.source_pixel != MR_PIXEL_NONE;
    s->digest_pixels = sums.pixels;
    s->source_bytes = end->extent.source_bytes;
    s->source_mtime_ns = end->source_mtime_ns;
    snprintf(ret_left_out, 256, "%s", image.left_out);
    mr_image_free(&image);
    return r;
}

/* Behind what came of it there may be space that was had ahead. */
static int cut_failed(int fd, const struct mr_dossier *d, const struct mr_fail *fail)
{
    struct stat st;
    bool known = d->open.geometry.layout == MR_LAYOUT_BYTES && fail->extent.source_bytes > 0;
    if (fstat(fd, &st) < 0)
        return -errno;
    uint64_t size = (uint64_t)st.st_size, end = known ? fail->extent.source_bytes : d->space_end;
    if (!known && end >= size)
        return 0;
    return ftruncate(fd, (off_t)end) < 0 ? -errno : 0;
}

int mr_finish_failed(struct mr_movie *movie, struct mr_dossier *d, const struct mr_fail *fail,
                     struct mr_err *err)
{
    int salvaged = mr_movie_is_tainted(movie) ? mr_salvage_part(movie, d, err) : 0;
    if (salvaged < 0)
        return salvaged;
    MR_CLEANUP(mr_fs_close)
    int fd = openat(movie->part_dir_fd, movie->part_name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    int r = fd < 0 ? -errno : cut_failed(fd, d, fail);
    if (r == 0)
        r = sync_part(movie, fd);
    if (r == 0 && fstat(fd, &st) < 0)
        r = -errno;
    if (r < 0)
        return mr_err_errno(err, r, "part %s", movie->part_name);
    d->sealed.failed = true;
    d->sealed.inode = st.st_ino;
    d->sealed.bytes = (uint64_t)st.st_size;
    d->sealed.source_bytes = fail->extent.source_bytes;
    return 0;
}
