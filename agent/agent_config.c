/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's table of keys, and the plan made of them. Opens nothing but the file itself. */
#include "agent_config.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "consign.h"
#include "pack.h"
#include "wire/endpoint.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define F(field) offsetof(struct mr_agent_config, field)
#define W(field) offsetof(struct mr_agent_watch, field)
#define MIB      (INT64_C(1024) * 1024)
#define MS       INT64_C(1000000)
#define SECOND   INT64_C(1000000000)
#define DAY      (86400 * SECOND)

#define PACKERS_USUAL 2

#define BUFFERS_MIN 4 /* one read, one packed, one sent, one in ZeroMQ's hands */

static const char *const outputs[] = {"auto", "keep", "mrc", "hdf5", NULL};
static const char *const codecs[] = {"auto", "none", "bslz4", "bszstd", NULL};
static const char *const nices[] = {"inherit", NULL}; /* MR_GUEST_NICE_INHERIT */
static const char *const autos[] = {"auto", NULL};    /* MR_AGENT_PACKERS_AUTO */
static const char *const afters[] = {"keep", "delete", NULL};

static const char *refuse_zone(const char *text)
{
    return mr_clock_check_zone(text) == 0
               ? NULL
               : "must be local, UTC or a zone this machine knows, such as Europe/Berlin";
}

static const char *refuse_endpoint(const char *text)
{
    struct mr_endpoint endpoint;
    return mr_endpoint_parse(text, &endpoint, NULL) == 0 ? NULL : "must be tcp://host:port";
}

static const struct mr_config_key watch_table[] = {
    {.path = "path",
     .type = MR_CONFIG_STRING,
     .offset = W(path),
     .min = 1,
     .max = 3000,
     .refuse = mr_config_refuse_relative,
     .help = "the tree to watch"},
    {.path = "include",
     .type = MR_CONFIG_STRINGS,
     .offset = W(include),
     .default_text = "[\"*\"]",
     .max = 1000,
     .help = "globs on the path below `path`: what is shipped"},
    {.path = "exclude",
     .type = MR_CONFIG_STRINGS,
     .offset = W(exclude),
     .default_text = "[\"*.tmp\", \".*\", \"Thumbs.db\", \"desktop.ini\", \"$RECYCLE.BIN/*\", "
                     "\"System Volume Information/*\"]",
     .max = 1000,
     .help = "globs: what is not"},
    {.path = "output",
     .type = MR_CONFIG_ENUM,
     .offset = W(output),
     .default_text = "auto",
     .names = outputs,
     .help = "how movies are stored"},
    {.path = "complete.quiet",
     .type = MR_CONFIG_DURATION,
     .offset = W(quiet_ns),
     .default_text = "30s",
     .min = 10 * MS,
     .max = DAY,
     .help = "last resort: unchanged for so long and nothing contradicts"},
    {.path = "complete.give_up",
     .type = MR_CONFIG_DURATION,
     .offset = W(give_up_ns),
     .default_text = "10min",
     .min = 10 * MS,
     .max = 30 * DAY,
     .help = "header and size still disagree so long after the last change: failed"},
    {.path = "rescan",
     .type = MR_CONFIG_DURATION,
     .offset = W(rescan_ns),
     .default_text = "10s",
     .min = 10 * MS,
     .max = DAY,
     .help = "list the tree so often whatever inotify says"},
    {.path = "source_after_commit",
     .type = MR_CONFIG_ENUM,
     .offset = W(source_after_commit),
     .default_text = "keep",
     .names = afters,
     .help = "keep: files stay; delete: they are unlinked as `purge` says"},
    {.path = "purge.after",
     .type = MR_CONFIG_DURATION,
     .offset = W(purge.after_ns),
     .default_text = "24h",
     .max = 3650 * DAY,
     .help = "delete: not before so long after COMMITTED"},
    {.path = "purge.when_free_below",
     .type = MR_CONFIG_PERCENT,
     .offset = W(purge.when_free_below),
     .default_text = "100%",
     .max = 10000,
     .help = "delete: only while less of the file system is free; 100%: always"},
    {.path = "purge.allow_converted",
     .type = MR_CONFIG_BOOL,
     .offset = W(purge.allow_converted),
     .default_text = "false",
     .help = "delete: also what was stored as mrc or hdf5, so not byte for byte"},
    {.path = "purge.exclude",
     .type = MR_CONFIG_STRINGS,
     .offset = W(purge.exclude),
     .default_text = "[]",
     .max = 1000,
     .help = "delete: globs: what is never unlinked, besides gain references"},
    {.path = NULL},
};

