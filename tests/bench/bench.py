# SPDX-License-Identifier: Apache-2.0
"""Raw end to end: a file in memory -> agent -> server -> disk, committed; beside fio, cp and rsync.

Every round measures each of them once, one after the other, so that all see the same machine;
what is reported is medians and the ratios of medians, with the spread. All of it is durable data:
cp and rsync are followed by a sync of what they wrote.
"""
import argparse
import datetime
import json
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "integration"))
import millrace  # noqa: E402

MIB = 1 << 20


def timed(*command):
    """Seconds it took."""
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def cpu_of(pid):
    """User and system seconds of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmHWM:\s+(\d+) kB", f.read())[1]) / 1024


def parse_time(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Bench:
    def __init__(self, options, work):
        self.options, self.work = options, work
        self.bytes = options.gib * 1024 * MIB
        self.source = os.path.join(options.source, f"millrace-bench-{os.getpid()}.raw")
        self.folder = work.folder("bench")
        self.results = {}

    def make_source(self):
        """Bytes that do not compress: a block of noise, moved on by one byte each time."""
        noise = os.urandom(8 * MIB + self.bytes // (8 * MIB) + 1)
        with open(self.source, "wb") as f:
            for i in range(self.bytes // (8 * MIB)):
                f.write(noise[i:i + 8 * MIB])

    def note(self, name, value):
        self.results.setdefault(name, []).append(value)

    def rate(self, name, seconds):
        self.note(name, self.bytes / seconds / 1e9)

    def fio(self):
        target = os.path.join(self.folder, "fio")
        out = subprocess.run(
            ["fio", "--name=ceiling", f"--filename={target}", "--rw=write", "--ioengine=io_uring",
             "--direct=1", "--bs=8m", "--iodepth=16", f"--size={self.bytes}", "--end_fsync=1",
             "--output-format=json"], check=True, capture_output=True, text=True).stdout
        job = json.loads(out[out.index("{"):])["jobs"][0]
        os.unlink(target)
        self.note("fio io_uring O_DIRECT write", job["write"]["bw_bytes"] / 1e9)

    def cp(self):
        target = os.path.join(self.folder, "cp")
        self.rate("cp + sync", timed("cp", self.source, target) + timed("sync", target))
        os.unlink(target)

    def rsync(self):
        target = os.path.join(self.folder, "rsync")
        self.rate("rsync + sync", timed("rsync", self.source, target) + timed("sync", target))
        os.unlink(target)

    def millrace(self, server):
        """From the movie's OPEN to its COMMITTED, by the server's own clock; and the whole push."""
        last = server.status()["last_event"]
        cpu = cpu_of(server.process.pid)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        subprocess.run([millrace.binary("millrace-agent"), "push", "--server", server.control,
                        "--agent", "bench", self.source], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.rate("millrace push, start to exit", time.monotonic() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        event = server.wait_for_event("millrace.file.ready.v1", since=last + 1)
        data = event["data"]
        assert data["bytes"] == self.bytes, data
        self.rate("millrace, open to committed",
                  parse_time(data["committed"]) - parse_time(data["started"]))
        gb = self.bytes / 1e9
        agent = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
        self.note("agent CPU-s per GB", agent / gb)
        self.note("server CPU-s per GB", (cpu_of(server.process.pid) - cpu) / gb)
        os.unlink(data["path"])
        # the same content again would be known: the source changes by a byte
        with open(self.source, "r+b") as f:
            f.write(os.urandom(16))

    def run(self):
        self.make_source()
        server = self.work.server({"store": {"root": self.work.folder("bench/store")},
                                   "memory": {"pool": self.options.pool}})
        for step in range(self.options.rounds):
            for measure in (self.fio, self.cp, self.rsync, lambda: self.millrace(server)):
                measure()
            print(f"round {step + 1} of {self.options.rounds}", file=sys.stderr)
        self.note("server peak MiB", peak_of(server.process.pid))
        server.stop()

    def report(self):
        ceiling = statistics.median(self.results["fio io_uring O_DIRECT write"])
        print(f"\n{self.options.gib} GiB from {self.options.source} to {self.folder}, "
              f"{self.options.rounds} rounds, {os.cpu_count()} cores, {platform.release()}\n")
        print(f"{'':34} {'median':>8} {'min':>8} {'max':>8}   of fio")
        for name, values in self.results.items():
            median = statistics.median(values)
            rate = "CPU" not in name and "MiB" not in name
            ratio = f"{median / ceiling:8.2f}" if rate else ""
            unit = " GB/s" if rate else ""
            print(f"{name:34} {median:8.2f} {min(values):8.2f} {max(values):8.2f}{unit} {ratio}")
        ours = statistics.median(self.results["millrace, open to committed"])
        for peer in ("cp + sync", "rsync + sync"):
            print(f"millrace / {peer}: {ours / statistics.median(self.results[peer]):.1f}")

    def save(self):
        folder = os.path.join("bench-out", time.strftime("%Y-%m-%d-%H%M%S"))
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "raw.json"), "w", encoding="utf-8") as f:
            json.dump({"gib": self.options.gib, "rounds": self.options.rounds,
                       "kernel": platform.release(), "cores": os.cpu_count(),
                       "results": self.results}, f, indent=1)
        print(f"\nwritten: {folder}/raw.json")


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=int, default=2, help="size of the source (2)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--quick", action="store_true", help="1 GiB, one round")
    parser.add_argument("--pool", default="256MiB", help="the server's memory.pool (256MiB)")
    parser.add_argument("--source", default="/dev/shm", help="where the source lies (/dev/shm)")
    options = parser.parse_args()
    if options.quick:
        options.gib, options.rounds = 1, 1
    if shutil.disk_usage(options.source).free < (options.gib << 30) * 1.1:
        sys.exit(f"bench: {options.source} has no room for {options.gib} GiB")
    with millrace.Workspace() as work:
        bench = Bench(options, work)
        try:
            bench.run()
            bench.report()
            bench.save()
        finally:
            if os.path.exists(bench.source):
                os.unlink(bench.source)


if __name__ == "__main__":
    main()
