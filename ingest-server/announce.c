/* SPDX-License-Identifier: Apache-2.0 */
/* Events as JSON. Knows what users read; does not number, log or publish. */
#include "announce.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mr_announce_id(const struct mr_ulid *id, const char *kind, uint32_t revision,
                    char ret[MR_EVENT_ID_MAX + 1])
{
    char text[MR_ULID_TEXT];
    mr_ulid_text(id, text);
    if (revision > 1)
        snprintf(ret, MR_EVENT_ID_MAX + 1, "%s.%s.r%" PRIu32, text, kind, revision);
    else
        snprintf(ret, MR_EVENT_ID_MAX + 1, "%s.%s", text, kind);
}

static void put_time(struct mr_json *json, const char *key, int64_t real_ns)
{
    char text[MR_TIME_TEXT];
    mr_json_put_string(json, key, real_ns == 0 ? NULL : mr_clock_text(real_ns, text));
}

static void put_text(struct mr_json *json, const char *key, const char *text)
{
    mr_json_put_string(json, key, text[0] == '\0' ? NULL : text);
}

/* Headers hold single precision: 0.834 must not become 0.8339999914169312. */
static void put_real(struct mr_json *json, const char *key, double value)
{
    char text[32];
    snprintf(text, sizeof(text), "%.7g", value);
    if (value > 0)
        mr_json_put_real(json, key, strtod(text, NULL));
    else
        mr_json_put_null(json, key);
}

static void put_digest(struct mr_json *json, const char *key, uint64_t digest)
{
    char text[17];
    snprintf(text, sizeof(text), "%016" PRIX64, digest);
    mr_json_put_string(json, key, text);
}

static void full_path(const struct mr_store *store, const char *path, char *ret, size_t size)
{
    snprintf(ret, size, "%s/%s", store->root, path);
}

static const char *format_of(const struct mr_open *open)
{
    if (open->output == MR_OUTPUT_KEEP)
        return open->format;
    return open->output == MR_OUTPUT_MRC ? "mrc" : "hdf5";
}

static void put_shape(struct mr_json *data, const struct mr_open *open,
                      const struct mr_extent *extent)
{
    const struct mr_geometry *g = &open->geometry;
    if (open->kind != MR_KIND_MOVIE)
        return;
    mr_json_put_int(data, "frames", (int64_t)extent->frames);
    mr_json_put_int(data, "width", (int64_t)g->width);
    mr_json_put_int(data, "height", (int64_t)g->height);
    mr_json_put_string(data, "dtype", g->pixel == MR_PIXEL_NONE ? NULL : mr_pixel_name(g->pixel));
}

static void put_who(struct mr_json *data, const struct mr_store *store, const struct mr_open *open,
                    const char *agent)
{
    char id[MR_ULID_TEXT];
    mr_json_put_string(data, "movie", mr_ulid_text(&open->movie, id));
    mr_json_put_int(data, "revision", open->revision);
    mr_json_put_string(data, "agent", agent);
    mr_json_put_string(data, "site", store->site);
    put_text(data, "session", open->session);
}

static void put_where(struct mr_json *data, const struct mr_store *store, const char *path)
{
    char full[MR_NAMING_PATH_MAX + 4096];
    full_path(store, path, full, sizeof(full));
    mr_json_put_string(data, "path", full);
    mr_json_put_string(data, "relative_path", path);
}

static void put_files(struct mr_json *data, const struct mr_store *store, const struct mr_sealed *s)
{
    char full[MR_NAMING_PATH_MAX + 4096];
    struct mr_json *digest = mr_json_object();
    mr_json_put_string(digest, "algorithm", "crc64-xz");
    put_digest(digest, "file", s->digest_file);
    if (s->has_pixels)
        put_digest(digest, "pixels", s->digest_pixels);
    mr_json_put(data, "digest", digest);
    struct mr_json *file = mr_json_object();
    full_path(store, s->path, full, sizeof(full));
    mr_json_put_string(file, "path", full);
    mr_json_put_int(file, "bytes", (int64_t)s->bytes);
    put_digest(file, "digest", s->digest_file);
    struct mr_json *files = mr_json_array();
    mr_json_add(files, file);
    mr_json_put(data, "files", files);
}

