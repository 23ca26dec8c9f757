/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does agent.yaml mean what it says, are mistakes found with their place, and is the file that is
 * shipped complete and equal to the defaults?
 */
#include "agent_config.h"
#include "consign.h"
#include "suite.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static struct mr_agent_config config;
static struct mr_agent_plan plan;
static struct mr_err err;

/* Writes text to a file and loads it with one --set. */
static int load(const char *text, const char *set)
{
    char path[] = "/tmp/agent-yaml-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    const struct mr_agent_source from = {.file = path, .sets = &set, .set_count = set != NULL};
    err = (struct mr_err){0};
    int r = mr_agent_config_load(&from, &config, &plan, &err);
    unlink(path);
    return r;
}

static void refused(const char *text, const char *place, const char *why)
{
    ck_assert_int_eq(load(text, NULL), -EINVAL);
    ck_assert_msg(strstr(err.text, place) != NULL, "'%s' has no '%s'", err.text, place);
    ck_assert_msg(strstr(err.text, why) != NULL, "'%s' has no '%s'", err.text, why);
}

START_TEST(shipped_file_is_complete)
{
    struct mr_config_places *places;
    const char *file = MR_SOURCE_DIR "/conf/agent.yaml";
    int r = mr_config_load(file, mr_agent_config_table, &config, &places, &err);
    ck_assert_msg(r == 0, "%s", err.text);
    r = mr_config_check_complete(mr_agent_config_table, &config, places, &err);
    ck_assert_msg(r == 0, "%s", err.text);
    mr_config_places_free(places);
    mr_agent_config_free(&config);
}
END_TEST

START_TEST(examples_load)
{
    static const char *const files[] = {MR_SOURCE_DIR "/conf/examples/k3-two-watches.yaml",
                                        MR_SOURCE_DIR "/conf/examples/several-servers.yaml"};
    for (size_t i = 0; i < 2; i++) {
        const struct mr_agent_source from = {.file = files[i]};
        int r = mr_agent_config_load(&from, &config, &plan, &err);
        ck_assert_msg(r == 0, "%s", err.text);
        mr_agent_config_free(&config);
    }
}
END_TEST

START_TEST(least_file_has_defaults)
{
    ck_assert_int_eq(load("watch:\n  - path: /data/movies\n", NULL), 0);
    ck_assert_str_eq(config.name, "k3-krios1");
    ck_assert_uint_eq(config.endpoints.count, 1);
    ck_assert_str_eq(config.endpoints.items[0], "tcp://127.0.0.1:5570");
    const struct mr_agent_watch *w = config.watches.items;
    ck_assert_int_eq(w->quiet_ns, 30000000000LL);
    ck_assert_uint_eq(w->exclude.count, 6);
    ck_assert_int_eq(w->output, MR_WISH_AUTO);
    ck_assert_uint_eq(plan.buffers, 128);
    mr_agent_config_free(&config);
}
END_TEST

START_TEST(lists_and_overrides)
{
    static const char text[] =
        "server: { endpoint: [\"tcp://a:1\", \"tcp://b:2\"], codec: bslz4 }\n"
        "memory: { pool: 1GiB }\n"
        "watch:\n  - { path: /a, output: mrc }\n  - { path: /b }\n";
    ck_assert_int_eq(load(text, "memory.pool=64MiB"), 0);
    ck_assert_uint_eq(config.endpoints.count, 2);
    ck_assert_uint_eq(config.watches.count, 2);
    ck_assert_int_eq(config.codec, MR_CODEC_WISH_BSLZ4);
    ck_assert_uint_eq(plan.pool_used, 64u << 20);
    ck_assert_uint_eq(plan.buffers, 16);
    mr_agent_config_free(&config);
    ck_assert_int_eq(load(text, "memory.pol=64MiB"), -EINVAL);
    ck_assert_msg(strstr(err.text, "--set") != NULL && strstr(err.text, "memory.pool") != NULL,
                  "%s", err.text);
}
END_TEST

