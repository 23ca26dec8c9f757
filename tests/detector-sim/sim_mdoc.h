/* SPDX-License-Identifier: Apache-2.0 */
/* SerialEM's text file beside a finished stack. */
#ifndef MR_SIM_MDOC_H
#define MR_SIM_MDOC_H

#include "sim_options.h"

/* Writes <path>.mdoc for the stack at path, which is closed and has that many frames. */
int mr_sim_mdoc_write(const struct mr_sim_options *o, const char *path, uint32_t frames,
                      struct mr_err *err) MR_MUST_USE;

#endif
