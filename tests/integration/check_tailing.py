#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Movies that grow: what is shipped before the close, what completes one, what makes it fail?"""
import datetime
import os
import shutil
import subprocess
import time

from millrace import (Agent, Skipped, crc64, files_below, run, same_file, wait_for)

READY, FAILED, FILE = ("millrace.movie.ready.v1", "millrace.movie.failed.v1",
                       "millrace.file.ready.v1")
AT_ONCE = ("close", "header")  # the final header may be seen before its writer has closed
PATIENT = {"complete": {"quiet": "30s", "give_up": "60s"}}  # no test is that patient
BLIND = {"complete": PATIENT["complete"], "rescan": "1h"}  # and this one hears by events alone
OUTPUTS = ("keep", "mrc", "hdf5")
SMALL = {"nx": 192, "ny": 128, "frames": 12}


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def watches(work, *more):
    """One watch per output, its folder named so."""
    return [{"path": work.folder(output), "output": output, **(more[0] if more else PATIENT)}
            for output in OUTPUTS]


def durable(server, agent_path):
    for movie in (server.status() or {}).get("movies", []):
        if movie["path"] == agent_path:
            return movie["durable_bytes"]
    return 0


def ready(server, name, **more):
    event = server.wait_for_event(READY, name, **more)
    assert crc64(event["data"]["path"]) == event["data"]["digest"]["file"], name
    return event["data"]


def finals(server):
    return files_below(server.store)


def count(server, kind, subject):
    return sum(e["type"] == kind and e["subject"] == subject for e in server.logged())


def pixels_of(path):
    """Frames by an independent reader."""
    try:
        import h5py
        import mrcfile
    except ImportError:
        raise Skipped("python3-h5py or python3-mrcfile is not installed") from None
    if path.endswith(".h5"):
        with h5py.File(path, "r") as f:
            return f["/entry/data/data"][...]
    with mrcfile.open(path, permissive=True) as m:
        return m.data.reshape(-1, *m.data.shape[-2:]).copy()


def same_pixels(a, b):
    x, y = pixels_of(a), pixels_of(b)
    return x.shape == y.shape and x.dtype.newbyteorder("=") == y.dtype.newbyteorder("=") and \
        (x == y).all()


def read(path):
    with open(path, "rb") as f:
        return f.read()


def nibbles_of(work, path):
    """A file with a byte for each pixel of a mode 101 movie: the left pixel is the low nibble."""
    packed = read(path)[1024:]
    unpacked = bytearray(2 * len(packed))
    unpacked[0::2] = bytes(b & 15 for b in packed)
    unpacked[1::2] = bytes(b >> 4 for b in packed)
    target = os.path.join(work.path, "nibbles")
    with open(target, "wb") as f:
        f.write(unpacked)
    return target


# ---- growing


def grow_and_close(work, server, output, turn):
    """The lag of one slowly written movie, in seconds."""
    frames, frame = 24, 1536 * 1024
    prefix = f"{output}{turn}/m"
    camera = work.camera(out=os.path.join(work.path, output), prefix=prefix, nx=1536, ny=1024,
                         frames=frames, step=True)
    path = f"{prefix}_0001.mrc"
    for n in range(1, frames):
        camera.step()
    wait_for(lambda: durable(server, path) >= 0.7 * frames * frame,
             what=f"70 % of {path} durable while its writer holds it")
    assert camera.alive() and not count(server, READY, path)
    camera.step()
    movie, = camera.results()
    data = ready(server, path)
    assert data["complete_by"] in AT_ONCE, data["complete_by"]
    assert data["output"] == output and data["frames"] == frames
    assert data["digest"]["pixels"] == movie.pixels_crc
    if output == "keep":
        assert data["digest"]["file"] == movie.file_crc
    return seconds(data["committed"]) - seconds(data["source_mtime"])


def test_most_is_durable_before_the_close(work):
    server = work.server()
    work.agent(server, watches=watches(work))
    for output in OUTPUTS:
        lags = []
        while not lags or lags[-1] > 1.0:  # a busy machine may spoil some
            assert len(lags) < 8, f"{output}: {lags} s from the close to COMMITTED"
            lags.append(grow_and_close(work, server, output, len(lags)))
        print(f"  {output}: close to COMMITTED: {lags[-1] * 1e3:.0f} ms")


