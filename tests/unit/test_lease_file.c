/* SPDX-License-Identifier: Apache-2.0 */
/* What a file of the lease says: read as it was written, and nothing believed that is not whole;
 * which epochs count; and whether a process is gone for certain. */
#include "base/recordlog.h"
#include "dice.h"
#include "lease_rig.h"
#include "scratch.h"
#include "suite.h"

#include <errno.h>
#include <sys/wait.h>

/* ---- epochs ---- */

/* All that ever began, in their order; one whose part of the log is empty counts for nothing. */
START_TEST(epochs_are_as_all_that_ever_began)
{
    for (unsigned seed = 1; seed <= 200; seed++) {
        struct mr_epochs e = {0};
        struct mr_epoch all[12];
        size_t count = 0;
        dice_seed(seed);
        ck_assert_uint_eq(mr_epochs_last(&e), 0);
        while (count < 12) {
            uint32_t before = count > 0 ? all[count - 1].generation : 0;
            all[count] = (struct mr_epoch){before + 1 + (uint32_t)dice(3), 1 + dice(20)};
            ck_assert_int_eq(mr_epochs_add(&e, &all[count]), 0);
            ck_assert_uint_eq(mr_epochs_last(&e), all[count].generation);
            count++;
            for (size_t i = 1; i < e.count; i++)
                ck_assert(e.list[i - 1].generation < e.list[i].generation &&
                          e.list[i - 1].first_event < e.list[i].first_event);
            for (uint32_t epoch = 0; epoch < 40; epoch++) {
                for (uint64_t first = 1; first <= 21; first++) {
                    bool known = epoch == 0, good = true;
                    for (size_t i = 0; i < count; i++) {
                        known |= all[i].generation == epoch && all[i].first_event <= first;
                        good &= all[i].generation <= epoch || all[i].first_event > first;
                    }
                    if (known) /* else there is no such segment */
                        ck_assert_int_eq(mr_epochs_are_good(&e, epoch, first), good);
                }
            }
        }
    }
}
END_TEST

START_TEST(one_epoch_too_many_changes_nothing)
{
    static struct mr_epochs e, before;
    for (uint32_t i = 1; i <= MR_EPOCHS_MAX; i++)
        ck_assert_int_eq(mr_epochs_add(&e, &(struct mr_epoch){i, 10 * i}), 0);
    before = e;
    const uint64_t end = 10 * MR_EPOCHS_MAX;
    ck_assert_int_eq(mr_epochs_add(&e, &(struct mr_epoch){MR_EPOCHS_MAX + 1, end + 1}), -EOVERFLOW);
    ck_assert_mem_eq(&e, &before, sizeof(e));
    ck_assert_int_eq(mr_epochs_add(&e, &(struct mr_epoch){MR_EPOCHS_MAX + 1, end}), 0);
    ck_assert_uint_eq(e.count, MR_EPOCHS_MAX); /* in the last one's place */
    ck_assert_int_eq(mr_epochs_add(&e, &(struct mr_epoch){MR_EPOCHS_MAX + 2, 25}), 0);
    ck_assert_uint_eq(e.count, 3);
}
END_TEST

/* ---- names ---- */

START_TEST(only_ten_digits_are_a_generation)
{
    static const struct {
        const char *name;
        uint32_t number;
    } cases[] = {{"0000000001", 1},
                 {"0004194303", MR_GENERATION_MAX},
                 {"0004194304", 0},
                 {"4294967297", 0},
                 {"0000000000", 0},
                 {"000000001", 0},
                 {"00000000001", 0},
                 {"000000001 ", 0},
                 {"+000000001", 0},
                 {"0x00000001", 0},
                 {"", 0},
                 {".", 0}};
    char name[MR_LEASE_NAME];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_uint_eq(mr_lease_number(cases[i].name), cases[i].number);
        mr_lease_name(cases[i].number, name);
        ck_assert(cases[i].number == 0 || strcmp(name, cases[i].name) == 0);
    }
}
END_TEST

