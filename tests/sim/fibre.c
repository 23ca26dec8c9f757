/* SPDX-License-Identifier: Apache-2.0 */
/* Stacks and who runs on them when. Knows no pthread and no file. */
#include "fibre.h"

#include "serverside.h"
#include "wrapped.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#define SWITCH_BEGIN(save, stack, bytes) __sanitizer_start_switch_fiber(save, stack, bytes)
#define SWITCH_END(save)                 __sanitizer_finish_switch_fiber(save, NULL, NULL)
#else
#define SWITCH_BEGIN(save, stack, bytes) ((void)(save), (void)(stack), (void)(bytes))
#define SWITCH_END(save)                 ((void)(save))
#endif

#define STACK_BYTES (512u * 1024)
#define FIBRES_MAX  256
#define JITTER_NS   (MS / 5)

/* Where one left off. swapcontext would ask the kernel for the signal mask each time. */
struct context {
    ucontext_t start; /* where it has not begun yet, and under a sanitizer */
    void *place[5];   /* as the compiler's own setjmp has it */
    bool begun;
};

enum fibre_state { FIBRE_FREE, FIBRE_WAITING, FIBRE_RUNNING, FIBRE_DONE };

struct fibre {
    enum fibre_state state;
    struct serverside *process;
    void *(*body)(void *);
    void *arg;
    struct context context;
    uint8_t *stack;
    void *fake_stack; /* the sanitizer's */
    uint64_t ticket;  /* of its present wait; a resumption for another one is void */
    bool planned;     /* it is resumed soon */
    bool overdue;     /* its moment came while its process was stopped */
    const void *channels[FIBRE_CHANNELS];
    size_t channel_count;
};

static struct fibre fibres[FIBRES_MAX];
static struct fibre *used_end = fibres; /* behind the last that was ever in use */
static struct fibre *running;
static struct context world_context = {.begun = true};
static void *world_fake_stack;
static const void *world_stack;
static size_t world_stack_bytes;
static uint64_t last_ticket;
static int alone;

struct serverside *fibre_process(void)
{
    return running == NULL ? NULL : running->process;
}

void fibre_alone(int by)
{
    alone += by;
}

bool fibre_is_alone(void)
{
    return alone > 0;
}

/* ---- switching ---- */

#ifdef __SANITIZE_ADDRESS__
static void leap(struct context *from, struct context *to)
{
    swapcontext(&from->start, &to->start);
}
#else
static __attribute__((noinline)) _Noreturn void go_on(struct context *to)
{
    __builtin_longjmp(to->place, 1);
}

static __attribute__((noinline)) void leap(struct context *from, struct context *to)
{
    if (__builtin_setjmp(from->place) != 0)
        return;
    if (to->begun)
        go_on(to);
    to->begun = true;
    setcontext(&to->start);
}
#endif

static void to_world(struct fibre *f, bool for_good)
{
    SWITCH_BEGIN(for_good ? NULL : &f->fake_stack, world_stack, world_stack_bytes);
    leap(&f->context, &world_context);
    SWITCH_END(f->fake_stack);
}

static void resume(void *ctx, uint64_t ticket, void *payload)
{
    struct fibre *f = ctx;
    (void)payload;
    if (f->state != FIBRE_WAITING || f->ticket != ticket)
        return;
    if (f->process->frozen) {
        f->overdue = true;
        return;
    }
    f->state = FIBRE_RUNNING;
    f->channel_count = 0;
    running = f;
    SWITCH_BEGIN(&world_fake_stack, f->stack, STACK_BYTES);
    leap(&world_context, &f->context);
    SWITCH_END(world_fake_stack);
    running = NULL;
    serverside_turned(f->process);
}

static void plan(struct fibre *f, int64_t delay_ns)
{
    world_in(f->process->world, delay_ns, resume, f, f->ticket, NULL);
}

static void soon(struct fibre *f)
{
    if (f->planned)
        return;
    f->planned = true;
    plan(f, (int64_t)chance_below(&f->process->world->chance, JITTER_NS));
}

