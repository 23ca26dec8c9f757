/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bodies of the control messages: one pair per message, the writer above its reader. Private to
 * message*.c: message.c has the envelope and chooses the pair, message_session.c the bodies about
 * the session, message_movie.c those about a movie.
 *
 * Writers fail by the cursor (no room) only; what they are given is ours and right. Readers fill a
 * zeroed struct and leave the verdict in the fields cursor.
 */
#ifndef MR_WIRE_MESSAGE_BODY_H
#define MR_WIRE_MESSAGE_BODY_H

#include "wire/field.h"
#include "wire/message.h"

#define MR_BODY(name)                                                              \
    void mr_message_write_##name(struct mr_writer *w, const struct mr_message *m); \
    void mr_message_read_##name(struct mr_fields *f, struct mr_message *m)

MR_BODY(hello);
MR_BODY(welcome);
MR_BODY(refused);
MR_BODY(credit);
MR_BODY(demand);
MR_BODY(ping);
MR_BODY(bye);

MR_BODY(open);
MR_BODY(opened);
MR_BODY(ack);
MR_BODY(resend);
MR_BODY(end);
MR_BODY(committed);
MR_BODY(hold);
MR_BODY(fail);
MR_BODY(failed);
MR_BODY(abandon);
MR_BODY(confirm);
MR_BODY(confirmed);

#undef MR_BODY

void mr_message_write_open_body(struct mr_writer *w, const struct mr_open *open);
/* Checks all but geometry's rules. */
void mr_message_read_open_body(struct mr_fields *f, struct mr_open *open);

#endif
