# SPDX-License-Identifier: Apache-2.0
"""What one core does to a slab: bits transposed, slabs coded; by bench_codec, in CPU time."""
import json
import os
import subprocess

import bench_rig
from bench_report import Beside

TRANSPOSED_GBS = {"gfni": 12, "avx512": 12, "avx2": 8}
PACKED_GBS = {"bslz4": 4, "bszstd": 1.6}


def shuffle_rows(rig, cached, far):
    """A row per direction: of data in the cache, as pack has it; far: beyond any cache."""
    for way in ("forward", "inverse"):
        rig.book.add("kernels", f"bitshuffle {cached['kernel']}, {cached['element_bytes']}-byte, "
                     f"{way}", "GB/s", [cached[f"{way}_gbps"]],
                     at_least=TRANSPOSED_GBS.get(cached["kernel"]),
                     beside=[Beside("memcpy", [cached["memcpy_gbps"]])],
                     note=f"in the cache; from memory {far[f'{way}_gbps']:.1f} GB/s, memcpy "
                          f"{far['memcpy_gbps']:.1f}")


def codec_rows(rig, line):
    name = f"{line['codec']} {line['counted']}, {line['dose']:g} e/px, {line['scene']}"
    # the goals are those of frames of counts alone, 8 bit; a specimen's have another bound
    judged = line["counted"] == line["stored"] == "uint8" and line["scene"] == "flat"
    lz4 = line["codec"] == "bslz4"
    rig.book.add("kernels", f"{name}: pack", "GB/s", [line["pack_gbps"]],
                 at_least=PACKED_GBS[line["codec"]] if judged else None,
                 note=f"unpack {line['unpack_gbps']:.2f} GB/s, {line['ratio']:.2f} : 1")
    rig.book.add("kernels", f"{name}: of {'plain LZ4' if lz4 else 'the entropy bound'}", "ratio",
                 [line["of_library" if lz4 else "of_bound"]],
                 at_least=(0.95 if lz4 else 0.88) if judged else None)


def kernels(rig):
    rig.book.titles["kernels"] = ("one core, by its CPU time, medians; frames of the simulated "
                                  "camera, without (flat) and with a specimen")
    program = bench_rig.millrace.binary("bench_codec")
    if not os.path.exists(program):
        rig.book.add("kernels", "bitshuffle and codecs", "GB/s", [],
                     absent="bench_codec is not built")
        return
    done = subprocess.run([program, str(rig.sizes["kernel_rounds"])], capture_output=True,
                          text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    shuffled = [line for line in lines if line["what"] == "bitshuffle"]
    for cached, far in zip(shuffled[::2], shuffled[1::2]):  # bench_codec prints them in pairs
        shuffle_rows(rig, cached, far)
    for line in lines:
        if line["what"] == "codec":
            codec_rows(rig, line)
    if done.returncode != 0:
        rig.book.say_wrong(f"bench_codec: {done.stderr.strip()}")
