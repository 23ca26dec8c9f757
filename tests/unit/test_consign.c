/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From files to movies and from verdicts to files, with a real transfer and a journal in memory:
 * the test plays track before it and the server behind it. Which id does a file get, when is it
 * offered again, and when is it left alone?
 */
#include "consign_rig.h"

/* ---- tests ---- */

START_TEST(new_file_is_committed_once)
{
    struct mr_ulid id;
    uint32_t revision;
    begin(false, false);
    write_file("a.txt", "one", O_TRUNC);
    tell(1, "a.txt", MR_GROWTH_FOUND);
    silence(); /* it settles only when it is complete */
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    ck_assert(!mr_consign_idle(consign));
    ship(&id, &revision);
    ck_assert_uint_eq(revision, 1);
    ck_assert_uint_eq(counts().committed, 1);
    ck_assert(mr_consign_idle(consign));
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    silence();
    stop(); /* a restarted agent knows it */
    make_consign(false, true);
    greet();
    tell(9, "a.txt", MR_GROWTH_COMPLETE);
    silence();
    ck_assert(mr_consign_idle(consign));
    ck_assert(counts().committed == 1 && counts().known == 1);
    end();
}
END_TEST

START_TEST(what_was_open_is_resumed)
{
    begin(false, false);
    write_file("a.txt", "one", O_TRUNC);
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    open_it();
    struct mr_ulid id = said.open.movie;
    stop();
    make_consign(false, false);
    greet();
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    expect(MR_OPEN);
    ck_assert(mr_ulid_equal(&said.open.movie, &id));
    end();
}
END_TEST

/* An agent that was away while the file went: the server keeps what came and says that it failed;
 * the same name may come again. */
static void is_lost(void)
{
    struct mr_ulid id = said.open.movie;
    stop();
    make_consign(false, false);
    greet();
    open_it();
    ck_assert(mr_ulid_equal(&said.open.movie, &id));
    ck_assert_str_eq(said.open.path, "a.txt");
    expect(MR_FAIL);
    ck_assert(mr_ulid_equal(&said.fail.movie, &id));
    static struct mr_message m;
    m = (struct mr_message){.type = MR_FAILED, .failed = {.movie = id, .code = MR_REASON_SOURCE}};
    hear(&m);
    ck_assert(mr_consign_idle(consign) && counts().files == 0);
    write_file("a.txt", "two", O_TRUNC);
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    expect(MR_OPEN);
    ck_assert(!mr_ulid_equal(&said.open.movie, &id));
    end();
}

START_TEST(what_went_meanwhile_fails)
{
    begin(false, false);
    write_file("a.txt", "one", O_TRUNC);
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    open_it();
    remove_file("a.txt");
    is_lost();
}
END_TEST

START_TEST(what_was_replaced_meanwhile_fails)
{
    begin(false, false);
    write_file("a.txt", "one", O_TRUNC);
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    open_it();
    write_file("b.txt", "another", O_TRUNC);
    char from[64], to[64];
    snprintf(from, sizeof(from), "%s/b.txt", dir);
    snprintf(to, sizeof(to), "%s/a.txt", dir);
    ck_assert_int_eq(rename(from, to), 0);
    is_lost();
}
END_TEST

static void commit_of(const struct mr_ulid *id, const struct mr_fs_facts *source)
{
    static struct mr_message m;
    m = (struct mr_message){.type = MR_COMMITTED,
                            .committed = {.movie = *id,
                                          .revision = 1,
                                          .source_bytes = source->size,
                                          .source_mtime_ns = source->mtime_ns}};
    hear(&m);
}

/* The agent died after the server's COMMITTED and before it could write that down, and the file
 * went on changing: what is in the store is not what the file is now. */
