/* SPDX-License-Identifier: Apache-2.0 */
/* Does the catalogue answer as a plain table would, whatever was added and expired in which order,
 * and however often it was opened anew? And is one bent field of a line noticed? */
#include "base/clock.h"
#include "catalogue.h"
#include "catalogue_line.h"
#include "dice.h"
#include "scratch.h"
#include "suite.h"

#include <errno.h>

#define IDS       5
#define REVISIONS 6
#define STEPS     200

/* By id and revision - 1; an entry's files, if it has one, is a path of its own digest. */
static struct known {
    bool there, expired;
    struct mr_catalogue_entry entry;
} table[IDS][REVISIONS];

static const char *const agents[] = {"k3", "k3-2"};
static const char *const sources[] = {"a.mrc", "b/a.mrc", "b\xff.mrc"};
static const char *const paths[] = {"there", "gone", "other"};
static int64_t mtime_ns; /* of "there", which has 4 bytes; "other" has 5 */

static struct mr_ulid id_of(uint64_t n)
{
    return (struct mr_ulid){.bytes = {1, (uint8_t)n}};
}

static struct mr_catalogue_entry draw_entry(void)
{
    return (struct mr_catalogue_entry){.id = id_of(dice(IDS)),
                                       .revision = 1 + (uint32_t)dice(REVISIONS),
                                       .agent = agents[dice(2)],
                                       .source = sources[dice(3)],
                                       .output = (enum mr_output)(MR_OUTPUT_KEEP + dice(3)),
                                       .geometry = dice(2),
                                       .path = paths[dice(3)],
                                       .bytes = 4,
                                       .mtime_ns = mtime_ns,
                                       .digest_file = dice(2),
                                       .has_pixels = dice(2) == 0,
                                       .digest_pixels = dice(2),
                                       .event = "e",
                                       .sequence = 1,
                                       .committed_real_ns = (int64_t)dice(50)};
}

static struct known *find(const struct mr_ulid *id, uint32_t revision)
{
    return &table[id->bytes[1]][revision - 1];
}

static const struct known *newest(uint64_t id)
{
    const struct known *best = NULL;
    for (size_t r = 0; r < REVISIONS; r++)
        if (table[id][r].there && !table[id][r].expired)
            best = &table[id][r];
    return best;
}

/* The next revision that ever was. */
static const struct known *successor(uint64_t id, size_t revision)
{
    for (size_t r = revision; r < REVISIONS; r++)
        if (table[id][r].there)
            return &table[id][r];
    return NULL;
}

static void check_entry(const struct mr_catalogue_entry *found, const struct known *known)
{
    bool wanted = known != NULL && known->there && !known->expired;
    ck_assert_int_eq(found != NULL, wanted);
    if (!wanted)
        return;
    ck_assert(mr_ulid_equal(&found->id, &known->entry.id));
    ck_assert_uint_eq(found->revision, known->entry.revision);
    ck_assert_str_eq(found->agent, known->entry.agent);
    ck_assert_str_eq(found->path, known->entry.path);
    ck_assert_int_eq(found->committed_real_ns, known->entry.committed_real_ns);
    ck_assert_int_eq(found->has_pixels, known->entry.has_pixels);
}

static void check_all(struct mr_catalogue *c)
{
    size_t count = 0;
    for (uint64_t i = 0; i < IDS; i++) {
        struct mr_ulid id = id_of(i);
        check_entry(mr_catalogue_find(c, &id), newest(i));
        for (uint32_t r = 1; r <= REVISIONS; r++) {
            check_entry(mr_catalogue_find_revision(c, &id, r), find(&id, r));
            count += find(&id, r)->there && !find(&id, r)->expired;
        }
    }
    ck_assert_uint_eq(mr_catalogue_count(c), count);
}

