#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Do strangers read our slab payloads, and do we read theirs?

usage: check_filter.py FILTER_PROBE
Readers: HDF5 filter 32008 as installed (Debian's package bitshuffle has LZ4 inside, others zstd
too), and a transcription of the format in numpy with the zstd command for the blocks. Each kernel
of the bit transpose is compared with the filter's own library. Status 77: something to check with
is missing, and what could be checked is right.
"""
import os
import shutil
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)
try:
    import bitshuffle as reference
except ImportError:
    reference = None
try:
    import hdf5plugin  # noqa: F401 (brings the filter in some distributions)
except ImportError:
    pass

FILTER = 32008
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
INSIDE = {"bslz4": 2, "bszstd": 3}
KERNELS = ["plain", "avx2", "avx512", "gfni"]
SHAPES = [(683, 5760), (3, 17, 13), (64, 64), (1000, 1021)]
DTYPES = ["u1", "i1", "<u2", "<i2", "<f2", "<f4"]


def counts(shape, dtype):
    return np.random.default_rng(7).poisson(0.7, shape).astype(dtype)


def probe(program, verb, codec, element_bytes, data, out_bytes=None):
    with tempfile.TemporaryDirectory() as folder:
        source, result = os.path.join(folder, "in"), os.path.join(folder, "out")
        with open(source, "wb") as file:
            file.write(data)
        size = [] if out_bytes is None else [str(out_bytes)]
        words = [program, verb, codec, str(element_bytes), source, result]
        subprocess.run(words + size, check=True)
        with open(result, "rb") as file:
            return file.read()


def make_dataset(file, array, codec):
    return file.create_dataset("d", array.shape, array.dtype, chunks=array.shape,
                               compression=FILTER, compression_opts=(0, INSIDE[codec]))


def with_memory_file(action):
    """action(file) writes; returns what h5py reads after closing and opening again."""
    with tempfile.NamedTemporaryFile(suffix=".h5") as name:
        with h5py.File(name.name, "w") as file:
            action(file)
        with h5py.File(name.name, "r") as file:
            return file["d"][...], file["d"].id.read_direct_chunk((0,) * file["d"].ndim)


def they_read_ours(array, codec, payload):
    def write(file):
        make_dataset(file, array, codec).id.write_direct_chunk((0,) * array.ndim, payload)
    return np.array_equal(with_memory_file(write)[0], array)


def we_read_theirs(program, array, codec):
    def write(file):
        make_dataset(file, array, codec)[...] = array
    mask, payload = with_memory_file(write)[1]
    assert mask == 0
    back = probe(program, "unpack", codec, array.itemsize, payload, array.nbytes)
    return back == array.tobytes()


def transcribed(payload, element_bytes):
    """The format as documented, with the zstd command: shares no code with the codec."""
    total, block = int.from_bytes(payload[:8], "big"), int.from_bytes(payload[8:12], "big")
    out, at = b"", 12
    while total - len(out) >= 8 * element_bytes:
        left = total - len(out)
        size = block if left >= block else left - left % (8 * element_bytes)
        length = int.from_bytes(payload[at:at + 4], "big")
        planes = subprocess.run(["zstd", "-dcq"], input=payload[at + 4:at + 4 + length],
                                capture_output=True, check=True).stdout
        bits = np.unpackbits(np.frombuffer(planes, "u1"), bitorder="little")
        bits = bits.reshape(8 * element_bytes, size // element_bytes).T
        out += np.packbits(bits, bitorder="little").tobytes()
        at += 4 + length
    return out + payload[at:]


def filter_reads(codec):
    """Is the filter here at all, and was it built with this coder? Versions before 0.4 take an
    unknown coder for none, and read zstd's chunks as noise without an error: look at what is
    stored."""
    array = counts((64, 64), "u1")

    def write(file):
        make_dataset(file, array, codec)[...] = array
    try:
        read, (_, payload) = with_memory_file(write)
    except (OSError, ValueError, RuntimeError):
        return False
    coded = len(payload) < array.nbytes and (codec != "bszstd" or payload[16:20] == ZSTD_MAGIC)
    return coded and np.array_equal(read, array)


def check(program, codec, array, filtered, transcribe):
    payload = probe(program, "pack", codec, array.itemsize, array.tobytes())
    what = f"{codec} {array.dtype} {array.shape}"
    if filtered:
        assert they_read_ours(array, codec, payload), f"{what}: ours read back wrong by the filter"
        assert we_read_theirs(program, array, codec), f"{what}: the filter's unpacked wrong by us"
    if transcribe:
        assert transcribed(payload, array.itemsize) == array.tobytes(), f"{what}: not as documented"


def shuffled(program, kernel, data, element_bytes):
    """None where this CPU has no such kernel."""
    with tempfile.TemporaryDirectory() as folder:
        source, result = os.path.join(folder, "in"), os.path.join(folder, "out")
        with open(source, "wb") as file:
            file.write(data)
        words = [program, "shuffle", kernel, str(element_bytes), source, result]
        code = subprocess.run(words, check=False).returncode
        assert code in (0, 69), f"{kernel}: status {code}"
        return np.fromfile(result, "u1") if code == 0 else None


def check_kernels(program):
    noise = np.random.default_rng(11).integers(0, 256, 1 << 20, "u1")
    for kernel in KERNELS:
        for dtype in ("u1", "<u2", "<u4"):
            for elements in (8, 512, 2040, 2048, 2056, 64000, 262144):
                array = noise.view(dtype)[:elements]
                ours = shuffled(program, kernel, array.tobytes(), array.itemsize)
                if ours is not None:
                    theirs = reference.bitshuffle(array, block_size=elements).view("u1")
                    assert np.array_equal(ours, theirs), f"{kernel} {dtype} {elements}: not equal"
        print(f"{kernel}: {'not on this CPU' if ours is None else 'as the filter has it'}")


def main(program):
    status = 0
    if reference is None:
        print("kernels: skipped: no Python module bitshuffle (Debian: bitshuffle)")
        status = 77
    else:
        check_kernels(program)
    for codec in INSIDE:
        filtered = filter_reads(codec)
        transcribe = codec == "bszstd" and shutil.which("zstd") is not None
        for shape in SHAPES:
            for dtype in DTYPES:
                check(program, codec, counts(shape, dtype), filtered, transcribe)
        ways = ["HDF5 filter"] * filtered + ["transcription"] * transcribe
        print(f"{codec}: {' and '.join(ways) or 'skipped: nothing here to check with'}")
        status = status if ways else 77
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
