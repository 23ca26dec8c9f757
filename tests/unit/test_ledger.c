/* SPDX-License-Identifier: Apache-2.0 */
/* Does the ledger keep what was written, tell what a crash left open, and stop where it is damaged?
 */
#include "ledger.h"
#include "suite.h"
#include "tree.h"

#include <errno.h>
#include <fcntl.h>

static struct mr_err err;
static struct mr_ledger_pending pending;

static struct mr_ledger *open_ledger(void)
{
    struct mr_ledger *l = NULL;
    mr_ledger_pending_fini(&pending);
    ck_assert_msg(mr_ledger_open(tree_root, &l, &pending, &err) == 0, "%s", err.text);
    return l;
}

static struct mr_ledger_entry entry(const char *what, uint8_t row)
{
    struct mr_ledger_entry e = {.what = what,
                                .path = "/data/m\xff.mrc",
                                .bytes = 7,
                                .revision = 2,
                                .digest = 0xABC,
                                .store = "/store/m.mrc",
                                .why = "old"};
    e.row.bytes[15] = row;
    return e;
}

static void write_one(struct mr_ledger *l, const char *what, uint8_t row)
{
    const struct mr_ledger_entry e = entry(what, row);
    ck_assert_msg(mr_ledger_write(l, &e, &err) == 0, "%s", err.text);
}

START_TEST(open_intent_is_found_and_settled)
{
    tree_make();
    ck_assert(!mr_ledger_exists(tree_root));
    struct mr_ledger *l = open_ledger();
    ck_assert(mr_ledger_exists(tree_root) && !pending.is_open);
    write_one(l, "intent", 1);
    write_one(l, "freed", 1);
    mr_ledger_close(l);
    l = open_ledger();
    ck_assert(!pending.is_open);
    write_one(l, "intent", 2);
    mr_ledger_close(l);
    l = open_ledger();
    ck_assert(pending.is_open);
    ck_assert_uint_eq(pending.row.bytes[15], 2);
    ck_assert_msg(mr_ledger_settle(l, &pending, "kept", "a reason", &err) == 0, "%s", err.text);
    mr_ledger_close(l);
    mr_ledger_close(open_ledger());
    ck_assert(!pending.is_open);
    tree_remove();
}
END_TEST

START_TEST(torn_tail_is_cut)
{
    tree_make();
    struct mr_ledger *l = open_ledger();
    write_one(l, "intent", 1);
    write_one(l, "freed", 1);
    mr_ledger_close(l);
    int fd = open(tree_path("ledger.log"), O_WRONLY | O_APPEND | O_CLOEXEC);
    ck_assert_int_eq(write(fd, "0123456789ABCDEF {\"wha", 22), 22);
    close(fd);
    l = open_ledger();
    write_one(l, "intent", 3);
    mr_ledger_close(l);
    mr_ledger_close(open_ledger());
    ck_assert(pending.is_open);
    ck_assert_uint_eq(pending.row.bytes[15], 3);
    mr_ledger_pending_fini(&pending);
    tree_remove();
}
END_TEST

static void refused_with_a_flip_at(off_t at)
{
    struct mr_ledger *l;
    int fd = open(tree_path("ledger.log"), O_WRONLY | O_CLOEXEC);
    tree_write(fd, "#", 1, at);
    close(fd);
    ck_assert_int_eq(mr_ledger_open(tree_root, &l, &pending, &err), -EUCLEAN);
    ck_assert_ptr_nonnull(strstr(err.text, "ledger.log is damaged"));
}

START_TEST(damage_elsewhere_is_refused)
{
    tree_make();
    struct mr_ledger *l = open_ledger();
    write_one(l, "intent", 1);
    write_one(l, "freed", 1);
    mr_ledger_close(l);
    refused_with_a_flip_at(40);
    tree_remove();
}
END_TEST

/* It may be the intent of a file that waits for its name. */
START_TEST(damaged_last_line_is_no_torn_one)
{
    tree_make();
    struct mr_ledger *l = open_ledger();
    write_one(l, "intent", 1);
    mr_ledger_close(l);
    refused_with_a_flip_at(40);
    tree_remove();
}
END_TEST

MR_SUITE("ledger", T(open_intent_is_found_and_settled), T(torn_tail_is_cut),
         T(damage_elsewhere_is_refused), T(damaged_last_line_is_no_torn_one))
