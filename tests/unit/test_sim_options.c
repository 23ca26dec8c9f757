/* SPDX-License-Identifier: Apache-2.0 */
/* Which command lines does millrace-sim take, and what does it say of the others? */
#include "sim_options.h"

#include "suite.h"

#include <errno.h>
#include <string.h>

static struct mr_err err;

static int parse(struct mr_sim_options *ret, enum mr_sim_request *ret_request, const char *line)
{
    static char words[256];
    char *argv[20] = {"millrace-sim"};
    int argc = 1;
    (void)strncpy(words, line, sizeof(words) - 1);
    for (char *word = strtok(words, " "); word != NULL; word = strtok(NULL, " "))
        argv[argc++] = word;
    err = (struct mr_err){0};
    return mr_sim_options_parse(argc, argv, ret, ret_request, &err);
}

static void refused(const char *line, const char *because)
{
    struct mr_sim_options o;
    enum mr_sim_request request;
    ck_assert_int_eq(parse(&o, &request, line), -EINVAL);
    ck_assert_msg(strstr(err.text, because) != NULL, "'%s' says '%s'", line, err.text);
}

START_TEST(defaults_are_a_k3)
{
    struct mr_sim_options o;
    enum mr_sim_request request;
    ck_assert_int_eq(parse(&o, &request, "--out d"), 0);
    ck_assert(request == MR_SIM_RUN && o.nx == 5760 && o.ny == 4092 && o.mode == 0);
    ck_assert(o.abort_at == UINT32_MAX && o.stall_at == UINT32_MAX && o.hold == MR_SIM_HOLD_NOT);
}
END_TEST

START_TEST(values_arrive)
{
    struct mr_sim_options o;
    enum mr_sim_request request;
    ck_assert_int_eq(parse(&o, &request,
                           "--out d --mode 101 --nx 8 --hold=header --abort-at 3 --seed "
                           "18446744073709551615 --nz-late --format mrc"),
                     0);
    ck_assert(o.mode == 101 && o.nx == 8 && o.abort_at == 3 && o.seed == UINT64_MAX && o.nz_late);
    ck_assert_int_eq(o.hold, MR_SIM_HOLD_HEADER);
    ck_assert_int_eq(parse(&o, &request, "--help"), 0);
    ck_assert_int_eq(request, MR_SIM_HELP);
}
END_TEST

START_TEST(nonsense_is_refused)
{
    refused("", "--out");
    refused("--out", "--out");
    refused("--out d extra", "extra");
    refused("--out d --nx 0", "--nx");
    refused("--out d --nx 2147483648", "--nx");
    refused("--out d --frames -1", "--frames");
    refused("--out d --fps nan", "--fps");
    refused("--out d --mode 4", "--mode");
    refused("--out d --prefix ../x", "--prefix");
    refused("--out d --prefix a/..", "--prefix");
    refused("--out d --prefix /x", "--prefix");
}
END_TEST

START_TEST(pairs_that_cannot_be_are_refused)
{
    refused("--out d --mode 101 --nx 7", "even");
    refused("--out d --mode 101 --format tiff", "101");
    refused("--out d --frames 0", "--frames 0");
    refused("--out d --format tiff --frames 1000", "4 GiB");
    refused("--out d --nx 4194304 --ny 4194304", "2 GiB");
    refused("--out d --format raw --nz-late", "--nz-late");
}
END_TEST

MR_SUITE("sim_options", T(defaults_are_a_k3), T(values_arrive), T(nonsense_is_refused),
         T(pairs_that_cannot_be_are_refused))
