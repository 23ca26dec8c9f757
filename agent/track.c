/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From hints to growth: keeps one entry per file and looks at it when something or its deadline
 * says so. What a look finds and tells is look.c's.
 */
#include "track.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/tally.h"
#include "look.h"
#include "watch.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAGE        "watch"
#define WATCH_BUDGET 512 /* directory entries listed in one step */
#define LOOK_BUDGET  256 /* files looked at in one step */

/* What the hints of one watch come with. */
struct root {
    struct mr_track *track;
    struct mr_watch *watch;
    const struct mr_track_watch *config;
    uint32_t index;
    uint64_t done; /* listings as last seen */
};

struct mr_track {
    struct mr_look look; /* configuration, table and counts */
    struct root *roots;
    struct pollfd *fds;   /* one for wake, one per watch */
    pthread_mutex_t lock; /* of published */
    struct mr_track_counts published;
    int wake; /* eventfd */
};

/* ---- hints ---- */

static struct mr_file *add(struct mr_track *t, const struct root *root, enum mr_hint hint,
                           const char *path)
{
    struct mr_file *file = mr_filetable_add(&t->look.files, root->index, path);
    if (file == NULL) {
        mr_error(STAGE, "%s/%s: out of memory: the next rescan tries again", root->config->path,
                 path);
        return NULL;
    }
    file->first_seen_real_ns = t->look.real_ns;
    file->changed_ns = t->look.now_ns;
    file->listed_only = hint == MR_HINT_LISTED;
    file->old = hint == MR_HINT_LISTED && mr_watch_listings_done(root->watch) == 0;
    t->look.unseen++;
    t->look.counts.undecided++;
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
    struct mr_file *file = mr_filetable_find(&t->look.files, root->index, stack);
    if (file != NULL && !file->decided)
        mr_filetable_schedule(&t->look.files, file, t->look.now_ns);
}

static void take_hint(void *ctx, enum mr_hint hint, const char *path)
{
    struct root *root = ctx;
    struct mr_track *t = root->track;
    struct mr_file *file = mr_filetable_find(&t->look.files, root->index, path);
    if (file == NULL && hint != MR_HINT_GONE)
        file = add(t, root, hint, path);
    if (file == NULL)
        return;
    int64_t due_ns = t->look.now_ns;
    if (hint == MR_HINT_LISTED) {
        file->listing = mr_watch_listings_begun(root->watch);
    } else if (hint == MR_HINT_CHANGED) {
        file->listed_only = false;
        file->closed = file->closed_unseen = false;
        file->touched = true;
        if (file->looked_ns != 0 && due_ns < file->looked_ns + MR_LOOK_EVERY_NS)
            due_ns = file->looked_ns + MR_LOOK_EVERY_NS;
    } else if (hint == MR_HINT_CLOSED || hint == MR_HINT_MOVED_IN) {
        file->closed = file->closed_unseen = true;
    }
    if (file->due_ns > due_ns)
        mr_filetable_schedule(&t->look.files, file, due_ns);
    if (hint != MR_HINT_LISTED)
        hint_mdoc(t, root, path);
}

/* After a whole listing: what it did not show may be gone. */
static void doubt(void *ctx, struct mr_file *file)
{
    struct root *root = ctx;
    if (file->watch == root->index && file->listing < mr_watch_listings_begun(root->watch) &&
        file->due_ns > root->track->look.now_ns)
        mr_filetable_schedule(&root->track->look.files, file, root->track->look.now_ns);
}

/* ---- the stage ---- */

