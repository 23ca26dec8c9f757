# SPDX-License-Identifier: Apache-2.0
"""Several cameras: agents that run already, each given its file at the same moment."""
import os
import shutil
import statistics
import time

import bench_rig
from bench_report import Beside

PIECES = 32
CAMERA_POOL = "64MiB"  # of each: there are many of them at once


class Cameras:
    """So many agents, each watching a folder of its own in memory."""

    def __init__(self, rig, server, count):
        self.rig, self.server, self.count = rig, server, count
        self.top = os.path.join(rig.memory, f"cameras{count}")
        self.agents = [self.start(i) for i in range(count)]
        for i in range(count):
            server.wait_for_event("millrace.agent.online.v1", f"cam{count}-{i}")

    def folder(self, i):
        return os.path.join(self.top, f"cam{i}")

    def start(self, i):
        os.makedirs(self.folder(i))
        watch = {"path": self.folder(i), "complete": {"quiet": "1s", "give_up": "10s"},
                 "rescan": "10s"}
        return self.rig.work.agent(self.server, {"memory": {"pool": CAMERA_POOL}},
                                   name=f"cam{self.count}-{i}", watches=[watch])

    def appear(self, sources, number):
        """Links to the sources appear in each folder, all at the same moment: when that was, and
        the events of their being committed."""
        last = self.server.status()["last_event"]
        for i in range(self.count):
            staged = os.path.join(self.top, f"staged{i}")
            os.makedirs(staged)
            for n, source in enumerate(sources):
                os.link(source, os.path.join(staged, f"file{n}.raw"))
        began = time.time()
        for i in range(self.count):
            os.rename(os.path.join(self.top, f"staged{i}"),
                      os.path.join(self.folder(i), f"round{number}"))

        def arrived():
            ready = [e["data"] for e in self.server.logged(last + 1)
                     if e["type"] == "millrace.file.ready.v1"]
            return ready if len(ready) == self.count * len(sources) else None
        return began, bench_rig.millrace.wait_for(arrived, timeout=300, what="all files are ready")

    def total(self, source, number):
        """One file for each agent: the rate of all, GB/s."""
        _, data = self.appear([source], number)
        began, ended = zip(*(bench_rig.course(d) for d in data))
        self.check(source, data)
        return os.path.getsize(source) * self.count / (max(ended) - min(began)) / 1e9

    def spread(self, pieces, number):
        """Many files for each agent, one as long as the other: what each had committed when the
        first had all of its own, until when all were active. Most less least, in percent of the
        mean."""
        _, data = self.appear(pieces, number)
        ended = {}
        for d in data:
            ended.setdefault(d["agent"], []).append(bench_rig.parse_time(d["committed"]))
        first = min(max(times) for times in ended.values())
        shares = [sum(t <= first for t in times) for times in ended.values()]
        for d in data:
            os.unlink(d["path"])
        return (max(shares) - min(shares)) / statistics.mean(shares) * 100

    def check(self, source, data):
        self.rig.check_same(source, data[0]["path"])
        if len({d["digest"]["file"] for d in data}) != 1:
            self.rig.book.say_wrong("cameras: one source, several digests")
        for d in data:
            self.rig.check_store(self.server, d["path"])
            os.unlink(d["path"])

    def close(self):
        for agent in self.agents:
            self.rig.note_peak("cameras", "agent", self.rig.table_of(agent), CAMERA_POOL)
            assert agent.stop() == 0
        shutil.rmtree(self.top)


def cut(rig, source):
    """PIECES files that are the source together; each with bytes of its own."""
    size, paths = os.path.getsize(source) // PIECES, []
    with open(source, "rb") as f:
        for n in range(PIECES):
            paths.append(os.path.join(rig.memory, f"piece{n}.raw"))
            with open(paths[-1], "wb") as piece:
                piece.write(f.read(size))
    return paths


def measure(rig, count, source):
    totals, spreads = [], []
    pieces = cut(rig, source) if count > 1 else []
    with rig.server(f"cameras{count}") as server:
        cameras = Cameras(rig, server, count)
        for number in range(rig.sizes["rounds"]):
            totals.append(cameras.total(source, f"{number}"))
            if pieces:
                spreads.append(cameras.spread(pieces, f"{number}-pieces"))
        table = rig.table_of(server)
        rig.note_peak("cameras", "server", table, rig.options.pool)
        rig.book.keep_stages(f"cameras, {count}", None, table)
        cameras.close()
    for path in pieces:
        os.unlink(path)
    return totals, spreads, table.most_mib


def cameras(rig):
    total = rig.sizes["cameras_bytes"]
    rig.book.titles["cameras"] = (
        f"agents at once, {total / 1e9:.2f} GB in all; shares: the same bytes in {PIECES} files "
        "each, what each agent had committed when the first had all, most less least of the mean")
    alone, memory = None, None
    for count in rig.sizes["cameras"]:
        source = rig.source("camera.raw", total // count)
        totals, spreads, most = measure(rig, count, source)
        os.unlink(source)
        alone = alone or totals
        memory = memory or most
        beside = [] if totals is alone else [Beside("one agent", alone, 0.9)]
        rig.book.add("cameras", f"{count} agents, all", "GB/s", totals, beside=beside)
        if count > 1:
            rig.book.add("cameras", f"{count} agents, spread of their shares", "%", spreads,
                         at_most=10)
        rig.book.add("cameras", f"{count} agents, server's most memory", "MiB", [most],
                     at_most=None if most is memory else memory * 1.05)
