/* SPDX-License-Identifier: Apache-2.0 */
/* The server's table of keys, and the plan made of them. Opens nothing but the file itself. */
#include "ingest_config.h"

#include "base/text.h"
#include "credit.h"
#include "movie.h"
#include "naming.h"
#include "store.h"
#include "wire/endpoint.h"
#include "wire/message.h"
#include "wire/slab.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define F(field) offsetof(struct mr_ingest_config, field)
#define MIB      (INT64_C(1024) * 1024)
#define SECOND   INT64_C(1000000000)

#define BUFFER_BYTES   ((uint64_t)MR_MOVIE_BUFFER_BYTES)
#define LANE_UNITS_MIN 4 /* two buffers to write from while two slabs arrive */
#define LANES_AUTO_MAX 4

static const char *const auto_lanes[] = {"auto", NULL};
static const char *const direct_io[] = {"auto", "on", "off", NULL};
static const char *const mtimes[] = {"source", "commit", NULL};
static const char *const security[] = {"none", "curve", NULL};

static const struct mr_config_key webhook_table[] = {
    {.path = "url",
     .type = MR_CONFIG_STRING,
     .offset = 0,
     .default_text = NULL,
     .help = "where to"},
    {.path = NULL},
};

const struct mr_config_key mr_ingest_config_table[] = {
    {.path = "ingest.name",
     .type = MR_CONFIG_STRING,
     .offset = F(name),
     .default_text = "storage1",
     .min = 1,
     .max = 64,
     .refuse = mr_config_refuse_name,
     .help = "this server's name, in every event's source"},
    {.path = "ingest.site",
     .type = MR_CONFIG_STRING,
     .offset = F(site),
     .default_text = "",
     .max = 64,
     .refuse = mr_config_refuse_name,
     .help = "{site} in store.path"},
    {.path = "ingest.state_dir",
     .type = MR_CONFIG_STRING,
     .offset = F(state_dir),
     .default_text = "/var/lib/millrace-ingest",
     .max = 1024,
     .refuse = mr_config_refuse_relative,
     .help = "caches that can be rebuilt; all else lies in the store. \"\": none"},
    {.path = "listen.control",
     .type = MR_CONFIG_STRING,
     .offset = F(control),
     .default_text = "tcp://127.0.0.1:5570",
     .max = 280,
     .help = "agents; data lanes take the ports after"},
    {.path = "listen.lanes",
     .type = MR_CONFIG_INT,
     .offset = F(lanes),
     .default_text = "auto",
     .min = 1,
     .max = MR_LANES_MAX,
     .names = auto_lanes,
     .help = "data lanes, each a thread"},
    {.path = "listen.events",
     .type = MR_CONFIG_STRING,
     .offset = F(events),
     .default_text = "tcp://127.0.0.1:5580",
     .max = 280,
     .help = "events (PUB); replay takes the port after"},
    {.path = "listen.http",
     .type = MR_CONFIG_STRING,
     .offset = F(http),
     .default_text = "127.0.0.1:8570",
     .max = 280,
     .help = "status page, health, metrics"},
    {.path = "store.root",
     .type = MR_CONFIG_STRING,
     .offset = F(root),
     .default_text = "/data/store",
     .min = 1,
     .max = 2048,
     .refuse = mr_config_refuse_relative,
     .help = "where movies land"},
    {.path = "store.path",
     .type = MR_CONFIG_STRING,
     .offset = F(path),
     .default_text = "{agent}/{path}",
     .min = 1,
     .max = 1024,
     .help = "final name below root: {agent} {site} {session} {name} {date} {path}"},
    {.path = "store.direct_io",
     .type = MR_CONFIG_ENUM,
     .offset = F(direct_io),
     .default_text = "auto",
     .names = direct_io,
     .help = "O_DIRECT: auto falls back where the file system refuses it"},
    {.path = "store.keep_free",
     .type = MR_CONFIG_PERCENT,
     .offset = F(keep_free_hundredths),
     .default_text = "2%",
     .max = 9000,
     .help = "below this much free space no new movie and no credit"},
    {.path = "store.file_mode",
     .type = MR_CONFIG_OCTAL,
     .offset = F(file_mode),
     .default_text = "0640",
     .min = 0400,
     .max = 0777,
     .help = "of finished files, where no default ACL says otherwise"},
    {.path = "store.dir_mode",
     .type = MR_CONFIG_OCTAL,
     .offset = F(dir_mode),
     .default_text = "2750",
     .min = 0700,
     .max = 07777,
     .help = "of directories made, likewise"},
    {.path = "store.group",
     .type = MR_CONFIG_STRING,
     .offset = F(group),
     .default_text = "inherit",
     .min = 1,
     .max = 64,
     .help = "group of files and directories; inherit: the parent's"},
    {.path = "store.mtime",
     .type = MR_CONFIG_ENUM,
     .offset = F(mtime),
     .default_text = "source",
     .names = mtimes,
     .help = "finished files carry the source's time, or that of the commit"},
    {.path = "store.keep_revisions",
     .type = MR_CONFIG_DURATION,
     .offset = F(keep_revisions_ns),
     .default_text = "7d",
     .max = INT64_C(3650) * 86400 * SECOND,
     .help = "how long a replaced revision stays in .millrace/old"},
    {.path = "store.lease",
     .type = MR_CONFIG_DURATION,
     .offset = F(lease_ns),
     .default_text = "10s",
     .min = SECOND,
     .max = 300 * SECOND,
     .help = "after so long without a sign of life another server may take the store"},
    {.path = "store.standby",
     .type = MR_CONFIG_BOOL,
     .offset = F(standby),
     .default_text = "false",
     .help = "wait for the store while another server has it"},
    {.path = "store.verify_at_seal",
     .type = MR_CONFIG_BOOL,
     .offset = F(verify_at_seal),
     .default_text = "false",
     .help = "read every movie back from the disk before it is committed"},
    {.path = "memory.pool",
     .type = MR_CONFIG_SIZE,
     .offset = F(pool_bytes),
     .default_text = "512MiB",
     .min = 32 * MIB,
     .max = 1024 * 1024 * MIB,
     .help = "landing buffers and what ZeroMQ may hold, together"},
    {.path = "security.mode",
     .type = MR_CONFIG_ENUM,
     .offset = F(security),
     .default_text = "none",
     .names = security,
     .help = "none, or curve"},
    {.path = "security.allow_plaintext",
     .type = MR_CONFIG_BOOL,
     .offset = F(allow_plaintext),
     .default_text = "false",
     .help = "listen beyond loopback without encryption"},
    {.path = "webhooks",
     .type = MR_CONFIG_MAPS,
     .offset = F(webhooks),
     .default_text = "[]",
     .keys = webhook_table,
     .entry_bytes = sizeof(char *),
     .help = "must be empty in this version"},
    {.path = NULL},
};

