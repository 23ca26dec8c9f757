# SPDX-License-Identifier: Apache-2.0
"""Independent looks at what has arrived: 7z, mrcfile, h5py; and a picture of the mean frame.

Nothing here asks Millrace. Each check returns a line for a person or raises Mismatch.
"""
import concurrent.futures
import os
import struct
import subprocess
import zlib

import numpy as np

from millrace import crc64, same_file

DTYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
HEADER = 1024
VALIDATE_MEMORY = 10  # times the size of a counted movie: what mrcfile-validate takes


class Mismatch(Exception):
    pass


def mrc_frames(path):
    """(frames, height, width) of an MRC file, mapped; None where it is none that is taken apart."""
    with open(path, "rb") as f:
        head = f.read(HEADER)
    if len(head) < HEADER or head[208:212] != b"MAP ":
        return None
    order = ">" if head[212:213] == b"\x11" else "<"
    nx, ny, nz, mode = struct.unpack_from(order + "4i", head)
    skip = HEADER + struct.unpack_from(order + "i", head, 92)[0]
    if mode not in DTYPES or min(nx, ny, nz) <= 0:
        return None
    dtype = np.dtype(order + DTYPES[mode])
    if os.path.getsize(path) != skip + nx * ny * nz * dtype.itemsize:
        return None
    return np.memmap(path, dtype=dtype, mode="r", offset=skip, shape=(nz, ny, nx))


def same_frames(ours, theirs):
    if ours.shape != theirs.shape:
        raise Mismatch(f"{theirs.shape} pixels where the source has {ours.shape}")
    if ours.dtype.newbyteorder("=") != theirs.dtype.newbyteorder("="):
        raise Mismatch(f"pixels are {theirs.dtype} where the source has {ours.dtype}")
    for i in range(len(ours)):
        if not np.array_equal(ours[i], theirs[i], equal_nan=ours.dtype.kind == "f"):
            raise Mismatch(f"frame {i} differs from the source's")


def check_validate(path):
    if available_bytes() < VALIDATE_MEMORY * os.path.getsize(path):
        return "mrcfile-validate is left out: this machine has too little memory for it"
    done = subprocess.run(["mrcfile-validate", path], capture_output=True, text=True)
    if done.returncode != 0:
        raise Mismatch(f"mrcfile-validate: {done.stdout.strip()} {done.stderr.strip()}")
    return "mrcfile-validate finds nothing wrong"


def check_h5py(path, source):
    import h5py
    with h5py.File(path, "r") as f:
        data = f["/entry/data/data"]
        same_frames(mrc_frames(source), data)
        return f"h5py reads the source's {len(data)} frames"


def check_mrcfile(path, source):
    import mrcfile
    with mrcfile.mmap(path, mode="r") as f:
        data = f.data.reshape(-1, *f.data.shape[-2:])
        same_frames(mrc_frames(source), data)
        return f"mrcfile reads the source's {len(data)} frames"


def check_digest(path, event):
    """What 7z computes of the file, beside what the event says."""
    found, told = crc64(path), event["digest"]["file"]
    if found != told:
        raise Mismatch(f"7z h -scrcCRC64 says {found}, the event {told}")
    return f"7z h -scrcCRC64 says {found}, as the event does"


def check_source(path, source, event, truth):
    """Against the digests that the writer made itself, where it did; else against its file."""
    if event["output"] == "keep":
        want = truth.file_crc if truth else crc64(source)
        if event["digest"]["file"] != want or not same_file(path, source):
            raise Mismatch(f"the source's file digest is {want}, this one is another")
        return f"byte for byte the source, whose digest is {want}"
    if truth is None:
        return None
    if event["digest"]["pixels"] != truth.pixels_crc:
        raise Mismatch(f"pixels: the camera says {truth.pixels_crc}, the event "
                       f"{event['digest']['pixels']}")
    return f"pixels {truth.pixels_crc}, as the camera says"


def checks_of(source, event, truth):
    """Functions without arguments; the slow one first."""
    path, output = event["path"], event["output"]
    frames = mrc_frames(source)
    found = []
    if output != "hdf5" and frames is not None:
        if output == "mrc" or truth:  # a stranger's own header need not be flawless
            found.append(lambda: check_validate(path))
        found.append(lambda: check_mrcfile(path, source))
    if output in ("mrc", "hdf5") and frames is not None:
        found.append(lambda: check_h5py(path, source))
    found.append(lambda: check_digest(path, event))
    found.append(lambda: check_source(path, source, event, truth))
    return found


def available_bytes():
    with open("/proc/meminfo", encoding="ascii") as f:
        for line in f:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def run_checks(movies):
    """Yields (name, text, wrong) as checks end; movies are (name, source, event, truth)."""
    most = max((event["bytes"] for _, _, event, _ in movies), default=1)
    at_once = max(1, min(os.cpu_count() or 1, available_bytes() // (VALIDATE_MEMORY * most + 1)))
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        tasks = {}
        for name, source, event, truth in movies:
            for check in checks_of(source, event, truth):
                tasks[pool.submit(check)] = name
        for task in concurrent.futures.as_completed(tasks):
            try:
                text, wrong = task.result(), False
            except Exception as error:  # a reader that cannot read it is a mismatch like any other
                text, wrong = f"{type(error).__name__}: {error}", True
            if text:
                yield tasks[task], text, wrong


def write_png(path, grey):
    """8 bit grey, without a library."""
    height, width = grey.shape
    rows = np.hstack([np.zeros((height, 1), "u1"), grey]).tobytes()

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n")
        f.write(chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)))
        f.write(chunk(b"IDAT", zlib.compress(rows, 6)) + chunk(b"IEND", b""))


def binned(image, most=1500):
    """Means of squares, so that the longer side is at most `most` pixels."""
    n = max(1, -(-max(image.shape) // most))
    height, width = (s // n * n for s in image.shape)
    cut = image[:height, :width]
    return cut.reshape(height // n, n, width // n, n).mean(axis=(1, 3))


def picture(path, target):
    """The mean of an arrived movie's frames as PNG, row 0 at the bottom as MRC has it; its size."""
    if path.endswith(".h5"):
        import h5py
        with h5py.File(path, "r") as f:
            return average(f["/entry/data/data"], target)
    frames = mrc_frames(path)
    return None if frames is None else average(frames, target)


def average(frames, target):
    total = np.zeros(frames.shape[1:], "f4")
    for i in range(len(frames)):
        total += frames[i]
    small = binned(total / len(frames))
    low, high = np.percentile(small, (0.5, 99.5))
    grey = np.clip((small - low) / max(float(high - low), 1e-9) * 255, 0, 255).astype("u1")
    write_png(target, np.ascontiguousarray(grey[::-1]))
    return grey.shape[1], grey.shape[0]
