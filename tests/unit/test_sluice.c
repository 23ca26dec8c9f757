/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a movie travel in one codec, which the server takes, and are CPUs measured as the kernel
 * tells of them? The transfer and /proc/stat are ours here: the linker leads their calls to us.
 */
#include "sluice.h"
#include "suite.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MB 1e6

static struct mr_sluice *sluice;
static struct mr_guest_cpus cpus;
static int64_t now_ns;

/* ---- what stands around it ---- */

static struct mr_transfer_flow flow;
static struct mr_welcome welcome;
static bool session;
static unsigned flows_asked, stats_read;
static char proc_stat[1024]; /* "": there is none */

void __wrap_mr_transfer_flow(const struct mr_transfer *t, struct mr_transfer_flow *ret);
void __wrap_mr_transfer_flow(const struct mr_transfer *t, struct mr_transfer_flow *ret)
{
    (void)t;
    flows_asked++;
    *ret = flow;
}

bool __wrap_mr_transfer_ready(const struct mr_transfer *t);
bool __wrap_mr_transfer_ready(const struct mr_transfer *t)
{
    (void)t;
    return session;
}

const struct mr_welcome *__wrap_mr_transfer_welcome(const struct mr_transfer *t);
const struct mr_welcome *__wrap_mr_transfer_welcome(const struct mr_transfer *t)
{
    (void)t;
    ck_assert(session);
    return &welcome;
}

uint64_t __wrap_mr_transfer_in_flight(const struct mr_transfer *t);
uint64_t __wrap_mr_transfer_in_flight(const struct mr_transfer *t)
{
    (void)t;
    return 64;
}

static struct mr_gauge_look seen; /* by the gauge, last */
static unsigned slabs_told;

bool __real_mr_gauge_look(struct mr_gauge *g, const struct mr_gauge_look *look);
bool __wrap_mr_gauge_look(struct mr_gauge *g, const struct mr_gauge_look *look);
bool __wrap_mr_gauge_look(struct mr_gauge *g, const struct mr_gauge_look *look)
{
    seen = *look;
    return __real_mr_gauge_look(g, look);
}

void __real_mr_gauge_packed(struct mr_gauge *g, enum mr_pixel pixel, enum mr_codec_id codec,
                            uint32_t raw_bytes, uint32_t wire_bytes, uint64_t cpu_ns,
                            int64_t at_ns);
void __wrap_mr_gauge_packed(struct mr_gauge *g, enum mr_pixel pixel, enum mr_codec_id codec,
                            uint32_t raw_bytes, uint32_t wire_bytes, uint64_t cpu_ns,
                            int64_t at_ns);
void __wrap_mr_gauge_packed(struct mr_gauge *g, enum mr_pixel pixel, enum mr_codec_id codec,
                            uint32_t raw_bytes, uint32_t wire_bytes, uint64_t cpu_ns, int64_t at_ns)
{
    slabs_told++;
    ck_assert(pixel == MR_PIXEL_U8 && raw_bytes == MR_SLAB_BYTES && at_ns == now_ns);
    ck_assert(wire_bytes == MR_SLAB_BYTES / 4);
    __real_mr_gauge_packed(g, pixel, codec, raw_bytes, wire_bytes, cpu_ns, at_ns);
}

FILE *__real_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode)
{
    if (strcmp(path, "/proc/stat") != 0)
        return __real_fopen64(path, mode);
    stats_read++;
    return proc_stat[0] == '\0' ? NULL : fmemopen(proc_stat, strlen(proc_stat), "r");
}

/* CPUs 0 to 3, of which 1 and 2 are ours; seconds that each was idle. */
static void tell_idle(double ours, double others)
{
    double tick = (double)sysconf(_SC_CLK_TCK);
    unsigned long long own = (unsigned long long)(ours * tick / 2),
                       far = (unsigned long long)(others * tick);
    snprintf(proc_stat, sizeof(proc_stat),
             "cpu  9 9 9 %llu 0 0 0 0 0 0\ncpu0 9 9 9 %llu 0 0 0\ncpu1 9 9 9 %llu %llu 0 0\n"
             "cpu2 9 9 9 0 %llu 0 0\ncpu3 9 9 9 %llu 0 0 0\nintr 5 5 5 5 5 5 5\ncpu1 0 0 0 1 1 1\n",
             far, far, own / 2, own - own / 2, own, far);
}

