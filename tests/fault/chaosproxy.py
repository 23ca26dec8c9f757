# SPDX-License-Identifier: Apache-2.0
"""A link that misbehaves on command: between a server on 127.0.0.1 and agents that are told
127.0.0.2, where this listens on the server's own ports, since WELCOME names ports and no host.

    with ChaosProxy(server, rng) as link:
        agent = work.agent(link)        # has what an Agent asks of a server
        link.cut()                      # every connection reset, new ones refused
        link.restore()

Its connections live on one thread of its own; every method may be called from the test's.
"""
import asyncio
import collections
import random
import socket
import struct
import threading

CHUNK = 128 << 10
AHEAD = 32  # chunks that a delay or a black hole may hold, each way of each connection
TO_SERVER, TO_AGENT = "to the server", "to the agent"


def reset_socket(s):
    """Closed with a RST, as by a host that went away."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


class Connection:
    """An agent's connection (near) and the one made for it to the server (far)."""

    def __init__(self, near, port):
        self.near, self.far, self.port, self.tasks = near, None, port, []

    def close(self, hard):
        for task in self.tasks:
            task.cancel()
        for s in (self.near, self.far):
            if s is not None:
                reset_socket(s) if hard else s.close()
        self.near = self.far = None


class ChaosProxy:
    """See above. `rng` decides which bits flip; `ports` are those that listen."""

    def __init__(self, server, rng, host="127.0.0.2"):
        self.host, self.rng = host, random.Random(rng.random())  # of its own thread
        self.ports = range(server.port, server.port + 1 + server.LANES)
        self.port = server.port
        self.control = f"tcp://{host}:{server.port}"
        self.connections, self.made, self.flipped = [], 0, 0
        self.listeners, self.acceptors = [], []
        self.heal()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def heal(self):
        """What every fault is when there is none."""
        self.holes = set()  # ways that deliver nothing
        self.latency = collections.defaultdict(float)  # seconds, by port
        self.rate = None  # bytes a second, of all connections of a way together
        self.flip_every = {}  # way: bytes from one flipped bit to the next, on average
        self.flip_early = 0.0  # chance of a new connection's first bytes to have a flipped bit
        self.budget = {TO_SERVER: 0.0, TO_AGENT: 0.0}

    # ---- for the test's thread

    def __enter__(self):
        self.call(self.listen())
        return self

    def __exit__(self, *_):
        self.call(self.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def cut(self):
        self.call(self.stop())

    def reset(self):
        """Every connection breaks; new ones are welcome."""
        self.call(self.close_all())

    def black_hole(self, *ways):
        """Nothing arrives, nothing breaks; with one way named, half a link is left."""
        self.call(self.change(holes=set(ways or (TO_SERVER, TO_AGENT))))

    def half_open(self, end=TO_AGENT):
        """One end is gone without a word to the other: TO_AGENT names the agent as the one that
        knows nothing of it. What comes from there is dropped, as of a host without a route."""
        self.call(self.leave_one_end(end))

    def delay(self, seconds):
        """By port; what is not in it is not delayed."""
        self.call(self.change(latency=collections.defaultdict(float, seconds)))

    def throttle(self, bytes_per_s):
        self.call(self.change(rate=bytes_per_s))

    def flip(self, way, mean_bytes):
        self.call(self.change(flip_every={**self.flip_every, way: mean_bytes}))

    def flip_openings(self, chance):
        self.call(self.change(flip_early=chance))

    def restore(self):
        """All faults are over; what a black hole held is delivered, as TCP would."""
        self.call(self.listen())

    # ---- on the loop's thread

    async def change(self, **faults):
        for name, value in faults.items():
            setattr(self, name, value)

    async def listen(self):
        self.heal()
        if self.listeners:
            return
        for port in self.ports:
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((self.host, port))
            s.listen(64)
            s.setblocking(False)
            self.listeners.append(s)
            self.acceptors.append(self.loop.create_task(self.accept(s, port)))

    async def stop(self):
        for task in self.acceptors:
            task.cancel()
        for s in self.listeners:
            s.close()
        self.listeners, self.acceptors = [], []
        await self.close_all()
        await asyncio.sleep(0)  # what was cancelled ends

    async def close_all(self):
        for c in self.connections:
            c.close(hard=True)
        self.connections = []

    async def leave_one_end(self, end):
        for c in self.connections:
            for task in c.tasks:
                task.cancel()
            gone, left = ("far", "near") if end == TO_AGENT else ("near", "far")
            if getattr(c, gone) is not None:
                reset_socket(getattr(c, gone))
                setattr(c, gone, None)
            if getattr(c, left) is not None:
                c.tasks = [self.loop.create_task(self.swallow(getattr(c, left)))]

    async def swallow(self, s):
        try:
            while await self.loop.sock_recv(s, CHUNK):
                pass
        except OSError:
            pass

    async def accept(self, listener, port):
        while True:
            near, _ = await self.loop.sock_accept(listener)
            near.setblocking(False)
            c = Connection(near, port)
            self.connections.append(c)
            self.made += 1
            c.tasks.append(self.loop.create_task(self.serve(c)))

    async def serve(self, c):
        """Connects to the server once a SYN would get there, and carries until either ends."""
        try:
            await self.open_way(TO_SERVER)
            await asyncio.sleep(self.latency[c.port])
            c.far = socket.socket()
            c.far.setblocking(False)
            await self.loop.sock_connect(c.far, ("127.0.0.1", c.port))
            for s in (c.near, c.far):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            c.tasks += [self.loop.create_task(self.carry(c, c.near, c.far, TO_SERVER)),
                        self.loop.create_task(self.carry(c, c.far, c.near, TO_AGENT))]
        except OSError:
            self.finish(c)

    def finish(self, c):
        if c in self.connections:
            self.connections.remove(c)
            c.close(hard=False)

    async def open_way(self, way):
        while way in self.holes:
            await asyncio.sleep(0.005)

    async def carry(self, c, source, target, way):
        """Reading goes on while what was read waits for its time."""
        line = asyncio.Queue(AHEAD)
        c.tasks.append(self.loop.create_task(self.deliver(c, line, target, way)))
        early = self.rng.randrange(8, 300) if self.rng.random() < self.flip_early else None
        passed = 0
        try:
            while data := await self.loop.sock_recv(source, CHUNK):
                data = self.damaged(data, way, early, passed)
                passed += len(data)
                await line.put((self.loop.time() + self.latency[c.port], data))
        except OSError:
            pass
        await line.put((self.loop.time() + self.latency[c.port], None))

    async def deliver(self, c, line, target, way):
        try:
            while True:
                due, data = await line.get()
                if (wait := due - self.loop.time()) > 0:
                    await asyncio.sleep(wait)
                await self.open_way(way)
                if data is None:
                    break
                await self.pay(way, len(data))
                await self.loop.sock_sendall(target, data)
        except OSError:
            pass
        self.finish(c)

    async def pay(self, way, count):
        """The throttle: a way's bytes follow one another at its rate."""
        if self.rate is None:
            return
        now = self.loop.time()
        self.budget[way] = max(self.budget[way], now) + count / self.rate
        await asyncio.sleep(self.budget[way] - now)

    def damaged(self, data, way, early, passed):
        places = []
        if early is not None and passed <= early < passed + len(data):
            places.append(early - passed)
        if mean := self.flip_every.get(way):
            at = int(self.rng.expovariate(1 / mean))
            while at < len(data):
                places.append(at)
                at += 1 + int(self.rng.expovariate(1 / mean))
        if not places:
            return data
        data = bytearray(data)
        for at in places:
            data[at] ^= 1 << self.rng.randrange(8)
        self.flipped += len(places)
        return data
