/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MRC movies as SerialEM's and Leginon's plugin writes them: the header twice, frames in order, the
 * right NZ and the statistics last. Judges a file by its first 1024 bytes and its size; reads no
 * pixels.
 *
 * Growing: every whole frame but the newest one is settled (nobody flushes per frame, so the newest
 * may be there in part), the header is not. Complete: NZ and size agree, and one of: its writer
 * closed it; its mdoc names as many frames; the final header was written; nothing changed for
 * `quiet`. Never by time alone while they disagree: then it is broken, `give_up` after the last
 * change.
 */
#include "source.h"

#include "wire/mrc_header.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A note: the header was seen without statistics, so statistics seen later are the final header. */
#define NOTE_SEEN_UNFINISHED 1u

#define MAP_AT 208 /* where "MAP " and the machine stamp stand */

static bool ends_with(const char *s, const char *end)
{
    size_t length = strlen(s), end_length = strlen(end);
    return length > end_length && strcasecmp(s + length - end_length, end) == 0;
}

static bool probe(const char *path)
{
    return ends_with(path, ".mrc") || ends_with(path, ".mrcs");
}

static int64_t age_of(const struct mr_source_facts *facts)
{
    return facts->now_ns - facts->changed_ns;
}

/* Looks at changed_ns + wait again, or says that the file is broken when that is past (push:
 * now). */
static void break_after(const struct mr_source_facts *facts, int64_t wait_ns,
                        struct mr_source_view *ret)
{
    if (facts->as_it_is || age_of(facts) >= wait_ns)
        ret->state = MR_SOURCE_BROKEN;
    else
        ret->deadline_ns = facts->changed_ns + wait_ns;
}

static bool all_zero(const uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (data[i] != 0)
            return false;
    return true;
}

/* No header yet: the plugin writes it after frame 0, and makes and deletes an empty file before
 * all. */
static bool await_header(const struct mr_source_facts *facts, struct mr_source_view *ret,
                         struct mr_text *why)
{
    if (facts->head_bytes >= MR_MRC_HEADER_BYTES && !all_zero(facts->head, MR_MRC_HEADER_BYTES))
        return false;
    if (facts->size == 0)
        mr_text_append(why, "empty, no MRC header yet");
    else if (facts->head_bytes < MR_MRC_HEADER_BYTES)
        mr_text_appendf(why, "%" PRIu64 " bytes, shorter than an MRC header", facts->size);
    else
        mr_text_append(why, "no MRC header yet: its first 1024 bytes are zero");
    break_after(facts, facts->give_up_ns, ret);
    return true;
}

/* A header that says nonsense. Headers are right last, so its writer gets time to mend it: until it
 * has closed the file and let it rest. */
static void refuse_header(const struct mr_source_facts *facts, const char *text,
                          struct mr_source_view *ret, struct mr_text *why)
{
    bool let_go = facts->closed && facts->quiet_ns < facts->give_up_ns;
    mr_text_append(why, text);
    break_after(facts, let_go ? facts->quiet_ns : facts->give_up_ns, ret);
}

/* NumSubFrames of an mdoc, 0 where it has none, has it cut, or has several (a tilt series). */
static uint64_t mdoc_frames(const char *mdoc)
{
    static const char key[] = "NumSubFrames";
    uint64_t frames = 0;
    for (const char *line = mdoc; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n');
        const char *value = line + sizeof(key) - 1;
        if (end != NULL && strncmp(line, key, sizeof(key) - 1) == 0) {
            value += strspn(value, " \t");
            if (frames != 0 || *value != '=')
                return 0;
            value += 1 + strspn(value + 1, " \t");
            char *rest;
            frames = *value >= '1' && *value <= '9' ? strtoull(value, &rest, 10) : 0;
            if (frames == 0 || rest + strspn(rest, " \t\r") != end)
                return 0;
        }
        line = end != NULL ? end + 1 : NULL;
    }
    return frames;
}

