#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Power cuts at random moments: of the store's host, of the camera's, of both at once, now and then
while they still recover from the one before. Cameras go on all the while: long and short movies for
every output, files that grow and are shipped again, files whose name is taken. After each cut all
that was promised before it is there; in the end all is as if nothing had happened.
MILLRACE_TEST_SEED repeats a run; --long, --count N: so many cuts of each file system."""
import collections
import contextlib
import os
import re
import sys
import time

from aftermath import FAILED, READY, check_catalogue, check_events, check_nothing_left, dice, \
    events, figures, how_many, journals, parts, sha256
from loopdisk import Disk, pull_the_plug
from millrace import POOL, SLAB, Agent, Camera, Program, Server, Skipped, run, slabs_of, wait_for
from pixels import Source, check_hdf5, check_mrc, crc64_number, need_readers

CUTS = how_many(quick=6, long=250)
ROUND = 25  # cuts of one store; then the next begins, so that it does not fill the machine
IN_FLIGHT = POOL // SLAB
LOG = "session.log"
SETTLED = 60  # seconds in which one more is committed, until all are; a machine may be busy


class Promises:
    """What the server has said so far: it stays so."""

    def __init__(self):
        self.events = []
        self.durable = {}
        self.lives = {}  # what the lanes of each life of the server, by its pid, had received

    def hear(self, server):
        """The last words before a cut; none where it does not answer yet."""
        while page := server.logged(since=len(self.events) + 1):
            self.events += page
        status = server.status()
        if status is None:
            return
        for movie in status["movies"]:
            self.durable[movie["movie"]] = max(movie["durable_slabs"],
                                               self.durable.get(movie["movie"], 0))
        assert status["duplicate_slabs"] == 0, "durable slabs came once more"
        self.lives[server.process.pid] = [sum(lane[key] for lane in status["lanes"])
                                          for key in ("received_slabs", "raw_bytes")]

    def received(self):
        """Slabs and bytes, in all of its lives."""
        return map(sum, zip(*self.lives.values()))

    def check_durable(self, server):
        for movie in server.status()["movies"]:
            had = self.durable.get(movie["movie"], 0)
            # a file that was written to again begins again
            if movie["state"] != "berthing" and movie["path"] != LOG:
                assert movie["durable_slabs"] >= had, f"{had} slabs were durable of {movie}"

    def check(self, server, agents):
        """Returns the events that came since."""
        told = [event for agent in agents
                for event in re.findall(r"(?:is committed|in the store already): \S+ \((\S+)\)",
                                        agent.messages())]
        log = events(server)
        before = len(self.events)
        assert log[:before] == self.events, "events are not what they were before the cut"
        numbers = [int(e["sequence"]) for e in log]
        assert numbers == list(range(1, len(log) + 1)), f"gap in {numbers}"
        lost = set(told) - {e["id"] for e in log}
        assert not lost, f"an agent was told of {lost}, the log knows nothing of it"
        assert not [e for e in log if e["type"] == FAILED], "a movie failed"
        self.check_durable(server)
        self.events = log
        return log[before:]


def pixels_crc(path):
    with open(path, "rb") as f:
        return f"{crc64_number(f.read()[1024:]):016X}"


def is_prefix(path, source):
    with open(path, "rb") as f, open(source, "rb") as g:
        content = f.read()
        return content == g.read(len(content))


def check_ready(event):
    """The file is what the event says and what its source holds, or held: these only grow."""
    data = event["data"]
    with open(data["path"], "rb") as f:
        content = f.read()
    assert len(content) == data["bytes"], event
    assert f"{crc64_number(content):016X}" == data["digest"]["file"], f"damaged: {event}"
    if data["output"] == "keep":
        assert is_prefix(data["path"], data["source_path"]), f"not its source: {event}"
    else:
        assert data["digest"]["pixels"] == pixels_crc(data["source_path"]), f"pixels: {event}"


def until_none(left, what):
    """Until left() is empty, for as long as it gets shorter."""
    now = left()
    while now:
        before = len(now)
        with contextlib.suppress(AssertionError):
            wait_for(lambda n=before: len(left()) < n, SETTLED)
        now = left()
        assert len(now) < before, f"{what}: {now}"


class Site:
    """A store and a camera's host with two agents, each host with a disk to lose its power."""

    def __init__(self, work, kind, rng):
        self.work, self.rng, self.kind = work, rng, kind
        self.promises, self.checked, self.dropped = Promises(), 0, 0
        self.disks = {"store": Disk(work, kind, 2048, "store"),
                      "state": Disk(work, kind, 64, "state")}
        store, state = self.disks["store"].path, self.disks["state"].path
        self.server = Server(work, {"ingest": {"state_dir": os.path.join(store, "ingest-state")},
                                    "store": {"root": os.path.join(store, "movies"),
                                              "path": "{path}"}})
        folders = {output: work.folder(f"camera/{output}") for output in ("keep", "mrc", "hdf5")}
        other = work.folder("other")
        self.folders = (folders["keep"], other)  # where files of the same names appear
        self.agents = [self.agent("k3", state, [(p, o) for o, p in folders.items()]),
                       self.agent("falcon", state, [(other, "keep")])]
        self.server.start()
        self.start_agents()
        self.cameras = [self.camera(output, path) for output, path in folders.items()]

    def agent(self, name, state, watches):
        complete = {"quiet": "5s", "give_up": "2min"}  # a camera on a busy machine may stand still
        return Agent(self.work, self.server, name=name,
                     config={"agent": {"state_dir": os.path.join(state, name)}},
                     watches=[{"path": path, "output": output, "rescan": "1s",
                               "complete": complete} for path, output in watches])

    def camera(self, output, path):
        frames = self.rng.choice([6, 20, 150] if output == "keep" else [6, 20])
        return Camera(self.work, out=path, prefix=output, nx=512, ny=512, mode=6, frames=frames,
                      movies=400, fps=self.rng.choice([10, 20]), dose=0.5,
                      seed=self.rng.randrange(1, 1000)).start()

    def start_agents(self):
        for agent in self.agents:
            agent.start()

    def drop_files(self):
        """A log grows, and two files get the same name."""
        if self.rng.random() < 0.3:  # else it would never stand still long enough to be shipped
            with open(os.path.join(self.folders[0], LOG), "a", encoding="ascii") as f:
                f.write(f"exposure {self.dropped}\n" * self.rng.randrange(1, 2000))
        for folder in self.folders:
            path = os.path.join(folder, f"gain_{self.dropped:04}.bin")
            with open(path + ".tmp", "wb") as f:
                f.write(self.rng.randbytes(self.rng.choice([1, 70000, SLAB + 5])))
            os.rename(path + ".tmp", path)
        self.dropped += 1

    def in_session(self):
        """Both agents are connected, or soon would be."""
        status = self.server.status()
        return status is not None and len(status["sessions"]) == len(self.agents)

    # ---- a cut ----

    def cut(self, where):
        """Returns whether anybody was served when it came."""
        self.drop_files()
        self.promises.hear(self.server)
        hit = ["store", "state"] if where == "both" else [where]
        programs = ([self.server] if "store" in hit else []) + (
            self.agents if "state" in hit else [])
        pull_the_plug([self.disks[disk] for disk in hit], programs)
        if "store" in hit:
            Program.start(self.server)
        if "state" in hit:
            self.start_agents()

    def cut_somewhere(self, tally):
        """Sooner or later after the one before."""
        early = self.rng.random() < 0.25
        if early:
            time.sleep(self.rng.uniform(0, 0.1))
        else:
            wait_for(self.server.ready, what="the server is ready again")
            self.check()
            wait_for(self.in_session, what="the agents are back")
            time.sleep(self.rng.uniform(0, 0.5))
        where = self.rng.choice(["store", "store", "state", "both"])
        self.cut(where)
        tally[where] += 1
        tally["while recovering"] += early

    def check(self):
        """All that was promised; and files that are new are whole."""
        self.promises.check(self.server, self.agents)
        last = {e["data"]["movie"]: e for e in self.promises.events if e["type"] in READY}
        for event in last.values():
            if int(event["sequence"]) > self.checked and self.is_last(event):
                check_ready(event)
        self.checked = len(self.promises.events)

    def is_last(self, event):
        """False: meanwhile another revision has its name."""
        newer = self.server.logged(since=len(self.promises.events) + 1)
        return not [e for e in newer if e["data"].get("movie") == event["data"]["movie"]]

    # ---- the end ----

    def sources(self):
        return [os.path.join(base, name) for folder in (os.path.dirname(self.folders[0]),
                                                        self.folders[1])
                for base, _, names in os.walk(folder) for name in names]

    def missing(self):
        """Sources that are not in the store as they are now."""
        found = {e["data"]["source_path"]: e["data"]["source_bytes"] for e in events(self.server)
                 if e["type"] in READY}
        return [path for path in self.sources() if found.get(path) != os.path.getsize(path)]

    def unfinished(self):
        """Parts and journals, with what these say of the movie."""
        left = [os.path.basename(n) for n in parts(self.server.store)]
        for path in journals(self.server.store):
            with contextlib.suppress(OSError), open(path, encoding="utf-8") as f:
                opened = re.search(r"OPEN (\d+) (\S+) \d+ -?\d+ ([0-9a-fA-F]+)", f.readline())
                name = bytes.fromhex(opened[3]).decode() if opened else "not opened"
                left.append(f"{os.path.basename(path)}: {name}, {len(f.readlines())} records")
        return left

    def finish(self):
        """The oracle. Returns the ready events."""
        for camera in self.cameras:
            camera.stop()
        for path in self.sources():
            if os.path.getsize(path) == 0:  # it was stopped before the first frame
                os.unlink(path)
        until_none(self.missing, "not in the store")
        until_none(self.unfinished, "left in the store")
        self.promises.check(self.server, self.agents)
        self.promises.hear(self.server)
        check_nothing_left(self.server.store)
        ready = check_events(self.server, key=lambda e: e["data"]["source_path"])
        check_catalogue(self.server, ready)
        assert set(ready) == set(self.sources())
        for event in ready.values():
            self.check_whole(event)
        assert all(program.stop() == 0 for program in [*self.agents, self.server])
        for disk in self.disks.values():
            disk.unmount()
            disk.check()
        return ready

    @staticmethod
    def check_whole(event):
        data = event["data"]
        check_ready(event)
        if data["output"] == "keep":
            assert sha256(data["path"]) == sha256(data["source_path"]), f"not its source: {event}"
        else:
            check = check_mrc if data["output"] == "mrc" else check_hdf5
            check(data["path"], Source(data["source_path"]))

    def leave(self):
        for program in self.work.programs:
            program.end()
        for disk in self.disks.values():
            disk.unmount()


