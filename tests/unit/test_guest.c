/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Are lists of CPUs, nice values and classes of I/O read as written, refused where they are none or
 * cannot be had, and in force once they are applied? Each test is a process of its own.
 */
#include "guest.h"

#include "suite.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct mr_guest_cpus cpus;
static struct mr_err err;

static struct mr_guest_cpus first_ten(void)
{
    struct mr_guest_cpus ten = {0};
    for (size_t cpu = 0; cpu < 10; cpu++)
        CPU_SET_S(cpu, sizeof(ten.set), ten.set);
    return ten;
}

static void reads_as(const char *text, const char *canonical)
{
    char back[MR_GUEST_CPUS_TEXT];
    const struct mr_guest_cpus ten = first_ten();
    ck_assert_msg(mr_guest_refuse_cpus(text) == NULL, "'%s' is refused", text);
    ck_assert_int_eq(mr_guest_cpus_parse(text, &ten, &cpus, &err), 0);
    ck_assert_str_eq(mr_guest_cpus_text(&cpus, back), canonical);
}

START_TEST(lists_of_cpus)
{
    reads_as("2-5,8", "2-5,8");
    reads_as("8,2-4,5", "2-5,8");
    reads_as("0", "0");
    reads_as("7-7", "7");
    reads_as("1,1,0-1", "0-1");
    reads_as("all", "0-9");
    reads_as("0,2,4,6,8", "0,2,4,6,8");
    ck_assert_uint_eq(mr_guest_cpus_count(&cpus), 5);
    ck_assert(!mr_guest_cpus_has(&cpus, MR_GUEST_CPUS_MAX));
}
END_TEST

START_TEST(what_is_no_list)
{
    static const char *const texts[] = {"",
                                        ",",
                                        "1,",
                                        ",1",
                                        "1,,2",
                                        "-1",
                                        "1-",
                                        "5-2",
                                        "1-2-3",
                                        "a",
                                        "0x1",
                                        " 1",
                                        "1 ",
                                        "1;2",
                                        "+1",
                                        "All",
                                        "0-8192",
                                        "8192",
                                        "99999999999999999999999",
                                        "1.5",
                                        "all,1",
                                        "1-18446744073709551615"};
    const struct mr_guest_cpus ten = first_ten();
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ck_assert_msg(mr_guest_refuse_cpus(texts[i]) != NULL, "'%s' is taken", texts[i]);
        ck_assert_int_eq(mr_guest_cpus_parse(texts[i], &ten, &cpus, &err), -EINVAL);
    }
}
END_TEST

START_TEST(cpus_that_are_not_ours)
{
    const struct mr_guest_cpus ten = first_ten();
    ck_assert_int_eq(mr_guest_cpus_parse("8-12", &ten, &cpus, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "CPU 10 "));
    ck_assert_ptr_nonnull(strstr(err.text, "0-9"));
    ck_assert_int_eq(mr_guest_cpus_parse("8191", &ten, &cpus, NULL), -EINVAL);
}
END_TEST

START_TEST(long_lists_are_shortened)
{
    char text[MR_GUEST_CPUS_TEXT];
    struct mr_guest_cpus odd = {0};
    for (size_t cpu = 1; cpu < MR_GUEST_CPUS_MAX; cpu += 2)
        CPU_SET_S(cpu, sizeof(odd.set), odd.set);
    mr_guest_cpus_text(&odd, text);
    ck_assert_uint_lt(strlen(text), MR_GUEST_CPUS_TEXT);
    ck_assert_str_eq(text + strlen(text) - 3, "...");
    ck_assert_str_eq(mr_guest_cpus_text(&(struct mr_guest_cpus){0}, text), "");
}
END_TEST

