/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace-events: prints events, or runs a command for each. All that concerns catching up and
 * gaps is libmillrace's; here are options, output, the cursor and exit statuses.
 */
#include "base/clock.h"
#include "base/log.h"
#include "client/command.h"
#include "client/cursor.h"
#include "client/millrace.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define STAGE         "events"
#define UNREACHABLE_S 10  /* without --timeout: how long the server may stay unreached at first */
#define SLICE_MS      500 /* between two looks at stdout's other end */
#define BACKOFF_MIN_S 1
#define BACKOFF_MAX_S 60
#define GO_ON         (-1) /* no exit status: there is more to do */

struct options {
    const char *server, *type, *command, *cursor;
    uint64_t since, count;
    double timeout_s; /* 0: none */
};

struct events {
    struct options o;
    struct mr_subscription *subscription;
    uint64_t done;             /* printed, or command succeeded */
    uint64_t cursor;           /* as the file has it */
    bool cursor_known;         /* there is a file */
    int64_t begin_ns, last_ns; /* start; last event dealt with */
    bool lost;                 /* it was said that the server is away */
};

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

/* ---- options ---- */

static const char usage[] =
    "usage: millrace-events [options]\n"
    "Prints one event per line (CloudEvents, JSON) as a Millrace server publishes them.\n"
    "  --server ENDPOINT  where the server publishes (default tcp://127.0.0.1:5580)\n"
    "  --since SEQ        begin with event SEQ, 1 is the first ever (default: from now)\n"
    "  --type GLOB        only types that match, such as 'millrace.*.ready.v1'\n"
    "  --count N          stop after N events\n"
    "  --timeout S        exit 75 when no event came for S seconds\n"
    "  --exec CMD         run CMD for each event, its JSON on stdin, until it exits 0\n"
    "  --cursor FILE      remember the last event dealt with, go on behind it\n"
    "  --help, --version\n"
    "exit status: 0 done, 64 wrong usage, 69 server unreachable, 74 I/O error, 75 timeout, 1 "
    "other\n";

static bool read_count(const char *text, uint64_t *ret)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 18 || text[digits] != '\0')
        return false;
    *ret = strtoull(text, NULL, 10);
    return *ret > 0;
}

static bool read_seconds(const char *text, double *ret)
{
    char *end;
    if (text[strspn(text, "0123456789.")] != '\0')
        return false;
    *ret = strtod(text, &end);
    return *end == '\0' && end != text && *ret > 0 && *ret < 1e9;
}

static int wrong(const char *option, const char *text, const char *wanted)
{
    fprintf(stderr, "millrace-events: %s '%s': %s\n", option, text, wanted);
    return EX_USAGE;
}

static int read_option(int letter, struct options *o)
{
    switch (letter) {
    case 's':
        o->server = optarg;
        return GO_ON;
    case 'n':
        return read_count(optarg, &o->since) ? GO_ON
                                             : wrong("--since", optarg, "a number from 1 on");
    case 't':
        o->type = optarg;
        return GO_ON;
    case 'c':
        return read_count(optarg, &o->count) ? GO_ON
                                             : wrong("--count", optarg, "a number from 1 on");
    case 'w':
        return read_seconds(optarg, &o->timeout_s) ? GO_ON
                                                   : wrong("--timeout", optarg, "seconds above 0");
    case 'x':
        o->command = optarg;
        return GO_ON;
    case 'f':
        o->cursor = optarg;
        return GO_ON;
    case 'h':
        return fputs(usage, stdout) < 0 || fflush(stdout) != 0 ? EX_IOERR : EX_OK;
    case 'v':
        printf("millrace-events %s (%s)\n", mr_subscription_version(), mr_subscription_libraries());
        return fflush(stdout) != 0 ? EX_IOERR : EX_OK;
    default:
        fputs("try millrace-events --help\n", stderr);
        return EX_USAGE;
    }
}

