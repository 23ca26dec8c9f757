/* SPDX-License-Identifier: Apache-2.0 */
/* Does Prometheus get text it can read, and are additions of threads all counted? */
#include "base/counter.h"
#include "suite.h"

#include <pthread.h>

static char *printed(void)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    mr_counter_print(out);
    fclose(out);
    return text;
}

static struct mr_counter lane0 = {.name = "millrace_lane_received_bytes_total",
                                  .help = "Bytes received.",
                                  .label = "lane",
                                  .label_value = "0"};
static struct mr_counter lane1 = {.name = "millrace_lane_received_bytes_total",
                                  .help = "Bytes received.",
                                  .label = "lane",
                                  .label_value = "1"};
static struct mr_counter waited = {
    .name = "millrace_waited_seconds_total", .help = "Time.", .kind = MR_COUNTER_SECONDS};
static struct mr_counter odd = {.name = "millrace_odd",
                                .help = "a\\b\nc \"q\"",
                                .kind = MR_GAUGE,
                                .label = "name",
                                .label_value = "a\\b\nc \"q\""};

START_TEST(series_of_a_name_stand_together)
{
    mr_counters_register(&lane0, 1);
    mr_counters_register(&waited, 1);
    mr_counters_register(&lane1, 1);
    mr_counter_add(&lane0, 5);
    mr_counter_add(&lane0, 6);
    mr_counter_add(&waited, 1500000000);
    char *text = printed();
    ck_assert_str_eq(text, "# HELP millrace_lane_received_bytes_total Bytes received.\n"
                           "# TYPE millrace_lane_received_bytes_total counter\n"
                           "millrace_lane_received_bytes_total{lane=\"0\"} 11\n"
                           "millrace_lane_received_bytes_total{lane=\"1\"} 0\n"
                           "# HELP millrace_waited_seconds_total Time.\n"
                           "# TYPE millrace_waited_seconds_total counter\n"
                           "millrace_waited_seconds_total 1.500000000\n");
    free(text);
}
END_TEST

START_TEST(texts_are_escaped_and_gauges_go_both_ways)
{
    mr_counters_register(&odd, 1);
    mr_counter_set(&odd, 10);
    mr_counter_subtract(&odd, 3);
    char *text = printed();
    ck_assert_str_eq(text, "# HELP millrace_odd a\\\\b\\nc \"q\"\n# TYPE millrace_odd gauge\n"
                           "millrace_odd{name=\"a\\\\b\\nc \\\"q\\\"\"} 7\n");
    free(text);
}
END_TEST

START_TEST(what_is_taken_out_is_gone)
{
    mr_counters_register(&lane0, 1);
    mr_counters_register(&lane1, 1);
    mr_counters_register(&waited, 1);
    mr_counters_unregister(&lane1, 1);
    mr_counters_unregister(&lane1, 1);
    mr_counters_unregister(&waited, 1);
    mr_counters_unregister(&lane0, 1);
    char *text = printed();
    ck_assert_str_eq(text, "");
    free(text);
    mr_counters_register(&lane1, 1); /* and may come back */
}
END_TEST

START_TEST(a_table_comes_and_goes_whole)
{
    static struct mr_counter two[2] = {{.name = "millrace_one_total", .help = "One."},
                                       {.name = "millrace_two", .help = "Two.", .kind = MR_GAUGE}};
    mr_counters_register(two, 2);
    char *text = printed();
    ck_assert_str_eq(text, "# HELP millrace_one_total One.\n# TYPE millrace_one_total counter\n"
                           "millrace_one_total 0\n"
                           "# HELP millrace_two Two.\n# TYPE millrace_two gauge\n"
                           "millrace_two 0\n");
    free(text);
    mr_counters_unregister(two, 2);
    text = printed();
    ck_assert_str_eq(text, "");
    free(text);
}
END_TEST

static void *add_many(void *arg)
{
    for (int i = 0; i < 10000; i++)
        mr_counter_add(arg, 3);
    return NULL;
}

START_TEST(no_addition_is_lost)
{
    pthread_t threads[4];
    mr_counters_register(&lane0, 1);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, add_many, &lane0), 0);
    free(printed());
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(mr_counter_value(&lane0), 120000);
}
END_TEST

MR_SUITE("counter", T(series_of_a_name_stand_together),
         T(texts_are_escaped_and_gauges_go_both_ways), T(what_is_taken_out_is_gone),
         T(a_table_comes_and_goes_whole), T(no_addition_is_lost))
