/* SPDX-License-Identifier: Apache-2.0 */
/* Is it written down how a source was when it was read, and never of another time than that? */
#include "consign_rig.h"

#include <sys/stat.h>

static struct mr_journal_movie row;
static struct mr_ulid id;
static uint32_t revision;

/* As the server says it of the END that it committed. */
static void commit_of(uint64_t source_bytes, int64_t source_mtime_ns)
{
    static struct mr_message m;
    m = (struct mr_message){.type = MR_COMMITTED,
                            .committed = {.movie = id,
                                          .revision = revision,
                                          .source_bytes = source_bytes,
                                          .source_mtime_ns = source_mtime_ns,
                                          .event = "e.ready"}};
    hear(&m);
    ck_assert_int_eq(mr_journal_find(journal, &id, &row, NULL), 0);
}

static void up_to_end(void)
{
    open_it();
    id = said.open.movie;
    revision = said.open.revision;
    take_slab();
    expect(MR_END);
}

static struct mr_fs_facts facts_of(const char *name)
{
    return look(1, name, MR_GROWTH_COMPLETE)->facts;
}

START_TEST(committed_source_is_known)
{
    begin(false, false);
    write_file("a.txt", "one", 0);
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    up_to_end();
    struct mr_fs_facts facts = facts_of("a.txt");
    ck_assert_uint_eq(said.end.crc_file, 1); /* as take_slab has it */
    commit_of(facts.size, facts.mtime_ns);
    ck_assert_int_eq(row.state, MR_JOURNAL_COMMITTED);
    ck_assert_int_eq(row.source.ctime_ns, facts.ctime_ns);
    ck_assert(row.source.fresh); /* it was written a moment ago */
    ck_assert_uint_eq(row.source.crc_file, 1);
    end();
}
END_TEST

START_TEST(touched_while_read_is_not_known)
{
    begin(false, false);
    write_file("a.txt", "one", 0);
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    struct mr_fs_facts facts = facts_of("a.txt");
    open_it();
    id = said.open.movie;
    revision = said.open.revision;
    take_slab();
    for (struct mr_fs_facts now = facts; now.ctime_ns == facts.ctime_ns;) { /* ctime alone */
        char path[256];
        snprintf(path, sizeof(path), "%s/a.txt", dir);
        ck_assert_int_eq(chmod(path, 0640), 0);
        now = facts_of("a.txt");
    }
    expect(MR_END);
    commit_of(facts.size, facts.mtime_ns);
    ck_assert_int_eq(row.state, MR_JOURNAL_COMMITTED);
    ck_assert_int_eq(row.source.ctime_ns, 0);
    end();
}
END_TEST

START_TEST(verdict_about_another_time_is_not_taken)
{
    begin(false, false);
    write_file("a.txt", "one", 0);
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    up_to_end();
    struct mr_fs_facts facts = facts_of("a.txt");
    commit_of(facts.size, facts.mtime_ns - 1);
    ck_assert_int_eq(row.source.ctime_ns, 0);
    end();
}
END_TEST

/* The agent is killed between END and its verdict. */
static void die_after_end(bool freed)
{
    static const bool yes[1] = {true};
    begin(false, false);
    stop();
    frees = freed ? yes : NULL;
    make_consign(false, false);
    greet();
    write_file("a.txt", "one", 0);
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    up_to_end();
    struct mr_fs_facts facts = facts_of("a.txt");
    stop();
    make_consign(false, false);
    greet();
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    expect(MR_OPEN);
    ck_assert(mr_ulid_equal(&said.open.movie, &id));
    commit_of(facts.size, facts.mtime_ns);
    ck_assert_int_eq(row.state, MR_JOURNAL_COMMITTED);
    ck_assert_int_eq(row.source.ctime_ns, freed ? facts.ctime_ns : 0);
    end();
}

START_TEST(source_outlives_the_agent_where_it_is_to_be_freed)
{
    die_after_end(true);
    die_after_end(false);
}
END_TEST

/* What the tail does with a slab that could not be read. */
static struct mr_shipment *fail_to_read(uint64_t slab, int code)
{
    struct mr_pick pick;
    ck_assert(mr_transfer_pick(transfer, now_ns, &pick));
    ck_assert_uint_eq(pick.slab, slab);
    ck_assert(mr_transfer_unpick(transfer, &pick, now_ns + MR_NS_PER_S));
    mr_consign_read_failed(consign, pick.owner, pick.slab, code, now_ns);
    return pick.owner;
}

static bool failed(void)
{
    while (listen_for())
        if (said.type == MR_FAIL)
            return true;
    return false;
}

