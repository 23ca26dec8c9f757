# SPDX-License-Identifier: Apache-2.0
"""What must hold in a store once every movie is committed, whatever happened on the way; and how
the tests of this folder make movies and find the helpers of tests/integration."""
import contextlib
import glob
import hashlib
import json
import os
import random
import re
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

from millrace import Movie, Workspace, crc64, wait_for  # noqa: E402  (found by the line above)

READY = ("millrace.movie.ready.v1", "millrace.file.ready.v1")
FAILED = "millrace.movie.failed.v1"
# The failpoints, in the order in which a movie passes them
LANDING = ["journal-made", "part-made", "group-synced", "group-journaled", "group-durable"]
SEALING = ["part-complete", "part-synced", "before-sealed", "sealed"]
COMMIT = ["renamed", "placed", "logged", "log-synced", "catalogued", "journal-removed"]
TAKEOVER = ["lease-take", "takeover-begun", "takeover-journal", "takeover-part", "takeover-copied",
            "takeover-done"]
PURGE = ["purge-intended", "purge-hidden", "purge-unlinked", "purge-written"]


def take_options():
    """--long and --count N, of every script that imports this: taken off the command line, so that
    run() sees names only."""
    if "--long" in sys.argv:
        sys.argv.remove("--long")
        os.environ["MILLRACE_TEST_LONG"] = "1"
    if "--count" in sys.argv:
        at = sys.argv.index("--count")
        os.environ["MILLRACE_TEST_COUNT"] = sys.argv[at + 1]
        del sys.argv[at:at + 2]


take_options()


def is_long():
    """--long: more rounds."""
    return "MILLRACE_TEST_LONG" in os.environ


def how_many(quick, long):
    """--count N, else by --long; of the quick ones a build that is slow makes its share."""
    share = float(os.environ.get("MILLRACE_TEST_SHARE", 1))
    few = max(1, round(quick * share))
    return int(os.environ.get("MILLRACE_TEST_COUNT", long if is_long() else few))


def dice():
    """What is random comes from here; MILLRACE_TEST_SEED repeats a run."""
    seed = int(os.environ.get("MILLRACE_TEST_SEED", time.time_ns() % 1000000))
    print(f"MILLRACE_TEST_SEED={seed}", flush=True)
    return random.Random(seed)


def figures(**values):
    """What a campaign adds up: one line of JSON."""
    print("figures:", json.dumps(values), flush=True)


def in_rounds(work, total_wanted, each, one_round):
    """Until one_round(work, wanted), which says how many it made, has made them all: each in a
    workspace of its own but for the first, so that a long run needs no more room than one round."""
    made = one_round(work, min(each, total_wanted))
    while made < total_wanted:
        with Workspace() as another:
            made += one_round(another, min(each, total_wanted - made))
    return made


def sha256(path):
    with open(path, "rb") as f:
        digest = hashlib.sha256()
        while data := f.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()


def events(server):
    """All events of the log, over HTTP in pages."""
    found = []
    while page := server.logged(since=len(found) + 1):
        found += page
    return found


def below_millrace(store):
    """Everything in the store's .millrace folders, and these folders, relative to the store."""
    found = []
    for base, folders, names in os.walk(store):
        if ".millrace" in base.split(os.sep) + folders:
            inside = ".millrace" in base.split(os.sep)
            wanted = folders + names if inside else [".millrace"]
            found += [os.path.relpath(os.path.join(base, n), store) for n in wanted]
    return sorted(set(found))


def left_behind(store):
    return [n for n in below_millrace(store)
            if n.endswith((".part", ".journal"))
            or (n.endswith(".millrace") and n != ".millrace"
                and not os.path.isdir(os.path.join(store, n, "old")))]


def check_nothing_left(store):
    """No journal, no part, no .millrace but the root's: a moment after a movie's event, in which
    its journal goes."""
    with contextlib.suppress(AssertionError):
        wait_for(lambda: not left_behind(store), 10)
    left = left_behind(store)
    assert not left, f"left behind: {left}"


