/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration: YAML read by one table of keys per program into one struct. A row says all there
 * is to know of a key; loading, printing, comparing and freeing follow from the table. What is
 * wrong in a file is "agent.yaml:12:5: watch[0].path: why", with the nearest known key where the
 * key is not known.
 *
 * Not accepted: unknown and duplicate keys, anchors and aliases, tags, several documents, files
 * over MR_CONFIG_FILE_MAX, empty values (write "" for an empty string). For one thread at a time.
 */
#ifndef MR_BASE_CONFIG_H
#define MR_BASE_CONFIG_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define MR_CONFIG_FILE_MAX (1024u * 1024u) /* bytes */

/* The field at `offset`, and what min and max count */
enum mr_config_type {
    MR_CONFIG_STRING,   /* char *, owned; bytes. No control characters */
    MR_CONFIG_STRINGS,  /* struct mr_config_strings; entries. A single scalar is a list of one */
    MR_CONFIG_SIZE,     /* uint64_t bytes: "512MiB" */
    MR_CONFIG_DURATION, /* int64_t ns: "10min" */
    MR_CONFIG_INT,      /* int64_t. With `names`: name i may be written instead and is -1 - i */
    MR_CONFIG_OCTAL,    /* uint32_t: permissions, "0640" */
    MR_CONFIG_PERCENT,  /* uint32_t, hundredths of a percent: "2%" is 200 */
    MR_CONFIG_BOOL,     /* bool: true or false */
    MR_CONFIG_ENUM,     /* int: index in `names` */
    MR_CONFIG_MAPS,     /* struct mr_config_maps; entries. Maps with a table of their own */
};

struct mr_config_strings {
    char **items;
    size_t count;
};

struct mr_config_maps {
    void *items; /* count structs of entry_bytes behind each other */
    size_t count;
};

struct mr_config_key {
    const char *path; /* "memory.pool"; rows of one section stand together. NULL ends the table */
    enum mr_config_type type;
    size_t offset;            /* of the field in the target (in the entry, for rows of `keys`) */
    const char *default_text; /* as written in YAML, but strings bare; lists in flow style: "[]",
                               * "[\"*\"]". NULL: required */
    int64_t min, max;         /* inclusive; both 0: anything */
    const char *const *names; /* ENUM, INT: NULL-terminated */
    const struct mr_config_key *keys; /* MAPS: the entries' table */
    size_t entry_bytes;               /* MAPS: sizeof an entry */
    /* STRING, STRINGS: NULL where text is acceptable, else why not ("must be ..."); may be NULL */
    const char *(*refuse)(const char *text);
    bool reloads;     /* may change at SIGHUP; for MAPS: the list as a whole */
    const char *help; /* one line */
};

/* For a row's `refuse`; both accept "", which `min` is there to refuse. */
const char *mr_config_refuse_name(const char *text);     /* not mr_text_is_plain */
const char *mr_config_refuse_relative(const char *text); /* a path that is not absolute */

/* Where each key stood; for errors found after loading. */
struct mr_config_places;

/* Reads the file into target (overwritten; what it held is not freed). On error its fields are
 * zero. ret_places (may be NULL) is owned. -errno of the file; -EINVAL; -ENOMEM. */
int mr_config_load(const char *file, const struct mr_config_key *table, void *target,
                   struct mr_config_places **ret_places, struct mr_err *err) MR_MUST_USE;

/* The same from memory; name stands for the file in errors. */
int mr_config_parse(const char *name, const char *text, size_t bytes,
                    const struct mr_config_key *table, void *target,
                    struct mr_config_places **ret_places, struct mr_err *err) MR_MUST_USE;

/* Defaults alone; required keys stay zero (NULL, 0, empty). -ENOMEM. */
int mr_config_defaults(const struct mr_config_key *table, void *target) MR_MUST_USE;

/* Frees what target's fields own and zeroes them. An all-zero target is allowed. */
void mr_config_free(const struct mr_config_key *table, void *target);

/* Sets one key over what was loaded, checked like a file's: assignment is "memory.pool=64MiB", the
 * value as it stands, without quotes; of a list, YAML in flow style. option ("--set", borrowed
 * until places are freed) stands for the file in errors, also in later ones about this key.
 * Required keys must be in the file all the same. -EINVAL; -ENOMEM. */
int mr_config_override(const struct mr_config_key *table, void *target,
                       struct mr_config_places *places, const char *option, const char *assignment,
                       struct mr_err *err) MR_MUST_USE;

/* Sets a STRING field: owned strings of a target are changed only so. -ENOMEM. */
int mr_config_set_string(char **field, const char *value) MR_MUST_USE;

/* Fills err with "file:line:column: path: text" (without line and column where the file does not
 * have the key; places NULL: "path: text") and returns -EINVAL. path as in errors: "watch[0].path".
 */
int mr_config_error(const struct mr_config_places *places, struct mr_err *err, const char *path,
                    const char *fmt, ...) MR_PRINTF(4, 5);
bool mr_config_has(const struct mr_config_places *places, const char *path); /* stood in the file */
void mr_config_places_free(struct mr_config_places *places);                 /* NULL allowed */

/* Prints target as YAML that loads to the same target. */
void mr_config_print(const struct mr_config_key *table, const void *target, FILE *out);

/* For SIGHUP: 0 where fresh differs from current only in keys that reload; else -EPERM and err
 * names the first other one with both values. */
int mr_config_check_reload(const struct mr_config_key *table, const void *current,
                           const void *fresh, struct mr_err *err) MR_MUST_USE;

/* For the test that a shipped file is complete and equals the defaults: 0, or -EINVAL where a key
 * of the table is not in the file or has another value than its default (required keys: any value).
 */
int mr_config_check_complete(const struct mr_config_key *table, const void *target,
                             const struct mr_config_places *places, struct mr_err *err) MR_MUST_USE;

#endif
