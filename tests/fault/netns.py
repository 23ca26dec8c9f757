# SPDX-License-Identifier: Apache-2.0
"""A network of two namespaces joined by a veth pair: the server's, which this process enters, and
the agent's. Nothing of the machine's own network is touched, and all is gone with this process.

    net = Network()                # Skipped where the kernel or a privilege lacks something
    server = net.server(work)
    agent = net.agent(work, server)
    net.rule("tcp dport 5000 counter drop")   # nft, on what arrives at the server
"""
import ctypes
import os
import re
import subprocess

from millrace import Agent, Server, Skipped, die_with_parent, merged

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
SERVER, AGENT = "10.98.76.1", "10.98.76.2"


def ran(*words, text=None):
    done = subprocess.run(words, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise Skipped(f"{' '.join(words)[:60]}: {done.stderr.strip()[:200]}")
    return done.stdout


def enter_new_network():
    if LIBC.unshare(CLONE_NEWNET) != 0:
        raise Skipped(f"no network namespace: {os.strerror(ctypes.get_errno())}")


class FarAgent(Agent):
    """An agent on the other end of the wire."""

    def __init__(self, network, work, server, **more):
        self.network = network
        super().__init__(work, server, **more)

    def before_exec(self):
        super().before_exec()
        if LIBC.setns(self.network.far, CLONE_NEWNET) != 0:
            os._exit(127)


class Network:
    """Made once in a process; its rules are those of the test that set them."""

    def __init__(self):
        for tool in ("ip", "nft"):
            try:
                subprocess.run([tool, "-V" if tool == "ip" else "-v"], capture_output=True)
            except FileNotFoundError:
                raise Skipped(f"{tool} is not installed (iproute2, nftables)") from None
        enter_new_network()
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"],
                                       preexec_fn=die_with_parent)
        own = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{self.holder.pid}/ns/net") == own:
            if self.holder.poll() is not None:
                raise Skipped("no second network namespace")
        self.far = os.open(f"/proc/{self.holder.pid}/ns/net", os.O_RDONLY)
        ran("ip", "link", "set", "lo", "up")
        ran("ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns",
            str(self.holder.pid))
        ran("ip", "addr", "add", f"{SERVER}/24", "dev", "near")
        ran("ip", "link", "set", "near", "up")
        self.over_there("ip", "addr", "add", f"{AGENT}/24", "dev", "far")
        self.over_there("ip", "link", "set", "lo", "up")
        self.over_there("ip", "link", "set", "far", "up")

    def over_there(self, *words, text=None):
        return ran("nsenter", f"--net=/proc/{self.holder.pid}/ns/net", *words, text=text)

    def server(self, work, config=None):
        trusted = {"security": {"allow_plaintext": True}}
        return Server(work, merged(trusted, config), host=SERVER).start()

    def agent(self, work, server, **more):
        return FarAgent(self, work, server, **more).start()

    # ---- what happens on the wire

    def nft(self, far, text):
        return (self.over_there if far else ran)("nft", "-f", "-", text=text)

    def rule(self, text, far=False):
        """For packets that arrive at the server, or the agent: before anybody has seen them."""
        hook = f"type filter hook ingress device {'far' if far else 'near'} priority 0;"
        self.nft(far, f"add table netdev chaos\nadd chain netdev chaos in {{ {hook} }}\n"
                 f"add rule netdev chaos in {text}\n")

    def clear(self):
        for far in (False, True):
            self.nft(far, "add table netdev chaos\ndelete table netdev chaos\n")

    def packets(self, far=False):
        """That the rules' counters counted."""
        listed = (self.over_there if far else ran)("nft", "list", "table", "netdev", "chaos")
        return sum(int(n) for n in re.findall(r"counter packets (\d+)", listed))

    def link(self, up):
        ran("ip", "link", "set", "near", "up" if up else "down")

    def throttle(self, rate):
        """Of what the agent sends, as tc spells it."""
        self.over_there("tc", "qdisc", "replace", "dev", "far", "root", "tbf", "rate", rate,
                        "burst", "1mb", "latency", "50ms")
