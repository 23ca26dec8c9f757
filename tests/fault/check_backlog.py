#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The camera goes on, the store does not: it stands still, it does a tenth of what it could, it is
not there. Neither side's memory grows past its pool, nothing is dropped, the wait can be seen, and
afterwards all is caught up with at full rate. --long: a minute and more of each."""
import contextlib
import random
import re
import sys
import threading
import time

from aftermath import check_store, committed, figures, is_long, make_movies, total
from loopdisk import MIB, Disk
from millrace import POOL, run, wait_for

LONG = is_long()
ALLOWANCE = 64 * MIB  # programs, libraries, stacks
SIZE = (64 if LONG else 16) * MIB  # of a movie
BATCH = 6  # movies that wait at once
SETTLED = 240  # seconds; a machine may be slow, and the store is slower


class Peak:
    """The most that programs held in memory while it watched, bytes by name."""

    def __init__(self, *programs):
        self.programs, self.most, self.over = programs, {}, threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def watch(self):
        while not self.over.wait(0.05):
            for p in self.programs:
                with contextlib.suppress(OSError, TypeError, AttributeError):
                    self.most[p.name] = max(self.most.get(p.name, 0), p.rss_bytes())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def check(self):
        for name, most in self.most.items():
            assert most <= POOL + ALLOWANCE, f"{name} took {most // MIB} MiB"


class Microscope:
    """A camera that goes on and on, its agent, and the server of `disk`."""

    def __init__(self, work, disk):
        self.work, self.movies = work, []
        self.folder, live = work.folder("movies/done"), work.folder("movies/live")
        self.server = disk.server(work, path="{path}")
        self.agent = work.agent(self.server, config={"watch": {
            "complete": {"quiet": "20s", "give_up": "5min"}}})
        self.camera = work.camera(out=live, nx=1024, ny=512, mode=0, frames=50, fps=10,
                                  movies=300, seed=5)
        self.peak = Peak(self.server, self.agent)

    def acquire(self):
        """A batch of movies at once, more than memory holds."""
        rng = random.Random(len(self.movies))
        self.movies += make_movies(self.folder, BATCH, SIZE, rng, first=len(self.movies) + 1)

    def waiting(self):
        return [m for m in self.movies if m.path not in committed(self.agent)]

    def durable(self):
        return total(self.server, "durable_slabs")

    def catch_up(self):
        """Until all batches are in the store; MiB/s, with the time the agent needs to come back."""
        had, begun = len(self.waiting()), time.monotonic()
        wait_for(lambda: not self.waiting(), SETTLED, "all that waited is committed")
        return had * SIZE / MIB / (time.monotonic() - begun)

    def full_rate(self):
        """As it is when a batch was there before the agent."""
        self.agent.stop()
        self.acquire()
        self.agent.start()
        return self.catch_up()

    def finish(self):
        self.camera.stop()
        live = [m for m in self.camera.results(status=self.camera.process.returncode)]
        wait_for(lambda: {m.path for m in live} <= committed(self.agent), SETTLED, "the last movie")
        check_store(self.server, self.movies, folder="done")
        check_store(self.server, live, folder="live")
        assert self.agent.stop() == 0 and self.server.stop() == 0
        return len(self.movies) + len(live)


def suffer(work, name, fault):
    """Full rate, then the fault with a batch that comes meanwhile, then what it takes to recover:
    fault(microscope, disk, full) is a context in which the store is as bad as it gets."""
    with Disk(work, "ext4", 8192 if LONG else 1024) as disk:
        m = Microscope(work, disk)
        full = m.full_rate()
        with m.peak:
            with fault(m, disk, full):
                pass
            after = m.catch_up()
        m.peak.check()
        movies = m.finish()
        figures(test=f"backlog {name}", movies=movies, bugs=0, full_mib_s=round(full),
                after_mib_s=round(after), ratio=round(after / full, 2),
                **{f"{n.split('-')[1]}_rss_mib": most // MIB for n, most in m.peak.most.items()})


def stands_still(m, seconds):
    """No slab becomes durable; the server goes on telling how it stands. Returns how few buffers
    its lanes had left."""
    before, least, seen = m.durable(), [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        status = m.server.status()
        assert status is not None, "the status cannot be asked for"
        assert status["movies"], "nothing is to be seen of the movies that wait"
        if status["sessions"]:  # after half a minute without an ack agents look for another server
            seen.append(sum(s["backlog_bytes"] for s in status["sessions"]))
            assert "millrace_agents_backlog_bytes" in m.server.get("/metrics")
        least.append(sum(lane["buffers_free"] for lane in status["lanes"]))
        time.sleep(0.1)
    assert m.durable() == before, "a slab became durable on a store that stands still"
    assert max(seen) >= SIZE, f"a backlog of {max(seen)} bytes is all that is seen"
    return min(least)


@contextlib.contextmanager
def freeze(m, disk, _):
    """In mid-transfer: whatever is in memory then stays there."""
    before = m.durable()
    m.acquire()
    m.acquire()
    wait_for(lambda: m.durable() > before + 2, what="some more slabs")
    with disk.frozen():
        time.sleep(0.5)  # what was acknowledged as it froze is counted
        stored = m.server.status()["committed"]
        waiting = len(m.waiting())
        left = stands_still(m, 65 if LONG else 5)
        assert waiting > 0 and m.server.status()["committed"] == stored
        print(f"frozen with {waiting} of {2 * BATCH} movies to go, {left} buffers left")
        yield


@contextlib.contextmanager
def throttle(m, disk, full):
    limit, seconds = max(int(full * MIB / 10), MIB), 30 if LONG else 6
    with disk.throttled(m.server, limit):
        for _ in range(1 + limit * seconds // (BATCH * SIZE)):
            m.acquire()  # more than it can take
        begun, before = time.monotonic(), m.durable()
        time.sleep(seconds)
        rate = (m.durable() - before) * 4 / (time.monotonic() - begun)
        print(f"throttled to {limit // MIB} MiB/s: {rate:.0f} MiB/s became durable")
        yield


@contextlib.contextmanager
def leave(m, _disk, _full):
    m.server.kill()
    m.acquire()
    time.sleep(180 if LONG else 6)
    if LONG:
        assert re.search("still no session: [0-9]+ files wait", m.agent.messages())
    assert len(m.waiting()) == BATCH
    m.server.start()
    yield


def test_store_stands_still(work):
    suffer(work, "frozen", freeze)


def test_store_is_slow(work):
    suffer(work, "throttled", throttle)


def test_server_is_away(work):
    suffer(work, "away", leave)


if __name__ == "__main__":
    sys.exit(run(globals()))
