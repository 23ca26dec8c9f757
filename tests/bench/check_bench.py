#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Does the bench run through, with sizes at which its figures mean nothing, and leave JSON and CSV
that say what was measured? check_bench.py ITEM,...; no figure is judged."""
import csv
import glob
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "integration"))
import bench  # noqa: E402  (which imports millrace)
import millrace  # noqa: E402

ITEMS = sys.argv.pop(1).split(",")


def test_the_bench_measures_and_writes(work):
    millrace.need_programs("millrace-agent", "millrace-ingest", "millrace-events", "millrace-sim")
    out = work.folder("out")
    script = os.path.join(os.path.dirname(__file__), "bench.py")
    done = subprocess.run([sys.executable, script, "--tiny", "--only", ",".join(ITEMS), "--dir",
                           work.path, "--source", work.folder("source"), "--out", out],
                          capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    folder, = glob.glob(os.path.join(out, "*"))
    with open(os.path.join(folder, "bench.json"), encoding="utf-8") as f:
        result = json.load(f)
    assert not result["wrong"], result["wrong"]
    assert {f["item"] for f in result["figures"]} == set(ITEMS), done.stdout
    for figure in result["figures"]:
        assert figure["samples"] or figure["absent"], figure
        assert figure["figure"] in done.stdout, figure
        for beside in figure["beside"]:
            assert beside["samples"] or beside["absent"], beside
    assert {"cpu", "memory", "system", "agent", "server", "peers"} <= set(result["machine"])
    with open(os.path.join(folder, "bench.csv"), encoding="utf-8", newline="") as f:
        rows = list(csv.DictReader(f))
    assert len([r for r in rows if not r["beside"]]) == len(result["figures"])
    if "raw" in ITEMS:
        agent, server = result["stages"]["raw"]
        assert agent["threads"]["tail"]["items"] == 2, agent
        assert agent["program"] == "millrace-agent" and server["program"] == "millrace-ingest"
    assert os.listdir(os.path.join(work.path, "source")) == []


def test_every_item_is_in_a_test(work):
    """Of all those that ctest runs, as CMakeLists.txt has them."""
    if "MILLRACE_BENCH_ITEMS" not in os.environ:
        raise millrace.Skipped("only ctest knows which items it runs")
    tried = os.environ["MILLRACE_BENCH_ITEMS"].split(",")
    assert sorted(tried) == sorted(bench.ITEMS), f"{tried} are not {list(bench.ITEMS)}"


def test_an_unknown_item_is_refused(work):
    done = subprocess.run([sys.executable, os.path.join(os.path.dirname(__file__), "bench.py"),
                           "--only", "raw,speed", "--out", work.path], capture_output=True,
                          text=True)
    assert done.returncode == 2 and "speed" in done.stderr, done


if __name__ == "__main__":
    sys.exit(millrace.run(globals()))
