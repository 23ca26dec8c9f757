#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Does millrace-sim write movies that other programs take, and misbehave as told?"""
import os
import re
import shutil
import signal
import struct
import subprocess
import sys

from millrace import Skipped, binary, crc64, run, wait_for

SMALL = {"nx": 96, "ny": 64, "frames": 5}
FRAME = 96 * 64


def header(path):
    """nx, ny, nz, mode, dmin, dmax, dmean, map; zeros where the file is still short."""
    with open(path, "rb") as f:
        data = f.read(1024).ljust(1024, b"\0")
    return (*struct.unpack_from("<4i", data), *struct.unpack_from("<3f", data, 76), data[208:212])


def grown(path, size):
    return wait_for(lambda: os.path.exists(path) and os.path.getsize(path) >= size,
                    what=f"{path} has {size} bytes")


def test_every_mode_is_valid_and_its_digest_true(work):
    try:
        import mrcfile
    except ImportError:
        raise Skipped("python3-mrcfile is not installed") from None
    for mode in (0, 1, 2, 6, 12, 101):
        movie, = work.camera(mode=mode, prefix=f"m{mode}", dose=1.3, **SMALL).results()
        assert crc64(movie.path) == movie.file_crc
        assert movie.bytes == os.path.getsize(movie.path) and movie.frames == 5
        assert header(movie.path)[:4] == (96, 64, 5, mode)
        if mode in (0, 1, 2, 6):  # it sums mode 12 in halves, and does not know 101
            assert mrcfile.validate(movie.path), f"mode {mode}"
            with mrcfile.open(movie.path) as m:
                assert abs(float(m.data.mean(dtype="f8")) - 1.3) < 0.05


def test_drift_is_there_to_be_found(work):
    try:
        import mrcfile
        import numpy as np
    except ImportError:
        raise Skipped("python3-mrcfile and python3-numpy are not installed") from None
    truth = os.path.join(work.path, "truth")
    movie, = work.camera(nx=512, ny=384, frames=8, dose=4, drift=30, truth=truth).results()
    with open(truth, encoding="utf-8") as f:
        told = [tuple(map(int, line.split("\t")[2:])) for line in f]
    frames = mrcfile.open(movie.path).data.astype("f4")
    base = np.conj(np.fft.rfft2(frames[0] - frames[0].mean()))
    for i, frame in enumerate(frames):
        peak = np.fft.irfft2(np.fft.rfft2(frame - frame.mean()) * base, s=frame.shape)
        y, x = np.unravel_index(peak.argmax(), peak.shape)
        found = ((x + 256) % 512 - 256, (y + 192) % 384 - 192)
        # the specimen is smooth and the counts are noise: one pair of frames tells to a few pixels
        assert max(abs(found[0] - told[i][0]), abs(found[1] - told[i][1])) <= 3, (i, found, told[i])
    assert max(map(abs, told[-1])) >= 20


MOVIES_STAR = """
data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnMicrographOriginalPixelSize #3
_rlnVoltage #4
_rlnSphericalAberration #5
_rlnAmplitudeContrast #6
opticsGroup1 1 1.08 300 2.7 0.1

data_movies

loop_
_rlnMicrographMovieName #1
_rlnOpticsGroup #2
movies/m_0001.mrc 1
"""


def test_relion_finds_the_drift(work):
    if not shutil.which("relion_run_motioncorr"):
        raise Skipped("relion is not installed")
    truth = os.path.join(work.path, "truth")
    work.camera(prefix="m", nx=1024, ny=1024, frames=12, dose=1, drift=20, pixel_size=1.08,
                truth=truth).results()
    work.write("movies.star", MOVIES_STAR)
    subprocess.run(["relion_run_motioncorr", "--i", "movies.star", "--o", "MC/", "--use_own",
                    "--j", "2", "--patch_x", "1", "--patch_y", "1", "--bin_factor", "1",
                    "--bfactor", "150", "--angpix", "1.08", "--voltage", "300",
                    "--skip_logfile"], cwd=work.path, capture_output=True, timeout=120)
    with open(os.path.join(work.path, "MC/movies/m_0001.star"), encoding="ascii") as f:
        block = f.read().split("data_global_shift")[1].split("data_")[0]
    found = [tuple(map(float, x)) for x in re.findall(r"^ *\d+ +(\S+) +(\S+) *$", block, re.M)]
    with open(truth, encoding="utf-8") as f:
        told = [tuple(map(int, line.split("\t")[2:])) for line in f]
    assert len(found) == len(told) == 12
    for shift, drift in zip(found, told):  # the shift takes the drift back
        assert max(abs(shift[0] + drift[0]), abs(shift[1] + drift[1])) < 0.5, (shift, drift)