const struct mr_config_key mr_agent_config_table[] = {
    {.path = "agent.name",
     .type = MR_CONFIG_STRING,
     .offset = F(name),
     .default_text = "k3-krios1",
     .min = 1,
     .max = 64,
     .refuse = mr_config_refuse_name,
     .help = "this camera host's name in the store"},
    {.path = "agent.state_dir",
     .type = MR_CONFIG_STRING,
     .offset = F(state_dir),
     .default_text = "/var/lib/millrace-agent",
     .min = 1,
     .max = 1024,
     .refuse = mr_config_refuse_relative,
     .help = "the journal: which file is which movie"},
    {.path = "agent.timezone",
     .type = MR_CONFIG_STRING,
     .offset = F(timezone),
     .default_text = "local",
     .min = 1,
     .max = 64,
     .refuse = refuse_zone,
     .help = "of {date}: local, UTC or a name such as Europe/Berlin"},
    {.path = "server.endpoint",
     .type = MR_CONFIG_STRINGS,
     .offset = F(endpoints),
     .default_text = "[\"tcp://127.0.0.1:5570\"]",
     .min = 1,
     .max = 16,
     .refuse = refuse_endpoint,
     .help = "the server's control port; several are tried in turn"},
    {.path = "server.codec",
     .type = MR_CONFIG_ENUM,
     .offset = F(codec),
     .default_text = "auto",
     .names = codecs,
     .help = "compression on the way, and of hdf5 in the store"},
    {.path = "memory.pool",
     .type = MR_CONFIG_SIZE,
     .offset = F(pool_bytes),
     .default_text = "512MiB",
     .min = 16 * MIB,
     .max = 1024 * 1024 * MIB,
     .help = "slabs on their way through the agent"},
    {.path = "host.cpus",
     .type = MR_CONFIG_STRING,
     .offset = F(host.cpus),
     .default_text = "all",
     .min = 1,
     .max = 1024,
     .refuse = mr_guest_refuse_cpus,
     .help = "CPUs it runs on: all that it may, or a list such as \"2-5,8\""},
    {.path = "host.nice",
     .type = MR_CONFIG_INT,
     .offset = F(host.nice),
     .default_text = "inherit",
     .max = 19,
     .names = nices,
     .help = "nice value: inherit, or 0 to 19"},
    {.path = "host.io",
     .type = MR_CONFIG_STRING,
     .offset = F(host.io),
     .default_text = "inherit",
     .min = 1,
     .max = 64,
     .refuse = mr_guest_refuse_io,
     .help = "class of I/O: inherit, idle, best-effort or best-effort:0 to :7"},
    {.path = "host.pack_threads",
     .type = MR_CONFIG_INT,
     .offset = F(host.pack_threads),
     .default_text = "auto",
     .min = 1,
     .max = MR_AGENT_PACKERS_MAX,
     .names = autos,
     .help = "threads that checksum and compress; never more than CPUs. auto: up to 2"},
    {.path = "host.uncache",
     .type = MR_CONFIG_BOOL,
     .offset = F(host.uncache),
     .default_text = "true",
     .help = "what is shipped leaves the page cache"},
    {.path = "watch",
     .type = MR_CONFIG_MAPS,
     .offset = F(watches),
     .default_text = NULL,
     .min = 1,
     .max = MR_AGENT_WATCHES_MAX,
     .keys = watch_table,
     .entry_bytes = sizeof(struct mr_agent_watch),
     .help = "the trees to watch"},
    {.path = NULL},
};