START_TEST(newest_file_is_the_highest_number)
{
    struct scratch s = scratch_make();
    uint32_t newest = 99;
    ck_assert_int_eq(mr_lease_list(s.fd, &newest), 0);
    ck_assert_uint_eq(newest, 0);
    scratch_append(&s, "0000000009", "");
    scratch_append(&s, "0000000010", "");
    scratch_append(&s, "0000000002", "");
    scratch_append(&s, "0000000011.new", "");
    scratch_append(&s, "9999999999", "");
    ck_assert_int_eq(mr_lease_list(s.fd, &newest), 0);
    ck_assert_uint_eq(newest, 10);
    int fd = openat(s.fd, "0000000009", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(mr_lease_list(fd, &newest), -ENOTDIR);
    ck_assert_uint_eq(newest, 10);
    close(fd);
    scratch_remove(&s);
}
END_TEST

/* ---- files ---- */

#define FILE_NAME "0000000012"

static struct mr_lease_file written(void)
{
    struct mr_lease_file f = {.generation = 12, .epoch = 11, .lease_ms = 5000};
    f.holder = (struct mr_lease_holder){.server = "storage1",
                                        .host = "host-1.example",
                                        .boot = "-",
                                        .pid = -7,
                                        .start = UINT64_MAX,
                                        .pid_namespace = 4026531836,
                                        .instance = 0xf};
    f.epochs.count = 2;
    f.epochs.list[0] = (struct mr_epoch){3, 1};
    f.epochs.list[1] = (struct mr_epoch){11, UINT64_MAX};
    return f;
}

static void append(const struct scratch *s, const char *line, size_t bytes)
{
    char text[MR_LEASE_LINE + 1];
    memcpy(text, line, bytes);
    text[bytes] = '\0';
    scratch_append(s, FILE_NAME, text);
}

static void write_head(const struct scratch *s, const struct mr_lease_file *f, bool released)
{
    char line[MR_LEASE_LINE], beat[MR_LEASE_BEAT_BYTES];
    size_t bytes = mr_lease_format_beat(UINT64_MAX, released, beat);
    ck_assert_uint_eq(bytes, MR_LEASE_BEAT_BYTES);
    append(s, beat, bytes);
    append(s, line, mr_lease_format_holder(f, line));
}

static void write_file(const struct scratch *s, const struct mr_lease_file *f, bool released)
{
    char line[MR_LEASE_LINE];
    write_head(s, f, released);
    for (size_t i = 0; i < f->epochs.count; i++)
        append(s, line, mr_lease_format_epoch(&f->epochs.list[i], line));
}

static int read_file(const struct scratch *s, struct mr_lease_file *ret)
{
    struct mr_err err = {0};
    int r = mr_lease_read(s->fd, 12, ret, &err);
    ck_assert_int_eq(err.code, r == -ENOENT ? 0 : r);
    ck_assert(r != -EUCLEAN || strstr(err.text, "lease/" FILE_NAME) == err.text);
    return r;
}

START_TEST(file_is_read_as_it_was_written)
{
    for (int released = 0; released <= 1; released++) {
        struct scratch s = scratch_make();
        struct mr_lease_file f = written(), got;
        ck_assert_int_eq(read_file(&s, &got), -ENOENT);
        write_file(&s, &f, released);
        ck_assert_int_eq(read_file(&s, &got), 0);
        ck_assert_uint_eq(got.generation, 12);
        ck_assert_uint_eq(got.epoch, 11);
        ck_assert_uint_eq(got.lease_ms, 5000);
        ck_assert_str_eq(got.holder.server, f.holder.server);
        ck_assert_str_eq(got.holder.host, f.holder.host);
        ck_assert_str_eq(got.holder.boot, "-");
        ck_assert_int_eq(got.holder.pid, -7);
        ck_assert_uint_eq(got.holder.start, UINT64_MAX);
        ck_assert_uint_eq(got.holder.pid_namespace, 4026531836);
        ck_assert_uint_eq(got.holder.instance, 0xf);
        ck_assert_int_eq(got.released, released);
        ck_assert_uint_eq(got.epochs.count, 2);
        ck_assert_uint_eq(got.epochs.list[1].first_event, UINT64_MAX);
        ck_assert_uint_eq(got.bytes, scratch_size(&s, FILE_NAME));
        scratch_append(&s, FILE_NAME, "0123456789abcdef EPO"); /* one that had not begun */
        ck_assert_int_eq(read_file(&s, &got), 0);
        ck_assert_uint_eq(got.bytes, scratch_size(&s, FILE_NAME) - 20);
        ck_assert_int_eq(linkat(s.fd, FILE_NAME, s.fd, "0000000013", 0), 0);
        ck_assert_int_eq(mr_lease_read(s.fd, 13, &got, NULL), -EUCLEAN); /* it says 12 */
        scratch_remove(&s);
    }
}
END_TEST

/* Every bit but the beat's is believed or nothing is; of the beat, that it says "released". */
START_TEST(flipped_bit_is_not_believed)
{
    struct scratch s = scratch_make();
    struct mr_lease_file f = written(), got;
    write_file(&s, &f, true);
    uint64_t bytes = scratch_size(&s, FILE_NAME);
    for (uint64_t at = 0; at < bytes; at++) {
        scratch_flip(&s, FILE_NAME, at);
        int r = read_file(&s, &got);
        ck_assert_int_eq(r, at < MR_LEASE_BEAT_BYTES ? 0 : -EUCLEAN);
        ck_assert(r < 0 || !got.released);
        scratch_flip(&s, FILE_NAME, at);
    }
    scratch_remove(&s);
}
END_TEST

START_TEST(file_that_was_cut_is_damaged_but_for_its_last_epoch)
{
    struct scratch s = scratch_make();
    struct mr_lease_file f = written(), got;
    char line[MR_LEASE_LINE];
    write_file(&s, &f, false);
    uint64_t holder = MR_LEASE_BEAT_BYTES + mr_lease_format_holder(&f, line);
    uint64_t one = holder + mr_lease_format_epoch(&f.epochs.list[0], line);
    for (uint64_t bytes = scratch_size(&s, FILE_NAME); bytes-- > 0;) {
        scratch_cut(&s, FILE_NAME, bytes);
        ck_assert_int_eq(read_file(&s, &got), bytes < holder ? -EUCLEAN : 0);
        if (bytes >= holder)
            ck_assert_uint_eq(got.epochs.count, bytes >= one);
    }
    scratch_remove(&s);
}
END_TEST

START_TEST(lines_in_another_form_are_damage)
{
    static const char *const strange[] = {
        "EPOCH 12 7 ",        "EPOCH 012 7", "EPOCH +12 7",
        "EPOCH 11 7", /* generations ascend */
        "EPOCH 12 0",         "EPOCH 12",    "EPOCH",
        "EPOCH 4294967296 7", "BEAT 1 held", "LEASE 12 11 5000 a b - 1 2 3 000000000000000f",
        "what is this"};
    for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
        struct scratch s = scratch_make();
        struct mr_lease_file f = written(), got;
        char line[MR_LEASE_LINE];
        size_t bytes = 0;
        f.epochs.list[1].first_event = 5;
        write_file(&s, &f, false);
        ck_assert_int_eq(
            mr_recordlog_format(strange[i], strlen(strange[i]), line, sizeof(line), &bytes), 0);
        append(&s, line, bytes);
        ck_assert_msg(read_file(&s, &got) == -EUCLEAN, "%s", strange[i]);
        scratch_remove(&s);
    }
}
END_TEST

