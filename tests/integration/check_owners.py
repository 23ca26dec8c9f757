#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Group, mode, ACL and project quota of what is stored are those of the place where it lies. Needs
root for groups, and a loop mount for XFS; detaches only what it made."""
import contextlib
import grp
import os
import re
import shutil
import stat
import subprocess
import sys

from millrace import Skipped, binary, files_below, run


def need_root():
    if os.geteuid() != 0:
        raise Skipped("needs root, for groups and mounts")


def need_tools(*names):
    for name in names:
        if not shutil.which(name):
            raise Skipped(f"{name} is not installed")


def tool(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    if done.returncode != 0:
        raise Skipped(f"{' '.join(words)}: {done.stdout.strip()}")
    return done.stdout


def pushed(work, server, *words):
    done = work.push(server, "--agent", "a", *words)
    assert done.process.returncode == 0, done.messages()
    return server.ready_events()


def look(path):
    s = os.lstat(path)
    return stat.S_IMODE(s.st_mode), s.st_gid


def three_outputs(work, server):
    """A movie by each output, in folders that are new, and a file; the stored paths."""
    movie, = work.camera(nx=40, ny=30, frames=3).results()
    os.makedirs(os.path.join(work.movies, "new/deep"))
    os.rename(movie.path, os.path.join(work.movies, "new/deep/m.mrc"))
    os.rename(work.write("k.txt", "k"), os.path.join(work.movies, "new/k.txt"))
    for output in ("keep", "mrc", "hdf5"):
        pushed(work, server, "--output", output, work.movies)
    return [os.path.join(server.store, name) for name in files_below(server.store)]


def test_modes_by_default(work):
    server = work.server()
    for path in three_outputs(work, server):
        assert look(path)[0] == 0o640, oct(look(path)[0])
        folder = os.path.dirname(path)
        while folder != server.store:
            assert look(folder)[0] == 0o2750, (folder, oct(look(folder)[0]))
            folder = os.path.dirname(folder)
    assert not [f for f, _, _ in os.walk(os.path.join(server.store, "a"))
                if f.endswith(".millrace")], "empty .millrace folders go away"


def test_modes_as_configured(work):
    server = work.server({"store": {"file_mode": "0604", "dir_mode": "0711"}})
    for path in three_outputs(work, server):
        assert look(path)[0] == 0o604 and look(os.path.dirname(path))[0] == 0o711, look(path)


def test_group_of_a_setgid_folder(work):
    need_root()
    group = grp.getgrnam("video").gr_gid
    folder = work.folder("storage1-store")
    os.chown(folder, -1, group)
    os.chmod(folder, 0o2770)
    server = work.server()
    for path in three_outputs(work, server):
        assert look(path) == (0o640, group), (path, look(path))
        assert look(os.path.dirname(path)) == (0o2750, group), path


def test_group_of_a_folder_that_is_not_setgid(work):
    """inherit: the parent folder's group all the same."""
    need_root()
    group = grp.getgrnam("audio").gr_gid
    there = work.folder("storage1-store/a/movies/new/deep")
    for part in ("a", "a/movies", "a/movies/new", "a/movies/new/deep"):
        os.chown(os.path.join(work.path, "storage1-store", part), -1, group)
    server = work.server()
    three_outputs(work, server)
    found = {look(os.path.join(there, name))[1] for name in os.listdir(there)}
    assert found == {group}, f"groups {found}, not {group}"


def test_a_named_group(work):
    need_root()
    group = grp.getgrnam("games").gr_gid
    server = work.server({"store": {"group": "games"}})
    for path in three_outputs(work, server):
        assert look(path) == (0o640, group) and look(os.path.dirname(path))[1] == group, path


def test_an_unknown_group_is_told_at_start(work):
    file = work.write("bad.yaml", f"store: {{root: {work.folder('s')}, group: nosuchgroup}}\n")
    done = subprocess.run([binary("millrace-ingest"), "--config", file, "--check-config"],
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 78 and "nosuchgroup" in done.stderr, (done.returncode, done.stderr)


def acl(path):
    return tool("getfacl", "-pcn", path)


def test_a_default_acl_decides(work):
    need_tools("setfacl", "getfacl")
    folder = work.folder("storage1-store")
    tool("setfacl", "-d", "-m", "u::rwx,g::r-x,o::---,u:12345:rwx,m::rwx", folder)
    server = work.server()
    for path in three_outputs(work, server):
        said = acl(path)
        assert "user:12345:rwx" in said and "\nmask::rw-" in said, f"{path}: {said}"
        inherited = acl(os.path.dirname(path))
        assert "default:user:12345:rwx" in inherited, inherited


@contextlib.contextmanager
def loop_xfs(work):
    """The store's folder is an XFS of its own; (it, are there project quotas)."""
    need_root()
    need_tools("mkfs.xfs", "xfs_quota", "xfs_io", "losetup", "mount")
    image, place = os.path.join(work.path, "xfs.img"), work.folder("storage1-store")
    with open(image, "wb") as f:
        f.truncate(400 << 20)
    tool("mkfs.xfs", "-q", image)
    device = tool("losetup", "-f", "--show", image).strip()
    try:
        quotas = subprocess.run(["mount", "-o", "prjquota", device, place], check=False,
                                stderr=subprocess.DEVNULL).returncode == 0
        if not quotas:
            tool("mount", device, place)
        try:
            yield place, quotas
        finally:
            for program in work.programs:
                program.end()
            subprocess.run(["umount", place], check=False)
    finally:
        subprocess.run(["losetup", "-d", device], check=False)


def project_of(path):
    said = tool("xfs_io", "-r", "-c", "stat", path)
    return int(re.search(r"projid = (\d+)", said)[1])


def test_an_xfs_project(work):
    """A rename from another project fails with EXDEV, quotas or not: parts are made inside."""
    with loop_xfs(work) as (store, _):
        folder = os.path.join(store, "a")
        os.mkdir(folder)
        tool("xfs_io", "-r", "-c", "chproj 42", "-c", "chattr +P", folder)
        server = work.server()
        for path in three_outputs(work, server):
            assert project_of(path) == 42, f"{path}: project {project_of(path)}"


def test_an_exceeded_project_quota(work):
    with loop_xfs(work) as (store, quotas):
        if not quotas:
            raise Skipped("this kernel keeps no XFS project quotas")
        folder = os.path.join(store, "a")
        os.mkdir(folder)
        tool("xfs_quota", "-x", "-c", f"project -s -p {folder} 42", "-c",
             "limit -p bhard=48m 42", store)
        server = work.server()
        with open(os.path.join(work.movies, "big.bin"), "wb") as f:
            f.write(os.urandom(64 << 20))
        words = ["push", "--server", server.control, "--agent", "a", f.name]
        big = subprocess.Popen([binary("millrace-agent"), *words], stderr=subprocess.PIPE,
                               text=True)
        try:
            said = big.communicate(timeout=60)[1]
            assert big.returncode not in (0, -6, -11), big.returncode
        except subprocess.TimeoutExpired:
            big.kill()
            said = big.communicate()[1]
        assert "uota" in said or "space" in said, said
        pushed(work, server, "--agent", "b", work.write("movies/small.txt", "small"))
        assert files_below(store) == ["b/small.txt"], "an exceeded quota fails that movie alone"


if __name__ == "__main__":
    sys.exit(run(globals()))
