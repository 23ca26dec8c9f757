/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From hints to growth: looks at files when something or their deadline says so, asks their source,
 * and tells the next stage what is new. Reads the beginnings of files only; knows no format and no
 * movie id.
 */
#include "track.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/tally.h"
#include "filetable.h"
#include "peek.h"
#include "watch.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAGE         "watch"
#define WATCH_BUDGET  512                 /* directory entries listed in one step */
#define LOOK_BUDGET   256                 /* files looked at in one step */
#define LOOK_EVERY_NS (20 * MR_NS_PER_MS) /* at most, while a file is being written */

/* What the hints of one watch come with. */
struct root {
    struct mr_track *track;
    struct mr_watch *watch;
    const struct mr_track_watch *config;
    uint32_t index;
    uint64_t done; /* listings as last seen */
};

struct mr_track {
    struct mr_track_config config;
    struct mr_queue *out; /* borrowed; NULL when explaining */
    mr_track_visit visit; /* explaining: instead of the queue */
    void *visit_ctx;
    int visit_code;
    struct root *roots;
    struct pollfd *fds; /* one for wake, one per watch */
    struct mr_filetable files;
    uint64_t unseen; /* files not looked at yet */
    int64_t now_ns, real_ns;
    struct mr_growth growth; /* the message in the making */

    struct mr_track_counts counts;
    pthread_mutex_t lock; /* of published */
    struct mr_track_counts published;
    int wake; /* eventfd */
    atomic_bool stopped;
};

const char *mr_growth_name(enum mr_growth_kind kind)
{
    static const char *const names[] = {"",       "found",    "grew",    "complete",
                                        "broken", "replaced", "changed", "gone"};
    return (size_t)kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "";
}

/* ---- messages ---- */

static void send(struct mr_track *t, const struct mr_file *file, enum mr_growth_kind kind,
                 const char *why)
{
    static const struct mr_source_view none = {.format = "", .kind = MR_KIND_FILE};
    struct mr_growth *g = &t->growth;
    bool decided = kind == MR_GROWTH_COMPLETE || kind == MR_GROWTH_BROKEN;
    g->kind = kind;
    g->watch = file->watch;
    g->file = file->number;
    g->root = t->roots[file->watch].config->path;
    g->facts = file->facts;
    g->view = file->view != NULL ? *file->view : none;
    g->first_seen_real_ns = file->first_seen_real_ns;
    g->decided_real_ns = decided ? t->real_ns : 0;
    struct mr_text path = mr_text_init(g->path, sizeof(g->path));
    mr_text_append(&path, file->path);
    struct mr_text text = mr_text_init(g->reason, sizeof(g->reason));
    mr_text_append(&text, kind == MR_GROWTH_COMPLETE || kind == MR_GROWTH_FOUND ? "" : why);
    t->counts.complete += kind == MR_GROWTH_COMPLETE;
    t->counts.broken += kind == MR_GROWTH_BROKEN;
    if (t->out == NULL) {
        if (t->visit_code == 0)
            t->visit_code = t->visit(t->visit_ctx, g, why);
    } else if (mr_queue_push(t->out, g) != 0) {
        atomic_store(&t->stopped, true); /* closed: nobody listens any more */
    }
}

static bool stopped(struct mr_track *t)
{
    return atomic_load(&t->stopped) || t->visit_code != 0;
}

static void set_decided(struct mr_track *t, struct mr_file *file, bool decided)
{
    t->counts.undecided += file->decided && !decided;
    t->counts.undecided -= !file->decided && decided;
    file->decided = decided;
    if (decided)
        file->decided_ns = t->now_ns;
}

static void forget_view(struct mr_file *file)
{
    free(file->view);
    file->view = NULL;
    file->sent_to = 0;
}

/* Everything that was said of the file is void; it begins again. */
static void restart(struct mr_track *t, struct mr_file *file, enum mr_growth_kind kind,
                    const char *why)
{
    forget_view(file);
    if (file->found || file->decided)
        send(t, file, kind, why);
    file->found = false;
    set_decided(t, file, false);
}

static void decide(struct mr_track *t, struct mr_file *file, enum mr_growth_kind kind,
                   const char *why)
{
    send(t, file, kind, why);
    set_decided(t, file, true);
    forget_view(file); /* a decided file costs little */
}

