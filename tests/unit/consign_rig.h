/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Consign with a real transfer and a journal in memory: the test plays track before it and the
 * server behind it. One test program holds one of them.
 */
#ifndef MR_TESTS_CONSIGN_RIG_H
#define MR_TESTS_CONSIGN_RIG_H

#include "base/bytes.h"
#include "base/clock.h"
#include "consign.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char dir[] = "/tmp/consign-XXXXXX";
static enum mr_wish outputs[1];
static const bool *frees; /* as mr_consign_config's, of the next make_consign */
static struct mr_journal *journal;
static struct mr_consign *consign;
static struct mr_transfer *transfer;
static struct mr_message said; /* what the agent said last */
static uint32_t sequence;
static int64_t now_ns = 1;

static inline void make_consign(bool push, bool ends)
{
    struct mr_err err = {0};
    static const struct mr_track_watch watch = {.path = dir};
    const struct mr_consign_config config = {.outputs = outputs,
                                             .frees = frees,
                                             .watches = &watch,
                                             .watch_count = push ? 0 : 1,
                                             .push = push,
                                             .ends = ends,
                                             .movies_max = 8};
    const struct mr_transfer_config tc = {
        .hello = {.version_min = 1, .version_max = 1, .name = "k3"},
        .ack_timeout_ns = 30 * MR_NS_PER_S,
        .idle_credit_ns = MR_NS_PER_S};
    ck_assert_int_eq(mr_consign_new(&config, journal, &consign, &err), 0);
    const struct mr_transfer_ops ops = {
        .verdict = mr_consign_verdict, .unchanged = mr_consign_unchanged, .ctx = consign};
    ck_assert_int_eq(mr_transfer_new(&tc, &ops, &transfer), 0);
    mr_consign_use(consign, transfer);
}

static inline void hear(struct mr_message *m)
{
    struct mr_err err = {0};
    m->sequence = ++sequence;
    m->session = 7;
    int r = mr_transfer_receive(transfer, m, ++now_ns, &err);
    ck_assert_msg(r == 0, "%s", err.text);
}

static inline void greet(void)
{
    sequence = 0;
    mr_transfer_connected(transfer, 1, ++now_ns);
    ck_assert(mr_transfer_next_control(transfer, ++now_ns, 1, &said));
    static struct mr_message m;
    m = (struct mr_message){.type = MR_WELCOME,
                            .welcome = {.version = 1, .lanes = 1, .heartbeat_ms = 1000000}};
    m.welcome.ports[0] = 1;
    hear(&m);
}

static inline void begin(bool push, bool ends)
{
    struct mr_err err = {0};
    memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6); /* a name that is used up */
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(mr_journal_open(NULL, &err, &journal), 0);
    outputs[0] = MR_WISH_AUTO;
    make_consign(push, ends);
    greet();
}

static inline void stop(void)
{
    mr_transfer_free(transfer);
    mr_consign_free(consign);
}

