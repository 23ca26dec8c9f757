/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts and levels as a table for people, with columns that a script can read too. Threads that
 * are not ours (ZeroMQ's, io_uring's, libmicrohttpd's) have no account: their CPU time is read from
 * the kernel. Measures nothing itself.
 */
#include "base/tally_sheet.h"

#include "base/clock.h"
#include "base/thread.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define ROWS_MAX (2 * MR_TALLIES)

/* The rows of one reading */
struct reading {
    int64_t at_ns;
    size_t count;
    struct mr_tally rows[ROWS_MAX]; /* first those with an account */
    size_t accounts;
    uint64_t process_ns; /* CPU time of all threads, those that ended too */
};

struct level {
    struct mr_tally_level of;
    char name[MR_TALLY_NAME];
    size_t most; /* since _open; what is read from the queue begins anew each time */
};

struct mr_tally_sheet {
    const char *program;
    struct level levels[MR_TALLY_LEVELS_MAX];
    size_t level_count;
    struct reading first, last, now; /* of _open, of the table before, scratch */
    int signals, stop;
    struct mr_thread *thread;
};

/* ---- reading ---- */

static bool has_account(const struct reading *r, int tid)
{
    for (size_t i = 0; i < r->accounts; i++)
        if (r->rows[i].tid == tid && !r->rows[i].ended)
            return true;
    return false;
}

static void read_name(int tid, char *ret)
{
    char path[48];
    snprintf(path, sizeof(path), "/proc/self/task/%d/comm", tid);
    FILE *f = fopen(path, "re");
    snprintf(ret, MR_TALLY_NAME, "?");
    if (f == NULL)
        return;
    if (fgets(ret, MR_TALLY_NAME, f) == NULL)
        snprintf(ret, MR_TALLY_NAME, "?");
    ret[strcspn(ret, "\n")] = '\0';
    for (char *c = ret; *c != '\0'; c++) /* a name is one word in the table */
        if (*c <= ' ' || *c > '~')
            *c = '_';
    fclose(f);
}

/* Threads of libraries and of the kernel, and the main thread. */
static void read_others(struct reading *r)
{
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *entry;
    while (tasks != NULL && r->count < ROWS_MAX && (entry = readdir(tasks)) != NULL) {
        int tid = atoi(entry->d_name); // NOLINT(cert-err34-c): the kernel's own numbers
        if (tid <= 0 || has_account(r, tid))
            continue;
        struct mr_tally *row = &r->rows[r->count++];
        *row = (struct mr_tally){.tid = tid, .cpu_ns = mr_tally_cpu_ns(tid)};
        read_name(tid, row->name);
    }
    if (tasks != NULL)
        closedir(tasks);
}

static void take_reading(struct reading *r)
{
    struct timespec used = {0};
    r->at_ns = mr_clock_monotonic_ns();
    r->accounts = r->count = mr_tally_read(r->rows);
    read_others(r);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    r->process_ns = (uint64_t)used.tv_sec * MR_NS_PER_S + (uint64_t)used.tv_nsec;
}

/* ---- differences ---- */

static void subtract(struct mr_tally *row, const struct mr_tally *before)
{
    row->alive_ns -= before->alive_ns;
    row->cpu_ns -= before->cpu_ns < row->cpu_ns ? before->cpu_ns : row->cpu_ns;
    row->items -= before->items;
    row->bytes -= before->bytes;
    for (int i = 0; i < MR_TALLY_WAITS; i++) /* a reading may count a wait's end twice */
        row->wait_ns[i] -=
            before->wait_ns[i] < row->wait_ns[i] ? before->wait_ns[i] : row->wait_ns[i];
}

/* Is it the same thread? A number may be given to another thread later, which is younger. */
static bool is_same(const struct mr_tally *now, const struct mr_tally *before)
{
    return now->tid == before->tid && strcmp(now->name, before->name) == 0 &&
           now->alive_ns >= before->alive_ns && now->items >= before->items;
}

static struct mr_tally since(const struct mr_tally *now, const struct reading *before)
{
    struct mr_tally row = *now;
    for (size_t i = 0; i < before->count; i++)
        if (is_same(now, &before->rows[i])) {
            subtract(&row, &before->rows[i]);
            break;
        }
    return row;
}

/* ---- printing ---- */

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static uint64_t work_ns(const struct mr_tally *row)
{
    uint64_t waited_ns = 0;
    for (int i = 0; i < MR_TALLY_WAITS; i++)
        waited_ns += row->wait_ns[i];
    return row->alive_ns > waited_ns ? row->alive_ns - waited_ns : 0;
}

/* "lane-1" where there are several of one name */
static void put_name(const struct reading *r, size_t at, char *ret, size_t size)
{
    const char *name = r->rows[at].name;
    size_t same = 0, before = 0;
    for (size_t i = 0; i < r->count; i++) {
        bool equal = strcmp(r->rows[i].name, name) == 0;
        same += equal;
        before += equal && i < at;
    }
    if (same > 1)
        snprintf(ret, size, "%s-%zu", name, before);
    else
        snprintf(ret, size, "%s", name);
}

static void print_account(const char *name, const struct mr_tally *row, FILE *out)
{
    fprintf(out, "%-18s %8.3f %9.3f %9.3f %9.3f %9.3f %9llu %11.3f", name, seconds(row->cpu_ns),
            seconds(work_ns(row)), seconds(row->wait_ns[MR_TALLY_INPUT]),
            seconds(row->wait_ns[MR_TALLY_ROOM]), seconds(row->wait_ns[MR_TALLY_CREDIT]),
            (unsigned long long)row->items, (double)row->bytes / 1e6);
    if (row->bytes >= 1000000) /* less says nothing */
        fprintf(out, " %9.3f\n", seconds(row->cpu_ns) / ((double)row->bytes / 1e9));
    else
        fprintf(out, " %9s\n", "-");
}

static void print_threads(const struct reading *now, const struct reading *before, FILE *out)
{
    char name[MR_TALLY_NAME + 24];
    uint64_t all_ns = now->process_ns - before->process_ns;
    fprintf(out, "%-18s %8s %9s %9s %9s %9s %9s %11s %9s\n", "thread", "cpu_s", "work_s", "input_s",
            "room_s", "credit_s", "items", "MB", "cpu_s/GB");
    for (size_t i = 0; i < now->count; i++) {
        struct mr_tally row = since(&now->rows[i], before);
        if (row.ended && row.alive_ns == 0) /* of an earlier table */
            continue;
        put_name(now, i, name, sizeof(name));
        if (i < now->accounts)
            print_account(name, &row, out);
        else
            fprintf(out, "%-18s %8.3f\n", name, seconds(row.cpu_ns));
        all_ns -= row.cpu_ns < all_ns ? row.cpu_ns : all_ns;
    }
    fprintf(out, "%-18s %8.3f\n", "(ended)",
            seconds(all_ns)); /* the kernel's workers come and go */
}

static void print_levels(struct mr_tally_sheet *s, bool whole, FILE *out)
{
    fprintf(out, "%-18s %8s %9s %9s\n", "queue", "now", "most", "of");
    for (size_t i = 0; i < s->level_count; i++) {
        struct level *l = &s->levels[i];
        struct mr_queue *q = l->of.queue;
        struct mr_pool *p = l->of.pool;
        size_t high = q != NULL ? mr_queue_take_high(q) : mr_pool_take_high(p);
        size_t now = q != NULL ? mr_queue_count(q) : mr_pool_count(p) - mr_pool_available(p);
        l->most = high > l->most ? high : l->most;
        fprintf(out, "%-18s %8zu %9zu %9zu\n", l->name, now, whole ? l->most : high,
                q != NULL ? mr_queue_capacity(q) : mr_pool_count(p));
    }
}

static double timeval_seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* MiB. Not getrusage's: that remembers what was before exec(2). */
static double most_memory(void)
{
    char line[128];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f != NULL && kib == 0 && fgets(line, sizeof(line), f) != NULL)
        (void)sscanf(line, "VmHWM: %llu kB", &kib);
    if (f != NULL)
        fclose(f);
    return (double)kib / 1024;
}

