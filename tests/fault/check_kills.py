#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the server and of the agent at random moments of a transfer of several movies: what
was durable is not sent again, and in the end all is as if nothing had happened. MILLRACE_TEST_SEED
repeats a run; --long kills more often."""
import os
import sys

from aftermath import all_ready, check_store, committed, dice, is_long, make_movies, resumed, total
from millrace import POOL, SLAB, Agent, Program, run, slabs_of, wait_for

LONG = is_long()
KILLS = 60 if LONG else 6
SIZE = (640 if LONG else 64) << 20
SLABS_IN_FLIGHT = POOL // SLAB


def sessions(agent):
    return agent.messages().count("session with")


def wait_for_slabs(server, rng, done):
    """Until some more slabs have come, or the transfer is done()."""
    wanted = (total(server, "received_slabs") or 0) + rng.randrange(1, 12)
    wait_for(lambda: done() or (total(server, "received_slabs") or 0) >= wanted, what="slabs")


def check_kept(agent, before):
    """What was durable in an earlier life is so in this one."""
    now = resumed(agent)
    for name, slabs in before.items():
        assert now[name] >= slabs, f"{name}: {slabs} slabs were durable, now {now[name]}"
    before.update(now)


def die_soon(rng, most=1):
    """The plug is pulled a few sync groups from now: in the midst, however fast the machine. A
    group is at most 64 MiB, so that 2 and 1 and 1 are always there."""
    step = rng.choice(["group-synced", "group-journaled", "group-durable"])
    return {"MILLRACE_CRASH_AT": f"{step}:{rng.randrange(most) + 1}"}


def outlive_servers(agent, server, movies, rng):
    """Successors until the transfer is done or KILLS have died. Returns how many those were."""
    before = {}
    for life in range(KILLS):
        wait_for(lambda: not server.alive() or len(committed(agent)) == len(movies), what="a kill")
        if server.alive():
            return life
        env = die_soon(rng, 3 if LONG else 1) if life + 1 < KILLS else None
        Program.start(server, env)  # may die unready
        wait_for(lambda: sessions(agent) > life + 1, what="a session")
        check_kept(agent, before)
    return KILLS


def server_is_killed(work, start_agent):
    rng = dice()
    movies = make_movies(work.movies, 4, SIZE, rng)
    server = work.server(env=die_soon(rng, 2))
    agent = start_agent(work, server)
    kills = outlive_servers(agent, server, movies, rng)
    wait_for(lambda: len(committed(agent)) == len(movies), 60, "all movies are committed")
    slabs = {os.path.basename(m.path): slabs_of(m.bytes) for m in movies}
    had = resumed(agent)
    print(f"{kills} kills; resumed with {had} of {slabs}")
    assert kills >= 3
    return server, agent, movies


def push(work, server):
    return work.start_push(server, "--agent", "k3", work.movies)


def test_push_outlives_servers(work):
    server, agent, movies = server_is_killed(work, push)
    assert agent.wait() == 0
    check_store(server, movies)


def test_agent_outlives_servers(work):
    server, agent, movies = server_is_killed(work, lambda w, s: w.agent(s))
    check_store(server, movies, folder="")
    assert agent.stop() == 0 and server.stop() == 0


def test_durable_slabs_are_not_sent_again(work):
    """One kill; then the successor receives what its agent was told is missing, no slab more."""
    movie, = make_movies(work.movies, 1, 192 << 20, dice())
    slabs = slabs_of(movie.bytes)
    server = work.server(env={"MILLRACE_CRASH_AT": "group-durable:3"})
    agent = push(work, server)
    server.wait()
    server.start()
    assert agent.wait() == 0
    had = sum(resumed(agent).values())
    assert had >= 3, f"three groups were durable, {had} slabs are left"
    received = total(server, "received_slabs")
    assert received == slabs - had, f"{received} received, {slabs - had} were missing"
    print(f"{slabs} slabs: {had} durable at the kill, {received} received after it")
    check_store(server, [movie])


def test_killed_agent_goes_on(work):
    """Half shipped movies, committed ones, and one that came while no agent ran. The server tells
    what is done: an agent may be killed between its journal's note of a movie and its word."""
    rng = dice()
    movies = make_movies(work.movies, 3, 64 << 20, rng)
    server = work.server()
    agent = Agent(work, server)
    kills = 0
    for life in range(KILLS):
        agent.start()
        wait_for(lambda: sessions(agent) > life, what="a session")
        wait_for_slabs(server, rng, lambda: all_ready(server, movies))
        kills += not all_ready(server, movies)
        agent.kill()
        if life == 1:
            movies += make_movies(work.movies, 1, 16 << 20, rng, first=10)
    agent.start()
    wait_for(lambda: all_ready(server, movies), 60, "all movies are committed")
    check_store(server, movies, folder="")
    slabs = sum(slabs_of(m.bytes) for m in movies)
    received = total(server, "received_slabs")
    print(f"{kills} kills in the midst, {slabs} slabs, {received} received")
    assert slabs <= received <= slabs + kills * SLABS_IN_FLIGHT
    agent.stop()
    agent.start()  # all is committed: nothing is shipped again
    wait_for(lambda: sessions(agent) > KILLS + 1, what="a session")
    assert agent.stop() == 0
    assert total(server, "received_slabs") == received
    assert server.stop() == 0


if __name__ == "__main__":
    sys.exit(run(globals()))