/* ---- ports ---- */

/* Ports a key takes */
struct span {
    const char *key;
    struct mr_endpoint endpoint;
    uint32_t count;
};

static int parse_endpoint(const struct mr_config_places *places, const char *key, const char *text,
                          struct mr_endpoint *ret, struct mr_err *err)
{
    struct mr_err why = {0};
    if (mr_endpoint_parse(text, ret, &why) < 0)
        return mr_config_error(places, err, key, "%s", why.text);
    return 0;
}

static int check_ports(const struct mr_config_places *places, const struct mr_ingest_config *c,
                       const struct span *spans, size_t count, struct mr_err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct span *a = &spans[i];
        if (a->endpoint.port + a->count > 65536)
            return mr_config_error(places, err, a->key, "needs %u ports, up to %u", a->count,
                                   a->endpoint.port + a->count - 1);
        if (!c->allow_plaintext && !mr_endpoint_is_loopback(&a->endpoint))
            return mr_config_error(places, err, a->key,
                                   "%s is not loopback: set security.allow_plaintext: true if the "
                                   "network is trusted",
                                   a->endpoint.host);
        for (size_t j = 0; j < i; j++) {
            const struct span *b = &spans[j];
            if (a->endpoint.port < b->endpoint.port + b->count &&
                b->endpoint.port < a->endpoint.port + a->count)
                return mr_config_error(places, err, a->key,
                                       "ports %u to %u overlap those of %s (%u to %u)",
                                       a->endpoint.port, a->endpoint.port + a->count - 1, b->key,
                                       b->endpoint.port, b->endpoint.port + b->count - 1);
        }
    }
    return 0;
}

