/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is new of a file, and what to tell of it. Reads the beginnings of files only; knows no
 * format and no movie id.
 */
#include "look.h"

#include "base/clock.h"
#include "base/log.h"
#include "peek.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define STAGE          "watch"
#define OUTDATED_LOOKS 50 /* in a row, a second in all */

const char *mr_growth_name(enum mr_growth_kind kind)
{
    static const char *const names[] = {"",       "found",    "grew",    "complete",
                                        "broken", "replaced", "changed", "gone"};
    return (size_t)kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "";
}

static void send(struct mr_look *l, struct mr_file *file, enum mr_growth_kind kind, const char *why)
{
    static const struct mr_source_view none = {.format = "", .kind = MR_KIND_FILE};
    struct mr_growth *g = &l->growth;
    bool decided = kind == MR_GROWTH_COMPLETE || kind == MR_GROWTH_BROKEN;
    file->told = true;
    g->kind = kind;
    g->watch = file->watch;
    g->file = file->number;
    g->root = l->config.watches[file->watch].path;
    g->facts = file->facts;
    g->view = file->view != NULL ? *file->view : none;
    g->first_seen_real_ns = file->first_seen_real_ns;
    g->decided_real_ns = decided ? l->real_ns : 0;
    struct mr_text path = mr_text_init(g->path, sizeof(g->path));
    mr_text_append(&path, file->path);
    struct mr_text text = mr_text_init(g->reason, sizeof(g->reason));
    mr_text_append(&text, kind == MR_GROWTH_COMPLETE || kind == MR_GROWTH_FOUND ? "" : why);
    l->counts.complete += kind == MR_GROWTH_COMPLETE;
    l->counts.broken += kind == MR_GROWTH_BROKEN;
    if (l->out == NULL) {
        if (l->visit_code == 0)
            l->visit_code = l->visit(l->visit_ctx, g, why);
    } else if (mr_queue_push(l->out, g) != 0) {
        atomic_store(&l->stopped, true); /* closed: nobody listens any more */
    }
}

bool mr_look_stopped(struct mr_look *l)
{
    return atomic_load(&l->stopped) || l->visit_code != 0;
}

static void set_decided(struct mr_look *l, struct mr_file *file, bool decided)
{
    l->counts.undecided += file->decided && !decided;
    l->counts.undecided -= !file->decided && decided;
    file->decided = decided;
    if (decided)
        file->decided_ns = l->now_ns;
}

static void forget_view(struct mr_file *file)
{
    free(file->view);
    file->view = NULL;
    file->sent_to = 0;
}

/* Everything that was said of the file is void; it begins again. */
static void restart(struct mr_look *l, struct mr_file *file, enum mr_growth_kind kind,
                    const char *why)
{
    forget_view(file);
    if (file->found || file->decided)
        send(l, file, kind, why);
    file->found = false;
    file->outdated = 0;
    set_decided(l, file, false);
}

static void decide(struct mr_look *l, struct mr_file *file, enum mr_growth_kind kind,
                   const char *why)
{
    send(l, file, kind, why);
    set_decided(l, file, true);
    forget_view(file); /* a decided file costs little */
}

/* Tells what the new view has over what was told before. */
static void tell(struct mr_look *l, struct mr_file *file, const char *why)
{
    const struct mr_source_view *view = file->view;
    if (l->out == NULL) {
        decide(l, file,
               view->state == MR_SOURCE_COMPLETE ? MR_GROWTH_COMPLETE
               : view->state == MR_SOURCE_BROKEN ? MR_GROWTH_BROKEN
                                                 : MR_GROWTH_FOUND,
               why);
        return;
    }
    if (view->known && !file->found) {
        file->found = true;
        file->sent_to = view->settled_to;
        send(l, file, MR_GROWTH_FOUND, "");
    }
    if (view->state == MR_SOURCE_COMPLETE) {
        decide(l, file, MR_GROWTH_COMPLETE, "");
    } else if (view->state == MR_SOURCE_BROKEN) {
        decide(l, file, MR_GROWTH_BROKEN, why);
    } else if (view->settled_to > file->sent_to) {
        file->sent_to = view->settled_to;
        send(l, file, MR_GROWTH_GREW, "");
    }
}

