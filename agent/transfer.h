/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's protocol core: one session with one server, the movies being shipped, what is
 * durable, and the credit that says which slab may be read next. Pure: no syscall, no clock, no
 * socket; time and messages are arguments. tests/sim runs it against the server's intake.
 *
 * Used by one thread (tail). Movies are named by the pointer of whoever ships them ("owner").
 */
#ifndef MR_TRANSFER_H
#define MR_TRANSFER_H

#include "wire/message.h"

struct mr_transfer;

struct mr_transfer_config {
    struct mr_hello hello;  /* but for epoch: given with each connect */
    int64_t ack_timeout_ns; /* a lane with slabs in flight and none acked for so long: the session
                             * is given up */
    int64_t idle_credit_ns; /* credit unused for so long goes back */
};

struct mr_transfer_ops {
    /* A verdict on a movie: m is COMMITTED, FAILED, ABANDONED (the movie has left the transfer,
     * owner may add it again), HOLD (it stays and is opened again later) or OPENED (informative).
     */
    void (*verdict)(void *ctx, void *owner, const struct mr_message *m);
    /* NULL, or asked before END is said: is the source still what mr_transfer_complete described?
     * False: the movie is abandoned. end: what is about to be said. */
    bool (*unchanged)(void *ctx, void *owner, const struct mr_end *end);
    /* NULL, or: bytes [from, to) of the source need not be read again, unless something is lost. */
    void (*shipped)(void *ctx, void *owner, uint64_t from, uint64_t to);
    /* NULL, or: the server's answer to mr_transfer_confirm. */
    void (*confirmed)(void *ctx, const struct mr_confirmed *answer);
    void *ctx;
};

/* Returns owned. -ENOMEM. */
int mr_transfer_new(const struct mr_transfer_config *config, const struct mr_transfer_ops *ops,
                    struct mr_transfer **ret) MR_MUST_USE;
void mr_transfer_free(struct mr_transfer *t);

/* ---- session ---- */
/* HELLO follows. */
void mr_transfer_connected(struct mr_transfer *t, uint64_t epoch, int64_t now_ns);
void mr_transfer_disconnected(struct mr_transfer *t);
void mr_transfer_tell_backlog(struct mr_transfer *t, const struct mr_backlog *backlog);
void mr_transfer_tell_packing(struct mr_transfer *t, const struct mr_packing *packing);
bool mr_transfer_ready(const struct mr_transfer *t); /* WELCOME has come */
const struct mr_welcome *mr_transfer_welcome(const struct mr_transfer *t);
uint64_t mr_transfer_session(const struct mr_transfer *t);

/* Takes a decoded message. -EPROTO: it breaks the protocol (gap, wrong session, nonsense): the
 * caller must disconnect; -ECONNREFUSED: REFUSED; -ESHUTDOWN: the server said BYE; -ENOMEM. err
 * says why.
 */
int mr_transfer_receive(struct mr_transfer *t, const struct mr_message *m, int64_t now_ns,
                        struct mr_err *err) MR_MUST_USE;

/* The next control message to send, sequence and session filled; false when there is none. What it
 * returned counts as sent. Pointers inside are borrowed until the next call on t. */
bool mr_transfer_next_control(struct mr_transfer *t, int64_t now_ns, int64_t real_ns,
                              struct mr_message *ret);

/* -ETIMEDOUT: heartbeats or acks have stopped: the caller must disconnect. */
int mr_transfer_check(const struct mr_transfer *t, int64_t now_ns, struct mr_err *err) MR_MUST_USE;
void mr_transfer_bye(struct mr_transfer *t); /* says BYE with the next control message */

/* ---- movies ---- */
/* open is copied. -ENOMEM. */
int mr_transfer_add(struct mr_transfer *t, void *owner, const struct mr_open *open) MR_MUST_USE;
/* Is a movie of that id in it? There may be only one. */
bool mr_transfer_has(struct mr_transfer *t, const struct mr_ulid *id);
/* Bytes [from, to) of the source are settled. */
void mr_transfer_settled(struct mr_transfer *t, void *owner, uint64_t from, uint64_t to);
/* Complete: everything is settled. end is copied; its metadata and source_header pointers are
 * borrowed until the verdict. Checksums, slab count, generation and id are filled in here. */
void mr_transfer_complete(struct mr_transfer *t, void *owner, const struct mr_end *end);
/* Broken: what is there (extent) is shipped, then FAIL; verdict FAILED follows. extent NULL: the
 * source cannot be read any more, FAIL goes at once. */
void mr_transfer_fail(struct mr_transfer *t, void *owner, const struct mr_extent *extent,
                      const char *text);
/* ABANDON: verdict ABANDONED follows. */
void mr_transfer_abandon(struct mr_transfer *t, void *owner);
size_t mr_transfer_count(const struct mr_transfer *t); /* movies inside */

/* ---- sources to be freed ---- */
/* Asks the server what it has of a committed movie. One question at a time: a further one takes the
 * place of one that is not said yet. May stay unanswered. -ENOTCONN: no session; -EOPNOTSUPP: the
 * server is older than the question, and would end the session. */
int mr_transfer_confirm(struct mr_transfer *t, const struct mr_confirm *confirm) MR_MUST_USE;

/* ---- slabs ---- */
struct mr_pick {
    void *owner;
    struct mr_ulid movie;
    uint32_t generation;
    uint64_t slab;
    uint16_t lane;
    bool send; /* false: durable already, read it only to know its checksum */
    struct mr_span span;
    uint64_t reserved; /* bytes of credit; for mr_transfer_packed and _unpick */
    uint64_t session;  /* picks of an older session are dropped by the callee */
    uint64_t opening;  /* and so are those of before the movie was opened again */
};

/* Picks the next slab that is settled, not yet durable, and has credit; false when there is none.
 * Growing movies go before complete ones. */
bool mr_transfer_pick(struct mr_transfer *t, int64_t now_ns, struct mr_pick *ret);
/* The last mr_transfer_pick would have picked a slab, but for credit. */
bool mr_transfer_lacks_credit(const struct mr_transfer *t);

/* The slab was read and packed. -ESTALE: its checksum is not what it was at an earlier reading: the
 * source changed, abandon the movie; -ENOENT: session or movie is gone. Whatever the result, a slab
 * that is to be sent is on its way by now, unless its session is over. */
int mr_transfer_packed(struct mr_transfer *t, const struct mr_pick *pick, uint64_t crc_raw,
                       uint64_t crc_pixels, uint32_t wire_bytes, int64_t now_ns) MR_MUST_USE;
/* It could not be read; no slab of its movie is picked before not_before_ns. False: the movie has
 * left, or was opened anew, since. */
bool mr_transfer_unpick(struct mr_transfer *t, const struct mr_pick *pick, int64_t not_before_ns);

/* ---- for status ---- */
struct mr_transfer_flow {
    uint64_t landed_raw, landed_wire; /* bytes sent and acked since the start: as in the sources,
                                         and about as they travelled */
    uint64_t waiting;                 /* bytes that may be sent and are not durable, of what is
                                         not stored as it travels: CHUNKS are compressed anyhow */
};
void mr_transfer_flow(const struct mr_transfer *t, struct mr_transfer_flow *ret);
uint64_t mr_transfer_in_flight(const struct mr_transfer *t);     /* slabs, all movies */
uint64_t mr_transfer_durable_bytes(const struct mr_transfer *t); /* of the movies inside, about */

#endif
