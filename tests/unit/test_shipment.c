/* SPDX-License-Identifier: Apache-2.0 */
/* Is every file in the book once, found by its number, and in the line where it belongs? */
#include "shipment.h"
#include "suite.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

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

START_TEST(a_new_one_is_what_track_found_and_nothing_more)
{
    struct mr_growth growth = {.file = 7, .watch = 3, .root = "/data", .path = "grid/a.mrc"};
    ck_assert_int_eq(mr_shipments_init(&all), 0);
    struct mr_shipment *s = mr_shipments_add(&all, &growth);
    growth.path[0] = 'X'; /* copied */
    ck_assert_str_eq(s->path, "grid/a.mrc");
    ck_assert_ptr_eq(s->root, growth.root); /* borrowed */
    ck_assert_uint_eq(s->watch, 3);
    ck_assert_int_eq(s->fd, -1); /* not the program's input */
    ck_assert_int_eq(s->state, MR_SHIPMENT_IDLE);
    ck_assert_int_eq(s->end, MR_END_NOT_YET);
    ck_assert(s->reason == NULL && s->head == NULL && !s->identified && !s->again && !s->gone);
    ck_assert(!mr_shipment_growing(s) && !mr_shipment_complete(s));
    mr_shipments_fini(&all);
    ck_assert_uint_eq(all.count + all.bucket_count, 0);
}
END_TEST

START_TEST(a_note_is_all_that_growth_says)
{
    static const struct {
        enum mr_growth_kind kind;
        bool growing, complete;
    } rows[] = {{MR_GROWTH_FOUND, true, false},     {MR_GROWTH_GREW, true, false},
                {MR_GROWTH_COMPLETE, false, true},  {MR_GROWTH_BROKEN, false, false},
                {MR_GROWTH_REPLACED, false, false}, {MR_GROWTH_CHANGED, false, false},
                {MR_GROWTH_GONE, false, false}};
    ck_assert_int_eq(mr_shipments_init(&all), 0);
    struct mr_shipment *s = add(1, MR_GROWTH_FOUND);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct mr_growth growth = {.kind = rows[i].kind,
                                         .facts = {.size = 100 + i, .mtime_ns = 5},
                                         .view = {.settled_to = 50 + i, .known = true},
                                         .first_seen_real_ns = 7,
                                         .decided_real_ns = (int64_t)i,
                                         .reason = "as it is"};
        mr_shipment_note(s, &growth);
        ck_assert(mr_shipment_growing(s) == rows[i].growing);
        ck_assert(mr_shipment_complete(s) == rows[i].complete);
        ck_assert_mem_eq(&s->facts, &growth.facts, sizeof(s->facts));
        ck_assert_mem_eq(&s->view, &growth.view, sizeof(s->view));
        ck_assert_int_eq(s->first_seen_real_ns, 7);
        ck_assert_int_eq(s->decided_real_ns, (int64_t)i);
        ck_assert_int_eq(s->reason != NULL, rows[i].kind == MR_GROWTH_BROKEN);
    }
    mr_shipments_fini(&all);
}
END_TEST

START_TEST(closing_gives_back_file_and_head)
{
    ck_assert_int_eq(mr_shipments_init(&all), 0);
    struct mr_shipment *s = add(1, MR_GROWTH_FOUND);
    for (int by_removal = 0; by_removal < 2; by_removal++) {
        int fd = s->fd = memfd_create("source", MFD_CLOEXEC);
        ck_assert_int_ge(fd, 0);
        s->head = malloc(1024);
        s->head_bytes = 1024;
        if (by_removal) {
            mr_shipments_remove(&all, s);
        } else {
            mr_shipment_close(s);
            ck_assert_int_eq(s->fd, -1);
            ck_assert(s->head == NULL && s->head_bytes == 0);
            mr_shipment_close(s); /* nothing is left to be closed */
        }
        ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
    }
    mr_shipments_fini(&all);
}
END_TEST

/* ---- against a model: an array for the book, another one for the line ---- */

enum { FILES = 200, STEPS = 30000 };

static struct mr_shipment *book[FILES];
static struct mr_shipment *line[FILES];
static size_t line_count;

/* Three of one bucket, then the next. */
static uint64_t number_of(size_t i)
{
    return 1 + i / 3 + i % 3 * 65536;
}

static size_t place_of(const struct mr_shipment *s)
{
    size_t at = 0;
    while (at < line_count && line[at] != s)
        at++;
    return at;
}

static void leave(const struct mr_shipment *s)
{
    size_t at = place_of(s);
    if (at == line_count)
        return;
    line_count--;
    memmove(&line[at], &line[at + 1], (line_count - at) * sizeof(line[0]));
}

static void enter(struct mr_shipment *s, bool first)
{
    size_t at = first ? 0 : line_count;
    memmove(&line[at + 1], &line[at], (line_count - at) * sizeof(line[0]));
    line[at] = s;
    line_count++;
}

static void check_line(void)
{
    const struct mr_shipment *s = all.waiting_first;
    MUST(all.waiting_count == line_count);
    for (size_t i = 0; i < line_count; i++, s = s->next_waiting) {
        MUST(s == line[i]);
        MUST((s->state) == MR_SHIPMENT_WAITING);
    }
    MUST(s == NULL);
}

static void check_book(void)
{
    size_t count = 0;
    for (size_t i = 0; i < FILES; i++) {
        MUST(mr_shipments_find(&all, number_of(i)) == book[i]);
        count += book[i] != NULL;
        if (book[i] != NULL)
            MUST(place_of(book[i]) < line_count ||
                 (book[i]->state == MR_SHIPMENT_IDLE && book[i]->next_waiting == NULL));
    }
    MUST(all.count == count);
}

static void step(size_t i, long dice)
{
    struct mr_shipment *s = book[i];
    if (s == NULL) {
        book[i] = add(number_of(i), dice % 2 ? MR_GROWTH_GREW : MR_GROWTH_COMPLETE);
    } else if (dice < 50) {
        leave(s);
        mr_shipments_remove(&all, s);
        book[i] = NULL;
    } else if (dice < 100) {
        struct mr_shipment *next = mr_shipments_next(&all);
        MUST(next == (line_count > 0 ? line[0] : NULL));
        if (next != NULL)
            leave(next);
    } else if (dice < 200) {
        mr_shipments_unwait(&all, s);
        leave(s);
    } else if (place_of(s) == line_count && dice < 300) {
        mr_shipments_wait_last(&all, s);
        enter(s, false);
    } else if (place_of(s) == line_count) {
        mr_shipments_wait(&all, s);
        enter(s, mr_shipment_growing(s));
    }
}

START_TEST(book_and_line_agree_with_plain_arrays)
{
    srandom(20261123);
    MUST(mr_shipments_init(&all) == 0);
    for (unsigned n = 0; n < STEPS; n++) {
        step((size_t)random() % FILES, random() % 500);
        if (n % 20 == 0)
            check_line();
        if (n % 200 == 0)
            check_book();
    }
    check_line();
    check_book();
    mr_shipments_fini(&all);
}
END_TEST

MR_SUITE("shipment", T(found_by_number), T(growing_goes_first), T(leaves_the_line_anywhere),
         T(notes_the_reason), T(a_new_one_is_what_track_found_and_nothing_more),
         T(a_note_is_all_that_growth_says), T(closing_gives_back_file_and_head),
         T(book_and_line_agree_with_plain_arrays))