START_TEST(committed_as_it_was_is_not_the_end)
{
    for (int growing = 0; growing <= 1; growing++) {
        struct mr_ulid again;
        uint32_t revision;
        struct mr_fs_facts shipped;
        begin(false, false);
        write_file("m.mrc", "header and a frame", O_TRUNC);
        shipped = look(1, "m.mrc", MR_GROWTH_COMPLETE)->facts;
        tell_movie(1, "m.mrc", MR_GROWTH_COMPLETE, MR_PIXEL_I16);
        open_it();
        struct mr_ulid id = said.open.movie;
        stop();
        make_consign(false, false);
        greet();
        write_file("m.mrc", "another frame", O_APPEND);
        tell_movie(1, "m.mrc", growing ? MR_GROWTH_FOUND : MR_GROWTH_COMPLETE, MR_PIXEL_I16);
        expect(MR_OPEN);
        ck_assert(mr_ulid_equal(&said.open.movie, &id));
        commit_of(&id, &shipped);
        if (growing) {
            silence();
            tell_movie(1, "m.mrc", MR_GROWTH_COMPLETE, MR_PIXEL_I16);
        }
        ship(&again, &revision);
        ck_assert(mr_ulid_equal(&again, &id));
        ck_assert_uint_eq(revision, 2);
        end();
    }
}
END_TEST

/* The same, but the file is what it was: found growing at first, as every file is. */
START_TEST(committed_as_it_is_is_the_end)
{
    begin(false, false);
    write_file("m.mrc", "header and a frame", O_TRUNC);
    struct mr_fs_facts shipped = look(1, "m.mrc", MR_GROWTH_FOUND)->facts;
    tell_movie(1, "m.mrc", MR_GROWTH_FOUND, MR_PIXEL_I16);
    open_it();
    struct mr_ulid id = said.open.movie;
    commit_of(&id, &shipped);
    tell_movie(1, "m.mrc", MR_GROWTH_COMPLETE, MR_PIXEL_I16);
    silence();
    stop(); /* nor is it in the next life: the journal has its size and time */
    make_consign(false, false);
    greet();
    tell_movie(1, "m.mrc", MR_GROWTH_COMPLETE, MR_PIXEL_I16);
    silence();
    end();
}
END_TEST

START_TEST(changed_after_commit_is_a_revision)
{
    struct mr_ulid id, again;
    uint32_t revision;
    begin(false, false);
    write_file("a.log", "one", O_TRUNC);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    ship(&id, &revision);
    write_file("a.log", "two", O_APPEND);
    tell(1, "a.log", MR_GROWTH_CHANGED);
    silence();
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    ship(&again, &revision);
    ck_assert(mr_ulid_equal(&id, &again));
    ck_assert_uint_eq(revision, 2);
    stop(); /* and the same over a restart */
    make_consign(false, false);
    greet();
    write_file("a.log", "three", O_APPEND);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    ship(&again, &revision);
    ck_assert(mr_ulid_equal(&id, &again));
    ck_assert_uint_eq(revision, 3);
    end();
}
END_TEST

START_TEST(replaced_is_another_movie)
{
    struct mr_ulid id, other;
    uint32_t revision;
    begin(false, false);
    write_file("a.log", "one", O_TRUNC);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    ship(&id, &revision);
    tell(1, "a.log", MR_GROWTH_REPLACED);
    write_file("b", "other", O_TRUNC);
    char from[256], to[256];
    snprintf(from, sizeof(from), "%s/b", dir);
    snprintf(to, sizeof(to), "%s/a.log", dir);
    ck_assert_int_eq(rename(from, to), 0);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    ship(&other, &revision);
    ck_assert(!mr_ulid_equal(&id, &other));
    ck_assert_uint_eq(revision, 1);
    end();
}
END_TEST

