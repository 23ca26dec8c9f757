#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Do --stats and SIGUSR1 tell what each thread did, at any time and at the end?"""
import os
import signal
import sys

import millrace

MOVIE = {"nx": 512, "ny": 512, "frames": 32}  # 8 MiB of pixels, three slabs


def last_table(program):
    return millrace.stage_tables(program.messages())[-1]


def test_the_end_of_a_push_tells_where_its_bytes_went(work):
    server = millrace.Server(work)
    server.words.append("--stats")
    server.start()
    movie, = work.camera(**MOVIE).results()
    push = work.push(server, "--stats", movie.path)
    assert push.process.returncode == 0, push.messages()
    agent = last_table(push)
    assert agent.program == "millrace-agent"
    for name in ("tail", "uplink"):
        assert agent.threads[name]["items"] == 3, (name, agent.threads)
        assert abs(agent.threads[name]["MB"] - movie.bytes / 1e6) < 0.01, agent.threads
    packed = [t for n, t in agent.threads.items() if n.startswith("pack")]
    assert sum(t["items"] for t in packed) == 3, packed
    assert agent.queues["buffers"]["most"] >= 1
    assert agent.queues["buffers"]["now"] == 0
    assert server.stop() == 0
    table = last_table(server)
    lanes = [t for n, t in table.threads.items() if n.startswith("lane")]
    assert len(lanes) == server.LANES and sum(t["items"] for t in lanes) == 3, table
    assert table.threads["seal"]["items"] >= 1
    for thread in table.threads.values():
        if "work_s" in thread:
            waits = sum(thread[w] for w in ("input_s", "room_s", "credit_s"))
            assert thread["work_s"] + waits <= table.seconds + 1, (thread, table.seconds)
    assert table.most_mib > 1


def test_usr1_tells_at_any_time_and_begins_anew(work):
    server = work.server()
    agent = work.agent(server)
    movie, = work.camera(**MOVIE).results()
    server.wait_for_event("millrace.movie.ready.v1")
    for program, thread in ((server, "lane"), (agent, "tail")):
        for turn in (1, 2):
            program.signal(signal.SIGUSR1)
            millrace.wait_for(
                lambda p=program, n=turn: len(millrace.stage_tables(p.messages())) == n,
                what="a table")
        first, second = millrace.stage_tables(program.messages())

        def items(table, name=thread):
            return sum(t["items"] for n, t in table.threads.items() if n.startswith(name))
        assert items(first) == 3 and items(second) == 0, (first, second)
        assert program.alive()
    assert agent.stop() == 0 and server.stop() == 0
    assert len(millrace.stage_tables(server.messages())) == 2  # without --stats none at the end
    assert os.path.getsize(movie.path) == movie.bytes


def test_usr1_is_told_while_a_push_waits_for_its_server(work):
    with open(os.path.join(work.movies, "a.bin"), "wb") as f:
        f.write(b"x")
    port = millrace.free_ports(1)
    push = millrace.Program(work, "millrace-agent",
                            ["push", "--server", f"tcp://127.0.0.1:{port}", f.name]).start()

    def told():
        push.signal(signal.SIGUSR1)
        return [t for t in millrace.stage_tables(push.messages()) if "tail" in t.threads]
    # before main has blocked the signal it would end the push
    millrace.wait_for(lambda: push.blocks(signal.SIGUSR1), what="the push takes signals")
    assert millrace.wait_for(told, what="a table")[0].threads["tail"]["items"] == 0
    push.signal(signal.SIGTERM)
    assert push.wait() == 1


if __name__ == "__main__":
    sys.exit(millrace.run(globals()))
