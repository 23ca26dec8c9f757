/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listing and watching one tree, step by step. Does not know what the files are, does not remember
 * any of them, and does not read them. The only file that knows inotify.
 */
#include "watch.h"

#include "base/fs.h"
#include "base/log.h"
#include "base/text.h"
#include "dirmap.h"
#include "wire/message.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAGE "watch"
#define EVENTS                                                                          \
    (IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | \
     IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK)
#define EVENT_BYTES 16384 /* taken by one step; one event is at most 272 */
#define TOLD_COUNT  256   /* complaints remembered, so that rescans do not repeat them */

struct mr_watch {
    struct mr_watch_config config;
    int inotify; /* -1: none */
    int root;    /* -1: not there */
    struct mr_fs_identity root_identity;
    struct mr_dirmap dirs;

    char **pending; /* directories to list, the next one last; owned paths */
    size_t pending_count, pending_capacity;
    DIR *listing; /* the one that is being listed */
    char *listing_path;

    bool wanted, running; /* a whole listing */
    uint64_t begun, done, skipped;
    int64_t deadline_ns;
    bool root_missed, no_watches, no_watches_told; /* complaints of this listing, or made before */
    uint64_t told[TOLD_COUNT];
    size_t told_next;
};

int mr_watch_new(const struct mr_watch_config *config, struct mr_watch **ret)
{
    assert(config->path != NULL && config->hint != NULL);
    struct mr_watch *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return -ENOMEM;
    w->config = *config;
    w->root = w->inotify = -1;
    w->wanted = true;
    w->deadline_ns = INT64_MAX;
    if (config->events)
        w->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (config->events && w->inotify < 0)
        mr_warn(
            STAGE,
            "%s: no inotify (%s; fs.inotify.max_user_instances may be too low): finding files by "
            "rescans only",
            config->path, mr_err_name(errno));
    *ret = w;
    return 0;
}

static void stop_listing(struct mr_watch *w)
{
    if (w->listing != NULL)
        closedir(w->listing);
    w->listing = NULL;
    free(w->listing_path);
    w->listing_path = NULL;
}

void mr_watch_free(struct mr_watch *w)
{
    if (w == NULL)
        return;
    stop_listing(w);
    for (size_t i = 0; i < w->pending_count; i++)
        free(w->pending[i]);
    free(w->pending);
    mr_dirmap_fini(&w->dirs);
    mr_fs_close(&w->inotify);
    mr_fs_close(&w->root);
    free(w);
}

/* ---- complaints: once per path, not at every rescan ---- */

static bool first_time(struct mr_watch *w, const char *path)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (const char *c = path; *c != '\0'; c++)
        hash = (hash ^ (uint8_t)*c) * 1099511628211u;
    for (size_t i = 0; i < TOLD_COUNT; i++)
        if (w->told[i] == hash)
            return false;
    w->told[w->told_next++ % TOLD_COUNT] = hash;
    return true;
}

static void skip(struct mr_watch *w, const char *path, const char *why)
{
    w->skipped++;
    if (first_time(w, path))
        mr_error(STAGE, "%s/%s: left out: %s", w->config.path, path, why);
}

/* ---- names ---- */

static bool any_matches(const char *const *globs, size_t count, const char *path)
{
    for (size_t i = 0; i < count; i++)
        if (mr_text_glob_path(globs[i], path))
            return true;
    return false;
}

static bool is_excluded(const struct mr_watch_config *c, const char *path)
{
    return any_matches(c->exclude, c->exclude_count, path) ||
           mr_text_glob_path(MR_WATCH_HIDDEN "*", path);
}

bool mr_watch_wants(const struct mr_watch_config *c, const char *path)
{
    return !is_excluded(c, path) &&
           (c->include_count == 0 || any_matches(c->include, c->include_count, path));
}

/* folder/name into ret (MR_PATH_MAX + 1 bytes); false, said aloud, where that is too long. */
static bool join(struct mr_watch *w, const char *folder, const char *name, char *ret)
{
    struct mr_text t = mr_text_init(ret, MR_PATH_MAX + 1);
    mr_text_append(&t, folder);
    mr_text_append(&t, *folder != '\0' ? "/" : "");
    mr_text_append(&t, name);
    if (t.overflowed)
        skip(w, ret, "path longer than 1024 bytes");
    return !t.overflowed;
}

static void push_dir(struct mr_watch *w, const char *path)
{
    if (w->pending_count == w->pending_capacity) {
        size_t capacity = w->pending_capacity ? w->pending_capacity * 2 : 64;
        char **pending = realloc(w->pending, capacity * sizeof(*pending));
        if (pending == NULL) {
            skip(w, path, "out of memory");
            return;
        }
        w->pending = pending;
        w->pending_capacity = capacity;
    }
    char *copy = strdup(path);
    if (copy == NULL)
        skip(w, path, "out of memory");
    else
        w->pending[w->pending_count++] = copy;
}

