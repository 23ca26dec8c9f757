#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Is the agent a good guest on the camera's host: does what it has shipped leave the page cache,
and what other programs have there stay, and does it run where and when it is told to?"""
import ctypes
import mmap
import os
import resource
import shutil
import subprocess
import sys

from millrace import LIBC, Agent, Skipped, binary, run, wait_for

MIB = 1 << 20
IOPRIO_GET = {"x86_64": 252, "aarch64": 31}.get(os.uname().machine)  # system call's number


def cached_bytes(path):
    """Of a file, in the page cache."""
    size = os.path.getsize(path)
    pages = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE
    found = (ctypes.c_ubyte * pages)()
    with open(path, "rb+") as f, mmap.mmap(f.fileno(), size) as view:
        at = ctypes.c_char.from_buffer(view)
        code = LIBC.mincore(ctypes.c_void_p(ctypes.addressof(at)), ctypes.c_size_t(size), found)
        del at  # else the view cannot be closed
    assert code == 0
    return sum(page & 1 for page in found) * mmap.PAGESIZE


def need_disk(folder):
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True,
                          check=True).stdout.strip()
    if kind in ("tmpfs", "ramfs", "overlayfs"):
        raise Skipped(f"{folder} is a {kind}, whose pages have no other place")


def write_back(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def need_cached(path):
    """Written back and read twice, which is what the kernel keeps longest."""
    write_back(path)
    for _ in range(2):
        with open(path, "rb") as f:
            while f.read(MIB):
                pass
    if cached_bytes(path) < 0.9 * os.path.getsize(path):
        raise Skipped(f"memory is short: {path} does not stay in the page cache")


def shipped_movie(work, uncache):
    """A movie of 48 MiB, all of it in the page cache before it is shipped."""
    movie, = work.camera(nx=2048, ny=2048, frames=12, mode=0).results()
    need_cached(movie.path)
    server = work.server()
    agent = work.agent(server, {"host": {"uncache": uncache}})
    server.wait_for_event("millrace.movie.ready.v1")
    return agent, movie


def test_shipped_movies_leave_the_page_cache(work):
    need_disk(work.movies)
    others = [work.write(name, "x" * 8 * MIB) for name in ("movies/.not-shipped", "elsewhere")]
    for path in others:
        need_cached(path)
    agent, movie = shipped_movie(work, True)
    wait_for(lambda: cached_bytes(movie.path) == 0, what="the movie leaves the page cache")
    watched, elsewhere = map(cached_bytes, others)
    agent.stop()
    if elsewhere < 4 * MIB:
        raise Skipped(f"the kernel itself left {elsewhere} bytes of a file no one touched")
    assert watched > 4 * MIB, watched


def test_they_stay_where_that_is_wanted(work):
    need_disk(work.movies)
    other = work.write("elsewhere", "x" * 8 * MIB)
    need_cached(other)
    agent, movie = shipped_movie(work, False)
    agent.stop()
    stayed, elsewhere = cached_bytes(movie.path), cached_bytes(other)
    if elsewhere < 4 * MIB:
        raise Skipped(f"the kernel itself left {elsewhere} bytes of a file no one touched")
    assert stayed > movie.bytes / 2, stayed


def threads(agent):
    """Of each thread: CPUs it may run on, nice, class and level of I/O; in order."""
    found = []
    base = f"/proc/{agent.process.pid}/task"
    for tid in sorted(map(int, os.listdir(base))):
        with open(f"{base}/{tid}/stat", encoding="ascii") as f:
            nice = int(f.read().rsplit(")", 1)[1].split()[16])
        value = LIBC.syscall(IOPRIO_GET, 1, tid)
        found.append((os.sched_getaffinity(tid), nice, divmod(value, 1 << 13)))
    return found


def test_all_threads_are_where_they_are_told_to_be(work):
    if IOPRIO_GET is None:
        raise Skipped("ioprio_get's number is not known here")
    cpu = max(os.sched_getaffinity(0))
    server = work.server()
    agent = work.agent(server, {"host": {"cpus": str(cpu), "nice": 15, "io": "best-effort:6",
                                         "pack_threads": 16}})
    movie, = work.camera(nx=256, ny=256, frames=4).results()
    server.wait_for_event("millrace.movie.ready.v1", os.path.basename(movie.path))
    said = agent.messages()
    for line in (f"host.cpus: {cpu}\n", "host.nice: 15", "host.io: best-effort:6",
                 "host.pack_threads: 16, but there are 1 CPUs"):
        assert line in said, said
    found = threads(agent)
    assert len(found) > 5
    for cpus, nice, io in found:
        assert cpus == {cpu} and nice == 15 and io == (2, 6), found


def check_config(agent, *words, before=None):
    return subprocess.run([binary("millrace-agent"), *agent.words, "--check-config", *words],
                          capture_output=True, text=True, timeout=30, preexec_fn=before)


def test_a_cpu_of_others_is_refused(work):
    """Under taskset, or in a cpuset: not when it runs there, but before it starts."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise Skipped("one CPU")
    agent = Agent(work, work.server(), {"host": {"cpus": str(cpus[1])}})
    assert check_config(agent).returncode == 0
    narrow = check_config(agent, before=lambda: os.sched_setaffinity(0, {cpus[0]}))
    assert narrow.returncode == 78, narrow
    assert f"{agent.file}:1:" in narrow.stderr and "host.cpus" in narrow.stderr, narrow.stderr
    assert f"CPU {cpus[1]} is not one of those" in narrow.stderr, narrow.stderr
    narrow = check_config(agent, "--set", "host.cpus=all",
                          before=lambda: os.sched_setaffinity(0, {cpus[0]}))
    assert narrow.returncode == 0 and f"on 1 CPUs: {cpus[0]}\n" in narrow.stdout, narrow
    assert "1 x pack" in narrow.stdout, narrow


def without_privilege():
    """As under a unit with Nice=12 and User=: nobody who may go back."""
    os.setpriority(os.PRIO_PROCESS, 0, 12)
    resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)


def test_what_may_not_be_had_is_said_and_it_goes_on(work):
    movie, = work.camera(nx=256, ny=256, frames=4).results()
    os.chmod(work.path, 0o755)
    os.chmod(movie.path, 0o644)
    agent = shutil.copy(binary("millrace-agent"), work.path)  # where nobody may go as well
    done = subprocess.run([agent, "push", "--server", work.server().control,
                           "--set", "host.nice=3", "--set", "host.io=idle", movie.path],
                          capture_output=True, text=True, timeout=60, cwd=work.path,
                          preexec_fn=without_privilege)
    assert done.returncode == 0, done
    assert "host.nice: 3 is before the 12" in done.stderr, done.stderr
    assert "host.io: idle" in done.stderr, done.stderr


if __name__ == "__main__":
    sys.exit(run(globals()))