static void publish(struct mr_track *t)
{
    struct mr_track_counts *c = &t->look.counts;
    c->files = t->look.files.count;
    c->skipped = 0;
    c->listed = t->look.unseen == 0;
    for (size_t i = 0; i < t->look.config.watch_count; i++) {
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
    for (size_t i = 0; i < t->look.config.watch_count; i++) {
        struct root *root = &t->roots[i];
        more = mr_watch_step(root->watch, t->look.now_ns, WATCH_BUDGET) || more;
        if (root->done != mr_watch_listings_done(root->watch)) {
            root->done = mr_watch_listings_done(root->watch);
            mr_filetable_each(&t->look.files, doubt, root);
        }
    }
    return more;
}

bool mr_track_step(struct mr_track *t, int64_t now_ns, int64_t real_ns, int64_t *ret_deadline_ns)
{
    t->look.now_ns = now_ns;
    t->look.real_ns = real_ns;
    bool more = step_watches(t);
    struct mr_file *file = mr_filetable_first(&t->look.files);
    for (unsigned i = 0; i < LOOK_BUDGET && file != NULL && file->due_ns <= now_ns; i++) {
        if (mr_look_stopped(&t->look))
            break;
        mr_look_at(&t->look, file, mr_watch_root(t->roots[file->watch].watch));
        file = mr_filetable_first(&t->look.files);
    }
    publish(t);
    int64_t deadline_ns = file != NULL ? file->due_ns : MR_SOURCE_NEVER;
    for (size_t i = 0; i < t->look.config.watch_count; i++) {
        int64_t rescan_ns = mr_watch_deadline(t->roots[i].watch);
        deadline_ns = rescan_ns < deadline_ns ? rescan_ns : deadline_ns;
    }
    *ret_deadline_ns = deadline_ns;
    return !mr_look_stopped(&t->look) && (more || deadline_ns <= now_ns);
}

/* ONCE and AS_IT_IS end when everything that was found is decided. */
static bool all_decided(struct mr_track *t)
{
    return t->look.config.mode != MR_TRACK_FOLLOW && t->look.counts.listed &&
           t->look.counts.undecided == 0;
}

static void wait_until(struct mr_track *t, int64_t deadline_ns)
{
    struct pollfd *fds = t->fds;
    fds[0] = (struct pollfd){.fd = t->wake, .events = POLLIN};
    for (size_t i = 0; i < t->look.config.watch_count; i++)
        fds[i + 1] = (struct pollfd){.fd = mr_watch_fd(t->roots[i].watch), .events = POLLIN};
    const int64_t ns = deadline_ns - t->look.now_ns; /* never: in centuries */
    const struct timespec wait = {.tv_sec = ns / MR_NS_PER_S, .tv_nsec = ns % MR_NS_PER_S};
    (void)mr_tally_ppoll(fds, 1 + t->look.config.watch_count, &wait, MR_TALLY_INPUT);
}

static void run(void *stage)
{
    struct mr_track *t = stage;
    while (!mr_look_stopped(&t->look)) {
        int64_t deadline_ns;
        bool more = mr_track_step(t, mr_clock_monotonic_ns(), mr_clock_real_ns(), &deadline_ns);
        if (!more && (all_decided(t) || mr_look_stopped(&t->look)))
            break;
        if (!more)
            wait_until(t, deadline_ns);
    }
    mr_queue_close(t->look.out);
}

const struct mr_stage mr_track_stage = {.name = STAGE, .run = run};

void mr_track_stop(struct mr_track *t)
{
    atomic_store(&t->look.stopped, true);
    mr_queue_close(t->look.out); /* wakes it where it waits for room */
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
    const struct mr_track_watch *from = &t->look.config.watches[index];
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
                                     .events = t->look.out != NULL &&
                                               t->look.config.mode != MR_TRACK_AS_IT_IS,
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
    t->look.config = *config;
    t->look.out = out;
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
    for (size_t i = 0; t->roots != NULL && i < t->look.config.watch_count; i++)
        mr_watch_free(t->roots[i].watch);
    mr_filetable_fini(&t->look.files);
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
    t->look.visit = visit;
    t->look.visit_ctx = ctx;
    do {
        int64_t deadline_ns;
        (void)mr_track_step(t, mr_clock_monotonic_ns(), mr_clock_real_ns(), &deadline_ns);
        mr_track_counts(t, ret_counts);
    } while (!ret_counts->listed && !mr_look_stopped(&t->look));
    ret_counts->undecided = ret_counts->files - ret_counts->complete - ret_counts->broken;
    code = t->look.visit_code;
    mr_track_free(t);
    return code;
}
