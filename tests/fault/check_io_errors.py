#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes that fail under programs that work: the store's disk dies (EIO), files may not grow past a
limit (EFBIG), at the server and at the agent. What was promised stays, and once mended all
completes."""
import random
import re
import resource
import signal
import subprocess
import sys

from aftermath import check_store, committed, events, make_movies, total
from loopdisk import MIB, Disk
from millrace import run, wait_for


def disk_dies(work, kind):
    """Every call fails with EIO from one moment on, under a server that works. It ends or stays; no
    movie is announced that is not there, and with the disk back all is committed."""
    with Disk(work, kind, 256) as disk:
        server = disk.server(work)
        movies = make_movies(work.movies, 2, 48 * MIB, random.Random(1))
        agent = work.agent(server)
        wait_for(lambda: (total(server, "received_slabs") or 0) >= 3, what="some slabs")
        disk.shut_down()
        wait_for(lambda: re.search("(?i)input/output", server.messages()), what="it says so")
        told = committed(agent)
        if not server.alive():
            assert server.wait() == 74, server.messages()
        server.end()
        disk.mount_again()
        server.start()
        ready = {e["data"]["source_path"] for e in events(server) if "path" in e["data"]}
        assert told <= ready, f"told of {told}, there is {ready}"
        wait_for(lambda: len(committed(agent)) == 2, 60, "all movies are committed")
        check_store(server, movies, folder="")


def test_disk_dies(work):
    disk_dies(work, "ext4")


def test_xfs_dies(work):
    disk_dies(work, "xfs")


def test_read_only_under_way(work):
    """Nobody can remount a store read-only while a server has it, and who tries does no harm. An
    ext4 that finds an error makes itself so: the server says it, and told to stop does not wait for
    a lease that cannot be renewed. Mounted anew, all completes."""
    with Disk(work, "ext4", 256) as disk:
        server = disk.server(work, lease="1s")
        movies = make_movies(work.movies, 2, 48 * MIB, random.Random(1))
        agent = work.agent(server)
        wait_for(lambda: (total(server, "received_slabs") or 0) >= 3, what="some slabs")
        tried = subprocess.run(["mount", "-o", "remount,ro", disk.path], check=False,
                               capture_output=True, text=True)
        assert tried.returncode != 0 and "busy" in tried.stderr, tried
        disk.break_under_way()
        server.wait_for_message("(?i)read-only")
        told = committed(agent)
        if server.alive():
            server.signal(signal.SIGTERM)
        assert server.wait() in (0, 74), server.messages()
        disk.mount_again()
        server.start()
        ready = {e["data"]["source_path"] for e in events(server) if "path" in e["data"]}
        assert told <= ready, f"told of {told}, there is {ready}"
        wait_for(lambda: len(committed(agent)) == 2, 60, "all movies are committed")
        check_store(server, movies, folder="")


def limit_file_size(program, most):
    hard = resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, (most, hard))


def test_files_may_not_grow(work):
    """RLIMIT_FSIZE of the server: a large movie waits and says why, a small one passes it by."""
    server = work.server()
    limit_file_size(server, 32 * MIB)
    movies = make_movies(work.movies, 1, 64 * MIB, random.Random(1))
    agent = work.agent(server)
    for program in (server, agent):
        program.wait_for_message("(?i)file too large")
    movies += make_movies(work.movies, 1, 4 * MIB, random.Random(2), first=2)
    wait_for(lambda: movies[1].path in committed(agent), what="the small one is committed")
    assert movies[0].path not in committed(agent)
    limit_file_size(server, resource.RLIM_INFINITY)
    wait_for(lambda: len(committed(agent)) == 2, 60, "both are committed")
    check_store(server, movies, folder="")


def test_the_agents_files_may_not_grow(work):
    """RLIMIT_FSIZE of the agent: its journal cannot be written, so no new movie leaves."""
    server = work.server()
    agent = work.agent(server)
    agent.wait_for_message("session with")
    limit_file_size(agent, 12 * 1024)
    movies = make_movies(work.movies, 1, 8 * MIB, random.Random(1))
    agent.wait_for_message("the journal cannot be written")
    assert not committed(agent) and not server.status()["movies"]
    limit_file_size(agent, resource.RLIM_INFINITY)
    wait_for(lambda: committed(agent), 60, "it is committed")
    check_store(server, movies, folder="")


if __name__ == "__main__":
    sys.exit(run(globals()))
