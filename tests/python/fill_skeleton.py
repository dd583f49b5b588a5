#!/usr/bin/env python3
"""fill_skeleton.py FOLDER: gives the weights of a skeleton (cacheready synth skeleton) values by a fixed
seed: FP8 codes about 0.4, BF16 numbers about 1/16, F32 numbers of 1/4."""
import json
import pathlib
import random
import struct
import sys

FP8 = bytes((b & 0x80) | (0x28 + (b & 0x0F)) for b in range(256))  # +-, 2^-2 to 2^-1
HIGH_BF16 = bytes((b & 0x80) | 0x3D for b in range(256))  # +-, 2^-5 to 2^-3


def values(dtype, size, source):
    if dtype == "F32":
        return struct.pack("<f", 0.25) * (size // 4)
    noise = source.randbytes(size)
    if dtype == "F8_E4M3":
        return noise.translate(FP8)
    if dtype != "BF16":
        sys.exit(f"no values for {dtype}")
    numbers = bytearray(noise)
    numbers[1::2] = noise[1::2].translate(HIGH_BF16)
    return numbers


source = random.Random(7)
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.safetensors")):
    with open(path, "r+b") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(length))
        for tensor, entry in header.items():
            if tensor == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            file.seek(8 + length + begin)
            file.write(values(entry["dtype"], end - begin, source))
