/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control messages. Each is one ZeroMQ part: an envelope (magic, type, sequence, session, body
 * bytes, body, CRC-64) and a body of little-endian fields, strings as u16 length + UTF-8. Bytes
 * behind the fields a receiver knows are ignored, so a newer minor version may append. Normative:
 * docs/PROTOCOL.md.
 *
 * Decoded messages borrow nothing: strings are copied into the struct, but for the views marked
 * "borrowed", which point into the buffer that was decoded.
 */
#ifndef MR_WIRE_MESSAGE_H
#define MR_WIRE_MESSAGE_H

#include "base/clock.h"
#include "base/ulid.h"
#include "wire/codec.h"
#include "wire/message_list.h"
#include "wire/slab.h"

#define MR_PROTOCOL_VERSION_MIN 1u
#define MR_PROTOCOL_VERSION_MAX 1u
#define MR_CONTROL_BYTES_MAX    (6u * 1024 * 1024) /* a control message */
#define MR_BLOB_MAX             (4u * 1024 * 1024) /* END's source header */
#define MR_METADATA_MAX         (512u * 1024)      /* END's metadata JSON */
#define MR_NAME_MAX             64
#define MR_PATH_MAX             1024 /* relative path of a movie, bytes */
#define MR_TEXT_MAX             512  /* reasons */
#define MR_LANES_MAX            64
#define MR_RANGES_MAX           65536 /* durable ranges in one message */
#define MR_RANGE_BYTES          16    /* one of them, encoded */

/* Who says a message; bits. */
#define MR_FROM_AGENT  1u
#define MR_FROM_SERVER 2u
#define MR_FROM_BOTH   (MR_FROM_AGENT | MR_FROM_SERVER)

/* What of version 1 a server does that its first builds did not */
#define MR_ABLE_CONFIRM 1u /* it answers CONFIRM, which ended the session before */
/* keep, mrc: slabs in any codec up to OPEN's; before, in that or none */
#define MR_ABLE_CODECS 2u

/* On the wire: MR_HELLO = 1 and so on */
enum mr_message_type {
#define MR_MESSAGE_TYPE(number, NAME, body, from, needs) MR_##NAME = (number),
    MR_MESSAGES(MR_MESSAGE_TYPE)
#undef MR_MESSAGE_TYPE
};

/* The highest of them: behind the last row the compiler counts on. */
enum {
#define MR_MESSAGE_NUMBER(number, NAME, body, from, needs) MR_MESSAGE_NUMBER_##NAME = (number),
    MR_MESSAGES(MR_MESSAGE_NUMBER)
#undef MR_MESSAGE_NUMBER
        MR_MESSAGE_NUMBERS,
    MR_MESSAGE_LAST = MR_MESSAGE_NUMBERS - 1
};

struct mr_hello {
    uint16_t version_min, version_max;
    char name[MR_NAME_MAX + 1];
    uint8_t instance[16]; /* random, kept in state_dir; of a push, random per run */
    uint64_t epoch;       /* newer replaces older of the same instance */
    bool ephemeral;       /* a push: any number of one name at once */
    char software[MR_NAME_MAX + 1];
    char host[MR_NAME_MAX + 1];
    int64_t real_ns; /* agent's clock */
};

/* The session is in the envelope */
struct mr_welcome {
    uint16_t version;
    uint32_t abilities; /* MR_ABLE_...; others are ignored */
    /* each side sends something at least so often; 3 missed end the session */
    uint32_t heartbeat_ms;
    uint16_t lanes;
    uint16_t ports[MR_LANES_MAX]; /* on the control endpoint's host */
    char server[MR_NAME_MAX + 1], site[MR_NAME_MAX + 1];
    char software[MR_NAME_MAX + 1];
};

/* Codes of REFUSED, HOLD, FAILED */
enum mr_reason {
    MR_REASON_VERSION = 1,
    MR_REASON_NAME_IN_USE = 2, /* another live instance of the agent's name */
    MR_REASON_STALE_EPOCH = 3,
    MR_REASON_STOPPING = 4,
    MR_REASON_BUSY = 5, /* limits of sessions or movies */
    MR_REASON_NO_SPACE = 6,
    MR_REASON_READ_ONLY = 7,
    MR_REASON_IO = 8,
    MR_REASON_BAD_NAME = 9,
    MR_REASON_BAD_REQUEST = 10,
    MR_REASON_UNSUPPORTED = 11, /* output, codec, pixel type */
    MR_REASON_MISMATCH = 12,    /* totals or digests disagree */
    MR_REASON_PERMISSION = 13,  /* group, quota, access */
    MR_REASON_SOURCE = 14,      /* the agent said FAIL */
};
const char *mr_reason_name(uint16_t code);
uint16_t mr_reason_of_error(int error); /* why a store cannot be written: of -errno */

