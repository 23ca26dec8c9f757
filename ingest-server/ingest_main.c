/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace-ingest: options, signals and exit statuses. What the server is, server.c says.
 */
#include "base/clock.h"
#include "base/crc64.h"
#include "base/json.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/options.h"
#include "base/process.h"
#include "base/text.h"
#include "base/yaml_tree.h"
#include "h5out.h"
#include "http.h"
#include "probe.h"
#include "server.h"
#include "store.h"
#include "uring.h"
#include "verify.h"
#include "wire/codec.h"
#include "wire/link.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define STAGE   "main"
#define PROGRAM "millrace-ingest"

struct options {
    const char *file, *check_store;
    char store[PATH_MAX]; /* absolute; "" none */
    struct mr_options_sets sets;
    bool check_config, stats;
    bool verify, allow_missing;
    const char *verify_path; /* NULL: all */
    uint64_t verify_rate;
};

/* ---- options ---- */

static const char usage[] =
    "usage: millrace-ingest --config FILE | --store DIR [options]\n"
    "Receives movies from millrace-agent and stores them; publishes an event when one is safe.\n"
    "  --config FILE      run as ingest.yaml says\n"
    "  --store DIR        run with built-in defaults on loopback, movies below DIR\n"
    "  --set KEY=VALUE    set a key of the configuration, such as memory.pool=1GiB (repeatable)\n"
    "  --stats            tell at the end what each thread did and waited for, as SIGUSR1 does\n"
    "  --standby          wait for the store while another server has it (store.standby)\n"
    "  --check-config     print the configuration with all sums and ports, and exit\n"
    "  --check-store DIR  try out whether DIR is fit to be a store, and exit\n"
    "  --verify [PATH]    read finished files, all or those at or below PATH, and compare them "
    "with\n"
    "                     the digests of their commit, and exit; a server may run meanwhile\n"
    "  --rate SIZE        with --verify: read so many bytes a second at most, such as 200MiB\n"
    "  --allow-missing    with --verify: files that were taken away are all right\n"
    "  --verbose          say more on stderr\n"
    "  --help, --version\n"
    "SIGTERM and SIGINT finish what has begun and exit; a second one exits at once. SIGHUP reads\n"
    "the configuration again.\n"
    "exit status: 0 done, 64 wrong usage, 78 wrong configuration, 74 I/O error, 1 other, such as "
    "a\n"
    "file that --verify finds changed, damaged or missing\n";

static int print_version(void)
{
    printf(PROGRAM " %s (%s, ", MILLRACE_VERSION, mr_link_library());
    printf("%s, %s, %s, ", mr_uring_library(), mr_h5out_library(), mr_codec_library());
    printf("%s, %s, ", mr_crc64_library(), mr_yaml_tree_library());
    printf("%s, %s)\n", mr_json_library(), mr_http_library());
    return mr_options_printed();
}

/* Events name whole paths, whatever folder the server was started from. */
static int take_store(struct options *o, const char *dir)
{
    char here[PATH_MAX] = "";
    if (dir[0] == '\0')
        return mr_options_wrong(PROGRAM, "--store: the name is empty");
    if (dir[0] != '/' && getcwd(here, sizeof(here)) == NULL)
        return mr_options_wrong(PROGRAM, "--store %s: where is the current folder?", dir);
    while (strncmp(dir, "./", 2) == 0)
        dir += 2 + strspn(dir + 2, "/");
    bool is_here = dir[0] == '\0' || strcmp(dir, ".") == 0;
    int length = dir[0] == '/' ? snprintf(o->store, sizeof(o->store), "%s", dir)
                               : snprintf(o->store, sizeof(o->store), "%s%s%s", here,
                                          is_here ? "" : "/", is_here ? "" : dir);
    return length < (int)sizeof(o->store)
               ? MR_OPTIONS_GO_ON
               : mr_options_wrong(PROGRAM, "--store %.40s...: is too long", dir);
}

