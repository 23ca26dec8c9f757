#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Sources are freed at once while server and agent are killed or lose power at random moments, and
the camera goes on, appends to what it wrote and gives old names to new files. At no moment may
the last content of a file be in neither place: not under its name at the camera, not committed in
the store. MILLRACE_TEST_SEED repeats a run; --long, --count N: so many kills or cuts."""
import hashlib
import os
import signal
import sys
import threading
import time

from aftermath import PURGE, check_events, dice, figures, how_many, make_movies, sha256
from loopdisk import Disk, do, own_mounts, pull_the_plug
from millrace import Agent, run, wait_for

KILLS, CUTS = how_many(24, 1000), how_many(12, 250)
HIDDEN = ".millrace-purge-"


class Oracle:
    """What must be somewhere: of each file that was ever written its last content."""

    def __init__(self, source, store):
        self.source, self.store = source, store
        self.lock = threading.RLock()  # held while the camera changes a file
        self.wanted = {}  # number of the file -> (path, sha256)
        self.known = {}  # of files, by what stat says
        self.stored = set()
        self.checks = 0

    def hash(self, path):
        st = os.stat(path)
        key = (path, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns)
        if key not in self.known:
            self.known[key] = sha256(path)
        return self.known[key]

    def look_at_store(self):
        found = set()
        for base, folders, names in os.walk(self.store):
            folders[:] = [f for f in folders if f != ".millrace"]
            for name in names:
                try:
                    found.add(self.hash(os.path.join(base, name)))
                except FileNotFoundError:
                    pass  # a revision has taken its place
        self.stored = found

    def at_camera(self, path, digest):
        folder = os.path.dirname(path)
        hidden = [os.path.join(folder, n) for n in os.listdir(folder) if n.startswith(HIDDEN)]
        for candidate in [path, *hidden, path]:  # its name may come back meanwhile
            try:
                if self.hash(candidate) == digest:
                    return True
            except FileNotFoundError:
                pass
        return False

    def check(self):
        """Lost once is lost for good: so one look at the store after the camera will do."""
        with self.lock:
            for path, digest in self.wanted.values():
                if digest in self.stored and self.checks % 16:
                    continue
                if not self.at_camera(path, digest):
                    self.look_at_store()
                    assert digest in self.stored, f"{path} is in neither place: {digest}"
            self.checks += 1

    def forget(self):
        """After a cut what stat says of a file proves nothing of its content."""
        self.known, self.stored = {}, set()

    def all_stored(self):
        with self.lock:
            self.look_at_store()
            return all(digest in self.stored for _, digest in self.wanted.values())


class Writer(threading.Thread):
    """The camera: new movies, logs that grow, names that are used again."""

    def __init__(self, oracle, rng):
        super().__init__()
        self.oracle, self.rng = oracle, rng
        self.files, self.appended, self.error = 0, 0, None
        self.ended = threading.Event()

    def want(self, number, path, digest):
        self.oracle.wanted[number] = (path, digest)

    def new_movie(self):
        self.files += 1
        folder = os.path.join(self.oracle.source, "new.tmp")  # excluded
        os.makedirs(folder, exist_ok=True)
        movie, = make_movies(folder, 1, self.rng.randrange(1, 6) << 20, self.rng, self.files)
        path = os.path.join(self.oracle.source, os.path.basename(movie.path))
        with self.oracle.lock:
            self.want(self.files, path, sha256(movie.path))
            os.rename(movie.path, path)

    def new_log(self):
        """Under one of a few names: over what is there, where it is."""
        self.files += 1
        path = os.path.join(self.oracle.source, f"log_{self.rng.randrange(8)}.log")
        with self.oracle.lock:
            for number, (other, _) in list(self.oracle.wanted.items()):
                if other == path and os.path.exists(path):
                    self.oracle.wanted.pop(number)  # overwritten by the camera itself
            data = self.rng.randbytes(self.rng.randrange(1, 100000))
            with open(path + ".tmp", "wb") as f:
                f.write(data)
            self.want(self.files, path, hashlib.sha256(data).hexdigest())
            os.rename(path + ".tmp", path)

    def append(self):
        with self.oracle.lock:
            number = self.rng.choice(list(self.oracle.wanted))
            path, digest = self.oracle.wanted[number]
            try:
                f = open(path, "r+b")
            except FileNotFoundError:
                return
            with f:
                data = f.read()
                if hashlib.sha256(data).hexdigest() != digest:
                    return  # another file of that name
                if path.endswith(".log"):
                    data += b"more"
                    f.write(b"more")
                else:  # a pixel, in place: the size stays
                    data = data[:-1] + bytes([data[-1] ^ 1])
                    f.seek(-1, os.SEEK_END)
                    f.write(data[-1:])
            self.want(number, path, hashlib.sha256(data).hexdigest())
            self.appended += 1

    def run(self):
        try:
            while not self.ended.wait(self.rng.uniform(0, 0.15)):
                known = [self.append] if self.oracle.wanted else []
                self.rng.choice([self.new_movie, self.new_log, self.new_log, *known])()
        except Exception as e:  # told by the test
            self.error = e


def kill_one(server, agent, rng):
    """The server, or the agent, at any moment or at one of the steps of freeing."""
    if rng.random() < 0.4:
        server.kill()
        server.start()
        return
    if agent.alive():
        agent.kill()
    agent.start({"MILLRACE_CRASH_AT": rng.choice(PURGE)} if rng.random() < 0.5 else None)


def outcomes(agent):
    with open(os.path.join(agent.config["agent"]["state_dir"], "ledger.log"),
              encoding="utf-8") as f:
        text = f.read()
    return {what: text.count(f'"what":"{what}"') for what in ("intent", "freed", "kept", "left")}


def cut_one(site, rng):
    """The power of the store's host, of the camera's, or of both."""
    server, agent, disks = site
    hosts = rng.choice([["store"], ["store"], ["state"], ["store", "state"]])
    pull_the_plug([disks[h] for h in hosts], [{"store": server, "state": agent}[h] for h in hosts])
    if "store" in hosts:
        server.start()
    if "state" in hosts:
        agent.start()


def freeing(work, server, state, env=None):
    return Agent(work, server, {"agent": {"state_dir": state},
                                "watch": {"source_after_commit": "delete", "rescan": "1s",
                                          "complete": {"quiet": "300ms"},
                                          "purge": {"after": "0s"}}}).start(env)


def at_rest(agent, folder):
    """Every intent has its outcome, and what is left is what was given back."""
    done = outcomes(agent)
    here = [n for n in os.listdir(folder) if n != "new.tmp"]
    hidden = sum(n.startswith(HIDDEN) for n in here)
    return (done["intent"] == done["freed"] + done["kept"] + done["left"]
            and hidden == done["left"] and len(here) <= done["kept"] + done["left"])


def suffer(work, server, agent, rng, times, strike):
    """Strikes while the camera goes on; then all comes to rest."""
    oracle = Oracle(work.movies, server.store)
    camera = Writer(oracle, rng)
    camera.start()
    try:
        for _ in range(times):
            end = time.monotonic() + rng.uniform(0.1, 1.5)
            while time.monotonic() < end:
                oracle.check()
                time.sleep(0.01)
            strike()
            oracle.forget()
            assert camera.error is None, camera.error
    finally:
        camera.ended.set()
        camera.join()
    if agent.alive():
        agent.kill()
    agent.start()
    wait_for(oracle.all_stored, 90, "every file's last content is committed")

    def rest():
        oracle.check()
        return at_rest(agent, work.movies)
    try:
        wait_for(rest, 60, "all but what was given back is gone")
    except AssertionError:
        print(outcomes(agent), agent.run(["--dry-run"]).stdout)
        raise
    check_events(server, key=lambda event: event["data"]["relative_path"])
    assert agent.stop() == 0 and server.stop() == 0
    done = outcomes(agent)
    figures(**{strike.__name__: times}, files=camera.files, appended=camera.appended,
            checks=oracle.checks, **done)
    assert done["freed"] > 0, done


def test_kills(work):
    rng = dice()
    server = work.server()
    agent = freeing(work, server, work.folder("state"))

    def kills():
        kill_one(server, agent, rng)
    suffer(work, server, agent, rng, KILLS, kills)


def power(work, kind):
    rng = dice()
    with Disk(work, kind, 1024, "store") as store, Disk(work, kind, 64, "state") as state:
        disks = {"store": store, "state": state}
        server = store.server(work)
        agent = freeing(work, server, os.path.join(state.path, "agent"))

        def cuts():
            cut_one((server, agent, disks), rng)
        suffer(work, server, agent, rng, CUTS, cuts)


def test_power_ext4(work):
    power(work, "ext4")


def test_power_xfs(work):
    power(work, "xfs")


def hidden(work, env):
    """An agent, and a file that it gave a hidden name and not yet another."""
    agent = freeing(work, work.server(), work.folder("state"), env)
    path = os.path.join(work.movies, "session", "a.log")
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as f:
        f.write(b"a")
    wait_for(lambda: any(n.startswith(HIDDEN) for n in os.listdir(os.path.dirname(path))))
    return agent, path


def test_its_name_comes_back_when_its_disk_does(work):
    """The camera's disk is not there when the agent starts: nothing is known of the file."""
    own_mounts()
    agent, path = hidden(work, {"MILLRACE_CRASH_AT": "purge-hidden"})
    assert agent.wait() == -9
    with Disk(work, "tmpfs", 16, "movies"):
        agent.start()
        agent.wait_for_message("a.log, half freed by .*: nothing is freed before it is mended")
        assert outcomes(agent)["intent"] == 1 and outcomes(agent)["freed"] == 0
    agent.start()
    wait_for(lambda: outcomes(agent)["kept"] == 1, what="an outcome")
    assert os.path.exists(path)


