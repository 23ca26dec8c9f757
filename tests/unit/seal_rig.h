/* SPDX-License-Identifier: Apache-2.0 */
/* Movies that have landed whole, and the seal stage: run over them, or on a thread of its own. */
#ifndef MR_TESTS_SEAL_RIG_H
#define MR_TESTS_SEAL_RIG_H

#include "base/thread.h"
#include "seal.h"
#include "store_rig.h"

static int deaths;

static inline void fatal(void *ctx)
{
    (void)ctx;
    deaths++;
}

struct sealing {
    struct mr_queue *in, *out;
    struct mr_seal *seal;
    struct mr_thread *thread; /* NULL: none */
};

static inline void sealing_begin(struct rig *rig, struct sealing *s)
{
    *s = (struct sealing){0};
    ck_assert_int_eq(mr_queue_new(sizeof(struct mr_seal_job), 16, &s->in), 0);
    ck_assert_int_eq(mr_queue_new(sizeof(struct mr_seal_answer), 16, &s->out), 0);
    ck_assert_int_eq(mr_seal_new(&rig->commit, s->in, s->out, fatal, NULL, &s->seal), 0);
}

static inline void sealing_put(struct sealing *s, const struct mr_seal_job *job)
{
    ck_assert_int_eq(mr_queue_push(s->in, job), 0);
}

/* Over what has been put, on this thread. */
static inline void sealing_run(struct sealing *s)
{
    mr_queue_close(s->in);
    mr_seal_stage.run(s->seal);
}

static inline void sealing_start(struct sealing *s)
{
    struct mr_err err = {0};
    ck_assert_int_eq(mr_thread_start(&mr_seal_stage, s->seal, &err, &s->thread), 0);
}

/* The thread ends when it has done what was put. */
static inline void sealing_stop(struct sealing *s)
{
    mr_queue_close(s->in);
    mr_thread_join(s->thread);
    s->thread = NULL;
}

static inline void sealing_end(struct sealing *s)
{
    if (s->thread != NULL)
        sealing_stop(s);
    mr_seal_free(s->seal);
    mr_queue_free(s->in);
    mr_queue_free(s->out);
}

/* Runs the stage over these jobs and returns when it has answered them all. */
static inline void run(struct rig *rig, const struct mr_seal_job *jobs, size_t count,
                       struct mr_message **ret_messages, struct mr_seal_counts *ret_counts)
{
    struct sealing s;
    struct mr_seal_answer answer;
    sealing_begin(rig, &s);
    for (size_t i = 0; i < count; i++)
        sealing_put(&s, &jobs[i]);
    sealing_run(&s);
    for (size_t i = 0; i < count; i++) {
        if (jobs[i].kind == MR_SEAL_LOG || jobs[i].kind == MR_SEAL_RECOVERED)
            continue;
        ck_assert_int_eq(mr_queue_pop(s.out, 0, &answer), 0);
        ck_assert(mr_ulid_equal(&answer.id, &jobs[i].id));
        ret_messages[i] = answer.message;
    }
    mr_seal_count(s.seal, ret_counts);
    sealing_end(&s);
    ck_assert_int_eq(deaths, 0);
}

static inline void run_unanswered(struct rig *rig, const struct mr_seal_job *job)
{
    struct mr_message *none[1];
    struct mr_seal_counts counts;
    run(rig, job, 1, none, &counts);
}

struct shipment {
    struct mr_open open;
    struct mr_extent extent;
    struct mr_end end;
    struct mr_seal_job job;
};

static inline void ship(struct rig *rig, const struct mr_open *open, uint64_t size, unsigned seed,
                        struct shipment *ret)
{
    ret->open = *open;
    ret->extent = rig_extent(open, size);
    struct mr_movie *movie = rig_begin(rig, open);
    rig_land_all(movie, &ret->extent, seed);
    ret->end = rig_end_of(movie, open, &ret->extent, seed);
    ret->job = (struct mr_seal_job){
        .kind = MR_SEAL_COMMIT, .id = open->movie, .movie = movie, .end = &ret->end};
}

static inline struct mr_message *seal_one(struct rig *rig, const struct shipment *s)
{
    struct mr_message *message;
    struct mr_seal_counts counts;
    run(rig, &s->job, 1, &message, &counts);
    return message;
}

static inline void commit_one(struct rig *rig, const struct mr_open *open, uint64_t size,
                              unsigned seed)
{
    struct shipment s;
    ship(rig, open, size, seed, &s);
    free(seal_one(rig, &s));
}

static inline bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

#endif
