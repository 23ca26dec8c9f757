/* SPDX-License-Identifier: Apache-2.0 */
/* No file may do harm; what loads must print to something that loads to the same. */
#include "../unit/config_sample.h"
#include "base/config.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static char *printed(const struct sample *s, size_t *ret_bytes)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_bytes);
    assert(out != NULL);
    mr_config_print(sample_keys, s, out);
    int r = fclose(out);
    assert(r == 0);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct sample s, again;
    struct mr_err err = {0};
    struct mr_config_places *places = NULL;
    if (mr_config_parse("f", (const char *)data, bytes, sample_keys, &s, &places, &err) < 0) {
        assert(err.code < 0 && err.text[0] != '\0' && s.name == NULL && places == NULL);
        return 0;
    }
    size_t text_bytes;
    char *text = printed(&s, &text_bytes);
    int r = mr_config_parse("p", text, text_bytes, sample_keys, &again, NULL, &err);
    assert(r == 0);
    struct mr_config_key strict[sizeof(sample_keys) / sizeof(sample_keys[0])];
    memcpy(strict, sample_keys, sizeof(strict));
    for (size_t i = 0; strict[i].path != NULL; i++)
        strict[i].reloads = false;
    r = mr_config_check_reload(strict, &s, &again, &err);
    assert(r == 0);
    free(text);
    mr_config_places_free(places);
    mr_config_free(sample_keys, &s);
    mr_config_free(sample_keys, &again);
    return 0;
}
