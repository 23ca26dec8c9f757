/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is each field of each message taken up to its limits, and refused beyond them by its name? Places
 * and limits are those of docs/PROTOCOL.md, written out here once more: the encoder is not asked
 * where it puts a field.
 */
#include "message_wire.h"

#include <float.h>
#include <math.h>

#define I64 ((uint64_t)INT64_MAX)
#define U64 UINT64_MAX
#define U32 UINT32_MAX

/* Whole numbers: at `at` of the body, `bytes` long. */
static const struct number {
    enum mr_message_type type;
    const char *field;
    size_t at, bytes;
    uint64_t least, most;
} numbers[] = {
    {MR_HELLO, "version_min", 0, 2, 0, 1},
    {MR_HELLO, "version_max", 2, 2, 1, UINT16_MAX}, /* least: the sample's version_min */
    {MR_HELLO, "epoch", 20, 8, 0, U64},
    {MR_HELLO, "real_ns", 28, 8, 0, U64},
    {MR_HELLO, "ephemeral", 36, 1, 0, 1},
    {MR_WELCOME, "version", 0, 2, 1, 1},
    {MR_WELCOME, "lanes", 2, 2, 1, 64},
    {MR_WELCOME, "heartbeat_ms", 4, 4, 10, 3600000},
    {MR_WELCOME, "ports", 8, 2, 1, UINT16_MAX},
    {MR_WELCOME, "ports", 10, 2, 1, UINT16_MAX},
    {MR_REFUSED, "code", 0, 2, 0, UINT16_MAX},
    {MR_OPEN, "revision", 16, 4, 1, U32},
    {MR_OPEN, "kind", 20, 1, 1, 2},
    {MR_OPEN, "output", 21, 1, 3, 3}, /* the one that fits the sample's layout */
    {MR_OPEN, "codec", 22, 1, 0, 2},
    {MR_OPEN, "flags", 23, 1, 0, UINT8_MAX},
    {MR_OPEN, "layout", 24, 1, 1, 3},
    {MR_OPEN, "source_pixel", 25, 1, 0, 7},
    {MR_OPEN, "pixel", 26, 1, 0, 7},
    {MR_OPEN, "swap_bytes", 27, 1, 0, 1},
    {MR_OPEN, "rows_per_slab", 28, 4, 0, U32},
    {MR_OPEN, "frames_per_slab", 32, 4, 0, U32},
    {MR_OPEN, "slabs_per_frame", 36, 4, 0, U32},
    {MR_OPEN, "width", 40, 8, 0, 1u << 22},
    {MR_OPEN, "height", 48, 8, 0, 1u << 22},
    {MR_OPEN, "source_data_offset", 56, 8, 0, I64},
    {MR_OPEN, "source_frame_bytes", 64, 8, 0, I64},
    {MR_OPEN, "frame_bytes", 72, 8, 0, I64},
    {MR_OPEN, "data_offset", 80, 8, 0, I64},
    {MR_OPEN, "source_bytes_expected", 96, 8, 0, I64},
    {MR_OPENED, "generation", 16, 4, 0, U32},
    {MR_OPENED, "resumed", 20, 1, 0, 1},
    {MR_OPENED, "range_count", 21, 4, 0, 65536},
    {MR_ACK, "generation", 16, 4, 0, U32},
    {MR_ACK, "range_count", 20, 4, 0, 65536},
    {MR_CREDIT, "lanes", 0, 2, 1, 64},
    {MR_CREDIT, "granted", 2, 8, 0, U64},
    {MR_CREDIT, "granted", 10, 8, 0, U64},
    {MR_DEMAND, "lanes", 0, 2, 1, 64},
    {MR_DEMAND, "wanted", 2, 1, 0, 1},
    {MR_DEMAND, "returned", 3, 8, 0, U64},
    {MR_DEMAND, "wanted", 11, 1, 0, 1},
    {MR_DEMAND, "returned", 12, 8, 0, U64},
    {MR_RESEND, "generation", 16, 4, 0, U32},
    {MR_RESEND, "slab", 20, 8, 0, (1u << 26) - 1},
    {MR_END, "generation", 16, 4, 0, U32},
    {MR_END, "frames", 20, 8, 0, 1u << 31},
    {MR_END, "source_bytes", 28, 8, 0, I64},
    {MR_END, "slabs", 36, 8, 0, 1u << 26},
    {MR_END, "source_mtime_ns", 44, 8, 0, U64},
    {MR_END, "crc_file", 52, 8, 0, U64},
    {MR_END, "crc_pixels", 60, 8, 0, U64},
    {MR_END, "started_real_ns", 84, 8, 0, U64},
    {MR_END, "finished_real_ns", 92, 8, 0, U64},
    {MR_COMMITTED, "revision", 16, 4, 1, U32},
    {MR_COMMITTED, "sequence", 20, 8, 0, U64},
    {MR_COMMITTED, "known", 28, 1, 0, 1},
    {MR_COMMITTED, "source_bytes", 29, 8, 0, U64},
    {MR_COMMITTED, "source_mtime_ns", 37, 8, 0, U64},
    {MR_HOLD, "code", 16, 2, 0, UINT16_MAX},
    {MR_HOLD, "retry_ms", 18, 4, 0, U32},
    {MR_FAIL, "generation", 16, 4, 0, U32},
    {MR_FAIL, "frames", 20, 8, 0, 1u << 31},
    {MR_FAIL, "source_bytes", 28, 8, 0, I64},
    {MR_FAILED, "code", 16, 2, 0, UINT16_MAX},
    {MR_PING, "token", 0, 8, 0, U64},
    {MR_PING, "real_ns", 8, 8, 0, U64},
    {MR_PING, "backlog_bytes", 16, 8, 0, U64},
    {MR_PING, "backlog_files", 24, 4, 0, U32},
    {MR_PING, "codec", 28, 1, 0, 2},
    {MR_PONG, "by_itself", 29, 1, 0, 1},
    {MR_PONG, "link_bytes_per_s", 30, 8, 0, U64},
    {MR_BYE, "code", 0, 2, 0, UINT16_MAX},
    {MR_CONFIRM, "revision", 16, 4, 1, U32},
    {MR_CONFIRMED, "revision", 16, 4, 1, U32},
    {MR_CONFIRMED, "standing", 20, 1, 1, 3},
    {MR_CONFIRMED, "has_pixels", 21, 1, 0, 1},
    {MR_CONFIRMED, "bytes", 22, 8, 0, I64},
    {MR_CONFIRMED, "crc_file", 30, 8, 0, U64},
    {MR_CONFIRMED, "crc_pixels", 38, 8, 0, U64},
};

