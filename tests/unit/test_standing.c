/* SPDX-License-Identifier: Apache-2.0 */
/* What an agent is told before it frees a source. */
#include "standing.h"

#include "store_rig.h"
#include "suite.h"

static struct rig rig;
static struct mr_ulid id;
static struct mr_message said;

/* A committed movie k3/a.mrc of 5 bytes, revision 2. */
static void commit_movie(void)
{
    struct mr_err err = {0};
    struct mr_fs_facts facts;
    rig_make(&rig);
    mr_ulid_new(1, &id);
    ck_assert_int_eq(mkdirat(rig.store.root_fd, "k3", 0700), 0);
    scratch_append(&rig.scratch, "k3/a.mrc", "12345");
    ck_assert_int_eq(mr_fs_stat(rig.store.root_fd, "k3/a.mrc", &facts), 0);
    const struct mr_catalogue_entry entry = {.id = id,
                                             .revision = 2,
                                             .agent = "k3",
                                             .source = "a.mrc",
                                             .source_bytes = 5,
                                             .output = MR_OUTPUT_KEEP,
                                             .path = "k3/a.mrc",
                                             .bytes = 5,
                                             .mtime_ns = facts.mtime_ns,
                                             .digest_file = 17,
                                             .has_pixels = true,
                                             .digest_pixels = 18,
                                             .event = "e",
                                             .sequence = 1,
                                             .committed_real_ns = 1};
    ck_assert_int_eq(mr_catalogue_add(rig.catalogue, &entry, &err), 0);
}

static enum mr_standing ask(uint32_t revision)
{
    const struct mr_confirm confirm = {.movie = id, .revision = revision};
    mr_standing_of(&rig.store, rig.catalogue, &confirm, &said);
    ck_assert_int_eq(said.type, MR_CONFIRMED);
    ck_assert(mr_ulid_equal(&said.confirmed.movie, &id));
    ck_assert_uint_eq(said.confirmed.revision, revision);
    return said.confirmed.standing;
}

START_TEST(committed_file_is_in_place)
{
    commit_movie();
    ck_assert_int_eq(ask(2), MR_STANDING_IN_PLACE);
    ck_assert_uint_eq(said.confirmed.bytes, 5);
    ck_assert_uint_eq(said.confirmed.crc_file, 17);
    ck_assert(said.confirmed.has_pixels);
    ck_assert_uint_eq(said.confirmed.crc_pixels, 18);
    ck_assert_ptr_nonnull(strstr(said.confirmed.path, "/k3/a.mrc"));
    rig_end(&rig);
}
END_TEST

START_TEST(changed_or_missing_file_is_moved)
{
    commit_movie();
    scratch_append(&rig.scratch, "k3/a.mrc", "6");
    ck_assert_int_eq(ask(2), MR_STANDING_MOVED);
    ck_assert_int_eq(unlinkat(rig.store.root_fd, "k3/a.mrc", 0), 0);
    ck_assert_int_eq(ask(2), MR_STANDING_MOVED);
    ck_assert_int_eq(symlinkat("/etc/passwd", rig.store.root_fd, "k3/a.mrc"), 0);
    ck_assert_int_eq(ask(2), MR_STANDING_MOVED);
    rig_end(&rig);
}
END_TEST

START_TEST(other_movie_and_revision_are_unknown)
{
    commit_movie();
    ck_assert_int_eq(ask(1), MR_STANDING_UNKNOWN);
    ck_assert_int_eq(ask(3), MR_STANDING_UNKNOWN);
    mr_ulid_new(2, &id);
    ck_assert_int_eq(ask(2), MR_STANDING_UNKNOWN);
    ck_assert_uint_eq(said.confirmed.bytes, 0);
    ck_assert_str_eq(said.confirmed.path, "");
    rig_end(&rig);
}
END_TEST

MR_SUITE("standing", T(committed_file_is_in_place), T(changed_or_missing_file_is_moved),
         T(other_movie_and_revision_are_unknown))