/* CHANGED while a revision is on its way: abandoned, and the same revision read anew. */
START_TEST(changed_on_its_way_begins_again)
{
    struct mr_ulid id, again;
    uint32_t revision;
    begin(false, false);
    write_file("a.log", "one", O_TRUNC);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    open_it();
    id = said.open.movie;
    write_file("a.log", "two", O_APPEND);
    tell(1, "a.log", MR_GROWTH_CHANGED);
    expect(MR_ABANDON);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    silence();
    answer(MR_ABANDONED, &id, 0);
    ship(&again, &revision);
    ck_assert(!mr_ulid_equal(&id, &again));
    write_file("a.log", "three", O_APPEND);
    tell(1, "a.log", MR_GROWTH_CHANGED);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    open_it();
    write_file("a.log", "four", O_APPEND);
    tell(1, "a.log", MR_GROWTH_CHANGED);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    expect(MR_ABANDON);
    answer(MR_ABANDONED, &again, 0);
    ship(&id, &revision);
    ck_assert(mr_ulid_equal(&id, &again));
    ck_assert_uint_eq(revision, 2);
    end();
}
END_TEST

/* All slabs are durable, but the file is not what END would say of it. */
START_TEST(changed_before_end_is_not_ended)
{
    begin(false, false);
    write_file("a.log", "one", O_TRUNC);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    open_it();
    struct mr_ulid id = said.open.movie;
    take_slab();
    write_file("a.log", "two", O_APPEND);
    expect(MR_ABANDON);
    answer(MR_ABANDONED, &id, 0);
    silence(); /* until track has looked again */
    ck_assert_uint_eq(counts().stale, 1);
    tell(1, "a.log", MR_GROWTH_CHANGED);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    expect(MR_OPEN);
    ck_assert_uint_eq(counts().stale, 0);
    end();
}
END_TEST

/* The server says each time that other bytes arrived: not for ever. */
START_TEST(abandoned_again_and_again_is_given_up)
{
    begin(false, false);
    write_file("a.log", "one", O_TRUNC);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    for (int i = 0; i < 3; i++) {
        open_it();
        struct mr_ulid id = said.open.movie;
        answer(MR_ABANDONED, &id, 0);
    }
    silence();
    ck_assert_uint_eq(counts().failed, 1);
    ck_assert(mr_consign_idle(consign));
    end();
}
END_TEST

static void hold(const struct mr_ulid *id)
{
    static struct mr_message m;
    m = (struct mr_message){
        .type = MR_HOLD,
        .hold = {.movie = *id, .code = MR_REASON_PERMISSION, .retry_ms = 20000, .text = "quota"}};
    hear(&m);
    now_ns += 20 * MR_NS_PER_S;
}

/* A service waits for the quota to be raised for as long as it takes; a push has to end. */
START_TEST(held_for_long_is_given_up_by_a_push_alone)
{
    for (int push = 0; push <= 1; push++) {
        begin(push, push);
        write_file("a.log", "one", O_TRUNC);
        tell(1, "a.log", MR_GROWTH_COMPLETE);
        expect(MR_OPEN);
        struct mr_ulid id = said.open.movie;
        for (int i = 0; i < 2; i++) {
            hold(&id);
            expect(MR_OPEN);
        }
        hold(&id);
        expect(push ? MR_ABANDON : MR_OPEN);
        if (push)
            answer(MR_ABANDONED, &id, 0);
        silence();
        ck_assert_int_eq(mr_consign_idle(consign), push);
        ck_assert_int_eq((int)counts().failed, push);
        end();
    }
}
END_TEST

START_TEST(mismatch_begins_again_under_another_id)
{
    struct mr_ulid id, other;
    uint32_t revision;
    begin(false, true);
    write_file("a.log", "one", O_TRUNC);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    open_it();
    id = said.open.movie;
    answer(MR_FAILED, &id, MR_REASON_MISMATCH);
    ck_assert_uint_eq(counts().failed, 0);
    ship(&other, &revision);
    ck_assert(!mr_ulid_equal(&id, &other));
    end();
}
END_TEST

