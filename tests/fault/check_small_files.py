#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Small files are committed many at a time: the server dies at each step within a group, a syncfs
fails, the power is cut. In the end each file is stored once, whole, and announced once."""
import os
import re
import signal
import sys

from aftermath import COMMIT, check_catalogue, check_events, check_nothing_left, dice, events, \
    how_many, is_long, sha256
from loopdisk import Disk, pull_the_plug
from millrace import Agent, Skipped, files_below, run, wait_for

LONG = is_long()
CUTS = how_many(quick=3, long=100)
STEPS = ["part-complete:3", "before-sealed", "group-written", "sealed", "renamed:4", *COMMIT[1:]]
SOME = ["group-written", "sealed", "renamed:4", "log-synced"]


def make_files(work, count, rng, folder="in"):
    """In folders of ten; a few are empty."""
    for n in range(count):
        size = 0 if n % 17 == 3 else rng.randrange(1, 65537)
        below = os.path.join(work.movies, folder, f"d{n // 10:03}")
        os.makedirs(below, exist_ok=True)
        with open(os.path.join(below, f"f{n:05}.dat"), "wb") as f:
            f.write(rng.randbytes(size))


def check_all(work, server):
    """Every source is in the store, once and whole, and nothing else is."""
    ready = check_events(server, lambda e: e["data"]["source_path"])
    names = files_below(work.movies)
    assert sorted(ready) == [os.path.join(work.movies, n) for n in names], "other ready events"
    for source, event in ready.items():
        assert sha256(event["data"]["path"]) == sha256(source), f"{source} is not as it was"
    stored = [n for n in files_below(server.store) if n.endswith(".dat")]
    assert len(stored) == len(names), f"{len(stored)} files of {len(names)} sources"
    check_nothing_left(server.store)
    wait_for(lambda: not os.listdir(os.path.join(server.store, ".millrace", "journal")),
             what="no group is left behind")
    check_catalogue(server, ready)


def crash_at(step):
    def test(work):
        make_files(work, 40, dice())
        server = work.server(env={"MILLRACE_CRASH_AT": step})
        push = work.start_push(server, "--agent", "k3", work.movies)
        assert server.wait() == -signal.SIGKILL, f"{step}: {server.process.returncode}"
        server.start()
        assert push.wait(120) == 0, f"{step}: {push.messages()}"
        check_all(work, server)
        assert server.stop() == 0
    return test


def sync_fails(nth):
    """The nth syncfs: what it was to sync begins again, without another life of the server."""
    def test(work):
        make_files(work, 40, dice())
        server = work.server(env={"MILLRACE_FAIL_AT": f"syncfs:{nth}:EIO"})
        push = work.start_push(server, "--agent", "k3", work.movies)
        assert push.wait(120) == 0, push.messages()
        failed = "failpoint syncfs" in server.messages()
        assert failed or nth > 2, "a group has two: are these small files?"
        check_all(work, server)
        assert server.stop() == 0
        if not failed:
            raise Skipped(f"there were fewer than {nth} syncfs")
    return test


def cut_power(work, kind):
    """At random moments, while small files are shipped."""
    rng = dice()
    with Disk(work, kind, 512) as disk:
        server = disk.server(work)
        agent = Agent(work, server)
        agent.start()
        for n in range(CUTS):
            before = len(events(server))
            make_files(work, 60, rng, f"round{n}")
            wanted = before + rng.randrange(1, 60)
            wait_for(lambda m=wanted: len(events(server)) >= m, 60, "some are committed")
            told = set(re.findall(r"is committed: (\S+) ", agent.messages()))
            pull_the_plug([disk], [server])
            server.start()
            lost = [path for path in told if not os.path.exists(path)]
            assert not lost, f"told of {lost}, they are not there"
        total = len(files_below(work.movies))
        wait_for(lambda: sum(".ready." in e["type"] for e in events(server)) >= total, 90,
                 f"all {total} are committed")
        assert agent.stop() == 0
        check_all(work, server)
        assert server.stop() == 0


def test_power_ext4(work):
    cut_power(work, "ext4")


def test_power_xfs(work):
    cut_power(work, "xfs")


def add(names):
    for step in STEPS if LONG else SOME:
        names[f"test_crash_at_{re.sub('[-:]', '_', step)}"] = crash_at(step)
    for nth in (1, 2, 3, 4) if LONG else (1, 2):
        names[f"test_syncfs_{nth}_fails"] = sync_fails(nth)


add(globals())
if __name__ == "__main__":
    sys.exit(run(globals()))
