#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""SIGTERM, twice, and SIGSTOP of either side in the middle of a transfer: it ends in time and in
order, and goes on where it was."""
import contextlib
import random
import signal
import sys
import time

from aftermath import all_ready, check_nothing_left, check_store, committed, is_long, journals, \
    make_movies, parts, total
from chaosproxy import ChaosProxy
from millrace import Agent, Program, Skipped, run, wait_for

LONG = is_long()
DRAIN = 30.0  # seconds a drain may take here; a sanitized build on a busy machine is slow


def begin(work, pushed=True, link_to=lambda server: server):
    """A server, movies, and who ships them, in the midst of it. link_to(server): its way there."""
    movies = make_movies(work.movies, 3, 128 << 20, random.Random(7))
    server = work.server()
    link = link_to(server)
    if pushed:
        agent = Program(work, "millrace-agent", ["push", "--server", link.control, "--agent",
                                                 "k3", work.movies]).start()
    else:
        agent = Agent(work, link).start()
    wait_for(lambda: (total(server, "durable_slabs") or 0) >= 4, what="some durable slabs")
    return server, agent, movies


def ends_in_time(program, status):
    begun = time.monotonic()
    program.signal(signal.SIGTERM)
    assert program.wait(DRAIN) == status, program.messages()
    print(f"{program.name} drained in {time.monotonic() - begun:.2f} s")


def test_server_drains(work):
    server, agent, movies = begin(work)
    ends_in_time(server, 0)
    server.start()
    assert agent.wait(60) == 0
    check_store(server, movies)


def test_agent_drains(work):
    server, agent, movies = begin(work, pushed=False)
    ends_in_time(agent, 0)
    agent.start()
    wait_for(lambda: len(committed(agent)) == len(movies), 60, "all movies are committed")
    slabs = sum(-(-m.bytes // (4 << 20)) for m in movies)
    assert total(server, "received_slabs") == slabs, "slabs were sent again"
    check_store(server, movies, folder="")


def test_push_says_it_was_interrupted(work):
    with contextlib.ExitStack() as ends:
        def slowly(server):
            link = ends.enter_context(ChaosProxy(server, random.Random(1)))
            link.throttle(40 << 20)  # not done before it is told
            return link

        server, agent, movies = begin(work, link_to=slowly)
        ends_in_time(agent, 1)
    assert "interrupted" in agent.messages()
    again = work.push(server, "--agent", "k3", work.movies)
    assert again.process.returncode == 0, again.messages()
    wait_for(lambda: not unfinished(server), what="what the first push left is gone")
    check_store(server, movies)


def test_killed_push_leaves_nothing(work):
    """Its movies' ids died with it; in the next life of the server too."""
    if not LONG:
        raise Skipped("takes a minute: only with --long")
    server, push, movies = begin(work)
    push.kill()
    wait_for(lambda: not unfinished(server), what="its session is over")
    assert parts(server.store) and journals(server.store)
    wait_for(lambda: not parts(server.store), 40, "its parts are gone")
    check_nothing_left(server.store)
    before = total(server, "durable_slabs")
    push.start()
    wait_for(lambda: total(server, "durable_slabs") >= before + 4, what="some durable slabs")
    server.kill()
    push.kill()
    server.start()
    assert parts(server.store) and journals(server.store)
    wait_for(lambda: not parts(server.store), 40, "its parts are gone")
    assert work.push(server, "--agent", "k3", work.movies).process.returncode == 0
    check_store(server, movies)


def unfinished(server):
    return server.status()["movies"]


def second_signal(program):
    """Ends now, by the signal."""
    program.signal(signal.SIGSTOP)  # so that both come before it is done
    program.signal(signal.SIGTERM)
    program.signal(signal.SIGCONT)
    wait_for(lambda: "once more" in program.messages() or not program.alive(), what="a drain")
    if program.alive():
        program.signal(signal.SIGTERM)
    assert program.wait(DRAIN) in (0, 1, -signal.SIGTERM), program.process.returncode


def test_second_sigterm_ends_the_server(work):
    server, agent, movies = begin(work)
    second_signal(server)
    server.start()
    assert agent.wait(60) == 0
    check_store(server, movies)


def test_second_sigterm_ends_the_agent(work):
    server, agent, movies = begin(work, pushed=False)
    agent.signal(signal.SIGTERM)
    time.sleep(0.01)
    agent.signal(signal.SIGTERM)
    assert agent.wait(DRAIN) in (0, -signal.SIGTERM), agent.process.returncode
    agent.start()
    wait_for(lambda: all_ready(server, movies), 60, "all movies are committed")
    check_store(server, movies, folder="")


def stopped_for(program, seconds):
    """The one place where time itself is the fault."""
    program.signal(signal.SIGSTOP)
    time.sleep(seconds)
    program.signal(signal.SIGCONT)


def test_server_stands_still(work):
    server, agent, movies = begin(work)
    stopped_for(server, 5)
    assert agent.wait(60) == 0, agent.messages()
    check_store(server, movies)


def test_agent_stands_still(work):
    server, agent, movies = begin(work)
    stopped_for(agent, 5)
    assert agent.wait(60) == 0, agent.messages()
    check_store(server, movies)


if __name__ == "__main__":
    sys.exit(run(globals()))