START_TEST(holder_in_another_form_is_damage)
{
    static const char *const strange[] = {"LEASE 12 11 5000 a b - 1 2 3 F",
                                          "LEASE 12 11 5000 a b - 1 2 3",
                                          "LEASE 12 11 5000 a b - 1 2 3 000000000000000f ",
                                          "LEASE 12 11 5000 a b  - 1 2 3 000000000000000f",
                                          "LEASE 012 11 5000 a b - 1 2 3 000000000000000f"};
    for (size_t i = 0; i <= sizeof(strange) / sizeof(strange[0]); i++) {
        struct scratch s = scratch_make();
        struct mr_lease_file got;
        char line[MR_LEASE_LINE];
        size_t bytes = mr_lease_format_beat(0, false, line);
        bool good = i == sizeof(strange) / sizeof(strange[0]);
        const char *text = good ? "LEASE 12 11 5000 a b - 1 2 3 000000000000000f" : strange[i];
        append(&s, line, bytes);
        ck_assert_int_eq(mr_recordlog_format(text, strlen(text), line, sizeof(line), &bytes), 0);
        append(&s, line, bytes);
        ck_assert_msg(read_file(&s, &got) == (good ? 0 : -EUCLEAN), "%s", text);
        scratch_remove(&s);
    }
}
END_TEST

