/* SPDX-License-Identifier: Apache-2.0 */
/* Is a right file read right, and does a wrong one say where and what to do? */
#include "base/config.h"
#include "config_sample.h"
#include "suite.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static const char minimal[] = "agent: { name: k3 }\nwatch: [{ path: /data }]\n";

static const char complete[] = "# block and flow style both\n"
                               "agent:\n"
                               "  name: k3-krios1\n"
                               "server: { endpoint: [\"tcp://a:1\", tcp://b:2], codec: bslz4 }\n"
                               "memory: { pool: 4GiB }\n"
                               "lanes: 3\n"
                               "retries: 12\n"
                               "store:\n"
                               "  keep_free: 0.5%\n"
                               "  file_mode: 2750\n"
                               "  direct: false\n"
                               "watch:\n"
                               "  - path: /data/movies\n"
                               "    include: []\n"
                               "    output: mrc\n"
                               "    complete: { quiet: 5s, give_up: 1h }\n"
                               "  - { path: \"/data/\\\"odd\\\\ name\", include: '*.mrc' }\n";

static int parse(const char *text, struct sample *ret, struct mr_config_places **places,
                 struct mr_err *err)
{
    memset(ret, 0x5a, sizeof(*ret)); /* the old content does not matter */
    return mr_config_parse("a.yaml", text, strlen(text), sample_keys, ret, places, err);
}

static struct sample load(const char *text, struct mr_config_places **places)
{
    struct sample s;
    struct mr_err err = {0};
    int r = parse(text, &s, places, &err);
    ck_assert_msg(r == 0, "%s", err.text);
    return s;
}

static void check_complete_values(const struct sample *s)
{
    const struct sample_watch *w = s->watches.items;
    ck_assert_str_eq(s->name, "k3-krios1");
    ck_assert_uint_eq(s->endpoints.count, 2);
    ck_assert_str_eq(s->endpoints.items[1], "tcp://b:2");
    ck_assert_uint_eq(s->pool_bytes, (uint64_t)4 << 30);
    ck_assert(s->lanes == 3 && s->retries == 12 && s->codec == 2 && !s->direct);
    ck_assert_uint_eq(s->keep_free, 50);
    ck_assert_uint_eq(s->file_mode, 02750);
    ck_assert_uint_eq(s->watches.count, 2);
    ck_assert_str_eq(w[0].path, "/data/movies");
    ck_assert_uint_eq(w[0].include.count, 0);
    ck_assert(w[0].output == 2 && w[0].quiet_ns == 5000000000 && w[0].give_up_ns == 3600000000000);
    ck_assert_str_eq(w[1].path, "/data/\"odd\\ name");
    ck_assert_uint_eq(w[1].include.count, 1);
    ck_assert_str_eq(w[1].include.items[0], "*.mrc");
    ck_assert_int_eq(w[1].quiet_ns, 30000000000);
}

START_TEST(every_type_is_read)
{
    struct sample s = load(complete, NULL);
    check_complete_values(&s);
    mr_config_free(sample_keys, &s);
    ck_assert_ptr_null(s.name);
    ck_assert_ptr_null(s.watches.items);
    mr_config_free(sample_keys, &s);
}
END_TEST

START_TEST(what_is_not_said_is_the_default)
{
    struct sample s = load(minimal, NULL);
    const struct sample_watch *w = s.watches.items;
    ck_assert_str_eq(s.endpoints.items[0], "tcp://127.0.0.1:5570");
    ck_assert(s.lanes == -1 && s.retries == -3 && s.codec == 0 && s.direct);
    ck_assert_uint_eq(s.pool_bytes, (uint64_t)512 << 20);
    ck_assert_str_eq(w[0].include.items[0], "*");
    mr_config_free(sample_keys, &s);
    struct sample d;
    ck_assert_int_eq(mr_config_defaults(sample_keys, &d), 0);
    ck_assert_ptr_null(d.name);
    ck_assert_uint_eq(d.watches.count, 0);
    ck_assert_uint_eq(d.file_mode, 0640);
    ck_assert_int_eq(mr_config_set_string(&d.name, "set"), 0);
    mr_config_free(sample_keys, &d);
}
END_TEST

