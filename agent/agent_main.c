/* SPDX-License-Identifier: Apache-2.0 */
/* millrace-agent: options, signals and exit statuses. What the agent is, agent.c says. */
#include "agent.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"
#include "push.h"
#include "wire/link.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#define STAGE "main"

static const char usage[] =
    "usage: millrace-agent --config FILE [--once | --dry-run | --check-config] [--verbose]\n"
    "       millrace-agent push [--server ENDPOINT] [--agent NAME] [--output OUT] [--codec C] "
    "PATH...\n"
    "Ships detector movies to a millrace-ingest server while they grow.\n"
    "  --config FILE      run as agent.yaml says, until stopped\n"
    "  --once             ship all that the watches hold, wait for COMMITTED, exit\n"
    "  --dry-run          list per file what it is, whether complete and why; send nothing\n"
    "  --check-config     print the configuration with all sums and ports, and exit\n"
    "  push PATH...       ship files or trees as they are now; exit 0 only when all are committed\n"
    "    --server ENDPOINT  default tcp://127.0.0.1:5570\n"
    "    --agent NAME       name they are stored under; default the host's\n"
    "    --output OUT       auto, keep, mrc or hdf5; default auto\n"
    "    --codec C          auto, none, bslz4 or bszstd; default auto\n"
    "  --verbose          say more on stderr\n"
    "  --help, --version\n"
    "exit status: 0 done, 64 wrong usage, 69 server unreachable, 74 I/O error, 78 wrong\n"
    "configuration, 1 other\n";

struct options {
    const char *file;
    bool once, dry_run, check_config;
    struct mr_push_options push;
};

static int print_version(void)
{
    printf("millrace-agent %s (%s)\n", MILLRACE_VERSION, mr_link_library());
    return fflush(stdout) != 0 ? EX_IOERR : EX_OK;
}

/* -1: go on; else the exit status. */
static int take_option(int letter, struct options *o)
{
    switch (letter) {
    case 'c':
        o->file = optarg;
        return -1;
    case 'o':
        o->once = true;
        return -1;
    case 'd':
        o->dry_run = true;
        return -1;
    case 'C':
        o->check_config = true;
        return -1;
    case 's':
        o->push.server = optarg;
        return -1;
    case 'a':
        o->push.agent = optarg;
        return -1;
    case 'O':
        o->push.output = optarg;
        return -1;
    case 'k':
        o->push.codec = optarg;
        return -1;
    case 'b':
        mr_log_set_level(MR_LOG_DEBUG);
        return -1;
    case 'h':
        return fputs(usage, stdout) < 0 || fflush(stdout) != 0 ? EX_IOERR : EX_OK;
    case 'v':
        return print_version();
    default:
        fputs("try millrace-agent --help\n", stderr);
        return EX_USAGE;
    }
}

static int read_options(int argc, char **argv, bool push, struct options *o)
{
    static const struct option run_options[] = {
        {"config", required_argument, NULL, 'c'}, {"once", no_argument, NULL, 'o'},
        {"dry-run", no_argument, NULL, 'd'},      {"check-config", no_argument, NULL, 'C'},
        {"verbose", no_argument, NULL, 'b'},      {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},      {NULL, 0, NULL, 0}};
    static const struct option push_options[] = {
        {"server", required_argument, NULL, 's'}, {"agent", required_argument, NULL, 'a'},
        {"output", required_argument, NULL, 'O'}, {"codec", required_argument, NULL, 'k'},
        {"verbose", no_argument, NULL, 'b'},      {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},      {NULL, 0, NULL, 0}};
    for (int letter;
         (letter = getopt_long(argc, argv, "", push ? push_options : run_options, NULL)) != -1;) {
        int status = take_option(letter, o);
        if (status >= 0)
            return status;
    }
    o->push.paths = (const char *const *)argv + optind;
    o->push.path_count = (size_t)(argc - optind);
    bool wrong = push ? o->push.path_count == 0
                      : o->push.path_count > 0 || o->file == NULL ||
                            o->once + o->dry_run + o->check_config > 1;
    if (wrong)
        fputs(usage, stderr);
    return wrong ? EX_USAGE : -1;
}

/* ---- the service
 * ------------------------------------------------------------------------------------ */

static void serve(int signals)
{
    int64_t interval_ns = mr_notify_watchdog_interval_ns();
    for (;;) {
        struct pollfd fd = {.fd = signals, .events = POLLIN};
        struct signalfd_siginfo info;
        poll(&fd, 1, interval_ns == 0 ? -1 : (int)(interval_ns / 2 / MR_NS_PER_MS));
        mr_notify_watchdog();
        if (fd.revents == 0 || read(signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
            continue;
        if (info.ssi_signo != SIGHUP)
            return;
        mr_notify_reloading(mr_clock_monotonic_ns());
        mr_info(STAGE, "SIGHUP: no key may change while the agent runs; restart it");
        mr_notify_ready(NULL);
    }
}

static int run_service(const struct mr_agent_config *config, const struct mr_agent_plan *plan)
{
    struct mr_agent *agent;
    struct mr_track_watch *watches;
    enum mr_wish *outputs;
    struct mr_err err = {0};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_CLOEXEC);
    if (signals < 0 || mr_agent_watches(config, &watches, &outputs) < 0)
        return EX_OSERR;
    const struct mr_agent_job job = {.mode = MR_TRACK_FOLLOW,
                                     .config = config,
                                     .plan = plan,
                                     .watches = watches,
                                     .outputs = outputs,
                                     .watch_count = config->watches.count};
    int r = mr_agent_start(&job, NULL, NULL, &agent, &err);
    if (r < 0) {
        mr_error(STAGE, "%s", err.text);
        return r == -ENOMEM ? EXIT_FAILURE : EX_IOERR;
    }
    mr_notify_ready("watching");
    serve(signals);
    mr_notify_stopping("finishing what is in flight");
    pthread_sigmask(SIG_UNBLOCK, &set,
                    NULL); /* a second SIGTERM ends it at once: nothing is lost */
    mr_agent_stop(agent, NULL);
    free(watches);
    free(outputs);
    return EX_OK;
}

int main(int argc, char **argv)
{
    struct options o = {0};
    struct mr_agent_config config;
    struct mr_agent_plan plan;
    struct mr_err err = {0};
    bool push = argc > 1 && strcmp(argv[1], "push") == 0;
    signal(SIGPIPE, SIG_IGN);
    int status = read_options(argc - push, argv + push, push, &o);
    if (status >= 0)
        return status;
    if (push)
        return mr_push(&o.push);
    if (mr_agent_config_load(o.file, &config, &plan, &err) < 0) {
        mr_error(STAGE, "%s", err.text);
        return EX_CONFIG;
    }
    if (o.check_config) {
        mr_agent_config_print(&config, &plan, stdout);
        status = fflush(stdout) == 0 ? EX_OK : EX_IOERR;
    } else if (o.dry_run) {
        status = mr_dry_run(&config);
    } else {
        status = o.once ? mr_ship_once(&config, &plan) : run_service(&config, &plan);
    }
    mr_agent_config_free(&config);
    return status;
}
