#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The link between agent and server breaks, stalls, is half there, is slow, loses its order and
flips bits, in the midst of a transfer: it goes on soon after the link is back, and in the end all
is as if nothing had happened. MILLRACE_TEST_SEED repeats a run; --long and --count N do more."""
import sys
import time

from aftermath import check_store, committed, make_movies, total
from chaosproxy import TO_AGENT, TO_SERVER, ChaosProxy
from millrace import Program, run, wait_for
from trials import dice, figures, how_many, in_rounds

COUNT = how_many(quick=4, long=500)
EACH = 50  # faults of a round
SLOW = 80 << 20  # bytes a second of a link whose transfer is to last
WAIT = 120.0  # seconds for what is promised within 2: a sanitized build on a busy machine
MOVIE = 32 << 20


class Transfer:
    """A server, a link, an agent, and movies enough to be in the midst of it."""

    def __init__(self, work, rng, config=None):
        self.work, self.rng, self.movies = work, rng, []
        self.server = work.server(config)
        self.link = ChaosProxy(self.server, rng)

    def __enter__(self):
        self.link.__enter__()
        self.link.throttle(SLOW)
        self.more()
        self.agent = self.work.agent(self.link)
        self.move_on()
        return self

    def __exit__(self, *_):
        self.link.__exit__()

    def more(self):
        """Never without work."""
        if len(committed(self.agent) if self.movies else ()) >= len(self.movies) - 1:
            self.movies += make_movies(self.work.movies, 3, MOVIE, self.rng,
                                       first=len(self.movies) + 1)

    def received(self):
        return total(self.server, "received_slabs") or 0

    def move_on(self, slabs=1):
        """Seconds until so many more slabs have come."""
        begun, before = time.monotonic(), self.received()
        wait_for(lambda: self.received() >= before + slabs, WAIT, "slabs over the link")
        return time.monotonic() - begun

    def sessions(self):
        return self.agent.messages().count("session with")

    def return_of_link(self):
        """The link is whole, as slow as before. Seconds until slabs come again."""
        self.link.restore()
        self.link.throttle(SLOW)
        return self.move_on()

    def finish(self):
        self.link.restore()
        wait_for(lambda: len(committed(self.agent)) == len(self.movies), WAIT,
                 "all movies are committed")
        check_store(self.server, self.movies, folder="")
        assert self.agent.stop() == 0 and self.server.stop() == 0


def suffer(work, name, fault, longest, count=COUNT):
    """`fault(link, rng)`, up to `longest` seconds, and the link's return, again and again. Measured
    is the time until slabs come again: from the return on, or the fault where it is a moment's."""
    rng, times = dice(), []

    def one_round(place, wanted):
        with Transfer(place, rng) as t:
            for _ in range(wanted):
                t.more()
                t.move_on(rng.randrange(1, 4))
                time.sleep(rng.random() * 0.05)  # anywhere in a slab
                fault(t.link, rng)
                time.sleep(rng.random() * longest)  # the fault is one of time
                times.append(t.return_of_link() if longest else t.move_on())
            t.finish()
        return wanted

    done = in_rounds(work, count, EACH, one_round)
    times.sort()
    figures(**{name: done}, resumed_median_s=round(times[len(times) // 2], 2),
            resumed_worst_s=round(times[-1], 2))


def test_cuts(work):
    suffer(work, "cuts", lambda link, _: link.cut(), longest=1.5)


def test_resets(work):
    suffer(work, "resets", lambda link, _: link.reset(), longest=0, count=max(COUNT // 5, 3))


def test_black_holes(work):
    """Shorter than three heartbeats, and longer; of both ways, or of one."""
    ways = [(), (TO_SERVER,), (TO_AGENT,)]
    suffer(work, "black_holes", lambda link, rng: link.black_hole(*rng.choice(ways)), longest=4.5,
           count=max(COUNT // 10, 3))


def test_half_open(work):
    """One end has gone and the other does not know: the agent hears of it by silence alone."""
    suffer(work, "half_open", lambda link, rng: link.half_open(rng.choice((TO_AGENT, TO_SERVER))),
           longest=0, count=max(COUNT // 10, 3))


def test_lanes_out_of_step(work):
    """Every connection with another delay: control overtakes data, data overtakes control, one
    lane runs far ahead of the other."""
    rng = dice()
    with Transfer(work, rng) as t:
        changes = max(COUNT // 2, 4)
        for _ in range(changes):
            t.more()
            for port in t.link.ports:
                t.link.latency[port] = rng.choice((0, 0.01, 0.1, 0.3)) * rng.random()
            t.link.throttle(rng.choice((SLOW, SLOW // 4, 1 << 30)))
            t.link.reset()  # the lanes connect in another order
            t.move_on(2)
        t.finish()
    figures(delays=changes)


def test_flipped_bits(work):
    """Both ways, in anything: payloads, headers, control messages, ZeroMQ's own framing."""
    rng = dice()
    movies = make_movies(work.movies, 2, max(COUNT, 12) * (8 << 20), rng)
    server = work.server()
    with ChaosProxy(server, rng) as link:
        link.flip(TO_SERVER, 12 << 20)
        link.flip(TO_AGENT, 2 << 10)
        agent = work.agent(link)
        wait_for(lambda: len(committed(agent)) == len(movies) or not agent.alive(), 10 * WAIT,
                 "all movies are committed over a link that flips bits")
        agent.check_alive()
        server.check_alive()
        check_store(server, movies, folder="")
        damaged = sum(lane["damaged_slabs"] for lane in server.status()["lanes"])
        figures(flipped_bits=link.flipped, damaged_slabs=damaged,
                sessions=agent.messages().count("session with"))
        assert link.flipped > 0


def test_flipped_openings(work):
    """A bit of the first bytes of connections: ZeroMQ's greeting, HELLO, WELCOME, OPEN."""
    rng = dice()
    movie, = make_movies(work.movies, 1, MOVIE, rng)
    server = work.server()
    with ChaosProxy(server, rng) as link:
        for _ in range(COUNT * 2):
            link.flip_openings(0.7)
            push = Program(work, "millrace-agent", ["push", "--server", link.control, "--agent",
                                                    "k3", movie.path]).start()
            made = link.made
            wait_for(lambda: link.made > made + 2 or not push.alive(), WAIT, "connections")
            link.restore()
            assert push.wait(WAIT) == 0, push.messages()
            server.check_alive()
        check_store(server, [movie], folder="")
        figures(flipped_openings=link.flipped)


if __name__ == "__main__":
    sys.exit(run(globals()))