START_TEST(mistakes_have_their_place)
{
    refused("watch:\n  - path: movies\n", ":2:11:", "watch[0].path");
    refused("watch: []\n", ":1:", "watch");
    refused("agent: { name: a/b }\nwatch: [{path: /a}]\n", ":1:16:", "agent.name");
    refused("agent: { name: .. }\nwatch: [{path: /a}]\n", ":1:16:", "agent.name");
    refused("agnt: { name: ab }\nwatch: [{path: /a}]\n", ":1:1:", "agent");
    refused("agent: { timezone: Mars/Base }\nwatch: [{path: /a}]\n", ":1:20:", "zone");
    refused("server: { endpoint: \"udp://a:1\" }\nwatch: [{path: /a}]\n", ":1:21:", "tcp://");
    refused("memory: { pool: 1MiB }\nwatch: [{path: /a}]\n", ":1:17:", "memory.pool");
    refused("watch:\n  - path: /a\n  - path: /a\n", ":3:11:", "watch[0]");
    refused("watch:\n  - path: /a\n    output: png\n", ":3:13:", "auto");
    refused("watch:\n  - path: /a\n    source_after_commit: burn\n", ":3:26:", "keep");
    refused("watch:\n  - path: /a\n    output: mrc\n    source_after_commit: delete\n",
            ":4:26:", "purge.allow_converted");
    refused("watch:\n  - path: /var/\n    source_after_commit: delete\n",
            ":3:26:", "state_dir /var/lib/millrace-agent lies in it");
    refused("watch:\n  - path: /a\n    source_after_commit: delete\n  - path: /a/b\n",
            ":3:26:", "/a/b, of watch[1], overlaps");
    refused("watch:\n  - path: /a\n  - path: /a/b\n    source_after_commit: delete\n",
            ":4:26:", "/a, of watch[0], overlaps");
    refused("watch:\n  - path: /a\n    purge: {after: -1h}\n", ":3:", "after");
    refused("watch:\n  - path: /a\n    purge: {when_free_below: 101%}\n", ":3:", "when_free_below");
    refused("agent: { name: ab }\n", "watch", "");
    refused("host: { cpus: 0-x }\nwatch: [{path: /a}]\n", ":1:15:", "must be all, or a list");
    refused("host: { cpus: \"0,8191\" }\nwatch: [{path: /a}]\n",
            ":1:15:", "CPU 8191 is not one of those this process may use");
    refused("host: { nice: -1 }\nwatch: [{path: /a}]\n", ":1:15:", "host.nice");
    refused("host: { nice: 20 }\nwatch: [{path: /a}]\n", ":1:15:", "host.nice");
    refused("host: { io: \"realtime:0\" }\nwatch: [{path: /a}]\n", ":1:13:", "not for a guest");
    refused("host: { io: slow }\nwatch: [{path: /a}]\n", ":1:13:", "best-effort");
    refused("host: { pack_threads: 0 }\nwatch: [{path: /a}]\n", ":1:23:", "pack_threads");
    refused("host: { pack_threads: 17 }\nwatch: [{path: /a}]\n", ":1:23:", "pack_threads");
    refused("host: { uncache: maybe }\nwatch: [{path: /a}]\n", ":1:18:", "uncache");
}
END_TEST

