/* SPDX-License-Identifier: Apache-2.0 */
/* ingest.yaml: the shipped file is complete; what is wrong is named with its place. */
#include "ingest_config.h"

#include "scratch.h"
#include "suite.h"

#include <errno.h>

static int load(const char *yaml, const char *const *sets, size_t count,
                struct mr_ingest_config *ret, struct mr_ingest_plan *plan, struct mr_err *err)
{
    struct scratch s = scratch_make();
    char path[128];
    scratch_append(&s, "i.yaml", yaml);
    snprintf(path, sizeof(path), "%s/i.yaml", s.path);
    const struct mr_ingest_source from = {.file = path, .sets = sets, .set_count = count};
    int r = mr_ingest_config_load(&from, ret, plan, err);
    scratch_remove(&s);
    return r;
}

static void refused(const char *yaml, const char *why)
{
    struct mr_ingest_config c;
    struct mr_ingest_plan plan;
    struct mr_err err = {0};
    ck_assert_int_eq(load(yaml, NULL, 0, &c, &plan, &err), -EINVAL);
    ck_assert_msg(strstr(err.text, why) != NULL, "'%s' is not in '%s'", why, err.text);
    ck_assert_msg(strstr(err.text, "i.yaml:") != NULL, "no place: %s", err.text);
}

/* One lane, whatever this machine has. */
static void set_refused(const char *set, const char *why)
{
    const char *const sets[] = {"listen.lanes=1", set};
    struct mr_ingest_config c;
    struct mr_ingest_plan plan;
    struct mr_err err = {0};
    const struct mr_ingest_source from = {.store = "/tmp/x", .sets = sets, .set_count = 2};
    ck_assert_int_eq(mr_ingest_config_load(&from, &c, &plan, &err), -EINVAL);
    ck_assert_str_eq(err.text, why);
}

START_TEST(shipped_file_is_complete_and_equals_the_defaults)
{
    struct mr_ingest_config c;
    struct mr_ingest_plan plan;
    struct mr_config_places *places;
    struct mr_err err = {0};
    const char *file = MR_SOURCE_DIR "/conf/ingest.yaml";
    ck_assert_msg(mr_config_load(file, mr_ingest_config_table, &c, &places, &err) == 0, "%s",
                  err.text);
    ck_assert_msg(mr_config_check_complete(mr_ingest_config_table, &c, places, &err) == 0, "%s",
                  err.text);
    mr_config_places_free(places);
    mr_ingest_config_free(&c);
    const struct mr_ingest_source from = {.file = file};
    ck_assert_msg(mr_ingest_config_load(&from, &c, &plan, &err) == 0, "%s", err.text);
    mr_ingest_config_free(&c);
}
END_TEST

START_TEST(a_store_alone_is_enough)
{
    struct mr_ingest_config c;
    struct mr_ingest_plan plan;
    struct mr_err err = {0};
    const struct mr_ingest_source from = {.store = "/data/try it"};
    ck_assert_msg(mr_ingest_config_load(&from, &c, &plan, &err) == 0, "%s", err.text);
    ck_assert_str_eq(c.root, "/data/try it");
    ck_assert_str_eq(c.state_dir, "");
    ck_assert_str_eq(plan.control, "tcp://127.0.0.1:5570");
    mr_ingest_config_free(&c);
}
END_TEST

START_TEST(ports_follow_from_control_and_events)
{
    struct mr_ingest_config c;
    struct mr_ingest_plan plan;
    struct mr_err err = {0};
    ck_assert_msg(load("listen: {control: \"tcp://127.0.0.1:7000\", lanes: 3,"
                       " events: \"tcp://127.0.0.1:7004\"}\n",
                       NULL, 0, &c, &plan, &err) == 0,
                  "%s", err.text);
    ck_assert_uint_eq(plan.lanes, 3);
    ck_assert_str_eq(plan.lane[0], "tcp://127.0.0.1:7001");
    ck_assert_str_eq(plan.lane[2], "tcp://127.0.0.1:7003");
    ck_assert_str_eq(plan.replay, "tcp://127.0.0.1:7005");
    mr_ingest_config_free(&c);
}
END_TEST

