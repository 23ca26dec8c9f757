/* SPDX-License-Identifier: Apache-2.0 */
/* The lease on a store: valid, taken, let go of, dead, stopped, raced for, damaged. */
#include "lease_rig.h"

#include "scratch.h"
#include "segments.h"
#include "suite.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define SHORT_MS 500 /* of one that is going to be */
#define LOST     42  /* exit statuses of the other process */
#define REFUSED  43
#define FAILED   44

static void lost(void *ctx, const char *text)
{
    (void)ctx, (void)text;
    _exit(LOST);
}

static struct mr_lease_config config_of(const struct scratch *s)
{
    return lease_rig_config(s->fd, lost);
}

static struct mr_lease *claim_for(const struct scratch *s, uint32_t lease_ms)
{
    struct mr_lease *lease = NULL;
    struct mr_err err = {0};
    struct mr_lease_config config = config_of(s);
    config.lease_ms = lease_ms;
    ck_assert_msg(mr_lease_claim(&config, &lease, &err) == 0, "%s", err.text);
    return lease;
}

static struct mr_lease *claim(const struct scratch *s)
{
    return claim_for(s, LEASE_RIG_MS);
}

/* Another server, which tells on its pipe what it is at, a letter each. */
struct other {
    pid_t pid;
    int said;
};

static void say(int pipe_fd, char letter)
{
    if (write(pipe_fd, &letter, 1) != 1)
        _exit(FAILED);
}

static void hold(const struct scratch *s, uint32_t lease_ms, int pipe_fd)
{
    struct mr_lease *lease = NULL;
    struct mr_err err = {0};
    struct mr_lease_config config = config_of(s);
    config.lease_ms = lease_ms;
    int r = mr_lease_claim(&config, &lease, &err);
    if (r < 0)
        _exit(r == -EBUSY ? REFUSED : FAILED);
    say(pipe_fd, mr_lease_is_contested(lease) ? 'C' : 'c');
    for (;;) {
        mr_lease_prove(lease);
        say(pipe_fd, 'p');
        poll(NULL, 0, 10);
    }
}

static struct other other_server(const struct scratch *s, uint32_t lease_ms)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    struct other o = {.pid = fork(), .said = ends[0]};
    ck_assert_int_ge(o.pid, 0);
    if (o.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[0]);
        hold(s, lease_ms, ends[1]);
    }
    close(ends[1]);
    return o;
}

static char other_says(const struct other *o)
{
    char letter = 0;
    ck_assert_int_eq(read(o->said, &letter, 1), 1);
    return letter;
}