def one_round(work, kind, rng, cuts, tally):
    site = Site(work, kind, rng)
    try:
        for _ in range(cuts):
            site.cut_somewhere(tally)
        wait_for(site.server.ready, what="the server is ready again")
        ready = site.finish()
    finally:
        site.leave()
    log = [e for e in site.promises.events if e["type"] in READY]
    slabs = sum(slabs_of(e["data"]["source_bytes"]) for e in log)
    # what was in flight at a cut comes again, and so does a log that was written to meanwhile
    received, received_bytes = site.promises.received()
    most = slabs + cuts * (IN_FLIGHT + 1)
    assert received <= most, f"{received} slabs were received, {slabs} are {most} with {cuts} cuts"
    tally["files"] += len(ready)
    tally["movies"] += sum(e["type"] == READY[0] for e in ready.values())
    tally["revisions"] += len(log) - len(ready)
    tally["dups"] += sum("_dup" in e["data"]["path"] for e in ready.values())
    tally["slabs"] += slabs
    tally["received"] += received
    tally["MiB"] += received_bytes >> 20


def power_cuts(work, kind):
    need_readers()
    rng, tally, begun = dice(), collections.Counter(), time.monotonic()
    left = CUTS
    while left > 0:
        cuts = min(left, ROUND)
        with type(work)() as room:
            one_round(room, kind, rng, cuts, tally)
        left -= cuts
        print(f"{kind}: {CUTS - left} cuts, {time.monotonic() - begun:.0f} s", flush=True)
    figures(test=f"power {kind}", cuts=CUTS, bugs=0, seconds=round(time.monotonic() - begun),
            **tally)


