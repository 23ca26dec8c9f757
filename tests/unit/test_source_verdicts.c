/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What does an MRC movie's source say of every file there can be: each NZ and size beside each
 * other, closed or not, with the right mdoc, a wrong one or none, of every age, with and without a
 * look before? The rules stand here once more, in the words of source.h and of MRC movies.
 */
#include "source.h"
#include "suite.h"
#include "wire/mrc_header.h"

#include <string.h>

#define S      1000000000LL
#define FRAME  (8u * 4u)
#define HEADER 1024u

static uint8_t head[HEADER];
static char why[MR_SOURCE_WHY_MAX];

static void put(size_t at, int32_t value)
{
    memcpy(head + at, &value, sizeof(value));
}

static void write_header(int32_t nz, bool finished)
{
    float stats[3] = {0, 9, 1.5f};
    memset(head, 0, sizeof(head));
    put(0, 8), put(4, 4), put(8, nz);
    if (finished)
        memcpy(head + 76, stats, sizeof(stats));
    memcpy(head + 208, "MAP DD", 6);
}

static struct mr_source_facts facts_of(uint64_t size, int64_t age_ns)
{
    return (struct mr_source_facts){.path = "grid7/movie.mrc",
                                    .size = size,
                                    .now_ns = 5000 * S,
                                    .changed_ns = 5000 * S - age_ns,
                                    .quiet_ns = 30 * S,
                                    .give_up_ns = 600 * S};
}

/* Hands over a head of just as many bytes as there are, so that a sanitizer sees one too many. */
static struct mr_source_view look(struct mr_source_facts facts, const struct mr_source_view *before)
{
    struct mr_text text = mr_text_init(why, sizeof(why));
    struct mr_source_view view;
    uint8_t *own = NULL;
    facts.head_bytes = facts.size < HEADER ? (size_t)facts.size : HEADER;
    if (facts.head_bytes > 0) {
        own = malloc(facts.head_bytes);
        MUST(own != NULL);
        memcpy(own, head, facts.head_bytes);
    }
    facts.head = own;
    why[0] = '\0';
    mr_source_look(&mr_source_mrc, &facts, before, &view, &text);
    free(own);
    MUST(why[0] != '\0' && strchr(why, '\n') == NULL);
    return view;
}

/* ---- every case of a header that makes sense ---- */

