# SPDX-License-Identifier: Apache-2.0
"""Time to ready: from the close of a movie that was written at a camera's pace until a pipeline
knows of it. Ours is an event at millrace-events, of a movie that is COMMITTED; the peers' is a
file of full length under its name, on disk or not."""
import json
import mmap
import os
import queue
import shutil
import signal
import statistics
import subprocess
import threading
import time

import bench_rig
from bench_report import Beside

PIECE = 4 << 20
BYTES_PER_S = 0.8e9


class Writer:
    """Writes a movie as a camera does: so many bytes a second, then closes it."""

    def __init__(self, source):
        self.file = open(source, "rb")
        self.bytes = os.path.getsize(source)
        self.map = memoryview(mmap.mmap(self.file.fileno(), 0, prot=mmap.PROT_READ))
        self.rates = []

    def write(self, path):
        """Returns when it was closed."""
        began = time.monotonic()
        with open(path, "wb", buffering=0) as out:
            for at in range(0, self.bytes, PIECE):
                due = began + at / BYTES_PER_S
                time.sleep(max(0, due - time.monotonic()))
                piece = self.map[at:at + PIECE]
                while piece:
                    piece = piece[out.write(piece):]
        closed = time.monotonic()
        self.rates.append(self.bytes / (closed - began) / 1e9)
        return closed


class Subscriber:
    """millrace-events on a pipe; when each event came."""

    def __init__(self, server):
        self.arrived = queue.Queue()
        self.process = subprocess.Popen(
            [bench_rig.millrace.binary("millrace-events"), "--server", server.events_endpoint,
             "--since", "1", "--type", "millrace.movie.ready.v1"], stdout=subprocess.PIPE,
            preexec_fn=bench_rig.millrace.die_with_parent)
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            self.arrived.put((time.monotonic(), json.loads(line)))

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def ours(rig, writer, source, count):
    """Milliseconds per movie."""
    waited, watched = [], os.path.join(rig.memory, "watched")
    os.makedirs(watched)
    with rig.server("ready") as server:
        watch = {"path": watched, "output": "keep", "complete": {"quiet": "30s"}, "rescan": "10s"}
        memory = {"memory": {"pool": bench_rig.AGENT_POOL}}
        agent = bench_rig.millrace.Agent(rig.work, server, memory, name="ready-camera",
                                         watches=[watch])
        agent.words.append("--stats")
        agent.start()
        subscriber = Subscriber(server)
        try:
            server.wait_for_event("millrace.agent.online.v1")
            for number in range(count):
                path = os.path.join(watched, f"movie_{number:04}.mrc")
                closed = writer.write(path)
                came, event = subscriber.arrived.get(timeout=60)
                stored = event["data"]["path"]
                assert os.path.basename(stored) == os.path.basename(path), event
                waited.append((came - closed) * 1000)
                if number % 8 == 0:  # all of it, now and then; digests always
                    rig.check_same(source, stored)
                rig.check_store(server, stored)
                os.unlink(path)
                os.unlink(stored)
        finally:
            subscriber.close()
        tables = rig.table_of(agent), rig.table_of(server)
        rig.book.keep_stages("ready", *tables)
        rig.note_peak("ready", "agent", tables[0], bench_rig.AGENT_POOL)
        rig.note_peak("ready", "server", tables[1], rig.options.pool)
        assert agent.stop() == 0
    os.rmdir(watched)
    return waited


def peer(rig, writer, name, command, count):
    """The same with a program that copies from one folder to another."""
    waited = []
    source, target = os.path.join(rig.memory, f"{name}-from"), rig.work.folder(f"{name}-to")
    os.makedirs(source)
    program = subprocess.Popen(command(source, target), stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True,
                               preexec_fn=bench_rig.millrace.die_with_parent)
    try:
        warm_up(source, target)
        for number in range(count):
            path, arrived = (os.path.join(f, f"movie_{number:04}.mrc") for f in (source, target))
            closed = writer.write(path)
            await_size(arrived, writer.bytes)
            waited.append((time.monotonic() - closed) * 1000)
            os.unlink(path)
    finally:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()
        shutil.rmtree(source, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
    return waited


def await_size(path, size):
    """Looks every millisecond, so that the peer's figure is its own."""
    end = time.monotonic() + 120
    while not (os.path.exists(path) and os.path.getsize(path) == size):
        assert time.monotonic() < end, f"{path} does not arrive"
        time.sleep(0.001)


def warm_up(source, target):
    """Until it copies at all."""
    with open(os.path.join(source, "first.mrc"), "wb") as f:
        f.write(b"x")
    bench_rig.millrace.wait_for(lambda: os.path.exists(os.path.join(target, "first.mrc")),
                                timeout=60, what="the peer copies")


def lsyncd_command(rig):
    def command(source, target):
        config = rig.work.write("lsyncd.lua", f"""
settings {{ nodaemon = true, inotifyMode = "CloseWrite" }}
sync {{ default.rsync, source = "{source}", target = "{target}", delay = 1, delete = false,
        rsync = {{ archive = true, whole_file = true }} }}
""")
        return ["lsyncd", "-nodaemon", config]
    return command


def settle_command(settle):
    def command(source, target):
        script = os.path.join(os.path.dirname(__file__), "settle_and_rsync")
        return [script, source, target, str(settle)]
    return command


def ready(rig):
    source = rig.movie("ready", rig.sizes["ready_frames"], rig.sizes["k3_distinct"],
                       **rig.sizes["k3"])
    writer = Writer(source)
    count, few = rig.sizes["ready_movies"], rig.sizes["ready_peer_movies"]
    settle = rig.sizes["settle_s"]
    rig.book.titles["ready"] = (
        f"movies of {writer.bytes / 1e9:.2f} GB written at {BYTES_PER_S / 1e9:g} GB/s: closed -> "
        f"the ready event has arrived; {count} movies, one after the other")
    waited = sorted(ours(rig, writer, source, count))
    beside = []
    for name, lack, command in (
            ("lsyncd (delay 1 s), file complete", bench_rig.lacks("lsyncd"), lsyncd_command(rig)),
            (f"settle {settle} s + rsync, file complete", bench_rig.lacks("rsync"),
             settle_command(settle))):
        samples = [] if lack else peer(rig, writer, name.split()[0], command, few)
        beside.append(Beside(name, samples, absent=lack))
    beside.append(Beside("HiDRA", absent="not packaged for Debian"))
    rig.book.add("ready", "closed -> event, spread of all", "ms", waited, beside=beside,
                 note=f"written at {statistics.median(writer.rates):.2f} GB/s; peers' files are "
                      f"not synced; facilities settle for 15 to 60 s, not {settle}")
    rig.book.add("ready", "closed -> event, p99", "ms",
                 [waited[min(len(waited) - 1, int(len(waited) * 0.99))]], at_most=100)
    os.unlink(source)
