#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How long a server with a long past takes until it serves: after a clean stop, after kill -9, and
as one that takes over from a server that stands still. Prints the times and how much of a processor
they took; none is a condition."""
import os
import signal
import subprocess
import sys
import time

from aftermath import is_long
from millrace import Server, binary, run

MOVIES = 1_000_000 if is_long() else 100_000


def start(server):
    begun = time.monotonic()
    server.start()
    seconds = time.monotonic() - begun
    with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as f:
        ticks = sum(map(int, f.read().rpartition(")")[2].split()[11:13]))
    return f"{seconds:.2f} s, {ticks / os.sysconf('SC_CLK_TCK'):.2f} s of a processor"


def test_a_store_with_a_long_past(work):
    first = Server(work, {"store": {"lease": "2s"}})
    subprocess.run([binary("shelf_filler"), first.store, str(MOVIES)], check=True, timeout=600)
    took = {"the first start": start(first)}
    assert first.stop() == 0
    took["after a clean stop"] = start(first)
    first.kill()
    took["after kill -9"] = start(first)
    first.signal(signal.SIGSTOP)
    second = Server(work, {"store": {"root": first.store, "lease": "2s"}}, name="storage2")
    took["taken over from one that stands still, 2.5 s of it watching"] = start(second)
    first.signal(signal.SIGCONT)
    assert first.wait() == 74
    assert int(second.logged(since=MOVIES)[0]["sequence"]) == MOVIES
    one, = work.camera(nx=64, ny=64, frames=2).results()
    push = work.push(second, one.path)
    assert push.process.returncode == 0
    ready = second.wait_for_event("millrace.movie.ready.v1", "movie_0001.mrc", since=MOVIES + 1)
    assert int(ready["sequence"]) > MOVIES
    assert second.stop() == 0
    for what, times in took.items():
        print(f"{MOVIES} movies, {what}: {times}")


if __name__ == "__main__":
    sys.exit(run(globals()))
