# SPDX-License-Identifier: Apache-2.0
"""How the tests of this folder are told how often and with which seed, and how they tell the
campaign's driver what they counted."""
import json
import os
import random
import sys
import time

from aftermath import is_long
from millrace import Workspace

FIGURES = "figures: "


def option(name):
    """The value of `--name VALUE` on the command line, taken out; None where it is not there."""
    if name not in sys.argv:
        return None
    at = sys.argv.index(name)
    value = sys.argv[at + 1]
    del sys.argv[at:at + 2]
    return value


def how_many(quick, long):
    """--count N, else what --long or its absence means here."""
    given = option("--count")
    return int(given) if given is not None else long if is_long() else quick


def dice():
    seed = int(os.environ.get("MILLRACE_TEST_SEED", time.time_ns() % 1000000))
    print(f"MILLRACE_TEST_SEED={seed}", flush=True)
    return random.Random(seed)


def figures(**values):
    """One line for people and for the driver, which adds up what has one name."""
    print(FIGURES + json.dumps(values), flush=True)


def in_rounds(work, total, each, one_round):
    """Until one_round(work, wanted), which says how many it made, has made `total`: each in a
    workspace of its own but for the first, so that a long run needs no more room than one round."""
    made = one_round(work, min(each, total))
    while made < total:
        with Workspace() as another:
            made += one_round(another, min(each, total - made))
    return made
