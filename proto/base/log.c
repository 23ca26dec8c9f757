/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operators' lines on stderr. Each line is put together on the stack and leaves with one write(2),
 * so that lines of several threads do not mix. Keeps no file and rotates nothing: that is
 * journald's.
 */
#include "base/log.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_BYTES = 2048 };

static _Atomic int threshold = MR_LOG_INFO;

void mr_log_set_level(enum mr_log_level level)
{
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
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
    if (stderr_is_journal())
        n = snprintf(line, size, "<%d>%.32s: ", levels[level].priority, stage);
    else
        n = snprintf(line, size, "%s %s %.32s: ", mr_clock_text(mr_clock_real_ns(), now),
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
