/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and wording a movie's journal. Writes no file and decides nothing. */
#include "dossier.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/recordlog.h"
#include "lease_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- hex: what peers named may hold any byte, a record's text only printable ones ---- */

static void to_hex(const void *data, size_t bytes, char *ret)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = data;
    for (size_t i = 0; i < bytes; i++) {
        ret[2 * i] = digits[from[i] >> 4];
        ret[2 * i + 1] = digits[from[i] & 15];
    }
    ret[2 * bytes] = '\0';
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int from_hex(const char *hex, size_t size, uint8_t *ret, size_t *ret_bytes)
{
    size_t bytes = 0;
    for (; hex[2 * bytes] != '\0'; bytes++) {
        int high = nibble(hex[2 * bytes]);
        int low = high < 0 ? -1 : nibble(hex[2 * bytes + 1]);
        if (low < 0 || bytes == size)
            return -EPROTO;
        ret[bytes] = (uint8_t)(high << 4 | low);
    }
    *ret_bytes = bytes;
    return 0;
}

/* ---- OPEN ---- */

static int as_line(const char *text, size_t bytes, char **ret, size_t *ret_bytes)
{
    size_t size = bytes + MR_RECORD_AROUND;
    char *line = malloc(size);
    if (line == NULL)
        return -ENOMEM;
    int r = mr_recordlog_format(text, bytes, line, size, ret_bytes);
    if (r < 0) {
        free(line);
        return r;
    }
    *ret = line;
    return 0;
}

int mr_dossier_open_line(const struct mr_dossier *d, char **ret, size_t *ret_bytes)
{
    uint8_t body[MR_OPEN_BODY_MAX];
    size_t body_bytes;
    char hex_body[2 * MR_OPEN_BODY_MAX + 1], hex_path[2 * MR_NAMING_PATH_MAX + 1];
    char text[sizeof(hex_body) + sizeof(hex_path) + 256];
    int r = mr_open_encode(&d->open, body, sizeof(body), &body_bytes);
    if (r < 0)
        return r;
    to_hex(body, body_bytes, hex_body);
    to_hex(d->path, strlen(d->path), hex_path);
    int length = snprintf(text, sizeof(text), "OPEN %" PRIu32 " %s %" PRId64 " %" PRId64 " %s %s%s",
                          d->generation, d->agent, d->started_real_ns, d->clock_offset_ms, hex_path,
                          hex_body, d->push ? " push" : "");
    return as_line(text, (size_t)length, ret, ret_bytes);
}

static int parse_open(const char *text, struct mr_dossier *d)
{
    char hex_path[2 * MR_NAMING_PATH_MAX + 1] = "", hex_body[2 * MR_OPEN_BODY_MAX + 1] = "";
    _Static_assert(MR_NAMING_PATH_MAX == 3500 && MR_OPEN_BODY_MAX == 8192 && MR_NAME_MAX == 64,
                   "the widths below");
    char push[6] = "";
    int words = sscanf(text, "OPEN %" SCNu32 " %64s %" SCNd64 " %" SCNd64 " %7000s %16384s %5s",
                       &d->generation, d->agent, &d->started_real_ns, &d->clock_offset_ms, hex_path,
                       hex_body, push);
    d->push = words == 7 && strcmp(push, "push") == 0;
    if (words != 6 && !d->push)
        return -EPROTO;
    uint8_t body[MR_OPEN_BODY_MAX];
    size_t body_bytes, path_bytes;
    int r = from_hex(hex_path, MR_NAMING_PATH_MAX, (uint8_t *)d->path, &path_bytes);
    if (r == 0)
        r = from_hex(hex_body, sizeof(body), body, &body_bytes);
    if (r < 0)
        return r;
    d->path[path_bytes] = '\0';
    return mr_open_decode(body, body_bytes, &d->open, NULL);
}

/* ---- SEALED: "SEALED <json>\t<event>"; JSON holds no raw tab ---- */

