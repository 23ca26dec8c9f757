#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The link between agent and server breaks, stalls, is half there, is slow, loses its order and
flips bits, in the midst of a transfer: it goes on soon after the link is back, and in the end all
is as if nothing had happened. MILLRACE_TEST_SEED repeats a run; --long and --count N do more."""
import sys

from aftermath import check_store, committed, dice, figures, how_many, make_movies
from chaosproxy import TO_AGENT, TO_SERVER, ChaosProxy
from millrace import run, wait_for
from transfer import MOVIE, SLOW, WAIT, proxied, suffer

WAYS = (TO_SERVER, TO_AGENT)


def test_cuts(work):
    suffer(work, "cuts", how_many(4, 500), proxied, lambda t, _: t.link.cut(), longest=1.5)


def test_resets(work):
    suffer(work, "resets", how_many(3, 100), proxied, lambda t, _: t.link.reset())


def test_black_holes(work):
    """Shorter than three heartbeats, and longer; of both ways, or of one."""
    suffer(work, "black_holes", how_many(3, 50), proxied,
           lambda t, rng: t.link.black_hole(*rng.choice((WAYS, WAYS[:1], WAYS[1:]))), longest=4.5)


def test_half_open(work):
    """One end has gone and the other does not know: the agent hears of it by silence alone."""
    suffer(work, "half_open", how_many(3, 50), proxied,
           lambda t, rng: t.link.half_open(rng.choice(WAYS)))


def test_lanes_out_of_step(work):
    """Every connection with another delay: control overtakes data, data overtakes control, one
    lane runs far ahead of the other."""
    rng, changes = dice(), how_many(4, 200)
    with proxied(work, rng) as t:
        for _ in range(changes):
            t.more()
            t.link.delay({port: rng.choice((0, 0.01, 0.1, 0.3)) * rng.random()
                          for port in t.link.ports})
            t.link.throttle(rng.choice((SLOW, SLOW // 4, 1 << 30)))
            t.link.reset()  # the lanes connect in another order
            t.move_on(2)
        t.finish()
    figures(delays=changes)


def test_flipped_bits(work):
    """Both ways, in anything: payloads, headers, control messages, ZeroMQ's own framing."""
    rng = dice()
    movies = make_movies(work.movies, 2, how_many(12, 400) * (8 << 20), rng)
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
    """A bit of the first bytes of connections: ZeroMQ's greeting, HELLO, WELCOME, OPEN. A greeting
    so damaged that both ends wait for more costs its limit of 10 s, and a push its patience."""
    rng = dice()
    movie, = make_movies(work.movies, 1, MOVIE, rng)
    server = work.server()
    with ChaosProxy(server, rng) as link:
        for _ in range(how_many(8, 300)):
            link.flip_openings(0.7)
            push = work.start_push(link, "--agent", "k3", movie.path)
            made = link.made
            wait_for(lambda: link.made > made + 2 or not push.alive(), WAIT, "connections")
            link.restore()
            assert push.wait(WAIT) == 0 or "no server answers" in push.messages()
            server.check_alive()
        assert work.push(link, "--agent", "k3", movie.path).process.returncode == 0
        check_store(server, [movie], folder="")
        figures(flipped_openings=link.flipped)


if __name__ == "__main__":
    sys.exit(run(globals()))
