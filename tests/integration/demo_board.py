# SPDX-License-Identifier: Apache-2.0
"""What the demonstration shows: lines, and on a terminal a table that is redrawn below them."""
import os
import shutil
import sys
import time

EVERY = 2.0  # seconds between two lines of progress where there is no terminal


def megabytes(count):
    return f"{count / 1e6:,.{0 if count == 0 or count >= 1e7 else 1}f} MB"


class Row:
    """One movie on its way. Bytes of its pixels and header, seconds of this machine's clock."""

    def __init__(self, name, output, expected):
        self.name, self.output, self.expected = name, output, expected
        self.written = self.landed = self.durable = 0
        self.began = self.closed = self.ended = None
        self.state = "waits"
        self.history = []  # (time, bytes written then)

    def note(self, written, landed, durable):
        now = time.monotonic()
        self.written, self.durable = max(written, self.written), max(durable, self.durable)
        self.landed = max(landed, self.landed, self.durable)
        self.history.append((now, self.written))

    def rate(self):
        """Durable bytes a second, since it began to be written."""
        end = self.ended or time.monotonic()
        return self.durable / (end - self.began) if self.began and end > self.began else 0.0

    def lag(self):
        """How long ago that was written which is durable now."""
        if self.ended:
            return self.ended - (self.closed or self.ended)
        for when, written in self.history:
            if written > self.durable:
                return time.monotonic() - when
        return 0.0

    def cells(self):
        return (self.name, self.output, megabytes(self.written), megabytes(self.landed),
                megabytes(self.durable), f"{self.rate() / 1e6:.0f}", f"{self.lag():.2f} s",
                self.state)


class Board:
    HEAD = ("movie", "output", "written", "landed", "durable", "MB/s", "lag", "")
    FORM = "  {:<{wide}} {:<6} {:>9} {:>9} {:>9} {:>5} {:>8}  {}"

    def __init__(self, out=sys.stdout):
        self.out, self.live = out, out.isatty() and os.environ.get("TERM") != "dumb"
        self.colour = out.isatty() and "NO_COLOR" not in os.environ
        self.rows, self.drawn, self.last = [], 0, 0.0

    def paint(self, text, code):
        return f"\033[{code}m{text}\033[0m" if self.colour else text

    def clear(self):
        if self.drawn:
            self.out.write(f"\033[{self.drawn}F\033[J")
            self.drawn = 0

    def say(self, text="", code=None):
        self.clear()
        self.out.write((self.paint(text, code) if code else text) + "\n")
        self.out.flush()

    def title(self, text):
        self.say()
        self.say("== " + text, "1")

    def good(self, text):
        self.say("  ok    " + text, "32")

    def bad(self, text):
        self.say("  WRONG " + text, "31")

    def draw(self, row):
        """Progress; row is the movie of the moment."""
        if self.live:
            self.clear()
            wide = max(len(r.name) for r in self.rows)
            table = [self.HEAD] + [r.cells() for r in self.rows]
            lines = [self.FORM.format(*cells, wide=wide).rstrip() for cells in table]
            width = shutil.get_terminal_size().columns - 1  # a wrapped line would not be redrawn
            self.out.write("\n".join(line[:width] for line in lines) + "\n")
            self.drawn = len(table)
            self.out.flush()
        elif time.monotonic() - self.last >= EVERY:
            self.last = time.monotonic()
            name, _, written, landed, durable, rate, lag, state = row.cells()
            self.say(f"  {name}: written {written}, landed {landed}, durable {durable}, "
                     f"{rate} MB/s, lag {lag}  {state}")

    def settle(self):
        """The live table stays where it is."""
        self.drawn = 0
