/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One tale for each id under which something was opened: what its source holds, and what the server
 * has said of it. The oracle's.
 */
#ifndef MR_TESTS_TALE_H
#define MR_TESTS_TALE_H

#include "disk.h"
#include "wire/message.h"

struct reel;
struct mr_codec;

struct tale {
    struct tale *next;
    struct mr_ulid id;
    const struct reel *source; /* NULL: a rogue's */
    struct mr_geometry geometry;
    struct mr_extent extent;
    uint8_t *bytes; /* of the source; NULL: not asked for yet */
    uint64_t contents;
    bool acked[WORLD_SLABS]; /* told durable, of this generation */
    uint64_t part;           /* the inode that they were told of, and when that was made */
    int64_t part_birth_ns;
    uint32_t generation, cable; /* of the OPENED in force */
    bool to_keep;           /* a power cut is about to come: its durable slabs must outlive it */
    bool committed, failed; /* so the server said */
    bool ready;             /* so an event said */
    bool meddled;           /* a rogue has opened it, or tried to */
    bool abandoned;         /* a server has heard its agent's ABANDON */
    bool given_up;          /* its agent has heard ABANDONED */
    char path[1024];        /* of a finished file, below the root */
};

struct tale *tale_find(struct tale *first, const struct mr_ulid *id); /* NULL: none */
/* Finds it or makes it; source NULL: a rogue's, of which nobody knows what it holds. */
void tale_expect(struct tale **first, const struct mr_ulid *id, const struct reel *source);
void tales_free(struct tale *first);

/* A finished file: NULL, or what is wrong with it. */
const char *tale_check(struct tale *t, struct mr_codec *codec, const struct contents *file);

#endif
