/* SPDX-License-Identifier: Apache-2.0 */
/* Whose OPEN is next. Makes no berth. */
#include "berth_line.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct waiting {
    struct waiting *next;
    struct mr_berth_job job;
};

/* Of one agent; the one whose turn it is comes first */
struct mr_berth_line {
    struct mr_berth_line *next;
    struct waiting *first, *last; /* one at least */
};

static struct mr_berth_line **find(struct mr_berth_line **line, const char *agent)
{
    while (*line != NULL && strcmp((*line)->first->job.agent, agent) != 0)
        line = &(*line)->next;
    return line;
}

int mr_berth_line_add(struct mr_berth_line **line, const struct mr_berth_job *job)
{
    struct mr_berth_line **at = find(line, job->agent);
    struct waiting *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return -ENOMEM;
    w->job = *job;
    if (*at == NULL && (*at = calloc(1, sizeof(**at))) == NULL) {
        free(w);
        return -ENOMEM;
    }
    *((*at)->first == NULL ? &(*at)->first : &(*at)->last->next) = w;
    (*at)->last = w;
    return 0;
}

bool mr_berth_line_take(struct mr_berth_line **line, struct mr_berth_job *ret)
{
    struct mr_berth_line *agent = *line;
    if (agent == NULL)
        return false;
    struct waiting *w = agent->first;
    *ret = w->job;
    agent->first = w->next;
    free(w);
    *line = agent->next;
    if (agent->first == NULL) {
        free(agent);
        return true;
    }
    while (*line != NULL)
        line = &(*line)->next;
    agent->next = NULL;
    *line = agent;
    return true;
}

void mr_berth_line_free(struct mr_berth_line **line)
{
    struct mr_berth_job job;
    while (mr_berth_line_take(line, &job))
        free(job.open);
}
