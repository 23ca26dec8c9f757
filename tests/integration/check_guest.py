#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Is the agent a good guest on the camera's host: does what it has shipped leave the page cache,
and what other programs have there stay?"""
import ctypes
import mmap
import os
import subprocess
import sys

from millrace import LIBC, Skipped, run, wait_for

MIB = 1 << 20


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


def shipped_movie(work, uncache):
    """A movie of 48 MiB, all of it in the page cache before it is shipped."""
    movie, = work.camera(nx=2048, ny=2048, frames=12, mode=0).results()
    write_back(movie.path)
    with open(movie.path, "rb") as f:
        while f.read(MIB):
            pass
    assert cached_bytes(movie.path) > 0.9 * movie.bytes
    server = work.server()
    agent = work.agent(server, {"host": {"uncache": uncache}})
    server.wait_for_event("millrace.movie.ready.v1")
    return agent, movie


def test_shipped_movies_leave_the_page_cache(work):
    need_disk(work.movies)
    other = work.write("movies/.not-shipped", "x" * 8 * MIB)
    agent, movie = shipped_movie(work, True)
    wait_for(lambda: cached_bytes(movie.path) == 0, what="the movie leaves the page cache")
    assert cached_bytes(other) == 8 * MIB
    agent.stop()


def test_they_stay_where_that_is_wanted(work):
    need_disk(work.movies)
    agent, movie = shipped_movie(work, False)
    agent.stop()
    assert cached_bytes(movie.path) > 0.9 * movie.bytes


if __name__ == "__main__":
    sys.exit(run(globals()))
