/* SPDX-License-Identifier: Apache-2.0 */
/* What was told durable is so: when it is said, and after every power cut, with all that was said
 * before. Judges no verdict and no event. */
#include "oracle_inside.h"

#include "agentside.h"
#include "base/crc64.h"
#include "disk_calls.h"
#include "dossier.h"
#include "fibre.h"
#include "store.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- slabs told durable ---- */

static bool slab_reads_back(const struct inode *part, enum disk_view view,
                            const struct mr_placement *p)
{
    const struct contents *c = oracle_seen(part, view);
    return p->raw_bytes > 0 && p->offset + p->stored_bytes <= c->size &&
           mr_crc64(0, c->bytes + p->offset, p->stored_bytes) == p->crc_stored;
}

struct berthed {
    struct mr_dossier d;
    const struct inode *part, *journal;
};

/* The movie's journal of that generation and its part. False: there is none. */
static bool open_berthed(const struct world *w, const struct tale *t, enum disk_view view,
                         struct berthed *ret)
{
    char name[MR_NAMING_PART], dir[MR_NAMING_PATH_MAX + 1], path[MR_NAMING_PATH_MAX + 100];
    const char *last;
    struct inode *journals = oracle_stored(w->disk, view, ".millrace/journal"), *journal;
    mr_dossier_name(&t->id, t->generation, "journal", name);
    if (journals == NULL || disk_find(journals, view, name, &journal) < 0)
        return false;
    int fd = calls_look_at(journals, view);
    int r = mr_dossier_read(fd, name, &ret->d, NULL);
    close(fd);
    if (r < 0)
        return false;
    mr_store_split(ret->d.path, dir, sizeof(dir), &last);
    mr_dossier_name(&t->id, t->generation, "part", name);
    snprintf(path, sizeof(path), "%s/.millrace/%s", dir, name);
    ret->journal = journal;
    ret->part = oracle_stored(w->disk, view, path);
    return true;
}

/* ret_part: what holds them. */
static const char *check_acked(const struct world *w, const struct tale *t, uint64_t *ret_slab,
                               const struct inode **ret_part)
{
    struct berthed b;
    const char *why = NULL;
    *ret_part = NULL;
    if (!open_berthed(w, t, DISK_SAFE, &b))
        return "its journal is not safe";
    *ret_part = b.part;
    if (b.part == NULL)
        why = b.d.is_sealed ? NULL : "its part is not safe";
    for (uint64_t i = 0; b.part != NULL && i < WORLD_SLABS && why == NULL; i++) {
        *ret_slab = i;
        if (!t->acked[i])
            continue;
        if (i >= b.d.slab_count || b.d.slabs[i].raw_bytes == 0)
            why = "its record is not safe";
        else if (!slab_reads_back(b.part, DISK_SAFE, &b.d.slabs[i]))
            why = "its bytes are not safe";
    }
    mr_dossier_fini(&b.d);
    return why;
}

static void note_acked(struct world *w, struct tale *t, const uint8_t *ranges, uint32_t count,
                       const char *what)
{
    for (uint32_t i = 0; i < count; i++) {
        struct mr_range range = mr_message_range(ranges, i);
        for (uint64_t n = range.first; n < range.first + range.count; n++) {
            PROMISE(w, n < WORLD_SLABS, "%s of slab %llu", what, (unsigned long long)n);
            t->acked[n] = true;
        }
    }
}

/* Its contents are in the store under another id: then what came under this one is discarded. */
static bool is_known(const struct world *w, const struct tale *t)
{
    for (const struct tale *other = w->oracle->tales; other != NULL; other = other->next)
        if (other != t && other->ready && other->source == t->source &&
            other->contents == t->contents && oracle_stored(w->disk, DISK_NOW, other->path) != NULL)
            return true;
    return false;
}

