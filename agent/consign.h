/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From files to movies: which file is which movie (by the journal), what it is opened as, when it
 * enters the transfer, and what a verdict means for it. Used by the tail thread; does no reading of
 * pixels.
 */
#ifndef MR_AGENT_CONSIGN_H
#define MR_AGENT_CONSIGN_H

#include "journal.h"
#include "shipment.h"
#include "transfer.h"

enum mr_wish { MR_WISH_AUTO, MR_WISH_KEEP, MR_WISH_MRC, MR_WISH_HDF5 }; /* output */
enum mr_codec_wish {
    MR_CODEC_WISH_AUTO,
    MR_CODEC_WISH_NONE,
    MR_CODEC_WISH_BSLZ4,
    MR_CODEC_WISH_BSZSTD
};

#define MR_CONSIGN_SMALL 4 /* small files take the room of one movie */

struct mr_consign_config {
    const enum mr_wish *outputs; /* per watch; borrowed */
    const bool *frees;           /* per watch: sources are freed once committed; NULL: none */
    struct mr_queue *questions;  /* struct mr_confirm, of purge; borrowed; NULL: none */
    struct mr_queue *answers;    /* struct mr_confirmed, to purge; likewise */
    struct mr_queue *uncache;    /* struct mr_uncache_job; likewise */
    enum mr_codec_wish codec;
    const struct mr_track_watch *watches; /* borrowed */
    size_t watch_count;                   /* 0: a push, which has no earlier run */
    bool push; /* broken files are the user's to hear of, not the server's */
    /* push, --once: what cannot be read now has failed; it ends when track has, and everything has
     * its verdict */
    bool ends;
    /* in the transfer at once; small files, whose verdicts come many at a time, are so many times
     * MR_CONSIGN_SMALL */
    size_t movies_max;
};

struct mr_consign_counts {
    uint64_t files, committed, known, failed, waiting, moving;
    uint64_t stale; /* changed or vanished before they could be shipped: track has the word */
    uint64_t bytes, committed_bytes; /* of files to ship; of those committed */
    uint64_t sent_bytes;             /* durable at the server, as far as known */
};

struct mr_consign;

/* journal is borrowed. Returns owned. */
int mr_consign_new(const struct mr_consign_config *config, struct mr_journal *journal,
                   struct mr_consign **ret, struct mr_err *err) MR_MUST_USE;
void mr_consign_free(struct mr_consign *c);
/* The transfer is made after this, with mr_consign_verdict as its op. Borrowed. */
void mr_consign_use(struct mr_consign *c, struct mr_transfer *transfer);

/* What track says. */
void mr_consign_growth(struct mr_consign *c, const struct mr_growth *growth, int64_t real_ns);
/* Moves waiting movies into the transfer. now_ns: monotonic. */
void mr_consign_fill(struct mr_consign *c, int64_t now_ns, int64_t real_ns);
/* Between the two, what verdicts change in the journal is one transaction; most messages change
 * nothing there, and then there is none. */
void mr_consign_batch_begin(struct mr_consign *c);
void mr_consign_batch_end(struct mr_consign *c);
/* transfer's op; owner is a struct mr_shipment. */
void mr_consign_verdict(void *ctx, void *owner, const struct mr_message *m);
/* transfer's op: is the source still what it was when it was found complete? Where it is to be
 * freed one day, what it was is written down before END is said. */
bool mr_consign_unchanged(void *ctx, void *owner, const struct mr_end *end);

/* transfer's op: so much of the source is durable at the server. */
void mr_consign_shipped(void *ctx, void *owner, uint64_t from, uint64_t to);

/* transfer's op: the answer to a question of purge. */
void mr_consign_confirmed(void *ctx, const struct mr_confirmed *answer);

/* The source is not what it was (other bytes, another file): it begins again under a new id. */
void mr_consign_changed(struct mr_consign *c, struct mr_shipment *s, const char *why);
/* A slab of it could not be read (-errno; -ENODATA: it ends before), or could. Where the same one
 * could not for a minute, tried all the time, the movie fails; want of our own descriptors or
 * memory fails it only with a command that ends. now_ns: monotonic. */
void mr_consign_read_failed(struct mr_consign *c, struct mr_shipment *s, uint64_t slab, int code,
                            int64_t now_ns);
void mr_consign_was_read(struct mr_shipment *s, uint64_t slab);

/* Nothing begins any more, and what is under way is abandoned: the server forgets it. For a push.
 */
void mr_consign_stop(struct mr_consign *c);

enum mr_output mr_consign_named_output(enum mr_wish wish);        /* AUTO: keep */
enum mr_codec_id mr_consign_named_codec(enum mr_codec_wish wish); /* AUTO: none */

bool mr_consign_idle(const struct mr_consign *c); /* nothing waits, nothing moves */
void mr_consign_count(const struct mr_consign *c, struct mr_consign_counts *ret);

#endif
