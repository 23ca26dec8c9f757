#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Same content again, other content under a name that exists, and names that must not be."""
import os
import subprocess
import sys

import pixels
import wireclient
from millrace import SKIP, binary, files_below, run, same_file
from wireclient import Client


def pushed(work, server, *words):
    done = work.push(server, "--agent", "a", *words)
    assert done.process.returncode == 0, done.messages()
    return done.messages()


def test_same_content_again(work):
    """Known at once: no second copy, no new event, the first event's id; by kept and made files."""
    server = work.server()
    movie, = work.camera(nx=64, ny=63, frames=5).results()
    text = work.write("movies/notes.txt", "notes")
    for output in ("keep", "mrc", "hdf5"):
        work.folder(output)
        words = ["--output", output, work.movies]
        pushed(work, server, *words)
        first = server.ready_events()
        stored = files_below(server.store)
        said = pushed(work, server, *words)
        assert server.ready_events() == first, "no new event"
        assert files_below(server.store) == stored, files_below(server.store)
        ids = [e["id"] for e in first if e["data"]["output"] == output]
        for number in ids:
            assert number in said or output != "keep", f"{number} is not in: {said}"
        assert "2 were in the store already" in said, said
        os.utime(text, ns=(5, 5))  # the same bytes, touched: still the same content
        said = pushed(work, server, *words)
        assert server.ready_events() == first and files_below(server.store) == stored, said
        for path in stored:
            os.unlink(os.path.join(server.store, path))
    assert os.path.exists(movie.path)


def test_a_stored_file_that_somebody_changed(work):
    server = work.server()
    path = work.write("movies/a.txt", "mine")
    pushed(work, server, path)
    event, = server.ready_events()
    stored = event["data"]["path"]
    os.utime(stored, ns=(7, 7))
    pushed(work, server, path)
    second = server.ready_events()[-1]
    assert second["id"] != event["id"], "what was touched is not trusted"
    assert second["data"]["relative_path"] == "a/a_dup2.txt", second["data"]["relative_path"]
    assert second["data"]["warnings"], "a new name is told"
    with open(stored, "w", encoding="ascii") as f:
        f.write("yours")
    with open(second["data"]["path"], "a", encoding="ascii") as f:
        f.write("!")
    pushed(work, server, path)
    assert files_below(server.store) == ["a/a.txt", "a/a_dup2.txt", "a/a_dup3.txt"]
    with open(stored, encoding="ascii") as f:
        assert f.read() == "yours", "never overwritten"
    os.unlink(stored)
    pushed(work, server, path)
    assert len(server.ready_events()) == 3, "a_dup3.txt is the same content, unchanged"


def test_another_file_of_the_name(work):
    server = work.server()
    seen = []
    for number in range(1, 4):
        folder = work.folder(f"night{number}")
        movie, = work.camera(out=folder, nx=32, ny=31, frames=2, seed=number, prefix="m").results()
        for output in ("keep", "hdf5"):
            pushed(work, server, "--output", output, movie.path)
            event = server.ready_events()[-1]
            seen.append(event["data"]["relative_path"])
            pixels.check_ready(event, server.store, movie.path, "a")
    assert seen == ["a/m_0001.mrc", "a/m_0001.h5", "a/m_0001_dup2.mrc", "a/m_0001_dup2.h5",
                    "a/m_0001_dup3.mrc", "a/m_0001_dup3.h5"], seen
    assert len({e["id"] for e in server.ready_events()}) == 6


def test_a_stranger_in_the_store(work):
    """Files, folders and links that the server did not make are left alone."""
    server = work.server()
    there = work.folder("storage1-store/a")
    with open(os.path.join(there, "x.txt"), "w", encoding="ascii") as f:
        f.write("not ours")
    os.mkdir(os.path.join(there, "y.txt"))
    os.symlink("/etc/passwd", os.path.join(there, "z.txt"))
    for name in "xyz":
        pushed(work, server, work.write(f"movies/{name}.txt", "ours " + name))
        assert server.ready_events()[-1]["data"]["relative_path"] == f"a/{name}_dup2.txt"
    with open(os.path.join(there, "x.txt"), encoding="ascii") as f:
        assert f.read() == "not ours"
    os.symlink("/tmp", os.path.join(there, "folder"))
    work.folder("movies/folder")
    work.write("movies/folder/w.txt", "w")
    done = subprocess.Popen([binary("millrace-agent"), "push", "--server", server.control,
                             "--agent", "a", os.path.join(work.movies, "folder")],
                            stderr=subprocess.DEVNULL)
    try:
        code = done.wait(3)
        assert code != 0, "what would leave the store is refused"
    except subprocess.TimeoutExpired:
        done.kill()
        done.wait()
    assert not os.path.exists("/tmp/w.txt"), "a link led out of the store"


def test_names_that_are_refused(work):
    wireclient.need_zmq()
    server = work.server()
    bad = ("../up.txt", "a/../../up.txt", "/etc/x", "a//b", "a/./b", "./a", "..", ".", "a/", "a\nb",
           "a\x01b", "tab\there", "del\x7f", ".millrace/x", "a/.millrace/b", "n" * 256,
           "a/" + "\u00fc" * 128)
    with Client(server) as c:
        assert c.hello("raw")[0] == "WELCOME"
        for name in bad:
            kind, fields = c.open(name)
            assert kind == "FAILED" and fields["code"] == "BAD_NAME", f"{name!r}: {kind} {fields}"
            assert len(fields["text"]) > 10 and "\n" not in fields["text"], fields
        assert c.send_file("good/name.txt", b"good")[0] == "COMMITTED"
        kind, fields = c.send_file("n" * 255, b"long")
        assert kind == "COMMITTED", fields
        kind, fields = c.send_file("n" * 255, b"long too")
        assert kind == "COMMITTED" and len(os.path.basename(fields["path"])) <= 255, fields
        assert fields["path"].endswith("_dup2"), fields
    assert files_below(server.store) == sorted(["raw/good/name.txt", "raw/" + "n" * 255,
                                                "raw/" + os.path.basename(fields["path"])])


def test_many_at_once(work):
    """The same tree by several pushes at once: every file once, or told apart, and never lost."""
    server = work.server()
    for number in range(40):
        work.write(f"movies/f{number}.txt", f"content {number}\n" * 1000)
    pushes = [work.start_push(server, "--agent", "a", work.movies) for _ in range(4)]
    assert [p.wait(60) for p in pushes] == [0, 0, 0, 0]
    events = server.ready_events()
    assert len({e["id"] for e in events}) == len(events)
    stored = files_below(server.store)
    assert sorted(e["data"]["relative_path"] for e in events) == stored
    for event in events:
        source = os.path.join(work.path, event["subject"])
        assert same_file(event["data"]["path"], source)
    extra = [name for name in stored if "_dup" in name]
    assert not extra, f"{len(extra)} copies of what was there: {extra[:3]}"


if __name__ == "__main__":
    if pixels.absent_reader:
        print(f"skipped: {pixels.absent_reader}")
        sys.exit(SKIP)
    sys.exit(run(globals()))
