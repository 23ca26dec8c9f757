/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do the messages of each file keep the order that track.h promises, and is the last one true,
 * whatever is done to files in two watched trees: made, grown, given headers, closed or held open,
 * cut, touched, renamed over each other, moved from tree to tree and removed, at any time?
 */
#include "base/clock.h"
#include "base/log.h"
#include "suite.h"
#include "track.h"
#include "tree.h"

#include <errno.h>

#define S     MR_NS_PER_S
#define FRAME 2048u

enum { NAMES = 7, TREES = 2, PLACES = NAMES * TREES, FILES_MAX = 4000, OPS = 500 };

static const char *const names[NAMES] = {"a.mrc", "b.mrc",   "d/c.mrc",   "d/d.mrcs",
                                         "e.log", "d/f.log", "a.mrc.mdoc"};
static char roots[TREES][4200];
static struct mr_queue *queue;
static struct mr_track *track;
static int64_t now_ns, real_ns;
static int writers[PLACES]; /* descriptors that write there, or wrote to what was there; -1 */
static unsigned op;

/* What was said of each number. */
static struct {
    enum mr_growth_kind last; /* 0: nothing */
    unsigned place;
    struct mr_source_view view;
    struct mr_fs_facts facts;
} said[FILES_MAX];
static uint64_t numbers, completes, brokens;

/* ---- what is said ---- */

static bool may_follow(enum mr_growth_kind kind, enum mr_growth_kind last)
{
    bool growing = last == MR_GROWTH_FOUND || last == MR_GROWTH_GREW;
    bool decided = last == MR_GROWTH_COMPLETE || last == MR_GROWTH_BROKEN;
    bool nothing = last == 0 || last == MR_GROWTH_REPLACED || last == MR_GROWTH_CHANGED;
    switch (kind) {
    case MR_GROWTH_FOUND:
        return nothing;
    case MR_GROWTH_GREW:
    case MR_GROWTH_COMPLETE:
        return growing;
    case MR_GROWTH_BROKEN:
        return growing || nothing;
    case MR_GROWTH_REPLACED:
        return growing || decided;
    case MR_GROWTH_CHANGED:
        return decided;
    case MR_GROWTH_GONE:
        return last != 0 && last != MR_GROWTH_GONE;
    }
    return false;
}

static unsigned place_of(const struct mr_growth *g)
{
    for (unsigned i = 0; i < NAMES; i++)
        if (strcmp(names[i], g->path) == 0)
            return g->watch * NAMES + i;
    ck_abort_msg("%s is no file of ours", g->path);
}

static void check_content(const struct mr_growth *g)
{
    bool decided = g->kind == MR_GROWTH_COMPLETE || g->kind == MR_GROWTH_BROKEN;
    bool over = g->kind >= MR_GROWTH_REPLACED;
    bool has_reason = g->kind == MR_GROWTH_BROKEN || g->kind == MR_GROWTH_REPLACED ||
                      g->kind == MR_GROWTH_CHANGED;
    MUST(g->root == roots[g->watch]);
    MUST((g->reason[0] != '\0') == has_reason);
    MUST(g->decided_real_ns == (decided ? real_ns : 0));
    MUST(g->first_seen_real_ns > 0 && g->first_seen_real_ns <= real_ns);
    MUST(!over || (!g->view.known && g->view.settled_to == 0));
    MUST(g->view.settled_from <= g->view.settled_to && g->view.settled_to <= g->facts.size);
    MUST(g->kind != MR_GROWTH_COMPLETE || g->view.state == MR_SOURCE_COMPLETE);
    if (g->kind == MR_GROWTH_FOUND || g->kind == MR_GROWTH_GREW || g->kind == MR_GROWTH_COMPLETE)
        MUST(g->view.known);
}

