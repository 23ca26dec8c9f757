/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns names that peers sent into one relative path that is safe to open beneath the root. Works
 * on texts alone: whether a name is taken, and opening it without following links, is its callers'
 * affair.
 */
#include "naming.h"

#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PIECES_MAX 32

enum piece_kind { LITERAL, AGENT, SITE, SESSION, NAME, DATE, PATH };

struct piece {
    enum piece_kind kind;
    size_t at, bytes; /* LITERAL: its span of literals */
};

struct mr_naming {
    struct piece pieces[PIECES_MAX];
    size_t count;
    char *literals; /* owned */
    char *site;     /* owned */
};

/* ---- components ---- */

/* Length of the control character at s (ASCII's, or C1's two bytes in UTF-8), or 0. */
static size_t control_char(const char *s, size_t bytes)
{
    unsigned char c = (unsigned char)s[0];
    if (c < 0x20 || c == 0x7f)
        return 1;
    return c == 0xc2 && bytes > 1 && (unsigned char)s[1] >= 0x80 && (unsigned char)s[1] < 0xa0 ? 2
                                                                                               : 0;
}

/* What is wrong with a component, or NULL. */
static const char *component_fault(const char *s, size_t bytes)
{
    if (bytes == 0)
        return "an empty component";
    if ((bytes == 1 && s[0] == '.') || (bytes == 2 && s[0] == '.' && s[1] == '.'))
        return "a component '.' or '..'";
    /* some file systems fold case, and there .MILLRACE would be the store's own directory */
    if (bytes == strlen(MR_NAMING_RESERVED) && strncasecmp(s, MR_NAMING_RESERVED, bytes) == 0)
        return "a component '" MR_NAMING_RESERVED "'";
    for (size_t i = 0; i < bytes; i++)
        if (control_char(s + i, bytes - i) > 0)
            return "a control character";
    return NULL;
}

static int refuse(struct mr_err *err, const char *what, const char *text, const char *why)
{
    char shown[512];
    struct mr_text t = mr_text_init(shown, sizeof(shown));
    mr_text_append_escaped(&t, text);
    return mr_err_set(err, -EINVAL, "%s '%s' is refused: %s", what, shown, why);
}

int mr_naming_check(const char *path, struct mr_err *err)
{
    if (path[0] == '\0')
        return refuse(err, "path", path, "it is empty");
    if (path[0] == '/')
        return refuse(err, "path", path, "it is absolute");
    for (const char *s = path;; s++) {
        size_t bytes = strcspn(s, "/");
        const char *fault = component_fault(s, bytes);
        if (fault)
            return refuse(err, "path", path, fault);
        s += bytes;
        if (*s == '\0')
            return 0;
    }
}

static int check_value(const char *what, const char *value, struct mr_err *err)
{
    const char *fault = strchr(value, '/') ? "a '/'" : component_fault(value, strlen(value));
    return fault && value[0] != '\0' ? refuse(err, what, value, fault) : 0;
}

/* ---- the template ---- */

static const struct {
    const char *name;
    enum piece_kind kind;
} placeholders[] = {{"agent", AGENT}, {"site", SITE}, {"session", SESSION},
                    {"name", NAME},   {"date", DATE}, {"path", PATH}};
#define PLACEHOLDERS (sizeof(placeholders) / sizeof(placeholders[0]))

static int unknown_placeholder(const char *s, size_t bytes, size_t column, struct mr_err *err)
{
    const char *names[PLACEHOLDERS];
    char word[32];
    for (size_t i = 0; i < PLACEHOLDERS; i++)
        names[i] = placeholders[i].name;
    struct mr_text t = mr_text_init(word, sizeof(word));
    mr_text_append_bytes(&t, s, bytes);
    const char *near = mr_text_nearest(word, names, PLACEHOLDERS);
    return mr_err_set(err, -EINVAL, "column %zu: no placeholder {%s}%s%s%s", column, word,
                      near ? " (perhaps {" : "", near ? near : "", near ? "}?)" : "");
}

static int find_placeholder(const char *s, size_t bytes, size_t column, enum piece_kind *ret,
                            struct mr_err *err)
{
    for (size_t i = 0; i < PLACEHOLDERS; i++) {
        if (strlen(placeholders[i].name) == bytes && memcmp(placeholders[i].name, s, bytes) == 0) {
            *ret = placeholders[i].kind;
            return 0;
        }
    }
    return unknown_placeholder(s, bytes, column, err);
}

static int add_piece(struct mr_naming *n, struct piece piece, struct mr_err *err)
{
    if (n->count == PIECES_MAX)
        return mr_err_set(err, -EINVAL, "more than %d pieces", PIECES_MAX);
    n->pieces[n->count++] = piece;
    return 0;
}

/* The literal at text[at...] ("{{" is a brace) behind n's literals so far; *ret_at is where it
 * ends. */