static int plan_ports(const struct mr_config_places *places, const struct mr_ingest_config *c,
                      struct mr_ingest_plan *p, struct mr_err *err)
{
    char http[MR_ENDPOINT_TEXT];
    struct span spans[3] = {{.key = "listen.control", .count = 1u + p->lanes},
                            {.key = "listen.events", .count = 2},
                            {.key = "listen.http", .count = 1}};
    int r = parse_endpoint(places, "listen.control", c->control, &spans[0].endpoint, err);
    if (r == 0)
        r = parse_endpoint(places, "listen.events", c->events, &spans[1].endpoint, err);
    snprintf(http, sizeof(http), "tcp://%s", c->http);
    if (r == 0)
        r = parse_endpoint(places, "listen.http", http, &spans[2].endpoint, err);
    if (r == 0)
        r = check_ports(places, c, spans, 3, err);
    if (r == 0)
        r = mr_endpoint_text(&spans[0].endpoint, 0, p->control);
    for (uint32_t i = 0; r == 0 && i < p->lanes; i++)
        r = mr_endpoint_text(&spans[0].endpoint, 1 + i, p->lane[i]);
    if (r == 0)
        r = mr_endpoint_text(&spans[1].endpoint, 0, p->events);
    if (r == 0)
        r = mr_endpoint_text(&spans[1].endpoint, 1, p->replay);
    snprintf(p->http, sizeof(p->http), "%s", c->http);
    return r;
}

/* ---- memory ---- */

/* pool >= lanes x (buffers x BUFFER_BYTES + credit in whole slabs): half to write from, half to
 * arrive. Of the latter an eighth is left to the heap that libzmq takes messages from: with many
 * agents it has holes. */
static int plan_memory(const struct mr_config_places *places, const struct mr_ingest_config *c,
                       struct mr_ingest_plan *p, struct mr_err *err)
{
    uint64_t units = c->pool_bytes / BUFFER_BYTES;
    uint64_t most = units / LANE_UNITS_MIN;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t lanes = c->lanes < 0 ? (uint64_t)(cores < 1 ? 1 : cores) : (uint64_t)c->lanes;
    if (c->lanes < 0 && lanes > LANES_AUTO_MAX)
        lanes = LANES_AUTO_MAX;
    if (c->lanes < 0 && lanes > most)
        lanes = most;
    if (lanes == 0 || lanes > most)
        return mr_config_error(places, err, "memory.pool",
                               "%llu MiB are too little for %llu lanes: each needs %llu",
                               (unsigned long long)(c->pool_bytes / MIB), (unsigned long long)lanes,
                               (unsigned long long)(LANE_UNITS_MIN * BUFFER_BYTES / MIB + 1));
    uint64_t of_lane = units / lanes;
    p->lanes = (uint16_t)lanes;
    p->buffer_bytes = BUFFER_BYTES;
    p->lane_buffers = (uint32_t)(of_lane - of_lane / 2);
    p->lane_budget = (of_lane / 2 - of_lane / 16) * MR_SLAB_COST_MAX;
    p->pool_used = lanes * (p->lane_buffers * BUFFER_BYTES + p->lane_budget);
    return 0;
}

/* ---- the whole ---- */