static void take(const struct mr_growth *g)
{
    MUST(g->file > 0 && g->file < FILES_MAX);
    unsigned place = place_of(g);
    const enum mr_growth_kind last = said[g->file].last;
    if (!may_follow(g->kind, last))
        ck_abort_msg("operation %u: %s %s after %s", op, mr_growth_name(g->kind), g->path,
                     mr_growth_name(last));
    MUST(last == 0 || said[g->file].place == place);
    check_content(g);
    if (g->kind == MR_GROWTH_GREW)
        MUST(g->view.settled_to > said[g->file].view.settled_to);
    if (g->kind <= MR_GROWTH_COMPLETE && g->kind != MR_GROWTH_FOUND) /* else it is REPLACED */
        MUST(!mr_source_differs(&g->view, &said[g->file].view));
    completes += g->kind == MR_GROWTH_COMPLETE;
    brokens += g->kind == MR_GROWTH_BROKEN;
    said[g->file].last = g->kind;
    said[g->file].place = place;
    said[g->file].view = g->view;
    said[g->file].facts = g->facts;
    numbers = g->file > numbers ? g->file : numbers;
}

static bool step(void)
{
    static struct mr_growth got;
    int64_t deadline_ns;
    bool more = mr_track_step(track, now_ns, real_ns, &deadline_ns);
    MUST(more || deadline_ns > now_ns);
    while (mr_queue_pop(queue, 0, &got) == 0)
        take(&got);
    return more;
}

static void pass(int64_t ns)
{
    now_ns += ns;
    real_ns += ns;
}

/* ---- what is done ---- */

static const char *path_of(unsigned place)
{
    static char path[2][64];
    static unsigned turn;
    char *ret = path[turn++ % 2];
    snprintf(ret, sizeof(path[0]), "%c/%s", 'a' + (char)(place / NAMES), names[place % NAMES]);
    return ret;
}

/* A time of its own for each change: a file system's clock has ticks. */
static void touch(int fd)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000000 + op}};
    MUST(futimens(fd, times) == 0);
}

