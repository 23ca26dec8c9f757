/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A catalogue line's JSON: a committed revision, or the end of an old one. Writing and reading in
 * one place; pure.
 */
#ifndef MR_CATALOGUE_LINE_H
#define MR_CATALOGUE_LINE_H

#include "base/json.h"
#include "catalogue.h"

/* Returns owned text (free), NULL without memory. */
char *mr_catalogue_line_commit(const struct mr_catalogue_entry *entry);
char *mr_catalogue_line_expire(const struct mr_ulid *id, uint32_t revision);

struct mr_catalogue_line {
    bool expire;                     /* then only id and revision are set */
    struct mr_catalogue_entry entry; /* texts borrowed from json */
    struct mr_json *json;            /* owned: mr_catalogue_line_fini */
};

/* -EPROTO with err: not such a line; ret is then zeroed. -ENOMEM. */
int mr_catalogue_line_parse(const char *text, size_t bytes, struct mr_catalogue_line *ret,
                            struct mr_err *err) MR_MUST_USE;
void mr_catalogue_line_fini(struct mr_catalogue_line *line);

#endif
