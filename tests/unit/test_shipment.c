/* SPDX-License-Identifier: Apache-2.0 */
/* Is every file in the book once, found by its number, and in the line where it belongs? */
#include "shipment.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>

static struct mr_shipments all;

static struct mr_shipment *add(uint64_t file, enum mr_growth_kind kind)
{
    struct mr_growth growth = {.kind = kind, .file = file, .root = "/data"};
    snprintf(growth.path, sizeof(growth.path), "grid/m%llu.mrc", (unsigned long long)file);
    struct mr_shipment *s = mr_shipments_add(&all, &growth);
    ck_assert_ptr_nonnull(s);
    mr_shipment_note(s, &growth);
    return s;
}

START_TEST(found_by_number)
{
    ck_assert_int_eq(mr_shipments_init(&all), 0);
    struct mr_shipment *one = add(1, MR_GROWTH_FOUND);
    struct mr_shipment *same_bucket = add(1 + 65536, MR_GROWTH_FOUND);
    ck_assert_ptr_eq(mr_shipments_find(&all, 1), one);
    ck_assert_ptr_eq(mr_shipments_find(&all, 1 + 65536), same_bucket);
    ck_assert_ptr_null(mr_shipments_find(&all, 2));
    ck_assert_str_eq(one->path, "grid/m1.mrc");
    mr_shipments_remove(&all, one);
    ck_assert_ptr_null(mr_shipments_find(&all, 1));
    ck_assert_ptr_eq(mr_shipments_find(&all, 1 + 65536), same_bucket);
    ck_assert_uint_eq(all.count, 1);
    mr_shipments_fini(&all);
}
END_TEST

START_TEST(growing_goes_first)
{
    ck_assert_int_eq(mr_shipments_init(&all), 0);
    struct mr_shipment *done1 = add(1, MR_GROWTH_COMPLETE), *done2 = add(2, MR_GROWTH_COMPLETE);
    struct mr_shipment *growing = add(3, MR_GROWTH_GREW);
    mr_shipments_wait(&all, done1);
    mr_shipments_wait(&all, done2);
    mr_shipments_wait(&all, growing);
    ck_assert_uint_eq(all.waiting_count, 3);
    ck_assert_ptr_eq(mr_shipments_next(&all), growing);
    ck_assert_int_eq(growing->state, MR_SHIPMENT_IDLE);
    mr_shipments_wait_last(&all, growing);
    ck_assert_ptr_eq(mr_shipments_next(&all), done1);
    ck_assert_ptr_eq(mr_shipments_next(&all), done2);
    ck_assert_ptr_eq(mr_shipments_next(&all), growing);
    ck_assert_ptr_null(mr_shipments_next(&all));
    mr_shipments_fini(&all);
}
END_TEST

START_TEST(leaves_the_line_anywhere)
{
    ck_assert_int_eq(mr_shipments_init(&all), 0);
    struct mr_shipment *s[4];
    for (uint64_t i = 0; i < 4; i++) {
        s[i] = add(i + 1, MR_GROWTH_COMPLETE);
        mr_shipments_wait(&all, s[i]);
    }
    mr_shipments_unwait(&all, s[3]);
    mr_shipments_unwait(&all, s[1]);
    mr_shipments_unwait(&all, s[1]); /* not in it: nothing happens */
    mr_shipments_wait(&all, s[3]);
    mr_shipments_remove(&all, s[0]);
    ck_assert_uint_eq(all.waiting_count, 2);
    ck_assert_ptr_eq(mr_shipments_next(&all), s[2]);
    ck_assert_ptr_eq(mr_shipments_next(&all), s[3]);
    mr_shipments_wait(&all, s[1]); /* an empty line begins anew */
    ck_assert_ptr_eq(mr_shipments_next(&all), s[1]);
    mr_shipments_fini(&all);
}
END_TEST

START_TEST(notes_the_reason)
{
    ck_assert_int_eq(mr_shipments_init(&all), 0);
    struct mr_shipment *s = add(1, MR_GROWTH_FOUND);
    struct mr_growth growth = {.kind = MR_GROWTH_BROKEN, .reason = "no header"};
    mr_shipment_note(s, &growth);
    ck_assert_str_eq(s->reason, "no header");
    ck_assert(!mr_shipment_growing(s) && !mr_shipment_complete(s));
    growth.kind = MR_GROWTH_COMPLETE;
    mr_shipment_note(s, &growth);
    ck_assert_ptr_null(s->reason);
    ck_assert(mr_shipment_complete(s));
    mr_shipments_fini(&all);
}
END_TEST

MR_SUITE("shipment", T(found_by_number), T(growing_goes_first), T(leaves_the_line_anywhere),
         T(notes_the_reason))
