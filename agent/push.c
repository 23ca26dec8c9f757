/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that end by themselves: push and --once. They run the same stages as the
 * service; only what they wait for and what they print differs.
 */
#include "push.h"

#include "agent.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/process.h"
#include "base/text.h"

#include <errno.h>
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

/* ---- waiting ---- */

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
    const struct mr_consign_counts *c = &s.counts;
    uint64_t sent = c->sent_bytes < c->bytes ? c->sent_bytes : c->bytes;
    double seconds = (double)(mr_clock_monotonic_ns() - began_ns) / 1e9;
    double rate = seconds > 0 ? (double)sent / seconds : 0;
    if (rate > 0)
        mr_text_duration_about((int64_t)((double)(c->bytes - sent) / rate * 1e9), eta);
    fprintf(stderr, "\r%llu of %llu files, %s of %s, %.0f MB/s, %.0f %%, %s left\033[K",
            (unsigned long long)c->committed, (unsigned long long)c->files,
            mr_text_size_about(sent, done), mr_text_size_about(c->bytes, all), rate / 1e6,
            c->bytes == 0 ? 0.0 : 100.0 * (double)sent / (double)c->bytes, eta);
}

/* Until the agent is done or a signal comes (true). A hangup is one, but not where it is ignored
 * (nohup): blocked, it arrives all the same. */
