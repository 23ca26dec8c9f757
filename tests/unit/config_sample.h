/* SPDX-License-Identifier: Apache-2.0 */
/* A table with a row of each type, for the configuration's unit test and its fuzz target. */
#ifndef MR_TESTS_CONFIG_SAMPLE_H
#define MR_TESTS_CONFIG_SAMPLE_H

#include "base/config.h"

#include <stddef.h>
#include <string.h>

struct sample_watch {
    char *path;
    struct mr_config_strings include;
    int64_t quiet_ns, give_up_ns;
    int output;
};

struct sample {
    char *name;
    struct mr_config_strings endpoints;
    uint64_t pool_bytes;
    int64_t lanes, retries;
    uint32_t keep_free, file_mode;
    bool direct;
    int codec;
    struct mr_config_maps watches; /* struct sample_watch */
};

static const char *sample_refuse_name(const char *text)
{
    return strpbrk(text, " /") == NULL ? NULL : "must not contain blanks or slashes";
}

static const char *const sample_codecs[] = {"auto", "none", "bslz4", "bszstd", NULL};
static const char *const sample_outputs[] = {"auto", "keep", "mrc", NULL};
static const char *const sample_auto[] = {"auto", NULL};

#define WATCH(field) offsetof(struct sample_watch, field)
static const struct mr_config_key sample_watch_keys[] = {
    {.path = "path",
     .type = MR_CONFIG_STRING,
     .offset = WATCH(path),
     .min = 1,
     .max = 4000,
     .help = "the folder"},
    {.path = "include",
     .type = MR_CONFIG_STRINGS,
     .offset = WATCH(include),
     .default_text = "[\"*\"]",
     .help = "globs"},
    {.path = "output",
     .type = MR_CONFIG_ENUM,
     .offset = WATCH(output),
     .default_text = "auto",
     .names = sample_outputs,
     .help = "what to make"},
    {.path = "complete.quiet",
     .type = MR_CONFIG_DURATION,
     .offset = WATCH(quiet_ns),
     .default_text = "30s",
     .min = 1000000000,
     .max = 3600000000000,
     .help = "quiet time"},
    {.path = "complete.give_up",
     .type = MR_CONFIG_DURATION,
     .offset = WATCH(give_up_ns),
     .default_text = "10min",
     .help = "last resort"},
    {.path = NULL},
};
#undef WATCH

#define FIELD(field) offsetof(struct sample, field)
static const struct mr_config_key sample_keys[] = {
    {.path = "agent.name",
     .type = MR_CONFIG_STRING,
     .offset = FIELD(name),
     .min = 1,
     .max = 64,
     .refuse = sample_refuse_name,
     .help = "the agent's name"},
    {.path = "server.endpoint",
     .type = MR_CONFIG_STRINGS,
     .offset = FIELD(endpoints),
     .default_text = "[\"tcp://127.0.0.1:5570\"]",
     .min = 1,
     .max = 4,
     .help = "one or a list"},
    {.path = "server.codec",
     .type = MR_CONFIG_ENUM,
     .offset = FIELD(codec),
     .default_text = "auto",
     .names = sample_codecs,
     .reloads = true,
     .help = "codec"},
    {.path = "memory.pool",
     .type = MR_CONFIG_SIZE,
     .offset = FIELD(pool_bytes),
     .default_text = "512MiB",
     .min = 64 << 20,
     .max = (int64_t)1 << 40,
     .help = "pool"},
    {.path = "lanes",
     .type = MR_CONFIG_INT,
     .offset = FIELD(lanes),
     .default_text = "auto",
     .min = 1,
     .max = 64,
     .names = sample_auto,
     .help = "lanes"},
    {.path = "retries",
     .type = MR_CONFIG_INT,
     .offset = FIELD(retries),
     .default_text = "-3",
     .help = "any number"},
    {.path = "store.keep_free",
     .type = MR_CONFIG_PERCENT,
     .offset = FIELD(keep_free),
     .default_text = "2%",
     .help = "free"},
    {.path = "store.file_mode",
     .type = MR_CONFIG_OCTAL,
     .offset = FIELD(file_mode),
     .default_text = "0640",
     .help = "mode"},
    {.path = "store.direct",
     .type = MR_CONFIG_BOOL,
     .offset = FIELD(direct),
     .default_text = "true",
     .reloads = true,
     .help = "direct"},
    {.path = "watch",
     .type = MR_CONFIG_MAPS,
     .offset = FIELD(watches),
     .keys = sample_watch_keys,
     .entry_bytes = sizeof(struct sample_watch),
     .help = "folders"},
    {.path = NULL},
};
#undef FIELD

#endif