struct mr_refused {
    uint16_t code;
    char text[MR_TEXT_MAX];
};

/* On the wire. */
enum mr_kind { MR_KIND_MOVIE = 1, MR_KIND_FILE = 2 };
enum mr_output { MR_OUTPUT_KEEP = 1, MR_OUTPUT_MRC = 2, MR_OUTPUT_HDF5 = 3 };
const char *mr_output_name(enum mr_output output);
enum mr_layout mr_output_layout(enum mr_output output); /* BYTES, STREAM, CHUNKS */
/* What a stored file is called, where its source is called so: path[0, stem) + extension; NULL: the
 * source's own stays. format: of the source. */
const char *mr_output_extension(enum mr_output output, const char *format);
#define MR_EXTENSION_MAX 16 /* bytes with the dot; more behind the last dot is a name */
/* Offset of the extension's dot in the path's last component, or the path's length. */
size_t mr_output_stem(const char *path);

struct mr_open {
    struct mr_ulid movie;
    uint32_t revision; /* 1; more: the same source changed after COMMITTED */
    enum mr_kind kind;
    enum mr_output output;
    enum mr_codec_id codec;
    char format[16];               /* of the source: "mrc", "file" */
    char path[MR_PATH_MAX + 1];    /* below the watch, '/'-separated, source's own name */
    char source_path[4096];        /* whole, on the agent's host; informative */
    char session[MR_NAME_MAX + 1]; /* "" none */
    char day[MR_DAY_TEXT];         /* for {date}: 2026-11-22 */
    struct mr_geometry geometry;
    double pixel_size_angstrom;     /* 0 unknown */
    uint64_t source_bytes_expected; /* 0 unknown */
    bool whole; /* it is complete, one slab at most, and its END waits for no ACK */
};

struct mr_range {
    uint64_t first, count; /* slabs */
};

struct mr_opened {
    struct mr_ulid movie;
    uint32_t generation;
    bool resumed;          /* the store knew this movie */
    uint32_t range_count;  /* durable slabs, ascending, not touching */
    const uint8_t *ranges; /* borrowed: mr_message_range(ranges, i) */
};

struct mr_ack {
    struct mr_ulid movie;
    uint32_t generation;
    uint32_t range_count;
    const uint8_t *ranges; /* borrowed */
};

/* Totals since the session began: repeating one is harmless */
struct mr_credit {
    uint16_t lanes;
    uint64_t granted[MR_LANES_MAX]; /* bytes */
};

struct mr_demand {
    uint16_t lanes;
    bool wanted[MR_LANES_MAX];
    uint64_t returned[MR_LANES_MAX]; /* bytes of credit given back, total since the session began */
};

struct mr_resend {
    struct mr_ulid movie;
    uint32_t generation;
    uint64_t slab;
};

struct mr_end {
    struct mr_ulid movie;
    uint32_t generation;
    struct mr_extent extent;
    uint64_t slabs;
    int64_t source_mtime_ns;
    uint64_t crc_file;    /* of the source as sent (BYTES); 0 otherwise */
    uint64_t crc_pixels;  /* of all pixels; 0 where there are none */
    char complete_by[32]; /* "close", "mdoc", "header", "quiet", "push" ... */
    double pixel_size_angstrom;
    double frame_time_s;                       /* 0 unknown */
    int64_t started_real_ns, finished_real_ns; /* agent's clock: first seen, complete */
    char warnings[MR_TEXT_MAX];                /* newline-separated */
    const uint8_t *metadata;                   /* borrowed: JSON object text; NULL where none */
    uint32_t metadata_bytes;
    const uint8_t *source_header; /* borrowed: header + extended header, for STREAM and CHUNKS */
    uint32_t source_header_bytes;
};

struct mr_committed {
    struct mr_ulid movie;
    uint32_t revision;
    uint64_t sequence; /* of the event in the log */
    /* Of the source, as the END said that was committed: what the agent has now may be newer. */
    uint64_t source_bytes;
    int64_t source_mtime_ns; /* 0: not known */
    char event[64];          /* its id */
    char path[4096];         /* final, on the server */
    bool known;              /* same content was there already: no second copy, no new event */
};

struct mr_hold {
    struct mr_ulid movie;
    uint16_t code;
    uint32_t retry_ms;
    char text[MR_TEXT_MAX];
};

struct mr_fail {
    struct mr_ulid movie;
    uint32_t generation;
    struct mr_extent extent; /* as far as known */
    char text[MR_TEXT_MAX];
    uint16_t code; /* not on the wire: where it is not the agent that says so, why; 0: SOURCE */
};

struct mr_failed {
    struct mr_ulid movie;
    uint16_t code;
    char text[MR_TEXT_MAX];
};

