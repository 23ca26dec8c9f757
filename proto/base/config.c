/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A YAML tree brought into a struct by a table of keys. Knows no key of any program. Errors are
 * found in the file's order, one at a time.
 */
#include "base/config.h"

#include "base/config_value.h"
#include "base/fs.h"
#include "base/yaml_tree.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 256, ROWS_MAX = 128, WHY_BYTES = 400 };

struct place {
    char *path;
    size_t line, column;
    const char *option; /* what set it over the file, or NULL */
};

struct mr_config_places {
    char *file;
    struct place *items;
    size_t count, room;
};

/* ---- places ---- */

static struct mr_config_places *new_places(const char *file)
{
    struct mr_config_places *places = calloc(1, sizeof(*places));
    if (places != NULL)
        places->file = strdup(file);
    if (places != NULL && places->file == NULL) {
        free(places);
        return NULL;
    }
    return places;
}

void mr_config_places_free(struct mr_config_places *places)
{
    if (places == NULL)
        return;
    for (size_t i = 0; i < places->count; i++)
        free(places->items[i].path);
    free(places->items);
    free(places->file);
    free(places);
}

static int add_place(struct mr_config_places *places, const char *path,
                     const struct mr_yaml_node *node)
{
    if (places->count == places->room) {
        size_t room = places->room == 0 ? 32 : 2 * places->room;
        struct place *items = realloc(places->items, room * sizeof(*items));
        if (items == NULL)
            return -ENOMEM;
        places->items = items;
        places->room = room;
    }
    char *copy = strdup(path);
    if (copy == NULL)
        return -ENOMEM;
    places->items[places->count++] =
        (struct place){.path = copy, .line = node->line, .column = node->column};
    return 0;
}

static const struct place *find_place(const struct mr_config_places *places, const char *path)
{
    for (size_t i = places == NULL ? 0 : places->count; i-- > 0;) /* the last one counts */
        if (strcmp(places->items[i].path, path) == 0)
            return &places->items[i];
    return NULL;
}

bool mr_config_has(const struct mr_config_places *places, const char *path)
{
    return find_place(places, path) != NULL;
}

