/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's protocol core: sessions of agents, movies in flight, their durable sets, credit and
 * acks. Pure: time and messages are arguments, whatever must be done is asked for through ops.
 * tests/sim runs it against the agents' transfer.
 *
 * Work that takes time (berth, detach, finish) is asked for and answered later by a call of the
 * same name in the past tense. Used by one thread (control).
 */
#ifndef MR_INTAKE_H
#define MR_INTAKE_H

#include "movie.h"
#include "wire/link.h"
#include "wire/message.h"

struct mr_intake;

struct mr_intake_config {
    char server[MR_NAME_MAX + 1], site[MR_NAME_MAX + 1], software[MR_NAME_MAX + 1];
    uint16_t lanes;
    uint16_t ports[MR_LANES_MAX];
    uint64_t lane_budget; /* bytes of credit per lane, at least MR_SLAB_COST_MAX */
    uint32_t heartbeat_ms;
    uint32_t credit_limit_ms; /* credit neither used nor returned for so long while others wait ends
                               * the session; 0: 30 s */
    uint32_t movies_max;      /* in flight at once */
    uint64_t session_seed;    /* random: sessions of two server lives never meet */
};

/* What HOLD says: when an agent is to ask again. Busy: another is done with the movie soon. */
#define MR_INTAKE_HOLD_MS 5000u
#define MR_INTAKE_BUSY_MS 1000u

/* What follows once no lane has a movie any more */
enum mr_finish {
    MR_FINISH_COMMIT,
    MR_FINISH_FAIL,
    MR_FINISH_DISCARD,
    MR_FINISH_RELEASE, /* nothing: op release instead of finish */
};

/* Who sent a movie; borrowed for the call. */
struct mr_sender {
    const char *agent;       /* name */
    bool ephemeral;          /* a push */
    int64_t clock_offset_ms; /* agent's clock minus ours, as HELLO arrived */
};

struct mr_intake_ops {
    void *ctx;
    /* Sends; a peer that is gone is noticed by its silence. Sequence and session are filled in. */
    void (*send)(void *ctx, const struct mr_route *to, const struct mr_message *m);
    /* Find or make the place where this movie lands; answer with mr_intake_berthed or
     * _unberthed. */
    void (*berth)(void *ctx, const struct mr_sender *from, const struct mr_open *open);
    /* Let the lanes take slabs of this session's movie. */
    void (*attach)(void *ctx, struct mr_movie *movie, uint64_t session);
    /* Let the lanes forget it once nothing of it is in flight; answer with mr_intake_detached. */
    void (*detach)(void *ctx, struct mr_movie *movie);
    /* Commit, fail or discard a movie no lane holds any more; answer with mr_intake_finished. end
     * is there for COMMIT (its borrowed pointers live until the answer), fail for FAIL. movie is
     * NULL where one is to be discarded that was not opened in this server's life: id says which.
     */
    void (*finish)(void *ctx, enum mr_finish how, const struct mr_sender *from,
                   const struct mr_ulid *id, struct mr_movie *movie, const struct mr_end *end,
                   const struct mr_fail *fail);
    /* A movie is let go of, unfinished: its part and journal stay for the next OPEN, unless
     * distrusted: after a failed fsync, or a journal cut short, nothing of them is. */
    void (*release)(void *ctx, struct mr_movie *movie, bool distrusted);
    /* What does the store have of it? Answer with mr_intake_confirmed, or not at all where there is
     * too much to do. */
    void (*confirm)(void *ctx, uint64_t session, const struct mr_confirm *confirm);
    /* For the event log; online or not. */
    void (*presence)(void *ctx, const struct mr_hello *hello, bool online);
};

int mr_intake_new(const struct mr_intake_config *config, const struct mr_intake_ops *ops,
                  struct mr_intake **ret) MR_MUST_USE;
void mr_intake_free(struct mr_intake *in);

/* ---- from agents ---- */
/* A decoded message; nonsense from a peer ends its session, never the server. */
void mr_intake_receive(struct mr_intake *in, const struct mr_route *from,
                       const struct mr_message *m, int64_t now_ns, int64_t real_ns);
