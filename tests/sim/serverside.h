/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server of a schedule: millrace-ingest's stages as server.c composes them, each on a fibre,
 * over the simulated disk and link. It starts, stops, freezes, and is killed in the midst of
 * whatever it does.
 */
#ifndef MR_TESTS_SERVERSIDE_H
#define MR_TESTS_SERVERSIDE_H

#include "disk.h"
#include "ingest_config.h"
#include "memory.h"
#include "simlink.h"

#define SYNCS_MAX 64

struct mr_server;
struct mr_intake;
struct mr_eventlog;
struct fibre;

enum server_end { SERVER_LIVES, SERVER_LEAVES, SERVER_KILLED, SERVER_POWER_CUT };

struct serverside {
    struct world *world;
    uint32_t number;
    bool up;     /* its process runs */
    bool frozen; /* SIGSTOP */
    bool told_to_stop, serves, restart_planned;
    int stop_fd;
    enum server_end ending; /* to be carried out once no fibre of it runs */
    uint32_t life;
    struct simlink link;
    struct memory memory;
    size_t counters; /* registered */
    int64_t lane_stuck_until_ns[WORLD_LANES];
    /* found when they were made; NULL: not there */
    struct mr_intake *intake;
    struct mr_eventlog *eventlog;
    struct disk_sync *syncs[SYNCS_MAX]; /* under way */
    struct mr_ingest_config config;
    struct mr_ingest_plan plan;
    int64_t started_ns;
    struct mr_message *heard; /* scratch */
};

/* Which life a lease file's holder is; false: its process is gone. */
bool serverside_lives(const struct world *w, uint32_t number, uint32_t life);

struct serverside *serverside_new(struct world *w, uint32_t number);
void serverside_free(struct serverside *s);
uint32_t serverside_life(const struct serverside *s); /* 0: nobody listens */
void serverside_start(struct serverside *s);
void serverside_kill(struct serverside *s);
void serverside_stop(struct serverside *s); /* goes down once all movies are let go of */
bool serverside_down(const struct serverside *s);
void serverside_freeze(struct serverside *s, bool frozen);
void power_cut(struct world *w); /* all processes of the store's side, and its disk */

void serverside_arrived(struct serverside *s, struct parcel *p); /* takes p */
void serverside_stick(struct serverside *s, uint16_t lane, int64_t for_ns);
void serverside_describe(const struct serverside *s); /* into the trace */

/* ---- from what is under it ---- */
void serverside_turned(struct serverside *s);    /* a fibre of it has run: what must hold now */
void serverside_burn_fuse(struct serverside *s); /* a call that changes the disk: maybe its last */
void serverside_check_books(const struct serverside *s); /* its credit */
/* Notes a sync under way, or that it is not any more. */
void serverside_hold_sync(struct serverside *s, struct disk_sync *sync);
void serverside_check_heard(struct serverside *s, const struct parcel *p);
void serverside_check_said(struct serverside *s, const struct cable *to, const void *message,
                           size_t bytes);

#endif
