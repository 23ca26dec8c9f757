/* SPDX-License-Identifier: Apache-2.0 */
/* A line that parses is written again as one that parses to the same. */
#include "catalogue_line.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static char *write_again(const struct mr_catalogue_line *line)
{
    return line->expire ? mr_catalogue_line_expire(&line->entry.id, line->entry.revision)
                        : mr_catalogue_line_commit(&line->entry);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct mr_catalogue_line line, again;
    struct mr_err err = {0};
    if (mr_catalogue_line_parse((const char *)data, bytes, &line, &err) < 0) {
        assert(err.code < 0 && err.text[0] != '\0');
        return 0;
    }
    assert(line.entry.revision >= 1);
    char *first = write_again(&line);
    assert(first);
    int r = mr_catalogue_line_parse(first, strlen(first), &again, &err);
    assert(r == 0);
    char *second = write_again(&again);
    assert(second && strcmp(first, second) == 0);
    free(second);
    free(first);
    mr_catalogue_line_fini(&again);
    mr_catalogue_line_fini(&line);
    return 0;
}