static void begin_wait(struct fibre *f)
{
    f->state = FIBRE_WAITING;
    f->ticket = ++last_ticket;
    f->planned = f->overdue = false;
}

static void first_run(void)
{
    struct fibre *f = running;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(NULL, &world_stack, &world_stack_bytes);
#endif
    f->body(f->arg);
    f->state = FIBRE_DONE;
    fibre_signal(f);
    to_world(f, true);
}

static struct fibre *take_free(void)
{
    struct fibre *f = fibres;
    while (f < fibres + FIBRES_MAX && f->state != FIBRE_FREE)
        f++;
    if (f == fibres + FIBRES_MAX)
        abort();
    used_end = f >= used_end ? f + 1 : used_end;
    if (f->stack == NULL) {
        f->stack = __real_mmap64(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (f->stack == MAP_FAILED)
            abort();
    }
    return f;
}

static void set_context(struct fibre *f)
{
    ucontext_t *start = &f->context.start;
    getcontext(start);
    start->uc_stack.ss_sp = f->stack;
    start->uc_stack.ss_size = STACK_BYTES;
    start->uc_link = NULL;
    makecontext(start, first_run, 0);
    f->context.begun = false;
}

struct fibre *fibre_start(struct serverside *process, void *(*body)(void *), void *arg)
{
    struct fibre *f = take_free();
    f->process = process;
    f->body = body;
    f->arg = arg;
    f->channel_count = 0;
    f->fake_stack = NULL;
    set_context(f);
    begin_wait(f);
    soon(f);
    return f;
}

/* ---- waiting ---- */

void fibre_wait(const void *const *channels, size_t count, int64_t for_ns)
{
    struct fibre *f = running;
    if (f == NULL || alone > 0)
        return;
    if (count > FIBRE_CHANNELS)
        abort();
    begin_wait(f);
    memcpy(f->channels, channels, count * sizeof(*channels));
    f->channel_count = count;
    if (for_ns >= 0)
        plan(f, for_ns);
    to_world(f, false);
}

void fibre_pause(int64_t for_ns)
{
    const void *none = NULL;
    fibre_wait(&none, 0, for_ns);
}

void fibre_vanish(void)
{
    running->state = FIBRE_DONE;
    to_world(running, true);
    abort(); /* nobody resumes it */
}

void fibre_join(struct fibre *f)
{
    const void *channel = f;
    while (f->state != FIBRE_DONE)
        fibre_wait(&channel, 1, -1);
    f->state = FIBRE_FREE;
}

static bool waits_for(const struct fibre *f, const void *channel)
{
    if (f->state != FIBRE_WAITING || f->planned)
        return false;
    for (size_t i = 0; i < f->channel_count; i++)
        if (f->channels[i] == channel)
            return true;
    return false;
}

void fibre_signal(const void *channel)
{
    for (struct fibre *f = fibres; f < used_end; f++)
        if (waits_for(f, channel))
            soon(f);
}

void fibre_signal_one(const void *channel)
{
    struct fibre *waiting[FIBRES_MAX];
    size_t count = 0;
    for (struct fibre *f = fibres; f < used_end; f++)
        if (waits_for(f, channel))
            waiting[count++] = f;
    if (count > 0)
        soon(waiting[chance_below(&waiting[0]->process->world->chance, count)]);
}

/* ---- processes ---- */

void fibres_kill(const struct serverside *process)
{
    for (struct fibre *f = fibres; f < used_end; f++)
        if (f->state != FIBRE_FREE && f->process == process)
            f->state = FIBRE_FREE;
}

void fibres_continue(const struct serverside *process)
{
    for (struct fibre *f = fibres; f < used_end; f++)
        if (f->state == FIBRE_WAITING && f->process == process && f->overdue) {
            f->overdue = false;
            plan(f, (int64_t)chance_below(&process->world->chance, JITTER_NS));
        }
}
