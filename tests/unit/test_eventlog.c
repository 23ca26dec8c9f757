/* SPDX-License-Identifier: Apache-2.0 */
/* Are events numbered without a gap, seen only when durable, and found again after any end? */
#include "eventlog.h"
#include "scratch.h"
#include "sick_disk.h"
#include "suite.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#define FIRST "events/00000001.log"

static struct mr_eventlog *open_log(const struct scratch *s, uint64_t segment_bytes)
{
    struct mr_eventlog *log;
    struct mr_err err = {0};
    int r = mr_eventlog_open(s->fd, segment_bytes, &log, NULL, &err);
    ck_assert_msg(r == 0, "%s", err.text);
    return log;
}

static char *event_text(uint64_t n, size_t *ret_bytes)
{
    char id[64], data[64], *text;
    snprintf(id, sizeof(id), "movie-%" PRIu64 ".ready", n);
    snprintf(data, sizeof(data), "{\"n\":%" PRIu64 "}", n);
    struct mr_event e = {.type = MR_EVENT_MOVIE_READY,
                         .id = id,
                         .source = "/millrace/test",
                         .subject = "a/b.mrc",
                         .data = data};
    ck_assert_int_eq(mr_event_encode(&e, &text, ret_bytes), 0);
    return text;
}

static uint64_t append(struct mr_eventlog *log, uint64_t n)
{
    size_t bytes;
    uint64_t sequence = 0;
    char *text = event_text(n, &bytes);
    ck_assert_int_eq(mr_eventlog_append(log, text, bytes, &sequence, NULL), 0);
    free(text);
    return sequence;
}

static void fill(struct mr_eventlog *log, uint64_t from, uint64_t to)
{
    for (uint64_t n = from; n <= to; n++)
        ck_assert_uint_eq(append(log, n), n);
    ck_assert_int_eq(mr_eventlog_sync(log, NULL), 0);
}

struct seen {
    uint64_t first, last, count, stop_at;
};

static int see(void *ctx, const struct mr_eventlog_record *r)
{
    struct seen *seen = ctx;
    char id[64], number[64];
    snprintf(id, sizeof(id), "movie-%" PRIu64 ".ready", r->sequence);
    snprintf(number, sizeof(number), "\"sequence\":\"%" PRIu64 "\"", r->sequence);
    ck_assert_str_eq(r->id, id);
    ck_assert_str_eq(r->type, MR_EVENT_MOVIE_READY);
    ck_assert_ptr_nonnull(strstr(r->json, number));
    ck_assert_uint_eq(strlen(r->json), r->json_bytes);
    if (seen->count++ == 0)
        seen->first = r->sequence;
    else
        ck_assert_uint_eq(r->sequence, seen->last + 1);
    seen->last = r->sequence;
    return r->sequence == seen->stop_at ? -ECANCELED : 0;
}

static struct seen read_all(struct mr_eventlog *log, uint64_t since, uint64_t limit)
{
    struct seen seen = {0};
    ck_assert_int_eq(mr_eventlog_read(log, since, limit, see, &seen), 0);
    return seen;
}

START_TEST(numbers_run_from_one_and_are_seen_when_synced)
{
    struct scratch s = scratch_make();
    struct mr_eventlog *log = open_log(&s, MR_EVENTLOG_SEGMENT_BYTES);
    ck_assert_uint_eq(mr_eventlog_last(log), 0);
    ck_assert_uint_eq(mr_eventlog_first(log), 1);
    ck_assert_uint_eq(read_all(log, 1, 10).count, 0);
    ck_assert_uint_eq(append(log, 1), 1);
    ck_assert_uint_eq(append(log, 2), 2);
    ck_assert_uint_eq(mr_eventlog_last(log), 0);
    ck_assert_uint_eq(read_all(log, 1, 10).count, 0);
    struct pollfd bell = {.fd = mr_eventlog_doorbell(log), .events = POLLIN};
    ck_assert_int_eq(poll(&bell, 1, 0), 0);
    ck_assert_int_eq(mr_eventlog_sync(log, NULL), 0);
    ck_assert_int_eq(poll(&bell, 1, 0), 1);
    ck_assert_uint_eq(mr_eventlog_last(log), 2);
    ck_assert_uint_eq(read_all(log, 1, 10).count, 2);
    ck_assert_uint_eq(read_all(log, 0, 10).count, 2);
    ck_assert_uint_eq(read_all(log, 2, 10).first, 2);
    ck_assert_uint_eq(read_all(log, 3, 10).count, 0);
    ck_assert_uint_eq(read_all(log, 1, 0).count, 0);
    ck_assert_uint_eq(read_all(log, UINT64_MAX, UINT64_MAX).count, 0);
    mr_eventlog_close(log);
    scratch_remove(&s);
}
END_TEST

