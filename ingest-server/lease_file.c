/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of a lease file, and who this process is. Claims nothing and writes no file. One form
 * only: what was parsed is formatted again and compared.
 */
#include "lease_file.h"

#include "base/fs.h"
#include "base/recordlog.h"
#include "base/text.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define BEAT_TEXT (MR_LEASE_BEAT_BYTES - 18) /* without checksum, space and newline */
#define PROC_MAX  4096

/* ---- epochs ---- */

uint32_t mr_epochs_last(const struct mr_epochs *e)
{
    return e->count == 0 ? 0 : e->list[e->count - 1].generation;
}

bool mr_epochs_are_good(const struct mr_epochs *e, uint32_t epoch, uint64_t first_event)
{
    bool known = epoch == 0;
    for (size_t i = 0; i < e->count; i++) {
        known |= e->list[i].generation == epoch;
        if (e->list[i].generation > epoch && e->list[i].first_event <= first_event)
            return false;
    }
    return known;
}

int mr_epochs_add(struct mr_epochs *e, const struct mr_epoch *epoch)
{
    size_t count = e->count;
    while (count > 0 && e->list[count - 1].first_event >= epoch->first_event)
        count--;
    if (count == MR_EPOCHS_MAX)
        return -EOVERFLOW;
    e->list[count] = *epoch;
    e->count = count + 1;
    return 0;
}

/* ---- lines ---- */

void mr_lease_name(uint32_t generation, char ret[MR_LEASE_NAME])
{
    (void)snprintf(ret, MR_LEASE_NAME, "%010" PRIu32, generation);
}

uint32_t mr_lease_number(const char *name)
{
    if (strlen(name) != 10 || strspn(name, "0123456789") != 10)
        return 0;
    unsigned long number = strtoul(name, NULL, 10);
    return number <= MR_GENERATION_MAX ? (uint32_t)number : 0;
}

static size_t as_line(const char *text, size_t length, char *ret, size_t size)
{
    size_t bytes = 0;
    int r = mr_recordlog_format(text, length, ret, size, &bytes);
    assert(r == 0);
    (void)r;
    return bytes;
}

size_t mr_lease_format_beat(uint64_t counter, bool released, char ret[MR_LEASE_BEAT_BYTES])
{
    char text[BEAT_TEXT + 1];
    (void)snprintf(text, sizeof(text), "BEAT %020" PRIu64 " %-20s", counter,
                   released ? "released" : "held");
    return as_line(text, BEAT_TEXT, ret, MR_LEASE_BEAT_BYTES);
}

static size_t holder_text(const struct mr_lease_file *f, char ret[MR_LEASE_LINE])
{
    const struct mr_lease_holder *h = &f->holder;
    int n = snprintf(ret, MR_LEASE_LINE,
                     "LEASE %" PRIu32 " %" PRIu32 " %" PRIu32 " %s %s %s %" PRId64 " %" PRIu64
                     " %" PRIu64 " %016" PRIx64,
                     f->generation, f->epoch, f->lease_ms, h->server, h->host, h->boot, h->pid,
                     h->start, h->pid_namespace, h->instance);
    return (size_t)n;
}

size_t mr_lease_format_holder(const struct mr_lease_file *f, char ret[MR_LEASE_LINE])
{
    char text[MR_LEASE_LINE];
    size_t length = holder_text(f, text);
    return as_line(text, length, ret, MR_LEASE_LINE);
}

static size_t epoch_text(const struct mr_epoch *e, char *ret, size_t size)
{
    return (size_t)snprintf(ret, size, "EPOCH %" PRIu32 " %" PRIu64, e->generation, e->first_event);
}

size_t mr_lease_format_epoch(const struct mr_epoch *e, char ret[MR_LEASE_LINE])
{
    char text[64];
    size_t length = epoch_text(e, text, sizeof(text));
    return as_line(text, length, ret, MR_LEASE_LINE);
}

/* ---- parsing ---- */

static bool parse_holder(const char *text, struct mr_lease_file *f)
{
    char again[MR_LEASE_LINE];
    struct mr_lease_holder *h = &f->holder;
    int words = sscanf(text,
                       "LEASE %" SCNu32 " %" SCNu32 " %" SCNu32 " %64s %64s %39s %" SCNd64
                       " %" SCNu64 " %" SCNu64 " %" SCNx64,
                       &f->generation, &f->epoch, &f->lease_ms, h->server, h->host, h->boot,
                       &h->pid, &h->start, &h->pid_namespace, &h->instance);
    if (words != 10)
        return false;
    holder_text(f, again);
    return strcmp(text, again) == 0;
}

