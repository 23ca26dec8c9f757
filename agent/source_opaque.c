/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of no format we take apart: logs, gain references, session files, formats to come. Nothing
 * in them is settled before they are complete, for nobody knows what their writers go back to.
 */
#include "source.h"

static bool probe(const char *path)
{
    (void)path;
    return true;
}

static void complete(const struct mr_source_facts *facts, enum mr_complete_by by,
                     struct mr_source_view *ret, struct mr_text *why)
{
    ret->state = MR_SOURCE_COMPLETE;
    ret->complete_by = by;
    ret->settled_to = facts->size;
    mr_text_appendf(why, "by %s", mr_complete_by_name(by));
}

static void look(const struct mr_source_facts *facts, const struct mr_source_view *before,
                 struct mr_source_view *ret, struct mr_text *why)
{
    (void)before;
    ret->known = true;
    if (facts->as_it_is) {
        complete(facts, MR_COMPLETE_PUSH, ret, why);
    } else if (facts->closed) {
        complete(facts, MR_COMPLETE_CLOSE, ret, why);
    } else if (facts->now_ns - facts->changed_ns >= facts->quiet_ns) {
        complete(facts, MR_COMPLETE_QUIET, ret, why);
    } else {
        char quiet[MR_QUANTITY_TEXT];
        ret->state = MR_SOURCE_GROWING;
        ret->deadline_ns = facts->changed_ns + facts->quiet_ns;
        mr_text_appendf(why, "not closed yet and changed less than %s ago",
                        mr_text_duration(facts->quiet_ns, quiet));
    }
}

const struct mr_source mr_source_opaque = {
    .name = "file", .example = "session.log", .probe = probe, .look = look};