/* Tells what the new view has over what was told before. */
static void tell(struct mr_track *t, struct mr_file *file, const char *why)
{
    const struct mr_source_view *view = file->view;
    if (t->out == NULL) {
        decide(t, file,
               view->state == MR_SOURCE_COMPLETE ? MR_GROWTH_COMPLETE
               : view->state == MR_SOURCE_BROKEN ? MR_GROWTH_BROKEN
                                                 : MR_GROWTH_FOUND,
               why);
        return;
    }
    if (view->known && !file->found) {
        file->found = true;
        file->sent_to = view->settled_to;
        send(t, file, MR_GROWTH_FOUND, "");
    }
    if (view->state == MR_SOURCE_COMPLETE) {
        decide(t, file, MR_GROWTH_COMPLETE, "");
    } else if (view->state == MR_SOURCE_BROKEN) {
        decide(t, file, MR_GROWTH_BROKEN, why);
    } else if (view->settled_to > file->sent_to) {
        file->sent_to = view->settled_to;
        send(t, file, MR_GROWTH_GREW, "");
    }
}

/* ---- one look ---- */

static int64_t latest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* When a file that was there before us last changed: by its own clock, so not in our future. */
static int64_t changed_before(const struct mr_track *t, const struct mr_fs_facts *facts)
{
    int64_t age = t->real_ns - latest(facts->mtime_ns, facts->ctime_ns);
    return t->now_ns - latest(age, 0);
}

/* Compares with what was known; false where nothing changed and nothing is open. */
static bool take_facts(struct mr_track *t, struct mr_file *file, const struct mr_fs_facts *facts)
{
    const struct mr_fs_facts was = file->facts;
    bool first = file->looked_ns == 0;
    bool other = !first && !mr_fs_same(&was.identity, &facts->identity);
    bool changed = other || was.size != facts->size || was.mtime_ns != facts->mtime_ns;
    file->facts = *facts;
    if (!first && !changed && file->decided)
        return false;
    if (first && file->old)
        file->changed_ns = changed_before(t, facts);
    else if (first || changed || file->touched)
        file->changed_ns = t->now_ns;
    if (!first && changed && !file->closed_unseen)
        file->closed = false;
    if (other)
        restart(t, file, MR_GROWTH_REPLACED, "another file has its name now");
    else if (!first && file->decided)
        restart(t, file, MR_GROWTH_CHANGED, "it was written to again");
    else if (!first && facts->size < was.size)
        restart(t, file, MR_GROWTH_REPLACED, "it became shorter while it grew");
    return true;
}

static void judge(struct mr_track *t, struct mr_file *file, const struct mr_source_facts *facts)
{
    char why[MR_SOURCE_WHY_MAX];
    struct mr_text text = mr_text_init(why, sizeof(why));
    struct mr_source_view view;
    mr_source_look(file->source, facts, file->view, &view, &text);
    if (file->found && file->view != NULL && mr_source_differs(file->view, &view)) {
        restart(t, file, MR_GROWTH_REPLACED, "its header describes another movie now");
        text = mr_text_init(why, sizeof(why));
        mr_source_look(file->source, facts, NULL, &view, &text);
    }
    if (file->view == NULL)
        file->view = malloc(sizeof(view));
    if (file->view == NULL) { /* once more when there is memory */
        mr_filetable_schedule(&t->files, file, t->now_ns + MR_NS_PER_S);
        return;
    }
    *file->view = view;
    mr_filetable_schedule(&t->files, file, view.deadline_ns);
    tell(t, file, why);
}

static void cannot_read(struct mr_track *t, struct mr_file *file, int code)
{
    const struct mr_track_watch *watch = t->roots[file->watch].config;
    if (file->read_failures++ == 0)
        mr_warn(STAGE, "%s/%s: cannot be read: %s", watch->path, file->path, mr_err_name(code));
    bool again = t->config.mode == MR_TRACK_FOLLOW || file->read_failures < MR_TRACK_READ_TRIES;
    if (t->out != NULL && again) {
        mr_filetable_schedule(&t->files, file, t->now_ns + watch->rescan_ns);
        return;
    }
    char why[MR_SOURCE_WHY_MAX];
    snprintf(why, sizeof(why), "cannot be read: %s", mr_err_name(code));
    forget_view(file);
    decide(t, file, MR_GROWTH_BROKEN, why);
}

/* A log that is opened, appended to and closed line by line would be a new revision with each line:
 * an opaque file's close counts once in `quiet`; what is written meanwhile waits for the next one.
 */
static bool counts_as_closed(const struct mr_track *t, const struct mr_file *file)
{
    bool again = file->decided_ns != 0 && file->source == &mr_source_opaque;
    int64_t quiet_ns = t->roots[file->watch].config->quiet_ns;
    return file->closed && (!again || t->now_ns - file->decided_ns >= quiet_ns);
}

