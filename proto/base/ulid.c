/* SPDX-License-Identifier: Apache-2.0 */
/* ULIDs and their text. Not monotonic within a millisecond: order there is random. */
#include "base/ulid.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

enum { DIGITS = 26 };

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void mr_ulid_new(int64_t real_ns, struct mr_ulid *ret)
{
    uint64_t ms = real_ns < 0 ? 0 : (uint64_t)(real_ns / MR_NS_PER_MS);
    for (size_t i = 0; i < 6; i++)
        ret->bytes[i] = (uint8_t)(ms >> (8 * (5 - i)));
    ssize_t n;
    do
        n = getrandom(ret->bytes + 6, 10, 0);
    while (n < 0 && errno == EINTR);
    /* getrandom(2): up to 256 bytes are never cut short */
    assert(n == 10);
}

/* 26 digits hold 130 bits: the text is the 128-bit number with two zero bits in front. Bit k of the
 * text, counted from its start, is bit k - 2 of the bytes. */
const char *mr_ulid_text(const struct mr_ulid *id, char *ret)
{
    for (size_t d = 0; d < DIGITS; d++) {
        unsigned v = 0;
        for (size_t bit = d * 5; bit < d * 5 + 5; bit++)
            v = v << 1 |
                (bit < 2 ? 0u : (unsigned)id->bytes[(bit - 2) / 8] >> (7 - (bit - 2) % 8) & 1u);
        ret[d] = alphabet[v];
    }
    ret[DIGITS] = '\0';
    return ret;
}

/* Crockford's reading: either case, I and L are 1, O is 0. -1 for what is no digit. */
static int digit_value(char c)
{
    if (c >= 'a' && c <= 'z')
        c = (char)(c - 'a' + 'A');
    if (c == 'I' || c == 'L')
        c = '1';
    if (c == 'O')
        c = '0';
    const char *at = c == '\0' ? NULL : strchr(alphabet, c);
    return at == NULL ? -1 : (int)(at - alphabet);
}

int mr_ulid_parse(const char *text, struct mr_ulid *ret)
{
    struct mr_ulid id = {{0}};
    for (size_t d = 0; d < DIGITS; d++) {
        int v = digit_value(
            text[d]); /* the NUL of a short text is no digit: nothing behind it is read */
        if (v < 0 || (d == 0 && v > 7))
            return -EINVAL;
        for (size_t k = 0; k < 5; k++) {
            size_t bit = d * 5 + k;
            if (bit >= 2 && ((unsigned)v >> (4 - k) & 1u) != 0)
                id.bytes[(bit - 2) / 8] |= (uint8_t)(1u << (7 - (bit - 2) % 8));
        }
    }
    if (text[DIGITS] != '\0')
        return -EINVAL;
    *ret = id;
    return 0;
}

bool mr_ulid_equal(const struct mr_ulid *a, const struct mr_ulid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

uint32_t mr_ulid_hash(const struct mr_ulid *id)
{
    uint32_t last;
    memcpy(&last, id->bytes + sizeof(id->bytes) - sizeof(last), sizeof(last));
    return last ^ last >> 16;
}
