/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `codec: auto` decides here. Time is cut into spans of a second or more; each was calm, or slabs
 * waited, and for what. Only several spans in a row count. Measures nothing itself.
 */
#include "gauge.h"

#include "base/clock.h"
#include "wire/slab.h"

#include <errno.h>
#include <stdlib.h>

#define MIB             1048576.0
#define SPAN_NS         MR_NS_PER_S
#define SPAN_LONGEST_NS (30 * MR_NS_PER_S) /* nothing landed for so long: nothing is known */
#define SPAN_BYTES      (8 * MIB)          /* a rate from less is chance: acks come in groups */
#define LATE_S          2.0                /* of waiting: more than a sync group and its ack take */
#define SURE_SPANS      3
#define SURE_S          3.0
#define GAIN_LZ4        1.2 /* of what comes through: expected at least, or it is not tried */
#define GAIN_ZSTD       1.1 /* it costs no more latency by then, only CPU that is free */
#define GAIN_SEEN       1.1 /* and found at least, or it is let be */
#define KNOWN_BYTES     (32 * MIB)  /* packed: then ratio and cost are known */
#define FADE_BYTES      (256 * MIB) /* older slabs count half */
#define FUTILE_NS       (600 * MR_NS_PER_S)
#define PAUSE_MIN_NS    (300 * MR_NS_PER_S) /* after a trial that did not help; doubles */
#define PATIENCE_MIN_NS (60 * MR_NS_PER_S)  /* calm for so long: tried without; doubles */
#define LONGEST_NS      (3600 * MR_NS_PER_S)
#define PEAK_FADES      0.9 /* a span */
#define SLOW_CAMERA     0.7 /* of what the link took: it would do without */

/* Until something was packed. Ratios of counted frames are above these, costs below. */
static const double usual_ratio[MR_CODEC_COUNT] = {1, 2, 2.4};
static const double usual_cost_ns[MR_CODEC_COUNT] = {0, 1, 3}; /* per byte */

enum phase { OFF, TRYING, ON };
enum weather { CALM, NARROW, PACKING, UNCLEAR };

struct yield {
    double raw, wire, cpu_ns;
    int64_t futile_until_ns;
};

struct span {
    int64_t begun_ns;
    uint64_t raw, wire; /* totals as it began */
    uint64_t least_waiting;
    unsigned looks, held_back, packing;
    bool coded; /* all that was in flight as it began was packed as is being tried, and since */
};

struct streak {
    unsigned spans, packing;
    double raw, wire, seconds;
};

struct mr_gauge {
    uint32_t threads;
    enum phase phase;
    struct mr_gauge_verdict verdict;
    bool in_span;
    struct span span;
    struct streak behind; /* spans in a row in which slabs waited */

    /* the trial */
    enum mr_codec_id from; /* what was in force before */
    double from_rate;      /* raw bytes a second that came through with it */
    double trial_raw, trial_wire;
    double coded_run; /* bytes packed as is being tried since the last that were not */
    unsigned calm_spans;

    /* calm */
    int64_t calm_since_ns; /* 0: it is not */
    double calm_peak;      /* bytes a second */
    int64_t patience_ns, calmed_ns;

    int64_t not_before_ns[MR_CODEC_COUNT], pause_ns[MR_CODEC_COUNT];
    struct yield yields[MR_PIXEL_COUNT][MR_CODEC_COUNT];
};

int mr_gauge_new(uint32_t threads, struct mr_gauge **ret)
{
    struct mr_gauge *g = calloc(1, sizeof(*g));
    if (g == NULL)
        return -ENOMEM;
    g->threads = threads;
    g->patience_ns = PATIENCE_MIN_NS;
    for (size_t i = 0; i < MR_CODEC_COUNT; i++)
        g->pause_ns[i] = PAUSE_MIN_NS;
    *ret = g;
    return 0;
}

void mr_gauge_free(struct mr_gauge *g)
{
    free(g);
}

void mr_gauge_verdict(const struct mr_gauge *g, struct mr_gauge_verdict *ret)
{
    *ret = g->verdict;
}

