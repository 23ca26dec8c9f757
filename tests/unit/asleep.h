/* SPDX-License-Identifier: Apache-2.0 */
/* Does a thread, or a process, wait for something? For tests of who is woken up. */
#ifndef MR_TESTS_ASLEEP_H
#define MR_TESTS_ASLEEP_H

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

static inline bool is_asleep(pid_t tid)
{
    char path[64], text[512] = "";
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)tid);
    FILE *f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(text, sizeof(text), f));
    (void)fclose(f);
    return strrchr(text, ')')[2] == 'S';
}

#endif