static void describe(const struct mr_mrc_header *h, const struct mr_source_facts *facts,
                     struct mr_source_view *ret)
{
    ret->known = true;
    ret->kind = MR_KIND_MOVIE;
    ret->pixel = h->pixel;
    ret->swap_bytes = h->big_endian;
    ret->width = (uint64_t)h->nx;
    ret->height = (uint64_t)h->ny;
    ret->ext_bytes = (uint64_t)h->nsymbt;
    ret->data_offset = mr_mrc_data_offset(h);
    ret->frame_bytes = mr_mrc_frame_bytes(h);
    ret->pixel_size_angstrom = h->pixel_size_angstrom;
    if (h->nz > 0)
        ret->bytes_expected = ret->data_offset + (uint64_t)h->nz * ret->frame_bytes;
    if (facts->size > ret->data_offset)
        ret->frames = (facts->size - ret->data_offset) / ret->frame_bytes;
}

/* Once the file has the size that the header expects, nothing more is taken as settled before it is
 * complete: a copier that sets the size first shows frames of zeros. */
static void settle(const struct mr_source_facts *facts, const struct mr_source_view *before,
                   struct mr_source_view *ret)
{
    uint64_t from = ret->data_offset < facts->size ? ret->data_offset : facts->size;
    uint64_t to = from;
    bool full = ret->bytes_expected != 0 && facts->size >= ret->bytes_expected;
    if (!full && facts->size > from)
        to = from + (facts->size - from - 1) / ret->frame_bytes * ret->frame_bytes;
    if (before != NULL && before->known && before->settled_to > to &&
        before->settled_to <= facts->size)
        to = before->settled_to;
    ret->settled_from = from;
    ret->settled_to = to;
}

static void complete(const struct mr_source_facts *facts, enum mr_complete_by by,
                     struct mr_source_view *ret, struct mr_text *why)
{
    ret->state = MR_SOURCE_COMPLETE;
    ret->complete_by = by;
    ret->settled_from = 0;
    ret->settled_to = facts->size;
    mr_text_appendf(why, "%" PRIu64 " frames, by %s", ret->frames, mr_complete_by_name(by));
}

/* NZ and size agree: what else says that it is complete? */
static enum mr_complete_by find_reason(const struct mr_source_facts *facts, uint64_t frames,
                                       bool finished, struct mr_source_view *ret)
{
    int64_t settle_ns =
        facts->quiet_ns < MR_SOURCE_SETTLE_NS ? facts->quiet_ns : MR_SOURCE_SETTLE_NS;
    int64_t wait_ns = finished ? settle_ns : facts->quiet_ns;
    if (facts->as_it_is)
        return MR_COMPLETE_PUSH;
    if (facts->closed)
        return MR_COMPLETE_CLOSE;
    if (facts->mdoc != NULL && mdoc_frames(facts->mdoc) == frames)
        return MR_COMPLETE_MDOC;
    if (finished && ((ret->notes & NOTE_SEEN_UNFINISHED) != 0 || age_of(facts) >= settle_ns))
        return MR_COMPLETE_HEADER;
    if (age_of(facts) >= facts->quiet_ns)
        return MR_COMPLETE_QUIET;
    ret->deadline_ns = facts->changed_ns + wait_ns;
    return MR_COMPLETE_NOT;
}