static void add_lines(struct mr_json *array, const char *lines)
{
    char line[MR_TEXT_MAX];
    while (*lines != '\0') {
        size_t length = strcspn(lines, "\n");
        snprintf(line, sizeof(line), "%.*s", (int)length, lines);
        if (length > 0)
            mr_json_add_string(array, line);
        lines += length + (lines[length] == '\n');
    }
}

static void put_warnings(struct mr_json *data, const struct mr_announcement *a)
{
    struct mr_json *warnings = mr_json_array();
    char text[MR_TEXT_MAX];
    if (a->end != NULL)
        add_lines(warnings, a->end->warnings);
    if (a->renamed)
        mr_json_add_string(warnings, "another file of this name exists: stored under a new name");
    if (a->left_out != NULL && a->left_out[0] != '\0') {
        snprintf(text, sizeof(text), "no room in the HDF5 part for: %s", a->left_out);
        mr_json_add_string(warnings, text);
    }
    mr_json_put(data, "warnings", warnings);
}

static void put_metadata(struct mr_json *data, const struct mr_end *end)
{
    struct mr_json *metadata = NULL;
    if (end == NULL || end->metadata == NULL ||
        mr_json_parse((const char *)end->metadata, end->metadata_bytes, &metadata, NULL) < 0)
        metadata = mr_json_object();
    mr_json_put(data, "metadata", metadata);
}

static struct mr_json *movie_data(const struct mr_store *store, const struct mr_dossier *d,
                                  const struct mr_announcement *a)
{
    const struct mr_open *open = &d->open;
    const struct mr_end *end = a->end;
    struct mr_json *data = mr_json_object();
    put_who(data, store, open, d->agent);
    put_where(data, store, a->sealed->path);
    mr_json_put_string(data, "source_path", open->source_path);
    mr_json_put_int(data, "source_bytes", (int64_t)a->extent->source_bytes);
    put_time(data, "source_mtime", a->sealed->source_mtime_ns);
    mr_json_put_string(data, "format", format_of(open));
    mr_json_put_string(data, "output", mr_output_name(open->output));
    mr_json_put_int(data, "bytes", (int64_t)a->sealed->bytes);
    put_shape(data, open, a->extent);
    if (open->kind == MR_KIND_MOVIE)
        put_real(data, "pixel_size_angstrom",
                 end != NULL ? end->pixel_size_angstrom : open->pixel_size_angstrom);
    mr_json_put_string(data, "complete_by", end == NULL ? NULL : end->complete_by);
    mr_json_put_string(data, "codec",
                       mr_codec_name(open->output == MR_OUTPUT_HDF5 ? open->codec : MR_CODEC_NONE));
    if (a->sealed->failed) {
        mr_json_put_string(data, "reason", a->reason);
        mr_json_put_string(data, "reason_code", mr_reason_name(a->code));
    } else {
        put_files(data, store, a->sealed);
    }
    mr_json_put(data, "sidecars", mr_json_array());
    mr_json_put(data, "missing", mr_json_array());
    mr_json_put_null(data, "gain_reference");
    put_warnings(data, a);
    struct mr_course course = mr_dossier_course(d, end, a->committed_real_ns);
    put_time(data, "started", course.started_real_ns);
    put_time(data, "finished", course.finished_real_ns);
    put_time(data, "committed", a->committed_real_ns);
    mr_json_put_int(data, "clock_offset_ms", d->clock_offset_ms);
    put_metadata(data, end);
    return data;
}

/* Takes data. */
static int encode(const struct mr_store *store, const char *agent, const char *type, const char *id,
                  const char *subject, int64_t real_ns, struct mr_json *data, char **ret)
{
    char source[256], escaped[3 * MR_PATH_MAX + 1];
    struct mr_text readable = mr_text_init(escaped, sizeof(escaped));
    size_t bytes;
    mr_text_append_escaped(&readable, subject); /* a file's name may be any bytes, JSON may not */
    snprintf(source, sizeof(source), "/millrace/%s%s%s", store->server, agent[0] ? "/" : "", agent);
    char *text = mr_json_dump(data);
    mr_json_free(data);
    if (text == NULL)
        return -ENOMEM;
    const struct mr_event event = {.type = type,
                                   .id = id,
                                   .source = source,
                                   .subject = escaped,
                                   .time_real_ns = real_ns,
                                   .data = text};
    int r = mr_event_encode(&event, ret, &bytes);
    free(text);
    return r;
}

