#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Freeing the camera's disk with real programs: what goes, what stays and why, and what is written
down of it."""
import fcntl
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys

import millrace
from millrace import Agent, Skipped, run, same_file

NOW = {"after": "0s"}


def wait_for(condition, timeout=120, what=None):
    """A walk that took long, on a busy machine, is followed by 50 times as long a pause."""
    return millrace.wait_for(condition, timeout, what)


def freeing(work, server, **watch):
    """An agent, not started, that frees at once."""
    purge = {**NOW, **watch.pop("purge", {})}
    return Agent(work, server, {"watch": {"source_after_commit": "delete", "purge": purge,
                                          **watch}})


def ledger(agent):
    path = os.path.join(agent.config["agent"]["state_dir"], "ledger.log")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as f:
        return [json.loads(line[17:]) for line in f if line.endswith("\n")]


def freed(agent):
    return [e["path"] for e in ledger(agent) if e["what"] == "freed"]


def put(work, name, content):
    path = os.path.join(work.movies, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(content)
    return path


def committed(agent, count):
    return wait_for(lambda: len(re.findall("is committed:", agent.messages())) >= count,
                    what=f"{count} are committed")


def shipped_before_it_is_due(work, server, content=b"a"):
    """a.log is committed, and the agent that did it was stopped before it was to be freed."""
    agent = freeing(work, server, purge={"after": "1h"}).start()
    path = put(work, "a.log", content)
    committed(agent, 1)
    assert agent.stop() == 0
    return path


def dry_run(agent):
    """What would become of each file: name -> the purge's column."""
    done = agent.run(["--dry-run"])
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    return {os.path.basename(words[0]): words[-1] for words in lines}


def test_a_committed_movie_is_freed(work):
    server = work.server()
    kept = os.path.join(work.path, "as-written.mrc")
    movie, = work.camera(nx=64, ny=64, frames=4).results()
    os.link(movie.path, kept)
    shutil.copy(kept, kept + "2")
    os.unlink(kept)
    agent = freeing(work, server).start()
    wait_for(lambda: not os.path.exists(movie.path), what="the source is gone")
    wait_for(lambda: freed(agent) == [movie.path], what="the ledger says freed")
    intent, done = ledger(agent)
    event = server.wait_for_event("millrace.movie.ready.v1")
    assert intent["what"] == "intent" and done["what"] == "freed"
    for entry in intent, done:
        assert entry["path"] == movie.path and entry["bytes"] == movie.bytes
        assert entry["movie"] == event["data"]["movie"] and entry["revision"] == 1
        assert entry["digest"] == movie.file_crc == event["data"]["digest"]["file"]
        assert entry["store"] == event["data"]["path"]
        assert "purge.after is 0s" in entry["why"]
    assert same_file(entry["store"], kept + "2")
    assert os.listdir(work.movies) == []
    agent.wait_for_message(r"is freed: \d+ bytes, stored as ")
    assert agent.stop() == 0
    assert re.search("1 sources, .* were freed in this run", agent.messages())


def test_what_stays(work):
    """Each beside a file that goes; the walk after that one has seen them all."""
    server = work.server()
    agent = freeing(work, server, purge={"exclude": ["keep/*"]})
    stays = {
        "CountRef_a.dm4": "gain reference", "g/SuperRef_b.dm4": "gain reference",
        "defects_c.txt": "gain reference", "x_gain.mrc.txt": "gain reference",
        "linked.log": "another name besides", "keep/it.log": "purge.exclude",
    }
    for name in stays:
        put(work, name, name.encode())
    os.link(os.path.join(work.movies, "linked.log"), os.path.join(work.path, "other"))
    goes = put(work, "goes.log", b"goes")
    agent.start()
    wait_for(lambda: freed(agent) == [goes], what="goes.log is freed")
    committed(agent, len(stays) + 1)
    agent.wait_for_message(f"{len(stays)} files stay though they are due")
    for name in stays:
        assert os.path.exists(os.path.join(work.movies, name)), name
    told = dry_run(agent)
    for name, why in stays.items():
        assert "stays: " in told[os.path.basename(name)], told
        assert why in told[os.path.basename(name)], told
    os.unlink(os.path.join(work.path, "other"))  # ctime has changed, twice
    assert "ctime" in dry_run(agent)["linked.log"]
    assert agent.stop() == 0