def test_tiff_is_read(work):
    try:
        import tifffile
    except ImportError:
        raise Skipped("python3-tifffile is not installed") from None
    for mode, dtype in ((0, "uint8"), (1, "int16"), (2, "float32"), (6, "uint16")):
        movie, = work.camera(format="tiff", mode=mode, prefix=f"t{mode}", **SMALL).results()
        data = tifffile.imread(movie.path)
        assert data.shape == (5, 64, 96) and data.dtype == dtype, (data.shape, data.dtype)
        assert crc64(movie.path) == movie.file_crc


def test_steps_show_the_way_it_grows(work):
    camera = work.camera(step=True, hold="header", mdoc=True, prefix="new/m", **SMALL)
    path = os.path.join(work.movies, "new/m_0001.mrc")
    camera.step()
    grown(path, 1024 + FRAME)
    wait_for(lambda: header(path)[7] == b"MAP ", what="the header")
    assert header(path)[2] == 5 and header(path)[4:7] == (0.0, 0.0, 0.0)
    camera.step(4)
    wait_for(lambda: header(path)[6] > 0.0, what="the last header")
    assert os.path.getsize(path) == 1024 + 5 * FRAME and camera.alive()
    assert not os.path.exists(path + ".mdoc")
    camera.step()
    camera.results()
    with open(path + ".mdoc", encoding="ascii", newline="") as f:
        assert "NumSubFrames = 5\r\n" in f.read()


def test_abort_and_missing_last_header(work):
    movie, = work.camera(abort_at=3, nz_late=True, prefix="a", **SMALL).results()
    assert header(movie.path)[2] == 3 and movie.bytes == 1024 + 3 * FRAME
    movie, = work.camera(abort_at=3, no_final_header=True, prefix="b", **SMALL).results()
    assert header(movie.path)[2] == 5 and movie.bytes == 1024 + 3 * FRAME
    camera = work.camera(stall=2, prefix="c", **SMALL)
    path = os.path.join(work.movies, "c_0001.mrc")
    grown(path, 1024 + 2 * FRAME - 4096)
    camera.signal(signal.SIGTERM)
    assert camera.results() == [] and header(path)[2] == 5
    camera = work.camera(step=True, prefix="d", **SMALL)
    camera.step(2)
    grown(os.path.join(work.movies, "d_0001.mrc"), 1024 + FRAME + 1)
    camera.signal(signal.SIGTERM)
    movie, = camera.results()
    assert movie.frames == header(movie.path)[2] < 5


def test_seed_decides_and_movies_differ(work):
    first = work.camera(prefix="a", movies=3, **SMALL).results()
    again = work.camera(prefix="b", movies=3, **SMALL).results()
    other = work.camera(prefix="c", movies=3, seed=2, **SMALL).results()
    assert [m.file_crc for m in first] == [m.file_crc for m in again]
    assert len({m.pixels_crc for m in first + other}) == 6


def test_exit_statuses(work):
    def status(*words):
        return subprocess.run([binary("millrace-sim"), *words], capture_output=True).returncode
    assert status("--help") == 0 and status("--version") == 0
    assert status() == 64 and status("--out", work.path, "--mode", "3") == 64
    assert status("--out", "/proc/nowhere", "--nx", "8", "--ny", "8") == 74


if __name__ == "__main__":
    sys.exit(run(globals()))
