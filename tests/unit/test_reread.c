/* SPDX-License-Identifier: Apache-2.0 */
/* Any stretch of a file, read past the page cache or not. */
#include "reread.h"

#include "base/crc64.h"
#include "scratch.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>

#define BYTES (MR_REREAD_BUFFER_BYTES + 70001u)

static uint8_t *fill(const struct scratch *s)
{
    uint8_t *data = malloc(BYTES);
    ck_assert_ptr_nonnull(data);
    for (size_t i = 0; i < BYTES; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    int fd = openat(s->fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, data, BYTES), (ssize_t)BYTES);
    close(fd);
    return data;
}

START_TEST(any_stretch_is_read)
{
    static const struct {
        uint64_t from, bytes;
    } stretches[] = {{0, BYTES}, {0, 1},      {4095, 2},           {8192, 4096},
                     {1, 0},     {513, 9999}, {BYTES - 1, 1},      {4096, BYTES - 4096},
                     {7, 65536}, {0, 4096},   {BYTES - 4097, 4097}};
    struct scratch s = scratch_make();
    uint8_t *data = fill(&s);
    struct mr_reread r;
    ck_assert_int_eq(mr_reread_init(&r), 0);
    for (int direct = 0; direct < 2; direct++) {
        ck_assert_int_eq(mr_reread_open(&r, s.fd, "file", direct), 0);
        for (size_t i = 0; i < sizeof(stretches) / sizeof(stretches[0]); i++) {
            uint64_t crc = 0;
            ck_assert_int_eq(mr_reread_crc(&r, stretches[i].from, stretches[i].bytes, &crc), 0);
            ck_assert_uint_eq(crc, mr_crc64(0, data + stretches[i].from, stretches[i].bytes));
        }
        uint64_t crc = 0; /* in pieces */
        ck_assert_int_eq(mr_reread_crc(&r, 0, 1000, &crc), 0);
        ck_assert_int_eq(mr_reread_crc(&r, 1000, BYTES - 1000, &crc), 0);
        ck_assert_uint_eq(crc, mr_crc64(0, data, BYTES));
    }
    mr_reread_fini(&r);
    free(data);
    scratch_remove(&s);
}
END_TEST

START_TEST(file_that_ends_early_or_is_none)
{
    struct scratch s = scratch_make();
    free(fill(&s));
    struct mr_reread r;
    uint64_t crc = 0;
    ck_assert_int_eq(mr_reread_init(&r), 0);
    for (int direct = 0; direct < 2; direct++) {
        ck_assert_int_eq(mr_reread_open(&r, s.fd, "file", direct), 0);
        ck_assert_int_eq(mr_reread_crc(&r, BYTES - 1, 2, &crc), -ENODATA);
        ck_assert_int_eq(mr_reread_crc(&r, 2 * BYTES, 1, &crc), -ENODATA);
        ck_assert_int_eq(mr_reread_open(&r, s.fd, "nothing", direct), -ENOENT);
        ck_assert_int_eq(mr_reread_crc(&r, 0, 1, &crc), -EBADF);
    }
    ck_assert_int_eq(symlinkat("file", s.fd, "link"), 0);
    ck_assert_int_eq(mr_reread_open(&r, s.fd, "link", true), -ELOOP);
    mr_reread_fini(&r);
    mr_reread_fini(&r);
    scratch_remove(&s);
}
END_TEST

MR_SUITE("reread", T(any_stretch_is_read), T(file_that_ends_early_or_is_none))
