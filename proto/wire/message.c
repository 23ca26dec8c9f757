/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The envelope of a control message, and which body goes with which type. Bodies are in
 * message_session.c and message_movie.c. Keeps no state: sequence and session are the caller's.
 *
 * The envelope never changes between versions, so that a HELLO from the future can be refused.
 */
#include "wire/message.h"

#include "base/crc64.h"
#include "base/text.h"
#include "wire/message_body.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

static const uint8_t magic[4] = {'M', 'R', 'C', 'T'};

enum { ENVELOPE_BYTES = 24, CRC_BYTES = 8 };

/* The largest of each fits: no field is longer on the wire than in memory, but for strings, by a
 * byte: u16 in front, no NUL behind. */
_Static_assert(sizeof(struct mr_open) + 5 <= MR_OPEN_BODY_MAX, "any OPEN's body, of five strings");
_Static_assert(ENVELOPE_BYTES + sizeof(struct mr_end) + 2 + MR_METADATA_MAX + MR_BLOB_MAX +
                       CRC_BYTES <=
                   MR_CONTROL_BYTES_MAX,
               "any END, of two strings");
_Static_assert(ENVELOPE_BYTES + sizeof(struct mr_opened) + MR_RANGES_MAX * MR_RANGE_BYTES +
                       CRC_BYTES <=
                   MR_CONTROL_BYTES_MAX,
               "any OPENED, and any ACK, which is less");

struct codec {
    const char *name;
    unsigned from;
    uint32_t needs;
    void (*write)(struct mr_writer *w, const struct mr_message *m);
    void (*read)(struct mr_fields *f, struct mr_message *m);
};

