# SPDX-License-Identifier: Apache-2.0
"""What was measured: figures with their samples, peers and goals; as a table, JSON and CSV.

A figure is ours; beside it stand ceilings and peers of the same rounds, or quoted ones. A goal is
either a bound of the figure itself or of its ratio to one beside it, judged by medians.
"""
import csv
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time


def median(samples):
    return statistics.median(samples)


class Beside:
    """A ceiling or peer: samples, or a quoted number; ratio: the goal of ours / it, at least."""

    def __init__(self, name, samples=(), ratio=None, absent=None, quoted=False):
        self.name, self.samples, self.ratio = name, list(samples), ratio
        self.absent, self.quoted = absent, quoted


class Figure:
    def __init__(self, item, name, unit, samples, beside=(), at_least=None, at_most=None,
                 note="", absent=None):
        self.item, self.name, self.unit, self.samples = item, name, unit, list(samples)
        self.beside, self.at_least, self.at_most = list(beside), at_least, at_most
        self.note, self.absent = note, absent

    def goals(self):
        """(text, value, reached) per goal; value as far as there is one."""
        if not self.samples:
            return
        ours = median(self.samples)
        if self.at_least is not None:
            yield f">= {self.at_least:g}", ours, ours >= self.at_least
        if self.at_most is not None:
            yield f"<= {self.at_most:g}", ours, ours <= self.at_most
        for b in self.beside:
            if b.ratio is not None and b.samples:
                ratio = ours / median(b.samples)
                yield f">= {b.ratio:g} x {b.name}", ratio, ratio >= b.ratio


def number(value):
    """Three figures, without an exponent."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1g}"


def spread(samples):
    if not samples:
        return ("", "", "")
    return tuple(number(v) for v in (min(samples), median(samples), max(samples)))


def verdict(reached):
    return "reached" if reached else "MISSED"


def print_figure(figure, out):
    least, middle, most = spread(figure.samples)
    goal = next((f"{text} {verdict(ok)}" for text, _, ok in figure.goals() if " x " not in text),
                "")
    print(f"  {figure.name:42} {least:>8} {middle:>8} {most:>8}  {figure.unit:9} {goal}".rstrip(),
          file=out)
    if figure.absent:
        print(f"      not measured: {figure.absent}", file=out)
    for b in figure.beside:
        if b.absent:
            print(f"      {b.name:38} not measured: {b.absent}", file=out)
            continue
        least, middle, most = spread(b.samples)
        if b.quoted:
            least = most = ""
        ratio = median(figure.samples) / median(b.samples) if figure.samples else 0
        goal = f"  goal {b.ratio:g}: {verdict(ratio >= b.ratio)}" if b.ratio is not None else ""
        print(f"      {b.name:38} {least:>8} {middle:>8} {most:>8}  {figure.unit:9} "
              f"ours is {number(ratio)} x{goal}", file=out)
    if figure.note:
        print(f"      ({figure.note})", file=out)


def kind_of(thread):
    """lane-0 and lane-1 are one kind, all of io_uring's workers another."""
    return re.sub(r"(-\d+)+$", "", thread)


def describe_stages(table):
    """One line of a stage table: where its CPU time went, and the longest wait for what follows."""
    used, moved, waits = {}, {}, [(0, "")]
    for name, row in table["threads"].items():
        kind = kind_of(name)
        used[kind] = used.get(kind, 0) + row["cpu_s"]
        moved[kind] = moved.get(kind, 0) + row.get("MB", 0)
        waits += [(row.get(what, 0), f"{name} waited for {what.removesuffix('_s')}")
                  for what in ("room_s", "credit_s")]
    gb = max(moved.get("tail", 0), moved.get("lane", 0)) / 1000
    parts = [f"{kind} {number(s / gb)}" for kind, s in sorted(used.items(), key=lambda u: -u[1])
             if gb > 0 and s > 0.03 * sum(used.values())]
    seconds, wait = max(waits)
    longest = f"; {wait} {seconds:.2f} of {table['seconds']:.2f} s" if seconds > 0.01 else ""
    return f"{table['program']}, CPU-s/GB: {', '.join(parts)}{longest}"


