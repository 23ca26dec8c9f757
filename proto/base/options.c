/* SPDX-License-Identifier: Apache-2.0 */
/* The common part of command lines. Knows no option but --set; getopt_long is each program's. */
#include "base/options.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

int mr_options_wrong(const char *program, const char *fmt, ...)
{
    va_list args;
    fprintf(stderr, "%s: ", program);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\ntry %s --help\n", program);
    return EX_USAGE;
}

int mr_options_add_set(const char *program, struct mr_options_sets *sets, const char *assignment)
{
    if (sets->count == MR_OPTIONS_SETS_MAX)
        return mr_options_wrong(program, "--set %s: too many of them", assignment);
    if (strchr(assignment, '=') == NULL)
        return mr_options_wrong(program, "--set %s: must be KEY=VALUE", assignment);
    sets->items[sets->count++] = assignment;
    return MR_OPTIONS_GO_ON;
}

int mr_options_printed(void)
{
    return fflush(stdout) != 0 || ferror(stdout) ? EX_IOERR : EX_OK;
}
