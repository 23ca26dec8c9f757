/* SPDX-License-Identifier: Apache-2.0 */
/* Are events logged in their order, each once, however often the log has no room in between? */
#include "dice.h"
#include "scratch.h"
#include "sick_disk.h"
#include "suite.h"
#include "unlogged.h"

#include <errno.h>

static struct scratch scratch;
static struct mr_eventlog *eventlog;
static struct mr_unlogged line;

static void begin(void)
{
    struct mr_err err = {0};
    scratch = scratch_make();
    ck_assert_msg(mr_eventlog_open(scratch.fd, MR_EVENTLOG_SEGMENT_BYTES, &eventlog, NULL, &err) ==
                      0,
                  "%s", err.text);
}

static void end(void)
{
    mr_unlogged_fini(&line);
    ck_assert_uint_eq(line.count, 0);
    mr_eventlog_close(eventlog);
    scratch_remove(&scratch);
}

static int add(unsigned n, struct mr_err *err)
{
    char id[32], *text;
    size_t bytes;
    (void)snprintf(id, sizeof(id), "event-%u", n);
    const struct mr_event e = {.type = MR_EVENT_MOVIE_READY, .id = id, .source = "/millrace/test"};
    ck_assert_int_eq(mr_event_encode(&e, &text, &bytes), 0);
    return mr_unlogged_add(&line, eventlog, text, err);
}

static int see(void *ctx, const struct mr_eventlog_record *record)
{
    unsigned *seen = ctx;
    char id[32];
    (void)snprintf(id, sizeof(id), "event-%u", *seen);
    ck_assert_str_eq(record->id, id);
    ++*seen;
    return 0;
}

/* Events from 0 on that are durable, without a gap. */
static unsigned logged(void)
{
    unsigned seen = 0;
    ck_assert_int_eq(mr_eventlog_read(eventlog, 1, UINT64_MAX, see, &seen), 0);
    return seen;
}

START_TEST(event_is_durable_at_once_where_there_is_room)
{
    struct mr_err err = {0};
    begin();
    ck_assert_int_eq(mr_unlogged_flush(&line, eventlog, &err), 0); /* of nothing */
    ck_assert_int_eq(add(0, &err), 0);
    ck_assert_uint_eq(line.count, 0);
    ck_assert_uint_eq(logged(), 1);
    ck_assert_int_eq(add(0, &err), 0); /* it is there already */
    ck_assert_uint_eq(logged(), 1);
    ck_assert_uint_eq(line.count, 0);
    end();
}
END_TEST

START_TEST(text_that_is_no_event_is_in_nobodys_way)
{
    begin();
    sick_disk.no_room = ENOSPC;
    ck_assert_int_eq(add(0, NULL), -ENOSPC);
    ck_assert_int_eq(mr_unlogged_add(&line, eventlog, strdup("{}"), NULL), -ENOSPC);
    ck_assert_int_eq(add(1, NULL), -ENOSPC);
    ck_assert_uint_eq(line.count, 3);
    sick_disk.no_room = 0;
    ck_assert_int_eq(mr_unlogged_flush(&line, eventlog, NULL), 0);
    ck_assert_uint_eq(line.count, 0);
    ck_assert_uint_eq(logged(), 2);
    end();
}
END_TEST

START_TEST(so_many_wait_and_one_more_is_lost)
{
    struct mr_err err = {0};
    begin();
    sick_disk.no_room = EDQUOT;
    for (unsigned n = 0; n < MR_UNLOGGED_MAX; n++)
        ck_assert_int_eq(add(n, NULL), -EDQUOT);
    ck_assert_int_eq(add(MR_UNLOGGED_MAX, &err), -ENOBUFS);
    ck_assert_int_eq(err.code, -ENOBUFS);
    ck_assert_uint_eq(line.count, MR_UNLOGGED_MAX);
    sick_disk.no_room = 0;
    ck_assert_int_eq(mr_unlogged_flush(&line, eventlog, NULL), 0);
    ck_assert_uint_eq(logged(), MR_UNLOGGED_MAX);
    ck_assert_int_eq(add(MR_UNLOGGED_MAX, NULL), 0);
    ck_assert_uint_eq(logged(), MR_UNLOGGED_MAX + 1);
    end();
}
END_TEST

/* What was appended before the room came to an end is made durable all the same. */
START_TEST(sync_that_fails_is_told_before_a_lack_of_room)
{
    struct mr_err err = {0};
    begin();
    sick_disk.no_room = ENOSPC;
    for (unsigned n = 0; n < 3; n++)
        ck_assert_int_eq(add(n, NULL), -ENOSPC);
    sick_disk.room_bytes = 300; /* of one or two */
    sick_disk.fail_fdatasync = 1;
    ck_assert_int_eq(mr_unlogged_flush(&line, eventlog, &err), -EIO);
    ck_assert_uint_eq(logged(), 0);
    sick_disk.no_room = 0;
    ck_assert_int_eq(mr_unlogged_flush(&line, eventlog, NULL), -EIO); /* broken for good */
    end();
}
END_TEST

/* Room comes and goes at any byte. */
START_TEST(order_is_kept_whatever_room_there_is)
{
    for (unsigned seed = 1; seed <= 30; seed++) {
        unsigned n = 0;
        begin();
        dice_seed(seed);
        for (unsigned step = 0; step < 60; step++) {
            sick_disk.no_room = dice(3) == 0 ? 0 : ENOSPC;
            sick_disk.room_bytes = dice(900);
            struct mr_err err = {0};
            int r = dice(2) == 0 ? mr_unlogged_flush(&line, eventlog, &err) : add(n++, &err);
            ck_assert(r == 0 || r == -ENOSPC);
            ck_assert_int_eq(err.code, r);
            ck_assert_int_eq(r == 0, line.count == 0);
            ck_assert(r == 0 || sick_disk.no_room != 0);
            ck_assert_uint_eq(logged() + line.count, n); /* each is durable, or waits */
        }
        sick_disk.no_room = 0;
        ck_assert_int_eq(mr_unlogged_flush(&line, eventlog, NULL), 0);
        ck_assert_uint_eq(logged(), n);
        end();
    }
}
END_TEST

MR_SUITE("unlogged", T(event_is_durable_at_once_where_there_is_room),
         T(text_that_is_no_event_is_in_nobodys_way), T(so_many_wait_and_one_more_is_lost),
         T(sync_that_fails_is_told_before_a_lack_of_room), T(order_is_kept_whatever_room_there_is))
