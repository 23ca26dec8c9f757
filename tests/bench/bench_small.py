# SPDX-License-Identifier: Apache-2.0
"""Many small files: a tree of them, and sub-directories that appear at once under a watch."""
import os
import random
import shutil
import time

import bench_rig
from bench_report import Beside


def make_tree(rig, name, folders, files):
    """`files` of 4 to 64 KiB in each of `folders` folders; the path, how many, and their bytes."""
    chance, total = random.Random(4), 0
    noise = os.urandom(128 << 10)
    top = os.path.join(rig.memory, name)
    for folder in range(folders):
        path = os.path.join(top, f"dir{folder:04}")
        os.makedirs(path)
        for number in range(files):
            size, at = chance.randint(4 << 10, 64 << 10), chance.randrange(64 << 10)
            total += size
            with open(os.path.join(path, f"f{number:05}.bin"), "wb") as f:
                f.write(noise[at:at + size])
    return top, folders * files, total


def check_tree(rig, source, stored):
    names = bench_rig.millrace.files_below(source)
    if bench_rig.millrace.files_below(stored) != names:
        rig.book.say_wrong(f"{stored} has not the files of {source}")
        return
    for name in names:
        rig.check_same(os.path.join(source, name), os.path.join(stored, name))


def rsync(rig, source, count, *words):
    """Files a second; without --fsync one sync at the end."""
    target = rig.work.folder("small-copied")
    began = time.monotonic()
    bench_rig.timed("rsync", "-a", *words, f"{source}/", target)
    if not words:
        bench_rig.sync_tree(target)
    rate = count / (time.monotonic() - began)
    rig.put_away(target)
    return rate


def pushed(rig, server, source, count):
    done = rig.ship("small", server, source, count=count)
    stored = os.path.join(server.store, f"bench{rig.ship_count}")
    check_tree(rig, source, os.path.join(stored, os.path.basename(source)))
    rig.put_away(stored)
    return count / done.wall


def committed(server):
    return server.status()["committed"]


def appeared(rig, server, agent_folder, source, count):
    """The tree is renamed into a watch: until all of it is COMMITTED."""
    before, moved = committed(server), os.path.join(agent_folder, os.path.basename(source))
    began = time.monotonic()
    os.rename(source, moved)
    bench_rig.millrace.wait_for(lambda: committed(server) - before >= count, timeout=600,
                                what=f"{count} files committed")
    rate = count / (time.monotonic() - began)
    stored = os.path.join(server.store, "small-camera", os.path.basename(source))
    check_tree(rig, moved, stored)
    rig.put_away(stored)
    os.rename(moved, source)
    return rate


def peers(plain, synced):
    lack = bench_rig.lacks("rsync")
    return [Beside("rsync --fsync", synced, 2, absent=lack),
            Beside("rsync, one sync at the end", plain, absent=lack)]


def measure(rig, name, source, count, measure_ours):
    ours, plain, synced = [], [], []
    for _ in range(rig.sizes["rounds"]):
        ours.append(measure_ours())
        if bench_rig.lacks("rsync") is None:
            synced.append(rsync(rig, source, count, "--fsync"))
            plain.append(rsync(rig, source, count))
    rig.book.add("small", name, "files/s", ours, beside=peers(plain, synced))


def small(rig):
    rig.book.titles["small"] = "files of 4 to 64 KiB, each durable before it is COMMITTED"
    source, count, total = make_tree(rig, "flat", 1, rig.sizes["small_files"])
    with rig.server("small") as server:
        measure(rig, f"{count} files, {total / 1e6:.0f} MB, push from start to exit", source, count,
                lambda: pushed(rig, server, source, count))
    shutil.rmtree(source)
    folders = rig.sizes["small_folders"]
    source, count, total = make_tree(rig, "deep", folders, 10)
    watched = os.path.join(rig.memory, "small-watched")
    os.makedirs(watched)
    with rig.server("folders") as server:
        watch = {"path": watched, "complete": {"quiet": "1s", "give_up": "10s"}, "rescan": "10s"}
        memory = {"memory": {"pool": bench_rig.AGENT_POOL}}
        agent = rig.work.agent(server, memory, name="small-camera", watches=[watch])
        server.wait_for_event("millrace.agent.online.v1")
        numbered = iter(range(1000))

        def once():
            fresh = os.path.join(rig.memory, f"deep{next(numbered)}")  # else it would be known
            os.rename(source, fresh)
            rate = appeared(rig, server, watched, fresh, count)
            os.rename(fresh, source)
            return rate
        measure(rig, f"{folders} folders of 10 at once into a watch", source, count, once)
        tables = rig.table_of(agent), rig.table_of(server)
        rig.book.keep_stages("small", *tables)
        rig.note_peak("small", "agent", tables[0], bench_rig.AGENT_POOL)
        rig.note_peak("small", "server", tables[1], rig.options.pool)
        assert agent.stop() == 0
    shutil.rmtree(source)
    os.rmdir(watched)