/* OPENED tells all that is durable, an ACK what is so, too. */
void oracle_durable(struct world *w, const struct mr_ulid *id, uint32_t generation,
                    const uint8_t *ranges, uint32_t count, bool all, uint32_t cable)
{
    const char *what = all ? "OPENED" : "ACK";
    struct tale *t = oracle_need_tale(w, id, what);
    bool before[WORLD_SLABS];
    uint64_t slab = 0;
    memcpy(before, t->acked, sizeof(before));
    if (!all && cable != t->cable)
        return; /* before its session's OPENED the agent does not listen to it */
    t->cable = cable;
    PROMISE(w, all || generation == t->generation, "ACK of generation %u, OPENED was of %u",
            generation, t->generation);
    if (all)
        memset(t->acked, 0, sizeof(t->acked));
    t->generation = generation;
    note_acked(w, t, ranges, count, what);
    const struct inode *part = NULL;
    const char *why = count == 0 ? NULL : check_acked(w, t, &slab, &part);
    PROMISE(w, why == NULL, "%s of slab %llu: %s", what, (unsigned long long)slab, why);
    if (part != NULL) {
        t->part = part->number;
        t->part_birth_ns = part->birth_ns;
    }
    /* of what was in the store already the id is not remembered: COMMITTED was said of it, and
     * where that was lost on the way, or its agent was not there, it comes again */
    bool may_lose = t->source == NULL || t->committed || t->abandoned || w->disk_troubled ||
                    t->source->agent->hello.ephemeral || is_known(w, t);
    for (uint64_t i = 0; !may_lose && i < WORLD_SLABS; i++)
        PROMISE(w, !before[i] || t->acked[i], "slab %llu was durable and is not any more",
                (unsigned long long)i);
}

void oracle_not_judged(struct world *w, const struct mr_ulid *id)
{
    struct tale *t = oracle_need_tale(w, id, "OPENED");
    memset(t->acked, 0, sizeof(t->acked));
    t->cable = UINT32_MAX;
}

/* ---- power cuts ---- */

static bool has_acks(const struct tale *t)
{
    for (size_t i = 0; i < WORLD_SLABS; i++)
        if (t->acked[i])
            return true;
    return false;
}

/* Where the server itself took the part away, it may be gone, or another one, made anew in order to
 * be removed: the server says so at the next OPENED. */
void oracle_before_power_cut(struct world *w)
{
    struct berthed b;
    fibre_alone(1);
    for (struct tale *t = w->oracle->tales; t != NULL; t = t->next) {
        t->to_keep = false;
        if (t->committed || t->failed || !has_acks(t) || !open_berthed(w, t, DISK_NOW, &b))
            continue;
        t->to_keep = b.part != NULL && b.part->number == t->part &&
                     b.part->birth_ns == t->part_birth_ns && !b.d.is_sealed &&
                     b.part->write_errors == 0 && b.journal->write_errors == 0;
        for (uint64_t i = 0; i < WORLD_SLABS;
             i++) /* it may have begun anew, with the same number */
            t->acked[i] &= i < b.d.slab_count && b.d.slabs[i].raw_bytes > 0;
        t->to_keep &= has_acks(t);
        mr_dossier_fini(&b.d);
    }
    fibre_alone(-1);
}

static void check_heard(struct world *w)
{
    const struct oracle *o = w->oracle;
    char record[MR_EVENT_ID_MAX + MR_EVENT_TYPE_MAX + 32];
    for (size_t i = 0; i < o->event_count; i++) {
        int n = snprintf(record, sizeof(record), "%zu %s %s {", i + 1, o->events[i].type,
                         o->events[i].id);
        PROMISE(w, o->events[i].id[0] == '\0' || oracle_is_logged(w, DISK_NOW, record, (size_t)n),
                "event %zu was heard and is not in the log any more", i + 1);
    }
}

void oracle_after_power_cut(struct world *w)
{
    uint64_t slab = 0;
    fibre_alone(1);
    for (struct tale *t = w->oracle->tales; t != NULL; t = t->next) {
        if (t->committed)
            oracle_check_stored(w, t, t->path, DISK_NOW, "after a power cut");
        const struct inode *part;
        const char *why = t->to_keep ? check_acked(w, t, &slab, &part) : NULL;
        PROMISE(w, why == NULL, "after a power cut, slab %llu of %s: %s", (unsigned long long)slab,
                t->source == NULL ? "a rogue" : t->source->open.path, why);
    }
    check_heard(w);
    fibre_alone(-1);
}