class Book:
    """All figures of a run, and what they were measured on."""

    def __init__(self, options):
        self.options, self.figures, self.stages, self.wrong = options, [], {}, []
        self.titles = {}
        self.machine = machine(options)
        self.began = time.strftime("%Y-%m-%dT%H:%M:%S%z")

    def add(self, *args, **kwargs):
        self.figures.append(Figure(*args, **kwargs))

    def keep_stages(self, item, agent, server):
        """Both ends' tables of one run, for the JSON: the last of each item."""
        self.stages[item] = [table._asdict() for table in (agent, server) if table is not None]

    def say_wrong(self, text):
        """A movie did not arrive as it was: the run fails."""
        print(f"bench: WRONG: {text}", file=sys.stderr)
        self.wrong.append(text)

    def print(self, out=sys.stdout):
        print(f"\nMillrace bench, {self.began}: min, median and max of interleaved rounds; "
              f"durable data unless it says otherwise", file=out)
        for key, value in self.machine.items():
            print(f"  {key}: {value}", file=out)
        for item in dict.fromkeys(f.item for f in self.figures):
            print(f"\n{item}: {self.titles.get(item, '')}", file=out)
            for figure in self.figures:
                if figure.item == item:
                    print_figure(figure, out)
            for name, tables in self.stages.items():
                for table in tables if name.split(",")[0] == item else ():
                    print(f"  {describe_stages(table)}", file=out)
        goals = [g for f in self.figures for g in f.goals()]
        reached = sum(ok for _, _, ok in goals)
        print(f"\n{reached} of {len(goals)} goals reached; {len(self.wrong)} movies arrived wrong",
              file=out)

    def as_json(self):
        figures = []
        for f in self.figures:
            figures.append({
                "item": f.item, "figure": f.name, "unit": f.unit, "samples": f.samples,
                "note": f.note, "absent": f.absent,
                "beside": [{"name": b.name, "samples": b.samples, "quoted": b.quoted,
                            "absent": b.absent} for b in f.beside],
                "goals": [{"goal": t, "value": v, "reached": bool(ok)} for t, v, ok in f.goals()]})
        return {"began": self.began, "machine": self.machine, "options": vars(self.options),
                "titles": self.titles, "figures": figures, "stages": self.stages,
                "wrong": self.wrong}

    def save(self, base):
        folder = os.path.join(base, time.strftime("%Y-%m-%d-%H%M%S"))
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "bench.json"), "w", encoding="utf-8") as f:
            json.dump(self.as_json(), f, indent=1)
        with open(os.path.join(folder, "bench.txt"), "w", encoding="utf-8") as f:
            self.print(f)
        with open(os.path.join(folder, "bench.csv"), "w", encoding="utf-8", newline="") as f:
            self.write_csv(csv.writer(f))
        return folder

    def write_csv(self, rows):
        rows.writerow(["item", "figure", "beside", "unit", "min", "median", "max", "samples",
                       "goal", "reached", "note"])
        for f in self.figures:
            bounds = [g for g in f.goals() if " x " not in g[0]]
            goal, _, ok = bounds[0] if bounds else ("", 0, "")
            rows.writerow([f.item, f.name, "", f.unit, *spread(f.samples), len(f.samples), goal,
                           ok, f.absent or f.note])
            for b in f.beside:
                met = (median(f.samples) / median(b.samples) >= b.ratio
                       if b.ratio is not None and f.samples and b.samples else "")
                rows.writerow([f.item, f.name, b.name, f.unit, *spread(b.samples),
                               len(b.samples), b.ratio if b.ratio is not None else "", met,
                               b.absent or ("quoted" if b.quoted else "")])


# ---- the machine ----

def first_line(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        return (done.stdout + done.stderr).splitlines()[0].strip()
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return "not installed"


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def place_of(folder):
    """Device and file system."""
    done = subprocess.run(["df", "--output=source,fstype", folder], capture_output=True, text=True)
    return " ".join(done.stdout.splitlines()[-1].split()) if done.stdout else "?"


def machine(options):
    """What the figures depend on besides the code."""
    programs = os.environ["MILLRACE_BIN_DIR"]
    store = options.dir or "/tmp"
    cpu = re.search(r"model name\s*: (.*)", read("/proc/cpuinfo"))
    flags = set(re.search(r"flags\s*: (.*)", read("/proc/cpuinfo") + "flags : ")[1].split())
    memory = re.search(r"MemTotal:\s+(\d+)", read("/proc/meminfo") + "MemTotal: 0")
    system = re.search(r'PRETTY_NAME="(.*)"', read("/etc/os-release"))
    load = os.getloadavg()[0]
    busy = load > 0.5 * os.cpu_count()
    vectors = [f for f in ("avx2", "avx512bw", "gfni") if f in flags]
    return {"cpu": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores "
                   f"({' '.join(vectors)})",
            "memory": f"{int(memory[1]) / (1 << 20):.1f} GiB",
            "system": f"{system[1] if system else '?'}, Linux {platform.release()}",
            "store": f"{store}: {place_of(store)}; sources: {place_of(options.source)}",
            "agent": first_line(os.path.join(programs, "millrace-agent"), "--version"),
            "server": first_line(os.path.join(programs, "millrace-ingest"), "--version"),
            "peers": "; ".join(f"{p}: {first_line(p, v)}" for p, v in (
                ("fio", "--version"), ("rsync", "--version"), ("cp", "--version"),
                ("lsyncd", "--version"))),
            "load": f"{load:.2f} before it began"
                    + ("; others use this machine: trust ratios alone" if busy else "")}
