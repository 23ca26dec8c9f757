#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Memory is the configured pool, however large the movie: the most that either side ever held, with
a movie of 1 GiB (--long: 4 GiB) and the pool that every test has."""
import os
import sys

from aftermath import check_events, is_long, make_sparse_movie
from millrace import POOL, Program, run, wait_for

LONG = is_long()
MIB = 1 << 20
ALLOWANCE = 64 * MIB  # programs, libraries, stacks, and what a sanitizer does not multiply
FRAMES = (4096 if LONG else 1024) // 4


def push_is_lean(work, output, codec):
    path = make_sparse_movie(os.path.join(work.movies, "movie.mrc"), FRAMES)
    server = work.server()
    config = work.write("agent.yaml", f"""
agent: {{name: k3, state_dir: {work.folder("agent-state")}}}
server: {{endpoint: "{server.control}", codec: {codec}}}
memory: {{pool: {POOL >> 20}MiB}}
watch: [{{path: {work.movies}, output: {output}}}]
""")
    agent = Program(work, "millrace-agent", ["--config", config, "--once"]).start()
    seen = []
    wait_for(lambda: seen.append(agent.peak_bytes()) or not agent.alive(), 200, "the end")
    most = max(n for n in seen if n)
    assert agent.wait() == 0, agent.messages()
    event, = check_events(server).values()
    assert event["data"]["source_bytes"] == os.path.getsize(path)
    used = server.peak_bytes()
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
