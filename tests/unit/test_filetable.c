/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is every file found by its watch and path and by no other, is the next one always the earliest,
 * and is none lost or freed twice, whatever is added, removed and put off in whatever order?
 */
#include "filetable.h"
#include "suite.h"

#include <string.h>

#define NEVER MR_SOURCE_NEVER

static struct mr_filetable table;

static struct mr_file *add(uint32_t watch, const char *path)
{
    struct mr_file *file = mr_filetable_add(&table, watch, path);
    ck_assert_ptr_nonnull(file);
    return file;
}

START_TEST(a_new_file_is_all_zero_but_for_what_it_is)
{
    char path[] = "grid7/a.mrc";
    struct mr_file *file = add(3, path);
    path[0] = 'X'; /* copied */
    ck_assert_str_eq(file->path, "grid7/a.mrc");
    ck_assert_uint_eq(file->watch, 3);
    ck_assert_uint_eq(file->number, 1);
    ck_assert_ptr_eq(file->source, &mr_source_mrc);
    ck_assert_ptr_eq(add(3, "a.log")->source, &mr_source_opaque);
    ck_assert_int_eq(file->due_ns, NEVER);
    ck_assert_int_eq(file->changed_ns + file->looked_ns + file->decided_ns, 0);
    ck_assert_ptr_null(file->view);
    ck_assert_uint_eq(file->listing + file->sent_to + file->facts.size + file->read_failures, 0);
    ck_assert(!file->found && !file->decided && !file->closed && !file->closed_unseen);
    ck_assert(!file->touched && !file->old && !file->listed_only);
    mr_filetable_fini(&table);
}
END_TEST

START_TEST(a_file_is_its_watch_and_its_path)
{
    ck_assert_ptr_null(mr_filetable_find(&table, 0, "a")); /* before there is any */
    struct mr_file *a0 = add(0, "a"), *a1 = add(1, "a"), *ab = add(0, "a/b"), *none = add(0, "");
    ck_assert_ptr_eq(mr_filetable_find(&table, 0, "a"), a0);
    ck_assert_ptr_eq(mr_filetable_find(&table, 1, "a"), a1);
    ck_assert_ptr_eq(mr_filetable_find(&table, 0, "a/b"), ab);
    ck_assert_ptr_eq(mr_filetable_find(&table, 0, ""), none);
    ck_assert_ptr_null(mr_filetable_find(&table, 2, "a"));
    ck_assert_ptr_null(mr_filetable_find(&table, 0, "A"));
    ck_assert_ptr_null(mr_filetable_find(&table, 0, "a/"));
    mr_filetable_remove(&table, a0);
    ck_assert_ptr_null(mr_filetable_find(&table, 0, "a"));
    ck_assert_ptr_eq(mr_filetable_find(&table, 1, "a"), a1);
    ck_assert_uint_eq(table.count, 3);
    mr_filetable_fini(&table);
}
END_TEST

START_TEST(no_number_is_given_twice)
{
    struct mr_file *a = add(0, "a");
    ck_assert_uint_eq(add(0, "b")->number, 2);
    mr_filetable_remove(&table, a);
    ck_assert_uint_eq(add(0, "a")->number, 3); /* it came again, as another one */
    mr_filetable_remove(&table, mr_filetable_find(&table, 0, "a"));
    mr_filetable_remove(&table, mr_filetable_find(&table, 0, "b"));
    ck_assert_uint_eq(add(0, "b")->number, 4);
    mr_filetable_fini(&table);
}
END_TEST

START_TEST(the_earliest_is_first_wherever_it_was_put)
{
    static const int64_t orders[][5] = {{1, 2, 3, 4, 5},
                                        {5, 4, 3, 2, 1},
                                        {3, 1, 5, 2, 4},
                                        {2, 2, 2, 2, 2},
                                        {-9, 0, 9, INT64_MIN, 1}};
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    for (size_t o = 0; o < sizeof(orders) / sizeof(orders[0]); o++) {
        ck_assert_ptr_null(mr_filetable_first(&table));
        for (size_t i = 0; i < 5; i++)
            mr_filetable_schedule(&table, add(0, names[i]), orders[o][i]);
        int64_t last = INT64_MIN;
        for (size_t i = 0; i < 5; i++) {
            struct mr_file *first = mr_filetable_first(&table);
            ck_assert_int_ge(first->due_ns, last);
            last = first->due_ns;
            mr_filetable_schedule(&table, first, NEVER);
            ck_assert_int_eq(first->due_ns, NEVER);
        }
        ck_assert_ptr_null(mr_filetable_first(&table));
        ck_assert_uint_eq(table.count, 5); /* put off, not lost */
        mr_filetable_fini(&table);
    }
}
END_TEST

