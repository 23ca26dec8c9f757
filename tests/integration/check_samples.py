#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Files that real microscopes wrote: do they arrive byte for byte, and do mrcfile, RELION and h5py
read the same pixels from what was made of them?

The samples are no part of the project: MILLRACE_SAMPLES names their folder, else ../shared/samples
beside the source tree. python3-hyperspy brings DM3 and DM4 files of its own."""
import os
import sys

import pixels
from millrace import Skipped, run, same_file

HERE = os.path.dirname(os.path.abspath(__file__))
MRC = {  # what mrcfile says of them: dtype, frames, height, width
    "cisTEM/hiv_images_shift_noise_80x80x10.mrc": ("float32", 10, 80, 80),
    "rosettasciio_mrc/ROI_Random_Scan_movie.mrc": ("uint16", 348, 16, 16),
    "rosettasciio_mrc/HAADFscan.mrc": ("uint16", 1, 16, 16),
}


def samples():
    folder = os.environ.get("MILLRACE_SAMPLES", os.path.join(HERE, "../../../shared/samples"))
    for place in (folder, os.path.join(HERE, "../../../../shared/samples")):
        if os.path.isdir(place):
            return os.path.realpath(place)
    raise Skipped(f"no samples: {folder} is not there (MILLRACE_SAMPLES)")


def all_files(folder):
    return sorted(os.path.relpath(os.path.join(base, name), folder)
                  for base, _, names in os.walk(folder) for name in names)


def by_subject(server, agent):
    ready = [e for e in server.logged() if ".ready." in e["type"] and e["data"]["agent"] == agent]
    found = {e["subject"]: e for e in ready}
    assert len(found) == len(ready), "two ready events of one file"
    return found


def pushed(work, server, folder, agent, *words):
    """Pushes a tree; its ready events by path below the tree's parent."""
    done = work.push(server, "--agent", agent, *words, folder)
    assert done.process.returncode == 0, f"push: {done.process.returncode}"
    return by_subject(server, agent)


def check_kept(work, server, folder, agent):
    events = pushed(work, server, folder, agent)
    names = all_files(folder)
    top = os.path.basename(folder)
    assert sorted(events) == sorted(f"{top}/{name}" for name in names)
    for name in names:
        event = events[f"{top}/{name}"]
        movie = event["type"] == "millrace.movie.ready.v1"
        data = pixels.check_ready(event, server.store, os.path.join(folder, name), agent, movie)
        assert same_file(data["path"], os.path.join(folder, name)), name
        assert data["output"] == "keep" and movie == (name in MRC), name
    return len(names)


def test_every_sample_arrives_as_it_is(work):
    pixels.need_readers()
    check_kept(work, work.server(), samples(), "keeper")


def test_hyperspy_files_arrive_as_they_are(work):
    pixels.need_readers()
    place = "/usr/lib/python3/dist-packages/hyperspy/tests/io"
    if not os.path.isdir(place):
        raise Skipped(f"{place} is not there (python3-hyperspy)")
    folder = work.folder("hyperspy")
    for name in all_files(place):
        if name.endswith((".dm3", ".dm4", ".mrc", ".mrcz", ".emd", ".tif")):
            os.makedirs(os.path.join(folder, os.path.dirname(name)), exist_ok=True)
            with open(os.path.join(place, name), "rb") as f:
                data = f.read()
            with open(os.path.join(folder, name), "wb") as f:
                f.write(data)
    server = work.server()
    assert check_kept(work, server, folder, "dm") > 50


def check_converted(work, server, name, output):
    folder, agent = samples(), f"{output}-maker"
    source = pixels.Source(os.path.join(folder, name))
    assert MRC[name] == (source.dtype, source.nz, source.ny, source.nx), name
    events = pushed(work, server, source.path, agent, "--output", output)
    event = events[os.path.basename(name)]
    codec = "bslz4" if output == "hdf5" else "none"
    return pixels.check_movie_event(event, server.store, source, agent, output, codec), source


def test_mrc_of_samples(work):
    """RELION 3.1.3 reads mode 6 as signed: the samples' counts are below 32768, so it shows not."""
    pixels.need_readers()
    server = work.server()
    for name in MRC:
        data, source = check_converted(work, server, name, "mrc")
        told = pixels.relion_statistics(data["path"])
        if told is None:
            raise Skipped("relion_image_handler is not installed (relion)")
        frames = source.pixels.astype("f8")
        want = [(f.mean(), f.std(), f.min(), f.max()) for f in frames]
        assert pixels.np.allclose(told, want, rtol=1e-4, atol=1e-5), f"{name}: RELION says {told}"


def test_hdf5_of_samples(work):
    pixels.need_readers()
    server = work.server()
    for name in MRC:
        check_converted(work, server, name, "hdf5")


def everything(path):
    """All bytes of all datasets and attributes of an HDF5 file but for the pixels."""
    found = []

    def visit(_, item):
        found.extend(pixels.np.asarray(v).tobytes() for v in item.attrs.values())
        if isinstance(item, pixels.h5py.Dataset) and item.ndim < 2:
            value = item[()]
            found.append(value if isinstance(value, bytes) else pixels.np.asarray(value).tobytes())

    with pixels.h5py.File(path, "r") as f:
        f.visititems(visit)
    return found


def test_fei2_extended_header_is_kept(work):
    pixels.need_readers()
    server = work.server()
    for output in ("mrc", "hdf5"):
        data, source = check_converted(work, server, "rosettasciio_mrc/HAADFscan.mrc", output)
        assert source.ext_bytes == 909312 and len(source.extended) == source.ext_bytes
        with open(source.path, "rb") as f:
            whole = f.read(1024) + source.extended
        kept = [v for v in everything(data["path"]) if source.extended in v]
        assert kept, f"{output}: the extended header is gone: {data['warnings']}"
        assert any(v.startswith(whole[:1024]) for v in kept) or source.extended in kept
        assert not data["warnings"], data["warnings"]


if __name__ == "__main__":
    sys.exit(run(globals()))
