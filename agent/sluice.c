/* SPDX-License-Identifier: Apache-2.0 */
/* Measures for the gauge, and speaks for it. Decides nothing. */
#include "sluice.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STAGE      "tail"
#define LOOK_NS    (MR_NS_PER_S / 10)
#define CPUS_NS    MR_NS_PER_S
#define CPU_ANYHOW 0.05 /* of one: packing may have so much though all are busy */

struct mr_sluice {
    struct mr_gauge *gauge;
    const struct mr_guest_cpus *cpus;
    uint32_t threads;
    uint32_t abilities;                /* of the server */
    uint64_t picked, noted;            /* slabs handed to pack, and back */
    uint64_t pack_ns;                  /* CPU time of codecs */
    bool held_back;                    /* since the last look */
    int64_t looked_ns, cpus_ns;        /* when */
    uint64_t idle_ticks, cpus_pack_ns; /* as of cpus_ns */
    double free_cpus;
};

int mr_sluice_new(const struct mr_guest_cpus *cpus, uint32_t threads, struct mr_sluice **ret)
{
    struct mr_sluice *s = calloc(1, sizeof(*s));
    if (s == NULL || mr_gauge_new(threads, &s->gauge) < 0) {
        free(s);
        return -ENOMEM;
    }
    s->cpus = cpus;
    s->threads = threads;
    *ret = s;
    return 0;
}

void mr_sluice_free(struct mr_sluice *s)
{
    if (s == NULL)
        return;
    mr_gauge_free(s->gauge);
    free(s);
}

/* A server of before takes of a movie's slabs only the codec that its OPEN named, or none. */
static enum mr_codec_id as_the_server_takes_it(const struct mr_sluice *s, enum mr_codec_id codec,
                                               enum mr_codec_id opened)
{
    return codec == MR_CODEC_NONE || (s->abilities & MR_ABLE_CODECS) != 0 ? codec : opened;
}

enum mr_codec_id mr_sluice_codec(struct mr_sluice *s, struct mr_shipment *shipment,
                                 const struct mr_pick *pick, int64_t now_ns)
{
    s->picked++;
    if (shipment->output == MR_OUTPUT_HDF5) /* as it travels it is stored: all of it in one way */
        return shipment->codec;
    if (!pick->send)
        return MR_CODEC_NONE;
    if (!shipment->weighed)
        shipment->travels = mr_gauge_codec(s->gauge, shipment->geometry.pixel, now_ns);
    shipment->weighed = true;
    return as_the_server_takes_it(s, shipment->travels, shipment->codec);
}

void mr_sluice_packed(struct mr_sluice *s, const struct mr_packed *n, int64_t now_ns)
{
    s->noted++;
    s->pack_ns += n->codec_ns;
    if (n->error == 0 && n->pick.send && !n->stored_so)
        mr_gauge_packed(s->gauge, n->pixel, n->codec, n->pick.span.raw_bytes, n->wire_bytes,
                        n->codec_ns, now_ns);
}

/* ---- CPUs ---- */

/* Ticks that our CPUs were idle, all together. False: nobody tells. */
static bool read_idle(const struct mr_guest_cpus *cpus, uint64_t *ret)
{
    char line[256];
    unsigned cpu;
    unsigned long long user, nice, system, idle, waiting;
    uint64_t sum = 0;
    FILE *f = fopen("/proc/stat", "re");
    if (f == NULL)
        return false;
    bool any = false;
    while (fgets(line, sizeof(line), f) != NULL && line[0] == 'c') {
        /* the line of all of them is not ours: %u would pass the blank and read a time */
        if (line[3] == ' ' ||
            sscanf(line, "cpu%u %llu %llu %llu %llu %llu", &cpu, &user, &nice, &system, &idle,
                   &waiting) != 6 ||
            !mr_guest_cpus_has(cpus, cpu))
            continue;
        sum += idle + waiting;
        any = true;
    }
    fclose(f);
    *ret = sum;
    return any;
}

