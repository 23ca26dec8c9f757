/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever template, agent, session and path a peer or operator gives (lines of the input), a name
 * that is given out stays below the root, out of .millrace, and within the limits. */
#include "base/text.h"
#include "naming.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(const char *path)
{
    assert(path[0] != '\0' && path[0] != '/' && strlen(path) <= MR_NAMING_PATH_MAX);
    assert(mr_text_is_utf8(path, strlen(path)));
    assert(mr_naming_check(path, NULL) == 0);
    for (const char *s = path; *s != '\0';) {
        size_t n = strcspn(s, "/");
        assert(n > 0 && n <= MR_NAMING_COMPONENT_MAX);
        assert(!(n == 9 && strncasecmp(s, ".millrace", 9) == 0));
        s += n + (s[n] == '/' ? 1 : 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char input[4096], path[MR_NAMING_PATH_MAX + 1], dup[MR_NAMING_PATH_MAX + 1];
    char *part[4] = {NULL}, *rest = input;
    struct mr_naming *n = NULL;
    if (bytes == 0 || bytes >= sizeof(input))
        return 0;
    memcpy(input, data, bytes);
    input[bytes] = '\0';
    for (size_t i = 0; i < 4; i++)
        part[i] = rest && i < 3 ? strsep(&rest, "\n") : rest;
    if (mr_naming_new(part[0], "", &n, NULL) < 0)
        return 0;
    for (enum mr_output o = MR_OUTPUT_KEEP; o <= MR_OUTPUT_HDF5; o++) {
        struct mr_naming_movie m = {.agent = part[1] ? part[1] : "",
                                    .session = part[2] ? part[2] : "",
                                    .day = "2026-11-22",
                                    .path = part[3] ? part[3] : "a",
                                    .format = data[0] & 1 ? "mrc" : "file",
                                    .output = o};
        if (mr_naming_path(n, &m, path, NULL) < 0)
            continue;
        check(path);
        if (mr_naming_candidate(path, 2 + data[0], dup) == 0) {
            check(dup);
            assert(strcmp(path, dup) != 0);
        }
    }
    mr_naming_free(n);
    return 0;
}
