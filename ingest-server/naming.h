/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a movie goes: store.path expanded, the names from agents checked and escaped, the extension
 * of the output, "_dup2" for a second file of a name. Pure: no file system; who opens the result
 * does so beneath the root (base/fs.h).
 */
#ifndef MR_NAMING_H
#define MR_NAMING_H

#include "wire/message.h"

#define MR_NAMING_PATH_MAX      3500 /* bytes of a final path below the root, without NUL */
#define MR_NAMING_COMPONENT_MAX 255  /* bytes, after escaping */
/* Millrace's own folder, in the root and in each folder of movies under way; no name from outside
 */
#define MR_NAMING_RESERVED ".millrace"
#define MR_NAMING_PART     64 /* bytes of the name of a movie's part or journal, with NUL */

struct mr_naming; /* a store.path, checked and cut into pieces; immutable, any thread */

/* template_text: "{agent}/{path}" and so on. Placeholders: {agent} {site} {session} {name} {date}
 * {path}; "{{" and "}}" are braces. It must end in {path} or {name} (else movies would share a
 * name), {path} must begin a component, and may come once. site: the configuration's ingest.site,
 * copied. -EINVAL: err says what and at which column. Returns owned. */
int mr_naming_new(const char *template_text, const char *site, struct mr_naming **ret,
                  struct mr_err *err) MR_MUST_USE;
void mr_naming_free(struct mr_naming *naming); /* NULL allowed */

/* Borrowed; bytes from a peer, nothing checked yet */
struct mr_naming_movie {
    const char *agent;
    const char *session; /* "" none */
    const char *day;     /* "2026-11-22" */
    const char *path;    /* below the watch; {name} is its last component */
    const char *format;  /* of the source: "mrc", "file" */
    enum mr_output output;
};

/* The final path below the root into ret (MR_NAMING_PATH_MAX + 1 bytes). A component that a
 * placeholder leaves empty (no session, no site) is left out. Extension: keep, and mrc from mrc, as
 * the source's; else replaced by ".mrc" or ".h5". -EINVAL: the name is refused, err says which part
 * and why: "..", ".", absolute, empty component, control character, ".millrace", a component over
 * 255 bytes once escaped; -ENAMETOOLONG: the whole is. */
int mr_naming_path(const struct mr_naming *naming, const struct mr_naming_movie *movie, char *ret,
                   struct mr_err *err) MR_MUST_USE;

/* The n-th candidate for a path: 1 the path itself, 2 "stem_dup2.ext", 3 "stem_dup3.ext" ... into
 * ret (MR_NAMING_PATH_MAX + 1 bytes). A stem that would become too long is shortened, at a
 * character's edge. -ENAMETOOLONG. */
int mr_naming_candidate(const char *path, uint32_t n, char *ret) MR_MUST_USE;

/* Checks one relative path from a peer by the rules above, without escaping. -EINVAL with err. */
int mr_naming_check(const char *path, struct mr_err *err) MR_MUST_USE;

/* Below a folder of parts: where a revision waits whose name the next one took, as "<ULID>.r<n>".
 */
#define MR_NAMING_OLD_DIR "old"
#define MR_NAMING_OLD     64 /* bytes, with NUL */
void mr_naming_old(const struct mr_ulid *id, uint32_t revision, char ret[MR_NAMING_OLD]);

#endif
