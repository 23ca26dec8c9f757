/* SPDX-License-Identifier: Apache-2.0 */
/* The words of seal's answers. Decides nothing. */
#include "seal_answer.h"

#include <stdio.h>
#include <stdlib.h>

struct mr_message *mr_seal_answer_new(enum mr_message_type type, const struct mr_ulid *id)
{
    struct mr_message *m = calloc(1, sizeof(*m));
    if (m == NULL)
        abort();
    m->type = type;
    m->abandon.movie = *id; /* every one of these bodies begins with it */
    return m;
}

struct mr_message *mr_seal_answer_hold(const struct mr_ulid *id, uint32_t retry_ms,
                                       const struct mr_err *err)
{
    struct mr_message *m = mr_seal_answer_new(MR_HOLD, id);
    m->hold.code = mr_reason_of_error(err->code);
    m->hold.retry_ms = retry_ms;
    snprintf(m->hold.text, sizeof(m->hold.text), "%.500s", err->text);
    return m;
}

struct mr_message *mr_seal_answer_committed(const struct mr_store *store,
                                            const struct mr_dossier *d, const char *event,
                                            const char *path, uint64_t sequence)
{
    struct mr_message *m = mr_seal_answer_new(MR_COMMITTED, &d->open.movie);
    struct mr_committed *c = &m->committed;
    c->revision = d->open.revision;
    c->sequence = sequence;
    c->source_bytes = d->sealed.source_bytes;
    c->source_mtime_ns = d->sealed.source_mtime_ns;
    snprintf(c->event, sizeof(c->event), "%s", event);
    snprintf(c->path, sizeof(c->path), "%s/%s", store->root, path);
    return m;
}
