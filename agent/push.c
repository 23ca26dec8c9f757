/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that end by themselves: push, --once, --dry-run. They run the same stages as the
 * service; only what they wait for and what they print differs.
 */
#include "push.h"

#include "agent.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#define STAGE          "push"
#define UNREACHABLE_NS (10 * MR_NS_PER_S)
#define PROGRESS_MS    500

static int report_error(const struct mr_err *err)
{
    mr_error(STAGE, "%s", err->text);
    if (err->code == -EINVAL)
        return EX_CONFIG;
    return err->code == -ENOMEM ? EXIT_FAILURE : EX_IOERR;
}

/* ---- waiting
 * --------------------------------------------------------------------------------------- */

static void ring(void *ctx)
{
    uint64_t one = 1;
    ssize_t written = write(*(int *)ctx, &one, sizeof(one));
    (void)written;
}

/* A line that rewrites itself, for people; never into a file. */
static void show_progress(struct mr_agent *agent, int64_t began_ns)
{
    struct mr_tail_status s;
    struct mr_track_counts found;
    char done[MR_QUANTITY_TEXT], all[MR_QUANTITY_TEXT], eta[MR_QUANTITY_TEXT] = "?";
    mr_agent_status(agent, &s, &found);
    double seconds = (double)(mr_clock_monotonic_ns() - began_ns) / 1e9;
    double rate = seconds > 0 ? (double)s.counts.sent_bytes / seconds : 0;
    uint64_t left = s.counts.bytes > s.counts.sent_bytes ? s.counts.bytes - s.counts.sent_bytes : 0;
    if (rate > 0)
        mr_text_duration_about((int64_t)((double)left / rate * 1e9), eta);
    fprintf(stderr, "\r%llu of %llu files, %s of %s, %.0f MB/s, %.0f %%, %s left\033[K",
            (unsigned long long)s.counts.committed, (unsigned long long)s.counts.files,
            mr_text_size_about(s.counts.sent_bytes, done), mr_text_size_about(s.counts.bytes, all),
            rate / 1e6,
            s.counts.bytes == 0 ? 0.0
                                : 100.0 * (double)s.counts.sent_bytes / (double)s.counts.bytes,
            eta);
}

/* Until the agent is done or a signal comes (true). */
static bool wait_until_done(struct mr_agent *agent, int done, int signals)
{
    struct pollfd fds[2] = {{.fd = done, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    bool person = isatty(STDERR_FILENO);
    int64_t began_ns = mr_clock_monotonic_ns();
    while (poll(fds, 2, person ? PROGRESS_MS : -1) <= 0)
        if (person)
            show_progress(agent, began_ns);
    if (person)
        fputs("\r\033[K", stderr);
    struct signalfd_siginfo info; /* left pending it would end us once it is unblocked */
    return fds[1].revents != 0 && read(signals, &info, sizeof(info)) == (ssize_t)sizeof(info);
}

static int verdict(const struct mr_tail_status *s, const struct mr_track_counts *found,
                   bool interrupted)
{
    mr_info(STAGE, "%llu files: %llu committed (%llu were in the store already), %llu failed",
            (unsigned long long)s->counts.files, (unsigned long long)s->counts.committed,
            (unsigned long long)s->counts.known, (unsigned long long)s->counts.failed);
    if (interrupted) {
        mr_error(STAGE, "interrupted; what is not committed was not finished");
        return EXIT_FAILURE;
    }
    if (s->unreachable) {
        mr_error(STAGE, "no server answers");
        return EX_UNAVAILABLE;
    }
    if (s->refused || s->counts.failed > 0 || found->skipped > 0)
        return EXIT_FAILURE;
    return s->counts.waiting == 0 && s->counts.moving == 0 ? EX_OK : EXIT_FAILURE;
}

static int ship(const struct mr_agent_job *job)
{
    struct mr_agent *agent;
    struct mr_err err = {0};
    struct mr_tail_status status;
    struct mr_track_counts found;
    sigset_t set;
    int done = eventfd(0, EFD_CLOEXEC);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_CLOEXEC);
    if (done < 0 || signals < 0)
        return EX_OSERR;
    int r = mr_agent_start(job, ring, &done, &agent, &err);
    if (r < 0)
        return report_error(&err);
    bool interrupted = wait_until_done(agent, done, signals);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL); /* a second one ends it at once */
    mr_agent_status(agent, &status, &found);
    mr_agent_stop(agent, &status);
    close(done);
    close(signals);
    return verdict(&status, &found, interrupted);
}

