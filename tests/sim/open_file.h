/* SPDX-License-Identifier: Apache-2.0 */
/* The table of descriptors, and what comes over every system call. Private to disk_calls*.c. */
#ifndef MR_TESTS_OPEN_FILE_H
#define MR_TESTS_OPEN_FILE_H

#include "disk_calls.h"
#include "fibre.h"
#include "serverside.h"
#include "wrapped.h"

enum open_kind { OPEN_NOTHING, OPEN_INODE, OPEN_EVENT };

struct open_file {
    enum open_kind kind;
    const struct serverside *process; /* NULL: the world's own */
    struct inode *inode;
    enum disk_view view;
    int flags;
    uint64_t offset;
    uint32_t errors_told; /* of inode->write_errors */
    bool sync_failed;     /* whoever has it open knows, and may not try again */
    uint64_t events;
};

struct open_file *open_file_of(int fd); /* NULL: not of here */
int open_file_new(const struct open_file *f);

/* A call begins: time may pass, and the process may end. `changes` what is on disk. */
void call_enter(bool changes);
/* An errno to fail with, or 0. */
int call_fault(bool changes);
/* Sets errno, -1; or 0 and above as it is. */
int call_return(int r);

#endif
