# SPDX-License-Identifier: Apache-2.0
"""Memory: the peaks of all runs before against their pools, and allocations of ours per slab."""
import os
import shutil

import bench_rig

BEYOND_MIB = 64


def peaks(rig):
    for side in ("agent", "server"):
        of_side = [p for p in rig.peaks if p.side == side]
        if not of_side:
            rig.book.add("memory", f"most memory of the {side} beyond its pool", "MiB", [],
                         absent="no other item was measured in this run")
            continue
        worst = max(of_side, key=lambda p: p.mib - p.pool_mib)
        rig.book.add("memory", f"most memory of the {side} beyond its pool", "MiB",
                     [p.mib - p.pool_mib for p in of_side], at_most=None,
                     note=f"worst: {worst.item}, {worst.mib:.0f} MiB with a pool of "
                          f"{worst.pool_mib}; {len(of_side)} runs")
        rig.book.add("memory", f"the worst of the {side}", "MiB", [worst.mib - worst.pool_mib],
                     at_most=BEYOND_MIB)


def counted(rig, name, slabs):
    """Allocations of the agent's and the server's own code for a file of so many slabs."""
    source = rig.source(name, slabs * bench_rig.millrace.SLAB)
    files = {side: os.path.join(rig.work.path, f"{name}-{side}") for side in ("agent", "server")}
    preload = bench_rig.millrace.binary("libmalloc_count.so")
    server = bench_rig.millrace.Server(
        rig.work, {"store": {"root": rig.work.folder(f"{name}-store")},
                   "memory": {"pool": rig.options.pool}}, name=name)
    server.start({"LD_PRELOAD": preload, "MALLOC_COUNT": files["server"]})
    push = bench_rig.millrace.Program(
        rig.work, "millrace-agent", ["push", "--server", server.control, source])
    assert push.start({"LD_PRELOAD": preload, "MALLOC_COUNT": files["agent"]}).wait(600) == 0
    assert server.stop() == 0
    shutil.rmtree(server.store)
    os.unlink(source)
    result = {}
    for side, path in files.items():
        with open(path, encoding="ascii") as f:
            result[side] = int(f.read().split()[0])
    return result


def memory(rig):
    rig.book.titles["memory"] = (
        f"most memory of every run above, by VmHWM: at most pool + {BEYOND_MIB} MiB; "
        "malloc and its like called by our own code")
    peaks(rig)
    if not os.path.exists(bench_rig.millrace.binary("libmalloc_count.so")):
        rig.book.add("memory", "allocations of ours per slab", "", [],
                     absent="libmalloc_count.so is not built")
        return
    few, many = rig.sizes["malloc_slabs"]
    less, more = counted(rig, "few-slabs", few), counted(rig, "many-slabs", many)
    for side in ("agent", "server"):
        per_slab = (more[side] - less[side]) / (many - few)
        rig.book.add("memory", f"allocations of ours per slab, {side}", "", [per_slab],
                     at_most=0.1,
                     note=f"{more[side]} for {many} slabs less {less[side]} for {few}; what is "
                          "left is by time and message, not by slab")