static void ask(struct mr_track *t, struct mr_file *file)
{
    uint8_t head[MR_SOURCE_HEAD_MAX];
    size_t head_bytes = 0;
    const struct root *root = &t->roots[file->watch];
    int dir = mr_watch_root(root->watch);
    if (file->source->head_bytes > 0 && file->facts.size > 0) {
        int code = mr_peek_head(dir, file->path, &file->facts, file->source->head_bytes, head,
                                &head_bytes);
        if (code == -ESTALE || code == -ENOENT) {
            mr_filetable_schedule(&t->files, file, t->now_ns + LOOK_EVERY_NS);
            return;
        }
        if (code != 0) {
            cannot_read(t, file, code);
            return;
        }
    }
    char *mdoc = file->source->wants_mdoc ? mr_peek_mdoc(dir, file->path) : NULL;
    struct mr_source_facts facts = {.path = file->path,
                                    .size = file->facts.size,
                                    .now_ns = t->now_ns,
                                    .changed_ns = file->changed_ns,
                                    .closed = counts_as_closed(t, file),
                                    .as_it_is = t->config.mode == MR_TRACK_AS_IT_IS,
                                    .quiet_ns = root->config->quiet_ns,
                                    .give_up_ns = root->config->give_up_ns,
                                    .head = head_bytes > 0 ? head : NULL,
                                    .head_bytes = head_bytes,
                                    .mdoc = mdoc};
    judge(t, file, &facts);
    free(mdoc);
}

static void drop(struct mr_track *t, struct mr_file *file)
{
    forget_view(file);
    if (file->found || file->decided)
        send(t, file, MR_GROWTH_GONE, "");
    t->unseen -= file->looked_ns == 0;
    t->counts.undecided -= !file->decided;
    mr_filetable_remove(&t->files, file);
}

static void look(struct mr_track *t, struct mr_file *file)
{
    struct mr_fs_facts facts;
    int dir = mr_watch_root(t->roots[file->watch].watch);
    mr_filetable_schedule(&t->files, file, MR_SOURCE_NEVER);
    if (dir >= 0 && file->looked_ns == 0 && file->listed_only && !file->closed &&
        t->config.mode != MR_TRACK_AS_IT_IS)
        file->closed = file->closed_unseen =
            mr_peek_unwritten(dir, file->path); /* then its facts */
    int code = dir < 0 ? 0 : mr_fs_stat(dir, file->path, &facts);
    if (code == -ENOENT || code == -ENOTDIR || (dir >= 0 && code == 0 && !S_ISREG(facts.mode))) {
        drop(t, file);
        return;
    }
    bool open = code == 0 && dir >= 0 && take_facts(t, file, &facts);
    t->unseen -= file->looked_ns == 0;
    file->looked_ns = t->now_ns;
    file->closed_unseen = file->touched = false;
    if (code != 0 && !file->decided)
        cannot_read(t, file, code);
    else if (open)
        ask(t, file);
}

/* ---- hints ---- */

static struct mr_file *add(struct mr_track *t, const struct root *root, enum mr_hint hint,
                           const char *path)
{
    struct mr_file *file = mr_filetable_add(&t->files, root->index, path);
    if (file == NULL) {
        mr_error(STAGE, "%s/%s: out of memory: the next rescan tries again", root->config->path,
                 path);
        return NULL;
    }
    file->first_seen_real_ns = t->real_ns;
    file->changed_ns = t->now_ns;
    file->listed_only = hint == MR_HINT_LISTED;
    file->old = hint == MR_HINT_LISTED && mr_watch_listings_done(root->watch) == 0;
    t->unseen++;
    t->counts.undecided++;
    return file;
}

/* An mdoc says something about the stack it stands beside. */
static void hint_mdoc(struct mr_track *t, const struct root *root, const char *path)
{
    static const char end[] = ".mdoc";
    char stack[MR_PATH_MAX + 1];
    size_t length = strlen(path);
    if (length < sizeof(end) || strcmp(path + length - (sizeof(end) - 1), end) != 0)
        return;
    struct mr_text text = mr_text_init(stack, sizeof(stack));
    mr_text_append_bytes(&text, path, length - (sizeof(end) - 1));
    struct mr_file *file = mr_filetable_find(&t->files, root->index, stack);
    if (file != NULL && !file->decided)
        mr_filetable_schedule(&t->files, file, t->now_ns);
}

