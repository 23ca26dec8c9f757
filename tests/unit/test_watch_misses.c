/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a watch miss anything of a tree in which files and whole folders are made, written, renamed,
 * moved out and in and removed at random, between any two of its steps? The file system itself is
 * the model: whoever looks at every path that was hinted at must know, once the watch has nothing
 * more to do, which files there are, and have been told of each after it last changed.
 */
#include "base/clock.h"
#include "base/log.h"
#include "suite.h"
#include "tree.h"
#include "watch.h"

#include <errno.h>

#define RESCAN (10 * MR_NS_PER_S)

enum { PATHS_MAX = 4096, OPS = 350, LENGTH_MAX = 60 };

/* Of each path that was ever there. */
static struct {
    char path[LENGTH_MAX + 40];
    bool is_dir, exists; /* now */
    ino_t inode;
    struct timespec changed;
    unsigned touched;  /* the operation that made or changed it last */
    unsigned vanished; /* that took it away last */
    unsigned hinted;   /* the last one before a hint at it */
    bool known;        /* to one who looked at each hint */
    uint64_t listing;  /* the last one that showed it */
} paths[PATHS_MAX];
static unsigned path_count;

static struct mr_watch *watch;
static int64_t now_ns;
static unsigned op;            /* so many were done */
static unsigned listing_since; /* operations done when the last whole listing began */
static uint64_t begun;
static bool root_moved;

static unsigned index_of(const char *path)
{
    unsigned i = 0;
    while (i < path_count && strcmp(paths[i].path, path) != 0)
        i++;
    if (i == path_count) {
        MUST(path_count < PATHS_MAX);
        memset(&paths[path_count], 0, sizeof(paths[0]));
        snprintf(paths[path_count++].path, sizeof(paths[0].path), "%s", path);
    }
    return i;
}

/* ---- what the tree is ---- */

static bool seen[PATHS_MAX];

static int see(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    size_t root = strlen(tree_root) + strlen("/in");
    (void)type, (void)ftw;
    if (strlen(path) == root)
        return 0;
    unsigned i = index_of(path + root + 1);
    bool same =
        paths[i].exists && paths[i].inode == st->st_ino && paths[i].is_dir == S_ISDIR(st->st_mode);
    bool changed = memcmp(&paths[i].changed, &st->st_mtim, sizeof(st->st_mtim)) != 0;
    if (!same || changed)
        paths[i].touched = op;
    paths[i].exists = seen[i] = true;
    paths[i].inode = st->st_ino;
    paths[i].is_dir = S_ISDIR(st->st_mode);
    paths[i].changed = st->st_mtim;
    return 0;
}

static void snapshot(void)
{
    memset(seen, 0, sizeof(seen));
    (void)nftw(tree_path("in"), see, 16, FTW_PHYS);
    for (unsigned i = 0; i < path_count; i++) {
        if (paths[i].exists && !seen[i])
            paths[i].vanished = op;
        paths[i].exists = seen[i];
    }
}

/* ---- what the watch says ---- */

static void hear(void *ctx, enum mr_hint hint, const char *path)
{
    char below[LENGTH_MAX + 80];
    struct stat st;
    unsigned i = index_of(path);
    (void)ctx;
    snprintf(below, sizeof(below), "in/%s", path);
    if (hint == MR_HINT_GONE)
        paths[i].known = false;
    if (lstat(tree_path(below), &st) == 0 && S_ISREG(st.st_mode)) {
        paths[i].known = paths[i].known || hint != MR_HINT_GONE;
        paths[i].hinted = op;
    } else {
        paths[i].known = false; /* who looks sees that */
    }
    if (hint == MR_HINT_LISTED)
        paths[i].listing = mr_watch_listings_begun(watch);
}

static bool step(unsigned budget)
{
    bool more = mr_watch_step(watch, now_ns, budget);
    if (begun != mr_watch_listings_begun(watch)) {
        begun = mr_watch_listings_begun(watch);
        listing_since = op;
    }
    return more;
}

/* Nothing is left to be done: is all of it known? */
static void settle(void)
{
    now_ns += root_moved ? RESCAN : 1; /* only a rescan finds another root */
    root_moved = false;
    for (unsigned i = 0; step(1 + (unsigned)random() % 50); i++)
        MUST(i < 100000);
    MUST(mr_watch_listings_done(watch) == begun);
    for (unsigned i = 0; i < path_count; i++) {
        bool file = paths[i].exists && !paths[i].is_dir;
        if (file && (!paths[i].known || paths[i].hinted < paths[i].touched))
            ck_abort_msg("operation %u: %s: %s since operation %u", op, paths[i].path,
                         paths[i].known ? "no hint" : "unknown", paths[i].touched);
        bool doubted = listing_since >= paths[i].vanished && paths[i].listing < begun;
        if (!file && paths[i].known && !doubted) /* by a listing that began since */
            ck_abort_msg("operation %u: %s is gone since operation %u", op, paths[i].path,
                         paths[i].vanished);
        paths[i].known = file;
    }
}

