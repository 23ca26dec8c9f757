#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An agent that is not ours, by the book and against it: is each answer the one that PROTOCOL.md
names, and is everybody else left alone?"""
import contextlib
import os
import socket
import struct
import sys

import wireclient
from millrace import files_below, run, wait_for
from wireclient import SLAB, Client, new_ulid, ulid_text


@contextlib.contextmanager
def bystander(server):
    """A session that is there all the while, and works after all that was done to the other."""
    with Client(server) as other:
        assert other.hello("bystander")[0] == "WELCOME"
        before = len(server.ready_events())
        other.attend(True)
        yield
        server.check_alive()
        other.attend(False)
        kind, fields = other.send_file(f"after/{before}.bin", b"still here" * 1000)
        assert kind == "COMMITTED", (kind, fields)


def refused(answer, kind, code, *words):
    assert answer is not None, f"no answer, not {kind} {code}"
    assert answer[0] == kind and answer[1]["code"] == code, answer
    for word in words:
        assert word in answer[1]["text"], f"'{word}' is not in: {answer[1]['text']}"


def test_files_by_the_book(work):
    server = work.server()
    with Client(server) as c:
        kind, welcome = c.hello()
        assert kind == "WELCOME" and welcome["server"] == "storage1" and len(c.lanes) == 2, welcome
        for size in (0, 1, SLAB, 2 * SLAB + 4095):
            data, movie = os.urandom(size), new_ulid()
            kind, fields = c.send_file(f"book/{size}.bin", data, movie)
            assert kind == "COMMITTED" and not fields["known"], (kind, fields)
            assert fields["event"] == ulid_text(movie) + ".ready", fields
            with open(fields["path"], "rb") as f:
                assert f.read() == data
            again = c.open(f"book/{size}.bin", movie)
            assert again[0] == "COMMITTED" and again[1]["event"] == fields["event"], again
        c.say("BYE", struct.pack("<HH", 0, 0))
    assert len(server.ready_events()) == 4
    server.wait_for_event("millrace.agent.offline.v1")


def test_hello_is_refused(work):
    server = work.server()
    with bystander(server):
        with Client(server) as c:
            refused(c.hello(versions=(2, 7)), "REFUSED", "VERSION", "2", "7", "1")
        for name in ("no spaces", "", "..", ".", "a/b", "../up", "new\nline", "\u00fc"):
            with Client(server) as c:
                refused(c.hello(name), "REFUSED", "BAD_NAME", "letters")
        with Client(server) as c:
            refused(c.hello("n" * 65), "REFUSED", "BAD_REQUEST")
        with Client(server) as c:
            refused(c.hello(versions=(3, 2)), "REFUSED", "BAD_REQUEST")


def test_one_instance_of_a_name(work):
    server = work.server()
    mine, theirs = b"m" * 16, b"t" * 16
    with bystander(server), Client(server) as first, Client(server) as stranger:
        assert first.hello("k3", 0, mine, 5)[0] == "WELCOME"
        refused(stranger.hello("k3", 0, theirs, 9), "REFUSED", "NAME_IN_USE", "k3", "testhost")
        with Client(server) as push:
            assert push.hello("k3", 1)[0] == "WELCOME", "a push may share the name"
        with Client(server) as older:
            refused(older.hello("k3", 0, mine, 4), "REFUSED", "STALE_EPOCH")
        with Client(server) as newer:
            assert newer.hello("k3", 0, mine, 6)[0] == "WELCOME"
            refused(first.hear("BYE"), "BYE", "STALE_EPOCH")
            assert newer.send_file("a.bin", b"a")[0] == "COMMITTED"
            newer.say("BYE", struct.pack("<HH", 0, 0))
        with Client(server) as late:
            assert late.hello("k3", 0, theirs, 1)[0] == "WELCOME", "the name is free again"


def test_a_silent_agent_is_over(work):
    server = work.server()
    with bystander(server), Client(server) as c:
        assert c.hello("mute", 0)[0] == "WELCOME"
        offline = server.wait_for_event("millrace.agent.offline.v1", "mute")
        assert offline["data"]["agent"] == "mute"


def test_bad_messages_end_the_session(work):
    server = work.server()
    hostile = {
        "unknown type": lambda c: c.say(99),
        "unknown codec": lambda c: c.open("a", codec=9),
        "unknown output": lambda c: c.open("a", output=4),
        "layout of another output": lambda c: c.open("a", layout=2),
        "width of an opaque file": lambda c: c.open("a", width=5),
        "empty path": lambda c: c.open(""),
        "short body": lambda c: c.say("OPEN", b"short"),
        "sequence gap": lambda c: c.say("PING", bytes(16), sequence=77),
        "server's message": lambda c: c.say("COMMITTED", bytes(33)),
        "wrong lane count": lambda c: c.say("DEMAND", struct.pack("<H", 1) + bytes(9)),
    }
    with bystander(server):
        for what, act in hostile.items():
            with Client(server) as c:
                assert c.hello()[0] == "WELCOME"
                act(c)
                bye = [m for m in c.seen if m[0] == "BYE"]
                answer = bye[0] if bye else c.hear("BYE")
                try:
                    refused(answer, "BYE", "BAD_REQUEST")
                    assert answer[1]["text"], "no reason is given"
                except AssertionError as wrong:
                    raise AssertionError(f"{what}: {wrong}") from wrong


def test_garbage_is_dropped(work):
    server = work.server()
    with bystander(server), Client(server) as c:
        assert c.hello()[0] == "WELCOME"
        c.attend(True)
        for junk in (b"", b"x", bytes(31), os.urandom(5000), b"MRCT" + bytes(28)):
            with Client(server) as stranger:
                stranger.control.send(junk)
                stranger.control.send_multipart([b"two", b"parts"])
                stranger.control.send(stranger.envelope("PING", bytes(16), crc=7))
                stranger.control.send(stranger.envelope("PING", bytes(16), session=99))
        c.attend(False)
        c.control.send_multipart([b"two", b"parts"])
        for lane in c.lanes:
            lane.send(b"one part")
            lane.send_multipart([b"short header", b"payload"])
            lane.send_multipart([os.urandom(256), b"payload"])
            lane.send_multipart([os.urandom(256), b"a", b"b"])
        assert c.send_file("fine.bin", b"fine" * 9999)[0] == "COMMITTED", c.seen
    for port in (server.port, server.port + 1, server.port + 2, server.port + 3, server.port + 4):
        for junk in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(3000), b"\xff" + bytes(8) + b"\x7f"):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as s:
                s.sendall(junk)
    with bystander(server):
        pass


def opened(c, path="movie.bin", **change):
    movie = new_ulid()
    kind, fields = c.open(path, movie, **change)
    assert kind == "OPENED", (kind, fields)
    c.demand()
    return movie, fields["generation"]


def test_bad_slabs_end_the_session(work):
    server = work.server()
    hostile = {
        "sequence gap": {"sequence": 5}, "other lane": {"lane": 1}, "lane 64": {"lane": 64},
        "too big": {"raw": SLAB + 1, "wire": SLAB + 1}, "empty": {"raw": 0, "wire": 0},
        "wire is not the payload": {"wire": 99, "raw": 99}, "raw is not wire": {"raw": 99},
        "codec 3": {"codec": 3}, "version 2": {"version": 2},
        "pixels outside": {"pixel_offset": 90, "pixel_bytes": 4096},
    }
    with bystander(server):
        for what, change in hostile.items():
            with Client(server) as c:
                assert c.hello()[0] == "WELCOME"
                movie, generation = opened(c)
                c.send_slab(movie, generation, 0, bytes(4000), **change)
                try:
                    refused(c.verdict(), "BYE", "BAD_REQUEST")
                except AssertionError as wrong:
                    raise AssertionError(f"{what}: {wrong}") from wrong


def test_credit_overrun_ends_the_session(work):
    server = work.server()
    with bystander(server), Client(server) as c:
        assert c.hello()[0] == "WELCOME"
        kind, fields = c.open("greedy.bin", new_ulid())
        assert kind == "OPENED"
        for slab in range(60):  # more than the pool, and nothing was asked for
            c.send_slab(fields["movie"], fields["generation"], slab, bytes(SLAB), credit=False)
            if c.hear("BYE", timeout=0.01):
                break
        bye = [m for m in c.seen if m[0] == "BYE"] or [c.hear("BYE")]
        refused(bye[0], "BYE", "BAD_REQUEST", "credit")


def test_stale_slabs_are_dropped(work):
    server = work.server()
    with bystander(server), Client(server) as c:
        assert c.hello()[0] == "WELCOME"
        movie, generation = opened(c)
        c.send_slab(new_ulid(), 1, 0, b"of no movie")
        c.send_slab(movie, generation + 7, 0, b"of another generation")
        c.send_slab(movie, generation, 0, b"of another session", session=12345)
        c.lane_sequences[0] -= 1  # it was not heard
        c.send_slab(movie, generation, 0, b"right")
        c.send_slab(movie, generation, 0, b"right")
        c.end(movie, generation, b"right")
        kind, fields = c.verdict()
        assert kind == "COMMITTED", (kind, fields)
        with open(fields["path"], "rb") as f:
            assert f.read() == b"right"


def test_a_damaged_slab_is_sent_again(work):
    server = work.server()
    data = os.urandom(SLAB + 1000)
    with bystander(server), Client(server) as c:
        assert c.hello()[0] == "WELCOME"
        movie, generation = opened(c)
        c.send_slab(movie, generation, 0, data[:SLAB])
        rest = data[SLAB:]
        c.send_slab(movie, generation, 1, rest, damage=rest[:500] + b"\0\0\0\0" + rest[504:])
        kind, fields = c.hear("RESEND")
        assert fields == {"movie": movie, "generation": generation, "slab": 1}, fields
        c.end(movie, generation, data)
        c.send_slab(movie, generation, 1, rest)
        kind, fields = c.verdict()
        assert kind == "COMMITTED", (kind, fields)
        with open(fields["path"], "rb") as f:
            assert f.read() == data
    assert sum(lane["damaged_slabs"] for lane in server.status()["lanes"]) == 1


def test_slabs_that_do_not_fit_fail_the_movie(work):
    server = work.server()
    with bystander(server), Client(server) as c:
        assert c.hello()[0] == "WELCOME"
        movie, generation = opened(c, "pixels.bin")
        c.send_slab(movie, generation, 0, bytes(4000), pixel_bytes=100)
        refused(c.verdict(), "FAILED", "MISMATCH")
        assert c.send_file("good.bin", b"good")[0] == "COMMITTED"
    assert files_below(server.store).count("wire/pixels.bin") == 0


def test_codecs_up_to_the_one_of_open(work):
    """What cannot be restored is asked for again; a codec beyond OPEN's fails the movie."""
    server = work.server()
    with bystander(server), Client(server) as c:
        assert c.hello()[1]["abilities"] & 2
        movie, generation = opened(c, "lower.bin", codec=2)
        c.send_slab(movie, generation, 0, b"no bslz4" * 10, codec=1, raw=4000)
        assert c.hear("RESEND", "FAILED")[0] == "RESEND"
        c.send_slab(movie, generation, 0, b"as it is")
        c.end(movie, generation, b"as it is")
        assert c.verdict()[0] == "COMMITTED"
        movie, generation = opened(c, "higher.bin", codec=1)
        c.send_slab(movie, generation, 0, b"no bszstd" * 10, codec=2, raw=4000)
        refused(c.verdict(), "FAILED", "MISMATCH")


