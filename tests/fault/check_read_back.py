#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Bytes change while no server runs: in a part, in a placement journal, in the event log, in the
catalogue. What can be sent again is asked for again; what cannot stops the server with words."""
import os
import random
import re
import signal
import sys

from aftermath import check_events, check_file, check_store, committed, events, journals, \
    make_movies, parts, resumed, total
from millrace import SLAB, Program, run, slabs_of, wait_for


def half_shipped(work, output):
    """A server that died in the midst, and the push that waits for the next one. A sync group is at
    most 64 MiB, so there are at least four of them, and the third is not the last."""
    movie, = make_movies(work.movies, 1, 256 << 20, random.Random(3))
    server = work.server(env={"MILLRACE_CRASH_AT": "group-durable:3"})
    push = work.start_push(server, "--agent", "k3", "--output", output, work.movies)
    assert server.wait() == -signal.SIGKILL
    return server, push, movie


def records(journal):
    """Of a journal the SLAB lines: where each begins, its length, its text."""
    with open(journal, "rb") as f:
        data = f.read()
    return [(m.start(), len(m[0]), m[0]) for m in re.finditer(rb"[^\n]*\bSLAB\b[^\n]*\n", data)]


def flip(path, offset):
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)
        f.seek(offset)
        f.write(bytes([byte[0] ^ 1]))


def finish(server, push, movie, output, lost):
    """The rest is shipped, and exactly what was spoilt is shipped again."""
    durable = len(records(journals(server.store)[0]))
    server.start()
    assert push.wait(60) == 0, push.messages()
    had, = resumed(push).values()
    assert had == durable - lost, f"{durable} were durable, {lost} spoilt, {had} resumed"
    assert "they are asked for again" in server.messages()
    slabs = slabs_of(movie.bytes) if output == "keep" else movie.frames // 4
    assert total(server, "received_slabs") == slabs - had
    check_store(server, [movie], output)


def offset_of(text):
    """Where the slab of a SLAB line lies in the part."""
    return int(re.search(rb"SLAB \d+ (\d+) ", text)[1])


def part_is_damaged(work, output):
    server, push, movie = half_shipped(work, output)
    part, = parts(server.store)
    spoilt = records(journals(server.store)[0])[1:3]
    for _, _, text in spoilt:
        flip(part, offset_of(text) + 1000)
    finish(server, push, movie, output, len(spoilt))


def test_part_of_keep_is_damaged(work):
    part_is_damaged(work, "keep")


def test_part_of_hdf5_is_damaged(work):
    part_is_damaged(work, "hdf5")


def test_part_is_cut(work):
    server, push, movie = half_shipped(work, "keep")
    part, = parts(server.store)
    places = [offset_of(text) for _, _, text in records(journals(server.store)[0])]
    end = sorted(places)[-2]
    os.truncate(part, end)
    finish(server, push, movie, "keep", 2)


def test_journal_is_damaged(work):
    server, push, movie = half_shipped(work, "keep")
    journal, = journals(server.store)
    lines = records(journal)
    flip(journal, lines[1][0] + lines[1][1] // 2)
    # the line may not look like a record of a slab any more
    left = len(records(journal))
    finish(server, push, movie, "keep", 1 - (len(lines) - left))


def test_part_is_gone(work):
    server, push, movie = half_shipped(work, "keep")
    os.unlink(parts(server.store)[0])
    server.start()
    assert push.wait(60) == 0, push.messages()
    check_store(server, [movie])


def test_flip_between_landing_and_commit(work):
    """store.verify_at_seal: a disk that does not keep what it confirmed, while the server runs."""
    server = work.server({"store": {"verify_at_seal": True}})
    agent = work.agent(server, {"watch": {"complete": {"quiet": "60s"}}}, name="k3")
    camera = work.camera(nx=2048, ny=1024, frames=16, movies=1, hold=True, nz_late=True)
    wait_for(lambda: (total(server, "durable_slabs") or 0) >= 5, what="slabs are durable")
    part, = parts(server.store)
    flip(part, SLAB + 1000)
    camera.step()
    movie, = camera.results()
    wait_for(lambda: committed(agent), what="the movie is committed")
    assert "does not read back as written" in server.messages()
    assert "1 slabs and 0 journal records do not read back" in server.messages()
    check_file(next(iter(check_events(server).values())), movie.path, movie.pixels_crc)
    assert total(server, "received_slabs") == slabs_of(movie.bytes) + 1


def log_of(server, name):
    return os.path.join(server.store, ".millrace", name)


def log_is_damaged(work, name):
    """In the middle: refused with words. At the end: cut, said, and nothing else is lost."""
    server = work.server()
    movies = make_movies(work.movies, 3, 1 << 20, random.Random(3))
    assert work.push(server, "--agent", "k3", work.movies).process.returncode == 0
    wait_for(lambda: events(server)[-1]["type"].endswith("offline.v1"), what="offline")
    count = len(events(server))
    server.stop()
    file = log_of(server, name)
    with open(file, "rb") as f:
        whole = f.read()
    flip(file, len(whole) // 2)
    Program.start(server)
    assert server.wait() not in (0, -signal.SIGSEGV, -signal.SIGABRT)
    assert name in server.messages(), server.messages()
    with open(file, "wb") as f:
        f.write(whole + whole[:50])
    server.start()
    assert "torn record" in server.messages()
    assert len(events(server)) == count
    check_store(server, movies)
    assert os.path.getsize(file) == len(whole)


def test_event_log_is_damaged(work):
    log_is_damaged(work, "events/00000001.log")


def test_catalogue_is_damaged(work):
    log_is_damaged(work, "catalogue.log")


if __name__ == "__main__":
    sys.exit(run(globals()))
