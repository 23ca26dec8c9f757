/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every call that the store's stages make fails once: the first in the first run, the second in the
 * second, until a run passes untouched. Then the server ends, another one starts on what is there,
 * and the movie is in the store once, whole, told of once, with nothing beside it. As check_nth.py
 * does with real programs, but all of it, in seconds.
 */
#include "announce.h"
#include "finish.h"
#include "nth_rig.h"
#include "suite.h"

#define PATH  "a.log"
#define BYTES 9000

struct scene {
    struct rig rig;
    struct mr_open open;
    struct shipment shipment;
    unsigned seed;
    uint64_t events; /* that the log is to have in the end */
    bool failed;     /* it is kept as failed: another movie comes */
};

static void make(struct scene *s)
{
    *s = (struct scene){.seed = 1, .events = 1};
    nth_make(&s->rig);
    s->open = rig_file(PATH);
}

/* ---- the next life ---- */

/* All that was promised holds, and the movie gets to its end. */
static void judge(struct scene *s)
{
    uint64_t bytes = 0, sequence = 0;
    char event[MR_EVENT_ID_MAX + 1];
    struct mr_err err = {0};
    deaths = 0;
    rig_restart(&s->rig);
    nth_recover(&s->rig);
    fail_nth_assert(deaths == 0);
    if (s->failed)
        s->open.movie.bytes[15] ^= 1;
    if (mr_catalogue_find_revision(s->rig.catalogue, &s->open.movie, s->open.revision) == NULL) {
        ship(&s->rig, &s->open, BYTES, s->seed, &s->shipment);
        struct mr_message *m = seal_one(&s->rig, &s->shipment);
        ck_assert_msg(m->type == MR_COMMITTED, "%s after %s", mr_message_name(m->type),
                      fail_nth_where());
        free(m);
    }
    rig_restart(&s->rig);
    nth_recover(&s->rig);
    mr_announce_id(&s->open.movie, "ready", s->open.revision, event);
    fail_nth_assert(mr_eventlog_find(s->rig.eventlog, event, &sequence, &err) == 0);
    ck_assert_msg(sequence > 0 && mr_eventlog_last(s->rig.eventlog) == s->events,
                  "%llu events after %s", (unsigned long long)mr_eventlog_last(s->rig.eventlog),
                  fail_nth_where());
    fail_nth_assert(rig_file_crc(&s->rig, "k3/" PATH, &bytes) == rig_crc(0, BYTES, s->seed));
    fail_nth_assert(bytes == BYTES);
    fail_nth_assert(!rig_has(&s->rig, "k3/a_dup2.log"));
    nth_check_folder(s->rig.store.root_fd, "k3/.millrace");
    nth_check_folder(s->rig.store.root_fd, ".millrace/journal");
    rig_end(&s->rig);
}

static struct scene scene;
static void (*in_scene)(struct scene *s);

static void act_in_scene(void)
{
    in_scene(&scene);
}

static void each_call(void (*prepare)(struct scene *s), void (*act)(struct scene *s),
                      void (*verdict)(struct scene *s))
{
    static const int errors[] = {EIO, ENOSPC};
    in_scene = act;
    for (size_t e = 0; e < 2; e++) {
        bool struck = true;
        for (unsigned nth = 1; struck; nth++) {
            prepare(&scene);
            struck = fail_nth_life(act_in_scene, nth, errors[e]);
            mr_movie_release(scene.shipment.job.movie); /* the life had its own */
            verdict(&scene);
        }
    }
}

/* ---- scenes ---- */

static void landed(struct scene *s)
{
    make(s);
    ship(&s->rig, &s->open, BYTES, s->seed, &s->shipment);
}

static void seal_it(struct scene *s)
{
    nth_seal(&s->rig, &s->shipment.job, 1);
}

START_TEST(a_commit)
{
    each_call(landed, seal_it, judge);
}
END_TEST

static void landed_anew(struct scene *s)
{
    landed(s);
    free(seal_one(&s->rig, &s->shipment));
    s->open.revision = 2;
    s->seed = 2;
    s->events = 2;
    ship(&s->rig, &s->open, BYTES, s->seed, &s->shipment);
}

START_TEST(a_revision)
{
    each_call(landed_anew, seal_it, judge);
}
END_TEST

