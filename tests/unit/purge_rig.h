/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A purge stage and all around it: a watched folder, the journal's row of one file in it, the
 * ledger, and the two queues at whose other end the test plays tail.
 */
#ifndef MR_TESTS_PURGE_RIG_H
#define MR_TESTS_PURGE_RIG_H

#include "ledger.h"
#include "purge.h"
#include "purge_file.h"
#include "suite.h"
#include "tree.h"
#include "watch.h"

#include "base/crc64.h"

#include <errno.h>

static struct {
    struct mr_agent_watch watch;
    struct mr_purge_config config;
    struct mr_journal_movie row; /* of what was committed last */
    struct mr_confirm question;
    struct mr_confirmed answer;
    struct mr_purge *purge;
    char in[4096], state[4096], ledger[65536];
} rig;

static inline void rig_make(void)
{
    tree_make();
    tree_mkdir("in");
    snprintf(rig.in, sizeof(rig.in), "%s", tree_path("in"));
    snprintf(rig.state, sizeof(rig.state), "%s", tree_path("state"));
    rig.watch = (struct mr_agent_watch){.path = rig.in,
                                        .source_after_commit = MR_AFTER_DELETE,
                                        .purge = {.when_free_below = 10000}};
    rig.config =
        (struct mr_purge_config){.state_dir = rig.state, .watches = &rig.watch, .watch_count = 1};
}

static inline bool rig_there(const char *name)
{
    struct stat st;
    char below[512];
    snprintf(below, sizeof(below), "in/%s", name);
    return lstat(tree_path(below), &st) == 0;
}

/* Its name while it is taken away; static. */
static inline const char *rig_hidden(void)
{
    static char name[64];
    char id[MR_ULID_TEXT];
    snprintf(name, sizeof(name), MR_WATCH_HIDDEN "%s", mr_ulid_text(&rig.row.id, id));
    return name;
}

static inline void rig_move(const char *from, const char *to)
{
    char a[512], b[512];
    snprintf(a, sizeof(a), "in/%s", from);
    snprintf(b, sizeof(b), "in/%s", to);
    tree_rename(a, b);
}

/* A file that was committed, as rig.row; not in the journal yet. */
static inline void rig_commit(const char *name, const char *text)
{
    static uint8_t last_id;
    struct mr_fs_facts facts;
    char below[512], id[MR_ULID_TEXT];
    snprintf(below, sizeof(below), "in/%s", name);
    tree_put(below, text);
    ck_assert_int_eq(mr_fs_stat(AT_FDCWD, tree_path(below), &facts), 0);
    rig.row = (struct mr_journal_movie){
        .revision = 1,
        .state = MR_JOURNAL_COMMITTED,
        .identity = facts.identity,
        .size = facts.size,
        .mtime_ns = facts.mtime_ns,
        .kind = MR_KIND_FILE,
        .output = MR_OUTPUT_KEEP,
        .source = {.ctime_ns = facts.ctime_ns, .crc_file = mr_crc64(0, text, strlen(text))},
        .updated_real_ns = ++last_id};
    rig.row.id.bytes[15] = last_id;
    snprintf(rig.row.root, sizeof(rig.row.root), "%s", rig.in);
    snprintf(rig.row.path, sizeof(rig.row.path), "%s", name);
    snprintf(rig.row.event, sizeof(rig.row.event), "%s.ready", mr_ulid_text(&rig.row.id, id));
    mr_geometry_opaque(&rig.row.geometry);
}

/* insert: writes rig.row down; else reads it into ret. */
static inline void rig_journal(bool insert, struct mr_journal_movie *ret)
{
    struct mr_journal *journal;
    struct mr_err err = {0};
    ck_assert_msg(mr_journal_open(rig.state, &err, &journal) == 0, "%s", err.text);
    int r = insert ? mr_journal_insert(journal, &rig.row, &err)
                   : mr_journal_find(journal, &rig.row.id, ret, &err);
    ck_assert_msg(r == 0, "%s", err.text);
    mr_journal_close(journal);
}

static inline void rig_queues(void)
{
    ck_assert_int_eq(mr_queue_new(sizeof(struct mr_confirm), 4, &rig.config.questions), 0);
    ck_assert_int_eq(mr_queue_new(sizeof(struct mr_confirmed), 4, &rig.config.answers), 0);
}

static inline int rig_new(struct mr_err *err)
{
    rig_queues();
    return mr_purge_new(&rig.config, &rig.purge, err);
}

static inline void rig_free(void)
{
    mr_purge_free(rig.purge);
    mr_queue_free(rig.config.questions);
    mr_queue_free(rig.config.answers);
    rig.purge = NULL;
}

/* What a server says that has rig.row as it was committed. */
static inline void rig_in_place(void)
{
    rig.answer = (struct mr_confirmed){.movie = rig.row.id,
                                       .revision = rig.row.revision,
                                       .standing = MR_STANDING_IN_PLACE,
                                       .bytes = rig.row.size,
                                       .crc_file = rig.row.source.crc_file,
                                       .path = "/store/a"};
}

/* An intent, as of an agent that was killed behind it. */
static inline void rig_intend(void)
{
    struct mr_ledger *ledger;
    struct mr_ledger_pending pending = {0};
    struct mr_err err = {0};
    char path[8192];
    snprintf(path, sizeof(path), "%s/%s", rig.in, rig.row.path);
    const struct mr_ledger_entry entry = {.what = "intent",
                                          .path = path,
                                          .movie = rig.row.id,
                                          .revision = 1,
                                          .row = rig.row.id,
                                          .store = "/store/a",
                                          .why = "it is time"};
    ck_assert_int_eq(mr_ledger_open(rig.state, &ledger, &pending, &err), 0);
    ck_assert(!pending.is_open);
    ck_assert_int_eq(mr_ledger_write(ledger, &entry, &err), 0);
    mr_ledger_close(ledger);
}

/* Does the ledger have that text? */
static inline bool rig_told(const char *text)
{
    int fd = open(tree_path("state/ledger.log"), O_RDONLY | O_CLOEXEC);
    ssize_t bytes = fd < 0 ? 0 : read(fd, rig.ledger, sizeof(rig.ledger) - 1);
    ck_assert_int_ge(bytes, 0);
    rig.ledger[bytes] = '\0';
    if (fd >= 0)
        close(fd);
    return strstr(rig.ledger, text) != NULL;
}

/* Is there an intent without an outcome? */
static inline bool rig_is_pending(void)
{
    struct mr_ledger *ledger;
    struct mr_ledger_pending pending = {0};
    struct mr_err err = {0};
    ck_assert_msg(mr_ledger_open(rig.state, &ledger, &pending, &err) == 0, "%s", err.text);
    bool is_open = pending.is_open;
    mr_ledger_pending_fini(&pending);
    mr_ledger_close(ledger);
    return is_open;
}

#endif