/* ---- push
 * ------------------------------------------------------------------------------------------ */

struct target { /* one PATH: the folder it lies in, and its name there */
    char folder[PATH_MAX], name[PATH_MAX];
};

static int find_target(const char *path, struct target *ret)
{
    char full[PATH_MAX];
    struct stat st;
    if (realpath(path, full) == NULL)
        return -errno;
    if (stat(full, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return -EINVAL;
    char copy[PATH_MAX];
    memcpy(copy, full, sizeof(copy));
    snprintf(ret->name, sizeof(ret->name), "%s", basename(copy));
    memcpy(copy, full, sizeof(copy));
    snprintf(ret->folder, sizeof(ret->folder), "%s", dirname(copy));
    return strcmp(full, "/") == 0 ? -EINVAL : 0;
}

static int take_words(const struct mr_push_options *o, struct mr_agent_config *config,
                      int *ret_output)
{
    *ret_output = MR_WISH_AUTO;
    if (o->output != NULL && mr_agent_parse_output(o->output, ret_output) < 0) {
        mr_error(STAGE, "--output %s: must be auto, keep, mrc or hdf5", o->output);
        return EX_USAGE;
    }
    if (o->codec != NULL && mr_agent_parse_codec(o->codec, &config->codec) < 0) {
        mr_error(STAGE, "--codec %s: must be auto, none, bslz4 or bszstd", o->codec);
        return EX_USAGE;
    }
    return EX_OK;
}

static int push_targets(const struct mr_push_options *o, const struct mr_agent_config *config,
                        const struct mr_agent_plan *plan, int output)
{
    static const char *const everything[] = {"*"};
    struct target *targets = calloc(o->path_count, sizeof(*targets));
    struct mr_track_watch *watches = calloc(o->path_count, sizeof(*watches));
    enum mr_wish *outputs = calloc(o->path_count, sizeof(*outputs));
    int status = targets == NULL || watches == NULL || outputs == NULL ? EX_OSERR : EX_OK;
    for (size_t i = 0; status == EX_OK && i < o->path_count; i++) {
        int r = find_target(o->paths[i], &targets[i]);
        if (r < 0) {
            mr_error(STAGE, "%s: %s", o->paths[i],
                     r == -EINVAL ? "neither a file nor a folder that can be pushed"
                                  : mr_err_name(r));
            status = r == -ENOENT || r == -ENOTDIR ? EX_NOINPUT : EX_IOERR;
        }
        outputs[i] = (enum mr_wish)output;
        watches[i] = (struct mr_track_watch){.path = targets[i].folder,
                                             .below = targets[i].name,
                                             .include = everything,
                                             .include_count = 1,
                                             .quiet_ns = MR_NS_PER_S,
                                             .give_up_ns = MR_NS_PER_S,
                                             .rescan_ns = MR_NS_PER_S};
    }
    const struct mr_agent_job job = {.mode = MR_TRACK_AS_IT_IS,
                                     .config = config,
                                     .plan = plan,
                                     .watches = watches,
                                     .outputs = outputs,
                                     .watch_count = o->path_count,
                                     .push = true,
                                     .unreachable_ns = UNREACHABLE_NS};
    if (status == EX_OK)
        status = ship(&job);
    free(targets);
    free(watches);
    free(outputs);
    return status == EX_NOINPUT ? EX_IOERR : status;
}

int mr_push(const struct mr_push_options *o)
{
    struct mr_agent_config config;
    struct mr_agent_plan plan;
    struct mr_err err = {0};
    int output;
    if (mr_agent_config_default(o->agent, o->server, &config, &plan, &err) < 0) {
        mr_error(STAGE, "%s", err.text);
        return EX_USAGE;
    }
    int status = take_words(o, &config, &output);
    if (status == EX_OK)
        status = push_targets(o, &config, &plan, output);
    mr_agent_config_free(&config);
    return status;
}

/* ---- --once
 * ---------------------------------------------------------------------------------------- */

int mr_ship_once(const struct mr_agent_config *config, const struct mr_agent_plan *plan)
{
    struct mr_agent_job job = {.mode = MR_TRACK_ONCE,
                               .config = config,
                               .plan = plan,
                               .watch_count = config->watches.count,
                               .unreachable_ns = UNREACHABLE_NS};
    struct mr_track_watch *watches;
    enum mr_wish *outputs;
    if (mr_agent_watches(config, &watches, &outputs) < 0)
        return EX_OSERR;
    job.watches = watches;
    job.outputs = outputs;
    int status = ship(&job);
    free(watches);
    free(outputs);
    return status;
}

/* ---- --dry-run
 * ------------------------------------------------------------------------------------- */

struct listing {
    const enum mr_wish *outputs;
    uint64_t broken;
};

static int list_one(void *ctx, const struct mr_growth *g, const char *why)
{
    static const char *const states[] = {[MR_GROWTH_FOUND] = "growing",
                                         [MR_GROWTH_COMPLETE] = "complete",
                                         [MR_GROWTH_BROKEN] = "broken"};
    static const char *const words[] = {"keep", "keep", "mrc", "hdf5"};
    static const char *const extensions[] = {NULL, NULL, ".mrc", ".h5"};
    struct listing *l = ctx;
    enum mr_wish wish =
        g->view.known && g->view.kind == MR_KIND_MOVIE ? l->outputs[g->watch] : MR_WISH_KEEP;
    const char *dot = strrchr(g->path, '.'), *slash = strrchr(g->path, '/');
    bool has_extension = dot != NULL && (slash == NULL || dot > slash + 1);
    int stem =
        extensions[wish] != NULL && has_extension ? (int)(dot - g->path) : (int)strlen(g->path);
    const char *extension = extensions[wish] == NULL ? "" : extensions[wish];
    const char *state =
        g->kind <= MR_GROWTH_BROKEN && states[g->kind] != NULL ? states[g->kind] : "growing";
    char what[96] = "file";
    if (g->view.kind == MR_KIND_MOVIE && g->view.known)
        snprintf(what, sizeof(what), "%s %llu x %llu x %llu %s", g->view.format,
                 (unsigned long long)g->view.width, (unsigned long long)g->view.height,
                 (unsigned long long)g->view.frames, mr_pixel_name(g->view.pixel));
    l->broken += g->kind == MR_GROWTH_BROKEN;
    printf("%s/%s\t%s\t%llu bytes\t%s: %s\t%s -> %.*s%s\n", g->root, g->path, what,
           (unsigned long long)g->facts.size, state, why, words[wish], stem, g->path, extension);
    return ferror(stdout) ? -EIO : 0;
}

int mr_dry_run(const struct mr_agent_config *config)
{
    struct mr_track_watch *watches;
    enum mr_wish *outputs;
    struct mr_track_counts counts;
    struct mr_err err = {0};
    if (mr_agent_watches(config, &watches, &outputs) < 0)
        return EX_OSERR;
    const struct mr_track_config track = {
        .mode = MR_TRACK_ONCE, .watches = watches, .watch_count = config->watches.count};
    struct listing listing = {.outputs = outputs};
    int r = mr_track_explain(&track, list_one, &listing, &counts, &err);
    free(watches);
    free(outputs);
    if (r < 0)
        return report_error(&err);
    mr_info(STAGE, "%llu files, %llu of them broken; nothing was sent",
            (unsigned long long)counts.files, (unsigned long long)listing.broken);
    return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}