def test_sidecars_wait_for_their_movie(work):
    """An open movie's mdoc and log stay until the movie is committed; then all of them go."""
    server = work.server()
    agent = freeing(work, server, complete={"quiet": "1s", "give_up": "60s"}).start()
    camera = work.camera(nx=64, ny=64, frames=4, step=True)
    camera.step(2)
    name = wait_for(lambda: [n for n in os.listdir(work.movies) if n.endswith(".mrc")])[0]
    stem = os.path.splitext(name)[0]
    sidecars = [put(work, n, b"of it") for n in (f"{stem}_saved.txt", f"{stem}.log")]
    other = put(work, "other.log", b"not of it")
    wait_for(lambda: freed(agent) == [other], what="other.log is freed")
    committed(agent, 3)
    agent.wait_for_message("2 files stay though they are due")
    assert all(map(os.path.exists, sidecars))
    told = dry_run(agent)
    assert f"it belongs to {name}, which is not committed" in told[f"{stem}.log"], told
    camera.step(10)
    assert camera.wait() == 0
    wait_for(lambda: os.listdir(work.movies) == [], what="all are gone")
    wait_for(lambda: len(freed(agent)) == 4, what="the ledger says so of the last")


def test_space_decides(work):
    """With room enough nothing goes; below the limit it does."""
    server = work.server()
    path = put(work, "a.log", b"a")
    agent = freeing(work, server, purge={"when_free_below": "0.01%"}).start()
    committed(agent, 1)
    wait_for(lambda: "purge.when_free_below is 0.01 %" in dry_run(agent)["a.log"])
    assert agent.stop() == 0 and os.path.exists(path)
    agent = freeing(work, server, purge={"when_free_below": "99.99%"}).start()
    wait_for(lambda: freed(agent) == [path], what="a.log is freed")


def test_time_decides(work):
    server = work.server()
    path = put(work, "a.log", b"a")
    agent = freeing(work, server, purge={"after": "1h"}).start()
    committed(agent, 1)
    wait_for(lambda: "stays: committed" in dry_run(agent)["a.log"], what="it has stood still")
    assert agent.stop() == 0 and os.path.exists(path) and ledger(agent) == []


def test_without_the_stored_copy_the_source_stays(work):
    """The store's file is moved away or changed before the source is due: the server says so."""
    server = work.server()
    path = shipped_before_it_is_due(work, server)
    stored = server.wait_for_event("millrace.file.ready.v1")["data"]["path"]
    os.rename(stored, stored + ".moved")
    agent = freeing(work, server).start()
    agent.wait_for_message("a.log stays: the stored file is no longer where or what it was")
    assert os.path.exists(path) and ledger(agent) == []
    os.rename(stored + ".moved", stored)
    wait_for(lambda: freed(agent) == [path], what="a.log is freed")


def test_another_store_does_not_count(work):
    """The agent has failed over to a server that knows nothing of the file."""
    server = work.server()
    path = shipped_before_it_is_due(work, server)
    agent = freeing(work, work.server(name="storage2")).start()
    agent.wait_for_message("a.log stays: the server does not have it")
    assert os.path.exists(path) and ledger(agent) == []


def test_a_changed_file_goes_only_as_its_new_revision(work):
    server = work.server()
    agent = freeing(work, server, purge={"after": "1h"}).start()
    path = put(work, "a.log", b"first")
    committed(agent, 1)
    with open(path, "r+b") as f:  # same size
        f.write(b"other")
    committed(agent, 2)
    assert agent.stop() == 0
    agent = freeing(work, server).start()
    wait_for(lambda: freed(agent) == [path], what="a.log is freed")
    entry = ledger(agent)[-1]
    assert entry["revision"] == 2
    with open(entry["store"], "rb") as f:
        assert f.read() == b"other"