static void print_process(FILE *out)
{
    struct rusage used;
    if (getrusage(RUSAGE_SELF, &used) < 0)
        return;
    fprintf(out, "process: %.3f s user, %.3f s system since its start; most memory %.1f MiB\n",
            timeval_seconds(used.ru_utime), timeval_seconds(used.ru_stime), most_memory());
}

void mr_tally_sheet_print(struct mr_tally_sheet *s, bool whole, FILE *out)
{
    const struct reading *before = whole ? &s->first : &s->last;
    take_reading(&s->now);
    fprintf(out, "-- %s: %.3f s, since %s --\n", s->program,
            seconds((uint64_t)(s->now.at_ns - before->at_ns)),
            whole || s->last.at_ns == s->first.at_ns ? "its start" : "the table before");
    print_threads(&s->now, before, out);
    print_levels(s, whole, out);
    print_process(out);
    s->last = s->now;
}

/* One write, so that lines of the log do not come between. */
static void tell(struct mr_tally_sheet *s, bool whole)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        return;
    mr_tally_sheet_print(s, whole, out);
    if (fclose(out) == 0) {
        ssize_t written = write(STDERR_FILENO, text, bytes);
        (void)written; /* where stderr is broken there is nobody left to tell */
    }
    free(text);
}

/* ---- the thread ---- */

