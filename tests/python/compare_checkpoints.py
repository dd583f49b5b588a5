#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""compare_checkpoints.py SRC OUT [PLAN]: which bytes of OUT are not those of SRC, and whether they
are exactly the planned rows. Shares no code with the program: a second opinion on its `verify`.
Prints JSON; exits with 1 if OUT is not SRC with the rows of the plan (default: the one in OUT)."""
import base64
import hashlib
import json
import os
import re
import sys

PLAN = "cacheready-plan.json"


def files_below(folder):
    return {os.path.relpath(os.path.join(at, name), folder)
            for at, _, names in os.walk(folder) for name in names}


def tensors_of(shard):
    """[(begin, end, name)] in the file, the header under the name ''; from the file's own header."""
    with open(shard, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    places = [(8 + size + entry["data_offsets"][0], 8 + size + entry["data_offsets"][1], name)
              for name, entry in header.items()]
    return [(0, 8 + size, "")] + sorted(places)


def unsealed(text):
    """The plan that OUT carries, less its last member: the SHA-256 of all the others."""
    sealed = re.fullmatch(rb'(.*),\n  "sha256": "([0-9a-f]{64})"(\n}\n)', text, re.DOTALL)
    plan = sealed and sealed[1] + sealed[3]
    return plan if plan and hashlib.sha256(plan).hexdigest() == sealed[2].decode() else None


def rows_of(plan):
    """{(tensor, row): bytes}"""
    return {(tensor["tensor"], member): base64.b64decode(tensor["row"])
            for group in plan["groups"] for tensor in group["tensors"] for member in group["members"]}


def compare_file(source, out, rows, is_shard):
    """Bytes of OUT that differ, and [(offset, tensor)] of what no plan explains."""
    old, new = (open(path, "rb").read() for path in (source, out))
    places = tensors_of(source) if is_shard else [(0, len(old), "")]
    expected = bytearray(old)
    for begin, _, name in places:
        for (tensor, row), data in rows.items():
            if tensor == name:
                expected[begin + row * len(data):begin + (row + 1) * len(data)] = data
    wrong = {}
    for at in (i for i in range(min(len(expected), len(new))) if expected[i] != new[i]):
        name = next((n for b, e, n in places if b <= at < e), "")
        wrong.setdefault(name, at)
    if len(old) != len(new):
        wrong.setdefault("", min(len(old), len(new)))
    return sum(a != b for a, b in zip(old, new)), sorted((at, name) for name, at in wrong.items())


def main(source, out, plan_file=None):
    carried = unsealed(open(os.path.join(out, PLAN), "rb").read())
    plan = open(plan_file, "rb").read() if plan_file else carried
    rows = rows_of(json.loads(plan)) if plan else {}
    before, after = files_below(source) - {PLAN}, files_below(out) - {PLAN}
    wrong = [{"file": file, "tensor": "", "offset": 0} for file in before ^ after]
    if carried is None or carried != plan:
        wrong.append({"file": PLAN, "tensor": "", "offset": 0})
    changed = 0
    for file in sorted(before & after):
        count, found = compare_file(os.path.join(source, file), os.path.join(out, file), rows,
                                    file.endswith(".safetensors"))
        changed += count
        wrong += [{"file": file, "tensor": name, "offset": at} for at, name in found]
    print(json.dumps({"bytes_changed": changed, "rows_planned": len(rows), "wrong": wrong}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
