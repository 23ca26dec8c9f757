#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Sources that are no longer what they were: changed, truncated, replaced, renamed, deleted while
the agent was dead in the midst of them, and again and again while it lives. What has a final name
is a version that the file once was, whole; the last version arrives; nothing is left behind."""
import os
import shutil
import struct
import sys
import time

from aftermath import FAILED, READY, check_events, check_file, dice, events, figures, \
    how_many, left_behind, make_movies, sha256, total
from chaosproxy import ChaosProxy
from millrace import crc64, files_below, run, wait_for

MIB = 1 << 20
SIZE = 48 * MIB
WAIT = 60.0


def change_in_place(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(os.urandom(16))


def changed(path, other):
    change_in_place(path, 3 * MIB)


def changed_in_secret(path, other):
    """Its size and its time say that nothing happened."""
    before = os.stat(path)
    change_in_place(path, 3 * MIB)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def grown(path, other):
    """Into another movie: more frames, and the header says so."""
    shutil.copyfile(other, path)


def reshaped(path, other):
    """In place, into a movie of other frames."""
    with open(path, "r+b") as f:
        f.write(struct.pack("<3i", 512, 1024, 2 * SIZE // MIB))


def replaced(path, other):
    shutil.copyfile(other, path + ".tmp")
    os.rename(path + ".tmp", path)


def renamed(path, other):
    os.rename(path, path.replace("movie_0001", "elsewhere"))


def truncated(path, other):
    """To half of it: no movie any more, by its header."""
    os.truncate(path, SIZE // 2)


def deleted(path, other):
    os.remove(path)


def half_shipped(work, rng):
    """A server, and an agent that was killed in the midst of its one movie; that movie, and another
    one, elsewhere."""
    server = work.server()
    movie, = make_movies(work.movies, 1, SIZE, rng)
    other, = make_movies(work.folder("other"), 1, SIZE + 8 * MIB, rng, first=2)
    with ChaosProxy(server, rng) as link:
        link.throttle(60 * MIB)
        agent = work.agent(link)
        wait_for(lambda: (total(server, "durable_slabs") or 0) >= rng.randrange(3, 7),
                 what="some durable slabs")
        agent.kill()
    return server, agent, movie.path, other.path


def while_dead(work, change, vanishes):
    """What then is in the watched folder is in the store, and nothing else; what came of a file
    that is no longer there is kept aside, and said to have failed."""
    server, dead, path, other = half_shipped(work, dice())
    assert not check_events(server), "killed too late"
    change(path, other)
    agent = work.agent(server)
    sources = files_below(work.movies)
    wait_for(lambda: agent.check_alive() and len(check_events(server)) == len(sources), WAIT,
             "a ready event for what there is")
    ready = check_events(server)
    for name in sources:
        check_file(ready[name], os.path.join(work.movies, name))
    wait_for(lambda: is_clean(server), WAIT, "nothing is left of what it was before")
    failed = [e for e in events(server) if e["type"] == FAILED]
    assert [e["subject"] for e in failed] == ["movie_0001.mrc"] * vanishes, failed
    assert all(os.path.exists(e["data"]["path"]) for e in failed), failed
    assert files_below(server.store) == [os.path.join("k3-krios1", n) for n in sources]
    assert agent.stop() == 0 and server.stop() == 0


def is_clean(server):
    return not left_behind(server.store)


def test_changed_while_dead(work):
    while_dead(work, changed, False)


def test_changed_in_secret_while_dead(work):
    while_dead(work, changed_in_secret, False)


def test_grown_while_dead(work):
    while_dead(work, grown, False)


def test_reshaped_while_dead(work):
    while_dead(work, reshaped, False)


def test_another_output_while_dead(work):
    """What was begun under the old configuration is dropped, and its file shipped by the new."""
    server, dead, path, other = half_shipped(work, dice())
    agent = work.agent(server, {"watch": {"output": "mrc"}})
    event = server.wait_for_event(READY[0], "movie_0001.mrc", timeout=WAIT)
    assert event["data"]["output"] == "mrc"
    wait_for(lambda: is_clean(server), WAIT, "nothing is left of the other")
    assert len(check_events(server)) == 1
    assert agent.stop() == 0 and server.stop() == 0


def test_replaced_while_dead(work):
    while_dead(work, replaced, True)


def test_renamed_while_dead(work):
    while_dead(work, renamed, True)


def test_deleted_while_dead(work):
    while_dead(work, deleted, True)


def test_truncated_while_dead(work):
    """To half of it: no movie any more, by its header, and never one under a final name."""
    server, dead, path, other = half_shipped(work, dice())
    truncated(path, other)
    agent = work.agent(server)
    event = server.wait_for_event(FAILED, "movie_0001.mrc", timeout=WAIT)
    assert not check_events(server) and not files_below(server.store)
    assert os.path.exists(event["data"]["path"])
    wait_for(lambda: is_clean(server), WAIT, "nothing is left of it")
    shutil.copyfile(other, path)  # and now it is one again
    server.wait_for_event(READY[0], "movie_0001.mrc", timeout=WAIT)
    assert agent.stop() == 0 and server.stop() == 0


# ---- the same names again and again


class Rewriter:
    """Names whose content changes in every way; all versions that each of them ever was."""

    def __init__(self, work, rng):
        self.work, self.rng, self.made = work, rng, 0
        self.spare = work.folder("spare")
        self.versions = {f"m{n}.mrc": set() for n in range(3)}

    def path(self, name):
        return os.path.join(self.work.movies, name)

    def fresh(self):
        self.made += 1
        movie, = make_movies(self.spare, 1, self.rng.randrange(4, 20) * MIB, self.rng, self.made)
        return movie.path

    def step(self):
        name = self.rng.choice(list(self.versions))
        here = os.path.exists(self.path(name))
        ways = [grown, replaced] + ([changed, deleted] if here else [])
        way, other = self.rng.choice(ways), self.fresh()
        if way in (changed, replaced, deleted):
            way(self.path(name), other)
        else:
            shutil.copyfile(other, self.path(name))
        os.remove(other)
        if os.path.exists(self.path(name)):
            self.versions[name].add(sha256(self.path(name)))

    def arrived(self, server):
        """Each file's last version is what its last event tells."""
        ready = check_events(server, names_again=True)
        return all(name in ready and ready[name]["data"]["digest"]["file"] == crc64(self.path(name))
                   for name in self.versions if os.path.exists(self.path(name)))


def test_written_again_and_again(work):
    """While it ships and after; now and then the agent dies of it."""
    rng = dice()
    server, agent = work.server(), None
    rewriter = Rewriter(work, rng)
    steps = how_many(25, 1000)
    agent = work.agent(server, {"watch": {"complete": {"quiet": "500ms", "give_up": "2s"}}})
    kills = 0
    for _ in range(steps):
        rewriter.step()
        time.sleep(rng.random() * 0.3)  # any time of its way
        if rng.random() < 0.15:
            kills += 1
            agent.kill()
            rewriter.step()
            agent.start()
    wait_for(lambda: agent.check_alive() and rewriter.arrived(server), WAIT, "the last versions")
    wait_for(lambda: is_clean(server), WAIT, "nothing is left of the others")
    stored = files_below(server.store)
    for path in stored:
        stem, end = os.path.splitext(os.path.basename(path))
        name = stem.split("_dup")[0] + end
        assert sha256(os.path.join(server.store, path)) in rewriter.versions[name], path
    figures(rewrites=steps + kills, agents_killed=kills, files_stored=len(stored))
    assert agent.stop() == 0 and server.stop() == 0


if __name__ == "__main__":
    sys.exit(run(globals()))
