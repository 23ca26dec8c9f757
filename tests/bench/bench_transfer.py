# SPDX-License-Identifier: Apache-2.0
"""Movies end to end: raw, compressed, and of small and large frames."""
import os
import re
import statistics
import subprocess

import bench_rig
from bench_report import Beside

HIDRA_GBS = 0.36  # DESY's own figure for confirmed deletes; quoted, not measured here


# ---- raw ----

class Raw:
    """Samples of interleaved rounds: the ceiling before and after each of ours, then the peers."""

    def __init__(self, rig):
        self.rig, self.size = rig, rig.sizes["raw_bytes"]
        self.source = rig.source("raw.bin", self.size)
        self.ours, self.wall, self.agent, self.server = [], [], [], []
        self.ceiling, self.copied, self.rsynced = [], [], []

    def copy(self, samples, *command):
        target = os.path.join(self.rig.work.path, "copied")
        seconds = bench_rig.timed(*command, self.source, target)
        samples.append(self.size / (seconds + bench_rig.timed("sync", target)) / 1e9)
        os.unlink(target)

    def round(self, server):
        ceiling = self.rig.fio(self.size)
        done = self.rig.ship("raw", server, self.source, "--codec", "none")
        stored = done.events[0]["path"]
        self.rig.check_same(self.source, stored)
        self.rig.check_store(server, stored)
        os.unlink(stored)
        gb = self.size / 1e9
        self.ours.append(gb / done.seconds)
        self.wall.append(gb / done.wall)
        self.agent.append(bench_rig.cpu_seconds(done.agent) / gb)
        self.server.append(bench_rig.cpu_seconds(done.server) / gb)
        if ceiling is not None:
            self.ceiling += [ceiling]
        self.copy(self.copied, "cp")
        if bench_rig.lacks("rsync") is None:
            self.copy(self.rsynced, "rsync")


def raw(rig):
    r = Raw(rig)
    rig.book.titles["raw"] = (f"{r.size / 1e9:.2f} GB that do not compress, in {rig.options.source}"
                              " -> agent -> ZeroMQ over TCP -> server -> disk, committed")
    with rig.server("raw") as server:
        for _ in range(rig.sizes["rounds"]):
            r.round(server)
    os.unlink(r.source)
    rig.book.add("raw", "millrace, seen to COMMITTED", "GB/s", r.ours, beside=[
        Beside("fio io_uring O_DIRECT write", r.ceiling, 0.9, absent=bench_rig.lacks("fio")),
        Beside("cp + sync", r.copied, 5),
        Beside("rsync + sync", r.rsynced, 4, absent=bench_rig.lacks("rsync")),
        Beside("HiDRA, confirmed delete", [HIDRA_GBS], 6, quoted=True)])
    rig.book.add("raw", "millrace push, start to exit", "GB/s", r.wall)
    for side, samples in (("agent", r.agent), ("server", r.server)):
        rig.book.add("raw", f"CPU of the {side}, all threads", "CPU-s/GB", samples, at_most=0.28,
                     note="of its threads, by their own clocks; start-up left out")


# ---- compressed ----

def compressed(rig):
    rig.book.titles["compressed"] = (
        "counted K3 frames (5760 x 4092, 8 bit) -> HDF5, committed; both sides on this machine; "
        "rates are of raw bytes")
    for dose in rig.sizes["doses"]:
        source = rig.movie(f"k3-{dose}", rig.sizes["k3_frames"], rig.sizes["k3_distinct"],
                           dose=dose, **rig.sizes["k3"])
        size = os.path.getsize(source)
        samples = {codec: ([], [], [], []) for codec in ("bslz4", "bszstd")}
        with rig.server(f"compressed-{dose}") as server:
            for _ in range(rig.sizes["rounds"]):
                for codec, into in samples.items():
                    compressed_once(rig, server, source, size, codec, into)
        for codec, (rates, ratios, agent, server_cpu) in samples.items():
            name = f"{codec}, {dose} e/px"
            rig.book.add("compressed", name, "GB/s raw", rates,
                         at_least=3.6 if codec == "bslz4" else None)
            rig.book.add("compressed", f"{name}: ratio", ": 1", ratios)
            rig.book.add("compressed", f"{name}: CPU of the agent", "CPU-s/GB", agent)
            rig.book.add("compressed", f"{name}: CPU of the server", "CPU-s/GB", server_cpu,
                         note="per raw GB; two cores carry 3.6 GB/s where both sides use 0.56")
        os.unlink(source)