def test_new_folders_are_seen_at_once(work):
    server = work.server()
    work.agent(server, {"watch": BLIND})
    movie, = work.camera(prefix="a/b/c/m", **SMALL).results()
    data = ready(server, "a/b/c/m_0001.mrc")
    assert data["complete_by"] in AT_ONCE and data["digest"]["file"] == movie.file_crc


def test_every_mode_grows(work):
    server = work.server()
    work.agent(server, watches=watches(work))
    for mode in (0, 1, 2, 6, 12, 101):
        for output in OUTPUTS:
            camera = work.camera(out=os.path.join(work.path, output), prefix=f"{mode}{output}",
                                 mode=mode, nx=1024, ny=768, frames=9, dose=1.2, step=True)
            camera.step(9)
            movie, = camera.results()
            data = ready(server, f"{mode}{output}_0001.mrc")
            assert data["frames"] == 9 and data["complete_by"] in AT_ONCE, data
            if (mode, output) == (101, "hdf5"):  # there a pixel is a byte
                assert data["digest"]["pixels"] == crc64(nibbles_of(work, movie.path))
                assert pixels_of(data["path"]).tobytes() == read(nibbles_of(work, movie.path))
                continue
            assert data["digest"]["pixels"] == movie.pixels_crc, (mode, output)
            if output == "keep":
                assert data["digest"]["file"] == movie.file_crc
            if mode != 101:  # mrcfile does not know it
                assert same_pixels(movie.path, data["path"]), (mode, output)


def test_nz_comes_late(work):
    server = work.server()
    work.agent(server, watches=watches(work))
    for output in OUTPUTS:
        camera = work.camera(out=os.path.join(work.path, output), prefix=output, nz_late=True,
                             step=True, nx=1536, ny=1024, frames=12)
        camera.step(11)
        wait_for(lambda: durable(server, f"{output}_0001.mrc") > 8e6, what=f"{output} on its way")
        camera.step()
        movie, = camera.results()
        data = ready(server, f"{output}_0001.mrc")
        assert data["frames"] == 12 and data["digest"]["pixels"] == movie.pixels_crc


# ---- completeness


def test_the_final_header_is_enough(work):
    server = work.server()
    work.agent(server, watches=watches(work))
    cameras = {output: work.camera(out=os.path.join(work.path, output), prefix=output,
                                   hold="header", step=True, **SMALL) for output in OUTPUTS}
    for camera in cameras.values():
        camera.step(12)
    for output, camera in cameras.items():
        data = ready(server, f"{output}_0001.mrc")
        assert camera.alive() and data["complete_by"] == "header", data["complete_by"]
        camera.step()
        movie, = camera.results()
        assert data["digest"]["pixels"] == movie.pixels_crc
    assert not any("r2" in e["id"] for e in server.logged())


class DeafAgent(Agent):
    """An agent whose kernel gives it no inotify: as on a network mount, only rescans tell."""

    def start(self, env=None):
        if subprocess.run(["unshare", "--user", "--map-root-user", "true"],
                          capture_output=True).returncode != 0:
            raise Skipped("no user namespaces")
        script = os.path.join(self.work.path, "deaf")
        os.makedirs(script, exist_ok=True)
        target = os.path.join(script, self.name)
        real = os.path.join(os.environ["MILLRACE_BIN_DIR"], self.name)
        with open(target, "w", encoding="utf-8") as f:
            f.write("#!/bin/sh\nexec unshare --user --map-root-user sh -c 'echo 0 >"
                    "/proc/sys/user/max_inotify_instances; exec \"$0\" \"$@\"' "
                    f"{real} \"$@\"\n")
        os.chmod(target, 0o755)
        saved = os.environ["MILLRACE_BIN_DIR"]
        os.environ["MILLRACE_BIN_DIR"] = script
        try:
            return super().start(env)
        finally:
            os.environ["MILLRACE_BIN_DIR"] = saved


