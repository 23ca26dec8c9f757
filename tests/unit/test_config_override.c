/* SPDX-License-Identifier: Apache-2.0 */
/* Does a value that is set over the file count as the file's would, and is it told where one that
 * is wrong came from? */
#include "base/config.h"
#include "config_sample.h"
#include "dice.h"
#include "suite.h"

#include <errno.h>
#include <stdio.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct sample s;
static struct mr_config_places *places;

static void load(const char *text)
{
    struct mr_err err = {0};
    int r = mr_config_parse("a.yaml", text, strlen(text), sample_keys, &s, &places, &err);
    ck_assert_msg(r == 0, "%s", err.text);
}

static void load_some(void)
{
    load("agent: { name: k3 }\nlanes: 2\n"
         "watch: [{ path: /a, include: [x, y] }, { path: /b, output: mrc }]\n");
}

static void unload(void)
{
    mr_config_free(sample_keys, &s);
    mr_config_places_free(places);
}

static int override(const char *assignment, struct mr_err *err)
{
    return mr_config_override(sample_keys, &s, places, "--set", assignment, err);
}

static void check_set(const char *assignment)
{
    struct mr_err err = {0};
    int r = override(assignment, &err);
    ck_assert_msg(r == 0, "%s: %s", assignment, err.text);
}

START_TEST(every_type_is_set)
{
    load_some();
    check_set("agent.name=other=one"); /* the first '=' ends the key */
    check_set("server.endpoint=[a, \"b c\"]");
    check_set("server.codec=bszstd");
    check_set("memory.pool=64 MiB");
    check_set("lanes=auto");
    check_set("retries=-9223372036854775808");
    check_set("store.keep_free=0.25%");
    check_set("store.file_mode=0600");
    check_set("store.direct=false");
    check_set("watch=[{path: /c, complete: {quiet: 2s}}]");
    ck_assert_str_eq(s.name, "other=one");
    ck_assert_uint_eq(s.endpoints.count, 2);
    ck_assert_str_eq(s.endpoints.items[0], "a");
    ck_assert_str_eq(s.endpoints.items[1], "b c");
    ck_assert(s.codec == 3 && s.pool_bytes == 64 << 20 && s.lanes == -1 && s.retries == INT64_MIN);
    ck_assert(s.keep_free == 25 && s.file_mode == 0600 && !s.direct);
    ck_assert_uint_eq(s.watches.count, 1);
    const struct sample_watch *w = s.watches.items;
    ck_assert_str_eq(w->path, "/c");
    ck_assert_str_eq(w->include.items[0], "*"); /* the default, not what was there */
    ck_assert_int_eq(w->quiet_ns, 2000000000);
    unload();
}
END_TEST

/* No YAML but in lists: the shell has quotes of its own. */
START_TEST(a_scalar_is_taken_as_it_stands)
{
    static const char *const texts[] = {"{agent}", "\"q\"", "'q'", "null", "~",
                                        "#c",      "[a]",   "a:b", "- a",  "&x"};
    load("agent: { name: k3 }\nwatch: [{ path: /a }]\n");
    for (size_t i = 0; i < COUNT(texts); i++) {
        char assignment[64];
        struct mr_err err = {0};
        snprintf(assignment, sizeof(assignment), "agent.name=%s", texts[i]);
        int r = override(assignment, &err);
        if (strchr(texts[i], ' ') == NULL)
            ck_assert_str_eq(s.name, texts[i]);
        else /* as the row's own check has it */
            ck_assert_int_eq(r, -EINVAL);
    }
    unload();
}
END_TEST

START_TEST(the_last_one_counts)
{
    load_some();
    check_set("lanes=3");
    check_set("lanes=4");
    check_set("server.endpoint=a");
    check_set("server.endpoint=[b]");
    ck_assert_int_eq(s.lanes, 4);
    ck_assert_str_eq(s.endpoints.items[0], "b");
    unload();
}
END_TEST

