#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a pipeline might run per movie: reads one event on standard input, says what it would do."""
import json
import sys

event = json.load(sys.stdin)
data = event["data"]
what = f"{data['frames']} frames of {data['width']} x {data['height']}" if data.get("frames") else \
    f"{data['bytes']} bytes"
print(f"event {event['sequence']}: would process {data['path']}: {what}", flush=True)