def test_rescans_alone_are_enough(work):
    server = work.server()
    agent = DeafAgent(work, server, {"watch": {**PATIENT, "rescan": "100ms"}}).start()
    agent.wait_for_message("session with")
    camera = work.camera(prefix="d/m", nx=1536, ny=1024, frames=12, hold="header", step=True)
    camera.step(11)
    wait_for(lambda: durable(server, "d/m_0001.mrc") > 8e6, what="most of it durable")
    camera.step()
    data = ready(server, "d/m_0001.mrc")
    assert data["complete_by"] == "header", data["complete_by"]
    camera.step()
    movie, = camera.results()
    assert data["digest"]["file"] == movie.file_crc


def test_an_mdoc_completes(work):
    server = work.server()
    work.agent(server, {"watch": PATIENT})
    made, = work.camera(out=work.folder("made"), no_final_header=True, **SMALL).results()
    with open(made.path, "rb") as f:
        content = f.read()
    target = os.path.join(work.movies, "m.mrc")
    with open(target, "wb") as f:
        f.write(content)
        f.flush()
        for frames in (11, 12):  # one that names other frames says nothing
            work.write("movies/m.mrc.mdoc", f"[FrameSet = 0]\nNumSubFrames = {frames}\n")
            if frames == 11:
                server.wait_for_event(FILE, "m.mrc.mdoc")
                assert not count(server, READY, "m.mrc")
        data = ready(server, "m.mrc")
    assert data["complete_by"] == "mdoc" and data["digest"]["file"] == made.file_crc


def test_an_abort_is_a_shorter_movie(work):
    server = work.server()
    work.agent(server, watches=watches(work))
    for output in OUTPUTS:
        camera = work.camera(out=os.path.join(work.path, output), prefix=output, abort_at=5,
                             **SMALL)
        movie, = camera.results()
        data = ready(server, f"{output}_0001.mrc")
        assert data["frames"] == 5 and data["digest"]["pixels"] == movie.pixels_crc
        assert same_pixels(movie.path, data["path"])


def test_header_and_size_disagree(work):
    server = work.server()
    more = {"complete": {"quiet": "500ms", "give_up": "2s"}}
    work.agent(server, watches=watches(work, more))
    cut = {output: work.camera(out=os.path.join(work.path, output), prefix=output, abort_at=5,
                               no_final_header=True, **SMALL).results()[0] for output in OUTPUTS}
    for output, movie in cut.items():
        event = server.wait_for_event(FAILED, f"{output}_0001.mrc")
        text = str(event["data"])
        assert "disagree" in text, text
        kept = os.path.join(server.store, ".millrace", "failed", event["data"]["movie"])
        assert os.path.isdir(kept) and os.listdir(kept), f"{output}: nothing is kept in {kept}"
        if output == "keep":
            assert any(same_file(movie.path, os.path.join(kept, n)) for n in os.listdir(kept))
        assert not count(server, READY, f"{output}_0001.mrc")
        pushed = work.push(server, movie.path)
        assert pushed.process.returncode == 1 and "disagree" in pushed.messages()
    assert finals(server) == [], finals(server)


def test_quiet_was_too_short(work):
    """A camera pauses before its final header: what comes then is a revision where it counts."""
    server = work.server()
    more = {"complete": {"quiet": "300ms", "give_up": "60s"}}
    work.agent(server, watches=watches(work, more))
    for output in OUTPUTS:
        camera = work.camera(out=os.path.join(work.path, output), prefix=output, hold=True,
                             **SMALL)
        name = f"{output}_0001.mrc"
        first = server.wait_for_event(READY, name)
        assert first["data"]["complete_by"] == "quiet", first["data"]["complete_by"]
        camera.step()
        movie, = camera.results()
        if output != "keep":  # the same pixels and statistics: nothing new
            continue
        second = wait_for(lambda: next((e for e in server.logged()
                                        if e["id"] == first["id"] + ".r2"), None),
                          what=f"a second revision of {name}")["data"]
        assert second["revision"] == 2 and second["path"] == first["data"]["path"]
        assert crc64(second["path"]) == second["digest"]["file"]
        assert second["digest"]["pixels"] == movie.pixels_crc
        assert second["digest"]["file"] == movie.file_crc
    wait_for(lambda: server.status()["known"] == 2, what="mrc and hdf5 found to be the same")