/* What stands behind "agent: {name: a}\n" in the file, and the error's text. */
static const struct {
    const char *text, *error;
} wrong[] = {
    {"memory: { pol: 1GiB }", "a.yaml:2:11: memory.pol: unknown key; did you mean pool?"},
    {"memroy: { pool: 1GiB }", "a.yaml:2:1: memroy: unknown key; did you mean memory?"},
    {"pool: 1GiB", "a.yaml:2:1: pool: unknown key; did you mean memory.pool?"},
    {"memory.pool: 1GiB",
     "a.yaml:2:1: memory.pool: unknown key; sections are nested, not joined by dots"},
    {"xyzzy: 1", "a.yaml:2:1: xyzzy: unknown key"},
    {"memory: { pool: 1GB }", "a.yaml:2:17: memory.pool: \"1GB\" is not a size such as 512MiB "
                              "(units: KiB, MiB, GiB, TiB)"},
    {"memory: { pool: 1MiB }", "a.yaml:2:17: memory.pool: 1MiB is out of range: 64MiB to 1TiB"},
    {"memory: { pool: [1GiB] }", "a.yaml:2:17: memory.pool: must be one value, not a list"},
    {"memory: { pool: }", "a.yaml:2:17: memory.pool: has no value (an empty text is written \"\")"},
    {"memory: 1GiB", "a.yaml:2:9: memory: must be a map of keys"},
    {"memory: { pool: 1GiB, pool: 2GiB }",
     "a.yaml:2:23: memory.pool: is there twice; first in line 2"},
    {"memory: {}\nmemory: {}", "a.yaml:3:1: memory: is there twice; first in line 2"},
    {"lanes: many", "a.yaml:2:8: lanes: \"many\" is not a whole number or auto"},
    {"lanes: 0", "a.yaml:2:8: lanes: 0 is out of range: 1 to 64"},
    {"lanes: -1", "a.yaml:2:8: lanes: -1 is out of range: 1 to 64"},
    {"retries: 0x10", "a.yaml:2:10: retries: \"0x10\" is not a whole number"},
    {"retries: 99999999999999999999",
     "a.yaml:2:10: retries: \"99999999999999999999\" is not within what can be represented"},
    {"server: { codec: bslz }", "a.yaml:2:18: server.codec: \"bslz\" is not auto, none, bslz4 or "
                                "bszstd; did you mean bslz4?"},
    {"server: { endpoint: [] }", "a.yaml:2:21: server.endpoint: has 0 entries; must have 1 to 4"},
    {"server: { endpoint: [a, [b]] }",
     "a.yaml:2:25: server.endpoint[1]: must be one value, not a list"},
    {"store: { keep_free: 2 }",
     "a.yaml:2:21: store.keep_free: \"2\" is not a percentage such as 2%"},
    {"store: { file_mode: 0888 }",
     "a.yaml:2:21: store.file_mode: \"0888\" is not a mode of octal digits such as 0640"},
    {"store: { direct: yes }", "a.yaml:2:18: store.direct: \"yes\" is not true or false"},
    {"watch: /data", "a.yaml:2:8: watch: must be a list of maps (each entry begins with \"- \")"},
    {"watch: [/data]", "a.yaml:2:9: watch[0]: must be a map of keys"},
    {"watch: [{path: /a}, {output: mrc}]", "a.yaml:2:21: watch[1].path: missing (the folder)"},
    {"watch: [{path: \"\"}]", "a.yaml:2:16: watch[0].path: has 0 bytes; must have 1 to 4000"},
    {"watch: [{path: \"a\\nb\"}]", "a.yaml:2:16: watch[0].path: contains a control character"},
    {"watch: [{path: \"a\\0b\"}]", "a.yaml:2:16: a text must not contain NUL"},
    {"watch: [{path: /a, complete: {quit: 3s}}]",
     "a.yaml:2:31: watch[0].complete.quit: unknown key; did you mean quiet?"},
    {"watch: [{path: /a, complete: {quiet: 3}}]",
     "a.yaml:2:38: watch[0].complete.quiet: \"3\" is not a time such as 30s (units: ms, s, min, "
     "h, d)"},
    {"watch: [{path: /a, complete: {quiet: 2d}}]",
     "a.yaml:2:38: watch[0].complete.quiet: 2d is out of range: 1s to 1h"},
    {"watch: &x [{path: /a}]", "a.yaml:2:8: anchors and tags are not supported"},
    {"watch: *x", "a.yaml:2:8: aliases are not supported"},
    {"lanes: !!int 3", "a.yaml:2:8: anchors and tags are not supported"},
    {"[a]: 3", "a.yaml:2:1: a key must be a plain word"},
    {"---\nlanes: 3", "a.yaml:2:1: a second document"},
    {"lanes: 3", "a.yaml:1:1: watch: missing (folders)"},
};

