/* SPDX-License-Identifier: Apache-2.0 */
/* Does the table name every sequence that an id was entered with, however much it has grown? */
#include "idset.h"
#include "suite.h"

#include "dice.h"

#define IDS     400
#define ENTRIES 6000

static void id_of(uint64_t n, char ret[32])
{
    (void)snprintf(ret, 32, "movie-%d.ready", (int)n);
}

/* It may name others, too: it does not keep ids. */
static bool names(const struct mr_idset *set, const char *id, uint64_t sequence)
{
    size_t at = 0;
    uint64_t candidate;
    bool named = false;
    while ((candidate = mr_idset_next(set, id, &at)) != 0) {
        ck_assert_uint_le(at, set->capacity);
        named |= candidate == sequence;
    }
    return named;
}

START_TEST(empty_table_names_nothing)
{
    struct mr_idset set = {0};
    size_t at = 0;
    ck_assert_uint_eq(mr_idset_next(&set, "a", &at), 0);
    ck_assert_int_eq(mr_idset_add(&set, "a", 7), 0);
    ck_assert_uint_eq(mr_idset_next(&set, "b", &at), 0);
    at = 0;
    ck_assert_uint_eq(mr_idset_next(&set, "a", &at), 7);
    ck_assert_uint_eq(mr_idset_next(&set, "a", &at), 0);
    ck_assert_uint_eq(mr_idset_next(&set, "a", &at), 0); /* and goes on saying so */
    mr_idset_fini(&set);
    at = 0;
    ck_assert_uint_eq(mr_idset_next(&set, "a", &at), 0);
    ck_assert_int_eq(mr_idset_add(&set, "", 8), 0); /* as good as new */
    ck_assert_uint_eq(mr_idset_next(&set, "", &at), 8);
    mr_idset_fini(&set);
}
END_TEST

START_TEST(every_entry_is_named_after_any_growth)
{
    struct mr_idset set = {0};
    static uint64_t entered[ENTRIES + 1]; /* by sequence: which id */
    char id[32];
    for (uint64_t sequence = 1; sequence <= ENTRIES; sequence++) {
        entered[sequence] = dice(IDS);
        id_of(entered[sequence], id);
        ck_assert_int_eq(mr_idset_add(&set, id, sequence), 0);
        ck_assert_uint_eq(set.count, sequence);
        ck_assert_uint_le(3 * set.count, 2 * set.capacity);
        ck_assert_uint_eq(set.capacity & (set.capacity - 1), 0);
        ck_assert(names(&set, id, sequence));
    }
    for (uint64_t sequence = 1; sequence <= ENTRIES; sequence++) {
        id_of(entered[sequence], id);
        ck_assert(names(&set, id, sequence));
    }
    mr_idset_fini(&set);
}
END_TEST

/* Or a question would cost a look into the log for each event there is. */
START_TEST(other_ids_are_seldom_named)
{
    struct mr_idset set = {0};
    char id[32];
    unsigned wrong = 0;
    for (uint64_t n = 0; n < ENTRIES; n++) {
        id_of(n, id);
        ck_assert_int_eq(mr_idset_add(&set, id, n + 1), 0);
    }
    for (uint64_t n = 0; n < 2 * ENTRIES; n++) {
        size_t at = 0;
        uint64_t candidate;
        id_of(n, id);
        while ((candidate = mr_idset_next(&set, id, &at)) != 0)
            wrong += candidate != n + 1 || n >= ENTRIES;
    }
    ck_assert_uint_le(wrong, 2);
    mr_idset_fini(&set);
}
END_TEST

MR_SUITE("idset", T(empty_table_names_nothing), T(every_entry_is_named_after_any_growth),
         T(other_ids_are_seldom_named))
