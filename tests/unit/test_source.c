/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a growing file judged rightly, with a made-up clock: what is settled, when is it
 * complete, and never too early?
 */
#include "source.h"
#include "suite.h"
#include "wire/mrc_header.h"

#include <string.h>

#define S     1000000000LL
#define FRAME (64u * 32u)

static uint8_t head[1024];
static struct mr_source_facts facts;
static struct mr_source_view view;
static char why[MR_SOURCE_WHY_MAX];

/* The plugin's first header: NZ expected, no statistics. 64 x 32 bytes a frame. */
static void put(size_t at, int32_t value)
{
    memcpy(head + at, &value, 4);
}

static void write_header(int32_t nz, int32_t mode, bool finished)
{
    float stats[3] = {0, 9, 1.5f}, cell = 64 * 0.834f;
    memset(head, 0, sizeof(head));
    put(0, 64), put(4, 32), put(8, nz), put(12, mode);
    put(28, 64), put(32, 32), put(36, nz);
    memcpy(head + 40, &cell, 4);
    if (finished)
        memcpy(head + 76, stats, 12);
    memcpy(head + 208, "MAP ", 4);
    head[212] = head[213] = 0x44;
}

static void begin(uint64_t size)
{
    memset(&view, 0, sizeof(view));
    facts = (struct mr_source_facts){.path = "grid7/movie.mrc",
                                     .size = size,
                                     .now_ns = 1000 * S,
                                     .changed_ns = 1000 * S,
                                     .quiet_ns = 30 * S,
                                     .give_up_ns = 600 * S};
}

static bool looked;

static void look_first(bool first)
{
    struct mr_text t = mr_text_init(why, sizeof(why));
    struct mr_source_view before = view;
    const struct mr_source *source = mr_source_of(facts.path);
    facts.head = head;
    facts.head_bytes = facts.size < source->head_bytes ? (size_t)facts.size : source->head_bytes;
    mr_source_look(source, &facts, first ? NULL : &before, &view, &t);
    looked = true;
    ck_assert_str_ne(why, "");
}

static void look(void)
{
    look_first(!looked);
}

static void grow(uint64_t size)
{
    facts.size = size;
    facts.now_ns += S;
    facts.changed_ns = facts.now_ns;
    look();
}

static void wait_for(int64_t seconds)
{
    facts.now_ns += seconds * S;
    look();
}

START_TEST(names_decide_the_format)
{
    ck_assert_str_eq(mr_source_of("a/b.mrc")->name, "mrc");
    ck_assert_str_eq(mr_source_of("b.MRCS")->name, "mrc");
    ck_assert_str_eq(mr_source_of("b.mrc~")->name, "file");
    ck_assert_str_eq(mr_source_of("b.mrc.mdoc")->name, "file");
    ck_assert_str_eq(mr_source_of(".mrc")->name, "file");
    ck_assert_str_eq(mr_source_of("log.txt")->name, "file");
}
END_TEST

START_TEST(the_plugins_movie_grows_frame_by_frame)
{
    begin(0);
    look();
    ck_assert_int_eq(view.state, MR_SOURCE_WAITING);
    grow(1024 + FRAME); /* header bytes are still zero */
    ck_assert_int_eq(view.state, MR_SOURCE_WAITING);
    ck_assert(!view.known);
    write_header(4, 0, false);
    grow(1024 + FRAME);
    ck_assert_int_eq(view.state, MR_SOURCE_GROWING);
    ck_assert(view.known);
    ck_assert_int_eq(view.kind, MR_KIND_MOVIE);
    ck_assert_uint_eq(view.width, 64);
    ck_assert_uint_eq(view.height, 32);
    ck_assert_uint_eq(view.frame_bytes, FRAME);
    ck_assert(view.pixel_size_angstrom > 0.833 && view.pixel_size_angstrom < 0.835);
    ck_assert_uint_eq(view.settled_from, view.settled_to); /* the newest frame is not settled */
    grow(1024 + FRAME + 1);
    ck_assert_uint_eq(view.settled_from, 1024);
    ck_assert_uint_eq(view.settled_to, 1024 + FRAME);
    grow(1024 + 3 * FRAME);
    ck_assert_uint_eq(view.settled_to, 1024 + 2 * FRAME);
    ck_assert_uint_eq(view.frames, 3);
    grow(1024 + 4 * FRAME); /* all there, but the final header is not */
    ck_assert_int_eq(view.state, MR_SOURCE_GROWING);
    ck_assert_uint_eq(view.settled_to, 1024 + 2 * FRAME);
    write_header(4, 0, true);
    grow(1024 + 4 * FRAME);
    ck_assert_int_eq(view.state, MR_SOURCE_COMPLETE);
    ck_assert_int_eq(view.complete_by, MR_COMPLETE_HEADER);
    ck_assert_uint_eq(view.settled_from, 0);
    ck_assert_uint_eq(view.settled_to, 1024 + 4 * FRAME);
    ck_assert_uint_eq(view.frames, 4);
}
END_TEST