static void hold(unsigned place)
{
    if (writers[place] >= 0)
        return;
    writers[place] = open(tree_path(path_of(place)), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    MUST(writers[place] >= 0);
    touch(writers[place]); /* perhaps it was made */
}

static void let_go(unsigned place)
{
    if (writers[place] >= 0)
        close(writers[place]);
    writers[place] = -1;
}

static void write_header(int fd)
{
    static uint8_t head[1024];
    int32_t size[4] = {64, random() % 50 == 0 ? 65 : 32, (int32_t)(random() % 5), 0};
    float stats[3] = {0, 9, 1.5f};
    memset(head, 0, sizeof(head));
    size[3] = random() % 20 == 0 ? 77 : 0;
    memcpy(head, size, sizeof(size));
    if (random() % 2 == 0)
        memcpy(head + 76, stats, sizeof(stats));
    memcpy(head + 208, "MAP DD", 6);
    tree_write(fd, head, sizeof(head), 0);
}

static void write_some(int fd, unsigned place)
{
    static const uint8_t frame[FRAME] = {1};
    struct stat st;
    MUST(fstat(fd, &st) == 0);
    if (place % NAMES == NAMES - 1) { /* the mdoc */
        char text[64];
        snprintf(text, sizeof(text), "NumSubFrames = %ld\n", random() % 5);
        tree_write(fd, text, strlen(text), 0);
    } else if (random() % 3 == 0) {
        write_header(fd);
    } else {
        off_t frames = st.st_size <= 1024 ? 0 : (st.st_size - 1024) / FRAME;
        tree_write(fd, frame, random() % 4 ? FRAME : FRAME / 2, 1024 + frames * FRAME);
    }
}

static void operate(void)
{
    unsigned place = (unsigned)random() % PLACES, other = (unsigned)random() % PLACES;
    long dice = random() % 100;
    op++;
    if (dice < 55) {
        hold(place);
        write_some(writers[place], place);
        touch(writers[place]);
    } else if (dice < 75) {
        let_go(place);
    } else if (dice < 80) {
        hold(place);
        MUST(ftruncate(writers[place], random() % 4 * 1024) == 0);
        touch(writers[place]);
    } else if (dice < 88) {
        (void)unlink(tree_path(path_of(place)));
        let_go(place);
    } else if (dice < 96 && place != other) {
        (void)rename(tree_path(path_of(place)), tree_path(path_of(other)));
        let_go(place);
        let_go(other);
    } else {
        hold(place); /* and no byte is written */
        let_go(place);
    }
}

/* ---- what is true in the end ---- */

/* Of a file that nobody writes to, after `give_up`. */
static enum mr_growth_kind verdict_of(unsigned place, int fd, uint64_t size)
{
    uint8_t head[1024] = {0};
    int32_t words[4];
    if (place % NAMES >= 4)
        return MR_GROWTH_COMPLETE;
    MUST(pread(fd, head, sizeof(head), 0) >= 0);
    memcpy(words, head, sizeof(words));
    bool agrees =
        words[2] > 0 && words[3] == 0 && size >= sizeof(head) &&
        size - sizeof(head) == (uint64_t)words[0] * (uint64_t)words[1] * (uint64_t)words[2];
    return agrees ? MR_GROWTH_COMPLETE : MR_GROWTH_BROKEN;
}

/* Exactly one number stands for each file that is there, and what was said of it last is so. */
static void check_truth(void)
{
    struct mr_track_counts counts;
    uint64_t there = 0;
    for (unsigned place = 0; place < PLACES; place++) {
        struct stat st;
        uint64_t number = 0;
        for (uint64_t i = 1; i <= numbers; i++)
            if (said[i].last != 0 && said[i].last != MR_GROWTH_GONE && said[i].place == place) {
                MUST(number == 0);
                number = i;
            }
        MR_CLEANUP(mr_fs_close) int fd = open(tree_path(path_of(place)), O_RDONLY | O_CLOEXEC);
        MUST((fd >= 0) == (number != 0));
        if (fd < 0)
            continue;
        there++;
        MUST(fstat(fd, &st) == 0);
        MUST(said[number].facts.size == (uint64_t)st.st_size);
        MUST(said[number].facts.mtime_ns == st.st_mtim.tv_sec * S + st.st_mtim.tv_nsec);
        if (said[number].last != verdict_of(place, fd, (uint64_t)st.st_size))
            ck_abort_msg("operation %u: %s is %s", op, path_of(place),
                         mr_growth_name(said[number].last));
    }
    mr_track_counts(track, &counts);
    MUST(counts.files == there && counts.undecided == 0 && counts.listed && counts.skipped == 0);
    MUST(counts.complete == completes && counts.broken == brokens);
}

static void settle(void)
{
    for (unsigned place = 0; place < PLACES; place++)
        let_go(place);
    for (unsigned i = 0; i < 4; i++, pass(700 * S))
        for (unsigned n = 0; step(); n++)
            MUST(n < 10000);
    check_truth();
}

static void walk(unsigned seed)
{
    static const int64_t pauses[] = {0, 0, S / 1000, 30 * S / 1000, S, 3 * S, 31 * S, 700 * S};
    struct mr_track_watch watches[TREES];
    struct mr_err err = {0};
    tree_make();
    for (unsigned i = 0; i < TREES; i++) {
        const char folder[] = {(char)('a' + i), '\0'};
        snprintf(roots[i], sizeof(roots[i]), "%s", tree_path(folder));
        tree_mkdir(folder);
        tree_mkdir(i == 0 ? "a/d" : "b/d");
        watches[i] = (struct mr_track_watch){
            .path = roots[i], .quiet_ns = 30 * S, .give_up_ns = 600 * S, .rescan_ns = 10 * S};
    }
    const struct mr_track_config config = {
        .mode = MR_TRACK_FOLLOW, .watches = watches, .watch_count = TREES};
    mr_log_set_level(MR_LOG_ERROR);
    srandom(seed);
    memset(said, 0, sizeof(said));
    memset(writers, -1, sizeof(writers));
    numbers = completes = brokens = op = 0;
    now_ns = 100000 * S;
    real_ns = mr_clock_real_ns();
    while (op < 20) /* was there before */
        operate();
    ck_assert_int_eq(mr_queue_new(sizeof(struct mr_growth), 1024, &queue), 0);
    ck_assert_int_eq(mr_track_new(&config, queue, &err, &track), 0);
    while (op < OPS) {
        operate();
        pass(pauses[random() % 8]);
        for (long i = random() % 3; i > 0; i--)
            (void)step();
        if (random() % 60 == 0)
            settle();
    }
    settle();
    mr_track_free(track);
    mr_queue_free(queue);
    tree_remove();
}

START_TEST(messages_keep_their_order_and_the_last_is_true)
{
    for (unsigned seed = 1; seed <= 10; seed++)
        walk(seed);
}
END_TEST

MR_SUITE("track_order", T(messages_keep_their_order_and_the_last_is_true))