/* More threads than CPUs only wait for each other. */
static uint32_t packers(const struct mr_agent_config *c, size_t cpus)
{
    size_t wanted = c->host.pack_threads == MR_AGENT_PACKERS_AUTO ? PACKERS_USUAL
                                                                  : (size_t)c->host.pack_threads;
    return (uint32_t)(wanted < cpus ? wanted : cpus);
}

static int plan_cpus(const struct mr_config_places *places, const struct mr_agent_config *c,
                     struct mr_agent_plan *ret, struct mr_err *err)
{
    struct mr_guest_cpus inherited;
    struct mr_err why = {0};
    int r = mr_guest_cpus_inherited(&inherited);
    if (r < 0)
        return mr_err_errno(err, r, "the CPUs of this process");
    if (mr_guest_cpus_parse(c->host.cpus, &inherited, &ret->cpus, &why) < 0)
        return mr_config_error(places, err, "host.cpus", "%s", why.text);
    ret->packers = packers(c, mr_guest_cpus_count(&ret->cpus));
    return 0;
}

static void plan(const struct mr_agent_config *c, struct mr_agent_plan *ret)
{
    ret->buffer_bytes = MR_PARCEL_BYTES;
    ret->buffers = (uint32_t)(c->pool_bytes / MR_PARCEL_BYTES);
    if (ret->buffers < BUFFERS_MIN)
        ret->buffers = BUFFERS_MIN;
    ret->pool_used = ret->buffers * ret->buffer_bytes;
}

static int check_watch(const struct mr_config_places *places, const struct mr_agent_watch *watches,
                       size_t index, struct mr_err *err)
{
    char key[64];
    const struct mr_agent_watch *w = &watches[index];
    for (size_t j = 0; j < index; j++) {
        snprintf(key, sizeof(key), "watch[%zu].path", index);
        if (strcmp(watches[j].path, w->path) == 0)
            return mr_config_error(places, err, key, "%s is watched already by watch[%zu]", w->path,
                                   j);
    }
    return 0;
}

/* Length of the next part of *path, to which that moves on; 0: there is none. "/./" is "/". */
static size_t next_part(const char **path)
{
    size_t length;
    for (;; *path += length) {
        *path += strspn(*path, "/");
        length = strcspn(*path, "/");
        if (length != 1 || **path != '.')
            return length;
    }
}

/* `inner` is `outer` or lies in it. */
static bool lies_in(const char *inner, const char *outer)
{
    for (size_t a, b; a = next_part(&inner), (b = next_part(&outer)) > 0; inner += a, outer += b)
        if (a != b || memcmp(inner, outer, a) != 0)
            return false;
    return true;
}

/* Where that leads only the file system knows. */
static bool goes_up(const char *path)
{
    for (size_t length; (length = next_part(&path)) > 0; path += length)
        if (length == 2 && path[0] == '.' && path[1] == '.')
            return true;
    return false;
}

/* What one watch has committed another may still have to ship; and the journal must not go. */
static int check_delete(const struct mr_config_places *places, const struct mr_agent_config *c,
                        size_t index, struct mr_err *err)
{
    char key[64];
    const struct mr_agent_watch *watches = c->watches.items, *w = &watches[index];
    if (w->source_after_commit != MR_AFTER_DELETE)
        return 0;
    snprintf(key, sizeof(key), "watch[%zu].source_after_commit", index);
    if ((w->output == MR_WISH_MRC || w->output == MR_WISH_HDF5) && !w->purge.allow_converted)
        return mr_config_error(places, err, key,
                               "output %s does not keep the file's bytes: the source would be the "
                               "only place they are; use keep, or set purge.allow_converted",
                               outputs[w->output]);
    const char *up = goes_up(c->state_dir) ? c->state_dir : NULL;
    for (size_t j = 0; j < c->watches.count; j++)
        up = goes_up(watches[j].path) ? watches[j].path : up;
    if (up != NULL)
        return mr_config_error(places, err, key,
                               "%s: write it without \"..\": it hides what lies in what", up);
    if (lies_in(c->state_dir, w->path))
        return mr_config_error(places, err, key, "agent.state_dir %s lies in it", c->state_dir);
    for (size_t j = 0; j < c->watches.count; j++)
        if (j != index && (lies_in(watches[j].path, w->path) || lies_in(w->path, watches[j].path)))
            return mr_config_error(places, err, key,
                                   "%s, of watch[%zu], overlaps: a file in both would go when one "
                                   "of them has it",
                                   watches[j].path, j);
    return 0;
}