/* Output and geometry agree, and the digest that counts for such a file. */
static bool is_same(const struct mr_catalogue_entry *e, const struct mr_catalogue_content *w)
{
    bool pixels = e->output != MR_OUTPUT_KEEP && e->has_pixels && w->has_pixels;
    bool file = w->has_file && e->digest_file == w->digest_file;
    return strcmp(e->agent, w->agent) == 0 && strcmp(e->source, w->source) == 0 &&
           e->output == w->output && e->geometry == w->geometry &&
           (pixels ? e->digest_pixels == w->digest_pixels : file);
}

static void check_content(struct mr_catalogue *c, int root)
{
    struct mr_catalogue_entry e = draw_entry();
    const struct mr_catalogue_content what = {.agent = e.agent,
                                              .source = e.source,
                                              .output = e.output,
                                              .geometry = e.geometry,
                                              .has_file = dice(4) > 0,
                                              .digest_file = e.digest_file,
                                              .has_pixels = e.has_pixels,
                                              .digest_pixels = e.digest_pixels};
    const struct mr_catalogue_entry *found = NULL;
    unsigned same = 0;
    int r = mr_catalogue_find_content(c, root, &what, &found);
    for (uint64_t i = 0; i < IDS; i++) {
        const struct known *k = newest(i);
        bool fits = k != NULL && is_same(&k->entry, &what) && strcmp(k->entry.path, "there") == 0;
        same += fits;
        if (found != NULL && found->id.bytes[1] == i)
            ck_assert(fits && found->revision == k->entry.revision);
    }
    ck_assert_int_eq(r, same > 0 ? 0 : -ENOENT);
    ck_assert_int_eq(found != NULL, r == 0);
}

struct visits {
    struct mr_catalogue *c;
    int64_t before;
    unsigned seen;
    bool expires;
};

static bool is_old(uint64_t id, size_t revision, int64_t before)
{
    const struct known *k = &table[id][revision], *by = successor(id, revision + 1);
    return k->there && !k->expired && by != NULL && by->entry.committed_real_ns < before;
}

static int visit(void *ctx, const struct mr_catalogue_entry *old,
                 const struct mr_catalogue_entry *by)
{
    struct visits *v = ctx;
    uint64_t id = old->id.bytes[1];
    ck_assert(is_old(id, old->revision - 1, v->before));
    ck_assert_uint_eq(by->revision, successor(id, old->revision)->entry.revision);
    v->seen++;
    if (!v->expires)
        return 0;
    find(&old->id, old->revision)->expired = true;
    return mr_catalogue_expire(v->c, &old->id, old->revision, NULL);
}

static void check_old(struct mr_catalogue *c)
{
    struct visits v = {.c = c, .before = (int64_t)dice(52), .expires = dice(2) == 0};
    unsigned old = 0;
    for (uint64_t i = 0; i < IDS; i++)
        for (size_t r = 0; r < REVISIONS; r++)
            old += is_old(i, r, v.before);
    ck_assert_int_eq(mr_catalogue_superseded(c, v.before, visit, &v), 0);
    ck_assert_uint_eq(v.seen, old);
}

static void add(struct mr_catalogue *c)
{
    struct mr_catalogue_entry e = draw_entry();
    struct known *k = find(&e.id, e.revision);
    int r = mr_catalogue_add(c, &e, NULL);
    ck_assert_int_eq(r, k->there ? -EEXIST : 0);
    if (r == 0)
        *k = (struct known){.there = true, .entry = e};
}

static void expire(struct mr_catalogue *c)
{
    struct mr_catalogue_entry e = draw_entry();
    struct known *k = find(&e.id, e.revision);
    int r = mr_catalogue_expire(c, &e.id, e.revision, NULL);
    ck_assert_int_eq(r, k->there && !k->expired ? 0 : -ENOENT);
    k->expired |= k->there;
}

static struct mr_catalogue *open_it(const struct scratch *s)
{
    struct mr_catalogue *c = NULL;
    struct mr_err err = {0};
    ck_assert_msg(mr_catalogue_open(s->fd, &c, NULL, &err) == 0, "%s", err.text);
    return c;
}

