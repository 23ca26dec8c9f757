/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A control message as it lies on the wire, for tests that change it there: encoded from a sample,
 * bytes put into it, signed again as an honest sender would, decoded.
 */
#ifndef MR_TESTS_MESSAGE_WIRE_H
#define MR_TESTS_MESSAGE_WIRE_H

#include "base/crc64.h"
#include "message_samples.h"
#include "suite.h"
#include "wire/message.h"

#include <errno.h>

enum { ENVELOPE = 24, CHECKSUM = 8 };

static uint8_t wire[64 * 1024];

static inline size_t wire_encode(const struct mr_message *m)
{
    size_t bytes = 0;
    ck_assert_int_eq(mr_message_encode(m, wire, sizeof(wire), &bytes), 0);
    return bytes;
}

static inline size_t wire_sample(enum mr_message_type type)
{
    struct mr_message m;
    sample_message(type, &m);
    return wire_encode(&m);
}

static inline void wire_put(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

/* The checksum of a whole message of so many bytes. */
static inline void wire_sign(uint8_t *message, size_t bytes)
{
    wire_put(message + bytes - CHECKSUM, mr_crc64(0, message, bytes - CHECKSUM), CHECKSUM);
}

/* The body is to have so many bytes: returns the message's. */
static inline size_t wire_close(uint8_t *message, size_t body_bytes)
{
    size_t bytes = ENVELOPE + body_bytes + CHECKSUM;
    wire_put(message + 12, body_bytes, 4);
    wire_sign(message, bytes);
    return bytes;
}

static inline int wire_decode(size_t bytes, struct mr_err *err)
{
    static struct mr_message m;
    *err = (struct mr_err){0};
    return mr_message_decode(wire, bytes, &m, err);
}

static inline void wire_refused(const struct mr_message *m, const char *text)
{
    struct mr_err err;
    ck_assert_int_eq(wire_decode(wire_encode(m), &err), -EPROTO);
    ck_assert_msg(strstr(err.text, text) != NULL, "%s", err.text);
}

#endif
