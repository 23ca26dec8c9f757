/* SPDX-License-Identifier: Apache-2.0 */
/* Do control messages keep their bytes, come back as they were, and refuse what is wrong by
 * name? */
#include "golden.h"
#include "message_wire.h"

#include <ctype.h>

START_TEST(every_type_keeps_its_bytes)
{
    for (unsigned type = MR_HELLO; type <= MR_MESSAGE_LAST; type++) {
        size_t bytes = wire_sample((enum mr_message_type)type);
        char name[32] = {0};
        snprintf(name, sizeof(name), "%s", mr_message_name((enum mr_message_type)type));
        for (char *p = name; *p != '\0'; p++) {
            *p = (char)tolower((unsigned char)*p);
        }
        golden_check("message", name, wire, bytes);
    }
    struct mr_open open;
    size_t bytes = 0;
    sample_open(&open);
    ck_assert_int_eq(mr_open_encode(&open, wire, sizeof(wire), &bytes), 0);
    golden_check("open_body", "open", wire, bytes);
}
END_TEST

START_TEST(open_says_whether_it_is_whole)
{
    struct mr_open open, back;
    size_t bytes = 0;
    sample_open(&open);
    for (int whole = 0; whole < 2; whole++) {
        open.whole = whole;
        ck_assert_int_eq(mr_open_encode(&open, wire, sizeof(wire), &bytes), 0);
        wire[23] |= 0xfe; /* what a later version may say there */
        ck_assert_int_eq(mr_open_decode(wire, bytes, &back, NULL), 0);
        ck_assert_int_eq(back.whole, whole);
    }
}
END_TEST

START_TEST(every_type_comes_back)
{
    static uint8_t again[sizeof(wire)];
    for (unsigned type = MR_HELLO; type <= MR_MESSAGE_LAST; type++) {
        struct mr_message m = {0};
        struct mr_err err = {0};
        size_t bytes = wire_sample((enum mr_message_type)type), again_bytes = 0;
        ck_assert_msg(mr_message_decode(wire, bytes, &m, &err) == 0, "%s", err.text);
        ck_assert_int_eq(m.type, type);
        ck_assert_uint_eq(m.sequence, 5);
        ck_assert_int_eq(mr_message_encode(&m, again, sizeof(again), &again_bytes), 0);
        ck_assert_uint_eq(again_bytes, bytes);
        ck_assert_mem_eq(again, wire, bytes);
    }
}
END_TEST

START_TEST(decoded_fields_are_the_sent_ones)
{
    struct mr_message sent, got = {0};
    struct mr_err err = {0};
    sample_message(MR_END, &sent);
    ck_assert_int_eq(mr_message_decode(wire, wire_encode(&sent), &got, &err), 0);
    ck_assert_uint_eq(got.end.extent.frames, 40);
    ck_assert_uint_eq(got.end.crc_file, sent.end.crc_file);
    ck_assert_str_eq(got.end.warnings, sent.end.warnings);
    ck_assert_double_eq(got.end.frame_time_s, 0.05);
    ck_assert_mem_eq(got.end.metadata, sent.end.metadata, 12);
    ck_assert_mem_eq(got.end.source_header, "HEADER", 6);
    sample_message(MR_OPEN, &sent);
    ck_assert_int_eq(mr_message_decode(wire, wire_encode(&sent), &got, &err), 0);
    ck_assert_str_eq(got.open.path, sent.open.path);
    ck_assert_int_eq(got.open.geometry.layout, MR_LAYOUT_CHUNKS);
    ck_assert_uint_eq(got.open.geometry.rows_per_slab, sent.open.geometry.rows_per_slab);
    sample_message(MR_ACK, &sent);
    ck_assert_int_eq(mr_message_decode(wire, wire_encode(&sent), &got, &err), 0);
    ck_assert_uint_eq(mr_message_range(got.ack.ranges, 1).first, 7);
    ck_assert_uint_eq(mr_message_range(got.ack.ranges, 2).count, MR_SLABS_MAX - 1000);
}
END_TEST