START_TEST(it_answers_as_a_table_would)
{
    for (unsigned seed = 1; seed <= 8; seed++) {
        struct scratch s = scratch_make();
        struct stat st;
        scratch_append(&s, "there", "abcd");
        scratch_append(&s, "other", "abcde");
        ck_assert_int_eq(fstatat(s.fd, "there", &st, 0), 0);
        mtime_ns = st.st_mtim.tv_sec * MR_NS_PER_S + st.st_mtim.tv_nsec;
        dice_seed(seed);
        memset(table, 0, sizeof(table));
        struct mr_catalogue *c = open_it(&s);
        for (unsigned step = 0; step < STEPS; step++) {
            uint64_t what = dice(24);
            if (what < 6)
                add(c);
            else if (what < 8)
                expire(c);
            else if (what == 8)
                check_old(c);
            else if (what == 9)
                ck_assert_int_eq(mr_catalogue_sync(c, NULL), 0);
            else if (what == 10) {
                mr_catalogue_close(c);
                c = open_it(&s);
            } else
                check_content(c, s.fd);
            check_all(c);
        }
        mr_catalogue_close(c);
        scratch_remove(&s);
    }
}
END_TEST

/* ---- lines ---- */

static const char good_line[] =
    "{\"movie\":\"01J0000000000000000000000A\",\"revision\":2,\"agent\":\"k3\",\"source\":\"s\","
    "\"source_bytes\":3,\"source_mtime_ns\":-4,\"output\":1,\"geometry\":\"000000000000000A\","
    "\"path\":\"p\",\"bytes\":5,\"mtime_ns\":-6,\"file\":\"00000000000000F0\","
    "\"pixels\":\"FFFFFFFFFFFFFFFF\",\"event\":\"e\",\"sequence\":7,\"committed_ns\":8}";

static int parse(const char *text, struct mr_catalogue_line *ret, struct mr_err *err)
{
    return mr_catalogue_line_parse(text, strlen(text), ret, err);
}

START_TEST(line_comes_back_as_it_was_written)
{
    struct mr_catalogue_line line;
    struct mr_err err = {0};
    ck_assert_msg(parse(good_line, &line, &err) == 0, "%s", err.text);
    ck_assert(!line.expire);
    ck_assert_uint_eq(line.entry.revision, 2);
    ck_assert_int_eq(line.entry.output, 1);
    ck_assert_uint_eq(line.entry.digest_file, 0xf0);
    ck_assert(line.entry.has_pixels);
    ck_assert_uint_eq(line.entry.digest_pixels, UINT64_MAX);
    char *again = mr_catalogue_line_commit(&line.entry);
    ck_assert_str_eq(again, good_line);
    free(again);
    again = mr_catalogue_line_expire(&line.entry.id, UINT32_MAX);
    mr_catalogue_line_fini(&line);
    ck_assert_int_eq(parse(again, &line, &err), 0);
    ck_assert(line.expire);
    ck_assert_uint_eq(line.entry.revision, UINT32_MAX);
    mr_catalogue_line_fini(&line);
    mr_catalogue_line_fini(&line);
    free(again);
}
END_TEST

