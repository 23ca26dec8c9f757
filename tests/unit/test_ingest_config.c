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

MR_SUITE("ingest_config", T(shipped_file_is_complete_and_equals_the_defaults),
         T(a_store_alone_is_enough), T(ports_follow_from_control_and_events),
         T(overlapping_ports_are_refused), T(beyond_loopback_needs_a_word),
         T(pool_is_a_sum_of_its_terms), T(slips_are_named_with_their_place),
         T(set_goes_over_the_file), T(set_is_checked_like_the_file))
