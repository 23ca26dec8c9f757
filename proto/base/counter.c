/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of counters and its printing. Allocates nothing; has no histograms. */
#include "base/counter.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct mr_counter *first; /* under mutex */

static bool is_gauge(const struct mr_counter *c)
{
    return c->kind == MR_GAUGE || c->kind == MR_GAUGE_SECONDS;
}

static struct mr_counter **place_for(const struct mr_counter *counter)
{
    struct mr_counter **place = &first, **behind_name = NULL;
    for (; *place != NULL; place = &(*place)->next) {
        assert(*place != counter);
        if (strcmp((*place)->name, counter->name) == 0)
            behind_name = &(*place)->next;
    }
    return behind_name != NULL ? behind_name : place;
}

static bool ends_with(const char *name, const char *end)
{
    size_t length = strlen(name), tail = strlen(end);
    return length > tail && strcmp(name + length - tail, end) == 0;
}

/* Names are an interface: a wrong one cannot be mended once it is out. */
static void check_name(const struct mr_counter *c)
{
    static const char prefix[] = "millrace_";
    static const char *const ends[] = {[MR_COUNTER] = "_total",
                                       [MR_COUNTER_SECONDS] = "_seconds_total",
                                       [MR_GAUGE] = "",
                                       [MR_GAUGE_SECONDS] = "_seconds"};
    assert(strncmp(c->name, prefix, sizeof(prefix) - 1) == 0);
    assert(strspn(c->name, "abcdefghijklmnopqrstuvwxyz_") == strlen(c->name));
    assert(ends_with(c->name, ends[c->kind]));
    assert(ends_with(c->name, "_total") == !is_gauge(c));
}

void mr_counters_register(struct mr_counter *counters, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check_name(&counters[i]);
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < count; i++) {
        struct mr_counter **place = place_for(&counters[i]);
        counters[i].next = *place;
        *place = &counters[i];
    }
    pthread_mutex_unlock(&mutex);
}

static void take_out(struct mr_counter *counter)
{
    for (struct mr_counter **place = &first; *place != NULL; place = &(*place)->next)
        if (*place == counter) {
            *place = counter->next;
            counter->next = NULL;
            return;
        }
}

void mr_counters_unregister(struct mr_counter *counters, size_t count)
{
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < count; i++)
        take_out(&counters[i]);
    pthread_mutex_unlock(&mutex);
}

/* Prometheus: backslash, newline and, in label values, the quote are escaped. */
static void print_escaped(FILE *out, const char *s, bool quotes)
{
    for (; *s != '\0'; s++) {
        if (*s == '\n')
            fputs("\\n", out);
        else if (*s == '\\' || (quotes && *s == '"'))
            fprintf(out, "\\%c", *s);
        else
            fputc(*s, out);
    }
}

static void print_value(FILE *out, const struct mr_counter *c)
{
    unsigned long long v = mr_counter_value(c);
    if (c->kind == MR_COUNTER_SECONDS || c->kind == MR_GAUGE_SECONDS)
        fprintf(out, " %llu.%09llu\n", v / 1000000000u, v % 1000000000u);
    else
        fprintf(out, " %llu\n", v);
}

/* before: the series before, whose HELP and TYPE stand for this one too where the name is the
 * same */
static void print_series(FILE *out, const struct mr_counter *before, const struct mr_counter *c)
{
    if (before == NULL || strcmp(before->name, c->name) != 0) {
        fprintf(out, "# HELP %s ", c->name);
        print_escaped(out, c->help, false);
        fprintf(out, "\n# TYPE %s %s\n", c->name, is_gauge(c) ? "gauge" : "counter");
    }
    fputs(c->name, out);
    if (c->label != NULL) {
        fprintf(out, "{%s=\"", c->label);
        print_escaped(out, c->label_value, true);
        fputs("\"}", out);
    }
    print_value(out, c);
}

void mr_counter_print(FILE *out)
{
    const struct mr_counter *before = NULL;
    pthread_mutex_lock(&mutex);
    for (const struct mr_counter *c = first; c != NULL; c = c->next) {
        print_series(out, before, c);
        before = c;
    }
    pthread_mutex_unlock(&mutex);
}