int mr_config_error(const struct mr_config_places *places, struct mr_err *err, const char *path,
                    const char *fmt, ...)
{
    const struct place *place = find_place(places, path);
    char text[WHY_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (place != NULL && place->option != NULL)
        return mr_err_set(err, -EINVAL, "%s: %s: %s", place->option, path, text);
    if (place != NULL)
        return mr_err_set(err, -EINVAL, "%s:%zu:%zu: %s: %s", places->file, place->line,
                          place->column, path, text);
    if (places != NULL)
        return mr_err_set(err, -EINVAL, "%s: %s: %s", places->file, path, text);
    return mr_err_set(err, -EINVAL, "%s: %s", path, text);
}

/* ---- loading ---- */

struct loading {
    struct mr_config_places *places;
    struct mr_err *err;
    const char *option; /* stands for file, line and column in errors; NULL: a file is read */
};

/* One map of the file on its way into one struct; a section is the same struct under a longer
 * prefix. */
struct scope {
    const struct mr_config_key *table;
    void *target;
    char section[PATH_BYTES]; /* "" or "memory.": in front of the keys, in the table */
    char shown[PATH_BYTES];   /* "" or "watch[0].": in front of the table's paths, in errors */
    bool *seen;               /* per row */
};

static int load_map(struct loading *l, const struct scope *scope, const struct mr_yaml_node *map);

/* A path that does not fit is cut: no row is as long, so it is unknown either way. */
static const char *join(char *ret, size_t size, const char *a, const char *b, const char *c)
{
    struct mr_text t = mr_text_init(ret, size);
    mr_text_append(&t, a);
    mr_text_append(&t, b);
    mr_text_append(&t, c);
    return ret;
}

static int no_memory(struct loading *l)
{
    return mr_err_errno(l->err, -ENOMEM, "%s", l->places->file);
}

static int fail(struct loading *l, const struct mr_yaml_node *node, const char *path,
                const char *fmt, ...) MR_PRINTF(4, 5);

static int fail(struct loading *l, const struct mr_yaml_node *node, const char *path,
                const char *fmt, ...)
{
    char text[WHY_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (l->option != NULL)
        return mr_err_set(l->err, -EINVAL, "%s: %s: %s", l->option, path, text);
    return mr_err_set(l->err, -EINVAL, "%s:%zu:%zu: %s: %s", l->places->file,
                      node == NULL ? (size_t)1 : node->line,
                      node == NULL ? (size_t)1 : node->column, path, text);
}

static size_t count_rows(const struct mr_config_key *table)
{
    size_t count = 0;
    while (table[count].path != NULL)
        count++;
    assert(count <= ROWS_MAX);
    return count;
}

static const struct mr_config_key *find_row(const struct mr_config_key *table, const char *path)
{
    for (; table->path != NULL; table++)
        if (strcmp(table->path, path) == 0)
            return table;
    return NULL;
}

static bool starts_with(const char *s, const char *start)
{
    return strncmp(s, start, strlen(start)) == 0;
}

static bool is_section(const struct mr_config_key *table, const char *path)
{
    size_t length = strlen(path);
    for (; table->path != NULL; table++)
        if (starts_with(table->path, path) && table->path[length] == '.')
            return true;
    return false;
}

/* What may be meant by an unknown key: a near name in the same section, else the same name
 * elsewhere. */
static int unknown_key(struct loading *l, const struct scope *scope, const struct mr_yaml_node *key,
                       const char *shown)
{
    static const struct mr_config_key none = {0};
    char copies[ROWS_MAX][64];
    const char *names[ROWS_MAX] = {NULL};
    size_t count = 0, skip = strlen(scope->section);
    const struct mr_config_key *elsewhere = &none;
    for (const struct mr_config_key *row = scope->table; row->path != NULL; row++) {
        const char *dot = strrchr(row->path, '.');
        if (strcmp(dot == NULL ? row->path : dot + 1, key->text) == 0)
            elsewhere = row;
        if (!starts_with(row->path, scope->section) || count == ROWS_MAX)
            continue;
        snprintf(copies[count], sizeof(copies[0]), "%.*s", (int)strcspn(row->path + skip, "."),
                 row->path + skip);
        names[count] = copies[count];
        count++;
    }
    const char *nearest = mr_text_nearest(key->text, names, count);
    if (nearest != NULL)
        return fail(l, key, shown, "unknown key; did you mean %s?", nearest);
    if (elsewhere->path != NULL)
        return fail(l, key, shown, "unknown key; did you mean %s?", elsewhere->path);
    return fail(l, key, shown, "unknown key");
}

static bool is_null(const struct mr_yaml_node *node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    for (size_t i = 0; node->plain && i < sizeof(nulls) / sizeof(nulls[0]); i++)
        if (strcmp(node->text, nulls[i]) == 0)
            return true;
    return false;
}

static int need_scalar(struct loading *l, const struct mr_yaml_node *node, const char *shown)
{
    if (node->kind != MR_YAML_SCALAR)
        return fail(l, node, shown, "must be one value, not a %s",
                    node->kind == MR_YAML_LIST ? "list" : "map");
    if (is_null(node))
        return fail(l, node, shown, "has no value (an empty text is written \"\")");
    return 0;
}

static int set_scalar(struct loading *l, const struct mr_config_key *row, void *field,
                      const struct mr_yaml_node *node, const char *shown)
{
    char buffer[WHY_BYTES];
    struct mr_text why = mr_text_init(buffer, sizeof(buffer));
    int r = need_scalar(l, node, shown);
    if (r < 0)
        return r;
    r = mr_config_value_set(row, node->text, field, &why);
    if (r == -ENOMEM)
        return no_memory(l);
    return r < 0 ? fail(l, node, shown, "%s", why.data) : 0;
}

static int check_count(struct loading *l, const struct mr_config_key *row, size_t count,
                       const struct mr_yaml_node *node, const char *shown)
{
    size_t min = (size_t)row->min;
    size_t max = row->max == 0 ? MR_CONFIG_ENTRIES_MAX : (size_t)row->max;
    if (count >= min && count <= max)
        return 0;
    return fail(l, node, shown, "has %zu entries; must have %zu to %zu", count, min, max);
}

static int set_string_entry(struct loading *l, const struct mr_config_key *row, char **item,
                            const struct mr_yaml_node *node, const char *shown)
{
    char buffer[WHY_BYTES];
    struct mr_text why = mr_text_init(buffer, sizeof(buffer));
    int r = need_scalar(l, node, shown);
    if (r < 0)
        return r;
    if (mr_config_value_check_string(row, node->text, &why) < 0)
        return fail(l, node, shown, "%s", why.data);
    return mr_config_set_string(item, node->text) < 0 ? no_memory(l) : 0;
}

static int set_strings(struct loading *l, const struct mr_config_key *row,
                       struct mr_config_strings *list, const struct mr_yaml_node *node,
                       const char *shown)
{
    bool single = node->kind == MR_YAML_SCALAR;
    size_t count = single ? 1 : node->count;
    if (node->kind == MR_YAML_MAP)
        return fail(l, node, shown, "must be a list, not a map");
    int r = check_count(l, row, count, node, shown);
    if (r < 0)
        return r;
    mr_config_value_free(row, list);
    list->items = calloc(count + 1, sizeof(char *));
    if (list->items == NULL)
        return no_memory(l);
    list->count = count;
    const struct mr_yaml_node *entry = single ? node : node->first;
    for (size_t i = 0; i < count; i++, entry = entry->next) {
        char path[PATH_BYTES + 32];
        snprintf(path, sizeof(path), single ? "%s" : "%s[%zu]", shown, i);
        r = set_string_entry(l, row, &list->items[i], entry, path);
        if (r < 0)
            return r;
    }
    return 0;
}

static int load_target(struct loading *l, const struct mr_config_key *table, void *target,
                       const struct mr_yaml_node *map, const char *shown);

static int set_maps(struct loading *l, const struct mr_config_key *row, struct mr_config_maps *maps,
                    const struct mr_yaml_node *node, const char *shown)
{
    if (node->kind != MR_YAML_LIST)
        return fail(l, node, shown, "must be a list of maps (each entry begins with \"- \")");
    int r = check_count(l, row, node->count, node, shown);
    if (r < 0)
        return r;
    mr_config_value_free(row, maps);
    maps->items = calloc(node->count + 1, row->entry_bytes);
    if (maps->items == NULL)
        return no_memory(l);
    maps->count = node->count;
    const struct mr_yaml_node *entry = node->first;
    for (size_t i = 0; i < maps->count; i++, entry = entry->next) {
        char path[PATH_BYTES];
        snprintf(path, sizeof(path), "%.*s[%zu].", PATH_BYTES - 32, shown, i);
        void *target = (char *)maps->items + i * row->entry_bytes;
        r = load_target(l, row->keys, target, entry, path);
        if (r < 0)
            return r;
    }
    return 0;
}

static int set_field(struct loading *l, const struct mr_config_key *row, void *field,
                     const struct mr_yaml_node *node, const char *shown)
{
    if (row->type == MR_CONFIG_STRINGS)
        return set_strings(l, row, field, node, shown);
    if (row->type == MR_CONFIG_MAPS)
        return set_maps(l, row, field, node, shown);
    return set_scalar(l, row, field, node, shown);
}

static int load_section(struct loading *l, const struct scope *scope, const char *path,
                        const struct mr_yaml_node *value, const char *shown)
{
    struct scope inner = *scope;
    if (value->kind != MR_YAML_MAP)
        return fail(l, value, shown, "must be a map of keys");
    join(inner.section, sizeof(inner.section), path, ".", "");
    return load_map(l, &inner, value);
}

static int load_pair(struct loading *l, const struct scope *scope, const struct mr_yaml_node *key)
{
    char path[PATH_BYTES], shown[2 * PATH_BYTES];
    const struct mr_yaml_node *value = key->next;
    join(path, sizeof(path), scope->section, key->text, "");
    join(shown, sizeof(shown), scope->shown, path, "");
    const struct mr_config_key *row = find_row(scope->table, path);
    if (strchr(key->text, '.') != NULL)
        return fail(l, key, shown, "unknown key; sections are nested, not joined by dots");
    if (row == NULL && is_section(scope->table, path))
        return load_section(l, scope, path, value, shown);
    if (row == NULL)
        return unknown_key(l, scope, key, shown);
    scope->seen[row - scope->table] = true;
    if (add_place(l->places, shown, value) < 0)
        return no_memory(l);
    return set_field(l, row, mr_config_field(row, scope->target), value, shown);
}

/* Unknown keys end the walk, so a map has no more keys than the table when this is called. */
static int check_duplicate(struct loading *l, const struct scope *scope,
                           const struct mr_yaml_node *map, const struct mr_yaml_node *key)
{
    for (const struct mr_yaml_node *k = map->first; k != key; k = k->next->next) {
        if (strcmp(k->text, key->text) != 0)
            continue;
        char shown[2 * PATH_BYTES];
        join(shown, sizeof(shown), scope->shown, scope->section, key->text);
        return fail(l, key, shown, "is there twice; first in line %zu", k->line);
    }
    return 0;
}

static int load_map(struct loading *l, const struct scope *scope, const struct mr_yaml_node *map)
{
    for (const struct mr_yaml_node *key = map->first; key != NULL; key = key->next->next) {
        int r = check_duplicate(l, scope, map, key);
        if (r == 0)
            r = load_pair(l, scope, key);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Defaults, then the map's keys; then nothing required may be missing. map NULL: an empty file. */
static int load_target(struct loading *l, const struct mr_config_key *table, void *target,
                       const struct mr_yaml_node *map, const char *shown)
{
    bool seen[ROWS_MAX] = {false};
    struct scope scope = {.table = table, .target = target, .seen = seen};
    join(scope.shown, sizeof(scope.shown), shown, "", "");
    if (mr_config_defaults(table, target) < 0)
        return no_memory(l);
    if (map != NULL && map->kind != MR_YAML_MAP) {
        char path[PATH_BYTES]; /* "watch[0]." without its dot */
        snprintf(path, sizeof(path), "%.*s", *shown == '\0' ? 0 : (int)strlen(shown) - 1, shown);
        return fail(l, map, *path == '\0' ? "the file" : path, "must be a map of keys");
    }
    int r = map == NULL ? 0 : load_map(l, &scope, map);
    for (size_t i = 0; r == 0 && i < count_rows(table); i++) {
        char path[2 * PATH_BYTES];
        join(path, sizeof(path), shown, table[i].path, "");
        if (table[i].default_text == NULL && !seen[i])
            r = fail(l, map, path, "missing (%s)", table[i].help);
    }
    return r;
}

/* ---- the whole ---- */

static void zero_fields(const struct mr_config_key *table, void *target)
{
    for (; table->path != NULL; table++)
        memset(mr_config_field(table, target), 0, mr_config_value_bytes(table->type));
}

void mr_config_free(const struct mr_config_key *table, void *target)
{
    for (; table->path != NULL; table++)
        mr_config_value_free(table, mr_config_field(table, target));
}

/* Through the same code as a file's value, so that a default cannot be what a file may not say. */
static int set_default(struct loading *l, const struct mr_config_key *row, void *field)
{
    struct mr_yaml_node scalar = {.kind = MR_YAML_SCALAR};
    struct mr_yaml_tree *tree = NULL;
    if (row->type != MR_CONFIG_STRINGS && row->type != MR_CONFIG_MAPS) {
        scalar.text = (char *)(uintptr_t)row->default_text;
        return set_field(l, row, field, &scalar, row->path);
    }
    int r =
        mr_yaml_tree_parse("default", row->default_text, strlen(row->default_text), &tree, l->err);
    if (r == 0)
        r = set_field(l, row, field, mr_yaml_tree_root(tree), row->path);
    mr_yaml_tree_free(tree);
    return r;
}

int mr_config_defaults(const struct mr_config_key *table, void *target)
{
    char file[] = "default";
    struct mr_config_places places = {.file = file};
    struct loading l = {.places = &places};
    zero_fields(table, target);
    for (const struct mr_config_key *row = table; row->path != NULL; row++) {
        int r = row->default_text == NULL ? 0 : set_default(&l, row, mr_config_field(row, target));
        assert(r == 0 || r == -ENOMEM); /* a default that its own row does not accept */
        if (r < 0) {
            mr_config_free(table, target);
            return r;
        }
    }
    return 0;
}

int mr_config_parse(const char *name, const char *text, size_t bytes,
                    const struct mr_config_key *table, void *target,
                    struct mr_config_places **ret_places, struct mr_err *err)
{
    struct mr_yaml_tree *tree = NULL;
    struct loading l = {.places = new_places(name), .err = err};
    zero_fields(table, target);
    if (l.places == NULL)
        return mr_err_errno(err, -ENOMEM, "%s", name);
    int r = mr_yaml_tree_parse(name, text, bytes, &tree, err);
    if (r == 0)
        r = load_target(&l, table, target, mr_yaml_tree_root(tree), "");
    mr_yaml_tree_free(tree);
    if (r < 0)
        mr_config_free(table, target);
    if (r < 0 || ret_places == NULL)
        mr_config_places_free(l.places);
    else
        *ret_places = l.places;
    return r;
}

/* The value of a list is YAML; all others are taken as they stand ("{agent}/{path}" needs no
 * quotes). */
static int override_row(struct loading *l, const struct mr_config_key *row, void *field,
                        const char *value)
{
    struct mr_yaml_node scalar = {.kind = MR_YAML_SCALAR, .text = (char *)(uintptr_t)value};
    struct mr_yaml_tree *tree = NULL;
    if (row->type != MR_CONFIG_STRINGS && row->type != MR_CONFIG_MAPS)
        return set_scalar(l, row, field, &scalar, row->path);
    int r = mr_yaml_tree_parse(l->option, value, strlen(value), &tree, l->err);
    if (r == 0)
        r = mr_yaml_tree_root(tree) == NULL
                ? fail(l, &scalar, row->path, "has no value (an empty list is written [])")
                : set_field(l, row, field, mr_yaml_tree_root(tree), row->path);
    mr_yaml_tree_free(tree);
    return r;
}

static int no_such_key(const struct mr_config_key *table, const char *option, const char *path,
                       struct mr_err *err)
{
    const char *names[ROWS_MAX] = {NULL};
    size_t count = count_rows(table);
    for (size_t i = 0; i < count; i++)
        names[i] = table[i].path;
    const char *nearest = mr_text_nearest(path, names, count);
    if (nearest == NULL)
        return mr_err_set(err, -EINVAL, "%s: %s: unknown key", option, path);
    return mr_err_set(err, -EINVAL, "%s: %s: unknown key; did you mean %s?", option, path, nearest);
}

int mr_config_override(const struct mr_config_key *table, void *target,
                       struct mr_config_places *places, const char *option, const char *assignment,
                       struct mr_err *err)
{
    char path[PATH_BYTES];
    const struct mr_yaml_node nowhere = {.kind = MR_YAML_SCALAR};
    struct loading l = {.places = places, .err = err, .option = option};
    const char *equals = strchr(assignment, '=');
    if (equals == NULL)
        return mr_err_set(err, -EINVAL, "%s: %s: is no key=value", option, assignment);
    snprintf(path, sizeof(path), "%.*s", (int)(equals - assignment), assignment);
    const struct mr_config_key *row = find_row(table, path);
    if (row == NULL)
        return no_such_key(table, option, path, err);
    size_t count = places->count;
    int r = override_row(&l, row, mr_config_field(row, target), equals + 1);
    if (r == 0 && add_place(places, path, &nowhere) < 0)
        r = no_memory(&l);
    for (size_t i = count; i < places->count; i++)
        places->items[i].option = option;
    return r;
}

int mr_config_load(const char *file, const struct mr_config_key *table, void *target,
                   struct mr_config_places **ret_places, struct mr_err *err)
{
    char *text;
    size_t bytes;
    int r = mr_fs_read_file(AT_FDCWD, file, MR_CONFIG_FILE_MAX, &text, &bytes);
    if (r < 0)
        return mr_err_errno(err, r, "%s", file);
    r = mr_config_parse(file, text, bytes, table, target, ret_places, err);
    free(text);
    return r;
}