START_TEST(every_cut_and_every_flipped_bit_is_refused)
{
    for (unsigned type = MR_HELLO; type <= MR_MESSAGE_LAST; type++) {
        struct mr_err err;
        size_t bytes = wire_sample((enum mr_message_type)type);
        for (size_t cut = 0; cut < bytes; cut++) {
            ck_assert_int_eq(wire_decode(cut, &err), -EBADMSG);
        }
        for (size_t bit = 0; bit < bytes * 8; bit++) {
            wire[bit / 8] ^= (uint8_t)(1u << bit % 8);
            ck_assert_int_eq(wire_decode(bytes, &err), -EBADMSG);
            wire[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        ck_assert_int_eq(wire_decode(bytes, &err), 0);
    }
}
END_TEST

START_TEST(a_body_that_ends_early_is_refused_by_name)
{
    for (unsigned type = MR_HELLO; type <= MR_MESSAGE_LAST; type++) {
        struct mr_err err;
        size_t bytes = wire_sample((enum mr_message_type)type);
        bool ping = type == MR_PING || type == MR_PONG;
        size_t appended = ping ? 10 : type == MR_WELCOME ? 4 : 0;
        for (size_t total = bytes - 1; total >= ENVELOPE + 8; total--) {
            if ((appended > 0 && total == bytes - appended) || (ping && total == bytes - 22))
                continue; /* within version 1: see below */
            ck_assert_uint_eq(wire_close(wire, total - ENVELOPE - CHECKSUM), total);
            ck_assert_int_eq(wire_decode(total, &err), -EPROTO);
            ck_assert_ptr_nonnull(strstr(err.text, mr_message_name((enum mr_message_type)type)));
        }
    }
}
END_TEST

START_TEST(a_ping_without_backlog_has_none)
{
    struct mr_message got = {0};
    size_t bytes = wire_sample(MR_PING);
    ck_assert_int_eq(mr_message_decode(wire, bytes, &got, NULL), 0);
    ck_assert_uint_eq(got.ping.backlog.files, 3);
    ck_assert_int_eq(got.ping.packing.codec, MR_CODEC_BSLZ4);
    ck_assert_uint_eq(got.ping.packing.link_bytes_per_s, 117000000);
    wire[12] = (uint8_t)(wire[12] - 10);
    wire_sign(wire, bytes - 10);
    ck_assert_int_eq(mr_message_decode(wire, bytes - 10, &got, NULL), 0);
    ck_assert_uint_eq(got.ping.backlog.files, 3);
    ck_assert_int_eq(got.ping.packing.codec, MR_CODEC_NONE);
    ck_assert(!got.ping.packing.by_itself);
    wire[12] = (uint8_t)(wire[12] - 12);
    wire_sign(wire, bytes - 22);
    ck_assert_int_eq(mr_message_decode(wire, bytes - 22, &got, NULL), 0);
    ck_assert_uint_eq(got.ping.token, 77);
    ck_assert_uint_eq(got.ping.backlog.bytes, 0);
    ck_assert_uint_eq(got.ping.backlog.files, 0);
}
END_TEST

START_TEST(a_welcome_without_abilities_has_none)
{
    struct mr_message got = {0};
    size_t bytes = wire_sample(MR_WELCOME);
    ck_assert_int_eq(mr_message_decode(wire, bytes, &got, NULL), 0);
    ck_assert_uint_eq(got.welcome.abilities, MR_ABLE_CONFIRM);
    wire[12] = (uint8_t)(wire[12] - 4);
    wire_sign(wire, bytes - 4);
    ck_assert_int_eq(mr_message_decode(wire, bytes - 4, &got, NULL), 0);
    ck_assert_str_eq(got.welcome.software, "millrace 0.1.0");
    ck_assert_uint_eq(got.welcome.abilities, 0);
}
END_TEST

START_TEST(bytes_behind_known_fields_are_ignored)
{
    for (unsigned type = MR_HELLO; type <= MR_MESSAGE_LAST; type++) {
        struct mr_err err;
        size_t bytes = wire_sample((enum mr_message_type)type);
        memset(wire + bytes - CHECKSUM, 0xee, 5);
        ck_assert_uint_eq(wire_close(wire, bytes + 5 - ENVELOPE - CHECKSUM), bytes + 5);
        ck_assert_msg(wire_decode(bytes + 5, &err) == 0, "%s", err.text);
    }
}
END_TEST

START_TEST(no_room_is_said)
{
    for (unsigned type = MR_HELLO; type <= MR_MESSAGE_LAST; type++) {
        struct mr_message m;
        sample_message((enum mr_message_type)type, &m);
        size_t bytes = wire_encode(&m), unused = 0;
        for (size_t size = 0; size < bytes; size++) {
            ck_assert_int_eq(mr_message_encode(&m, wire, size, &unused), -ENOSPC);
        }
        ck_assert_int_eq(mr_message_encode(&m, wire, bytes, &unused), 0);
    }
}
END_TEST

START_TEST(hello_of_other_versions_can_be_refused_in_words)
{
    struct mr_message m = {.type = MR_HELLO}, got = {0};
    struct mr_err err = {0};
    m.hello.version_min = 7;
    m.hello.version_max = 9;
    size_t bytes = wire_encode(&m);
    /* nothing of what follows the versions is known: a body that ends there will do */
    memcpy(wire + 12, (const uint8_t[4]){4, 0, 0, 0}, 4);
    wire_sign(wire, ENVELOPE + 4 + 8);
    ck_assert_uint_gt(bytes, ENVELOPE + 4 + 8);
    ck_assert_int_eq(mr_message_decode(wire, ENVELOPE + 4 + 8, &got, &err), 0);
    ck_assert_uint_eq(got.hello.version_min, 7);
    ck_assert_uint_eq(got.hello.version_max, 9);
    m.hello.version_min = 9;
    m.hello.version_max = 7;
    ck_assert_int_eq(wire_decode(wire_encode(&m), &err), -EPROTO);
    ck_assert_str_eq(err.text, "HELLO: version_max: out of range");
}
END_TEST

START_TEST(ranges_are_judged)
{
    struct mr_message m;
    uint8_t ranges[32];
    struct mr_err err;
    sample_message(MR_OPENED, &m);
    m.opened.ranges = ranges;
    m.opened.range_count = 2;
    mr_message_put_range(ranges, 0, (struct mr_range){5, 2});
    mr_message_put_range(ranges, 1, (struct mr_range){8, 1});
    ck_assert_int_eq(wire_decode(wire_encode(&m), &err), 0);
    mr_message_put_range(ranges, 1, (struct mr_range){7, 1}); /* touches */
    wire_refused(&m, "OPENED: ranges");
    mr_message_put_range(ranges, 1, (struct mr_range){8, 0});
    wire_refused(&m, "OPENED: ranges");
    mr_message_put_range(ranges, 1, (struct mr_range){8, MR_SLABS_MAX - 7});
    wire_refused(&m, "OPENED: ranges");
    mr_message_put_range(ranges, 1, (struct mr_range){UINT64_MAX, 2});
    wire_refused(&m, "OPENED: ranges");
    sample_message(MR_ACK, &m);
    m.ack.ranges = ranges;
    m.ack.range_count = 2;
    mr_message_put_range(ranges, 1, (struct mr_range){1, 1}); /* acks come in any order */
    ck_assert_int_eq(wire_decode(wire_encode(&m), &err), 0);
}
END_TEST

START_TEST(fields_out_of_range_are_refused_by_name)
{
    struct mr_message m;
    sample_message(MR_WELCOME, &m);
    m.welcome.ports[1] = 0;
    wire_refused(&m, "WELCOME: ports");
    sample_message(MR_WELCOME, &m);
    m.welcome.lanes = 0;
    wire_refused(&m, "WELCOME: lanes");
    sample_message(MR_OPEN, &m);
    m.open.pixel_size_angstrom = -1;
    wire_refused(&m, "OPEN: pixel_size_angstrom");
    sample_message(MR_OPEN, &m);
    m.open.path[0] = '\0';
    wire_refused(&m, "OPEN: path");
    sample_message(MR_OPEN, &m);
    m.open.output = MR_OUTPUT_KEEP;
    wire_refused(&m, "OPEN: output");
    sample_message(MR_OPEN, &m);
    m.open.codec = MR_CODEC_COUNT;
    wire_refused(&m, "OPEN: codec");
    sample_message(MR_OPEN, &m);
    m.open.geometry.width = (uint64_t)MR_WIDTH_MAX + 1;
    wire_refused(&m, "OPEN: width");
    sample_message(MR_OPEN, &m);
    m.open.geometry.frame_bytes++;
    wire_refused(&m, "OPEN: geometry");
    sample_message(MR_END, &m);
    m.end.extent.source_bytes = UINT64_MAX;
    wire_refused(&m, "END: source_bytes");
    sample_message(MR_END, &m);
    m.end.slabs = MR_SLABS_MAX + 1;
    wire_refused(&m, "END: slabs");
    sample_message(MR_RESEND, &m);
    m.resend.slab = MR_SLABS_MAX;
    wire_refused(&m, "RESEND: slab");
}
END_TEST

START_TEST(unknown_types_are_refused)
{
    struct mr_err err;
    size_t bytes = wire_sample(MR_PING);
    static const unsigned none[] = {0, MR_MESSAGE_LAST + 1, 255, 256 + MR_PING, 65535};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        wire_put(wire + 4, none[i], 2);
        wire_sign(wire, bytes);
        ck_assert_int_eq(wire_decode(bytes, &err), -EPROTO);
        ck_assert_ptr_nonnull(strstr(err.text, "unknown type"));
        ck_assert_str_eq(mr_message_name((enum mr_message_type)none[i]), "?");
    }
}
END_TEST

START_TEST(the_envelope_is_judged_before_the_body)
{
    struct mr_message got = {.sequence = 99};
    struct mr_err err;
    size_t bytes = wire_sample(MR_PING);
    wire_put(wire + 6, 0xffff, 2); /* reserved, ignored */
    wire_sign(wire, bytes);
    ck_assert_int_eq(wire_decode(bytes, &err), 0);
    for (size_t i = 0; i < 4; i++) {
        wire[i] ^= 0x20; /* another magic, signed by itself */
        wire_sign(wire, bytes);
        ck_assert_int_eq(wire_decode(bytes, &err), -EBADMSG);
        ck_assert_ptr_nonnull(strstr(err.text, "not a Millrace control message"));
        wire[i] ^= 0x20;
    }
    for (size_t cut = 0; cut < ENVELOPE + CHECKSUM; cut++) {
        ck_assert_int_eq(wire_decode(cut, &err), -EBADMSG);
        ck_assert_ptr_nonnull(strstr(err.text, "not a Millrace control message"));
    }
    for (int more = -1; more < 2; more += 2) { /* a body of another length than what came */
        wire_sample(MR_PING);
        wire_put(wire + 12, bytes - ENVELOPE - CHECKSUM + (size_t)more, 4);
        wire_sign(wire, bytes);
        ck_assert_int_eq(wire_decode(bytes, &err), -EBADMSG);
        ck_assert_ptr_nonnull(strstr(err.text, "the body claims"));
    }
    ck_assert_int_eq(mr_message_decode(wire, bytes, &got, NULL), -EBADMSG);
    ck_assert_uint_eq(got.sequence, 99);
}
END_TEST

START_TEST(nothing_is_told_of_a_message_that_is_refused)
{
    struct mr_message m, got;
    static const uint8_t untouched[sizeof(got)];
    memset(&got, 0, sizeof(got));
    sample_message(MR_OPEN, &m);
    m.open.geometry.frame_bytes++; /* by its geometry */
    ck_assert_int_eq(mr_message_decode(wire, wire_encode(&m), &got, NULL), -EPROTO);
    sample_message(MR_COMMITTED, &m);
    m.committed.revision = 0; /* by a field */
    ck_assert_int_eq(mr_message_decode(wire, wire_encode(&m), &got, NULL), -EPROTO);
    ck_assert_mem_eq(&got, untouched, sizeof(got));
    size_t bytes = 77;
    ck_assert_int_eq(mr_message_encode(&m, wire, 30, &bytes), -ENOSPC);
    ck_assert_uint_eq(bytes, 77);
}
END_TEST

START_TEST(reasons_have_their_numbers_and_names)
{
    static const struct {
        uint16_t code;
        const char *name;
    } reasons[] = {{0, "none"},
                   {1, "version"},
                   {2, "name in use"},
                   {3, "stale epoch"},
                   {4, "stopping"},
                   {5, "busy"},
                   {6, "no space"},
                   {7, "read-only"},
                   {8, "I/O error"},
                   {9, "bad name"},
                   {10, "bad request"},
                   {11, "unsupported"},
                   {12, "mismatch"},
                   {13, "permission"},
                   {14, "source"},
                   {15, "unknown reason"},
                   {UINT16_MAX, "unknown reason"}};
    static const struct {
        int error;
        uint16_t code;
    } errors[] = {{-ENOSPC, MR_REASON_NO_SPACE},   {-EROFS, MR_REASON_READ_ONLY},
                  {-EACCES, MR_REASON_PERMISSION}, {-EPERM, MR_REASON_PERMISSION},
                  {-EDQUOT, MR_REASON_PERMISSION}, {-EIO, MR_REASON_IO},
                  {-ENODEV, MR_REASON_IO},         {-ENOENT, MR_REASON_IO}};
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        ck_assert_str_eq(mr_reason_name(reasons[i].code), reasons[i].name);
    ck_assert_uint_eq(MR_REASON_SOURCE, 14);
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        ck_assert_uint_eq(mr_reason_of_error(errors[i].error), errors[i].code);
}
END_TEST

START_TEST(an_output_has_its_extension)
{
    ck_assert_ptr_null(mr_output_extension(MR_OUTPUT_KEEP, "mrc"));
    ck_assert_ptr_null(mr_output_extension(MR_OUTPUT_MRC, "MRC"));
    ck_assert_str_eq(mr_output_extension(MR_OUTPUT_MRC, "tiff"), ".mrc");
    ck_assert_str_eq(mr_output_extension(MR_OUTPUT_HDF5, "mrc"), ".h5");
    ck_assert_uint_eq(mr_output_stem("a.b/movie.mrc"), 9);
    ck_assert_uint_eq(mr_output_stem("a.b/movie"), 9);
    ck_assert_uint_eq(mr_output_stem("a/.mrc"), 6);
    ck_assert_uint_eq(mr_output_stem("movie."), 6);
    ck_assert_uint_eq(mr_output_stem("m.that_is_no_extension"), 22);
    ck_assert_uint_eq(mr_output_stem("m.45678901234567"), 1);  /* 15 with the dot */
    ck_assert_uint_eq(mr_output_stem("m.456789012345678"), 1); /* 16: the limit */
    ck_assert_uint_eq(mr_output_stem("m.4567890123456789"), 18);
    ck_assert_uint_eq(mr_output_stem("a.b.mrc"), 3);
    ck_assert_uint_eq(mr_output_stem(""), 0);
    static const char *const outputs[] = {"?", "keep", "mrc", "hdf5", "?"};
    for (unsigned i = 0; i < 5; i++)
        ck_assert_str_eq(mr_output_name((enum mr_output)i), outputs[i]);
}
END_TEST

START_TEST(open_body_alone_comes_back)
{
    struct mr_open sent, got = {0};
    struct mr_err err = {0};
    uint8_t body[MR_OPEN_BODY_MAX];
    size_t bytes = 0;
    sample_open(&sent);
    memset(sent.source_path, 'p', sizeof(sent.source_path) - 1);
    memset(sent.path, 'q', sizeof(sent.path) - 1);
    ck_assert_int_eq(mr_open_encode(&sent, body, sizeof(body), &bytes), 0);
    ck_assert_int_eq(mr_open_decode(body, bytes, &got, &err), 0);
    ck_assert_str_eq(got.source_path, sent.source_path);
    for (size_t cut = 0; cut < bytes; cut += 7) {
        ck_assert_int_eq(mr_open_decode(body, cut, &got, &err), -EPROTO);
    }
    ck_assert_int_eq(mr_open_encode(&sent, body, 100, &bytes), -ENOSPC);
}
END_TEST

START_TEST(the_list_says_who_may_say_what)
{
    enum { A = MR_FROM_AGENT, S = MR_FROM_SERVER };
    static const struct {
        const char *name;
        unsigned from;
        uint32_t needs;
    } list[] = {{"?", 0, 0},
                {"HELLO", A, 0},
                {"WELCOME", S, 0},
                {"REFUSED", S, 0},
                {"OPEN", A, 0},
                {"OPENED", S, 0},
                {"ACK", S, 0},
                {"CREDIT", S, 0},
                {"DEMAND", A, 0},
                {"RESEND", S, 0},
                {"END", A, 0},
                {"COMMITTED", S, 0},
                {"HOLD", S, 0},
                {"FAIL", A, 0},
                {"FAILED", S, 0},
                {"ABANDON", A, 0},
                {"ABANDONED", S, 0},
                {"PING", A | S, 0},
                {"PONG", A | S, 0},
                {"BYE", A | S, 0},
                {"CONFIRM", A, MR_ABLE_CONFIRM},
                {"CONFIRMED", S, MR_ABLE_CONFIRM},
                {"?", 0, 0}};
    ck_assert_uint_eq(sizeof(list) / sizeof(list[0]), MR_MESSAGE_LAST + 2);
    for (unsigned type = 0; type <= MR_MESSAGE_LAST + 1; type++) {
        ck_assert_str_eq(mr_message_name((enum mr_message_type)type), list[type].name);
        ck_assert_uint_eq(mr_message_from((enum mr_message_type)type), list[type].from);
        ck_assert_uint_eq(mr_message_needs((enum mr_message_type)type), list[type].needs);
    }
    ck_assert_uint_eq(MR_ABLE_CONFIRM, 1);
    ck_assert_uint_eq(mr_message_abilities(), MR_ABLE_CONFIRM);
}
END_TEST

START_TEST(a_hello_is_read_where_any_version_is_ours)
{
    static const struct {
        uint16_t min, max;
        bool ours;
    } cases[] = {{1, 1, true}, {0, 1, true},  {1, 9, true},
                 {0, 9, true}, {0, 0, false}, {2, 2, false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mr_message m, got = {0};
        sample_message(MR_HELLO, &m);
        m.hello.version_min = cases[i].min;
        m.hello.version_max = cases[i].max;
        ck_assert_int_eq(mr_message_decode(wire, wire_encode(&m), &got, NULL), 0);
        ck_assert_str_eq(got.hello.name, cases[i].ours ? "k3-krios1" : "");
        ck_assert_uint_eq(got.hello.epoch, cases[i].ours ? 42 : 0);
    }
}
END_TEST

MR_SUITE("message", T(the_list_says_who_may_say_what), T(every_type_keeps_its_bytes),
         T(open_says_whether_it_is_whole), T(every_type_comes_back),
         T(decoded_fields_are_the_sent_ones), T(every_cut_and_every_flipped_bit_is_refused),
         T(a_body_that_ends_early_is_refused_by_name), T(a_ping_without_backlog_has_none),
         T(a_welcome_without_abilities_has_none), T(bytes_behind_known_fields_are_ignored),
         T(no_room_is_said), T(hello_of_other_versions_can_be_refused_in_words),
         T(ranges_are_judged), T(fields_out_of_range_are_refused_by_name),
         T(unknown_types_are_refused), T(the_envelope_is_judged_before_the_body),
         T(nothing_is_told_of_a_message_that_is_refused), T(reasons_have_their_numbers_and_names),
         T(a_hello_is_read_where_any_version_is_ours), T(an_output_has_its_extension),
         T(open_body_alone_comes_back))