def test_removed_while_it_grows(work):
    server = work.server()
    work.agent(server, {"watch": PATIENT})
    camera = work.camera(nx=1536, ny=1024, frames=16, step=True, prefix="m")
    camera.step(12)
    wait_for(lambda: durable(server, "m_0001.mrc") > 8e6, what="it on its way")
    os.remove(os.path.join(work.movies, "m_0001.mrc"))
    event = server.wait_for_event(FAILED, "m_0001.mrc")
    assert "vanished" in str(event["data"]) and finals(server) == []


# ---- files that are no movies, files that change


def test_opaque_files(work):
    server = work.server()
    work.agent(server, {"watch": {"complete": {"quiet": "300ms", "give_up": "60s"}}})
    work.write("movies/empty.log", "")
    work.write("movies/a.log", "first line\n")
    work.folder("made")  # one that is seen half written for 300 ms counts as it is then
    with open(os.path.join(work.path, "made", "big.dm4"), "wb") as f:
        f.write(os.urandom(9 << 20))
    os.rename(f.name, os.path.join(work.movies, "big.dm4"))
    for name in ("empty.log", "a.log", "big.dm4"):
        data = server.wait_for_event(FILE, name)["data"]
        assert same_file(os.path.join(work.movies, name), data["path"])
        assert data["digest"]["file"] == crc64(data["path"]) and data["output"] == "keep"
    with open(os.path.join(work.movies, "a.log"), "a", encoding="ascii") as f:
        f.write("second line\n")
    first = server.wait_for_event(FILE, "a.log")
    second = wait_for(lambda: next((e for e in server.logged() if e["id"].endswith(".r2")), None),
                      what="a second revision")
    assert second["data"]["revision"] == 2 and second["data"]["path"] == first["data"]["path"]
    assert second["id"] == first["id"] + ".r2", (first["id"], second["id"])
    assert same_file(os.path.join(work.movies, "a.log"), second["data"]["path"])
    old = []
    for base, _, names in os.walk(os.path.join(server.store, "k3-krios1", ".millrace", "old")):
        old += [os.path.join(base, n) for n in names]
    assert len(old) == 1 and os.path.getsize(old[0]) == len("first line\n"), old


def test_a_log_that_grows_line_by_line(work):
    """Each append is an open and a close: no revision for each, and the last line arrives."""
    server = work.server()
    work.agent(server, {"watch": {"complete": {"quiet": "300ms", "give_up": "60s"}}})
    path, began = os.path.join(work.movies, "session.log"), time.monotonic()
    for n in range(60):
        with open(path, "a", encoding="ascii") as f:
            f.write(f"line {n}\n")
        time.sleep(0.02)  # the pace of its writer
    target = os.path.join(server.store, "k3-krios1", "session.log")
    # a file has its name before its event is told
    wait_for(lambda: os.path.exists(target) and same_file(path, target) and
             count(server, FILE, "session.log"), what="the last line")
    most = 8 + (time.monotonic() - began) / 0.3  # one for each time that it was quiet so long
    assert 1 <= count(server, FILE, "session.log") <= most, count(server, FILE, "session.log")
    assert finals(server) == ["k3-krios1/session.log"]


def test_renamed_while_it_grows(work):
    """Its writer goes on under the other name; nothing stays under the first."""
    server = work.server()
    work.agent(server, {"watch": PATIENT})
    camera = work.camera(nx=1536, ny=1024, frames=16, step=True, prefix="a/m")
    camera.step(12)
    wait_for(lambda: durable(server, "a/m_0001.mrc") > 8e6, what="it on its way")
    os.rename(os.path.join(work.movies, "a"), os.path.join(work.movies, "b"))
    camera.step(4)
    movie, = camera.results()
    data = ready(server, "b/m_0001.mrc")
    assert data["digest"]["file"] == movie.file_crc
    assert not count(server, READY, "a/m_0001.mrc")
    assert finals(server) == ["k3-krios1/b/m_0001.mrc"], finals(server)