static const struct {
    const char *assignment, *error;
} wrong[] = {
    {"lanes", "--set: lanes: is no key=value"},
    {"", "--set: : is no key=value"},
    {"=3", "--set: : unknown key"},
    {"lane=3", "--set: lane: unknown key; did you mean lanes?"},
    {"memory.pol=1GiB", "--set: memory.pol: unknown key; did you mean memory.pool?"},
    {"memory=1GiB", "--set: memory: unknown key"},
    {"watch[0].path=/c", "--set: watch[0].path: unknown key"},
    {"lanes=", "--set: lanes: \"\" is not a whole number or auto"},
    {"lanes=65", "--set: lanes: 65 is out of range: 1 to 64"},
    {"agent.name=", "--set: agent.name: has 0 bytes; must have 1 to 64"},
    {"agent.name=a b", "--set: agent.name: \"a b\": must not contain blanks or slashes"},
    {"agent.name=a\nb", "--set: agent.name: contains a control character"},
    {"server.endpoint=[]", "--set: server.endpoint: has 0 entries; must have 1 to 4"},
    {"server.endpoint=[a,b,c,d,e]", "--set: server.endpoint: has 5 entries; must have 1 to 4"},
    {"server.endpoint=", "--set: server.endpoint: has no value (an empty list is written [])"},
    {"server.endpoint={a: b}", "--set: server.endpoint: must be a list, not a map"},
    {"server.endpoint=[a, [b]]", "--set: server.endpoint[1]: must be one value, not a list"},
    {"server.endpoint=[a, ~]",
     "--set: server.endpoint[1]: has no value (an empty text is written \"\")"},
    {"server.endpoint=[a, \"b\\nc\"]", "--set: server.endpoint[1]: contains a control character"},
    {"server.endpoint=[a", "--set:2:1: did not find expected ',' or ']', while parsing a flow "
                           "sequence"},
    {"watch=/a", "--set: watch: must be a list of maps (each entry begins with \"- \")"},
    {"watch=[{path: /c}, {output: mrc}]", "--set: watch[1].path: missing (the folder)"},
    {"watch=[{path: /c, pth: /d}]", "--set: watch[0].pth: unknown key; did you mean path?"},
    {"watch=[{path: /c, complete: 3}]", "--set: watch[0].complete: must be a map of keys"},
    {"watch=[{path: /c, path: /d}]", "--set: watch[0].path: is there twice; first in line 1"},
};

START_TEST(what_is_wrong_is_told_by_option_and_key)
{
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct mr_err err = {0};
        load_some();
        ck_assert_int_eq(override(wrong[i].assignment, &err), -EINVAL);
        ck_assert_str_eq(err.text, wrong[i].error);
        ck_assert_int_eq(s.lanes, 2);
        ck_assert_str_eq(s.name, "k3");
        unload();
    }
}
END_TEST

START_TEST(a_key_longer_than_any_is_unknown)
{
    char assignment[1000];
    struct mr_err err = {0};
    load_some();
    memset(assignment, 'k', sizeof(assignment));
    memcpy(assignment + sizeof(assignment) - 3, "=3", 3);
    ck_assert_int_eq(override(assignment, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "kkk: unknown key"));
    unload();
}
END_TEST

