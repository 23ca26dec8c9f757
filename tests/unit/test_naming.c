/* SPDX-License-Identifier: Apache-2.0 */
/* Does a name from an agent become a path that is safe and the one the documentation promises? */
#include "naming.h"
#include "suite.h"

#include <errno.h>
#include <string.h>

static const struct mr_naming_movie movie = {.agent = "k3-krios1",
                                             .session = "",
                                             .day = "2026-11-22",
                                             .path = "grid7/movie_0001.mrc",
                                             .format = "mrc",
                                             .output = MR_OUTPUT_KEEP};

static char path[MR_NAMING_PATH_MAX + 1];

static int name_it(const char *template_text, const char *site, const struct mr_naming_movie *m)
{
    struct mr_naming *n;
    struct mr_err err = {0};
    ck_assert_msg(mr_naming_new(template_text, site, &n, &err) == 0, "%s", err.text);
    int r = mr_naming_path(n, m, path, &err);
    ck_assert((r == 0) == (err.code == 0));
    mr_naming_free(n);
    return r;
}

START_TEST(templates_expand)
{
    struct mr_naming_movie m = movie;
    ck_assert_int_eq(name_it("{agent}/{path}", "", &m), 0);
    ck_assert_str_eq(path, "k3-krios1/grid7/movie_0001.mrc");
    ck_assert_int_eq(name_it("{site}/{session}/{date}/{agent}_{name}", "", &m), 0);
    ck_assert_str_eq(path, "2026-11-22/k3-krios1_movie_0001.mrc");
    m.session = "s 1";
    ck_assert_int_eq(name_it("{site}/x{session}y/{path}", "lab", &m), 0);
    ck_assert_str_eq(path, "lab/xs 1y/grid7/movie_0001.mrc");
    ck_assert_int_eq(name_it("{{a}}/{path}", "", &m), 0);
    ck_assert_str_eq(path, "{a}/grid7/movie_0001.mrc");
    ck_assert_int_eq(name_it("{name}", "", &m), 0);
    ck_assert_str_eq(path, "movie_0001.mrc");
}
END_TEST

START_TEST(bad_templates_are_refused_in_words)
{
    static const struct {
        const char *text, *wanted;
    } cases[] = {{"", "must end in"},
                 {"{agent}", "must end in"},
                 {"{agent}/{path}.mrc", "must end in"},
                 {"{agnet}/{path}", "column 1: no placeholder {agnet} (perhaps {agent}?)"},
                 {"a{}/{path}", "column 2: no placeholder {}"},
                 {"{agent/{path}", "column 1: '{' without '}'"},
                 {"a}/{path}", "column 2: '}' without '{'"},
                 {"/{agent}/{path}", "relative"},
                 {"a//{path}", "column 3: an empty component"},
                 {"../{path}", "'.' or '..'"},
                 {".millrace/{path}", "'.millrace'"},
                 {"x\ty/{path}", "column 2: a control character"},
                 {"x{path}", "{path} must begin a component"},
                 {"{agent}{path}", "{path} must begin a component"},
                 {"{path}/{path}", "{path} twice"},
                 {"\xff/{path}", "not UTF-8"}};
    struct mr_naming *n = NULL;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mr_err err = {0};
        ck_assert_int_eq(mr_naming_new(cases[i].text, "", &n, &err), -EINVAL);
        ck_assert_msg(strstr(err.text, cases[i].wanted) != NULL, "%s", err.text);
    }
    ck_assert_int_eq(mr_naming_new("{path}", "a/b", &n, NULL), -EINVAL);
    ck_assert_int_eq(mr_naming_new("{path}", "..", &n, NULL), -EINVAL);
    char longer[400];
    memset(longer, 'a', 300);
    strcpy(longer + 300, "/{path}");
    ck_assert_int_eq(mr_naming_new(longer, "", &n, NULL), -EINVAL);
    ck_assert_ptr_null(n);
}
END_TEST

START_TEST(hostile_names_are_refused)
{
    static const char *const bad[] = {
        "",  "/a",  "a/",   "a//b",   "..",       "../a",        "a/..",          "a/../b",
        ".", "./a", "a\nb", "a/\x7f", "\xc2\x85", ".millrace/a", "a/.MillRace/b", "a/.millrace"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct mr_naming_movie m = movie;
        m.path = bad[i];
        ck_assert_msg(name_it("{agent}/{path}", "", &m) == -EINVAL, "%s", bad[i]);
        ck_assert_int_eq(mr_naming_check(bad[i], NULL), -EINVAL);
    }
    static const char *const agents[] = {"", ".", "..", "a/b", "a b", ".millrace", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof(agents) / sizeof(agents[0]); i++) {
        struct mr_naming_movie m = movie;
        m.agent = agents[i];
        ck_assert_int_eq(name_it("{agent}/{path}", "", &m), -EINVAL);
    }
    struct mr_naming_movie m = movie;
    m.session = "a/b";
    ck_assert_int_eq(name_it("{session}/{path}", "", &m), -EINVAL);
    m.session = "..";
    ck_assert_int_eq(name_it("{session}/{path}", "", &m), -EINVAL);
    m.session = "";
    m.day = "../../../x";
    ck_assert_int_eq(name_it("{date}/{path}", "", &m), -EINVAL);
    m = movie;
    m.session = "."; /* harmless alone it is not, and joined it would climb */
    ck_assert_int_eq(name_it(".{session}/{path}", "", &m), -EINVAL);
}
END_TEST

