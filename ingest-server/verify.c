/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finished files against their recorded digests. Mends nothing and writes nothing; a file that a
 * running server replaces meanwhile is looked up again before anything is said of it.
 */
#include "verify.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/text.h"
#include "naming.h"
#include "reread.h"
#include "verify_records.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_NS     (500 * MR_NS_PER_MS)
#define UNDER_WAY_MS    100
#define UNDER_WAY_TRIES 50

struct verify {
    const struct mr_verify_config *config;
    struct mr_verify_counts *counts;
    int root, millrace;
    struct mr_verify_list list;
    struct mr_reread reread;
    const char *below; /* config's path, below the root; "": all */
    uint64_t all_files, all_bytes;
    int64_t began_ns, shown_ns;
};

/* ---- how far, how fast ---- */

static void show_progress(struct verify *v)
{
    char done[MR_QUANTITY_TEXT], all[MR_QUANTITY_TEXT], left[MR_QUANTITY_TEXT] = "?";
    int64_t now_ns = mr_clock_monotonic_ns();
    if (!v->config->progress || now_ns - v->shown_ns < PROGRESS_NS)
        return;
    v->shown_ns = now_ns;
    double read = (double)v->counts->bytes, total = (double)v->all_bytes;
    double rate = read / ((double)(now_ns - v->began_ns) / 1e9);
    if (rate > 0 && total >= read)
        mr_text_duration_about((int64_t)((total - read) / rate * 1e9), left);
    fprintf(stderr,
            "\r%" PRIu64 " of %" PRIu64 " files, %s of %s, %.0f MB/s, %.0f %%, %s left\033[K",
            v->counts->files, v->all_files, mr_text_size_about(v->counts->bytes, done),
            mr_text_size_about(v->all_bytes, all), rate / 1e6,
            total > 0 ? 100.0 * read / total : 100.0, left);
}

/* Sleeps as long as all that was read so far should have taken. */
static void keep_rate(const struct verify *v)
{
    if (v->config->rate == 0)
        return;
    double due_ns = (double)v->counts->bytes / (double)v->config->rate * 1e9;
    int64_t ahead_ns = (int64_t)due_ns - (mr_clock_monotonic_ns() - v->began_ns);
    if (ahead_ns <= 0)
        return;
    const struct timespec wait = {.tv_sec = ahead_ns / MR_NS_PER_S,
                                  .tv_nsec = ahead_ns % MR_NS_PER_S};
    nanosleep(&wait, NULL); /* a signal ends the program, or the wait: no harm */
}

/* ---- one file ---- */

enum finding { GOOD, MISSING, CHANGED, DAMAGED, UNREADABLE };

static int read_digest(struct verify *v, uint64_t bytes, uint64_t *ret)
{
    uint64_t crc = 0;
    for (uint64_t at = 0; at < bytes;) {
        uint64_t step = bytes - at < MR_REREAD_BUFFER_BYTES ? bytes - at : MR_REREAD_BUFFER_BYTES;
        int r = mr_reread_crc(&v->reread, at, step, &crc);
        if (r < 0)
            return r;
        at += step;
        v->counts->bytes += step;
        keep_rate(v);
        show_progress(v);
    }
    *ret = crc;
    return 0;
}

