# SPDX-License-Identifier: Apache-2.0
"""same_tensors.py A B: both folders hold the same tensors with the same bytes, in whichever files."""
import pathlib
import sys

from compare_checkpoints import tensors_of


def tensors(folder):
    return {name: shard.read_bytes()[begin:end]
            for shard in pathlib.Path(folder).glob("*.safetensors")
            for begin, end, name in tensors_of(shard) if name}


a, b = tensors(sys.argv[1]), tensors(sys.argv[2])
assert len(a) > 100 and a.keys() == b.keys(), f"{len(a)} and {len(b)} tensors"
different = [name for name in a if a[name] != b[name]]
assert not different, f"{len(different)} tensors differ, among them {different[0]}"
