#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every mode, output and codec: is the event true, and do mrcfile, h5py and RELION read the pixels
that were in the source?"""
import os
import sys

import pixels
from millrace import run

MODES = (0, 1, 2, 6, 12, 101)
SHAPES = {  # nx, ny, frames
    "small": (64, 48, 7),       # several frames per chunk
    "prime": (1022, 1019, 5),   # rows that no slab divides
    "single": (130, 127, 1),
    "wide": (5760, 331, 3),
}


def camera_folder(work, server_tests, **more):
    """A movie of every mode and shape, by millrace-sim."""
    for mode in MODES:
        for name, (nx, ny, frames) in server_tests.items():
            work.camera(mode=mode, nx=nx, ny=ny, frames=frames, dose=1.5, seed=mode + 1,
                        prefix=f"{name}_{mode}", **more).results()


def ready(server, agent):
    return [e for e in server.ready_events()
            if ".movie." in e["type"] and e["data"]["agent"] == agent]


def sent(work, server, output, codec):
    """Pushes all movies; their events, each checked by file and readers."""
    agent = f"{output}-{codec}"
    words = ["--agent", agent, "--output", output, "--codec", codec, work.movies]
    done = work.push(server, *words)
    assert done.process.returncode == 0, f"{agent}: {done.process.returncode}"
    events = ready(server, agent)
    names = os.listdir(work.movies)
    assert sorted(e["subject"] for e in events) == sorted(f"movies/{n}" for n in names)
    for event in events:
        source = pixels.Source(os.path.join(work.folder("movies"), event["subject"][7:]))
        try:
            pixels.check_movie_event(event, server.store, source, agent, output, codec)
        except AssertionError as wrong:
            raise AssertionError(f"{agent} {event['subject']}: {wrong}") from wrong


def check_all(work, output):
    pixels.need_readers()
    server = work.server()
    camera_folder(work, SHAPES)
    for codec in ("none", "bslz4", "bszstd"):
        sent(work, server, output, codec)


def test_keep(work):
    check_all(work, "keep")


def test_mrc(work):
    check_all(work, "mrc")


def test_hdf5(work):
    check_all(work, "hdf5")


def test_a_name_that_is_not_utf8(work):
    """Its escaped form stands wherever text must be UTF-8, in the event and inside the HDF5."""
    pixels.need_readers()
    server = work.server()
    movie, = work.camera(nx=32, ny=30, frames=2).results()
    path = os.path.join(work.movies, os.fsdecode(b"gitter-\xfc.mrc"))
    os.rename(movie.path, path)
    for output, name in (("keep", "gitter-%FC.mrc"), ("mrc", "gitter-%FC.mrc"),
                         ("hdf5", "gitter-%FC.h5")):
        done = work.push(server, "--agent", output, "--output", output, path)
        assert done.process.returncode == 0
        event, = ready(server, output)
        codec = "bslz4" if output == "hdf5" else "none"
        data = pixels.check_movie_event(event, server.store, pixels.Source(path), output, output,
                                        codec)
        assert data["relative_path"] == f"{output}/{name}" and event["subject"] == "gitter-%FC.mrc"
        if output != "keep":
            with pixels.h5py.File(data["path"], "r") as f:
                told = f["/entry/acquisition/source_path"][()].decode()
            assert told == data["source_path"], told


def test_k3_frames(work):
    """The size that a K3 writes, each frame cut into several chunks."""
    pixels.need_readers()
    server = work.server()
    work.camera(nx=5760, ny=4092, frames=2, dose=0.7).results()
    for output, codec in (("mrc", "bslz4"), ("hdf5", "bslz4")):
        sent(work, server, output, codec)


if __name__ == "__main__":
    sys.exit(run(globals()))