struct instance {
    int32_t nz;
    uint64_t size;
    int64_t age_ns, quiet_ns;
    bool finished, closed, as_it_is;
    uint64_t mdoc;   /* 0: none */
    unsigned before; /* 0: none; 1: the header was unfinished then; 2: it was finished */
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static struct mr_source_view expected(const struct instance *c, const struct mr_source_view *before)
{
    const int64_t settle_ns = least(c->quiet_ns, MR_SOURCE_SETTLE_NS),
                  changed_ns = 5000 * S - c->age_ns;
    const uint64_t whole = HEADER + (uint64_t)c->nz * FRAME;
    const uint64_t pixels = c->size > HEADER ? c->size - HEADER : 0;
    const bool agree = c->nz > 0 && c->size == whole, full = c->nz > 0 && c->size >= whole;
    struct mr_source_view v = {.state = MR_SOURCE_GROWING, .deadline_ns = MR_SOURCE_NEVER};
    v.frames = pixels / FRAME;
    v.bytes_expected = c->nz > 0 ? whole : 0;
    v.settled_from = v.settled_to = HEADER;
    if (!full && pixels > 0) /* all whole frames but the newest */
        v.settled_to += (pixels - 1) / FRAME * FRAME;
    if (before != NULL && before->settled_to > v.settled_to && before->settled_to <= c->size)
        v.settled_to = before->settled_to;
    if (agree && c->as_it_is)
        v.complete_by = MR_COMPLETE_PUSH;
    else if (agree && c->closed)
        v.complete_by = MR_COMPLETE_CLOSE;
    else if (agree && c->mdoc == (uint64_t)c->nz)
        v.complete_by = MR_COMPLETE_MDOC;
    else if (agree && c->finished && (c->before == 1 || c->age_ns >= settle_ns))
        v.complete_by = MR_COMPLETE_HEADER;
    else if (agree && c->age_ns >= c->quiet_ns)
        v.complete_by = MR_COMPLETE_QUIET;
    else if (agree)
        v.deadline_ns = changed_ns + (c->finished ? settle_ns : c->quiet_ns);
    else if (c->as_it_is || c->age_ns >= 600 * S)
        v.state = MR_SOURCE_BROKEN;
    else
        v.deadline_ns = changed_ns + 600 * S;
    if (v.complete_by != MR_COMPLETE_NOT) {
        v.state = MR_SOURCE_COMPLETE;
        v.settled_from = 0;
        v.settled_to = c->size;
    }
    return v;
}

static void wrong(const struct instance *c, const char *what)
{
    ck_abort_msg("%s: NZ %d, %d bytes, %lld ns old, quiet %lld, %s %s %s mdoc %d, before %u: %s",
                 what, c->nz, (int)c->size, (long long)c->age_ns, (long long)c->quiet_ns,
                 c->finished ? "finished" : "-", c->closed ? "closed" : "-",
                 c->as_it_is ? "pushed" : "-", (int)c->mdoc, c->before, why);
}

static void check(const struct instance *c)
{
    char mdoc[64];
    struct mr_source_view before, *given = NULL;
    struct mr_source_facts facts = facts_of(c->size, c->age_ns);
    facts.quiet_ns = c->quiet_ns;
    if (c->before != 0) { /* as it was, half a frame shorter */
        write_header(c->nz, c->before == 2);
        before = look(facts_of(c->size - (c->size > HEADER ? FRAME / 2 : 0), S / 2), NULL);
        given = &before;
    }
    write_header(c->nz, c->finished);
    facts.closed = c->closed;
    facts.as_it_is = c->as_it_is;
    snprintf(mdoc, sizeof(mdoc), "[FrameSet = 0]\nNumSubFrames = %d\n", (int)c->mdoc);
    facts.mdoc = c->mdoc == 0 ? NULL : mdoc;
    const struct mr_source_view got = look(facts, given), want = expected(c, given);
    if (got.state != want.state || got.complete_by != want.complete_by)
        wrong(c, "verdict");
    if (got.deadline_ns != want.deadline_ns)
        wrong(c, "deadline");
    if (got.settled_from != want.settled_from || got.settled_to != want.settled_to)
        wrong(c, "settled");
    if (got.frames != want.frames || got.bytes_expected != want.bytes_expected)
        wrong(c, "frames");
    if (!got.known || got.kind != MR_KIND_MOVIE || got.width != 8 || got.height != 4 ||
        got.data_offset != HEADER || got.frame_bytes != FRAME || got.ext_bytes != 0 ||
        got.pixel != MR_PIXEL_I8 || got.swap_bytes || strcmp(got.format, "mrc") != 0)
        wrong(c, "geometry");
}

static void check_ages(struct instance c)
{
    const int64_t ages[] = {0,
                            MR_SOURCE_SETTLE_NS - 1,
                            MR_SOURCE_SETTLE_NS,
                            c.quiet_ns - 1,
                            c.quiet_ns,
                            600 * S - 1,
                            600 * S};
    for (size_t i = 0; i < sizeof(ages) / sizeof(ages[0]); i++)
        for (c.before = 0; c.before < 3; c.before++) {
            c.age_ns = ages[i];
            check(&c);
        }
}

/* Each of the words that a file may say for itself. */
static void check_words(struct instance c)
{
    for (unsigned bits = 0; bits < 16; bits++) {
        c.finished = bits & 1;
        c.closed = bits & 2;
        c.as_it_is = bits & 4;
        c.quiet_ns = bits & 8 ? S : 30 * S;
        const uint64_t mdocs[] = {0, (uint64_t)c.nz, (uint64_t)c.nz + 1};
        for (size_t i = 0; i < 3; i++) {
            c.mdoc = mdocs[i];
            check_ages(c);
        }
    }
}

START_TEST(every_file_is_judged_by_the_rules)
{
    static const int32_t nzs[] = {0, 1, 2, 12};
    for (size_t i = 0; i < sizeof(nzs) / sizeof(nzs[0]); i++) {
        const uint64_t whole = HEADER + (uint64_t)nzs[i] * FRAME;
        const uint64_t sizes[] = {HEADER, HEADER + 1, HEADER + FRAME, whole - 1,
                                  whole,  whole + 1,  whole + FRAME,  whole + 2 * FRAME + 1};
        for (size_t j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++)
            if (sizes[j] >= HEADER)
                check_words((struct instance){.nz = nzs[i], .size = sizes[j]});
    }
}
END_TEST

/* ---- before there is a header ---- */

START_TEST(without_a_header_it_is_waited_for_and_given_up)
{
    static const uint64_t sizes[] = {0, 1, 1023, 1024, 1024 + FRAME};
    static const char *const words[] = {"empty", "1 bytes, shorter", "1023 bytes, shorter",
                                        "1024 bytes are zero", "1024 bytes are zero"};
    memset(head, 0, sizeof(head));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct mr_source_facts facts = facts_of(sizes[i], 600 * S - 1);
        facts.closed = true; /* the plugin closes it, too, and comes again */
        struct mr_source_view v = look(facts, NULL);
        ck_assert_int_eq(v.state, MR_SOURCE_WAITING);
        ck_assert_int_eq(v.deadline_ns, facts.changed_ns + 600 * S);
        ck_assert_msg(strstr(why, words[i]) != NULL, "%s", why);
        ck_assert(!v.known && v.settled_to == 0);
        ck_assert_int_eq(look(facts_of(sizes[i], 600 * S), NULL).state, MR_SOURCE_BROKEN);
        facts.as_it_is = true;
        v = look(facts, NULL);
        ck_assert_int_eq(v.state, MR_SOURCE_BROKEN);
        ck_assert_int_eq(v.deadline_ns, MR_SOURCE_NEVER);
    }
}
END_TEST