def test_totals_that_disagree(work):
    """It is never COMMITTED, and nothing lies at the final name."""
    server = work.server()
    data = b"abc" * 1000
    wrong = {"crc": {"crc": 5}, "slabs": {"slabs": 2}, "short": {"bytes": 2999},
             "pixels": {"crc_pixels": 9}}
    with bystander(server), Client(server) as c:
        assert c.hello()[0] == "WELCOME"
        for name, change in wrong.items():
            movie, generation = opened(c, name + ".bin")
            c.send_slab(movie, generation, 0, data)
            assert c.hear("ACK"), "the slab is durable"
            c.end(movie, generation, data, **change)
            answer = c.verdict()
            if name == "slabs":
                refused(answer, "FAILED", "MISMATCH")
                failed = server.wait_for_event("millrace.movie.failed.v1", name + ".bin")
                assert os.path.exists(failed["data"]["path"]), failed
                assert c.open(name + ".bin", movie)[0] == "FAILED", "OPEN of a failed movie"
            else:
                assert answer == ("ABANDONED", {"movie": movie}), f"{name}: {answer}"
            assert f"wire/{name}.bin" not in files_below(server.store)
            kind, fields = c.send_file(name + ".bin", data)
            assert kind == "COMMITTED" and fields["path"].endswith(name + ".bin"), fields