static void begin(void)
{
    memset(&cpus, 0, sizeof(cpus));
    memset(&flow, 0, sizeof(flow));
    for (size_t cpu = 1; cpu <= 2; cpu++)
        CPU_SET_S(cpu, sizeof(cpus.set), cpus.set);
    welcome = (struct mr_welcome){.abilities = MR_ABLE_CODECS};
    session = true;
    proc_stat[0] = '\0';
    flows_asked = stats_read = slabs_told = 0;
    now_ns = 1000 * MR_NS_PER_S;
    mr_log_set_level(MR_LOG_ERROR);
    ck_assert_int_eq(mr_sluice_new(&cpus, 2, &sluice), 0);
}

static void end(void)
{
    mr_sluice_free(sluice);
    mr_sluice_free(NULL);
}

static struct mr_packing tell(void)
{
    struct mr_packing packing;
    memset(&packing, 0xff, sizeof(packing));
    mr_sluice_tell(sluice, &packing);
    ck_assert(packing.by_itself);
    return packing;
}

static struct mr_shipment movie(enum mr_output output, enum mr_codec_id opened)
{
    return (struct mr_shipment){
        .output = output, .codec = opened, .geometry = {.pixel = MR_PIXEL_U8}};
}

static enum mr_codec_id codec_of(struct mr_shipment *s, bool send)
{
    const struct mr_pick pick = {.send = send};
    return mr_sluice_codec(sluice, s, &pick, now_ns);
}

/* A slab that comes back from packing, shrunk as it likes. */
static void packed(enum mr_codec_id codec, uint64_t cpu_ns)
{
    struct mr_packed note = {
        .wire_bytes = MR_SLAB_BYTES / 4, .codec = codec, .pixel = MR_PIXEL_U8, .codec_ns = cpu_ns};
    note.pick.send = true;
    note.pick.span.raw_bytes = MR_SLAB_BYTES;
    mr_sluice_packed(sluice, &note, now_ns);
}

/* So many seconds at a link that takes 100 MB a second while gigabytes wait. */
static void crowd(double seconds, double idle_ours, double idle_others)
{
    static double ours, others;
    const struct mr_transfer *none = NULL;
    ours = others = 0;
    flow.waiting = 20ull * 1000 * 1000 * 1000;
    for (double s = 0; s < seconds; s += 0.1, now_ns += MR_NS_PER_S / 10) {
        ours += idle_ours / 10;
        others += idle_others / 10;
        if (idle_ours >= 0)
            tell_idle(ours, others);
        flow.landed_raw += (uint64_t)(10 * MB);
        flow.landed_wire += (uint64_t)(10 * MB);
        mr_sluice_look(sluice, none, true, now_ns);
    }
}

/* ---- which codec ---- */

START_TEST(what_is_stored_as_it_travels_has_the_codec_it_was_opened_with)
{
    begin();
    for (int codec = 0; codec < MR_CODEC_COUNT; codec++) {
        struct mr_shipment s = movie(MR_OUTPUT_HDF5, (enum mr_codec_id)codec);
        ck_assert_int_eq(codec_of(&s, true), codec);
        ck_assert_int_eq(codec_of(&s, false), codec);
        ck_assert(!s.weighed);
    }
    end();
}
END_TEST

START_TEST(what_is_read_for_its_sum_alone_is_neither_packed_nor_weighed)
{
    begin();
    crowd(60, 2, 2);
    ck_assert_int_ne(tell().codec, MR_CODEC_NONE);
    struct mr_shipment s = movie(MR_OUTPUT_MRC, MR_CODEC_NONE);
    ck_assert_int_eq(codec_of(&s, false), MR_CODEC_NONE);
    ck_assert(!s.weighed);
    ck_assert_int_eq(codec_of(&s, true), tell().codec);
    ck_assert(s.weighed);
    end();
}
END_TEST

/* All of it in one way, whatever is found later. */
START_TEST(a_movie_keeps_the_codec_of_its_first_slab)
{
    begin();
    struct mr_shipment early = movie(MR_OUTPUT_MRC, MR_CODEC_NONE);
    ck_assert_int_eq(codec_of(&early, true), MR_CODEC_NONE);
    crowd(60, 2, 2);
    struct mr_shipment late = movie(MR_OUTPUT_KEEP, MR_CODEC_NONE);
    ck_assert_int_eq(codec_of(&late, true), tell().codec);
    ck_assert_int_ne(late.travels, MR_CODEC_NONE);
    ck_assert_int_eq(codec_of(&early, true), MR_CODEC_NONE);
    late.travels = MR_CODEC_BSZSTD; /* as if the verdict had been another then */
    ck_assert_int_eq(codec_of(&late, true), MR_CODEC_BSZSTD);
    end();
}
END_TEST