/* ---- watches ---- */

static void drop_watches(struct mr_watch *w, const char *below)
{
    size_t at = 0;
    for (int wd; (wd = mr_dirmap_find_below(&w->dirs, below, &at)) != 0;) {
        (void)inotify_rm_watch(w->inotify, wd); /* fails where the kernel dropped it itself */
        (void)mr_dirmap_remove(&w->dirs, wd);
    }
}

static void tell_no_watches(struct mr_watch *w, int error)
{
    w->no_watches = true; /* until the next whole listing tries again */
    if (w->no_watches_told)
        return;
    w->no_watches_told = true;
    if (error == ENOSPC)
        mr_error(
            STAGE,
            "%s: the kernel gives no more inotify watches (%zu directories are watched): raise "
            "fs.inotify.max_user_watches with sysctl; until then new files in the others are "
            "found by rescans",
            w->config.path, w->dirs.count);
    else
        mr_error(STAGE, "%s: cannot watch all directories: %s: new files are found by rescans",
                 w->config.path, mr_err_name(error));
}

/* Through the descriptor that is then listed, so that watch and listing are of one directory
 * whatever is renamed meanwhile. */
static void watch_dir(struct mr_watch *w, int fd, const char *path)
{
    if (w->inotify < 0 || w->no_watches)
        return;
    char self[40];
    snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    int wd = inotify_add_watch(w->inotify, self, EVENTS);
    if (wd < 0)
        tell_no_watches(w, errno);
    else if (mr_dirmap_set(&w->dirs, wd, path) != 0)
        tell_no_watches(w, ENOMEM);
}

/* ---- listing ---- */

