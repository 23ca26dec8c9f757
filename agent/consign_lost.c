/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Movies that an earlier run had under way, and whose file went while no agent ran, or is another
 * movie now. Track never tells of them, so nobody else would end them at the server. Looks for
 * files that went once, when the agent starts; what is still there is identified first.
 */
#include "consign_state.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define STAGE "tail"

/* Gone, or another file has its name. Where the root is on another file system than the file was,
 * something is not mounted yet, and nothing is known of the file. */
static bool is_lost(int root, const struct mr_journal_movie *m)
{
    struct mr_fs_facts facts;
    int r = mr_fs_stat(root, m->path, &facts);
    if (r == 0)
        return !mr_fs_same(&facts.identity, &m->identity);
    if (r != -ENOENT && r != -ENOTDIR)
        return false;
    return mr_fs_stat(root, "", &facts) == 0 && facts.identity.device == m->identity.device;
}

/* A shipment as it was when it was opened, of a file that track has no number for. */
static struct mr_shipment *shipment_of(struct mr_consign *c, const struct mr_journal_movie *m,
                                       uint32_t watch)
{
    struct mr_growth growth = {.file = UINT64_MAX - c->lost++,
                               .kind = MR_GROWTH_GONE,
                               .watch = watch,
                               .root = c->config.watches[watch].path};
    snprintf(growth.path, sizeof(growth.path), "%s", m->path);
    struct mr_shipment *s = mr_shipments_add(&c->all, &growth);
    if (s == NULL)
        return NULL;
    s->view = (struct mr_source_view){.kind = m->kind, .format = mr_source_of(m->path)->name};
    s->first_seen_real_ns = m->first_seen_real_ns;
    s->facts.identity = m->identity;
    s->id = m->id;
    s->revision = m->revision;
    s->output = m->output;
    s->codec = m->codec;
    s->geometry = m->geometry;
    s->identified = s->gone = true;
    return s;
}

/* Into the transfer, to be ended there. NULL: no memory; the next start tries again. */
static struct mr_shipment *add(struct mr_consign *c, const struct mr_journal_movie *m,
                               uint32_t watch, int64_t real_ns)
{
    struct mr_open open;
    struct mr_shipment *s = shipment_of(c, m, watch);
    if (s == NULL)
        return NULL;
    mr_consign_describe(c, s, real_ns, &open);
    if (mr_transfer_add(c->transfer, s, &open) < 0) {
        mr_shipments_remove(&c->all, s);
        return NULL;
    }
    mr_consign_board(c, s);
    return s;
}

void mr_consign_supersede(struct mr_consign *c, const struct mr_journal_movie *m, uint32_t watch,
                          int64_t real_ns)
{
    struct mr_shipment *s = add(c, m, watch, real_ns);
    if (s == NULL)
        return;
    s->state = MR_SHIPMENT_LEAVING;
    mr_transfer_abandon(c->transfer, s);
}

/* The server keeps what came and says so; of a revision, the one before it stays what is ready. */
static void end_lost(struct mr_consign *c, const struct mr_journal_movie *m, uint32_t watch,
                     int64_t real_ns)
{
    mr_warn(STAGE, "%s/%s was under way and went while no agent ran", m->root, m->path);
    if (m->revision > 1) {
        mr_consign_supersede(c, m, watch, real_ns);
        return;
    }
    struct mr_shipment *s = add(c, m, watch, real_ns);
    if (s != NULL)
        mr_transfer_fail(c->transfer, s, NULL, "the source vanished while no agent ran");
}

static void look_below(struct mr_consign *c, uint32_t watch, int64_t real_ns)
{
    struct mr_err err = {0};
    struct mr_journal_place at = {0};
    MR_CLEANUP(mr_fs_close)
    int root = open(c->config.watches[watch].path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    /* half of the room, so that what is there moves too; more are found at the next start */
    while (root >= 0 && c->counts.moving < c->config.movies_max / 2) {
        int r =
            mr_journal_next_open(c->journal, c->config.watches[watch].path, &at, &c->record, &err);
        if (r == -ENOENT)
            return;
        if (r < 0) {
            (void)mr_consign_journal_said(c, r, &err);
            return;
        }
        if (is_lost(root, &c->record) && !mr_transfer_has(c->transfer, &c->record.id)) {
            const struct mr_journal_movie lost = c->record; /* describe asks the journal too */
            end_lost(c, &lost, watch, real_ns);
        }
    }
}

void mr_consign_look_for_lost(struct mr_consign *c, int64_t real_ns)
{
    for (uint32_t i = 0; i < c->config.watch_count && !c->looked; i++)
        look_below(c, i, real_ns);
    c->looked = true;
}
