/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives a store a past: shelf_filler ROOT N writes an event log and a catalogue as a server does
 * that has committed N movies. The movies themselves are not there. For check_restart.py.
 */
#include "announce.h"
#include "base/clock.h"
#include "catalogue.h"
#include "eventlog.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of the length that a server's have. */
static int log_movie(struct mr_eventlog *log, const char *event, const char *path,
                     uint64_t *ret_sequence, struct mr_err *err)
{
    char data[1024], *text = NULL;
    size_t bytes = 0;
    (void)snprintf(data, sizeof(data), "{\"filler\":\"%0700d\"}", 0);
    const struct mr_event e = {.type = MR_EVENT_MOVIE_READY,
                               .id = event,
                               .source = "/millrace/storage1/k3-krios1",
                               .subject = path,
                               .time_real_ns = mr_clock_real_ns(),
                               .data = data};
    int r = mr_event_encode(&e, &text, &bytes);
    if (r == 0)
        r = mr_eventlog_append(log, text, bytes, ret_sequence, err);
    free(text);
    return r;
}

static int add_movie(struct mr_eventlog *log, struct mr_catalogue *catalogue, unsigned long number,
                     struct mr_err *err)
{
    char event[64], path[128];
    struct mr_catalogue_entry entry = {.revision = 1,
                                       .agent = "k3-krios1",
                                       .source = path + strlen("k3-krios1/"),
                                       .source_bytes = 943000000,
                                       .path = path,
                                       .bytes = 943000000,
                                       .output = MR_OUTPUT_KEEP,
                                       .event = event,
                                       .committed_real_ns = mr_clock_real_ns()};
    mr_ulid_new(mr_clock_real_ns(), &entry.id);
    mr_announce_id(&entry.id, "ready", 1, event);
    snprintf(path, sizeof(path), "k3-krios1/session/grid7/movie_%06lu.mrc", number);
    int r = log_movie(log, event, path, &entry.sequence, err);
    return r < 0 ? r : mr_catalogue_add(catalogue, &entry, err);
}

static int fill(int millrace_dir, unsigned long count, struct mr_err *err)
{
    struct mr_eventlog *log = NULL;
    struct mr_catalogue *catalogue = NULL;
    int r = mr_eventlog_open(millrace_dir, MR_EVENTLOG_SEGMENT_BYTES, &log, NULL, err);
    if (r == 0)
        r = mr_catalogue_open(millrace_dir, &catalogue, NULL, err);
    for (unsigned long i = 0; r == 0 && i < count; i++)
        r = add_movie(log, catalogue, i, err);
    if (r == 0)
        r = mr_eventlog_sync(log, err);
    if (r == 0)
        r = mr_catalogue_sync(catalogue, err);
    mr_catalogue_close(catalogue);
    mr_eventlog_close(log);
    return r;
}

int main(int argc, char **argv)
{
    struct mr_err err = {0};
    MR_CLEANUP(mr_fs_close)
    int root = argc == 3 ? open(argv[1], O_DIRECTORY | O_RDONLY | O_CLOEXEC) : -1;
    if (root < 0) {
        fprintf(stderr, "usage: shelf_filler ROOT COUNT\n");
        return 64;
    }
    MR_CLEANUP(mr_fs_close)
    int dir = mr_fs_mkdirs_durable(root, ".millrace", 0750, (gid_t)-1);
    if (dir < 0 || fill(dir, strtoul(argv[2], NULL, 10), &err) < 0) {
        fprintf(stderr, "%s: %s\n", argv[1], err.text);
        return 74;
    }
    return 0;
}
