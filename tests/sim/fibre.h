/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads of a simulated process, all of them on one real thread: each has a stack of its own,
 * runs until it waits, and is resumed by the timeline. What the code under test knows as pthreads,
 * mutexes and conditions ends here (fibre_pthread.c), so its stages run unchanged, in an order the
 * seed decides.
 */
#ifndef MR_TESTS_FIBRE_H
#define MR_TESTS_FIBRE_H

#include "world.h"

#define FIBRE_CHANNELS 20

struct fibre;

/* Runs body(arg) on a fibre of that process, from the next moment on. Recycled after a join, or
 * with its process. */
struct fibre *fibre_start(struct serverside *process, void *(*body)(void *), void *arg);
void fibre_join(struct fibre *f);

struct serverside *fibre_process(void); /* of the running fibre; NULL: the world itself runs */

/* ---- on a fibre; elsewhere, and while nobody may interrupt, they return at once ---- */

void fibre_pause(int64_t for_ns); /* others run meanwhile */
/* Until one of the channels is signalled or the time is over (negative: never). May return early;
 * whoever waits looks again. */
void fibre_wait(const void *const *channels, size_t count, int64_t for_ns);
_Noreturn void fibre_vanish(void); /* its process is no more */

/* ---- anywhere ---- */

void fibre_signal(const void *channel); /* all who wait for it */
void fibre_signal_one(const void *channel);
void fibre_alone(int by); /* +1, -1: nothing waits or fails in between */
bool fibre_is_alone(void);

void fibres_kill(const struct serverside *process); /* none of them runs any more */
void fibres_continue(const struct serverside *process);

#endif
