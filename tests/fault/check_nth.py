#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every call that server or agent makes on its files, and every result of io_uring, fails once: the
first in the first run, the second in the second, until a run passes untouched. The short run makes
KNOWN cases and draws others for a while (MILLRACE_TEST_SEED draws the same); --long makes all.

A case is SCENE/PROGRAM/FAULT/WHICH: keep/ingest/EIO/17 is the 17th call, and
"keep/ingest/EIO/fsync */.millrace#2" the second one whose "call path" that glob fits. Without WHICH
all are made, one after the other. What a server puts off is tried again at once by another life of
it, unless the name begins with "patient:", or with --patient.
"""
import argparse
import concurrent.futures
import multiprocessing
import os
import random
import re
import sys
import time
import traceback

from aftermath import is_long
from nth import FILE_FAULTS, RING_FAULTS, Again, Case
from nth_scenes import SCENES, Scene
from millrace import LIBC, PR_SET_PDEATHSIG, Skipped, Workspace

SHORT = 15  # seconds, after those that are KNOWN
GIVE_UP = 20  # broken promises in a row, of one series
KNOWN = [  # each found something once
    "keep/ingest/EIO/statx */in/m.mrc#2",  # the store's time of a file was 0, so it came twice
    "revision/ingest/EIO/openat2 */in/s.log",  # a revision was put beside its predecessor
    "placed/ingest/EIO/statx */in/m.mrc#2",  # a movie in its place was forgotten, and came twice
    "sealed/ingest/EIO/statx *.part#2",  # the same of one that was to be placed
    "sealed/ingest/EIO/readdir */journal#3",  # what was sealed was not looked for
    "patient:sealed/ingest/EIO/openat *.part",  # what was sealed waited for the next start
    "resume/ingest/EIO/openat */journal/.#2",  # which of a movie's journals counts
    "resume/ingest/EIO/openat */journal/.#3",  # the movie's journal was not looked for
    "revision/agent/EIO/stat */journal.sqlite#13",  # a file of which nothing was known: new
    "resume/agent/EIO/statx */in/m.mrc",  # a source not seen once had failed for ever
    "failed/ingest/EIO/openat *.journal#3",  # a movie had failed, but nobody was told
    "revision/agent/ENOSPC/open */journal.sqlite",  # SQLite took the journal for reading only
    "keep/agent/EIO/open */movies#2",  # a push ended well and had shipped nothing
    "keep/agent/EIO/stat */movies/in#4",  # the same, and said nothing
    "keep/agent/ENOMEM/fdopendir */movies/in",  # the same
    "keep/ingest/EIO/fdatasync */journal/*.g1.journal",  # it was synced again before it went
    "keep/ingest/uring-setup:ENOMEM/4",  # the second lane went without io_uring in silence
]


def all_series():
    """SCENE/PROGRAM/FAULT."""
    files = [f"{s}/{p}/{f}" for s in SCENES for p in ("ingest", "agent") for f in FILE_FAULTS]
    rings = [f"{s}/ingest/{f}" for s in ("keep", "hdf5", "small") for f in RING_FAULTS]
    return files + rings


def drawn_series():
    """Of these the short run draws: all of their cases have been made, and none fails."""
    return [s for s in all_series() if re.match(
        r"keep/ingest/|small/agent/|(mrc|hdf5|dup|revision|placed|sealed|logged)/ingest/EIO$", s)]


def take_apart(name):
    """(series, glob or None, number or None for all)."""
    found = re.fullmatch(r"((?:patient:)?\w+/(?:ingest|agent)/[\w:-]+)"
                         r"(?:/(?:(\d+)|(.*?)(?:#(\d+))?))?", name)
    series, number, glob, which = found.groups() if found else (None, None, None, None)
    if series is None or series.split("/")[0].removeprefix("patient:") not in SCENES:
        sys.exit(f"no such case: {name}")
    return series, glob, int(number or which or 1) if number or glob else None


def run_case(series, glob, number, patient=False, trace=False):
    """One run; its Report and what it was like. Throws where a promise is broken."""
    scene, program, kind = series.removeprefix("patient:").split("/")
    patient |= series.startswith("patient:")
    for _ in range(5):
        with Workspace() as work:
            case = Case(work, SCENES[scene], f"millrace-{program}", kind, number, glob, patient,
                        trace)
            try:
                report = case.run()
            except Again:
                continue
            except Exception:
                print(f"{series}: {case.report().what if case.fault else 'before the fault'}; "
                      f"{case.outcome}; failed movies: {case.failures()}", flush=True)
                raise
            assert report.failed or not glob, "no call fits: what is it called now?"
            if trace:
                with open(case.fault.trace_file, encoding="utf-8") as f:
                    print(f.read().replace(work.path, ""), end="")
            told = "; ".join([report.what or "untouched", *case.outcome])
            return report, told.replace(work.path, "")
    raise AssertionError("no ports to be had")


def try_case(series, glob, number, args):
    """(whether the fault came about or None where a promise is broken, number of calls)."""
    name = f"{series}/{glob}#{number}" if glob else f"{series}/{number}"
    begun = time.monotonic()
    try:
        report, told = run_case(series, glob, number, args.patient, args.trace)
    except Skipped:
        raise
    except Exception:  # whatever it is: the next one runs
        print(f"{traceback.format_exc()}FAILED {name}", flush=True)
        return None, 0
    if args.verbose:
        print(f"{name} ({time.monotonic() - begun:.1f} s): {told}", flush=True)
    return report.failed, report.calls


class Tally:
    def __init__(self, args):
        self.args, self.runs, self.touched, self.failed = args, 0, 0, []

    def take(self, series, glob, number, result):
        touched, _ = result  # None: the case failed
        self.runs += 1
        self.touched += bool(touched)
        if touched is None:
            self.failed.append(f"{series}/{glob}#{number}" if glob else f"{series}/{number}")


def work_off(name, args):
    """A case, or all of a series: in a process of its own. Returns the results."""
    series, glob, number = take_apart(name)
    if number is not None:
        return [(series, glob, number, try_case(series, glob, number, args))]
    results = []
    for number in range(1, 100000):
        result = try_case(series, None, number, args)
        results.append((series, None, number, result))
        # untouched; or it is no call that fails any more
        if result[0] == 0 or all(r[3][0] is None for r in results[-GIVE_UP:]) and number > GIVE_UP:
            break
    return results


def draw(rng, args, end):
    """Random ones until `end`."""
    results = []
    while time.monotonic() < end:
        series, number = rng.choice(drawn_series()), rng.randrange(1, 150)
        result = try_case(series, None, number, args)
        if result[0] == 0 and result[1] > 0:  # so many calls there are not
            number = rng.randrange(1, result[1] + 1)
            result = try_case(series, None, number, args)
        results.append((series, None, number, result))
    return results


def begin_worker():
    LIBC.prctl(PR_SET_PDEATHSIG, 9)


def jobs_of(args, pool):
    if args.case:
        return [pool.submit(work_off, name, args) for name in args.case]
    if args.long:
        return [pool.submit(work_off, name, args) for name in all_series()]
    seed = int(os.environ.get("MILLRACE_TEST_SEED", time.time_ns() % 1000000))
    print(f"MILLRACE_TEST_SEED={seed}")
    end = time.monotonic() + SHORT
    return [pool.submit(work_off, name, args) for name in KNOWN] + [
        pool.submit(draw, random.Random(seed + i), args, end) for i in range(args.jobs)]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", default=is_long(), help="all of them")
    parser.add_argument("--list", action="store_true", help="for a campaign: it is one test")
    parser.add_argument("--jobs", type=int, default=2, help="at a time (2)")
    parser.add_argument("--patient", action="store_true",
                        help="wait for what was put off, where else the server is started again")
    parser.add_argument("--trace", action="store_true", help="print the calls that count")
    parser.add_argument("--verbose", action="store_true", help="say how each case ended")
    parser.add_argument("case", nargs="*", metavar="CASE")
    args = parser.parse_args()
    if args.list:
        return 0
    for name in args.case:
        take_apart(name)
    tally = Tally(args)
    with Workspace() as templates:
        Scene.templates = templates.path
        with concurrent.futures.ProcessPoolExecutor(
                args.jobs, multiprocessing.get_context("fork"), begin_worker) as pool:
            try:
                for job in concurrent.futures.as_completed(jobs_of(args, pool)):
                    for series, glob, number, result in job.result():
                        tally.take(series, glob, number, result)
            except Skipped as reason:
                print(f"skipped: {reason}")
                return 77
    print(f"{tally.runs} runs, {tally.touched} with a fault, {len(tally.failed)} failed")
    for name in tally.failed:
        print(f"  repeat: tests/fault/check_nth.py '{name}'")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
