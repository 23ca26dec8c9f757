# SPDX-License-Identifier: Apache-2.0
"""An agent written from docs/PROTOCOL.md alone, for what a well-behaved one never does.

Slow and plain: one thread, keep files only (and whatever else a test builds by hand). Needs
python3-zmq; checksums come from liblzma."""
import os
import struct
import threading
import time

from millrace import PATIENCE, Skipped
from pixels import crc64_number

try:
    import zmq
except ImportError:
    zmq = None

NAMES = ("HELLO WELCOME REFUSED OPEN OPENED ACK CREDIT DEMAND RESEND END COMMITTED HOLD FAIL "
         "FAILED ABANDON ABANDONED PING PONG BYE CONFIRM CONFIRMED").split()
TYPES = {name: number for number, name in enumerate(NAMES, 1)}
CODES = ("- VERSION NAME_IN_USE STALE_EPOCH STOPPING BUSY NO_SPACE READ_ONLY IO BAD_NAME "
         "BAD_REQUEST UNSUPPORTED MISMATCH PERMISSION SOURCE").split()
SLAB = 4 << 20
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def need_zmq():
    if zmq is None:
        raise Skipped("python3-zmq is not installed")


def text(value):
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<H", len(data)) + data


class Reader:
    """Fields of a body, one after the other."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values[0] if len(values) == 1 else values

    def text(self):
        length = self.take("H")
        self.at += length
        return self.data[self.at - length:self.at].decode()

    def ranges(self):
        return [self.take("QQ") for _ in range(self.take("I"))]


def parse(kind, body):
    r = Reader(body)
    if kind == "WELCOME":
        version, lanes, heartbeat = r.take("HHI")
        ports = [r.take("H") for _ in range(lanes)]
        return {"version": version, "heartbeat_ms": heartbeat, "ports": ports, "server": r.text(),
                "site": r.text(), "software": r.text(), "abilities": r.take("I")}
    if kind in ("REFUSED", "BYE"):
        return {"code": CODES[r.take("H")], "text": r.text()}
    if kind == "OPENED":
        return {"movie": r.take("16s"), "generation": r.take("I"), "resumed": r.take("B"),
                "ranges": r.ranges()}
    if kind == "ACK":
        return {"movie": r.take("16s"), "generation": r.take("I"), "ranges": r.ranges()}
    if kind == "CREDIT":
        return {"granted": [r.take("Q") for _ in range(r.take("H"))]}
    if kind == "RESEND":
        return dict(zip(("movie", "generation", "slab"), r.take("16sIQ")))
    if kind == "COMMITTED":
        fields = dict(zip(("movie", "revision", "sequence", "known", "source_bytes",
                           "source_mtime_ns"), r.take("16sIQBQq")))
        return {**fields, "event": r.text(), "path": r.text()}
    if kind == "HOLD":
        movie, code, retry = r.take("16sHI")
        return {"movie": movie, "code": CODES[code], "retry_ms": retry, "text": r.text()}
    if kind == "FAILED":
        movie, code = r.take("16sH")
        return {"movie": movie, "code": CODES[code], "text": r.text()}
    if kind == "ABANDONED":
        return {"movie": r.take("16s")}
    if kind == "CONFIRMED":
        fields = dict(zip(("movie", "revision", "standing", "has_pixels", "bytes", "crc_file",
                           "crc_pixels"), r.take("16sIBBQQQ")))
        return {**fields, "path": r.text()}
    if kind in ("PING", "PONG"):
        return dict(zip(("token", "real_ns"), r.take("Qq")))
    raise AssertionError(f"the server may not say {kind}")


def new_ulid():
    return struct.pack(">Q", int(time.time() * 1000))[2:] + os.urandom(10)


def ulid_text(movie):
    number = int.from_bytes(movie, "big")
    return "".join(ALPHABET[number >> 5 * i & 31] for i in reversed(range(26)))


def opaque(path, movie=None, **change):
    """An OPEN of an opaque file, as bytes; change: any of the fields."""
    f = {"movie": movie or new_ulid(), "revision": 1, "kind": 2, "output": 1, "codec": 0,
         "layout": 1, "source_pixel": 0, "pixel": 0, "swap": 0, "rows": 0, "frames_per_slab": 0,
         "slabs_per_frame": 0, "width": 0, "height": 0, "source_data_offset": 0,
         "source_frame_bytes": 0, "frame_bytes": 0, "data_offset": 0, "pixel_size": 0.0,
         "expected": 0, "format": "file", "source_path": "/wire/client", "session": "",
         "day": "2026-11-22", **change}
    head = struct.pack("<16sIBBBxBBBBIIIQQQQQQdQ", f["movie"], f["revision"], f["kind"],
                       f["output"], f["codec"], f["layout"], f["source_pixel"], f["pixel"],
                       f["swap"], f["rows"], f["frames_per_slab"], f["slabs_per_frame"],
                       f["width"], f["height"], f["source_data_offset"], f["source_frame_bytes"],
                       f["frame_bytes"], f["data_offset"], f["pixel_size"], f["expected"])
    assert len(head) == 104
    return head + text(f["format"]) + text(path) + text(f["source_path"]) + text(f["session"]) + \
        text(f["day"])


def hello_body(name="wire", ephemeral=1, instance=None, epoch=1, versions=(1, 1)):
    head = struct.pack("<HH16sQqB", *versions, instance or os.urandom(16), epoch, time.time_ns(),
                       ephemeral)
    return head + text(name) + text("wireclient 1") + text("testhost")


class Client:
    """One session's sockets. Every method sends or waits once; nothing repairs itself."""

    def __init__(self, server, timeout=30):
        need_zmq()
        self.port, self.timeout = server.port, timeout * PATIENCE
        self.context = zmq.Context()
        self.control = self.socket(zmq.DEALER, self.port)
        self.session, self.sequence, self.heard = 0, 0, 0
        self.lanes, self.lane_sequences, self.granted, self.spent = [], [], [], []
        self.seen, self.thread = [], None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.attend(False)
        self.context.destroy(linger=200)

    def socket(self, kind, port):
        s = self.context.socket(kind)
        s.setsockopt(zmq.LINGER, 200)
        s.setsockopt(zmq.SNDTIMEO, 30_000)
        s.connect(f"tcp://127.0.0.1:{port}")
        return s

    def attend(self, on):
        """Answers the server's heartbeat on a thread of its own, until turned off."""
        if on:
            self.attending = True
            self.thread = threading.Thread(target=self.beat, daemon=True)
            self.thread.start()
        elif self.thread is not None:
            self.attending = False
            self.thread.join()
            self.thread = None

    def beat(self):
        while self.attending:
            self.hear("BYE", timeout=0.1)

    # ---- control

    def envelope(self, kind, body, **change):
        f = {"magic": b"MRCT", "type": TYPES.get(kind, kind), "sequence": self.sequence,
             "bytes": len(body), "session": self.session, **change}
        head = struct.pack("<4sHHIIQ", f["magic"], f["type"], 0, f["sequence"], f["bytes"],
                           f["session"]) + body
        return head + struct.pack("<Q", f.get("crc", crc64_number(head)))

    def say(self, kind, body=b"", **change):
        self.sequence += 1
        self.control.send(self.envelope(kind, body, **change))

    def hear(self, *kinds, timeout=None):
        """The next message of these kinds, (kind, fields); what comes before goes into `seen`.
        None after the timeout. PINGs are answered."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            left = end - time.monotonic()
            if left <= 0 or not self.control.poll(int(left * 1000)):
                return None
            data = self.control.recv()
            kind, fields = self.unpack(data)
            self.seen.append((kind, fields))
            if kind == "PING" and "PING" not in kinds:
                self.say("PONG", struct.pack("<Qq", fields["token"], time.time_ns()))
            if kind == "CREDIT":
                self.granted = fields["granted"]
            if kind in kinds or not kinds:
                return kind, fields

    def unpack(self, data):
        magic, number, _, sequence, length, session = struct.unpack_from("<4sHHIIQ", data)
        assert magic == b"MRCT" and len(data) == 32 + length, data[:24]
        assert struct.unpack("<Q", data[-8:])[0] == crc64_number(data[:-8])
        self.heard += 1
        assert sequence == self.heard, f"sequence {sequence}, not {self.heard}"
        kind = NAMES[number - 1]
        assert session == (0 if kind == "REFUSED" else self.session or session)
        if kind == "WELCOME":
            self.session = session
        return kind, parse(kind, data[24:-8])

    def hello(self, name="wire", ephemeral=1, instance=None, epoch=1, versions=(1, 1)):
        """WELCOME's or REFUSED's (kind, fields); on WELCOME the lanes connect."""
        self.say("HELLO", hello_body(name, ephemeral, instance, epoch, versions))
        answer = self.hear("WELCOME", "REFUSED")
        if answer and answer[0] == "WELCOME":
            ports = answer[1]["ports"]
            self.lanes = [self.socket(zmq.PUSH, port) for port in ports]
            self.lane_sequences, self.spent = [0] * len(ports), [0] * len(ports)
            self.granted = [0] * len(ports)
        return answer

    def demand(self):
        wanted = b"".join(struct.pack("<BQ", 1, 0) for _ in self.lanes)
        self.say("DEMAND", struct.pack("<H", len(self.lanes)) + wanted)

    def await_credit(self, lane, bytes_wanted):
        while self.granted[lane] < self.spent[lane] + bytes_wanted:
            assert self.hear("CREDIT"), f"no credit on lane {lane}: {self.seen[-3:]}"

    # ---- data

    def header(self, movie, generation, slab, payload, **change):
        lane = slab % len(self.lanes)
        crc = crc64_number(payload)
        f = {"magic": b"MRSL", "version": 1, "lane": lane, "session": self.session,
             "sequence": self.lane_sequences[lane], "codec": 0, "wire": len(payload),
             "raw": len(payload), "pixel_offset": 0, "pixel_bytes": 0, "crc_wire": crc,
             "crc_raw": crc, "crc_pixels": 0, **change}
        head = struct.pack("<4sHHQQ16sIB3xQIIIIQQQ", f["magic"], f["version"], f["lane"],
                           f["session"], f["sequence"], movie, generation, f["codec"], slab,
                           f["wire"], f["raw"], f["pixel_offset"], f["pixel_bytes"],
                           f["crc_wire"], f["crc_raw"], f["crc_pixels"]).ljust(248, b"\0")
        return head + struct.pack("<Q", crc64_number(head))

    def send_slab(self, movie, generation, slab, payload, damage=None, credit=True, **change):
        lane = slab % len(self.lanes)
        cost = (len(payload) + 2 * 4096 - 1) // 4096 * 4096
        if credit:
            self.await_credit(lane, cost)
        self.spent[lane] += cost
        self.lane_sequences[lane] += 1
        head = self.header(movie, generation, slab, payload, **change)
        self.lanes[lane].send_multipart([head, damage if damage is not None else payload])

    # ---- a movie

    def open(self, path, movie=None, **change):
        """The (kind, fields) that answers; movie: its id."""
        self.say("OPEN", opaque(path, movie, **change))
        return self.hear("OPENED", "COMMITTED", "HOLD", "FAILED", "BYE")

    def open_patiently(self, path, movie):
        """As open; a HOLD is followed: the older session may still be on its way out."""
        while True:
            kind, fields = self.open(path, movie)
            if kind != "HOLD":
                return kind, fields
            self.hear("BYE", timeout=fields["retry_ms"] / 1000)

    def end(self, movie, generation, data, frames=0, **change):
        f = {"bytes": len(data), "slabs": (len(data) + SLAB - 1) // SLAB,
             "crc": crc64_number(data), "crc_pixels": 0, "metadata": b"", **change}
        body = struct.pack("<16sIQQQqQQddqq", movie, generation, frames, f["bytes"], f["slabs"],
                           1_700_000_000 * 10**9, f["crc"], f["crc_pixels"], 0.0, 0.0,
                           time.time_ns(), time.time_ns())
        assert len(body) == 100
        blobs = struct.pack("<I", len(f["metadata"])) + f["metadata"] + struct.pack("<I", 0)
        self.say("END", body + text("wire") + text("") + blobs)

    def verdict(self):
        return self.hear("COMMITTED", "FAILED", "HOLD", "ABANDONED", "BYE")

    def send_file(self, path, data, movie=None):
        """A whole file by the book; its verdict."""
        movie = movie or new_ulid()
        kind, fields = self.open(path, movie)
        if kind != "OPENED":
            return kind, fields
        self.demand()
        for slab in range((len(data) + SLAB - 1) // SLAB):
            self.send_slab(movie, fields["generation"], slab, data[slab * SLAB:(slab + 1) * SLAB])
        self.end(movie, fields["generation"], data)
        return self.verdict()
