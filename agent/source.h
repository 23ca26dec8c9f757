/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam for formats: what a file in a watched tree is, which of its bytes will not change any
 * more, and whether it is complete. A source is a row of functions; a new format is one new file
 * and one line in source_list.h. Sources are pure: facts in, a view out, no system call, no clock,
 * no memory but the view of the look before. Any thread.
 */
#ifndef MR_AGENT_SOURCE_H
#define MR_AGENT_SOURCE_H

#include "base/text.h"
#include "source_list.h"
#include "wire/message.h"

#define MR_SOURCE_HEAD_MAX 1024u       /* most bytes a format may want of a file's beginning */
#define MR_SOURCE_NEVER    INT64_MAX   /* a deadline that does not come */
#define MR_SOURCE_WHY_MAX  MR_TEXT_MAX /* room for the text of mr_source_look */

/* A finished header on a file that was never seen without it (a copy, or a mount that is looked at
 * seldom) counts only when nothing changed for so long: some copiers set the full size first. */
#define MR_SOURCE_SETTLE_NS (2LL * 1000 * 1000 * 1000)

enum mr_source_state {
    MR_SOURCE_WAITING = 0,  /* too little is there to say what it holds */
    MR_SOURCE_GROWING = 1,  /* known, not complete */
    MR_SOURCE_COMPLETE = 2, /* and complete_by says why */
    MR_SOURCE_BROKEN = 3,   /* will not become complete by itself; the text says why */
};

enum mr_complete_by {
    MR_COMPLETE_NOT = 0,
    MR_COMPLETE_CLOSE = 1,  /* its writer closed it (or renamed it into place) */
    MR_COMPLETE_MDOC = 2,   /* its mdoc is there and names as many frames */
    MR_COMPLETE_HEADER = 3, /* the final header was written: statistics set, NZ and size agree */
    MR_COMPLETE_QUIET = 4,  /* nothing contradicts, and nothing changed for `quiet` */
    MR_COMPLETE_PUSH = 5,   /* somebody said so */
};
const char *mr_complete_by_name(enum mr_complete_by by); /* "close", "mdoc" ...; "" for NOT */

/* What the file looks like now, and what else is known of it. Everything is borrowed for the
 * call. */
struct mr_source_facts {
    const char *path; /* below the watch */
    uint64_t size;
    int64_t now_ns;               /* monotonic, as all times here */
    int64_t changed_ns;           /* when it last changed, as far as known; <= now_ns */
    bool closed;                  /* closed by its writer or moved here, and not changed since */
    bool as_it_is;                /* push: it is as it should be now, or it is broken */
    int64_t quiet_ns, give_up_ns; /* > 0; the watch's `complete` */
    const uint8_t *head;          /* its first bytes; NULL when head_bytes is 0 */
    size_t head_bytes;            /* min(size, what the format wants) */
    const char *mdoc;             /* text of `<path>.mdoc`, NULL where there is none */
};

struct mr_source_view {
    enum mr_source_state state;
    enum mr_complete_by complete_by; /* COMPLETE only */
    bool known; /* kind and, of a movie, everything down to ext_bytes are known */
    enum mr_kind kind;
    const char *format; /* static: "mrc", "file" */

    /* of a movie; zero for a file */
    enum mr_pixel pixel; /* NONE: a movie whose pixels are not taken apart; only `keep` will do */
    bool swap_bytes;     /* big-endian */
    uint64_t width, height, data_offset, frame_bytes;
    uint64_t ext_bytes; /* of an extended header, part of data_offset */
    double pixel_size_angstrom;
    uint64_t frames;         /* whole ones there now; COMPLETE: all of them */
    uint64_t bytes_expected; /* size by the header, which may be wrong until the end; 0 unknown */

    /* Bytes [settled_from, settled_to) of the source will not change; the range only ever grows,
     * until COMPLETE makes it the whole file. Empty: from == to. */
    uint64_t settled_from, settled_to;
    int64_t deadline_ns; /* look again then, though nothing happens; MR_SOURCE_NEVER */
    uint32_t notes;      /* the format's own, for its next look */
};

struct mr_source {
    const char *name;    /* of the format, at most 15 characters */
    const char *example; /* a path that is of this format */
    size_t head_bytes;   /* wanted in facts.head, at most MR_SOURCE_HEAD_MAX */
    bool wants_mdoc;
    bool (*probe)(const char *path); /* is it a file of this format, by its name? */
    /* before: the view of the last look at the same file, NULL at the first one or after it was
     * replaced. Fills the whole view; why always gets one line for a person. */
    void (*look)(const struct mr_source_facts *facts, const struct mr_source_view *before,
                 struct mr_source_view *ret, struct mr_text *why);
};

/* The format of a file by its path below the watch; opaque ("file") where no other claims it.
 * Static. */
const struct mr_source *mr_source_of(const char *path);

/* source->look with defaults filled in and promises checked. why may be NULL. */
void mr_source_look(const struct mr_source *source, const struct mr_source_facts *facts,
                    const struct mr_source_view *before, struct mr_source_view *ret,
                    struct mr_text *why);

/* True where the two views describe other movies: a growing movie's geometry must not change once
 * it has been OPENed. Either may be unknown: then false. */
bool mr_source_differs(const struct mr_source_view *a, const struct mr_source_view *b);

/* The nth of source_list.h, NULL behind the last. */
const struct mr_source *mr_source_at(size_t index);

#define MR_SOURCE_ROW(name) extern const struct mr_source mr_source_##name;
MR_SOURCES(MR_SOURCE_ROW)
#undef MR_SOURCE_ROW

#endif