START_TEST(segments_follow_each_other)
{
    struct scratch s = scratch_make();
    struct mr_eventlog *log = open_log(&s, 20000);
    fill(log, 1, 1000);
    ck_assert_int_eq(faccessat(s.fd, "events/00000075.log", F_OK, 0), -1);
    for (int reopened = 0; reopened < 2; reopened++) {
        for (uint64_t since = 1; since <= 1000; since += 37) {
            struct seen seen = read_all(log, since, 200);
            ck_assert_uint_eq(seen.first, since);
            ck_assert_uint_eq(seen.count, since <= 801 ? 200 : 1001 - since);
        }
        struct seen seen = {.stop_at = 700};
        ck_assert_int_eq(mr_eventlog_read(log, 100, 2000, see, &seen), -ECANCELED);
        ck_assert_uint_eq(seen.last, 700);
        mr_eventlog_close(log);
        log = open_log(&s, 20000);
        ck_assert_uint_eq(mr_eventlog_last(log), 1000);
    }
    fill(log, 1001, 1002);
    ck_assert_uint_eq(read_all(log, 999, 100).count, 4);
    mr_eventlog_close(log);
    scratch_remove(&s);
}
END_TEST

START_TEST(a_torn_tail_is_cut_and_told)
{
    struct scratch s = scratch_make();
    struct mr_eventlog *log = open_log(&s, MR_EVENTLOG_SEGMENT_BYTES);
    fill(log, 1, 2);
    fill(log, 3, 3);
    mr_eventlog_close(log);
    uint64_t whole = scratch_size(&s, FIRST);
    for (uint64_t cut = 1; cut < 300 && cut < whole / 3; cut += 13) {
        struct mr_mend_note note = {0};
        scratch_cut(&s, FIRST, whole - cut);
        ck_assert_int_eq(mr_eventlog_open(s.fd, 1 << 20, &log, &note, NULL), 0);
        ck_assert_uint_eq(mr_eventlog_last(log), 2);
        ck_assert_uint_gt(note.cut_bytes, 0);
        ck_assert_str_eq(note.file, FIRST);
        ck_assert_uint_eq(note.kept_bytes, scratch_size(&s, FIRST));
        fill(log, 3, 3);
        ck_assert_uint_eq(scratch_size(&s, FIRST), whole);
        mr_eventlog_close(log);
    }
    struct mr_mend_note note = {0};
    ck_assert_int_eq(mr_eventlog_open(s.fd, 1 << 20, &log, &note, NULL), 0);
    ck_assert_uint_eq(note.cut_bytes, 0);
    mr_eventlog_close(log);
    scratch_remove(&s);
}
END_TEST

static void refused(const struct scratch *s, const char *wanted)
{
    struct mr_eventlog *log = NULL;
    struct mr_err err = {0};
    ck_assert_int_eq(mr_eventlog_open(s->fd, 1 << 20, &log, NULL, &err), -EUCLEAN);
    ck_assert_msg(strstr(err.text, wanted) != NULL, "%s", err.text);
    ck_assert_ptr_nonnull(strstr(err.text, "events/0"));
    ck_assert_ptr_null(log);
}