static void judge(const struct mr_mrc_header *h, const struct mr_source_facts *facts,
                  const struct mr_source_view *before, struct mr_source_view *ret,
                  struct mr_text *why)
{
    bool finished = mr_mrc_stats_set(h);
    describe(h, facts, ret);
    settle(facts, before, ret);
    ret->notes = before != NULL ? before->notes : 0;
    ret->state = MR_SOURCE_GROWING;
    if (h->nz > 0 && facts->size == ret->bytes_expected) {
        enum mr_complete_by by = find_reason(facts, (uint64_t)h->nz, finished, ret);
        if (by != MR_COMPLETE_NOT)
            complete(facts, by, ret, why);
        else
            mr_text_appendf(why, "all %d frames there, waiting for its writer to finish", h->nz);
    } else {
        break_after(facts, facts->give_up_ns, ret);
        mr_text_appendf(why,
                        ret->state == MR_SOURCE_BROKEN
                            ? "header and size disagree: NZ %d makes %" PRIu64
                              " bytes, the file has %" PRIu64 " (%" PRIu64 " whole frames)"
                            : "growing: NZ %d makes %" PRIu64 " bytes, %" PRIu64 " there (%" PRIu64
                              " whole frames)",
                        h->nz, h->nz > 0 ? ret->bytes_expected : ret->data_offset, facts->size,
                        ret->frames);
    }
    if (!finished)
        ret->notes |= NOTE_SEEN_UNFINISHED;
}

/* Complex transforms, and what was written before MRC2014, are files like any other: kept, not
 * taken apart. */
static void look_at_other(const char *what, const struct mr_source_facts *facts,
                          struct mr_source_view *ret, struct mr_text *why)
{
    ret->kind = MR_KIND_FILE;
    mr_source_opaque.look(facts, NULL, ret, why);
    mr_text_appendf(why, " (%s: kept as it is)", what);
}

/* An MRC file of before the year 2000, or of a program that knows no better, has no "MAP ". It is
 * taken for one only where its size is to the byte what its header says. */
static bool is_old_mrc(const struct mr_source_facts *facts)
{
    uint8_t head[MR_MRC_HEADER_BYTES];
    struct mr_mrc_header h;
    if (memcmp(facts->head + MAP_AT, "MAP ", 4) == 0)
        return false;
    memcpy(head, facts->head, sizeof(head));
    memcpy(head + MAP_AT, head[MAP_AT + 4] == 0x11 ? "MAP \x11\x11" : "MAP DD", 6);
    return !mr_mrc_header_unset(head) && mr_mrc_header_decode(head, &h, NULL) == 0 && h.nz > 0 &&
           h.pixel != MR_PIXEL_NONE &&
           facts->size == mr_mrc_data_offset(&h) + (uint64_t)h.nz * mr_mrc_frame_bytes(&h);
}

static void look(const struct mr_source_facts *facts, const struct mr_source_view *before,
                 struct mr_source_view *ret, struct mr_text *why)
{
    struct mr_mrc_header header = {0};
    struct mr_err err = {0};
    ret->kind = MR_KIND_MOVIE;
    if (await_header(facts, ret, why))
        return;
    if (is_old_mrc(facts)) {
        look_at_other("MRC without \"MAP \" in its header", facts, ret, why);
        return;
    }
    if (mr_mrc_header_unset(facts->head) && memcmp(facts->head + MAP_AT, "MAP ", 4) == 0)
        (void)mr_err_set(&err, -1, "MRC header: NX or NY is 0");
    else
        (void)!mr_mrc_header_decode(facts->head, &header, &err);
    if (err.code != 0) {
        refuse_header(facts, err.text, ret, why);
    } else if (header.mode == 3 || header.mode == 4) {
        look_at_other("complex numbers, not a movie", facts, ret, why);
    } else if (header.pixel == MR_PIXEL_NONE) {
        char text[80];
        struct mr_text t = mr_text_init(text, sizeof(text));
        mr_text_appendf(&t, "MRC header: MODE is %d, none that MRC2014 knows", header.mode);
        refuse_header(facts, text, ret, why);
    } else {
        judge(&header, facts, before, ret, why);
    }
}

const struct mr_source mr_source_mrc = {.name = "mrc",
                                        .example = "movie.mrc",
                                        .head_bytes = MR_MRC_HEADER_BYTES,
                                        .wants_mdoc = true,
                                        .probe = probe,
                                        .look = look};
