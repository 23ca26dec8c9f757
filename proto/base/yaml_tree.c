/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libyaml's events made into a tree. Knows no key and no type. Aliases are refused here, since a
 * few hundred bytes of them can stand for gigabytes.
 */
#include "base/yaml_tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct mr_yaml_tree {
    const char *name; /* borrowed while parsing */
    struct mr_err *err;
    struct mr_yaml_node *root;
    struct mr_yaml_node *newest; /* all nodes, linked by `before` */
    struct mr_yaml_node *open[MR_YAML_DEPTH_MAX];
    size_t depth;
    size_t documents;
};

static int refuse(struct mr_yaml_tree *t, yaml_mark_t mark, const char *why)
{
    return mr_err_set(t->err, -EINVAL, "%s:%zu:%zu: %s", t->name, mark.line + 1, mark.column + 1,
                      why);
}

/* A scalar where the parent map wants a key, anything where it wants a value. */
static int attach(struct mr_yaml_tree *t, struct mr_yaml_node *node, yaml_mark_t mark)
{
    struct mr_yaml_node *parent = t->depth > 0 ? t->open[t->depth - 1] : NULL;
    if (parent == NULL) {
        t->root = node;
        return 0;
    }
    size_t children = parent->count++;
    if (parent->kind == MR_YAML_MAP && children % 2 == 0 && node->kind != MR_YAML_SCALAR)
        return refuse(t, mark, "a key must be a plain word");
    if (parent->last == NULL)
        parent->first = node;
    else
        parent->last->next = node;
    parent->last = node;
    return 0;
}

static int add_node(struct mr_yaml_tree *t, enum mr_yaml_kind kind, yaml_mark_t mark,
                    struct mr_yaml_node **ret)
{
    struct mr_yaml_node *node = calloc(1, sizeof(*node));
    if (node == NULL)
        return mr_err_errno(t->err, -ENOMEM, "%s", t->name);
    *node = (struct mr_yaml_node){
        .kind = kind, .line = mark.line + 1, .column = mark.column + 1, .before = t->newest};
    t->newest = node;
    *ret = node;
    return attach(t, node, mark);
}

static int add_scalar(struct mr_yaml_tree *t, const yaml_event_t *e)
{
    struct mr_yaml_node *node = NULL;
    const char *text = (const char *)e->data.scalar.value;
    size_t bytes = e->data.scalar.length;
    if (e->data.scalar.anchor != NULL || e->data.scalar.tag != NULL)
        return refuse(t, e->start_mark, "anchors and tags are not supported");
    if (memchr(text, '\0', bytes) != NULL)
        return refuse(t, e->start_mark, "a text must not contain NUL");
    int r = add_node(t, MR_YAML_SCALAR, e->start_mark, &node);
    if (r < 0)
        return r;
    node->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    node->text = malloc(bytes + 1);
    if (node->text == NULL)
        return mr_err_errno(t->err, -ENOMEM, "%s", t->name);
    memcpy(node->text, text, bytes);
    node->text[bytes] = '\0';
    return 0;
}

static int open_node(struct mr_yaml_tree *t, enum mr_yaml_kind kind, const yaml_event_t *e)
{
    struct mr_yaml_node *node = NULL;
    bool map = kind == MR_YAML_MAP;
    const void *anchor = map ? e->data.mapping_start.anchor : e->data.sequence_start.anchor;
    const void *tag = map ? e->data.mapping_start.tag : e->data.sequence_start.tag;
    if (anchor != NULL || tag != NULL)
        return refuse(t, e->start_mark, "anchors and tags are not supported");
    if (t->depth == MR_YAML_DEPTH_MAX)
        return refuse(t, e->start_mark, "nested too deeply");
    int r = add_node(t, kind, e->start_mark, &node);
    if (r == 0)
        t->open[t->depth++] = node;
    return r;
}

static void close_node(struct mr_yaml_tree *t)
{
    struct mr_yaml_node *node = t->open[--t->depth];
    if (node->kind == MR_YAML_MAP)
        node->count /= 2;
}

