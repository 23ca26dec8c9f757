/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LZ4 blocks out of runs of zeros alone. A plane of noise has none and goes by at the speed of a
 * comparison, to be copied as literals; a plane of zeros is one match. In a sparse plane each run
 * of zeros and the byte after it are matched with the last place that had as many zeros before the
 * same byte: such a place is nearly always known, so there is no search, and the loop over the
 * runs has no branch that depends on what they are. Does not look for anything else.
 */
#include "wire/codec_runs.h"

#include <assert.h>
#include <string.h>

/* Of the LZ4 block format */
#define MATCH_LEAST 4u
#define LAST_BYTES  5u   /* are literals */
#define NIBBLE      15u  /* a length of so much or more goes on in further bytes */
#define LENGTH_STEP 255u /* each of them, but the last */

#define GROUP   64u           /* bytes, one bit each of a mask */
#define WINDOW  (32u * 1024u) /* what `seen` is about: a plane, where blocks are of 256 KiB */
#define SLACK   32u           /* bytes that are written ahead of what is kept */
#define BATCH   MR_CODEC_RUNS_BATCH
#define LONG    MR_CODEC_RUNS_LONG
#define LITERAL 16u /* bytes copied where fewer than NIBBLE are literals */

size_t mr_codec_runs_bound(size_t bytes)
{
    return bytes + bytes / LENGTH_STEP + 16 + SLACK;
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt")))
#define INLINE static inline __attribute__((always_inline, target("avx2,bmi,bmi2,lzcnt,popcnt")))

/* Where an encoding has come to. */
struct cursor {
    const uint8_t *in;
    uint8_t *out;    /* written so far */
    size_t literals; /* offset of the first byte that is not yet in out */
    size_t window;   /* offset where the window starts */
    uint64_t before; /* the mask of the group before */
    size_t carried;  /* zeros at the end of what was looked at */
    bool dense;      /* of late about half was zeros: short runs are worth having */
};

/* The part of a sequence that is about its match. */
struct match {
    size_t start, end, back;
};

/* clang 14 cannot be asked for it by name. */
static bool has_lzcnt(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(0x80000001u, &a, &b, &c, &d) && (c & bit_LZCNT) != 0;
}

bool mr_codec_runs_usable(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt") && has_lzcnt();
}

INLINE uint64_t load_64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

INLINE uint64_t zeros_of_32(const uint8_t *p)
{
    __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(v, _mm256_setzero_si256()));
}

INLINE uint64_t zeros_of_64(const uint8_t *p)
{
    return zeros_of_32(p) | zeros_of_32(p + 32) << 32;
}

/* Bits of bytes that follow at least four zeros, or three. */
INLINE uint64_t run_ends(uint64_t zeros, uint64_t before, bool dense)
{
    uint64_t ends = ~zeros & (zeros << 1 | before >> 63) & (zeros << 2 | before >> 62) &
                    (zeros << 3 | before >> 61);
    return dense ? ends : ends & (zeros << 4 | before >> 60);
}

/* The run that ends at the lowest bit of *ends; nonsense where there is none. */
INLINE struct mr_codec_run next_run(uint64_t *ends, uint64_t zeros, size_t at, size_t carried)
{
    uint64_t bit = _tzcnt_u64(*ends);
    uint64_t count = bit == 0 ? 0 : _lzcnt_u64(~(zeros << (-bit & 63)));
    *ends &= *ends - 1;
    return (struct mr_codec_run){(uint32_t)(at + bit),
                                 (uint32_t)(count >= bit ? bit + carried : count)};
}

/* Finds the runs that end in [at, stop). Writes four or so at a time, whether there are so many or
 * not: a count that is guessed wrong costs more. */
INLINE size_t find_runs(struct cursor *c, size_t at, size_t stop, struct mr_codec_run *runs)
{
    size_t count = 0, zeros_seen = 0, bytes = stop - at;
    for (; at < stop; at += GROUP) {
        uint64_t zeros = zeros_of_64(c->in + at);
        uint64_t ends = run_ends(zeros, c->before, c->dense);
        size_t here = (size_t)_mm_popcnt_u64(ends);
        for (size_t i = 0; i < here; i += 4) {
            runs[count + i] = next_run(&ends, zeros, at, c->carried);
            runs[count + i + 1] = next_run(&ends, zeros, at, c->carried);
            runs[count + i + 2] = next_run(&ends, zeros, at, c->carried);
            runs[count + i + 3] = next_run(&ends, zeros, at, c->carried);
        }
        count += here;
        zeros_seen += (size_t)_mm_popcnt_u64(zeros);
        c->carried = zeros == ~(uint64_t)0 ? c->carried + GROUP : _lzcnt_u64(~zeros);
        c->before = zeros;
    }
    c->dense = zeros_seen > bytes / 4 && zeros_seen < bytes - bytes / 4;
    return count;
}

static uint8_t *put_length(uint8_t *out, size_t rest)
{
    size_t steps = rest / LENGTH_STEP;
    memset(out, (int)LENGTH_STEP, steps);
    out[steps] = (uint8_t)(rest - steps * LENGTH_STEP);
    return out + steps + 1;
}

static uint8_t *put_literals(uint8_t *out, const uint8_t *from, size_t count)
{
    if (count >= NIBBLE) {
        out = put_length(out, count - NIBBLE);
    }
    memcpy(out, from, count);
    return out + count;
}

