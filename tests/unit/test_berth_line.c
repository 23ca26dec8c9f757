/* SPDX-License-Identifier: Apache-2.0 */
/* Whose OPEN is next: an agent's own order, agents in turn. */
#include "berth_line.h"
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>

static struct mr_berth_line *line;

static void add(const char *agent, uint32_t revision)
{
    struct mr_berth_job job = {.kind = MR_BERTH_OPEN, .open = calloc(1, sizeof(*job.open))};
    ck_assert_ptr_nonnull(job.open);
    job.open->revision = revision;
    snprintf(job.agent, sizeof(job.agent), "%s", agent);
    ck_assert_int_eq(mr_berth_line_add(&line, &job), 0);
}

static void next(const char *agent, uint32_t revision)
{
    struct mr_berth_job job;
    ck_assert(mr_berth_line_take(&line, &job));
    ck_assert_str_eq(job.agent, agent);
    ck_assert_uint_eq(job.open->revision, revision);
    free(job.open);
}

START_TEST(agents_take_turns)
{
    struct mr_berth_job job;
    for (uint32_t i = 1; i <= 4; i++)
        add("backlog", i);
    next("backlog", 1);
    add("live", 1);
    next("backlog", 2);
    next("live", 1); /* not behind the rest of the other's */
    next("backlog", 3);
    add("live", 2);
    add("third", 1);
    next("backlog", 4);
    next("live", 2);
    next("third", 1);
    ck_assert(!mr_berth_line_take(&line, &job));
    add("backlog", 5);
    next("backlog", 5);
    ck_assert_ptr_null(line);
}
END_TEST

START_TEST(what_waits_is_freed)
{
    add("a", 1);
    add("a", 2);
    add("b", 1);
    mr_berth_line_free(&line);
    ck_assert_ptr_null(line);
}
END_TEST

MR_SUITE("berth_line", T(agents_take_turns), T(what_waits_is_freed))