START_TEST(one_that_is_put_off_lets_others_by)
{
    struct mr_file *a = add(0, "a"), *b = add(0, "b"), *c = add(0, "c");
    mr_filetable_schedule(&table, a, 10);
    mr_filetable_schedule(&table, b, 20);
    mr_filetable_schedule(&table, c, 30);
    mr_filetable_schedule(&table, a, 40);
    ck_assert_ptr_eq(mr_filetable_first(&table), b);
    mr_filetable_schedule(&table, c, 5);
    ck_assert_ptr_eq(mr_filetable_first(&table), c);
    mr_filetable_schedule(&table, c, 5); /* again: it stands there once */
    mr_filetable_remove(&table, c);
    ck_assert_ptr_eq(mr_filetable_first(&table), b);
    mr_filetable_schedule(&table, b, NEVER);
    mr_filetable_schedule(&table, b, NEVER);
    ck_assert_ptr_eq(mr_filetable_first(&table), a);
    mr_filetable_remove(&table, b); /* not in the queue */
    ck_assert_ptr_eq(mr_filetable_first(&table), a);
    mr_filetable_remove(&table, a);
    ck_assert_ptr_null(mr_filetable_first(&table));
    ck_assert_uint_eq(table.count, 0);
    mr_filetable_fini(&table);
}
END_TEST

/* ---- against a model: a plain list ---- */

enum { PATHS = 1500, WATCHES = 2, KEYS = PATHS * WATCHES, STEPS = 60000 };

static struct {
    struct mr_file *file; /* NULL: not there */
    uint64_t number;
    int64_t due_ns;
    unsigned visits;
} model[KEYS];

static const char *path_of(unsigned key)
{
    static char path[40];
    snprintf(path, sizeof(path), "%s/m%u.%s", key % 3 ? "grid" : "grid/deep", key / WATCHES,
             key % 5 ? "mrc" : "log");
    return path;
}

static void visit(void *ctx, struct mr_file *file)
{
    unsigned key = (unsigned)file->listing; /* ours, for this */
    ++*(unsigned *)ctx;
    MUST(model[key].file == file);
    model[key].visits++;
}

static void check_all(unsigned count)
{
    unsigned visited = 0, queued = 0;
    for (unsigned key = 0; key < KEYS; key++)
        model[key].visits = 0;
    mr_filetable_each(&table, visit, &visited);
    MUST(visited == count);
    for (unsigned key = 0; key < KEYS; key++) {
        struct mr_file *file = model[key].file;
        MUST(mr_filetable_find(&table, key % WATCHES, path_of(key)) == file);
        MUST(model[key].visits == (file != NULL));
        if (file == NULL)
            continue;
        MUST((file->number) == model[key].number);
        MUST((file->due_ns) == model[key].due_ns);
        MUST(strcmp(file->path, path_of(key)) == 0);
        queued += file->due_ns != NEVER;
    }
    MUST(table.due_count == queued);
}

static int64_t earliest(void)
{
    int64_t least = NEVER;
    for (unsigned key = 0; key < KEYS; key++)
        if (model[key].file != NULL && model[key].due_ns < least)
            least = model[key].due_ns;
    return least;
}

static void step(unsigned key, unsigned *count, uint64_t *numbers)
{
    struct mr_file *file = model[key].file;
    if (file == NULL) {
        file = model[key].file = add(key % WATCHES, path_of(key));
        model[key].number = ++*numbers;
        model[key].due_ns = NEVER;
        file->listing = key;
        if (key % 7 == 0)
            file->view = calloc(1, sizeof(*file->view)); /* owned: freed with it */
        ++*count;
    } else if (random() % 4 == 0) {
        mr_filetable_remove(&table, file);
        model[key].file = NULL;
        --*count;
        return;
    }
    model[key].due_ns = random() % 8 == 0 ? NEVER : random() % 1000;
    mr_filetable_schedule(&table, file, model[key].due_ns);
}

/* Many more than the first buckets hold, and of a few times only, so that many are equal. */
START_TEST(it_agrees_with_a_plain_list)
{
    unsigned count = 0;
    uint64_t numbers = 0;
    srandom(20261123);
    for (unsigned i = 0; i < STEPS; i++) {
        step((unsigned)random() % KEYS, &count, &numbers);
        struct mr_file *first = mr_filetable_first(&table);
        if (i % 16 == 0)
            MUST((first == NULL ? NEVER : first->due_ns) == earliest());
        if (i % 6000 == 0)
            check_all(count);
    }
    check_all(count);
    for (struct mr_file *first; (first = mr_filetable_first(&table)) != NULL;) {
        unsigned key = (unsigned)first->listing;
        MUST((first->due_ns) == earliest());
        mr_filetable_remove(&table, first);
        model[key].file = NULL;
        count--;
    }
    check_all(count);
    mr_filetable_fini(&table);
    MUST(table.count + table.bucket_count + table.due_capacity == 0);
    MUST(mr_filetable_find(&table, 0, "a") == NULL); /* it may begin again */
    MUST((add(0, "a")->number) == 1);
    mr_filetable_fini(&table);
}
END_TEST

MR_SUITE("filetable", T(a_new_file_is_all_zero_but_for_what_it_is),
         T(a_file_is_its_watch_and_its_path), T(no_number_is_given_twice),
         T(the_earliest_is_first_wherever_it_was_put), T(one_that_is_put_off_lets_others_by),
         T(it_agrees_with_a_plain_list))
