#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Millrace on one machine, shown: server, agent, subscriber, camera, pulled plugs, checks.

Run by scripts/demo, which installs and builds first. Movies come one after the other, so that what
the server counts belongs to one of them.
"""
import argparse
import datetime
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import demo_check
from demo_board import Board, Row, megabytes
from millrace import Agent, Movie, Program, Server, Workspace, slabs_of, wait_for

MARK = ".millrace-demo"  # this folder is ours and may be emptied
SETTLE_S = 60  # what a script waits before it dares to copy
PULL_BYTES = 64 << 20  # smaller movies are through before a plug is pulled
REPLAY_RATE = 100e6  # bytes a second at which a file of yours is written again
OUTPUTS = ("keep", "mrc", "hdf5")
VERDICTS = ("millrace.movie.ready.v1", "millrace.file.ready.v1", "millrace.movie.failed.v1")


class DemoSpace(Workspace):
    """A workspace that stays, in a folder that is emptied at the start."""

    def __init__(self, path):
        self.path = os.path.abspath(path)
        self.programs = []
        if os.path.isdir(self.path) and os.listdir(self.path):
            if not os.path.exists(os.path.join(self.path, MARK)):
                raise SystemExit(f"demo: {self.path} holds what the demo did not make; "
                                 "name another folder with --out")
            shutil.rmtree(self.path)
        os.makedirs(self.path, exist_ok=True)
        self.write(MARK, "emptied by the next scripts/demo\n")
        self.movies = self.folder("camera")

    def __exit__(self, kind, value, trace):
        for program in reversed(self.programs):
            program.end()


class Replay(threading.Thread):
    """Writes a file of yours again, slowly, as a camera would have."""

    def __init__(self, source, target):
        super().__init__(daemon=True)
        self.source, self.target, self.error = source, target, None

    def run(self):
        try:
            with open(self.source, "rb") as f, open(self.target, "wb", buffering=0) as out:
                began, done = time.monotonic(), 0
                while data := f.read(4 << 20):
                    out.write(data)
                    done += len(data)
                    time.sleep(max(0.0, began + done / REPLAY_RATE - time.monotonic()))
        except OSError as error:
            self.error = error

    def alive(self):
        return self.is_alive()

    def result(self):
        if self.error:
            raise SystemExit(f"demo: {self.error}")
        return None


class Simulated(Program):
    """millrace-sim, one movie."""

    def alive(self):
        return self.process.poll() is None

    def result(self):
        code = self.process.wait()
        if code != 0:
            raise SystemExit(f"demo: millrace-sim ended with {code}: {self.messages()}")
        path, size, frames, pixels, whole = self.process.stdout.read().split("\t")
        return Movie(path, int(size), int(frames), pixels, whole.strip())


class Shot:
    """One movie of the demonstration: what writes it, and what became of it."""

    def __init__(self, name, output, expected, begin, movie=True):
        self.movie = movie  # else it is shipped when it is complete, not while it grows
        self.row = Row(name, output, expected)
        self.name, self.output, self.expected, self.begin = name, output, expected, begin
        self.pull = None
        self.source = self.event = self.truth = self.resumed = None
        self.copy_s = None


class Demo:
    def __init__(self, options, work, board):
        self.options, self.work, self.board = options, work, board
        self.wrong, self.whole_event = [], None
        self.landed_before = 0  # of the present movie, by servers that are dead
        self.landed_base = 0

    # ---- the programs

    def start(self):
        work = self.work
        store = work.folder("store")
        self.server = Server(work, {"store": {"root": store, "keep_free": "1%"},
                                    "memory": {"pool": "256MiB"}}).start()
        watches = [{"path": work.folder(f"camera/{output}"), "output": output}
                   for output in OUTPUTS]
        self.agent = Agent(work, self.server, {"memory": {"pool": "256MiB"}},
                           watches=watches).start()
        self.agent.wait_for_message("session with")
        self.pipeline = os.path.join(work.path, "pipeline.log")
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "demo_pipeline.py")
        command = f"/usr/bin/python3 '{script}' >>'{self.pipeline}'"
        self.events = Program(work, "millrace-events", [
            "--server", self.server.events_endpoint, "--since", "1",
            "--type", "millrace.*.ready.v1", "--cursor", os.path.join(work.path, "cursor"),
            "--exec", command]).start()
        self.board.title("server, agent and subscriber on loopback")
        self.board.say(f"  server      {self.server.control}, store {store}")
        self.board.say(f"  status      {self.server.http}/  (while this runs)")
        self.board.say(f"  agent       watches {work.movies}/{{{','.join(OUTPUTS)}}}")
        self.board.say("  subscriber  millrace-events --exec, one command for each movie")

    def shots(self):
        return self.replays() if self.options.files else self.simulations()

    def simulations(self):
        o = self.options
        expected = 1024 + o.nx * o.ny * o.frames
        for i in range(o.movies):
            output = OUTPUTS[i % len(OUTPUTS)]

            def begin(i=i, output=output):
                program = Simulated(self.work, "millrace-sim", [
                    "--out", os.path.join(self.work.movies, output), "--prefix",
                    f"movie{i + 1}", "--nx", o.nx, "--ny", o.ny, "--frames", o.frames, "--fps",
                    o.fps, "--seed", i + 1, "--dose", o.dose])
                program.start()
                return program
            yield Shot(f"movie{i + 1}_0001.mrc", output, expected, begin)

    def replays(self):
        taken, turn = set(), 0
        for path in self.options.files:
            name, output, movie = os.path.basename(path), "keep", False
            while name in taken:
                name = "again-" + name
            taken.add(name)
            if name.lower().endswith((".mrc", ".mrcs")) and demo_check.mrc_frames(path) is not None:
                output, turn, movie = OUTPUTS[turn % len(OUTPUTS)], turn + 1, True
            target = os.path.join(self.work.movies, output, name)

            def begin(path=path, target=target):
                replay = Replay(path, target)
                replay.start()
                return replay
            yield Shot(name, output, os.path.getsize(path), begin, movie)

    # ---- one movie

    def watch(self, shot):
        """Brings the row up to date."""
        status = self.server.status() if self.server.alive() else None
        try:
            written = os.path.getsize(shot.source)
        except FileNotFoundError:
            written = 0
        landed = durable = 0
        if status is not None:
            landed = self.landed_before + sum(n["raw_bytes"] for n in status["lanes"]) - \
                self.landed_base
            durable = sum(m["durable_bytes"] for m in status["movies"] if m["path"] == shot.name)
        shot.row.note(written, min(landed, written), min(durable, written))
        self.board.draw(shot.row)

    def received(self):
        """(received, durable) slabs of the server that runs now."""
        lanes = self.server.status()["lanes"]
        return sum(n["received_slabs"] for n in lanes), sum(n["durable_slabs"] for n in lanes)

    def verdict(self, shot):
        if not self.server.alive():
            return None
        for event in self.server.logged():
            if event["type"] in VERDICTS and event["subject"] == shot.name:
                return event
        return None

    def count_from_here(self):
        lanes = self.server.status()["lanes"]
        self.landed_base = sum(n["raw_bytes"] for n in lanes)

    def pull_server(self, shot):
        self.server.kill()
        self.board.say(f"  !! kill -9 of millrace-ingest, {megabytes(shot.row.written)} of "
                       f"{shot.name} written, {megabytes(shot.row.durable)} seen durable", "33")
        shot.row.state = "no server"
        for _ in range(10):  # a second without a server; the camera goes on
            self.watch(shot)
            time.sleep(0.1)
        self.landed_before, self.landed_base = shot.row.durable, 0
        self.server.start()
        return 0

    def pull_agent(self, shot):
        self.agent.kill()
        self.board.say(f"  !! kill -9 of millrace-agent, {megabytes(shot.row.written)} of "
                       f"{shot.name} written, {megabytes(shot.row.durable)} seen durable", "33")
        shot.row.state = "no agent"
        for _ in range(10):
            self.watch(shot)
            time.sleep(0.1)

        def landed():  # what was on its way still arrives
            received, durable = self.received()
            return received == durable and received or None
        base = wait_for(landed, what="what had arrived is durable")
        self.agent.start()
        return base

    def pull(self, shot):
        """Kills, restarts, and notes where it went on."""
        said = len(self.agent.messages())
        base = (self.pull_server if shot.pull == "server" else self.pull_agent)(shot)
        pattern = re.escape(shot.name) + r" resumes: (\d+) slabs are durable, .* one is (\d+)"
        found = wait_for(lambda: self.watch(shot) or
                         re.search(pattern, self.agent.messages()[said:]), what="it is resumed")
        shot.resumed = {"durable": int(found[1]), "first": int(found[2]), "base": base}
        shot.row.state = f"resumed, {found[1]} slabs durable"
        header = " (it holds the header and goes last)" if found[2] == "0" else ""
        self.board.say(f"  resumed: {found[1]} slabs were durable, the first missing one was "
                       f"number {found[2]}{header}")

    def shoot(self, shot):
        self.landed_before = 0
        self.count_from_here()
        shot.row.began, shot.row.state = time.monotonic(), "grows"
        shot.source = os.path.join(self.work.movies, shot.output, shot.name)
        writer = shot.begin()
        pulled = False
        while True:
            if shot.row.closed is None and not writer.alive():
                shot.row.closed = time.monotonic()
                shot.truth = writer.result()
            if shot.pull and not pulled and shot.row.written > shot.expected / 2 and \
                    shot.row.durable > 0:
                self.pull(shot)
                pulled = True
            self.watch(shot)
            event = self.verdict(shot)
            if event and shot.row.closed:
                break
            if shot.row.closed and time.monotonic() - shot.row.closed > self.options.patience:
                raise SystemExit(f"demo: no event about {shot.name}; see {self.agent.log}")
            time.sleep(0.05)
        shot.row.ended = time.monotonic()
        self.judge(shot, event)

    def judge(self, shot, event):
        shot.event = event["data"]
        shot.row.note(os.path.getsize(shot.source), shot.expected, shot.expected)
        if event["type"].endswith("failed.v1"):
            self.mismatch(f"{shot.name}: failed: {json.dumps(event['data'])}")
            shot.row.state, shot.event = "FAILED", None
            return
        shot.row.state = "ready"
        self.whole_event = self.whole_event or event
        # By the machine's one clock: the last write of the camera to the fsynced event.
        shot.after_s = max(0.0, parse_time(event["time"]) - os.path.getmtime(shot.source))
        self.compare(shot)
        self.board.say(f"  {shot.name} ({shot.output}): ready {shot.after_s:.2f} s after its last "
                       f"byte; settle {SETTLE_S} s + rsync {shot.copy_s:.2f} s = "
                       f"{SETTLE_S + shot.copy_s:.2f} s", "1")
        if shot.resumed:
            self.count_again(shot)

    def compare(self, shot):
        """The way without Millrace: wait until nothing changed for a minute, then copy."""
        target = os.path.join(self.work.folder("rsync"), shot.name)
        began = time.monotonic()
        subprocess.run(["rsync", "--whole-file", "--times", "--fsync", shot.source, target],
                       check=True)
        shot.copy_s = time.monotonic() - began
        os.remove(target)

    def count_again(self, shot):
        """What was received after the plug was pulled, beside what had to be."""
        total = slabs_in(shot.event)
        after = self.received()[0] - shot.resumed["base"]
        needed = total - shot.resumed["durable"]
        text = (f"{shot.name}: {total} slabs in all, {shot.resumed['durable']} durable when it "
                f"resumed; {after} received after that, {needed} were missing")
        if after > needed:
            self.mismatch(text + f": {after - needed} were sent twice needlessly")
        else:
            self.board.good(text + ": none was sent again that was durable")

    # ---- the end

    def mismatch(self, text):
        self.wrong.append(text)
        self.board.bad(text)

    def show_event(self):
        if self.whole_event:
            self.board.title("a ready event, whole")
            self.board.say(json.dumps(self.whole_event, indent=1))

    def show_pipeline(self, shots):
        """millrace-events has run the command for each."""
        ready = [s for s in shots if s.event]
        self.board.title("millrace-events --exec ran a command for each movie")

        def lines():
            if not os.path.exists(self.pipeline):
                return None
            with open(self.pipeline, encoding="utf-8") as f:
                found = f.read().splitlines()
            return found if all(any(s.event["path"] in x for x in found) for s in ready) else None
        try:
            for line in wait_for(lines, 20, "the command ran for each movie"):
                self.board.say("  " + line)
        except AssertionError as error:
            self.mismatch(str(error))

    def check_events(self, shots):
        log = self.server.logged()
        numbers = [int(e["sequence"]) for e in log]
        if numbers != list(range(1, len(numbers) + 1)):
            self.mismatch(f"event numbers have gaps: {numbers}")
        for shot in shots:
            finals = [e for e in log if e["type"] in VERDICTS and e["subject"] == shot.name]
            if len(finals) != 1:
                self.mismatch(f"{shot.name}: {len(finals)} ready or failed events, not one")
        if not self.wrong:
            self.board.good(f"events 1 to {len(numbers)} without a gap, one final one per movie")

    def check(self, shots):
        self.board.title("checked with other programs")
        self.check_events(shots)
        todo = [(s.name, s.source, s.event, s.truth) for s in shots if s.event]
        for name, text, wrong in demo_check.run_checks(todo):
            if wrong:
                self.mismatch(f"{name}: {text}")
            else:
                self.board.good(f"{name}: {text}")

    def paint(self, shots):
        target = os.path.join(self.work.path, "average.png")
        for shot in sorted(shots, key=lambda s: -s.expected):
            size = demo_check.picture(shot.event["path"], target) if shot.event else None
            if size:
                self.board.say(f"\n  picture: {target}, {size[0]} x {size[1]}: the mean of "
                               f"{shot.name}'s {shot.event['frames']} frames")
                return

    def run(self):
        self.start()
        shots = list(self.shots())
        large = [s for s in shots if s.movie and s.expected >= self.options.pull_bytes]
        # not the first where there are more: that one shows how it goes undisturbed
        for shot, plug in zip(large[1:] if len(large) > 2 else large, ("server", "agent")):
            shot.pull = plug
        if len(large) < 2:
            self.board.say(f"  plugs are pulled in MRC movies of {PULL_BYTES >> 20} MiB and more; "
                           f"there are {len(large)}")
        self.board.rows = [s.row for s in shots]
        self.board.title("movies, shipped while they are written")
        self.board.say(f"  beside each: settle {SETTLE_S} s, then rsync --fsync of the same file; "
                       "the rsync is timed,\n  the settling is added, not waited for")
        for shot in shots:
            self.shoot(shot)
        self.board.draw(shots[-1].row)
        self.board.settle()
        self.show_event()
        self.show_pipeline(shots)
        self.check(shots)
        self.paint(shots)
        self.summary(shots)
        return 1 if self.wrong else 0

    def summary(self, shots):
        self.board.title("summary")
        wide = max(len(s.name) for s in shots)
        for s in [s for s in shots if s.event]:
            plug = f"; {s.pull} killed, went on from {s.resumed['durable']} durable slabs" \
                if s.resumed else ""
            size = megabytes(s.expected)
            self.board.say(f"  {s.name:<{wide}} {s.output:<5} {size:>9}  ready after "
                           f"{s.after_s:.2f} s, settle + rsync {SETTLE_S + s.copy_s:.1f} s{plug}")
        self.board.say(f"  movies, store and logs: {self.work.path}")
        if self.wrong:
            self.board.bad(f"{len(self.wrong)} mismatches:")
            for text in self.wrong:
                self.board.bad(text)
        else:
            self.board.good(f"{len(shots)} movies arrived whole and once")


def parse_time(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def slabs_in(event):
    """How many slabs a movie is, by what any reader sees of the finished file."""
    if event["output"] == "hdf5":
        import h5py
        with h5py.File(event["path"], "r") as f:
            data = f["/entry/data/data"]
            count = 1
            for size, chunk in zip(data.shape, data.chunks):
                count *= -(-size // chunk)
            return count
    if event["output"] == "mrc":
        frames = demo_check.mrc_frames(event["path"])
        return slabs_of(frames.nbytes)
    return slabs_of(event["bytes"])


def options():
    p = argparse.ArgumentParser(
        prog="scripts/demo", description="Show Millrace at work on this machine.",
        epilog="Exit status: 0 all is right, 1 something differs (it says what), 64 wrong usage.")
    p.add_argument("files", nargs="*", metavar="FILE", help="movies of yours, instead of simulated "
                   "ones: MRC, or anything")
    p.add_argument("--out", default="demo-out",
                   help="where all of it goes; emptied first (%(default)s)")
    p.add_argument("--movies", type=int, default=4, help="simulated movies (%(default)s)")
    p.add_argument("--frames", type=int, default=16, help="frames of each (%(default)s)")
    p.add_argument("--fps", type=float, default=4, help="frames a second (%(default)s)")
    p.add_argument("--nx", type=int, default=5760, help="pixels (%(default)s)")
    p.add_argument("--ny", type=int, default=4092, help="pixels (%(default)s)")
    p.add_argument("--dose", type=float, default=0.8,
                   help="electrons per pixel and frame (%(default)s)")
    p.add_argument("--patience", type=float, default=120, help=argparse.SUPPRESS)
    p.add_argument("--pull-bytes", type=int, default=PULL_BYTES, help=argparse.SUPPRESS)
    p.error = lambda text: (print(f"demo: {text}; see --help", file=sys.stderr), sys.exit(64))
    o = p.parse_args()
    for path in o.files:
        if not os.path.isfile(path):
            p.error(f"{path} is no file")
    o.files = [os.path.abspath(f) for f in o.files]
    return o


def need_room(o):
    """Source, store and one rsync copy."""
    each = [os.path.getsize(f) for f in o.files] or [o.nx * o.ny * o.frames] * o.movies
    os.makedirs(o.out, exist_ok=True)
    need, free = 2 * sum(each) + max(each) + (64 << 20), shutil.disk_usage(o.out).free
    if need > 0.97 * free:
        raise SystemExit(f"demo: {o.out} has {megabytes(free)} free, {megabytes(need)} are needed")


def main():
    o = options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    with DemoSpace(o.out) as work:
        need_room(o)
        try:
            return Demo(o, work, Board()).run()
        except (AssertionError, subprocess.CalledProcessError) as error:
            print(f"demo: {error}; logs are in {work.path}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("demo: interrupted", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
