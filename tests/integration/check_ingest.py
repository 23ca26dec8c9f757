#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""millrace-ingest as a program: options, exit statuses, signals, what it tells systemd."""
import os
import signal
import socket
import subprocess
import sys

import millrace
from millrace import binary, wait_for


def ask(*words, timeout=60, env=None):
    done = subprocess.run([binary("millrace-ingest"), *words], capture_output=True, text=True,
                          timeout=timeout, env={**os.environ, **(env or {})})
    return done.returncode, done.stdout, done.stderr


def sets(first):
    """Options for ports from `first` on."""
    values = {"listen.control": f"tcp://127.0.0.1:{first}", "listen.lanes": 1,
              "listen.events": f"tcp://127.0.0.1:{first + 2}",
              "listen.http": f"127.0.0.1:{first + 4}", "memory.pool": "32MiB"}
    return [w for k, v in values.items() for w in ("--set", f"{k}={v}")]


def expect(status, said, *words, env=None):
    code, _, errors = ask(*words, env=env)
    assert code == status, f"{words}: {code}: {errors}"
    assert said in errors, f"{words}: {errors}"
    assert "Sanitizer" not in errors, errors


def test_usage(work):
    code, out, _ = ask("--help")
    assert code == 0 and "--check-store" in out
    code, out, _ = ask("--version")
    assert code == 0 and "libzmq" in out and "hdf5" in out and "liburing" in out, out
    expect(64, "--config FILE or --store DIR is needed")
    expect(64, "try millrace-ingest --help", "--nonsense")
    expect(64, "none is expected", "--store", work.path, "more")
    expect(64, "one of them", "--store", work.path, "--config", "x.yaml")
    expect(64, "must be KEY=VALUE", "--store", work.path, "--set", "memory.pool")


def test_configuration_errors(work):
    broken = work.write("broken.yaml", "store:\n  rot: /x\n")
    expect(78, "broken.yaml:2:3: store.rot: unknown key; did you mean root?", "--config", broken)
    expect(78, "missing.yaml", "--config", os.path.join(work.path, "missing.yaml"))
    expect(78, "--set: memory.pool", "--store", work.path, "--set", "memory.pool=1KiB")
    expect(78, "no group named", "--store", work.path, "--set", "store.group=no-such-group-here")
    expect(78, "cannot listen", "--store", work.path, *sets(millrace.free_ports(6)),
           "--set", "security.allow_plaintext=true", "--set", "listen.events=tcp://192.0.2.1:5580")


def test_check_config_is_itself_a_configuration(work):
    code, out, _ = ask("--store", work.folder("s"), "--check-config")
    assert code == 0 and "# memory:" in out and "# ports: lane 0" in out, out
    again = work.write("again.yaml", out)
    assert ask("--config", again, "--check-config")[:2] == (0, out)
    assert os.listdir(work.folder("s")) == []  # nothing was opened


def test_check_store(work):
    code, out, errors = ask("--check-store", work.folder("s"))
    assert code == 0 and "usable as a store" in out, out + errors
    assert os.listdir(work.folder("s")) == []
    code, _, errors = ask("--check-store", os.path.join(work.path, "nowhere"))
    assert code == 74 and "nowhere" in errors, errors


def test_stores_that_cannot_be(work):
    ports = sets(millrace.free_ports(6))
    work.write("file", "")
    expect(74, "store.root", "--store", os.path.join(work.path, "file"), *ports)
    expect(74, "/proc/1/x", "--store", "/proc/1/x", *ports)
    expect(74, "ingest.state_dir", "--store", work.folder("s"), *ports,
           "--set", f"ingest.state_dir={work.path}/file/x")


def start(work, *words, env=None):
    program = millrace.Program(work, "millrace-ingest", words)
    program.results_in_log = True
    return program.start(env)


def test_second_server_and_port_in_use(work):
    first = millrace.free_ports(6)
    server = start(work, "--store", work.folder("s"), *sets(first))
    server.wait_for_message("info  server: ")
    expect(1, "another server has this store open", "--store", work.folder("s"),
           *sets(millrace.free_ports(6)))
    for port in (first, first + 1, first + 2, first + 3, first + 4):
        other = sets(millrace.free_ports(6))
        key, text = {0: ("listen.control", f"tcp://127.0.0.1:{port}"),
                     1: ("listen.control", f"tcp://127.0.0.1:{port - 1}"),
                     2: ("listen.events", f"tcp://127.0.0.1:{port}"),
                     3: ("listen.events", f"tcp://127.0.0.1:{port - 1}"),
                     4: ("listen.http", f"127.0.0.1:{port}")}[port - first]
        expect(1, "in use", "--store", work.folder("t"), *other, "--set", f"{key}={text}")
    assert server.stop() == 0


