/* SPDX-License-Identifier: Apache-2.0 */
/* Do lanes get room of their own, does the last reference close the files, is space had ahead? */
#include "dice.h"
#include "movie.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LANES  4
#define CLAIMS 2000
#define MIB    (UINT64_C(1) << 20)

/* What was asked of fallocate while `on`, which then does nothing. */
static struct {
    bool on;
    pthread_mutex_t lock;
    struct {
        uint64_t from, to;
    } got[1024];
    size_t count;
} asked = {.lock = PTHREAD_MUTEX_INITIALIZER};

int fallocate(int fd, int mode, off_t from, off_t bytes)
{
    if (!asked.on)
        return (int)syscall(SYS_fallocate, fd, mode, from, bytes);
    pthread_mutex_lock(&asked.lock);
    asked.got[asked.count].from = (uint64_t)from;
    asked.got[asked.count++].to = (uint64_t)(from + bytes);
    pthread_mutex_unlock(&asked.lock);
    return 0;
}

START_TEST(new_movie_is_empty_and_of_no_file)
{
    struct mr_movie *movie = mr_movie_new();
    ck_assert_int_eq(movie->part_fd, -1);
    ck_assert_int_eq(movie->part_dir_fd, -1);
    ck_assert_int_eq(movie->journal_fd, -1);
    ck_assert_uint_eq(movie->alignment, 1);
    ck_assert_uint_eq(movie->generation, 1);
    ck_assert_uint_eq(movie->revision, 1);
    ck_assert_uint_eq(atomic_load(&movie->references), 1);
    ck_assert_uint_eq(atomic_load(&movie->space_end), 0);
    ck_assert(!movie->direct && !movie->small && !movie->aboard && movie->dossier == NULL);
    mr_movie_release(movie);
}
END_TEST

START_TEST(last_reference_closes_the_files)
{
    struct mr_movie *movie = mr_movie_new();
    ck_assert_int_eq(movie->part_fd, -1);
    int fds[3];
    for (size_t i = 0; i < 3; i++)
        fds[i] = open("/dev/null", O_WRONLY | O_CLOEXEC);
    movie->part_fd = fds[0];
    movie->part_dir_fd = fds[1];
    movie->journal_fd = fds[2];
    mr_movie_hold(movie);
    mr_movie_release(movie);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_ge(fcntl(fds[i], F_GETFD), 0);
    mr_movie_release(movie);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(fcntl(fds[i], F_GETFD), -1);
    mr_movie_release(NULL);
}
END_TEST

START_TEST(claims_are_rounded_to_the_larger_alignment)
{
    struct mr_movie *movie = mr_movie_new();
    atomic_store(&movie->space_end, 4096);
    ck_assert_uint_eq(mr_movie_claim(movie, 1), 4096);
    ck_assert_uint_eq(mr_movie_claim(movie, 4096), 8192);
    ck_assert_uint_eq(mr_movie_claim(movie, 4097), 12288);
    ck_assert_uint_eq(atomic_load(&movie->space_end), 20480);
    movie->alignment = 65536;
    ck_assert_uint_eq(mr_movie_claim(movie, 1), 65536); /* what was reserved is rounded as well */
    ck_assert_uint_eq(atomic_load(&movie->space_end), 131072);
    mr_movie_release(movie);
}
END_TEST

struct claimer {
    struct mr_movie *movie;
    uint64_t got[CLAIMS];
};

static void *claim(void *ctx)
{
    struct claimer *c = ctx;
    for (size_t i = 0; i < CLAIMS; i++) {
        mr_movie_hold(c->movie);
        c->got[i] = mr_movie_claim(c->movie, 4097);
        mr_movie_release(c->movie);
    }
    return NULL;
}

START_TEST(lanes_never_claim_the_same_room)
{
    static struct claimer claimers[LANES];
    static unsigned char taken[LANES * CLAIMS];
    pthread_t threads[LANES];
    struct mr_movie *movie = mr_movie_new();
    for (size_t i = 0; i < LANES; i++) {
        claimers[i].movie = movie;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, claim, &claimers[i]), 0);
    }
    for (size_t i = 0; i < LANES; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    for (size_t i = 0; i < LANES * CLAIMS; i++) {
        uint64_t offset = claimers[i / CLAIMS].got[i % CLAIMS];
        ck_assert_uint_eq(offset % 8192, 0);
        ck_assert_uint_eq(taken[offset / 8192]++, 0);
    }
    mr_movie_release(movie);
}
END_TEST

