#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Reads the movies that seal_probe made with programs that are not ours: h5py (with the bitshuffle
plugin), silx, HyperSpy, h5ls, h5dump, mrcfile, RELION; and compares every pixel with the .raw
beside each. Status 77: a reader is missing (it is named), and what the others could check is right.

usage: check_seal.py PROBE
"""
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import warnings

try:
    import h5py
    import numpy as np
except ImportError as absent:
    print(f"skip: {absent}")
    sys.exit(77)

skipped = {}
failures = []


def optional(name):
    try:
        return __import__(name, fromlist=["_"])
    except Exception as absent:  # a reader that is installed but broken must not hide the others
        skipped[name] = str(absent)
        return None


optional("hdf5plugin")  # brings its filters into h5py where it has them
bitshuffle = h5py.h5z.filter_avail(32008)
if not bitshuffle:
    skipped["bslz4 in h5py"] = "no plugin for filter 32008 (Debian: bitshuffle)"
nxdata = optional("silx.io.nxdata")
mrcfile = optional("mrcfile")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    hyperspy = optional("hyperspy.api")


def program(name):
    if shutil.which(name):
        return True
    skipped[name] = "not installed"
    return False


def check(what, ok, said=""):
    if not ok:
        failures.append(f"{what} {said}")
        print(f"FAILED {what} {said}")


def run(*command, **keywords):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          **keywords)


# ---- filter 32008 with zstd inside, which Debian's plugin does not decode ----

def zstd_block(data, size):
    done = subprocess.run(["zstd", "-dqc"], input=data, stdout=subprocess.PIPE, check=True)
    assert len(done.stdout) == size
    return done.stdout


def unshuffle(block, element):
    bits = np.unpackbits(np.frombuffer(block, "u1").reshape(element * 8, -1), axis=1,
                         bitorder="little")
    return np.packbits(np.ascontiguousarray(bits.T), axis=1, bitorder="little").tobytes()


def unpack_zstd(payload, element):
    total, block_bytes = struct.unpack_from(">QI", payload)
    out, at = b"", 12
    while total - len(out) >= 8 * element:
        size = min(block_bytes, (total - len(out)) // (8 * element) * 8 * element)
        length, = struct.unpack_from(">I", payload, at)
        out += unshuffle(zstd_block(payload[at + 4:at + 4 + length], size), element)
        at += 4 + length
    out += payload[at:at + total - len(out)]
    assert len(out) == total
    return out


def read_by_chunks(dataset):
    """The pixels from the chunks as stored, by a decoder of this file's own."""
    shape, chunk = dataset.shape, dataset.chunks
    padded = [-(-n // c) * c for n, c in zip(shape, chunk)]
    out = np.zeros(padded, dataset.dtype)
    for f in range(0, padded[0], chunk[0]):
        for y in range(0, padded[1], chunk[1]):
            mask, data = dataset.id.read_direct_chunk((f, y, 0))
            if mask == 0:
                data = unpack_zstd(data, dataset.dtype.itemsize)
            out[f:f + chunk[0], y:y + chunk[1]] = np.frombuffer(data, dataset.dtype).reshape(chunk)
    return out[:shape[0], :shape[1]]


# ---- one movie ----

def expected(folder, movie):
    name, kind, dtype, shape = movie[:4]
    frames, height, width = (int(n) for n in shape.split("x"))
    raw = np.fromfile(f"{folder}/{name}.raw", "u1" if dtype == "uint4" else np.dtype(dtype))
    if dtype == "uint4" and kind == "h5":
        raw = np.stack((raw & 15, raw >> 4), axis=1)
    if dtype == "uint4" and kind == "mrc":
        width //= 2
    return raw.reshape(frames, height, width)


def check_filter(name, dataset, codec):
    plist = dataset.id.get_create_plist()
    if codec == "none":
        check(name, plist.get_nfilters() == 0, "has a filter")
        return
    number, flags, values, _ = plist.get_filter(0)
    check(name, number == 32008 and flags & h5py.h5z.FLAG_OPTIONAL, "filter")
    check(name, len(values) == 5 and values[2] == dataset.dtype.itemsize and
          values[4] == {"bslz4": 2, "bszstd": 3}[codec], f"filter values {values}")


def check_pixels(name, dataset, codec, want):
    if codec == "bszstd":
        if not program("zstd"):
            return
        got = read_by_chunks(dataset)
    elif codec == "bslz4" and not bitshuffle:
        return
    else:
        got = dataset[()]
    check(name, got.dtype == want.dtype and np.array_equal(got, want), "pixels differ in h5py")


def check_tree(name, file, left_out, bare, dtype):
    check(name, file.attrs["NX_class"] == b"NXroot", "NX_class")
    check(name, file["entry/acquisition/complete"][()] == 1, "complete")
    check(name, file["entry/title"][()].decode() == ("movie" if bare else name), "title")
    acquisition = file["entry/acquisition"]
    header = file.get("entry/acquisition/source_header")
    check(name, (header is None) == (bare or "source_header" in left_out), "source_header")
    if header is not None:
        n = len(header)
        check(name, np.array_equal(header[()], (np.arange(n) * 7 % 256).astype("u1")), "header")
    check(name, ("mdoc" in acquisition) == (not bare and "mdoc" not in left_out), "mdoc")
    for i, dim in enumerate(("dim1", "dim2", "dim3")):
        packed = dtype == "uint4" and name.startswith("stream")
        absent = dim in left_out or packed and dim == "dim3"
        axis = file["entry/data"].get(dim)
        check(name, (axis is None) == absent, dim)
        if axis is not None:
            check(name, len(axis) == file["entry/data/data"].shape[i], f"length of {dim}")
            scale = 1 if bare else (0.04, 1.08, 1.08)[i]
            check(name, np.allclose(axis[()], np.arange(len(axis)) * scale), f"values of {dim}")
    if not bare:
        times = file["entry/instrument/detector/frame_time"]
        check(name, np.all(times[()] == 0.04), "frame_time")
        check(name, len(times) == len(file["entry/data/data"]), "length of frame_time")
        check(name, acquisition["digest"][()] == b"9242280E488DAD9A", "digest")
        check(name, "grün" in acquisition["source_path"][()].decode(), "source_path")


def check_nexus(name, file):
    if nxdata:
        default = nxdata.get_default(file, validate=True)
        check(name, default is not None and default.is_valid, "no valid NXdata default in silx")
        check(name, default is not None and default.signal_name == "data", "signal")


def check_hyperspy(name, path, want):
    if not hyperspy:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signal = hyperspy.load(path, reader="hspy")
    check(name, np.array_equal(signal.data, want), "pixels differ in HyperSpy")
    axes = signal.axes_manager
    check(name, axes.navigation_dimension == 1 and axes.signal_dimension == 2, "HyperSpy's axes")
    x, y = axes.signal_axes
    check(name, x.name.startswith("x") and y.name == "y", "names of HyperSpy's axes")


def check_hdf5_tools(name, path):
    if program("h5ls"):
        done = run("h5ls", "-r", path)
        check(name, done.returncode == 0 and "/entry/data/data" in done.stdout, done.stdout[:300])
    if program("h5dump"):
        done = run("h5dump", "-H", path)
        check(name, done.returncode == 0, done.stdout[:300])


def check_mrc(name, path, dtype, want):
    if dtype == "uint4":
        with open(path, "rb") as file:
            nx, = struct.unpack("<i", file.read(4))
        check(name, nx == 2 * want.shape[2], "NX")
    elif mrcfile:
        done = run("mrcfile-validate", path)
        check(name, done.returncode == 0, done.stdout[:300])
        with mrcfile.open(path) as mrc:
            data = mrc.data.reshape(want.shape)
            check(name, np.array_equal(data, want), "pixels differ in mrcfile")
            check(name, mrc.header.exttyp == b"HDF5" and mrc.header.ispg == 0, "header")
    if dtype != "float16" and program("relion_image_handler"):
        check_relion(name, path, dtype, want)


def check_relion(name, path, dtype, want):
    """RELION reads only stacks called .mrcs; it prints six digits of each frame's statistics. It
    takes mode 6 for signed (3.1.3), which is right as long as no count passes 32767."""
    if dtype == "uint4":
        want = np.stack((want & 15, want >> 4), axis=3).reshape(*want.shape[:2], -1)
    if dtype == "uint16":
        want = want.view("i2")
    stack = path + "s"
    os.symlink(path, stack)
    done = run("relion_image_handler", "--i", stack, "--stats")
    os.unlink(stack)
    line_form = r"\(x,y,z,n\)= (\d+) x (\d+) x .*avg= (\S+) .*minval= (\S+) maxval= ([^;\s]+)"
    said = re.findall(line_form, done.stdout)
    check(name, done.returncode == 0 and len(said) == len(want), done.stdout[-300:])
    for frame, line in zip(want, said):
        values = [*frame.shape[::-1], frame.mean(dtype="f8"), frame.min(), frame.max()]
        check(name, np.allclose([float(v) for v in line], values, rtol=1e-4, atol=1e-5),
              f"RELION says {line}, not {values}")


def check_movie(folder, movie):
    name, kind, dtype, _, codec, left_out = movie
    path = f"{folder}/{name}.{kind}"
    want = expected(folder, movie)
    bare = name in ("one_f32_none", "odd_f32_bslz4", "stream_f32")
    with h5py.File(path, "r") as file:
        dataset = file["entry/data/data"]
        check_filter(name, dataset, codec)
        check_pixels(name, dataset, codec, want)
        check_tree(name, file, left_out, bare, dtype)
        check_nexus(name, file)
        if kind == "mrc" and dtype == "uint4":
            check(name, dataset.attrs["packing"] == b"uint4, low nibble first", "packing")
    if codec == "none" or codec == "bslz4" and bitshuffle:
        check_hyperspy(name, path, want)
    check_hdf5_tools(name, path)
    if kind == "mrc":
        check_mrc(name, path, dtype, want)
    print(f"{name}: read, {'nothing' if left_out == '-' else left_out} left out")


# ---- the same arguments give the same bytes ----

def make(probe, folder, **environment):
    done = run(probe, folder, env={**os.environ, **environment})
    check("probe", done.returncode == 0, done.stdout)


def check_equal(first, second, why):
    for entry in sorted(os.listdir(second)):
        same = run("cmp", f"{first}/{entry}", f"{second}/{entry}")
        check(entry, same.returncode == 0, f"{why}: {same.stdout}")


def main():
    probe = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="check_seal.") as top:
        first, second = f"{top}/a", f"{top}/b"
        os.mkdir(first)
        make(probe, first, HDF5_PLUGIN_PATH="/nonexistent", MALLOC_PERTURB_="165")
        with open(f"{first}/movies.tsv") as movies:
            for line in movies:
                check_movie(first, line.rstrip("\n").split("\t"))
        os.mkdir(second)
        make(probe, second, MALLOC_PERTURB_="90")
        check_equal(first, second, "other plugins, other garbage in memory, other bytes")
        print(run(probe, "--time").stdout, end="")
    for name, why in skipped.items():
        print(f"not tried: {name}: {why}")
    if failures:
        print(f"{len(failures)} failures")
    sys.exit(1 if failures else 77 if skipped else 0)


main()