static void ask(struct scene *s)
{
    struct mr_berth_answer answer;
    struct mr_berth_job job = {.kind = MR_BERTH_OPEN, .agent = "k3", .clock_offset_ms = 5};
    bool armed = fail_nth.armed;
    fail_nth.armed = false;
    job.open = malloc(sizeof(*job.open));
    *job.open = s->open;
    fail_nth.armed = armed;
    mr_berth_do(s->rig.berth, &job);
    for (int turns = 0; turns < 8 && mr_recheck_turn(s->rig.recheck); turns++) {}
    rig_take_rechecked(&s->rig);
    if (mr_queue_pop(s->rig.queues.answers, 0, &answer) == 0)
        rig_forget(&answer);
}

START_TEST(an_open)
{
    each_call(make, ask, judge);
}
END_TEST

static void half_landed(struct scene *s)
{
    make(s);
    struct mr_extent extent = rig_extent(&s->open, BYTES);
    struct mr_movie *movie = rig_begin(&s->rig, &s->open);
    rig_land(movie, &extent, 0, s->seed);
    mr_movie_release(movie);
    rig_restart(&s->rig);
}

static void recover_and_ask(struct scene *s)
{
    nth_recover(&s->rig);
    ask(s);
}

START_TEST(a_resumption)
{
    each_call(half_landed, recover_and_ask, judge);
}
END_TEST

static void leave_sealed(struct scene *s, bool placed)
{
    struct mr_dossier d = {0};
    landed(s);
    struct mr_movie *movie = s->shipment.job.movie;
    rig_dossier(&s->rig, movie, &d);
    rig_finish(&s->rig, movie, &s->shipment.end, &d);
    rig_walk(&s->rig, &d, placed ? RIG_PLACED : RIG_SEALED);
    mr_dossier_fini(&d);
    mr_movie_release(movie);
    s->shipment.job.movie = NULL;
    rig_restart(&s->rig);
}

static void left_sealed(struct scene *s)
{
    leave_sealed(s, false);
}

static void left_placed(struct scene *s)
{
    leave_sealed(s, true);
}

static void recover_it(struct scene *s)
{
    nth_recover(&s->rig);
}

START_TEST(a_recovery)
{
    each_call(left_sealed, recover_it, judge);
    each_call(left_placed, recover_it, judge);
}
END_TEST

/* A bit flips in what is sealed: it is taken back. */
static void left_damaged(struct scene *s)
{
    leave_sealed(s, true);
    scratch_flip(&s->rig.scratch, "k3/" PATH, 17);
}

START_TEST(a_take_back)
{
    each_call(left_damaged, recover_it, judge);
}
END_TEST

static void to_be_failed(struct scene *s)
{
    static struct mr_fail fail;
    if (s->rig.config.root == NULL)
        make(s);
    ship(&s->rig, &s->open, BYTES, s->seed, &s->shipment);
    fail = (struct mr_fail){.movie = s->open.movie,
                            .generation = 1,
                            .extent = s->shipment.extent,
                            .text = "the camera stopped"};
    s->shipment.job.kind = MR_SEAL_FAIL;
    s->shipment.job.fail = &fail;
    s->shipment.job.end = NULL;
    s->failed = true;
}

static void begin_failed(struct scene *s)
{
    *s = (struct scene){0};
    to_be_failed(s);
}

/* It is kept and told of once, by now or when its agent says so again; then another one comes. */
static void judge_failed(struct scene *s)
{
    char path[128], id[MR_ULID_TEXT];
    rig_restart(&s->rig);
    nth_recover(&s->rig);
    if (mr_eventlog_last(s->rig.eventlog) == 0) {
        to_be_failed(s);
        free(seal_one(&s->rig, &s->shipment));
    }
    fail_nth_assert(mr_eventlog_last(s->rig.eventlog) == 1);
    snprintf(path, sizeof(path), ".millrace/failed/%s/" PATH, mr_ulid_text(&s->open.movie, id));
    ck_assert_msg(rig_has(&s->rig, path), "%s after %s", path, fail_nth_where());
    s->events = 2;
    judge(s);
}

START_TEST(a_failed_movie)
{
    each_call(begin_failed, seal_it, judge_failed);
}
END_TEST

MR_SUITE("nth_store", T(a_commit), T(a_revision), T(an_open), T(a_resumption), T(a_recovery),
         T(a_take_back), T(a_failed_movie))
