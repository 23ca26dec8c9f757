#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 and SIGSTOP of server, agent or both, at any instant of a transfer whose link is slow
enough that there is always something under way: what was durable stays so, and in the end all is as
if nothing had happened. MILLRACE_TEST_SEED repeats the choices; --long and --count N do more."""
import signal
import sys

from aftermath import how_many
from millrace import run
from transfer import proxied, suffer


def victims(t, rng):
    return rng.choice(([t.server], [t.agent], [t.server, t.agent]))


def kill(t, rng):
    chosen = victims(t, rng)
    for program in chosen:
        program.signal(signal.SIGKILL)  # both, before either is looked after
    for program in chosen:
        assert program.wait() == -signal.SIGKILL
        program.start()


def stop(t, rng):
    chosen = victims(t, rng)
    for program in chosen:
        program.signal(signal.SIGSTOP)

    def go_on():
        for program in chosen:
            program.signal(signal.SIGCONT)
    return go_on


def test_kills(work):
    suffer(work, "kills", how_many(8, 1000), proxied, kill)


def test_stops(work):
    """Shorter and longer than three heartbeats."""
    suffer(work, "stops", how_many(4, 100), proxied, stop, longest=5)


if __name__ == "__main__":
    sys.exit(run(globals()))
