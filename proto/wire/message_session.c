/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies of the messages about a session: who, how, credit, heartbeat, farewell. Byte tables in
 * docs/PROTOCOL.md, in the same order. Judges fields one by one, not whether a message may come
 * now.
 */
#include "wire/message_body.h"

#include <assert.h>

#define HEARTBEAT_MIN_MS 10u
#define HEARTBEAT_MAX_MS 3600000u

void mr_message_write_hello(struct mr_writer *w, const struct mr_message *m)
{
    const struct mr_hello *h = &m->hello;
    mr_write_u16(w, h->version_min);
    mr_write_u16(w, h->version_max);
    mr_write_raw(w, h->instance, sizeof(h->instance));
    mr_write_u64(w, h->epoch);
    mr_write_i64(w, h->real_ns);
    mr_write_u8(w, h->ephemeral);
    mr_write_str(w, h->name);
    mr_write_str(w, h->software);
    mr_write_str(w, h->host);
}

/* Of a version we do not speak only the two version fields are known to lie where they do. */
void mr_message_read_hello(struct mr_fields *f, struct mr_message *m)
{
    struct mr_hello *h = &m->hello;
    h->version_min = mr_field_u16(f, "version_min", 0, UINT16_MAX);
    h->version_max = mr_field_u16(f, "version_max", h->version_min, UINT16_MAX);
    if (h->version_min > MR_PROTOCOL_VERSION_MAX || h->version_max < MR_PROTOCOL_VERSION_MIN)
        return;
    mr_field_raw(f, "instance", h->instance, sizeof(h->instance));
    h->epoch = mr_field_u64(f, "epoch", 0, UINT64_MAX);
    h->real_ns = mr_field_i64(f, "real_ns");
    h->ephemeral = mr_field_bool(f, "ephemeral");
    mr_field_str(f, "name", h->name, sizeof(h->name));
    mr_field_str(f, "software", h->software, sizeof(h->software));
    mr_field_str(f, "host", h->host, sizeof(h->host));
}

void mr_message_write_welcome(struct mr_writer *w, const struct mr_message *m)
{
    const struct mr_welcome *c = &m->welcome;
    assert(c->lanes <= MR_LANES_MAX);
    mr_write_u16(w, c->version);
    mr_write_u16(w, c->lanes);
    mr_write_u32(w, c->heartbeat_ms);
    for (size_t i = 0; i < c->lanes; i++)
        mr_write_u16(w, c->ports[i]);
    mr_write_str(w, c->server);
    mr_write_str(w, c->site);
    mr_write_str(w, c->software);
    mr_write_u32(w, c->abilities);
}

void mr_message_read_welcome(struct mr_fields *f, struct mr_message *m)
{
    struct mr_welcome *c = &m->welcome;
    c->version = mr_field_u16(f, "version", MR_PROTOCOL_VERSION_MIN, MR_PROTOCOL_VERSION_MAX);
    c->lanes = mr_field_u16(f, "lanes", 1, MR_LANES_MAX);
    c->heartbeat_ms = mr_field_u32(f, "heartbeat_ms", HEARTBEAT_MIN_MS, HEARTBEAT_MAX_MS);
    for (size_t i = 0; i < c->lanes; i++)
        c->ports[i] = mr_field_u16(f, "ports", 1, UINT16_MAX);
    mr_field_str(f, "server", c->server, sizeof(c->server));
    mr_field_str(f, "site", c->site, sizeof(c->site));
    mr_field_str(f, "software", c->software, sizeof(c->software));
    c->abilities = 0;
    if (mr_fields_left(f) > 0) /* appended within version 1 */
        c->abilities = mr_field_u32(f, "abilities", 0, UINT32_MAX);
}

void mr_message_write_refused(struct mr_writer *w, const struct mr_message *m)
{
    mr_write_u16(w, m->refused.code);
    mr_write_str(w, m->refused.text);
}

void mr_message_read_refused(struct mr_fields *f, struct mr_message *m)
{
    m->refused.code = mr_field_u16(f, "code", 0, UINT16_MAX);
    mr_field_str(f, "text", m->refused.text, sizeof(m->refused.text));
}

void mr_message_write_credit(struct mr_writer *w, const struct mr_message *m)
{
    assert(m->credit.lanes <= MR_LANES_MAX);
    mr_write_u16(w, m->credit.lanes);
    for (size_t i = 0; i < m->credit.lanes; i++)
        mr_write_u64(w, m->credit.granted[i]);
}

void mr_message_read_credit(struct mr_fields *f, struct mr_message *m)
{
    m->credit.lanes = mr_field_u16(f, "lanes", 1, MR_LANES_MAX);
    for (size_t i = 0; i < m->credit.lanes; i++)
        m->credit.granted[i] = mr_field_u64(f, "granted", 0, UINT64_MAX);
}

void mr_message_write_demand(struct mr_writer *w, const struct mr_message *m)
{
    assert(m->demand.lanes <= MR_LANES_MAX);
    mr_write_u16(w, m->demand.lanes);
    for (size_t i = 0; i < m->demand.lanes; i++) {
        mr_write_u8(w, m->demand.wanted[i]);
        mr_write_u64(w, m->demand.returned[i]);
    }
}

void mr_message_read_demand(struct mr_fields *f, struct mr_message *m)
{
    m->demand.lanes = mr_field_u16(f, "lanes", 1, MR_LANES_MAX);
    for (size_t i = 0; i < m->demand.lanes; i++) {
        m->demand.wanted[i] = mr_field_bool(f, "wanted");
        m->demand.returned[i] = mr_field_u64(f, "returned", 0, UINT64_MAX);
    }
}

void mr_message_write_ping(struct mr_writer *w, const struct mr_message *m)
{
    mr_write_u64(w, m->ping.token);
    mr_write_i64(w, m->ping.real_ns);
    mr_write_u64(w, m->ping.backlog.bytes);
    mr_write_u32(w, m->ping.backlog.files);
    mr_write_u8(w, (uint8_t)m->ping.packing.codec);
    mr_write_u8(w, m->ping.packing.by_itself);
    mr_write_u64(w, m->ping.packing.link_bytes_per_s);
}

void mr_message_read_ping(struct mr_fields *f, struct mr_message *m)
{
    m->ping.token = mr_field_u64(f, "token", 0, UINT64_MAX);
    m->ping.real_ns = mr_field_i64(f, "real_ns");
    m->ping.backlog = (struct mr_backlog){0};
    m->ping.packing = (struct mr_packing){0};
    if (mr_fields_left(f) == 0) /* appended within version 1 */
        return;
    m->ping.backlog.bytes = mr_field_u64(f, "backlog_bytes", 0, UINT64_MAX);
    m->ping.backlog.files = mr_field_u32(f, "backlog_files", 0, UINT32_MAX);
    if (mr_fields_left(f) == 0) /* appended later */
        return;
    m->ping.packing.codec = (enum mr_codec_id)mr_field_u8(f, "codec", 0, MR_CODEC_COUNT - 1);
    m->ping.packing.by_itself = mr_field_bool(f, "by_itself");
    m->ping.packing.link_bytes_per_s = mr_field_u64(f, "link_bytes_per_s", 0, UINT64_MAX);
}

void mr_message_write_bye(struct mr_writer *w, const struct mr_message *m)
{
    mr_write_u16(w, m->bye.code);
    mr_write_str(w, m->bye.text);
}

void mr_message_read_bye(struct mr_fields *f, struct mr_message *m)
{
    m->bye.code = mr_field_u16(f, "code", 0, UINT16_MAX);
    mr_field_str(f, "text", m->bye.text, sizeof(m->bye.text));
}
