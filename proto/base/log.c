/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operators' lines on stderr. Each line is put together on the stack and leaves with one write(2),
 * so that lines of several threads do not mix. Keeps no file and rotates nothing: that is
 * journald's.
 */
#include "base/log.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_BYTES = 2048 };

static _Atomic int threshold = MR_LOG_INFO;
static atomic_bool over_progress;

void mr_log_set_level(enum mr_log_level level)
{
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

void mr_log_set_over_progress(bool over)
{
    atomic_store_explicit(&over_progress, over, memory_order_relaxed);
}

/* JOURNAL_STREAM is "device:inode" of the journal's socket; it is inherited, so it only counts when
 * stderr still is that socket (systemd.exec(5)). */
static bool stderr_is_journal(void)
{
    const char *text = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;
    return text != NULL && sscanf(text, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &st) == 0 && st.st_dev == (dev_t)device &&
           st.st_ino == (ino_t)inode;
}

static size_t put_head(char *line, size_t size, enum mr_log_level level, const char *stage)
{
    static const struct {
        const char *word;
        int priority; /* syslog(3) */
    } levels[] = {
        [MR_LOG_ERROR] = {"error", 3},
        [MR_LOG_WARN] = {"warn ", 4},
        [MR_LOG_INFO] = {"info ", 6},
        [MR_LOG_DEBUG] = {"debug", 7},
    };
    int n;
    char now[MR_TIME_TEXT];
    bool over = atomic_load_explicit(&over_progress, memory_order_relaxed);
    const char *clear = over ? "\r\033[K" : "";
    if (stderr_is_journal())
        n = snprintf(line, size, "<%d>%.32s: ", levels[level].priority, stage);
    else
        n = snprintf(line, size, "%s%s %s %.32s: ", clear, mr_clock_text(mr_clock_real_ns(), now),
                     levels[level].word, stage);
    return (size_t)n;
}

MR_PRINTF(3, 0)
static size_t put_text(char *line, size_t size, const char *fmt, va_list args)
{
    int n = vsnprintf(line, size, fmt, args);
    size_t length = n < 0 ? 0 : (size_t)n;
    if (length >= size) {
        length = size - 1;
        for (size_t i = 1; i <= 3; i++)
            line[length - i] = '.';
    }
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    return length;
}

/* ---- what was said lately ---- */

enum { LATELY = 256, LATELY_MS = 600000 };

/* A line's hash, and when it was said. */
static struct {
    uint64_t hash;
    int64_t said_ns;
} lately[LATELY];
static size_t lately_next;
static pthread_mutex_t lately_lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t hash_of(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3;
    return hash;
}

static bool said_lately(const char *text)
{
    uint64_t hash = hash_of(text);
    int64_t now_ns = mr_clock_monotonic_ns();
    bool said = false;
    pthread_mutex_lock(&lately_lock);
    for (size_t i = 0; i < LATELY && !said; i++)
        said = lately[i].said_ns != 0 && lately[i].hash == hash &&
               now_ns - lately[i].said_ns < LATELY_MS * MR_NS_PER_MS;
    if (!said) {
        lately[lately_next].hash = hash;
        lately[lately_next].said_ns = now_ns;
        lately_next = (lately_next + 1) % LATELY;
    }
    pthread_mutex_unlock(&lately_lock);
    return said;
}

void mr_log_seldom(enum mr_log_level level, const char *stage, const char *fmt, ...)
{
    char text[LINE_BYTES];
    va_list args;
    va_start(args, fmt);
    text[put_text(text, sizeof(text), fmt, args)] = '\0';
    va_end(args);
    if (!said_lately(text))
        mr_log(level, stage, "%s", text);
}

void mr_log(enum mr_log_level level, const char *stage, const char *fmt, ...)
{
    if ((int)level > atomic_load_explicit(&threshold, memory_order_relaxed))
        return;
    char line[LINE_BYTES];
    size_t used = put_head(line, sizeof(line), level, stage);
    va_list args;
    va_start(args, fmt);
    used += put_text(line + used, sizeof(line) - used - 1, fmt, args);
    va_end(args);
    line[used++] = '\n';
    /* Where stderr itself is broken there is nobody left to tell. */
    ssize_t written = write(STDERR_FILENO, line, used);
    (void)written;
}