/* Checks that come after loading tell of it, too. */
START_TEST(later_errors_name_who_set_the_key)
{
    struct mr_err err = {0};
    load_some();
    check_set("memory.pool=1GiB");
    check_set("watch=[{path: /c}]");
    ck_assert(mr_config_has(places, "memory.pool"));
    ck_assert_int_eq(mr_config_error(places, &err, "memory.pool", "too %s", "big"), -EINVAL);
    ck_assert_int_eq(err.code, -EINVAL);
    ck_assert_str_eq(err.text, "--set: memory.pool: too big");
    mr_config_error(places, &err, "watch[0].path", "is gone");
    ck_assert_str_eq(err.text, "--set: watch[0].path: is gone");
    mr_config_error(places, &err, "lanes", "too many");
    ck_assert_str_eq(err.text, "a.yaml:2:8: lanes: too many");
    ck_assert_int_eq(mr_config_error(places, &err, "retries", "too many"), -EINVAL);
    ck_assert_int_eq(mr_config_error(NULL, &err, "retries", "too many"), -EINVAL);
    ck_assert_int_eq(mr_config_override(sample_keys, &s, places, "-s", "lanes=5", &err), 0);
    mr_config_error(places, &err, "lanes", "too many");
    ck_assert_str_eq(err.text, "-s: lanes: too many");
    unload();
}
END_TEST

START_TEST(many_keys_keep_their_places)
{
    char text[8192] = "agent: { name: k3 }\nwatch:\n", path[32], expected[64];
    enum { FOLDERS = 100 };
    for (int i = 0; i < FOLDERS; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "  - path: /%d\n", i);
    load(text);
    for (int i = 0; i < FOLDERS; i++) {
        struct mr_err err = {0};
        snprintf(path, sizeof(path), "watch[%d].path", i);
        snprintf(expected, sizeof(expected), "a.yaml:%d:11: %s: x", i + 3, path);
        ck_assert(mr_config_has(places, path));
        mr_config_error(places, &err, path, "x");
        ck_assert_str_eq(err.text, expected);
    }
    ck_assert(!mr_config_has(places, "watch[100].path"));
    ck_assert(!mr_config_has(NULL, "watch"));
    unload();
}
END_TEST

/* What the shell hands over is bytes; what is printed is a file that has to load. */
START_TEST(whatever_is_accepted_is_printed_so_that_it_loads)
{
    static const unsigned char bytes[] = {'a',  '"',  '\\', '\'', '#',  '%',  0x01, 0x09,
                                          0x7f, 0x80, 0x85, 0x9f, 0xa0, 0xa8, 0xbb, 0xbf,
                                          0xc2, 0xc3, 0xe2, 0xed, 0xef, 0xf0, 0xfe, 0xff};
    unsigned accepted = 0;
    load_some();
    for (int i = 0; i < 20000; i++) {
        char assignment[32] = "agent.name=", *text = NULL;
        size_t length = strlen(assignment), more = 1 + dice(4), size;
        struct mr_err err = {0};
        for (size_t k = 0; k < more; k++)
            assignment[length + k] = (char)bytes[dice(sizeof(bytes))];
        assignment[length + more] = '\0';
        if (override(assignment, &err) < 0)
            continue;
        FILE *out = open_memstream(&text, &size);
        mr_config_print(sample_keys, &s, out);
        fclose(out);
        struct sample again;
        int r = mr_config_parse("printed", text, size, sample_keys, &again, NULL, &err);
        ck_assert_msg(r == 0, "%s", err.text);
        ck_assert_str_eq(again.name, s.name);
        ck_assert_int_eq(mr_config_check_reload(sample_keys, &s, &again, &err), 0);
        mr_config_free(sample_keys, &again);
        free(text);
        accepted++;
    }
    ck_assert_uint_gt(accepted, 100);
    unload();
}
END_TEST

/* ---- and at SIGHUP ---- */

