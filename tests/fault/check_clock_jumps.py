#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The wall clock of server, agent or both jumps by hours, forward and back, in the midst of movies
and between the lives of their programs. MILLRACE_TEST_SEED repeats the choices; --long and
--count N do more."""
import contextlib
import datetime
import os
import struct
import sys
import time

from aftermath import events, how_many
from millrace import binary, need_programs, run, wait_for
from transfer import proxied, suffer

HOUR = 3600 * 10**9  # ns
LIBRARY = binary("libshift_clock.so")


class Clock:
    """A program's, from its next start on."""

    def __init__(self, work, program):
        self.path = os.path.join(work.path, f"shift-{program.name}")
        self.set(10 * HOUR)
        program.env = {"LD_PRELOAD": LIBRARY, "MILLRACE_CLOCK_SHIFT": self.path}

    def set(self, shift_ns):
        mode = "r+b" if os.path.exists(self.path) else "wb"
        with open(self.path, mode, buffering=0) as f:  # one write: never half a number
            f.write(struct.pack("<q", shift_ns))


def is_ahead(event):
    told = datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00"))
    return told.timestamp() > time.time() + 5 * 3600


@contextlib.contextmanager
def clocked(work, rng):
    need_programs("libshift_clock.so")
    with proxied(work, rng) as t:
        t.clocks = []
        for program in (t.server, t.agent):
            t.clocks.append(Clock(work, program))
            program.kill()
            program.start()
        wait_for(lambda: any(is_ahead(e) for e in events(t.server)), what="a time that is not ours")
        yield t


def jump(t, rng):
    for clock in rng.choice((t.clocks[:1], t.clocks[1:], t.clocks)):
        clock.set(rng.randrange(-30 * HOUR, 30 * HOUR))


def jump_and_die(t, rng):
    jump(t, rng)
    for program in rng.choice(([t.server], [t.agent], [t.server, t.agent])):
        program.kill()
        program.start()


def test_jumps(work):
    suffer(work, "clock_jumps", how_many(12, 500), clocked, jump)


def test_jumps_between_lives(work):
    suffer(work, "clock_jumps_and_kills", how_many(8, 200), clocked, jump_and_die)


if __name__ == "__main__":
    sys.exit(run(globals()))