int mr_announce_movie(const struct mr_store *store, const struct mr_dossier *d,
                      const struct mr_announcement *a, char **ret)
{
    char id[MR_EVENT_ID_MAX + 1];
    const char *type = d->open.kind == MR_KIND_MOVIE ? MR_EVENT_MOVIE_READY : MR_EVENT_FILE_READY;
    if (a->sealed->failed)
        type = MR_EVENT_MOVIE_FAILED;
    mr_announce_id(&d->open.movie, a->sealed->failed ? "failed" : "ready", d->open.revision, id);
    return encode(store, d->agent, type, id, d->open.path, a->committed_real_ns,
                  movie_data(store, d, a), ret);
}

static void move_file(struct mr_json *data, const char *full)
{
    const struct mr_json *files = mr_json_get(data, "files");
    if (files == NULL || mr_json_count(files) == 0)
        return;
    struct mr_json *file = mr_json_copy(mr_json_at(files, 0));
    struct mr_json *moved = mr_json_array();
    mr_json_put_string(file, "path", full);
    mr_json_add(moved, file);
    mr_json_put(data, "files", moved);
}

int mr_announce_moved(const struct mr_store *store, const char *event, const char *path, char **ret)
{
    char full[MR_NAMING_PATH_MAX + 4096];
    MR_CLEANUP(mr_json_freep) struct mr_json *json = NULL;
    int r = mr_json_parse(event, strlen(event), &json, NULL);
    if (r < 0)
        return r;
    const struct mr_json *old = mr_json_get(json, "data");
    struct mr_json *data = old == NULL ? mr_json_object() : mr_json_copy(old);
    full_path(store, path, full, sizeof(full));
    put_where(data, store, path);
    move_file(data, full);
    mr_json_put(json, "data", data);
    *ret = mr_json_dump(json);
    return *ret == NULL ? -ENOMEM : 0;
}

int mr_announce_started(const struct mr_store *store, const struct mr_open *open, const char *agent,
                        int64_t real_ns, char **ret)
{
    char id[MR_EVENT_ID_MAX + 1];
    struct mr_json *data = mr_json_object();
    put_who(data, store, open, agent);
    mr_json_put_string(data, "source_path", open->source_path);
    mr_json_put_string(data, "output", mr_output_name(open->output));
    put_time(data, "started", real_ns);
    mr_announce_id(&open->movie, "started", open->revision, id);
    return encode(store, agent, MR_EVENT_MOVIE_STARTED, id, open->path, real_ns, data, ret);
}

int mr_announce_presence(const struct mr_store *store, const struct mr_hello *hello, bool online,
                         int64_t real_ns, char **ret)
{
    char id[MR_EVENT_ID_MAX + 1];
    struct mr_ulid event;
    struct mr_json *data = mr_json_object();
    mr_json_put_string(data, "agent", hello->name);
    mr_json_put_string(data, "site", store->site);
    mr_json_put_string(data, "host", hello->host);
    mr_json_put_string(data, "software", hello->software);
    mr_ulid_new(real_ns, &event);
    mr_announce_id(&event, online ? "online" : "offline", 1, id);
    return encode(store, hello->name, online ? MR_EVENT_AGENT_ONLINE : MR_EVENT_AGENT_OFFLINE, id,
                  hello->name, real_ns, data, ret);
}

int mr_announce_space(const struct mr_store *store, const struct mr_space_view *space,
                      int64_t real_ns, char **ret)
{
    char id[MR_EVENT_ID_MAX + 1];
    struct mr_ulid event;
    struct mr_json *data = mr_json_object();
    mr_json_put_string(data, "root", store->root);
    mr_json_put_string(data, "site", store->site);
    mr_json_put_bool(data, "paused", space->paused);
    mr_json_put_int(data, "free_bytes", (int64_t)space->free_bytes);
    mr_json_put_int(data, "total_bytes", (int64_t)space->total_bytes);
    mr_json_put_int(data, "keep_free_bytes", (int64_t)space->keep_bytes);
    mr_ulid_new(real_ns, &event);
    mr_announce_id(&event, space->paused ? "full" : "space", 1, id);
    return encode(store, "", space->paused ? MR_EVENT_STORE_FULL : MR_EVENT_STORE_SPACE, id,
                  store->root, real_ns, data, ret);
}