/* The kernel's word for the list, and what was inherited stays known. */
START_TEST(cpus_are_used)
{
    struct mr_guest_cpus inherited, again, one = {0};
    ck_assert_int_eq(mr_guest_cpus_inherited(&inherited), 0);
    size_t last = MR_GUEST_CPUS_MAX;
    while (!mr_guest_cpus_has(&inherited, --last))
        ;
    CPU_SET_S(last, sizeof(one.set), one.set);
    ck_assert_int_eq(mr_guest_use_cpus(&one, &err), 0);
    ck_assert_int_eq(sched_getcpu(), (int)last);
    ck_assert_int_eq(mr_guest_cpus_inherited(&again), 0);
    ck_assert(CPU_EQUAL_S(sizeof(again.set), again.set, inherited.set));
}
END_TEST

START_TEST(cpus_that_are_not_there)
{
    struct mr_guest_cpus none = {0}, far = {0};
    CPU_SET_S(MR_GUEST_CPUS_MAX - 1, sizeof(far.set), far.set);
    ck_assert_int_eq(mr_guest_use_cpus(&none, &err), -EINVAL);
    ck_assert_int_eq(mr_guest_use_cpus(&far, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "host.cpus"));
    CPU_SET_S(0, sizeof(far.set), far.set); /* some of it: less than was asked for */
    ck_assert_int_eq(mr_guest_use_cpus(&far, &err), -EINVAL);
}
END_TEST

START_TEST(nice_is_used)
{
    int before = getpriority(PRIO_PROCESS, 0);
    ck_assert_int_eq(mr_guest_use_nice(MR_GUEST_NICE_INHERIT, &err), 0);
    ck_assert_int_eq(getpriority(PRIO_PROCESS, 0), before);
    ck_assert_int_eq(mr_guest_use_nice(19, &err), 0);
    ck_assert_int_eq(getpriority(PRIO_PROCESS, 0), 19);
}
END_TEST

/* As under a unit with Nice=15, without privilege. */
START_TEST(nobody_goes_before_what_he_was_given)
{
    const struct rlimit none = {0};
    ck_assert_int_eq(setpriority(PRIO_PROCESS, 0, 15), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NICE, &none), 0);
    ck_assert(geteuid() != 0 || setuid(65534) == 0);
    ck_assert_int_eq(mr_guest_use_nice(5, &err), -EPERM);
    ck_assert_ptr_nonnull(strstr(err.text, "host.nice: 5 is before the 15"));
    ck_assert_int_eq(mr_guest_use_nice(16, &err), 0);
}
END_TEST

static int io_now(void)
{
    return (int)syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0);
}

START_TEST(classes_of_io)
{
    int before = io_now();
    ck_assert_int_eq(mr_guest_use_io("inherit", &err), 0);
    ck_assert_int_eq(io_now(), before);
    ck_assert_int_eq(mr_guest_use_io("best-effort:7", &err), 0);
    ck_assert_int_eq(io_now(), IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 7));
    ck_assert_int_eq(mr_guest_use_io("best-effort", &err), 0);
    ck_assert_int_eq(io_now(), IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 4));
    ck_assert_int_eq(mr_guest_use_io("idle", &err), 0);
    ck_assert_int_eq(io_now() >> IOPRIO_CLASS_SHIFT, IOPRIO_CLASS_IDLE);
}
END_TEST

START_TEST(what_is_no_class)
{
    static const char *const texts[] = {"",
                                        "realtime",
                                        "realtime:0",
                                        "best-effort:8",
                                        "best-effort:-1",
                                        "best-effort:",
                                        "best-effort:07",
                                        "best-effort7",
                                        "idle:3",
                                        "none",
                                        "Idle"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ck_assert_msg(mr_guest_refuse_io(texts[i]) != NULL, "'%s' is taken", texts[i]);
        ck_assert_int_eq(mr_guest_use_io(texts[i], &err), -EINVAL);
    }
    ck_assert_ptr_nonnull(strstr(mr_guest_refuse_io("realtime:3"), "not for a guest"));
}
END_TEST

MR_SUITE("guest", T(lists_of_cpus), T(what_is_no_list), T(cpus_that_are_not_ours),
         T(long_lists_are_shortened), T(cpus_are_used), T(cpus_that_are_not_there), T(nice_is_used),
         T(nobody_goes_before_what_he_was_given), T(classes_of_io), T(what_is_no_class))
