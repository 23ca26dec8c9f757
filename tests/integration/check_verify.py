#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""millrace-ingest --verify: what it finds, what it says, and how it ends."""
import contextlib
import os
import random
import subprocess
import sys
import time

from millrace import binary, run, wait_for

REVISIONS = 8  # of files that are read while the next is made


def make(work, name, size, seed):
    path = os.path.join(work.movies, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(random.Random(seed).randbytes(size))
    return path


def shipped(work, **files):
    """A server with these files committed below k3/movies, as {name: size}."""
    server = work.server()
    for seed, (name, size) in enumerate(files.items()):
        make(work, name.replace("__", "/"), size, seed)
    assert work.push(server, "--agent", "k3", work.movies).process.returncode == 0
    return server


def verify(server, *words, status=0):
    done = subprocess.run([binary("millrace-ingest"), "--config", server.file, "--verify", *words],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
    assert "Sanitizer" not in done.stderr, done.stderr
    return done.stdout.splitlines(), done.stderr


def stored(server, name):
    return os.path.join(server.store, "k3", "movies", name)


def flip(path, offset, keep_time=True):
    before = os.stat(path)
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)
        f.seek(offset)
        f.write(bytes([byte[0] ^ 16]))
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_store_that_is_whole(work):
    server = shipped(work, a=5_000_000, b__c=1, b__d=0, e=4096)
    for running in (True, False):
        lines, said = verify(server)
        assert not lines and "4 files" in said, said
        lines, said = verify(server, "--rate", "100MiB", stored(server, "b"))
        assert not lines and "2 files" in said, said
        assert "1 files" in verify(server, "k3/movies/e")[1]
        if running:
            server.stop()
    bare = subprocess.run([binary("millrace-ingest"), "--store", server.store, "--verify"],
                          capture_output=True, text=True, timeout=60)
    assert bare.returncode == 0, bare.stderr


def test_what_is_wrong_is_named(work):
    server = shipped(work, flipped=9_000_000, changed=1000, shorter=1000, gone=1000, folder=10,
                     link=10, touched=1000, good=1000)
    flip(stored(server, "flipped"), 8_999_999)
    flip(stored(server, "changed"), 0, keep_time=False)
    os.truncate(stored(server, "shorter"), 999)
    os.unlink(stored(server, "gone"))
    os.unlink(stored(server, "folder"))
    os.mkdir(stored(server, "folder"))
    os.unlink(stored(server, "link"))
    os.symlink("good", stored(server, "link"))
    os.utime(stored(server, "touched"))
    lines, said = verify(server, status=1)
    found = {line.split(":")[0] for line in lines}
    assert found == {"DAMAGED k3/movies/flipped", "CHANGED k3/movies/changed",
                     "CHANGED k3/movies/shorter", "MISSING k3/movies/gone",
                     "CHANGED k3/movies/folder", "CHANGED k3/movies/link"}, lines
    assert "1 damaged, 4 changed, 1 missing" in said, said
    lines, _ = verify(server, "k3/movies/gone", status=1)
    assert len(lines) == 1
    assert verify(server, "--allow-missing", "k3/movies/gone")[0] == []
    assert verify(server, "k3/movies/good")[0] == []


def test_damaged_file_is_fetched_again(work):
    server = shipped(work, a=100_000, b=100)
    flip(stored(server, "a"), 50_000)
    verify(server, status=1)
    os.rename(stored(server, "a"), os.path.join(work.path, "damaged"))
    push = work.push(server, "--agent", "k3", work.movies)
    assert push.process.returncode == 0 and "1 were in the store" in push.messages()
    assert verify(server)[0] == []


def test_newest_revision_counts(work):
    server = shipped(work, a=1000)
    agent = work.agent(server, name="k3")
    wait_for(lambda: "a is committed" in agent.messages() or "was in the store" in agent.messages(),
             what="the file is known")
    make(work, "a", 2000, 77)

    def arrived():
        with contextlib.suppress(FileNotFoundError):
            return os.path.getsize(stored(server, "../a")) == 2000
    wait_for(arrived, what="revision 2")
    wait_for(lambda: not verify(server)[0], what="it is as it was committed")
    agent.stop()


def newest_revision(server):
    return max((e["data"]["revision"] for e in server.ready_events()), default=0)


def test_files_come_and_change_meanwhile(work):
    """A revision after the other under a reader's hands: never a false alarm."""
    server = work.server()
    agent = work.agent(server, name="k3", config={"watch": {"complete": {"quiet": "100ms"}}})
    looks = 0

    def is_stored(wanted):
        nonlocal looks
        if newest_revision(server) > 0:
            lines, _ = verify(server)
            assert not lines, lines
            looks += 1
        return newest_revision(server) >= wanted
    for revision in range(1, REVISIONS + 1):
        for name in "ab":
            make(work, name, 300_000 + revision, revision)
        wait_for(lambda n=revision: is_stored(n), what=f"revision {revision}")
    assert looks >= REVISIONS, looks
    agent.stop()
    verify(server)


def test_damaged_records(work):
    server = shipped(work, a=1000, b=1000, c=1000)
    server.stop()
    records = os.path.join(server.store, ".millrace")
    for name in ("catalogue.log", "events/00000001.log"):
        path = os.path.join(records, name)
        with open(path, "rb") as f:
            whole = f.read()
        for place in (30, len(whole) // 2, len(whole) - 1, len(whole) - 20):
            flip(path, place)
            lines, _ = verify(server, status=1)
            assert any(f".millrace/{name}" in line for line in lines), lines
            with open(path, "wb") as f:
                f.write(whole)
        with open(path, "wb") as f:  # cut short: the next start takes it away
            f.write(whole + whole[:40])
        assert verify(server)[0] == []
        with open(path, "wb") as f:
            f.write(whole)
    os.unlink(os.path.join(records, "events", "00000001.log"))
    lines, _ = verify(server, status=1)
    assert len(lines) == 3 and "is not that of" in lines[0], lines


def test_usage(work):
    server = shipped(work, a=1000)
    for words, status, said in ((["nowhere"], 1, "nothing is recorded at or below nowhere"),
                                (["/etc"], 1, "is not below"), (["--rate", "fast"], 64, "--rate"),
                                (["a", "b"], 64, "none is expected")):
        assert said in verify(server, *words, status=status)[1]
    for words, status in ((["--rate", "1MiB"], 64), (["--allow-missing"], 64)):
        done = subprocess.run([binary("millrace-ingest"), "--config", server.file, *words],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == status, done.stderr
    done = subprocess.run([binary("millrace-ingest"), "--store", work.folder("empty"), "--verify"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 74 and "is it a store?" in done.stderr, done.stderr


def test_rate_is_kept(work):
    server = shipped(work, a=3_000_000)
    began = time.monotonic()
    verify(server, "--rate", "2MiB")
    assert time.monotonic() - began > 1


if __name__ == "__main__":
    sys.exit(run(globals()))