/* It takes what OPEN named, or none. */
START_TEST(an_older_server_gets_what_it_was_told_of)
{
    begin();
    welcome.abilities = ~MR_ABLE_CODECS;
    crowd(60, 2, 2);
    ck_assert_int_ne(tell().codec, MR_CODEC_NONE);
    struct mr_shipment s = movie(MR_OUTPUT_MRC, MR_CODEC_NONE),
                       t = movie(MR_OUTPUT_MRC, MR_CODEC_BSLZ4);
    ck_assert_int_eq(codec_of(&s, true), MR_CODEC_NONE);
    ck_assert_int_eq(codec_of(&t, true), MR_CODEC_BSLZ4);
    ck_assert_int_ne(s.travels, MR_CODEC_NONE); /* as it would with another server */
    welcome.abilities = MR_ABLE_CODECS;
    crowd(0.2, 2, 2);
    ck_assert_int_eq(codec_of(&s, true), s.travels);
    session = false; /* it is as it was last */
    crowd(0.2, 2, 2);
    ck_assert_int_eq(codec_of(&s, true), s.travels);
    end();
}
END_TEST

START_TEST(at_first_nothing_is_packed)
{
    begin();
    const struct mr_packing packing = tell();
    ck_assert_int_eq(packing.codec, MR_CODEC_NONE);
    ck_assert_uint_eq(packing.link_bytes_per_s, 0);
    end();
}
END_TEST

/* ---- looking ---- */

START_TEST(it_looks_ten_times_a_second_at_most)
{
    begin();
    for (int64_t ms = 0; ms < 1000; ms++, now_ns += MR_NS_PER_MS)
        mr_sluice_look(sluice, NULL, false, now_ns);
    ck_assert_uint_eq(flows_asked, 10);
    ck_assert_uint_eq(stats_read, 0); /* nothing waits: who has CPUs does not matter */
    flow.waiting = 1;
    for (int64_t ms = 0; ms < 5000; ms++, now_ns += MR_NS_PER_MS)
        mr_sluice_look(sluice, NULL, false, now_ns);
    ck_assert_uint_eq(flows_asked, 60);
    ck_assert_uint_eq(stats_read, 5);
    end();
}
END_TEST

START_TEST(a_narrow_link_is_said_with_its_rate)
{
    begin();
    crowd(60, 2, 2);
    const struct mr_packing packing = tell();
    ck_assert_int_ne(packing.codec, MR_CODEC_NONE);
    ck_assert_uint_ge(packing.link_bytes_per_s, (uint64_t)(80 * MB));
    ck_assert_uint_le(packing.link_bytes_per_s, (uint64_t)(120 * MB));
    end();
}
END_TEST

/* Which CPUs are idle counts for those alone that packing may use. */
START_TEST(only_our_own_idle_cpus_count)
{
    static const struct {
        double ours, others; /* idle seconds a second; < 0: nobody tells */
        bool packs;
    } rows[] = {{2, 0, true}, {0, 0, false}, {0, 2, false}, {-1, 0, true}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin();
        crowd(60, rows[i].ours, rows[i].others);
        ck_assert_msg((tell().codec != MR_CODEC_NONE) == rows[i].packs, "row %zu", i);
        end();
    }
}
END_TEST

