# SPDX-License-Identifier: Apache-2.0
"""Real programs on loopback, for tests: start, watch, stop, kill. Standard library only.

A test is a function whose name begins with test_; it takes a Workspace. run(globals()) runs them
all. Nothing here sleeps for a fixed time: wait_for() polls a condition and has a bound.

    def test_movie_arrives(work):
        server = work.server()
        agent = work.agent(server)
        movie, = work.camera(nx=64, ny=64, frames=4).results()
        event = server.wait_for_event("millrace.movie.ready.v1")
        assert event["data"]["digest"]["file"] == movie.file_crc
"""
import collections
import contextlib
import ctypes
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request

TIMEOUT = 30.0  # seconds, as all of them here: for a busy machine
PATIENCE = int(os.environ.get("MILLRACE_TEST_PATIENCE", 1))  # times that, in an instrumented build
ANSWER = 20.0  # seconds for an HTTP server that lives to answer; one that is stopped costs them
SKIP = 77
SLAB = 4 << 20  # bytes of a file, at most
POOL = 64 << 20  # memory.pool of servers and agents here
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def binary(name):
    """Path of a program of the build under test."""
    folder = os.environ.get("MILLRACE_BIN_DIR")
    if not folder:
        raise RuntimeError("MILLRACE_BIN_DIR is not set: run by ctest, or name the build's bin")
    return os.path.join(folder, name)