START_TEST(epochs_are_the_newest_files)
{
    struct scratch s = scratch_make();
    struct mr_epochs epochs = {.count = 5};
    struct mr_err err = {0};
    ck_assert_int_eq(mr_epochs_load(s.fd, &epochs, &err), 0);
    ck_assert_uint_eq(epochs.count, 0); /* there is no lease */
    ck_assert_int_eq(mkdirat(s.fd, MR_LEASE_DIR, 0700), 0);
    ck_assert_int_eq(mr_epochs_load(s.fd, &epochs, &err), 0);
    ck_assert_uint_eq(epochs.count, 0);
    struct scratch dir = s;
    dir.fd = openat(s.fd, MR_LEASE_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    scratch_append(&dir, "0000000004", "an older one, damaged");
    struct mr_lease_file f = written();
    write_file(&dir, &f, false);
    ck_assert_int_eq(mr_epochs_load(s.fd, &epochs, &err), 0);
    ck_assert_uint_eq(epochs.count, 2);
    ck_assert_uint_eq(mr_epochs_last(&epochs), 11);
    scratch_append(&dir, "0000000013", "");
    ck_assert_int_eq(mr_epochs_load(s.fd, &epochs, &err), -EUCLEAN);
    ck_assert_msg(strstr(err.text, "lease/0000000013") == err.text, "%s", err.text);
    close(dir.fd);
    scratch_remove(&s);
    s = scratch_make();
    scratch_append(&s, MR_LEASE_DIR, "");
    err = (struct mr_err){0};
    ck_assert_int_eq(mr_epochs_load(s.fd, &epochs, &err), -ENOTDIR);
    ck_assert_int_eq(err.code, -ENOTDIR);
    scratch_remove(&s);
}
END_TEST

/* ---- processes ---- */

START_TEST(own_names_are_plain)
{
    struct mr_lease_holder self, again;
    char longest[100];
    ck_assert_int_eq(mr_lease_self("a b\tc/d", &self), 0);
    ck_assert_str_eq(self.server, "a_b_c_d");
    ck_assert_int_eq(self.pid, getpid());
    ck_assert_uint_gt(self.start, 0);
    ck_assert_str_ne(self.host, "");
    ck_assert_int_eq(mr_lease_self("", &again), 0);
    ck_assert_str_eq(again.server, "-");
    ck_assert_uint_ne(again.instance, self.instance);
    ck_assert_uint_eq(again.start, self.start);
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    ck_assert_int_eq(mr_lease_self(longest, &again), 0);
    ck_assert_uint_eq(strlen(again.server), sizeof(again.server) - 1);
}
END_TEST

/* Another process, which says who it is and ends when *ret_end is closed. */
static void other_process(struct mr_lease_holder *ret, int *ret_end)
{
    int until[2], said[2];
    char byte;
    ck_assert_int_eq(pipe(until), 0);
    ck_assert_int_eq(pipe(said), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct mr_lease_holder h;
        close(until[1]);
        bool good = mr_lease_self("other", &h) == 0 && write(said[1], &h, sizeof(h)) == sizeof(h);
        _exit(good && read(until[0], &byte, 1) == 0 ? 0 : 1);
    }
    close(until[0]);
    close(said[1]);
    ck_assert_int_eq(read(said[0], ret, sizeof(*ret)), sizeof(*ret));
    close(said[0]);
    *ret_end = until[1];
}

START_TEST(only_what_is_gone_for_certain_is_gone)
{
    struct mr_lease_holder self, other;
    int end, status;
    ck_assert_int_eq(mr_lease_self("storage1", &self), 0);
    if (strcmp(self.boot, "-") == 0 || self.pid_namespace == 0)
        suite_skip("/proc does not tell of this boot or pid namespace");
    ck_assert(!mr_lease_is_gone(&self, &self));
    other = self;
    other.start++; /* an earlier one, whose number came round to us */
    ck_assert(mr_lease_is_gone(&self, &other));
    other = self;
    other_process(&other, &end);
    ck_assert(!mr_lease_is_gone(&self, &other));
    other.start--; /* that number is another one's now */
    ck_assert(mr_lease_is_gone(&self, &other));
    other.start++;
    strcpy(other.boot, "another");
    ck_assert(!mr_lease_is_gone(&self, &other));
    close(end);
    ck_assert_int_eq(waitpid((pid_t)other.pid, &status, 0), other.pid);
    ck_assert(!mr_lease_is_gone(&self, &other)); /* under another kernel: who knows */
    strcpy(other.boot, self.boot);
    ck_assert(mr_lease_is_gone(&self, &other));
    other.pid_namespace++;
    ck_assert(!mr_lease_is_gone(&self, &other));
    struct mr_lease_holder unknown = self;
    other.pid_namespace = unknown.pid_namespace = 0;
    ck_assert(!mr_lease_is_gone(&unknown, &other));
    other.pid_namespace = unknown.pid_namespace = self.pid_namespace;
    strcpy(unknown.boot, "-");
    strcpy(other.boot, "-");
    ck_assert(!mr_lease_is_gone(&unknown, &other));
}
END_TEST

MR_SUITE("lease_file", T(epochs_are_as_all_that_ever_began), T(one_epoch_too_many_changes_nothing),
         T(only_ten_digits_are_a_generation), T(newest_file_is_the_highest_number),
         T(file_is_read_as_it_was_written), T(flipped_bit_is_not_believed),
         T(file_that_was_cut_is_damaged_but_for_its_last_epoch),
         T(lines_in_another_form_are_damage), T(holder_in_another_form_is_damage),
         T(epochs_are_the_newest_files), T(own_names_are_plain),
         T(only_what_is_gone_for_certain_is_gone))