static void run(void *stage)
{
    struct mr_tally_sheet *s = stage;
    struct pollfd fds[2] = {{.fd = s->stop, .events = POLLIN},
                            {.fd = s->signals, .events = POLLIN}};
    struct signalfd_siginfo info;
    for (;;) {
        int ready = mr_tally_poll(fds, 2, -1, MR_TALLY_INPUT);
        if (ready > 0 && fds[0].revents != 0)
            return;
        if (ready > 0 && read(s->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
            tell(s, false);
    }
}

static const struct mr_stage stage = {.name = "stats", .run = run};

static void release(struct mr_tally_sheet *s)
{
    if (s->signals >= 0)
        close(s->signals);
    if (s->stop >= 0)
        close(s->stop);
    free(s);
}

static void copy_levels(struct mr_tally_sheet *s, const struct mr_tally_level *levels, size_t count)
{
    assert(count <= MR_TALLY_LEVELS_MAX);
    for (size_t i = 0; i < count; i++) {
        assert(levels[i].name != NULL);
        s->levels[i].of = levels[i];
        snprintf(s->levels[i].name, MR_TALLY_NAME, "%.15s", levels[i].name);
    }
    s->level_count = count;
}

int mr_tally_sheet_open(const char *program, const struct mr_tally_level *levels, size_t count,
                        struct mr_err *err, struct mr_tally_sheet **ret)
{
    struct mr_tally_sheet *s = calloc(1, sizeof(*s));
    sigset_t usr1;
    if (s == NULL)
        return mr_err_errno(err, -ENOMEM, "stats");
    s->program = program;
    copy_levels(s, levels, count);
    take_reading(&s->first);
    s->last = s->first;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    s->signals = signalfd(-1, &usr1, SFD_CLOEXEC | SFD_NONBLOCK);
    s->stop = eventfd(0, EFD_CLOEXEC);
    int r = s->signals < 0 || s->stop < 0 ? mr_err_errno(err, -errno, "stats")
                                          : mr_thread_start(&stage, s, err, &s->thread);
    if (r < 0) {
        release(s);
        return r;
    }
    *ret = s;
    return 0;
}

void mr_tally_sheet_close(struct mr_tally_sheet *s, bool at_end)
{
    if (s == NULL)
        return;
    int r = eventfd_write(s->stop, 1);
    assert(r == 0);
    (void)r;
    mr_thread_join(s->thread);
    if (at_end)
        tell(s, true);
    release(s);
}
