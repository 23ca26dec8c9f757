/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every control message, a row each: its number and name on the wire, the body it has (a member of
 * struct mr_message, and the pair in message_body.h that writes and reads it), who says it, and
 * which of a server's abilities (MR_ABLE_...) it needs; 0: every server of version 1 knows it. In
 * the order of their numbers; docs/PROTOCOL.md has the same table.
 *
 * X(number, NAME, body, from, needs)
 */
#ifndef MR_WIRE_MESSAGE_LIST_H
#define MR_WIRE_MESSAGE_LIST_H

#define MR_MESSAGES(X)                                                                            \
    X(1, HELLO, hello, MR_FROM_AGENT, 0)           /* who I am */                                 \
    X(2, WELCOME, welcome, MR_FROM_SERVER, 0)      /* your session */                             \
    X(3, REFUSED, refused, MR_FROM_SERVER, 0)      /* no session, and why */                      \
    X(4, OPEN, open, MR_FROM_AGENT, 0)             /* this movie is coming */                     \
    X(5, OPENED, opened, MR_FROM_SERVER, 0)        /* send it; these slabs are durable already */ \
    X(6, ACK, ack, MR_FROM_SERVER, 0)              /* these slabs are durable */                  \
    X(7, CREDIT, credit, MR_FROM_SERVER, 0)        /* so much may be sent, in total, per lane */  \
    X(8, DEMAND, demand, MR_FROM_AGENT, 0)         /* I want credit / I give so much back */      \
    X(9, RESEND, resend, MR_FROM_SERVER, 0)        /* that slab arrived damaged */                \
    X(10, END, end, MR_FROM_AGENT, 0)              /* the movie is complete: totals */            \
    X(11, COMMITTED, committed, MR_FROM_SERVER, 0) /* it is final; the source may be freed */     \
    X(12, HOLD, hold, MR_FROM_SERVER, 0)           /* not now: open it again later */             \
    X(13, FAIL, fail, MR_FROM_AGENT, 0)            /* it is broken: keep what came, publish so */ \
    X(14, FAILED, failed, MR_FROM_SERVER, 0)       /* it is failed, for good */                   \
    X(15, ABANDON, abandon, MR_FROM_AGENT, 0)      /* forget it: it begins again as another */    \
    X(16, ABANDONED, abandon, MR_FROM_SERVER, 0)   /* forgotten */                                \
    X(17, PING, ping, MR_FROM_BOTH, 0)                                                            \
    X(18, PONG, ping, MR_FROM_BOTH, 0)                                                            \
    X(19, BYE, bye, MR_FROM_BOTH, 0)                             /* end of session */             \
    X(20, CONFIRM, confirm, MR_FROM_AGENT, MR_ABLE_CONFIRM)      /* may I free this source? */    \
    X(21, CONFIRMED, confirmed, MR_FROM_SERVER, MR_ABLE_CONFIRM) /* what the store has of it */

#endif