int mr_dossier_sealed_line(const struct mr_sealed *s, char **ret, size_t *ret_bytes)
{
    MR_CLEANUP(mr_json_freep) struct mr_json *json = mr_json_object();
    char digest[17];
    mr_json_put_bool(json, "failed", s->failed);
    mr_json_put_int(json, "inode", (int64_t)s->inode);
    mr_json_put_string(json, "path", s->path);
    mr_json_put_int(json, "bytes", (int64_t)s->bytes);
    snprintf(digest, sizeof(digest), "%016" PRIX64, s->digest_file);
    mr_json_put_string(json, "file", digest);
    snprintf(digest, sizeof(digest), "%016" PRIX64, s->digest_pixels);
    mr_json_put_string(json, "pixels", s->has_pixels ? digest : NULL);
    mr_json_put_int(json, "source_bytes", (int64_t)s->source_bytes);
    mr_json_put_int(json, "source_mtime_ns", s->source_mtime_ns);
    char *head = mr_json_dump(json);
    if (head == NULL)
        return -ENOMEM;
    size_t size = strlen(head) + strlen(s->event) + 16;
    char *text = malloc(size);
    int r = -ENOMEM;
    if (text != NULL) {
        int length = snprintf(text, size, "SEALED %s\t%s", head, s->event);
        r = as_line(text, (size_t)length, ret, ret_bytes);
    }
    free(text);
    free(head);
    return r;
}

static int read_sealed(const struct mr_json *json, struct mr_sealed *s)
{
    const char *path, *file, *pixels = NULL;
    int64_t inode, bytes, source_bytes;
    int r = mr_json_need_bool(json, "failed", &s->failed, NULL);
    if (r == 0)
        r = mr_json_need_int(json, "inode", INT64_MIN, INT64_MAX, &inode, NULL);
    if (r == 0)
        r = mr_json_need_string(json, "path", &path, NULL);
    if (r == 0)
        r = mr_json_need_int(json, "bytes", 0, INT64_MAX, &bytes, NULL);
    if (r == 0)
        r = mr_json_need_string(json, "file", &file, NULL);
    if (r == 0)
        r = mr_json_may_string(json, "pixels", &pixels, NULL);
    if (r == 0)
        r = mr_json_need_int(json, "source_bytes", 0, INT64_MAX, &source_bytes, NULL);
    if (r == 0)
        r = mr_json_need_int(json, "source_mtime_ns", INT64_MIN, INT64_MAX, &s->source_mtime_ns,
                             NULL);
    if (r < 0 || strlen(path) >= sizeof(s->path))
        return -EPROTO;
    memcpy(s->path, path, strlen(path) + 1);
    s->inode = (uint64_t)inode;
    s->bytes = (uint64_t)bytes;
    s->source_bytes = (uint64_t)source_bytes;
    s->digest_file = strtoull(file, NULL, 16);
    s->has_pixels = pixels != NULL;
    s->digest_pixels = pixels == NULL ? 0 : strtoull(pixels, NULL, 16);
    return 0;
}

static int parse_sealed(const char *text, struct mr_dossier *d)
{
    const char *json_text = text + strlen("SEALED ");
    const char *tab = strchr(json_text, '\t');
    MR_CLEANUP(mr_json_freep) struct mr_json *json = NULL;
    if (tab == NULL || mr_json_parse(json_text, (size_t)(tab - json_text), &json, NULL) < 0)
        return -EPROTO;
    struct mr_sealed sealed = {0};
    int r = read_sealed(json, &sealed);
    if (r < 0)
        return r;
    sealed.event = strdup(tab + 1);
    if (sealed.event == NULL)
        return -ENOMEM;
    free(d->sealed.event); /* a later record stands for an earlier one: the name had been taken */
    d->sealed = sealed;
    d->is_sealed = true;
    return 0;
}

/* ---- the whole ---- */