static int take_literal(struct mr_naming *n, const char *text, size_t at, size_t *used,
                        size_t *ret_at, struct mr_err *err)
{
    struct piece piece = {.kind = LITERAL, .at = *used};
    while (text[at] != '\0') {
        bool brace = text[at] == '{' || text[at] == '}';
        if (brace && text[at] == '{' && text[at + 1] != '{')
            break;
        if (brace && text[at + 1] != text[at])
            return mr_err_set(err, -EINVAL, "column %zu: '}' without '{' ('}}' is a brace)",
                              at + 1);
        n->literals[(*used)++] = text[at];
        at += brace ? 2 : 1;
    }
    piece.bytes = *used - piece.at;
    *ret_at = at;
    return piece.bytes > 0 ? add_piece(n, piece, err) : 0;
}

static int take_placeholder(struct mr_naming *n, const char *text, size_t at, size_t *ret_at,
                            struct mr_err *err)
{
    struct piece piece = {.kind = LITERAL};
    size_t bytes = strcspn(text + at + 1, "{}");
    if (text[at + 1 + bytes] != '}')
        return mr_err_set(err, -EINVAL, "column %zu: '{' without '}' ('{{' is a brace)", at + 1);
    int r = find_placeholder(text + at + 1, bytes, at + 1, &piece.kind, err);
    *ret_at = at + bytes + 2;
    return r < 0 ? r : add_piece(n, piece, err);
}

