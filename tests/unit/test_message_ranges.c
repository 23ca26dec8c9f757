/* SPDX-License-Identifier: Apache-2.0 */
/* Are lists of ranges judged by their rule, whatever they are, and two OPENs by every field? */
#include "dice.h"
#include "message_wire.h"

/* The rule: each range is of slabs that there may be; ordered: with a gap between any two. */
static bool may_be(const struct mr_range *r, size_t count, bool ordered)
{
    for (size_t i = 0; i < count; i++) {
        if (r[i].count == 0 || r[i].first >= MR_SLABS_MAX || r[i].count > MR_SLABS_MAX ||
            r[i].first + r[i].count > MR_SLABS_MAX)
            return false;
        if (ordered && i > 0 && r[i].first <= r[i - 1].first + r[i - 1].count)
            return false;
    }
    return true;
}

/* Mostly a good list; a third of them with a flaw. */
static size_t random_ranges(struct mr_range *ret, size_t most)
{
    size_t count = dice(most + 1);
    uint64_t next = dice(3);
    for (size_t i = 0; i < count; i++) {
        ret[i] = (struct mr_range){next, 1 + dice(4)};
        next += ret[i].count + 1 + dice(3);
    }
    if (count > 0 && dice(3) == 0) {
        struct mr_range *r = &ret[dice(count)];
        const struct mr_range flaws[] = {{r->first, 0},
                                         {r->first + 1, r->count},
                                         {r->first, r->count + 1},
                                         {r->first, r->count + 2},
                                         {0, 1},
                                         {MR_SLABS_MAX, 1},
                                         {MR_SLABS_MAX - 1, 1},
                                         {MR_SLABS_MAX - 1, 2},
                                         {0, MR_SLABS_MAX},
                                         {1, MR_SLABS_MAX},
                                         {UINT64_MAX, 1},
                                         {1, UINT64_MAX},
                                         {r->first + (1ull << 32), r->count}};
        *r = flaws[dice(sizeof(flaws) / sizeof(flaws[0]))];
    }
    return count;
}

static void check_list(enum mr_message_type type, const struct mr_range *ranges, size_t count)
{
    uint8_t encoded[8 * MR_RANGE_BYTES];
    struct mr_message sent, got = {0};
    struct mr_err err = {0};
    bool ordered = type == MR_OPENED;
    for (size_t i = 0; i < count; i++)
        mr_message_put_range(encoded, (uint32_t)i, ranges[i]);
    sample_message(type, &sent);
    if (ordered)
        sent.opened.ranges = encoded, sent.opened.range_count = (uint32_t)count;
    else
        sent.ack.ranges = encoded, sent.ack.range_count = (uint32_t)count;
    int code = mr_message_decode(wire, wire_encode(&sent), &got, &err);
    MUST(code == (may_be(ranges, count, ordered) ? 0 : -EPROTO));
    if (code != 0) {
        MUST(strstr(err.text, ": ranges: out of range") != NULL);
        return;
    }
    const uint8_t *back = ordered ? got.opened.ranges : got.ack.ranges;
    MUST((ordered ? got.opened.range_count : got.ack.range_count) == count);
    MUST((back == NULL) == (count == 0));
    MUST(count == 0 || (back >= wire && back < wire + sizeof(wire))); /* borrowed */
    for (size_t i = 0; i < count; i++) {
        struct mr_range r = mr_message_range(back, (uint32_t)i);
        MUST(r.first == ranges[i].first);
        MUST(r.count == ranges[i].count);
    }
}

START_TEST(random_lists_are_judged_by_the_rule)
{
    for (int i = 0; i < 10000; i++) {
        struct mr_range ranges[8];
        size_t count = random_ranges(ranges, 8);
        check_list(MR_OPENED, ranges, count);
        check_list(MR_ACK, ranges, count);
    }
}
END_TEST

