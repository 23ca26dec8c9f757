/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linked into every program of a coverage build: what was counted is written down also where a
 * process ends by _exit, or kills itself at a named step. One that others kill tells nothing.
 */
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

void __gcov_dump(void); /* of libgcov */
_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);
int __real_kill(pid_t pid, int number);
int __wrap_kill(pid_t pid, int number);

_Noreturn void __wrap__exit(int status)
{
    __gcov_dump();
    __real__exit(status);
}

int __wrap_kill(pid_t pid, int number)
{
    if (pid == getpid() && number == SIGKILL)
        __gcov_dump();
    return __real_kill(pid, number);
}