/* Idle ones, and what packing has of them now. Where nobody tells, as many as there are threads: a
 * trial shows it. */
static void measure_cpus(struct mr_sluice *s, int64_t now_ns)
{
    uint64_t idle;
    if (now_ns - s->cpus_ns < CPUS_NS)
        return;
    bool fresh = now_ns - s->cpus_ns > 10 * CPUS_NS; /* long ago: says nothing of now */
    double seconds = (double)(now_ns - s->cpus_ns) / 1e9;
    if (!read_idle(s->cpus, &idle)) {
        s->free_cpus = s->threads;
    } else {
        double idle_s = idle > s->idle_ticks
                            ? (double)(idle - s->idle_ticks) / (double)sysconf(_SC_CLK_TCK)
                            : 0;
        double pack_s = (double)(s->pack_ns - s->cpus_pack_ns) / 1e9;
        s->free_cpus = fresh ? 0 : (idle_s + pack_s) / seconds;
        s->idle_ticks = idle;
    }
    s->cpus_pack_ns = s->pack_ns;
    s->cpus_ns = now_ns;
}

/* ---- the log ---- */

static const char *because(enum mr_gauge_reason reason)
{
    switch (reason) {
    case MR_GAUGE_BEGIN:
    case MR_GAUGE_NARROW:
        break;
    case MR_GAUGE_CALM:
        return "nothing waits any more";
    case MR_GAUGE_NO_FASTER:
        return "no more came through with it: something else than the link is the narrow place, "
               "perhaps the store";
    case MR_GAUGE_NO_CPU:
        return "there are not enough CPUs free to do better";
    case MR_GAUGE_NO_SMALLER:
        return "what comes does not shrink";
    }
    return "the link is the narrow place";
}

static void say(const struct mr_gauge_verdict *v)
{
    char rate[MR_QUANTITY_TEXT];
    mr_text_size_about((uint64_t)v->link_rate, rate);
    mr_info(STAGE,
            "codec auto: keep and mrc movies that begin travel with codec %s: %s "
            "(the link took %s/s, %.0f s of slabs wait)",
            mr_codec_name(v->codec), because(v->reason), rate, v->waiting_s);
}

/* ---- looking ---- */

void mr_sluice_look(struct mr_sluice *s, const struct mr_transfer *transfer, bool held_back,
                    int64_t now_ns)
{
    struct mr_transfer_flow flow;
    struct mr_gauge_verdict verdict;
    s->held_back |= held_back;
    if (now_ns - s->looked_ns < LOOK_NS)
        return;
    mr_transfer_flow(transfer, &flow);
    if (flow.waiting > 0)
        measure_cpus(s, now_ns);
    const struct mr_gauge_look look = {
        .now_ns = now_ns,
        .session = mr_transfer_ready(transfer),
        .held_back = s->held_back,
        .landed_raw = flow.landed_raw,
        .landed_wire = flow.landed_wire,
        .waiting = flow.waiting,
        .in_flight = mr_transfer_in_flight(transfer),
        .packing = s->picked - s->noted,
        .free_cpus = s->free_cpus > CPU_ANYHOW ? s->free_cpus : CPU_ANYHOW,
    };
    if (look.session)
        s->abilities = mr_transfer_welcome(transfer)->abilities;
    s->held_back = false;
    s->looked_ns = now_ns;
    if (!mr_gauge_look(s->gauge, &look))
        return;
    mr_gauge_verdict(s->gauge, &verdict);
    say(&verdict);
}

void mr_sluice_tell(const struct mr_sluice *s, struct mr_packing *ret)
{
    struct mr_gauge_verdict verdict;
    mr_gauge_verdict(s->gauge, &verdict);
    *ret = (struct mr_packing){
        .codec = verdict.codec, .by_itself = true, .link_bytes_per_s = (uint64_t)verdict.link_rate};
}