static bool parse_epoch(const char *text, struct mr_epochs *epochs)
{
    char again[64];
    struct mr_epoch e;
    if (sscanf(text, "EPOCH %" SCNu32 " %" SCNu64, &e.generation, &e.first_event) != 2)
        return false;
    epoch_text(&e, again, sizeof(again));
    return strcmp(text, again) == 0 && e.generation > mr_epochs_last(epochs) && e.first_event > 0 &&
           mr_epochs_add(epochs, &e) == 0;
}

struct reading {
    struct mr_lease_file *file;
    bool holder, strange;
};

static int visit(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    struct reading *r = ctx;
    (void)bytes;
    (void)offset;
    bool good;
    if (strncmp(text, "LEASE ", 6) == 0 && !r->holder)
        good = r->holder = parse_holder(text, r->file);
    else
        good = strncmp(text, "EPOCH ", 6) == 0 && parse_epoch(text, &r->file->epochs);
    r->strange |= !good;
    return 0;
}

/* Of the beat only whether it says released, and that only where it is whole: it may be read while
 * it is being written. */
static bool says_released(const uint8_t beat[MR_LEASE_BEAT_BYTES])
{
    char line[MR_LEASE_BEAT_BYTES], digits[21] = "";
    memcpy(digits, beat + 17 + strlen("BEAT "), 20);
    mr_lease_format_beat(strtoull(digits, NULL, 10), true, line);
    return memcmp(line, beat, sizeof(line)) == 0;
}

static int read_lines(int fd, uint32_t generation, struct mr_lease_file *f)
{
    struct reading r = {.file = f};
    struct mr_recordlog_scan scan;
    int n = mr_fs_pread_full(fd, f->beat, sizeof(f->beat), 0);
    if (n == 0)
        n = mr_recordlog_scan(fd, MR_LEASE_BEAT_BYTES, visit, &r, &scan);
    if (n < 0)
        return n == -ENODATA ? -EUCLEAN : n;
    f->bytes = scan.good_bytes;
    f->released = says_released(f->beat);
    /* an EPOCH that was cut short had not begun; one that was whole had, and is not to be missed */
    bool whole =
        scan.bad_records == 0 && !(scan.torn_tail && mr_recordlog_tail_is_damage(fd, &scan));
    bool good = r.holder && !r.strange && whole && f->generation == generation;
    return good ? 0 : -EUCLEAN;
}