static int cut_template(struct mr_naming *n, const char *text, struct mr_err *err)
{
    size_t used = 0;
    for (size_t at = 0; text[at] != '\0';) {
        bool placeholder = text[at] == '{' && text[at + 1] != '{';
        int r = placeholder ? take_placeholder(n, text, at, &at, err)
                            : take_literal(n, text, at, &used, &at, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Literals must be fit for a path by themselves; whole components are checked once expanded. */
static int check_literals(const struct mr_naming *n, const char *text, struct mr_err *err)
{
    size_t bytes = strlen(text);
    if (text[0] == '/')
        return mr_err_set(err, -EINVAL, "must be relative: it lies below store.root");
    if (strstr(text, "//"))
        return mr_err_set(err, -EINVAL, "column %td: an empty component",
                          strstr(text, "//") - text + 2);
    if (!mr_text_is_utf8(text, bytes))
        return mr_err_set(err, -EINVAL, "not UTF-8");
    for (size_t i = 0; i < bytes; i++)
        if (control_char(text + i, bytes - i) > 0)
            return mr_err_set(err, -EINVAL, "column %zu: a control character", i + 1);
    for (size_t i = 0; i < n->count; i++)
        if (n->pieces[i].kind == PATH && i > 0 &&
            (n->pieces[i - 1].kind != LITERAL ||
             n->literals[n->pieces[i - 1].at + n->pieces[i - 1].bytes - 1] != '/'))
            return mr_err_set(err, -EINVAL, "{path} must begin a component");
    return 0;
}

static int check_shape(const struct mr_naming *n, struct mr_err *err)
{
    size_t names = 0;
    for (size_t i = 0; i < n->count; i++)
        names += n->pieces[i].kind == PATH ? 1 : 0;
    if (names > 1)
        return mr_err_set(err, -EINVAL, "{path} twice");
    enum piece_kind last = n->count > 0 ? n->pieces[n->count - 1].kind : LITERAL;
    if (last != PATH && last != NAME)
        return mr_err_set(err, -EINVAL,
                          "must end in {path} or {name}: movies would share one name");
    return 0;
}

/* Expands it for a harmless movie, so that "..", ".millrace" and long components show at start. */
static int try_out(const struct mr_naming *n, struct mr_err *err)
{
    static const struct mr_naming_movie movie = {.agent = "a",
                                                 .session = "s",
                                                 .day = "2026-11-22",
                                                 .path = "p/n.mrc",
                                                 .format = "mrc",
                                                 .output = MR_OUTPUT_KEEP};
    char path[MR_NAMING_PATH_MAX + 1];
    return mr_naming_path(n, &movie, path, err);
}

static void naming_free(struct mr_naming **naming)
{
    mr_naming_free(*naming);
}

int mr_naming_new(const char *template_text, const char *site, struct mr_naming **ret,
                  struct mr_err *err)
{
    MR_CLEANUP(naming_free) struct mr_naming *n = calloc(1, sizeof(*n));
    if (!n || !(n->literals = malloc(strlen(template_text) + 1)) || !(n->site = strdup(site)))
        return mr_err_errno(err, -ENOMEM, "store.path");
    int r = cut_template(n, template_text, err);
    if (r == 0)
        r = check_literals(n, template_text, err);
    if (r == 0)
        r = check_shape(n, err);
    if (r == 0)
        r = check_value("site", site, err);
    if (r == 0)
        r = try_out(n, err);
    if (r < 0) {
        mr_err_prefix(err, "'%s'", template_text);
        return r;
    }
    *ret = n;
    n = NULL;
    return 0;
}

void mr_naming_free(struct mr_naming *naming)
{
    if (!naming)
        return;
    free(naming->literals);
    free(naming->site);
    free(naming);
}

/* ---- expansion ---- */

static int check_movie(const struct mr_naming_movie *m, struct mr_err *err)
{
    size_t bytes = strlen(m->agent);
    if (bytes == 0 || bytes > MR_NAME_MAX || !mr_text_is_plain(m->agent))
        return refuse(err, "agent", m->agent, "a name is [A-Za-z0-9._-]{1,64}");
    int r = check_value("agent", m->agent, err);
    if (r == 0)
        r = check_value("session", m->session, err);
    if (r == 0 && m->day[0] != '\0' &&
        (strlen(m->day) != 10 || strspn(m->day, "0123456789-") != 10))
        r = refuse(err, "day", m->day, "a day is YYYY-MM-DD");
    return r == 0 ? mr_naming_check(m->path, err) : r;
}

static const char *piece_value(const struct mr_naming *n, const struct mr_naming_movie *m,
                               enum piece_kind kind)
{
    switch (kind) {
    case AGENT:
        return m->agent;
    case SITE:
        return n->site;
    case SESSION:
        return m->session;
    case NAME:
        return mr_text_last(m->path);
    case DATE:
        return m->day;
    case PATH:
        return m->path;
    case LITERAL:
        break;
    }
    return "";
}

static void expand(const struct mr_naming *n, const struct mr_naming_movie *m, struct mr_text *t)
{
    for (size_t i = 0; i < n->count; i++) {
        const struct piece *p = &n->pieces[i];
        if (p->kind == LITERAL)
            mr_text_append_bytes(t, n->literals + p->at, p->bytes);
        else
            mr_text_append_escaped(t, piece_value(n, m, p->kind));
    }
}

/* Drops components that empty placeholders left, in place, and checks the rest. */
static int tidy(char *path, struct mr_err *err)
{
    size_t to = 0;
    for (const char *s = path; *s != '\0';) {
        size_t bytes = strcspn(s, "/");
        bool more = s[bytes] == '/';
        if (bytes > 0) {
            const char *fault = component_fault(s, bytes);
            if (fault)
                return refuse(err, "name", path, fault);
            if (bytes > MR_NAMING_COMPONENT_MAX)
                return refuse(err, "name", path, "a component is over 255 bytes");
            memmove(path + to, s, bytes);
            to += bytes;
            if (more)
                path[to++] = '/';
        }
        s += bytes + (more ? 1 : 0);
    }
    path[to] = '\0';
    return 0;
}

/* path[0, stem) + tail into ret; the stem gives way, by whole characters, where the name would
 * pass 255 bytes. */
static int compose(const char *path, size_t stem, const char *tail, char *ret)
{
    size_t name = (size_t)(mr_text_last(path) - path),
           room = MR_NAMING_COMPONENT_MAX - strlen(tail);
    if (stem - name > room) {
        stem = name + room;
        while (stem > name + 1 && ((unsigned char)path[stem] & 0xc0) == 0x80)
            stem--;
    }
    struct mr_text t = mr_text_init(ret, MR_NAMING_PATH_MAX + 1);
    mr_text_append_bytes(&t, path, stem);
    mr_text_append(&t, tail);
    return t.overflowed ? -ENAMETOOLONG : 0;
}

int mr_naming_path(const struct mr_naming *naming, const struct mr_naming_movie *movie, char *ret,
                   struct mr_err *err)
{
    char path[MR_NAMING_PATH_MAX + 1];
    int r = check_movie(movie, err);
    if (r < 0)
        return r;
    struct mr_text t = mr_text_init(path, sizeof(path));
    expand(naming, movie, &t);
    if (t.overflowed)
        return mr_err_set(err, -ENAMETOOLONG, "final path is over %d bytes", MR_NAMING_PATH_MAX);
    r = tidy(path, err);
    if (r < 0)
        return r;
    const char *extension = mr_output_extension(movie->output, movie->format);
    r = extension ? compose(path, mr_output_stem(path), extension, ret)
                  : compose(path, strlen(path), "", ret);
    if (r < 0)
        mr_err_set(err, r, "final path is over %d bytes", MR_NAMING_PATH_MAX);
    return r;
}

int mr_naming_candidate(const char *path, uint32_t n, char *ret)
{
    char tail[MR_EXTENSION_MAX + 32];
    struct mr_text t = mr_text_init(tail, sizeof(tail));
    size_t stem = strlen(path);
    if (n > 1) {
        stem = mr_output_stem(path);
        mr_text_appendf(&t, "_dup%u%s", n, path + stem);
    }
    return compose(path, stem, tail, ret);
}

void mr_naming_old(const struct mr_ulid *id, uint32_t revision, char ret[MR_NAMING_OLD])
{
    char text[MR_ULID_TEXT];
    (void)snprintf(ret, MR_NAMING_OLD, "%s.r%u", mr_ulid_text(id, text), revision);
}