static int other_ends(const struct other *o)
{
    int status;
    ck_assert_int_eq(waitpid(o->pid, &status, 0), o->pid);
    close(o->said);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void stop_other(const struct other *o)
{
    int status;
    ck_assert_int_eq(kill(o->pid, SIGSTOP), 0);
    ck_assert_int_eq(waitpid(o->pid, &status, WUNTRACED), o->pid);
    ck_assert(WIFSTOPPED(status));
}

START_TEST(first_holder_needs_nobody)
{
    struct scratch s = scratch_make();
    struct mr_lease *lease = claim(&s);
    ck_assert_uint_eq(mr_lease_generation(lease), 1);
    ck_assert_uint_eq(mr_lease_epoch(lease), 0);
    ck_assert(!mr_lease_is_contested(lease));
    mr_lease_prove(lease);
    mr_lease_prove_by_sight(lease);
    mr_lease_prove(NULL);
    mr_lease_release(lease);
    scratch_remove(&s);
}
END_TEST

START_TEST(a_second_one_is_refused_with_the_name_of_the_first)
{
    struct scratch s = scratch_make();
    struct mr_lease *lease = claim(&s), *second;
    struct mr_err err = {0};
    struct mr_lease_config config = config_of(&s);
    ck_assert_int_eq(mr_lease_claim(&config, &second, &err), -EBUSY);
    char pid[32];
    snprintf(pid, sizeof(pid), "pid %d", (int)getpid());
    ck_assert_msg(strstr(err.text, "storage1") != NULL, "%s", err.text);
    ck_assert_msg(strstr(err.text, pid) != NULL, "%s", err.text);
    mr_lease_prove(lease); /* and the first goes on */
    mr_lease_release(lease);
    scratch_remove(&s);
}
END_TEST

START_TEST(what_was_let_go_of_is_taken_at_once)
{
    struct scratch s = scratch_make();
    for (uint32_t generation = 1; generation < 5; generation++) {
        struct mr_lease *lease = claim(&s);
        ck_assert_uint_eq(mr_lease_generation(lease), generation);
        ck_assert(!mr_lease_is_contested(lease));
        mr_lease_release(lease);
    }
    struct stat st;
    ck_assert_int_eq(fstatat(s.fd, "lease/0000000001", &st, 0), -1); /* older ones are tidied */
    ck_assert_int_eq(fstatat(s.fd, "lease/0000000004", &st, 0), 0);
    scratch_remove(&s);
}
END_TEST

START_TEST(the_dead_are_not_waited_for)
{
    struct scratch s = scratch_make();
    struct other o = other_server(&s, LEASE_RIG_MS);
    ck_assert_int_eq(other_says(&o), 'c');
    ck_assert_int_eq(kill(o.pid, SIGKILL), 0);
    siginfo_t info;
    ck_assert_int_eq(waitid(P_PID, (id_t)o.pid, &info, WEXITED | WNOWAIT), 0); /* a zombie */
    struct mr_lease *lease = claim(&s);
    ck_assert_uint_eq(mr_lease_generation(lease), 2);
    ck_assert(!mr_lease_is_contested(lease));
    ck_assert_int_eq(other_ends(&o), -SIGKILL);
    mr_lease_release(lease);
    scratch_remove(&s);
}
END_TEST

START_TEST(one_that_stands_still_loses_it_and_ends_when_it_wakes)
{
    struct scratch s = scratch_make();
    struct mr_err err = {0};
    struct other o = other_server(&s, SHORT_MS);
    ck_assert_int_eq(other_says(&o), 'c');
    stop_other(&o);
    struct mr_lease *lease = claim(&s);
    ck_assert_uint_eq(mr_lease_generation(lease), 2);
    ck_assert(mr_lease_is_contested(lease));
    ck_assert_uint_eq(mr_lease_epoch(lease), 2);
    ck_assert_int_eq(mr_lease_begin_epoch(lease, 17, &err), 0);
    ck_assert(!mr_lease_is_contested(lease));
    ck_assert_int_eq(kill(o.pid, SIGCONT), 0);
    ck_assert_int_eq(other_ends(&o), LOST);
    mr_lease_release(lease);
    lease = claim(&s); /* the epoch goes on */
    ck_assert_uint_eq(mr_lease_epoch(lease), 2);
    ck_assert(!mr_lease_is_contested(lease));
    ck_assert_uint_eq(mr_lease_epochs(lease)->count, 1);
    ck_assert_uint_eq(mr_lease_epochs(lease)->list[0].first_event, 17);
    mr_lease_release(lease);
    scratch_remove(&s);
}
END_TEST

START_TEST(one_that_stood_still_unnoticed_goes_on)
{
    struct scratch s = scratch_make();
    struct other o = other_server(&s, SHORT_MS);
    ck_assert_int_eq(other_says(&o), 'c');
    stop_other(&o);
    poll(NULL, 0, 2 * SHORT_MS); /* what is tried here is time that passes */
    char said[4096];
    struct pollfd before = {.fd = o.said, .events = POLLIN};
    while (poll(&before, 1, 0) > 0) /* what it said before */
        ck_assert_int_gt(read(o.said, said, sizeof(said)), 0);
    ck_assert_int_eq(kill(o.pid, SIGCONT), 0);
    for (int i = 0; i < 3; i++) /* at most one 'p' was on its way when it was stopped */
        ck_assert_int_eq(other_says(&o), 'p');
    struct stat st;
    ck_assert_int_eq(fstatat(s.fd, "lease/0000000002", &st, 0), 0);
    kill(o.pid, SIGKILL);
    ck_assert_int_eq(other_ends(&o), -SIGKILL);
    scratch_remove(&s);
}
END_TEST

START_TEST(a_takeover_that_was_not_finished_is_begun_again)
{
    struct scratch s = scratch_make();
    struct other first = other_server(&s, SHORT_MS);
    ck_assert_int_eq(other_says(&first), 'c');
    stop_other(&first);
    struct other second = other_server(&s, SHORT_MS);
    ck_assert_int_eq(other_says(&second), 'C');
    kill(second.pid, SIGKILL); /* dead for certain, but the first may live */
    ck_assert_int_eq(other_ends(&second), -SIGKILL);
    struct mr_lease *lease = claim(&s);
    ck_assert(mr_lease_is_contested(lease));
    ck_assert_uint_eq(mr_lease_epoch(lease), 3);
    mr_lease_release(lease);
    lease = claim(&s); /* let go of before its epoch began */
    ck_assert(mr_lease_is_contested(lease));
    ck_assert_uint_eq(mr_lease_epoch(lease), 4);
    mr_lease_release(lease);
    kill(first.pid, SIGCONT);
    ck_assert_int_eq(other_ends(&first), LOST);
    scratch_remove(&s);
}
END_TEST

#define RACERS 12

/* All at once, for a store that is free, and for one whose holder is stopped. */
static void race(const struct scratch *s)
{
    struct other racers[RACERS];
    int holders = 0;
    for (int i = 0; i < RACERS; i++)
        racers[i] = other_server(s, LEASE_RIG_MS);
    for (int i = 0; i < RACERS; i++) {
        char letter = 0;
        bool holds = read(racers[i].said, &letter, 1) == 1;
        holders += holds;
        if (holds)
            kill(racers[i].pid, SIGKILL);
    }
    for (int i = 0; i < RACERS; i++) {
        int end = other_ends(&racers[i]);
        ck_assert_msg(end == REFUSED || end == -SIGKILL, "a racer ended with %d", end);
    }
    ck_assert_int_ge(holders, 1);
}

START_TEST(of_many_one_gets_it)
{
    struct scratch s = scratch_make();
    struct other racers[RACERS];
    int holders = 0;
    for (int i = 0; i < RACERS; i++)
        racers[i] = other_server(&s, LEASE_RIG_MS);
    for (int i = 0; i < RACERS; i++) {
        struct pollfd end = {.fd = racers[i].said, .events = POLLIN};
        poll(&end, 1, -1); /* refused ones end, which reads as an end of file */
        char letter = 0;
        holders += read(racers[i].said, &letter, 1) == 1;
    }
    ck_assert_int_eq(holders, 1);
    for (int i = 0; i < RACERS; i++)
        kill(racers[i].pid, SIGKILL);
    for (int i = 0; i < RACERS; i++)
        other_ends(&racers[i]);
    race(&s); /* of a dead one */
    struct other stopped = other_server(&s, SHORT_MS);
    ck_assert_int_eq(other_says(&stopped), 'c');
    stop_other(&stopped);
    race(&s);
    kill(stopped.pid, SIGCONT);
    ck_assert_int_eq(other_ends(&stopped), LOST);
    scratch_remove(&s);
}
END_TEST

START_TEST(waiting_can_be_ended)
{
    struct scratch s = scratch_make();
    struct mr_lease *lease = claim(&s), *second;
    struct mr_err err = {0};
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    struct mr_lease_config config = config_of(&s);
    config.standby = true;
    config.stop = ends[0];
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    ck_assert_int_eq(mr_lease_claim(&config, &second, &err), -ECANCELED);
    mr_lease_release(lease);
    close(ends[0]);
    close(ends[1]);
    scratch_remove(&s);
}
END_TEST

START_TEST(a_damaged_file_stops_the_next_server)
{
    struct scratch s = scratch_make();
    struct mr_lease *lease = claim(&s), *second;
    struct mr_err err = {0};
    struct mr_lease_config config = config_of(&s);
    mr_lease_release(lease);
    scratch_append(&s, "lease/0000000001", "0123 torn"); /* as a crash leaves an EPOCH line */
    lease = claim_for(&s, SHORT_MS);
    mr_lease_release(lease);
    scratch_flip(&s, "lease/0000000002", MR_LEASE_BEAT_BYTES + 40);
    ck_assert_int_eq(mr_lease_claim(&config, &second, &err), -EUCLEAN);
    ck_assert_msg(strstr(err.text, "lease/0000000002") != NULL, "%s", err.text);
    scratch_flip(&s, "lease/0000000002", MR_LEASE_BEAT_BYTES + 40);
    scratch_flip(&s, "lease/0000000002", 30); /* a beat may be torn: then it is not believed */
    lease = claim(&s);                        /* this process lives, but that beat does not move */
    ck_assert(mr_lease_is_contested(lease));
    mr_lease_release(lease);
    scratch_cut(&s, "lease/0000000003", 10);
    err.code = 0;
    ck_assert_int_eq(mr_lease_claim(&config, &second, &err), -EUCLEAN);
    scratch_remove(&s);
}
END_TEST

/* Without its last line a file would say that all that was written since is void. */
START_TEST(a_damaged_epoch_is_not_taken_for_one_not_begun)
{
    struct scratch s = scratch_make();
    struct mr_lease *lease = claim_for(&s, SHORT_MS), *second;
    struct mr_lease_config config = config_of(&s);
    mr_lease_release(lease);
    scratch_flip(&s, "lease/0000000001", 30); /* not believed to be released */
    lease = claim(&s);
    ck_assert(mr_lease_is_contested(lease));
    uint64_t from = scratch_size(&s, "lease/0000000002");
    ck_assert_int_eq(mr_lease_begin_epoch(lease, 1, NULL), 0);
    mr_lease_release(lease);
    for (uint64_t at = from; at < scratch_size(&s, "lease/0000000002"); at++) {
        struct mr_err err = {0};
        scratch_flip(&s, "lease/0000000002", at);
        ck_assert_int_eq(mr_lease_claim(&config, &second, &err), -EUCLEAN);
        scratch_flip(&s, "lease/0000000002", at);
    }
    lease = claim(&s);
    ck_assert(!mr_lease_is_contested(lease));
    ck_assert_uint_eq(mr_lease_epoch(lease), 2);
    mr_lease_release(lease);
    scratch_remove(&s);
}
END_TEST

/* Of a server nobody knows, with as many epochs as there may be. */
static void write_full_file(const struct scratch *s)
{
    char line[MR_LEASE_LINE];
    struct mr_lease_file f = {.generation = MR_EPOCHS_MAX, .epoch = MR_EPOCHS_MAX, .lease_ms = 500};
    ck_assert_int_eq(mr_lease_self("storage1", &f.holder), 0);
    strcpy(f.holder.boot, "another");
    ck_assert_int_eq(mkdirat(s->fd, "lease", 0700), 0);
    line[mr_lease_format_beat(7, false, line)] = '\0';
    scratch_append(s, "lease/0000000512", line);
    line[mr_lease_format_holder(&f, line)] = '\0';
    scratch_append(s, "lease/0000000512", line);
    for (uint32_t i = 1; i <= MR_EPOCHS_MAX; i++) {
        line[mr_lease_format_epoch(&(struct mr_epoch){i, i}, line)] = '\0';
        scratch_append(s, "lease/0000000512", line);
    }
}

START_TEST(an_epoch_too_many_leaves_a_good_file)
{
    struct scratch s = scratch_make();
    struct mr_err err = {0};
    write_full_file(&s);
    for (int i = 0; i < 2; i++) {
        struct mr_lease *lease = claim(&s);
        ck_assert(mr_lease_is_contested(lease));
        ck_assert_int_eq(mr_lease_begin_epoch(lease, 5000, &err), -EOVERFLOW);
        mr_lease_release(lease);
    }
    scratch_remove(&s);
}
END_TEST

START_TEST(epochs_say_which_segments_count)
{
    struct mr_epochs e = {0};
    ck_assert(mr_epochs_are_good(&e, 0, 1));
    ck_assert(!mr_epochs_are_good(&e, 3, 1));
    ck_assert_int_eq(mr_epochs_add(&e, &(struct mr_epoch){3, 100}), 0);
    ck_assert_int_eq(mr_epochs_add(&e, &(struct mr_epoch){7, 200}), 0);
    ck_assert(mr_epochs_are_good(&e, 0, 99));
    ck_assert(!mr_epochs_are_good(&e, 0, 100)); /* the copy of it counts */
    ck_assert(!mr_epochs_are_good(&e, 0, 150)); /* begun by a fenced server */
    ck_assert(mr_epochs_are_good(&e, 3, 100));
    ck_assert(!mr_epochs_are_good(&e, 3, 200));
    ck_assert(!mr_epochs_are_good(&e, 5, 150)); /* never began */
    ck_assert(mr_epochs_are_good(&e, 7, 1000));
    ck_assert_int_eq(mr_epochs_add(&e, &(struct mr_epoch){9, 200}), 0); /* 7 has nothing left */
    ck_assert_uint_eq(e.count, 2);
    ck_assert(!mr_epochs_are_good(&e, 7, 200));
    ck_assert_uint_eq(mr_epochs_last(&e), 9);
    for (uint32_t i = 0; i + 2 < MR_EPOCHS_MAX; i++)
        ck_assert_int_eq(mr_epochs_add(&e, &(struct mr_epoch){10 + i, 201 + i}), 0);
    ck_assert_int_eq(mr_epochs_add(&e, &(struct mr_epoch){5000, 5000}), -EOVERFLOW);
}
END_TEST

START_TEST(names_are_taken_apart)
{
    char name[MR_LEASE_NAME], segment[MR_SEGMENT_NAME];
    struct mr_segment s;
    mr_lease_name(7, name);
    ck_assert_str_eq(name, "0000000007");
    ck_assert_uint_eq(mr_lease_number(name), 7);
    ck_assert_uint_eq(mr_lease_number("7"), 0);
    ck_assert_uint_eq(mr_lease_number("9999999999"), 0);
    ck_assert_uint_eq(mr_lease_number("000000000x"), 0);
    ck_assert_int_eq(mr_segment_parse("00000012.log", &s), 0);
    ck_assert_uint_eq(s.first, 12);
    ck_assert_uint_eq(s.epoch, 0);
    ck_assert_int_eq(mr_segment_parse("00000012.e7.log", &s), 0);
    ck_assert_uint_eq(s.epoch, 7);
    mr_segment_name(&s, segment);
    ck_assert_str_eq(segment, "00000012.e7.log");
    ck_assert_int_eq(mr_segment_parse("00000012.e07.log", &s), -EINVAL);
    ck_assert_int_eq(mr_segment_parse("00000000.log", &s), -EINVAL);
    ck_assert_int_eq(mr_segment_parse("00000012.e0.log", &s), -EINVAL);
    ck_assert_int_eq(mr_segment_parse("12.log", &s), -EINVAL);
}
END_TEST

MR_SUITE("lease", T(first_holder_needs_nobody),
         T(a_second_one_is_refused_with_the_name_of_the_first),
         T(what_was_let_go_of_is_taken_at_once), T(the_dead_are_not_waited_for),
         T(one_that_stands_still_loses_it_and_ends_when_it_wakes),
         T(one_that_stood_still_unnoticed_goes_on),
         T(a_takeover_that_was_not_finished_is_begun_again), T(of_many_one_gets_it),
         T(waiting_can_be_ended), T(a_damaged_file_stops_the_next_server),
         T(a_damaged_epoch_is_not_taken_for_one_not_begun), T(an_epoch_too_many_leaves_a_good_file),
         T(epochs_say_which_segments_count), T(names_are_taken_apart))
