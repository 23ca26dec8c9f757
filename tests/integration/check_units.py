#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Does systemd take the units, and are they as closed as they say?

check_units.py FOLDER: the folder with the units as they will be installed.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

EXPOSURE = 2.5  # systemd-analyze security: 0 closed, 10 open


def main():
    if not shutil.which("systemd-analyze"):
        print("skipped: systemd-analyze is not installed")
        return 77
    failed = 0
    with tempfile.TemporaryDirectory() as stage:
        for name in ("millrace-ingest.service", "millrace-agent.service"):
            with open(os.path.join(sys.argv[1], name), encoding="utf-8") as f:
                unit = f.read()
            # verify wants the program to exist; what is verified is the rest
            unit, count = re.subn(r"^ExecStart=\S+", "ExecStart=/bin/true", unit, flags=re.M)
            path = os.path.join(stage, name)
            with open(path, "w", encoding="utf-8") as f:
                f.write(unit)
            said = subprocess.run(["systemd-analyze", "verify", "--man=no", path], text=True,
                                  capture_output=True)
            ours = [x for x in said.stderr.splitlines() if "millrace" in x]
            if count != 1 or ours or said.returncode != 0 and not said.stderr:
                print(f"{name}: {said.returncode}", *ours, sep="\n")
                failed = 1
            rated = subprocess.run(["systemd-analyze", "security", "--offline=true", path],
                                   text=True, capture_output=True).stdout
            level = re.search(r"exposure level for \S+: ([\d.]+)", rated)
            print(f"{name}: exposure {level[1] if level else 'unknown'}, at most {EXPOSURE}")
            if level and float(level[1]) > EXPOSURE:
                print(rated)
                failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