/* What a power cut may make of events that were not synced yet: the later ones are there. */
static void lose(const struct scratch *s, const uint64_t *ends, uint64_t event)
{
    static const char zeros[1024];
    uint64_t from = event < 2 ? 0 : ends[event - 2], bytes = ends[event - 1] - from;
    int fd = openat(s->fd, FIRST, O_WRONLY | O_CLOEXEC);
    ck_assert_int_eq(pwrite(fd, zeros, bytes, (off_t)from), (ssize_t)bytes);
    close(fd);
}

START_TEST(events_that_were_not_synced_may_have_a_hole)
{
    for (uint64_t lost = 3; lost <= 5; lost++) {
        struct scratch s = scratch_make();
        struct mr_eventlog *log = open_log(&s, MR_EVENTLOG_SEGMENT_BYTES);
        struct mr_mend_note note = {0};
        uint64_t ends[6];
        fill(log, 1, 1);
        fill(log, 2, 2);
        for (uint64_t n = 1; n <= 6; n++) {
            if (n >= 3)
                ck_assert_uint_eq(append(log, n), n);
            ends[n - 1] = n < 2 ? scratch_size(&s, FIRST) / 2 : scratch_size(&s, FIRST);
        }
        mr_eventlog_close(log);
        lose(&s, ends, lost);
        ck_assert_int_eq(mr_eventlog_open(s.fd, 1 << 20, &log, &note, NULL), 0);
        ck_assert_uint_eq(mr_eventlog_last(log), lost - 1);
        ck_assert_uint_eq(note.cut_bytes, ends[5] - ends[lost - 2]);
        fill(log, lost, 9);
        ck_assert_uint_eq(read_all(log, 1, 100).count, 9);
        mr_eventlog_close(log);
        log = open_log(&s, MR_EVENTLOG_SEGMENT_BYTES);
        ck_assert_uint_eq(mr_eventlog_last(log), 9);
        mr_eventlog_close(log);
        scratch_remove(&s);
    }
}
END_TEST

/* One that was synced may not: what comes behind the sync says so. */
START_TEST(events_that_were_synced_may_have_no_hole)
{
    struct scratch s = scratch_make();
    struct mr_eventlog *log = open_log(&s, MR_EVENTLOG_SEGMENT_BYTES);
    uint64_t ends[4];
    for (uint64_t n = 1; n <= 3; n++) {
        fill(log, n, n);
        ends[n - 1] = scratch_size(&s, FIRST);
    }
    fill(log, 4, 6);
    mr_eventlog_close(log);
    lose(&s, ends, 3);
    refused(&s, "damaged record at offset");
    scratch_remove(&s);
}
END_TEST

START_TEST(damage_in_the_middle_is_refused)
{
    struct scratch s = scratch_make();
    struct mr_eventlog *log = open_log(&s, 1000);
    fill(log, 1, 20);
    mr_eventlog_close(log);
    uint64_t size = scratch_size(&s, FIRST);
    for (uint64_t at = 0; at < size; at += 7) {
        scratch_flip(&s, FIRST, at);
        refused(&s, " at offset ");
        scratch_flip(&s, FIRST, at);
    }
    scratch_cut(&s, FIRST, size - 3);
    refused(&s, " at offset ");
    mr_eventlog_close(NULL);
    scratch_remove(&s);
}
END_TEST

START_TEST(a_flipped_bit_before_the_last_record_is_refused)
{
    struct scratch s = scratch_make();
    struct mr_eventlog *log = open_log(&s, 1 << 20);
    fill(log, 1, 3);
    mr_eventlog_close(log);
    scratch_flip(&s, FIRST, scratch_size(&s, FIRST) / 2);
    refused(&s, FIRST);
    scratch_remove(&s);
}
END_TEST