/* Opens the root afresh: it may have been replaced, mounted over or unmounted. */
static bool open_root(struct mr_watch *w)
{
    struct mr_fs_facts facts = {0};
    int fd = open(w->config.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = fd < 0 ? errno : -mr_fs_stat(fd, "", &facts);
    if (fd >= 0 && error != 0)
        mr_fs_close(&fd);
    bool same = error == 0 && w->root >= 0 && mr_fs_same(&facts.identity, &w->root_identity);
    if (!same)
        drop_watches(w, "");
    mr_fs_close(&w->root);
    w->root = fd;
    w->root_identity = facts.identity;
    if (error != 0 && !w->root_missed)
        mr_warn(STAGE, "%s: %s: looking for it at every rescan", w->config.path,
                mr_err_name(error));
    if (error == 0 && w->root_missed)
        mr_info(STAGE, "%s: is there now", w->config.path);
    w->root_missed = error != 0;
    return error == 0;
}

static void list_one(struct mr_watch *w, const char *path, unsigned char type)
{
    if (type == DT_UNKNOWN) {
        struct stat st;
        if (fstatat(w->root, path, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            bool named = w->config.below != NULL && strcmp(path, w->config.below) == 0;
            if (named || (errno != ENOENT && errno != ENOTDIR)) /* else gone since */
                skip(w, path, mr_err_name(errno));
            return;
        }
        type = S_ISDIR(st.st_mode) ? DT_DIR : S_ISREG(st.st_mode) ? DT_REG : DT_LNK;
    }
    if (type == DT_DIR && !is_excluded(&w->config, path))
        push_dir(w, path);
    else if (type == DT_REG && mr_watch_wants(&w->config, path))
        w->config.hint(w->config.ctx, MR_HINT_LISTED, path);
}

static void begin(struct mr_watch *w)
{
    w->wanted = false;
    w->running = true;
    w->no_watches = false;
    w->skipped = 0;
    w->begun++;
    stop_listing(w);
    while (w->pending_count > 0)
        free(w->pending[--w->pending_count]);
    if (!open_root(w)) {
        w->skipped++; /* said; a command must not end as if there were nothing in it */
        return;
    }
    if (w->config.below == NULL || w->config.below[0] == '\0')
        push_dir(w, "");
    else if (strlen(w->config.below) > MR_PATH_MAX)
        skip(w, w->config.below, "path longer than 1024 bytes");
    else
        list_one(w, w->config.below, DT_UNKNOWN);
}

static void finish(struct mr_watch *w, int64_t now_ns)
{
    w->running = false;
    w->done++;
    w->deadline_ns = w->config.events ? now_ns + w->config.rescan_ns : INT64_MAX;
}

/* Opens the next pending directory. */
static void open_next(struct mr_watch *w)
{
    char *path = w->pending[--w->pending_count];
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    int fd = w->root < 0     ? -ENOENT
             : *path != '\0' ? mr_fs_open_beneath(w->root, path, flags, 0)
                             : openat(w->root, ".", flags | O_CLOEXEC);
    if (fd >= 0) {
        watch_dir(w, fd, path);
        w->listing = fdopendir(fd);
        w->listing_path = path;
        if (w->listing == NULL) {
            skip(w, path, mr_err_name(errno));
            mr_fs_close(&fd);
            stop_listing(w);
        }
        return;
    }
    if (fd != -ENOENT && fd != -ENOTDIR) /* gone or replaced since: its parent's events tell */
        skip(w, path, mr_err_name(fd));
    free(path);
}

/* Takes one entry of the directory that is open. */
static void list_next(struct mr_watch *w)
{
    char path[MR_PATH_MAX + 1];
    errno = 0;
    const struct dirent *entry = readdir(w->listing);
    if (entry == NULL) {
        if (errno != 0)
            skip(w, w->listing_path, mr_err_name(errno));
        stop_listing(w);
    } else if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
               join(w, w->listing_path, entry->d_name, path)) {
        list_one(w, path, entry->d_type);
    }
}

static void list_some(struct mr_watch *w, int64_t now_ns, unsigned budget)
{
    for (; budget > 0; budget--) {
        if (w->listing != NULL)
            list_next(w);
        else if (w->pending_count > 0)
            open_next(w);
        else
            break;
    }
    if (w->running && w->listing == NULL && w->pending_count == 0)
        finish(w, now_ns);
}

/* ---- events ---- */

static void take_dir_event(struct mr_watch *w, uint32_t mask, const char *path)
{
    if (mask & (IN_MOVED_FROM | IN_DELETE))
        drop_watches(w, path);
    if (mask & IN_MOVED_FROM)
        w->wanted = true; /* what lay in it is gone, and no event says so file by file */
    if (mask & (IN_CREATE | IN_MOVED_TO) && !is_excluded(&w->config, path))
        push_dir(w, path);
}

static void take_file_event(struct mr_watch *w, uint32_t mask, const char *path)
{
    enum mr_hint hint = mask & (IN_DELETE | IN_MOVED_FROM) ? MR_HINT_GONE
                        : mask & IN_MOVED_TO               ? MR_HINT_MOVED_IN
                        : mask & IN_CLOSE_WRITE            ? MR_HINT_CLOSED
                                                           : MR_HINT_CHANGED;
    if (mr_watch_wants(&w->config, path))
        w->config.hint(w->config.ctx, hint, path);
}

static void take_event(struct mr_watch *w, const struct inotify_event *event)
{
    char path[MR_PATH_MAX + 1];
    if (event->mask & IN_Q_OVERFLOW) {
        mr_warn(STAGE, "%s: the kernel lost events: listing the whole tree again", w->config.path);
        w->wanted = true;
        return;
    }
    const char *folder = mr_dirmap_get(&w->dirs, event->wd);
    if (folder == NULL)
        return; /* queued before its watch was dropped */
    if (event->mask & (IN_UNMOUNT | IN_DELETE_SELF | IN_MOVE_SELF) && *folder == '\0')
        w->wanted = true; /* the root itself */
    if (event->mask & IN_IGNORED)
        (void)mr_dirmap_remove(&w->dirs, event->wd);
    else if (event->len > 0 && join(w, folder, event->name, path)) {
        if (event->mask & IN_ISDIR)
            take_dir_event(w, event->mask, path);
        else
            take_file_event(w, event->mask, path);
    }
}

/* One read of the kernel's queue; true where there may be more. */
static bool take_events(struct mr_watch *w)
{
    _Alignas(struct inotify_event) char buffer[EVENT_BYTES];
    ssize_t got = w->inotify < 0 ? 0 : read(w->inotify, buffer, sizeof(buffer));
    for (ssize_t at = 0; at < got;) {
        const struct inotify_event *event = (const void *)(buffer + at);
        take_event(w, event);
        at += (ssize_t)(sizeof(*event) + event->len);
    }
    return got > 0;
}

bool mr_watch_step(struct mr_watch *w, int64_t now_ns, unsigned budget)
{
    bool more = take_events(w);
    if (!w->running && now_ns >= w->deadline_ns)
        w->wanted = true;
    if (w->wanted && !w->running)
        begin(w);
    list_some(w, now_ns, budget);
    return more || w->wanted || w->running || w->listing != NULL || w->pending_count > 0;
}

int mr_watch_fd(const struct mr_watch *w)
{
    return w->inotify;
}

int64_t mr_watch_deadline(const struct mr_watch *w)
{
    return w->running ? INT64_MAX : w->deadline_ns;
}

uint64_t mr_watch_listings_begun(const struct mr_watch *w)
{
    return w->begun;
}

uint64_t mr_watch_listings_done(const struct mr_watch *w)
{
    return w->done;
}

uint64_t mr_watch_skipped(const struct mr_watch *w)
{
    return w->skipped;
}

int mr_watch_root(const struct mr_watch *w)
{
    return w->root;
}
