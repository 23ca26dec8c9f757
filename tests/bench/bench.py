# SPDX-License-Identifier: Apache-2.0
"""Measures Millrace beside the ceilings and peers of the same run.

Every round measures each of them once, one after the other, so that all see the same machine; what
is told is min, median and max. Exit status: 0, also where goals are missed; 1 where a movie arrived
other than it was sent.
"""
import argparse
import os
import shutil
import signal
import sys

from bench_cameras import cameras
from bench_decode import decode
from bench_kernels import kernels
from bench_memory import memory
from bench_ready import ready
from bench_report import Book
from bench_rig import K3, Rig, millrace
from bench_small import small
from bench_transfer import compressed, frames, raw

# In this order; memory sums up what was before it
ITEMS = {"raw": raw, "kernels": kernels, "compressed": compressed, "ready": ready, "small": small,
         "cameras": cameras, "frames": frames, "decode": decode, "memory": memory}
MIB, GIB = 1 << 20, 1 << 30
SIZES = {
    "full": {"rounds": 5, "raw_bytes": 2 * GIB, "doses": (0.25, 0.5, 1.0), "k3": K3,
             "k3_frames": 160, "k3_distinct": 16, "ready_frames": 42, "ready_movies": 50,
             "ready_peer_movies": 5, "small_files": 10000, "small_folders": 1000,
             "cameras": (1, 2, 4, 8, 16), "cameras_bytes": 4 * GIB, "frames_bytes": GIB,
             "distinct_bytes": GIB // 4, "frame_limits": {}, "malloc_slabs": (64, 512),
             "decode_frames": 80, "settle_s": 5, "kernel_rounds": 7},
    "quick": {"rounds": 3, "raw_bytes": GIB, "doses": (0.5,), "k3_frames": 80, "k3_distinct": 8,
              "ready_movies": 10, "ready_peer_movies": 2, "small_files": 2000,
              "small_folders": 200, "cameras": (1, 4, 16),
              "cameras_bytes": 4 * GIB, "frames_bytes": GIB // 2, "distinct_bytes": GIB // 8,
              "malloc_slabs": (32, 256), "decode_frames": 40, "kernel_rounds": 3},
    # shows that it works; its figures mean nothing
    "tiny": {"rounds": 2, "raw_bytes": 8 * MIB, "doses": (0.5,), "k3": {"nx": 512, "ny": 512},
             "k3_frames": 8, "k3_distinct": 4, "ready_frames": 8, "ready_movies": 2,
             "ready_peer_movies": 1, "small_files": 20, "small_folders": 3, "cameras": (1, 2),
             "cameras_bytes": 8 * MIB, "frames_bytes": MIB, "distinct_bytes": MIB,
             "frame_limits": {"nx": 256, "ny": 256}, "malloc_slabs": (2, 6), "decode_frames": 8,
             "settle_s": 1, "kernel_rounds": 1},
}


NUMBERS = [name for name, value in SIZES["full"].items() if isinstance(value, int)]


def parse_items(text):
    chosen = text.split(",")
    for item in chosen:
        if item not in ITEMS:
            raise argparse.ArgumentTypeError(f"{item}: one of {', '.join(ITEMS)}")
    return chosen


def parse_size(text):
    name, _, value = text.partition("=")
    if name not in NUMBERS or not value.isdigit() or int(value) == 0:
        raise argparse.ArgumentTypeError(f"{text}: NAME=NUMBER, of {', '.join(NUMBERS)}")
    return name, int(value)


def parse_options():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", dest="size", action="store_const", const="quick",
                        default="full", help="smaller and fewer: some minutes")
    parser.add_argument("--tiny", dest="size", action="store_const", const="tiny",
                        help="only shows that it works")
    parser.add_argument("--only", type=parse_items, default=list(ITEMS), metavar="ITEM,...",
                        help=f"of {', '.join(ITEMS)}")
    parser.add_argument("--set", type=parse_size, action="append", default=[],
                        metavar="NAME=NUMBER", help=f"one size, of {', '.join(NUMBERS)}")
    parser.add_argument("--rounds", type=int, help="how often each is measured (5; quick 3)")
    parser.add_argument("--pool", default="256MiB", help="the server's memory.pool (256MiB)")
    parser.add_argument("--source", default="/dev/shm", help="where sources lie (/dev/shm)")
    parser.add_argument("--dir", help="where the store lies: the disk that is measured (/tmp)")
    parser.add_argument("--out", default="bench-out", help="where results are kept (bench-out)")
    return parser.parse_args()


def sizes_of(options):
    sizes = {**SIZES["full"], **SIZES[options.size], **dict(options.set)}
    if options.rounds:
        sizes["rounds"] = options.rounds
    return sizes


def check_room(options, sizes):
    needed = max(sizes["raw_bytes"], sizes["cameras_bytes"]) * 1.2
    places = {"--source": options.source, "--dir": options.dir or "/tmp"}
    for option, place in places.items():
        if shutil.disk_usage(place).free < needed:
            sys.exit(f"bench: {option} {place} has no room for {needed / GIB:.1f} GiB")


def measure(options, sizes, book):
    with millrace.Workspace() as work:
        rig = Rig(options, sizes, work, book)
        try:
            for item, function in ITEMS.items():
                if item in options.only:
                    rig.say(item)
                    function(rig)
        finally:
            rig.close()


def main():
    options = parse_options()
    sizes = sizes_of(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended by SIGTERM"))  # and cleans up
    check_room(options, sizes)
    if options.dir:
        os.environ["MILLRACE_TEST_DIR"] = options.dir
    book = Book(options)
    try:
        measure(options, sizes, book)
    finally:  # also what was measured before it was interrupted
        book.print()
        print(f"written: {book.save(options.out)}")
    return 1 if book.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
