#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Memory is the configured pool, however large the movie: the most that either side ever held, with
a movie of 1 GiB (--long: 4 GiB) and a pool of 64 MiB."""
import os
import re
import struct
import sys

from aftermath import check_events, is_long
from millrace import Program, run, wait_for

LONG = is_long()
MIB = 1 << 20
POOL = 64 * MIB
ALLOWANCE = 64 * MIB  # programs, libraries, stacks, and what a sanitizer does not multiply
FRAMES = (4096 if LONG else 1024) // 4


def sparse_movie(path):
    """Frames of 4 MiB that take no room: a header, and holes with a number in each frame."""
    side = 2048
    header = bytearray(struct.pack("<10i", side, side, FRAMES, 0, 0, 0, 0, side, side, FRAMES))
    header += struct.pack("<6f3i3f2i", side, side, FRAMES, 90, 90, 90, 1, 2, 3, 0, 1, 0, 0, 0)
    header += bytes(208 - len(header)) + b"MAP DD\0\0" + bytes(1024 - 216)
    with open(path, "wb") as f:
        f.write(header)
        for frame in range(FRAMES):
            f.seek(1024 + frame * side * side)
            f.write(struct.pack("<Q", frame))
        f.truncate(1024 + FRAMES * side * side)
    return path


def high_water(program):
    """VmHWM in bytes; None after its end."""
    try:
        with open(f"/proc/{program.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"VmHWM:\s+(\d+) kB", f.read())[1]) * 1024
    except (OSError, TypeError):
        return None


def push_is_lean(work, output, codec):
    path = sparse_movie(os.path.join(work.movies, "movie.mrc"))
    server = work.server({"memory": {"pool": "64MiB"}})
    config = work.write("agent.yaml", f"""
agent: {{name: k3, state_dir: {work.folder("agent-state")}}}
server: {{endpoint: "{server.control}", codec: {codec}}}
memory: {{pool: 64MiB}}
watch: [{{path: {work.movies}, output: {output}}}]
""")
    agent = Program(work, "millrace-agent", ["--config", config, "--once"]).start()
    seen = []
    wait_for(lambda: seen.append(high_water(agent)) or not agent.alive(), 200, "the end")
    most = max(n for n in seen if n)
    assert agent.wait() == 0, agent.messages()
    event, = check_events(server).values()
    assert event["data"]["source_bytes"] == os.path.getsize(path)
    used = high_water(server)
    print(f"{output} {codec}, {FRAMES * 4} MiB: agent {most >> 20} MiB, server {used >> 20} MiB")
    assert most <= POOL + ALLOWANCE, f"the agent took {most >> 20} MiB"
    assert used <= POOL + ALLOWANCE, f"the server took {used >> 20} MiB"


def test_keep(work):
    push_is_lean(work, "keep", "none")


def test_keep_packed(work):
    push_is_lean(work, "keep", "bslz4")


def test_hdf5(work):
    push_is_lean(work, "hdf5", "bslz4")


if __name__ == "__main__":
    sys.exit(run(globals()))