/* A sequence of any lengths. */
static __attribute__((noinline)) void put_sequence(struct cursor *c, struct match m)
{
    size_t literals = m.start - c->literals, length = m.end - m.start - MATCH_LEAST;
    *c->out = (uint8_t)((literals < NIBBLE ? literals : NIBBLE) << 4 |
                        (length < NIBBLE ? length : NIBBLE));
    uint8_t *out = put_literals(c->out + 1, c->in + c->literals, literals);
    *out++ = (uint8_t)m.back;
    *out++ = (uint8_t)(m.back >> 8);
    c->out = length < NIBBLE ? out : put_length(out, length - NIBBLE);
    c->literals = m.end;
}

/* The same for the usual lengths. Always writes; `keep` says whether it is for good. */
INLINE void put_short(struct cursor *c, struct match m, bool keep)
{
    size_t literals = (m.start - c->literals) & NIBBLE, length = m.end - m.start - MATCH_LEAST;
    size_t further = length >= NIBBLE;
    uint8_t *out = c->out;
    uint16_t back = (uint16_t)m.back;
    *out++ = (uint8_t)(literals << 4 | (further ? NIBBLE : length));
    memcpy(out, c->in + c->literals, LITERAL);
    out += literals;
    memcpy(out, &back, sizeof(back)); /* x86 only: little-endian */
    out[2] = (uint8_t)(length - NIBBLE);
    out += 2 + further;
    size_t mask = -(size_t)keep;
    c->out += (size_t)(out - c->out) & mask;
    c->literals ^= (c->literals ^ m.end) & mask;
}

/* What is best done with a run. A long one repeats its own first zero; else the match ends where
 * the two places differ, at most 7 bytes on. */
INLINE struct match match_run(const struct cursor *c, struct mr_codec_run run, size_t last)
{
    size_t end = run.end, from = c->window + last;
    uint64_t differ = load_64(c->in + end + 1) ^ load_64(c->in + from + 1);
    size_t further = _tzcnt_u64(differ | (uint64_t)1 << 63) / 8;
    bool repeat = run.zeros >= LONG;
    struct match m = {end - run.zeros + repeat, repeat ? end : end + 1 + further,
                      repeat ? 1 : end - from};
    m.start = m.start > c->literals ? m.start : c->literals;
    return m;
}

INLINE void encode_runs(struct cursor *c, struct mr_codec_runs *scratch, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct mr_codec_run run = scratch->runs[i];
        size_t zeros = run.zeros < LONG ? run.zeros : LONG;
        uint16_t *seen = &scratch->seen[zeros][c->in[run.end]];
        size_t last = *seen;
        *seen = (uint16_t)(run.end - c->window);
        struct match m = match_run(c, run, last);
        /* a match before this one may have gone beyond it */
        bool keep = ((ptrdiff_t)(m.end - m.start) >= (ptrdiff_t)MATCH_LEAST) &
                    ((last != 0) | (zeros == LONG));
        bool usual = (m.start - c->literals < NIBBLE) &
                     (m.end - m.start < MATCH_LEAST + NIBBLE + LENGTH_STEP);
        if (!keep | usual) {
            put_short(c, m, keep);
        } else {
            put_sequence(c, m);
        }
    }
}

/* The zeros before `at`, and those that follow; then the rest as literals. */
static size_t finish(struct cursor *c, size_t at, size_t bytes, const uint8_t *start)
{
    struct match m = {at - c->carried + 1, at, 1};
    m.start = m.start > c->literals ? m.start : c->literals;
    while (c->carried > 0 && m.end < bytes - LAST_BYTES && c->in[m.end] == 0) {
        m.end++;
    }
    if (m.end > m.start + LONG && m.start < at) {
        put_sequence(c, m);
    }
    size_t literals = bytes - c->literals;
    *c->out = (uint8_t)((literals < NIBBLE ? literals : NIBBLE) << 4);
    return (size_t)(put_literals(c->out + 1, c->in + c->literals, literals) - start);
}

TARGET size_t mr_codec_runs_pack(struct mr_codec_runs *scratch, const uint8_t *in, size_t bytes,
                                 uint8_t *out)
{
    assert(bytes >= MR_CODEC_RUNS_LEAST);
    struct cursor c = {.in = in, .out = out};
    /* the last match begins 12 bytes before the end, and 8 are compared at a time */
    size_t stop = (bytes - GROUP) / GROUP * GROUP;
    for (size_t at = 0; at < stop; at += BATCH) {
        if (at % WINDOW == 0) {
            c.window = at;
            memset(scratch->seen, 0, sizeof(scratch->seen));
        }
        size_t count = find_runs(&c, at, at + BATCH < stop ? at + BATCH : stop, scratch->runs);
        encode_runs(&c, scratch, count);
    }
    return finish(&c, stop, bytes, out);
}

#else

bool mr_codec_runs_usable(void)
{
    return false;
}

size_t mr_codec_runs_pack(struct mr_codec_runs *scratch, const uint8_t *in, size_t bytes,
                          uint8_t *out)
{
    (void)scratch, (void)in, (void)bytes, (void)out;
    assert(false); /* ask mr_codec_runs_usable */
    return 0;
}
#endif
