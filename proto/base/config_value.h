/* SPDX-License-Identifier: Apache-2.0 */
/* One configuration value: from text, to text, compared, freed. Only config uses this. */
#ifndef MR_BASE_CONFIG_VALUE_H
#define MR_BASE_CONFIG_VALUE_H

#include "base/config.h"
#include "base/text.h"

#define MR_CONFIG_ENTRIES_MAX 1000 /* of a list whose row has no max */

static inline void *mr_config_field(const struct mr_config_key *key, void *target)
{
    return (char *)target + key->offset;
}

static inline const void *mr_config_field_const(const struct mr_config_key *key, const void *target)
{
    return (const char *)target + key->offset;
}

/* Field from a scalar's text, for all but STRINGS and MAPS; a string it held is freed. -EINVAL and
 * the reason in why; -ENOMEM. */
int mr_config_value_set(const struct mr_config_key *key, const char *text, void *field,
                        struct mr_text *why) MR_MUST_USE;

/* A string for a STRINGS entry or a STRING: as above, without storing it. */
int mr_config_value_check_string(const struct mr_config_key *key, const char *text,
                                 struct mr_text *why) MR_MUST_USE;

size_t mr_config_value_bytes(enum mr_config_type type); /* sizeof the field */
/* Not MAPS. */
void mr_config_value_print(const struct mr_config_key *key, const void *field, FILE *out);
bool mr_config_value_equal(const struct mr_config_key *key, const void *a, const void *b);
void mr_config_value_free(const struct mr_config_key *key, void *field); /* and zeroes it */

#endif