enum mr_codec_id mr_gauge_codec(const struct mr_gauge *g, enum mr_pixel pixel, int64_t now_ns)
{
    enum mr_codec_id codec = g->verdict.codec;
    return now_ns < g->yields[pixel][codec].futile_until_ns ? MR_CODEC_NONE : codec;
}

static int64_t doubled(int64_t ns)
{
    return ns * 2 > LONGEST_NS ? LONGEST_NS : ns * 2;
}

/* ---- what packing brings and costs ---- */

static void note_trial(struct mr_gauge *g, enum mr_codec_id codec, double raw, double wire)
{
    if (codec == g->verdict.codec) {
        g->trial_raw += raw;
        g->trial_wire += wire;
        g->coded_run += raw;
    } else if (raw >= MIB) { /* a log between two movies is no matter */
        g->coded_run = 0;
    }
}

void mr_gauge_packed(struct mr_gauge *g, enum mr_pixel pixel, enum mr_codec_id codec,
                     uint32_t raw_bytes, uint32_t wire_bytes, uint64_t cpu_ns, int64_t now_ns)
{
    struct yield *y = &g->yields[pixel][codec];
    note_trial(g, codec, raw_bytes, wire_bytes);
    if (codec == MR_CODEC_NONE)
        return;
    y->raw += raw_bytes;
    y->wire += wire_bytes;
    y->cpu_ns += (double)cpu_ns;
    if (y->raw >= KNOWN_BYTES && y->wire * GAIN_SEEN > y->raw)
        *y = (struct yield){.futile_until_ns = now_ns + FUTILE_NS};
    if (y->raw > FADE_BYTES) {
        y->raw /= 2;
        y->wire /= 2;
        y->cpu_ns /= 2;
    }
}

/* Over all kinds of pixels that shrink. */
static struct yield yield_of(const struct mr_gauge *g, enum mr_codec_id codec)
{
    struct yield sum = {0};
    for (size_t i = 0; i < MR_PIXEL_COUNT; i++) {
        sum.raw += g->yields[i][codec].raw;
        sum.wire += g->yields[i][codec].wire;
        sum.cpu_ns += g->yields[i][codec].cpu_ns;
    }
    return sum;
}

static double ratio_of(const struct mr_gauge *g, enum mr_codec_id codec)
{
    struct yield y = yield_of(g, codec);
    if (y.raw >= KNOWN_BYTES)
        return y.raw / y.wire;
    if (codec == MR_CODEC_BSZSTD) /* known of the other, it is better in proportion */
        return ratio_of(g, MR_CODEC_BSLZ4) * usual_ratio[codec] / usual_ratio[MR_CODEC_BSLZ4];
    return usual_ratio[codec];
}

/* Bytes a second that the CPUs which are free can pack. */
static double pack_rate(const struct mr_gauge *g, enum mr_codec_id codec, double free_cpus)
{
    struct yield y = yield_of(g, codec);
    double cost_ns = y.raw >= KNOWN_BYTES ? y.cpu_ns / y.raw : usual_cost_ns[codec];
    double cpus = free_cpus < g->threads ? free_cpus : g->threads;
    return cost_ns > 0 ? cpus * 1e9 / cost_ns : cpus * 1e12;
}

/* ---- changes ---- */

static void begin_trial(struct mr_gauge *g, enum mr_codec_id codec, double rate, int64_t now_ns)
{
    bool back_soon = g->calmed_ns != 0 && now_ns - g->calmed_ns < 10 * g->patience_ns;
    if (g->phase == OFF)
        g->patience_ns = back_soon ? doubled(g->patience_ns) : PATIENCE_MIN_NS;
    g->from = g->verdict.codec;
    g->from_rate = rate;
    g->trial_raw = g->trial_wire = g->coded_run = 0;
    g->calm_spans = 0;
    g->phase = TRYING;
    g->verdict.codec = codec;
    g->verdict.reason = MR_GAUGE_NARROW;
}

static void end_trial(struct mr_gauge *g, enum mr_gauge_reason reason, int64_t now_ns)
{
    enum mr_codec_id codec = g->verdict.codec;
    g->not_before_ns[codec] = now_ns + g->pause_ns[codec];
    g->pause_ns[codec] = doubled(g->pause_ns[codec]);
    g->phase = g->from == MR_CODEC_NONE ? OFF : ON;
    g->verdict.codec = g->from;
    g->verdict.reason = reason;
}