/* One byte that is not zero is a header, which is read and found to say nothing. */
START_TEST(a_header_begins_with_any_byte)
{
    static const size_t places[] = {0, 1, 76, 512, 1023};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        memset(head, 0, sizeof(head));
        head[places[i]] = 1;
        ck_assert_int_eq(look(facts_of(2048, 0), NULL).state, MR_SOURCE_WAITING);
        ck_assert_msg(strstr(why, "are zero") == NULL, "%s", why);
    }
}
END_TEST

/* ---- headers that say something else ---- */

/* What a writer has closed is given `quiet` to be mended, what is open `give_up`, and none is given
 * more than that. */
START_TEST(nonsense_is_given_the_time_of_its_writer)
{
    static const struct {
        bool closed;
        int64_t quiet_ns, wait_ns;
    } rows[] = {{false, 30 * S, 600 * S}, {true, 30 * S, 30 * S}, {true, 900 * S, 600 * S}};
    write_header(2, true);
    put(12, 77);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mr_source_facts facts = facts_of(HEADER + 2 * FRAME, rows[i].wait_ns - 1);
        facts.closed = rows[i].closed;
        facts.quiet_ns = rows[i].quiet_ns;
        struct mr_source_view v = look(facts, NULL);
        ck_assert_int_eq(v.state, MR_SOURCE_WAITING);
        ck_assert_int_eq(v.deadline_ns, facts.changed_ns + rows[i].wait_ns);
        ck_assert_ptr_nonnull(strstr(why, "MODE is 77"));
        facts.changed_ns--;
        ck_assert_int_eq(look(facts, NULL).state, MR_SOURCE_BROKEN);
    }
}
END_TEST

START_TEST(a_size_of_zero_is_named_whichever_it_is)
{
    for (size_t at = 0; at <= 4; at += 4) {
        write_header(2, true);
        put(at, 0);
        ck_assert_int_eq(look(facts_of(HEADER + 2 * FRAME, 0), NULL).state, MR_SOURCE_WAITING);
        ck_assert_msg(strstr(why, "NX or NY is 0") != NULL, "%s", why);
    }
}
END_TEST

static void swap_words(void)
{
    for (size_t at = 0; at < 256; at += 4) {
        uint8_t b[4];
        memcpy(b, head + at, sizeof(b));
        for (size_t i = 0; i < 4; i++)
            head[at + i] = b[3 - i];
    }
}