static void take_hint(void *ctx, enum mr_hint hint, const char *path)
{
    struct root *root = ctx;
    struct mr_track *t = root->track;
    struct mr_file *file = mr_filetable_find(&t->files, root->index, path);
    if (file == NULL && hint != MR_HINT_GONE)
        file = add(t, root, hint, path);
    if (file == NULL)
        return;
    int64_t due_ns = t->now_ns;
    if (hint == MR_HINT_LISTED) {
        file->listing = mr_watch_listings_begun(root->watch);
    } else if (hint == MR_HINT_CHANGED) {
        file->listed_only = false;
        file->closed = file->closed_unseen = false;
        file->touched = true;
        if (file->looked_ns != 0)
            due_ns = latest(due_ns, file->looked_ns + LOOK_EVERY_NS);
    } else if (hint == MR_HINT_CLOSED || hint == MR_HINT_MOVED_IN) {
        file->closed = file->closed_unseen = true;
    }
    if (file->due_ns > due_ns)
        mr_filetable_schedule(&t->files, file, due_ns);
    if (hint != MR_HINT_LISTED)
        hint_mdoc(t, root, path);
}

/* After a whole listing: what it did not show may be gone. */
static void doubt(void *ctx, struct mr_file *file)
{
    struct root *root = ctx;
    if (file->watch == root->index && file->listing < mr_watch_listings_begun(root->watch) &&
        file->due_ns > root->track->now_ns)
        mr_filetable_schedule(&root->track->files, file, root->track->now_ns);
}

/* ---- the stage ---- */

static void publish(struct mr_track *t)
{
    struct mr_track_counts *c = &t->counts;
    c->files = t->files.count;
    c->skipped = 0;
    c->listed = t->unseen == 0;
    for (size_t i = 0; i < t->config.watch_count; i++) {
        c->skipped += mr_watch_skipped(t->roots[i].watch);
        c->listed = c->listed && mr_watch_listings_done(t->roots[i].watch) > 0;
    }
    pthread_mutex_lock(&t->lock);
    t->published = *c;
    pthread_mutex_unlock(&t->lock);
}

void mr_track_counts(struct mr_track *t, struct mr_track_counts *ret)
{
    pthread_mutex_lock(&t->lock);
    *ret = t->published;
    pthread_mutex_unlock(&t->lock);
}

static bool step_watches(struct mr_track *t)
{
    bool more = false;
    for (size_t i = 0; i < t->config.watch_count; i++) {
        struct root *root = &t->roots[i];
        more = mr_watch_step(root->watch, t->now_ns, WATCH_BUDGET) || more;
        if (root->done != mr_watch_listings_done(root->watch)) {
            root->done = mr_watch_listings_done(root->watch);
            mr_filetable_each(&t->files, doubt, root);
        }
    }
    return more;
}

bool mr_track_step(struct mr_track *t, int64_t now_ns, int64_t real_ns, int64_t *ret_deadline_ns)
{
    t->now_ns = now_ns;
    t->real_ns = real_ns;
    bool more = step_watches(t);
    struct mr_file *file = mr_filetable_first(&t->files);
    for (unsigned i = 0; i < LOOK_BUDGET && file != NULL && file->due_ns <= now_ns; i++) {
        if (stopped(t))
            break;
        look(t, file);
        file = mr_filetable_first(&t->files);
    }
    publish(t);
    int64_t deadline_ns = file != NULL ? file->due_ns : MR_SOURCE_NEVER;
    for (size_t i = 0; i < t->config.watch_count; i++) {
        int64_t rescan_ns = mr_watch_deadline(t->roots[i].watch);
        deadline_ns = rescan_ns < deadline_ns ? rescan_ns : deadline_ns;
    }
    *ret_deadline_ns = deadline_ns;
    return !stopped(t) && (more || deadline_ns <= now_ns);
}

/* ONCE and AS_IT_IS end when everything that was found is decided. */
static bool all_decided(struct mr_track *t)
{
    return t->config.mode != MR_TRACK_FOLLOW && t->counts.listed && t->counts.undecided == 0;
}

static void wait_until(struct mr_track *t, int64_t deadline_ns)
{
    struct pollfd *fds = t->fds;
    fds[0] = (struct pollfd){.fd = t->wake, .events = POLLIN};
    for (size_t i = 0; i < t->config.watch_count; i++)
        fds[i + 1] = (struct pollfd){.fd = mr_watch_fd(t->roots[i].watch), .events = POLLIN};
    const int64_t ns = deadline_ns - t->now_ns; /* never: in centuries */
    const struct timespec wait = {.tv_sec = ns / MR_NS_PER_S, .tv_nsec = ns % MR_NS_PER_S};
    (void)mr_tally_ppoll(fds, 1 + t->config.watch_count, &wait, MR_TALLY_INPUT);
}

