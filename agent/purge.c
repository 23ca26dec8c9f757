/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over what is committed, and the order in which a source goes: judged, confirmed by the
 * server, read again where its times prove nothing, written down, taken away, written down. Knows
 * no rule itself.
 */
#include "purge.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/text.h"
#include "ledger.h"
#include "purge_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAGE        "purge"
#define PAUSE_MAX_MS 10000 /* between two walks */
#define PAUSE_MIN_MS 100
#define WALK_SHARE   50 /* of the time, one part in so many */
#define ANSWER_MS    10000
#define REFUSED_NS   (10 * 60 * MR_NS_PER_S) /* a watch whose files cannot be unlinked rests */

struct mr_purge {
    struct mr_purge_config config;
    struct mr_journal *journal; /* a connection of its own */
    struct mr_ledger *ledger;
    struct mr_ledger_pending pending; /* of an agent that was killed */
    struct mr_journal_movie movie;    /* scratch: large */
    struct mr_confirmed answer;
    bool broken;   /* the ledger or the journal cannot be written: nothing is freed any more */
    bool unasked;  /* there is no server to ask: this walk is over */
    uint64_t kept; /* of this walk */
    bool refused;  /* a file could not be unlinked: this watch has a rest */
    int64_t not_before_ns[MR_AGENT_WATCHES_MAX]; /* per watch; monotonic */
    atomic_bool stopped;
    uint64_t freed, freed_bytes; /* of this run */
    uint64_t stay; /* of the last walk that was told: due by time and space and not freed */
};

bool mr_purge_wanted(const char *state_dir, const struct mr_agent_watch *watches, size_t count)
{
    /* what a crash left is mended, also where nothing is to go any more */
    return mr_ledger_exists(state_dir) || mr_agent_frees(watches, count);
}

/* ---- what a crash left ---- */

/* Is what it lay on there? Else nothing is known of it. */
static bool is_mounted(int root, const struct mr_journal_movie *m)
{
    struct mr_fs_facts facts;
    char folder[MR_PATH_MAX + 1];
    const char *slash = strrchr(m->path, '/');
    snprintf(folder, sizeof(folder), "%.*s", slash == NULL ? 0 : (int)(slash - m->path), m->path);
    return (mr_fs_stat(root, "", &facts) == 0 && facts.identity.device == m->identity.device) ||
           (mr_fs_stat(root, folder, &facts) == 0 && facts.identity.device == m->identity.device);
}

/* It was not unlinked, or it was: either way nothing more is done to it now. The server was asked
 * in another life. */
static int mend_file(const struct mr_journal_movie *m, const char **ret_what, const char **ret_why)
{
    struct mr_fs_facts facts;
    MR_CLEANUP(mr_fs_close) int root = open(m->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = root < 0 ? -errno : mr_purge_file_restore(root, m->path, &m->id);
    *ret_what = "kept";
    if (r == 0) {
        *ret_why = "the agent was killed: it has its name back";
    } else if (r == -EEXIST) {
        *ret_what = "left";
        *ret_why =
            "the agent was killed, and another file has its name by now: it lies beside that, "
            "named .millrace-purge-...; what it held is in the store";
    } else if (r == -ENOENT && root >= 0 && mr_fs_stat(root, m->path, &facts) == -ENOENT) {
        if (!is_mounted(root, m))
            return -ENODEV;
        *ret_what = "freed";
        *ret_why = "the agent was killed: it is gone";
    } else if (r == -ENOENT && root >= 0) {
        *ret_why = "the agent was killed: it was not touched";
    } else {
        return r; /* the mount is not there: at the next walk */
    }
    return 0;
}

/* The journal was lost, or its row: the ledger has the path. */
static void mend_stranger(const struct mr_purge *p, const char **ret_what, const char **ret_why)
{
    const char *path = p->pending.path;
    *ret_what = "left";
    *ret_why = "the agent was killed, and the journal does not know it any more: if it is not "
               "there, it lies beside, named .millrace-purge-...; what it held is in the store";
    for (size_t i = 0; i < p->config.watch_count; i++) {
        const char *top = p->config.watches[i].path;
        size_t length = strlen(top);
        if (strncmp(path, top, length) != 0 || path[length] != '/')
            continue;
        MR_CLEANUP(mr_fs_close) int root = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root < 0 || mr_purge_file_restore(root, path + length + 1, &p->pending.row) < 0)
            continue;
        *ret_what = "kept";
        *ret_why = "the agent was killed: it has its name back";
    }
}

