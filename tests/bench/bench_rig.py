# SPDX-License-Identifier: Apache-2.0
"""What every item of the bench needs: sources, a server, one shipment measured, peers, checks."""
import collections
import contextlib
import ctypes
import datetime
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "integration"))
import millrace  # noqa: E402

MIB = 1 << 20
AGENT_POOL = "128MiB"  # of every agent that is alone
PUSH_POOL = "64MiB"  # of every push: what it takes by itself
K3 = {"nx": 5760, "ny": 4092}
READY = ("millrace.movie.ready.v1", "millrace.file.ready.v1")

Shipped = collections.namedtuple("Shipped", "events seconds wall agent server")
Peak = collections.namedtuple("Peak", "item side mib pool_mib")


def timed(*command):
    """Seconds it took."""
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def parse_time(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def course(data):
    """When the agent first saw the file and when it was COMMITTED, by this machine's clock: the
    offset that the server assumed between its clock and the agent's is taken out again."""
    began = parse_time(data["started"]) + data["clock_offset_ms"] / 1000
    return began, max(parse_time(data["committed"]), began + 0.001)


def lacks(program):
    """None, or why a peer is not measured."""
    return None if shutil.which(program) else f"{program} is not installed"


def cpu_seconds(table):
    """Of all threads of a stage table."""
    return sum(t["cpu_s"] for t in table.threads.values())


def sync_tree(folder):
    """syncfs: what was written below is on the disk."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
            raise OSError(ctypes.get_errno(), "syncfs")
    finally:
        os.close(fd)


class Rig:
    """Folders, options and the book of one run of the bench."""

    def __init__(self, options, sizes, work, book):
        self.options, self.sizes, self.work, self.book = options, sizes, work, book
        self.memory = os.path.join(options.source, f"millrace-bench-{os.getpid()}")
        os.makedirs(self.memory)
        self.peaks, self.ship_count, self.put_away_count = [], 0, 0

    def close(self):
        shutil.rmtree(self.memory, ignore_errors=True)

    def say(self, text):
        print(f"bench: {text}", file=sys.stderr, flush=True)

    # ---- sources ----

    def source(self, name, size):
        """Bytes that do not compress: a block of noise, moved on by one byte each time."""
        path = os.path.join(self.memory, name)
        step = min(8 * MIB, size)
        noise = os.urandom(step + size // step + 1)
        with open(path, "wb") as f:
            for i in range(size // step):
                f.write(noise[i:i + step])
        return path

    def movie(self, name, frames, distinct=None, **camera):
        """A movie of millrace-sim; its first `distinct` frames over and over where so many are to
        be had sooner."""
        distinct = min(distinct or frames, frames)
        folder = os.path.join(self.memory, f"of-{name}")
        options = {**camera, "out": folder, "frames": distinct, "prefix": name, "fps": 0}
        made, = self.work.camera(**options).results(timeout=600)
        path = os.path.join(self.memory, f"{name}.mrc")
        os.rename(made.path, path)
        os.rmdir(folder)
        if frames > distinct:
            repeat_frames(path, distinct, frames)
        return path

    # ---- ours ----

    @contextlib.contextmanager
    def server(self, name, config=None):
        """A server with a store of its own, all of which is gone afterwards."""
        root = self.work.folder(f"{name}-store")
        base = {"store": {"root": root}, "memory": {"pool": self.options.pool},
                "listen": {"lanes": "auto"}}
        server = millrace.Server(self.work, millrace.merged(base, config), name=name)
        server.words.append("--stats")
        server.start()
        try:
            yield server
            assert server.stop(timeout=60) == 0, server.messages()
        finally:
            server.end()
            shutil.rmtree(root, ignore_errors=True)

    def table_of(self, program):
        """Its stage table since the one before."""
        before = len(millrace.stage_tables(program.messages()))
        program.signal(signal.SIGUSR1)

        def more():
            tables = millrace.stage_tables(program.messages())
            return tables[-1] if len(tables) > before else None
        return millrace.wait_for(more, what="a stage table")

    def ship(self, item, server, path, *words, count=1):
        """One push of a file or tree, from being seen to COMMITTED, with both ends' tables. The
        agent has another name each time, so nothing is known already."""
        self.ship_count += 1
        last = server.status()["last_event"]
        self.table_of(server)
        began = time.monotonic()
        push = millrace.Program(
            self.work, "millrace-agent", ["push", "--server", server.control, "--stats", "--set",
                                          f"memory.pool={PUSH_POOL}", "--agent",
                                          f"bench{self.ship_count}", *words, path])
        push.results_in_log = True  # a line per file: more than a pipe holds
        push.start().wait(1800)
        wall = time.monotonic() - began
        if push.process.returncode != 0:
            self.book.say_wrong(f"{path}: push ended with {push.process.returncode}")
            raise SystemExit(push.messages())
        table = self.table_of(server)
        agent = millrace.stage_tables(push.messages())[-1]
        events = [e["data"] for e in server.logged(last + 1) if e["type"] in READY]
        assert count > 1 or len(events) == count, events
        self.note_peak(item, "agent", agent, PUSH_POOL)
        self.note_peak(item, "server", table, self.options.pool)
        self.book.keep_stages(item, agent, table)
        courses = [course(e) for e in events]
        seconds = max(c[1] for c in courses) - min(c[0] for c in courses) if courses else wall
        push.end()
        self.work.programs.remove(push)
        return Shipped(events, seconds, wall, agent, table)

    def note_peak(self, item, side, table, pool):
        """The most memory that a stage table tells of, beside the memory.pool of its program."""
        self.peaks.append(Peak(item, side, table.most_mib, parse_mib(pool)))

    def put_away(self, path):
        """Removed when the bench ends: what is deleted between two rounds makes the next one slow,
        for ext4 passes over the inodes that it gave out last."""
        self.put_away_count += 1
        os.rename(path, os.path.join(self.work.folder("put-away"), str(self.put_away_count)))

    # ---- is it what was sent? ----

    def check_same(self, source, stored):
        if not millrace.same_file(source, stored):
            self.book.say_wrong(f"{stored} is not what {source} was")

    def check_store(self, server, path):
        """Read back against the digests of its commit, past the page cache, by --verify."""
        done = subprocess.run([millrace.binary("millrace-ingest"), *server.words[:2],
                               "--verify", path], capture_output=True, text=True)
        if done.returncode != 0:
            self.book.say_wrong(f"{path}: {done.stdout}{done.stderr}")

    # ---- the ceiling ----

    def fio(self, size):
        """GB/s of io_uring writes past the page cache, with an fsync at the end; None."""
        if lacks("fio"):
            return None
        target = os.path.join(self.work.path, "fio-target")
        out = subprocess.run(
            ["fio", "--name=ceiling", f"--filename={target}", "--rw=write", "--ioengine=io_uring",
             "--direct=1", "--bs=8m", "--iodepth=16", f"--size={size}", "--end_fsync=1",
             "--output-format=json"], check=True, capture_output=True, text=True).stdout
        os.unlink(target)
        job = json.loads(out[out.index("{"):])["jobs"][0]
        return job["write"]["bw_bytes"] / 1e9


def parse_mib(text):
    return int(text.removesuffix("MiB"))


def repeat_frames(path, distinct, frames):
    """Makes an MRC movie longer by its own pixels (NZ is the header's third word)."""
    with open(path, "r+b") as f:
        header = f.read(1024)
        offset = 1024 + struct.unpack_from("<i", header, 92)[0]
        f.seek(offset)
        pixels = f.read()
        frame = len(pixels) // distinct
        for i in range(distinct, frames):
            at = i % distinct * frame
            f.write(pixels[at:at + frame])
        for word in (8, 36):  # NZ and MZ, which of a movie may be 1
            value, = struct.unpack_from("<i", header, word)
            if value == distinct:
                f.seek(word)
                f.write(struct.pack("<i", frames))
