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

#define GROUP  64u           /* bytes, one bit each of a mask */
#define WINDOW (32u * 1024u) /* what `seen` is about: a plane, where blocks are of 256 KiB */
#define SLACK  80u           /* bytes that are written ahead of what is kept */
#define BATCH  MR_CODEC_RUNS_BATCH
#define LONG   MR_CODEC_RUNS_LONG
#define AHEAD  8u  /* bytes beyond a run that are compared */
#define SHORT  64u /* literals, fewer, that are copied without a look at how many */

size_t mr_codec_runs_bound(size_t bytes)
{
    return bytes + bytes / LENGTH_STEP + 16 + SLACK;
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt")))
#define INLINE static inline __attribute__((always_inline, target("avx2,bmi,bmi2,lzcnt,popcnt")))

/* Where an encoding has come to: what is written, and the offset of the first byte that is not yet
 * in it. Passed by value, for a loop that keeps it in registers. */
struct place {
    uint8_t *out;
    size_t literals;
};

/* What the search for runs carries on. */
struct search {
    const uint8_t *in;
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
INLINE size_t find_runs(struct search *s, size_t at, size_t stop, struct mr_codec_run *runs)
{
    size_t count = 0, zeros_seen = 0, bytes = stop - at;
    for (; at < stop; at += GROUP) {
        uint64_t zeros = zeros_of_64(s->in + at);
        uint64_t ends = run_ends(zeros, s->before, s->dense);
        size_t here = (size_t)_mm_popcnt_u64(ends);
        for (size_t i = 0; i < here; i += 4) {
            runs[count + i] = next_run(&ends, zeros, at, s->carried);
            runs[count + i + 1] = next_run(&ends, zeros, at, s->carried);
            runs[count + i + 2] = next_run(&ends, zeros, at, s->carried);
            runs[count + i + 3] = next_run(&ends, zeros, at, s->carried);
        }
        count += here;
        zeros_seen += (size_t)_mm_popcnt_u64(zeros);
        s->carried = zeros == ~(uint64_t)0 ? s->carried + GROUP : _lzcnt_u64(~zeros);
        s->before = zeros;
    }
    s->dense = zeros_seen > bytes / 4 && zeros_seen < bytes - bytes / 4;
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
    if (count >= NIBBLE)
        out = put_length(out, count - NIBBLE);
    memcpy(out, from, count);
    return out + count;
}

/* A sequence of any lengths. */
static __attribute__((noinline)) struct place put_sequence(const uint8_t *in, struct place at,
                                                           struct match m)
{
    size_t literals = m.start - at.literals, length = m.end - m.start - MATCH_LEAST;
    *at.out = (uint8_t)((literals < NIBBLE ? literals : NIBBLE) << 4 |
                        (length < NIBBLE ? length : NIBBLE));
    uint8_t *out = put_literals(at.out + 1, in + at.literals, literals);
    *out++ = (uint8_t)m.back;
    *out++ = (uint8_t)(m.back >> 8);
    return (struct place){length < NIBBLE ? out : put_length(out, length - NIBBLE), m.end};
}

/* The same for the usual lengths. Always writes; `keep` says whether it is for good. */
INLINE struct place put_short(const uint8_t *in, struct place at, struct match m, bool keep)
{
    size_t literals = (m.start - at.literals) % SHORT, length = m.end - m.start - MATCH_LEAST;
    bool more = literals >= NIBBLE, further = length >= NIBBLE;
    uint8_t *out = at.out;
    uint16_t back = (uint16_t)m.back;
    *out++ = (uint8_t)((more ? NIBBLE : literals) << 4 | (further ? NIBBLE : length));
    *out = (uint8_t)(literals - NIBBLE);
    out += more;
    memcpy(out, in + at.literals, SHORT);
    out += literals;
    memcpy(out, &back, sizeof(back)); /* x86 only: little-endian */
    out[2] = (uint8_t)(length - NIBBLE);
    out += 2 + further;
    size_t mask = -(size_t)keep;
    return (struct place){at.out + ((size_t)(out - at.out) & mask),
                          at.literals ^ ((at.literals ^ m.end) & mask)};
}

/* What is best done with a run. A long one repeats its own first zero; else the match ends where
 * the two places differ, at most 7 bytes on. */
INLINE struct match match_run(const uint8_t *in, struct mr_codec_run run, size_t from,
                              size_t literals)
{
    size_t end = run.end;
    uint64_t differ = load_64(in + end + 1) ^ load_64(in + from + 1);
    size_t further = _tzcnt_u64(differ | (uint64_t)1 << 63) / 8;
    bool repeat = run.zeros >= LONG;
    struct match m = {end - run.zeros + repeat, repeat ? end : end + 1 + further,
                      repeat ? 1 : end - from};
    m.start = m.start > literals ? m.start : literals;
    return m;
}

INLINE struct place encode_runs(const uint8_t *in, struct place at, size_t window,
                                struct mr_codec_runs *scratch, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct mr_codec_run run = scratch->runs[i];
        size_t zeros = run.zeros < LONG ? run.zeros : LONG;
        uint16_t *seen = &scratch->seen[zeros][in[run.end]];
        size_t last = *seen;
        *seen = (uint16_t)(run.end - window);
        struct match m = match_run(in, run, window + last, at.literals);
        /* a match before this one may have gone beyond it */
        bool keep = ((ptrdiff_t)(m.end - m.start) >= (ptrdiff_t)MATCH_LEAST) &
                    ((last != 0) | (zeros == LONG));
        bool usual = (m.start - at.literals < SHORT) &
                     (m.end - m.start < MATCH_LEAST + NIBBLE + LENGTH_STEP);
        at = (!keep | usual) ? put_short(in, at, m, keep) : put_sequence(in, at, m);
    }
    return at;
}

/* The zeros before `stop`, and those that follow; then the rest as literals. */
static uint8_t *finish(const struct search *s, struct place at, size_t stop, size_t bytes)
{
    struct match m = {stop - s->carried + 1, stop, 1};
    m.start = m.start > at.literals ? m.start : at.literals;
    while (s->carried > 0 && m.end < bytes - LAST_BYTES && s->in[m.end] == 0)
        m.end++;
    if (m.end > m.start + LONG && m.start < stop)
        at = put_sequence(s->in, at, m);
    size_t literals = bytes - at.literals;
    *at.out = (uint8_t)((literals < NIBBLE ? literals : NIBBLE) << 4);
    return put_literals(at.out + 1, s->in + at.literals, literals);
}

TARGET size_t mr_codec_runs_pack(struct mr_codec_runs *scratch, const uint8_t *in, size_t bytes,
                                 uint8_t *out)
{
    assert(bytes >= MR_CODEC_RUNS_LEAST);
    struct search s = {.in = in};
    struct place place = {out, 0};
    size_t window = 0;
    /* A match may go on for AHEAD bytes, and SHORT are copied from there. (The format wants the
     * last match to begin 12 bytes before the end.) */
    size_t stop = (bytes - SHORT - AHEAD) / GROUP * GROUP;
    for (size_t at = 0; at < stop; at += BATCH) {
        if (at % WINDOW == 0) {
            window = at;
            memset(scratch->seen, 0, sizeof(scratch->seen));
        }
        size_t count = find_runs(&s, at, at + BATCH < stop ? at + BATCH : stop, scratch->runs);
        place = encode_runs(in, place, window, scratch, count);
    }
    return (size_t)(finish(&s, place, stop, bytes) - out);
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
