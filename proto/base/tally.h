/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a thread does with its time: work, or waiting, and for what. Each thread that
 * mr_thread_start made has an account, which only that thread writes, with plain stores: an item
 * costs two of them, a wait two clock readings, not waiting nothing. Read by tally_sheet.
 *
 * Queues, pools and links account for waits in them. A stage that waits in a poll of its own does
 * so by mr_tally_poll, and says mr_tally_item when it has done one. On a thread without an account
 * nothing is counted.
 */
#ifndef MR_BASE_TALLY_H
#define MR_BASE_TALLY_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MR_TALLY_NAME 16 /* with the NUL */
#define MR_TALLIES    128

enum mr_tally_wait {
    MR_TALLY_INPUT,  /* there is nothing to do */
    MR_TALLY_ROOM,   /* what comes next is full: a queue, the buffers, the link */
    MR_TALLY_CREDIT, /* the other side has not said that there is room */
    MR_TALLY_WAITS
};

/* A copy of one account. Times are ns, CPU time included. */
struct mr_tally {
    char name[MR_TALLY_NAME];
    int tid;
    bool ended;
    uint64_t alive_ns, cpu_ns; /* cpu_ns: 0 where the kernel does not say */
    uint64_t items, bytes;
    uint64_t wait_ns[MR_TALLY_WAITS]; /* a wait that goes on is in it up to now */
};

/* Opens and closes the calling thread's account. name is copied and cut. Accounts of threads that
 * ended stay until their place is needed; where there is none, a thread has no account. */
void mr_tally_begin(const char *name);
void mr_tally_end(void);

void mr_tally_item(uint64_t bytes);
void mr_tally_wait(enum mr_tally_wait what);
void mr_tally_go_on(void);

/* poll(2) and ppoll(2) as such a wait. */
int mr_tally_poll(struct pollfd *fds, nfds_t count, int timeout_ms, enum mr_tally_wait what);
int mr_tally_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                   enum mr_tally_wait what);

/* Copies all accounts, in the order in which they were opened; returns how many. Any thread. */
size_t mr_tally_read(struct mr_tally ret[MR_TALLIES]);

/* CPU time of a thread of this process, whoever made it; 0: there is none. */
uint64_t mr_tally_cpu_ns(int tid);

#endif
