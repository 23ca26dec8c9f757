/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of consign share. Private to consign*.c: consign (what track says, the line),
 * consign_open (what a file is opened as), consign_book (the journal), consign_verdict,
 * consign_lost (what went while no agent ran).
 */
#ifndef MR_CONSIGN_STATE_H
#define MR_CONSIGN_STATE_H

#include "consign.h"

struct mr_consign {
    struct mr_consign_config config;
    struct mr_journal *journal;
    struct mr_transfer *transfer;
    struct mr_shipments all;
    struct mr_journal_movie record; /* scratch: large */
    struct mr_consign_counts counts;
    size_t room_taken; /* in small files */
    bool noting;       /* verdicts are taken in; what is written of them joins one transaction */
    bool batch;        /* that is open */
    int64_t pause_until_ns; /* the journal could not be written: nothing new until then */
    bool journal_broken;    /* said so already */
    bool stopping;          /* nothing begins any more */
    bool looked;            /* for lost movies */
    uint64_t lost;          /* found so far */
};

/* ---- consign_open ---- */

/* Output, codec and geometry of a file, by what track last said. err names the file. */
int mr_consign_shape(const struct mr_consign *c, struct mr_shipment *s,
                     struct mr_err *err) MR_MUST_USE;
/* Of one slab, complete, and of such a size that the server commits many of them together. */
bool mr_consign_is_small(const struct mr_shipment *s);
void mr_consign_describe(struct mr_consign *c, const struct mr_shipment *s, int64_t real_ns,
                         struct mr_open *ret);
/* Opens s->fd. -ESTALE: the file is not what track described; -errno of open(2). */
int mr_consign_open_source(struct mr_shipment *s) MR_MUST_USE;
/* Tells the transfer what is known of a movie in it. */
void mr_consign_tell(struct mr_consign *c, struct mr_shipment *s);

/* ---- consign_book ---- */

/* 0, -errno; an outage is logged once, until it is over. */
int mr_consign_journal_said(struct mr_consign *c, int r, const struct mr_err *err);
int mr_consign_write_open(struct mr_consign *c, const struct mr_shipment *s) MR_MUST_USE;
void mr_consign_write_source(struct mr_consign *c, const struct mr_shipment *s);
void mr_consign_write_end(struct mr_consign *c, const struct mr_shipment *s,
                          enum mr_journal_state state, const char *event, const char *text);
void mr_consign_forget(struct mr_consign *c, const struct mr_shipment *s);
/* Gives s its movie id and revision. False: it needs nothing, s->end says how it ended.
 * s->identified stays false where the journal could not be read: it may be another revision, so it
 * has to wait. */
bool mr_consign_identify(struct mr_consign *c, struct mr_shipment *s, int64_t real_ns);

/* ---- consign_lost ---- */

/* Once: movies of the journal that are open and whose file is not there any more are FAILed. */
void mr_consign_look_for_lost(struct mr_consign *c, int64_t real_ns);
/* The file of movie m is another movie now: m is ABANDONed. */
void mr_consign_supersede(struct mr_consign *c, const struct mr_journal_movie *m, uint32_t watch,
                          int64_t real_ns);

/* ---- consign ---- */

/* Puts an idle file in the line, where there is something to ship. */
void mr_consign_line_up(struct mr_consign *c, struct mr_shipment *s, int64_t real_ns);
/* The day of its folder is in the journal, with what else is written there. */
void mr_consign_write_day(struct mr_consign *c, const struct mr_shipment *s, int64_t real_ns);
/* It is in the transfer now. */
void mr_consign_board(struct mr_consign *c, struct mr_shipment *s);
/* Given up until it changes; text is logged. */
void mr_consign_refuse(struct mr_consign *c, struct mr_shipment *s, const char *text);

#endif