/* Is the sample with this value there refused for that field's sake? What it makes of the fields
 * around it (lanes, a geometry) may be refused, for theirs. */
static bool refused_for(enum mr_message_type type, const char *field, size_t at, uint64_t value,
                        size_t bytes)
{
    struct mr_err err;
    char words[64];
    size_t total = wire_sample(type);
    ck_assert_uint_le(ENVELOPE + at + bytes + CHECKSUM, total);
    wire_put(wire + ENVELOPE + at, value, bytes);
    wire_sign(wire, total);
    int code = wire_decode(total, &err);
    ck_assert(code == 0 || code == -EPROTO);
    ck_assert_int_eq(err.code, code);
    snprintf(words, sizeof(words), "%s: %s: out of range", mr_message_name(type), field);
    return code != 0 && strcmp(err.text, words) == 0;
}

static void check_number(const struct number *n)
{
    uint64_t highest = n->bytes == 8 ? U64 : (1ull << 8 * n->bytes) - 1;
    const struct {
        uint64_t value;
        bool refused;
    } cases[] = {{n->least, false},
                 {n->most, false},
                 {n->least > 0 ? n->least - 1 : n->most, n->least > 0},
                 {n->most < highest ? n->most + 1 : n->most, n->most < highest},
                 {highest, n->most < highest}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        /* of a version that is not ours nothing is judged but the order of the two */
        if (n->type == MR_HELLO && n->at == 0 && cases[i].refused)
            continue;
        ck_assert_msg(
            refused_for(n->type, n->field, n->at, cases[i].value, n->bytes) == cases[i].refused,
            "%s: %s: %llu", mr_message_name(n->type), n->field, (unsigned long long)cases[i].value);
    }
}

START_TEST(numbers_are_taken_up_to_their_limits)
{
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        check_number(&numbers[i]);
}
END_TEST

