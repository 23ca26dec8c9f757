/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which a camera does things, and its ways to fail. Formats are in sim_stack, the
 * picture in sim_specimen. */
#include "sim_exposure.h"

#include "sim_drift.h"
#include "sim_mdoc.h"
#include "sim_stack.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

void mr_sim_exposure_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: waits end */
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

bool mr_sim_exposure_stopped(void)
{
    return stopped != 0;
}

bool mr_sim_exposure_wait_until(int64_t monotonic_ns)
{
    struct timespec t = {.tv_sec = monotonic_ns / MR_NS_PER_S,
                         .tv_nsec = monotonic_ns % MR_NS_PER_S};
    while (!stopped && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        continue;
    return stopped != 0;
}

/* One line of standard input; its end counts as a line. False: a signal came. */
static bool wait_for_line(void)
{
    char c = '\0';
    while (!stopped && c != '\n') {
        ssize_t n = read(STDIN_FILENO, &c, 1);
        if (n == 0 || (n < 0 && errno != EINTR))
            return true;
    }
    return stopped == 0;
}

static void stall(void)
{
    sigset_t block, old;
    sigemptyset(&block);
    sigaddset(&block, SIGINT);
    sigaddset(&block, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &block, &old);
    while (!stopped)
        (void)sigsuspend(&old); /* a signal just before it is not lost */
    (void)sigprocmask(SIG_SETMASK, &old, NULL);
}

/* In a folder it has just made the plugin first tries whether it may write: an empty file of the
 * movie's name, deleted at once. */
static int try_folder(const char *path, struct mr_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return mr_err_errno(err, -errno, "%s", path);
    (void)close(fd);
    return unlink(path) == 0 ? 0 : mr_err_errno(err, -errno, "%s", path);
}

static int make_folders(char *path, struct mr_err *err)
{
    bool made = false;
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int r = mkdir(path, 0777) == 0 ? 0 : -errno;
        if (r < 0 && r != -EEXIST)
            return mr_err_errno(err, r, "%s", path);
        made = r == 0;
        *slash = '/';
    }
    return made ? try_folder(path, err) : 0;
}

/* The specimen elsewhere for each movie, so that no two movies of a run are equal. */
struct scene {
    struct mr_sim_drift drift;
    int64_t x, y;       /* of frame 0 */
    uint64_t first;     /* base frame of frame 0 */
    uint64_t state;     /* of opaque bytes */
    uint8_t *bytes;     /* owned: an opaque file's next ones */
    size_t frame_bytes; /* of those */
};

static int set_scene(const struct mr_sim_camera *c, uint32_t movie, struct scene *ret)
{
    const struct mr_sim_options *o = c->options;
    enum mr_pixel pixel = mr_pixel_from_mrc_mode(o->mode);
    uint64_t state = o->seed * 1000003 + movie;
    *ret = (struct scene){.frame_bytes = mr_pixel_row_bytes(pixel, o->nx) * o->ny};
    ret->drift = mr_sim_drift_init(o->drift, o->frames, pixel, mr_sim_specimen_random(&state));
    ret->x = (int64_t)(mr_sim_specimen_random(&state) % o->nx);
    ret->x -= pixel == MR_PIXEL_U4 ? ret->x % 2 : 0;
    ret->y = (int64_t)(mr_sim_specimen_random(&state) % o->ny);
    ret->first = mr_sim_specimen_random(&state) % 64;
    ret->state = state;
    ret->bytes = c->specimen == NULL ? malloc(ret->frame_bytes) : NULL;
    return c->specimen == NULL && ret->bytes == NULL ? -ENOMEM : 0;
}

static void next_opaque(struct scene *scene, struct mr_sim_frame *ret)
{
    for (size_t at = 0; at < scene->frame_bytes; at += sizeof(uint64_t)) {
        uint64_t random = mr_sim_specimen_random(&scene->state);
        size_t left = scene->frame_bytes - at;
        memcpy(scene->bytes + at, &random, left < sizeof(random) ? left : sizeof(random));
    }
    *ret = (struct mr_sim_frame){.piece = {{scene->bytes, scene->frame_bytes}, {NULL, 0}}};
}

