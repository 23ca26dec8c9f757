#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the server really does with a movie's bytes, as strace sees it: parts are opened with
O_DIRECT, their slabs go through io_uring and through no other call, and libhdf5 opens no file."""
import collections
import os
import re
import shutil
import subprocess
import sys

from aftermath import check_store
from millrace import SLAB, Server, Skipped, binary, run

CALLS = "openat,openat2,open,creat,write,writev,pwrite64,pwritev,pwritev2,io_uring_setup," \
        "io_uring_enter,mmap,copy_file_range,sendfile,splice,close,dup,dup2,dup3,fcntl"


class Traced(Server):
    """The server under strace -f, which writes down its calls with the files they are about."""

    def __init__(self, work):
        super().__init__(work)
        self.trace = os.path.join(work.path, "trace")
        server = [binary(self.name), *self.words]
        self.name = shutil.which("strace") or "strace"
        self.words = ["-f", "-y", "-s", "0", "-e", f"trace={CALLS}", "-o",
                      self.trace, *server]

    def start(self, env=None):
        if shutil.which("strace") is None:
            raise Skipped("strace is not installed")
        probe = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True)
        if probe.returncode != 0:
            raise Skipped("strace may not trace here")
        return super().start(env)

    def stop(self, timeout=60):
        """SIGTERM to the server; strace ends with its status."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children",
                  encoding="ascii") as f:
            child = int(f.read().split()[0])
        os.kill(child, 15)
        return self.wait(timeout)

    def calls(self):
        """(name, arguments and result) of every call that was made, the resumed ones joined."""
        pending, found = {}, []
        with open(self.trace, encoding="utf-8", errors="replace") as f:
            for line in f:
                pid, text = line.split(None, 1)
                if text.rstrip().endswith("<unfinished ...>"):
                    pending[pid] = text.rsplit("<unfinished", 1)[0]
                    continue
                if resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", text):
                    text = pending.pop(pid, "") + resumed[1]
                if call := re.match(r"(\w+)\((.*)", text):
                    found.append((call[1], call[2]))
        return found


def written(calls):
    """Bytes that went to parts by calls other than io_uring's, and the largest of them."""
    most, sizes = 0, collections.Counter()
    for name, rest in calls:
        if "write" in name or name in ("copy_file_range", "sendfile", "splice"):
            result = re.search(r"= (\d+)$", rest.rstrip())
            if result and ".part" in rest:
                sizes[name] += int(result[1])
                most = max(most, int(result[1]))
    return most, sizes


def ship(work, output):
    # a leak check wants to trace what strace traces already
    server = Traced(work).start({"ASAN_OPTIONS": "detect_leaks=0"})
    movies = work.camera(nx=2048, ny=2048, frames=16, mode=6, movies=2).results()
    push = work.push(server, "--agent", "k3", "--output", output, work.movies)
    assert push.process.returncode == 0, push.messages()
    check_store(server, movies, output)
    if {lane["engine"] for lane in server.status()["lanes"]} != {"io_uring"}:
        raise Skipped("io_uring is not to be had here")
    raw = sum(lane["received_bytes"] for lane in server.status()["lanes"])
    assert server.stop() == 0
    calls = server.calls()
    direct = [c for n, c in calls if n.startswith("open") and ".part" in c and "O_DIRECT" in c]
    assert direct, "no part was opened with O_DIRECT"
    entered = sum(1 for n, _ in calls if n == "io_uring_enter")
    assert entered > 0, "io_uring was never entered"
    most, sizes = written(calls)
    print(f"{output}: {raw} bytes received; {entered} io_uring_enter; by other calls into parts: "
          f"{dict(sizes)}, at most {most} at once")
    assert most < SLAB // 16 and sum(sizes.values()) < raw // 20, sizes
    return calls


def test_keep_goes_through_io_uring(work):
    ship(work, "keep")


def test_hdf5_goes_through_io_uring_and_libhdf5_opens_nothing(work):
    """The driver under libhdf5 keeps metadata in memory: the parts are opened by berth (to land),
    by the lanes (by way of /proc/self/fd) and once by seal (the ragged tail), all with the flags
    that only we give; libhdf5's own drivers open without O_CLOEXEC."""
    calls = ship(work, "hdf5")
    opened = [c for n, c in calls if n.startswith("open") and (".part" in c or ".h5" in c)]
    assert opened and all("O_CLOEXEC" in c for c in opened), opened


if __name__ == "__main__":
    sys.exit(run(globals()))