/* Without "MAP ": to the byte of the size that its header says, in either order of bytes. */
START_TEST(an_old_file_is_one_by_its_size_alone)
{
    static const struct {
        int32_t nz, mode;
        int64_t more;
        bool big_endian, old;
    } rows[] = {{2, 0, 0, false, true},  {2, 0, 0, true, true},    {1, 0, 0, false, true},
                {2, 0, 1, false, false}, {2, 0, -1, false, false}, {2, 0, 1, true, false},
                {0, 0, 0, false, false}, {2, 4, 0, false, false},  {2, 77, 0, false, false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        write_header(rows[i].nz, true);
        put(12, rows[i].mode);
        memset(head + 208, 0, 8);
        if (rows[i].big_endian)
            swap_words();
        head[212] = rows[i].big_endian ? 0x11 : 0;
        struct mr_source_facts facts =
            facts_of(HEADER + (uint64_t)rows[i].nz * FRAME + (uint64_t)rows[i].more, 0);
        facts.closed = true;
        struct mr_source_view v = look(facts, NULL);
        ck_assert_msg((v.state == MR_SOURCE_COMPLETE) == rows[i].old, "row %zu: %s", i, why);
        if (rows[i].old) {
            ck_assert_int_eq(v.kind, MR_KIND_FILE);
            ck_assert_ptr_nonnull(strstr(why, "MRC without \"MAP \" in its header: kept as it is"));
            ck_assert_uint_eq(v.width + v.frame_bytes + v.frames, 0);
        } else {
            ck_assert_int_eq(v.state, MR_SOURCE_WAITING);
        }
    }
}
END_TEST

START_TEST(transforms_are_kept_and_said_to_be)
{
    for (int32_t mode = 3; mode <= 4; mode++) {
        write_header(2, true);
        put(12, mode);
        struct mr_source_facts facts = facts_of(HEADER + 5, 30 * S - 1);
        struct mr_source_view v = look(facts, NULL);
        ck_assert_int_eq(v.state, MR_SOURCE_GROWING);
        ck_assert_int_eq(v.deadline_ns, facts.changed_ns + 30 * S);
        ck_assert_uint_eq(v.settled_to, 0); /* nobody knows what its writer goes back to */
        v = look(facts_of(HEADER + 5, 30 * S), NULL);
        ck_assert_int_eq(v.complete_by, MR_COMPLETE_QUIET);
        ck_assert_int_eq(v.kind, MR_KIND_FILE);
        ck_assert_ptr_nonnull(strstr(why, "complex numbers, not a movie: kept as it is"));
    }
}
END_TEST

/* ---- words for people, and mdocs ---- */

START_TEST(a_verdict_says_what_it_counted)
{
    write_header(12, false);
    (void)look(facts_of(HEADER + 3 * FRAME + 1, 0), NULL);
    ck_assert_str_eq(why, "growing: NZ 12 makes 1408 bytes, 1121 there (3 whole frames)");
    (void)look(facts_of(HEADER + 3 * FRAME + 1, 600 * S), NULL);
    ck_assert_str_eq(why, "header and size disagree: NZ 12 makes 1408 bytes, the file has 1121 "
                          "(3 whole frames)");
    (void)look(facts_of(HEADER + 12 * FRAME, 0), NULL);
    ck_assert_str_eq(why, "all 12 frames there, waiting for its writer to finish");
    (void)look(facts_of(HEADER + 12 * FRAME, 30 * S), NULL);
    ck_assert_str_eq(why, "12 frames, by quiet");
    write_header(0, false);
    (void)look(facts_of(HEADER + FRAME, 0), NULL);
    ck_assert_ptr_nonnull(strstr(why, "NZ 0 makes 1024 bytes"));
}
END_TEST

START_TEST(an_mdoc_counts_in_whole_lines_and_plain_numbers)
{
    static const struct {
        const char *text;
        int32_t frames; /* 0: it says nothing */
    } rows[] = {{"NumSubFrames = 9\n", 9},
                {"NumSubFrames = 10\n", 10},
                {"NumSubFrames = 123\n", 123},
                {"NumSubFrames=7\n", 7},
                {"NumSubFrames\t=\t7 \t\r\n", 7},
                {"a\n\nNumSubFrames = 7\nb", 7},
                {"NumSubFrames = 07\n", 0},
                {"NumSubFrames = +7\n", 0},
                {"NumSubFrames = \n", 0},
                {"NumSubFrames = 7 8\n", 0},
                {"NumSubFrames = 7.0\n", 0},
                {"NumSubFrames : 7\n", 0},
                {"NumSubFramesX = 7\n", 0},
                {"numsubframes = 7\n", 0},
                {"#NumSubFrames = 7\n", 0},
                {"NumSubFrames = 7", 0},
                {"NumSubFrames", 0},
                {"NumSubFrames\n= 7\n", 0},
                {"NumSubFrames = 7\nNumSubFrames = 7\n", 0},
                {"NumSubFrames = 7\nNumSubFrames\n", 0},
                {"NumSubFrames = 99999999999999999999999\n", 0},
                {"", 0}};
    ck_assert(mr_source_mrc.wants_mdoc);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int32_t nz = rows[i].frames == 0 ? 7 : rows[i].frames;
        write_header(nz, false);
        struct mr_source_facts facts = facts_of(HEADER + (uint64_t)nz * FRAME, 0);
        facts.mdoc = rows[i].text;
        struct mr_source_view v = look(facts, NULL);
        ck_assert_msg((v.complete_by == MR_COMPLETE_MDOC) == (rows[i].frames != 0), "'%s'",
                      rows[i].text);
        ck_assert(v.state == MR_SOURCE_COMPLETE || v.state == MR_SOURCE_GROWING);
    }
}
END_TEST

