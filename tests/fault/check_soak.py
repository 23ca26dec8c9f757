#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Several agents at full rate for long: memory and descriptors of every process stay what they
were once all was warm. --count SECONDS says how long."""
import os
import sys
import time

from aftermath import check_events, check_nothing_left, dice, figures, how_many, \
    make_sparse_movie, sha256
from millrace import run, wait_for

SECONDS = how_many(12, 3600)
AGENTS = 3
MIB = 1 << 20
MOVIE = 96  # frames of 4 MiB
DESCRIPTORS = 8 if SECONDS >= 300 else 64  # in a short run all of it still begins
GROWTH = (24 if SECONDS >= 300 else 64) * MIB  # what is no trend: pools that fill, an allocator
SAMPLE_S = 0.5


class Camera:
    """One agent's folder: there is always a movie that waits, and none stays when it is safe."""

    def __init__(self, work, server, name):
        self.folder = work.folder(name)
        self.agent = work.agent(server, name=name, watches=[
            {"path": self.folder, "complete": {"quiet": "1s", "give_up": "3s"}}])
        self.made, self.done, self.read_to, self.rest = 0, 0, 0, ""

    def newly_committed(self):
        """By its log, from where it was read last."""
        with open(self.agent.log, encoding="utf-8") as f:
            f.seek(self.read_to)
            text = self.rest + f.read()
            self.read_to = f.tell()
        whole, _, self.rest = text.rpartition("\n")
        return [line.split("is committed: ")[1].rsplit(" (", 1)[0]
                for line in whole.splitlines() if "is committed: " in line]

    def step(self, rng, going):
        """Movies committed since the last time; their files go, as a pipeline would have it."""
        stored = self.newly_committed()
        for path in stored:
            source = os.path.join(self.folder, os.path.basename(path))
            if rng.random() < 0.1:
                assert sha256(path) == sha256(source), path
            os.remove(source)
            os.remove(path)
        self.done += len(stored)
        while going and self.made - self.done < 2:
            self.made += 1
            make_sparse_movie(os.path.join(self.folder, f"movie_{self.made:06}.mrc"), MOVIE,
                              self.made)
        return len(stored)


class Gauge:
    """Resident memory and descriptors of one process over time."""

    def __init__(self, program):
        self.program, self.times, self.rss, self.fds = program, [], [], []

    def sample(self, now):
        self.times.append(now)
        self.rss.append(self.program.rss_bytes())
        self.fds.append(len(os.listdir(f"/proc/{self.program.process.pid}/fd")))

    def slope(self, values):
        """Per hour, by least squares over the second half."""
        half = len(values) // 2
        x, y = self.times[half:], values[half:]
        mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
        spread = sum((a - mean_x) ** 2 for a in x)
        return 3600 * sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y)) / spread

    def growth(self, values):
        """From the second quarter's most to the last quarter's."""
        quarter = len(values) // 4
        return max(values[-quarter:]) - max(values[quarter:2 * quarter])


def test_soak(work):
    rng = dice()
    server = work.server()
    cameras = [Camera(work, server, f"k3-{n}") for n in range(AGENTS)]
    gauges = {p.log: Gauge(p) for p in [server] + [c.agent for c in cameras]}
    begun = last = time.monotonic()
    while time.monotonic() - begun < SECONDS:
        if not sum(c.step(rng, True) for c in cameras):
            time.sleep(0.01)
        if time.monotonic() - last >= SAMPLE_S:
            last = time.monotonic()
            for gauge in gauges.values():
                gauge.sample(last - begun)
    seconds = time.monotonic() - begun
    movies = sum(c.done for c in cameras)
    wait_for(lambda: [c.step(rng, False) for c in cameras] and
             all(c.done == c.made for c in cameras), 120, "the last movies")
    assert len(check_events(server, key=lambda e: e["id"])) == sum(c.made for c in cameras)
    check_nothing_left(server.store)
    report(gauges, movies, seconds)
    for program in [c.agent for c in cameras] + [server]:
        assert program.stop() == 0


def report(gauges, movies, seconds):
    everyone = list(gauges.values())
    server, agents = everyone[0], everyone[1:]
    worst = max(agents, key=lambda g: g.growth(g.rss))
    figures(soak_seconds=round(seconds), movies=movies,
            gb_per_s=round(movies * MOVIE * 4 * MIB / seconds / 1e9, 2),
            server_rss_mib=max(server.rss) // MIB, agent_rss_mib=max(worst.rss) // MIB,
            server_rss_mib_per_hour=round(server.slope(server.rss) / MIB, 1),
            agent_rss_mib_per_hour=round(worst.slope(worst.rss) / MIB, 1),
            server_descriptors=f"{min(server.fds)}..{max(server.fds)}",
            agent_descriptors=f"{min(worst.fds)}..{max(worst.fds)}")
    # uncache holds one for 10 s for each 32 MiB: these become more, too
    held = 0 if seconds >= 300 else movies * MOVIE * 4 / 32 * min(1, 10 / seconds)
    for gauge in everyone:
        name = os.path.basename(gauge.program.log)
        assert gauge.growth(gauge.rss) < GROWTH, f"{name}: {gauge.rss}"
        assert gauge.growth(gauge.fds) <= DESCRIPTORS + held, f"{name}: {gauge.fds}"


if __name__ == "__main__":
    sys.exit(run(globals()))