/* A host's name may hold what an agent's may not. */
static void host_name(char *ret, size_t size)
{
    if (gethostname(ret, size) < 0 || ret[0] == '\0')
        snprintf(ret, size, "push");
    ret[size - 1] = '\0';
    for (char *c = ret; *c != '\0'; c++) {
        char one[2] = {*c, '\0'};
        if (!mr_text_is_plain(one))
            *c = '-';
    }
}

static int set_one(struct mr_agent_config *c, struct mr_config_places *places, const char *option,
                   const char *key, const char *value, struct mr_err *err)
{
    char assignment[512];
    if (value == NULL)
        return 0;
    snprintf(assignment, sizeof(assignment), "%s=%s", key, value);
    return mr_config_override(mr_agent_config_table, c, places, option, assignment, err);
}

static int add_endpoint(struct mr_config_strings *list, const char *text, struct mr_err *err)
{
    const char *why = refuse_endpoint(text);
    if (why != NULL)
        return mr_err_set(err, -EINVAL, "--server: %s %s", text, why);
    char **more = realloc(list->items, (list->count + 2) * sizeof(*more));
    char *copy = more == NULL ? NULL : strdup(text);
    if (more != NULL)
        list->items = more;
    if (copy == NULL)
        return mr_err_errno(err, -ENOMEM, "configuration");
    more[list->count++] = copy;
    more[list->count] = NULL;
    return 0;
}

/* "tcp://a:1,tcp://b:1": where one does not answer the next is tried. */
static int set_endpoints(struct mr_agent_config *c, struct mr_config_places *places,
                         const char *texts, struct mr_err *err)
{
    char list[512], *rest = list;
    if (texts == NULL)
        return 0;
    if (snprintf(list, sizeof(list), "%s", texts) >= (int)sizeof(list))
        return mr_err_set(err, -EINVAL, "--server: too long");
    const char *first = strsep(&rest, ",");
    int r = set_one(c, places, "--server", "server.endpoint", first, err);
    while (r == 0 && rest != NULL)
        r = add_endpoint(&c->endpoints, strsep(&rest, ","), err);
    return r;
}

/* A push names its trees itself and ignores the watch, which the table wants. */
static int read_defaults(const struct mr_agent_source *from, struct mr_agent_config *c,
                         struct mr_config_places **ret_places, struct mr_err *err)
{
    static const char least[] = "memory: {pool: 64MiB}\n" /* touched at start: a push is short */
                                "watch: [{path: /}]\n";
    char host[65];
    host_name(host, sizeof(host));
    int r = mr_config_parse("built-in defaults", least, sizeof(least) - 1, mr_agent_config_table, c,
                            ret_places, err);
    if (r == 0 && mr_config_set_string(&c->name, host) < 0)
        r = mr_err_errno(err, -ENOMEM, "configuration");
    if (r == 0)
        r = set_one(c, *ret_places, "--agent", "agent.name", from->name, err);
    if (r == 0)
        r = set_endpoints(c, *ret_places, from->endpoint, err);
    if (r == 0)
        r = set_one(c, *ret_places, "--codec", "server.codec", from->codec, err);
    return r;
}

