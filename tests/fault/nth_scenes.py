# SPDX-License-Identifier: Apache-2.0
"""What is shipped while one call fails, and what must be in the store in the end."""
import functools
import os
import shutil
import signal

from aftermath import FAILED, check_events, check_file, events, journals, parts, sha256
from millrace import Agent, Program, Server, Workspace, files_below

NAME = "k3-krios1"


@functools.lru_cache
def camera(folder, seed):
    """A movie of two slabs; made once a process."""
    with Workspace() as work:
        made, = work.camera(out=os.path.join(folder, f"seed{seed}"), nx=1024, ny=1024, frames=5,
                            mode=6, seed=seed).results()
    return made.path


class Scene:
    """Made anew for each run. prepare() is what was before: sources, earlier lives."""

    output = "keep"
    journal = False  # an agent with a journal, run with --once; else a push
    from_start = False  # the server's calls count before it is ready
    status = 0  # of the agent's last run
    server_env = {}
    templates = None  # folder of movies to copy

    def __init__(self, work):
        self.work = work
        self.server = Server(work)
        self.config = Agent(work, self.server, {"watch": {"output": self.output}})
        self.expected = {}  # path below the agent's folder in the store: its source

    def prepare(self):
        self.movie()

    def agent(self):
        if self.journal:
            return Program(self.work, "millrace-agent", [*self.config.words, "--once"])
        return Program(self.work, "millrace-agent",
                       ["push", "--server", self.server.control, "--agent", NAME,
                        "--output", self.output, os.path.join(self.work.movies, "in")])

    def agent_roots(self):
        return [self.work.movies, self.config.config["agent"]["state_dir"]]

    def server_roots(self):
        return [self.server.store, self.server.config["ingest"]["state_dir"]]

    # ---- sources ----

    def put(self, name, data, mode="wb"):
        path = os.path.join(self.work.movies, "in", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, mode) as f:
            f.write(data)
        self.expected[os.path.join("in", name)] = path
        return path

    def movie(self, name="m.mrc", seed=1):
        with open(camera(self.templates, seed), "rb") as f:
            return self.put(name, f.read())

    def live(self, env=None):
        """An earlier life in which all goes well, or the server dies where env says."""
        self.server.start(env)
        agent = self.agent().start()
        if env is None:
            assert agent.wait() == self.status
            assert self.server.stop() == 0
        else:
            assert self.server.wait() == -signal.SIGKILL
            agent.kill()

    # ---- the end ----

    def ready(self):
        """The ready events by the path below the agent's folder."""
        found = check_events(self.server, lambda e: e["data"]["relative_path"])
        return {os.path.relpath(path, NAME): e for path, e in found.items()}

    def check_stored(self):
        """Each source once and whole, and nothing else; one event for each."""
        names = files_below(os.path.join(self.server.store, NAME))
        assert names == sorted(self.expected), f"stored: {names}, not {sorted(self.expected)}"
        ready = self.ready()
        assert sorted(ready) == names, f"ready: {sorted(ready)}, not {names}"
        for name, source in self.expected.items():
            check_file(ready[name], source if self.output == "keep" else None)

    def check(self):
        self.check_stored()
        left = parts(self.server.store) + journals(self.server.store)
        assert not left, f"left behind: {left}"


class Keep(Scene):
    pass


class Start(Scene):
    """A server that has never run here."""
    from_start = True

    def prepare(self):
        self.put("a.txt", b"a" * 100)


class Restart(Start):
    """One that has, and stopped as it should."""

    def prepare(self):
        super().prepare()
        self.live()
        self.put("b.txt", b"b" * 100)


class Mrc(Scene):
    output = "mrc"


class Hdf5(Scene):
    output = "hdf5"

    def prepare(self):
        self.movie()
        self.expected["in/m.h5"] = self.expected.pop("in/m.mrc")


class Small(Scene):
    """Opaque files in folders; one is empty."""

    def prepare(self):
        for i, name in enumerate(["a.txt", "b/c.xml", "b/d.dat", "e f/g.txt", "empty"]):
            self.put(name, bytes([i]) * 1000 * i)


class Pool(Scene):
    """Without io_uring."""
    server_env = {"MILLRACE_FORCE_PWRITE_POOL": "1"}


class Revision(Scene):
    """A log that went on after it was committed."""
    journal = True

    def prepare(self):
        self.put("s.log", b"first\n" * 1000)
        self.live()
        self.put("s.log", b"second\n" * 1000, "ab")

    def check(self):
        super().check()
        assert self.ready()["in/s.log"]["data"]["revision"] == 2
        old = os.path.join(self.server.store, NAME, "in", ".millrace", "old")
        kept, = os.listdir(old)
        with open(os.path.join(old, kept), encoding="ascii") as f:
            assert f.read() == "first\n" * 1000


class Dup(Scene):
    """Another file under a name that exists."""

    def prepare(self):
        first = os.path.join(self.work.path, "first.mrc")
        shutil.copyfile(self.movie(), first)
        self.live()
        os.unlink(os.path.join(self.work.movies, "in", "m.mrc"))
        second = self.movie(seed=2)
        self.expected = {"in/m.mrc": first, "in/m_dup2.mrc": second}


class Once(Scene):
    """An agent with a journal, from its first start."""
    journal = True

    def prepare(self):
        self.movie()
        self.put("b/a.txt", b"a" * 100)


class Resume(Scene):
    """The server died when some slabs were durable, and the agent with it."""
    journal = True
    from_start = True
    step = "group-durable"

    def prepare(self):
        self.movie()
        self.live({"MILLRACE_CRASH_AT": self.step})


class Sealed(Resume):
    """The server died right after the seal: the next start commits."""
    step = "sealed"


class Placed(Resume):
    step = "placed"


class Logged(Resume):
    step = "log-synced"


class Failed(Scene):
    """A movie that its camera never finished."""
    status = 1

    def prepare(self):
        os.truncate(self.movie(), 2 << 20)

    def check_stored(self):
        assert self.ready() == {}
        folder = os.path.join(self.server.store, ".millrace", "failed")
        failures = [e for e in events(self.server) if e["type"] == FAILED]
        assert sorted(os.listdir(folder)) == sorted({e["data"]["movie"] for e in failures})
        for movie in os.listdir(folder):
            kept, = os.listdir(os.path.join(folder, movie))
            assert sha256(os.path.join(folder, movie, kept)) == sha256(
                self.expected["in/m.mrc"])

    def check(self):
        super().check()
        assert os.listdir(os.path.join(self.server.store, ".millrace", "failed"))


SCENES = {scene.__name__.lower(): scene for scene in
          (Start, Restart, Keep, Mrc, Hdf5, Small, Pool, Revision, Dup, Once, Resume, Sealed,
           Placed, Logged, Failed)}
