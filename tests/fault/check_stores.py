#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""--check-store on file systems that differ, and movies, revisions and quotas there. What holds
where is told in docs/FILESYSTEMS.md."""
import os
import random
import re
import subprocess
import sys

from aftermath import check_store, committed, events, make_movies, sha256
from loopdisk import MIB, Disk, do
from millrace import binary, run, wait_for

LINE = re.compile(r"(.{18}) (ok   |note |FAIL ) (.+)")
FINDINGS = ["file system", "space", "in use", "writing", "openat2", "direct I/O", "io_uring",
            "allocate ahead", "fdatasync", "fsync of folders", "rename", "rename across",
            "exchange", "long names", "birth time", "two processes", "lease", "group",
            "default ACL", "project", "quota"]


def check(folder, status=0):
    """{finding: (verdict, words)}"""
    done = subprocess.run([binary("millrace-ingest"), "--check-store", folder],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
    *lines, last = done.stdout.splitlines()
    assert last == ("usable as a store" if status == 0 else "NOT usable as a store"), done.stdout
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), done.stdout
    print(done.stdout, end="")
    return {m[1].rstrip(): (m[2].rstrip(), m[3]) for m in found}


def carries_movies(work, disk, **store):
    """A movie, and a file that changes after it was stored."""
    server = disk.server(work, **store)
    movies = make_movies(work.movies, 2, 12 * MIB, random.Random(1))
    log = work.write("movies/session.log", "one\n")
    agent = work.agent(server)
    wait_for(lambda: len(committed(agent)) == 3, what="all are committed")
    with open(log, "a", encoding="ascii") as f:
        f.write("two\n")
    stored = os.path.join(server.store, "k3-krios1", "session.log")
    wait_for(lambda: sha256(stored) == sha256(log), what="the revision")
    os.unlink(log)
    wait_for(lambda: not os.listdir(os.path.join(server.store, ".millrace", "journal")),
             what="the end of it")
    check_store(server, movies, folder="")
    return server


def usable(work, kind, mib=256, **verdicts):
    with Disk(work, kind, mib) as disk:
        found = check(disk.path)
        assert list(found) == FINDINGS, found
        assert not os.listdir(disk.path) or os.listdir(disk.path) == ["lost+found"]
        for name, verdict in verdicts.items():
            name = name.replace("_", " ")
            assert found[name][0] == verdict, f"{name}: {found[name]}"
        server = carries_movies(work, disk)
        assert check(server.store)["in use"][0] == "note"


def test_ext4(work):
    usable(work, "ext4", file_system="ok", rename="ok", exchange="ok", birth_time="ok")


def test_xfs(work):
    usable(work, "xfs", 320, file_system="ok", rename="ok", exchange="ok", birth_time="ok")


def test_tmpfs(work):
    usable(work, "tmpfs", file_system="note", rename="ok", exchange="ok")


def test_btrfs(work):
    usable(work, "btrfs", file_system="note", rename="ok", exchange="ok")


def test_overlay(work):
    with Disk(work, "ext4", 256) as disk:
        for name in ("lower", "upper", "scratch", "over"):
            os.mkdir(os.path.join(disk.path, name))
        disk.path, below = os.path.join(disk.path, "over"), disk.path
        try:
            do("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={below}/lower,upperdir="
               f"{below}/upper,workdir={below}/scratch", disk.path)
            assert check(disk.path)["file system"][0] == "note"
            carries_movies(work, disk)
        finally:
            for program in work.programs:
                program.end()
            subprocess.run(["umount", disk.path], check=False)
            disk.path = below


def test_read_only(work):
    with Disk(work, "ext4", 64) as disk:
        do("mount", "-o", "remount,ro", disk.path)
        found = check(disk.path, 74)
        assert found["writing"] == ("FAIL", "EROFS: mounted read-only") or \
            "read-only" in found["writing"][1], found


def test_not_a_byte(work):
    with Disk(work, "ext4", 64) as disk:
        disk.fill(0)
        found = check(disk.path, 74)
        assert found["space"][0] == "note" and "keep_free" in found["space"][1], found
        assert "FAIL" in [verdict for verdict, _ in found.values()], found


def test_default_acl(work):
    with Disk(work, "ext4", 64) as disk:
        do("setfacl", "-d", "-m", "u:12345:rwx", disk.path)
        assert "is set" in check(disk.path)["default ACL"][1]


def test_project(work):
    with Disk(work, "xfs", 320) as disk:
        do("xfs_io", "-r", "-c", "chproj 42", disk.path)
        assert check(disk.path)["project"][0] == "note"
        do("xfs_io", "-r", "-c", "chattr +P", disk.path)
        assert check(disk.path)["project"] == ("ok", "42, inherited by what is made")


def test_quota_of_one_folder(work):
    """btrfs, whose quotas are of subvolumes: the movie there fails alone, and is told so."""
    with Disk(work, "btrfs", 512) as disk:
        server = disk.server(work)
        folder = os.path.join(server.store, "k3-krios1")
        os.makedirs(folder, exist_ok=True)
        do("btrfs", "quota", "enable", disk.path)
        do("btrfs", "subvolume", "create", os.path.join(folder, "tight"))
        do("btrfs", "qgroup", "limit", "24M", os.path.join(folder, "tight"))
        tight, = make_movies(work.folder("movies/tight"), 1, 64 * MIB, random.Random(1))
        others = make_movies(work.movies, 3, 16 * MIB, random.Random(2), first=2)
        agent = work.agent(server)
        wait_for(lambda: len(committed(agent)) == 3, 60, "the others are committed")
        agent.wait_for_message(r"tight/\S+ failed \(permission\): .*(?i:quota)")
        told = [e for e in events(server) if e["type"] == "millrace.movie.failed.v1"]
        assert len(told) == 1 and told[0]["subject"].startswith("tight/"), told
        assert told[0]["data"]["reason_code"] == "permission", told
        assert "uota" in told[0]["data"]["reason"], told
        assert os.path.getsize(tight.path) >= 64 * MIB and server.alive()
        found = {e["subject"]: e["data"]["path"] for e in events(server) if
                 e["type"] == "millrace.movie.ready.v1"}
        for movie in others:
            assert sha256(found[os.path.basename(movie.path)]) == sha256(movie.path)
        do("btrfs", "qgroup", "limit", "none", os.path.join(folder, "tight"))
        os.utime(tight.path)
        wait_for(lambda: tight.path in committed(agent), 60, "it is taken when it is touched")


if __name__ == "__main__":
    sys.exit(run(globals()))
