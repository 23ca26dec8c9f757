/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does the journal agree with a plain list of rows, all of each row, whatever is inserted, updated,
 * deleted, expired and undone in whatever order, and after it was closed and opened again?
 */
#include "journal.h"
#include "suite.h"
#include "tree.h"

#include <errno.h>

enum { ROWS_MAX = 400, IDS = 24, REVISIONS = 3, ROOTS = 2, PATHS = 3, INODES = 2 };

static const char *const roots[ROOTS] = {"/data/movies", "/data"};
static const char *const paths[PATHS] = {"grid7/m.mrc", "m\xff'\".mrc", "grid7/m.mrc2"};

struct list {
    struct mr_journal_movie rows[ROWS_MAX]; /* in the order they came */
    size_t count;
};

static struct list model, before; /* before the batch */
static struct mr_journal *journal;
static struct mr_err err;
static bool batch;
static int64_t clock_ns;

/* ---- rows ---- */

static struct mr_ulid id_of(unsigned number)
{
    struct mr_ulid id = {{0}};
    id.bytes[0] = (uint8_t)(number * 37); /* in another order than they come */
    id.bytes[15] = (uint8_t)number;
    return id;
}

/* What an update writes. */
static void vary(struct mr_journal_movie *m)
{
    m->state = (enum mr_journal_state)(1 + random() % 4);
    m->size = (uint64_t)random() * (random() % 2 ? 1 : UINT64_C(0x100000001));
    m->mtime_ns = random() - random();
    m->source = (struct mr_journal_source){.ctime_ns = random() - random(),
                                           .fresh = random() % 2,
                                           .crc_file = ~(uint64_t)random(),
                                           .crc_pixels = (uint64_t)random() << 40};
    snprintf(m->event, sizeof(m->event), "%ld.ready", random());
    m->text[0] = '\0';
    if (random() % 2 != 0)
        snprintf(m->text, sizeof(m->text), "it failed: %ld '\"\xc3\xa9", random());
    m->updated_real_ns = clock_ns += random() % 2;
}

static struct mr_journal_movie any_movie(void)
{
    static const enum mr_pixel pixels[] = {MR_PIXEL_I8, MR_PIXEL_U16, MR_PIXEL_F32};
    struct mr_journal_movie m = {.id = id_of((unsigned)random() % IDS),
                                 .revision = 1 + (uint32_t)random() % REVISIONS,
                                 .identity = {.device = UINT64_MAX - (uint64_t)random() % 2,
                                              .inode = (uint64_t)random() % INODES,
                                              .birth_ns = -random() % 2},
                                 .kind = random() % 2 ? MR_KIND_MOVIE : MR_KIND_FILE,
                                 .output = (enum mr_output)(MR_OUTPUT_KEEP + random() % 3),
                                 .codec = (enum mr_codec_id)(random() % MR_CODEC_COUNT),
                                 .first_seen_real_ns = random()};
    snprintf(m.root, sizeof(m.root), "%s", roots[random() % ROOTS]);
    snprintf(m.path, sizeof(m.path), "%s", paths[random() % PATHS]);
    if (random() % 2)
        mr_geometry_opaque(&m.geometry);
    else
        MUST(mr_geometry_frames(random() % 2 ? MR_LAYOUT_STREAM : MR_LAYOUT_CHUNKS,
                                pixels[random() % 3], random() % 2, 64 + (uint64_t)random() % 9, 32,
                                1024, 0, &m.geometry, &err) == 0);
    vary(&m);
    return m;
}

static void same(const struct mr_journal_movie *a, const struct mr_journal_movie *b)
{
    const struct mr_geometry *g = &a->geometry, *h = &b->geometry;
    MUST(mr_ulid_equal(&a->id, &b->id) && a->revision == b->revision && a->state == b->state);
    MUST(strcmp(a->root, b->root) == 0 && strcmp(a->path, b->path) == 0);
    MUST(mr_fs_same(&a->identity, &b->identity));
    MUST(a->size == b->size && a->mtime_ns == b->mtime_ns);
    MUST(a->kind == b->kind && a->output == b->output && a->codec == b->codec);
    MUST(a->source.ctime_ns == b->source.ctime_ns && a->source.fresh == b->source.fresh);
    MUST(a->source.crc_file == b->source.crc_file && a->source.crc_pixels == b->source.crc_pixels);
    MUST(strcmp(a->event, b->event) == 0 && strcmp(a->text, b->text) == 0);
    MUST(a->first_seen_real_ns == b->first_seen_real_ns);
    MUST(a->updated_real_ns == b->updated_real_ns);
    MUST(g->layout == h->layout && g->source_pixel == h->source_pixel && g->pixel == h->pixel);
    MUST(g->swap_bytes == h->swap_bytes && g->width == h->width && g->height == h->height);
    MUST(g->source_data_offset == h->source_data_offset && g->data_offset == h->data_offset);
    MUST(g->source_frame_bytes == h->source_frame_bytes && g->frame_bytes == h->frame_bytes);
    MUST(g->rows_per_slab == h->rows_per_slab && g->frames_per_slab == h->frames_per_slab &&
         g->slabs_per_frame == h->slabs_per_frame);
}