/* ABANDON and ABANDONED */
struct mr_abandon {
    struct mr_ulid movie;
};

/* What an agent has that is to be shipped and is not durable yet. */
struct mr_backlog {
    uint64_t bytes;
    uint32_t files;
};

/* How an agent packs keep and mrc movies that begin. */
struct mr_packing {
    enum mr_codec_id codec;
    bool by_itself;            /* `codec: auto` */
    uint64_t link_bytes_per_s; /* by_itself: what the link took when it last was narrow; 0: never */
};

/* PING and PONG */
struct mr_ping {
    uint64_t token;
    int64_t real_ns;           /* sender's clock */
    struct mr_backlog backlog; /* a server's is 0, as is that of an agent that tells none */
    struct mr_packing packing; /* likewise */
};

struct mr_bye {
    uint16_t code;
    char text[MR_TEXT_MAX];
};

/* Asked before a source is freed; it changes nothing. */
struct mr_confirm {
    struct mr_ulid movie;
    uint32_t revision;
};

/* On the wire */
enum mr_standing {
    MR_STANDING_IN_PLACE = 1, /* committed, and its file lies there as it was committed */
    MR_STANDING_MOVED = 2,    /* committed, but its file is gone, replaced or changed since */
    MR_STANDING_UNKNOWN = 3,  /* nothing of that name is committed here */
};

struct mr_confirmed {
    struct mr_ulid movie;
    uint32_t revision;
    enum mr_standing standing;
    uint64_t bytes; /* of the stored file, as here all but standing: 0 and "" where UNKNOWN */
    uint64_t crc_file;
    bool has_pixels;
    uint64_t crc_pixels; /* where has_pixels */
    char path[4096];     /* final, on the server */
};

struct mr_message {
    enum mr_message_type type;
    uint32_t sequence; /* of this direction in this session, from 1; a gap ends the session */
    uint64_t session;  /* 0 in HELLO and REFUSED */
    union {            /* of a movie's: `movie` comes first, as abandon.movie reaches it */
        struct mr_hello hello;
        struct mr_welcome welcome;
        struct mr_refused refused;
        struct mr_open open;
        struct mr_opened opened;
        struct mr_ack ack;
        struct mr_credit credit;
        struct mr_demand demand;
        struct mr_resend resend;
        struct mr_end end;
        struct mr_committed committed;
        struct mr_hold hold;
        struct mr_fail fail;
        struct mr_failed failed;
        struct mr_abandon abandon; /* and abandoned */
        struct mr_ping ping;       /* and pong */
        struct mr_bye bye;
        struct mr_confirm confirm;
        struct mr_confirmed confirmed;
    };
};

/* Of a number that is no message's: "?", 0, 0. */
const char *mr_message_name(enum mr_message_type type); /* "HELLO" */
unsigned mr_message_from(enum mr_message_type type);    /* MR_FROM_... */
/* Abilities without which an agent may not say it, nor a server ever says it. */
uint32_t mr_message_needs(enum mr_message_type type);
uint32_t mr_message_abilities(void); /* what all messages together need */

/* Encodes into ret (capacity size): -ENOSPC. For OPENED and ACK, ranges must point at range_count
 * pairs already encoded with mr_message_put_range (MR_RANGE_BYTES each; NULL where there are none).
 * Counts and blobs within their maxima. *ret_bytes: whole message. */
int mr_message_encode(const struct mr_message *m, void *ret, size_t size,
                      size_t *ret_bytes) MR_MUST_USE;

/* -EBADMSG: not ours, cut or damaged; -EPROTO: a field out of range; err names message and field.
 * Never reads outside data. Geometry is checked by mr_geometry_check, control characters
 * and UTF-8 of names are not checked here (naming's affair). A HELLO decodes whatever version it
 * is of, as far as version_min and version_max, so that it can be refused in words. */
int mr_message_decode(const void *data, size_t bytes, struct mr_message *ret,
                      struct mr_err *err) MR_MUST_USE;

struct mr_range mr_message_range(const uint8_t *ranges, uint32_t index);
void mr_message_put_range(uint8_t *ranges, uint32_t index, struct mr_range range);

/* An OPEN's body alone, as a placement journal keeps it. */
#define MR_OPEN_BODY_MAX 8192
int mr_open_encode(const struct mr_open *open, void *ret, size_t size,
                   size_t *ret_bytes) MR_MUST_USE;
int mr_open_decode(const void *data, size_t bytes, struct mr_open *ret,
                   struct mr_err *err) MR_MUST_USE;

/* True where both encode to the same body: the same movie, opened the same way. */
bool mr_open_equal(const struct mr_open *a, const struct mr_open *b);

#endif
