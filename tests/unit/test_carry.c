/* SPDX-License-Identifier: Apache-2.0 */
/* Do slabs come whole from a part that is not to be written to any more, into one that is ours
 * (carry), or into a copy in its place (salvage), and what is left where a step fails? */
#include "base/crc64.h"
#include "base/recordlog.h"
#include "carry.h"
#include "salvage.h"
#include "scratch.h"
#include "sick_disk.h"
#include "suite.h"

#include <signal.h>
#include <sys/resource.h>

#define SLABS 5

static const struct mr_ulid id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

static struct {
    struct scratch scratch;
    struct mr_store store;
    struct mr_movie *to;
    struct mr_placement slabs[SLABS];
    struct mr_dossier *dossier; /* all but slab 1 */
    char from_part[MR_NAMING_PART], from_journal[MR_NAMING_PART];
} at;

static uint8_t byte_of(uint64_t slab, uint64_t i)
{
    return (uint8_t)(17 * slab + 3 * i + 1);
}

static void write_slab(const char *name, const struct mr_placement *p)
{
    uint8_t data[16384];
    for (uint32_t i = 0; i < p->stored_bytes; i++)
        data[i] = byte_of(p->slab, i);
    int fd = openat(at.scratch.fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    ck_assert_int_eq(pwrite(fd, data, p->stored_bytes, (off_t)p->offset), p->stored_bytes);
    close(fd);
}

static struct mr_placement placement(uint64_t slab, uint64_t offset, uint32_t bytes)
{
    uint8_t data[16384];
    for (uint32_t i = 0; i < bytes; i++)
        data[i] = byte_of(slab, i);
    return (struct mr_placement){.slab = slab,
                                 .offset = offset,
                                 .stored_bytes = bytes,
                                 .raw_bytes = bytes,
                                 .crc_stored = mr_crc64(0, data, bytes),
                                 .pixel_bytes = bytes};
}

/* Generation 2048 is another server's, 2049 our own; parts and journals in one folder. */
static void begin(void)
{
    static const struct {
        uint64_t offset;
        uint32_t bytes;
    } places[SLABS] = {{8192, 4096}, {0, 100}, {20480, 5000}, {32768, 1}, {40960, 16384}};
    memset(&at, 0, sizeof(at));
    at.scratch = scratch_make();
    at.store = (struct mr_store){.journal_fd = at.scratch.fd, .epoch = 2};
    at.dossier = calloc(1, sizeof(*at.dossier));
    mr_dossier_name(&id, 2048, "part", at.from_part);
    mr_dossier_name(&id, 2048, "journal", at.from_journal);
    scratch_append(&at.scratch, at.from_journal, "");
    for (uint64_t i = 0; i < SLABS; i++) {
        at.slabs[i] = placement(i, places[i].offset, places[i].bytes);
        write_slab(at.from_part, &at.slabs[i]);
    }
    at.dossier->slabs = calloc(SLABS, sizeof(at.slabs[0]));
    memcpy(at.dossier->slabs, at.slabs, sizeof(at.slabs));
    at.dossier->slabs[1] = (struct mr_placement){0};
    at.dossier->slab_count = SLABS;
    at.to = mr_movie_new();
    at.to->id = id;
    at.to->generation = 2049;
    mr_dossier_name(&id, 2049, "part", at.to->part_name);
    mr_dossier_name(&id, 2049, "journal", at.to->journal_name);
    at.to->part_dir_fd = dup(at.scratch.fd);
    at.to->part_fd = openat(at.scratch.fd, at.to->part_name, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    at.to->journal_fd =
        openat(at.scratch.fd, at.to->journal_name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    ck_assert(at.to->part_fd >= 0 && at.to->journal_fd >= 0);
}

static void end(void)
{
    mr_movie_release(at.to);
    mr_dossier_fini(at.dossier);
    free(at.dossier);
    scratch_remove(&at.scratch);
}

static bool has(const char *name)
{
    return faccessat(at.scratch.fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool reads(const char *name, const struct mr_placement *p)
{
    uint8_t data[16384];
    int fd = openat(at.scratch.fd, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = pread(fd, data, p->stored_bytes, (off_t)p->offset);
    close(fd);
    return n == p->stored_bytes && mr_crc64(0, data, p->stored_bytes) == p->crc_stored;
}

static struct mr_carry *open_carry(void)
{
    struct mr_carry *carry = NULL;
    ck_assert_int_eq(mr_carry_open(at.to, 2048, &carry), 0);
    return carry;
}

START_TEST(slab_goes_to_the_same_place)
{
    begin();
    struct mr_carry *carry = open_carry();
    for (uint64_t i = SLABS; i-- > 0;) {
        ck_assert_int_eq(mr_carry_slab(carry, &at.slabs[i]), 0);
        ck_assert(reads(at.to->part_name, &at.slabs[i]));
    }
    for (uint64_t i = 0; i < SLABS; i++)
        ck_assert(reads(at.to->part_name, &at.slabs[i]) && reads(at.from_part, &at.slabs[i]));
    ck_assert_uint_eq(scratch_size(&at.scratch, at.to->part_name), 40960 + 16384);
    mr_carry_close(carry);
    mr_carry_close(NULL);
    end();
}
END_TEST

START_TEST(direct_part_gets_whole_blocks_of_zeros_behind_a_slab)
{
    begin();
    struct mr_carry *carry = open_carry();
    uint8_t block[8192];
    at.to->direct = true; /* for the arithmetic; the file itself is buffered */
    at.to->alignment = 4096;
    ck_assert_int_eq(mr_carry_slab(carry, &at.slabs[4]), 0); /* fills the buffer */
    ck_assert_int_eq(mr_carry_slab(carry, &at.slabs[2]), 0); /* 5000 bytes of two blocks */
    ck_assert(reads(at.to->part_name, &at.slabs[2]));
    ck_assert_int_eq(pread(at.to->part_fd, block, sizeof(block), 20480), 8192);
    for (size_t i = 5000; i < sizeof(block); i++)
        ck_assert_uint_eq(block[i], 0);
    ck_assert(reads(at.to->part_name, &at.slabs[4]));
    mr_carry_close(carry);
    end();
}
END_TEST

START_TEST(slab_that_does_not_verify_is_left_behind)
{
    begin();
    struct mr_carry *carry = open_carry();
    scratch_flip(&at.scratch, at.from_part, at.slabs[2].offset + 4999);
    ck_assert_int_eq(mr_carry_slab(carry, &at.slabs[2]), -EILSEQ);
    scratch_cut(&at.scratch, at.from_part, at.slabs[4].offset + 16383); /* a byte short */
    ck_assert_int_eq(mr_carry_slab(carry, &at.slabs[4]), -EILSEQ);
    ck_assert_uint_eq(scratch_size(&at.scratch, at.to->part_name), 0);
    ck_assert_int_eq(mr_carry_slab(carry, &at.slabs[3]), 0);
    mr_fs_close(&at.to->part_fd);
    at.to->part_fd = openat(at.scratch.fd, at.to->part_name, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(mr_carry_slab(carry, &at.slabs[3]), -EBADF); /* our own disk's, not theirs */
    mr_carry_close(carry);
    end();
}
END_TEST

START_TEST(part_that_is_gone_is_told)
{
    begin();
    struct mr_carry *none = (struct mr_carry *)&at;
    ck_assert_int_eq(mr_carry_open(at.to, 1024, &none), -ENOENT);
    ck_assert_int_eq(unlinkat(at.scratch.fd, at.from_part, 0), 0);
    ck_assert_int_eq(symlinkat(at.to->part_name, at.scratch.fd, at.from_part), 0);
    ck_assert_int_eq(mr_carry_open(at.to, 2048, &none), -ELOOP);
    ck_assert_ptr_eq(none, &at);
    end();
}
END_TEST

struct lines {
    const struct mr_dossier *dossier;
    uint64_t next, seen;
};

static int check_line(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    struct lines *l = ctx;
    char expected[MR_PLACEMENT_TEXT];
    (void)bytes, (void)offset;
    while (l->next < l->dossier->slab_count && l->dossier->slabs[l->next].raw_bytes == 0)
        l->next++;
    ck_assert_uint_lt(l->next, l->dossier->slab_count);
    mr_placement_format(&l->dossier->slabs[l->next++], expected);
    ck_assert_str_eq(text, expected);
    l->seen++;
    return 0;
}

/* Lines of the new journal, each a durable slab's, in their order. */
static uint64_t lines_of(const struct mr_dossier *d)
{
    struct lines l = {.dossier = d};
    struct mr_recordlog_scan scan;
    ck_assert_int_eq(mr_recordlog_scan(at.to->journal_fd, 0, check_line, &l, &scan), 0);
    ck_assert(scan.bad_records == 0 && !scan.torn_tail);
    return l.seen;
}

START_TEST(finished_carry_is_journalled_and_the_old_files_go)
{
    begin();
    ck_assert_int_eq(mr_carry_finish(&at.store, 2048, at.to, at.dossier), 0);
    ck_assert_uint_eq(lines_of(at.dossier), SLABS - 1);
    ck_assert(!has(at.from_part) && !has(at.from_journal));
    ck_assert(has(at.to->part_name) && has(at.to->journal_name));
    ck_assert_int_eq(mr_carry_finish(&at.store, 2048, at.to, &(struct mr_dossier){0}), 0);
    ck_assert_uint_eq(lines_of(at.dossier), SLABS - 1); /* of no slabs, after an earlier try */
    end();
}
END_TEST

/* Of lines for more than one append. */
START_TEST(long_journal_is_carried_whole)
{
    begin();
    struct mr_dossier d = {.slab_count = 30000};
    d.slabs = calloc(d.slab_count, sizeof(*d.slabs));
    for (uint64_t i = 0; i < d.slab_count; i++) {
        if (i % 7 == 3)
            continue;
        d.slabs[i] = placement(i, i * 4096, 50);
        d.slabs[i].stats = (struct mr_stats){
            .kind = i % 2 == 0 ? MR_STATS_EXACT : MR_STATS_UNKNOWN, .count = i, .max = 0.3};
    }
    ck_assert_int_eq(mr_carry_finish(&at.store, 2048, at.to, &d), 0);
    ck_assert_uint_gt(scratch_size(&at.scratch, at.to->journal_name), 3u << 20);
    ck_assert_uint_eq(lines_of(&d), 30000 - 4286);
    mr_dossier_fini(&d);
    end();
}
END_TEST

/* The part's sync, the journal's, the folder's: nothing old goes before all that it is needed for
 * is durable. */
START_TEST(carry_that_does_not_sync_keeps_the_old_files)
{
    for (int nth = 1; nth <= 3; nth++) {
        begin();
        if (nth < 3)
            sick_disk.fail_fdatasync = nth;
        else
            sick_disk.fail_fsync = 1;
        ck_assert_int_eq(mr_carry_finish(&at.store, 2048, at.to, at.dossier), -EIO);
        ck_assert_uint_eq(lines_of(at.dossier), nth == 1 ? 0 : SLABS - 1);
        ck_assert(has(at.from_part));
        ck_assert(has(at.from_journal) == (nth < 3));
        end();
    }
}
END_TEST

START_TEST(carry_that_cannot_be_journalled_keeps_the_old_files)
{
    begin();
    sick_disk.no_room = ENOSPC;
    ck_assert_int_eq(mr_carry_finish(&at.store, 2048, at.to, at.dossier), -ENOSPC);
    sick_disk.no_room = 0;
    ck_assert(has(at.from_part) && has(at.from_journal));
    sick_disk.no_unlinks = EACCES;
    ck_assert_int_eq(mr_carry_finish(&at.store, 2048, at.to, at.dossier), -EACCES);
    sick_disk.no_unlinks = 0;
    ck_assert(has(at.from_part) && has(at.from_journal));
    end();
}
END_TEST

/* ---- salvage ---- */

static int salvage(struct mr_err *err)
{
    at.to->generation = 2048; /* the part itself is doubted */
    memcpy(at.to->part_name, at.from_part, sizeof(at.from_part));
    return mr_salvage_part(at.to, at.dossier, err);
}

static ino_t inode_of(const char *name)
{
    struct stat st;
    ck_assert_int_eq(fstatat(at.scratch.fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st.st_ino;
}

START_TEST(what_verifies_is_copied_and_the_rest_are_holes)
{
    static const uint8_t zeros[100];
    uint8_t data[5000];
    begin();
    struct mr_err err = {0};
    struct stat st;
    ino_t before = inode_of(at.from_part);
    ck_assert_int_eq(fchmodat(at.scratch.fd, at.from_part, 0604, 0), 0);
    scratch_flip(&at.scratch, at.from_part, at.slabs[2].offset);
    scratch_append(&at.scratch, at.from_part, "beyond all slabs");
    uint64_t size = scratch_size(&at.scratch, at.from_part);
    char copy[96];
    (void)snprintf(copy, sizeof(copy), "%s.copy", at.from_part);
    scratch_append(&at.scratch, copy, "of an attempt before");
    ck_assert_msg(salvage(&err) == 0, "%s", err.text);
    ck_assert(inode_of(at.from_part) != before && !has(copy));
    ck_assert_int_eq(fstatat(at.scratch.fd, at.from_part, &st, 0), 0);
    ck_assert_uint_eq((uint64_t)st.st_size, size);
    ck_assert_uint_eq(st.st_mode & 07777, 0604);
    for (uint64_t i = 0; i < SLABS; i++)
        ck_assert(reads(at.from_part, &at.slabs[i]) == (i == 0 || i >= 3));
    int fd = openat(at.scratch.fd, at.from_part, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(pread(fd, data, 5000, (off_t)at.slabs[2].offset), 5000);
    for (size_t i = 0; i < 5000; i++)
        ck_assert_uint_eq(data[i], 0);
    ck_assert_int_eq(pread(fd, data, 100, 0), 100); /* slab 1 counts as not durable */
    ck_assert_mem_eq(data, zeros, 100);
    close(fd);
    end();
}
END_TEST

START_TEST(salvage_that_fails_leaves_the_part_as_it_was)
{
    begin();
    struct mr_err err = {0};
    char copy[96];
    (void)snprintf(copy, sizeof(copy), "%s.copy", at.from_part);
    ino_t before = inode_of(at.from_part);
    ck_assert_int_eq(mkdirat(at.scratch.fd, copy, 0700), 0);
    ck_assert_int_eq(salvage(&err), -EEXIST);
    ck_assert_msg(strstr(err.text, at.from_part) != NULL, "%s", err.text);
    ck_assert(has(copy)); /* it is somebody else's */
    ck_assert_int_eq(unlinkat(at.scratch.fd, copy, AT_REMOVEDIR), 0);
    const struct rlimit small = {.rlim_cur = 30000, .rlim_max = RLIM_INFINITY};
    const struct rlimit none = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    (void)signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    ck_assert_int_eq(salvage(&err), -EFBIG);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
    ck_assert(!has(copy));
    ck_assert_uint_eq(inode_of(at.from_part), before);
    for (uint64_t i = 0; i < SLABS; i++)
        ck_assert(reads(at.from_part, &at.slabs[i]));
    ck_assert_int_eq(unlinkat(at.scratch.fd, at.from_part, 0), 0);
    ck_assert_int_eq(salvage(&err), -ENOENT);
    ck_assert(!has(copy));
    end();
}
END_TEST

MR_SUITE("carry", T(slab_goes_to_the_same_place),
         T(direct_part_gets_whole_blocks_of_zeros_behind_a_slab),
         T(slab_that_does_not_verify_is_left_behind), T(part_that_is_gone_is_told),
         T(finished_carry_is_journalled_and_the_old_files_go), T(long_journal_is_carried_whole),
         T(carry_that_does_not_sync_keeps_the_old_files),
         T(carry_that_cannot_be_journalled_keeps_the_old_files),
         T(what_verifies_is_copied_and_the_rest_are_holes),
         T(salvage_that_fails_leaves_the_part_as_it_was))
