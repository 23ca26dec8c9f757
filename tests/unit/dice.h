/* SPDX-License-Identifier: Apache-2.0 */
/* What a test draws by chance: the same in every run, for each test is a process of its own. */
#ifndef MR_TESTS_DICE_H
#define MR_TESTS_DICE_H

#include <stdint.h>

static uint64_t dice_state = 0x2545F4914F6CDD1D;

static inline void dice_seed(uint64_t seed)
{
    dice_state = seed * 0x9E3779B97F4A7C15 + 1;
}

static inline uint64_t dice_bits(void) /* xorshift64* */
{
    dice_state ^= dice_state >> 12;
    dice_state ^= dice_state << 25;
    dice_state ^= dice_state >> 27;
    return dice_state * 0x2545F4914F6CDD1D;
}

static inline uint64_t dice(uint64_t below)
{
    return (dice_bits() >> 16) % below;
}

#endif