/* ---- questions ---- */

static void expect(int code, const struct mr_journal_movie *found,
                   const struct mr_journal_movie *wanted)
{
    MUST(code == (wanted == NULL ? -ENOENT : 0));
    MUST(err.code == 0); /* that there is none is no trouble */
    if (wanted != NULL)
        same(found, wanted);
}

static void ask_for_files(void)
{
    static struct mr_journal_movie found;
    for (unsigned n = 0; n < ROOTS * PATHS * INODES * 4; n++) {
        const char *root = roots[n % ROOTS], *path = paths[n / ROOTS % PATHS];
        const struct mr_fs_identity identity = {.device = UINT64_MAX - n / 12 % 2,
                                                .inode = n / 24 % INODES,
                                                .birth_ns = -(int64_t)(n / 6 % 2)};
        const struct mr_journal_movie *of_file = NULL, *of_name = NULL;
        for (size_t i = 0; i < model.count; i++) {
            struct mr_journal_movie *m = &model.rows[i];
            if (strcmp(m->root, root) != 0 || strcmp(m->path, path) != 0)
                continue;
            of_name = m;
            of_file = mr_fs_same(&m->identity, &identity) ? m : of_file;
        }
        int code = mr_journal_find_file(journal, root, path, &identity, &found, &err);
        expect(code, &found, of_file);
        code = mr_journal_find_name(journal, root, path, &found, &err);
        expect(code, &found, of_name);
    }
}

static void ask_for_ids(void)
{
    static struct mr_journal_movie found;
    for (unsigned n = 0; n < IDS; n++) {
        const struct mr_ulid id = id_of(n);
        const struct mr_journal_movie *newest = NULL;
        for (size_t i = 0; i < model.count; i++)
            if (mr_ulid_equal(&model.rows[i].id, &id) &&
                (newest == NULL || model.rows[i].revision > newest->revision))
                newest = &model.rows[i];
        expect(mr_journal_find(journal, &id, &found, &err), &found, newest);
    }
}

/* The next of that state behind `last` (NULL: the first), the longest unchanged first. */
static const struct mr_journal_movie *next_of(enum mr_journal_state state, const char *root,
                                              int64_t until, const struct mr_journal_movie *last)
{
    const struct mr_journal_movie *next = NULL;
    for (size_t i = 0; i < model.count; i++) {
        const struct mr_journal_movie *m = &model.rows[i];
        bool behind = last == NULL || m->updated_real_ns > last->updated_real_ns ||
                      (m->updated_real_ns == last->updated_real_ns && m > last);
        if (m->state == state && behind && m->updated_real_ns <= until &&
            strcmp(m->root, root) == 0 &&
            (next == NULL || m->updated_real_ns < next->updated_real_ns))
            next = m;
    }
    return next;
}

static void walk_states(void)
{
    static struct mr_journal_movie found;
    for (unsigned n = 0; n < 2 * ROOTS; n++) {
        const char *root = roots[n / 2];
        const bool open = n % 2;
        const int64_t until = open ? INT64_MAX : clock_ns - random() % 40;
        const struct mr_journal_movie *next = NULL;
        struct mr_journal_place at = {0};
        do {
            next = next_of(open ? MR_JOURNAL_OPEN : MR_JOURNAL_COMMITTED, root, until, next);
            int code = open ? mr_journal_next_open(journal, root, &at, &found, &err)
                            : mr_journal_next_committed(journal, root, until, &at, &found, &err);
            expect(code, &found, next);
        } while (next != NULL);
    }
}