START_TEST(amounts_are_finite_and_not_negative)
{
    static const struct {
        enum mr_message_type type;
        const char *field;
        size_t at;
    } fields[] = {{MR_OPEN, "pixel_size_angstrom", 88},
                  {MR_END, "pixel_size_angstrom", 68},
                  {MR_END, "frame_time_s", 76}};
    static const struct {
        double value;
        bool refused;
    } cases[] = {{0, false},      {-0.0, false},     {DBL_MIN, false}, {DBL_MAX, false},
                 {-1e-300, true}, {-INFINITY, true}, {INFINITY, true}, {NAN, true}};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
            uint64_t bits;
            memcpy(&bits, &cases[k].value, sizeof(bits));
            ck_assert_msg(refused_for(fields[i].type, fields[i].field, fields[i].at, bits, 8) ==
                              cases[k].refused,
                          "%s: %g", fields[i].field, cases[k].value);
        }
    }
}
END_TEST

/* Texts: the n-th of those that begin at `at` (each u16 length + bytes), of at most so many
 * bytes. */
static const struct text {
    enum mr_message_type type;
    const char *field;
    size_t at, nth, most;
} texts[] = {
    {MR_HELLO, "name", 37, 0, 64},       {MR_HELLO, "software", 37, 1, 64},
    {MR_HELLO, "host", 37, 2, 64},       {MR_WELCOME, "server", 12, 0, 64},
    {MR_WELCOME, "site", 12, 1, 64},     {MR_WELCOME, "software", 12, 2, 64},
    {MR_REFUSED, "text", 2, 0, 511},     {MR_OPEN, "format", 104, 0, 15},
    {MR_OPEN, "path", 104, 1, 1024},     {MR_OPEN, "source_path", 104, 2, 4095},
    {MR_OPEN, "session", 104, 3, 64},    {MR_OPEN, "day", 104, 4, 10},
    {MR_END, "complete_by", 100, 0, 31}, {MR_END, "warnings", 100, 1, 511},
    {MR_COMMITTED, "event", 45, 0, 63},  {MR_COMMITTED, "path", 45, 1, 4095},
    {MR_HOLD, "text", 22, 0, 511},       {MR_FAIL, "text", 36, 0, 511},
    {MR_FAILED, "text", 18, 0, 511},     {MR_BYE, "text", 2, 0, 511},
    {MR_CONFIRMED, "path", 46, 0, 4095},
};

/* The sample with that text replaced by `length` letters. */
static size_t with_text(const struct text *t, size_t length)
{
    size_t total = wire_sample(t->type), body = total - ENVELOPE - CHECKSUM, at = t->at;
    uint8_t *start = wire + ENVELOPE;
    for (size_t i = 0; i < t->nth; i++)
        at += 2u + (size_t)(start[at] | start[at + 1] << 8);
    size_t was = (size_t)(start[at] | start[at + 1] << 8);
    ck_assert_uint_le(at + 2 + was, body);
    memmove(start + at + 2 + length, start + at + 2 + was, body - at - 2 - was);
    memset(start + at + 2, 'x', length);
    wire_put(start + at, length, 2);
    return wire_close(wire, body - was + length);
}

START_TEST(texts_are_taken_up_to_their_limits)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const struct text *t = &texts[i];
        struct mr_err err;
        char words[64];
        bool needed = t->type == MR_OPEN && strcmp(t->field, "path") == 0;
        ck_assert_msg(wire_decode(with_text(t, t->most), &err) == 0, "%s", err.text);
        ck_assert_msg(wire_decode(with_text(t, 1), &err) == 0, "%s", err.text);
        ck_assert_int_eq(wire_decode(with_text(t, 0), &err), needed ? -EPROTO : 0);
        ck_assert_int_eq(wire_decode(with_text(t, t->most + 1), &err), -EPROTO);
        snprintf(words, sizeof(words), "%s: %s: cut short or too long", mr_message_name(t->type),
                 t->field);
        ck_assert_str_eq(err.text, words);
    }
}
END_TEST

