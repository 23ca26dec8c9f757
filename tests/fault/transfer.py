# SPDX-License-Identifier: Apache-2.0
"""A transfer that never ends by itself, and what is done to it again and again."""
import contextlib
import time

from aftermath import READY, all_ready, check_store, dice, events, figures, in_rounds, \
    make_movies, resumed, total
from chaosproxy import ChaosProxy
from millrace import wait_for

WAIT = 120.0  # seconds for what is promised within 2: a sanitized build on a busy machine
SLOW = 80 << 20  # bytes a second of a link whose transfer is to last
MOVIE = 32 << 20
EACH = 50  # faults of a round


class Transfer:
    """Movies enough to be in the midst of it, from start_agent() to the server. restore() ends
    what was done to the link, if anything was, but leaves it SLOW; heal() is for the end."""

    def __init__(self, work, rng, server, start_agent, restore, heal):
        self.work, self.rng, self.server, self.movies = work, rng, server, []
        self.restore, self.heal, self.kept = restore, heal, {}
        self.add_movies()
        self.agent = start_agent()
        self.move_on()

    def add_movies(self):
        self.movies += make_movies(self.work.movies, 3, MOVIE, self.rng,
                                   first=len(self.movies) + 1)

    def more(self):
        """Never without work for long."""
        if self.ready() >= len(self.movies) - 2:
            self.add_movies()

    def ready(self):
        """By the event log: an agent may die before it says what is committed."""
        return sum(e["type"] in READY for e in events(self.server))

    def done(self):
        return all_ready(self.server, self.movies)

    def received(self):
        return total(self.server, "received_slabs") or 0

    def sessions(self):
        return self.agent.messages().count("session with")

    def move_on(self, slabs=1):
        """Seconds until so many more slabs have come, of this life of the server's. Where all had
        come already, from when there is work again."""
        begun, before = time.monotonic(), self.received()

        def moved():
            nonlocal begun
            if self.received() >= before + slabs:
                return True
            if time.monotonic() > begun + 2 and self.ready() == len(self.movies):
                self.add_movies()
                begun = time.monotonic()
            return False

        wait_for(moved, WAIT, "slabs over the link")
        return time.monotonic() - begun

    def check_kept(self):
        """What was durable once is so for ever, whoever died or was away."""
        now = resumed(self.agent)
        for name, slabs in self.kept.items():
            assert now[name] >= slabs, f"{name}: {slabs} slabs were durable, now {now[name]}"
        self.kept = now

    def finish(self):
        self.heal()
        wait_for(self.done, WAIT, "all movies are committed")
        check_store(self.server, self.movies, folder="")
        assert self.agent.stop() == 0 and self.server.stop() == 0


@contextlib.contextmanager
def proxied(work, rng):
    """A Transfer over a chaos proxy, its `link`."""
    server = work.server()
    with ChaosProxy(server, rng) as link:
        def restore():
            link.restore()
            link.throttle(SLOW)

        restore()
        t = Transfer(work, rng, server, lambda: work.agent(link), restore, link.restore)
        t.link = link
        yield t


def suffer(work, name, count, begin, fault, longest=0.0):
    """fault(transfer, rng), up to `longest` seconds, and the end of it (what fault returned, else
    restore), `count` times, each in the midst of a slab of the transfer that begin(workspace, rng)
    gives. Measured is the time until slabs come again: from the end on, or from the fault where it
    is a moment's."""
    rng, times = dice(), []

    def one_round(place, wanted):
        with begin(place, rng) as t:
            for _ in range(wanted):
                t.more()
                t.move_on(rng.randrange(1, 4))
                time.sleep(rng.random() * 0.05)  # anywhere in a slab
                end = fault(t, rng) or t.restore
                if longest:
                    time.sleep(rng.random() * longest)  # the fault is one of time
                    end()
                times.append(t.move_on())
                t.check_kept()
            t.finish()
        return wanted

    done = in_rounds(work, count, EACH, one_round)
    times.sort()
    figures(**{name: done, f"{name}_resumed_median_s": round(times[len(times) // 2], 2),
               f"{name}_resumed_worst_s": round(times[-1], 2)})