static int check(const struct mr_config_places *places, const struct mr_ingest_config *c,
                 struct mr_ingest_plan *plan, struct mr_err *err)
{
    struct mr_err why = {0};
    struct mr_naming *naming;
    if (mr_naming_new(c->path, c->site, &naming, &why) < 0)
        return mr_config_error(places, err, "store.path", "%s", why.text);
    mr_naming_free(naming);
    gid_t group;
    if (mr_store_find_group(c->group, &group, &why) < 0)
        return mr_config_error(places, err, "store.group", "%s", why.text);
    if (c->security != 0)
        return mr_config_error(places, err, "security.mode", "curve is not in this version yet");
    if (c->webhooks.count > 0)
        return mr_config_error(places, err, "webhooks",
                               "webhooks are not in this version yet; "
                               "`millrace-events --exec` runs a command per event");
    int r = plan_memory(places, c, plan, err);
    return r < 0 ? r : plan_ports(places, c, plan, err);
}

static int read_source(const struct mr_ingest_source *from, struct mr_ingest_config *c,
                       struct mr_config_places **ret_places, struct mr_err *err)
{
    static const char nothing[] = "";
    const struct mr_config_key *table = mr_ingest_config_table;
    int r = from->file != NULL
                ? mr_config_load(from->file, table, c, ret_places, err)
                : mr_config_parse("built-in defaults", nothing, 0, table, c, ret_places, err);
    /* a store that is tried out leaves nothing outside itself */
    if (r == 0 && from->file == NULL && mr_config_set_string(&c->state_dir, "") < 0)
        r = mr_err_errno(err, -ENOMEM, "configuration");
    if (r == 0 && from->store != NULL) {
        char assignment[4200];
        snprintf(assignment, sizeof(assignment), "store.root=%s", from->store);
        r = mr_config_override(table, c, *ret_places, "--store", assignment, err);
    }
    for (size_t i = 0; r == 0 && i < from->set_count; i++)
        r = mr_config_override(table, c, *ret_places, "--set", from->sets[i], err);
    return r;
}

int mr_ingest_config_load(const struct mr_ingest_source *from, struct mr_ingest_config *ret,
                          struct mr_ingest_plan *ret_plan, struct mr_err *err)
{
    struct mr_config_places *places = NULL;
    struct mr_ingest_config c = {0};
    memset(ret_plan, 0, sizeof(*ret_plan));
    int r = read_source(from, &c, &places, err);
    if (r == 0)
        r = check(places, &c, ret_plan, err);
    mr_config_places_free(places);
    if (r < 0) {
        mr_ingest_config_free(&c);
        return r;
    }
    *ret = c;
    return 0;
}

void mr_ingest_config_free(struct mr_ingest_config *c)
{
    mr_config_free(mr_ingest_config_table, c);
}

void mr_ingest_config_print(const struct mr_ingest_config *c, const struct mr_ingest_plan *p,
                            FILE *out)
{
    char a[MR_QUANTITY_TEXT], b[MR_QUANTITY_TEXT], d[MR_QUANTITY_TEXT], e[MR_QUANTITY_TEXT];
    mr_config_print(mr_ingest_config_table, c, out);
    fprintf(
        out,
        "\n# memory: %u lanes x (%u landing buffers x %s + %s of credit) = %s of memory.pool %s\n",
        p->lanes, p->lane_buffers, mr_text_size(p->buffer_bytes, a),
        mr_text_size(p->lane_budget, b), mr_text_size(p->pool_used, d),
        mr_text_size(c->pool_bytes, e));
    fprintf(out, "# limits: %u movies in flight, %u agents, %s a slab, %s a control message\n",
            MR_MOVIES_MAX, MR_CREDIT_SLOTS, mr_text_size(MR_SLAB_BYTES, a),
            mr_text_size(MR_CONTROL_BYTES_MAX, b));
    fprintf(out, "# ports: control %s\n", p->control);
    for (uint16_t i = 0; i < p->lanes; i++)
        fprintf(out, "# ports: lane %u %s\n", i, p->lane[i]);
    fprintf(out, "# ports: events %s\n# ports: replay %s\n# ports: http %s\n", p->events, p->replay,
            p->http);
}
