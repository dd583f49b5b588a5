# SPDX-License-Identifier: Apache-2.0
"""damage.py CACHEREADY WORK: damages WORK/out, made from WORK/src by WORK/plan.json, in every kind
of place; `verify` and compare_checkpoints.py must both find each damage where it is."""
import json
import os
import pathlib
import subprocess
import sys

from compare_checkpoints import PLAN, rows_of, tensors_of

PROGRAM, WORK = sys.argv[1], pathlib.Path(sys.argv[2])
SRC, OUT, GIVEN = WORK / "src", WORK / "out", WORK / "plan.json"
READER = pathlib.Path(__file__).with_name("compare_checkpoints.py")


def places():
    """(what, file, tensor, offset): where a bit is flipped."""
    rows = rows_of(json.loads(GIVEN.read_bytes()))
    gate, planned = next(iter(rows))
    row_bytes = len(rows[gate, planned])
    free = next(row for row in range(16) if (gate, row) not in rows)
    shards = sorted(SRC.glob("*.safetensors"))
    for shard in shards:
        parts = tensors_of(shard)
        begin = next((b for b, _, name in parts if name == gate), None)
        if begin is None:
            yield "another shard", shard.name, parts[-1][2], parts[-1][1] - 1
            continue
        other = next(part for part in parts if part[2] not in ("", gate) and part[1] > part[0])
        yield "the header's length", shard.name, "", 1
        yield "the header", shard.name, "", 50
        yield "a planned row", shard.name, gate, begin + planned * row_bytes + 5
        yield "the gate's other row", shard.name, gate, begin + free * row_bytes
        yield "another tensor", shard.name, other[2], other[0]
    yield "config.json", "config.json", "", 7
    yield "the plan", PLAN, "", os.path.getsize(OUT / PLAN) // 2
    yield "the plan's seal", PLAN, "", os.path.getsize(OUT / PLAN) - 20


def flip(file, offset):
    with open(OUT / file, "r+b") as opened:
        opened.seek(offset)
        byte = opened.read(1)[0]
        opened.seek(offset)
        opened.write(bytes([byte ^ 1]))


def findings(*options):
    ran = subprocess.run([PROGRAM, "--json", "verify", SRC, OUT, *options], capture_output=True)
    assert ran.returncode == 1, f"verify ended with {ran.returncode}: {ran.stderr.decode()}"
    return [(f["file"], f["tensor"], f["offset_bytes"]) for f in json.loads(ran.stdout)["findings"]]


def check(what, file, tensor, offset):
    place = (file, tensor, offset)
    assert place in findings("--plan", GIVEN), f"{what}: verify does not name {place}"
    found = [(f, t) for f, t, _ in findings()]
    assert (file, tensor) in found, f"{what}: without the plan, verify names {found}"
    read = subprocess.run([sys.executable, READER, SRC, OUT, GIVEN], capture_output=True)
    assert read.returncode == 1, f"{what}: the reader does not find it: {read.stderr.decode()}"
    wrong = [(w["file"], w["tensor"], w["offset"]) for w in json.loads(read.stdout)["wrong"]]
    expected = (PLAN, "", 0) if file == PLAN else place
    assert wrong == [expected], f"{what}: the reader names {wrong}, not {expected}"
    print(f"{what}: {file} {tensor} {offset}")


def main():
    damaged = list(places())
    assert len({file for _, file, _, _ in damaged}) >= 5
    for what, file, tensor, offset in damaged:
        flip(file, offset)
        check(what, file, tensor, offset)
        flip(file, offset)
    (OUT / "extra.txt").write_text("x")
    check("an extra file", "extra.txt", "", 0)
    (OUT / "extra.txt").unlink()
    bytes_of = (OUT / "generation_config.json").read_bytes()
    (OUT / "generation_config.json").unlink()
    check("a missing file", "generation_config.json", "", 0)
    (OUT / "generation_config.json").write_bytes(bytes_of[:-1])
    check("a shortened file", "generation_config.json", "", len(bytes_of) - 1)
    (OUT / "generation_config.json").write_bytes(bytes_of)
    subprocess.run([PROGRAM, "-q", "verify", SRC, OUT], check=True, stdout=subprocess.DEVNULL)


main()