static void ask_all(void)
{
    ask_for_ids();
    ask_for_files();
    walk_states();
}

/* ---- changes ---- */

static size_t place_of(const struct mr_journal_movie *m)
{
    size_t i = 0;
    while (i < model.count &&
           (!mr_ulid_equal(&model.rows[i].id, &m->id) || model.rows[i].revision != m->revision))
        i++;
    return i;
}

static void forget(size_t at)
{
    model.count--;
    memmove(&model.rows[at], &model.rows[at + 1], (model.count - at) * sizeof(model.rows[0]));
}

static void expire(void)
{
    int64_t until = clock_ns - 60;
    uint64_t expected = 0, forgotten = UINT64_MAX;
    for (size_t i = model.count; i-- > 0;)
        if (model.rows[i].state != MR_JOURNAL_OPEN && model.rows[i].updated_real_ns < until) {
            forget(i);
            expected++;
        }
    MUST(mr_journal_expire(journal, until, &forgotten, &err) == 0);
    MUST(forgotten == expected);
}

static void change(long dice)
{
    const struct mr_journal_movie m = any_movie();
    size_t at = place_of(&m);
    if (dice < 40) {
        int code = mr_journal_insert(journal, &m, &err);
        MUST(code == (at < model.count ? -EEXIST : 0));
        err = (struct mr_err){0};
        if (code == 0)
            model.rows[model.count++] = m;
    } else if (dice < 80) { /* what the row is of stays as it was, whatever is given */
        MUST(mr_journal_update(journal, &m, &err) == (at < model.count ? 0 : -ENOENT));
        if (at == model.count)
            return;
        struct mr_journal_movie *row = &model.rows[at];
        row->state = m.state;
        row->size = m.size;
        row->mtime_ns = m.mtime_ns;
        row->source = m.source;
        memcpy(row->event, m.event, sizeof(m.event));
        memcpy(row->text, m.text, sizeof(m.text));
        row->updated_real_ns = m.updated_real_ns;
    } else if (dice < 97) {
        MUST(mr_journal_delete(journal, &m.id, m.revision, &err) == 0);
        if (at < model.count)
            forget(at);
    } else {
        expire();
    }
}

static void open_at(const char *dir)
{
    err = (struct mr_err){0};
    ck_assert_msg(mr_journal_open(dir, &err, &journal) == 0, "%s", err.text);
    ck_assert_uint_eq(mr_journal_forgotten(journal), 0);
}

static void begin(void)
{
    ck_assert_int_eq(mr_journal_begin(journal, &err), 0);
    before = model;
    batch = true;
}

/* By a commit, by a rollback, or by closing it in the midst. */
static void end_batch(const char *dir)
{
    long dice = random() % 4;
    batch = false;
    if (dice < 2) {
        ck_assert_int_eq(mr_journal_commit(journal, &err), 0);
        return;
    }
    model = before;
    if (dice == 2 || dir == NULL) {
        mr_journal_rollback(journal);
        return;
    }
    mr_journal_close(journal);
    open_at(dir);
}

static void walk(const char *dir, unsigned seed, unsigned steps)
{
    srandom(seed);
    model.count = 0;
    batch = false;
    clock_ns = 1000;
    open_at(dir);
    for (unsigned i = 1; i <= steps; i++) {
        if (!batch && (dir != NULL || random() % 50 == 0))
            begin(); /* on a disk each change outside of one waits for it */
        change(random() % 100);
        if (i % 200 == 0)
            ask_all();
        if (batch && random() % 20 == 0)
            end_batch(dir);
        if (dir != NULL && !batch && random() % 3 == 0) {
            mr_journal_close(journal);
            open_at(dir);
            ask_all();
        }
    }
    if (batch)
        end_batch(dir);
    ask_all();
    mr_journal_close(journal);
}

START_TEST(it_agrees_with_a_list_of_rows)
{
    for (unsigned seed = 1; seed <= 4; seed++)
        walk(NULL, seed, 2000);
}
END_TEST

START_TEST(it_agrees_with_a_list_of_rows_also_on_a_disk)
{
    tree_make();
    walk(tree_path("state"), 5, 500);
    tree_remove();
}
END_TEST

MR_SUITE("journal_rows", T(it_agrees_with_a_list_of_rows),
         T(it_agrees_with_a_list_of_rows_also_on_a_disk))
