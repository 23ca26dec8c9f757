/* SPDX-License-Identifier: Apache-2.0 */
/* A record that parses is the one that its own event, numbered, would make. */
#include "eventlog.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct mr_eventlog_record r;
    char front[256], type[MR_EVENT_TYPE_MAX + 1], id[MR_EVENT_ID_MAX + 1];
    if (memchr(data, '\0', bytes))
        return 0; /* record logs never give such a text */
    char *text = malloc(bytes + 1), *numbered = malloc(bytes + 64);
    assert(text && numbered);
    memcpy(text, data, bytes);
    text[bytes] = '\0';
    if (mr_eventlog_parse(text, bytes, &r) == 0) {
        int n = snprintf(front, sizeof(front), "%" PRIu64 " %s %s ", r.sequence, r.type, r.id);
        assert(r.sequence > 0 && memcmp(text, front, (size_t)n) == 0);
        assert(r.json == text + n && r.json_bytes == bytes - (size_t)n);
    }
    size_t length = 0;
    if (mr_event_number(text, bytes, 42, numbered, bytes + 64, &length) == 0) {
        assert(strlen(numbered) == length && length > bytes);
        assert(mr_event_names(numbered, length, type, id) == 0);
        assert(mr_event_number(numbered, length, 43, text, bytes, &length) < 0);
    }
    free(numbered);
    free(text);
    return 0;
}