START_TEST(direct_fits_where_no_block_is_shared)
{
    struct mr_geometry g = {.layout = MR_LAYOUT_STREAM, .data_offset = 65536 + 4096};
    ck_assert(mr_movie_direct_fits(&g, 512));
    ck_assert(mr_movie_direct_fits(&g, 4096));
    ck_assert(!mr_movie_direct_fits(&g, 8192));
    ck_assert(!mr_movie_direct_fits(&g, 65536));
    g.data_offset = 65536;
    ck_assert(mr_movie_direct_fits(&g, 65536));
    ck_assert(!mr_movie_direct_fits(&g, 131072));
    g.layout = MR_LAYOUT_CHUNKS;
    ck_assert(mr_movie_direct_fits(&g, 65536));
    ck_assert(!mr_movie_direct_fits(&g, 0));
    ck_assert(!mr_movie_direct_fits(&g, 4097));
    ck_assert(!mr_movie_direct_fits(&g, 4096 + 512));
    ck_assert(mr_movie_direct_fits(&g, 1));
}
END_TEST

START_TEST(padding_is_for_direct_writes)
{
    struct mr_movie *movie = mr_movie_new();
    movie->alignment = 4096;
    ck_assert_uint_eq(mr_movie_padded(movie, 100), 100);
    movie->direct = true;
    ck_assert_uint_eq(mr_movie_padded(movie, 100), 4096);
    ck_assert_uint_eq(mr_movie_padded(movie, 4096), 4096);
    mr_movie_release(movie);
}
END_TEST

static uint64_t allocated_mib(const struct mr_movie *movie)
{
    struct stat st;
    ck_assert_int_eq(fstat(movie->part_fd, &st), 0);
    ck_assert_int_eq(st.st_size, st.st_blocks * 512);
    return (uint64_t)st.st_size >> 20;
}

START_TEST(space_is_had_ahead_in_steps)
{
    char path[] = "movie.XXXXXX";
    struct mr_movie *movie = mr_movie_new();
    movie->part_fd = mkstemp(path);
    ck_assert_int_ge(movie->part_fd, 0);
    ck_assert_int_eq(unlink(path), 0);
    if (fallocate(movie->part_fd, 0, 0, 4096) != 0)
        suite_skip("this file system has no fallocate");
    ck_assert_int_eq(ftruncate(movie->part_fd, 0), 0);
    mr_movie_allocate_ahead(movie, 16u << 20); /* small movies are left alone */
    ck_assert_uint_eq(allocated_mib(movie), 0);
    mr_movie_allocate_ahead(movie, 20u << 20);
    ck_assert_uint_eq(allocated_mib(movie), 32);
    mr_movie_allocate_ahead(movie, 32u << 20);
    ck_assert_uint_eq(allocated_mib(movie), 32);
    mr_movie_allocate_ahead(movie, 33u << 20);
    ck_assert_uint_eq(allocated_mib(movie), 64);
    mr_movie_allocate_ahead(movie, 1ull << 46); /* a slab far ahead does not fill the disk */
    ck_assert_uint_eq(allocated_mib(movie), 64);
    mr_movie_release(movie);
}
END_TEST

/* One more than was reserved: what is reserved then tells the step. */
static uint64_t next_step(struct mr_movie *movie)
{
    uint64_t before = atomic_load(&movie->allocated_end);
    asked.count = 0;
    mr_movie_allocate_ahead(movie, before + 1);
    ck_assert_uint_eq(asked.count, 1);
    ck_assert_uint_eq(asked.got[0].from, before);
    ck_assert_uint_eq(asked.got[0].to, atomic_load(&movie->allocated_end));
    return asked.got[0].to - before;
}

START_TEST(steps_double_from_16_to_256_mib)
{
    static const uint64_t steps[] = {32, 64, 128, 256, 256, 256};
    struct mr_movie *movie = mr_movie_new();
    asked.on = true;
    mr_movie_allocate_ahead(movie, 16 * MIB);
    ck_assert_uint_eq(asked.count, 0);
    mr_movie_allocate_ahead(movie, 16 * MIB + 1);
    ck_assert_uint_eq(asked.count, 1);
    ck_assert_uint_eq(asked.got[0].from, 0);
    ck_assert_uint_eq(asked.got[0].to, 32 * MIB);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        ck_assert_uint_eq(next_step(movie), steps[i] * MIB);
    mr_movie_release(movie);
}
END_TEST

