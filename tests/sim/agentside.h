/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent of a schedule: transfer as it is, and around it source files that grow, break or change,
 * and hands that read and pack them, late and out of order.
 */
#ifndef MR_TESTS_AGENTSIDE_H
#define MR_TESTS_AGENTSIDE_H

#include "cable.h"
#include "pack.h"
#include "transfer.h"

/* What becomes of a source. */
enum reel_fate {
    REEL_WHOLE,      /* complete from the start */
    REEL_GROWS,      /* and is complete in the end */
    REEL_BREAKS,     /* grows, then FAIL with what there is */
    REEL_UNREADABLE, /* grows, then FAIL at once */
    REEL_REWRITTEN,  /* grows, changes under our hands, is begun again, then whole */
};

/* One source file. */
struct reel {
    struct agentside *agent;
    enum reel_fate fate;
    struct mr_open open;
    struct mr_extent extent; /* in the end */
    uint64_t contents;       /* what its checksums follow from */
    uint64_t visible, settled_from;
    uint32_t lives; /* ids it has had */
    bool ripe;      /* grown to its end */
    bool changed;   /* since it was first read under this id */
    bool done;
    enum mr_message_type verdict;
    bool told[WORLD_SLABS]; /* durable, says the OPENED now in force */
    uint64_t told_session;
};

#define REELS_MAX 6

struct agentside {
    struct world *world;
    struct mr_transfer *transfer; /* NULL: not running */
    struct cable *cable;          /* NULL: not connected */
    struct mr_hello hello;
    uint64_t epoch, life;
    size_t endpoint; /* of the servers it knows */
    uint64_t sequence[WORLD_LANES];
    struct reel reels[REELS_MAX];
    size_t reel_count;
    uint32_t hands, hands_max; /* slabs being read */
    bool step_planned, connect_planned, leaving, finished;
    int64_t progress_ns, refused_ns;
    struct mr_pack *pack;
    struct mr_message *heard; /* scratch */
    uint8_t *scratch;
};

struct agentside *agentside_new(struct world *w, const char *name, bool ephemeral);
void agentside_free(struct agentside *a);
void agentside_crash(struct agentside *a);     /* comes back after a while */
void agentside_reinstall(struct agentside *a); /* crash, and its state directory is lost */
void agentside_bye(struct agentside *a);       /* says it, and connects anew */
void agentside_soon(struct agentside *a);
bool agentside_finished(const struct agentside *a); /* all verdicts are there */
void agentside_describe(const struct agentside *a); /* into the trace */

/* ---- sources (reel.c) ---- */
void reel_make(struct agentside *a, struct reel *r);
void reel_offer(struct reel *r); /* adds it to the transfer, with all that is known of it */
void reel_verdict(struct reel *r, const struct mr_message *m);
/* What a source with those contents has at an offset: any number of bytes. */
void reel_content(uint64_t contents, uint64_t offset, uint8_t *ret, uint64_t bytes);
void reel_begin_anew(struct reel *r); /* under a new id */

#endif
