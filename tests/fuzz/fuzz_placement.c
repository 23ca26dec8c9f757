/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a SLAB record: refused, or in range and written again letter by letter. */
#include "placement.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *text = malloc(bytes + 1); /* of exactly that size, so that a read past the NUL shows */
    if (text == NULL)
        return 0;
    memcpy(text, data, bytes);
    text[bytes] = '\0';
    struct mr_placement p;
    if (mr_placement_parse(text, &p) == 0) {
        char again[MR_PLACEMENT_TEXT];
        assert(mr_placement_check(&p) == 0);
        assert(mr_placement_format(&p, again) == strlen(text));
        assert(strcmp(again, text) == 0);
    }
    free(text);
    return 0;
}
