/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as what people write in configurations and on command lines: sizes, durations, shares,
 * globs, endpoints. Refused, or a value that prints as something that reads back as it.
 */
#include "base/text.h"
#include "wire/endpoint.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_units(const char *text)
{
    char out[MR_QUANTITY_TEXT];
    uint64_t size = 0, size_again = 0;
    int64_t duration = 0, duration_again = 0;
    uint32_t share = 0, share_again = 0;
    if (mr_text_parse_size(text, &size) == 0) {
        int r = mr_text_parse_size(mr_text_size(size, out), &size_again);
        assert(r == 0 && size_again == size);
    }
    if (mr_text_parse_duration(text, &duration) == 0) {
        int r = mr_text_parse_duration(mr_text_duration(duration, out), &duration_again);
        assert(r == 0 && duration_again == duration);
    }
    if (mr_text_parse_percent(text, &share) == 0) {
        int r = mr_text_parse_percent(mr_text_percent(share, out), &share_again);
        assert(r == 0 && share_again == share);
    }
}

static void check_endpoint(const char *text)
{
    struct mr_endpoint endpoint, again;
    char out[MR_ENDPOINT_TEXT];
    if (mr_endpoint_parse(text, &endpoint, NULL) < 0 || mr_endpoint_text(&endpoint, 0, out) < 0)
        return;
    int r = mr_endpoint_parse(out, &again, NULL);
    assert(r == 0 && again.port == endpoint.port && strcmp(again.host, endpoint.host) == 0);
}

/* A text that holds no wildcard matches itself. */
static void check_glob(const char *pattern, const char *path)
{
    (void)mr_text_glob(pattern, path);
    (void)mr_text_glob_path(pattern, path);
    if (strpbrk(pattern, "*?[]\\") == NULL)
        assert(mr_text_glob(pattern, pattern));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *text = malloc(bytes + 1);
    if (text == NULL)
        return 0;
    memcpy(text, data, bytes);
    text[bytes] = '\0';
    check_units(text);
    check_endpoint(text);
    char *second = strchr(text, '\n');
    if (second != NULL && bytes < 200) { /* time grows with the cube */
        *second++ = '\0';
        check_glob(text, second);
    }
    free(text);
    return 0;
}