static void switch_off(struct mr_gauge *g, enum mr_gauge_reason reason, int64_t now_ns)
{
    g->from = MR_CODEC_NONE;
    if (reason == MR_GAUGE_CALM) {
        g->calmed_ns = now_ns;
        g->phase = OFF;
        g->verdict.codec = MR_CODEC_NONE;
        g->verdict.reason = reason;
        return;
    }
    end_trial(g, reason, now_ns);
}

/* Said once, until something else is. */
static bool want_cpu(struct mr_gauge *g)
{
    bool news = g->phase == OFF && g->verdict.reason != MR_GAUGE_NO_CPU;
    if (news)
        g->verdict.reason = MR_GAUGE_NO_CPU;
    return news;
}

static bool consider(struct mr_gauge *g, enum mr_codec_id codec, double gain,
                     const struct mr_gauge_look *look)
{
    double rate = g->behind.raw / g->behind.seconds;
    if (look->now_ns < g->not_before_ns[codec] ||
        g->verdict.link_rate * ratio_of(g, codec) < rate * gain)
        return false;
    if (pack_rate(g, codec, look->free_cpus) < rate * gain)
        return want_cpu(g);
    begin_trial(g, codec, rate, look->now_ns);
    return true;
}

/* ---- spans ---- */

static void begin_span(struct mr_gauge *g, const struct mr_gauge_look *look)
{
    g->in_span = look->session;
    g->span = (struct span){.begun_ns = look->now_ns,
                            .raw = look->landed_raw,
                            .wire = look->landed_wire,
                            .least_waiting = look->waiting,
                            .coded = g->coded_run >= (double)look->in_flight * MR_SLAB_BYTES};
}

static bool broken(const struct mr_gauge *g, const struct mr_gauge_look *look)
{
    const struct span *s = &g->span;
    return !g->in_span || !look->session || look->now_ns < s->begun_ns ||
           look->landed_raw < s->raw || look->landed_wire < s->wire;
}

static void note_look(struct mr_gauge *g, const struct mr_gauge_look *look)
{
    struct span *s = &g->span;
    s->looks++;
    s->held_back += look->held_back;
    s->packing += look->packing * 2 > look->in_flight;
    if (look->waiting < s->least_waiting)
        s->least_waiting = look->waiting;
    s->coded = s->coded && g->coded_run > 0;
}

static bool span_over(const struct span *s, const struct mr_gauge_look *look)
{
    int64_t elapsed_ns = look->now_ns - s->begun_ns;
    bool enough = s->least_waiting == 0 || (double)(look->landed_raw - s->raw) >= SPAN_BYTES;
    return elapsed_ns >= SPAN_LONGEST_NS || (elapsed_ns >= SPAN_NS && enough);
}

static enum weather weather_of(const struct span *s, double raw, double rate)
{
    if (s->least_waiting > 0 && raw <= 0)
        return UNCLEAR; /* it stands still: the store is paused, or away */
    if ((double)s->least_waiting <= rate * LATE_S)
        return CALM;
    if (s->held_back * 2 < s->looks)
        return UNCLEAR; /* there are credit and buffers: the source's disk is slow */
    return s->packing * 2 >= s->looks ? PACKING : NARROW;
}

/* ---- decisions ---- */

/* By what the link took when it last was narrow. It may have become wider since: to be seen only by
 * trying, which costs a movie that comes late. */
static int64_t calm_enough_ns(const struct mr_gauge *g)
{
    if (g->calm_peak > g->verdict.link_rate)
        return g->patience_ns * 10 > LONGEST_NS ? LONGEST_NS : g->patience_ns * 10;
    bool slow = g->calm_peak > 0 && g->calm_peak < g->verdict.link_rate * SLOW_CAMERA;
    return slow ? g->patience_ns / 6 : g->patience_ns;
}