static void run(void *stage)
{
    struct mr_track *t = stage;
    while (!stopped(t)) {
        int64_t deadline_ns;
        bool more = mr_track_step(t, mr_clock_monotonic_ns(), mr_clock_real_ns(), &deadline_ns);
        if (!more && (all_decided(t) || stopped(t)))
            break;
        if (!more)
            wait_until(t, deadline_ns);
    }
    mr_queue_close(t->out);
}

const struct mr_stage mr_track_stage = {.name = STAGE, .run = run};

void mr_track_stop(struct mr_track *t)
{
    atomic_store(&t->stopped, true);
    mr_queue_close(t->out); /* wakes it where it waits for room */
    (void)!write(t->wake, &(uint64_t){1}, sizeof(uint64_t));
}

/* ---- beginning and end ---- */

static int check_roots(const struct mr_track_config *config, struct mr_err *err)
{
    for (size_t i = 0; i < config->watch_count; i++) {
        const struct mr_track_watch *w = &config->watches[i];
        struct stat st;
        MR_CLEANUP(mr_fs_close) int fd = open(w->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            return mr_err_errno(err, -errno, "%s", w->path);
        if (w->below != NULL && *w->below != '\0' &&
            fstatat(fd, w->below, &st, AT_SYMLINK_NOFOLLOW) != 0)
            return mr_err_errno(err, -errno, "%s/%s", w->path, w->below);
    }
    return 0;
}

static int make_watch(struct mr_track *t, size_t index)
{
    const struct mr_track_watch *from = &t->config.watches[index];
    struct root *root = &t->roots[index];
    root->track = t;
    root->config = from;
    root->index = (uint32_t)index;
    struct mr_watch_config config = {.path = from->path,
                                     .below = from->below,
                                     .include = from->include,
                                     .exclude = from->exclude,
                                     .include_count = from->include_count,
                                     .exclude_count = from->exclude_count,
                                     .rescan_ns = from->rescan_ns,
                                     .events =
                                         t->out != NULL && t->config.mode != MR_TRACK_AS_IT_IS,
                                     .hint = take_hint,
                                     .ctx = root};
    return mr_watch_new(&config, &root->watch);
}

/* out NULL: for explaining. */
static int make(const struct mr_track_config *config, struct mr_queue *out, struct mr_err *err,
                struct mr_track **ret)
{
    assert(config->watch_count > 0);
    struct mr_track *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return mr_err_set(err, -ENOMEM, "out of memory");
    t->config = *config;
    t->out = out;
    pthread_mutex_init(&t->lock, NULL);
    t->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int code = t->wake < 0 ? mr_err_errno(err, -errno, "eventfd") : 0;
    t->roots = calloc(config->watch_count, sizeof(*t->roots));
    t->fds = calloc(config->watch_count + 1, sizeof(*t->fds));
    if (code == 0 && (t->roots == NULL || t->fds == NULL))
        code = mr_err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; code == 0 && i < config->watch_count; i++)
        if ((code = make_watch(t, i)) != 0)
            mr_err_errno(err, code, "%s", config->watches[i].path);
    if (code != 0) {
        mr_track_free(t);
        return code;
    }
    *ret = t;
    return 0;
}

int mr_track_new(const struct mr_track_config *config, struct mr_queue *out, struct mr_err *err,
                 struct mr_track **ret)
{
    assert(out != NULL);
    int code = config->mode != MR_TRACK_FOLLOW ? check_roots(config, err) : 0;
    return code != 0 ? code : make(config, out, err, ret);
}

void mr_track_free(struct mr_track *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; t->roots != NULL && i < t->config.watch_count; i++)
        mr_watch_free(t->roots[i].watch);
    mr_filetable_fini(&t->files);
    mr_fs_close(&t->wake);
    pthread_mutex_destroy(&t->lock);
    free(t->roots);
    free(t->fds);
    free(t);
}

int mr_track_explain(const struct mr_track_config *config, mr_track_visit visit, void *ctx,
                     struct mr_track_counts *ret_counts, struct mr_err *err)
{
    struct mr_track *t;
    int code = check_roots(config, err);
    if (code == 0)
        code = make(config, NULL, err, &t);
    if (code != 0)
        return code;
    t->visit = visit;
    t->visit_ctx = ctx;
    do {
        int64_t deadline_ns;
        (void)mr_track_step(t, mr_clock_monotonic_ns(), mr_clock_real_ns(), &deadline_ns);
        mr_track_counts(t, ret_counts);
    } while (!ret_counts->listed && !stopped(t));
    ret_counts->undecided = ret_counts->files - ret_counts->complete - ret_counts->broken;
    code = t->visit_code;
    mr_track_free(t);
    return code;
}
