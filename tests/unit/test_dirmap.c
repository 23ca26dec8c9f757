/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has every watch the path it was given last, and is every one below a folder found, also while
 * they are removed one by one: whatever the numbers, however they fall into the slots?
 */
#include "dirmap.h"
#include "suite.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

static struct mr_dirmap map;

static void set(int wd, const char *path)
{
    ck_assert_int_eq(mr_dirmap_set(&map, wd, path), 0);
}

START_TEST(an_empty_map_has_nothing)
{
    size_t at = 0;
    ck_assert_ptr_null(mr_dirmap_get(&map, 1));
    ck_assert(!mr_dirmap_remove(&map, 1));
    ck_assert_int_eq(mr_dirmap_find_below(&map, "", &at), 0);
    mr_dirmap_fini(&map);
    set(1, "a");
    ck_assert(mr_dirmap_remove(&map, 1));
    ck_assert_ptr_null(mr_dirmap_get(&map, 1));
    ck_assert_int_eq(mr_dirmap_find_below(&map, "", &at), 0);
    mr_dirmap_fini(&map);
    ck_assert_uint_eq(map.count + map.capacity, 0);
}
END_TEST

START_TEST(no_watch_has_the_number_of_a_free_slot)
{
    set(1, "a");
    ck_assert_ptr_null(mr_dirmap_get(&map, 0));
    ck_assert_ptr_null(mr_dirmap_get(&map, -1)); /* of an event queue that ran over */
    ck_assert_ptr_null(mr_dirmap_get(&map, INT_MIN));
    ck_assert(!mr_dirmap_remove(&map, 0) && !mr_dirmap_remove(&map, -1));
    ck_assert_uint_eq(map.count, 1);
    set(INT_MAX, "far");
    ck_assert_str_eq(mr_dirmap_get(&map, INT_MAX), "far");
    mr_dirmap_fini(&map);
}
END_TEST

START_TEST(a_path_is_copied_and_may_be_another_later)
{
    char path[] = "grid7";
    set(7, path);
    path[0] = 'X';
    ck_assert_str_eq(mr_dirmap_get(&map, 7), "grid7");
    set(7, "grid8"); /* renamed */
    ck_assert_str_eq(mr_dirmap_get(&map, 7), "grid8");
    ck_assert_uint_eq(map.count, 1);
    set(7, "");
    ck_assert_str_eq(mr_dirmap_get(&map, 7), ""); /* the root's: a path like any */
    mr_dirmap_fini(&map);
}
END_TEST

START_TEST(what_lies_below_what)
{
    static const struct {
        const char *path, *folder;
        bool below;
    } rows[] = {{"a", "a", true},    {"a/b", "a", true},      {"a/b/c", "a/b", true},
                {"", "", true},      {"a", "", true},         {"ab", "a", false},
                {"a", "ab", false},  {"a", "a/b", false},     {"", "a", false},
                {"b/a", "a", false}, {"a-b", "a", false},     {"a/bc", "a/b", false},
                {"A/b", "a", false}, {"a/b", "a/b/c", false}, {"a.d/x", "a", false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        ck_assert_msg(mr_dirmap_is_below(rows[i].path, rows[i].folder) == rows[i].below,
                      "'%s' below '%s'", rows[i].path, rows[i].folder);
}
END_TEST

/* ---- against a model: an array by number ---- */

enum { WATCHES = 400, STEPS = 40000 };

static unsigned model[WATCHES]; /* which path; 0: none */

static int number_of(unsigned index) /* in a row as inotify's, and far apart with one home */
{
    return index % 2 == 0 ? (int)index + 1 : (int)index * 65536 + 1;
}

static const char *path_of(unsigned path)
{
    static char text[32];
    snprintf(text, sizeof(text), "%s%u", path % 3 == 0 ? "a/" : path % 3 == 1 ? "ab/" : "a", path);
    return text;
}

static void check(unsigned count)
{
    MUST(map.count == count);
    MUST(map.count * 2 <= map.capacity || map.count < 64); /* searches stay short */
    for (unsigned i = 0; i < WATCHES; i++) {
        const char *path = mr_dirmap_get(&map, number_of(i));
        MUST((path != NULL) == (model[i] != 0));
        if (path != NULL)
            MUST(strcmp(path, path_of(model[i])) == 0);
    }
}

/* All below "a", each taken away as it is found, which moves others about. */
static unsigned drop(unsigned count)
{
    size_t at = 0;
    for (int wd; (wd = mr_dirmap_find_below(&map, "a", &at)) != 0; count--) {
        unsigned i = 0;
        while (number_of(i) != wd)
            MUST(++i < WATCHES);
        MUST(model[i] != 0 && model[i] % 3 == 0);
        MUST(mr_dirmap_remove(&map, wd));
        model[i] = 0;
    }
    for (unsigned i = 0; i < WATCHES; i++)
        MUST(model[i] == 0 || model[i] % 3 != 0);
    return count;
}

START_TEST(it_agrees_with_an_array)
{
    unsigned count = 0;
    srandom(20261123);
    for (unsigned i = 1; i <= STEPS; i++) {
        unsigned index = (unsigned)random() % WATCHES, one_in = 1 + i / 8000 % 3;
        if ((unsigned)random() % 4 > one_in) {
            count += model[index] == 0;
            model[index] = i;
            set(number_of(index), path_of(i));
        } else {
            MUST(mr_dirmap_remove(&map, number_of(index)) == (model[index] != 0));
            count -= model[index] != 0;
            model[index] = 0;
        }
        if (i % 50 == 0)
            check(count);
        if (i % 500 == 0)
            count = drop(count);
    }
    check(count);
    mr_dirmap_fini(&map);
    MUST(mr_dirmap_get(&map, number_of(0)) == NULL);
}
END_TEST

MR_SUITE("dirmap", T(an_empty_map_has_nothing), T(no_watch_has_the_number_of_a_free_slot),
         T(a_path_is_copied_and_may_be_another_later), T(what_lies_below_what),
         T(it_agrees_with_an_array))
