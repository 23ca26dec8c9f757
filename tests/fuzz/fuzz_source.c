/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever lies in a file, the sources answer within their promises (mr_source_look asserts them),
 * twice in a row, and what is settled does not shrink while the file grows. Input: u64 size, u8
 * flags, 1024 bytes of head, an mdoc; behind a NUL the number of the source (without it: the first,
 * or by a flag the last).
 */
#include "source.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FLAGS_AT 8
#define HEAD_AT  9
#define MDOC_AT  (HEAD_AT + MR_SOURCE_HEAD_MAX)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static const struct mr_source *chosen(const uint8_t *data, size_t bytes)
{
    size_t count = 0;
    while (mr_source_at(count) != NULL)
        count++;
    const uint8_t *nul = memchr(data + MDOC_AT, 0, bytes - MDOC_AT);
    if (nul != NULL && nul + 1 < data + bytes)
        return mr_source_at(nul[1] % count);
    return mr_source_at(data[FLAGS_AT] & 1 ? count - 1 : 0);
}

static size_t head_of(const struct mr_source *source, uint64_t size)
{
    return size < source->head_bytes ? (size_t)size : source->head_bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < MDOC_AT)
        return 0;
    uint64_t size;
    memcpy(&size, data, sizeof(size));
    size >>= 1; /* what off_t can hold */
    uint8_t flags = data[FLAGS_AT];
    char *mdoc = strndup((const char *)data + MDOC_AT, bytes - MDOC_AT);
    const struct mr_source *source = chosen(data, bytes);
    struct mr_source_facts facts = {.path = source->example,
                                    .size = size,
                                    .now_ns = 1000 + (flags >> 4) * 100,
                                    .changed_ns = 1000,
                                    .closed = (flags & 2) != 0,
                                    .as_it_is = (flags & 4) != 0,
                                    .quiet_ns = 300,
                                    .give_up_ns = 700,
                                    .head = data + HEAD_AT,
                                    .head_bytes = head_of(source, size),
                                    .mdoc = flags & 8 ? mdoc : NULL};
    struct mr_source_view first, second;
    mr_source_look(source, &facts, NULL, &first, NULL);
    if (size < INT64_MAX - 100000)
        facts.size += 99999;
    facts.head_bytes = head_of(source, facts.size);
    mr_source_look(source, &facts, &first, &second, NULL);
    if (first.known && second.known && first.kind == second.kind &&
        first.state == MR_SOURCE_GROWING)
        assert(second.settled_to >= first.settled_to || second.settled_to == 0);
    free(mdoc);
    return 0;
}