static int add_frame(const struct mr_sim_camera *c, struct scene *scene, struct mr_sim_stack *stack,
                     struct mr_err *err)
{
    struct mr_sim_frame frame;
    int64_t x = 0, y = 0;
    uint32_t index = stack->frames;
    mr_sim_drift_at(&scene->drift, index, &x, &y);
    if (c->specimen == NULL)
        next_opaque(scene, &frame);
    else
        mr_sim_specimen_frame(c->specimen, scene->first + index, scene->x + x, scene->y + y,
                              &frame);
    if (c->truth != NULL)
        fprintf(c->truth, "%s\t%u\t%" PRId64 "\t%" PRId64 "\n", stack->file.path, index, x, y);
    return mr_sim_stack_add(stack, &frame, err);
}

/* False: the exposure ends here. */
static bool wait_for_frame(const struct mr_sim_options *o, int64_t start_ns, uint32_t frame)
{
    if (o->step)
        return wait_for_line();
    if (o->fps > 0.0)
        return !mr_sim_exposure_wait_until(start_ns + (int64_t)((frame + 1) * 1e9 / o->fps));
    return stopped == 0;
}

static int expose(const struct mr_sim_camera *c, struct scene *scene, struct mr_sim_stack *stack,
                  struct mr_err *err)
{
    const struct mr_sim_options *o = c->options;
    int64_t start_ns = mr_clock_monotonic_ns();
    uint32_t end = o->abort_at < o->frames ? o->abort_at : o->frames;
    while (stack->frames < end) {
        if (stack->frames == o->stall_at)
            stall();
        if (!wait_for_frame(o, start_ns, stack->frames))
            return 0;
        int r = add_frame(c, scene, stack, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* What comes after the last frame, up to the close. */
static int conclude(const struct mr_sim_options *o, struct mr_sim_stack *stack, struct mr_err *err)
{
    if (o->hold == MR_SIM_HOLD_FRAMES)
        (void)wait_for_line();
    int r = o->no_final_header ? 0 : mr_sim_stack_finish(stack, err);
    if (r == 0 && o->hold == MR_SIM_HOLD_HEADER)
        (void)wait_for_line();
    return r;
}

static int write_stack(const struct mr_sim_camera *c, struct scene *scene, const char *path,
                       struct mr_sim_stack *stack, struct mr_err *err)
{
    const struct mr_sim_options *o = c->options;
    int r = mr_sim_stack_begin(stack, o, path, err);
    if (r < 0)
        return r;
    r = expose(c, scene, stack, err);
    if (r == 0 && stopped && (stack->frames == 0 || stack->frames == o->stall_at))
        r = mr_err_set(err, -ECANCELED, "%s: left unfinished", path);
    if (r == 0)
        r = conclude(o, stack, err);
    if (r < 0)
        mr_sim_file_abandon(&stack->file);
    else
        r = mr_sim_stack_end(stack, err);
    if (r == 0 && o->mdoc)
        r = mr_sim_mdoc_write(o, path, stack->frames, err);
    return r;
}

static int report(const struct mr_sim_options *o, const struct mr_sim_stack *stack,
                  struct mr_err *err)
{
    char pixels[17] = "-";
    if (o->format->has_pixels)
        (void)snprintf(pixels, sizeof(pixels), "%016" PRIX64, stack->pixel_crc);
    printf("%s\t%" PRIu64 "\t%u\t%s\t%016" PRIX64 "\n", stack->file.path, stack->file.bytes,
           stack->frames, pixels, stack->file.crc);
    return fflush(stdout) == 0 ? 0 : mr_err_errno(err, -errno, "standard output");
}

int mr_sim_exposure_run(const struct mr_sim_camera *camera, uint32_t movie, struct mr_err *err)
{
    const struct mr_sim_options *o = camera->options;
    struct mr_sim_stack stack;
    struct scene scene;
    char path[4096];
    if (snprintf(path, sizeof(path), "%s/%s_%04u%s", o->out, o->prefix, movie + 1,
                 o->format->suffix) >= (int)sizeof(path))
        return mr_err_errno(err, -ENAMETOOLONG, "%s/%s", o->out, o->prefix);
    int r = make_folders(path, err);
    if (r == 0 && (r = set_scene(camera, movie, &scene)) < 0)
        return mr_err_errno(err, r, "%zu bytes for a frame", scene.frame_bytes);
    if (r < 0)
        return r;
    r = write_stack(camera, &scene, path, &stack, err);
    free(scene.bytes);
    return r < 0 ? r : report(o, &stack, err);
}