def test_ext4(work):
    power_cuts(work, "ext4")


def test_xfs(work):
    power_cuts(work, "xfs")


def test_what_was_discarded_stays_so(work):
    """The same content came again and its agent was told so: nobody would ever ask for its part
    again, were it back after the cut. Nothing else may be synced meanwhile: the movie is large, for
    its movie.started to be long logged, and lies in the root, where no folder is tidied away."""
    def acquire():
        with open(os.path.join(room.movies, "session.log"), "wb") as f:
            f.truncate(64 << 20)

    for kind in ("ext4", "xfs"):
        with type(work)() as room, Disk(room, kind, 256) as disk:
            server = disk.server(room, path="{path}")
            acquire()
            agent = room.agent(server)
            agent.wait_for_message("session.log is committed")
            acquire()
            agent.wait_for_message("session.log was in the store already")
            pull_the_plug([disk], [server])
            server.start()
            check_nothing_left(server.store)


def test_the_plug_is_pulled(work):
    """The injector itself: what was synced is there after a cut, what was not is gone."""
    for kind in ("ext4", "xfs"):
        with Disk(work, kind, 64, kind) as disk:
            for name, sync in (("synced", True), ("lost", False)):
                with open(os.path.join(disk.path, name), "wb") as f:
                    f.write(b"x" * 100000)
                    if sync:
                        f.flush()
                        os.fsync(f.fileno())
            pull_the_plug([disk], [])
            assert os.path.getsize(os.path.join(disk.path, "synced")) == 100000
            lost = os.path.join(disk.path, "lost")
            if os.path.exists(lost) and os.path.getsize(lost) > 0:
                raise Skipped(f"{kind}: a cut loses nothing here")


if __name__ == "__main__":
    sys.exit(run(globals()))