static bool wait_until_done(struct mr_agent *agent, int done, int signals)
{
    struct pollfd fds[2] = {{.fd = done, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    bool person = isatty(STDERR_FILENO), interrupted = false;
    int64_t began_ns = mr_clock_monotonic_ns();
    struct sigaction hangup = {0};
    mr_log_set_over_progress(person);
    sigaction(SIGHUP, NULL, &hangup);
    while (!interrupted && fds[0].revents == 0) {
        struct signalfd_siginfo info;
        int n = poll(fds, 2, person ? PROGRESS_MS : -1);
        if (n == 0)
            show_progress(agent, began_ns);
        if (n <= 0)
            fds[0].revents = 0;
        if (n > 0 && fds[1].revents != 0 && read(signals, &info, sizeof(info)) == sizeof(info))
            interrupted = info.ssi_signo != SIGHUP || hangup.sa_handler != SIG_IGN;
    }
    if (person)
        fputs("\r\033[K", stderr);
    mr_log_set_over_progress(false);
    return interrupted;
}

static int verdict(const struct mr_tail_status *s, const struct mr_track_counts *found,
                   bool interrupted)
{
    const struct mr_consign_counts *c = &s->counts;
    mr_info(STAGE, "%llu files: %llu committed (%llu were in the store already), %llu failed",
            (unsigned long long)c->files, (unsigned long long)c->committed,
            (unsigned long long)c->known, (unsigned long long)c->failed);
    if (interrupted) {
        mr_error(STAGE, "interrupted; what is not committed was not finished");
        return EXIT_FAILURE;
    }
    if (s->unreachable) {
        mr_error(STAGE, "no server answers");
        return EX_UNAVAILABLE;
    }
    if (c->stale > 0)
        mr_error(STAGE, "%llu files changed or vanished before they were shipped",
                 (unsigned long long)c->stale);
    if (s->refused || c->failed > 0 || c->stale > 0 || found->skipped > 0)
        return EXIT_FAILURE;
    return c->waiting == 0 && c->moving == 0 ? EX_OK : EXIT_FAILURE;
}

static int ship(const struct mr_agent_job *job, int signals)
{
    struct mr_agent *agent;
    struct mr_err err = {0};
    struct mr_tail_status status;
    struct mr_track_counts found;
    int done = eventfd(0, EFD_CLOEXEC);
    int r = done < 0 ? mr_err_errno(&err, -errno, "eventfd")
                     : mr_agent_start(job, ring, &done, &agent, &err);
    if (r < 0) {
        mr_fs_close(&done);
        mr_error(STAGE, "%s", err.text);
        return r == -ENOMEM || r == -EBUSY ? EXIT_FAILURE : EX_IOERR;
    }
    bool interrupted = wait_until_done(agent, done, signals);
    mr_process_allow_end("push: ends at once; what is not committed was not finished\n");
    mr_agent_status(agent, &status, &found);
    mr_agent_stop(agent, &status);
    close(done);
    int result = verdict(&status, &found, interrupted);
    return result == EX_OK && ferror(stdout) ? EX_IOERR : result;
}

/* ---- push ---- */

/* One PATH: the folder it lies in, and its name there. */
struct target {
    char full[PATH_MAX], folder[PATH_MAX], name[PATH_MAX];
};

/* 0; -errno; -EINVAL: nothing that can be pushed. */
static int find_target(const char *path, struct target *ret)
{
    struct stat st;
    if (realpath(path, ret->full) == NULL || stat(ret->full, &st) < 0)
        return -errno;
    if ((!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) || strcmp(ret->full, "/") == 0)
        return -EINVAL;
    const char *name = mr_text_last(ret->full);
    int folder = name - ret->full > 1 ? (int)(name - ret->full - 1) : 1;
    snprintf(ret->name, sizeof(ret->name), "%s", name);
    snprintf(ret->folder, sizeof(ret->folder), "%.*s", folder, ret->full);
    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
        mr_info(STAGE, "%s is a link: %s is shipped, as %s", path, ret->full, ret->name);
    return 0;
}

/* Is it another target, or below one? Then it is shipped with that. */
static bool is_covered(const struct target *targets, size_t count, size_t index)
{
    const char *full = targets[index].full;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(targets[i].full);
        bool below = strncmp(full, targets[i].full, length) == 0 && full[length] == '/';
        if (i != index && (below || (i < index && strcmp(full, targets[i].full) == 0)))
            return true;
    }
    return false;
}

static int find_targets(const struct mr_push_options *o, struct target *targets)
{
    int status = EX_OK;
    for (size_t i = 0; i < o->path_count; i++) {
        int r = find_target(o->paths[i], &targets[i]);
        if (r == 0)
            continue;
        mr_error(STAGE, "%s: %s", o->paths[i],
                 r == -EINVAL ? "neither a file nor a folder that can be pushed" : mr_err_name(r));
        status = EX_IOERR;
    }
    return status;
}

/* What a push ships; arrays of path_count. */
struct load {
    struct target *targets;
    struct mr_track_watch *watches;
    enum mr_wish *outputs;
    size_t count;
};

static void fill_load(const struct mr_push_options *o, int output, struct load *l)
{
    static const char *const everything[] = {"*"};
    for (size_t i = 0; i < o->path_count; i++) {
        if (is_covered(l->targets, o->path_count, i)) {
            mr_info(STAGE, "%s is shipped once: another PATH holds it too", o->paths[i]);
            continue;
        }
        l->outputs[l->count] = (enum mr_wish)output;
        l->watches[l->count++] = (struct mr_track_watch){.path = l->targets[i].folder,
                                                         .below = l->targets[i].name,
                                                         .include = everything,
                                                         .include_count = 1,
                                                         .quiet_ns = MR_NS_PER_S,
                                                         .give_up_ns = MR_NS_PER_S,
                                                         .rescan_ns = MR_NS_PER_S};
    }
}

int mr_push(const struct mr_push_options *o, const struct mr_agent_config *config,
            const struct mr_agent_plan *plan, int signals)
{
    int output = MR_WISH_AUTO;
    if (o->output != NULL && mr_agent_parse_output(o->output, &output) < 0) {
        mr_error(STAGE, "--output %s: must be auto, keep, mrc or hdf5", o->output);
        return EX_USAGE;
    }
    struct load l = {.targets = calloc(o->path_count, sizeof(*l.targets)),
                     .watches = calloc(o->path_count, sizeof(*l.watches)),
                     .outputs = calloc(o->path_count, sizeof(*l.outputs))};
    int status = l.targets == NULL || l.watches == NULL || l.outputs == NULL
                     ? EXIT_FAILURE
                     : find_targets(o, l.targets);
    if (status == EX_OK) {
        fill_load(o, output, &l);
        const struct mr_agent_job job = {.mode = MR_TRACK_AS_IT_IS,
                                         .config = config,
                                         .plan = plan,
                                         .watches = l.watches,
                                         .outputs = l.outputs,
                                         .watch_count = l.count,
                                         .push = true,
                                         .stats = o->stats,
                                         .unreachable_ns = UNREACHABLE_NS};
        status = ship(&job, signals);
    }
    free(l.targets);
    free(l.watches);
    free(l.outputs);
    return status;
}

/* ---- --once ---- */

int mr_ship_once(const struct mr_agent_config *config, const struct mr_agent_plan *plan, bool stats,
                 int signals)
{
    struct mr_agent_job job = {.mode = MR_TRACK_ONCE,
                               .config = config,
                               .plan = plan,
                               .watch_count = config->watches.count,
                               .stats = stats,
                               .unreachable_ns = UNREACHABLE_NS};
    struct mr_track_watch *watches;
    enum mr_wish *outputs;
    if (mr_agent_watches(config, &watches, &outputs) < 0)
        return EXIT_FAILURE;
    job.watches = watches;
    job.outputs = outputs;
    int status = ship(&job, signals);
    free(watches);
    free(outputs);
    return status;
}