/* One bad sector held up all other movies, a second at a time. */
START_TEST(slab_that_cannot_be_read_fails_its_movie_alone)
{
    struct mr_pick pick;
    begin(false, false);
    write_file("a.log", "one", O_TRUNC);
    write_file("b.txt", "two", O_TRUNC);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    tell(2, "b.txt", MR_GROWTH_COMPLETE);
    open_it();
    open_it();
    grant_credit();
    struct mr_shipment *bad = fail_to_read(0, -EIO);
    ck_assert(mr_transfer_pick(transfer, now_ns, &pick)); /* the other one's, at once */
    ck_assert_ptr_ne(pick.owner, bad);
    ck_assert_int_eq(mr_transfer_packed(transfer, &pick, 1, 0, 3, now_ns), 0);
    ck_assert(!mr_transfer_pick(transfer, now_ns, &pick));
    for (int i = 0; i < 55; i++) {
        now_ns += MR_NS_PER_S;
        ck_assert_ptr_eq(fail_to_read(0, -EIO), bad);
    }
    ck_assert(!failed());
    now_ns += 5 * MR_NS_PER_S;
    ck_assert_ptr_eq(fail_to_read(0, -EIO), bad);
    ck_assert(failed());
    ck_assert_str_eq(said.fail.text, "the source cannot be read: Input/output error");
    end();
}
END_TEST

/* Where other slabs of the file read well between, it was never counted to the end. */
START_TEST(first_slab_that_fails_is_the_one_that_counts)
{
    struct mr_pick pick;
    char path[256];
    begin(false, false);
    write_file("a.log", "one", O_TRUNC);
    snprintf(path, sizeof(path), "%s/a.log", dir);
    ck_assert_int_eq(truncate(path, 3 * (off_t)MR_SLAB_BYTES), 0);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    open_it();
    grant_credit();
    struct mr_shipment *s = fail_to_read(0, -EIO); /* read well later: nothing counts any more */
    now_ns += MR_NS_PER_S;
    ck_assert(mr_transfer_pick(transfer, now_ns, &pick));
    ck_assert_int_eq(mr_transfer_packed(transfer, &pick, 1, 0, 3, now_ns), 0);
    mr_consign_was_read(s, pick.slab);
    fail_to_read(1, -EIO);
    for (int i = 0; i < 11; i++) { /* the one behind it is read meanwhile */
        now_ns += 4 * MR_NS_PER_S;
        ck_assert(mr_transfer_pick(transfer, now_ns, &pick));
        ck_assert_uint_eq(pick.slab, 1);
        if (i == 0) {
            struct mr_pick next;
            ck_assert(mr_transfer_pick(transfer, now_ns, &next));
            ck_assert_int_eq(mr_transfer_packed(transfer, &next, 3, 0, 3, now_ns), 0);
        }
        mr_consign_was_read(s, 2);
        ck_assert(mr_transfer_unpick(transfer, &pick, now_ns));
        mr_consign_read_failed(consign, s, 1, -EIO, now_ns);
        ck_assert(!failed());
    }
    now_ns += 8 * MR_NS_PER_S;
    fail_to_read(1, -EIO);
    ck_assert(failed());
    end();
}
END_TEST

/* A share and the link to the server go together, and come back: then the first try counts anew. */
START_TEST(time_without_a_try_does_not_count)
{
    begin(false, false);
    write_file("a.log", "one", O_TRUNC);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    open_it();
    grant_credit();
    fail_to_read(0, -EIO);
    mr_transfer_disconnected(transfer);
    now_ns += 120 * MR_NS_PER_S;
    greet();
    open_it();
    grant_credit();
    fail_to_read(0, -EIO);
    ck_assert(!failed());
    end();
}
END_TEST

/* The daemon goes on when it can; a command has to end. */
START_TEST(want_of_descriptors_fails_a_command_alone)
{
    for (int ends = 0; ends < 2; ends++) {
        begin(ends, ends);
        write_file("a.log", "one", O_TRUNC);
        tell(1, "a.log", MR_GROWTH_COMPLETE);
        open_it();
        grant_credit();
        for (int i = 0; i < 13; i++, now_ns += 5 * MR_NS_PER_S)
            fail_to_read(0, -EMFILE);
        ck_assert_int_eq(failed(), ends);
        end();
    }
}
END_TEST

MR_SUITE("consign_source", T(slab_that_cannot_be_read_fails_its_movie_alone),
         T(first_slab_that_fails_is_the_one_that_counts),
         T(want_of_descriptors_fails_a_command_alone), T(time_without_a_try_does_not_count),
         T(committed_source_is_known), T(touched_while_read_is_not_known),
         T(verdict_about_another_time_is_not_taken),
         T(source_outlives_the_agent_where_it_is_to_be_freed))