static int read_option(int letter, struct options *o)
{
    switch (letter) {
    case 'c':
        o->file = optarg;
        return MR_OPTIONS_GO_ON;
    case 's':
        return take_store(o, optarg);
    case 'k':
        return mr_options_add_set(PROGRAM, &o->sets, optarg);
    case 'y':
        return mr_options_add_set(PROGRAM, &o->sets, "store.standby=true");
    case 'C':
        o->check_config = true;
        return MR_OPTIONS_GO_ON;
    case 'S':
        o->check_store = optarg;
        return MR_OPTIONS_GO_ON;
    case 'V':
        o->verify = true;
        o->verify_path = optarg;
        return MR_OPTIONS_GO_ON;
    case 'r':
        if (mr_text_parse_size(optarg, &o->verify_rate) < 0 || o->verify_rate == 0)
            return mr_options_wrong(PROGRAM, "--rate %s: a size is needed, such as 200MiB", optarg);
        return MR_OPTIONS_GO_ON;
    case 'm':
        o->allow_missing = true;
        return MR_OPTIONS_GO_ON;
    case 'T':
        o->stats = true;
        return MR_OPTIONS_GO_ON;
    default:
        return mr_options_take_common(letter, PROGRAM, usage, print_version);
    }
}

/* MR_OPTIONS_GO_ON to go on, else the exit status. */
static int read_options(int argc, char **argv, struct options *o)
{
    static const struct option names[] = {
        {"config", required_argument, NULL, 'c'},      {"store", required_argument, NULL, 's'},
        {"set", required_argument, NULL, 'k'},         {"stats", no_argument, NULL, 'T'},
        {"standby", no_argument, NULL, 'y'},           {"check-config", no_argument, NULL, 'C'},
        {"check-store", required_argument, NULL, 'S'}, {"verify", optional_argument, NULL, 'V'},
        {"rate", required_argument, NULL, 'r'},        {"allow-missing", no_argument, NULL, 'm'},
        {"verbose", no_argument, NULL, 'b'},           {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},           {NULL, 0, NULL, 0}};
    for (int letter; (letter = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        int status = read_option(letter, o);
        if (status != MR_OPTIONS_GO_ON)
            return status;
    }
    if (o->verify && o->verify_path == NULL && optind < argc) /* as well as --verify=PATH */
        o->verify_path = argv[optind++];
    if (!o->verify && (o->verify_rate > 0 || o->allow_missing))
        return mr_options_wrong(PROGRAM, "--rate and --allow-missing go with --verify");
    if (optind < argc)
        return mr_options_wrong(PROGRAM, "argument '%s': none is expected", argv[optind]);
    if (o->check_store != NULL)
        return MR_OPTIONS_GO_ON;
    if (o->file != NULL && o->store[0] != '\0')
        return mr_options_wrong(
            PROGRAM, "--config and --store: one of them (--set store.root=DIR goes with --config)");
    if (o->file == NULL && o->store[0] == '\0')
        return mr_options_wrong(PROGRAM, "--config FILE or --store DIR is needed");
    return MR_OPTIONS_GO_ON;
}

/* ---- configuration ---- */

static int status_of(const struct mr_err *err)
{
    switch (-err->code) {
    case EINVAL:
    case EADDRNOTAVAIL:
        return EX_CONFIG;
    case EADDRINUSE:
    case EBUSY:
    case ENOMEM:
        return EXIT_FAILURE;
    default:
        return EX_IOERR;
    }
}

struct setting {
    struct mr_ingest_config config;
    struct mr_ingest_plan plan;
};

static int load(const struct options *o, struct setting *ret, struct mr_err *err)
{
    const struct mr_ingest_source from = {.file = o->file,
                                          .store = o->store[0] == '\0' ? NULL : o->store,
                                          .sets = o->sets.items,
                                          .set_count = o->sets.count};
    return mr_ingest_config_load(&from, &ret->config, &ret->plan, err);
}

static int check_config(const struct setting *setting)
{
    mr_ingest_config_print(&setting->config, &setting->plan, stdout);
    return mr_options_printed();
}

static int check_store(const struct options *o, struct setting *setting)
{
    struct mr_err err = {0};
    if (load(o, setting, &err) < 0) {
        mr_error(STAGE, "%s", err.text);
        return EX_CONFIG;
    }
    const struct mr_probe_config config = {
        .dir = o->check_store, .keep_free_hundredths = setting->config.keep_free_hundredths};
    int r = mr_probe_store(&config, stdout, &err);
    mr_ingest_config_free(&setting->config);
    if (fflush(stdout) != 0)
        return EX_IOERR;
    if (r == 0)
        return EX_OK;
    mr_error(STAGE, "%s", err.text);
    return EX_IOERR;
}

static int verify(const struct options *o, const struct mr_ingest_config *config)
{
    struct mr_err err = {0};
    struct mr_verify_counts n;
    char size[MR_QUANTITY_TEXT];
    const struct mr_verify_config what = {.root = config->root,
                                          .path = o->verify_path,
                                          .rate = o->verify_rate,
                                          .allow_missing = o->allow_missing,
                                          .direct = config->direct_io != MR_DIRECT_OFF,
                                          .progress = isatty(STDERR_FILENO) != 0,
                                          .out = stdout};
    int r = mr_verify_run(&what, &n, &err);
    if (r < 0)
        mr_error(STAGE, "%s", err.text);
    if (r == -ENOENT && o->verify_path != NULL)
        return EXIT_FAILURE;
    if (r < 0)
        return EX_IOERR;
    mr_info(STAGE,
            "%" PRIu64 " files, %s read: %" PRIu64 " damaged, %" PRIu64 " changed, %" PRIu64
            " missing, %" PRIu64 " unreadable; %" PRIu64 " records damaged",
            n.files, mr_text_size_about(n.bytes, size), n.damaged, n.changed, n.missing,
            n.unreadable, n.records);
    if (n.damaged + n.changed + n.unreadable + n.records > 0 ||
        (n.missing > 0 && !o->allow_missing))
        return EXIT_FAILURE;
    return mr_options_printed();
}

/* Nothing reloads in this version: what has changed needs a restart, and that is said. */
static void reload(const struct options *o, const struct setting *running)
{
    struct setting fresh = {0};
    struct mr_err err = {0};
    if (o->file == NULL) {
        mr_info(STAGE, "SIGHUP: started without a file, there is nothing to read again");
        return;
    }
    mr_notify_reloading(mr_clock_monotonic_ns());
    int r = load(o, &fresh, &err);
    mr_options_tell_reload(mr_ingest_config_table, &running->config, r == 0 ? &fresh.config : NULL,
                           STAGE, o->file, &err);
    if (r == 0)
        mr_ingest_config_free(&fresh.config);
    mr_notify_ready(NULL);
}

/* ---- signals ---- */

static void fatal(void *ctx)
{
    (void)ctx;
    _exit(EX_IOERR); /* the stage has said why; after a failed fsync nothing may be written */
}

/* Until SIGTERM or SIGINT. */
static void serve(int signals, const struct options *o, const struct setting *setting)
{
    int number;
    while ((number = mr_process_wait_signal(signals)) == SIGHUP)
        reload(o, setting);
    mr_info(STAGE, "%s: finishing what has begun; once more ends at once",
            number == SIGINT ? "SIGINT" : "SIGTERM");
}

/* ---- start ---- */

static int fail(const struct mr_err *err)
{
    mr_error(STAGE, "%s", err->text);
    return status_of(err);
}

static int run(const struct options *o, const struct setting *setting)
{
    struct mr_err err = {0};
    struct mr_server *server;
    int signals = mr_process_take_signals();
    if (signals < 0) {
        (void)mr_err_errno(&err, signals, "signals");
        return fail(&err);
    }
    int r = mr_process_raise_file_limit(); /* a movie in flight holds three descriptors */
    if (r < 0)
        mr_warn(STAGE, "the limit of open files stays: %s", mr_err_name(r));
    do { /* SIGHUP ends the waiting too: there is nothing to read again yet */
        err = (struct mr_err){0};
        r = mr_server_start(&setting->config, &setting->plan, signals, fatal, NULL, &server, &err);
    } while (r == -ECANCELED && mr_process_wait_signal(signals) == SIGHUP);
    if (r == -ECANCELED) {
        mr_info(STAGE, "stopped before it had the store");
        return EX_OK;
    }
    if (r < 0)
        return fail(&err);
    mr_notify_ready(setting->config.root);
    serve(signals, o, setting);
    mr_notify_stopping("finishing what has begun");
    mr_process_allow_end("main: ends at once; what was acknowledged is on disk\n");
    mr_server_stop(server, o->stats);
    mr_info(STAGE, "stopped");
    close(signals);
    return EX_OK;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct setting setting = {0};
    struct mr_err err = {0};
    int status = read_options(argc, argv, &options);
    if (status != MR_OPTIONS_GO_ON)
        return status;
    if (options.check_store != NULL)
        return check_store(&options, &setting);
    if (load(&options, &setting, &err) < 0) {
        mr_error(STAGE, "%s", err.text);
        return err.code == -ENOMEM ? EXIT_FAILURE : EX_CONFIG;
    }
    status = options.check_config ? check_config(&setting)
             : options.verify     ? verify(&options, &setting.config)
                                  : run(&options, &setting);
    mr_ingest_config_free(&setting.config);
    return status;
}
