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
from loopdisk import Disk, states
from millrace import Agent, Skipped, Workspace, run, slabs_of, wait_for

LONG = is_long()
DRAIN = 30.0  # seconds a drain may take here; a sanitized build on a busy machine is slow


def slow_link(ends, server):
    """So slow that nobody is done before he is told."""
    link = ends.enter_context(ChaosProxy(server, random.Random(1)))
    link.throttle(40 << 20)
    return link


def begin(work, pushed=True, link_to=lambda server: server, on=Workspace.server):
    """A server, movies, and who ships them, in the midst of it. link_to(server): its way there;
    on(work): makes the server."""
    movies = make_movies(work.movies, 3, 128 << 20, random.Random(7))
    server = on(work)
    link = link_to(server)
    if pushed:
        agent = work.start_push(link, "--agent", "k3", work.movies)
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
    slabs = sum(slabs_of(m.bytes) for m in movies)
    assert total(server, "received_slabs") == slabs, "slabs were sent again"
    check_store(server, movies, folder="")


def test_push_says_it_was_interrupted(work):
    with contextlib.ExitStack() as ends:
        server, agent, movies = begin(work, link_to=lambda s: slow_link(ends, s))
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


def signal_twice(program):
    """The second when the drain has begun, which something keeps from ending."""
    program.signal(signal.SIGTERM)
    program.wait_for_message("once more ends at once")
    program.signal(signal.SIGTERM)


def test_second_sigterm_ends_the_server(work):
    """Its disk takes nothing: what it has begun cannot be finished."""
    with Disk(work, "ext4", 1024) as disk, contextlib.ExitStack() as ends:
        server, agent, movies = begin(work, link_to=lambda s: slow_link(ends, s), on=disk.server)
        with disk.frozen():
            wait_for(lambda: (total(server, "received_slabs") or 0) >
                     (total(server, "durable_slabs") or 0), what="something has begun")
            signal_twice(server)
            wait_for(lambda: not server.alive() or "Z" in states(server), what="it ends")
        assert server.wait(DRAIN) == -signal.SIGTERM, server.process.returncode
        server.start()
        assert agent.wait(60) == 0
        check_store(server, movies)


def test_second_sigterm_ends_the_agent(work):
    """It hears nothing from the server: what is on its way is never acknowledged."""
    with contextlib.ExitStack() as ends:
        links = []

        def slowly(server):
            links.append(slow_link(ends, server))
            return links[0]

        server, agent, movies = begin(work, pushed=False, link_to=slowly)
        links[0].black_hole()
        signal_twice(agent)
        assert agent.wait(DRAIN) == -signal.SIGTERM, agent.process.returncode
        links[0].restore()
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