/* ---- one look ---- */

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* When a file that was there before us last changed: by its own clock, so not in our future. */
static int64_t changed_before(const struct mr_look *l, const struct mr_fs_facts *facts)
{
    int64_t age = l->real_ns - later(facts->mtime_ns, facts->ctime_ns);
    return l->now_ns - later(age, 0);
}

/* Compares with what was known; false where nothing changed and nothing is open. */
static bool take_facts(struct mr_look *l, struct mr_file *file, const struct mr_fs_facts *facts)
{
    const struct mr_fs_facts was = file->facts;
    bool first = file->looked_ns == 0;
    bool other = !first && !mr_fs_same(&was.identity, &facts->identity);
    bool changed = other || was.size != facts->size || was.mtime_ns != facts->mtime_ns;
    file->facts = *facts;
    if (!first && !changed && file->decided)
        return false;
    if (first && file->old)
        file->changed_ns = changed_before(l, facts);
    else if (first || changed || file->touched)
        file->changed_ns = l->now_ns;
    if (!first && changed && !file->closed_unseen)
        file->closed = false;
    if (other)
        restart(l, file, MR_GROWTH_REPLACED, "another file has its name now");
    else if (!first && file->decided)
        restart(l, file, MR_GROWTH_CHANGED, "it was written to again");
    else if (!first && facts->size < was.size)
        restart(l, file, MR_GROWTH_REPLACED, "it became shorter while it grew");
    return true;
}

/* current: the head is no newer than size and mtime. A verdict by a newer head, as when the final
 * header was written in between, would be void at the next look, and all that was sent be sent
 * again under another id. Not for ever: a file system may never tell a name's mtime as an open
 * file's. */
static void judge(struct mr_look *l, struct mr_file *file, const struct mr_source_facts *facts,
                  bool current)
{
    char why[MR_SOURCE_WHY_MAX];
    struct mr_text text = mr_text_init(why, sizeof(why));
    struct mr_source_view view;
    mr_source_look(file->source, facts, file->view, &view, &text);
    bool verdict = view.state == MR_SOURCE_COMPLETE || view.state == MR_SOURCE_BROKEN;
    file->outdated = !verdict || current || facts->as_it_is ? 0 : file->outdated + 1;
    /* explained, it is said as it is now */
    if (l->out != NULL && file->outdated > 0 && file->outdated <= OUTDATED_LOOKS) {
        mr_filetable_schedule(&l->files, file, l->now_ns + MR_LOOK_EVERY_NS);
        return;
    }
    if (file->found && file->view != NULL && mr_source_differs(file->view, &view)) {
        restart(l, file, MR_GROWTH_REPLACED, "its header describes another movie now");
        text = mr_text_init(why, sizeof(why));
        mr_source_look(file->source, facts, NULL, &view, &text);
    }
    if (file->view == NULL)
        file->view = malloc(sizeof(view));
    if (file->view == NULL) { /* once more when there is memory */
        mr_filetable_schedule(&l->files, file, l->now_ns + MR_NS_PER_S);
        return;
    }
    *file->view = view;
    mr_filetable_schedule(&l->files, file, view.deadline_ns);
    tell(l, file, why);
}

