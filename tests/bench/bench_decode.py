# SPDX-License-Identifier: Apache-2.0
"""Decoding: h5py reads a finished movie whole, bslz4 beside uncompressed."""
import json
import os
import subprocess
import sys
import zlib

from bench_report import Beside

# In a process of its own: reads the pixels whole, prints seconds, bytes and their CRC-32
READ = """
import h5py, json, numpy, os, sys, time, zlib
try:
    import hdf5plugin
except ImportError:
    pass
path, cold = sys.argv[1], sys.argv[2] == "cold"
with open(path, "rb") as f:
    if cold:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    else:
        while f.read(1 << 24):
            pass
with h5py.File(path, "r") as f:
    found = []
    f.visititems(lambda n, d: found.append(d) if isinstance(d, h5py.Dataset) and d.ndim == 3
                 else None)
    pixels = numpy.empty(found[0].shape, found[0].dtype)
    clock = time.monotonic if cold else time.process_time  # a full core's worth, whoever else runs
    began = clock()
    found[0].read_direct(pixels)
    seconds = clock() - began
print(json.dumps([seconds, pixels.nbytes, zlib.crc32(pixels)]))
"""


def read(path, how):
    done = subprocess.run([sys.executable, "-c", READ, path, how], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)


def crc_of_pixels(path):
    crc = 0
    with open(path, "rb") as f:
        f.seek(1024)
        for block in iter(lambda: f.read(1 << 22), b""):
            crc = zlib.crc32(block, crc)
    return crc


def lack():
    """None, or why nothing can be read."""
    done = subprocess.run([sys.executable, "-c", "import h5py, numpy"], capture_output=True)
    return None if done.returncode == 0 else "h5py is not installed (python3-h5py)"


def decode(rig):
    rig.book.titles["decode"] = "h5py reads a finished movie of counted K3 frames whole, one core"
    if lack():
        rig.book.add("decode", "bslz4", "GB/s raw", [], absent=lack())
        return
    source = rig.movie("decode", rig.sizes["decode_frames"], rig.sizes["k3_distinct"],
                       **rig.sizes["k3"])
    expected = crc_of_pixels(source)
    with rig.server("decode") as server:
        files = {name: rig.ship("decode", server, source, *words).events[0]["path"]
                 for name, words in (("packed", ("--output", "hdf5", "--codec", "bslz4")),
                                     ("plain", ("--output", "mrc")))}
        for how in ("cold", "warm"):
            rates = {name: [] for name in files}
            for _ in range(rig.sizes["rounds"]):
                for name, path in files.items():
                    try:
                        seconds, size, crc = read(path, how)
                    except RuntimeError as error:
                        rig.book.add("decode", f"{name}, {how}", "GB/s raw", [], absent=str(error))
                        return
                    if crc != expected:
                        rig.book.say_wrong(f"{path}: h5py reads other pixels than {source} has")
                    rates[name].append(size / seconds / 1e9)
            name = "bslz4, from the disk" if how == "cold" else "bslz4, from memory, by CPU time"
            rig.book.add("decode", name, "GB/s raw", rates["packed"],
                         beside=[Beside("uncompressed (mrc output, by HDF5)", rates["plain"])])
    os.unlink(source)
