/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a placement journal's SLAB record. One form only: parsing formats what it read and
 * compares, so whatever is accepted is what mr_placement_format would have written. Reads and
 * writes no file; OPEN and SEALED records are dossier's.
 *
 * - SLAB <slab> <offset> <stored> <raw> <codec> <crc stored> <crc raw> <pixel bytes>
 *   <crc pixels> <stats>
 * - stats: none
 *   | unknown <count>
 *   | exact <count> <min> <max> <sum hi> <sum lo> <squares hi> <squares lo>
 *   | float <count> <min> <max> <mean> <m2>
 *
 * Counts are decimal, checksums and 128-bit halves 16 hex digits, doubles hexadecimal floats
 * (exact).
 */
#include "placement.h"

#include "wire/slab.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what both directions keep to ---- */

static bool stats_in_range(const struct mr_stats *s)
{
    if (s->kind == MR_STATS_NONE)
        return true;
    if (s->count > 2ull * MR_SLAB_BYTES) /* two pixels to a byte at most */
        return false;
    if (s->kind == MR_STATS_UNKNOWN)
        return true;
    if (!isfinite(s->min) || !isfinite(s->max) || (s->count > 0 && s->min > s->max))
        return false;
    return s->kind == MR_STATS_EXACT ||
           (s->kind == MR_STATS_FLOAT && isfinite(s->mean) && isfinite(s->m2));
}

int mr_placement_check(const struct mr_placement *p)
{
    bool sizes = p->stored_bytes > 0 && p->raw_bytes > 0 && p->raw_bytes <= MR_SLAB_BYTES &&
                 p->pixel_bytes <= p->raw_bytes && p->codec < MR_CODEC_COUNT &&
                 (p->codec == MR_CODEC_NONE ? p->stored_bytes == p->raw_bytes
                                            : p->stored_bytes <= p->raw_bytes);
    bool place = p->slab < MR_SLABS_MAX && p->offset % MR_SLAB_ALIGN == 0 &&
                 p->offset <= MR_PLACEMENT_OFFSET_MAX;
    return sizes && place && stats_in_range(&p->stats) ? 0 : -EPROTO;
}

/* ---- writing ---- */

static size_t format_stats(const struct mr_stats *s, char *ret, size_t size)
{
    int n = 0;
    switch (s->kind) {
    case MR_STATS_NONE:
        n = snprintf(ret, size, "none");
        break;
    case MR_STATS_UNKNOWN:
        n = snprintf(ret, size, "unknown %" PRIu64, s->count);
        break;
    case MR_STATS_EXACT: {
        unsigned __int128 sum = (unsigned __int128)s->sum;
        n = snprintf(ret, size,
                     "exact %" PRIu64 " %a %a %016" PRIx64 " %016" PRIx64 " %016" PRIx64
                     " %016" PRIx64,
                     s->count, s->min, s->max, (uint64_t)(sum >> 64), (uint64_t)sum,
                     (uint64_t)(s->squares >> 64), (uint64_t)s->squares);
        break;
    }
    case MR_STATS_FLOAT:
        n = snprintf(ret, size, "float %" PRIu64 " %a %a %a %a", s->count, s->min, s->max, s->mean,
                     s->m2);
        break;
    }
    assert(n > 0 && (size_t)n < size);
    return (size_t)n;
}

size_t mr_placement_format(const struct mr_placement *p, char *ret)
{
    int n = snprintf(ret, MR_PLACEMENT_TEXT,
                     "SLAB %" PRIu64 " %" PRIu64 " %" PRIu32 " %" PRIu32 " %u %016" PRIx64
                     " %016" PRIx64 " %" PRIu32 " %016" PRIx64 " ",
                     p->slab, p->offset, p->stored_bytes, p->raw_bytes, (unsigned)p->codec,
                     p->crc_stored, p->crc_raw, p->pixel_bytes, p->crc_pixels);
    assert(n > 0 && n < MR_PLACEMENT_TEXT);
    return (size_t)n + format_stats(&p->stats, ret + n, MR_PLACEMENT_TEXT - (size_t)n);
}

/* ---- reading ---- */

/* Over the rest of a record; failed sticks */
struct cursor {
    const char *at;
    bool failed;
};

