#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""codec: auto. A link that is the narrow place is compressed, one that keeps up is left alone, and
what arrives is what the camera wrote either way."""
import random
import re
import sys

from aftermath import check_store, total
from chaosproxy import ChaosProxy
from millrace import run, wait_for

MIB = 1 << 20
TURNED_ON = r"codec auto: .* travel with codec bs(lz4|zstd): the link is the narrow place"


def session(server):
    status = server.status()
    return status["sessions"][0] if status and status["sessions"] else {}


def metric(server, name):
    found = re.search(rf"^{name} (\d+)", server.get("/metrics") or "", re.M)
    return found and int(found[1])


def received_bytes(server):
    return total(server, "received_bytes")


def test_a_narrow_link_is_compressed(work):
    """Movies lie there faster than they travel: those behind the first are compressed."""
    server = work.server()
    movies = work.camera(nx=2048, ny=2048, frames=4, movies=24, dose=0.5).results(120)
    raw_bytes = sum(movie.bytes for movie in movies)
    with ChaosProxy(server, random.Random(1)) as link:
        link.throttle(10 * MIB)
        agent = work.agent(link, {"memory": {"pool": "16MiB"}})
        agent.wait_for_message(TURNED_ON, 120)
        wait_for(lambda: session(server).get("codec") in ("bslz4", "bszstd"),
                 what="the status says so")
        said = session(server)
        assert said["codec_auto"] and 0 < said["link_bytes_per_s"] < 40 * MIB, said
        wait_for(lambda: metric(server, "millrace_agents_compressing") == 1, what="the metrics do")
        wait_for(lambda: len(re.findall("is committed", agent.messages())) == len(movies), 120,
                 "all are committed")
    travelled = received_bytes(server)
    print(f"{raw_bytes / MIB:.0f} MiB travelled as {travelled / MIB:.0f}")
    assert travelled < 0.9 * raw_bytes, (travelled, raw_bytes)
    check_store(server, movies, folder="")


def test_a_link_that_keeps_up_is_left_alone(work):
    """Each frame is there before the next is written, whatever that takes."""
    server = work.server()
    agent = work.agent(server)
    frames, frame = 14, 4 * MIB
    camera = work.camera(nx=2048, ny=2048, frames=frames, step=True)
    for n in range(1, frames):
        camera.step()
        # the newest frame is not settled, the header is behind, slabs end within frames
        wait_for(lambda n=n: sum(m["durable_bytes"] for m in server.status()["movies"])
                 >= (n - 3) * frame, 60, f"what is settled of {n} frames is durable")
    camera.step()
    movie, = camera.results()
    wait_for(lambda: "is committed" in agent.messages(), 60, "it is committed")
    assert "codec auto" not in agent.messages(), agent.messages()
    assert received_bytes(server) >= movie.bytes
    assert session(server)["codec"] == "none" and session(server)["codec_auto"]
    assert metric(server, "millrace_agents_compressing") == 0
    check_store(server, [movie], folder="")


def test_a_codec_that_is_named_is_taken(work):
    server = work.server()
    agent = work.agent(server, {"server": {"codec": "bslz4"}})
    movies = work.camera(nx=512, ny=512, frames=8).results()
    wait_for(lambda: "is committed" in agent.messages(), 60, "it is committed")
    wait_for(lambda: session(server).get("codec") == "bslz4", what="the status says so")
    assert not session(server)["codec_auto"]
    assert received_bytes(server) < 0.7 * movies[0].bytes
    check_store(server, movies, folder="")


if __name__ == "__main__":
    sys.exit(run(globals()))
