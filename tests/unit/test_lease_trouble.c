/* SPDX-License-Identifier: Apache-2.0 */
/* A lease whose directory cannot be synced or written while its server holds it. */
#include "lease_rig.h"
#include "scratch.h"
#include "sick_disk.h"
#include "suite.h"

#include <sys/wait.h>

#define LEASE_MS MR_LEASE_MIN_MS
#define LOST     42

static char never[] = "it is never lost", stopped[] = "told to stop";

static void lost(void *ctx, const char *text)
{
    _exit(strstr(text, ctx) != NULL ? LOST : 1);
}

static int try_claim(const struct scratch *s, char *lost_as, struct mr_lease **ret,
                     struct mr_err *err)
{
    struct mr_lease_config config = lease_rig_config(s->fd, lost);
    config.lease_ms = LEASE_MS;
    config.ctx = lost_as;
    return mr_lease_claim(&config, ret, err);
}

static struct mr_lease *claim(const struct scratch *s, char *lost_as)
{
    struct mr_lease *lease = NULL;
    struct mr_err err = {0};
    ck_assert_msg(try_claim(s, lost_as, &lease, &err) == 0, "%s", err.text);
    return lease;
}

/* It is not certain of itself any more, and claims again. */
static void make_uncertain(const struct scratch *s, struct mr_lease *lease)
{
    ck_assert_int_eq(unlinkat(s->fd, "lease/0000000001", 0), 0);
    mr_lease_prove_by_sight(lease);
}

/* The file of the next generation is there, whoever could not sync its name: it is our own. */
START_TEST(own_file_is_not_taken_for_another_servers)
{
    struct scratch s = scratch_make();
    struct stat st;
    struct mr_lease *lease = claim(&s, never);
    sick_disk.fail_fsync = 2; /* the file's, then the directory's */
    make_uncertain(&s, lease);
    ck_assert_int_eq(fstatat(s.fd, "lease/0000000003", &st, 0), 0);
    mr_lease_prove(lease);
    mr_lease_release(lease);
    scratch_remove(&s);
}
END_TEST

START_TEST(a_claim_that_cannot_be_made_durable_is_taken_back)
{
    struct scratch s = scratch_make();
    struct mr_err err = {0};
    struct mr_lease *lease = claim(&s, never), *second;
    mr_lease_release(lease);
    sick_disk.fail_fsync = 2;
    ck_assert_int_eq(try_claim(&s, never, &second, &err), -EIO);
    ck_assert_ptr_nonnull(strstr(err.text, "claiming the store"));
    lease = claim(&s, never); /* at once: nobody is in its way */
    ck_assert_uint_eq(mr_lease_generation(lease), 2);
    ck_assert(!mr_lease_is_contested(lease));
    mr_lease_release(lease);
    scratch_remove(&s);
}
END_TEST

/* Stages wait for the lease, and the drain for the stages. */
START_TEST(told_to_stop_nobody_waits_for_a_lease_for_ever)
{
    struct scratch s = scratch_make();
    int status;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct mr_lease *lease = claim(&s, stopped);
        sick_disk.no_files = EROFS;
        mr_lease_leave(lease);
        make_uncertain(&s, lease);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), LOST);
    scratch_remove(&s);
}
END_TEST

START_TEST(who_can_renew_it_drains_in_peace)
{
    struct scratch s = scratch_make();
    struct mr_lease *lease = claim(&s, never);
    mr_lease_leave(lease);
    mr_lease_leave(lease);
    make_uncertain(&s, lease);
    mr_lease_prove(lease);
    mr_lease_release(lease);
    mr_lease_leave(NULL);
    scratch_remove(&s);
}
END_TEST

MR_SUITE("lease_trouble", T(own_file_is_not_taken_for_another_servers),
         T(a_claim_that_cannot_be_made_durable_is_taken_back),
         T(told_to_stop_nobody_waits_for_a_lease_for_ever), T(who_can_renew_it_drains_in_peace))
