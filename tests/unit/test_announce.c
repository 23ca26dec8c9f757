/* SPDX-License-Identifier: Apache-2.0 */
/* The words of events: valid JSON with the fields users rely on, and no other. */
#include "announce.h"

#include "base/json.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>

#define ID "01J0000000000000000000000A"

static char root_text[] = "/data/store", site_text[] = "north", server_text[] = "storage1";
static const struct mr_store store = {.root = root_text, .site = site_text, .server = server_text};

struct sample {
    struct mr_dossier d;
    struct mr_end end;
    struct mr_announcement a;
};

static struct sample *make(void)
{
    struct sample *s = calloc(1, sizeof(*s));
    struct mr_err err = {0};
    struct mr_open *open = &s->d.open;
    ck_assert_int_eq(mr_ulid_parse(ID, &open->movie), 0);
    strcpy(s->d.agent, "k3-krios1");
    s->d.started_real_ns = INT64_C(1795330800000000000);
    s->d.clock_offset_ms = 1500;
    open->revision = 1;
    open->kind = MR_KIND_MOVIE;
    open->output = MR_OUTPUT_KEEP;
    strcpy(open->format, "mrc");
    strcpy(open->path, "grid7/movie_0001.mrc");
    strcpy(open->source_path, "/data/movies/grid7/movie_0001.mrc");
    ck_assert_int_eq(mr_geometry_frames(MR_LAYOUT_BYTES, MR_PIXEL_I8, false, 5760, 4092, 1024, 0,
                                        &open->geometry, &err),
                     0);
    s->end = (struct mr_end){.extent = {.frames = 40, .source_bytes = 942797824},
                             .complete_by = "close",
                             .pixel_size_angstrom = 0.834,
                             .finished_real_ns = INT64_C(1795330802500000000)};
    s->d.sealed = (struct mr_sealed){.path = "k3-krios1/grid7/movie_0001.mrc",
                                     .bytes = 942797824,
                                     .digest_file = UINT64_C(0x0242280E488DAD9A),
                                     .digest_pixels = 10,
                                     .has_pixels = true,
                                     .source_mtime_ns = INT64_C(1795330801000000000)};
    s->a = (struct mr_announcement){.end = &s->end,
                                    .extent = &s->end.extent,
                                    .sealed = &s->d.sealed,
                                    .left_out = "",
                                    .committed_real_ns = INT64_C(1795330803000000000)};
    return s;
}

static struct mr_json *parsed(char *text)
{
    struct mr_json *json = NULL;
    struct mr_err err = {0};
    ck_assert_msg(mr_json_parse(text, strlen(text), &json, &err) == 0, "%s: %s", err.text, text);
    ck_assert_ptr_null(strchr(text, '\n'));
    free(text);
    return json;
}

static struct mr_json *said(const struct sample *s)
{
    char *text = NULL;
    ck_assert_int_eq(mr_announce_movie(&store, &s->d, &s->a, &text), 0);
    return parsed(text);
}

static int add_key(void *ctx, const char *key, const struct mr_json *value)
{
    char *keys = ctx;
    (void)value;
    strcat(keys, key);
    strcat(keys, " ");
    return 0;
}

static void has_keys(const struct mr_json *object, const char *wanted)
{
    char keys[1024] = "";
    ck_assert_int_eq(mr_json_each(object, add_key, keys), 0);
    ck_assert_str_eq(keys, wanted);
}

static const char *text_of(const struct mr_json *object, const char *key)
{
    const char *text = mr_json_string_value(mr_json_get(object, key));
    ck_assert_msg(text != NULL, "%s", key);
    return text;
}

static bool is_null(const struct mr_json *object, const char *key)
{
    return mr_json_type(mr_json_get(object, key)) == MR_JSON_NULL;
}