def test_a_name_given_back_is_durable(work):
    """The outcome is written down, and then the power is cut: where the name was given back only in
    memory, nobody would do it again."""
    with Disk(work, "ext4", 64, "movies") as movies:
        agent, path = hidden(work, {"MILLRACE_STOP_AT": "purge-hidden"})
        folder = os.path.dirname(path)
        changed, = os.listdir(folder)
        os.utime(os.path.join(folder, changed))  # it is not to go any more
        do("sync", "--file-system", folder)
        wait_for(agent.is_stopped, what="stopped at purge-hidden")
        agent.signal(signal.SIGCONT)
        wait_for(lambda: outcomes(agent)["kept"] == 1, what="it is put back")
        pull_the_plug([movies], [agent])
        assert os.listdir(folder) == ["a.log"]
        agent = freeing(work, work.programs[0], work.folder("state2"),
                        {"MILLRACE_CRASH_AT": "purge-hidden"})
        assert agent.wait() == -9
        do("sync", "--file-system", folder)
        assert os.listdir(folder)[0].startswith(HIDDEN)
        agent.start()
        wait_for(lambda: outcomes(agent)["kept"] == 1, what="it is given back")
        pull_the_plug([movies], [agent])
        assert os.listdir(folder) == ["a.log"]


if __name__ == "__main__":
    sys.exit(run(globals()))
