# SPDX-License-Identifier: Apache-2.0
"""Several cameras: agents that run already, each given its file at the same moment."""
import os
import shutil
import statistics

import bench_rig
from bench_report import Beside


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
        return self.rig.work.agent(self.server, {"memory": {"pool": "64MiB"}},
                                   name=f"cam{self.count}-{i}", watches=[watch])

    def progress(self):
        """Durable slabs of each movie in flight, as long as all of them are."""
        movies = (self.server.status() or {}).get("movies", [])
        return [m["durable_slabs"] for m in movies] if len(movies) == self.count else None

    def round(self, source, number):
        """A link to the source appears in each folder. The rate of all, GB/s, and the spread of
        what each had on disk when all were under way for the last time, in percent of the mean;
        None: they were too short."""
        last = self.server.status()["last_event"]
        staged = os.path.join(self.top, "staged")
        for i in range(self.count):
            os.link(source, staged)
            os.rename(staged, os.path.join(self.folder(i), f"file{number}.raw"))

        shares = None

        def arrived():
            nonlocal shares
            shares = self.progress() or shares
            ready = [e["data"] for e in self.server.logged(last + 1)
                     if e["type"] == "millrace.file.ready.v1"]
            return ready if len(ready) == self.count else None
        data = bench_rig.millrace.wait_for(arrived, timeout=300, what="all files are ready")
        began, ended = zip(*(bench_rig.course(d) for d in data))
        self.check(source, data)
        rate = os.path.getsize(source) * self.count / (max(ended) - min(began)) / 1e9
        if not shares or sum(shares) < 8 * self.count:  # a slab is then more than a tenth
            return rate, None
        return rate, (max(shares) - min(shares)) / statistics.mean(shares) * 100

    def check(self, source, data):
        self.rig.check_same(source, data[0]["path"])
        if len({d["digest"]["file"] for d in data}) != 1:
            self.rig.book.say_wrong("cameras: one source, several digests")
        for d in data:
            self.rig.check_store(self.server, d["path"])
            os.unlink(d["path"])

    def close(self):
        for agent in self.agents:
            table = self.rig.table_of(agent)
            self.rig.note_peak("cameras", "agent", table.most_mib, 64)
            assert agent.stop() == 0
        shutil.rmtree(self.top)


def measure(rig, count, source):
    totals, spreads = [], []
    with rig.server(f"cameras{count}") as server:
        cameras = Cameras(rig, server, count)
        for number in range(rig.sizes["rounds"]):
            total, spread = cameras.round(source, number)
            totals.append(total)
            spreads += [] if spread is None else [spread]
        table = rig.table_of(server)
        rig.note_peak("cameras", "server", table.most_mib, bench_rig.parse_mib(rig.options.pool))
        rig.book.keep_stages(f"cameras, {count}", None, table)
        cameras.close()
    return totals, spreads, table.most_mib


def cameras(rig):
    total = rig.sizes["cameras_bytes"]
    rig.book.titles["cameras"] = (
        f"agents at once, {total / 1e9:.2f} GB in all; shares: what each had on disk when all were "
        "under way for the last time, most less least of the mean")
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
                         at_most=10, absent=None if spreads else "files too short to tell")
        rig.book.add("cameras", f"{count} agents, server's most memory", "MiB", [most],
                     at_most=None if most is memory else memory * 1.05)
