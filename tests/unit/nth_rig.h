/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests share in which every call of the store's stages fails once (fail_nth.h): a stage
 * that ends at the first error, and the life of the server that comes next. */
#ifndef MR_TESTS_NTH_RIG_H
#define MR_TESTS_NTH_RIG_H

#include "fail_nth.h"
#include "recovery.h"
#include "seal_rig.h"

#include <stdlib.h>

static inline void nth_make(struct rig *rig)
{
    if (access("/dev/shm", W_OK) == 0) /* what is tried is not the disk */
        (void)setenv("MILLRACE_SCRATCH", "/dev/shm", 0);
    rig_make(rig);
}

static inline void nth_unfinished(void *ctx, const struct mr_ulid *id)
{
    struct rig *rig = ctx;
    int r = mr_berth_note_left(rig->berth, id);
    (void)r; /* without memory that server ends, and so does this life */
}

static inline void nth_sealed(void *ctx, struct mr_dossier *d, enum mr_commit_state state)
{
    struct rig *rig = ctx;
    struct mr_recheck_job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        mr_dossier_fini(d);
        free(d);
        return;
    }
    *job = (struct mr_recheck_job){.kind = MR_RECHECK_SEALED, .dossier = d, .state = state};
    if (mr_queue_push(rig->queues.rechecks, &job) < 0)
        mr_recheck_job_free(job);
}

/* Of a stage that does not wait for better times: the server ends. */
static inline void nth_seal(struct rig *rig, const struct mr_seal_job *jobs, size_t count)
{
    struct sealing s;
    struct mr_seal_answer answer;
    bool armed = fail_nth.armed; /* the stage is tried, not its making */
    fail_nth.armed = false;
    sealing_begin(rig, &s);
    for (size_t i = 0; i < count; i++)
        sealing_put(&s, &jobs[i]);
    mr_seal_stop(s.seal);
    fail_nth.armed = armed;
    sealing_run(&s);
    fail_nth.armed = false;
    while (mr_queue_pop(s.out, 0, &answer) == 0)
        free(answer.message);
    sealing_end(&s);
    fail_nth.armed = armed;
}

/* What a server does before it serves. */
static inline void nth_recover(struct rig *rig)
{
    struct mr_seal_job jobs[4];
    size_t count = 0;
    struct mr_err err = {0};
    const struct mr_recovery_found found = {
        .ctx = rig, .unfinished = nth_unfinished, .sealed = nth_sealed};
    int r = mr_recovery_run(&rig->commit, &found, &err);
    (void)r; /* an error is the end of that server */
    for (int turns = 0; turns < 8 && mr_recheck_turn(rig->recheck); turns++) {}
    while (count < 4 && mr_queue_pop(rig->seal_jobs, 0, &jobs[count]) == 0)
        count++;
    nth_seal(rig, jobs, count);
}

static inline void nth_check_folder(int root, const char *path)
{
    int fd = openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *d;
    while (dir != NULL && (d = readdir(dir)) != NULL) {
        const char *dot = strrchr(d->d_name, '.');
        bool left = dot != NULL && (strcmp(dot, ".part") == 0 || strcmp(dot, ".journal") == 0 ||
                                    strcmp(dot, ".group") == 0);
        ck_assert_msg(!left, "%s/%s is left over, after %s", path, d->d_name, fail_nth_where());
    }
    if (dir != NULL)
        closedir(dir);
}

#endif