static int grow(struct mr_dossier *d, uint64_t *capacity, uint64_t count)
{
    if (count <= *capacity)
        return 0;
    uint64_t larger = count < 2 * *capacity ? 2 * *capacity : count + 64;
    struct mr_placement *slabs = realloc(d->slabs, larger * sizeof(*slabs));
    if (slabs == NULL)
        return -ENOMEM;
    memset(slabs + *capacity, 0, (larger - *capacity) * sizeof(*slabs));
    d->slabs = slabs;
    *capacity = larger;
    return 0;
}

struct reading {
    struct mr_dossier *d;
    uint64_t capacity;
    bool opened;
};

/* Missing slabs before one that is there: no agent leaves out so many (4 TiB), and a table of all
 * that one number from a peer can ask for would be of 10 GiB. */
#define AHEAD_MAX (UINT64_C(1) << 20)

static int take_slab(struct reading *reading, const char *text)
{
    struct mr_dossier *d = reading->d;
    struct mr_placement p;
    if (mr_placement_parse(text, &p) < 0 || p.slab >= d->durable + AHEAD_MAX) {
        d->damaged++;
        return 0;
    }
    int r = grow(d, &reading->capacity, p.slab + 1);
    if (r < 0)
        return r;
    d->durable += d->slabs[p.slab].raw_bytes == 0;
    d->slabs[p.slab] = p; /* the last one stands: sent again because an earlier copy was doubted */
    if (p.slab >= d->slab_count)
        d->slab_count = p.slab + 1;
    if (p.offset + p.stored_bytes > d->space_end)
        d->space_end = p.offset + p.stored_bytes;
    return 0;
}

static int visit(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    struct reading *reading = ctx;
    int r = 0;
    (void)bytes;
    (void)offset;
    switch (mr_placement_kind(text)) {
    case MR_RECORD_OPEN:
        r = parse_open(text, reading->d);
        reading->opened |= r == 0;
        return r == -ENOMEM ? r : 0;
    case MR_RECORD_SLAB:
        return take_slab(reading, text);
    case MR_RECORD_SEALED:
        r = parse_sealed(text, reading->d);
        return r == -ENOMEM ? r : 0;
    case MR_RECORD_UNKNOWN:
        break;
    }
    return 0;
}

void mr_dossier_forget_cached(int dirfd, const char *name)
{
    MR_CLEANUP(mr_fs_close) int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0)
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

int mr_dossier_read(int dirfd, const char *name, struct mr_dossier *ret, struct mr_err *err)
{
    MR_CLEANUP(mr_fs_close) int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return mr_err_errno(err, -errno, "journal %s", name);
    struct mr_dossier d = {0};
    struct reading reading = {.d = &d};
    struct mr_recordlog_scan scan;
    int r = mr_recordlog_scan(fd, 0, visit, &reading, &scan);
    if (r == 0 && scan.torn_tail && mr_recordlog_tail_is_damage(fd, &scan))
        scan.bad_records++; /* the last one, and it may have been acknowledged */
    if (r == 0 && !reading.opened)
        r = scan.records > 0 || scan.bad_records > 0 ? -EUCLEAN : -ENODATA;
    if (r < 0) {
        mr_dossier_fini(&d);
        return mr_err_errno(err, r, "journal %s", name);
    }
    struct mr_ulid id;
    uint32_t generation;
    if (mr_dossier_parse_name(name, "journal", &id, &generation) == 0)
        d.generation = generation; /* it may have been renamed since */
    d.damaged += scan.bad_records;
    d.good_bytes = scan.good_bytes;
    d.torn = scan.torn_tail;
    *ret = d;
    return 0;
}

void mr_dossier_fini(struct mr_dossier *d)
{
    free(d->slabs);
    free(d->sealed.event);
    d->slabs = NULL;
    d->sealed.event = NULL;
}

/* The offset between the clocks is known to the travel time of a message only, so what follows from
 * it may come out in the wrong order. */