/* The next word (up to a space or the end) into word; at most size - 1 characters. */
static const char *next_word(struct cursor *c, char *word, size_t size)
{
    size_t length = strcspn(c->at, " ");
    if (c->failed || length == 0 || length >= size) {
        c->failed = true;
        length = 0;
    }
    memcpy(word, c->at, length);
    word[length] = '\0';
    c->at += length;
    c->at += *c->at == ' ';
    return word;
}

static uint64_t next_number(struct cursor *c, int base, uint64_t max)
{
    char word[24], *end;
    next_word(c, word, sizeof(word));
    errno = 0;
    unsigned long long value = strtoull(word, &end, base);
    if (*end != '\0' || errno != 0 || value > max)
        c->failed = true;
    return c->failed ? 0 : value;
}

static uint64_t next_hex(struct cursor *c)
{
    return next_number(c, 16, UINT64_MAX);
}

static double next_double(struct cursor *c)
{
    char word[40], *end;
    next_word(c, word, sizeof(word));
    double value = strtod(word, &end);
    if (*end != '\0')
        c->failed = true;
    return c->failed ? 0 : value;
}

static unsigned __int128 next_wide(struct cursor *c)
{
    uint64_t high = next_hex(c);
    return (unsigned __int128)high << 64 | next_hex(c);
}

static void parse_stats(struct cursor *c, struct mr_stats *ret)
{
    static const char *const kinds[] = {[MR_STATS_NONE] = "none",
                                        [MR_STATS_EXACT] = "exact",
                                        [MR_STATS_FLOAT] = "float",
                                        [MR_STATS_UNKNOWN] = "unknown"};
    char word[8];
    next_word(c, word, sizeof(word));
    unsigned kind = MR_STATS_NONE;
    while (kind <= MR_STATS_UNKNOWN && strcmp(word, kinds[kind]) != 0)
        kind++;
    if (c->failed || kind > MR_STATS_UNKNOWN) {
        c->failed = true;
        return;
    }
    ret->kind = (enum mr_stats_kind)kind;
    if (ret->kind == MR_STATS_NONE)
        return;
    ret->count = next_number(c, 10, UINT64_MAX);
    if (ret->kind == MR_STATS_UNKNOWN)
        return;
    ret->min = next_double(c);
    ret->max = next_double(c);
    if (ret->kind == MR_STATS_EXACT) {
        ret->sum = (__int128)next_wide(c);
        ret->squares = next_wide(c);
    } else {
        ret->mean = next_double(c);
        ret->m2 = next_double(c);
    }
}

int mr_placement_parse(const char *text, struct mr_placement *ret)
{
    if (mr_placement_kind(text) != MR_RECORD_SLAB || strlen(text) >= MR_PLACEMENT_TEXT)
        return -EPROTO;
    struct cursor c = {.at = text + strlen("SLAB ")};
    struct mr_placement p = {0};
    p.slab = next_number(&c, 10, MR_SLABS_MAX - 1);
    p.offset = next_number(&c, 10, MR_PLACEMENT_OFFSET_MAX);
    p.stored_bytes = (uint32_t)next_number(&c, 10, MR_SLAB_BYTES);
    p.raw_bytes = (uint32_t)next_number(&c, 10, MR_SLAB_BYTES);
    p.codec = (enum mr_codec_id)next_number(&c, 10, MR_CODEC_COUNT - 1);
    p.crc_stored = next_hex(&c);
    p.crc_raw = next_hex(&c);
    p.pixel_bytes = (uint32_t)next_number(&c, 10, MR_SLAB_BYTES);
    p.crc_pixels = next_hex(&c);
    parse_stats(&c, &p.stats);
    if (c.failed || mr_placement_check(&p) != 0)
        return -EPROTO;
    char again[MR_PLACEMENT_TEXT];
    mr_placement_format(&p, again);
    if (strcmp(again, text) != 0) /* another spelling: signs, leading zeros, words behind the end */
        return -EPROTO;
    *ret = p;
    return 0;
}

enum mr_placement_kind mr_placement_kind(const char *text)
{
    if (strncmp(text, "SLAB ", strlen("SLAB ")) == 0)
        return MR_RECORD_SLAB;
    if (strncmp(text, "OPEN ", strlen("OPEN ")) == 0)
        return MR_RECORD_OPEN;
    return strncmp(text, "SEALED ", strlen("SEALED ")) == 0 ? MR_RECORD_SEALED : MR_RECORD_UNKNOWN;
}