/* A listing shows all of it, and nothing else. */
static void settle_after_rescan(void)
{
    settle();
    now_ns += RESCAN;
    settle();
    for (unsigned i = 0; i < path_count; i++)
        if ((paths[i].listing == begun) != (paths[i].exists && !paths[i].is_dir))
            ck_abort_msg("%s", paths[i].path);
}

/* ---- what happens to it ---- */

/* One that is there, "in" itself among the directories; NULL: none. */
static const char *any(bool is_dir)
{
    static char found[2][LENGTH_MAX + 80];
    static unsigned turn;
    unsigned count = is_dir, chosen = 0;
    char *ret = found[turn++ % 2];
    strcpy(ret, "in");
    for (unsigned i = 0; i < path_count; i++)
        if (paths[i].exists && paths[i].is_dir == is_dir && (unsigned)random() % ++count == 0)
            chosen = i + 1;
    if (chosen > 0)
        snprintf(ret, sizeof(found[0]), "in/%s", paths[chosen - 1].path);
    return count > 0 ? ret : NULL;
}

static const char *a_name(const char *kind)
{
    static char name[2][LENGTH_MAX + 100];
    static unsigned turn;
    char *ret = name[turn++ % 2];
    snprintf(ret, sizeof(name[0]), "%s/%s%ld", any(true), kind, random() % 4);
    if (strlen(ret) > LENGTH_MAX)
        snprintf(ret, sizeof(name[0]), "in/%s%ld", kind, random() % 4);
    return ret;
}

static void append(const char *below)
{
    int fd = open(tree_path(below), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0)
        return; /* a folder of that name, or none that it could be in */
    MUST(write(fd, "x", 1) == 1);
    close(fd);
}

static void move(const char *from, const char *to)
{
    if (from != NULL && strcmp(from, "in") != 0)
        (void)rename(tree_path(from), tree_path(to)); /* not into itself, nor onto a full one */
}

static void move_root(void)
{
    if (access(tree_path("in"), F_OK) != 0) {
        tree_rename("away", "in");
    } else {
        tree_rename("in", "away");
        if (random() % 2 == 0) { /* and another one comes */
            tree_mkdir("in");
            append("in/f0");
            scratch_remove_tree(tree_path("away"));
        }
    }
    root_moved = true;
}

static void operate(void)
{
    const char *file = any(false), *dir = any(true);
    long dice = random() % 1000;
    op++;
    if (dice < 300)
        append(a_name("f"));
    else if (dice < 400 && file != NULL)
        append(file);
    else if (dice < 500 && file != NULL)
        (void)unlink(tree_path(file));
    else if (dice < 600)
        move(file, a_name("f"));
    else if (dice < 740)
        (void)mkdir(tree_path(a_name("d")), 0755);
    else if (dice < 860)
        move(dir, a_name("d"));
    else if (dice < 900 && strcmp(dir, "in") != 0)
        scratch_remove_tree(tree_path(dir));
    else if (dice < 940)
        move(random() % 2 ? dir : "out/d", random() % 2 ? "out/d" : a_name("d"));
    else if (dice < 960)
        move("out/d", a_name("d"));
    else if (dice < 965 || root_moved)
        move_root();
    snapshot();
}

static void walk(unsigned seed, unsigned quiet)
{
    char root[4200];
    tree_make();
    tree_mkdir("in");
    tree_mkdir("out");
    mr_log_set_level(MR_LOG_ERROR); /* of a root that comes and goes */
    snprintf(root, sizeof(root), "%s", tree_path("in"));
    const struct mr_watch_config config = {
        .path = root, .events = true, .rescan_ns = RESCAN, .hint = hear};
    srandom(seed);
    path_count = op = listing_since = 0;
    begun = 0;
    now_ns = 1000 * MR_NS_PER_S;
    root_moved = false;
    ck_assert_int_eq(mr_watch_new(&config, &watch), 0);
    while (op < OPS) {
        operate();
        for (long i = random() % 4; i > 0; i--)
            (void)step(1 + (unsigned)random() % 3);
        if ((unsigned)random() % quiet == 0)
            settle();
    }
    if (access(root, F_OK) != 0)
        move_root();
    snapshot();
    settle_after_rescan();
    ck_assert_uint_eq(mr_watch_skipped(watch), 0);
    mr_watch_free(watch);
    tree_remove();
}

START_TEST(nothing_is_missed_where_it_rests_often)
{
    for (unsigned seed = 1; seed <= 12; seed++)
        walk(seed, 5);
}
END_TEST

START_TEST(nothing_is_missed_where_it_hardly_ever_rests)
{
    for (unsigned seed = 101; seed <= 112; seed++)
        walk(seed, 60);
}
END_TEST

MR_SUITE("watch_misses", T(nothing_is_missed_where_it_rests_often),
         T(nothing_is_missed_where_it_hardly_ever_rests))
