/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --dry-run: what the agent would make of the files that are there. Opens no journal, talks to no
 * server: the final name is the default template's, and the server has the last word.
 */
#include "agent.h"
#include "base/log.h"
#include "push.h"
#include "track.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define STAGE "dry-run"

struct listing {
    const struct mr_agent_config *config;
    const enum mr_wish *outputs;
    uint64_t broken, refused;
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
static void final_name(const struct listing *l, const struct mr_growth *g, enum mr_wish output,
                       char *ret, size_t size)
{
    const char *dot = strrchr(g->path, '.'), *slash = strrchr(g->path, '/');
    const char *extension = output == MR_WISH_HDF5                                        ? ".h5"
                            : output == MR_WISH_MRC && strcmp(g->view.format, "mrc") != 0 ? ".mrc"
                                                                                          : "";
    bool has_extension = dot != NULL && dot > (slash == NULL ? g->path : slash + 1);
    bool replaced = *extension != '\0' && has_extension;
    int stem = (int)(replaced ? (size_t)(dot - g->path) : strlen(g->path));
    snprintf(ret, size, "%s/%.*s%s", l->config->name, stem, g->path, extension);
}

/* Would the output take these pixels? err: why not. */
static int try_shape(const struct mr_growth *g, enum mr_wish output, struct mr_err *err)
{
    const struct mr_source_view *v = &g->view;
    struct mr_geometry geometry;
    if (output != MR_WISH_MRC && output != MR_WISH_HDF5)
        return 0;
    return mr_geometry_frames(output == MR_WISH_MRC ? MR_LAYOUT_STREAM : MR_LAYOUT_CHUNKS, v->pixel,
                              v->swap_bytes, v->width, v->height, v->data_offset, v->ext_bytes,
                              &geometry, err);
}

static int list_one(void *ctx, const struct mr_growth *g, const char *why)
{
    static const char *const words[] = {"keep", "keep", "mrc", "hdf5"};
    struct listing *l = ctx;
    struct mr_err err = {0};
    bool movie = g->view.known && g->view.kind == MR_KIND_MOVIE;
    enum mr_wish output = movie ? l->outputs[g->watch] : MR_WISH_KEEP;
    char what[96], name[MR_PATH_MAX + 128];
    describe(g, what, sizeof(what));
    final_name(l, g, output, name, sizeof(name));
    l->broken += g->kind == MR_GROWTH_BROKEN;
    printf("%s/%s\t%s\t%llu bytes\t%s: %s\t", g->root, g->path, what,
           (unsigned long long)g->facts.size, state_of(g), why);
    if (g->kind == MR_GROWTH_BROKEN) {
        printf("is not shipped as finished\n");
    } else if (try_shape(g, output, &err) < 0) {
        l->refused++;
        printf("%s is refused: %s\n", words[output], err.text);
    } else {
        printf("%s -> %s\n", words[output], name);
    }
    return ferror(stdout) ? -EIO : 0;
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
    struct listing listing = {.config = config, .outputs = outputs};
    int r = mr_track_explain(&track, list_one, &listing, &counts, &err);
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
    return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}