START_TEST(ready_has_the_fields_of_the_contract)
{
    struct sample *s = make();
    struct mr_json *event = said(s);
    const struct mr_json *data = mr_json_get(event, "data");
    has_keys(event, "specversion type id source subject time datacontenttype data ");
    has_keys(data, "movie revision agent site session path relative_path source_path source_bytes "
                   "source_mtime format output bytes frames width height dtype "
                   "pixel_size_angstrom complete_by codec digest files sidecars missing "
                   "gain_reference warnings started finished committed clock_offset_ms metadata ");
    ck_assert_str_eq(text_of(event, "type"), "millrace.movie.ready.v1");
    ck_assert_str_eq(text_of(event, "source"), "/millrace/storage1/k3-krios1");
    ck_assert_str_eq(text_of(event, "id"), ID ".ready");
    ck_assert_str_eq(text_of(event, "subject"), "grid7/movie_0001.mrc");
    ck_assert_str_eq(text_of(data, "path"), "/data/store/k3-krios1/grid7/movie_0001.mrc");
    ck_assert_str_eq(text_of(data, "relative_path"), "k3-krios1/grid7/movie_0001.mrc");
    ck_assert_str_eq(text_of(data, "site"), "north");
    ck_assert_str_eq(text_of(data, "dtype"), "int8");
    ck_assert_str_eq(text_of(data, "format"), "mrc");
    ck_assert_str_eq(text_of(data, "output"), "keep");
    ck_assert_str_eq(text_of(data, "codec"), "none");
    ck_assert_str_eq(text_of(data, "complete_by"), "close");
    ck_assert_int_eq(mr_json_int_value(mr_json_get(data, "frames")), 40);
    ck_assert(is_null(data, "session"));
    ck_assert(is_null(data, "gain_reference"));
    ck_assert_uint_eq(mr_json_count(mr_json_get(data, "metadata")), 0);
    mr_json_free(event);
    free(s);
}
END_TEST

START_TEST(digests_are_sixteen_digits)
{
    struct sample *s = make();
    struct mr_json *event = said(s);
    const struct mr_json *data = mr_json_get(event, "data");
    const struct mr_json *digest = mr_json_get(data, "digest");
    const struct mr_json *file = mr_json_at(mr_json_get(data, "files"), 0);
    has_keys(digest, "algorithm file pixels ");
    has_keys(file, "path bytes digest ");
    ck_assert_str_eq(text_of(digest, "algorithm"), "crc64-xz");
    ck_assert_str_eq(text_of(digest, "file"), "0242280E488DAD9A");
    ck_assert_str_eq(text_of(digest, "pixels"), "000000000000000A");
    ck_assert_str_eq(text_of(file, "digest"), "0242280E488DAD9A");
    mr_json_free(event);
    free(s);
}
END_TEST

START_TEST(pixel_size_is_as_precise_as_headers)
{
    struct sample *s = make();
    double value = 0;
    s->end.pixel_size_angstrom = (double)0.834f;
    struct mr_json *event = said(s);
    ck_assert_int_eq(
        mr_json_need_real(mr_json_get(event, "data"), "pixel_size_angstrom", &value, NULL), 0);
    ck_assert(value == 0.834);
    mr_json_free(event);
    free(s);
}
END_TEST

/* The agent's clock is 1.5 s ahead: what it said is put on the server's. */
START_TEST(times_are_the_servers)
{
    struct sample *s = make();
    struct mr_json *event = said(s);
    const struct mr_json *data = mr_json_get(event, "data");
    ck_assert_str_eq(text_of(data, "started"), "2026-11-22T07:00:00.000Z");
    ck_assert_str_eq(text_of(data, "finished"), "2026-11-22T07:00:01.000Z");
    ck_assert_str_eq(text_of(data, "committed"), "2026-11-22T07:00:03.000Z");
    ck_assert_str_eq(text_of(event, "time"), "2026-11-22T07:00:03.000Z");
    ck_assert_str_eq(text_of(data, "source_mtime"), "2026-11-22T07:00:01.000Z");
    mr_json_free(event);
    free(s);
}
END_TEST