/* What could not even be decoded. */
void mr_intake_garbage(struct mr_intake *in, const struct mr_route *from, const char *why);
/* Heartbeats, silent sessions, grants. Call at least every heartbeat_ms / 2, and after a batch of
 * news. */
void mr_intake_tick(struct mr_intake *in, int64_t now_ns, int64_t real_ns);

/* While paused nobody is granted credit; what was granted may be used. Saying the same again is
 * nothing. */
void mr_intake_pause(struct mr_intake *in, bool paused, int64_t now_ns);

/* ---- from the other stages ---- */
/* durable: journaled slabs, ascending ranges; movie: moved in. */
void mr_intake_berthed(struct mr_intake *in, struct mr_movie *movie, bool resumed,
                       const struct mr_range *durable, size_t count, int64_t now_ns);
/* No berth: answer is COMMITTED, FAILED or HOLD, ready to send. */
void mr_intake_unberthed(struct mr_intake *in, const struct mr_ulid *id,
                         const struct mr_message *answer);
void mr_intake_detached(struct mr_intake *in, struct mr_movie *movie);
/* answer: COMMITTED, FAILED, ABANDONED or HOLD. The movie itself is let go of by whoever finished
 * it. */
void mr_intake_finished(struct mr_intake *in, const struct mr_ulid *id,
                        const struct mr_message *answer);

/* answer: CONFIRMED, for the session that asked; dropped where that is over. */
void mr_intake_confirmed(struct mr_intake *in, uint64_t session, const struct mr_message *answer);

/* False: it was durable before, and has come again though its agent was told so. */
bool mr_intake_durable(struct mr_intake *in, const struct mr_movie *movie, uint64_t slab);
/* Of a small movie, which is whole with it; it is not said, for COMMITTED says it. */
void mr_intake_aboard(struct mr_intake *in, const struct mr_movie *movie, uint64_t slab);
void mr_intake_damaged(struct mr_intake *in, const struct mr_movie *movie, uint64_t slab);
/* A slab of it is not what the movie's geometry or codec allow: the movie fails. */
void mr_intake_misfit(struct mr_intake *in, const struct mr_movie *movie, uint64_t slab);
void mr_intake_used(struct mr_intake *in, uint64_t session, uint16_t lane, uint64_t bytes);
void mr_intake_lane_gap(struct mr_intake *in, uint64_t session, uint16_t lane);
/* Its owner's or its project's quota is exceeded: the movie fails, its neighbours do not. */
void mr_intake_no_quota(struct mr_intake *in, const struct mr_movie *movie, const char *text);
/* Slabs of this movie can't land (code and text for the operator at the other end): HOLD. */
void mr_intake_stuck(struct mr_intake *in, struct mr_movie *movie, bool distrusted, uint16_t code,
                     const char *text);

/* ---- end ---- */
void mr_intake_stop(struct mr_intake *in);       /* BYE to all; movies are detached and released */
bool mr_intake_idle(const struct mr_intake *in); /* no movie inside */

/* ---- for status ---- */
struct mr_intake_movie_view {
    const struct mr_movie *movie;
    const struct mr_open *open;
    const char *agent;
    uint64_t durable;  /* slabs */
    uint64_t slabs;    /* 0 while not known */
    int64_t opened_ns; /* monotonic */
    const char *state;
};
struct mr_intake_session_view {
    const struct mr_hello *hello;
    uint64_t session;
    uint64_t movies;
    struct mr_backlog backlog; /* at the agent, as it last told */
    struct mr_packing packing; /* likewise */
};
/* False: it is not known. What the view points to is borrowed until the next call. */
bool mr_intake_view(const struct mr_intake *in, const struct mr_ulid *id,
                    struct mr_intake_movie_view *ret);
void mr_intake_each_movie(const struct mr_intake *in,
                          void (*visit)(void *ctx, const struct mr_intake_movie_view *v),
                          void *ctx);
void mr_intake_each_session(const struct mr_intake *in,
                            void (*visit)(void *ctx, const struct mr_intake_session_view *v),
                            void *ctx);

#endif