#define CODEC(number, NAME, body, from, needs) \
    [number] = {#NAME, from, needs, mr_message_write_##body, mr_message_read_##body},
static const struct codec codecs[MR_MESSAGE_LAST + 1] = {MR_MESSAGES(CODEC)};

/* NULL: no message has that number. */
static const struct codec *codec_of(unsigned type)
{
    return type <= MR_MESSAGE_LAST && codecs[type].name != NULL ? &codecs[type] : NULL;
}

const char *mr_message_name(enum mr_message_type type)
{
    const struct codec *codec = codec_of((unsigned)type);
    return codec == NULL ? "?" : codec->name;
}

unsigned mr_message_from(enum mr_message_type type)
{
    const struct codec *codec = codec_of((unsigned)type);
    return codec == NULL ? 0 : codec->from;
}

uint32_t mr_message_needs(enum mr_message_type type)
{
    const struct codec *codec = codec_of((unsigned)type);
    return codec == NULL ? 0 : codec->needs;
}

uint32_t mr_message_abilities(void)
{
    uint32_t abilities = 0;
    for (unsigned type = 0; type <= MR_MESSAGE_LAST; type++)
        abilities |= codecs[type].needs;
    return abilities;
}

const char *mr_reason_name(uint16_t code)
{
    static const char *const names[] = {
        [0] = "none",
        [MR_REASON_VERSION] = "version",
        [MR_REASON_NAME_IN_USE] = "name in use",
        [MR_REASON_STALE_EPOCH] = "stale epoch",
        [MR_REASON_STOPPING] = "stopping",
        [MR_REASON_BUSY] = "busy",
        [MR_REASON_NO_SPACE] = "no space",
        [MR_REASON_READ_ONLY] = "read-only",
        [MR_REASON_IO] = "I/O error",
        [MR_REASON_BAD_NAME] = "bad name",
        [MR_REASON_BAD_REQUEST] = "bad request",
        [MR_REASON_UNSUPPORTED] = "unsupported",
        [MR_REASON_MISMATCH] = "mismatch",
        [MR_REASON_PERMISSION] = "permission",
        [MR_REASON_SOURCE] = "source",
    };
    return code < sizeof(names) / sizeof(names[0]) ? names[code] : "unknown reason";
}

uint16_t mr_reason_of_error(int error)
{
    switch (-error) {
    case ENOSPC:
        return MR_REASON_NO_SPACE;
    case EROFS:
        return MR_REASON_READ_ONLY;
    case EACCES:
    case EPERM:
    case EDQUOT:
        return MR_REASON_PERMISSION;
    default:
        return MR_REASON_IO;
    }
}

const char *mr_output_name(enum mr_output output)
{
    static const char *const names[] = {"?", "keep", "mrc", "hdf5"};
    return (unsigned)output < sizeof(names) / sizeof(names[0]) ? names[output] : "?";
}

enum mr_layout mr_output_layout(enum mr_output output)
{
    static const enum mr_layout layouts[] = {[MR_OUTPUT_KEEP] = MR_LAYOUT_BYTES,
                                             [MR_OUTPUT_MRC] = MR_LAYOUT_STREAM,
                                             [MR_OUTPUT_HDF5] = MR_LAYOUT_CHUNKS};
    assert(output >= MR_OUTPUT_KEEP && output <= MR_OUTPUT_HDF5);
    return layouts[output];
}

const char *mr_output_extension(enum mr_output output, const char *format)
{
    if (output == MR_OUTPUT_HDF5)
        return ".h5";
    return output == MR_OUTPUT_MRC && strcasecmp(format, "mrc") != 0 ? ".mrc" : NULL;
}

size_t mr_output_stem(const char *path)
{
    const char *name = mr_text_last(path);
    const char *dot = strrchr(name, '.');
    if (dot == NULL || dot == name || dot[1] == '\0' || strlen(dot) > MR_EXTENSION_MAX)
        return strlen(path);
    return (size_t)(dot - path);
}

int mr_message_encode(const struct mr_message *m, void *ret, size_t size, size_t *ret_bytes)
{
    const struct codec *codec = codec_of((unsigned)m->type);
    assert(codec != NULL);
    struct mr_writer w = mr_writer_init(ret, size);
    mr_write_raw(&w, magic, sizeof(magic));
    mr_write_u16(&w, (uint16_t)m->type);
    mr_write_u16(&w, 0); /* reserved: 0, ignored */
    mr_write_u32(&w, m->sequence);
    size_t length_at = w.at;
    mr_write_u32(&w, 0); /* body bytes, known below */
    mr_write_u64(&w, m->session);
    size_t body_at = w.at;
    codec->write(&w, m);
    if (w.failed || w.size - w.at < CRC_BYTES)
        return -ENOSPC;
    struct mr_writer length = mr_writer_init((uint8_t *)ret + length_at, sizeof(uint32_t));
    mr_write_u32(&length, (uint32_t)(w.at - body_at));
    mr_write_u64(&w, mr_crc64(0, ret, w.at));
    *ret_bytes = w.at;
    return 0;
}

/* Is it whole, and ours? Then the envelope's fields, and *ret_body over the body. */
static int open_envelope(const uint8_t *data, size_t bytes, struct mr_message *m,
                         uint16_t *ret_type, struct mr_fields *ret_body, struct mr_err *err)
{
    if (bytes < ENVELOPE_BYTES + CRC_BYTES || memcmp(data, magic, sizeof(magic)) != 0)
        return mr_err_set(err, -EBADMSG, "not a Millrace control message (%zu bytes)", bytes);
    struct mr_reader r = mr_reader_init(data + sizeof(magic), bytes - sizeof(magic));
    *ret_type = mr_read_u16(&r);
    (void)mr_read_u16(&r); /* reserved: 0, ignored */
    m->sequence = mr_read_u32(&r);
    uint32_t body_bytes = mr_read_u32(&r);
    m->session = mr_read_u64(&r);
    if (bytes > MR_CONTROL_BYTES_MAX || body_bytes != bytes - ENVELOPE_BYTES - CRC_BYTES) {
        return mr_err_set(err, -EBADMSG, "control message: %zu bytes came, the body claims %u",
                          bytes, body_bytes);
    }
    struct mr_reader crc = mr_reader_init(data + bytes - CRC_BYTES, CRC_BYTES);
    if (mr_read_u64(&crc) != mr_crc64(0, data, bytes - CRC_BYTES))
        return mr_err_set(err, -EBADMSG, "control message: checksum wrong");
    *ret_body = mr_fields_init(data + ENVELOPE_BYTES, body_bytes);
    return 0;
}

/* Geometry judges itself, in words better than a field's name. */
static int open_verdict(const struct mr_open *open, struct mr_err *err)
{
    int r = mr_geometry_check(&open->geometry, err);
    if (r < 0) {
        (void)mr_err_prefix(err, "OPEN: geometry");
        return -EPROTO;
    }
    return 0;
}

static int body_verdict(const char *name, const struct mr_fields *f, struct mr_err *err)
{
    if (mr_fields_ok(f))
        return 0;
    return mr_err_set(err, -EPROTO, "%s: %s: %s", name, f->bad,
                      f->cut ? "cut short or too long" : "out of range");
}

int mr_message_decode(const void *data, size_t bytes, struct mr_message *ret, struct mr_err *err)
{
    struct mr_message m = {0};
    struct mr_fields body;
    uint16_t type = 0;
    int r = open_envelope(data, bytes, &m, &type, &body, err);
    if (r < 0)
        return r;
    const struct codec *codec = codec_of(type);
    if (codec == NULL)
        return mr_err_set(err, -EPROTO, "control message of unknown type %u", type);
    m.type = (enum mr_message_type)type;
    codec->read(&body, &m);
    r = body_verdict(codec->name, &body, err);
    if (r == 0 && m.type == MR_OPEN)
        r = open_verdict(&m.open, err);
    if (r == 0)
        *ret = m;
    return r;
}

int mr_open_encode(const struct mr_open *open, void *ret, size_t size, size_t *ret_bytes)
{
    struct mr_writer w = mr_writer_init(ret, size);
    mr_message_write_open_body(&w, open);
    if (w.failed)
        return -ENOSPC;
    *ret_bytes = w.at;
    return 0;
}

int mr_open_decode(const void *data, size_t bytes, struct mr_open *ret, struct mr_err *err)
{
    struct mr_open open = {0};
    struct mr_fields f = mr_fields_init(data, bytes);
    mr_message_read_open_body(&f, &open);
    int r = body_verdict("OPEN", &f, err);
    if (r == 0)
        r = open_verdict(&open, err);
    if (r == 0)
        *ret = open;
    return r;
}