START_TEST(as_many_ranges_as_the_limit_fit)
{
    static uint8_t ranges[(MR_RANGES_MAX + 1) * MR_RANGE_BYTES], message[MR_CONTROL_BYTES_MAX];
    struct mr_message m, got = {0};
    struct mr_err err = {0};
    size_t bytes = 0;
    for (uint32_t i = 0; i <= MR_RANGES_MAX; i++)
        mr_message_put_range(ranges, i, (struct mr_range){2ull * i, 1});
    sample_message(MR_OPENED, &m);
    m.opened.ranges = ranges;
    m.opened.range_count = MR_RANGES_MAX;
    ck_assert_int_eq(mr_message_encode(&m, message, sizeof(message), &bytes), 0);
    ck_assert_msg(mr_message_decode(message, bytes, &got, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(got.opened.range_count, MR_RANGES_MAX);
    ck_assert_uint_eq(mr_message_range(got.opened.ranges, MR_RANGES_MAX - 1).first, 131070);
    /* one more, and all of them there */
    memcpy(message + bytes - CHECKSUM, ranges + MR_RANGES_MAX * MR_RANGE_BYTES, MR_RANGE_BYTES);
    wire_put(message + ENVELOPE + 21, MR_RANGES_MAX + 1, 4);
    bytes = wire_close(message, bytes + MR_RANGE_BYTES - ENVELOPE - CHECKSUM);
    ck_assert_int_eq(mr_message_decode(message, bytes, &got, &err), -EPROTO);
    ck_assert_str_eq(err.text, "OPENED: range_count: out of range");
    ck_assert_uint_eq(got.opened.range_count, MR_RANGES_MAX); /* ret is as it was */
}
END_TEST

START_TEST(a_range_is_sixteen_bytes_little_endian)
{
    uint8_t two[2 * MR_RANGE_BYTES] = {0};
    static const uint8_t want[MR_RANGE_BYTES] = {8,  7,  6,  5,  4,  3,  2,  1,
                                                 24, 23, 22, 21, 20, 19, 18, 17};
    mr_message_put_range(two, 1, (struct mr_range){0x0102030405060708, 0x1112131415161718});
    ck_assert_mem_eq(two + MR_RANGE_BYTES, want, MR_RANGE_BYTES);
    ck_assert_uint_eq(mr_message_range(two, 0).count, 0);
    ck_assert_uint_eq(mr_message_range(two, 1).first, 0x0102030405060708);
}
END_TEST

#define DIFFERS(change)                                 \
    do {                                                \
        struct mr_open b = a;                           \
        change;                                         \
        ck_assert_msg(!mr_open_equal(&a, &b), #change); \
        ck_assert(!mr_open_equal(&b, &a));              \
    } while (0)

START_TEST(opens_are_equal_where_every_field_is)
{
    struct mr_open a, same;
    sample_open(&a);
    same = a;
    /* what lies behind a text's end is not of it */
    memset(same.path + strlen(same.path) + 1, 'z', 20);
    ck_assert(mr_open_equal(&a, &same));
    DIFFERS(b.movie.bytes[15] ^= 1);
    DIFFERS(b.revision++);
    DIFFERS(b.kind = MR_KIND_FILE);
    DIFFERS(b.output = MR_OUTPUT_KEEP);
    DIFFERS(b.codec = MR_CODEC_NONE);
    DIFFERS(b.whole = true);
    DIFFERS(b.format[0] = 'M');
    DIFFERS(b.path[0] = 'G');
    DIFFERS(strcat(b.path, "x"));
    DIFFERS(b.source_path[1] = 'D');
    DIFFERS(b.session[0] = '\0');
    DIFFERS(b.day[9] = '3');
    DIFFERS(b.geometry.layout = MR_LAYOUT_STREAM);
    DIFFERS(b.geometry.source_pixel = MR_PIXEL_U4);
    DIFFERS(b.geometry.pixel = MR_PIXEL_U8);
    DIFFERS(b.geometry.swap_bytes = true);
    DIFFERS(b.geometry.width++);
    DIFFERS(b.geometry.height++);
    DIFFERS(b.geometry.source_data_offset++);
    DIFFERS(b.geometry.source_frame_bytes++);
    DIFFERS(b.geometry.frame_bytes++);
    DIFFERS(b.geometry.data_offset++);
    DIFFERS(b.geometry.rows_per_slab++);
    DIFFERS(b.geometry.frames_per_slab++);
    DIFFERS(b.geometry.slabs_per_frame++);
    DIFFERS(b.pixel_size_angstrom += 1e-9);
    DIFFERS(b.source_bytes_expected++);
}
END_TEST

START_TEST(an_open_body_is_judged_as_the_message_is)
{
    uint8_t body[MR_OPEN_BODY_MAX];
    struct mr_open open, got = {.revision = 99};
    struct mr_err err = {0};
    size_t bytes = 77;
    sample_open(&open);
    ck_assert_int_eq(mr_open_encode(&open, body, 100, &bytes), -ENOSPC);
    ck_assert_uint_eq(bytes, 77);
    open.geometry.frame_bytes++;
    ck_assert_int_eq(mr_open_encode(&open, body, sizeof(body), &bytes), 0);
    ck_assert_int_eq(mr_open_decode(body, bytes, &got, &err), -EPROTO);
    ck_assert_ptr_nonnull(strstr(err.text, "OPEN: geometry"));
    ck_assert_int_eq(mr_open_decode(body, bytes, &got, NULL), -EPROTO);
    sample_open(&open);
    open.revision = 0;
    ck_assert_int_eq(mr_open_encode(&open, body, sizeof(body), &bytes), 0);
    ck_assert_int_eq(mr_open_decode(body, bytes, &got, &err), -EPROTO);
    ck_assert_str_eq(err.text, "OPEN: revision: out of range");
    ck_assert_int_eq(mr_open_decode(body, 0, &got, &err), -EPROTO);
    ck_assert_str_eq(err.text, "OPEN: movie: cut short or too long");
    ck_assert_uint_eq(got.revision, 99);
}
END_TEST

MR_SUITE("message_ranges", T(random_lists_are_judged_by_the_rule),
         T(as_many_ranges_as_the_limit_fit), T(a_range_is_sixteen_bytes_little_endian),
         T(opens_are_equal_where_every_field_is), T(an_open_body_is_judged_as_the_message_is))
