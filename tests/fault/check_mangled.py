#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Bytes that change on the wire and get past TCP, and packets that are lost, refused or held, in a
network of its own: every damaged slab is noticed, none lands, each is sent again; nobody crashes
and no file is wrong. MILLRACE_TEST_SEED repeats a run; --long and --count N do more."""
import contextlib
import sys

from aftermath import check_events, check_file, check_nothing_left, check_store, committed, dice, \
    figures, how_many, in_rounds, make_movies, total
from millrace import run, wait_for
from netns import SERVER, Network, ran
from pixels import crc64_number
from transfer import WAIT, Transfer, suffer

EACH = 500  # of a round
NET = None
# A packet that carries a slab's bytes; its 32 bits from byte 500 of the TCP segment on
MANGLE = "tcp dport {first}-{last} meta length > 20000 numgen inc mod 100 == 0 counter " \
    "@th,4000,32 set {value:#x}"


def lanes(server):
    return {"first": server.port + 1, "last": server.port + server.LANES}


def damaged(server):
    return total(server, "damaged_slabs") or 0


def sessions(agent):
    return agent.messages().count("session with")


def all_committed(agent, movies):
    wait_for(lambda: agent.check_alive() and len(committed(agent)) == len(movies), WAIT,
             "all movies are committed")


# ---- what is wrong, and TCP says it is right


def mangle_a_transfer(work, server, rng, output, codec, packets):
    """Of a movie as large as it takes. Packets that were mangled, slabs that were found damaged."""
    folder = work.folder(f"{output}-{codec}")
    movies = make_movies(folder, 1, max(packets, 4) * (2 << 20), rng)
    before = damaged(server)
    NET.rule(MANGLE.format(**lanes(server), value=rng.getrandbits(32)))
    agent = NET.agent(work, server, name=f"{output}-{codec}",
                      config={"server": {"codec": codec}, "watch": {"path": folder,
                                                                    "output": output}})
    all_committed(agent, movies)
    mangled, found = NET.packets(), damaged(server) - before
    NET.clear()
    event, = (e for e in check_events(server, key=lambda e: e["data"]["agent"]).values()
              if e["data"]["agent"] == agent.config["agent"]["name"])
    check_file(event, movies[0].path if output == "keep" else None)
    assert event["data"]["digest"]["pixels"] == pixels_crc(movies[0]), event
    assert agent.stop() == 0
    return mangled, found


def pixels_crc(movie):
    with open(movie.path, "rb") as f:
        return f"{crc64_number(f.read()[1024:]):016X}"


def test_mangled_payloads(work):
    """One slab in two, in every output and codec. A slab is some 68 packets, so that hardly any is
    hit twice: each packet that nft changed is a slab that the server refused."""
    rng, mangled, found, landed = dice(), 0, 0, 0
    shapes = [("keep", "none"), ("keep", "bslz4"), ("mrc", "none"), ("hdf5", "bszstd")]

    def one_round(place, wanted):
        nonlocal mangled, found, landed
        before, server = found, NET.server(place)
        for output, codec in shapes:
            more, noticed = mangle_a_transfer(place, server, rng, output, codec,
                                              wanted // len(shapes))
            mangled, found = mangled + more, found + noticed
        check_nothing_left(server.store)
        landed += total(server, "durable_slabs")
        return found - before

    in_rounds(work, how_many(40, 10000), EACH, one_round)
    figures(mangled_packets=mangled, damaged_slabs_found=found, slabs_landed_right=landed)
    # a packet may also be hit that TCP sends twice, or that holds a header; or two of a slab
    assert mangled / 2 <= found <= mangled


def mangle_control(rng, server, far):
    """At some even place behind the TCP header, where such a place is."""
    way = "sport" if far else "dport"
    for longest in (82, 82, 160, 160):  # a heartbeat is a segment of 82
        at = rng.randrange(32, longest, 2)
        NET.rule(f"tcp {way} {server.port} meta length > {20 + at + 4} "
                 f"numgen random mod 16 == {rng.randrange(16)} counter "
                 f"@th,{at * 8},16 set {rng.getrandbits(16):#x}", far)


def test_mangled_control(work):
    """ZeroMQ's greeting and commands, HELLO, OPEN, END; and the answers to them."""
    rng = dice()
    server = NET.server(work)
    movies = make_movies(work.movies, 3, 24 << 20, rng)
    agent = NET.agent(work, server)
    changed = 0
    for turn in range(how_many(4, 300)):
        NET.clear()
        mangle_control(rng, server, far=False)
        mangle_control(rng, server, far=True)
        before = sessions(agent)
        if len(committed(agent)) == len(movies):
            movies += make_movies(work.movies, 1, 24 << 20, rng, first=len(movies) + 1)
        wait_for(lambda: sessions(agent) >= before + 2, WAIT, "sessions that begin and end")
        changed += NET.packets() + NET.packets(far=True)
    NET.clear()
    all_committed(agent, movies)
    server.check_alive()
    check_store(server, movies, folder="")
    figures(mangled_control_packets=changed, sessions=sessions(agent))
    assert agent.stop() == 0 and server.stop() == 0


# ---- what is lost


@contextlib.contextmanager
def wired(work, rng):
    """A wire of 80 MB/s."""
    server = NET.server(work)

    def restore():
        NET.clear()
        NET.link(up=True)

    restore()
    NET.throttle("640mbit")
    t = Transfer(work, rng, server, lambda: NET.agent(work, server), restore, restore)
    t.ports = f"{server.port}-{lanes(server)['last']}"
    try:
        yield t
    finally:
        restore()


def test_packets_vanish(work):
    """All of them, without a word to anybody: shorter than a session lives, and longer."""
    def hide(_, rng):
        for far in rng.choice([(False,), (True,), (False, True)]):
            NET.rule("drop", far)

    suffer(work, "vanishings", how_many(3, 100), wired, hide, longest=8)


def test_link_down(work):
    suffer(work, "links_down", how_many(2, 50), wired, lambda *_: NET.link(up=False),
           longest=8)


def test_refused(work):
    """A firewall answers in the server's name."""
    suffer(work, "refusals", how_many(2, 50), wired, lambda t, _:
           NET.rule(f"tcp dport {t.ports} counter reject with tcp reset"), longest=2)


def test_sockets_killed(work):
    """The server's end of each connection, by the kernel."""
    def kill(*_):
        ran("ss", "-K", "src", SERVER)

    suffer(work, "sockets_killed", how_many(3, 100), wired, kill)


def test_packets_lost_and_refused(work):
    """Three in a hundred, and now and then a RST."""
    rng = dice()
    with wired(work, rng) as t:
        for far in (False, True):
            NET.rule("numgen random mod 100 < 3 counter drop", far)
        NET.rule(f"tcp dport {t.ports} numgen random mod 3000 == 0 counter reject with tcp reset")
        for _ in range(how_many(4, 300)):
            t.more()
            t.move_on(rng.randrange(1, 8))
        lost = NET.packets() + NET.packets(far=True)
        t.finish()
    figures(lost_packets=lost)


def make_network():
    global NET
    NET = Network()


if __name__ == "__main__":
    sys.exit(run(globals(), make_network))
