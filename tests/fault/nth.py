# SPDX-License-Identifier: Apache-2.0
"""One call of one program fails once: how that is arranged and told (see nth_failure.c for calls on
files, base/failpoint.h for what io_uring answers)."""
import collections
import functools
import os
import re
import struct
import subprocess
import time

from aftermath import FAILED, check_nothing_left  # first: it knows where millrace.py is
from millrace import Program, Skipped, binary, wait_for

SERVER, AGENT = "millrace-ingest", "millrace-agent"
SANE = (0, 1, 69, 74)  # exit statuses

LIBRARY = "libnth_failure.so"
FILE_FAULTS = ["EIO", "ENOSPC", "EDQUOT", "EAGAIN", "EINTR", "EMFILE", "ENFILE", "ENOMEM", "short"]
RING_FAULTS = [f"{place}:{how}" for place, all_of_them in {
    "uring-write": ["EIO", "ENOSPC", "EDQUOT", "EAGAIN", "EINTR", "short"],
    "uring-fdatasync": ["EIO", "ENOSPC", "EDQUOT", "EINTR"],
    "uring-submit": ["EAGAIN", "EBUSY", "EINTR", "EIO"],
    "uring-setup": ["ENOMEM", "EPERM", "EMFILE"],
}.items() for how in all_of_them]
REPORT = struct.Struct("@QQQQ1000s1000s")



class Again(Exception):
    """Something else was in the way."""


Report = collections.namedtuple("Report", "calls failed resyncs what resync")


@functools.lru_cache
def sanitizer(program):
    """The sanitizer's runtime has to come first; empty where there is none."""
    said = subprocess.run(["ldd", binary(program)], capture_output=True, text=True).stdout
    found = re.search(r"=> (/\S*lib[at]san\.so\S*)", said)
    return found[1] if found else ""


class Fault:
    """`number`: which of the calls that can fail so; 0: none, they are only counted. `match`: a
    glob on "call path", so that a case keeps its name while calls come and go around it."""

    def __init__(self, work, kind, number, roots, match=None, trace=False):
        self.kind, self.number, self.match, self.roots = kind, number, match, roots
        self.report_file = os.path.join(work.path, "nth-report")
        self.trace_file = os.path.join(work.path, "nth-list") if trace else None
        with open(self.report_file, "wb") as f:
            f.write(bytes(REPORT.size))

    @property
    def ring(self):
        return ":" in self.kind

    def environment(self, program):
        library = binary(LIBRARY)
        if not os.path.exists(library):
            raise Skipped(f"{LIBRARY} is not built")
        env = {"LD_PRELOAD": f"{sanitizer(program)}:{library}".lstrip(":"),
               "NTH_ROOTS": ":".join(self.roots), "NTH_REPORT": self.report_file,
               "NTH_FAULT": "EIO" if self.ring else self.kind, "NTH_NUMBER": "0"}
        if self.ring:
            place, how = self.kind.split(":")
            return env | {"MILLRACE_FAIL_AT": f"{place}:{self.number}:{how}"}
        if self.match:
            env["NTH_MATCH"] = self.match
        if self.trace_file:
            env["NTH_LIST"] = self.trace_file
        return env | {"NTH_NUMBER": str(self.number)}

    def begin(self):
        """From now on calls count."""
        with open(self.report_file, "r+b") as f:
            f.write(struct.pack("@Q", 1))

    def report(self, messages):
        """What happened. messages: all that the program has said."""
        with open(self.report_file, "rb") as f:
            _, calls, failed, resyncs, what, resync = REPORT.unpack(f.read())
        text = [t.split(b"\0")[0].decode(errors="replace") for t in (what, resync)]
        if self.ring:
            hits = re.findall(r"failpoint (\S+: .*)", messages)
            failed, text[0] = len(hits), hits[0] if hits else ""
        return Report(calls, failed, resyncs, *text)


def descriptors(pid):
    names = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            names.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            pass
    return names