int mr_lease_read(int lease_dir, uint32_t generation, struct mr_lease_file *ret, struct mr_err *err)
{
    char name[MR_LEASE_NAME];
    mr_lease_name(generation, name);
    memset(ret, 0, sizeof(*ret));
    MR_CLEANUP(mr_fs_close) int fd = openat(lease_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return -ENOENT;
    int r = fd < 0 ? -errno : read_lines(fd, generation, ret);
    if (r == -EUCLEAN)
        return mr_err_set(err, r, MR_LEASE_DIR "/%s is damaged: nobody can tell who has the store",
                          name);
    return r < 0 ? mr_err_errno(err, r, MR_LEASE_DIR "/%s", name) : 0;
}

int mr_lease_list(int lease_dir, uint32_t *ret)
{
    uint32_t newest = 0;
    const char *name = "";
    MR_CLEANUP(mr_fs_list_close) DIR *dir = NULL;
    int r = mr_fs_list(lease_dir, &dir);
    while (r == 0 && (r = mr_fs_next_name(dir, &name)) == 0 && name != NULL) {
        uint32_t number = mr_lease_number(name);
        newest = number > newest ? number : newest;
    }
    if (r == 0)
        *ret = newest;
    return r;
}

int mr_epochs_load(int millrace_dir, struct mr_epochs *ret, struct mr_err *err)
{
    uint32_t newest = 0;
    ret->count = 0;
    MR_CLEANUP(mr_fs_close)
    int dir = openat(millrace_dir, MR_LEASE_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return errno == ENOENT ? 0 : mr_err_errno(err, -errno, MR_LEASE_DIR);
    int r = mr_lease_list(dir, &newest);
    struct mr_lease_file *file = r == 0 && newest > 0 ? malloc(sizeof(*file)) : NULL;
    if (r == 0 && newest > 0 && file == NULL)
        r = -ENOMEM;
    if (file != NULL && (r = mr_lease_read(dir, newest, file, err)) == 0)
        *ret = file->epochs;
    free(file);
    return r < 0 && err != NULL && err->code == 0 ? mr_err_errno(err, r, MR_LEASE_DIR) : r;
}

/* ---- processes ---- */

static int read_proc(const char *path, char ret[PROC_MAX])
{
    MR_CLEANUP(mr_fs_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret, PROC_MAX - 1);
    if (n < 0)
        return -errno;
    ret[n] = '\0';
    return 0;
}

/* Of /proc/<pid>/stat: state (field 3) and start time (field 22); the name before may hold
 * anything. */
static int process_facts(int64_t pid, char *ret_state, uint64_t *ret_start)
{
    char path[64], text[PROC_MAX];
    (void)snprintf(path, sizeof(path), "/proc/%" PRId64 "/stat", pid);
    int r = read_proc(path, text);
    const char *at = r < 0 ? NULL : strrchr(text, ')');
    if (r < 0 || at == NULL)
        return r < 0 ? r : -EPROTO;
    if (sscanf(at + 1, " %c", ret_state) != 1)
        return -EPROTO;
    for (int field = 3; field <= 22 && at != NULL; field++)
        at = strchr(at + 1, ' ');
    return at != NULL && sscanf(at, "%" SCNu64, ret_start) == 1 ? 0 : -EPROTO;
}

static void take_plain(const char *from, char *ret, size_t size)
{
    size_t n = 0;
    for (; from[n] != '\0' && n + 1 < size; n++) {
        const char one[2] = {from[n], '\0'};
        ret[n] = mr_text_is_plain(one) ? from[n] : '_';
    }
    ret[n] = '\0';
    if (n == 0)
        (void)snprintf(ret, size, "-");
}

int mr_lease_self(const char *server, struct mr_lease_holder *ret)
{
    struct mr_lease_holder h = {.pid = getpid()};
    char host[256] = "", boot[PROC_MAX] = "", state;
    struct stat st;
    take_plain(server, h.server, sizeof(h.server));
    if (gethostname(host, sizeof(host) - 1) < 0)
        host[0] = '\0';
    take_plain(host, h.host, sizeof(h.host));
    if (read_proc("/proc/sys/kernel/random/boot_id", boot) < 0)
        boot[0] = '\0';
    boot[strcspn(boot, "\n")] = '\0';
    take_plain(boot, h.boot, sizeof(h.boot));
    if (stat("/proc/self/ns/pid", &st) == 0)
        h.pid_namespace = st.st_ino;
    int r = process_facts(h.pid, &state, &h.start);
    if (r == 0 && getrandom(&h.instance, sizeof(h.instance), 0) < 0)
        r = -errno;
    if (r == 0)
        *ret = h;
    return r;
}

/* A leader that has ended stays a zombie while its threads, which may write, do not. */
static bool has_threads(int64_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%" PRId64 "/task", pid);
    MR_CLEANUP(mr_fs_list_close) DIR *dir = opendir(path);
    size_t count = 0;
    const char *name = "";
    while (dir != NULL && mr_fs_next_name(dir, &name) == 0 && name != NULL)
        count += name[0] != '.';
    return count != 1; /* also where it cannot be seen */
}

bool mr_lease_is_gone(const struct mr_lease_holder *self, const struct mr_lease_holder *other)
{
    char state;
    uint64_t start;
    if (strcmp(self->boot, "-") == 0 || strcmp(self->boot, other->boot) != 0 ||
        self->pid_namespace == 0 || self->pid_namespace != other->pid_namespace)
        return false;
    if (other->pid == self->pid) /* the number came round: two live ones cannot share it */
        return other->start != self->start;
    if (kill((pid_t)other->pid, 0) < 0 && errno == ESRCH) /* and not hidden by /proc's hidepid */
        return true;
    if (process_facts(other->pid, &state, &start) < 0)
        return false;
    return start != other->start || (state == 'Z' && !has_threads(other->pid));
}