def test_a_forged_time_is_seen(work):
    """Changed, and its mtime set back: the ctime tells."""
    server = work.server()
    path = shipped_before_it_is_due(work, server, b"first")
    before = os.stat(path)
    with open(path, "r+b") as f:
        f.write(b"other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    agent = freeing(work, server).start()
    agent.wait_for_message("1 files stay though they are due")
    assert "(ctime)" in dry_run(agent)["a.log"]
    assert os.path.exists(path) and ledger(agent) == []


def test_what_was_rewritten_while_it_grew_stays(work):
    """A frame that was shipped already: no time tells, for the file went on changing anyhow."""
    server = work.server()
    agent = freeing(work, server, complete={"quiet": "1s", "give_up": "60s"}).start()
    camera = work.camera(nx=2048, ny=2048, frames=8, step=True)
    camera.step(5)
    name, = wait_for(lambda: [n for n in os.listdir(work.movies) if n.endswith(".mrc")])
    path = os.path.join(work.movies, name)
    wait_for(lambda: [m for m in (server.status() or {}).get("movies", [])
                      if m["durable_bytes"] > 2 * 2048 * 2048], what="it is on its way")
    with open(path, "r+b") as f:
        f.seek(2048 * 2048)
        f.write(b"REWRITTEN")
    camera.step(20)
    assert camera.wait() == 0
    agent.wait_for_message("stays: it reads back with another checksum")
    assert os.path.exists(path) and freed(agent) == []


def test_converted_sources_stay(work):
    """What was shipped as mrc stays when the watch says keep and delete later; and goes where that
    is allowed."""
    server = work.server()
    movie, = work.camera(nx=64, ny=64, frames=4).results()
    agent = work.agent(server, {"watch": {"output": "mrc"}})
    committed(agent, 1)
    assert agent.stop() == 0
    agent = freeing(work, server, purge={"after": "1h"}).start()
    agent.wait_for_message("session with")  # it runs, and takes signals
    wait_for(lambda: "stored converted" in dry_run(agent)[os.path.basename(movie.path)])
    assert agent.stop() == 0
    done = Agent(work, server, {"watch": {"source_after_commit": "delete", "output": "mrc"}})
    refused = done.run(["--check-config"])
    assert refused.returncode == 78 and "purge.allow_converted" in refused.stderr, refused.stderr


def test_a_writer_keeps_it(work):
    """Somebody has it open for writing, whatever its times say."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", work.movies], capture_output=True, text=True,
                          check=True).stdout.strip()
    if kind not in ("ext2/ext3", "xfs", "btrfs", "tmpfs"):
        raise Skipped(f"no leases on {kind}")
    server = work.server()
    path = shipped_before_it_is_due(work, server, b"first")
    with open(path, "r+b"):
        agent = freeing(work, server).start()
        agent.wait_for_message("1 files stay though they are due")
        wait_for(lambda: "open for writing" in dry_run(agent)["a.log"])
        assert os.path.exists(path)
    wait_for(lambda: freed(agent) == [path], what="a.log is freed")


def test_killed_in_the_midst(work):
    """At each step: the file has its name or is freed, and the ledger says which."""
    server = work.server()
    for step, outcome in (("purge-intended", "kept"), ("purge-hidden", "kept"),
                          ("purge-unlinked", "freed"), ("purge-written", "freed")):
        path = put(work, f"{step}.log", step.encode())
        agent = freeing(work, server).start({"MILLRACE_CRASH_AT": step})
        assert agent.wait() == -9
        agent.start()
        wait_for(lambda: [e for e in ledger(agent) if e["path"] == path][1:], what="an outcome")
        entries = [e["what"] for e in ledger(agent) if e["path"] == path]
        assert entries[:2] == ["intent", outcome], (step, entries)
        if step == "purge-intended":  # untouched: it goes in this run
            wait_for(lambda: not os.path.exists(path), what="it is gone")
        assert os.path.exists(path) == (step == "purge-hidden"), step
        agent.kill()
    assert os.listdir(work.movies) == ["purge-hidden.log"]


def test_its_name_comes_back_without_the_journal(work):
    """Killed while the file had no name, and the journal was lost: the ledger knows the path."""
    server = work.server()
    agent = freeing(work, server).start({"MILLRACE_CRASH_AT": "purge-hidden"})
    path = put(work, "session/a.log", b"a")
    assert agent.wait() == -9
    assert not os.path.exists(path)
    state = agent.config["agent"]["state_dir"]
    for name in os.listdir(state):
        if name.startswith("journal"):
            os.unlink(os.path.join(state, name))
    agent.start()
    wait_for(lambda: len(ledger(agent)) > 1, what="an outcome")
    assert ledger(agent)[1]["what"] == "kept", ledger(agent)[1]
    wait_for(lambda: freed(agent) == [path], what="shipped again, it goes")


def test_a_damaged_ledger_stops_freeing_only(work):
    server = work.server()
    agent = freeing(work, server)
    work.write(os.path.join("k3-krios1-state", "ledger.log"), '0123456789ABCDEF {"what": "int')
    path = put(work, "a.log", b"a")
    agent.start()
    committed(agent, 1)
    wait_for(lambda: freed(agent) == [path], what="a torn tail is cut")
    assert agent.stop() == 0
    log = os.path.join(work.path, "k3-krios1-state", "ledger.log")
    with open(log, "r+b") as f:
        f.seek(30)
        f.write(b"#")
    path = put(work, "b.log", b"b")
    agent.start()
    agent.wait_for_message("no source is freed: .*ledger.log is damaged")
    committed(agent, 2)
    assert agent.stop() == 0 and os.path.exists(path)


def make_older(agent, version):
    """Its journal as an older program's: 2 knew no ctime, 3 no checksums. Returns its file."""
    path = os.path.join(agent.config["agent"]["state_dir"], "journal.sqlite")
    database = sqlite3.connect(path)
    for table in "movies", "meta", "days":
        database.execute(f"ALTER TABLE {table} DROP COLUMN crc")
    for column in ("ctime_ns", "fresh", "crc_file", "crc_pixels") if version == 2 else ():
        database.execute(f"ALTER TABLE movies DROP COLUMN {column}")
    database.execute(f"PRAGMA user_version = {version}")
    database.commit()
    database.close()
    return path


def test_a_journal_of_an_older_agent(work):
    """Schema 2 knew no ctime: its files are never freed, and it is brought up to date."""
    server = work.server()
    path = put(work, "a.log", b"a")
    agent = work.agent(server)
    committed(agent, 1)
    assert agent.stop() == 0
    make_older(agent, 2)
    agent = freeing(work, server).start()
    agent.wait_for_message("1 files stay though they are due")
    assert "not known what it was" in dry_run(agent)["a.log"]
    assert agent.stop() == 0 and os.path.exists(path)


def test_a_journal_in_use_is_not_brought_up_to_date(work):
    """An older agent still runs: what it wrote from then on would have no checksum."""
    server = work.server()
    put(work, "a.log", b"a")
    agent = work.agent(server)
    committed(agent, 1)
    assert agent.stop() == 0
    path = make_older(agent, 3)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(folder, fcntl.LOCK_EX)  # as an agent does
    agent.start()
    assert agent.wait() == 1
    assert "another agent is running" in agent.messages()
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA user_version").fetchone() == (3,)
    database.close()
    os.close(folder)
    agent.start()
    wait_for(lambda: agent.messages().count("session with") == 2, what="it runs")
    assert agent.stop() == 0


if __name__ == "__main__":
    sys.exit(run(globals()))
