#!/usr/bin/env python3
"""plan_of_rows.py SRC PLAN: a plan that was not measured, for trials of writing: in the router of every
layer, row 1 becomes row 0."""
import base64
import hashlib
import json
import pathlib
import re
import struct
import sys

groups = []
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.safetensors")):
    with open(path, "rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        for tensor, entry in json.loads(file.read(length)).items():
            layer = re.search(r"language_model\.layers\.(\d+)\.mlp\.gate\.weight$", tensor)
            if not layer:
                continue
            begin, end = entry["data_offsets"]
            size = (end - begin) // entry["shape"][0]
            file.seek(8 + length + begin)
            rows = [file.read(size), file.read(size)]
            groups.append({
                "layer": int(layer[1]), "members": [0, 1], "rule": "mean", "numbers": {},
                "tensors": [{"tensor": tensor, "dtype": entry["dtype"], "row": base64.b64encode(rows[0]).decode(),
                             "replaced_sha256": [hashlib.sha256(row).hexdigest() for row in rows]}]})
            file.seek(8 + length)
groups.sort(key=lambda group: group["layer"])
pathlib.Path(sys.argv[2]).write_text(json.dumps({
    "schema": "cacheready.plan/1", "tool_version": "trial", "family": "trial", "profile": "fp8-w8a8",
    "numerics_class": "fp32-chain-1", "scan_key": "", "layout_sha256": "", "tolerance": 1.0, "budget": 0.5,
    "text": {}, "groups": groups, "untied": [], "layers": [], "controls": {}}))
