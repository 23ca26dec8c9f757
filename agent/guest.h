/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent may take of the camera's host: CPUs, priority, class of I/O. Read from texts of
 * the configuration, applied to the process before it has threads, which inherit them: for the main
 * thread, but for what only reads.
 */
#ifndef MR_GUEST_H
#define MR_GUEST_H

#include "base/err.h"

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>

#define MR_GUEST_CPUS_MAX     8192 /* NR_CPUS of the largest kernels */
#define MR_GUEST_CPUS_TEXT    256
#define MR_GUEST_NICE_INHERIT (-1) /* what systemd or nice(1) gave stays */

struct mr_guest_cpus {
    cpu_set_t set[MR_GUEST_CPUS_MAX / CPU_SETSIZE];
};

size_t mr_guest_cpus_count(const struct mr_guest_cpus *cpus);
bool mr_guest_cpus_has(const struct mr_guest_cpus *cpus, size_t cpu);
/* "2-5,8", shortened by "..." where it does not fit; returns text. */
char *mr_guest_cpus_text(const struct mr_guest_cpus *cpus, char text[MR_GUEST_CPUS_TEXT]);

/* CPUs this process was given at its start, by taskset, CPUAffinity= or a cpuset, whatever was
 * applied since. -errno. */
int mr_guest_cpus_inherited(struct mr_guest_cpus *ret) MR_MUST_USE;

/* "all", or a list "2-5,8". -EINVAL: no such list, or not one of `allowed`; err (may be NULL) says
 * why, without naming the key. */
int mr_guest_cpus_parse(const char *text, const struct mr_guest_cpus *allowed,
                        struct mr_guest_cpus *ret, struct mr_err *err) MR_MUST_USE;

/* For rows of a configuration's table: NULL where the text is a list of CPUs, a class of I/O
 * ("inherit", "idle", "best-effort", "best-effort:0" to ":7"); else why not. */
const char *mr_guest_refuse_cpus(const char *text);
const char *mr_guest_refuse_io(const char *text);

/* Each applies to this thread and to those it starts afterwards; -errno, err names the key and the
 * remedy. cpus: where the kernel gives less than all of them, -EINVAL. */
int mr_guest_use_cpus(const struct mr_guest_cpus *cpus, struct mr_err *err) MR_MUST_USE;
int mr_guest_use_nice(int nice, struct mr_err *err) MR_MUST_USE; /* 0 to 19, or INHERIT */
int mr_guest_use_io(const char *text, struct mr_err *err) MR_MUST_USE;

#endif
