/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Catalogue lines as JSON. 64-bit values that are no counts (digests, keys) are hex texts, since
 * many JSON readers round numbers to doubles. Keeps no state and opens no file.
 */
#include "catalogue_line.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_hex(struct mr_json *o, const char *key, uint64_t value)
{
    char text[17];
    snprintf(text, sizeof(text), "%016" PRIX64, value);
    mr_json_put_string(o, key, text);
}

char *mr_catalogue_line_commit(const struct mr_catalogue_entry *e)
{
    char id[MR_ULID_TEXT];
    MR_CLEANUP(mr_json_freep) struct mr_json *o = mr_json_object();
    mr_json_put_string(o, "movie", mr_ulid_text(&e->id, id));
    mr_json_put_int(o, "revision", e->revision);
    mr_json_put_string(o, "agent", e->agent);
    mr_json_put_string(o, "source", e->source);
    mr_json_put_int(o, "source_bytes", (int64_t)e->source_bytes);
    mr_json_put_int(o, "source_mtime_ns", e->source_mtime_ns);
    mr_json_put_int(o, "output", e->output);
    put_hex(o, "geometry", e->geometry);
    mr_json_put_string(o, "path", e->path);
    mr_json_put_int(o, "bytes", (int64_t)e->bytes);
    mr_json_put_int(o, "mtime_ns", e->mtime_ns);
    put_hex(o, "file", e->digest_file);
    if (e->has_pixels)
        put_hex(o, "pixels", e->digest_pixels);
    mr_json_put_string(o, "event", e->event);
    mr_json_put_int(o, "sequence", (int64_t)e->sequence);
    mr_json_put_int(o, "committed_ns", e->committed_real_ns);
    return mr_json_dump(o);
}

char *mr_catalogue_line_expire(const struct mr_ulid *id, uint32_t revision)
{
    char text[MR_ULID_TEXT];
    MR_CLEANUP(mr_json_freep) struct mr_json *o = mr_json_object();
    mr_json_put_string(o, "expired", mr_ulid_text(id, text));
    mr_json_put_int(o, "revision", revision);
    return mr_json_dump(o);
}

static int need_hex(const struct mr_json *o, const char *key, uint64_t *ret, struct mr_err *err)
{
    const char *text = "";
    int r = mr_json_need_string(o, key, &text, err);
    if (r < 0)
        return r;
    if (strlen(text) != 16 || strspn(text, "0123456789ABCDEF") != 16)
        return mr_err_set(err, -EINVAL, "%s: not 16 hex digits", key);
    *ret = strtoull(text, NULL, 16);
    return 0;
}

static int need_u64(const struct mr_json *o, const char *key, uint64_t *ret, struct mr_err *err)
{
    int64_t value = 0;
    int r = mr_json_need_int(o, key, 0, INT64_MAX, &value, err);
    if (r == 0)
        *ret = (uint64_t)value;
    return r;
}

static int need_time(const struct mr_json *o, const char *key, int64_t *ret, struct mr_err *err)
{
    return mr_json_need_int(o, key, INT64_MIN, INT64_MAX, ret, err);
}

static int read_key(const struct mr_json *o, const char *key, struct mr_catalogue_entry *e,
                    struct mr_err *err)
{
    const char *id = "";
    int64_t revision = 0;
    int r = mr_json_need_string(o, key, &id, err);
    if (r == 0)
        r = mr_json_need_int(o, "revision", 1, UINT32_MAX, &revision, err);
    if (r < 0)
        return r;
    if (mr_ulid_parse(id, &e->id) < 0)
        return mr_err_set(err, -EINVAL, "%s: no ULID", key);
    e->revision = (uint32_t)revision;
    return 0;
}

static int read_pixels(const struct mr_json *o, struct mr_catalogue_entry *e, struct mr_err *err)
{
    if (!mr_json_get(o, "pixels"))
        return 0;
    e->has_pixels = true;
    return need_hex(o, "pixels", &e->digest_pixels, err);
}

static int read_commit(const struct mr_json *o, struct mr_catalogue_entry *e, struct mr_err *err)
{
    int64_t output = 0;
    int r = read_key(o, "movie", e, err);
    if (r < 0 || (r = mr_json_need_string(o, "agent", &e->agent, err)) < 0 ||
        (r = mr_json_need_string(o, "source", &e->source, err)) < 0 ||
        (r = need_u64(o, "source_bytes", &e->source_bytes, err)) < 0 ||
        (r = need_time(o, "source_mtime_ns", &e->source_mtime_ns, err)) < 0 ||
        (r = mr_json_need_int(o, "output", MR_OUTPUT_KEEP, MR_OUTPUT_HDF5, &output, err)) < 0 ||
        (r = need_hex(o, "geometry", &e->geometry, err)) < 0 ||
        (r = mr_json_need_string(o, "path", &e->path, err)) < 0 ||
        (r = need_u64(o, "bytes", &e->bytes, err)) < 0 ||
        (r = need_time(o, "mtime_ns", &e->mtime_ns, err)) < 0 ||
        (r = need_hex(o, "file", &e->digest_file, err)) < 0 || (r = read_pixels(o, e, err)) < 0 ||
        (r = mr_json_need_string(o, "event", &e->event, err)) < 0 ||
        (r = need_u64(o, "sequence", &e->sequence, err)) < 0)
        return r;
    e->output = (enum mr_output)output;
    return need_time(o, "committed_ns", &e->committed_real_ns, err);
}

int mr_catalogue_line_parse(const char *text, size_t bytes, struct mr_catalogue_line *ret,
                            struct mr_err *err)
{
    struct mr_catalogue_line line = {.expire = false};
    *ret = line;
    int r = mr_json_parse(text, bytes, &line.json, err);
    if (r < 0)
        return r == -ENOMEM ? r : -EPROTO;
    line.expire = mr_json_get(line.json, "expired") != NULL;
    r = line.expire ? read_key(line.json, "expired", &line.entry, err)
                    : read_commit(line.json, &line.entry, err);
    if (r < 0) {
        mr_json_free(line.json);
        return -EPROTO;
    }
    *ret = line;
    return 0;
}

void mr_catalogue_line_fini(struct mr_catalogue_line *line)
{
    mr_json_free(line->json);
    line->json = NULL;
}
