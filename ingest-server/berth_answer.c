/* SPDX-License-Identifier: Apache-2.0 */
/* The words of berth's answers. Decides nothing. */
#include "berth_answer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define COMMIT_MS 500u /* being committed takes no longer, mostly */

static struct mr_message *message_of(const struct mr_ulid *id, int error,
                                     const struct mr_berth_why *why)
{
    struct mr_message *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return NULL;
    if (why->final) {
        m->type = MR_FAILED;
        m->failed = (struct mr_failed){.movie = *id, .code = why->code};
        snprintf(m->failed.text, sizeof(m->failed.text), "%.500s", why->err.text);
    } else {
        m->type = MR_HOLD;
        m->hold = (struct mr_hold){.movie = *id,
                                   .code = why->code,
                                   .retry_ms = error == -EBUSY ? COMMIT_MS : MR_INTAKE_HOLD_MS};
        snprintf(m->hold.text, sizeof(m->hold.text), "%.500s", why->err.text);
    }
    return m;
}

void mr_berth_answer_refuse(struct mr_berth_answer *answer, int error, const char *path,
                            struct mr_berth_why *why)
{
    if (why->code == 0)
        why->code = mr_reason_of_error(error);
    if (why->err.code == 0)
        mr_err_errno(&why->err, error, "%s", path);
    answer->message = message_of(&answer->id, error, why);
}

struct mr_message *mr_berth_answer_committed(const struct mr_store *store,
                                             const struct mr_catalogue_entry *entry)
{
    struct mr_message *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return NULL;
    m->type = MR_COMMITTED;
    m->committed = (struct mr_committed){.movie = entry->id,
                                         .revision = entry->revision,
                                         .sequence = entry->sequence,
                                         .source_bytes = entry->source_bytes,
                                         .source_mtime_ns = entry->source_mtime_ns,
                                         .known = true};
    snprintf(m->committed.event, sizeof(m->committed.event), "%s", entry->event);
    snprintf(m->committed.path, sizeof(m->committed.path), "%s/%s", store->root, entry->path);
    return m;
}
