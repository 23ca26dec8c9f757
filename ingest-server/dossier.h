/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A movie's placement journal read whole: what the movie is (OPEN), where each durable slab lies
 * (SLAB, see placement.h), and whether it was sealed (SEALED). Berth reads it to resume, seal to
 * commit, recovery to finish what a crash cut off. Also the texts of OPEN and SEALED. A dossier
 * belongs to one thread at a time.
 */
#ifndef MR_DOSSIER_H
#define MR_DOSSIER_H

#include "naming.h"
#include "placement.h"

#include <dirent.h>

/* From here the commit is only repeated */
struct mr_sealed {
    bool failed;    /* kept as failed, not committed */
    uint64_t inode; /* of the finished part; 0: failed, and nothing of it is kept */
    char path[MR_NAMING_PATH_MAX + 1]; /* final, below the root */
    uint64_t bytes, digest_file, digest_pixels;
    bool has_pixels;
    uint64_t source_bytes;
    int64_t source_mtime_ns;
    int64_t mtime_ns; /* of the file in its place; not in the record, mr_commit_place tells it */
    char *event;      /* owned: the event's JSON, without sequence */
};

struct mr_dossier {
    uint32_t generation; /* of its part: as the journal's name says */
    char agent[MR_NAME_MAX + 1];
    bool push; /* nobody resumes it once that push has ended */
    int64_t started_real_ns, clock_offset_ms;
    char path[MR_NAMING_PATH_MAX + 1]; /* first candidate of the final name, below the root */
    struct mr_open open;
    struct mr_placement *slabs; /* owned; by index, raw_bytes 0 where not durable */
    uint64_t slab_count;        /* highest durable index + 1 */
    uint64_t durable;           /* slabs */
    uint64_t space_end;         /* first byte behind all placements */
    bool is_sealed;
    struct mr_sealed sealed;
    uint64_t damaged;    /* journal lines that did not verify; their slabs count as not durable */
    uint64_t good_bytes; /* of the journal, to the end of its last good line */
    bool torn;           /* there is more behind it: cut it before the next line is appended */
    bool unmended;       /* of an earlier life, and sealed: mr_commit_mend first */
    char group[MR_NAMING_PART]; /* "": it has a journal of its own; else the group file (flotilla.h)
                                 */
};

/* Reads journal `name` in directory dirfd. -ENODATA: no whole record, so that nothing of it is
 * acknowledged, or was discarded since (discard.h); -EUCLEAN: there are records, but what movie it
 * is (OPEN) does not read; -errno of I/O; err text. *ret is for mr_dossier_fini. */
int mr_dossier_read(int dirfd, const char *name, struct mr_dossier *ret,
                    struct mr_err *err) MR_MUST_USE;
void mr_dossier_fini(struct mr_dossier *d); /* zeroed allowed */
/* Before a journal of an earlier life is read, or one whose fdatasync failed: Linux takes what it
 * could not write for written, so memory may hold records that the disk has not. What is clean is
 * then read from the disk. */
void mr_dossier_forget_cached(int dirfd, const char *name);

/* Of an acquisition, by the server's clock; 0 unknown */
struct mr_course {
    int64_t started_real_ns, finished_real_ns;
};
/* From END's times (end NULL: none), put in order: started <= finished <= now. */
struct mr_course mr_dossier_course(const struct mr_dossier *d, const struct mr_end *end,
                                   int64_t now_real_ns);

/* One record line each, as owned text (free). -ENOMEM, -EMSGSIZE. */
int mr_dossier_open_line(const struct mr_dossier *d, char **ret, size_t *ret_bytes) MR_MUST_USE;
int mr_dossier_sealed_line(const struct mr_sealed *sealed, char **ret,
                           size_t *ret_bytes) MR_MUST_USE;

/* Generations of parts: epoch (lease_file.h) x MR_EPOCH_PARTS + n, n from 1 on. n = 0 in a later
 * epoch than the first: taken over from a server that may still write into the part, so that slabs
 * are copied out of it, and nothing is written into it. */
uint32_t mr_dossier_epoch(uint32_t generation);
bool mr_dossier_is_foreign(uint32_t generation);

/* Of a movie's journals in that epoch the one that counts (0: none): the newest, or the foreign one
 * while it is there. *ret_next: the generation after all of them. -EOVERFLOW: none is left. */
int mr_dossier_find(int journal_dir, uint32_t epoch, const struct mr_ulid *id, uint32_t *ret,
                    uint32_t *ret_next) MR_MUST_USE;

/* "<ULID>.g<generation>.journal" / ".part" / ".group" into ret. */
void mr_dossier_name(const struct mr_ulid *id, uint32_t generation, const char *suffix,
                     char ret[MR_NAMING_PART]);
/* Takes such a name apart. -EINVAL. */
int mr_dossier_parse_name(const char *name, const char *suffix, struct mr_ulid *ret_id,
                          uint32_t *ret_generation) MR_MUST_USE;

/* A file of that name in a directory */
struct mr_dossier_file {
    struct mr_ulid id;
    uint32_t generation;
    const char *name; /* borrowed until the next one */
};
/* The next such file of a directory; others are passed over. 1; 0: there are no more; -errno. */
int mr_dossier_next(DIR *dir, const char *suffix, struct mr_dossier_file *ret) MR_MUST_USE;

#endif