static enum finding look_at(struct verify *v, const struct mr_verify_file *f, int *ret_error)
{
    struct mr_fs_facts facts;
    uint64_t digest;
    int fd = mr_fs_open_beneath(v->root, f->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    *ret_error = fd;
    if (fd < 0)
        return fd == -ENOENT || fd == -ENOTDIR ? MISSING : fd == -ELOOP ? CHANGED : UNREADABLE;
    int r = mr_fs_stat(fd, "", &facts);
    bool regular = r == 0 && (facts.mode & S_IFMT) == S_IFREG;
    if (r < 0)
        close(fd);
    else
        r = mr_reread_take(&v->reread, fd, v->config->direct && regular);
    if (r == 0 && (!regular || facts.size != f->bytes))
        return CHANGED;
    if (r == 0)
        r = read_digest(v, f->bytes, &digest);
    *ret_error = r;
    if (r < 0)
        return r == -ENODATA ? CHANGED : UNREADABLE;
    if (digest == f->digest)
        return GOOD; /* whatever became of its times */
    return facts.mtime_ns == f->mtime_ns ? DAMAGED : CHANGED;
}

/* A journal of this movie: a server may be about to put a newer revision in its place. */
static bool is_under_way(const struct verify *v, const struct mr_ulid *id)
{
    char text[MR_ULID_TEXT];
    bool found = false;
    const char *name = "";
    MR_CLEANUP(mr_fs_close)
    int fd = openat(v->millrace, "journal", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    MR_CLEANUP(mr_fs_list_close) DIR *dir = NULL;
    int r = mr_fs_list(fd, &dir);
    mr_ulid_text(id, text);
    while (r == 0 && !found && (r = mr_fs_next_name(dir, &name)) == 0 && name != NULL)
        found = strncmp(name, text, MR_ULID_TEXT - 1) == 0;
    return found;
}

/* Whatever is wrong with the catalogue was said when it was read first. */
static int read_again(const struct verify *v, struct mr_verify_list *ret)
{
    uint64_t damaged = 0;
    FILE *nowhere = fopen("/dev/null", "we");
    if (nowhere == NULL)
        return -errno;
    int r = mr_verify_list_read(v->millrace, ret, nowhere, &damaged, NULL);
    (void)fclose(nowhere);
    return r;
}

/* Was it replaced while it was being read? Then what is recorded now counts. */
static enum finding look_twice(struct verify *v, const struct mr_verify_file *f, int *ret_error)
{
    static const struct timespec wait = {.tv_nsec = UNDER_WAY_MS * MR_NS_PER_MS};
    enum finding found = look_at(v, f, ret_error);
    for (int tries = 0; found != GOOD && tries < UNDER_WAY_TRIES; tries++) {
        struct mr_verify_list fresh = {0};
        bool under_way = is_under_way(v, &f->id); /* before: its journal goes last */
        int r = read_again(v, &fresh);
        const struct mr_verify_file *now = r < 0 ? f : mr_verify_list_find(&fresh, f->path);
        bool same = now != NULL && now->line == f->line;
        if (same && under_way)
            nanosleep(&wait, NULL);
        if (now == NULL) /* it lies elsewhere by now */
            found = GOOD;
        else if (!same || under_way)
            found = look_at(v, now, ret_error);
        mr_verify_list_free(&fresh);
        if (same && !under_way)
            break;
    }
    return found;
}

static void tell(struct verify *v, const struct mr_verify_file *f, enum finding found, int error)
{
    static const char *const words[] = {"", "MISSING", "CHANGED", "DAMAGED", "UNREADABLE"};
    char id[MR_ULID_TEXT], size[MR_QUANTITY_TEXT];
    if (v->config->progress)
        fputs("\r\033[K", stderr);
    fprintf(v->config->out, "%s %s: ", words[found], f->path);
    if (found == UNREADABLE)
        fprintf(v->config->out, "%s; ", mr_err_name(error));
    fprintf(v->config->out, "movie %s revision %" PRIu32 ", %s, %016" PRIX64 "\n",
            mr_ulid_text(&f->id, id), f->revision, mr_text_size_about(f->bytes, size), f->digest);
    (void)fflush(v->config->out);
}

static void verify_file(struct verify *v, const struct mr_verify_file *f)
{
    int error = 0;
    enum finding found = look_twice(v, f, &error);
    struct mr_verify_counts *c = v->counts;
    mr_reread_close(&v->reread);
    c->files++;
    c->missing += found == MISSING;
    c->changed += found == CHANGED;
    c->damaged += found == DAMAGED;
    c->unreadable += found == UNREADABLE;
    if (found != GOOD && !(found == MISSING && v->config->allow_missing))
        tell(v, f, found, error);
}

/* ---- all of them ---- */

static bool is_wanted(const struct verify *v, const struct mr_verify_file *f)
{
    size_t n = strlen(v->below);
    return f->current && strncmp(f->path, v->below, n) == 0 &&
           (n == 0 || f->path[n] == '\0' || f->path[n] == '/');
}

/* Below the root; "" for the root itself. NULL: elsewhere. */
static char *below_root(const char *root, const char *path)
{
    size_t n = strlen(root), end;
    while (n > 1 && root[n - 1] == '/')
        n--;
    if (path[0] == '/') {
        if (strncmp(path, root, n) != 0 || (path[n] != '/' && path[n] != '\0' && n > 1))
            return NULL;
        path += n;
    }
    for (;;) {
        path += strspn(path, "/");
        if (strncmp(path, "./", 2) != 0)
            break;
        path++;
    }
    if (strcmp(path, ".") == 0)
        path++;
    end = strlen(path);
    while (end > 0 && path[end - 1] == '/')
        end--;
    return strndup(path, end);
}

static int verify_files(struct verify *v, struct mr_err *err)
{
    for (size_t i = 0; i < v->list.count; i++)
        if (is_wanted(v, &v->list.files[i])) {
            v->all_files++;
            v->all_bytes += v->list.files[i].bytes;
        }
    if (v->all_files == 0 && v->below[0] != '\0')
        return mr_err_set(err, -ENOENT, "nothing is recorded at or below %s", v->config->path);
    for (size_t i = 0; i < v->list.count; i++)
        if (is_wanted(v, &v->list.files[i]))
            verify_file(v, &v->list.files[i]);
    if (v->config->progress)
        fputs("\r\033[K", stderr);
    return 0;
}

static int open_dirs(struct verify *v, struct mr_err *err)
{
    v->root = open(v->config->root, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (v->root < 0)
        return mr_err_errno(err, -errno, "store.root: %s", v->config->root);
    v->millrace = openat(v->root, MR_NAMING_RESERVED, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    return v->millrace < 0
               ? mr_err_errno(err, -errno, "%s/.millrace: is it a store?", v->config->root)
               : 0;
}

static int run_with(struct verify *v, struct mr_err *err)
{
    FILE *out = v->config->out;
    int r = open_dirs(v, err);
    if (r == 0 && mr_reread_init(&v->reread) < 0)
        r = mr_err_errno(err, -ENOMEM, "verify");
    if (r == 0)
        r = mr_verify_list_read(v->millrace, &v->list, out, &v->counts->records, err);
    if (r == 0) /* after the catalogue, whose every event is in the log before it */
        r = mr_verify_events(v->millrace, &v->list, out, &v->counts->records, err);
    if (r == 0)
        r = verify_files(v, err);
    mr_verify_list_free(&v->list);
    mr_reread_fini(&v->reread);
    mr_fs_close(&v->millrace);
    mr_fs_close(&v->root);
    return r;
}

int mr_verify_run(const struct mr_verify_config *config, struct mr_verify_counts *ret,
                  struct mr_err *err)
{
    *ret = (struct mr_verify_counts){0};
    struct verify v = {.config = config,
                       .counts = ret,
                       .root = -1,
                       .millrace = -1,
                       .below = "",
                       .began_ns = mr_clock_monotonic_ns()};
    char *below = config->path == NULL ? NULL : below_root(config->root, config->path);
    if (config->path != NULL && below == NULL)
        return mr_err_set(err, -ENOENT, "%s is not below %s", config->path, config->root);
    if (below != NULL)
        v.below = below;
    int r = run_with(&v, err);
    free(below);
    return r;
}
