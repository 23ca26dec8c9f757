#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the store or the machine refuses: a full disk, one that went read-only, keep_free, folders
that cannot be written, ports and stores that are taken, no O_DIRECT, no io_uring. It is said where
an operator looks, the source stays, others go on, and once mended all completes."""
import os
import random
import re
import subprocess
import sys
import time

from aftermath import check_store, committed, events, is_long, make_movies, sha256, total
from loopdisk import MIB, Disk, do
from millrace import Agent, Program, Server, Skipped, binary, run, wait_for

LONG = is_long()
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def disk_is_full(work, kind):
    """Movies that do not fit wait and say so in both logs, for as long as it takes; one that was
    finished before is not touched; then there is room."""
    with Disk(work, kind, 192) as disk:
        server = disk.server(work)
        first, = make_movies(work.movies, 1, 4 * MIB, random.Random(2))
        agent = work.agent(server)
        wait_for(lambda: first.path in committed(agent), what="the first is committed")
        disk.fill(48 * MIB)
        movies = [first, *make_movies(work.movies, 3, 40 * MIB, random.Random(1), first=2)]
        for program in (server, agent):
            program.wait_for_message("(?i)no space left")
        time.sleep(11 if LONG else 6)  # rounds of asking again
        sizes = [len(p.messages().splitlines()) for p in (server, agent)]
        assert server.alive() and agent.alive() and len(committed(agent)) < len(movies)
        assert all(os.path.exists(m.path) for m in movies)
        disk.free()
        wait_for(lambda: len(committed(agent)) == len(movies), 60, "all movies are committed")
        check_store(server, movies, folder="")
        print(f"on a full {kind} the server had said {sizes[0]} lines, the agent "
              f"{sizes[1]}")
        assert "DEMAND" not in agent.messages(), "credit does not add up"
        assert agent.stop() == 0 and server.stop() == 0


def test_disk_is_full(work):
    disk_is_full(work, "ext4")


def test_tmpfs_is_full(work):
    if not LONG:
        raise Skipped("only with --long")
    disk_is_full(work, "tmpfs")


def test_not_a_byte_is_left(work):
    """Events and the catalogue have room of their own: agents come and go, the server stays."""
    with Disk(work, "ext4", 64) as disk:
        server = disk.server(work)
        disk.fill(0)
        movie, = make_movies(work.movies, 1, 8 * MIB, random.Random(1))
        agent = work.agent(server)
        agent.wait_for_message("(?i)no space left")
        for _ in range(3):
            agent.stop()
            agent.start()
        agent.wait_for_message("(?i)no space left")
        assert server.alive()
        for end in (server.stop, server.kill, server.stop, server.stop):
            end()
            server.start()  # each claims the store anew
        disk.free()
        wait_for(lambda: committed(agent), 60, "the movie is committed")
        check_store(server, [movie], folder="")


def test_keep_free_is_kept(work):
    """No new movie below it; /readyz says so."""
    with Disk(work, "ext4", 256) as disk:
        server = disk.server(work, keep_free="50%")
        disk.fill(100 * MIB)
        wait_for(lambda: server.get("/readyz") is None, what="not ready")
        movies = make_movies(work.movies, 2, 8 * MIB, random.Random(1))
        agent = work.agent(server)
        for program in (server, agent):
            program.wait_for_message("keep_free")
        assert not committed(agent)
        disk.free()
        wait_for(lambda: len(committed(agent)) == 2, 60, "all movies are committed")
        check_store(server, movies, folder="")


def space_events(server):
    return [e["type"].split(".")[2] for e in events(server) if ".store." in e["type"]]


def metric(server, name):
    found = re.search(rf"^{name} ([0-9.e+]+)$", server.get("/metrics"), re.M)
    return float(found[1])


def durable(server):
    return sum(m["durable_slabs"] for m in (server.status() or {}).get("movies", []))


def test_keep_free_is_reached_in_mid_movie(work):
    """No credit for anybody, a movie in flight included; it is said where it should be, and all
    goes on by itself. A server that starts meanwhile does not say it twice."""
    with Disk(work, "ext4", 1024) as disk:  # room kept ahead for a movie must not reach it again
        server = disk.server(work, {"memory": {"pool": "40MiB"}}, keep_free="30%")
        agent = work.agent(server)
        camera = work.camera(nx=1024, ny=1024, frames=96, mode=6, step=True)
        camera.step(20)
        wait_for(lambda: durable(server) >= 2, what="the first slabs")
        disk.fill(100 * MIB)
        wait_for(lambda: (server.status() or {}).get("store", {}).get("paused"), what="the pause")
        assert server.get("/readyz") is None and metric(server, "millrace_store_paused") == 1
        server.wait_for_message("keep_free")
        wait_for(lambda: space_events(server) == ["full"], what="its event")
        camera.step(76)  # the camera does not wait
        movies = camera.results()
        seen = -1
        while seen != durable(server):  # what was granted before still lands
            seen = durable(server)
            time.sleep(2)
        assert seen < 20 and not committed(agent), f"{seen} slabs: without credit"
        assert server.stop() == 0
        Program.start(server)  # and never ready
        wait_for(lambda: agent.messages().count("tail: session with") >= 2, what="the agent")
        assert space_events(server) == ["full"]
        disk.free()
        wait_for(lambda: len(committed(agent)) == len(movies), 60, "the movie is committed")
        assert server.get("/readyz") and metric(server, "millrace_store_paused") == 0
        assert space_events(server) == ["full", "space"]
        found = {e["subject"]: e["data"]["path"] for e in events(server)
                 if e["type"] == "millrace.movie.ready.v1"}
        for movie in movies:
            assert sha256(found[os.path.basename(movie.path)]) == sha256(movie.path)
        disk.fill(100 * MIB)
        wait_for(lambda: space_events(server) == ["full", "space", "full"], what="again")
        assert server.stop() == 0
        disk.free()
        server.start()  # there was room again while no server ran
        wait_for(lambda: space_events(server) == ["full", "space"] * 2, what="the change is told")


def test_disk_goes_read_only(work):
    """As ext4 does after an error of the disk."""
    with Disk(work, "ext4", 256) as disk:
        server = disk.server(work)
        movies = make_movies(work.movies, 2, 48 * MIB, random.Random(1))
        agent = work.agent(server)
        wait_for(lambda: (total(server, "received_slabs") or 0) >= 3, what="some slabs")
        do("mount", "-o", "remount,abort", disk.path)
        wait_for(lambda: re.search("(?i)read-only|input/output", server.messages()),
                 what="the server says so")
        server.end()
        Program.start(server)  # refused with words while it is read-only
        assert server.wait() == 74, server.messages()
        assert re.search("(?i)read-only", server.messages()), server.messages()
        disk.unmount()
        subprocess.run(["e2fsck", "-p", "-f", disk.image], capture_output=True, check=False)
        disk.mount()
        server.start()
        wait_for(lambda: len(committed(agent)) == 2, 60, "all movies are committed")
        check_store(server, movies, folder="")


def refused(words, status, *patterns):
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert done.returncode == status, f"{words}: {done.returncode}: {done.stderr}"
    for pattern in patterns:
        assert re.search(pattern, done.stderr), f"{pattern} not in {done.stderr}"


def test_folders_that_cannot_be_written(work):
    if os.geteuid() != 0 or subprocess.run([*NOBODY, binary("millrace-ingest"), "--version"],
                                           capture_output=True).returncode != 0:
        raise Skipped("not root, or others may not run the programs")
    os.chmod(work.path, 0o755)
    server, agent_server = Server(work), Server(work, name="storage2")
    os.chmod(server.store, 0o777)
    refused([*NOBODY, binary("millrace-ingest"), *server.words], 74, "storage1-state")
    os.chmod(server.config["ingest"]["state_dir"], 0o777)
    os.chmod(server.store, 0o755)
    refused([*NOBODY, binary("millrace-ingest"), *server.words], 74, "storage1-store")
    agent = Agent(work, agent_server)
    refused([*NOBODY, binary("millrace-agent"), *agent.words], 74, "k3-krios1-state")


def test_folder_in_the_store_that_cannot_be_written(work):
    """One movie's trouble, not the others'."""
    if os.geteuid() != 0:
        raise Skipped("chattr needs root")
    with Disk(work, "ext4", 128) as disk:
        server = disk.server(work)
        locked = os.path.join(server.store, "k3-krios1", "locked")
        os.makedirs(locked)
        do("chattr", "+i", locked)
        movies = make_movies(work.movies, 1, 4 * MIB, random.Random(1))
        movies += make_movies(work.folder("movies/locked"), 1, 4 * MIB, random.Random(2), first=2)
        agent = work.agent(server)
        for program in (server, agent):
            program.wait_for_message(r"locked.*(?i:not permitted|permission)")
        wait_for(lambda: movies[0].path in committed(agent), what="the other goes on")
        do("chattr", "-i", locked)
        wait_for(lambda: len(committed(agent)) == 2, 60, "all movies are committed")
        found = {e["subject"]: e["data"]["path"] for e in events(server) if "path" in e["data"]}
        assert sha256(found["locked/movie_0002.mrc"]) == sha256(movies[1].path)


def test_port_and_store_are_taken(work):
    server = work.server()
    other = Server(work, {"store": {"root": server.store}}, name="storage2")
    refused([binary("millrace-ingest"), *other.words], 1, re.escape(server.store), "another server")
    other = Server(work, {"listen": server.config["listen"]}, name="storage3")
    refused([binary("millrace-ingest"), *other.words], 1, "tcp://127.0.0.1:[0-9]+", "in use")
    assert server.status() is not None


def lands(work, server, engine):
    movies = work.camera(nx=1024, ny=1024, frames=12, mode=6, movies=2).results()
    for output in ("keep", "hdf5"):
        push = work.push(server, "--agent", "k3", "--output", output, work.movies)
        assert push.process.returncode == 0, push.messages()
    assert {lane["engine"] for lane in server.status()["lanes"]} == {engine}, server.status()
    return movies


def test_without_io_uring(work):
    server = work.server(env={"MILLRACE_FORCE_PWRITE_POOL": "1"})
    lands(work, server, "pwrite")


def without_direct(folder):
    """Where the file system refuses O_DIRECT, which newer kernels' tmpfs does not."""
    try:
        os.close(os.open(os.path.join(folder, "probe"), os.O_CREAT | os.O_RDWR | os.O_DIRECT))
    except OSError:
        return True
    os.unlink(os.path.join(folder, "probe"))
    return False


def test_tmpfs_store(work):
    with Disk(work, "tmpfs", 128) as disk:
        server = disk.server(work)
        lands(work, server, "io_uring")


def test_direct_io_is_refused(work):
    with Disk(work, "tmpfs", 128) as disk:
        if not without_direct(disk.path):
            raise Skipped("this kernel's tmpfs takes O_DIRECT")
        server = Server(work, {"store": {"root": os.path.join(disk.path, "store"),
                                         "direct_io": "on"}})
        Program.start(server)
        wait_for(lambda: not server.alive() or server.get("/readyz"), what="a decision")
        if server.alive():
            make_movies(work.movies, 1, 4 * MIB, random.Random(1))
            agent = work.agent(server)
            for program in (server, agent):
                program.wait_for_message("direct_io")
        else:
            assert "direct_io" in server.messages()


if __name__ == "__main__":
    sys.exit(run(globals()))
