# SPDX-License-Identifier: Apache-2.0
"""What a finished movie must be: its event checked field by field, its pixels read by programs that
are not ours. Nothing here calls the project's own code."""
import codecs
import ctypes
import datetime
import os
import re
import shutil
import subprocess

from millrace import Skipped, crc64, same_file

try:
    import h5py
    import mrcfile
    import numpy as np
except ImportError as absent:
    absent_reader = str(absent)
    h5py = mrcfile = np = None
else:
    absent_reader = None

MODES = {0: "int8", 1: "int16", 2: "float32", 6: "uint16", 12: "float16", 101: "uint4"}
ULID = r"[0-9A-HJKMNP-TV-Z]{26}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


codecs.register_error("percent", lambda wrong: (
    "".join(f"%{byte:02X}" for byte in wrong.object[wrong.start:wrong.end]), wrong.end))


def need_readers():
    if absent_reader:
        raise Skipped(f"{absent_reader} (python3-numpy python3-mrcfile python3-h5py)")


def liblzma():
    library = ctypes.CDLL("liblzma.so.5")
    library.lzma_crc64.restype = ctypes.c_uint64
    library.lzma_crc64.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    return library


def crc64_number(data, before=0):
    """CRC-64/XZ by liblzma, which Python itself needs."""
    if not hasattr(crc64_number, "library"):
        crc64_number.library = liblzma()
    return crc64_number.library.lzma_crc64(bytes(data), len(data), before)


def crc64_of(data):
    return f"{crc64_number(data):016X}"


class Source:
    """An MRC file read by mrcfile's rules, or by hand where it knows no such mode (101)."""

    def __init__(self, path):
        self.path = path
        head = np.fromfile(path, "u1", 1024)
        order = ">" if head[212] == 0x11 else "<"
        self.nx, self.ny, self.nz, self.mode = (int(n) for n in head[:16].view(order + "i4"))
        self.ext_bytes = int(head[92:96].view(order + "i4")[0])
        self.extended = np.fromfile(path, "u1")[1024:1024 + self.ext_bytes].tobytes()
        self.dtype = MODES[self.mode]
        data = np.fromfile(path, "u1")[1024 + self.ext_bytes:]
        if self.mode == 101:
            row = (self.nx + 1) // 2
            self.packed = data.reshape(self.nz, self.ny, row)
            both = np.stack((self.packed & 15, self.packed >> 4), axis=-1)
            self.pixels = both.reshape(self.nz, self.ny, row * 2)[:, :, :self.nx]
        else:
            data = data.view(np.dtype(self.dtype).newbyteorder(order))
            self.pixels = data.reshape(self.nz, self.ny, self.nx)
            self.packed = self.pixels

    def pixel_bytes(self, output):
        """What digest.pixels covers: as in the output, little-endian, without padding."""
        if output == "hdf5" or self.mode != 101:
            native = self.pixels.dtype.newbyteorder("<")
            return np.ascontiguousarray(self.pixels.astype(native)).tobytes()
        return self.packed.tobytes()


# ---- readers ----

def library(name):
    try:
        return ctypes.CDLL(name)
    except OSError:
        raise Skipped(f"{name} is not installed") from None


def zstd_block(data, size):
    zstd = library("libzstd.so.1")
    zstd.ZSTD_decompress.restype = ctypes.c_size_t
    zstd.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t] * 2
    out = ctypes.create_string_buffer(size)
    assert zstd.ZSTD_decompress(out, size, data, len(data)) == size
    return out.raw


def unshuffle(block, element):
    bits = np.unpackbits(np.frombuffer(block, "u1").reshape(element * 8, -1), axis=1,
                         bitorder="little")
    return np.packbits(np.ascontiguousarray(bits.T), axis=1, bitorder="little").tobytes()


