/* SPDX-License-Identifier: Apache-2.0 */
/* Directories that are remembered, and pushed out by others. */
#include "dirset.h"
#include "suite.h"

#include <stdio.h>

static struct mr_dirset set;

START_TEST(known_until_removed)
{
    uint64_t a = mr_dirset_hash("k3/day1"), b = mr_dirset_hash("k3/day2");
    ck_assert(!mr_dirset_has(&set, a));
    mr_dirset_add(&set, a);
    ck_assert(mr_dirset_has(&set, a));
    ck_assert(!mr_dirset_has(&set, b));
    mr_dirset_remove(&set, b); /* was not there */
    ck_assert(mr_dirset_has(&set, a));
    mr_dirset_remove(&set, a);
    ck_assert(!mr_dirset_has(&set, a));
}
END_TEST

/* More than there is room for: some are forgotten, none is taken for another. */
START_TEST(one_pushes_out_another)
{
    enum { MANY = 3 * MR_DIRSET_PLACES };
    char dir[32];
    unsigned known = 0;
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(dir, sizeof(dir), "folder %u", i);
        uint64_t hash = mr_dirset_hash(dir);
        ck_assert(!mr_dirset_has(&set, hash));
        mr_dirset_add(&set, hash);
        ck_assert(mr_dirset_has(&set, hash));
    }
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(dir, sizeof(dir), "folder %u", i);
        known += mr_dirset_has(&set, mr_dirset_hash(dir));
    }
    ck_assert_uint_le(known, MR_DIRSET_PLACES);
    ck_assert_uint_gt(known, MR_DIRSET_PLACES / 2);
}
END_TEST

MR_SUITE("dirset", T(known_until_removed), T(one_pushes_out_another))