START_TEST(file_that_is_no_movie_has_no_frames)
{
    struct sample *s = make();
    s->d.open.kind = MR_KIND_FILE;
    mr_geometry_opaque(&s->d.open.geometry);
    strcpy(s->d.open.format, "file");
    s->d.sealed.has_pixels = false;
    struct mr_json *event = said(s);
    const struct mr_json *data = mr_json_get(event, "data");
    ck_assert_str_eq(text_of(event, "type"), "millrace.file.ready.v1");
    ck_assert_ptr_null(mr_json_get(data, "frames"));
    ck_assert_ptr_null(mr_json_get(data, "dtype"));
    has_keys(mr_json_get(data, "digest"), "algorithm file ");
    mr_json_free(event);
    free(s);
}
END_TEST

START_TEST(warnings_and_metadata_are_passed_on)
{
    struct sample *s = make();
    static const char metadata[] = "{\"mdoc\":{\"Dose\":1.5},\"n\":[1]}";
    s->end.metadata = (const uint8_t *)metadata;
    s->end.metadata_bytes = sizeof(metadata) - 1;
    strcpy(s->end.warnings, "one\n\ntwo \xff\n");
    s->a.left_out = "FEI1 header";
    s->a.renamed = true;
    strcpy(s->d.open.session, "visit-12");
    struct mr_json *event = said(s);
    const struct mr_json *data = mr_json_get(event, "data");
    const struct mr_json *warnings = mr_json_get(data, "warnings");
    ck_assert_uint_eq(mr_json_count(warnings), 4);
    ck_assert_str_eq(mr_json_string_value(mr_json_at(warnings, 0)), "one");
    ck_assert_str_eq(mr_json_string_value(mr_json_at(warnings, 1)), "two %FF");
    ck_assert_ptr_nonnull(strstr(mr_json_string_value(mr_json_at(warnings, 3)), "FEI1 header"));
    ck_assert_ptr_nonnull(mr_json_get(mr_json_get(data, "metadata"), "mdoc"));
    ck_assert_str_eq(text_of(data, "session"), "visit-12");
    mr_json_free(event);
    static const char broken[] = "{\"mdoc\":";
    s->end.metadata = (const uint8_t *)broken;
    s->end.metadata_bytes = sizeof(broken) - 1;
    event = said(s);
    data = mr_json_get(event, "data");
    ck_assert_uint_eq(mr_json_count(mr_json_get(data, "metadata")), 0);
    mr_json_free(event);
    free(s);
}
END_TEST

START_TEST(outputs_name_what_they_are)
{
    struct sample *s = make();
    s->d.open.output = MR_OUTPUT_HDF5;
    s->d.open.codec = MR_CODEC_BSLZ4;
    struct mr_json *event = said(s);
    ck_assert_str_eq(text_of(mr_json_get(event, "data"), "format"), "hdf5");
    ck_assert_str_eq(text_of(mr_json_get(event, "data"), "codec"), "bslz4");
    mr_json_free(event);
    s->d.open.output = MR_OUTPUT_MRC; /* a codec is for the link only */
    event = said(s);
    ck_assert_str_eq(text_of(mr_json_get(event, "data"), "format"), "mrc");
    ck_assert_str_eq(text_of(mr_json_get(event, "data"), "codec"), "none");
    mr_json_free(event);
    free(s);
}
END_TEST

START_TEST(failed_says_why_and_has_no_digest)
{
    struct sample *s = make();
    s->d.sealed.failed = true;
    s->a.end = NULL;
    s->a.reason = "the camera stopped";
    s->a.code = MR_REASON_SOURCE;
    struct mr_json *event = said(s);
    const struct mr_json *data = mr_json_get(event, "data");
    ck_assert_str_eq(text_of(event, "type"), "millrace.movie.failed.v1");
    ck_assert_str_eq(text_of(event, "id"), ID ".failed");
    ck_assert_str_eq(text_of(data, "reason"), "the camera stopped");
    ck_assert_str_eq(text_of(data, "reason_code"), mr_reason_name(MR_REASON_SOURCE));
    ck_assert_ptr_null(mr_json_get(data, "digest"));
    ck_assert_ptr_null(mr_json_get(data, "files"));
    mr_json_free(event);
    free(s);
}
END_TEST

