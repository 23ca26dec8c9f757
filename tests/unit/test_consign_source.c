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

MR_SUITE("consign_source", T(committed_source_is_known), T(touched_while_read_is_not_known),
         T(verdict_about_another_time_is_not_taken),
         T(source_outlives_the_agent_where_it_is_to_be_freed))