static int take_event(struct mr_yaml_tree *t, const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        return ++t->documents > 1 ? refuse(t, e->start_mark, "a second document") : 0;
    case YAML_ALIAS_EVENT:
        return refuse(t, e->start_mark, "aliases are not supported");
    case YAML_SCALAR_EVENT:
        return add_scalar(t, e);
    case YAML_SEQUENCE_START_EVENT:
        return open_node(t, MR_YAML_LIST, e);
    case YAML_MAPPING_START_EVENT:
        return open_node(t, MR_YAML_MAP, e);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        close_node(t);
        return 0;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        break;
    }
    return 0;
}

/* Where the reader fails (encoding), libyaml knows the offset only. */
static yaml_mark_t mark_at(const char *text, size_t bytes, size_t offset)
{
    yaml_mark_t mark = {0};
    for (size_t i = 0; i < offset && i < bytes; i++) {
        mark.column = text[i] == '\n' ? 0 : mark.column + 1;
        mark.line += text[i] == '\n';
    }
    return mark;
}

static bool line_has_tab(const char *text, size_t bytes, size_t line)
{
    for (size_t i = 0; i < bytes; i++) {
        if (line == 0 && text[i] == '\t')
            return true;
        if (text[i] == '\n' && line-- == 0)
            return false;
    }
    return false;
}

static int explain(struct mr_yaml_tree *t, const yaml_parser_t *p, const char *text, size_t bytes)
{
    if (p->error == YAML_MEMORY_ERROR)
        return mr_err_errno(t->err, -ENOMEM, "%s", t->name);
    yaml_mark_t mark =
        p->error == YAML_READER_ERROR ? mark_at(text, bytes, p->problem_offset) : p->problem_mark;
    char why[200];
    snprintf(why, sizeof(why), "%s%s%s%s", p->problem == NULL ? "not YAML" : p->problem,
             p->context == NULL ? "" : ", ", p->context == NULL ? "" : p->context,
             line_has_tab(text, bytes, mark.line) ? " (tabs may not indent; use blanks)" : "");
    return refuse(t, mark, why);
}

static int build(struct mr_yaml_tree *t, yaml_parser_t *p, const char *text, size_t bytes)
{
    for (bool done = false; !done;) {
        yaml_event_t e;
        if (yaml_parser_parse(p, &e) == 0)
            return explain(t, p, text, bytes);
        done = e.type == YAML_STREAM_END_EVENT;
        int r = take_event(t, &e);
        yaml_event_delete(&e);
        if (r < 0)
            return r;
    }
    return 0;
}

int mr_yaml_tree_parse(const char *name, const char *text, size_t bytes, struct mr_yaml_tree **ret,
                       struct mr_err *err)
{
    yaml_parser_t parser;
    struct mr_yaml_tree *t = calloc(1, sizeof(*t));
    if (t == NULL || yaml_parser_initialize(&parser) == 0) {
        free(t);
        return mr_err_errno(err, -ENOMEM, "%s", name);
    }
    t->name = name;
    t->err = err;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, bytes);
    int r = build(t, &parser, text, bytes);
    yaml_parser_delete(&parser);
    if (r < 0)
        mr_yaml_tree_free(t);
    else
        *ret = t;
    return r;
}

const struct mr_yaml_node *mr_yaml_tree_root(const struct mr_yaml_tree *tree)
{
    return tree->root;
}

void mr_yaml_tree_free(struct mr_yaml_tree *tree)
{
    if (tree == NULL)
        return;
    for (struct mr_yaml_node *node = tree->newest; node != NULL;) {
        struct mr_yaml_node *before = node->before;
        free(node->text);
        free(node);
        node = before;
    }
    free(tree);
}

const char *mr_yaml_tree_library(void)
{
    static _Thread_local char text[32];
    snprintf(text, sizeof(text), "libyaml %s", yaml_get_version_string());
    return text;
}
