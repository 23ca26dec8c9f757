/* SPDX-License-Identifier: Apache-2.0 */
/* The common part of command lines. Knows no option but --set; getopt_long is each program's. */
#include "base/options.h"

#include "base/log.h"

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

int mr_options_take_common(int letter, const char *program, const char *usage,
                           int (*print_version)(void))
{
    switch (letter) {
    case 'b':
        mr_log_set_level(MR_LOG_DEBUG);
        return MR_OPTIONS_GO_ON;
    case 'h':
        (void)fputs(usage, stdout);
        return mr_options_printed();
    case 'v':
        return print_version();
    default:
        fprintf(stderr, "try %s --help\n", program);
        return EX_USAGE;
    }
}

void mr_options_tell_reload(const struct mr_config_key *table, const void *running,
                            const void *fresh, const char *stage, const char *file,
                            struct mr_err *err)
{
    if (fresh == NULL)
        mr_error(stage, "%s: the running configuration stays", err->text);
    else if (mr_config_check_reload(table, running, fresh, err) < 0)
        mr_warn(stage, "%s: %s; it changes at the next start, the running configuration stays",
                file, err->text);
    else
        mr_info(stage, "%s: read again, nothing has changed", file);
}