START_TEST(revisions_have_ids_of_their_own)
{
    struct mr_ulid id;
    char text[64];
    ck_assert_int_eq(mr_ulid_parse(ID, &id), 0);
    mr_announce_id(&id, "ready", 1, text);
    ck_assert_str_eq(text, ID ".ready");
    mr_announce_id(&id, "ready", 2, text);
    ck_assert_str_eq(text, ID ".ready.r2");
}
END_TEST

START_TEST(moved_event_differs_in_its_paths_alone)
{
    struct sample *s = make();
    char *text = NULL, *moved = NULL, *expected = NULL;
    ck_assert_int_eq(mr_announce_movie(&store, &s->d, &s->a, &text), 0);
    ck_assert_int_eq(mr_announce_moved(&store, text, "k3-krios1/grid7/movie_0001_dup2.mrc", &moved),
                     0);
    strcpy(s->d.sealed.path, "k3-krios1/grid7/movie_0001_dup2.mrc");
    ck_assert_int_eq(mr_announce_movie(&store, &s->d, &s->a, &expected), 0);
    ck_assert_str_eq(moved, expected);
    char type[MR_EVENT_TYPE_MAX + 1], id[MR_EVENT_ID_MAX + 1];
    ck_assert_int_eq(mr_event_names(moved, strlen(moved), type, id), 0); /* the log takes it */
    free(text);
    free(moved);
    free(expected);
    free(s);
}
END_TEST

START_TEST(started_and_presence)
{
    struct sample *s = make();
    char *text = NULL;
    ck_assert_int_eq(mr_announce_started(&store, &s->d.open, "k3-krios1", 1, &text), 0);
    struct mr_json *event = parsed(text);
    ck_assert_str_eq(text_of(event, "type"), "millrace.movie.started.v1");
    ck_assert_str_eq(text_of(event, "id"), ID ".started");
    ck_assert_str_eq(text_of(mr_json_get(event, "data"), "movie"), ID);
    mr_json_free(event);
    const struct mr_hello hello = {.name = "k3-krios1", .host = "camera", .software = "x 1"};
    for (int online = 0; online < 2; online++) {
        ck_assert_int_eq(mr_announce_presence(&store, &hello, online != 0, 1, &text), 0);
        event = parsed(text);
        ck_assert_str_eq(text_of(event, "type"),
                         online != 0 ? "millrace.agent.online.v1" : "millrace.agent.offline.v1");
        ck_assert_str_eq(text_of(mr_json_get(event, "data"), "host"), "camera");
        mr_json_free(event);
    }
    free(s);
}
END_TEST

START_TEST(store_says_how_much_is_left)
{
    struct mr_space_view v = {
        .free_bytes = 5, .total_bytes = 1000, .keep_bytes = 20, .paused = true};
    for (int full = 1; full >= 0; full--) {
        char *text = NULL, type[MR_EVENT_TYPE_MAX + 1], id[MR_EVENT_ID_MAX + 1];
        v.paused = full != 0;
        ck_assert_int_eq(mr_announce_space(&store, &v, 1, &text), 0);
        ck_assert_int_eq(mr_event_names(text, strlen(text), type, id), 0);
        ck_assert_str_eq(type, full ? "millrace.store.full.v1" : "millrace.store.space.v1");
        ck_assert_str_eq(id + 26, full ? ".full" : ".space");
        struct mr_json *event = parsed(text);
        has_keys(mr_json_get(event, "data"),
                 "root site paused free_bytes total_bytes keep_free_bytes ");
        ck_assert_str_eq(text_of(event, "source"), "/millrace/storage1");
        ck_assert_str_eq(text_of(event, "subject"), "/data/store");
        mr_json_free(event);
    }
}
END_TEST

MR_SUITE("announce", T(ready_has_the_fields_of_the_contract), T(digests_are_sixteen_digits),
         T(pixel_size_is_as_precise_as_headers), T(times_are_the_servers),
         T(file_that_is_no_movie_has_no_frames), T(warnings_and_metadata_are_passed_on),
         T(outputs_name_what_they_are), T(failed_says_why_and_has_no_digest),
         T(revisions_have_ids_of_their_own), T(moved_event_differs_in_its_paths_alone),
         T(started_and_presence), T(store_says_how_much_is_left))