static bool on_calm(struct mr_gauge *g, const struct mr_gauge_look *look, double rate)
{
    g->behind = (struct streak){0};
    if (g->calm_since_ns == 0) {
        g->calm_since_ns = g->span.begun_ns;
        g->calm_peak = 0;
    }
    if (rate > 0 && rate < g->calm_peak) /* what drains first says nothing of the camera */
        g->calm_peak *= PEAK_FADES;
    if (rate > g->calm_peak)
        g->calm_peak = rate;
    if (g->phase == TRYING && g->span.coded && rate > 0 && ++g->calm_spans >= SURE_SPANS)
        g->phase = ON;
    if (g->phase == OFF || look->now_ns - g->calm_since_ns < calm_enough_ns(g))
        return false;
    switch_off(g, MR_GAUGE_CALM, look->now_ns);
    return true;
}

/* More comes through than did without, or it was for nothing. */
static bool judge_trial(struct mr_gauge *g, bool packing, int64_t now_ns)
{
    double rate = g->behind.raw / g->behind.seconds;
    if (rate >= g->from_rate * GAIN_SEEN) {
        g->phase = ON;
        if (!packing)
            g->verdict.link_rate = g->behind.wire / g->behind.seconds;
        g->pause_ns[g->verdict.codec] = PAUSE_MIN_NS;
        return false;
    }
    end_trial(g, packing ? MR_GAUGE_NO_CPU : MR_GAUGE_NO_FASTER, now_ns);
    return true;
}

static bool judge(struct mr_gauge *g, const struct mr_gauge_look *look)
{
    double rate = g->behind.raw / g->behind.seconds;
    bool packing = g->behind.packing * 2 >= g->behind.spans;
    if (g->phase == TRYING)
        return judge_trial(g, packing, look->now_ns);
    if (!packing)
        g->verdict.link_rate = g->behind.wire / g->behind.seconds;
    if (packing && g->phase == ON && rate < g->verdict.link_rate) {
        switch_off(g, MR_GAUGE_NO_CPU, look->now_ns);
        return true;
    }
    if (packing || g->verdict.codec == MR_CODEC_BSZSTD)
        return false;
    return g->verdict.codec == MR_CODEC_NONE ? consider(g, MR_CODEC_BSLZ4, GAIN_LZ4, look)
                                             : consider(g, MR_CODEC_BSZSTD, GAIN_ZSTD, look);
}

static bool on_behind(struct mr_gauge *g, const struct mr_gauge_look *look, bool packing)
{
    struct streak *b = &g->behind;
    g->calm_since_ns = 0;
    g->calm_spans = 0;
    if (g->phase == TRYING && !g->span.coded) { /* slabs of before are still under way */
        *b = (struct streak){0};
        return false;
    }
    b->spans++;
    b->packing += packing;
    b->raw += (double)(look->landed_raw - g->span.raw);
    b->wire += (double)(look->landed_wire - g->span.wire);
    b->seconds += (double)(look->now_ns - g->span.begun_ns) / 1e9;
    if (b->spans < SURE_SPANS || b->seconds < SURE_S)
        return false;
    bool news = judge(g, look);
    *b = (struct streak){0};
    return news;
}

static bool decide(struct mr_gauge *g, const struct mr_gauge_look *look)
{
    double raw = (double)(look->landed_raw - g->span.raw);
    double rate = raw / ((double)(look->now_ns - g->span.begun_ns) / 1e9);
    g->verdict.waiting_s = rate > 0 ? (double)g->span.least_waiting / rate : 0;
    if (g->phase == TRYING && g->trial_raw >= KNOWN_BYTES &&
        g->trial_wire * GAIN_SEEN > g->trial_raw) {
        end_trial(g, MR_GAUGE_NO_SMALLER, look->now_ns);
        return true;
    }
    switch (weather_of(&g->span, raw, rate)) {
    case CALM:
        return on_calm(g, look, rate);
    case NARROW:
        return on_behind(g, look, false);
    case PACKING:
        return on_behind(g, look, true);
    case UNCLEAR:
        break;
    }
    g->behind = (struct streak){0};
    g->calm_since_ns = 0;
    return false;
}

bool mr_gauge_look(struct mr_gauge *g, const struct mr_gauge_look *look)
{
    if (broken(g, look)) {
        begin_span(g, look);
        g->behind = (struct streak){0};
        return false;
    }
    note_look(g, look);
    if (!span_over(&g->span, look))
        return false;
    bool news = decide(g, look);
    begin_span(g, look);
    return news;
}