/* To the hundredth of a CPU: idle ones, and what packing has of them now. */
START_TEST(free_cpus_are_what_is_idle_and_what_packing_takes)
{
    static const struct {
        double passed, idle, packing; /* seconds since the last measurement */
        double free;
    } rows[] = {{0, 0, 0, 0.05}, /* the first says nothing */
                {1, 1.5, 0, 1.5},  {1, 0, 0.25, 0.25}, {1, 1, 0.5, 1.5},
                {1, 0, 0, 0.05},   /* a little is there anyhow */
                {1, -3, 0.5, 0.5}, /* counters that went back */
                {0.9, 2, 0, 0.5},  /* too soon */
                {1.1, 0, 0, 1},    {10, 5, 5, 1},      {10.1, 20, 20, 0.05}, /* too long ago */
                {1, 1, 0, 1}};
    double idle = 100;
    begin();
    flow.waiting = 1;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        now_ns += (int64_t)(rows[i].passed * 1e9);
        idle += rows[i].idle;
        tell_idle(idle, 77);
        packed(MR_CODEC_BSLZ4, (uint64_t)(rows[i].packing * 1e9));
        mr_sluice_look(sluice, NULL, false, now_ns);
        ck_assert_msg(seen.free_cpus > rows[i].free - 0.03 && seen.free_cpus < rows[i].free + 0.03,
                      "row %zu: %f", i, seen.free_cpus);
    }
    end();
}
END_TEST

START_TEST(where_nobody_tells_there_are_as_many_cpus_as_threads)
{
    static const char *const texts[] = {"", "intr 1 2 3\n", "cpu 1 1 1 1 1 1\ncpu0 1 1 1 9 9 1\n",
                                        "cpu1 1 1\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        begin();
        flow.waiting = 1;
        snprintf(proc_stat, sizeof(proc_stat), "%s", texts[i]);
        mr_sluice_look(sluice, NULL, false, now_ns);
        ck_assert_msg(seen.free_cpus == 2, "'%s': %f", texts[i], seen.free_cpus);
        end();
    }
}
END_TEST

START_TEST(a_look_is_of_all_since_the_one_before)
{
    begin();
    flow = (struct mr_transfer_flow){.landed_raw = 11, .landed_wire = 7, .waiting = 5};
    struct mr_shipment s = movie(MR_OUTPUT_HDF5, MR_CODEC_BSLZ4);
    for (int i = 0; i < 5; i++)
        (void)codec_of(&s, i % 2);
    packed(MR_CODEC_BSLZ4, 1);
    packed(MR_CODEC_BSLZ4, 1);
    mr_sluice_look(sluice, NULL, false, now_ns);
    ck_assert_uint_eq(seen.packing, 3);
    ck_assert_uint_eq(seen.in_flight, 64);
    ck_assert(seen.landed_raw == 11 && seen.landed_wire == 7 && seen.waiting == 5);
    ck_assert(seen.session && !seen.held_back && seen.now_ns == now_ns);
    mr_sluice_look(sluice, NULL, true, now_ns + 1); /* none yet, and not forgotten */
    mr_sluice_look(sluice, NULL, false, now_ns += MR_NS_PER_S / 10);
    ck_assert(seen.held_back && seen.now_ns == now_ns);
    session = false;
    mr_sluice_look(sluice, NULL, false, now_ns += MR_NS_PER_S / 10);
    ck_assert(!seen.held_back && !seen.session);
    end();
}
END_TEST

/* Of the link: neither what could not be read, nor what is not sent, nor what is stored so. */
START_TEST(the_gauge_hears_of_slabs_that_travel_by_its_word)
{
    begin();
    for (unsigned i = 0; i < 4; i++) {
        struct mr_packed note = {.error = i == 1 ? -EIO : 0,
                                 .wire_bytes = MR_SLAB_BYTES / 4,
                                 .codec = MR_CODEC_BSLZ4,
                                 .pixel = MR_PIXEL_U8,
                                 .stored_so = i == 2};
        note.pick.send = i != 3;
        note.pick.span.raw_bytes = MR_SLAB_BYTES;
        mr_sluice_packed(sluice, &note, now_ns);
        ck_assert_uint_eq(slabs_told, 1);
    }
    end();
}
END_TEST

MR_SUITE("sluice", T(what_is_stored_as_it_travels_has_the_codec_it_was_opened_with),
         T(what_is_read_for_its_sum_alone_is_neither_packed_nor_weighed),
         T(a_movie_keeps_the_codec_of_its_first_slab), T(an_older_server_gets_what_it_was_told_of),
         T(at_first_nothing_is_packed), T(it_looks_ten_times_a_second_at_most),
         T(a_narrow_link_is_said_with_its_rate), T(only_our_own_idle_cpus_count),
         T(free_cpus_are_what_is_idle_and_what_packing_takes),
         T(where_nobody_tells_there_are_as_many_cpus_as_threads),
         T(a_look_is_of_all_since_the_one_before),
         T(the_gauge_hears_of_slabs_that_travel_by_its_word))
