/* SPDX-License-Identifier: Apache-2.0 */
/* The engine of uring.h for hosts where io_uring is forbidden: threads that pwrite and
 * fdatasync. */
#ifndef MR_WRITE_POOL_H
#define MR_WRITE_POOL_H

#include "uring.h"

/* Returns owned (mr_uring_close). threads > 0. */
int mr_write_pool_open(uint32_t depth, uint32_t threads, struct mr_err *err,
                       struct mr_uring **ret) MR_MUST_USE;

#endif
