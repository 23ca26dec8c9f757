/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of counters and its printing. Allocates nothing; has no histograms. */
#include "base/counter.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct mr_counter *first; /* under mutex */

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

void mr_counter_register(struct mr_counter *counter)
{
    pthread_mutex_lock(&mutex);
    struct mr_counter **place = place_for(counter);
    counter->next = *place;
    *place = counter;
    pthread_mutex_unlock(&mutex);
}

void mr_counter_unregister(struct mr_counter *counter)
{
    pthread_mutex_lock(&mutex);
    for (struct mr_counter **place = &first; *place != NULL; place = &(*place)->next)
        if (*place == counter) {
            *place = counter->next;
            counter->next = NULL;
            break;
        }
    pthread_mutex_unlock(&mutex);
}

void mr_counter_each(mr_counter_visit visit, void *ctx)
{
    pthread_mutex_lock(&mutex);
    for (const struct mr_counter *c = first; c != NULL; c = c->next)
        visit(ctx, c);
    pthread_mutex_unlock(&mutex);
}

struct printing {
    FILE *out;
    const char *name; /* of the series before */
};

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

static bool is_gauge(const struct mr_counter *c)
{
    return c->kind == MR_GAUGE || c->kind == MR_GAUGE_SECONDS;
}

static void print_value(FILE *out, const struct mr_counter *c)
{
    unsigned long long v = mr_counter_value(c);
    if (c->kind == MR_COUNTER_SECONDS || c->kind == MR_GAUGE_SECONDS)
        fprintf(out, " %llu.%09llu\n", v / 1000000000u, v % 1000000000u);
    else
        fprintf(out, " %llu\n", v);
}

static void print_series(void *ctx, const struct mr_counter *c)
{
    struct printing *p = ctx;
    if (p->name == NULL || strcmp(p->name, c->name) != 0) {
        fprintf(p->out, "# HELP %s ", c->name);
        print_escaped(p->out, c->help, false);
        fprintf(p->out, "\n# TYPE %s %s\n", c->name, is_gauge(c) ? "gauge" : "counter");
    }
    p->name = c->name;
    fputs(c->name, p->out);
    if (c->label != NULL) {
        fprintf(p->out, "{%s=\"", c->label);
        print_escaped(p->out, c->label_value, true);
        fputs("\"}", p->out);
    }
    print_value(p->out, c);
}

void mr_counter_print(FILE *out)
{
    struct printing p = {.out = out};
    mr_counter_each(print_series, &p);
}
