#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A bit flips while nothing runs, anywhere below the store's .millrace folders or in the agent's
state: then both start again. Either a program refuses with words that name the file, or every
source's bytes lie in the store, every event that was there is there, and --verify agrees. Counted:
refused, detected (said in a log), harmless. --long flips 2000, --count N as many."""
import collections
import os
import shutil
import signal
import subprocess
import sys

from aftermath import check_events, dice, figures, how_many, make_movies, sha256
from millrace import Program, binary, run, wait_for

FLIPS = how_many(10, 2000)
SAID = ("damaged", "do not read back", "does not read back", "do not count", "torn record",
        "does not verify", "malformed", "begins again", "left alone")


def halfway(work, rng):
    """Two movies in the store, a third half shipped, and nothing runs any more."""
    server = work.server()
    movies = make_movies(work.movies, 2, 2 << 20, rng)
    agent = work.agent(server, {"watch": {"complete": {"quiet": "100ms"}}}, name="k3")
    agent.kill()
    assert agent.run_once() == 0, agent.messages()
    server.stop()
    movies += make_movies(work.movies, 1, 80 << 20, rng, first=3)
    server.start(env={"MILLRACE_CRASH_AT": "group-durable:2"})
    agent.start()
    assert server.wait() == -signal.SIGKILL
    agent.kill()
    return server, agent, movies


def targets(server, state):
    """What may be flipped: each kind of file by turns, whatever its size."""
    kinds = collections.defaultdict(list)
    for base, _, names in os.walk(server.store):
        inside = base[len(server.store):].split(os.sep)
        for name in names if ".millrace" in inside else []:
            path = os.path.join(base, name)
            if os.path.getsize(path) > 0:
                kind = "part" if name.endswith(".part") else (inside + [name])[-2]
                kinds["catalogue" if name.startswith("catalogue") else kind].append(path)
    for name in os.listdir(state):
        path = os.path.join(state, name)
        if os.path.isfile(path) and os.path.getsize(path) > 0:
            kinds["agent's " + name].append(path)
    return kinds


def flip(path, rng):
    at, bit = rng.randrange(os.path.getsize(path)), 1 << rng.randrange(8)
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ bit]))
    return f"{os.path.basename(path)} byte {at} bit {bit}"


def starts(server):
    """False: it refused."""
    Program.start(server)
    wait_for(lambda: not server.alive() or server.get("/readyz") is not None, what="server")
    return server.alive()


def after_flip(server, agent, movies, before, path):
    """Starts both; 'refused', 'detected' or 'harmless'."""
    heard, told = len(server.messages()), len(agent.messages())
    if not starts(server):
        assert server.wait() not in (0, -signal.SIGSEGV, -signal.SIGABRT)
        assert os.path.basename(path) in server.messages()[heard:], server.messages()[heard:]
        return "refused"
    once = Program(server.work, agent.name, [*agent.words, "--once"])
    once.log = agent.log
    status = once.start().wait(120)
    said = server.messages()[heard:] + agent.messages()[told:]
    if status != 0:
        server.stop()
        assert "journal.sqlite" in agent.messages()[told:], said
        return "refused"
    ready = check_events(server, names_again=True)
    log = {(e["id"], e["sequence"]) for e in server.logged()}
    assert before <= log, f"events are gone: {before - log}"
    kept = {sha256(event["data"]["path"]) for event in ready.values()}
    for movie in movies:
        assert sha256(movie.path) in kept, f"{movie.path} is not in the store"
    done = subprocess.run([binary("millrace-ingest"), "--config", server.file, "--verify"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    server.stop()
    return "detected" if any(words in said for words in SAID) else "harmless"


def restore(saved, to):
    shutil.rmtree(to)
    subprocess.run(["cp", "-a", saved, to], check=True)


def test_flips(work):
    rng = dice()
    server, agent, movies = halfway(work, rng)
    state = agent.config["agent"]["state_dir"]
    folders = {server.store: os.path.join(work.path, "saved-store"),
               state: os.path.join(work.path, "saved-state")}
    for folder, saved in folders.items():
        subprocess.run(["cp", "-a", folder, saved], check=True)
    assert starts(server)
    before = {(e["id"], e["sequence"]) for e in server.logged()
              if e["type"].endswith("ready.v1")}
    server.stop()
    counts = collections.Counter()
    for n in range(FLIPS):
        for folder, saved in folders.items():
            restore(saved, folder)
        kinds = targets(server, state)
        kind = sorted(kinds)[n % len(kinds)]
        path = rng.choice(kinds[kind])
        where = flip(path, rng)
        try:
            outcome = after_flip(server, agent, movies, before, path)
        except AssertionError as error:
            raise AssertionError(f"flip {n}, {kind}: {where}: {error}") from error
        counts[outcome] += 1
        counts[f"{kind}: {outcome}"] += 1
        print(f"  {n} {kind}: {where}: {outcome}", flush=True)
        checked = ("journal", "catalogue", "events")  # every byte of these is below a checksum
        assert kind not in checked or outcome != "harmless", f"{kind}: {where}: nobody noticed"
    figures(flips=FLIPS, **counts)


if __name__ == "__main__":
    sys.exit(run(globals()))