START_TEST(names_that_are_only_odd_are_kept)
{
    static const struct {
        const char *from, *to;
    } cases[] = {{"...", "..."},
                 {"a b.mrc", "a b.mrc"},
                 {"-rf", "-rf"},
                 {"\xc3\xa4.mrc", "\xc3\xa4.mrc"},
                 {"x\xff.mrc", "x%FF.mrc"},
                 {".hidden", ".hidden"},
                 {".millraces/a", ".millraces/a"},
                 {"a\\b", "a\\b"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mr_naming_movie m = movie;
        m.path = cases[i].from;
        ck_assert_int_eq(name_it("{path}", "", &m), 0);
        ck_assert_str_eq(path, cases[i].to);
    }
}
END_TEST

START_TEST(components_end_at_255_bytes)
{
    char name[400];
    struct mr_naming_movie m = movie;
    m.path = name;
    memset(name, 'a', 255);
    name[255] = '\0';
    ck_assert_int_eq(name_it("{path}", "", &m), 0);
    ck_assert_int_eq(name_it("x_{name}", "", &m), -EINVAL);
    name[254] = '\xff'; /* three bytes once escaped */
    ck_assert_int_eq(name_it("{path}", "", &m), -EINVAL);
    memset(name, 'a', 256);
    name[256] = '\0';
    ck_assert_int_eq(name_it("{path}", "", &m), -EINVAL);
}
END_TEST

START_TEST(extensions_follow_the_output)
{
    static const struct {
        const char *from, *format, *mrc, *hdf5;
    } cases[] = {{"a.mrc", "mrc", "a.mrc", "a.h5"},
                 {"a.mrcs", "mrc", "a.mrcs", "a.h5"},
                 {"a.tif", "tiff", "a.mrc", "a.h5"},
                 {"d.x/a", "file", "d.x/a.mrc", "d.x/a.h5"},
                 {"a.b.tif", "tiff", "a.b.mrc", "a.b.h5"},
                 {".a", "file", ".a.mrc", ".a.h5"},
                 {"a.", "file", "a..mrc", "a..h5"},
                 {"a.not an extension", "file", "a.not an extension.mrc", "a.not an extension.h5"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mr_naming_movie m = movie;
        m.path = cases[i].from;
        m.format = cases[i].format;
        ck_assert_int_eq(name_it("{path}", "", &m), 0);
        ck_assert_str_eq(path, cases[i].from);
        m.output = MR_OUTPUT_MRC;
        ck_assert_int_eq(name_it("{path}", "", &m), 0);
        ck_assert_str_eq(path, cases[i].mrc);
        m.output = MR_OUTPUT_HDF5;
        ck_assert_int_eq(name_it("{path}", "", &m), 0);
        ck_assert_str_eq(path, cases[i].hdf5);
    }
}
END_TEST

START_TEST(candidates_differ_and_fit)
{
    ck_assert_int_eq(mr_naming_candidate("k3/a.mrc", 1, path), 0);
    ck_assert_str_eq(path, "k3/a.mrc");
    ck_assert_int_eq(mr_naming_candidate("k3/a.mrc", 2, path), 0);
    ck_assert_str_eq(path, "k3/a_dup2.mrc");
    ck_assert_int_eq(mr_naming_candidate("k.3/a", 4294967295u, path), 0);
    ck_assert_str_eq(path, "k.3/a_dup4294967295");
    char longer[300] = "d/";
    for (size_t i = 0; i < 125; i++)
        memcpy(longer + 2 + 2 * i, "\xc3\xa4", 2);
    strcpy(longer + 252, ".mrc"); /* 254 bytes */
    ck_assert_int_eq(mr_naming_candidate(longer, 2, path), 0);
    ck_assert_uint_le(strlen(path), 2 + 255);
    ck_assert_str_eq(path + strlen(path) - 11, "\xc3\xa4_dup2.mrc");
    char deep[MR_NAMING_PATH_MAX + 2];
    memset(deep, '/', sizeof(deep));
    for (size_t i = 0; i < MR_NAMING_PATH_MAX; i += 2)
        deep[i] = 'a';
    deep[MR_NAMING_PATH_MAX] = '\0';
    deep[MR_NAMING_PATH_MAX - 1] = 'a';
    ck_assert_int_eq(mr_naming_candidate(deep, 1, path), 0);
    ck_assert_int_eq(mr_naming_candidate(deep, 2, path), -ENAMETOOLONG);
}
END_TEST

START_TEST(an_old_revision_is_named_by_its_id)
{
    struct mr_ulid id;
    char name[MR_NAMING_OLD];
    ck_assert_int_eq(mr_ulid_parse("01ARYZ6S410000000000000000", &id), 0);
    mr_naming_old(&id, 4294967295u, name);
    ck_assert_str_eq(name, "01ARYZ6S410000000000000000.r4294967295");
}
END_TEST

MR_SUITE("naming", T(templates_expand), T(bad_templates_are_refused_in_words),
         T(hostile_names_are_refused), T(names_that_are_only_odd_are_kept),
         T(components_end_at_255_bytes), T(extensions_follow_the_output),
         T(candidates_differ_and_fit), T(an_old_revision_is_named_by_its_id))