START_TEST(gaps_and_repeats_are_refused)
{
    struct scratch s = scratch_make();
    struct mr_eventlog *log = open_log(&s, 1000);
    fill(log, 1, 20);
    mr_eventlog_close(log);
    char name[32] = "";
    for (int n = 2; n < 20 && (name[0] == '\0' || faccessat(s.fd, name, F_OK, 0) != 0); n++)
        snprintf(name, sizeof(name), "events/%08d.log", n);
    ck_assert_int_eq(renameat(s.fd, name, s.fd, "aside"), 0);
    refused(&s, "are missing");
    ck_assert_int_eq(renameat(s.fd, "aside", s.fd, "events/00000003.log"), 0);
    refused(&s, "00000003.log");
    ck_assert_int_eq(renameat(s.fd, "events/00000003.log", s.fd, name), 0);
    /* what is no segment's name is nobody's business */
    scratch_append(&s, "events/1.log", "rubbish");
    scratch_append(&s, "events/00000001.log.bak", "rubbish");
    log = open_log(&s, 1000);
    mr_eventlog_close(log);
    /* old segments may be taken away, from the front */
    ck_assert_int_eq(unlinkat(s.fd, FIRST, 0), 0);
    log = open_log(&s, 1000);
    ck_assert_uint_gt(mr_eventlog_first(log), 1);
    ck_assert_uint_eq(read_all(log, 1, 100).first, mr_eventlog_first(log));
    ck_assert_uint_eq(mr_eventlog_last(log), 20);
    mr_eventlog_close(log);
    scratch_remove(&s);
}
END_TEST

START_TEST(an_event_is_logged_once)
{
    struct scratch s = scratch_make();
    struct mr_eventlog *log = open_log(&s, 5000);
    fill(log, 1, 500);
    for (int reopened = 0; reopened < 2; reopened++) {
        for (uint64_t n = 1; n <= 500; n += 23) {
            size_t bytes;
            uint64_t sequence = 0;
            char *text = event_text(n, &bytes);
            int r = mr_eventlog_append_unless_logged(log, text, bytes, &sequence, NULL);
            ck_assert_int_eq(r, -EEXIST);
            ck_assert_uint_eq(sequence, n);
            free(text);
        }
        mr_eventlog_close(log);
        log = open_log(&s, 5000);
    }
    size_t bytes;
    uint64_t sequence = 0;
    char *text = event_text(501, &bytes);
    ck_assert_int_eq(mr_eventlog_append_unless_logged(log, text, bytes, &sequence, NULL), 0);
    ck_assert_uint_eq(sequence, 501);
    /* not synced yet, and found all the same */
    ck_assert_int_eq(mr_eventlog_append_unless_logged(log, text, bytes, &sequence, NULL), -EEXIST);
    ck_assert_uint_eq(sequence, 501);
    free(text);
    mr_eventlog_close(log);
    scratch_remove(&s);
}
END_TEST

static void say_of_store(struct mr_eventlog *log, const char *type)
{
    char *text;
    size_t bytes;
    uint64_t sequence;
    const struct mr_event e = {.type = type, .id = type, .source = "/millrace/test"};
    ck_assert_int_eq(mr_event_encode(&e, &text, &bytes), 0);
    ck_assert_int_eq(mr_eventlog_append(log, text, bytes, &sequence, NULL), 0);
    ck_assert_int_eq(mr_eventlog_sync(log, NULL), 0);
    free(text);
}

START_TEST(the_last_word_about_the_store_is_known)
{
    struct scratch s = scratch_make();
    struct mr_eventlog *log = open_log(&s, 1000); /* a few events a segment */
    ck_assert(!mr_eventlog_says_full(log));
    say_of_store(log, MR_EVENT_STORE_FULL);
    ck_assert(mr_eventlog_says_full(log));
    fill(log, 2, 20);
    mr_eventlog_close(log);
    log = open_log(&s, 1000);
    ck_assert(mr_eventlog_says_full(log));
    say_of_store(log, MR_EVENT_STORE_SPACE);
    ck_assert(!mr_eventlog_says_full(log));
    mr_eventlog_close(log);
    log = open_log(&s, 1000);
    ck_assert(!mr_eventlog_says_full(log));
    mr_eventlog_close(log);
    scratch_remove(&s);
}
END_TEST

static int try_append(struct mr_eventlog *log, uint64_t n, struct mr_err *err)
{
    size_t bytes;
    uint64_t sequence = 0;
    char *text = event_text(n, &bytes);
    int r = mr_eventlog_append(log, text, bytes, &sequence, err);
    free(text);
    return r;
}