/* A failed movie that goes on growing is left alone until it is another one. */
START_TEST(failed_stays_failed_while_it_grows)
{
    begin(false, false);
    write_file("m.mrc", "header and a frame", O_TRUNC);
    tell_movie(1, "m.mrc", MR_GROWTH_FOUND, MR_PIXEL_I16);
    open_it();
    struct mr_ulid id = said.open.movie;
    answer(MR_FAILED, &id, MR_REASON_UNSUPPORTED);
    tell_movie(1, "m.mrc", MR_GROWTH_GREW, MR_PIXEL_I16);
    silence();
    tell_movie(1, "m.mrc", MR_GROWTH_COMPLETE, MR_PIXEL_I16);
    silence();
    ck_assert_uint_eq(counts().failed, 1);
    stop(); /* a run that ends must not call it well */
    make_consign(false, true);
    greet();
    tell_movie(9, "m.mrc", MR_GROWTH_COMPLETE, MR_PIXEL_I16);
    silence();
    ck_assert_uint_eq(counts().failed, 1);
    end();
}
END_TEST

START_TEST(refused_pixels_are_said_once)
{
    begin(false, false);
    outputs[0] = MR_WISH_MRC;
    write_file("m.mrc", "header and a frame", O_TRUNC);
    for (int i = 0; i < 5; i++) {
        struct mr_growth *g = look(1, "m.mrc", i == 0 ? MR_GROWTH_FOUND : MR_GROWTH_GREW);
        g->view.kind = MR_KIND_MOVIE;
        g->view.pixel = MR_PIXEL_U4;
        g->view.width = 7; /* rows of half a byte too much */
        g->view.height = 4;
        g->view.data_offset = 1024;
        mr_consign_growth(consign, g, ++now_ns);
    }
    silence();
    ck_assert_uint_eq(counts().failed, 1);
    ck_assert(mr_consign_idle(consign));
    end();
}
END_TEST

START_TEST(gone_files_are_forgotten)
{
    begin(false, false);
    write_file("a.txt", "one", O_TRUNC);
    write_file("m.mrc", "header and a frame", O_TRUNC);
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    tell_movie(2, "m.mrc", MR_GROWTH_FOUND, MR_PIXEL_I16);
    tell(1, "a.txt", MR_GROWTH_GONE); /* it waited */
    remove_file("a.txt");
    open_it();
    struct mr_ulid id = said.open.movie;
    remove_file("m.mrc");
    tell_movie(2, "m.mrc", MR_GROWTH_GONE, MR_PIXEL_I16);
    expect(MR_FAIL);
    answer(MR_FAILED, &id, MR_REASON_SOURCE);
    ck_assert_uint_eq(counts().files, 0);
    tell(7, "never-seen", MR_GROWTH_GONE);
    end();
}
END_TEST

/* Complete, and removed while it is read: the open file still has the bytes. */
START_TEST(gone_on_its_way_is_committed)
{
    begin(false, false);
    write_file("a.txt", "one", O_TRUNC);
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    open_it();
    struct mr_ulid id = said.open.movie;
    remove_file("a.txt");
    tell(1, "a.txt", MR_GROWTH_GONE);
    take_slab();
    expect(MR_END);
    commit_as(&id, 1, false, &id);
    ck_assert_uint_eq(counts().files, 0);
    ck_assert_uint_eq(counts().committed, 1);
    end();
}
END_TEST

START_TEST(broken_is_told_by_the_daemon_and_refused_by_push)
{
    begin(false, false);
    write_file("m.mrc", "no header", O_TRUNC);
    tell(1, "m.mrc", MR_GROWTH_BROKEN);
    open_it();
    take_slab();
    expect(MR_FAIL);
    ck_assert_str_eq(said.fail.text, "a reason");
    stop();
    make_consign(true, true);
    greet();
    tell(1, "m.mrc", MR_GROWTH_BROKEN);
    silence();
    ck_assert_uint_eq(counts().failed, 1);
    end();
}
END_TEST