def check_events(server, key=lambda event: event["subject"], names_again=False):
    """Sequence without a gap, no id twice, no movie both ready and failed, no revision of a subject
    (or of what key tells) ready twice but with names_again, where other files had the name too.
    Returns the ready ones by that."""
    log = events(server)
    numbers = [int(e["sequence"]) for e in log]
    assert numbers == list(range(1, len(log) + 1)), f"gap in {numbers}"
    ids = [e["id"] for e in log]
    assert len(ids) == len(set(ids)), f"an id twice: {sorted(ids)}"
    ready = [e for e in log if e["type"] in READY]
    both = {e["data"]["movie"] for e in ready} & {
        e["data"]["movie"] for e in log if e["type"] == FAILED}
    assert not both, f"ready and failed: {both}"
    keys = [(e["data"]["agent"], key(e), e["data"]["revision"]) for e in ready]
    assert names_again or len(keys) == len(set(keys)), f"ready twice: {sorted(keys)}"
    return {key(e): e for e in ready}  # of several revisions the last


def check_catalogue(server, ready):
    """A line for every movie of `ready`."""
    path, = glob.glob(os.path.join(server.store, ".millrace", "catalogue*.log"))
    with open(path, encoding="utf-8") as f:
        lines = f.read()
    for event in ready.values():
        assert event["data"]["movie"] in lines, f"not in the catalogue: {event['subject']}"


def check_file(event, source=None, pixels_crc=None):
    """What lies in the store is what the event says, and that is what the camera wrote."""
    path, digest = event["data"]["path"], event["data"]["digest"]
    assert os.path.getsize(path) == event["data"]["bytes"], event
    assert crc64(path) == digest["file"], f"{path} is not as announced"
    if source is not None:
        assert sha256(path) == sha256(source), f"{path} is not {source}"
    if pixels_crc is not None:
        assert digest["pixels"] == pixels_crc, f"{path}: other pixels than the camera's"


def check_store(server, movies, output="keep", folder="movies"):
    """All of it, for Movies of a camera that lie in one folder below the agent's."""
    ready = check_events(server)
    check_nothing_left(server.store)
    check_catalogue(server, ready)
    for movie in movies:
        event = ready[os.path.join(folder, os.path.basename(movie.path))]
        assert event["data"]["output"] == output, event
        check_file(event, movie.path if output == "keep" else None, movie.pixels_crc)
    return ready


def total(server, key):
    """Of all lanes; None while nobody answers."""
    status = server.status()
    return status and sum(lane[key] for lane in status["lanes"])


def all_ready(server, movies):
    """The server has committed as many and has nothing in hand: what to wait for where an agent may
    be killed between its journal's note of a movie and its word of it."""
    ready = sum(event["type"] in READY for event in events(server))
    return ready == len(movies) and not journals(server.store)


def committed(agent):
    """What the agent has said is committed."""
    return set(re.findall(r"(\S+) (?:is committed|was in the store already)", agent.messages()))


def resumed(agent):
    """Of each movie how many slabs were durable, by its name, as the agent was last told."""
    found = re.findall(r"(\S+) resumes: (\d+) slabs are durable", agent.messages())
    return {os.path.basename(path): int(slabs) for path, slabs in found}


def parts(store):
    return glob.glob(f"{store}/**/.millrace/*.part", recursive=True, include_hidden=True)


def journals(store):
    return glob.glob(f"{store}/.millrace/journal/*.journal")


def mrc_header(side, frames):
    """Of square frames of bytes."""
    header = bytearray(struct.pack("<10i", side, side, frames, 0, 0, 0, 0, side, side, frames))
    header += struct.pack("<6f3i3f2i", side, side, frames, 90, 90, 90, 1, 2, 3, 0, 1, 0, 0, 0)
    return header + bytes(208 - len(header)) + b"MAP DD\0\0" + bytes(1024 - 216)


def make_movies(folder, count, size, rng, first=1):
    """MRC movies of about `size` bytes made faster than a camera could: no two slabs alike."""
    side = 1024
    frames = max(size // (side * side), 1)
    movies = []
    for n in range(first, first + count):
        path = os.path.join(folder, f"movie_{n:04}.mrc")
        noise = rng.randbytes(side * side - 16)
        with open(path + ".tmp", "wb") as f:
            f.write(mrc_header(side, frames))
            for frame in range(frames):
                f.write(struct.pack("<QQ", n, frame) + noise)
        os.rename(path + ".tmp", path)
        movies.append(Movie(path, os.path.getsize(path), frames, None, None))
    return movies


def make_sparse_movie(path, frames, number=0):
    """Frames of 4 MiB that take no room, none like another: holes with a number in each."""
    side = 2048
    with open(path + ".tmp", "wb") as f:
        f.write(mrc_header(side, frames))
        for frame in range(frames):
            f.seek(1024 + frame * side * side)
            f.write(struct.pack("<QQ", number, frame))
        f.truncate(1024 + frames * side * side)
    os.rename(path + ".tmp", path)
    return path
