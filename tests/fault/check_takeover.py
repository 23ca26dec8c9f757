#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Two servers and one store. The second is refused while the first lives, takes over when it dies,
and when it stands still for longer than its lease; then what the first does after it wakes is
without effect, wherever it was stopped."""
import hashlib
import os
import re
import signal
import sys

from aftermath import COMMIT, LANDING, SEALING, TAKEOVER, check_store, events, is_long, \
    journals, parts, total
from millrace import Agent, Camera, Program, Server, run, wait_for

LONG = is_long()
SECONDS = "3s"  # long enough for a busy machine's disk
LEASE = {"store": {"lease": SECONDS}}


def second_server(work, first, name="storage2", standby=True):
    store = {"root": first.store, "lease": SECONDS, "standby": standby}
    return Server(work, {"store": store}, name=name)


def agent_of(work, servers, **watch):
    watch["complete"] = {"quiet": "1min", "give_up": "2min"}
    config = {"server": {"endpoint": [s.control for s in servers]}, "watch": watch}
    return Agent(work, servers[0], config)


def agent_of_both(work, first, second, **watch):
    """Not started yet. The camera may pause for as long as it takes."""
    return agent_of(work, [first, second], **watch)


def start_standing_by(server, env=None):
    Program.start(server, env)
    server.wait_for_message("standing by while it does")


def wait_ready(server):
    wait_for(server.ready, what="the other server's /readyz")


def contents(store):
    """Every file of a store and what is in it, but for the beat of who holds it now."""
    lease = os.path.join(store, ".millrace", "lease")
    holder = max(n for n in os.listdir(lease) if n.isdigit())
    found = {}
    for base, folders, names in os.walk(store):
        for name in names:
            path = os.path.join(base, name)
            with open(path, "rb") as f:
                data = f.read()
            if base == lease and name == holder:
                data = data[64:]
            found[os.path.relpath(path, store)] = hashlib.sha256(data).hexdigest()
        found.update({os.path.relpath(os.path.join(base, d), store): "folder" for d in folders})
    return found


def wake(first, second):
    """The first goes on where it was stopped: it ends by itself, and nobody can tell."""
    wait_for(lambda: not journals(second.store), what="all is finished")
    before = contents(second.store)
    log = events(second)
    first.signal(signal.SIGCONT)
    status = first.wait()
    assert status == 74, f"the first server ended with {status}"
    assert "another server has taken the store" in first.messages()
    after = contents(second.store)
    changed = {n for n in before.keys() | after.keys() if before.get(n) != after.get(n)}
    assert not changed, f"the woken server changed {sorted(changed)}"
    assert events(second) == log
    assert second.alive()


def wait_for_offline(server):
    """Nothing more will happen by itself."""
    wait_for(lambda: events(server)[-1]["type"] == "millrace.agent.offline.v1", what="offline")


def end(second, agent, movies, output):
    ready = check_store(second, movies, output, folder="")
    assert len(ready) == len(movies)
    if agent.alive():
        assert agent.stop() == 0
    assert second.stop() == 0
    assert not journals(second.store) and not parts(second.store)


# ---- one lives, one dies ----

def test_second_is_refused_while_the_first_lives(work):
    first = work.server(LEASE)
    second = second_server(work, first, standby=False)
    Program.start(second)
    assert second.wait() == 1
    said = second.messages()
    assert re.search(rf"another server has this store open: storage1 on \S+ \(pid "
                     rf"{first.process.pid}, generation 1\)", said), said
    assert first.ready()
    waiting = second_server(work, first, name="storage3")
    start_standing_by(waiting)
    assert waiting.stop() == 0  # also while it waits
    assert first.stop() == 0
    second.start()  # let go of: at once
    assert second.stop() == 0


def test_first_lets_go_and_the_second_goes_on(work):
    first = work.server(LEASE)
    second = second_server(work, first)
    start_standing_by(second)
    agent = agent_of_both(work, first, second).start()
    one = work.camera(nx=1024, ny=1024, frames=6, mode=6).results()
    first.wait_for_event("millrace.movie.ready.v1")
    assert first.stop() == 0
    wait_ready(second)
    assert "may still be alive" not in second.messages()
    two = work.camera(nx=1024, ny=1024, frames=6, mode=6, seed=2, prefix="two").results()
    second.wait_for_event("millrace.movie.ready.v1", "two_0001.mrc")
    end(second, agent, one + two, "keep")


def in_mid_movie(work, output, env=None):
    """Two servers, an agent that knows both, a movie of which the first has some."""
    first = work.server(LEASE, env)
    second = second_server(work, first)
    start_standing_by(second)
    agent = agent_of_both(work, first, second, output=output).start()
    camera = Camera(work, nx=1024, ny=1024, frames=24, mode=6, step=True).start()
    camera.step(12)
    wait_for(lambda: (total(first, "durable_slabs") or 0) > 2, what="some slabs are durable")
    return first, second, agent, camera


def killed(output):
    def test(work):
        first, second, agent, camera = in_mid_movie(work, output)
        first.kill()
        wait_ready(second)
        assert "may still be alive" not in second.messages(), "it is dead, and nobody saw it"
        camera.step(13)
        movies = camera.results()
        second.wait_for_event("millrace.movie.ready.v1")
        assert re.search(r"resumes: [1-9]\d* slabs are durable", agent.messages())
        end(second, agent, movies, output)
    return test


def test_push_knows_both(work):
    first = work.server(LEASE, {"MILLRACE_CRASH_AT": "group-durable:2"})
    second = second_server(work, first)
    start_standing_by(second)
    movies = work.camera(nx=1024, ny=1024, frames=24, mode=6).results()
    push = Program(work, "millrace-agent", ["push", "--agent", "k3-krios1", "--server",
                                            f"{first.control},{second.control}", movies[0].path])
    assert push.start().wait(60) == 0, push.messages()
    assert first.wait() == -signal.SIGKILL
    wait_for(lambda: not journals(second.store), what="all is finished")
    check_store(second, movies, folder="")
    assert second.stop() == 0


def stopped(output):
    def test(work):
        first, second, agent, camera = in_mid_movie(work, output)
        first.signal(signal.SIGSTOP)
        wait_ready(second)
        assert "may still be alive" in second.messages()
        camera.step(13)
        movies = camera.results()
        second.wait_for_event("millrace.movie.ready.v1")
        assert re.search(r"resumes: [1-9]\d* slabs are durable", agent.messages()), "none carried"
        assert agent.stop() == 0
        wait_for_offline(second)
        wake(first, second)
        end(second, agent, movies, output)
    return test


# ---- stopped at a step ----

def stopped_at(step, output):
    """The agent ships once; its server stops at `step` of that and wakes when all is done."""
    def test(work):
        first = work.server(LEASE, {"MILLRACE_STOP_AT": step})
        second = second_server(work, first)
        start_standing_by(second)
        movies = work.camera(nx=1024, ny=1024, frames=6, mode=6).results()
        agent = agent_of_both(work, first, second, output=output)
        once = agent.start_once()
        wait_for(first.is_stopped, what=f"stopped at {step}")
        wait_ready(second)
        assert once.wait(60) == 0, once.messages()
        wait_for_offline(second)
        wake(first, second)
        end(second, agent, movies, output)
    return test


def stopped_in_takeover(step):
    """The second one stops while it takes over from the first, which is stopped too; the third
    finishes the movie, and then both wake."""
    def test(work):
        first, second, agent, camera = in_mid_movie(work, "keep")
        assert second.stop() == 0
        start_standing_by(second, {"MILLRACE_STOP_AT": step})
        first.signal(signal.SIGSTOP)
        wait_for(second.is_stopped, what=f"stopped at {step}")
        assert agent.stop() == 0
        third = second_server(work, first, name="storage3", standby=False)
        third.start()
        camera.step(13)
        movies = camera.results()
        agent = agent_of(work, [third])
        assert agent.run_once() == 0
        wait_for_offline(third)
        if step == "lease-take": # it had nothing yet, and stands by again
            second.signal(signal.SIGCONT)
            assert second.stop() == 0
        else:
            wake(second, third)
        wake(first, third)
        end(third, agent, movies, "keep")
    return test


# ---- many movies ----

def test_both_stop_in_turn(work):
    """A store that goes to and fro, each time from a server that may still be alive."""
    first = work.server(LEASE)
    servers = [first] + [second_server(work, first, name=f"storage{n}", standby=False)
                         for n in (2, 3)]
    agent = agent_of(work, servers).start()
    movies = []
    for n, server in enumerate(servers, 1):
        if n > 1:
            server.start()
        camera = Camera(work, nx=1024, ny=1024, frames=8, mode=6, step=True, seed=n,
                        prefix=f"m{n}")
        camera.start()
        camera.step(6)
        wait_for(lambda: (total(server, "durable_slabs") or 0) > 0, what="a slab is durable")
        if n < len(servers):
            server.signal(signal.SIGSTOP)
        camera.step(3)
        movies += camera.results()
    last = servers[-1]
    for movie in movies:
        last.wait_for_event("millrace.movie.ready.v1", os.path.basename(movie.path))
    assert agent.stop() == 0
    wait_for_offline(last)
    for server in servers[:-1]:
        wake(server, last)
    end(last, agent, movies, "keep")


def add(names):
    """Every step for every output in the long run."""
    outputs = ["keep", "mrc", "hdf5"]
    for output in outputs:
        names[f"test_killed_{output}"] = killed(output)
        names[f"test_stopped_{output}"] = stopped(output)
    for number, step in enumerate(LANDING + SEALING + COMMIT):
        for output in outputs if LONG else [outputs[number % 3]]:
            names[f"test_stopped_at_{step}_{output}".replace("-", "_")] = stopped_at(step, output)
    for step in TAKEOVER:
        names[f"test_{step}".replace("-", "_")] = stopped_in_takeover(step)


add(globals())
if __name__ == "__main__":
    sys.exit(run(globals()))