START_TEST(an_end_carries_the_largest_header_and_metadata)
{
    static uint8_t message[MR_CONTROL_BYTES_MAX], blob[MR_BLOB_MAX], metadata[MR_METADATA_MAX];
    struct mr_message sent, got = {0};
    struct mr_err err = {0};
    size_t bytes = 0;
    sample_message(MR_END, &sent);
    size_t metadata_at = wire_encode(&sent) - CHECKSUM - 6 - 4 - 12 - 4;
    memset(blob, 'b', sizeof(blob));
    memset(metadata, 'm', sizeof(metadata));
    sent.end.source_header = blob, sent.end.source_header_bytes = sizeof(blob);
    sent.end.metadata = metadata, sent.end.metadata_bytes = sizeof(metadata);
    ck_assert_int_eq(mr_message_encode(&sent, message, sizeof(message), &bytes), 0);
    ck_assert_msg(mr_message_decode(message, bytes, &got, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(got.end.source_header_bytes, sizeof(blob));
    ck_assert_mem_eq(got.end.source_header, blob, sizeof(blob));
    ck_assert_uint_eq(got.end.metadata_bytes, sizeof(metadata));
    ck_assert_mem_eq(got.end.metadata, metadata, sizeof(metadata));
    /* one more than is allowed, though all of it is there */
    wire_put(message + metadata_at, sizeof(metadata) + 1, 4);
    wire_sign(message, bytes);
    ck_assert_int_eq(mr_message_decode(message, bytes, &got, &err), -EPROTO);
    ck_assert_str_eq(err.text, "END: metadata: out of range");
    wire_put(message + metadata_at, sizeof(metadata), 4);
    wire_put(message + metadata_at + 4 + sizeof(metadata), sizeof(blob) + 1, 4);
    bytes = wire_close(message, bytes - ENVELOPE - CHECKSUM + 1);
    ck_assert_int_eq(mr_message_decode(message, bytes, &got, &err), -EPROTO);
    ck_assert_str_eq(err.text, "END: source_header: out of range");
}
END_TEST

START_TEST(a_message_may_be_as_long_as_the_limit_and_no_longer)
{
    static uint8_t message[MR_CONTROL_BYTES_MAX + 1];
    struct mr_message m, got = {0};
    struct mr_err err = {0};
    size_t bytes = 0;
    sample_message(MR_BYE, &m);
    ck_assert_int_eq(mr_message_encode(&m, message, sizeof(message), &bytes), 0);
    bytes = wire_close(message, MR_CONTROL_BYTES_MAX - ENVELOPE - CHECKSUM);
    ck_assert_uint_eq(bytes, MR_CONTROL_BYTES_MAX);
    ck_assert_msg(mr_message_decode(message, bytes, &got, &err) == 0, "%s", err.text);
    ck_assert_str_eq(got.bye.text, "the server stops");
    bytes = wire_close(message, MR_CONTROL_BYTES_MAX + 1 - ENVELOPE - CHECKSUM);
    ck_assert_int_eq(mr_message_decode(message, bytes, &got, &err), -EBADMSG);
    ck_assert_int_eq(err.code, -EBADMSG);
}
END_TEST

START_TEST(an_output_fits_one_layout)
{
    static const struct {
        enum mr_output output;
        enum mr_layout layout;
    } pairs[] = {{MR_OUTPUT_KEEP, MR_LAYOUT_BYTES},
                 {MR_OUTPUT_MRC, MR_LAYOUT_STREAM},
                 {MR_OUTPUT_HDF5, MR_LAYOUT_CHUNKS}};
    for (size_t o = 0; o < 3; o++) {
        for (size_t l = 0; l < 3; l++) {
            struct mr_message m;
            struct mr_err err;
            sample_message(MR_OPEN, &m);
            m.open.output = pairs[o].output;
            ck_assert_int_eq(mr_geometry_frames(pairs[l].layout, MR_PIXEL_I16, false, 64, 64, 1024,
                                                0, &m.open.geometry, NULL),
                             0);
            int code = wire_decode(wire_encode(&m), &err);
            ck_assert_int_eq(code, o == l ? 0 : -EPROTO);
            if (o != l)
                ck_assert_str_eq(err.text, "OPEN: output: out of range");
        }
    }
}
END_TEST

MR_SUITE("message_limits", T(numbers_are_taken_up_to_their_limits),
         T(amounts_are_finite_and_not_negative), T(texts_are_taken_up_to_their_limits),
         T(an_end_carries_the_largest_header_and_metadata),
         T(a_message_may_be_as_long_as_the_limit_and_no_longer), T(an_output_fits_one_layout))
