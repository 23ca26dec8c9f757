/* SPDX-License-Identifier: Apache-2.0 */
/* One-line error texts for operators. Does not log and does not allocate. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void tidy(char *text, size_t size, int wanted)
{
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    if (wanted >= 0 && (size_t)wanted >= size)
        memcpy(text + size - 4, "...", 4);
}

MR_PRINTF(3, 0)
static int vset(struct mr_err *err, int code, const char *fmt, va_list args)
{
    if (err == NULL)
        return code;
    err->code = code;
    tidy(err->text, sizeof(err->text), vsnprintf(err->text, sizeof(err->text), fmt, args));
    return code;
}

int mr_err_set(struct mr_err *err, int code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vset(err, code, fmt, args);
    va_end(args);
    return code;
}

int mr_err_errno(struct mr_err *err, int code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vset(err, code, fmt, args);
    va_end(args);
    if (err != NULL) {
        size_t used = strlen(err->text);
        size_t left = sizeof(err->text) - used;
        tidy(err->text + used, left, snprintf(err->text + used, left, ": %s", mr_err_name(code)));
    }
    return code;
}

int mr_err_prefix(struct mr_err *err, const char *fmt, ...)
{
    if (err == NULL || err->code == 0)
        return err == NULL ? 0 : err->code;
    char rest[sizeof(err->text)];
    memcpy(rest, err->text, sizeof(rest));
    va_list args;
    va_start(args, fmt);
    vset(err, err->code, fmt, args);
    va_end(args);
    size_t used = strlen(err->text);
    size_t left = sizeof(err->text) - used;
    if (left > 8)
        tidy(err->text + used, left, snprintf(err->text + used, left, ": %s", rest));
    return err->code;
}

const char *mr_err_name(int code)
{
    static _Thread_local char name[96];
    /* glibc's GNU variant: may return a static string instead of filling the buffer */
    return strerror_r(code < 0 ? -code : code, name, sizeof(name));
}