/* However the paths are spelled; a watch that frees is the second one. */
START_TEST(a_watch_that_frees_lies_in_no_other_and_holds_no_state)
{
    static const struct {
        const char *state, *other, *freeing, *why; /* why NULL: it may */
    } rows[] = {{"/var/s", "/a", "/b", NULL},
                {"/var/s", "/a", "/ab", NULL},
                {"/var/s", "/ab", "/a", NULL},
                {"/var/s", "/a.b", "/a", NULL},
                {"/var/s", "/a/b", "/a/c", NULL},
                {"/var/s", "/...", "/..a", NULL},
                {"/var/s", "/a/b", "/a", "overlaps"},
                {"/var/s", "/a", "/a/b", "overlaps"},
                {"/var/s", "/a/", "/a", "overlaps"},
                {"/var/s", "/a//b", "/a/b/c", "overlaps"},
                {"/var/s", "/a/b/c", "/a//b", "overlaps"},
                {"/var/s", "//a/./b/.", "/a/b", "overlaps"},
                {"/var/s", "/", "/b", "overlaps"},
                {"/var/s", "/a", "/var", "lies in it"},
                {"/var/s", "/a", "/var/s", "lies in it"},
                {"/var/s", "/a", "//var/.//", "lies in it"},
                {"/var//s/", "/a", "/var/s", "lies in it"},
                {"/var/s", "/a", "/./", "lies in it"},
                {"/var/s", "/a", "/a/../var", "without"},
                {"/var/s", "/a/..", "/b", "without"},
                {"/b/../var", "/a", "/b", "without"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[512];
        snprintf(text, sizeof(text),
                 "agent: {state_dir: %s}\nwatch:\n  - {path: %s}\n  - path: %s\n"
                 "    source_after_commit: %s\n",
                 rows[i].state, rows[i].other, rows[i].freeing, "delete");
        if (rows[i].why == NULL) {
            ck_assert_msg(load(text, NULL) == 0, "row %zu: %s", i, err.text);
            mr_agent_config_free(&config);
        } else {
            refused(text, ":5:26:", rows[i].why);
            strcpy(strstr(text, "delete"), "keep\n"); /* then it is nobody's business */
            ck_assert_msg(load(text, NULL) == 0, "row %zu: %s", i, err.text);
            mr_agent_config_free(&config);
        }
    }
}
END_TEST

/* More packing threads than CPUs are not made, whoever says how many. */
START_TEST(the_host_bounds_the_plan)
{
    struct mr_guest_cpus all;
    ck_assert_int_eq(mr_guest_cpus_inherited(&all), 0);
    size_t first = 0, count = mr_guest_cpus_count(&all);
    while (!mr_guest_cpus_has(&all, first))
        first++;
    char set[64];
    snprintf(set, sizeof(set), "host.cpus=%zu", first);
    ck_assert_int_eq(load("host: { pack_threads: 16 }\nwatch: [{path: /a}]\n", set), 0);
    ck_assert_uint_eq(plan.packers, 1);
    ck_assert_uint_eq(mr_guest_cpus_count(&plan.cpus), 1);
    mr_agent_config_free(&config);
    ck_assert_int_eq(load("watch: [{path: /a}]\n", "host.pack_threads=16"), 0);
    ck_assert_uint_eq(plan.packers, count < 16 ? count : 16);
    mr_agent_config_free(&config);
    ck_assert_int_eq(load("watch: [{path: /a}]\n", NULL), 0);
    ck_assert_uint_eq(plan.packers, count < 2 ? 1 : 2);
    ck_assert_int_eq(config.host.nice, MR_GUEST_NICE_INHERIT);
    mr_agent_config_free(&config);
}
END_TEST

START_TEST(push_needs_no_file)
{
    const struct mr_agent_source from = {
        .name = "k3", .endpoint = "tcp://store:5570", .codec = "bszstd"};
    ck_assert_int_eq(mr_agent_config_load(&from, &config, &plan, &err), 0);
    ck_assert_str_eq(config.name, "k3");
    ck_assert_str_eq(config.endpoints.items[0], "tcp://store:5570");
    ck_assert_int_eq(config.codec, MR_CODEC_WISH_BSZSTD);
    mr_agent_config_free(&config);
    const struct mr_agent_source host = {0};
    ck_assert_int_eq(mr_agent_config_load(&host, &config, &plan, &err), 0);
    ck_assert_uint_gt(strlen(config.name), 0);
    mr_agent_config_free(&config);
    const struct mr_agent_source both = {.endpoint = "tcp://a:1,tcp://b:2"};
    ck_assert_int_eq(mr_agent_config_load(&both, &config, &plan, &err), 0);
    ck_assert_uint_eq(config.endpoints.count, 2);
    ck_assert_str_eq(config.endpoints.items[0], "tcp://a:1");
    ck_assert_str_eq(config.endpoints.items[1], "tcp://b:2");
    mr_agent_config_free(&config);
    const struct mr_agent_source half = {.endpoint = "tcp://a:1,"};
    ck_assert_int_eq(mr_agent_config_load(&half, &config, &plan, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "--server"));
    err = (struct mr_err){0};
    const struct mr_agent_source wrong = {.name = "k3 krios"};
    ck_assert_int_eq(mr_agent_config_load(&wrong, &config, &plan, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "--agent"));
}
END_TEST

START_TEST(words_of_outputs)
{
    int output = -1;
    ck_assert_int_eq(mr_agent_parse_output("hdf5", &output), 0);
    ck_assert_int_eq(output, MR_WISH_HDF5);
    ck_assert_int_eq(mr_agent_parse_output("h5", &output), -EINVAL);
}
END_TEST

MR_SUITE("agent_config", T(shipped_file_is_complete), T(examples_load), T(least_file_has_defaults),
         T(lists_and_overrides), T(mistakes_have_their_place),
         T(a_watch_that_frees_lies_in_no_other_and_holds_no_state), T(the_host_bounds_the_plan),
         T(push_needs_no_file), T(words_of_outputs))
