/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an agent may rely on before it frees a source: not that a movie was committed once, but that
 * its file is still there. Reads no file, only its size and times; what lies under them is for a
 * read-back to tell. Changes nothing.
 */
#include "standing.h"

#include <stdio.h>

void mr_standing_of(const struct mr_store *store, struct mr_catalogue *catalogue,
                    const struct mr_confirm *confirm, struct mr_message *ret)
{
    const struct mr_catalogue_entry *entry =
        mr_catalogue_find_revision(catalogue, &confirm->movie, confirm->revision);
    struct mr_confirmed *c = &ret->confirmed;
    *ret = (struct mr_message){.type = MR_CONFIRMED};
    c->movie = confirm->movie;
    c->revision = confirm->revision;
    c->standing = MR_STANDING_UNKNOWN;
    if (entry == NULL)
        return;
    bool in_place = mr_catalogue_is_unchanged(store->root_fd, entry) > 0;
    c->standing = in_place ? MR_STANDING_IN_PLACE : MR_STANDING_MOVED;
    c->bytes = entry->bytes;
    c->crc_file = entry->digest_file;
    c->has_pixels = entry->has_pixels;
    c->crc_pixels = entry->digest_pixels;
    snprintf(c->path, sizeof(c->path), "%s/%s", store->root, entry->path);
}
