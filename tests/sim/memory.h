/* SPDX-License-Identifier: Apache-2.0 */
/* Memory by process. */
#ifndef MR_TESTS_MEMORY_H
#define MR_TESTS_MEMORY_H

#include <stddef.h>
#include <sys/queue.h>

struct block;
struct serverside;

struct memory {
    LIST_HEAD(, block) blocks;
    size_t bytes;
};

/* Frees all that the process has; returns how many blocks that was. */
size_t memory_take_back(struct serverside *owner);

#endif