def compressed_once(rig, server, source, size, codec, into):
    done = rig.ship("compressed", server, source, "--output", "hdf5", "--codec", codec)
    data = done.events[0]
    rig.check_store(server, data["path"])
    if data["frames"] != rig.sizes["k3_frames"]:
        rig.book.say_wrong(f"{data['path']}: {data['frames']} frames")
    check_pixels(rig, source, data)
    gb = size / 1e9
    for samples, value in zip(into, (gb / done.seconds, size / os.path.getsize(data["path"]),
                                     bench_rig.cpu_seconds(done.agent) / gb,
                                     bench_rig.cpu_seconds(done.server) / gb)):
        samples.append(value)
    os.unlink(data["path"])


def check_pixels(rig, source, data):
    """The event's digest of the pixels is that of the source's, as 7z finds it. Header 1024."""
    if bench_rig.lacks("7z"):
        return
    if source not in check_pixels.known:
        check_pixels.known[source] = crc_of_pixels(source)
    if data["digest"]["pixels"] != check_pixels.known[source]:
        rig.book.say_wrong(f"{data['path']}: other pixels than {source}")


check_pixels.known = {}


def crc_of_pixels(path):
    """CRC-64 of what stands behind the header, by 7z."""
    done = subprocess.run(f"tail -c +1025 '{path}' | 7z h -scrcCRC64 -si", shell=True, check=True,
                          capture_output=True, text=True)
    return re.search(r"CRC64 +for data: +([0-9A-F]{16})", done.stdout)[1]


# ---- frames of all sizes ----

FRAMES = (("0.13 MB, 256 x 256 u16 (4D-STEM)", {"nx": 256, "ny": 256, "mode": 6, "dose": 4}),
          ("2 MB, 1024 x 1024 u16", {"nx": 1024, "ny": 1024, "mode": 6, "dose": 4}),
          ("24 MB, 5760 x 4092 u8", {"nx": 5760, "ny": 4092, "mode": 0, "dose": 0.5}),
          ("94 MB, 11520 x 8184 u8", {"nx": 11520, "ny": 8184, "mode": 0, "dose": 0.1}))
OUTPUTS = (("mrc, uncompressed", ("--output", "mrc", "--codec", "none")),
           ("hdf5, bslz4", ("--output", "hdf5", "--codec", "bslz4")))


def frames(rig):
    rig.book.titles["frames"] = "frames a second by size of frame, committed"
    for at, (name, camera) in enumerate(FRAMES):
        camera = {**camera, **rig.sizes["frame_limits"]}
        per_frame = camera["nx"] * camera["ny"] * (2 if camera["mode"] == 6 else 1)
        count = max(2, rig.sizes["frames_bytes"] // per_frame)
        distinct = max(1, min(count, rig.sizes["distinct_bytes"] // per_frame))
        source = rig.movie(f"frames{at}", count, distinct, **camera)
        samples = {output: [] for output, _ in OUTPUTS}
        with rig.server(f"frames{at}") as server:
            for _ in range(rig.sizes["rounds"]):
                for output, words in OUTPUTS:
                    done = rig.ship("frames", server, source, *words)
                    data = done.events[0]
                    rig.check_store(server, data["path"])
                    if data["frames"] != count:
                        rig.book.say_wrong(f"{data['path']}: {data['frames']} frames")
                    check_pixels(rig, source, data)
                    samples[output].append(count / done.seconds)
                    os.unlink(data["path"])
        for output, rates in samples.items():
            gbs = statistics.median(rates) * per_frame / 1e9
            rig.book.add("frames", f"{name}, {output}", "frames/s", rates,
                         note=f"{gbs:.2f} GB/s of raw bytes; {count} frames")
        os.unlink(source)
