# SPDX-License-Identifier: Apache-2.0
"""File systems of a test's own, and what happens to disks: full, frozen, slow, dead, and the plug
pulled. They are mounted in a namespace of the test's own: when the test dies, however it dies, the
kernel unmounts them and lets go of their loop devices, and of no others."""
import array
import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys

from millrace import Skipped, wait_for

MIB = 1 << 20
SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32), of ext4 and xfs alike
NOLOGFLUSH = 2  # nothing more is written, not even the file system's own journal
CLONE_NEWNS = 0x20000
SMALLEST_XFS = 300  # MiB; mkfs makes no smaller one
BLKIO = "/sys/fs/cgroup/blkio"
# Thaws when the test says so, and when it is not there any more: nobody else could. So it is
# nobody's child, in no terminal's group, and has an end of its own.
THAWER = """
import fcntl, os, select, signal, sys
if os.fork():
    os._exit(0)
os.setsid()
for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE:
    signal.signal(number, signal.SIG_IGN)
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(fd, 0xC0045877, 0)
try:
    os.write(1, b"frozen\\n")
    select.select([0], [], [], 300)
finally:
    fcntl.ioctl(fd, 0xC0045878, 0)
os.write(1, b"thawed\\n")
"""


def do(*words):
    try:
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as e:
        raise Skipped(f"{words[0]}: {getattr(e, 'stderr', e)}") from None


def own_mounts():
    """From here on mounts of this process and its children are theirs alone."""
    if hasattr(own_mounts, "done"):
        return
    if os.geteuid() != 0:
        raise Skipped("mounting needs root")
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        raise Skipped(f"unshare: {os.strerror(ctypes.get_errno())}")
    do("mount", "--make-rprivate", "/")
    own_mounts.done = True


class Disk:
    """A file system: ext4 or xfs in a file on a loop device, or tmpfs. Needs root."""

    def __init__(self, work, kind="ext4", mib=256, name="disk", below=None):
        own_mounts()
        self.kind, self.path = kind, work.folder(name)
        self.image = os.path.join(below or work.path, f"{name}.img")
        self.programs = work.programs  # ended before it goes
        self.mounted = False
        if kind == "tmpfs":
            do("mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", self.path)
            self.mounted = True
            return
        with open(self.image, "wb") as f:
            f.truncate((max(mib, SMALLEST_XFS) if kind == "xfs" else mib) * MIB)
        do(f"mkfs.{kind}", "-q", *(["-m", "0"] if kind == "ext4" else []), self.image)
        self.mount()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in self.programs:
            program.end()
        self.unmount()

    def mount(self):
        """The loop device comes with it and goes with it."""
        do("mount", "-o", "loop", self.image, self.path)
        self.mounted = True

    def unmount(self):
        """A process that was killed may be outlived by its io_uring for a moment."""
        words = ["umount", self.path]
        wait_for(lambda: not self.mounted or subprocess.run(words, capture_output=True,
                                                            check=False).returncode == 0,
                 what=f"{self.path} is let go of")
        self.mounted = False

    def check(self):
        """The file system itself is whole; it is not mounted then."""
        words = ["e2fsck", "-fn"] if self.kind == "ext4" else ["xfs_repair", "-n"]
        found = subprocess.run([*words, self.image], capture_output=True, text=True, check=False)
        assert found.returncode == 0, f"{words[0]}: {found.stdout}{found.stderr}"

    def server(self, work, changes=None, **store):
        return work.server({"store": {"root": os.path.join(self.path, "store"), **store},
                            **(changes or {})})

    # ---- full ----

    def fill(self, left):
        """All but `left` bytes."""
        free = os.statvfs(self.path)
        size, step = 0, free.f_bavail * free.f_bsize - left
        with open(os.path.join(self.path, "filler"), "wb") as f:
            while step >= free.f_bsize:  # the file's own map takes room too
                try:
                    os.posix_fallocate(f.fileno(), size, step)
                    size += step
                except OSError:
                    step //= 2
                if left > 0:
                    return

    def free(self):
        os.unlink(os.path.join(self.path, "filler"))

    # ---- dead, frozen, slow ----

    def shut_down(self):
        """Nothing reaches the disk any more; every call fails with EIO until it is mounted anew."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, array.array("I", [NOLOGFLUSH]))
        except OSError as e:
            raise Skipped(f"{self.kind}: shutdown: {e.strerror}") from None
        finally:
            os.close(fd)

    def break_under_way(self):
        """ext4 finds an error in itself and lets nothing be written until it is mounted anew."""
        source = os.path.basename(do("findmnt", "-no", "SOURCE", self.path).strip())
        do("mount", "-o", "remount,errors=remount-ro", self.path)
        try:
            put(f"/sys/fs/ext4/{source}/trigger_fs_error", "tried by a test")
        except OSError as e:
            raise Skipped(f"trigger_fs_error: {e}") from None

    def mount_again(self):
        self.unmount()
        self.mount()

    @contextlib.contextmanager
    def frozen(self):
        """Every write waits, as on a store that hangs; reads go on."""
        words = [sys.executable, "-c", THAWER, self.path]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as thawer:
            if not thawer.stdout.readline():
                raise Skipped(f"{self.kind}: it cannot be frozen")
            try:
                yield
            finally:
                thawer.stdin.close()
                thawed = thawer.stdout.readline()
            assert thawed == b"thawed\n"

    @contextlib.contextmanager
    def throttled(self, program, bytes_a_second):
        """What `program` writes past the page cache goes no faster than that."""
        group = f"{BLKIO}/millrace-test-{os.getpid()}"
        source = do("findmnt", "-no", "SOURCE", self.path).strip()
        with open(f"/sys/block/{os.path.basename(source)}/dev", encoding="ascii") as f:
            number = f.read().strip()
        try:
            os.makedirs(group, exist_ok=True)
            put(f"{group}/blkio.throttle.write_bps_device", f"{number} {bytes_a_second}")
            move(program, group)
        except OSError as e:
            raise Skipped(f"no blkio cgroup to throttle with: {e}") from None
        try:
            yield
        finally:
            put(f"{group}/blkio.throttle.write_bps_device", f"{number} 0")
            if program.alive():
                move(program, BLKIO)
            wait_for(lambda: remove(group), what="the cgroup is empty")


def put(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def move(program, group):
    put(f"{group}/cgroup.procs", str(program.process.pid))


def remove(group):
    try:
        os.rmdir(group)
    except OSError:
        return False
    return True


# ---- the plug ----

def states(program):
    """One letter per thread, those of io_uring's workers among them."""
    found, folder = "", f"/proc/{program.process.pid}/task"
    for thread in os.listdir(folder):
        with contextlib.suppress(OSError):
            with open(f"{folder}/{thread}/stat", encoding="utf-8", errors="replace") as f:
                found += f.read().rpartition(")")[2].split()[0]
    return found


def pull_the_plug(disks, programs):
    """A power cut of `programs`, who write on `disks`: what was not synced is gone, what was synced
    stays. They stand still when it happens, or an fsync that is under way would be answered after
    the cut. The disks are mounted again."""
    for program in programs:
        program.signal(signal.SIGSTOP)
    for program in programs:
        wait_for(lambda p=program: set(states(p)) == {"T"}, what=f"{program.name} stands still")
    for disk in disks:
        disk.shut_down()
    for program in programs:
        program.kill()
    for disk in disks:
        disk.mount_again()
