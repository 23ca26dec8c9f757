#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Hearing of movies: millrace-events over restarts and kills, replay and PUB as any ZeroMQ client
sees them, and HTTP."""
import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pixels
from millrace import ANSWER, PATIENCE, Program, Skipped, run, wait_for

try:
    import zmq
except ImportError:
    zmq = None


SILENCE = str(3 * PATIENCE)  # seconds without an event after which there are no more, for --timeout


def push_files(work, server, first, count, agent="a"):
    folder = work.folder(f"night{first}")
    for number in range(first, first + count):
        with open(os.path.join(folder, f"f{number}.txt"), "w", encoding="ascii") as f:
            f.write(f"file {number}\n")
    assert work.push(server, "--agent", agent, folder).process.returncode == 0


def log_of(server):
    events = server.logged()
    numbers = [int(e["sequence"]) for e in events]
    assert numbers == list(range(1, len(numbers) + 1)), f"gaps: {numbers}"
    assert len({e["id"] for e in events}) == len(events), "an id twice"
    return events


class Subscriber(Program):
    """millrace-events, its lines kept as they come."""

    def __init__(self, work, server, *words):
        super().__init__(work, "millrace-events", ["--server", server.events_endpoint, *words])
        self.events = []

    def start(self, env=None):
        super().start(env)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        return self

    def read(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def finished(self, timeout=30):
        code = self.wait(timeout)
        self.thread.join(timeout)
        return code

    def numbers(self):
        return [int(e["sequence"]) for e in self.events]


def test_since_count_type_timeout(work):
    server = work.server()
    push_files(work, server, 1, 5)
    work.camera(nx=32, ny=32, frames=2).results()
    assert work.push(server, "--agent", "a", work.movies).process.returncode == 0
    log = wait_for(lambda: server.logged()[-1]["type"].endswith("offline.v1") and log_of(server),
                   what="the last agent is offline")
    whole = Subscriber(work, server, "--since", "1", "--count", str(len(log))).start()
    assert whole.finished() == 0 and whole.events == log
    some = Subscriber(work, server, "--since", "3", "--count", "4").start()
    assert some.finished() == 0 and some.events == log[2:6]
    wrong = Subscriber(work, server, "--since", str(len(log) + 2)).start()
    assert wrong.wait() == 1
    assert f"ends at event {len(log)}, and {len(log) + 2} is to come next" in wrong.messages()
    kinds = {"millrace.*.ready.v1": ".ready.", "millrace.movie.*": ".movie.",
             "*.online.*": ".online.", "nothing": "\0"}
    picked = {glob: Subscriber(work, server, "--since", "1", "--type", glob, "--timeout",
                               SILENCE).start() for glob in kinds}
    late = Subscriber(work, server, "--timeout", SILENCE).start()
    for glob, kind in kinds.items():
        assert picked[glob].finished() == 75, "no more came: 75"
        assert picked[glob].events == [e for e in log if kind in e["type"]], glob
    assert late.finished() == 75 and late.events == [], "from now: nothing of before"


def test_live_and_across_a_restart(work):
    server = work.server()
    push_files(work, server, 1, 3)
    whole = Subscriber(work, server, "--since", "1").start()
    wait_for(lambda: len(whole.events) >= 3, what="the past is replayed")
    now = Subscriber(work, server).start()
    push_files(work, server, 10, 3)
    for stop in (server.stop, server.kill):
        stop()
        push = work.start_push(server, "--agent", "w",
                               work.write(f"{stop.__name__}.txt", stop.__name__))
        server.start()
        assert push.wait(60) == 0, "a push outlives a restart of the server"
    push_files(work, server, 20, 3)
    log = wait_for(lambda: server.logged()[-1]["type"].endswith("offline.v1") and log_of(server))
    wait_for(lambda: whole.numbers()[-1:] == [len(log)], what="the subscriber has all")
    assert whole.events == log, "no gap, nothing twice, over two restarts"
    ready = [e["id"] for e in whole.events if ".ready." in e["type"]]
    assert len(ready) == len(set(ready)) == 11, ready
    wait_for(lambda: now.numbers()[-1:] == [len(log)])
    assert now.numbers() == list(range(now.numbers()[0], len(log) + 1)), now.numbers()
    assert whole.stop() in (0, -15), "SIGTERM ends it"


def test_exec_resumes_where_it_was_killed(work):
    """At least once, none skipped, whenever it dies."""
    server = work.server()
    push_files(work, server, 1, 12)
    log = wait_for(lambda: server.logged()[-1]["type"].endswith("offline.v1") and log_of(server))
    handled, cursor = os.path.join(work.path, "handled"), os.path.join(work.path, "cursor")
    command = f"cat >> {handled}; sleep 0.05"
    words = ["--since", "1", "--exec", command, "--cursor", cursor]

    def lines():
        if not os.path.exists(handled):
            return []
        with open(handled, encoding="utf-8") as f:
            return [int(json.loads(line)["sequence"]) for line in f if line.endswith("\n")]

    subscriber = Subscriber(work, server, *words)
    for target in (3, 6, 9):
        subscriber.start()
        wait_for(lambda: len(lines()) >= target, what=f"{target} events are handled")
        subscriber.kill()
    last = Subscriber(work, server, *words, "--timeout", SILENCE).start()
    assert last.finished() == 75
    numbers = lines()
    assert sorted(set(numbers)) == list(range(1, len(log) + 1)), f"skipped: {numbers}"
    assert len(numbers) <= len(log) + 3, f"at most the one in hand is repeated: {numbers}"
    idle = Subscriber(work, server, *words, "--timeout", "1").start()
    assert idle.finished() == 75 and lines() == numbers, "nothing again"
    push_files(work, server, 50, 1)
    again = Subscriber(work, server, *words, "--count", "1").start()
    assert again.finished() == 0 and lines()[-1] == len(log) + 1, lines()


def test_exec_is_repeated_until_it_succeeds(work):
    server = work.server()
    push_files(work, server, 1, 1)
    marks = os.path.join(work.path, "marks")
    command = f"echo x >> {marks}; test $(wc -l < {marks}) -ge 3"
    words = ["--since", "1", "--type", "*.ready.*", "--count", "1", "--exec", command]
    assert Subscriber(work, server, *words).start().finished(60) == 0
    with open(marks, encoding="ascii") as f:
        assert f.read() == "x\n" * 3


def ask(socket, request):
    socket.send(request if isinstance(request, bytes) else json.dumps(request).encode())
    assert socket.poll(ANSWER * 1000), f"no answer to {request}"
    parts = socket.recv_multipart()
    assert len(parts) == 1, parts
    return json.loads(parts[0])


def sockets(server):
    if zmq is None:
        raise Skipped("python3-zmq is not installed")
    context = zmq.Context()
    port = int(server.events_endpoint.rsplit(":", 1)[1])
    replay, live = context.socket(zmq.REQ), context.socket(zmq.SUB)
    replay.connect(f"tcp://127.0.0.1:{port + 1}")
    live.connect(f"tcp://127.0.0.1:{port}")
    live.setsockopt(zmq.SUBSCRIBE, b"millrace.")
    return context, replay, live


def test_replay_by_zmq(work):
    server = work.server()
    context, replay, _ = sockets(server)
    empty = ask(replay, {"since": 1, "limit": 10})
    assert empty["events"] == [] and empty["last"] == 0, empty
    push_files(work, server, 1, 6)
    log = wait_for(lambda: len(server.logged()) == 8 and log_of(server), what="8 events")
    answer = ask(replay, {"since": 1, "limit": 1000})
    assert answer == {"events": log, "first": 1, "last": 8}, answer
    assert ask(replay, {"since": 3, "limit": 2}) == {"events": log[2:4], "first": 1, "last": 8}
    assert ask(replay, {"since": 9, "limit": 2}) == {"events": [], "first": 1, "last": 8}
    assert ask(replay, {"since": 10**15, "limit": 1})["events"] == []
    assert ask(replay, {"since": 8, "limit": 10**12})["events"] == log[7:]
    for bad in (b"", b"{", b"[]", b"\xff", {"since": 0, "limit": 1}, {"since": -1, "limit": 1},
                {"since": "1", "limit": 1}, {"since": 1.5, "limit": 1}, {"since": 1, "limit": 0},
                {"limit": 5}, {"since": 1, "limit": 1, "more": 1}, b" " * 4096, None):
        answer = ask(replay, bad)
        assert list(answer) == ["error"] and answer["error"], f"{bad}: {answer}"
    assert ask(replay, {"since": 8, "limit": 1})["events"] == log[7:], "and goes on"
    context.destroy(0)


def test_pub_by_zmq(work):
    server = work.server()
    context, _, live = sockets(server)
    seen = []

    def joined():
        """A subscription needs a moment to arrive: files are sent until one is heard of."""
        push_files(work, server, 1000 + len(server.logged()), 1)
        return live.poll(300)
    wait_for(joined, what="the subscription")
    push_files(work, server, 1, 4)
    log = wait_for(lambda: server.logged()[-1]["type"].endswith("offline.v1") and log_of(server))
    while not seen or int(seen[-1]["sequence"]) < len(log):
        assert live.poll(ANSWER * 1000), f"only {len(seen)} came"
        topic, text = live.recv_multipart()
        event = json.loads(text)
        assert topic.decode() == event["type"]
        seen.append(event)
    assert seen and seen == log[int(seen[0]["sequence"]) - 1:], "as logged, in order, none missing"
    context.destroy(0)


def fetch(server, path, method="GET"):
    request = urllib.request.Request(server.http + path, method=method)
    try:
        with urllib.request.urlopen(request, timeout=ANSWER) as reply:
            return reply.status, reply.headers.get_content_type(), reply.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.headers.get_content_type(), refusal.read().decode()


def test_http(work):
    server = work.server()
    push_files(work, server, 1, 3)
    log = wait_for(lambda: len(server.logged()) == 5 and log_of(server), what="5 events")
    assert fetch(server, "/healthz")[0] == 200 and fetch(server, "/readyz")[0] == 200
    code, kind, page = fetch(server, "/")
    assert (code, kind) == (200, "text/html") and "<html" in page.lower(), (code, kind)
    code, kind, status = fetch(server, "/v1/status")
    assert (code, kind) == (200, "application/json"), (code, kind)
    status = json.loads(status)
    assert status["committed"] == 3 and status["last_event"] == 5, status
    code, kind, metrics = fetch(server, "/metrics")
    assert (code, kind) == (200, "text/plain"), (code, kind)
    names = {line.split("{")[0].split()[0] for line in metrics.splitlines() if line[:1] != "#"}
    assert names and all(n.startswith("millrace_") for n in names), names
    assert "millrace_movies_committed_total 3" in metrics
    code, kind, events = fetch(server, "/v1/events?since=2&limit=2")
    assert (code, kind) == (200, "application/json") and json.loads(events)["events"] == log[1:3]
    assert json.loads(fetch(server, "/v1/events")[2])["last"] == 5
    for path in ("/v1/events?since=x", "/v1/events?since=-1", "/v1/events?since=1&limit=0"):
        assert fetch(server, path)[0] == 400, path
    for path in ("/nothing", "/v1", "/../etc/passwd", "//", "/v1/events/"):
        assert fetch(server, path)[0] == 404, path
    for method in ("POST", "PUT", "DELETE"):
        assert fetch(server, "/v1/status", method)[0] == 405, method


def test_every_event_is_well_formed(work):
    pixels.need_readers()
    server = work.server()
    movie, = work.camera(nx=32, ny=32, frames=2).results()
    assert work.push(server, "--agent", "a", work.movies).process.returncode == 0
    log = wait_for(lambda: len(server.logged()) == 4 and log_of(server), what="4 events")
    online, started, ready, offline = log
    pixels.check_envelope(online, "millrace.agent.online.v1", "a")
    pixels.check_envelope(offline, "millrace.agent.offline.v1", "a")
    pixels.check_envelope(started, "millrace.movie.started.v1", "a")
    pixels.check_ready(ready, server.store, movie.path, "a")
    assert ready["data"]["digest"]["file"] == movie.file_crc
    assert ready["data"]["digest"]["pixels"] == movie.pixels_crc
    assert started["id"] == ready["data"]["movie"] + ".started"
    assert started["subject"] == ready["subject"] == "movies/movie_0001.mrc"
    assert abs(ready["data"]["pixel_size_angstrom"] - 0.834) < 1e-6


def test_nobody_listens_there(work):
    program = Program(work, "millrace-events", ["--server", "tcp://127.0.0.1:9", "--count", "1",
                                                "--since", "1", "--timeout", "2"]).start()
    assert program.wait(20) in (69, 75), program.process.returncode
    for words in (["--since", "x"], ["--count", "0"], ["--nonsense"], ["--type"]):
        done = subprocess.run([program.process.args[0], *words], capture_output=True, check=False)
        assert done.returncode == 64 and done.stderr, (words, done)


if __name__ == "__main__":
    sys.exit(run(globals()))
