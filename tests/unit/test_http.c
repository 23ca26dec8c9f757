/* SPDX-License-Identifier: Apache-2.0 */
/* Does the status server answer what it should, and refuse the rest? */
#include "http.h"
#include "scratch.h"
#include "suite.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <sys/socket.h>

static bool is_ready;

static char *status(void *ctx)
{
    return strdup(ctx);
}

static bool ready(void *ctx, struct mr_err *err)
{
    (void)ctx;
    if (!is_ready)
        mr_err_set(err, -EAGAIN, "recovering");
    return is_ready;
}

static struct mr_http *start(struct mr_eventlog *log)
{
    static char text[] = "{\"movies\":3}";
    const struct mr_http_provider provider = {.ctx = text, .status = status, .ready = ready};
    struct mr_http *h = NULL;
    struct mr_err err = {0};
    ck_assert_msg(mr_http_start("127.0.0.1:0", &provider, log, &h, &err) == 0, "%s", err.text);
    ck_assert_uint_gt(mr_http_port(h), 0);
    return h;
}

/* The whole answer to one request, in a static buffer. */
static const char *ask(const struct mr_http *h, const char *line)
{
    static char answer[65536];
    char request[512];
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(mr_http_port(h)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    int n = snprintf(request, sizeof(request),
                     "%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", line);
    ck_assert_int_eq(write(fd, request, (size_t)n), n);
    size_t got = 0;
    for (ssize_t r; (r = read(fd, answer + got, sizeof(answer) - 1 - got)) > 0;)
        got += (size_t)r;
    answer[got] = '\0';
    close(fd);
    return answer;
}

static void expect(const struct mr_http *h, const char *line, const char *code, const char *wanted)
{
    const char *answer = ask(h, line);
    ck_assert_msg(strncmp(answer, "HTTP/1.1 ", 9) == 0 && strncmp(answer + 9, code, 3) == 0 &&
                      strstr(answer, wanted) != NULL,
                  "%s: %.400s", line, answer);
}

START_TEST(each_path_answers)
{
    struct mr_http *h = start(NULL);
    is_ready = false;
    expect(h, "GET /healthz", "200", "\r\n\r\nok\n");
    expect(h, "GET /readyz", "503", "recovering");
    is_ready = true;
    expect(h, "GET /readyz", "200", "ready");
    expect(h, "GET /v1/status", "200", "{\"movies\":3}");
    expect(h, "GET /v1/status", "200", "application/json");
    expect(h, "GET /metrics", "200", "version=0.0.4");
    expect(h, "GET /", "200", "/v1/status");
    expect(h, "HEAD /healthz", "200", "\r\n\r\n");
    ck_assert_ptr_null(strstr(ask(h, "HEAD /healthz"), "ok\n"));
    expect(h, "GET /v1/events", "404", "not found");
    expect(h, "GET /nowhere", "404", "not found");
    expect(h, "GET /../etc/passwd", "404", "not found");
    expect(h, "POST /v1/status", "405", "Allow: GET, HEAD");
    expect(h, "DELETE /", "405", "GET only");
    mr_http_stop(h);
}
END_TEST

START_TEST(events_are_paged_and_bad_queries_refused)
{
    struct scratch s = scratch_make();
    struct mr_eventlog *log;
    ck_assert_int_eq(mr_eventlog_open(s.fd, 1 << 20, &log, NULL, NULL), 0);
    for (int n = 1; n <= 5; n++) {
        char id[32], *text = NULL;
        size_t bytes = 0;
        uint64_t sequence = 0;
        snprintf(id, sizeof(id), "m%d.ready", n);
        struct mr_event e = {.type = MR_EVENT_MOVIE_READY, .id = id, .source = "/t"};
        ck_assert_int_eq(mr_event_encode(&e, &text, &bytes), 0);
        ck_assert_int_eq(mr_eventlog_append(log, text, bytes, &sequence, NULL), 0);
        free(text);
    }
    ck_assert_int_eq(mr_eventlog_sync(log, NULL), 0);
    struct mr_http *h = start(log);
    expect(h, "GET /v1/events", "200", "m1.ready");
    expect(h, "GET /v1/events?since=5", "200", "{\"events\":[{");
    expect(h, "GET /v1/events?since=2&limit=1", "200", "],\"first\":1,\"last\":5}");
    ck_assert_ptr_null(strstr(ask(h, "GET /v1/events?since=2&limit=1"), "m3.ready"));
    expect(h, "GET /v1/events?since=6", "200", "{\"events\":[],");
    static const char *const bad[] = {
        "since=0", "since=-1",        "since=x", "since=",    "since",
        "limit=0", "since=1&since=2", "sinse=1", "since=1e3", "since=99999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char line[128];
        snprintf(line, sizeof(line), "GET /v1/events?%s", bad[i]);
        expect(h, line, "400", "{\"error\":");
    }
    mr_http_stop(h);
    mr_eventlog_close(log);
    scratch_remove(&s);
}
END_TEST

START_TEST(addresses_are_refused_in_words)
{
    struct mr_http *h = start(NULL), *second = NULL;
    const struct mr_http_provider provider = {.ctx = NULL, .status = status, .ready = ready};
    struct mr_err err = {0};
    char taken[32];
    snprintf(taken, sizeof(taken), "127.0.0.1:%u", mr_http_port(h));
    ck_assert_int_eq(mr_http_start(taken, &provider, NULL, &second, &err), -EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(err.text, taken));
    static const char *const bad[] = {
        "", "127.0.0.1", ":80", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:8x", "::1:80", "a:b:1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_int_eq(mr_http_start(bad[i], &provider, NULL, &second, &err), -EINVAL);
    ck_assert_ptr_null(second);
    mr_http_stop(h);
    mr_http_stop(NULL);
}
END_TEST

MR_SUITE("http", T(each_path_answers), T(events_are_paged_and_bad_queries_refused),
         T(addresses_are_refused_in_words))
