#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""MRC files as they should not be, or seldom are: big-endian, NaN, odd 4-bit rows, short, long,
empty, without MAP. What is whole is stored right; what is not is said, and never gets a name."""
import os
import struct
import sys

import pixels
from millrace import SKIP, files_below, run, same_file
from pixels import np

SHAPE = (3, 29, 34)  # frames, rows, columns


def mrc(work, name, data, mode, order="<", extended=b"", change=None, tail=b"", width=None):
    """Writes an MRC by hand; its path."""
    nz, ny, nx = data.shape
    head = bytearray(1024)
    struct.pack_into(order + "4i", head, 0, width or nx, ny, nz, mode)
    struct.pack_into(order + "3i3f3f3i", head, 28, nx, ny, 1, nx * 1.5, ny * 1.5, 1.5, 90, 90, 90,
                     1, 2, 3)
    struct.pack_into(order + "3f", head, 76, 0, -1, -2)
    struct.pack_into(order + "ii", head, 88, 0, len(extended))
    head[208:216] = b"MAP " + (b"\x44\x44\0\0" if order == "<" else b"\x11\x11\0\0")
    for offset, value in (change or {}).items():
        head[offset:offset + len(value)] = value
    path = os.path.join(work.movies, name)
    with open(path, "wb") as f:
        f.write(bytes(head) + extended + data.astype(data.dtype.newbyteorder(order)).tobytes() +
                tail)
    return path


def noise(dtype):
    real = np.random.default_rng(5).poisson(3.0, SHAPE)
    return real.astype(dtype)


def each_output(work, server, path):
    """Ready events of one movie by output, each checked."""
    source, found = pixels.Source(path), {}
    for output, codec in (("keep", "none"), ("mrc", "none"), ("hdf5", "bslz4")):
        done = work.push(server, "--agent", output, "--output", output, path)
        assert done.process.returncode == 0, done.messages()
        event = server.ready_events()[-1]
        pixels.check_movie_event(event, server.store, source, output, output, codec)
        found[output] = event["data"]
    return found


def test_big_endian(work):
    server = work.server()
    for mode, dtype in ((0, "i1"), (1, "i2"), (2, "f4"), (6, "u2"), (12, "f2")):
        each_output(work, server, mrc(work, f"big{mode}.mrc", noise(dtype), mode, ">"))


def test_extended_headers(work):
    """Of every size around where the pixels of an mrc would begin."""
    server = work.server()
    for size in (1, 1024, 60_000, 64512, 64513, 200_001):
        extended = bytes(i * 7 & 255 for i in range(size))
        path = mrc(work, f"ext{size}.mrc", noise("u2"), 6, extended=extended,
                   change={104: b"FEI1"})
        data = each_output(work, server, path)
        assert same_file(data["keep"]["path"], path)
        with open(data["mrc"]["path"], "rb") as f:
            assert extended in f.read(), f"{size} bytes of extended header are gone"


def test_nan_and_infinity(work):
    """Statistics that mean nothing are marked unknown, as MRC2014 says."""
    server = work.server()
    frames = noise("f4")
    frames[1, 3, 4], frames[2, 0, 0] = np.nan, np.inf
    data = each_output(work, server, mrc(work, "nan.mrc", frames, 2))
    with open(data["mrc"]["path"], "rb") as f:
        head = f.read(1024)
    low, high, mean = struct.unpack_from("<3f", head, 76)
    assert high < low and mean < min(low, high) and struct.unpack_from("<f", head, 216)[0] < 0


def test_extremes(work):
    server = work.server()
    for mode, dtype in ((0, "i1"), (1, "i2"), (6, "u2")):
        frames = noise(dtype)
        frames[0, 0, :2] = np.iinfo(dtype).min, np.iinfo(dtype).max
        each_output(work, server, mrc(work, f"extreme{mode}.mrc", frames, mode))


def test_one_pixel(work):
    server = work.server()
    for mode, dtype in ((0, "i1"), (6, "u2"), (2, "f4"), (101, "u1")):
        pixel = np.ones((1, 1, 1), dtype)
        each_output(work, server, mrc(work, f"dot{mode}.mrc", pixel, mode,
                                      width=2 if mode == 101 else None))


def refused(work, server, path, *words, says):
    """push fails and says so; nothing is stored, and no ready event is told."""
    before = files_below(server.store)
    done = work.push(server, "--agent", "x", *words, path)
    assert done.process.returncode == 1, f"{path} {words}: {done.process.returncode}"
    said = done.messages()
    assert any(word in said for word in says), f"none of {says} is in: {said}"
    assert files_below(server.store) == before, files_below(server.store)


def test_odd_rows_of_four_bits(work):
    """keep takes any; mrc and hdf5 refuse, for readers disagree on what such a row is."""
    server = work.server()
    path = mrc(work, "odd.mrc", noise("u1"), 101, width=67)
    assert work.push(server, "--agent", "k", path).process.returncode == 0
    event, = server.ready_events()
    assert same_file(event["data"]["path"], path)
    for output in ("mrc", "hdf5"):
        refused(work, server, path, "--output", output, says=("odd",))


def test_short_and_long(work):
    """A movie whose size and NZ disagree is FAILED, kept aside as it came, and told."""
    server = work.server()
    whole = noise("u2")
    cut = mrc(work, "short.mrc", whole, 6, change={8: struct.pack("<i", 4)})
    longer = mrc(work, "long.mrc", whole, 6, tail=bytes(2 * 29 * 34))
    ragged = mrc(work, "ragged.mrc", whole, 6, tail=b"abc")
    for path in (cut, longer, ragged):
        for output in ("keep", "mrc", "hdf5"):
            refused(work, server, path, "--output", output, says=("frames", "bytes", "NZ"))
    failed = [e for e in server.logged() if e["type"] == "millrace.movie.failed.v1"]
    assert len(failed) == 9, len(failed)
    for event in failed:
        assert event["data"]["reason"] and event["id"].endswith(".failed")
        assert os.path.exists(event["data"]["path"]), event["data"]
        if event["data"]["output"] == "keep":
            assert same_file(event["data"]["path"], os.path.join(work.path, event["subject"]
                             if "/" in event["subject"] else "movies/" + event["subject"]))


def test_headers_of_nonsense(work):
    """What is no MRC but is called so, and headers that lie: an answer, and the server lives."""
    server = work.server()
    data = noise("u2")
    nonsense = {
        "no map": {208: b"XXXX"}, "zeros": {0: bytes(1024)}, "mode 9": {12: struct.pack("<i", 9)},
        "negative": {0: struct.pack("<i", -5)}, "huge": {0: struct.pack("<2i", 2**30, 2**30)},
        "negative nz": {8: struct.pack("<i", -1)}, "symbt": {92: struct.pack("<i", 2**31 - 1)},
        "symbt below": {92: struct.pack("<i", -4)}, "cell": {40: struct.pack("<f", np.nan)},
    }
    for name, change in nonsense.items():
        path = mrc(work, name + ".mrc", data, 6, change=change)
        for output in ("keep", "hdf5"):
            words = ["--agent", output, "--output", output, path]
            done = work.push(server, *words)
            assert done.process.returncode in (0, 1), f"{name}: {done.process.returncode}"
            server.check_alive()
            if done.process.returncode != 0:
                continue
            told = server.ready_events()[-1]["data"]
            assert told["agent"] == output and os.path.exists(told["path"]), name
            if told["output"] == "keep":
                assert same_file(told["path"], path), name
                warned = ["no mrc movie" in text for text in told["warnings"]]
                assert warned == ([True] if output == "hdf5" else []), told["warnings"]
    for name, content in (("empty", b""), ("text", b"not a movie\n"), ("half", bytes(700))):
        path = os.path.join(work.movies, name + ".mrc")
        with open(path, "wb") as f:
            f.write(content)
        done = work.push(server, "--agent", "y", path)
        assert done.process.returncode in (0, 1), name
    assert work.push(server, mrc(work, "good.mrc", data, 6)).process.returncode == 0


if __name__ == "__main__":
    if pixels.absent_reader:
        print(f"skipped: {pixels.absent_reader}")
        sys.exit(SKIP)
    sys.exit(run(globals()))