static void log_is_whole(const struct scratch *s, struct mr_eventlog *log, uint64_t last)
{
    struct mr_mend_note note = {0};
    struct mr_err err = {0};
    mr_eventlog_close(log);
    ck_assert_msg(mr_eventlog_open(s->fd, 1000, &log, &note, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(note.cut_bytes, 0);
    ck_assert_uint_eq(read_all(log, 1, 1000).count, last);
    mr_eventlog_close(log);
}

START_TEST(without_room_nothing_is_appended_and_the_log_stays_good)
{
    static const int errors[] = {ENOSPC, EDQUOT, EROFS};
    for (size_t i = 0; i < 3; i++) {
        struct scratch s = scratch_make();
        struct mr_eventlog *log = open_log(&s, MR_EVENTLOG_SEGMENT_BYTES);
        struct mr_err err = {0};
        fill(log, 1, 3);
        sick_disk.no_room = errors[i];
        ck_assert_int_eq(try_append(log, 4, &err), -errors[i]);
        ck_assert_ptr_nonnull(strstr(err.text, "appending"));
        sick_disk.no_room = ENOSPC;
        sick_disk.room_bytes = 20; /* a piece of it */
        ck_assert_int_eq(try_append(log, 4, NULL), -ENOSPC);
        ck_assert_int_eq(try_append(log, 4, NULL), -ENOSPC);
        ck_assert_int_eq(mr_eventlog_sync(log, NULL), 0);
        ck_assert_uint_eq(read_all(log, 1, 10).count, 3);
        sick_disk.no_room = 0;
        fill(log, 4, 5);
        log_is_whole(&s, log, 5);
        scratch_remove(&s);
    }
}
END_TEST

START_TEST(without_room_for_a_new_segment_the_old_one_grows)
{
    struct scratch s = scratch_make();
    struct mr_eventlog *log = open_log(&s, 1000);
    uint64_t n = 0;
    sick_disk.no_files = ENOSPC;
    while (n < 40)
        fill(log, n + 1, n + 1), n++;
    ck_assert_int_eq(faccessat(s.fd, "events/00000001.log", F_OK, 0), 0);
    ck_assert_uint_eq(read_all(log, 1, 100).count, 40);
    sick_disk.no_room = ENOSPC; /* and its room comes to an end as well */
    ck_assert_int_eq(try_append(log, 41, NULL), -ENOSPC);
    sick_disk.no_files = 0;
    sick_disk.no_room = 0;
    fill(log, 41, 60);
    ck_assert_int_eq(faccessat(s.fd, "events/00000041.log", F_OK, 0), 0);
    log_is_whole(&s, log, 60);
    scratch_remove(&s);
}
END_TEST

/* What the disk says then is no reason to wait: that there was no room is no promise that what was
 * written before is there. */
START_TEST(a_failed_sync_or_another_error_is_the_end)
{
    for (int how = 0; how < 4; how++) {
        struct scratch s = scratch_make();
        struct mr_eventlog *log = open_log(&s, 1000);
        int r = 0;
        fill(log, 1, 3);
        append(log, 4);
        if (how == 0)
            sick_disk.fail_fdatasync = 1;
        else if (how == 1)
            sick_disk.no_room = EIO;
        else if (how == 2)
            sick_disk.fail_fsync = 1; /* of the folder, for a new segment */
        else
            sick_disk.no_files = EIO;
        for (uint64_t n = 5; r == 0 && n < 40; n++)
            if ((r = try_append(log, n, NULL)) == 0)
                r = mr_eventlog_sync(log, NULL);
        ck_assert_int_eq(r, -EIO);
        sick_disk.no_room = sick_disk.no_files = 0;
        ck_assert_int_eq(try_append(log, 5, NULL), -EIO);
        ck_assert_int_eq(mr_eventlog_sync(log, NULL), -EIO);
        mr_eventlog_close(log);
        scratch_remove(&s);
    }
}
END_TEST

START_TEST(what_is_no_event_is_refused_and_the_log_stays_good)
{
    struct scratch s = scratch_make();
    struct mr_eventlog *log = open_log(&s, 5000);
    uint64_t sequence = 77;
    ck_assert_int_eq(mr_eventlog_append(log, "{}", 2, &sequence, NULL), -EINVAL);
    ck_assert_uint_eq(sequence, 77);
    size_t bytes;
    char *text = event_text(1, &bytes);
    text[bytes - 3] = '\n';
    ck_assert_int_eq(mr_eventlog_append(log, text, bytes, &sequence, NULL), -EINVAL);
    free(text);
    fill(log, 1, 2);
    mr_eventlog_close(log);
    scratch_remove(&s);
}
END_TEST

START_TEST(records_are_taken_apart_strictly)
{
    struct mr_eventlog_record r;
    size_t bytes;
    char *event = event_text(1, &bytes), text[2048];
    snprintf(text, sizeof(text), "7 millrace.movie.ready.v1 movie-1.ready %s", event);
    ck_assert_int_eq(mr_eventlog_parse(text, strlen(text), &r), 0);
    ck_assert_uint_eq(r.sequence, 7);
    ck_assert_str_eq(r.json, event);
    static const char *const fronts[] = {
        "7 millrace.movie.ready.v1 movie-2.ready %s",
        "7  millrace.movie.ready.v1 movie-1.ready %s",
        "07 millrace.movie.ready.v1 movie-1.ready %s",
        "-7 millrace.movie.ready.v1 movie-1.ready %s",
        "99999999999999999999 millrace.movie.ready.v1 movie-1.ready %s",
        "%s",
        "7 %s",
        "0 millrace.movie.ready.v1 movie-1.ready %s"};
    for (size_t i = 0; i < sizeof(fronts) / sizeof(fronts[0]); i++) {
        const char *mark = strstr(fronts[i], "%s");
        snprintf(text, sizeof(text), "%.*s%s", (int)(mark - fronts[i]), fronts[i], event);
        ck_assert_int_eq(mr_eventlog_parse(text, strlen(text), &r), -EPROTO);
    }
    free(event);
}
END_TEST

struct race {
    struct mr_eventlog *log;
    uint64_t total;
    _Atomic bool failed;
};

static void *read_along(void *arg)
{
    struct race *race = arg;
    for (uint64_t next = 1; next <= race->total;) {
        struct seen seen = {0};
        if (mr_eventlog_read(race->log, next, 100, see, &seen) != 0 ||
            (seen.count > 0 && seen.first != next)) {
            atomic_store(&race->failed, true);
            return NULL;
        }
        next += seen.count;
        if (seen.count == 0)
            sched_yield();
    }
    return NULL;
}

START_TEST(readers_follow_a_writer)
{
    struct scratch s = scratch_make();
    struct race race = {.log = open_log(&s, 30000), .total = 1500};
    pthread_t readers[2];
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&readers[i], NULL, read_along, &race), 0);
    for (uint64_t n = 1; n <= race.total; n += 3)
        fill(race.log, n, n + 2);
    for (size_t i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
    ck_assert(!atomic_load(&race.failed));
    mr_eventlog_close(race.log);
    scratch_remove(&s);
}
END_TEST

MR_SUITE("eventlog", T(numbers_run_from_one_and_are_seen_when_synced),
         T(segments_follow_each_other), T(a_torn_tail_is_cut_and_told),
         T(events_that_were_not_synced_may_have_a_hole),
         T(events_that_were_synced_may_have_no_hole), T(damage_in_the_middle_is_refused),
         T(a_flipped_bit_before_the_last_record_is_refused), T(gaps_and_repeats_are_refused),
         T(an_event_is_logged_once), T(the_last_word_about_the_store_is_known),
         T(without_room_nothing_is_appended_and_the_log_stays_good),
         T(without_room_for_a_new_segment_the_old_one_grows),
         T(a_failed_sync_or_another_error_is_the_end),
         T(what_is_no_event_is_refused_and_the_log_stays_good), T(records_are_taken_apart_strictly),
         T(readers_follow_a_writer))
