/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages for operators, one line each, to stderr: "2026-11-22T07:00:00.000Z warn  tail: text", or
 * "<4>tail: text" where stderr is the journal (JOURNAL_STREAM). Thread-safe; a line is one
 * write(2). Only main and stages log, each failure once; libraries return errors.
 */
#ifndef MR_BASE_LOG_H
#define MR_BASE_LOG_H

#include "base/err.h"

#include <stdbool.h>

enum mr_log_level { MR_LOG_ERROR, MR_LOG_WARN, MR_LOG_INFO, MR_LOG_DEBUG };

void mr_log_set_level(enum mr_log_level level); /* default MR_LOG_INFO */

/* There is a line on the terminal that rewrites itself: it is cleared before each message. */
void mr_log_set_over_progress(bool over);

/* stage: the name of the stage that speaks ("tail", "lane-1"). Control characters become '?'. */
void mr_log(enum mr_log_level level, const char *stage, const char *fmt, ...) MR_PRINTF(3, 4);

/* For what may go on for hours, such as a full disk: a line that was said within the last ten
 * minutes is not said again (the last 256 lines of this kind are known). */
void mr_log_seldom(enum mr_log_level level, const char *stage, const char *fmt, ...)
    MR_PRINTF(3, 4);

#define mr_error(stage, ...) mr_log(MR_LOG_ERROR, stage, __VA_ARGS__)
#define mr_warn(stage, ...)  mr_log(MR_LOG_WARN, stage, __VA_ARGS__)
#define mr_info(stage, ...)  mr_log(MR_LOG_INFO, stage, __VA_ARGS__)
#define mr_debug(stage, ...) mr_log(MR_LOG_DEBUG, stage, __VA_ARGS__)

#endif