START_TEST(close_completes_only_where_header_and_size_agree)
{
    write_header(4, 0, false);
    begin(1024 + 2 * FRAME);
    facts.closed = true;
    look();
    ck_assert_int_eq(view.state, MR_SOURCE_GROWING);
    facts.closed = false;
    grow(1024 + 4 * FRAME);
    ck_assert_int_eq(view.state, MR_SOURCE_GROWING);
    facts.closed = true;
    look();
    ck_assert_int_eq(view.complete_by, MR_COMPLETE_CLOSE);
}
END_TEST

START_TEST(an_aborted_movie_is_complete_with_its_smaller_nz)
{
    write_header(40, 0, false);
    begin(1024 + 2 * FRAME);
    look();
    write_header(2, 0, true);
    look();
    ck_assert_int_eq(view.complete_by, MR_COMPLETE_HEADER);
    ck_assert_uint_eq(view.frames, 2);
}
END_TEST

START_TEST(nz_that_comes_late_does_not_hold_up_the_frames)
{
    write_header(0, 6, false);
    begin(1024 + 2 * 2 * FRAME + 5);
    look();
    ck_assert_int_eq(view.state, MR_SOURCE_GROWING);
    ck_assert_uint_eq(view.bytes_expected, 0);
    ck_assert_uint_eq(view.settled_to, 1024 + 2 * 2 * FRAME);
    facts.closed = true;
    wait_for(60);
    ck_assert_int_eq(view.state, MR_SOURCE_GROWING);
    write_header(3, 6, true);
    grow(1024 + 3 * 2 * FRAME);
    ck_assert_int_eq(view.state, MR_SOURCE_COMPLETE);
}
END_TEST

START_TEST(an_mdoc_completes_with_the_right_count_and_a_whole_line)
{
    write_header(4, 0, false);
    begin(1024 + 4 * FRAME);
    static const char *const no[] = {
        "",
        "NumSubFrames = 3\n",
        "NumSubFrames = 4",
        "NumSubFrames = 4x\n",
        "NumSubFrames = -4\n",
        "[ZValue = 0]\nNumSubFrames = 4\n[ZValue = 1]\nNumSubFrames = 4\n",
        " NumSubFrames 4\n"};
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        facts.mdoc = no[i];
        look();
        ck_assert_msg(view.state == MR_SOURCE_GROWING, "%s", no[i]);
    }
    facts.mdoc = "PixelSpacing = 0.8\r\n[FrameSet = 0]\r\nNumSubFrames = 4\r\nVoltage = 300\r\n";
    look();
    ck_assert_int_eq(view.complete_by, MR_COMPLETE_MDOC);
    facts.size -= 1; /* the count alone does not do */
    look_first(true);
    ck_assert_int_eq(view.state, MR_SOURCE_GROWING);
}
END_TEST

START_TEST(quiet_completes_what_agrees)
{
    write_header(4, 0, false);
    begin(1024 + 4 * FRAME);
    look();
    ck_assert_int_eq(view.deadline_ns, facts.changed_ns + 30 * S);
    wait_for(29);
    ck_assert_int_eq(view.state, MR_SOURCE_GROWING);
    wait_for(1);
    ck_assert_int_eq(view.complete_by, MR_COMPLETE_QUIET);
}
END_TEST

START_TEST(time_alone_never_completes_what_disagrees)
{
    write_header(4, 0, true);
    begin(1024 + 3 * FRAME + 7);
    look();
    ck_assert_int_eq(view.deadline_ns, facts.changed_ns + 600 * S);
    facts.closed = true;
    wait_for(599);
    ck_assert_int_eq(view.state, MR_SOURCE_GROWING);
    wait_for(1);
    ck_assert_int_eq(view.state, MR_SOURCE_BROKEN);
    ck_assert_ptr_nonnull(strstr(why, "NZ 4"));
    ck_assert_uint_eq(view.settled_to, 1024 + 3 * FRAME);
    begin(1024 + 4 * FRAME + 1); /* too long is no better */
    facts.closed = true;
    look_first(true);
    ck_assert_int_eq(view.state, MR_SOURCE_GROWING);
    wait_for(600);
    ck_assert_int_eq(view.state, MR_SOURCE_BROKEN);
}
END_TEST

