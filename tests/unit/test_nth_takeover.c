/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every call of a server that takes a store over fails once, the first in the first run and so on
 * until a run passes untouched; and every call of one that opens it. The next one takes it over all
 * the same, and finds every movie and every event.
 */
#include "announce.h"
#include "fail_nth.h"
#include "lease_rig.h"
#include "recovery.h"
#include "seal_rig.h"
#include "suite.h"
#include "takeover.h"

#define EVENTS 3

static struct scratch scratch;
static struct mr_store_config config;
static unsigned unfinished_count, sealed_count;

static void lost(void *ctx, const char *text)
{
    (void)ctx, (void)text;
    _exit(1);
}

static void on_unfinished(void *ctx, const struct mr_ulid *id)
{
    (void)ctx, (void)id;
    unfinished_count++;
}

static void on_sealed(void *ctx, struct mr_dossier *d, enum mr_commit_state state)
{
    (void)ctx, (void)state;
    sealed_count++;
    mr_dossier_fini(d);
    free(d);
}

/* What a server does before it serves, as far as it gets. */
static int start(uint64_t *ret_events)
{
    struct mr_err err = {0};
    struct mr_store store;
    struct mr_commit c = {.store = &store};
    struct mr_lease *lease = NULL;
    struct mr_takeover_note note;
    const struct mr_recovery_found found = {.unfinished = on_unfinished, .sealed = on_sealed};
    int r = mr_store_open(&config, &store, &err);
    if (r < 0)
        return r;
    const struct mr_lease_config claim = lease_rig_config(store.millrace_fd, lost);
    r = mr_lease_claim(&claim, &lease, &err);
    if (r == 0)
        r = mr_takeover_run(&store, lease, &note, &err);
    if (r == 0)
        r = mr_eventlog_open(store.millrace_fd, MR_EVENTLOG_SEGMENT_BYTES, &c.eventlog, NULL, &err);
    if (r == 0)
        r = mr_catalogue_open(store.millrace_fd, &c.catalogue, NULL, &err);
    if (r == 0)
        r = mr_recovery_run(&c, &found, &err);
    if (r == 0)
        *ret_events = mr_eventlog_last(c.eventlog);
    mr_catalogue_close(c.catalogue);
    mr_eventlog_close(c.eventlog);
    mr_lease_release(lease);
    mr_store_close(&store);
    return r;
}

static void start_once(void)
{
    uint64_t events;
    int r = start(&events);
    (void)r;
}

/* Of a server that nobody knows the end of. */
static void leave_held(const struct mr_store *store)
{
    struct mr_lease_file f = {.generation = 1, .lease_ms = 20};
    lease_rig_hold(store->millrace_fd, &f, "storage1", true);
}

/* Three committed movies and one under way. */
static void leave_store(bool held)
{
    struct rig rig;
    struct shipment s;
    if (access("/dev/shm", W_OK) == 0) /* what is tried is not the disk */
        (void)setenv("MILLRACE_SCRATCH", "/dev/shm", 0);
    rig_make(&rig);
    for (unsigned i = 0; i < EVENTS; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "%u.log", i);
        struct mr_open open = rig_file(name);
        ship(&rig, &open, 3000, i, &s);
        free(seal_one(&rig, &s));
    }
    struct mr_open open = rig_file("open.log");
    struct mr_extent extent = rig_extent(&open, 3000);
    struct mr_movie *movie = rig_begin(&rig, &open);
    rig_land(movie, &extent, 0, 9);
    mr_movie_release(movie);
    if (held)
        leave_held(&rig.store);
    scratch = rig.scratch;
    config = rig.config;
    config.root = scratch.path;
    rig_close(&rig);
}

static void each_call(bool held)
{
    bool struck = true;
    for (unsigned nth = 1; struck; nth++) {
        uint64_t events = 0;
        leave_store(held);
        struck = fail_nth_life(start_once, nth, EIO);
        unfinished_count = sealed_count = 0;
        int r = start(&events);
        ck_assert_msg(r == 0, "%s after %s", mr_err_name(r), fail_nth_where());
        ck_assert_msg(events == EVENTS && unfinished_count == 1 && sealed_count == 0,
                      "%llu events, %u and %u movies after %s", (unsigned long long)events,
                      unfinished_count, sealed_count, fail_nth_where());
        scratch_remove(&scratch);
    }
}

START_TEST(a_takeover)
{
    each_call(true);
}
END_TEST

START_TEST(a_start)
{
    each_call(false);
}
END_TEST

MR_SUITE("nth_takeover", T(a_takeover), T(a_start))