static void cannot_read(struct mr_look *l, struct mr_file *file, int code)
{
    const struct mr_track_watch *watch = &l->config.watches[file->watch];
    if (file->read_failures++ == 0)
        mr_warn(STAGE, "%s/%s: cannot be read: %s", watch->path, file->path, mr_err_name(code));
    bool again = l->config.mode == MR_TRACK_FOLLOW || file->read_failures < MR_TRACK_READ_TRIES;
    if (l->out != NULL && again) {
        mr_filetable_schedule(&l->files, file, l->now_ns + watch->rescan_ns);
        return;
    }
    char why[MR_SOURCE_WHY_MAX];
    snprintf(why, sizeof(why), "cannot be read: %s", mr_err_name(code));
    forget_view(file);
    decide(l, file, MR_GROWTH_BROKEN, why);
}

/* A log that is opened, appended to and closed line by line would be a new revision with each line:
 * an opaque file's close counts once in `quiet`; what is written meanwhile waits for the next one.
 */
static bool counts_as_closed(const struct mr_look *l, const struct mr_file *file)
{
    bool again = file->decided_ns != 0 && file->source == &mr_source_opaque;
    int64_t quiet_ns = l->config.watches[file->watch].quiet_ns;
    return file->closed && (!again || l->now_ns - file->decided_ns >= quiet_ns);
}

static void ask(struct mr_look *l, struct mr_file *file, int dir)
{
    uint8_t head[MR_SOURCE_HEAD_MAX];
    size_t head_bytes = 0;
    bool current = true;
    const struct mr_track_watch *watch = &l->config.watches[file->watch];
    if (file->source->head_bytes > 0 && file->facts.size > 0) {
        int code = mr_peek_head(dir, file->path, &file->facts, file->source->head_bytes, head,
                                &head_bytes, &current);
        if (code == -ESTALE || code == -ENOENT) {
            mr_filetable_schedule(&l->files, file, l->now_ns + MR_LOOK_EVERY_NS);
            return;
        }
        if (code != 0) {
            cannot_read(l, file, code);
            return;
        }
    }
    char *mdoc = file->source->wants_mdoc ? mr_peek_mdoc(dir, file->path) : NULL;
    struct mr_source_facts facts = {.path = file->path,
                                    .size = file->facts.size,
                                    .now_ns = l->now_ns,
                                    .changed_ns = file->changed_ns,
                                    .closed = counts_as_closed(l, file),
                                    .as_it_is = l->config.mode == MR_TRACK_AS_IT_IS,
                                    .quiet_ns = watch->quiet_ns,
                                    .give_up_ns = watch->give_up_ns,
                                    .head = head_bytes > 0 ? head : NULL,
                                    .head_bytes = head_bytes,
                                    .mdoc = mdoc};
    judge(l, file, &facts, current);
    free(mdoc);
}

static void drop(struct mr_look *l, struct mr_file *file)
{
    forget_view(file);
    if (file->told)
        send(l, file, MR_GROWTH_GONE, "");
    l->unseen -= file->looked_ns == 0;
    l->counts.undecided -= !file->decided;
    mr_filetable_remove(&l->files, file);
}

void mr_look_at(struct mr_look *l, struct mr_file *file, int dir)
{
    struct mr_fs_facts facts;
    mr_filetable_schedule(&l->files, file, MR_SOURCE_NEVER);
    if (dir >= 0 && file->looked_ns == 0 && file->listed_only && !file->closed &&
        l->config.mode != MR_TRACK_AS_IT_IS)
        file->closed = file->closed_unseen =
            mr_peek_unwritten(dir, file->path); /* then its facts */
    int code = dir < 0 ? 0 : mr_fs_stat(dir, file->path, &facts);
    if (code == -ENOENT || code == -ENOTDIR || (dir >= 0 && code == 0 && !S_ISREG(facts.mode))) {
        drop(l, file);
        return;
    }
    bool open = code == 0 && dir >= 0 && take_facts(l, file, &facts);
    l->unseen -= file->looked_ns == 0;
    file->looked_ns = l->now_ns;
    file->closed_unseen = file->touched = false;
    if (code != 0 && !file->decided)
        cannot_read(l, file, code);
    else if (open)
        ask(l, file, dir);
}