def test_fail_and_abandon(work):
    server = work.server()
    with bystander(server), Client(server) as c:
        assert c.hello()[0] == "WELCOME"
        movie, generation = opened(c, "broken.bin")
        c.send_slab(movie, generation, 0, b"what came")
        assert c.hear("ACK")
        c.say("FAIL", struct.pack("<16sIQQ", movie, generation, 0, 9) + wireclient.text("the beam"))
        refused(c.verdict(), "FAILED", "SOURCE", "the beam")
        failed = server.wait_for_event("millrace.movie.failed.v1", "broken.bin")
        with open(failed["data"]["path"], "rb") as f:
            assert f.read() == b"what came"
        assert failed["data"]["reason"] == "the beam" and "/failed/" in failed["data"]["path"]
        movie, generation = opened(c, "left.bin")
        c.send_slab(movie, generation, 0, b"gone")
        assert c.hear("ACK")
        c.say("ABANDON", movie)
        assert c.verdict() == ("ABANDONED", {"movie": movie})
        c.say("ABANDON", new_ulid())
        assert c.verdict()[0] == "ABANDONED"
    names = {e["subject"] for e in server.logged() if not e["type"].endswith("started.v1")}
    assert "left.bin" not in names, "no event of what was abandoned"
    parts = [n for _, _, names in os.walk(server.store) for n in names if n.endswith(".part")]
    assert not parts, parts


