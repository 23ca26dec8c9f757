/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A YAML document as a tree of nodes that know where they stood. A subset: no anchors, aliases,
 * tags or second documents, keys are scalars, depth at most MR_YAML_DEPTH_MAX. Only config reads
 * it.
 */
#ifndef MR_BASE_YAML_TREE_H
#define MR_BASE_YAML_TREE_H

#include "base/err.h"

#include <stdbool.h>

#define MR_YAML_DEPTH_MAX 32

enum mr_yaml_kind { MR_YAML_SCALAR, MR_YAML_LIST, MR_YAML_MAP };

struct mr_yaml_node {
    enum mr_yaml_kind kind;
    char *text;                         /* scalar: without NUL inside; else NULL */
    bool plain;                         /* scalar without quotes */
    size_t line, column;                /* from 1 */
    size_t count;                       /* list: entries; map: pairs */
    struct mr_yaml_node *first, *next;  /* children; a map's are key, value, key, value ... */
    struct mr_yaml_node *last, *before; /* used while building and freeing */
};

struct mr_yaml_tree;

/* name stands for the file in "name:line:column: why". -EINVAL, -ENOMEM. Returns owned. */
int mr_yaml_tree_parse(const char *name, const char *text, size_t bytes, struct mr_yaml_tree **ret,
                       struct mr_err *err) MR_MUST_USE;
/* NULL for a document without content. Borrowed. */
const struct mr_yaml_node *mr_yaml_tree_root(const struct mr_yaml_tree *tree);
void mr_yaml_tree_free(struct mr_yaml_tree *tree); /* NULL allowed */
const char *mr_yaml_tree_library(void);            /* "libyaml 0.2.5" */

#endif
