#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Files that are no movies: every size around a slab and a block, and names of every kind."""
import os
import random
import sys

import pixels
from millrace import SLAB, files_below, run, same_file

SIZES = (0, 1, 4095, 4096, 4097, SLAB - 1, SLAB, SLAB + 1, 50_000_000)
NAMES = {  # source's name in bytes: the stored one
    b"with spaces .txt": "with spaces .txt",
    "Mikroskop-Überblick µm 電顕.log".encode(): "Mikroskop-Überblick µm 電顕.log",
    b"latin-\xfcber.log": "latin-%FCber.log",
    b"cut-\xe9\x9b.log": "cut-%E9%9B.log",
    b"percent%41.log": "percent%41.log",
    b"quote'\"$(id)`;&.log": "quote'\"$(id)`;&.log",
    b"-rf": "-rf",
    b"n" * 255: "n" * 255,
    b"noext": "noext",
    b"two.dots.tar.gz": "two.dots.tar.gz",
    b"back\\slash.txt": "back\\slash.txt",
}


def test_sizes(work):
    pixels.need_readers()
    server = work.server()
    random.seed(7)
    for size in SIZES:
        with open(os.path.join(work.movies, f"f{size}.bin"), "wb") as f:
            f.write(random.randbytes(size))
        os.utime(f.name, ns=(10**18 + size, 1_600_000_000_123_456_789 + size))
    for codec in ("none", "bslz4", "bszstd"):
        done = work.push(server, "--agent", codec, "--codec", codec, work.movies)
        assert done.process.returncode == 0
    events = server.ready_events()
    assert len(events) == 3 * len(SIZES)
    for event in events:
        source = os.path.join(work.path, event["subject"])
        data = pixels.check_ready(event, server.store, source, event["data"]["agent"], movie=False)
        assert same_file(source, data["path"]) and data["format"] == "file"
        assert "pixels" not in data["digest"] and data["codec"] == "none", data
    assert not os.path.exists(os.path.join(server.store, "none", "movies", ".millrace"))


def test_compressible_bytes(work):
    """Long runs of zeros and text: the link packs them, the file is as it was."""
    pixels.need_readers()
    server = work.server()
    path = os.path.join(work.movies, "log.txt")
    with open(path, "wb") as f:
        f.write(b"2026-11-22 frame written\n" * 300_000 + bytes(3 * SLAB + 5) + b"x" * 77)
    for codec in ("bslz4", "bszstd"):
        assert work.push(server, "--agent", codec, "--codec", codec, path).process.returncode == 0
    for event in server.ready_events():
        data = pixels.check_ready(event, server.store, path, event["data"]["agent"], movie=False)
        assert same_file(path, data["path"])
    lanes = server.status()["lanes"]
    sent = sum(lane["received_bytes"] for lane in lanes)
    assert sent < sum(lane["raw_bytes"] for lane in lanes) / 10, f"{sent} bytes travelled"


def test_names(work):
    pixels.need_readers()
    server = work.server()
    for number, name in enumerate(NAMES):
        with open(os.path.join(work.movies.encode(), name), "wb") as f:
            f.write(b"%d" % number)
    done = work.push(server, "--agent", "namer", work.movies)
    assert done.process.returncode == 0, done.messages()
    stored = {e["data"]["relative_path"]: e for e in server.ready_events()}
    want = {f"namer/movies/{name}" for name in NAMES.values()}
    assert set(stored) == want, f"{sorted(stored)}, not {sorted(want)}"
    assert set(files_below(server.store)) == want
    for number, name in enumerate(NAMES.values()):
        with open(os.path.join(server.store, "namer/movies", name), "rb") as f:
            assert f.read() == b"%d" % number, name


def test_a_tree(work):
    """Folders in folders, with an empty one and a link; links are not followed out of the tree."""
    server = work.server()
    deep = os.path.join(work.movies, *(f"level {n}" for n in range(12)))
    os.makedirs(deep)
    os.mkdir(os.path.join(work.movies, "empty"))
    with open(os.path.join(deep, "leaf.txt"), "w", encoding="ascii") as f:
        f.write("leaf")
    os.symlink("/etc", os.path.join(work.movies, "etc"))
    assert work.push(server, "--agent", "tree", work.movies).process.returncode == 0
    want = os.path.join("tree", os.path.relpath(f.name, work.path))
    assert files_below(server.store) == [want], files_below(server.store)


def test_one_file_gives_its_name(work):
    server = work.server()
    path = work.write("movies/a.txt", "a")
    assert work.push(server, "--agent", "one", path).process.returncode == 0
    assert files_below(server.store) == ["one/a.txt"]


def test_what_is_not_there(work):
    server = work.server()
    done = work.push(server, os.path.join(work.movies, "missing.mrc"))
    assert done.process.returncode not in (0, -6, -11), done.process.returncode
    assert "missing.mrc" in done.messages() and "No such file" in done.messages(), done.messages()
    assert not server.ready_events()


if __name__ == "__main__":
    sys.exit(run(globals()))
