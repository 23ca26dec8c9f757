/* SPDX-License-Identifier: Apache-2.0 */
/* millrace-agent: options, signals and exit statuses. What the agent is, agent.c says. */
#include "agent.h"
#include "base/clock.h"
#include "base/crc64.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/options.h"
#include "base/process.h"
#include "base/yaml_tree.h"
#include "journal.h"
#include "push.h"
#include "wire/codec.h"
#include "wire/link.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define STAGE   "main"
#define PROGRAM "millrace-agent"

static const char usage[] =
    "usage: millrace-agent --config FILE [--once | --dry-run | --check-config] [options]\n"
    "       millrace-agent push [--server ENDPOINT] [--agent NAME] [--output OUT] [--codec C] "
    "PATH...\n"
    "Ships detector movies to a millrace-ingest server while they grow.\n"
    "  --config FILE      run as agent.yaml says, until stopped\n"
    "  --once             ship all that the watches hold, wait for COMMITTED, exit\n"
    "  --dry-run          list per file what it is, whether complete and why; send nothing\n"
    "  --check-config     print the configuration with all sums and ports, and exit\n"
    "  push PATH...       ship files or trees as they are now; exit 0 only when all are committed\n"
    "    --server ENDPOINT  default tcp://127.0.0.1:5570; several: ENDPOINT,ENDPOINT\n"
    "    --agent NAME       name they are stored under; default the host's\n"
    "    --output OUT       auto, keep, mrc or hdf5; default auto\n"
    "    --codec C          auto, none, bslz4 or bszstd; default auto\n"
    "  --set KEY=VALUE    set a key of the configuration, such as memory.pool=1GiB (repeatable)\n"
    "  --stats            tell at the end what each thread did and waited for, as SIGUSR1 does\n"
    "  --verbose          say more on stderr\n"
    "  --help, --version\n"
    "SIGTERM and SIGINT stop reading, wait a little for what is under way and exit; a second one\n"
    "exits at once. What is unfinished is resumed by the next start.\n"
    "exit status: 0 done, 64 wrong usage, 69 server unreachable, 74 I/O error, 78 wrong\n"
    "configuration, 1 other\n";

struct options {
    const char *file;
    struct mr_options_sets sets;
    bool once, dry_run, check_config, stats;
    struct mr_push_options push;
};

static int print_version(void)
{
    printf(PROGRAM " %s (%s, %s, ", MILLRACE_VERSION, mr_link_library(), mr_codec_library());
    printf("%s, ", mr_crc64_library());
    printf("%s, %s)\n", mr_yaml_tree_library(), mr_journal_library());
    return mr_options_printed();
}

static int take_option(int letter, struct options *o)
{
    switch (letter) {
    case 'c':
        o->file = optarg;
        return MR_OPTIONS_GO_ON;
    case 'o':
        o->once = true;
        return MR_OPTIONS_GO_ON;
    case 'd':
        o->dry_run = true;
        return MR_OPTIONS_GO_ON;
    case 'C':
        o->check_config = true;
        return MR_OPTIONS_GO_ON;
    case 's':
        o->push.server = optarg;
        return MR_OPTIONS_GO_ON;
    case 'a':
        o->push.agent = optarg;
        return MR_OPTIONS_GO_ON;
    case 'O':
        o->push.output = optarg;
        return MR_OPTIONS_GO_ON;
    case 'k':
        o->push.codec = optarg;
        return MR_OPTIONS_GO_ON;
    case 'S':
        return mr_options_add_set(PROGRAM, &o->sets, optarg);
    case 'T':
        o->stats = o->push.stats = true;
        return MR_OPTIONS_GO_ON;
    default:
        return mr_options_take_common(letter, PROGRAM, usage, print_version);
    }
}

static int check_options(const struct options *o, bool push)
{
    if (push)
        return o->push.path_count > 0 ? MR_OPTIONS_GO_ON
                                      : mr_options_wrong(PROGRAM, "push: which files or folders?");
    if (o->push.path_count > 0)
        return mr_options_wrong(PROGRAM, "argument '%s': none is expected (push %s?)",
                                o->push.paths[0], o->push.paths[0]);
    if (o->file == NULL)
        return mr_options_wrong(PROGRAM, "--config FILE or push PATH... is needed");
    if (o->once + o->dry_run + o->check_config > 1)
        return mr_options_wrong(PROGRAM, "--once, --dry-run and --check-config: one of them");
    return MR_OPTIONS_GO_ON;
}

/* MR_OPTIONS_GO_ON to go on, else the exit status. */
static int read_options(int argc, char **argv, bool push, struct options *o)
{
    static const struct option run_options[] = {
        {"config", required_argument, NULL, 'c'}, {"once", no_argument, NULL, 'o'},
        {"dry-run", no_argument, NULL, 'd'},      {"check-config", no_argument, NULL, 'C'},
        {"set", required_argument, NULL, 'S'},    {"stats", no_argument, NULL, 'T'},
        {"verbose", no_argument, NULL, 'b'},      {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},      {NULL, 0, NULL, 0}};
    static const struct option push_options[] = {
        {"server", required_argument, NULL, 's'}, {"agent", required_argument, NULL, 'a'},
        {"output", required_argument, NULL, 'O'}, {"codec", required_argument, NULL, 'k'},
        {"set", required_argument, NULL, 'S'},    {"stats", no_argument, NULL, 'T'},
        {"verbose", no_argument, NULL, 'b'},      {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},      {NULL, 0, NULL, 0}};
    for (int letter;
         (letter = getopt_long(argc, argv, "", push ? push_options : run_options, NULL)) != -1;) {
        int status = take_option(letter, o);
        if (status != MR_OPTIONS_GO_ON)
            return status;
    }
    o->push.paths = (const char *const *)argv + optind;
    o->push.path_count = (size_t)(argc - optind);
    return check_options(o, push);
}