/* GO_ON to go on, else the exit status. */
static int read_options(int argc, char **argv, struct options *o)
{
    static const struct option names[] = {
        {"server", required_argument, NULL, 's'},  {"since", required_argument, NULL, 'n'},
        {"type", required_argument, NULL, 't'},    {"count", required_argument, NULL, 'c'},
        {"timeout", required_argument, NULL, 'w'}, {"exec", required_argument, NULL, 'x'},
        {"cursor", required_argument, NULL, 'f'},  {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},       {NULL, 0, NULL, 0}};
    for (int letter; (letter = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        int status = read_option(letter, o);
        if (status != GO_ON)
            return status;
    }
    if (optind < argc)
        return wrong("argument", argv[optind], "none is expected");
    return GO_ON;
}

/* ---- one event ---- */

/* GO_ON, or the status to exit with: a reader that went away has had enough. */
static int print_event(const struct mr_subscription_event *event)
{
    if (fwrite(event->json, 1, event->json_bytes, stdout) == event->json_bytes &&
        fputc('\n', stdout) != EOF && fflush(stdout) == 0)
        return GO_ON;
    if (errno == EPIPE)
        return EX_OK;
    mr_error(STAGE, "writing: %s", mr_err_name(errno));
    return EX_IOERR;
}

static void pause_for(unsigned seconds)
{
    int64_t until = mr_clock_monotonic_ns() + seconds * MR_NS_PER_S;
    while (!stop && mr_clock_monotonic_ns() < until)
        poll(NULL, 0, SLICE_MS);
}

static int run_command(const struct events *e, const struct mr_subscription_event *event)
{
    for (unsigned wait = BACKOFF_MIN_S;;
         wait = 2 * wait < BACKOFF_MAX_S ? 2 * wait : BACKOFF_MAX_S) {
        int status = mr_command_run(e->o.command, event->json, event->json_bytes);
        if (status == 0)
            return GO_ON;
        if (stop)
            return EX_OK;
        if (status < 0)
            mr_warn(STAGE, "event %" PRIu64 ": the command cannot be started: %s; again in %u s",
                    event->sequence, mr_err_name(status), wait);
        else
            mr_warn(STAGE, "event %" PRIu64 ": the command exited with %d; again in %u s",
                    event->sequence, status, wait);
        pause_for(wait);
        if (stop)
            return EX_OK;
    }
}

static int save_cursor(struct events *e, uint64_t sequence)
{
    struct mr_err err = {.code = 0};
    if (!e->o.cursor || (e->cursor_known && e->cursor == sequence))
        return GO_ON;
    if (mr_cursor_write(e->o.cursor, sequence, &err) < 0) {
        mr_error(STAGE, "%s", err.text);
        return EX_IOERR;
    }
    e->cursor = sequence;
    e->cursor_known = true;
    return GO_ON;
}

static int deal_with(struct events *e, const struct mr_subscription_event *event)
{
    if (event->missed > 0)
        mr_warn(STAGE, "%" PRIu64 " events before %" PRIu64 " are no longer kept by the server",
                event->missed, event->sequence);
    /* before the first event: should the command never succeed, the next run begins with it */
    int status = e->cursor_known ? GO_ON : save_cursor(e, event->sequence - 1);
    if (status == GO_ON)
        status = e->o.command ? run_command(e, event) : print_event(event);
    if (status == GO_ON)
        status = save_cursor(e, event->sequence);
    if (status != GO_ON)
        return status;
    e->last_ns = mr_clock_monotonic_ns();
    return ++e->done == e->o.count ? EX_OK : GO_ON;
}

/* ---- waiting ---- */

/* Nothing came in this slice: has it been too long, is the server there, does anybody still
 * read? */
static int idle(struct events *e)
{
    int64_t now = mr_clock_monotonic_ns();
    struct pollfd output = {.fd = STDOUT_FILENO, .events = 0};
    bool reached = mr_subscription_reached(e->subscription);
    if (!e->o.command && poll(&output, 1, 0) > 0 && (output.revents & POLLERR))
        return EX_OK;
    if (e->o.timeout_s > 0 && (double)(now - e->last_ns) >= e->o.timeout_s * 1e9)
        return reached ? EX_TEMPFAIL : EX_UNAVAILABLE;
    if (!reached && e->o.timeout_s <= 0 && now - e->begin_ns >= UNREACHABLE_S * MR_NS_PER_S)
        return EX_UNAVAILABLE;
    if (reached && e->lost == mr_subscription_connected(e->subscription)) {
        e->lost = !e->lost;
        if (e->lost)
            mr_warn(STAGE, "the server does not answer; waiting for it");
        else
            mr_info(STAGE, "the server answers again");
    }
    /* the place is remembered before the first event: it must not be lost either */
    uint64_t position = mr_subscription_position(e->subscription);
    return position > 0 && !e->cursor_known ? save_cursor(e, position - 1) : GO_ON;
}

static int slice_ms(const struct events *e)
{
    double left = SLICE_MS;
    if (e->o.timeout_s > 0)
        left = e->o.timeout_s * 1e3 - (double)(mr_clock_monotonic_ns() - e->last_ns) / 1e6 + 1;
    return left < 1 ? 1 : left < SLICE_MS ? (int)left : SLICE_MS;
}

static int follow(struct events *e)
{
    struct mr_subscription_event event;
    int status = GO_ON;
    while (!stop && status == GO_ON) {
        int r = mr_subscription_next(e->subscription, slice_ms(e), &event);
        if (r == 0)
            status = deal_with(e, &event);
        else if (r == -EAGAIN)
            status = idle(e);
        else if (r != -EINTR) {
            mr_error(STAGE, "%s", mr_subscription_error(e->subscription));
            status = EXIT_FAILURE;
        }
    }
    if (status == EX_UNAVAILABLE)
        mr_error(STAGE, "%s: the server cannot be reached",
                 e->o.server ? e->o.server : "tcp://127.0.0.1:5580");
    return status == GO_ON ? EX_OK : status;
}

/* ---- start ---- */

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: waits are to end */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* The cursor, where there is one, says more than --since. */
static int read_cursor(struct events *e, struct mr_subscription_options *options)
{
    struct mr_err err = {.code = 0};
    options->since = e->o.since;
    if (!e->o.cursor)
        return GO_ON;
    int r = mr_cursor_read(e->o.cursor, &e->cursor, &err);
    if (r == 0) {
        e->cursor_known = true;
        options->since = e->cursor + 1;
    } else if (r != -ENOENT) {
        mr_error(STAGE, "%s", err.text);
        return EX_IOERR;
    }
    return GO_ON;
}

int main(int argc, char **argv)
{
    struct events e = {.done = 0};
    struct mr_subscription_options options = {.events = NULL};
    char why[256];
    int status = read_options(argc, argv, &e.o);
    if (status != GO_ON)
        return status;
    catch_signals();
    status = read_cursor(&e, &options);
    if (status != GO_ON)
        return status;
    options.events = e.o.server;
    options.type = e.o.type;
    int r = mr_subscription_open(&options, &e.subscription, why, sizeof(why));
    if (r < 0) {
        fprintf(stderr, "millrace-events: %s\n", why);
        return r == -EINVAL ? EX_USAGE : EXIT_FAILURE;
    }
    e.begin_ns = e.last_ns = mr_clock_monotonic_ns();
    status = follow(&e);
    mr_subscription_close(e.subscription);
    return status;
}