/* A copier that sets the size first shows the whole file as zeros, and then its finished header. */
START_TEST(a_file_of_full_size_at_first_sight_settles_nothing_early)
{
    memset(head, 0, sizeof(head));
    begin(1024 + 4 * FRAME);
    look();
    ck_assert_int_eq(view.state, MR_SOURCE_WAITING);
    write_header(4, 0, true);
    grow(1024 + 4 * FRAME);
    ck_assert_int_eq(view.state, MR_SOURCE_GROWING);
    ck_assert_uint_eq(view.settled_from, view.settled_to);
    ck_assert_int_eq(view.deadline_ns, facts.changed_ns + MR_SOURCE_SETTLE_NS);
    grow(1024 + 4 * FRAME);
    ck_assert_int_eq(view.state, MR_SOURCE_GROWING);
    wait_for(2);
    ck_assert_int_eq(view.complete_by, MR_COMPLETE_HEADER);
}
END_TEST

START_TEST(push_takes_it_as_it_is)
{
    write_header(4, 0, false);
    begin(1024 + 4 * FRAME);
    facts.as_it_is = true;
    look();
    ck_assert_int_eq(view.complete_by, MR_COMPLETE_PUSH);
    facts.size -= 1;
    look_first(true);
    ck_assert_int_eq(view.state, MR_SOURCE_BROKEN);
    memset(head, 0, sizeof(head));
    look_first(true);
    ck_assert_int_eq(view.state, MR_SOURCE_BROKEN);
    facts.size = 0;
    look_first(true);
    ck_assert_int_eq(view.state, MR_SOURCE_BROKEN);
    facts.size = 100;
    look_first(true);
    ck_assert_int_eq(view.state, MR_SOURCE_BROKEN);
}
END_TEST

START_TEST(all_movie_modes_have_their_frame_bytes)
{
    static const struct {
        int32_t mode;
        enum mr_pixel pixel;
        unsigned bits;
    } modes[] = {{0, MR_PIXEL_I8, 8},   {1, MR_PIXEL_I16, 16},  {2, MR_PIXEL_F32, 32},
                 {6, MR_PIXEL_U16, 16}, {12, MR_PIXEL_F16, 16}, {101, MR_PIXEL_U4, 4}};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        write_header(3, modes[i].mode, true);
        begin(1024 + 3 * FRAME * modes[i].bits / 8);
        facts.closed = true;
        look_first(true);
        ck_assert_int_eq(view.state, MR_SOURCE_COMPLETE);
        ck_assert_int_eq(view.pixel, modes[i].pixel);
        ck_assert_uint_eq(view.frames, 3);
    }
}
END_TEST

START_TEST(extended_headers_and_big_endian)
{
    write_header(2, 6, true);
    put(92, 768);
    begin(1024 + 768 + 2 * FRAME + 1);
    look();
    ck_assert_uint_eq(view.data_offset, 1792);
    ck_assert_uint_eq(view.ext_bytes, 768);
    ck_assert_uint_eq(view.settled_from, 1792);
    ck_assert_uint_eq(view.settled_to, 1792 + 2 * FRAME);
    for (size_t at = 0; at < 256; at += 4)
        if (at != 208 && at != 212) {
            uint8_t b[4];
            memcpy(b, head + at, 4);
            for (size_t i = 0; i < 4; i++)
                head[at + i] = b[3 - i];
        }
    head[212] = head[213] = 0x11;
    facts.size = 1792 + 4 * FRAME;
    facts.closed = true;
    look_first(true);
    ck_assert_int_eq(view.state, MR_SOURCE_COMPLETE);
    ck_assert(view.swap_bytes);
}
END_TEST

START_TEST(nonsense_is_broken_with_the_fields_name)
{
    static const struct {
        size_t at;
        int32_t value;
        const char *word;
    } bad[] = {{0, INT32_MIN, "NX"}, {4, -1, "NY"}, {8, -3, "NZ"},     {92, -1, "NSYMBT"},
               {12, 7, "MODE"},      {0, 0, "NX"},  {212, 0, "stamp"}, {0, INT32_MAX, "NX"}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        write_header(2, 0, true);
        put(bad[i].at, bad[i].value);
        begin(1024 + 2 * FRAME);
        facts.closed = true;
        look_first(true);
        ck_assert_int_eq(view.state, MR_SOURCE_WAITING);
        wait_for(30);
        ck_assert_int_eq(view.state, MR_SOURCE_BROKEN);
        ck_assert_msg(strstr(why, bad[i].word) != NULL, "%s: %s", bad[i].word, why);
        facts.as_it_is = true;
        facts.changed_ns = facts.now_ns;
        look_first(true);
        ck_assert_int_eq(view.state, MR_SOURCE_BROKEN);
    }
}
END_TEST