START_TEST(overlapping_ports_are_refused)
{
    refused("listen: {control: \"tcp://127.0.0.1:7000\", lanes: 4,"
            " events: \"tcp://127.0.0.1:7004\"}\n",
            "listen.events: ports 7004 to 7005 overlap those of listen.control (7000 to 7004)");
    refused("listen: {http: \"127.0.0.1:5581\"}\n",
            "listen.http: ports 5581 to 5581 overlap those of listen.events");
    refused("listen: {control: \"tcp://127.0.0.1:65533\", lanes: 4}\n", "up to 65537");
    refused("listen: {control: \"udp://127.0.0.1:7\"}\n", "listen.control");
    refused("listen: {http: \"here\"}\n", "listen.http");
}
END_TEST

START_TEST(beyond_loopback_needs_a_word)
{
    struct mr_ingest_config c;
    struct mr_ingest_plan plan;
    struct mr_err err = {0};
    refused("listen: {control: \"tcp://10.0.0.5:5570\"}\n", "allow_plaintext");
    refused("listen: {http: \"*:8570\"}\n", "listen.http: * is not loopback");
    ck_assert_msg(load("listen: {control: \"tcp://10.0.0.5:5570\"}\n"
                       "security: {allow_plaintext: true}\n",
                       NULL, 0, &c, &plan, &err) == 0,
                  "%s", err.text);
    mr_ingest_config_free(&c);
    refused("security: {mode: curve}\n", "security.mode: curve is not in this version");
}
END_TEST

START_TEST(pool_is_a_sum_of_its_terms)
{
    static const char *const pools[] = {"32MiB", "64MiB", "100MiB", "512MiB", "4GiB"};
    for (size_t i = 0; i < sizeof(pools) / sizeof(pools[0]); i++) {
        struct mr_ingest_config c;
        struct mr_ingest_plan plan;
        struct mr_err err = {0};
        char yaml[64];
        snprintf(yaml, sizeof(yaml), "memory: {pool: %s}\n", pools[i]);
        ck_assert_msg(load(yaml, NULL, 0, &c, &plan, &err) == 0, "%s", err.text);
        ck_assert_uint_eq(plan.pool_used,
                          plan.lanes * (plan.lane_buffers * plan.buffer_bytes + plan.lane_budget));
        ck_assert_uint_le(plan.pool_used, c.pool_bytes);
        ck_assert_uint_ge(plan.lane_buffers, 2);
        ck_assert_uint_gt(plan.lane_budget, 0);
        mr_ingest_config_free(&c);
    }
    refused("memory: {pool: 16MiB}\n", "memory.pool");
    refused("memory: {pool: 64MiB}\nlisten: {lanes: 4}\n", "too little for 4 lanes");
}
END_TEST

START_TEST(slips_are_named_with_their_place)
{
    refused("store:\n  rot: /data\n", "i.yaml:2:3: store.rot: unknown key; did you mean root?");
    refused("store: {root: data}\n", "store.root: \"data\": must be an absolute path");
    refused("store: {path: \"{agent}/{pth}\"}\n", "store.path: ");
    refused("store: {path: \"../{path}\"}\n", "store.path: ");
    refused("store: {keep_free: 95%}\n", "store.keep_free");
    refused("store: {file_mode: 0999}\n", "store.file_mode");
    refused("store: {direct_io: maybe}\n", "store.direct_io");
    refused("ingest: {name: \"a b\"}\n", "ingest.name");
    refused("listen: {lanes: 65}\n", "listen.lanes");
    refused("webhooks: [{url: \"http://127.0.0.1/\"}]\n", "millrace-events --exec");
}
END_TEST

START_TEST(set_goes_over_the_file)
{
    static const char *const sets[] = {"memory.pool=64MiB", "store.path={site}/{path}",
                                       "listen.lanes=2", "ingest.site=north", "memory.pool=128MiB"};
    struct mr_ingest_config c;
    struct mr_ingest_plan plan;
    struct mr_err err = {0};
    ck_assert_msg(load("memory: {pool: 1GiB}\nlisten: {lanes: 4}\n", sets, 5, &c, &plan, &err) == 0,
                  "%s", err.text);
    ck_assert_uint_eq(c.pool_bytes, 128u << 20);
    ck_assert_str_eq(c.path, "{site}/{path}");
    ck_assert_str_eq(c.site, "north");
    ck_assert_uint_eq(plan.lanes, 2);
    mr_ingest_config_free(&c);
}
END_TEST