/* The same content was there under an older id: later changes are revisions of that movie. */
START_TEST(known_content_goes_on_under_the_older_id)
{
    struct mr_ulid older, id;
    uint32_t revision;
    begin(false, false);
    mr_ulid_new(1, &older);
    write_file("a.log", "one", O_TRUNC);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    open_it();
    id = said.open.movie;
    commit_as(&id, 4, true, &older);
    ck_assert_uint_eq(counts().known, 1);
    write_file("a.log", "two", O_APPEND);
    tell(1, "a.log", MR_GROWTH_CHANGED);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    ship(&id, &revision);
    ck_assert(mr_ulid_equal(&id, &older));
    ck_assert_uint_eq(revision, 5);
    end();
}
END_TEST

/* Not there any more, or not what track saw: neither failed nor committed. */
START_TEST(stale_is_counted)
{
    begin(true, true);
    write_file("a.txt", "one", O_TRUNC);
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    write_file("a.txt", "two", O_APPEND);
    write_file("b.txt", "one", O_TRUNC);
    tell(2, "b.txt", MR_GROWTH_COMPLETE);
    remove_file("b.txt");
    silence();
    ck_assert_uint_eq(counts().stale, 2);
    ck_assert(mr_consign_idle(consign));
    end();
}
END_TEST

/* A push that is interrupted leaves nothing behind at the server. */
START_TEST(stop_abandons)
{
    begin(true, true);
    write_file("a.txt", "one", O_TRUNC);
    write_file("b.txt", "one", O_TRUNC);
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    open_it();
    struct mr_ulid id = said.open.movie;
    tell(2, "b.txt", MR_GROWTH_COMPLETE);
    mr_consign_stop(consign);
    expect(MR_ABANDON);
    ck_assert(!mr_consign_idle(consign));
    answer(MR_ABANDONED, &id, 0);
    silence();
    ck_assert(mr_consign_idle(consign));
    ck_assert_uint_eq(counts().committed, 0);
    end();
}
END_TEST

static void grow_to(const char *name, off_t bytes)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    ck_assert_int_eq(truncate(path, bytes), 0);
}

/* Eight movies, or four times as many small files; one that is large waits until it has room. */
START_TEST(small_files_take_less_room)
{
    enum { FILES = 40, ROOM = 32 };
    char name[16];
    struct mr_ulid first;
    begin(true, true);
    for (uint64_t i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "f%u", (unsigned)i);
        write_file(name, name, O_TRUNC);
        if (i == ROOM)
            grow_to(name, 2 << 20);
        tell(i + 1, name, MR_GROWTH_COMPLETE);
    }
    expect(MR_OPEN);
    first = said.open.movie;
    ck_assert_uint_eq(counts().moving, ROOM);
    for (int i = 1; i < ROOM; i++)
        expect(MR_OPEN);
    silence();
    answer(MR_ABANDONED, &first, 0);
    silence();
    ck_assert_uint_eq(counts().moving, ROOM - 1);
    mr_consign_stop(consign);
    for (int i = 1; i < ROOM; i++) {
        expect(MR_ABANDON);
        const struct mr_ulid id = said.abandon.movie;
        answer(MR_ABANDONED, &id, 0);
    }
    ck_assert(mr_consign_idle(consign));
    for (unsigned i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        remove_file(name);
    }
    end();
}
END_TEST

MR_SUITE("consign", T(new_file_is_committed_once), T(what_was_open_is_resumed),
         T(what_went_meanwhile_fails), T(what_was_replaced_meanwhile_fails),
         T(committed_as_it_was_is_not_the_end), T(committed_as_it_is_is_the_end),
         T(changed_after_commit_is_a_revision), T(replaced_is_another_movie),
         T(changed_on_its_way_begins_again), T(changed_before_end_is_not_ended),
         T(abandoned_again_and_again_is_given_up), T(held_for_long_is_given_up_by_a_push_alone),
         T(mismatch_begins_again_under_another_id), T(failed_stays_failed_while_it_grows),
         T(refused_pixels_are_said_once), T(gone_files_are_forgotten),
         T(gone_on_its_way_is_committed), T(broken_is_told_by_the_daemon_and_refused_by_push),
         T(known_content_goes_on_under_the_older_id), T(stale_is_counted), T(stop_abandons),
         T(small_files_take_less_room))