START_TEST(names_of_reasons)
{
    static const char *const names[] = {"", "close", "mdoc", "header", "quiet", "push", ""};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        ck_assert_str_eq(mr_complete_by_name((enum mr_complete_by)i), names[i]);
    ck_assert_str_eq(mr_complete_by_name((enum mr_complete_by) - 1), "");
}
END_TEST

START_TEST(each_part_of_a_geometry_makes_another_movie)
{
    const struct mr_source_view a = {.known = true,
                                     .kind = MR_KIND_MOVIE,
                                     .format = "mrc",
                                     .pixel = MR_PIXEL_I8,
                                     .width = 8,
                                     .height = 4,
                                     .data_offset = HEADER,
                                     .frame_bytes = FRAME};
    for (unsigned i = 0; i < 12; i++) {
        char format[] = "mrc";
        struct mr_source_view b = a;
        b.format = format; /* the same text elsewhere */
        b.kind = i == 1 ? MR_KIND_FILE : b.kind;
        b.format = i == 2 ? "file" : b.format;
        b.pixel = i == 3 ? MR_PIXEL_U8 : b.pixel;
        b.swap_bytes = i == 4;
        b.width += i == 5;
        b.height += i == 6;
        b.data_offset += i == 7;
        b.frame_bytes += i == 8;
        b.frames += i == 9; /* these are nobody's business */
        b.bytes_expected += i == 10;
        b.settled_to += i == 11;
        bool differs = i >= 1 && i <= 8;
        ck_assert_msg(mr_source_differs(&a, &b) == differs, "%u", i);
        ck_assert_msg(mr_source_differs(&b, &a) == differs, "%u", i);
        b.known = false;
        ck_assert(!mr_source_differs(&a, &b) && !mr_source_differs(&b, &a));
    }
}
END_TEST

MR_SUITE("source_verdicts", T(every_file_is_judged_by_the_rules),
         T(without_a_header_it_is_waited_for_and_given_up), T(a_header_begins_with_any_byte),
         T(nonsense_is_given_the_time_of_its_writer), T(a_size_of_zero_is_named_whichever_it_is),
         T(an_old_file_is_one_by_its_size_alone), T(transforms_are_kept_and_said_to_be),
         T(a_verdict_says_what_it_counted), T(an_mdoc_counts_in_whole_lines_and_plain_numbers),
         T(names_of_reasons), T(each_part_of_a_geometry_makes_another_movie))