static inline void end(void)
{
    stop();
    mr_journal_close(journal);
    static const char *const names[] = {"a.txt", "a.log", "b.txt", "m.mrc"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[256];
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    ck_assert_int_eq(rmdir(dir), 0);
}

/* The next word of the agent that is about a movie; false: none. */
static inline bool listen_for(void)
{
    now_ns += MR_NS_PER_S;
    mr_consign_fill(consign, now_ns, now_ns);
    while (mr_transfer_next_control(transfer, ++now_ns, 1, &said))
        if (said.type != MR_DEMAND && said.type != MR_PING)
            return true;
    return false;
}

static inline void expect(enum mr_message_type type)
{
    ck_assert_msg(listen_for(), "%s expected, nothing said", mr_message_name(type));
    ck_assert_str_eq(mr_message_name(said.type), mr_message_name(type));
}

static inline void silence(void)
{
    ck_assert_msg(!listen_for(), "%s said", mr_message_name(said.type));
}

/* ---- files, and what track says of them ---- */

static inline void write_file(const char *name, const char *text, int flags)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | flags, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static inline void remove_file(const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    ck_assert_int_eq(unlink(path), 0);
}

static inline struct mr_growth *look(uint64_t file, const char *name, enum mr_growth_kind kind)
{
    static struct mr_growth g;
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    g = (struct mr_growth){.kind = kind, .file = file, .root = dir, .reason = "a reason"};
    snprintf(g.path, sizeof(g.path), "%s", name);
    if (mr_fs_stat(AT_FDCWD, path, &g.facts) < 0)
        g.facts = (struct mr_fs_facts){0};
    g.view = (struct mr_source_view){.format = "file",
                                     .kind = MR_KIND_FILE,
                                     .known = true,
                                     .complete_by = MR_COMPLETE_CLOSE,
                                     .settled_to = g.facts.size};
    return &g;
}

static inline void tell(uint64_t file, const char *name, enum mr_growth_kind kind)
{
    mr_consign_growth(consign, look(file, name, kind), ++now_ns);
}

/* A movie of 8 x 4 x 2 bytes a frame behind 1024 of header. */
static inline void tell_movie(uint64_t file, const char *name, enum mr_growth_kind kind,
                              enum mr_pixel pixel)
{
    struct mr_growth *g = look(file, name, kind);
    g->view.kind = MR_KIND_MOVIE;
    g->view.format = "mrc";
    g->view.pixel = pixel;
    g->view.width = 8;
    g->view.height = 4;
    g->view.data_offset = 1024;
    mr_consign_growth(consign, g, ++now_ns);
}

/* ---- the server's part ---- */

static inline void open_it(void)
{
    static struct mr_message m;
    expect(MR_OPEN);
    m = (struct mr_message){.type = MR_OPENED,
                            .opened = {.movie = said.open.movie, .generation = 1}};
    hear(&m);
}

static inline void grant_credit(void)
{
    static struct mr_message m;
    m = (struct mr_message){.type = MR_CREDIT, .credit = {.lanes = 1}};
    m.credit.granted[0] = UINT64_C(1) << 40;
    hear(&m);
}

/* Grants credit, has the one slab read and durable. */
static inline void take_slab(void)
{
    static struct mr_message m;
    struct mr_pick pick;
    grant_credit();
    ck_assert(mr_transfer_pick(transfer, ++now_ns, &pick));
    ck_assert_int_eq(mr_transfer_packed(transfer, &pick, 1, 0, 100, ++now_ns), 0);
    uint8_t range[16];
    memset(range, 0, sizeof(range));
    struct mr_writer w = mr_writer_init(range, sizeof(range));
    mr_write_u64(&w, 0);
    mr_write_u64(&w, 1);
    m = (struct mr_message){
        .type = MR_ACK,
        .ack = {
            .movie = pick.movie, .generation = pick.generation, .range_count = 1, .ranges = range}};
    hear(&m);
}

static inline void commit_as(const struct mr_ulid *id, uint32_t revision, bool known,
                             const struct mr_ulid *event)
{
    static struct mr_message m;
    char text[MR_ULID_TEXT];
    m = (struct mr_message){.type = MR_COMMITTED,
                            .committed = {.movie = *id, .revision = revision, .known = known}};
    snprintf(m.committed.event, sizeof(m.committed.event), "%s.ready", mr_ulid_text(event, text));
    hear(&m);
}

static inline void ship(struct mr_ulid *ret_id, uint32_t *ret_revision)
{
    open_it();
    *ret_id = said.open.movie;
    *ret_revision = said.open.revision;
    take_slab();
    expect(MR_END);
    commit_as(ret_id, *ret_revision, false, ret_id);
}

static inline void answer(enum mr_message_type type, const struct mr_ulid *id, uint16_t code)
{
    static struct mr_message m;
    m = (struct mr_message){.type = type};
    if (type == MR_FAILED)
        m.failed = (struct mr_failed){.movie = *id, .code = code};
    else
        m.abandon.movie = *id;
    hear(&m);
}

static inline struct mr_consign_counts counts(void)
{
    struct mr_consign_counts c;
    mr_consign_count(consign, &c);
    return c;
}

#endif