def unpack_bszstd(payload, element):
    """Filter 32008 with zstd inside, which Debian's plugin does not decode."""
    total, block = int.from_bytes(payload[:8], "big"), int.from_bytes(payload[8:12], "big")
    out, at = [], 12
    left = total
    while left >= 8 * element:
        size = min(block, left // (8 * element) * 8 * element)
        length = int.from_bytes(payload[at:at + 4], "big")
        out.append(unshuffle(zstd_block(bytes(payload[at + 4:at + 4 + length]), size), element))
        at += 4 + length
        left -= size
    return b"".join(out) + bytes(payload[at:at + left])


def dataset_pixels(data):
    """All pixels of an HDF5 movie; by hand where no reader here has the codec."""
    values = data.id.get_create_plist().get_filter_by_id(32008)
    if values is None or values[1][-1] == 2:
        return data[()]
    shape, chunk = data.shape, data.chunks
    out = np.zeros([-(-n // c) * c for n, c in zip(shape, chunk)], data.dtype)
    for f in range(0, shape[0], chunk[0]):
        for y in range(0, shape[1], chunk[1]):
            mask, stored = data.id.read_direct_chunk((f, y, 0))
            plain = stored if mask else unpack_bszstd(stored, data.dtype.itemsize)
            out[f:f + chunk[0], y:y + chunk[1]] = np.frombuffer(plain, data.dtype).reshape(chunk)
    return out[:shape[0], :shape[1]]


def check_hdf5(path, source, packed=False):
    """h5py reads the same pixels. packed: two 4-bit pixels a byte, as in an MRC."""
    with h5py.File(path, "r") as f:
        got = dataset_pixels(f["/entry/data/data"])
    want = source.packed if packed else source.pixels
    assert got.shape == want.shape, f"{path}: {got.shape}, not {want.shape}"
    assert got.dtype == want.dtype.newbyteorder("="), f"{path}: {got.dtype}, not {want.dtype}"
    assert np.array_equal(got, want, equal_nan=want.dtype.kind == "f"), f"{path}: other pixels"


def check_mrc(path, source):
    """mrcfile finds the movie valid and reads the same pixels; so does h5py from the same file."""
    if source.mode == 101:  # mrcfile does not know it
        with open(path, "rb") as f:
            f.seek(1024 + int.from_bytes(f.read(96)[92:96], "little"))
            assert f.read() == source.packed.tobytes(), f"{path}: other pixels"
    else:
        with mrcfile.open(path) as m:
            got, head = m.data.reshape(source.pixels.shape), m.header  # one frame is 2-D to it
            assert got.dtype == source.dtype, f"{path}: {got.dtype}"
            equal = np.array_equal(got, source.pixels, equal_nan=source.pixels.dtype.kind == "f")
            assert equal, f"{path}: other pixels"
            assert (int(head.ispg), int(head.mz), bytes(head.exttyp)) == (0, 1, b"HDF5"), path
        if source.mode != 12:  # it sums mode 12 in halves
            said = []
            stream = type("Lines", (), {"write": lambda self, text: said.append(text)})()
            assert mrcfile.validate(path, print_file=stream), f"{path}: {''.join(said)}"
    check_hdf5(path, source, packed=source.mode == 101)


def relion_statistics(path):
    """Of every frame (mean, standard deviation, min, max) as RELION tells them; None without it."""
    if not shutil.which("relion_image_handler"):
        return None
    link = path[:-len("mrc")] + "stat.mrcs"  # RELION takes a stack by its extension
    os.symlink(path, link)
    try:
        said = subprocess.run(["relion_image_handler", "--i", link, "--stats"], text=True,
                              capture_output=True, timeout=120, check=True).stdout
    finally:
        os.unlink(link)
    values = r"avg= (\S+) stddev= (\S+) minval= (\S+) maxval= ([^\s;]+)"
    return [tuple(float(v) for v in frame) for frame in re.findall(values, said)]


# ---- events ----

FIELDS = {
    "movie": str, "revision": int, "agent": str, "site": str, "session": (str, type(None)),
    "path": str, "relative_path": str, "source_path": str, "source_bytes": int,
    "source_mtime": str, "format": str, "output": str, "bytes": int, "complete_by": str,
    "codec": str, "digest": dict, "files": list, "sidecars": list, "missing": list,
    "gain_reference": (str, type(None)), "warnings": list, "started": str, "finished": str,
    "committed": str, "clock_offset_ms": int, "metadata": dict,
}
SHAPE = {"frames": int, "width": int, "height": int, "dtype": str,
         "pixel_size_angstrom": (float, int, type(None))}


def as_ns(text):
    moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int(round(moment.timestamp() * 1000)) * 10**6


def check_envelope(event, kind, agent, server="storage1"):
    assert event["specversion"] == "1.0" and event["datacontenttype"] == "application/json"
    assert event["type"] == kind, event["type"]
    assert event["source"] == f"/millrace/{server}/{agent}", event["source"]
    assert re.fullmatch(TIME, event["time"]), event["time"]
    assert isinstance(event["sequence"], str) and int(event["sequence"]) > 0


def check_fields(data, movie):
    for name, kind in {**FIELDS, **(SHAPE if movie else {})}.items():
        assert name in data, f"no {name}"
        right = isinstance(data[name], kind) and not isinstance(data[name], bool)
        assert right, f"{name} is {data[name]!r}"
    more = set(data) - set(FIELDS) - set(SHAPE if movie else ())
    assert not more, f"fields nobody asked for: {more}"
    for name in ("started", "finished", "committed", "source_mtime"):
        assert re.fullmatch(TIME, data[name]), f"{name} {data[name]}"
    assert data["started"] <= data["finished"] <= data["committed"], data


def check_ready(event, store, source_path, agent, movie=True):
    """All that holds for any finished file, and that its bytes are what the event says."""
    check_envelope(event, f"millrace.{'movie' if movie else 'file'}.ready.v1", agent)
    data = event["data"]
    check_fields(data, movie)
    revision = "" if data["revision"] == 1 else f".r{data['revision']}"
    assert re.fullmatch(ULID, data["movie"]) and event["id"] == data["movie"] + ".ready" + revision
    told = source_path.encode("utf-8", "surrogateescape").decode("utf-8", "percent")
    assert data["agent"] == agent and data["source_path"] == told, data["source_path"]
    assert data["path"] == os.path.join(store, data["relative_path"])
    status, source = os.stat(data["path"]), os.stat(source_path)
    assert status.st_size == data["bytes"] and source.st_size == data["source_bytes"]
    assert status.st_mtime_ns == source.st_mtime_ns, "the file's time is not its source's"
    # no rounding: three digits of a time are its first three
    assert as_ns(data["source_mtime"]) // 10**6 == source.st_mtime_ns // 10**6
    digest = data["digest"]
    assert digest["algorithm"] == "crc64-xz"
    assert digest["file"] == crc64(data["path"]), f"{data['path']}: {digest['file']}"
    one, = data["files"]
    assert one == {"path": data["path"], "bytes": data["bytes"], "digest": digest["file"]}, one
    return data


def check_movie_event(event, store, source, agent, output, codec):
    """The ready event of an MRC movie sent with that output; and the file by its readers."""
    data = check_ready(event, store, source.path, agent)
    unpacked = output == "hdf5" and source.mode == 101
    shape = (data["frames"], data["width"], data["height"], data["dtype"])
    dtype = "uint8" if unpacked else source.dtype
    assert shape == (source.nz, source.nx, source.ny, dtype), shape
    assert data["output"] == output and data["complete_by"] == "push"
    assert data["format"] == {"keep": "mrc", "mrc": "mrc", "hdf5": "hdf5"}[output]
    assert data["codec"] == (codec if output == "hdf5" else "none"), data["codec"]
    want = crc64_of(source.pixel_bytes(output))
    assert data["digest"]["pixels"] == want, f"{data['digest']['pixels']}, not {want}"
    if output == "keep":
        assert same_file(data["path"], source.path)
    elif output == "mrc":
        check_mrc(data["path"], source)
    else:
        check_hdf5(data["path"], source)
    return data