def slabs_of(size):
    """Of a file that is kept as it is."""
    return -(-size // SLAB)


class Skipped(Exception):
    """Something this machine lacks; its text is the reason."""


def need_programs(*names):
    for name in names:
        if not os.access(binary(name), os.X_OK):
            raise Skipped(f"{name} is not built")


def wait_for(condition, timeout=TIMEOUT, what=None):
    """The first true value of condition(); AssertionError after timeout seconds."""
    end = time.monotonic() + timeout * PATIENCE
    pause = 0.005
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            what = what or condition.__name__
            raise AssertionError(f"not within {timeout * PATIENCE:g} s: {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


PORTS_TAKEN = []  # sockets, one for each port that is ours until its Workspace is left


def take_port(port):
    """Among all tests that run: an abstract name that only one can have."""
    mark = socket.socket(socket.AF_UNIX)
    try:
        mark.bind(f"\0millrace-test-port-{port}")
    except OSError:
        mark.close()
        raise
    PORTS_TAKEN.append(mark)


def give_ports_back(kept):
    """All but the first `kept` that were taken: thousands of cases may run in one process."""
    while len(PORTS_TAKEN) > kept:
        PORTS_TAKEN.pop().close()


def free_ports(count):
    """`count` loopback ports in a row that nobody listens on, and that no other test will take
    while this one runs; returns the first. They lie below those the kernel gives to connections, so
    that none is taken in passing, even while a server is down between two lives."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        end = int(f.read().split()[0])
    for _ in range(200):
        first = random.randrange(min(10000, end // 2), end - count)
        held = []
        try:
            for port in range(first, first + count):
                take_port(port)
                s = socket.socket()
                held.append(s)
                s.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for s in held:
                s.close()
    raise AssertionError(f"no {count} free ports in a row")


def crc64(path):
    """CRC-64/XZ of a file as 7z tells it: 16 hexadecimal digits."""
    try:
        out = subprocess.run(["7z", "h", "-scrcCRC64", path], capture_output=True, text=True,
                             check=True, timeout=600).stdout
    except FileNotFoundError:
        raise Skipped("7z is not installed (p7zip-full)") from None
    return re.search(r"CRC64 +for data: +([0-9A-F]{16})", out)[1]


def same_file(a, b):
    """Byte for byte."""
    if os.path.getsize(a) != os.path.getsize(b):
        return False
    with open(a, "rb") as x, open(b, "rb") as y:
        while True:
            p, q = x.read(1 << 20), y.read(1 << 20)
            if p != q:
                return False
            if not p:
                return True


def files_below(folder):
    """Paths relative to folder, sorted; what lies in .millrace is left out."""
    found = []
    for base, folders, names in os.walk(folder):
        folders[:] = [d for d in folders if d != ".millrace"]
        found += [os.path.relpath(os.path.join(base, n), folder) for n in names]
    return sorted(found)


Stages = collections.namedtuple("Stages", "program seconds threads queues most_mib")


def stage_tables(text):
    """The tables that --stats and SIGUSR1 left in a log: threads and queues as dicts of columns."""
    tables = []
    for piece in re.split(r"^-- (?=millrace-)", text, flags=re.M)[1:]:
        head = re.match(r"(\S+): ([\d.]+) s, since", piece)
        end = re.search(r"^process: .*most memory ([\d.]+) MiB$", piece, flags=re.M)
        if not head or not end:
            continue
        parts, columns = {"thread": {}, "queue": {}}, None
        for line in piece[:end.start()].splitlines()[1:]:
            name, *values = line.split()
            if name in parts:
                rows, columns = parts[name], values
            else:
                rows[name] = {c: float(v) for c, v in zip(columns, values) if v != "-"}
        tables.append(Stages(head[1], float(head[2]), parts["thread"], parts["queue"],
                             float(end[1])))
    return tables


def yaml(value):
    """YAML in flow style; keys stay plain words."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {yaml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(yaml, value)) + "]"
    return json.dumps(value)


def merged(base, extra):
    """base with extra's keys over it, section by section."""
    result = dict(base)
    for key, value in (extra or {}).items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def die_with_parent():
    """In the child: a test that is killed leaves no daemon behind."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Program:
    """One run of a program after the other; each appends its stderr to the same log."""

    results_in_log = False  # stdout too: a daemon's is never read and must not fill a pipe

    def __init__(self, work, name, words):
        self.work, self.name, self.words = work, name, [str(w) for w in words]
        self.log = os.path.join(work.path, f"{name}-{len(work.programs)}.log")
        self.process, self.env = None, {}  # env: of all its starts
        work.programs.append(self)

    def start(self, env=None):
        assert self.process is None or self.process.poll() is not None, f"{self.name} runs"
        # the kernel means the thread that started it
        main = threading.current_thread() is threading.main_thread()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [binary(self.name), *self.words], stdin=subprocess.PIPE,
                stdout=log if self.results_in_log else subprocess.PIPE, stderr=log,
                preexec_fn=self.before_exec if main else None,
                env={**os.environ, **self.env, **(env or {})}, text=True, bufsize=1)
        return self

    def before_exec(self):
        """In the child."""
        die_with_parent()

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def is_stopped(self):
        """By SIGSTOP, which MILLRACE_STOP_AT raises: a SIGCONT before that would do nothing."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as f:
            return f.read().rpartition(")")[2].split()[0] == "T"

    def wait(self, timeout=TIMEOUT):
        """Exit status; -9 after a kill."""
        try:
            return self.process.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {timeout * PATIENCE:g} s") from None

    def stop(self, timeout=TIMEOUT):
        """SIGTERM, which drains; returns the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self):
        """SIGKILL: the plug is pulled."""
        self.signal(signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL

    def rss_bytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"VmRSS:\s+(\d+) kB", f.read())[1]) * 1024

    def peak_bytes(self):
        """The most memory it had at a time; None after its end."""
        with contextlib.suppress(OSError), \
                open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            if found := re.search(r"VmHWM:\s+(\d+) kB", f.read()):
                return int(found[1]) * 1024
        return None

    def blocks(self, number):
        """Has it blocked that signal?"""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            mask = int(re.search(r"SigBlk:\s+([0-9a-f]+)", f.read())[1], 16)
        return bool(mask >> (number - 1) & 1)

    def messages(self):
        """All it has said on stderr, over all runs."""
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait_for_message(self, pattern, timeout=TIMEOUT):
        return wait_for(lambda: self.check_alive() and re.search(pattern, self.messages()),
                        timeout, f"{self.name} says '{pattern}'")

    def check_alive(self):
        assert self.alive(), f"{self.name} ended with {self.process.returncode}"
        return True

    def is_reported(self):
        """By a sanitizer, of a process that was perhaps killed later."""
        said = self.messages() if PATIENCE > 1 and os.path.exists(self.log) else ""
        return "Sanitizer: " in said or "runtime error: " in said

    def end(self):
        """For the workspace: whatever runs is ended."""
        if self.process is not None:
            if self.alive() and PATIENCE > 1:  # what it leaks or has counted is told at a clean end
                self.signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(5)
            if self.alive():
                self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            if self.process.stdout is not None:
                self.process.stdout.close()


class Server(Program):
    """millrace-ingest on ports of its own, with a store in the workspace."""

    LANES = 2
    results_in_log = True

    def __init__(self, work, config=None, name="storage1", host="127.0.0.1"):
        need_programs("millrace-ingest", "millrace-events")
        first = free_ports(self.LANES + 4)
        self.port = first
        control, events, http = first, first + self.LANES + 1, first + self.LANES + 3
        self.control = f"tcp://{host}:{control}"
        self.events_endpoint = f"tcp://127.0.0.1:{events}"
        self.http = f"http://127.0.0.1:{http}"
        self.config = merged({
            "ingest": {"name": name, "state_dir": work.folder(f"{name}-state")},
            "listen": {"control": self.control, "lanes": self.LANES,
                       "events": self.events_endpoint, "http": f"127.0.0.1:{http}"},
            "store": {"root": work.folder(f"{name}-store"), "keep_free": "0%"},
            "memory": {"pool": f"{POOL >> 20}MiB"},
        }, config)
        self.store = self.config["store"]["root"]
        self.file = work.write(f"{name}.yaml", yaml(self.config) + "\n")
        super().__init__(work, "millrace-ingest", ["--config", self.file])

    def start(self, env=None):
        super().start(env)
        wait_for(self.ready, what="the server's /readyz")
        return self

    def get(self, path):
        """Body of a GET, or None where it is refused or the server is not there."""
        try:
            with urllib.request.urlopen(self.http + path, timeout=ANSWER) as reply:
                return reply.read().decode()
        except (OSError, http.client.HTTPException):  # refused, or killed in mid-answer
            return None

    def ready(self):
        self.check_alive()
        return self.get("/readyz") is not None

    def status(self):
        body = self.get("/v1/status")
        return None if body is None else json.loads(body)

    def logged(self, since=1):
        """The events from number `since` on, at most 1000 of them; none while nobody answers."""
        body = self.get(f"/v1/events?since={since}&limit=1000")
        if body is None:
            return []
        answer = json.loads(body)
        return answer["events"] if isinstance(answer, dict) else answer

    def ready_events(self):
        return [e for e in self.logged() if ".ready." in e["type"]]

    def wait_for_event(self, kind, subject=None, since=1, timeout=TIMEOUT):
        """The first event of type `kind` (whose subject ends so)."""
        def found():
            for event in self.logged(since):
                if event["type"] == kind and (event.get("subject") or "").endswith(subject or ""):
                    return event
            return None
        return wait_for(found, timeout, f"event {kind} {subject or ''}")


class Agent(Program):
    """millrace-agent over the workspace's watched folder, or over `watches`."""

    results_in_log = True

    def __init__(self, work, server, config=None, name="k3-krios1", watches=None):
        need_programs("millrace-agent")
        config = dict(config or {})
        watch = merged({"path": work.movies, "complete": {"quiet": "1s", "give_up": "3s"},
                        "rescan": "1s"}, config.pop("watch", None))
        self.config = merged({
            "agent": {"name": name, "state_dir": work.folder(f"{name}-state")},
            "server": {"endpoint": server.control},
            "memory": {"pool": f"{POOL >> 20}MiB"},
            "watch": watches or [watch],
        }, config)
        self.file = work.write(f"{name}.yaml", yaml(self.config) + "\n")
        super().__init__(work, "millrace-agent", ["--config", self.file])

    def run(self, words, timeout=120):
        """With other words beside --config; the finished process and what it said."""
        return subprocess.run([binary(self.name), *self.words, *words], capture_output=True,
                              text=True, timeout=timeout * PATIENCE)

    def start_once(self):
        """--once, beside this one, which does not run."""
        return Program(self.work, self.name, [*self.words, "--once"]).start()

    def run_once(self, timeout=120):
        """--once; returns the exit status."""
        return self.start_once().wait(timeout)


Movie = collections.namedtuple("Movie", "path bytes frames pixels_crc file_crc")


class Camera(Program):
    """millrace-sim; options by name, '_' for '-', True for one without a value."""

    def __init__(self, work, out=None, **options):
        words = ["--out", out or work.movies]
        for key, value in {"fps": 0, **options}.items():
            option = "--" + key.replace("_", "-")
            words += [option] if value is True else [f"{option}={value}"]
        super().__init__(work, "millrace-sim", words)

    def step(self, lines=1):
        """Lets it go on: a frame with --step, the end with --hold."""
        self.process.stdin.write("\n" * lines)
        self.process.stdin.flush()

    def results(self, timeout=TIMEOUT, status=0):
        """Waits for the end; a Movie per movie. For runs of fewer than some 500 movies."""
        code = self.wait(timeout)
        assert code == status, f"millrace-sim: {code}: {self.messages()}"
        movies = []
        for line in self.process.stdout.read().splitlines():
            path, size, frames, pixels, whole = line.split("\t")
            movies.append(Movie(path, int(size), int(frames), pixels, whole))
        return movies


class Workspace:
    """A temporary folder and what runs in it; on leaving, everything is ended and removed.
    MILLRACE_KEEP=1 keeps the folder, MILLRACE_TEST_DIR says where (default /tmp),
    MILLRACE_LOG_LINES how much of each log a failure shows (40)."""

    def __init__(self):
        base = os.environ.get("MILLRACE_TEST_DIR")
        self.temporary = tempfile.TemporaryDirectory(prefix="millrace-test-", dir=base)
        self.path = self.temporary.name
        self.programs = []
        self.ports_before = len(PORTS_TAKEN)
        self.movies = self.folder("movies")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for program in reversed(self.programs):
            program.end()
        give_ports_back(self.ports_before)
        reports = [program.log for program in self.programs if program.is_reported()]
        if reports or kind not in (None, Skipped):
            self.show_logs()
        if os.environ.get("MILLRACE_KEEP"):
            print(f"kept: {self.path}")
            self.temporary._finalizer.detach()
        else:
            self.temporary.cleanup()
        assert not reports, f"a sanitizer reports in {reports}"

    def show_logs(self):
        lines = int(os.environ.get("MILLRACE_LOG_LINES", 40))
        for program in self.programs:
            if os.path.exists(program.log):
                tail = program.messages().splitlines()[-lines:]
                print(f"--- {os.path.basename(program.log)}", *tail, sep="\n")

    def folder(self, name):
        path = os.path.join(self.path, name)
        os.makedirs(path, exist_ok=True)
        return path

    def write(self, name, content):
        path = os.path.join(self.path, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(content)
        return path

    def server(self, config=None, env=None, **more):
        return Server(self, config, **more).start(env)

    def agent(self, server, config=None, **more):
        return Agent(self, server, config, **more).start()

    def camera(self, **options):
        return Camera(self, **options).start()

    def push(self, server, *words, timeout=120):
        """millrace-agent push; the finished program."""
        program = self.start_push(server, *words)
        program.wait(timeout)
        return program

    def start_push(self, server, *words):
        """One that is still under way."""
        need_programs("millrace-agent")
        words = ["push", "--server", server.control, *words]
        return Program(self, "millrace-agent", words).start()


def run(names, begin=None):
    """Runs names' test_ functions (those on the command line), begin() before them all; the
    process's exit status. --list: says their names only."""
    tests = {k: v for k, v in names.items() if k.startswith("test_") and callable(v)}
    if sys.argv[1:] == ["--list"]:
        print(*tests, sep="\n")
        return 0
    chosen = sys.argv[1:] or list(tests)
    failed, skipped = [], []
    if begin is not None:
        try:
            begin()
        except Skipped as reason:
            print(f"skipped: {reason}")
            return SKIP
    for name in chosen:
        begun = time.monotonic()
        try:
            with Workspace() as work:
                tests[name](work)
            verdict = "ok"
        except Skipped as reason:
            skipped.append(name)
            verdict = f"skipped: {reason}"
        except Exception:  # the next test runs whatever this one did
            traceback.print_exc(file=sys.stdout)
            failed.append(name)
            verdict = "FAILED"
        print(f"{name}: {verdict} ({time.monotonic() - begun:.1f} s)", flush=True)
    if failed:
        return 1
    return SKIP if skipped and len(skipped) == len(chosen) else 0
