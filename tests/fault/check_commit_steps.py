#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The server dies at every named step of a movie's way into the store; another one starts on the
same store, the agent goes on by itself, and nobody can tell afterwards."""
import os
import signal
import sys

from aftermath import COMMIT, FAILED, LANDING, SEALING, check_events, check_file, \
    check_nothing_left, check_store, events, is_long, sha256
from millrace import Agent, run

STEPS = LANDING + SEALING + COMMIT
MADE, TOLD = SEALING[:2], SEALING[2:] + COMMIT  # the part; the movie
LONG = is_long()


def crash_and_go_on(server, step, program):
    """`program` ships to a server that dies at `step`; its exit status after a second life."""
    assert server.wait() == -signal.SIGKILL, f"{step}: {server.process.returncode}"
    server.start()
    return program.wait(120)


def push_through(work, step, output, movies=1):
    server = work.server(env={"MILLRACE_CRASH_AT": step})
    made = work.camera(nx=1024, ny=1024, frames=6, mode=6, movies=movies).results()
    push = work.start_push(server, "--agent", "k3", "--output", output, work.movies)
    status = crash_and_go_on(server, step, push)
    assert status == 0, f"{step}: push ended with {status}"
    check_store(server, made, output)
    assert server.stop() == 0
    assert "HDF5" not in server.messages(), "libhdf5 complains"


def keep(step):
    return lambda work: push_through(work, step, "keep", movies=2)


def mrc(step):
    return lambda work: push_through(work, step, "mrc")


def hdf5(step):
    return lambda work: push_through(work, step, "hdf5")


def revision(step):
    """A log that goes on after it was committed: the second revision takes the first's place."""
    def test(work):
        server = work.server()
        log = work.write("movies/session.log", "first\n" * 1000)
        agent = Agent(work, server)
        assert agent.run_once() == 0
        with open(log, "a", encoding="utf-8") as f:
            f.write("second\n" * 1000)
        assert server.stop() == 0
        server.start(env={"MILLRACE_CRASH_AT": step})
        status = crash_and_go_on(server, step, agent.start_once())
        assert status == 0, f"{step}: --once ended with {status}"
        ready = check_events(server)
        event, = ready.values()
        assert event["data"]["revision"] == 2 and event["subject"] == "session.log", ready
        check_file(event, source=log)
        check_nothing_left(server.store)
        old = os.path.join(server.store, "k3-krios1", ".millrace", "old")
        assert [n for n in os.listdir(old) if n.endswith(".r1")] == os.listdir(old) != []
        with open(os.path.join(old, os.listdir(old)[0]), encoding="utf-8") as f:
            assert f.read() == "first\n" * 1000
        assert server.stop() == 0
    return test


def failed(step):
    """A movie that its camera never finished."""
    def test(work):
        server = work.server(env={"MILLRACE_CRASH_AT": step})
        movie, = work.camera(nx=1024, ny=1024, frames=6, mode=6).results()
        os.truncate(movie.path, movie.bytes - 1024 * 1024 * 4)
        push = work.start_push(server, "--agent", "k3", work.movies)
        status = crash_and_go_on(server, step, push)
        assert status == 1, f"{step}: push ended with {status}"
        assert check_events(server) == {}
        failures = [e for e in events(server) if e["type"] == FAILED]
        assert len(failures) == 1, failures
        check_nothing_left(server.store)
        folder = os.path.join(server.store, ".millrace", "failed", failures[0]["data"]["movie"])
        kept, = os.listdir(folder)
        assert sha256(os.path.join(folder, kept)) == sha256(movie.path)
        assert server.stop() == 0
    return test


def add(names):
    """Every step of every kind; in the short run each step once for keep, and what only the other
    kinds do."""
    kinds = [(keep, STEPS, STEPS),
             (mrc, STEPS, MADE + ["sealed"]),
             (hdf5, STEPS, ["group-journaled", "sealed"] + MADE),
             (revision, STEPS, TOLD),
             (failed, LANDING + TOLD, ["part-made"] + TOLD[:6])]
    for kind, all_steps, some in kinds:
        for step in all_steps if LONG else some:
            names[f"test_{kind.__name__}_{step.replace('-', '_')}"] = kind(step)


add(globals())
if __name__ == "__main__":
    sys.exit(run(globals()))