START_TEST(errors_say_where_and_what)
{
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char text[500];
        struct sample s;
        struct mr_err err = {0};
        struct mr_config_places *places = NULL;
        snprintf(text, sizeof(text), "agent: {name: a}\n%s\n", wrong[i].text);
        ck_assert_int_eq(parse(text, &s, &places, &err), -EINVAL);
        ck_assert_str_eq(err.text, wrong[i].error);
        ck_assert(s.name == NULL && s.watches.items == NULL && s.endpoints.items == NULL);
        ck_assert_ptr_null(places);
    }
}
END_TEST

static void check_refused(const char *text, size_t bytes, const char *start)
{
    struct sample s;
    struct mr_err err = {0};
    ck_assert_int_eq(mr_config_parse("a.yaml", text, bytes, sample_keys, &s, NULL, &err), -EINVAL);
    ck_assert_msg(strncmp(err.text, start, strlen(start)) == 0, "%s", err.text);
}

START_TEST(what_is_no_yaml_says_where)
{
    static const char tabs[] = "agent:\n\tname: a\n";
    static const char open[] = "agent: { name: a\n";
    static const char latin[] = "agent: { name: caf\xe9 }\n";
    check_refused(tabs, strlen(tabs), "a.yaml:2:1: found character that cannot start any token");
    struct sample s;
    struct mr_err err = {0};
    ck_assert_int_eq(parse(tabs, &s, NULL, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "tabs may not indent"));
    check_refused(open, strlen(open), "a.yaml:2:1: did not find expected ',' or '}'");
    check_refused(latin, strlen(latin), "a.yaml:1:20: ");
    check_refused("", 0, "a.yaml:1:1: agent.name: missing");
    check_refused("- a\n", 4, "a.yaml:1:1: the file: must be a map of keys");
    check_refused("agent: {name: a b}", 18, "a.yaml:1:15: agent.name: \"a b\": must not contain");
}
END_TEST

START_TEST(depth_and_bombs_are_refused)
{
    char text[4001];
    memset(text, '[', 4000);
    check_refused(text, 4000, "a.yaml:1:33: nested too deeply");
    const char *bomb = "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n";
    check_refused(bomb, strlen(bomb), "a.yaml:1:4: anchors");
}
END_TEST

START_TEST(files_are_loaded)
{
    char name[] = "/tmp/mr_test_config_XXXXXX";
    int fd = mkstemp(name);
    struct sample s;
    struct mr_err err = {0};
    ck_assert_int_eq(write(fd, complete, strlen(complete)), (ssize_t)strlen(complete));
    ck_assert_int_eq(mr_config_load(name, sample_keys, &s, NULL, &err), 0);
    check_complete_values(&s);
    mr_config_free(sample_keys, &s);
    ck_assert_int_eq(ftruncate(fd, MR_CONFIG_FILE_MAX + 1), 0);
    ck_assert_int_eq(mr_config_load(name, sample_keys, &s, NULL, &err), -EFBIG);
    unlink(name);
    ck_assert_int_eq(mr_config_load("/none/a.yaml", sample_keys, &s, NULL, &err), -ENOENT);
    ck_assert_str_eq(err.text, "/none/a.yaml: No such file or directory");
    close(fd);
}
END_TEST

static char *printed(const struct sample *s)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    mr_config_print(sample_keys, s, out);
    fclose(out);
    return text;
}