def test_another_movie_takes_a_name(work):
    """Committed, deleted at the camera, and the name used again: both are kept."""
    server = work.server()
    work.agent(server, {"watch": PATIENT})
    first, = work.camera(prefix="m", **SMALL).results()
    assert ready(server, "m_0001.mrc")["digest"]["file"] == first.file_crc
    os.remove(first.path)
    second, = work.camera(prefix="m", seed=9, **SMALL).results()
    event = wait_for(lambda: next((e for e in server.logged() if e["type"] == READY and
                                   e["data"]["digest"]["file"] == second.file_crc), None),
                     what="the second movie")
    assert finals(server) == ["k3-krios1/m_0001.mrc", "k3-krios1/m_0001_dup2.mrc"], finals(server)
    assert event["data"]["path"].endswith("m_0001_dup2.mrc")
    assert crc64(os.path.join(server.store, "k3-krios1/m_0001.mrc")) == first.file_crc


def replace(work, how):
    """A movie is on its way when another takes its name."""
    server = work.server()
    agent = work.agent(server, {"watch": PATIENT})
    other, = work.camera(out=work.folder("other"), seed=7, nx=1536, ny=1024, frames=10).results()
    camera = work.camera(nx=1536, ny=1024, frames=16, step=True, prefix="m")
    camera.step(12)
    wait_for(lambda: durable(server, "m_0001.mrc") > 8e6, what="the first on its way")
    first = server.status()["movies"][0]["movie"]
    how(other.path, os.path.join(work.movies, "m_0001.mrc"))
    camera.kill()
    data = ready(server, "m_0001.mrc")
    assert data["digest"]["file"] == other.file_crc, "the result is the second movie"
    assert data["movie"] != first, "under an id of its own"
    assert count(server, READY, "m_0001.mrc") == 1
    assert finals(server) == ["k3-krios1/m_0001.mrc"], finals(server)
    assert "begins again" in agent.messages()


def test_replaced_while_it_ships(work):
    replace(work, os.rename)


def test_truncated_while_it_ships(work):
    replace(work, shutil.copyfile)  # truncates first, then writes


def test_renamed_into_place(work):
    server = work.server()
    work.agent(server, {"watch": BLIND})
    movie, = work.camera(out=work.folder("elsewhere"), **SMALL).results()
    shutil.copyfile(movie.path, os.path.join(work.movies, "m.mrc.tmp"))
    work.folder("movies/new")
    os.rename(os.path.join(work.movies, "m.mrc.tmp"), os.path.join(work.movies, "new/m.mrc"))
    data = ready(server, "new/m.mrc")
    assert data["complete_by"] == "close" and data["digest"]["file"] == movie.file_crc
    os.rename(work.folder("elsewhere"), os.path.join(work.movies, "whole"))  # a folder at once
    assert ready(server, "whole/movie_0001.mrc")["complete_by"] == "close"


# ---- commands over watches


def mixed_tree(work):
    """A whole movie, one cut short, a log, and what is excluded."""
    whole, = work.camera(prefix="whole", **SMALL).results()
    cut, = work.camera(prefix="cut", abort_at=5, no_final_header=True, **SMALL).results()
    work.write("movies/a.log", "a line\n")
    work.write("movies/b.tmp", "not this\n")
    return whole, cut


def test_dry_run_sends_nothing(work):
    server = work.server()
    mixed_tree(work)
    agent = Agent(work, server, {"watch": PATIENT})
    done = agent.run(["--dry-run"])
    assert done.returncode == 0, done.stderr
    for word in ("whole_0001.mrc", "cut_0001.mrc", "a.log", "complete: by close"):
        assert word in done.stdout, done.stdout
    assert "b.tmp" not in done.stdout
    assert not server.logged() and finals(server) == []


def test_once(work):
    server = work.server()
    whole, cut = mixed_tree(work)
    agent = Agent(work, server)
    assert agent.run_once() == 1, "one of them failed"
    assert count(server, READY, "whole_0001.mrc") == 1
    assert count(server, FAILED, "cut_0001.mrc") == 1
    assert finals(server) == ["k3-krios1/a.log", "k3-krios1/whole_0001.mrc"]
    os.remove(cut.path)
    last = len(server.logged())
    assert agent.run_once() == 0, "and what is committed is not shipped again"
    assert not [e for e in server.logged() if ".ready" in e["id"] and int(e["sequence"]) > last]
    server.stop()
    os.utime(whole.path)
    work.write("movies/new.log", "x\n")
    assert agent.run_once() == 69


if __name__ == "__main__":
    raise SystemExit(run(globals()))
