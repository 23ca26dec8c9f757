/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From files to movies and from verdicts to files, with a real transfer and a journal in memory:
 * the test plays track before it and the server behind it. Which id does a file get, when is it
 * offered again, and when is it left alone?
 */
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
static struct mr_journal *journal;
static struct mr_consign *consign;
static struct mr_transfer *transfer;
static struct mr_message said; /* what the agent said last */
static uint32_t sequence;
static int64_t now_ns = 1;

static void make_consign(bool push, bool ends)
{
    struct mr_err err = {0};
    const struct mr_consign_config config = {
        .outputs = outputs, .push = push, .ends = ends, .movies_max = 8};
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

static void hear(struct mr_message *m)
{
    struct mr_err err = {0};
    m->sequence = ++sequence;
    m->session = 7;
    int r = mr_transfer_receive(transfer, m, ++now_ns, &err);
    ck_assert_msg(r == 0, "%s", err.text);
}

static void greet(void)
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

static void begin(bool push, bool ends)
{
    struct mr_err err = {0};
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(mr_journal_open(NULL, &err, &journal), 0);
    outputs[0] = MR_WISH_AUTO;
    make_consign(push, ends);
    greet();
}

static void stop(void)
{
    mr_transfer_free(transfer);
    mr_consign_free(consign);
}

static void end(void)
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
static bool listen_for(void)
{
    now_ns += MR_NS_PER_S;
    mr_consign_fill(consign, now_ns, now_ns);
    while (mr_transfer_next_control(transfer, ++now_ns, 1, &said))
        if (said.type != MR_DEMAND && said.type != MR_PING)
            return true;
    return false;
}

static void expect(enum mr_message_type type)
{
    ck_assert_msg(listen_for(), "%s expected, nothing said", mr_message_name(type));
    ck_assert_str_eq(mr_message_name(said.type), mr_message_name(type));
}

static void silence(void)
{
    ck_assert_msg(!listen_for(), "%s said", mr_message_name(said.type));
}

/* ---- files, and what track says of them ---- */

static void write_file(const char *name, const char *text, int flags)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | flags, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void remove_file(const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    ck_assert_int_eq(unlink(path), 0);
}

static struct mr_growth *look(uint64_t file, const char *name, enum mr_growth_kind kind)
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

static void tell(uint64_t file, const char *name, enum mr_growth_kind kind)
{
    mr_consign_growth(consign, look(file, name, kind), ++now_ns);
}

/* A movie of 8 x 4 x 2 bytes a frame behind 1024 of header. */
static void tell_movie(uint64_t file, const char *name, enum mr_growth_kind kind,
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

static void open_it(void)
{
    static struct mr_message m;
    expect(MR_OPEN);
    m = (struct mr_message){.type = MR_OPENED,
                            .opened = {.movie = said.open.movie, .generation = 1}};
    hear(&m);
}

/* Grants credit, has the one slab read and durable. */
static void take_slab(void)
{
    static struct mr_message m;
    struct mr_pick pick;
    m = (struct mr_message){.type = MR_CREDIT, .credit = {.lanes = 1}};
    m.credit.granted[0] = UINT64_C(1) << 40;
    hear(&m);
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

static void commit_as(const struct mr_ulid *id, uint32_t revision, bool known,
                      const struct mr_ulid *event)
{
    static struct mr_message m;
    char text[MR_ULID_TEXT];
    m = (struct mr_message){.type = MR_COMMITTED,
                            .committed = {.movie = *id, .revision = revision, .known = known}};
    snprintf(m.committed.event, sizeof(m.committed.event), "%s.ready", mr_ulid_text(event, text));
    hear(&m);
}

static void ship(struct mr_ulid *ret_id, uint32_t *ret_revision)
{
    open_it();
    *ret_id = said.open.movie;
    *ret_revision = said.open.revision;
    take_slab();
    expect(MR_END);
    commit_as(ret_id, *ret_revision, false, ret_id);
}

static void answer(enum mr_message_type type, const struct mr_ulid *id, uint16_t code)
{
    static struct mr_message m;
    m = (struct mr_message){.type = type};
    if (type == MR_FAILED)
        m.failed = (struct mr_failed){.movie = *id, .code = code};
    else
        m.abandon.movie = *id;
    hear(&m);
}

static struct mr_consign_counts counts(void)
{
    struct mr_consign_counts c;
    mr_consign_count(consign, &c);
    return c;
}

/* ---- tests ---- */

START_TEST(new_file_is_committed_once)
{
    struct mr_ulid id;
    uint32_t revision;
    begin(false, false);
    write_file("a.txt", "one", O_TRUNC);
    tell(1, "a.txt", MR_GROWTH_FOUND);
    silence(); /* it settles only when it is complete */
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    ck_assert(!mr_consign_idle(consign));
    ship(&id, &revision);
    ck_assert_uint_eq(revision, 1);
    ck_assert_uint_eq(counts().committed, 1);
    ck_assert(mr_consign_idle(consign));
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    silence();
    stop(); /* a restarted agent knows it */
    make_consign(false, false);
    greet();
    tell(9, "a.txt", MR_GROWTH_COMPLETE);
    silence();
    ck_assert(mr_consign_idle(consign));
    end();
}
END_TEST

START_TEST(what_was_open_is_resumed)
{
    begin(false, false);
    write_file("a.txt", "one", O_TRUNC);
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    open_it();
    struct mr_ulid id = said.open.movie;
    stop();
    make_consign(false, false);
    greet();
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    expect(MR_OPEN);
    ck_assert(mr_ulid_equal(&said.open.movie, &id));
    end();
}
END_TEST

START_TEST(changed_after_commit_is_a_revision)
{
    struct mr_ulid id, again;
    uint32_t revision;
    begin(false, false);
    write_file("a.log", "one", O_TRUNC);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    ship(&id, &revision);
    write_file("a.log", "two", O_APPEND);
    tell(1, "a.log", MR_GROWTH_CHANGED);
    silence();
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    ship(&again, &revision);
    ck_assert(mr_ulid_equal(&id, &again));
    ck_assert_uint_eq(revision, 2);
    stop(); /* and the same over a restart */
    make_consign(false, false);
    greet();
    write_file("a.log", "three", O_APPEND);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    ship(&again, &revision);
    ck_assert(mr_ulid_equal(&id, &again));
    ck_assert_uint_eq(revision, 3);
    end();
}
END_TEST

START_TEST(replaced_is_another_movie)
{
    struct mr_ulid id, other;
    uint32_t revision;
    begin(false, false);
    write_file("a.log", "one", O_TRUNC);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    ship(&id, &revision);
    tell(1, "a.log", MR_GROWTH_REPLACED);
    write_file("b", "other", O_TRUNC);
    char from[256], to[256];
    snprintf(from, sizeof(from), "%s/b", dir);
    snprintf(to, sizeof(to), "%s/a.log", dir);
    ck_assert_int_eq(rename(from, to), 0);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    ship(&other, &revision);
    ck_assert(!mr_ulid_equal(&id, &other));
    ck_assert_uint_eq(revision, 1);
    end();
}
END_TEST

/* CHANGED while a revision is on its way: abandoned, and the same revision read anew. */
START_TEST(changed_on_its_way_begins_again)
{
    struct mr_ulid id, again;
    uint32_t revision;
    begin(false, false);
    write_file("a.log", "one", O_TRUNC);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    open_it();
    id = said.open.movie;
    write_file("a.log", "two", O_APPEND);
    tell(1, "a.log", MR_GROWTH_CHANGED);
    expect(MR_ABANDON);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    silence();
    answer(MR_ABANDONED, &id, 0);
    ship(&again, &revision);
    ck_assert(!mr_ulid_equal(&id, &again));
    write_file("a.log", "three", O_APPEND);
    tell(1, "a.log", MR_GROWTH_CHANGED);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    open_it();
    write_file("a.log", "four", O_APPEND);
    tell(1, "a.log", MR_GROWTH_CHANGED);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    expect(MR_ABANDON);
    answer(MR_ABANDONED, &again, 0);
    ship(&id, &revision);
    ck_assert(mr_ulid_equal(&id, &again));
    ck_assert_uint_eq(revision, 2);
    end();
}
END_TEST

/* All slabs are durable, but the file is not what END would say of it. */
START_TEST(changed_before_end_is_not_ended)
{
    begin(false, false);
    write_file("a.log", "one", O_TRUNC);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    open_it();
    struct mr_ulid id = said.open.movie;
    take_slab();
    write_file("a.log", "two", O_APPEND);
    expect(MR_ABANDON);
    answer(MR_ABANDONED, &id, 0);
    silence(); /* until track has looked again */
    ck_assert_uint_eq(counts().stale, 1);
    tell(1, "a.log", MR_GROWTH_CHANGED);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    expect(MR_OPEN);
    ck_assert_uint_eq(counts().stale, 0);
    end();
}
END_TEST

/* The server says each time that other bytes arrived: not for ever. */
START_TEST(abandoned_again_and_again_is_given_up)
{
    begin(false, false);
    write_file("a.log", "one", O_TRUNC);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    for (int i = 0; i < 3; i++) {
        open_it();
        struct mr_ulid id = said.open.movie;
        answer(MR_ABANDONED, &id, 0);
    }
    silence();
    ck_assert_uint_eq(counts().failed, 1);
    ck_assert(mr_consign_idle(consign));
    end();
}
END_TEST

START_TEST(mismatch_begins_again_under_another_id)
{
    struct mr_ulid id, other;
    uint32_t revision;
    begin(false, true);
    write_file("a.log", "one", O_TRUNC);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    open_it();
    id = said.open.movie;
    answer(MR_FAILED, &id, MR_REASON_MISMATCH);
    ck_assert_uint_eq(counts().failed, 0);
    ship(&other, &revision);
    ck_assert(!mr_ulid_equal(&id, &other));
    end();
}
END_TEST

/* A failed movie that goes on growing is left alone until it is another one. */
START_TEST(failed_stays_failed_while_it_grows)
{
    begin(false, false);
    write_file("m.mrc", "header and a frame", O_TRUNC);
    tell_movie(1, "m.mrc", MR_GROWTH_FOUND, MR_PIXEL_I16);
    open_it();
    struct mr_ulid id = said.open.movie;
    answer(MR_FAILED, &id, MR_REASON_UNSUPPORTED);
    tell_movie(1, "m.mrc", MR_GROWTH_GREW, MR_PIXEL_I16);
    silence();
    tell_movie(1, "m.mrc", MR_GROWTH_COMPLETE, MR_PIXEL_I16);
    silence();
    ck_assert_uint_eq(counts().failed, 1);
    end();
}
END_TEST

START_TEST(refused_pixels_are_said_once)
{
    begin(false, false);
    outputs[0] = MR_WISH_MRC;
    write_file("m.mrc", "header and a frame", O_TRUNC);
    for (int i = 0; i < 5; i++) {
        struct mr_growth *g = look(1, "m.mrc", i == 0 ? MR_GROWTH_FOUND : MR_GROWTH_GREW);
        g->view.kind = MR_KIND_MOVIE;
        g->view.pixel = MR_PIXEL_U4;
        g->view.width = 7; /* rows of half a byte too much */
        g->view.height = 4;
        g->view.data_offset = 1024;
        mr_consign_growth(consign, g, ++now_ns);
    }
    silence();
    ck_assert_uint_eq(counts().failed, 1);
    ck_assert(mr_consign_idle(consign));
    end();
}
END_TEST

START_TEST(gone_files_are_forgotten)
{
    begin(false, false);
    write_file("a.txt", "one", O_TRUNC);
    write_file("m.mrc", "header and a frame", O_TRUNC);
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    tell_movie(2, "m.mrc", MR_GROWTH_FOUND, MR_PIXEL_I16);
    tell(1, "a.txt", MR_GROWTH_GONE); /* it waited */
    remove_file("a.txt");
    open_it();
    struct mr_ulid id = said.open.movie;
    remove_file("m.mrc");
    tell_movie(2, "m.mrc", MR_GROWTH_GONE, MR_PIXEL_I16);
    expect(MR_FAIL);
    answer(MR_FAILED, &id, MR_REASON_SOURCE);
    ck_assert_uint_eq(counts().files, 0);
    tell(7, "never-seen", MR_GROWTH_GONE);
    end();
}
END_TEST

/* Complete, and removed while it is read: the open file still has the bytes. */
START_TEST(gone_on_its_way_is_committed)
{
    begin(false, false);
    write_file("a.txt", "one", O_TRUNC);
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    open_it();
    struct mr_ulid id = said.open.movie;
    remove_file("a.txt");
    tell(1, "a.txt", MR_GROWTH_GONE);
    take_slab();
    expect(MR_END);
    commit_as(&id, 1, false, &id);
    ck_assert_uint_eq(counts().files, 0);
    ck_assert_uint_eq(counts().committed, 1);
    end();
}
END_TEST

START_TEST(broken_is_told_by_the_daemon_and_refused_by_push)
{
    begin(false, false);
    write_file("m.mrc", "no header", O_TRUNC);
    tell(1, "m.mrc", MR_GROWTH_BROKEN);
    open_it();
    take_slab();
    expect(MR_FAIL);
    ck_assert_str_eq(said.fail.text, "a reason");
    stop();
    make_consign(true, true);
    greet();
    tell(1, "m.mrc", MR_GROWTH_BROKEN);
    silence();
    ck_assert_uint_eq(counts().failed, 1);
    end();
}
END_TEST

/* The same content was there under an older id: later changes are revisions of that movie. */
START_TEST(known_content_goes_on_under_the_older_id)
{
    struct mr_ulid older, id;
    uint32_t revision;
    begin(false, false);
    mr_ulid_new(1, &older);
    write_file("a.log", "one", O_TRUNC);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    open_it();
    id = said.open.movie;
    commit_as(&id, 4, true, &older);
    ck_assert_uint_eq(counts().known, 1);
    write_file("a.log", "two", O_APPEND);
    tell(1, "a.log", MR_GROWTH_CHANGED);
    tell(1, "a.log", MR_GROWTH_COMPLETE);
    ship(&id, &revision);
    ck_assert(mr_ulid_equal(&id, &older));
    ck_assert_uint_eq(revision, 5);
    end();
}
END_TEST

/* Not there any more, or not what track saw: neither failed nor committed. */
START_TEST(stale_is_counted)
{
    begin(true, true);
    write_file("a.txt", "one", O_TRUNC);
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    write_file("a.txt", "two", O_APPEND);
    write_file("b.txt", "one", O_TRUNC);
    tell(2, "b.txt", MR_GROWTH_COMPLETE);
    remove_file("b.txt");
    silence();
    ck_assert_uint_eq(counts().stale, 2);
    ck_assert(mr_consign_idle(consign));
    end();
}
END_TEST

/* A push that is interrupted leaves nothing behind at the server. */
START_TEST(stop_abandons)
{
    begin(true, true);
    write_file("a.txt", "one", O_TRUNC);
    write_file("b.txt", "one", O_TRUNC);
    tell(1, "a.txt", MR_GROWTH_COMPLETE);
    open_it();
    struct mr_ulid id = said.open.movie;
    tell(2, "b.txt", MR_GROWTH_COMPLETE);
    mr_consign_stop(consign);
    expect(MR_ABANDON);
    ck_assert(!mr_consign_idle(consign));
    answer(MR_ABANDONED, &id, 0);
    silence();
    ck_assert(mr_consign_idle(consign));
    ck_assert_uint_eq(counts().committed, 0);
    end();
}
END_TEST

MR_SUITE("consign", T(new_file_is_committed_once), T(what_was_open_is_resumed),
         T(changed_after_commit_is_a_revision), T(replaced_is_another_movie),
         T(changed_on_its_way_begins_again), T(changed_before_end_is_not_ended),
         T(abandoned_again_and_again_is_given_up), T(mismatch_begins_again_under_another_id),
         T(failed_stays_failed_while_it_grows), T(refused_pixels_are_said_once),
         T(gone_files_are_forgotten), T(gone_on_its_way_is_committed),
         T(broken_is_told_by_the_daemon_and_refused_by_push),
         T(known_content_goes_on_under_the_older_id), T(stale_is_counted), T(stop_abandons))
