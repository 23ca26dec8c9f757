#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Several agents at once, one of them stopped while it holds credit: the others go on."""
import os
import random
import signal
import sys
import time

from aftermath import check_events, check_file, check_nothing_left, committed, is_long, \
    make_movies, total
from chaosproxy import ChaosProxy
from millrace import Agent, run, wait_for

LONG = is_long()
AGENTS = 4
SIZE = (256 if LONG else 48) << 20


def make_agents(work, server, first=None):
    """Each with a folder of its own and movies in it. first: to where the first one is led."""
    agents = []
    for n in range(AGENTS):
        folder = work.folder(f"movies/{n}")
        movies = make_movies(folder, 3, SIZE, random.Random(n))
        to = first if first is not None and n == 0 else server
        agent = Agent(work, to, {"watch": {"path": folder}}, name=f"camera{n}")
        agents.append((agent, movies))
    return agents


def done(agent, movies):
    return len(committed(agent)) == len(movies)


def check_all(server, agents):
    ready = check_events(server, lambda e: (e["data"]["agent"], e["subject"]))
    check_nothing_left(server.store)
    for agent, movies in agents:
        for movie in movies:
            name = os.path.basename(movie.path)
            check_file(ready[agent.config["agent"]["name"], name], movie.path)


def test_stopped_agent_holds_nobody_up(work):
    server = work.server()
    with ChaosProxy(server, random.Random(1)) as link:
        link.throttle(20 << 20)  # not done before it is stopped
        agents = make_agents(work, server, link)
        stop_one(server, agents)
        link.restore()
        stopped, its_movies = agents[0]
        stopped.signal(signal.SIGCONT)
        wait_for(lambda: done(stopped, its_movies), 60, "its movies are committed")
    check_all(server, agents)


def stop_one(server, agents):
    """The first; until the others are done."""
    stopped, its_movies = agents[0]
    stopped.start()
    wait_for(lambda: (total(server, "received_slabs") or 0) >= 3, what="it holds credit")
    stopped.signal(signal.SIGSTOP)
    assert not done(stopped, its_movies)
    begun = time.monotonic()
    for agent, _ in agents[1:]:
        agent.start()
    for agent, movies in agents[1:]:
        wait_for(lambda a=agent, m=movies: done(a, m), 60, "the others' movies are committed")
    print(f"{AGENTS - 1} agents, {3 * (AGENTS - 1) * SIZE >> 20} MiB beside a stopped one: "
          f"{time.monotonic() - begun:.1f} s")


def test_agents_share(work):
    """All at once: none waits for another's end."""
    server = work.server()
    agents = make_agents(work, server)
    for agent, _ in agents:
        agent.start()
    ends = {}

    def all_done():
        for n, (agent, movies) in enumerate(agents):
            if done(agent, movies):
                ends.setdefault(n, time.monotonic())
        return len(ends) == AGENTS

    begun = time.monotonic()
    wait_for(all_done, 90, "all movies are committed")
    took = sorted(e - begun for e in ends.values())
    print("ends after", ", ".join(f"{t:.1f}" for t in took), "s")
    check_all(server, agents)


if __name__ == "__main__":
    sys.exit(run(globals()))
