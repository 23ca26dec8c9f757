/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --dry-run: what the agent would make of the files that are there, and which of them it would
 * free. Reads the journal only where files are to be freed, and talks to no server: the final name
 * is the default template's, and the server has the last word.
 */
#include "agent.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "consign.h"
#include "purge.h"
#include "purge_rules.h"
#include "push.h"
#include "track.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define STAGE "dry-run"

struct listing {
    struct mr_journal *journal;     /* NULL: there is none, or it cannot be read */
    struct mr_journal_movie *movie; /* scratch: large */
    const struct mr_agent_config *config;
    const enum mr_wish *outputs;
    uint64_t broken, refused, freed, freed_bytes;
};

static const char *state_of(const struct mr_growth *g)
{
    return g->kind == MR_GROWTH_COMPLETE ? "complete"
           : g->kind == MR_GROWTH_BROKEN ? "broken"
                                         : "growing";
}

static void describe(const struct mr_growth *g, char *ret, size_t size)
{
    bool movie = g->view.known && g->view.kind == MR_KIND_MOVIE;
    if (movie)
        snprintf(ret, size, "%s %llu x %llu x %llu %s", g->view.format,
                 (unsigned long long)g->view.width, (unsigned long long)g->view.height,
                 (unsigned long long)g->view.frames, mr_pixel_name(g->view.pixel));
    else
        snprintf(ret, size, "file");
}

/* By {agent}/{path}; an extension is replaced where the format changes. */
static void final_name(const struct listing *l, const struct mr_growth *g, enum mr_output output,
                       char *ret, size_t size)
{
    const char *extension = mr_output_extension(output, g->view.format);
    size_t stem = extension != NULL ? mr_output_stem(g->path) : strlen(g->path);
    snprintf(ret, size, "%s/%.*s%s", l->config->name, (int)stem, g->path,
             extension != NULL ? extension : "");
}

/* Would the output take these pixels? err: why not. */
static int try_shape(const struct mr_growth *g, enum mr_output output, struct mr_err *err)
{
    const struct mr_source_view *v = &g->view;
    struct mr_geometry geometry;
    if (output == MR_OUTPUT_KEEP)
        return 0;
    return mr_geometry_frames(output == MR_OUTPUT_MRC ? MR_LAYOUT_STREAM : MR_LAYOUT_CHUNKS,
                              v->pixel, v->swap_bytes, v->width, v->height, v->data_offset,
                              v->ext_bytes, &geometry, err);
}

/* A last column, where the watch frees sources: would this one go, and why not? What only the
 * server knows is not asked. */
static void list_purge(struct listing *l, const struct mr_growth *g)
{
    const struct mr_agent_watch *w = (struct mr_agent_watch *)l->config->watches.items + g->watch;
    struct mr_journal_movie *m = l->movie;
    struct mr_purge_file file;
    char why[MR_PURGE_WHY] = "it is not committed";
    MR_CLEANUP(mr_fs_close) int root = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const struct mr_purge_case c = {
        .watch = w, .root = root, .journal = l->journal, .real_ns = mr_clock_real_ns()};
    if (w->source_after_commit != MR_AFTER_DELETE)
        return;
    int r = l->journal == NULL
                ? -ENOENT
                : mr_journal_find_file(l->journal, g->root, g->path, &g->facts.identity, m, NULL);
    if (r == 0 && mr_journal_is_committed(m->state))
        r = mr_purge_judge(&c, m, &file, why);
    else
        r = -ENOENT;
    if (r == 0) {
        mr_purge_file_close(&file);
        l->freed++;
        l->freed_bytes += g->facts.size;
    }
    printf("\t%s: %s", r == 0 ? "is freed" : "stays", why);
}

static int list_one(void *ctx, const struct mr_growth *g, const char *why)
{
    struct listing *l = ctx;
    struct mr_err err = {0};
    bool movie = g->view.known && g->view.kind == MR_KIND_MOVIE;
    enum mr_output output = movie ? mr_consign_named_output(l->outputs[g->watch]) : MR_OUTPUT_KEEP;
    char what[96], name[MR_PATH_MAX + 128];
    describe(g, what, sizeof(what));
    final_name(l, g, output, name, sizeof(name));
    l->broken += g->kind == MR_GROWTH_BROKEN;
    printf("%s/%s\t%s\t%llu bytes\t%s: %s\t", g->root, g->path, what,
           (unsigned long long)g->facts.size, state_of(g), why);
    if (g->kind == MR_GROWTH_BROKEN) {
        printf("is not shipped as finished");
    } else if (try_shape(g, output, &err) < 0) {
        l->refused++;
        printf("%s is refused: %s", mr_output_name(output), err.text);
    } else {
        printf("%s -> %s", mr_output_name(output), name);
    }
    list_purge(l, g);
    printf("\n");
    return ferror(stdout) ? -EIO : 0;
}

static int open_journal(struct listing *l)
{
    struct mr_err err = {0};
    const struct mr_agent_config *c = l->config;
    bool frees = mr_purge_wanted(c->state_dir, c->watches.items, c->watches.count);
    if (l->movie == NULL)
        return -ENOMEM;
    int r = frees ? mr_journal_share(c->state_dir, true, &err, &l->journal) : 0;
    if (r < 0 && r != -ENOENT)
        mr_warn(STAGE, "%s: it is not known what is committed", err.text);
    return 0;
}

static void tell_freed(const struct listing *l)
{
    char size[MR_QUANTITY_TEXT];
    if (l->freed > 0)
        mr_info(STAGE, "%llu sources, %s, would be freed if the server still has them",
                (unsigned long long)l->freed, mr_text_size_about(l->freed_bytes, size));
}

int mr_dry_run(const struct mr_agent_config *config)
{
    struct mr_track_watch *watches;
    enum mr_wish *outputs;
    struct mr_track_counts counts;
    struct mr_err err = {0};
    if (mr_agent_watches(config, &watches, &outputs) < 0)
        return EXIT_FAILURE;
    const struct mr_track_config track = {
        .mode = MR_TRACK_ONCE, .watches = watches, .watch_count = config->watches.count};
    struct listing listing = {
        .config = config, .outputs = outputs, .movie = malloc(sizeof(struct mr_journal_movie))};
    int r = open_journal(&listing);
    if (r == 0)
        r = mr_track_explain(&track, list_one, &listing, &counts, &err);
    mr_journal_close(listing.journal);
    free(listing.movie);
    free(watches);
    free(outputs);
    if (r < 0) {
        mr_error(STAGE, "%s", err.code != 0 ? err.text : mr_err_name(r));
        return r == -ENOMEM ? EXIT_FAILURE : EX_IOERR;
    }
    mr_info(STAGE,
            "%llu files, %llu of them broken, %llu refused; nothing was sent. Names are those of "
            "the default store.path: the server decides",
            (unsigned long long)counts.files, (unsigned long long)listing.broken,
            (unsigned long long)listing.refused);
    tell_freed(&listing);
    return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}
