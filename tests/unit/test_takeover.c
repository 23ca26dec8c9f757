/* SPDX-License-Identifier: Apache-2.0 */
/* What a server that has just claimed a store makes of the event segments it finds. */
#include "takeover.h"

#include "lease_rig.h"
#include "store_rig.h"
#include "suite.h"

static void lost(void *ctx, const char *text)
{
    (void)ctx;
    ck_abort_msg("%s", text);
}

/* Claims the store as generation 1 and lets go of it. */
static int take_over(struct rig *rig, struct mr_err *err)
{
    struct mr_lease *lease;
    struct mr_takeover_note note;
    const struct mr_lease_config config = lease_rig_config(rig->store.millrace_fd, lost);
    ck_assert_int_eq(mr_lease_claim(&config, &lease, NULL), 0);
    int r = mr_takeover_run(&rig->store, lease, &note, err);
    mr_lease_release(lease);
    rig->store.lease = NULL;
    return r;
}

#define EVENTS ".millrace/events/"

START_TEST(copy_of_an_unfinished_takeover_is_void)
{
    struct rig rig;
    struct mr_err err = {0};
    rig_make(&rig);
    ck_assert(rig_has(&rig, EVENTS "00000001.log"));
    scratch_append(&rig.scratch, EVENTS "00000001.e1.log", "");
    ck_assert_msg(take_over(&rig, &err) == 0, "%s", err.text);
    rig_end(&rig);
}
END_TEST

/* As where the lease's newest file has been removed: events of a finished one are no void ones. */
START_TEST(takeover_that_the_lease_lacks_is_refused)
{
    for (int later = 0; later <= 1; later++) {
        struct rig rig;
        struct mr_err err = {0};
        int root;
        rig_make(&rig);
        root = rig.store.root_fd;
        if (later)
            scratch_append(&rig.scratch, EVENTS "00000007.e1.log", "");
        else
            ck_assert_int_eq(renameat(root, EVENTS "00000001.log", root, EVENTS "00000001.e1.log"),
                             0);
        ck_assert_int_eq(take_over(&rig, &err), -EUCLEAN);
        ck_assert_msg(strstr(err.text, "was a file of that lost") != NULL, "%s", err.text);
        rig_end(&rig);
    }
}
END_TEST

/* Of a server that nobody knows the end of, taken over as often as a lease can note. */
static void fill_lease(const struct rig *rig)
{
    struct mr_lease_file f = {
        .generation = MR_EPOCHS_MAX, .epoch = MR_EPOCHS_MAX, .lease_ms = MR_LEASE_MIN_MS};
    for (uint32_t i = 1; i <= MR_EPOCHS_MAX; i++)
        f.epochs.list[f.epochs.count++] = (struct mr_epoch){.generation = i, .first_event = i + 1};
    lease_rig_hold(rig->store.millrace_fd, &f, "storage1", true);
}

START_TEST(too_many_epochs_are_folded)
{
    static const char *const before[] = {EVENTS "00000002.e1.log", EVENTS "00000006.e5.log",
                                         EVENTS "00000513.e512.log"};
    static const char *const after[] = {EVENTS "00000001.log", EVENTS "00000002.e512.log",
                                        EVENTS "00000006.e512.log", EVENTS "00000513.e513.log"};
    struct rig rig;
    struct mr_err err = {0};
    struct mr_epochs epochs;
    rig_make(&rig);
    fill_lease(&rig);
    for (size_t i = 0; i < 3; i++)
        scratch_append(&rig.scratch, before[i], "");
    scratch_append(&rig.scratch, EVENTS "00000003.log", ""); /* void: by a fenced server */
    for (int again = 0; again <= 1; again++) {
        ck_assert_msg(take_over(&rig, &err) == 0, "%s", err.text);
        for (size_t i = 0; i < 4; i++)
            ck_assert_msg(rig_has(&rig, after[i]), "%s", after[i]);
        ck_assert_int_eq(mr_epochs_load(rig.store.millrace_fd, &epochs, &err), 0);
        ck_assert_uint_eq(epochs.count, 2);
        ck_assert_uint_eq(mr_epochs_last(&epochs), MR_EPOCHS_MAX + 1);
    }
    ck_assert(!rig_has(&rig, before[1]) && !rig_has(&rig, EVENTS "00000003.log"));
    ck_assert(!mr_epochs_are_good(&epochs, 0, 3) && mr_epochs_are_good(&epochs, 0, 1));
    ck_assert(mr_epochs_are_good(&epochs, MR_EPOCHS_MAX, 2));
    ck_assert(!mr_epochs_are_good(&epochs, MR_EPOCHS_MAX, 513));
    rig_end(&rig);
}
END_TEST

MR_SUITE("takeover", T(copy_of_an_unfinished_takeover_is_void),
         T(takeover_that_the_lease_lacks_is_refused), T(too_many_epochs_are_folded))