static const struct {
    const char *assignment, *error; /* NULL: may change */
} changes[] = {
    {"server.codec=none", NULL},
    {"store.direct=false", NULL},
    {"server.endpoint=[b]", "server.endpoint: cannot change while the program runs; restart it "
                            "([\"tcp://127.0.0.1:5570\"], now [\"b\"])"},
    {"server.endpoint=[\"tcp://127.0.0.1:5570\", b]",
     "server.endpoint: cannot change while the program runs; restart it "
     "([\"tcp://127.0.0.1:5570\"], now [\"tcp://127.0.0.1:5570\", \"b\"])"},
    {"server.endpoint=tcp://127.0.0.1:5570", NULL}, /* what it was */
    {"lanes=3", "lanes: cannot change while the program runs; restart it (2, now 3)"},
    {"lanes=auto", "lanes: cannot change while the program runs; restart it (2, now auto)"},
    {"watch=[{path: /a, include: [x, y]}]",
     "watch: cannot change while the program runs; restart it (2 entries, now 1 entries)"},
    {"watch=[{path: /a, include: [x, z]}, {path: /b, output: mrc}]",
     "watch: cannot change while the program runs; restart it (2 entries, now 2 entries)"},
    {"watch=[{path: /a, include: [x, y]}, {path: /b, output: keep}]",
     "watch: cannot change while the program runs; restart it (2 entries, now 2 entries)"},
    {"watch=[{path: /a, include: [x, y]}, {path: /b, output: mrc}]", NULL},
};

START_TEST(what_may_not_change_is_told_with_both_values)
{
    for (size_t i = 0; i < COUNT(changes); i++) {
        struct mr_err err = {0};
        load_some();
        struct sample before = s;
        mr_config_places_free(places);
        load_some();
        check_set(changes[i].assignment);
        int r = mr_config_check_reload(sample_keys, &before, &s, &err);
        ck_assert_msg(r == (changes[i].error == NULL ? 0 : -EPERM), "%s", changes[i].assignment);
        ck_assert_str_eq(err.text, changes[i].error == NULL ? "" : changes[i].error);
        ck_assert_int_eq(err.code, r);
        mr_config_free(sample_keys, &before);
        unload();
    }
}
END_TEST

/* ---- and a shipped file ---- */

START_TEST(a_file_is_complete_only_with_every_key_of_every_entry)
{
    static const char most[] = "server: { endpoint: tcp://127.0.0.1:5570, codec: auto }\n"
                               "memory: { pool: 512MiB }\nlanes: auto\nretries: -3\n"
                               "store: { keep_free: 2%, file_mode: 0640, direct: true }\n"
                               "agent: { name: any }\n";
    static const struct {
        const char *watch, *error;
    } rows[] = {
        {"[]", NULL},
        {"[{path: /x, include: ['*'], output: auto, complete: {quiet: 30s, give_up: 10min}}]",
         NULL},
        {"[{path: /x, include: ['*'], output: auto, complete: {quiet: 30s}}]",
         "watch[0].complete.give_up: not in the file"},
        {"[{path: /x, include: ['*'], output: mrc, complete: {quiet: 30s, give_up: 10min}}]",
         "watch[0].output: is not the default (auto, now mrc)"},
        {"[{path: /x, include: ['*'], output: auto, complete: {quiet: 30s, give_up: 10min}}, "
         "{path: /x, include: ['*', a], output: auto, complete: {quiet: 30s, give_up: 10min}}]",
         "watch[1].include: is not the default ([\"*\"], now [\"*\", \"a\"])"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[1000];
        struct mr_err err = {0};
        snprintf(text, sizeof(text), "%swatch: %s\n", most, rows[i].watch);
        load(text);
        ck_assert_int_eq(mr_config_check_complete(sample_keys, &s, places, &err),
                         rows[i].error == NULL ? 0 : -EINVAL);
        ck_assert_str_eq(err.text, rows[i].error == NULL ? "" : rows[i].error);
        unload();
    }
}
END_TEST

MR_SUITE("config_override", T(every_type_is_set), T(a_scalar_is_taken_as_it_stands),
         T(the_last_one_counts), T(what_is_wrong_is_told_by_option_and_key),
         T(a_key_longer_than_any_is_unknown), T(later_errors_name_who_set_the_key),
         T(many_keys_keep_their_places), T(what_may_not_change_is_told_with_both_values),
         T(a_file_is_complete_only_with_every_key_of_every_entry),
         T(whatever_is_accepted_is_printed_so_that_it_loads))