START_TEST(gap_of_more_than_512_mib_is_not_filled)
{
    for (uint64_t from = 0; from <= 32; from += 32) {
        for (uint64_t more = 0; more <= 1; more++) {
            struct mr_movie *movie = mr_movie_new();
            asked.on = true;
            asked.count = 0;
            if (from > 0)
                mr_movie_allocate_ahead(movie, from * MIB);
            mr_movie_allocate_ahead(movie, (from + 512) * MIB + more);
            ck_assert_uint_eq(asked.count, (from > 0 ? 2 : 1) - more);
            if (more == 0)
                ck_assert_uint_eq(asked.got[asked.count - 1].to, (from + 512) * MIB);
            mr_movie_release(movie);
        }
    }
}
END_TEST

/* Whatever is asked for in which order: all of it is reserved once, but for gaps. */
START_TEST(nothing_is_reserved_twice)
{
    for (unsigned seed = 1; seed <= 100; seed++) {
        struct mr_movie *movie = mr_movie_new();
        uint64_t end = 0;
        asked.on = true;
        dice_seed(seed);
        for (unsigned i = 0; i < 200; i++) {
            uint64_t before = atomic_load(&movie->allocated_end);
            end += dice(3) * MR_SLAB_BYTES + dice(5000);
            uint64_t wanted = dice(8) == 0 ? dice(end + 1024 * MIB) : end;
            asked.count = 0;
            mr_movie_allocate_ahead(movie, wanted);
            uint64_t after = atomic_load(&movie->allocated_end);
            ck_assert_uint_eq(after % (16 * MIB), 0);
            ck_assert(wanted <= 16 * MIB || after >= wanted);
            ck_assert_uint_le(asked.count, after > before && after - before <= 512 * MIB);
            if (wanted <= before)
                ck_assert_uint_eq(after, before);
            else if (after > before && after - before <= 512 * MIB)
                ck_assert(asked.count == 1 && asked.got[0].from == before &&
                          asked.got[0].to == after);
        }
        mr_movie_release(movie);
    }
}
END_TEST

static void *reserve(void *ctx)
{
    struct claimer *c = ctx;
    for (size_t i = 0; i < CLAIMS; i++)
        mr_movie_allocate_ahead(c->movie, mr_movie_claim(c->movie, MR_SLAB_BYTES));
    return NULL;
}

START_TEST(one_lane_reserves_for_all)
{
    static struct claimer claimers[LANES];
    pthread_t threads[LANES];
    struct mr_movie *movie = mr_movie_new();
    uint64_t bytes = 0;
    asked.on = true;
    for (size_t i = 0; i < LANES; i++) {
        claimers[i].movie = movie;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, reserve, &claimers[i]), 0);
    }
    for (size_t i = 0; i < LANES; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    for (size_t i = 0; i < asked.count; i++) {
        bytes += asked.got[i].to - asked.got[i].from;
        for (size_t j = 0; j < i; j++)
            ck_assert(asked.got[i].from >= asked.got[j].to || asked.got[j].from >= asked.got[i].to);
    }
    ck_assert_uint_eq(bytes, atomic_load(&movie->allocated_end)); /* nor was a piece left out */
    ck_assert_uint_ge(bytes, (uint64_t)(LANES * CLAIMS - 1) * MR_SLAB_BYTES);
    mr_movie_release(movie);
}
END_TEST

START_TEST(refused_allocation_is_not_asked_again)
{
    struct mr_movie *movie = mr_movie_new();
    movie->part_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    mr_movie_allocate_ahead(movie, 20u << 20);
    ck_assert_uint_eq(atomic_load(&movie->allocated_end), UINT64_MAX);
    mr_movie_allocate_ahead(movie, UINT64_MAX - 1);
    mr_movie_release(movie);
}
END_TEST

START_TEST(taint_sticks)
{
    struct mr_movie *movie = mr_movie_new();
    ck_assert(!mr_movie_is_tainted(movie));
    mr_movie_taint(movie);
    ck_assert(mr_movie_is_tainted(movie));
    mr_movie_release(movie);
}
END_TEST

MR_SUITE("movie", T(new_movie_is_empty_and_of_no_file), T(last_reference_closes_the_files),
         T(claims_are_rounded_to_the_larger_alignment), T(lanes_never_claim_the_same_room),
         T(direct_fits_where_no_block_is_shared), T(padding_is_for_direct_writes),
         T(space_is_had_ahead_in_steps), T(steps_double_from_16_to_256_mib),
         T(gap_of_more_than_512_mib_is_not_filled), T(nothing_is_reserved_twice),
         T(one_lane_reserves_for_all), T(refused_allocation_is_not_asked_again), T(taint_sticks))
