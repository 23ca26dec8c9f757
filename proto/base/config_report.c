/* SPDX-License-Identifier: Apache-2.0 */
/* What a loaded configuration says: printed, and compared with another or with the defaults. */
#include "base/config.h"
#include "base/config_value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 512 };

/* ---- printing as block style ---- */

struct printing {
    FILE *out;
    int indent; /* blanks in front of this table's keys */
    bool dash;  /* the next line begins an entry */
};

static void print_rows(const struct mr_config_key *table, const void *target,
                       struct printing printing);

static void begin_line(struct printing *p, int depth)
{
    int blanks = p->indent + 2 * depth;
    if (p->dash)
        fprintf(p->out, "%*s- ", blanks - 2, "");
    else
        fprintf(p->out, "%*s", blanks, "");
    p->dash = false;
}

/* Opens the sections of path that the row before was not in; returns their number. */
static int open_sections(struct printing *p, const char *before, const char *path)
{
    int depth = 0;
    const char *start = path;
    for (const char *dot = strchr(path, '.'); dot != NULL; dot = strchr(dot + 1, '.'), depth++) {
        size_t length = (size_t)(dot + 1 - path);
        if (strncmp(before, path, length) != 0) {
            begin_line(p, depth);
            fprintf(p->out, "%.*s:\n", (int)(dot - start), start);
        }
        start = dot + 1;
    }
    return depth;
}

static void print_entries(const struct mr_config_key *row, const struct mr_config_maps *maps,
                          const struct printing *p, int depth)
{
    if (maps->count == 0)
        fputs(" []\n", p->out);
    else
        fputc('\n', p->out);
    for (size_t i = 0; i < maps->count; i++) {
        struct printing inner = {.out = p->out, .indent = p->indent + 2 * depth + 4, .dash = true};
        print_rows(row->keys, (const char *)maps->items + i * row->entry_bytes, inner);
    }
}

static void print_rows(const struct mr_config_key *table, const void *target,
                       struct printing printing)
{
    const char *before = "";
    for (const struct mr_config_key *row = table; row->path != NULL; row++) {
        const char *dot = strrchr(row->path, '.');
        int depth = open_sections(&printing, before, row->path);
        begin_line(&printing, depth);
        fprintf(printing.out, "%s:", dot == NULL ? row->path : dot + 1);
        if (row->type == MR_CONFIG_MAPS) {
            print_entries(row, mr_config_field_const(row, target), &printing, depth);
        } else {
            fputc(' ', printing.out);
            mr_config_value_print(row, mr_config_field_const(row, target), printing.out);
            fputc('\n', printing.out);
        }
        before = row->path;
    }
}

void mr_config_print(const struct mr_config_key *table, const void *target, FILE *out)
{
    print_rows(table, target, (struct printing){.out = out});
}

/* ---- comparing ---- */

/* Returns owned text, "?" where there is no memory for it. */
static char *value_text(const struct mr_config_key *row, const void *field)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    if (out != NULL && row->type == MR_CONFIG_MAPS)
        fprintf(out, "%zu entries", ((const struct mr_config_maps *)field)->count);
    else if (out != NULL)
        mr_config_value_print(row, field, out);
    if (out == NULL || fclose(out) != 0)
        return strdup("?");
    return text;
}

static int differs(const struct mr_config_key *row, const void *a, const void *b, int code,
                   const char *path, const char *what, struct mr_err *err)
{
    char *text_a = value_text(row, a), *text_b = value_text(row, b);
    mr_err_set(err, code, "%s: %s (%.100s, now %.100s)", path, what, text_a == NULL ? "?" : text_a,
               text_b == NULL ? "?" : text_b);
    free(text_a);
    free(text_b);
    return code;
}

int mr_config_check_reload(const struct mr_config_key *table, const void *current,
                           const void *fresh, struct mr_err *err)
{
    for (const struct mr_config_key *row = table; row->path != NULL; row++) {
        const void *a = mr_config_field_const(row, current);
        const void *b = mr_config_field_const(row, fresh);
        if (!row->reloads && !mr_config_value_equal(row, a, b))
            return differs(row, a, b, -EPERM, row->path,
                           "cannot change while the program runs; restart it", err);
    }
    return 0;
}

static int check_rows(const struct mr_config_key *table, const void *target, const char *shown,
                      const struct mr_config_places *places, struct mr_err *err);

static int check_entries(const struct mr_config_key *row, const struct mr_config_maps *maps,
                         const char *path, const struct mr_config_places *places,
                         struct mr_err *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < maps->count; i++) {
        char shown[PATH_BYTES];
        snprintf(shown, sizeof(shown), "%.*s[%zu].", PATH_BYTES - 32, path, i);
        r = check_rows(row->keys, (const char *)maps->items + i * row->entry_bytes, shown, places,
                       err);
    }
    return r;
}

/* Rows for one default each: mr_config_defaults over a table of one row and its terminator. */
static int check_default(const struct mr_config_key *row, const void *field, const char *path,
                         struct mr_err *err)
{
    union {
        char *string;
        struct mr_config_strings strings;
        struct mr_config_maps maps;
        uint64_t number;
    } standard;
    struct mr_config_key table[2] = {*row, {0}};
    table[0].offset = 0;
    int r = mr_config_defaults(table, &standard);
    if (r < 0)
        return mr_err_errno(err, r, "%s", path);
    if (!mr_config_value_equal(row, &standard, field))
        r = differs(row, &standard, field, -EINVAL, path, "is not the default", err);
    mr_config_free(table, &standard);
    return r;
}

static int check_rows(const struct mr_config_key *table, const void *target, const char *shown,
                      const struct mr_config_places *places, struct mr_err *err)
{
    int r = 0;
    for (const struct mr_config_key *row = table; r == 0 && row->path != NULL; row++) {
        char path[PATH_BYTES];
        const void *field = mr_config_field_const(row, target);
        snprintf(path, sizeof(path), "%s%s", shown, row->path);
        if (!mr_config_has(places, path))
            return mr_err_set(err, -EINVAL, "%s: not in the file", path);
        if (row->default_text != NULL)
            r = check_default(row, field, path, err);
        else if (row->type == MR_CONFIG_MAPS)
            r = check_entries(row, field, path, places, err);
    }
    return r;
}

int mr_config_check_complete(const struct mr_config_key *table, const void *target,
                             const struct mr_config_places *places, struct mr_err *err)
{
    return check_rows(table, target, "", places, err);
}
