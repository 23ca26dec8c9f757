/* SPDX-License-Identifier: Apache-2.0 */
/* What parses must be written and read back the same. */
#include "base/json.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static int touch(void *ctx, const char *key, const struct mr_json *value)
{
    const struct mr_json *object = ctx;
    struct mr_err err;
    const char *s = "";
    int64_t i = 0;
    double d = 0;
    bool b = false;
    const struct mr_json *nested = NULL;
    assert(mr_json_get(object, key) == value);
    (void)!mr_json_need_string(object, key, &s, &err);
    (void)!mr_json_may_int(object, key, -5, 5, &i, &err);
    (void)!mr_json_may_real(object, key, &d, &err);
    (void)!mr_json_need_bool(object, key, &b, &err);
    if (mr_json_may_object(object, key, &nested, &err) == 0 && nested != NULL)
        return mr_json_each(nested, touch, (void *)(uintptr_t)nested);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct mr_err err = {0};
    struct mr_json *value = NULL, *again = NULL;
    if (mr_json_parse((const char *)data, bytes, &value, &err) < 0) {
        assert(err.code < 0 && err.text[0] != '\0');
        return 0;
    }
    if (mr_json_type(value) == MR_JSON_OBJECT)
        (void)mr_json_each(value, touch, value);
    char *text = mr_json_dump(value);
    assert(text != NULL);
    int r = mr_json_parse(text, strlen(text), &again, &err);
    assert(r == 0);
    char *second = mr_json_dump(again);
    assert(second != NULL && strcmp(text, second) == 0);
    free(second);
    free(text);
    mr_json_free(again);
    mr_json_free(value);
    return 0;
}
