/* SPDX-License-Identifier: Apache-2.0 */
/* What oracle.c and oracle_durable.c know of each other. Nobody else's. */
#ifndef MR_TESTS_ORACLE_INSIDE_H
#define MR_TESTS_ORACLE_INSIDE_H

#include "eventlog.h"
#include "oracle.h"
#include "tale.h"
#include "wire/message.h"

struct heard_event {
    char id[MR_EVENT_ID_MAX + 1], type[MR_EVENT_TYPE_MAX + 1];
};

struct oracle {
    struct tale *tales;
    struct heard_event *events; /* [sequence - 1]; id "": not heard */
    size_t event_count, event_room;
    struct mr_codec *codec;
};

/* NULL: nobody opened it. */
struct tale *oracle_tale(const struct world *w, const struct mr_ulid *id);
struct tale *oracle_need_tale(struct world *w, const struct mr_ulid *id, const char *what);

/* By its path below the store's root; NULL: it is not there. */
struct inode *oracle_stored(const struct disk *d, enum disk_view view, const char *path);
const struct contents *oracle_seen(const struct inode *file, enum disk_view view);
void oracle_check_stored(struct world *w, struct tale *t, const char *path, enum disk_view view,
                         const char *when);
bool oracle_is_logged(const struct world *w, enum disk_view view, const char *text, size_t bytes);

#endif