START_TEST(transforms_travel_as_files)
{
    write_header(1, 4, true);
    begin(1024 + 8 * FRAME);
    look();
    ck_assert_int_eq(view.state, MR_SOURCE_GROWING);
    ck_assert_int_eq(view.kind, MR_KIND_FILE);
    facts.closed = true;
    look();
    ck_assert_int_eq(view.state, MR_SOURCE_COMPLETE);
}
END_TEST

START_TEST(old_mrc_files_travel_as_files_where_their_size_is_right)
{
    write_header(2, 0, true);
    put(208, 0);
    begin(1024 + 2 * FRAME);
    facts.as_it_is = true;
    look();
    ck_assert_int_eq(view.state, MR_SOURCE_COMPLETE);
    ck_assert_int_eq(view.kind, MR_KIND_FILE);
    facts.size++;
    look_first(true);
    ck_assert_int_eq(view.state, MR_SOURCE_BROKEN);
    ck_assert_ptr_nonnull(strstr(why, "MAP"));
}
END_TEST

START_TEST(opaque_files_settle_when_complete)
{
    begin(5000);
    facts.path = "session.log";
    look();
    ck_assert(view.known);
    ck_assert_int_eq(view.kind, MR_KIND_FILE);
    ck_assert_int_eq(view.state, MR_SOURCE_GROWING);
    ck_assert_uint_eq(view.settled_to, 0);
    wait_for(30);
    ck_assert_int_eq(view.complete_by, MR_COMPLETE_QUIET);
    begin(0);
    facts.path = "empty.flag";
    facts.closed = true;
    look_first(true);
    ck_assert_int_eq(view.complete_by, MR_COMPLETE_CLOSE);
    facts.as_it_is = true;
    look_first(true);
    ck_assert_int_eq(view.complete_by, MR_COMPLETE_PUSH);
}
END_TEST

START_TEST(another_geometry_is_another_movie)
{
    write_header(4, 0, false);
    begin(1024 + FRAME + 1);
    look();
    struct mr_source_view first = view, unknown = {0};
    put(8, 3);
    look();
    ck_assert(!mr_source_differs(&first, &view)); /* NZ may change */
    put(0, 65);
    look();
    ck_assert(mr_source_differs(&first, &view));
    ck_assert(!mr_source_differs(&first, &unknown));
}
END_TEST

/* A file that grows byte by byte, under a header that says this or nothing. */
static void grow_by_bytes(const struct mr_source *source)
{
    uint64_t from = 0, to = 0;
    begin(0);
    facts.path = source->example;
    look_first(true);
    for (uint64_t size = 1; size < 1024 + 3 * FRAME; size++) {
        grow(size);
        ck_assert_msg(view.state != MR_SOURCE_COMPLETE, "%s: at %d: %s", source->name, (int)size,
                      why);
        ck_assert_msg(from == to || (view.settled_from <= from && view.settled_to >= to),
                      "%s: at %d: less is settled than before", source->name, (int)size);
        from = view.settled_from;
        to = view.settled_to;
    }
    wait_for(29);
    ck_assert_int_ne(view.state, MR_SOURCE_COMPLETE);
}

START_TEST(every_format_keeps_the_promises)
{
    const struct mr_source *source;
    size_t count = 0;
    for (; (source = mr_source_at(count)) != NULL; count++) {
        ck_assert_ptr_eq(mr_source_of(source->example), source);
        ck_assert_uint_lt(strlen(source->name), sizeof(((struct mr_open *)0)->format));
        ck_assert_uint_le(source->head_bytes, MR_SOURCE_HEAD_MAX);
        memset(head, 0, sizeof(head));
        grow_by_bytes(source);
        memset(head, 0xa5, sizeof(head));
        grow_by_bytes(source);
        write_header(4, 0, false);
        grow_by_bytes(source);
    }
    ck_assert_ptr_eq(mr_source_at(count - 1), &mr_source_opaque);
}
END_TEST

MR_SUITE("source", T(every_format_keeps_the_promises), T(names_decide_the_format),
         T(the_plugins_movie_grows_frame_by_frame),
         T(close_completes_only_where_header_and_size_agree),
         T(an_aborted_movie_is_complete_with_its_smaller_nz),
         T(nz_that_comes_late_does_not_hold_up_the_frames),
         T(an_mdoc_completes_with_the_right_count_and_a_whole_line), T(quiet_completes_what_agrees),
         T(time_alone_never_completes_what_disagrees),
         T(a_file_of_full_size_at_first_sight_settles_nothing_early), T(push_takes_it_as_it_is),
         T(all_movie_modes_have_their_frame_bytes), T(extended_headers_and_big_endian),
         T(nonsense_is_broken_with_the_fields_name), T(transforms_travel_as_files),
         T(old_mrc_files_travel_as_files_where_their_size_is_right),
         T(opaque_files_settle_when_complete), T(another_geometry_is_another_movie))
