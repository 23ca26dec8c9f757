/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bodies of the control messages: a pair for each, the writer above its reader (a body that two
 * messages have is declared twice, which is allowed). Private to message*.c: message.c has the
 * envelope and chooses the pair, message_session.c the bodies about the session, message_movie.c
 * those about a movie.
 *
 * Writers fail by the cursor (no room) only; what they are given is ours and right. Readers fill a
 * zeroed struct and leave the verdict in the fields cursor.
 */
#ifndef MR_WIRE_MESSAGE_BODY_H
#define MR_WIRE_MESSAGE_BODY_H

#include "wire/field.h"
#include "wire/message.h"

#define MR_BODY(number, NAME, body, from, needs)                                   \
    void mr_message_write_##body(struct mr_writer *w, const struct mr_message *m); \
    void mr_message_read_##body(struct mr_fields *f, struct mr_message *m);
MR_MESSAGES(MR_BODY)
#undef MR_BODY

void mr_message_write_open_body(struct mr_writer *w, const struct mr_open *open);
/* Checks all but geometry's rules. */
void mr_message_read_open_body(struct mr_fields *f, struct mr_open *open);

#endif
