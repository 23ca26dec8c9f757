/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which format a file is of, and what every format promises. Does not know any itself: a new one is
 * a file of its own and a row in source_list.h.
 */
#include "source.h"

#include <assert.h>
#include <string.h>

#define ROW(name) &mr_source_##name,
static const struct mr_source *const sources[] = {MR_SOURCES(ROW)};

#define SOURCE_COUNT (sizeof(sources) / sizeof(sources[0]))

const char *mr_complete_by_name(enum mr_complete_by by)
{
    static const char *const names[] = {"", "close", "mdoc", "header", "quiet", "push"};
    return (size_t)by < sizeof(names) / sizeof(names[0]) ? names[by] : "";
}

const struct mr_source *mr_source_at(size_t index)
{
    return index < SOURCE_COUNT ? sources[index] : NULL;
}

const struct mr_source *mr_source_of(const char *path)
{
    for (size_t i = 0; i + 1 < SOURCE_COUNT; i++)
        if (sources[i]->probe(path))
            return sources[i];
    return sources[SOURCE_COUNT - 1];
}

void mr_source_look(const struct mr_source *source, const struct mr_source_facts *facts,
                    const struct mr_source_view *before, struct mr_source_view *ret,
                    struct mr_text *why)
{
    char unwanted[MR_SOURCE_WHY_MAX];
    struct mr_text nowhere = mr_text_init(unwanted, sizeof(unwanted));
    struct mr_source_view view = {
        .kind = MR_KIND_FILE, .format = source->name, .deadline_ns = MR_SOURCE_NEVER};
    source->look(facts, before, &view, why != NULL ? why : &nowhere);

    assert(view.settled_from <= view.settled_to && view.settled_to <= facts->size);
    assert((view.state == MR_SOURCE_COMPLETE) == (view.complete_by != MR_COMPLETE_NOT));
    assert(view.state != MR_SOURCE_COMPLETE ||
           (view.known && view.settled_from == 0 && view.settled_to == facts->size));
    assert(view.state != MR_SOURCE_GROWING || view.deadline_ns != MR_SOURCE_NEVER);
    *ret = view;
}

bool mr_source_differs(const struct mr_source_view *a, const struct mr_source_view *b)
{
    if (!a->known || !b->known)
        return false;
    return a->kind != b->kind || strcmp(a->format, b->format) != 0 || a->pixel != b->pixel ||
           a->swap_bytes != b->swap_bytes || a->width != b->width || a->height != b->height ||
           a->data_offset != b->data_offset || a->frame_bytes != b->frame_bytes;
}