static int mend(struct mr_purge *p, struct mr_err *err)
{
    struct mr_ledger_pending *pending = &p->pending;
    const char *what, *why;
    int r = mr_journal_find(p->journal, &pending->row, &p->movie, err);
    if (r < 0 && r != -ENOENT)
        return r;
    if (r == -ENOENT)
        mend_stranger(p, &what, &why);
    else if ((r = mend_file(&p->movie, &what, &why)) < 0)
        return mr_err_errno(err, r, "%s, half freed by an agent that was killed", pending->path);
    mr_warn(STAGE, "%s: %s", pending->path, why);
    r = mr_ledger_settle(p->ledger, pending, what, why, err);
    p->broken = r < 0;
    mr_ledger_pending_fini(pending);
    return r;
}

int mr_purge_new(const struct mr_purge_config *config, struct mr_purge **ret, struct mr_err *err)
{
    struct mr_purge *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return mr_err_errno(err, -ENOMEM, "purge");
    p->config = *config;
    int r = mr_journal_share(config->state_dir, false, err, &p->journal);
    if (r == 0)
        r = mr_ledger_open(config->state_dir, &p->ledger, &p->pending, err);
    if (r < 0) {
        mr_purge_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

void mr_purge_free(struct mr_purge *p)
{
    if (p == NULL)
        return;
    mr_ledger_pending_fini(&p->pending);
    mr_ledger_close(p->ledger);
    mr_journal_close(p->journal);
    free(p);
}

void mr_purge_stop(struct mr_purge *p)
{
    atomic_store(&p->stopped, true);
    mr_queue_close(p->config.questions);
    mr_queue_close(p->config.answers);
}

/* ---- the server's word ---- */

/* The event's id says under which movie and revision the server has it: "<ULID>.ready" for the
 * first one, "<ULID>.ready.r2" for the second. */
static bool question_of(const struct mr_journal_movie *m, struct mr_confirm *ret)
{
    char id[MR_ULID_TEXT];
    uint32_t revision = 1;
    const char *last = strrchr(m->event, '.');
    snprintf(id, sizeof(id), "%.26s", m->event);
    if (last == NULL || (sscanf(last, ".r%" SCNu32, &revision) < 1 && strcmp(last, ".ready") != 0))
        return false;
    ret->revision = revision;
    return mr_ulid_parse(id, &ret->movie) == 0 && revision > 0;
}

/* One answer at a time; older ones, to questions nobody waits for any more, are skipped. */
static int ask(struct mr_purge *p, const struct mr_confirm *question)
{
    int r = mr_queue_push(p->config.questions, question);
    while (r == 0) {
        r = mr_queue_pop(p->config.answers, ANSWER_MS, &p->answer);
        if (r == 0 && mr_ulid_equal(&p->answer.movie, &question->movie) &&
            p->answer.revision == question->revision)
            break;
    }
    p->unasked = r < 0 || p->answer.standing == 0;
    return p->unasked ? -ENOTCONN : 0;
}

static bool same_digest(const struct mr_journal_movie *m, const struct mr_confirmed *c)
{
    if (m->output == MR_OUTPUT_KEEP)
        return c->bytes == m->size && c->crc_file == m->source.crc_file;
    return c->has_pixels && c->crc_pixels == m->source.crc_pixels;
}

static int confirm(struct mr_purge *p, const struct mr_journal_movie *m, char why[MR_PURGE_WHY])
{
    struct mr_confirm question;
    const char *text = NULL;
    if (!question_of(m, &question))
        text = "its event's id makes no sense";
    else if (ask(p, &question) < 0)
        return -ENOTCONN;
    else if (p->answer.standing == MR_STANDING_UNKNOWN)
        text = "the server does not have it";
    else if (p->answer.standing == MR_STANDING_MOVED)
        text = "the stored file is no longer where or what it was";
    else if (!same_digest(m, &p->answer))
        text = "the server has another digest for it";
    if (text == NULL)
        return 0;
    snprintf(why, MR_PURGE_WHY, "%s", text);
    mr_log_seldom(MR_LOG_WARN, STAGE, "%s/%s stays: %s", m->root, m->path, text);
    return -ESTALE;
}

/* ---- one source ---- */

static int write_down(struct mr_purge *p, const struct mr_journal_movie *m, const char *what,
                      const char *why)
{
    char path[MR_JOURNAL_ROOT_MAX + MR_PATH_MAX + 2];
    struct mr_err err = {0};
    snprintf(path, sizeof(path), "%s/%s", m->root, m->path);
    const struct mr_ledger_entry entry = {.what = what,
                                          .path = path,
                                          .bytes = m->size,
                                          .movie = p->answer.movie,
                                          .revision = p->answer.revision,
                                          .row = m->id,
                                          .digest = p->answer.crc_file,
                                          .store = p->answer.path,
                                          .why = why};
    int r = mr_ledger_write(p->ledger, &entry, &err);
    if (r < 0 && !p->broken)
        mr_error(STAGE, "%s: nothing is freed any more until the next start", err.text);
    p->broken = p->broken || r < 0;
    return r;
}

/* The row leaves the walk. Where that cannot be written, the next walk finds the file gone. */
static void settle(struct mr_purge *p, struct mr_journal_movie *m)
{
    struct mr_err err = {0};
    m->state = MR_JOURNAL_FREED;
    m->updated_real_ns = mr_clock_real_ns();
    if (mr_journal_update(p->journal, m, &err) < 0)
        mr_log_seldom(MR_LOG_WARN, STAGE, "%s", err.text);
}

static void count_freed(struct mr_purge *p, uint64_t bytes)
{
    p->freed++;
    p->freed_bytes += bytes;
}

static int take(struct mr_purge *p, struct mr_journal_movie *m, struct mr_purge_file *f,
                char why[MR_PURGE_WHY])
{
    char reason[MR_PURGE_WHY];
    memcpy(reason, why, sizeof(reason));
    if (write_down(p, m, "intent", reason) < 0)
        return -EIO;
    mr_failpoint("purge-intended");
    int r = mr_purge_file_take(f, why);
    if (r < 0) {
        (void)!write_down(p, m, r == -EEXIST ? "left" : "kept", why);
        mr_warn(STAGE, "%s/%s stays: %s", m->root, m->path, why);
        p->refused = r != -ENOENT && r != -ESTALE && r != -EBUSY;
        return r;
    }
    (void)!write_down(p, m, "freed", reason);
    mr_failpoint("purge-written");
    settle(p, m);
    count_freed(p, m->size);
    mr_info(STAGE, "%s/%s is freed: %llu bytes, stored as %s (%s)", m->root, m->path,
            (unsigned long long)m->size, p->answer.path, reason);
    return 0;
}

/* Its times prove nothing: see mr_journal_source. Once, for it costs the camera's disk. */
static int read_again(struct mr_purge *p, struct mr_journal_movie *m, const struct mr_purge_file *f)
{
    char why[MR_PURGE_WHY];
    struct mr_err err = {0};
    int r = mr_purge_file_check(f, m->source.crc_file, &p->stopped, why);
    if (r != -ESTALE)
        return r;
    mr_warn(STAGE, "%s/%s stays: %s", m->root, m->path, why);
    m->source.ctime_ns = 0;
    if (mr_journal_update(p->journal, m, &err) < 0)
        mr_log_seldom(MR_LOG_WARN, STAGE, "%s", err.text);
    return r;
}

/* 0: freed, or gone; else it stays. */
static int free_one(struct mr_purge *p, const struct mr_agent_watch *w, int root,
                    struct mr_journal_movie *m)
{
    const struct mr_purge_case c = {
        .watch = w, .root = root, .journal = p->journal, .real_ns = mr_clock_real_ns()};
    struct mr_purge_file f;
    char why[MR_PURGE_WHY] = "", ignored[MR_PURGE_WHY];
    int r = mr_purge_judge(&c, m, &f, why);
    if (r == -ENOENT) { /* gone with its mount: it may come back */
        struct mr_fs_facts top;
        if (mr_fs_stat(root, "", &top) == 0 && top.identity.device == m->identity.device)
            settle(p, m);
        return 0;
    }
    if (r < 0) {
        mr_debug(STAGE, "%s/%s stays: %s", m->root, m->path, why);
        return r;
    }
    r = confirm(p, m, ignored);
    if (r == 0 && m->source.fresh)
        r = read_again(p, m, &f);
    if (r == 0)
        r = take(p, m, &f, why);
    mr_purge_file_close(&f);
    return r;
}

/* ---- the walk ---- */

static bool must_end(const struct mr_purge *p)
{
    return p->broken || p->unasked || p->refused || atomic_load(&p->stopped);
}

static void walk(struct mr_purge *p, const struct mr_agent_watch *w)
{
    struct mr_journal_place at = {0};
    struct mr_err err = {0};
    MR_CLEANUP(mr_fs_close) int root = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return; /* watch says so */
    while (!must_end(p)) {
        int64_t until_ns = mr_clock_real_ns() - w->purge.after_ns;
        if (mr_journal_next_committed(p->journal, w->path, until_ns, &at, &p->movie, &err) < 0)
            break;
        int r = free_one(p, w, root, &p->movie);
        p->kept += r < 0 && r != -EAGAIN && r != -ENOTCONN;
    }
    if (err.code != 0)
        mr_log_seldom(MR_LOG_WARN, STAGE, "%s", err.text);
}

static void publish(struct mr_purge *p)
{
    char text[96], size[MR_QUANTITY_TEXT];
    bool news = p->stay != p->kept;
    p->stay = p->kept;
    if (news && p->stay > 0)
        mr_log_seldom(MR_LOG_INFO, STAGE, "%llu files stay though they are due: --dry-run says why",
                      (unsigned long long)p->stay);
    if (p->freed == 0)
        return;
    snprintf(text, sizeof(text), "watching; %llu sources, %s freed", (unsigned long long)p->freed,
             mr_text_size_about(p->freed_bytes, size));
    (void)mr_notify_status(text);
}

/* As often as is of use, and never for more than a small part of the time. */
static int pause_ms(const struct mr_purge *p, int64_t took_ns)
{
    int64_t pause = PAUSE_MAX_MS;
    for (size_t i = 0; i < p->config.watch_count; i++) {
        const struct mr_agent_watch *w = &p->config.watches[i];
        int64_t own = w->purge.after_ns / 4 / MR_NS_PER_MS;
        if (w->source_after_commit == MR_AFTER_DELETE && own < pause)
            pause = own;
    }
    pause = pause < PAUSE_MIN_MS ? PAUSE_MIN_MS : pause;
    int64_t share = took_ns / MR_NS_PER_MS * WALK_SHARE;
    return (int)(share > pause ? (share < INT32_MAX ? share : INT32_MAX) : pause);
}

static void walk_all(struct mr_purge *p)
{
    struct mr_err err = {0};
    p->kept = 0;
    p->unasked = false;
    if (p->pending.is_open && mend(p, &err) < 0) {
        mr_log_seldom(MR_LOG_WARN, STAGE, "%s: nothing is freed before it is mended", err.text);
        return;
    }
    for (size_t i = 0; i < p->config.watch_count; i++) {
        int64_t now_ns = mr_clock_monotonic_ns();
        p->refused = false;
        if (p->config.watches[i].source_after_commit == MR_AFTER_DELETE &&
            now_ns >= p->not_before_ns[i])
            walk(p, &p->config.watches[i]);
        if (p->refused)
            p->not_before_ns[i] = now_ns + REFUSED_NS;
    }
    publish(p);
}

static void run(void *stage)
{
    struct mr_purge *p = stage;
    char size[MR_QUANTITY_TEXT];
    for (int r = -EAGAIN; r != -EPIPE;) {
        int64_t began_ns = mr_clock_monotonic_ns();
        uint64_t freed = p->freed;
        walk_all(p);
        int64_t took_ns = mr_clock_monotonic_ns() - began_ns;
        bool idle = p->freed == freed && !p->unasked;
        r = mr_queue_pop(p->config.answers, pause_ms(p, idle ? took_ns : 0), &p->answer);
    }
    if (p->freed > 0)
        mr_info(STAGE, "%llu sources, %s were freed in this run", (unsigned long long)p->freed,
                mr_text_size_about(p->freed_bytes, size));
}

const struct mr_stage mr_purge_stage = {.name = STAGE, .run = run};