/* ---- configuration ---- */

static int fail(const struct mr_err *err, int status)
{
    mr_error(STAGE, "%s", err->text);
    return err->code == -ENOMEM ? EXIT_FAILURE : status;
}

struct setting {
    struct mr_agent_config config;
    struct mr_agent_plan plan;
};

static int load(const struct options *o, struct setting *ret, struct mr_err *err)
{
    const struct mr_agent_source from = {.file = o->file,
                                         .sets = o->sets.items,
                                         .set_count = o->sets.count,
                                         .name = o->push.agent,
                                         .endpoint = o->push.server,
                                         .codec = o->push.codec};
    return mr_agent_config_load(&from, &ret->config, &ret->plan, err);
}

/* Nothing reloads in this version: what has changed needs a restart, and that is said. */
static void reload(const struct options *o, const struct setting *running)
{
    struct setting fresh = {0};
    struct mr_err err = {0};
    mr_notify_reloading(mr_clock_monotonic_ns());
    int r = load(o, &fresh, &err);
    mr_options_tell_reload(mr_agent_config_table, &running->config, r == 0 ? &fresh.config : NULL,
                           STAGE, o->file, &err);
    if (r == 0)
        mr_agent_config_free(&fresh.config);
    mr_notify_ready(NULL);
}

/* ---- the service ---- */

static void serve(int signals, const struct options *o, const struct setting *setting)
{
    int number;
    while ((number = mr_process_wait_signal(signals)) == SIGHUP)
        reload(o, setting);
    mr_info(STAGE, "%s: waiting a little for what is under way; once more ends at once",
            number == SIGINT ? "SIGINT" : "SIGTERM");
}

static int run_service(const struct options *o, const struct setting *setting, int signals)
{
    struct mr_agent *agent;
    struct mr_track_watch *watches;
    enum mr_wish *outputs;
    struct mr_err err = {0};
    if (mr_agent_watches(&setting->config, &watches, &outputs) < 0)
        return EXIT_FAILURE;
    const struct mr_agent_job job = {.mode = MR_TRACK_FOLLOW,
                                     .config = &setting->config,
                                     .plan = &setting->plan,
                                     .watches = watches,
                                     .outputs = outputs,
                                     .watch_count = setting->config.watches.count,
                                     .stats = o->stats};
    int r = mr_agent_start(&job, NULL, NULL, &agent, &err);
    if (r == 0) {
        mr_notify_ready("watching");
        serve(signals, o, setting);
        mr_notify_stopping("waiting for what is under way");
        mr_process_allow_end("main: ends at once; the next start goes on from the journal\n");
        mr_agent_stop(agent, NULL);
        mr_info(STAGE, "stopped");
    }
    free(watches);
    free(outputs);
    return r == 0 ? EX_OK : fail(&err, r == -EBUSY ? EXIT_FAILURE : EX_IOERR);
}

static int run(const struct options *o, const struct setting *setting, bool push)
{
    struct mr_err err = {0};
    if (o->dry_run)
        return mr_dry_run(&setting->config);
    int signals = mr_process_take_signals();
    if (signals < 0) {
        (void)mr_err_errno(&err, signals, "signals");
        return fail(&err, EXIT_FAILURE);
    }
    int r = mr_process_raise_file_limit(); /* a movie under way holds a descriptor */
    if (r < 0)
        mr_warn(STAGE, "the limit of open files stays: %s", mr_err_name(r));
    int status = push      ? mr_push(&o->push, &setting->config, &setting->plan, signals)
                 : o->once ? mr_ship_once(&setting->config, &setting->plan, o->stats, signals)
                           : run_service(o, setting, signals);
    close(signals);
    return status;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct setting setting = {0};
    struct mr_err err = {0};
    bool push = argc > 1 && strcmp(argv[1], "push") == 0;
    int status = read_options(argc - push, argv + push, push, &options);
    if (status != MR_OPTIONS_GO_ON)
        return status;
    if (load(&options, &setting, &err) < 0)
        return fail(&err, push ? EX_USAGE : EX_CONFIG);
    int r = mr_clock_set_zone(setting.config.timezone); /* before there are threads */
    if (r < 0) {
        mr_error(STAGE, "agent.timezone: %s: %s", setting.config.timezone, mr_err_name(r));
        status = EX_CONFIG;
    } else if (options.check_config) {
        mr_agent_config_print(&setting.config, &setting.plan, stdout);
        status = mr_options_printed();
    } else if (mr_agent_config_apply(&setting.config, &setting.plan, &err) < 0) {
        status = fail(&err, EX_CONFIG);
    } else {
        status = run(&options, &setting, push);
    }
    mr_agent_config_free(&setting.config);
    return status;
}