struct mr_course mr_dossier_course(const struct mr_dossier *d, const struct mr_end *end,
                                   int64_t now_real_ns)
{
    struct mr_course course = {.started_real_ns = d->started_real_ns};
    if (end == NULL)
        return course;
    int64_t offset_ns = d->clock_offset_ms * MR_NS_PER_MS;
    if (end->started_real_ns != 0)
        course.started_real_ns = end->started_real_ns - offset_ns;
    int64_t latest = now_real_ns;
    if (end->finished_real_ns != 0) {
        course.finished_real_ns = end->finished_real_ns - offset_ns;
        if (course.finished_real_ns > now_real_ns)
            course.finished_real_ns = now_real_ns;
        latest = course.finished_real_ns;
    }
    if (course.started_real_ns > latest)
        course.started_real_ns = latest;
    return course;
}

void mr_dossier_name(const struct mr_ulid *id, uint32_t generation, const char *suffix,
                     char ret[MR_NAMING_PART])
{
    char text[MR_ULID_TEXT];
    snprintf(ret, MR_NAMING_PART, "%s.g%" PRIu32 ".%s", mr_ulid_text(id, text), generation, suffix);
}

int mr_dossier_parse_name(const char *name, const char *suffix, struct mr_ulid *ret_id,
                          uint32_t *ret_generation)
{
    char text[MR_ULID_TEXT], canonical[MR_NAMING_PART];
    struct mr_ulid id;
    uint32_t generation;
    if (strlen(name) < MR_ULID_TEXT)
        return -EINVAL;
    memcpy(text, name, MR_ULID_TEXT - 1);
    text[MR_ULID_TEXT - 1] = '\0';
    if (mr_ulid_parse(text, &id) < 0 ||
        sscanf(name + MR_ULID_TEXT - 1, ".g%" SCNu32, &generation) != 1)
        return -EINVAL;
    mr_dossier_name(&id, generation, suffix, canonical);
    if (strcmp(canonical, name) != 0)
        return -EINVAL;
    *ret_id = id;
    *ret_generation = generation;
    return 0;
}

int mr_dossier_next(DIR *dir, const char *suffix, struct mr_dossier_file *ret)
{
    int r;
    while ((r = mr_fs_next_name(dir, &ret->name)) == 0 && ret->name != NULL)
        if (mr_dossier_parse_name(ret->name, suffix, &ret->id, &ret->generation) == 0)
            return 1;
    return r;
}

uint32_t mr_dossier_epoch(uint32_t generation)
{
    return generation / MR_EPOCH_PARTS;
}

bool mr_dossier_is_foreign(uint32_t generation)
{
    return generation != 0 && generation % MR_EPOCH_PARTS == 0;
}

/* Of one movie, while its journals are gone through */
struct found {
    uint32_t foreign, newest;
};

static int look_through(int journal_dir, uint32_t epoch, const struct mr_ulid *id,
                        struct found *ret)
{
    struct mr_dossier_file f;
    MR_CLEANUP(mr_fs_list_close) DIR *dir = NULL;
    int r = mr_fs_list(journal_dir, &dir), more = 0;
    while (r == 0 && (more = mr_dossier_next(dir, "journal", &f)) > 0) {
        if (!mr_ulid_equal(&f.id, id) || mr_dossier_epoch(f.generation) != epoch)
            continue;
        if (mr_dossier_is_foreign(f.generation))
            ret->foreign = f.generation;
        if (f.generation > ret->newest)
            ret->newest = f.generation;
    }
    return r < 0 ? r : more;
}

int mr_dossier_find(int journal_dir, uint32_t epoch, const struct mr_ulid *id, uint32_t *ret,
                    uint32_t *ret_next)
{
    struct found f = {0};
    int r = look_through(journal_dir, epoch, id, &f);
    if (r < 0)
        return r;
    uint32_t next = f.newest == 0 ? epoch * MR_EPOCH_PARTS + 1 : f.newest + 1;
    if (mr_dossier_epoch(next) != epoch)
        return -EOVERFLOW;
    *ret = f.foreign != 0 ? f.foreign : f.newest;
    *ret_next = next;
    return 0;
}