class Case:
    """One life with the fault, and one without: the first ends all committed, or says aloud what
    failed; after the second nobody can tell."""

    HANG = 60  # seconds
    HELD = 0.5  # a server that put a movie off is asked again at once by a session with the next

    def __init__(self, work, scene, program, kind, number, match=None, patient=False, trace=False):
        self.work, self.program, self.patient, self.trace = work, program, patient, trace
        self.kind, self.number, self.match = kind, number, match
        self.scene = scene(work)
        self.server = self.scene.server
        self.outcome = []  # what was seen, for the record
        self.fault = None

    def run(self):
        """Returns the Report."""
        self.scene.prepare()
        self.agent = self.scene.agent()
        roots = self.scene.server_roots() if self.program == SERVER else self.scene.agent_roots()
        self.fault = Fault(self.work, self.kind, self.number, roots, self.match, self.trace)
        self.victim = self.server if self.program == SERVER else self.agent
        self.before = len(self.victim.messages()) if os.path.exists(self.victim.log) else 0
        self.faulty_life()
        self.check_said(self.report())
        self.second_life()
        report = self.report()
        if not report.failed:  # else an empty folder may stay until the next movie there
            check_nothing_left(self.server.store)
        assert not report.resyncs, f"synced again after its sync failed: {report.resync}"
        return report

    def said(self):
        """By the program with the fault, since then."""
        return self.victim.messages()[self.before:]

    def report(self):
        return self.fault.report(self.said())

    def failures(self):
        """Why movies failed, as far as the server still says."""
        return [e["data"].get("reason") for e in self.server.logged() if e["type"] == FAILED]

    # ---- the life with the fault ----

    def faulty_life(self):
        env = self.fault.environment(self.program)
        if self.program == AGENT or self.scene.from_start:
            self.fault.begin()
        if not self.start_server(env if self.program == SERVER else None):
            return
        self.fault.begin()
        self.agent.start(env if self.program == AGENT else None)
        begun, renewed = time.monotonic(), False
        while self.agent.alive():
            passed = time.monotonic() - begun
            if not self.server.alive():
                self.check_ended(self.server)
                assert self.start_server(None), "it does not start again"
                renewed = True
            elif not renewed and not self.patient and passed > self.HELD and self.is_held():
                self.outcome.append("held")
                self.stop_server()
                assert self.start_server(None), "it does not start again"
                renewed = True
            assert passed < self.HANG, "hangs"
            time.sleep(0.01)
        status = self.agent.process.returncode
        self.outcome.append(f"agent {status}")
        assert status in SANE, f"the agent ended with {status}"
        if status == self.scene.status:
            self.check_stored()
        self.check_descriptors()
        self.stop_server()

    def check_stored(self):
        """The fault may come as late as now: to whoever asks for the events, or by an agent's going
        offline, which ends the server."""
        end = time.monotonic() + 10
        while True:
            try:
                return self.scene.check_stored()
            except (AssertionError, KeyError):
                if not self.server.alive():
                    self.check_ended(self.server)
                    assert self.start_server(None), "it does not start again"
                elif time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def is_held(self):
        return "waits (" in self.agent.messages()

    def start_server(self, env):
        """False: it ended at once, as it should."""
        Program.start(self.server, self.scene.server_env | (env or {}))
        wait_for(lambda: not self.server.alive() or self.server.get("/readyz") is not None,
                 what="the server is ready, or ends")
        if self.server.alive():
            return True
        self.check_ended(self.server)
        return False

    def check_ended(self, server):
        status = server.process.returncode
        self.outcome.append(f"server {status}")
        if "ddress already in use" in server.messages():
            raise Again("another test took the port")
        assert status in SANE and status != 0, f"the server ended with {status}"

    def stop_server(self):
        if self.server.alive():
            status = self.server.stop()
            assert status in SANE, f"the server stopped with {status}"
            if status != 0:
                self.outcome.append(f"server {status}")

    def check_descriptors(self):
        """Nothing of a movie that is done is still open."""
        def left():
            if not self.server.alive():
                return []
            return [n for n in descriptors(self.server.process.pid)
                    if n.startswith(self.server.store) and (".part" in n or ".journal" in n)]
        end = time.monotonic() + 5
        while left() and time.monotonic() < end:
            time.sleep(0.02)
        assert not left(), f"still open: {left()}"

    def check_said(self, report):
        loud = [line for line in self.said().splitlines() if re.search(r" (error|warn ) ", line)]
        self.outcome.append(f"{len(loud)} loud: {loud[0][25:] if loud else ''}")
        if not report.failed:
            return
        ended_well = not any(re.match(r"held|(agent|server) [^0]", o) for o in self.outcome)
        assert ended_well or loud, f"{self.outcome}: nothing is said of it"

    # ---- the life without ----

    def second_life(self):
        assert self.start_server(None), "it does not start without the fault"
        again = self.scene.agent().start()
        status = again.wait(self.HANG)
        assert status == self.scene.status, f"without the fault the agent ended with {status}"
        self.scene.check()
        self.check_descriptors()
        assert self.server.stop() == 0