int mr_agent_config_load(const struct mr_agent_source *from, struct mr_agent_config *ret,
                         struct mr_agent_plan *ret_plan, struct mr_err *err)
{
    struct mr_config_places *places = NULL;
    struct mr_agent_config c = {0};
    int r = from->file == NULL
                ? read_defaults(from, &c, &places, err)
                : mr_config_load(from->file, mr_agent_config_table, &c, &places, err);
    for (size_t i = 0; r == 0 && i < from->set_count; i++)
        r = mr_config_override(mr_agent_config_table, &c, places, "--set", from->sets[i], err);
    for (size_t i = 0; r == 0 && i < c.watches.count; i++)
        r = check_watch(places, c.watches.items, i, err);
    for (size_t i = 0; r == 0 && i < c.watches.count; i++)
        r = check_delete(places, &c, i, err);
    if (r == 0)
        r = plan_cpus(places, &c, ret_plan, err);
    mr_config_places_free(places);
    if (r < 0) {
        mr_agent_config_free(&c);
        return r;
    }
    plan(&c, ret_plan);
    *ret = c;
    return 0;
}

void mr_agent_config_free(struct mr_agent_config *c)
{
    mr_config_free(mr_agent_config_table, c);
}

int mr_agent_config_apply(const struct mr_agent_config *c, const struct mr_agent_plan *p,
                          struct mr_err *err)
{
    char cpus[MR_GUEST_CPUS_TEXT];
    struct mr_err why = {0};
    if (strcmp(c->host.cpus, "all") != 0) {
        int r = mr_guest_use_cpus(&p->cpus, err);
        if (r < 0)
            return r;
        mr_info("agent", "host.cpus: %s", mr_guest_cpus_text(&p->cpus, cpus));
    }
    if (mr_guest_use_nice((int)c->host.nice, &why) < 0)
        mr_warn("agent", "%s", why.text);
    else if (c->host.nice != MR_GUEST_NICE_INHERIT)
        mr_info("agent", "host.nice: %d", (int)c->host.nice);
    if (mr_guest_use_io(c->host.io, &why) < 0)
        mr_warn("agent", "%s", why.text);
    else if (strcmp(c->host.io, "inherit") != 0)
        mr_info("agent", "host.io: %s", c->host.io);
    if ((int64_t)p->packers < c->host.pack_threads)
        mr_warn("agent", "host.pack_threads: %lld, but there are %u CPUs: so many threads",
                (long long)c->host.pack_threads, p->packers);
    return 0;
}

bool mr_agent_frees(const struct mr_agent_watch *watches, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (watches[i].source_after_commit == MR_AFTER_DELETE)
            return true;
    return false;
}

void mr_agent_config_print(const struct mr_agent_config *c, const struct mr_agent_plan *p,
                           FILE *out)
{
    char a[MR_QUANTITY_TEXT], b[MR_QUANTITY_TEXT], d[MR_QUANTITY_TEXT];
    char cpus[MR_GUEST_CPUS_TEXT];
    mr_config_print(mr_agent_config_table, c, out);
    fprintf(out, "\n# memory: %u slabs x %s = %s of memory.pool %s\n", p->buffers,
            mr_text_size(p->buffer_bytes, a), mr_text_size(p->pool_used, b),
            mr_text_size(c->pool_bytes, d));
    fprintf(out, "# threads: watch, tail, uplink, %u x pack%s%s, on %zu CPUs: %s\n", p->packers,
            c->host.uncache ? ", uncache" : "",
            mr_agent_frees(c->watches.items, c->watches.count) ? ", purge" : "",
            mr_guest_cpus_count(&p->cpus), mr_guest_cpus_text(&p->cpus, cpus));
    fprintf(out, "# limits: %u movies under way, or %u small files; %s a slab\n",
            MR_AGENT_MOVIES_MAX, MR_AGENT_MOVIES_MAX * MR_CONSIGN_SMALL,
            mr_text_size(p->buffer_bytes, a));
    for (size_t i = 0; i < c->endpoints.count; i++)
        fprintf(out, "# ports: to %s and the data lanes it names\n", c->endpoints.items[i]);
}

int mr_agent_parse_output(const char *word, int *ret)
{
    for (int i = 0; outputs[i] != NULL; i++)
        if (strcmp(word, outputs[i]) == 0) {
            *ret = i;
            return 0;
        }
    return -EINVAL;
}