START_TEST(bent_line_is_refused)
{
    static const struct {
        const char *from, *to;
    } changes[] = {{"0000A\",\"rev", "0000\",\"rev"},
                   {"\"revision\":2", "\"revision\":0"},
                   {"\"revision\":2", "\"revision\":4294967296"},
                   {"\"revision\":2,", ""},
                   {"\"agent\":\"k3\",", ""},
                   {"\"source\":\"s\"", "\"source\":5"},
                   {"\"source_bytes\":3", "\"source_bytes\":-1"},
                   {"\"source_mtime_ns\":-4", "\"source_mtime_ns\":\"\""},
                   {"\"output\":1", "\"output\":0"},
                   {"\"output\":1", "\"output\":4"},
                   {"y\":\"000000000000000A", "y\":\"00000000000000A"},
                   {"y\":\"000000000000000A", "y\":\"000000000000000a"},
                   {"y\":\"000000000000000A", "y\":\"0000000000000000A"},
                   {"\"path\":\"p\",", ""},
                   {"\"bytes\":5", "\"bytes\":9223372036854775808"},
                   {"\"mtime_ns\":-6", "\"mtime_ns\":1.5"},
                   {"00000000000000F0", "              F0"},
                   {"\"FFFFFFFFFFFFFFFF\"", "null"},
                   {"\"event\":\"e\"", "\"event\":true"},
                   {"\"sequence\":7", "\"sequence\":-7"},
                   {",\"committed_ns\":8", ""},
                   {"}", ""},
                   {"}", "},{}"}};
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        char text[sizeof(good_line) + 32];
        struct mr_catalogue_line line;
        struct mr_err err = {0};
        const char *from = strstr(good_line, changes[i].from);
        (void)snprintf(text, sizeof(text), "%.*s%s%s", (int)(from - good_line), good_line,
                       changes[i].to, from + strlen(changes[i].from));
        memset(&line, 0xff, sizeof(line));
        ck_assert_msg(parse(text, &line, &err) == -EPROTO, "%s", text);
        ck_assert_int_ne(err.code, 0);
        ck_assert(line.json == NULL && !line.expire && line.entry.agent == NULL);
    }
}
END_TEST

/* Or the next start would find a line that is none, and refuse the store. */
START_TEST(entry_that_would_not_be_read_again_is_not_added)
{
    static const struct {
        enum mr_output output;
        int r;
    } cases[] = {{0, -EINVAL}, {MR_OUTPUT_HDF5 + 1, -EINVAL}, {MR_OUTPUT_KEEP, 0}};
    struct scratch s = scratch_make();
    struct mr_catalogue *c = open_it(&s);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mr_catalogue_entry e = draw_entry();
        struct mr_err err = {0};
        e.output = cases[i].output;
        ck_assert_int_eq(mr_catalogue_add(c, &e, &err), cases[i].r);
        ck_assert_int_eq(err.code, cases[i].r);
    }
    mr_catalogue_close(c);
    c = open_it(&s);
    ck_assert_uint_eq(mr_catalogue_count(c), 1);
    mr_catalogue_close(c);
    scratch_remove(&s);
}
END_TEST

START_TEST(line_without_pixels_has_none)
{
    struct mr_catalogue_line line;
    struct mr_err err = {0};
    struct mr_catalogue_entry e;
    ck_assert_int_eq(parse(good_line, &line, &err), 0);
    e = line.entry;
    e.has_pixels = false;
    e.bytes = e.source_bytes = e.sequence = INT64_MAX;
    e.mtime_ns = INT64_MIN;
    e.committed_real_ns = INT64_MAX;
    char *text = mr_catalogue_line_commit(&e);
    mr_catalogue_line_fini(&line);
    ck_assert_msg(parse(text, &line, &err) == 0, "%s", err.text);
    ck_assert(!line.entry.has_pixels);
    ck_assert_uint_eq(line.entry.bytes, INT64_MAX);
    ck_assert_uint_eq(line.entry.sequence, INT64_MAX);
    ck_assert_int_eq(line.entry.mtime_ns, INT64_MIN);
    ck_assert_int_eq(line.entry.committed_real_ns, INT64_MAX);
    mr_catalogue_line_fini(&line);
    free(text);
}
END_TEST

MR_SUITE("catalogue_model", T(it_answers_as_a_table_would), T(line_comes_back_as_it_was_written),
         T(bent_line_is_refused), T(entry_that_would_not_be_read_again_is_not_added),
         T(line_without_pixels_has_none))