START_TEST(what_is_printed_loads_to_the_same)
{
    struct sample s = load(complete, NULL);
    char *text = printed(&s);
    struct sample again = load(text, NULL);
    char *second = printed(&again);
    check_complete_values(&again);
    ck_assert_str_eq(text, second);
    ck_assert_ptr_nonnull(strstr(text, "watch:\n  - path: \"/data/movies\"\n    include: []\n"
                                       "    output: mrc\n    complete:\n      quiet: 5s\n"));
    ck_assert_ptr_nonnull(strstr(text, "store:\n  keep_free: 0.5%\n  file_mode: 02750\n"));
    free(text);
    free(second);
    mr_config_free(sample_keys, &s);
    mr_config_free(sample_keys, &again);
}
END_TEST

START_TEST(places_are_known_after_loading)
{
    struct mr_config_places *places = NULL;
    struct mr_err err = {0};
    struct sample s = load(minimal, &places);
    ck_assert(mr_config_has(places, "watch[0].path") && !mr_config_has(places, "memory.pool"));
    ck_assert_int_eq(mr_config_error(places, &err, "watch[0].path", "not %s", "there"), -EINVAL);
    ck_assert_str_eq(err.text, "a.yaml:2:17: watch[0].path: not there");
    mr_config_error(places, &err, "memory.pool", "too small");
    ck_assert_str_eq(err.text, "a.yaml: memory.pool: too small");
    mr_config_error(NULL, &err, "memory.pool", "too small");
    ck_assert_str_eq(err.text, "memory.pool: too small");
    mr_config_places_free(places);
    mr_config_places_free(NULL);
    mr_config_free(sample_keys, &s);
}
END_TEST

START_TEST(only_what_reloads_may_change)
{
    struct mr_err err = {0};
    struct sample a = load("agent: {name: a}\nwatch: []\n", NULL);
    struct sample b = load("agent: {name: a}\nserver: {codec: none}\nwatch: []\n", NULL);
    struct sample c = load("agent: {name: a}\nmemory: {pool: 1GiB}\nwatch: []\n", NULL);
    struct sample d = load(minimal, NULL);
    ck_assert_int_eq(mr_config_check_reload(sample_keys, &a, &b, &err), 0);
    ck_assert_int_eq(mr_config_check_reload(sample_keys, &a, &c, &err), -EPERM);
    ck_assert_str_eq(err.text, "memory.pool: cannot change while the program runs; restart it "
                               "(512MiB, now 1GiB)");
    ck_assert_int_eq(mr_config_check_reload(sample_keys, &a, &d, &err), -EPERM);
    ck_assert_str_eq(err.text, "agent.name: cannot change while the program runs; restart it "
                               "(\"a\", now \"k3\")");
    mr_config_free(sample_keys, &a);
    mr_config_free(sample_keys, &b);
    mr_config_free(sample_keys, &c);
    mr_config_free(sample_keys, &d);
}
END_TEST

START_TEST(a_complete_file_equals_the_defaults)
{
    struct mr_config_places *places = NULL;
    struct mr_err err = {0};
    struct sample s = load(minimal, NULL);
    char *text = printed(&s);
    mr_config_free(sample_keys, &s);
    s = load(text, &places);
    ck_assert_int_eq(mr_config_check_complete(sample_keys, &s, places, &err), 0);
    s.pool_bytes *= 2;
    ck_assert_int_eq(mr_config_check_complete(sample_keys, &s, places, &err), -EINVAL);
    ck_assert_str_eq(err.text, "memory.pool: is not the default (512MiB, now 1GiB)");
    mr_config_places_free(places);
    mr_config_free(sample_keys, &s);
    s = load(minimal, &places);
    ck_assert_int_eq(mr_config_check_complete(sample_keys, &s, places, &err), -EINVAL);
    ck_assert_str_eq(err.text, "server.endpoint: not in the file");
    mr_config_places_free(places);
    mr_config_free(sample_keys, &s);
    free(text);
}
END_TEST

MR_SUITE("config", T(every_type_is_read), T(what_is_not_said_is_the_default),
         T(errors_say_where_and_what), T(what_is_no_yaml_says_where),
         T(depth_and_bombs_are_refused), T(files_are_loaded), T(what_is_printed_loads_to_the_same),
         T(places_are_known_after_loading), T(only_what_reloads_may_change),
         T(a_complete_file_equals_the_defaults))
