/* SPDX-License-Identifier: Apache-2.0 */
/* Do lanes get room of their own, does the last reference close the files, is space had ahead? */
#include "movie.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define LANES  4
#define CLAIMS 2000

START_TEST(last_reference_closes_the_files)
{
    struct mr_movie *movie = mr_movie_new();
    ck_assert_int_eq(movie->part_fd, -1);
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    movie->part_fd = fd;
    mr_movie_hold(movie);
    mr_movie_release(movie);
    ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
    mr_movie_release(movie);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
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

MR_SUITE("movie", T(last_reference_closes_the_files), T(claims_are_rounded_to_the_larger_alignment),
         T(lanes_never_claim_the_same_room), T(direct_fits_where_no_block_is_shared),
         T(padding_is_for_direct_writes), T(space_is_had_ahead_in_steps),
         T(refused_allocation_is_not_asked_again), T(taint_sticks))
