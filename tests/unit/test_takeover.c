/* SPDX-License-Identifier: Apache-2.0 */
/* What a server that has just claimed a store makes of the event segments it finds. */
#include "takeover.h"

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
    const struct mr_lease_config config = {.millrace_dir = rig->store.millrace_fd,
                                           .server = "storage1",
                                           .lease_ms = 5000,
                                           .stop = -1,
                                           .lost = lost};
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

MR_SUITE("takeover", T(copy_of_an_unfinished_takeover_is_void),
         T(takeover_that_the_lease_lacks_is_refused))