def test_signals(work):
    folder = work.folder("s")
    options = ["--store", folder, *sets(millrace.free_ports(6))]
    for number in (signal.SIGTERM, signal.SIGINT):
        server = start(work, *options)
        server.wait_for_message("info  server: ")
        server.signal(signal.SIGHUP)
        server.wait_for_message("nothing to read again")
        server.signal(number)
        assert server.wait() == 0
        assert "main: stopped" in server.messages(), server.messages()


def test_reload(work):
    text = f"store: {{root: {work.folder('s')}}}\ningest: {{state_dir: {work.folder('d')}}}\n"
    file = work.write("i.yaml", text)
    server = start(work, "--config", file, *sets(millrace.free_ports(6)))
    server.wait_for_message("info  server: ")
    server.signal(signal.SIGHUP)
    server.wait_for_message("nothing has changed")
    work.write("i.yaml", text + "memory: {pol: 1}\n")
    server.signal(signal.SIGHUP)
    server.wait_for_message("did you mean pool.*the running configuration stays")
    work.write("i.yaml", text.replace("ingest: {", "ingest: {name: other, "))
    server.signal(signal.SIGHUP)
    server.wait_for_message("ingest.name.*changes at the next start")
    assert server.stop() == 0


def test_systemd_is_told(work):
    path = os.path.join(work.path, "notify")
    said = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.setblocking(False)

        def heard(word):
            try:
                while True:
                    said.append(listener.recv(4096).decode())
            except BlockingIOError:
                pass
            return any(word in text for text in said)

        file = work.write("i.yaml", f"store: {{root: {work.folder('s')}}}\n"
                          f"ingest: {{state_dir: {work.folder('d')}}}\n")
        server = millrace.Program(work, "millrace-ingest",
                                  ["--config", file, *sets(millrace.free_ports(6))])
        server.results_in_log = True
        server.start(env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"})
        wait_for(lambda: heard("READY=1"), what="READY")
        wait_for(lambda: heard("WATCHDOG=1"), what="WATCHDOG")
        said.clear()
        server.signal(signal.SIGHUP)
        wait_for(lambda: heard("RELOADING=1"), what="RELOADING")
        wait_for(lambda: heard("READY=1"), what="READY after it")
        assert server.stop() == 0
        assert heard("STOPPING=1"), said


def test_descriptors_are_raised(work):
    server = start(work, "--store", work.folder("s"), *sets(millrace.free_ports(6)))
    server.wait_for_message("info  server: ")
    with open(f"/proc/{server.process.pid}/limits", encoding="ascii") as f:
        line = next(x for x in f if x.startswith("Max open files")).split()
    assert line[3] == line[4], line
    assert server.stop() == 0


def test_torn_log_is_cut_and_damage_stops_the_start(work):
    server = work.server()
    for name in ("a.log", "b.log"):
        work.write(f"movies/{name}", name)
        push = work.push(server, os.path.join(work.movies, name))
        assert push.wait() == 0, push.messages()
    count = 6  # each push comes, ships and goes
    wait_for(lambda: len(server.logged()) == count, what="all events")
    server.kill()
    log = os.path.join(server.store, ".millrace", "events", "00000001.log")
    with open(log, "ab") as f:
        f.write(b"0123456789abcdef 99 cut sho")
    server.start()
    assert "torn record: 27 bytes cut" in server.messages(), server.messages()
    assert len(server.logged()) == count
    assert server.stop() == 0
    with open(log, "r+b") as f:
        f.seek(40)
        byte = f.read(1)
        f.seek(40)
        f.write(bytes([byte[0] ^ 1]))
    millrace.Program.start(server)
    assert server.wait() == 74
    assert "00000001.log" in server.messages(), server.messages()


def test_server_is_seen_by_check_store(work):
    server = work.server()
    code, out, _ = ask("--check-store", server.store)
    assert code == 0 and "has this store open" in out and "usable" in out, out
    server.process.kill()
    server.wait()
    assert "its server storage1 died" in ask("--check-store", server.store)[1]
    server.start()
    assert server.stop() == 0
    assert "no server has it open" in ask("--check-store", server.store)[1]


if __name__ == "__main__":
    sys.exit(millrace.run(globals()))
