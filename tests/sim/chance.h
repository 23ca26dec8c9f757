/* SPDX-License-Identifier: Apache-2.0 */
/* The simulation's only source of chance: one seed, one stream, the same on every machine. */
#ifndef MR_TESTS_CHANCE_H
#define MR_TESTS_CHANCE_H

#include <stdbool.h>
#include <stdint.h>

struct chance {
    uint64_t state;
};

static inline uint64_t chance_mix(uint64_t z) /* splitmix64's finaliser */
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline uint64_t chance_next(struct chance *c)
{
    return chance_mix(c->state += 0x9e3779b97f4a7c15u);
}

static inline uint64_t chance_below(struct chance *c, uint64_t limit) /* limit > 0 */
{
    return chance_next(c) % limit;
}

static inline int64_t chance_between(struct chance *c, int64_t least, int64_t most)
{
    return least + (int64_t)chance_below(c, (uint64_t)(most - least) + 1);
}

static inline bool chance_one_in(struct chance *c, uint64_t n)
{
    return chance_below(c, n) == 0;
}

#endif