START_TEST(set_is_checked_like_the_file)
{
    set_refused("memory.pol=1GiB", "--set: memory.pol: unknown key; did you mean memory.pool?");
    set_refused("nothing", "--set: nothing: is no key=value");
    set_refused("listen.control=tcp://127.0.0.1:5581",
                "built-in defaults: listen.events: ports 5580 to 5581 overlap those of "
                "listen.control (5581 to 5582)");
    set_refused("listen.http=127.0.0.1:5570",
                "--set: listen.http: ports 5570 to 5570 overlap those of listen.control (5570 to "
                "5571)");
    set_refused("webhooks=[{url: x}]",
                "--set: webhooks: webhooks are not in this version yet; `millrace-events --exec` "
                "runs a command per event");
}
END_TEST

static int set_one(const char *set, struct mr_ingest_config *c, struct mr_ingest_plan *plan,
                   struct mr_err *err)
{
    const char *const sets[] = {"memory.pool=4GiB", "listen.lanes=1", set};
    const struct mr_ingest_source from = {.store = "/tmp/x", .sets = sets, .set_count = 3};
    *err = (struct mr_err){0};
    return mr_ingest_config_load(&from, c, plan, err);
}

/* Each limit: at it, and one beyond. */
START_TEST(values_have_limits)
{
    static const struct {
        const char *set;
        bool fits;
    } cases[] = {{"listen.lanes=0", false},
                 {"listen.lanes=1", true},
                 {"listen.lanes=9", true},
                 {"listen.lanes=65", false},
                 {"listen.lanes=-1", false},
                 {"listen.lanes=auto", true},
                 {"store.keep_free=0%", true},
                 {"store.keep_free=90%", true},
                 {"store.keep_free=90.01%", false},
                 {"store.file_mode=0400", true},
                 {"store.file_mode=0377", false},
                 {"store.file_mode=0777", true},
                 {"store.file_mode=1000", false},
                 {"store.dir_mode=0700", true},
                 {"store.dir_mode=0677", false},
                 {"store.dir_mode=7777", true},
                 {"store.dir_mode=10000", false},
                 {"store.lease=1s", true},
                 {"store.lease=999ms", false},
                 {"store.lease=300s", true},
                 {"store.lease=301s", false},
                 {"store.keep_revisions=0s", true},
                 {"store.keep_revisions=3650d", true},
                 {"store.keep_revisions=3651d", false},
                 {"memory.pool=32MiB", true},
                 {"memory.pool=31MiB", false},
                 {"memory.pool=1TiB", true},
                 {"memory.pool=1025GiB", false},
                 {"store.group=", false},
                 {"store.group=no such group", false},
                 {"store.path=", false},
                 {"store.path={path}", true},
                 {"store.root=relative", false},
                 {"ingest.state_dir=relative", false},
                 {"ingest.state_dir=", true},
                 {"ingest.name=", false},
                 {"ingest.site=", true},
                 {"ingest.site=a/b", false},
                 {"store.mtime=commit", true},
                 {"store.mtime=never", false},
                 {"security.mode=curve", false},
                 {"webhooks=[]", true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mr_ingest_config c;
        struct mr_ingest_plan plan;
        struct mr_err err;
        char key[64];
        (void)snprintf(key, sizeof(key), "%.*s", (int)strcspn(cases[i].set, "="), cases[i].set);
        int r = set_one(cases[i].set, &c, &plan, &err);
        ck_assert_msg(r == (cases[i].fits ? 0 : -EINVAL), "%s: %d %s", cases[i].set, r, err.text);
        if (r == 0)
            mr_ingest_config_free(&c);
        else
            ck_assert_msg(strstr(err.text, key) != NULL, "%s: %s", cases[i].set, err.text);
    }
}
END_TEST

/* A value of its own for each key, and where it is to be found. */
START_TEST(each_key_has_its_field)
{
    static const char yaml[] =
        "ingest: {name: n1, site: s1, state_dir: /st}\n"
        "listen: {control: \"tcp://127.0.0.1:7000\", lanes: 2, events: \"tcp://127.0.0.1:7010\",\n"
        "  http: \"127.0.0.1:7020\"}\n"
        "store: {root: /r, path: \"x/{name}\", direct_io: off, keep_free: 7.5%, file_mode: 0444,\n"
        "  dir_mode: 0711, group: root, mtime: commit, keep_revisions: 3h, lease: 22s,\n"
        "  standby: true, verify_at_seal: true}\n"
        "memory: {pool: 100MiB}\n"
        "security: {mode: none, allow_plaintext: true}\n";
    struct mr_ingest_config c;
    struct mr_ingest_plan plan;
    struct mr_err err = {0};
    ck_assert_msg(load(yaml, NULL, 0, &c, &plan, &err) == 0, "%s", err.text);
    ck_assert_str_eq(c.name, "n1");
    ck_assert_str_eq(c.site, "s1");
    ck_assert_str_eq(c.state_dir, "/st");
    ck_assert_str_eq(c.control, "tcp://127.0.0.1:7000");
    ck_assert_str_eq(c.events, "tcp://127.0.0.1:7010");
    ck_assert_str_eq(c.http, "127.0.0.1:7020");
    ck_assert_int_eq(c.lanes, 2);
    ck_assert_str_eq(c.root, "/r");
    ck_assert_str_eq(c.path, "x/{name}");
    ck_assert_str_eq(c.group, "root");
    ck_assert_int_eq(c.direct_io, 2);
    ck_assert_int_eq(c.mtime, 1);
    ck_assert_uint_eq(c.keep_free_hundredths, 750);
    ck_assert_uint_eq(c.file_mode, 0444);
    ck_assert_uint_eq(c.dir_mode, 0711);
    ck_assert_int_eq(c.keep_revisions_ns, INT64_C(3) * 3600 * 1000000000);
    ck_assert_int_eq(c.lease_ns, INT64_C(22) * 1000000000);
    ck_assert(c.standby && c.verify_at_seal && c.allow_plaintext);
    ck_assert_uint_eq(c.pool_bytes, UINT64_C(100) << 20);
    ck_assert_int_eq(c.security, 0);
    ck_assert_uint_eq(c.webhooks.count, 0);
    ck_assert_str_eq(plan.control, "tcp://127.0.0.1:7000");
    ck_assert_str_eq(plan.events, "tcp://127.0.0.1:7010");
    ck_assert_str_eq(plan.http, "127.0.0.1:7020");
    mr_ingest_config_free(&c);
}
END_TEST

/* Ports that touch do not overlap; one more does. */
START_TEST(ports_may_touch)
{
    static const struct {
        int control, lanes, events, http;
        bool fits;
    } cases[] = {
        {7000, 3, 7004, 7006, true},  {7000, 4, 7004, 7006, false},  {7002, 1, 7000, 7004, true},
        {7001, 1, 7000, 7004, false}, {7000, 1, 7002, 7001, false},  {7000, 1, 7003, 7002, true},
        {7000, 1, 7002, 7003, false}, {65534, 1, 7000, 7002, true},  {65535, 1, 7000, 7002, false},
        {7000, 1, 65534, 7002, true}, {7000, 1, 65535, 7002, false}, {7000, 1, 7002, 65535, true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mr_ingest_config c;
        struct mr_ingest_plan plan;
        struct mr_err err = {0};
        char yaml[256];
        (void)snprintf(yaml, sizeof(yaml),
                       "listen: {control: \"tcp://127.0.0.1:%d\", lanes: %d, "
                       "events: \"tcp://127.0.0.1:%d\", http: \"127.0.0.1:%d\"}\n",
                       cases[i].control, cases[i].lanes, cases[i].events, cases[i].http);
        int r = load(yaml, NULL, 0, &c, &plan, &err);
        ck_assert_msg(r == (cases[i].fits ? 0 : -EINVAL), "case %zu: %s", i, err.text);
        if (r == 0)
            mr_ingest_config_free(&c);
    }
}
END_TEST

/* Of a pool that one lane has to itself: buffers, and slabs of credit. */
START_TEST(a_pool_is_dealt_out_in_whole_buffers)
{
    static const struct {
        unsigned mib, lanes, buffers, credit; /* credit 0: too little */
    } cases[] = {{32, 1, 4, 3},    {64, 1, 8, 7},   {64, 3, 3, 2},  {64, 4, 0, 0},
                 {512, 1, 63, 56}, {512, 31, 2, 2}, {512, 32, 0, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mr_ingest_config c;
        struct mr_ingest_plan plan;
        struct mr_err err = {0};
        char yaml[128];
        (void)snprintf(
            yaml, sizeof(yaml),
            "memory: {pool: %uMiB}\nlisten: {lanes: %u, control: \"tcp://127.0.0.1:7000\"}\n",
            cases[i].mib, cases[i].lanes);
        int r = load(yaml, NULL, 0, &c, &plan, &err);
        ck_assert_msg(r == (cases[i].credit > 0 ? 0 : -EINVAL), "case %zu: %s", i, err.text);
        if (r < 0)
            continue;
        ck_assert_msg(plan.lane_buffers == cases[i].buffers &&
                          plan.lane_budget == cases[i].credit * (uint64_t)MR_SLAB_COST_MAX,
                      "case %zu: %u buffers, %llu of credit", i, plan.lane_buffers,
                      (unsigned long long)(plan.lane_budget / MR_SLAB_COST_MAX));
        mr_ingest_config_free(&c);
    }
}
END_TEST

START_TEST(print_tells_every_port_and_sum)
{
    struct mr_ingest_config c;
    struct mr_ingest_plan plan;
    struct mr_err err;
    char *text = NULL;
    size_t bytes;
    ck_assert_int_eq(set_one("listen.lanes=2", &c, &plan, &err), 0);
    FILE *out = open_memstream(&text, &bytes);
    mr_ingest_config_print(&c, &plan, out);
    ck_assert_int_eq(fclose(out), 0);
    static const char *const words[] = {
        "\n# memory: 2 lanes x (",
        "of memory.pool 4GiB\n",
        "\n# limits: 2048 movies in flight, 256 agents, 4MiB a slab",
        "\n# ports: control tcp://127.0.0.1:5570\n",
        "\n# ports: lane 0 tcp://127.0.0.1:5571\n",
        "\n# ports: lane 1 tcp://127.0.0.1:5572\n",
        "\n# ports: events tcp://127.0.0.1:5580\n",
        "\n# ports: replay tcp://127.0.0.1:5581\n",
        "\n# ports: http 127.0.0.1:8570\n"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        ck_assert_msg(strstr(text, words[i]) != NULL, "no \"%s\" in:\n%s", words[i], text);
    free(text);
    mr_ingest_config_free(&c);
}
END_TEST

START_TEST(a_file_that_cannot_be_read_is_an_error_of_its_own)
{
    struct mr_ingest_config c;
    struct mr_ingest_plan plan;
    struct mr_err err = {0};
    const struct mr_ingest_source from = {.file = "/nonexistent/i.yaml"};
    ck_assert_int_eq(mr_ingest_config_load(&from, &c, &plan, &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent/i.yaml"));
}
END_TEST

MR_SUITE("ingest_config", T(shipped_file_is_complete_and_equals_the_defaults),
         T(a_store_alone_is_enough), T(ports_follow_from_control_and_events),
         T(overlapping_ports_are_refused), T(beyond_loopback_needs_a_word),
         T(pool_is_a_sum_of_its_terms), T(slips_are_named_with_their_place),
         T(set_goes_over_the_file), T(set_is_checked_like_the_file), T(values_have_limits),
         T(each_key_has_its_field), T(ports_may_touch), T(a_pool_is_dealt_out_in_whole_buffers),
         T(print_tells_every_port_and_sum), T(a_file_that_cannot_be_read_is_an_error_of_its_own))
