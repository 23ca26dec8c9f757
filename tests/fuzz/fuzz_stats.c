/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics from a peer, 64 bytes each: whatever is accepted can be merged, told and written
 * again. */
#include "wire/stats.h"

#include <assert.h>
#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void write_again(const struct mr_stats *s)
{
    uint8_t wire[MR_STATS_WIRE];
    struct mr_stats back;
    struct mr_writer w = mr_writer_init(wire, sizeof(wire));
    mr_stats_write(&w, s);
    assert(!w.failed && w.at == MR_STATS_WIRE);
    struct mr_reader r = mr_reader_init(wire, sizeof(wire));
    int code = mr_stats_read(&r, &back);
    assert(code == 0 && back.kind == s->kind && back.count == s->count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct mr_reader r = mr_reader_init(data, bytes);
    struct mr_stats movie = {0}, slab;
    struct mr_stats_summary summary;
    while (mr_stats_read(&r, &slab) == 0) {
        write_again(&slab);
        mr_stats_merge(&movie, &slab);
        mr_stats_merge(&movie, &slab);
        mr_stats_summarise(&movie, &summary);
        assert(!summary.known || (summary.min <= summary.max && summary.rms >= 0));
    }
    return 0;
}