def test_a_movie_resumes_in_another_session(work):
    server = work.server()
    data, movie = os.urandom(2 * SLAB + 10), new_ulid()
    with Client(server) as c:
        assert c.hello()[0] == "WELCOME"
        _, fields = c.open("long.bin", movie)
        c.demand()
        c.send_slab(movie, fields["generation"], 1, data[SLAB:2 * SLAB])
        assert c.hear("ACK")[1]["ranges"] == [(1, 1)]
    wait_for(lambda: not server.status()["sessions"], what="the broken session is over")
    with Client(server) as c:
        assert c.hello()[0] == "WELCOME"
        kind, fields = c.open_patiently("long.bin", movie)
        assert kind == "OPENED" and fields["resumed"] and fields["ranges"] == [(1, 1)], fields
        c.demand()
        c.end(movie, fields["generation"], data)
        for slab in (2, 0):
            c.send_slab(movie, fields["generation"], slab, data[slab * SLAB:(slab + 1) * SLAB])
        kind, fields = c.verdict()
        assert kind == "COMMITTED", (kind, fields)
        with open(fields["path"], "rb") as f:
            assert f.read() == data


if __name__ == "__main__":
    wireclient_missing = wireclient.zmq is None
    if wireclient_missing:
        print("skipped: python3-zmq is not installed")
        sys.exit(77)
    sys.exit(run(globals()))
